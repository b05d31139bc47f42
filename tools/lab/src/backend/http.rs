//! A small HTTP/1.1 server (RFC 9112), enough for browsers, curl, health probes and our client.
//!
//! | request            | answer                                                              |
//! |--------------------|---------------------------------------------------------------------|
//! | `GET /`            | `backend=<name>` and `peer=<ip:port>`, each on a line               |
//! | `GET /bytes/<n>`   | `n` bytes of [`crate::pattern`]                                     |
//! | `GET /health`      | 200, or 503 after [`HttpServer::set_healthy`]`(false)`              |
//! | `POST /hash`       | `hash=<FNV-1a, 16 hex digits>` and `length=<n>`, each on a line     |
//!
//! Connections are kept alive unless the client asks otherwise; the server closes first, so that
//! TIME_WAIT stays here and a client can use its source port again. Bodies come by
//! Content-Length only. Bounds: [`MAX_HEAD_BYTES`] for a request's head.

use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::service::TcpService;
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::pattern;
use crate::pattern::Fnv;

/// The longest head of a request, in bytes.
pub const MAX_HEAD_BYTES: u64 = 16 * 1024;
const CHUNK_BYTES: usize = 64 * 1024;

/// A running HTTP server.
pub struct HttpServer {
    service: TcpService,
    healthy: Arc<AtomicBool>,
}

impl HttpServer {
    /// Binds to `address` inside `namespace` and serves until dropped. With port 0 the kernel
    /// chooses, see [`Self::address`].
    ///
    /// # Errors
    /// When the address is not there or the port is taken.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
    ) -> Result<Self, LabError> {
        let healthy = Arc::new(AtomicBool::new(true));
        let health = Arc::clone(&healthy);
        let server =
            Self::with_health(namespace, address, name, move || health.load(Ordering::Relaxed))?;
        Ok(Self { healthy, ..server })
    }

    /// As [`Self::start`], with a health that somebody else knows.
    pub(super) fn with_health(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
        health: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Self, LabError> {
        let backend = name.to_string();
        let service = TcpService::start(namespace, address, name, move |stream, peer| {
            let visit = Visit { backend: &backend, peer, healthy: &health, stream };
            // A client that goes away or talks nonsense is no error of ours.
            let _ = visit.serve();
        })?;
        Ok(Self { service, healthy: Arc::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.service.address()
    }

    /// The peer of each connection, in order.
    pub fn peers(&self) -> Vec<SocketAddrV4> {
        self.service.peers().peers()
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.service.peers().count()
    }

    /// What `GET /health` answers from now on; the other paths go on as before.
    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    /// Closes the listener and all connections and ends the threads, as dropping it does.
    pub fn stop(self) {}
}

/// One connection.
pub(super) struct Visit<'a> {
    pub(super) backend: &'a str,
    /// Whom it is taken to be with.
    pub(super) peer: SocketAddrV4,
    pub(super) healthy: &'a (dyn Fn() -> bool + Sync),
    pub(super) stream: &'a TcpStream,
}

/// What the server reads of a request's head.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    method: String,
    path: String,
    content_length: Option<u64>,
    close: bool,
    expects_continue: bool,
}

/// Why a head cannot be served, as an HTTP status.
type Status = &'static str;
const OK: Status = "200 OK";
const BAD_REQUEST: Status = "400 Bad Request";
const HEAD_TOO_LARGE: Status = "431 Request Header Fields Too Large";

