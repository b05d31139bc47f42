//! HTTP/1.1 as far as a probe needs it (RFC 9112): one request, and the status line of its answer.
//! What follows that line is never read.

use std::net::SocketAddr;

/// Bytes of a status line at most; what a server says longer is no answer.
const STATUS_LINE_BYTES_MAX: usize = 1_024;

/// The request.
pub(super) fn request(host: SocketAddr, path: &str) -> Vec<u8> {
    // The default port of either scheme could be left out; no server minds it.
    let lines = [
        format!("GET {path} HTTP/1.1"),
        format!("Host: {host}"),
        "User-Agent: adit-probe".to_owned(),
        "Accept: */*".to_owned(),
        "Connection: close".to_owned(),
    ];
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

/// Reads an answer, in whatever pieces it comes.
#[derive(Default)]
pub(super) struct StatusReader(Vec<u8>);

impl StatusReader {
    /// Takes the next bytes; the status once the line is whole. Only what can still be a status
    /// line is kept.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Result<u16, String>> {
        let room = STATUS_LINE_BYTES_MAX.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let Some(end) = self.0.iter().position(|&byte| byte == b'\n') else {
            let expected = &b"HTTP/1."[..self.0.len().min(7)];
            if !self.0.starts_with(expected) || self.0.len() >= STATUS_LINE_BYTES_MAX {
                return Some(Err(self.not_http()));
            }
            return None;
        };
        Some(status(&self.0[..end]).ok_or_else(|| self.not_http()))
    }

    fn not_http(&self) -> String {
        let shown = &self.0[..self.0.len().min(32)];
        format!("the answer is not HTTP/1: {:?}", String::from_utf8_lossy(shown))
    }
}

/// The status of `HTTP/1.1 200 OK`, with or without the reason.
fn status(line: &[u8]) -> Option<u16> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [minor, b' ', a, b, c, rest @ ..] = rest else { return None };
    let digits = [minor, a, b, c].into_iter().all(u8::is_ascii_digit);
    let ends = rest.first().is_none_or(|&byte| byte == b' ');
    let digit = |byte: &u8| u16::from(byte - b'0');
    (digits && ends).then(|| digit(a) * 100 + digit(b) * 10 + digit(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Option<Result<u16, String>> {
        let mut reader = StatusReader::default();
        pieces.iter().find_map(|piece| reader.push(piece))
    }

    #[test]
    fn a_request_is_whole_and_names_its_host() {
        for host in ["10.1.0.10:8080", "[fd01::10]:8080"] {
            let text = request(host.parse().unwrap(), "/healthz?deep=1");
            let text = String::from_utf8(text).unwrap();
            let head = format!("GET /healthz?deep=1 HTTP/1.1\r\nHost: {host}\r\n");
            assert!(text.starts_with(&head), "{text}");
            assert!(text.ends_with("Connection: close\r\n\r\n"));
            assert_eq!(text.matches("\r\n\r\n").count(), 1);
        }
    }

    #[test]
    fn statuses_are_read_as_servers_write_them() {
        for (line, status) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], 200),
            (b"HTTP/1.0 503 \r\nmore", 503),
            (b"HTTP/1.1 404\n", 404),
            (b"HTTP/1.1 200\r\n\r\nbody", 200),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", 100),
        ] {
            assert_eq!(read(&[line]), Some(Ok(status)), "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn an_answer_may_come_in_any_pieces() {
        let line = b"HTTP/1.1 200 OK\r\n";
        for cut in 1..line.len() {
            assert_eq!(read(&[&line[..cut]]), None, "cut at {cut}");
            assert_eq!(read(&[&line[..cut], &line[cut..]]), Some(Ok(200)), "cut at {cut}");
        }
        let single: Vec<&[u8]> = line.chunks(1).collect();
        assert_eq!(read(&single), Some(Ok(200)));
    }

    #[test]
    fn what_is_no_status_line_is_no_answer() {
        for line in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"HTTP/2 200\r\n",
            b"HTTP/1.1 20\r\n",
            b"HTTP/1.1 2000\r\n",
            b"HTTP/1.1 2x0 OK\r\n",
            b"HTTP/1.1\r\n",
            b"\r\nHTTP/1.1 200 OK\r\n",
            b"\x15\x03\x01\x00\x02\x02\x46",
        ] {
            let said = read(&[line]).expect("it is judged").unwrap_err();
            assert!(said.starts_with("the answer is not HTTP/1"), "{said}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut reader = StatusReader::default();
        assert_eq!(reader.push(b"HTTP/1.1 200 "), None);
        let endless = (0..).map(|_| reader.push(&[b'a'; 100])).take(100);
        let outcome = endless.flatten().next().expect("it ends");
        assert!(outcome.is_err() && reader.0.len() <= STATUS_LINE_BYTES_MAX);
    }
}
