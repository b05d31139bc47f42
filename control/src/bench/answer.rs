//! What is said to a backend, and where its answer ends.
//!
//! An answer may name its backend: `backend=NAME`, as the first word of a line or an HTTP body, or
//! an HTTP header that the user names. Bounds: [`HEAD_MAX`] bytes of a head are kept, and
//! [`NAME_MAX`] of a name. What a backend sends is never trusted: odd answers are faults.

use std::sync::Arc;

use clap::ValueEnum;

use super::fault::Fault;

/// Longest head of an HTTP answer, and most of a line that is looked at for a name.
const HEAD_MAX: usize = 16 * 1024;
const NAME_MAX: usize = 64;
const NAMED: &str = "backend=";

/// What backends are taken to understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Speak {
    /// A line is answered by a line: echoes, `adit bench serve`, `lab backend`
    Line,
    /// HTTP/1.1
    Http,
    /// Nothing is said: connections are only opened and closed
    Nothing,
}

/// What is sent each time, and what is looked for in answers.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    pub(super) speak: Speak,
    /// The bytes of a request; empty if nothing is said.
    pub(super) request: Arc<[u8]>,
    /// The HTTP header, in small letters, that names the backend.
    pub(super) header: Option<Arc<str>>,
}

impl Talk {
    /// A line of so many bytes, its end included.
    pub(super) fn line(size: usize) -> Talk {
        let letters = (b'a'..=b'z').cycle().take(size.saturating_sub(1));
        let request: Vec<u8> = letters.chain([b'\n']).collect();
        Talk { speak: Speak::Line, request: request.into(), header: None }
    }