impl Visit<'_> {
    /// Serves requests until either side has enough.
    pub(super) fn serve(&self) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(CHUNK_BYTES, self.stream);
        loop {
            let text = match read_head(&mut reader)? {
                None => return Ok(()),
                Some(text) => text,
            };
            let head = text.and_then(|text| parse_head(&text));
            match head {
                Err(status) => return self.answer(status, "", true),
                Ok(head) => {
                    self.handle(&head, &mut reader)?;
                    if head.close {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn handle(&self, head: &Head, body: &mut impl Read) -> io::Result<()> {
        if (head.method.as_str(), head.path.as_str()) == ("POST", "/hash") {
            return self.answer_hash(head, body);
        }
        read_exactly(body, head.content_length.unwrap_or(0), |_| {})?;
        let bytes = head.path.strip_prefix("/bytes/").map(str::parse::<u64>);
        match (head.method.as_str(), head.path.as_str(), bytes) {
            ("GET", "/", _) => {
                let text = format!("backend={}\npeer={}\n", self.backend, self.peer);
                self.answer(OK, &text, head.close)
            }
            ("GET", "/health", _) if (self.healthy)() => self.answer(OK, "healthy\n", head.close),
            ("GET", "/health", _) => {
                self.answer("503 Service Unavailable", "unhealthy\n", head.close)
            }
            ("GET", _, Some(Ok(length))) => self.answer_bytes(length, head.close),
            ("GET", _, Some(Err(_))) => self.answer(BAD_REQUEST, "", head.close),
            ("GET" | "POST", _, _) => self.answer("404 Not Found", "", head.close),
            _ => self.answer("405 Method Not Allowed", "", head.close),
        }
    }

    fn answer_hash(&self, head: &Head, body: &mut impl Read) -> io::Result<()> {
        let Some(length) = head.content_length else {
            return self.answer("411 Length Required", "", head.close);
        };
        if head.expects_continue {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut hash = Fnv::default();
        read_exactly(body, length, |bytes| hash.update(bytes))?;
        let text = format!("hash={:016x}\nlength={length}\n", hash.value());
        self.answer(OK, &text, head.close)
    }

    fn answer_bytes(&self, length: u64, close: bool) -> io::Result<()> {
        self.write(response_head(OK, length, close).as_bytes())?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut sent = 0;
        while sent < length {
            let piece = usize::try_from(length - sent).unwrap_or(usize::MAX).min(chunk.len());
            pattern::fill(sent, &mut chunk[..piece]);
            self.write(&chunk[..piece])?;
            sent += piece as u64;
        }
        Ok(())
    }

    fn answer(&self, status: Status, body: &str, close: bool) -> io::Result<()> {
        let head = response_head(status, body.len() as u64, close);
        self.write(format!("{head}{body}").as_bytes())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&mut &*self.stream).write_all(bytes)
    }
}

fn response_head(status: Status, length: u64, close: bool) -> String {
    let connection = if close { "close" } else { "keep-alive" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: {connection}\r\n\r\n"
    )
}

/// Reads up to the empty line; `None` at the end of the connection.
fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Result<String, Status>>> {
    let mut head = Vec::new();
    let mut limited = reader.take(MAX_HEAD_BYTES);
    loop {
        let before = head.len();
        limited.read_until(b'\n', &mut head)?;
        let line = &head[before..];
        if !line.ends_with(b"\n") {
            let cut = limited.limit() == 0;
            return Ok(cut.then_some(Err(HEAD_TOO_LARGE)));
        }
        if line == b"\r\n" || line == b"\n" {
            return Ok(Some(String::from_utf8(head).map_err(|_| BAD_REQUEST)));
        }
    }
}

fn parse_head(text: &str) -> Result<Head, Status> {
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(BAD_REQUEST);
    };
    let mut head = Head { method: method.into(), path: path.into(), ..Head::default() };
    head.close = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(BAD_REQUEST),
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(BAD_REQUEST)?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                head.content_length = Some(value.parse().map_err(|_| BAD_REQUEST)?);
            }
            "connection" => head.close |= value.eq_ignore_ascii_case("close"),
            "expect" => head.expects_continue = value.eq_ignore_ascii_case("100-continue"),
            // We could not find the end of such a body.
            "transfer-encoding" => return Err("501 Not Implemented"),
            _ => {}
        }
    }
    Ok(head)
}

fn read_exactly(body: &mut impl Read, length: u64, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut limited = body.take(length);
    let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(length).unwrap_or(CHUNK_BYTES))];
    while limited.limit() > 0 {
        match limited.read(&mut chunk)? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            read => each(&chunk[..read]),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_parsed_or_refused() {
        let head = parse_head("POST /hash HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 12\r\n\r\n");
        let head = head.unwrap();
        assert_eq!((head.method.as_str(), head.path.as_str()), ("POST", "/hash"));
        assert_eq!((head.content_length, head.close), (Some(12), false));
        assert!(parse_head("GET / HTTP/1.0\r\n\r\n").unwrap().close);
        assert!(parse_head("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n").unwrap().close);
        for wrong in [
            "\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2\r\n\r\n",
            "GET / HTTP/1.1 x\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        ] {
            assert_eq!(parse_head(wrong), Err(BAD_REQUEST), "{wrong:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_bounded() {
        let mut endless = BufReader::new(io::repeat(b'a'));
        assert_eq!(read_head(&mut endless).unwrap(), Some(Err(HEAD_TOO_LARGE)));
        let mut cut = &b"GET / HTTP/1.1\r\nHost"[..];
        assert_eq!(read_head(&mut cut).unwrap(), None);
    }
}
