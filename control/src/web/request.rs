//! As much of HTTP/1.1 as a page, a scrape and a click need (RFC 9112), judged before anything is
//! done.
//!
//! Pure: bytes in, a request or the status that refuses it out. Bounds: [`HEAD_BYTES_MAX`] of head,
//! [`BODY_BYTES_MAX`] of body. Every answer closes its connection.

/// Bytes of a request line and its headers.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a body.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path, without what follows a question mark.
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    pub(crate) origin: Option<String>,
    /// What a page of adit's own sends with a decision.
    pub(crate) token: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Why bytes are no request: a status and a sentence.
pub(crate) type Refused = (u16, &'static str);

/// The request at the start of `bytes`; `None` until more came.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Request>, Refused> {
    const END: &[u8] = b"\r\n\r\n";
    let within = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let Some(end) = within.windows(END.len()).position(|window| window == END) else {
        return if bytes.len() >= HEAD_BYTES_MAX {
            Err((431, "the request has too many headers"))
        } else {
            Ok(None)
        };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| (400, "the request is not text"))?;
    let (mut request, length) = parse_head(head)?;
    let body = &bytes[end + END.len()..];
    if body.len() < length {
        return Ok(None);
    }
    request.body = body[..length].to_vec();
    Ok(Some(request))
}

fn parse_head(head: &str) -> Result<(Request, usize), Refused> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (method, target, version, words.next())
    else {
        return Err((400, "the request line is not one of HTTP/1.1"));
    };
    if !target.starts_with('/') {
        return Err((400, "the target is not a path"));
    }
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut request = Request { method: method.to_owned(), path, ..Request::default() };
    let mut length = 0;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or((400, "a header has no colon"))?;
        let value = value.trim();
        let own = || Some(value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "host" if request.host.is_some() => return Err((400, "there are two hosts")),
            "host" => request.host = own(),
            "origin" => request.origin = own(),
            "x-adit-token" => request.token = own(),
            "transfer-encoding" => return Err((501, "send the body in one piece")),
            "content-length" => {
                length = value.parse().map_err(|_| (400, "the length is not a number"))?;
                if length > BODY_BYTES_MAX {
                    return Err((413, "the body is too long"));
                }
            }
            _ => {}
        }
    }
    Ok((request, length))
}

impl Request {
    /// Whether it was sent to this machine by a name that only means this machine: a page of a
    /// stranger whose name was made to point here has that name (DNS rebinding).
    pub(crate) fn is_for_loopback(&self) -> bool {
        self.host.as_deref().is_some_and(is_loopback)
    }

    /// Whether a page of adit's own sent it: it knows the token, and the browser, if it says where
    /// the request comes from, says from here.
    pub(crate) fn is_from_own_page(&self, token: &str) -> bool {
        let given = self.token.as_deref().unwrap_or_default().as_bytes();
        let is_known = !token.is_empty()
            && given.len() == token.len()
            && given.iter().zip(token.as_bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0;
        let is_here = self.origin.as_deref().is_none_or(|origin| {
            let host = origin.strip_prefix("http://");
            host.is_some() && host == self.host.as_deref()
        });
        is_known && is_here && self.is_for_loopback()
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Request {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn requests_come_whole_however_they_were_cut() {
        let text = "POST /api/decide?x HTTP/1.1\r\nHost: localhost:9464\r\nX-Adit-Token: t\r\n\
            Content-Length: 3\r\n\r\nabc";
        for cut in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..cut]), Ok(None), "{cut}");
        }
        let request = whole(text);
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/decide"));
        assert_eq!((request.body.as_slice(), request.token.as_deref()), (&b"abc"[..], Some("t")));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let long = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
        let table = [
            ("GET /\r\n\r\n", 400),
            ("GET / HTTP/2\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
            (long.as_str(), 431),
        ];
        for (text, status) in table {
            assert_eq!(parse(text.as_bytes()).unwrap_err().0, status, "{text}");
        }
        assert_eq!(parse(b"\xff\xfe\r\n\r\n").unwrap_err().0, 400);
    }

    #[test]
    fn only_a_page_of_its_own_decides() {
        let request = |host: &str, origin: Option<&str>, token: &str| Request {
            host: Some(host.to_owned()),
            origin: origin.map(str::to_owned),
            token: Some(token.to_owned()),
            ..Request::default()
        };
        let own = Some("http://127.0.0.1:9464");
        for (host, origin) in [
            ("127.0.0.1:9464", own),
            ("127.0.0.1:9464", None),
            ("localhost:9464", Some("http://localhost:9464")),
            ("[::1]:9464", Some("http://[::1]:9464")),
        ] {
            assert!(request(host, origin, "secret").is_from_own_page("secret"), "{host}");
        }
        for (host, origin, token) in [
            ("127.0.0.1:9464", own, "secreT"),
            ("127.0.0.1:9464", own, ""),
            ("127.0.0.1:9464", Some("http://evil.example"), "secret"),
            ("127.0.0.1:9464", Some("null"), "secret"),
            ("evil.example:9464", Some("http://evil.example:9464"), "secret"),
            ("127.0.0.1.evil.example", None, "secret"),
            ("10.0.0.1:9464", None, "secret"),
        ] {
            assert!(!request(host, origin, token).is_from_own_page("secret"), "{host} {token}");
        }
        assert!(!Request::default().is_from_own_page(""), "no token is no secret");
    }
}
