//! HTTP requests to a [`crate::backend::HttpServer`]: one connection each, checked to the byte.

use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Dial, TimedStream};
use crate::answer::Answer;
use crate::error::{Context, LabError};
use crate::pattern;
use crate::pattern::Fnv;

const CHUNK_BYTES: usize = 64 * 1024;
/// No sample backend says more in a head or a text.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code, such as 200.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Response {
    /// Reads the body of `GET /`.
    ///
    /// # Errors
    /// Of kind `InvalidData` when no sample backend wrote it.
    pub fn answer(&self) -> Result<Answer, LabError> {
        self.body.parse().context("read", || "HTTP body".into())
    }
}

/// A transfer whose bytes were all as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes of the body.
    pub bytes: u64,
    /// From the first byte sent to the last received.
    pub elapsed: Duration,
}

/// Sends `GET <path>` and reads the whole answer, at most 1 MiB.
///
/// # Errors
/// Of kind `TimedOut`, `ConnectionRefused` and so on as the socket has it, `InvalidData` when
/// what answers does not speak HTTP.
pub fn http_get(dial: &Dial, path: &str) -> Result<Response, LabError> {
    let get = || {
        let deadline = dial.deadline();
        let stream = dial.connect(deadline)?;
        let mut timed = TimedStream { stream: &stream, deadline };
        send_head(&mut timed, dial, "GET", path, 0)?;
        let mut reader = BufReader::new(timed);
        let (status, length) = read_head(&mut reader)?;
        let body = read_text(&mut reader, length)?;
        Ok(Response { status, body })
    };
    get().context("GET", || format!("{path} of {}", dial.name()))
}

/// Downloads `bytes` bytes of the pattern and checks each.
///
/// # Errors
/// As [`http_get`]; of kind `InvalidData` when a byte is wrong, `UnexpectedEof` when one is
/// missing.
pub fn download(dial: &Dial, bytes: u64) -> Result<Transfer, LabError> {
    let transfer = || {
        let deadline = dial.deadline();
        let stream = dial.connect(deadline)?;
        let begin = Instant::now();
        let mut timed = TimedStream { stream: &stream, deadline };
        send_head(&mut timed, dial, "GET", &format!("/bytes/{bytes}"), 0)?;
        let mut reader = BufReader::with_capacity(CHUNK_BYTES, timed);
        let (status, length) = read_head(&mut reader)?;
        if (status, length) != (200, bytes) {
            return Err(wrong(format!("status {status}, {length} bytes announced")));
        }
        read_pattern(&mut reader, bytes)?;
        Ok(Transfer { bytes, elapsed: begin.elapsed() })
    };
    transfer().context("download from", || dial.name())
}

/// Uploads `bytes` bytes of the pattern and checks the hash that the server made of them.
///
/// # Errors
/// As [`http_get`]; of kind `InvalidData` when hash or length is wrong.
pub fn upload(dial: &Dial, bytes: u64) -> Result<Transfer, LabError> {
    let transfer = || {
        let deadline = dial.deadline();
        let stream = dial.connect(deadline)?;
        let begin = Instant::now();
        let mut timed = TimedStream { stream: &stream, deadline };
        send_head(&mut timed, dial, "POST", "/hash", bytes)?;
        let hash = write_pattern(&mut timed, bytes)?;
        let mut reader = BufReader::new(timed);
        let (status, length) = read_head(&mut reader)?;
        let body = read_text(&mut reader, length)?;
        if status != 200 || body != format!("hash={hash:016x}\nlength={bytes}\n") {
            return Err(wrong(format!("status {status}, {body:?} instead of {hash:016x}")));
        }
        Ok(Transfer { bytes, elapsed: begin.elapsed() })
    };
    transfer().context("upload to", || dial.name())
}

fn send_head(
    stream: &mut TimedStream<'_>,
    dial: &Dial,
    method: &str,
    path: &str,
    length: u64,
) -> io::Result<()> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n",
        dial.destination
    );
    stream.write_all(head.as_bytes())
}

fn write_pattern(stream: &mut TimedStream<'_>, bytes: u64) -> io::Result<u64> {
    let mut hash = Fnv::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut sent = 0;
    while sent < bytes {
        let piece = usize::try_from(bytes - sent).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        pattern::fill(sent, &mut chunk[..piece]);
        hash.update(&chunk[..piece]);
        stream.write_all(&chunk[..piece])?;
        sent += piece as u64;
    }
    Ok(hash.value())
}

/// Reads the status and the length of the body.
fn read_head(reader: &mut impl BufRead) -> io::Result<(u16, u64)> {
    let mut lines = reader.take(MAX_TEXT_BYTES).lines();
    let status = lines.next().transpose()?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let code = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let code = code.and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| wrong(format!("no HTTP status: {status:?}")))?;
    let mut length = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            let length = length.ok_or_else(|| wrong("no Content-Length".into()))?;
            return Ok((code, length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Reads a body of text, then the end of the connection, so that the server closes first.
fn read_text(reader: &mut BufReader<TimedStream<'_>>, length: u64) -> io::Result<String> {
    if length > MAX_TEXT_BYTES {
        return Err(wrong(format!("a text of {length} bytes")));
    }
    let mut body = String::new();
    let read = reader.by_ref().take(length).read_to_string(&mut body)?;
    if (read as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    read_end(reader)?;
    Ok(body)
}

fn read_pattern(reader: &mut BufReader<TimedStream<'_>>, bytes: u64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut received = 0;
    while received < bytes {
        let wanted = usize::try_from(bytes - received).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let read = reader.read(&mut chunk[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !pattern::matches(received, &chunk[..read]) {
            return Err(wrong(format!("a wrong byte in {read} from {received}")));
        }
        received += read as u64;
    }
    read_end(reader)
}

fn read_end(reader: &mut impl Read) -> io::Result<()> {
    match reader.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(wrong("bytes past the end of the body".into())),
    }
}

fn wrong(words: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// One `GET` on a connection that the caller keeps.
pub(super) fn get_on(stream: &TcpStream, dial: &Dial, path: &str) -> Result<Response, LabError> {
    let get = || {
        let mut timed = TimedStream { stream, deadline: dial.deadline() };
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", dial.destination);
        timed.write_all(head.as_bytes())?;
        let mut reader = BufReader::new(timed);
        let (status, length) = read_head(&mut reader)?;
        let mut body = String::new();
        reader.take(length.min(MAX_TEXT_BYTES)).read_to_string(&mut body)?;
        Ok(Response { status, body })
    };
    get().context("GET", || format!("{path} of {}", dial.name()))
}