    /// A GET, or a POST of so many bytes; the last one of its connection or not.
    pub(super) fn http(path: &str, host: &str, size: Option<usize>, is_last: bool) -> Talk {
        let method = if size.is_some() { "POST" } else { "GET" };
        let connection = if is_last { "close" } else { "keep-alive" };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: adit-bench/{}\r\n\
             Accept: */*\r\nConnection: {connection}\r\n",
            env!("CARGO_PKG_VERSION")
        )
        .into_bytes();
        if let Some(size) = size {
            request.extend(format!("Content-Length: {size}\r\n").bytes());
        }
        request.extend(b"\r\n");
        request.extend(std::iter::repeat_n(b'x', size.unwrap_or(0)));
        Talk { speak: Speak::Http, request: request.into(), header: None }
    }

    pub(super) fn nothing() -> Talk {
        Talk { speak: Speak::Nothing, request: Arc::default(), header: None }
    }
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    More,
    Done,
    Broken(Fault),
}

/// Reads answers, one after the other.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The head, or the first bytes of a line.
    head: Vec<u8>,
    body: Body,
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Body {
    /// The head is not complete.
    #[default]
    None,
    Length(u64),
    /// A chunk's length is read.
    ChunkLength {
        digits: u32,
        length: u64,
        in_digits: bool,
    },
    Chunk(u64),
    /// The lines after the last chunk; whether there was anything in this one.
    Trailer {
        is_empty: bool,
    },
    UntilClose,
}

impl Reader {
    /// Takes what has come.
    pub(super) fn feed(&mut self, talk: &Talk, bytes: &[u8]) -> Reading {
        match talk.speak {
            Speak::Line => self.feed_line(bytes),
            Speak::Http => self.feed_http(talk, bytes),
            // Whoever speaks first is only listened to.
            Speak::Nothing => Reading::More,
        }
    }

    /// What the end of the connection makes of the answer.
    pub(super) fn end(&self) -> Reading {
        match self.body {
            Body::UntilClose => Reading::Done,
            _ => Reading::Broken(Fault::ClosedEarly),
        }
    }

    /// Who has answered, if he says so. The next answer begins.
    pub(super) fn finish(&mut self) -> Option<String> {
        self.head.clear();
        self.body = Body::None;
        self.name.take()
    }

    fn feed_line(&mut self, bytes: &[u8]) -> Reading {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let line = &bytes[..end.unwrap_or(bytes.len())];
        self.keep(line, NAMED.len() + NAME_MAX + 1);
        if end.is_none() {
            return Reading::More;
        }
        self.name = name_in(&self.head);
        Reading::Done
    }

    fn keep(&mut self, bytes: &[u8], most: usize) {
        let room = most.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn feed_http(&mut self, talk: &Talk, bytes: &[u8]) -> Reading {
        if self.body != Body::None {
            return self.feed_body(bytes);
        }
        let before = self.head.len();
        self.keep(bytes, HEAD_MAX);
        let from = before.saturating_sub(3);
        let Some(at) = self.head[from..].windows(4).position(|four| four == b"\r\n\r\n") else {
            let is_full = self.head.len() >= HEAD_MAX;
            return if is_full { Reading::Broken(Fault::BadAnswer) } else { Reading::More };
        };
        let end = from + at + 4;
        let head = String::from_utf8_lossy(&self.head[..end]).into_owned();
        self.head.clear();
        match read_head(&head, talk.header.as_deref()) {
            Err(fault) => Reading::Broken(fault),
            // An interim answer; the real one follows.
            Ok(Head { status: 100..=199, .. }) => {
                self.feed_http(talk, &bytes[(end - before).min(bytes.len())..])
            }
            Ok(head) => {
                (self.name, self.body) = (head.name, head.body);
                let rest = self.feed_body(&bytes[(end - before).min(bytes.len())..]);
                if head.status >= 400 { Reading::Broken(Fault::Status) } else { rest }
            }
        }
    }

    fn feed_body(&mut self, mut bytes: &[u8]) -> Reading {
        loop {
            self.body = match self.body {
                Body::Length(0) => {
                    self.name = self.name.take().or_else(|| name_in(&self.head));
                    return Reading::Done;
                }
                Body::None => return Reading::More,
                _ if bytes.is_empty() => return Reading::More,
                Body::Length(left) => Body::Length(left - self.swallow(&mut bytes, left)),
                Body::UntilClose => {
                    self.swallow(&mut bytes, u64::MAX);
                    self.name = self.name.take().or_else(|| name_in(&self.head));
                    Body::UntilClose
                }
                Body::Chunk(0) => Body::ChunkLength { digits: 0, length: 0, in_digits: true },
                Body::Chunk(left) => Body::Chunk(left - self.swallow(&mut bytes, left)),
                Body::ChunkLength { digits, length, in_digits } => {
                    let (byte, rest) = (bytes[0], &bytes[1..]);
                    bytes = rest;
                    match chunk_length(byte, digits, length, in_digits) {
                        Some(next) => next,
                        None => return Reading::Broken(Fault::BadAnswer),
                    }
                }
                Body::Trailer { is_empty } => {
                    let (byte, rest) = (bytes[0], &bytes[1..]);
                    bytes = rest;
                    match byte {
                        b'\n' if is_empty => Body::Length(0),
                        b'\n' => Body::Trailer { is_empty: true },
                        b'\r' => Body::Trailer { is_empty },
                        _ => Body::Trailer { is_empty: false },
                    }
                }
            };
        }
    }

    /// Takes at most `left` bytes of a body; how many.
    fn swallow(&mut self, bytes: &mut &[u8], left: u64) -> u64 {
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let (body, rest) = bytes.split_at(taken);
        self.keep(body, NAMED.len() + NAME_MAX + 1);
        *bytes = rest;
        taken as u64
    }
}

/// The next state after a byte of the line in front of a chunk, if it may stand there. A chunk ends
/// with an empty line of its own, which counts as part of the next one's.
fn chunk_length(byte: u8, digits: u32, length: u64, in_digits: bool) -> Option<Body> {
    match byte {
        b'\n' if digits == 0 => Some(Body::ChunkLength { digits, length, in_digits: true }),
        b'\n' if length == 0 => Some(Body::Trailer { is_empty: true }),
        b'\n' => Some(Body::Chunk(length)),
        b'\r' => Some(Body::ChunkLength { digits, length, in_digits: false }),
        b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' if in_digits && digits < 15 => {
            let digit = char::from(byte).to_digit(16)?;
            let length = length * 16 + u64::from(digit);
            Some(Body::ChunkLength { digits: digits + 1, length, in_digits })
        }
        // An extension of the chunk, which nobody needs.
        _ if digits > 0 => Some(Body::ChunkLength { digits, length, in_digits: false }),
        _ => None,
    }
}

struct Head {
    status: u16,
    body: Body,
    name: Option<String>,
}

fn read_head(text: &str, named_by: Option<&str>) -> Result<Head, Fault> {
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let status = status.and_then(|word| word.parse().ok()).ok_or(Fault::BadAnswer)?;
    let mut head = Head { status, body: Body::UntilClose, name: None };
    let mut is_chunked = false;
    for line in lines.filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once(':').ok_or(Fault::BadAnswer)?;
        let (key, value) = (key.to_ascii_lowercase(), value.trim());
        match key.as_str() {
            "content-length" => {
                head.body = Body::Length(value.parse().map_err(|_| Fault::BadAnswer)?);
            }
            "transfer-encoding" => is_chunked = value.eq_ignore_ascii_case("chunked"),
            _ => {}
        }
        if named_by == Some(key.as_str()) {
            head.name = name(value);
        }
    }
    if is_chunked {
        head.body = Body::ChunkLength { digits: 0, length: 0, in_digits: true };
    }
    if matches!(status, 204 | 304) {
        head.body = Body::Length(0);
    }
    Ok(head)
}

/// The name at the beginning of a text.
pub(super) fn name_in(text: &[u8]) -> Option<String> {
    name(std::str::from_utf8(text.strip_prefix(NAMED.as_bytes())?).ok()?)
}

/// The first word, printable and not too long.
fn name(text: &str) -> Option<String> {
    let word = text.split(char::is_whitespace).next()?;
    let name: String =
        word.chars().take(NAME_MAX).map(|c| if c.is_control() { '?' } else { c }).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http() -> Talk {
        Talk { header: Some("x-served-by".into()), ..Talk::http("/", "x", None, true) }
    }

    /// What becomes of an answer, however it is cut.
    fn read(talk: &Talk, text: &str) -> (Reading, Option<String>) {
        let bytes = text.as_bytes();
        let mut whole = Reader::default();
        let outcome = (whole.feed(talk, bytes), whole.finish());
        for cut in 1..bytes.len() {
            let mut reader = Reader::default();
            let first = reader.feed(talk, &bytes[..cut]);
            let last =
                if first == Reading::More { reader.feed(talk, &bytes[cut..]) } else { first };
            assert_eq!(last, outcome.0, "{text:?} cut at {cut}");
            if last == Reading::Done {
                assert_eq!(reader.finish(), outcome.1, "{text:?} cut at {cut}");
            }
        }
        outcome
    }

    #[test]
    fn requests_are_as_long_as_wanted() {
        assert_eq!(&*Talk::line(1).request, b"\n");
        let talk = Talk::line(64);
        assert_eq!((talk.request.len(), talk.request.last()), (64, Some(&b'\n')));
        let text = |talk: Talk| String::from_utf8(talk.request.to_vec()).unwrap();
        let get = text(Talk::http("/a", "h:1", None, false));
        assert!(get.starts_with("GET /a HTTP/1.1\r\nHost: h:1\r\n") && get.ends_with("\r\n\r\n"));
        let post = text(Talk::http("/", "h", Some(3), true));
        assert!(post.contains("Content-Length: 3\r\n") && post.ends_with("\r\n\r\nxxx"), "{post}");
    }

    #[test]
    fn lines_end_and_name_their_backend() {
        let talk = Talk::line(8);
        let named = (Reading::Done, Some("b1".to_owned()));
        assert_eq!(read(&talk, "backend=b1 peer=1.2.3.4:5 abc\n"), named);
        assert_eq!(read(&talk, "abc\n"), (Reading::Done, None));
        assert_eq!(read(&talk, "abc").0, Reading::More);
        let long = format!("backend={}\n", "x".repeat(500));
        assert_eq!(read(&talk, &long).1.unwrap().len(), NAME_MAX);
        assert_eq!(read(&talk, "backend=\u{7}x y\n").1.as_deref(), Some("?x"));
    }

    #[test]
    fn http_answers_end_where_they_say() {
        let talk = http();
        let named = (Reading::Done, Some("b1".to_owned()));
        let length = "HTTP/1.1 200 OK\r\ncontent-LENGTH: 11\r\n\r\nbackend=b1\n";
        assert_eq!(read(&talk, length), named);
        let header = "HTTP/1.1 204 No\r\nX-Served-By: b1\r\n\r\n";
        assert_eq!(read(&talk, header), named);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       4;x=y\r\nback\r\nA\r\nend=b1 abc\r\n0\r\n\r\n";
        assert_eq!(read(&talk, chunked), named);
        let trailer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n";
        assert_eq!(read(&talk, trailer), (Reading::Done, None));
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(&talk, interim), (Reading::Done, None));
        let mut open = Reader::default();
        assert_eq!(open.feed(&talk, b"HTTP/1.0 200 OK\r\n\r\nbackend=b1\n"), Reading::More);
        assert_eq!((open.end(), open.finish().as_deref()), (Reading::Done, Some("b1")));
    }

    #[test]
    fn what_is_no_answer_is_a_fault() {
        let talk = http();
        let error = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(&talk, error).0, Reading::Broken(Fault::Status));
        for wrong in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert_eq!(read(&talk, wrong).0, Reading::Broken(Fault::BadAnswer), "{wrong:?}");
        }
        let mut endless = Reader::default();
        let mut outcome = Reading::More;
        for _ in 0..HEAD_MAX / 100 + 1 {
            outcome = endless.feed(&talk, &[b'a'; 100]);
        }
        assert_eq!(outcome, Reading::Broken(Fault::BadAnswer));
        assert_eq!(Reader::default().end(), Reading::Broken(Fault::ClosedEarly));
    }
}
