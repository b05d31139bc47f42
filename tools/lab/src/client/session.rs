//! A TCP connection kept open, to show later whether it still lives.

use std::io;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use super::{Deadline, Dial, Response, TimedStream, http, reset_on_close};
use crate::answer::Answer;
use crate::error::{Context, LabError};

/// An open connection, usable from any thread. Dropping it closes it by FIN.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    dial: Dial,
    local: SocketAddrV4,
    /// Bytes of an answer whose line end has not come yet.
    pending: Vec<u8>,
}

/// What has become of a session that nobody wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// No end was heard of.
    Open,
    /// The peer sent FIN.
    Closed,
    /// A reset came.
    Reset,
}

impl Session {
    /// Connects. The timeout of `dial` holds for this call and for each later one.
    ///
    /// # Errors
    /// As the socket has it: `ConnectionRefused`, `TimedOut` and so on.
    pub fn open(dial: &Dial) -> Result<Self, LabError> {
        let connect = || {
            let stream = dial.connect(dial.deadline())?;
            let SocketAddr::V4(local) = stream.local_addr()? else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            Ok(Self { stream, dial: *dial, local, pending: Vec::new() })
        };
        connect().context("connect", || dial.name())
    }

    /// Our address and port.
    pub fn local(&self) -> SocketAddrV4 {
        self.local
    }

    /// The connection itself, for whatever else a test wants of it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a line to a [`crate::backend::TcpEcho`] and reads its answer. Late answers to earlier
    /// exchanges that timed out are passed over.
    ///
    /// # Errors
    /// Of kind `TimedOut` when the connection is dead without a word, `ConnectionReset` or
    /// `UnexpectedEof` when it was ended.
    pub fn exchange(&mut self, text: &str) -> Result<Answer, LabError> {
        self.try_exchange(text).context("exchange lines with", || self.dial.name())
    }

    /// Sends `GET <path>` to a [`crate::backend::HttpServer`] and keeps the connection.
    ///
    /// # Errors
    /// As [`super::http_get`].
    pub fn http_get(&mut self, path: &str) -> Result<Response, LabError> {
        http::get_on(&self.stream, &self.dial, path)
    }

    /// Waits up to `timeout` for the peer to end the connection, without writing.
    ///
    /// # Errors
    /// When the socket fails in another way.
    pub fn wait_for_end(&mut self, timeout: Duration) -> Result<SessionState, LabError> {
        let deadline = Deadline(Instant::now() + timeout);
        let mut chunk = [0; 4096];
        loop {
            match (TimedStream { stream: &self.stream, deadline }).read(&mut chunk) {
                Ok(0) => return Ok(SessionState::Closed),
                Ok(length) => self.pending.extend_from_slice(&chunk[..length]),
                Err(error) => match error.kind() {
                    io::ErrorKind::TimedOut => return Ok(SessionState::Open),
                    io::ErrorKind::ConnectionReset => return Ok(SessionState::Reset),
                    _ => return Err(LabError::new("wait on", self.dial.name(), error)),
                },
            }
        }
    }

    /// Closes by FIN, as dropping does.
    pub fn close(self) {}

    /// Closes by RST.
    ///
    /// # Errors
    /// When the socket refuses the option.
    pub fn abort(self) -> Result<(), LabError> {
        reset_on_close(&self.stream).context("reset", || self.dial.name())
    }

    fn try_exchange(&mut self, text: &str) -> io::Result<Answer> {
        if text.contains('\n') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut timed = TimedStream { stream: &self.stream, deadline: self.dial.deadline() };
        timed.write_all(format!("{text}\n").as_bytes())?;
        let mut chunk = [0; 4096];
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                let answer: Answer = String::from_utf8_lossy(&line[..end]).parse()?;
                if answer.payload == text {
                    return Ok(answer);
                }
                continue;
            }
            match timed.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.pending.extend_from_slice(&chunk[..length]),
            }
        }
    }
}
