//! What browsers and scrapers are served: requests judged, metrics as text, and one page with its
//! style and script, which are part of the program.

pub(crate) mod metrics;
pub(crate) mod request;

const PAGE: &str = include_str!("web/page.html");
const STYLE: &str = include_str!("web/page.css");
const SCRIPT: &str = include_str!("web/page.js");

/// Stands in the page where the token goes.
const TOKEN: &str = "@TOKEN@";

/// What is sent back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn ok(kind: &'static str, body: impl Into<String>) -> Answer {
        Answer { status: 200, kind, body: body.into() }
    }

    pub(crate) fn refused(status: u16, message: &str, cure: &str) -> Answer {
        let body = serde_json::json!({ "message": message, "cure": cure }).to_string();
        Answer { status, kind: "application/json", body }
    }

    /// As it goes over the wire. Nothing may be loaded from elsewhere, framed or guessed.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            500.. => "Unavailable",
            _ => "Bad Request",
        };
        let Answer { status, kind, body } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
            Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
            Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; \
            script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; \
            img-src data:; frame-ancestors 'none'\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// The files of the page.
pub(crate) fn file(path: &str, token: &str) -> Option<Answer> {
    match path {
        "/" => Some(Answer::ok("text/html; charset=utf-8", PAGE.replace(TOKEN, token))),
        "/page.css" => Some(Answer::ok("text/css; charset=utf-8", STYLE)),
        "/page.js" => Some(Answer::ok("text/javascript; charset=utf-8", SCRIPT)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        for text in [PAGE, STYLE, SCRIPT] {
            let namespace = "http://www.w3.org/2000/svg";
            assert!(!text.replace(namespace, "").contains("://"), "an address of somewhere else");
            assert!(!text.contains("innerHTML") && !text.contains("eval("));
        }
        let page = file("/", "secret").unwrap();
        assert!(page.body.contains("content=\"secret\"") && !page.body.contains(TOKEN));
        assert!(file("/../etc/passwd", "secret").is_none());
        let bytes = String::from_utf8(page.bytes()).unwrap();
        let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
