//! Ways to an IPFIX collector: datagrams, or a stream that is opened anew when it breaks.
//!
//! Nothing here waits: a stream has [`BACKLOG_BYTES_MAX`] bytes for a collector that is slow, and
//! what does not fit there is refused.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Bytes that wait for a slow collector at most.
const BACKLOG_BYTES_MAX: usize = 1 << 20;

/// How long a collector may take to accept a stream, and how often that is tried.
const CONNECT_TIME: Duration = Duration::from_millis(200);
const CONNECT_AGAIN: Duration = Duration::from_secs(5);

/// A message each.
pub(super) struct Datagrams {
    to: SocketAddr,
    socket: Option<UdpSocket>,
}

impl Datagrams {
    pub(super) fn new(to: SocketAddr) -> Datagrams {
        Datagrams { to, socket: None }
    }

    /// Whether this is the beginning of a session.
    pub(super) fn bind(&mut self) -> io::Result<bool> {
        if self.socket.is_some() {
            return Ok(false);
        }
        let socket = match self.to {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        socket.set_nonblocking(true)?;
        socket.connect(self.to)?;
        self.socket = Some(socket);
        Ok(true)
    }

    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(ErrorKind::NotConnected)?;
        socket.send(message).map(|_| ())
    }
}

/// Messages one behind the other.
pub(super) struct Stream {
    to: SocketAddr,
    stream: Option<TcpStream>,
    /// What the collector has not taken yet.
    backlog: Vec<u8>,
    tried: Option<Instant>,
}

impl Stream {
    pub(super) fn new(to: SocketAddr) -> Stream {
        Stream { to, stream: None, backlog: Vec::new(), tried: None }
    }

    /// Opens the stream if it is not; whether this is the beginning of a session.
    pub(super) fn connect(&mut self, now: Instant) -> io::Result<bool> {
        if self.stream.is_some() {
            return Ok(false);
        }
        if self.tried.is_some_and(|tried| now.duration_since(tried) < CONNECT_AGAIN) {
            return Err(io::Error::new(ErrorKind::NotConnected, "no collector accepts the stream"));
        }
        self.tried = Some(now);
        let connected = TcpStream::connect_timeout(&self.to, CONNECT_TIME);
        let stream = connected
            .map_err(|error| io::Error::new(error.kind(), "no collector accepts the stream"))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.backlog.clear();
        self.stream = Some(stream);
        Ok(true)
    }

    /// Sends a message, or keeps it until the collector takes it.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if self.backlog.len() + message.len() > BACKLOG_BYTES_MAX {
            self.flush()?;
        }
        if self.backlog.len() + message.len() > BACKLOG_BYTES_MAX {
            return Err(io::Error::new(ErrorKind::WouldBlock, "the collector is too slow"));
        }
        self.backlog.extend(message);
        self.flush()
    }

    /// Sends what waits, as far as the collector takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut sent = 0;
        let outcome = loop {
            let rest = &self.backlog[sent..];
            if rest.is_empty() {
                break Ok(());
            }
            match stream.write(rest) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.backlog.drain(..sent);
        if outcome.is_err() {
            // The next one gets whole messages only.
            (self.stream, self.tried) = (None, None);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn a_stream_is_opened_anew_and_a_slow_reader_costs_no_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut stream, start) = (Stream::new(listener.local_addr().unwrap()), Instant::now());
        assert!(stream.connect(start).unwrap());
        assert!(!stream.connect(start).unwrap());
        let (mut reader, _) = listener.accept().unwrap();
        stream.send(b"message").unwrap();
        let mut seen = [0; 7];
        reader.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"message");
        // It reads no more: buffers fill up, the backlog too, and then messages are refused.
        let refused = (0..100_000).find_map(|_| stream.send(&[7; 1_400]).err()).unwrap();
        assert_eq!(refused.to_string(), "the collector is too slow");
        assert!(stream.backlog.len() > BACKLOG_BYTES_MAX - 1_400);
        drop(reader);
        let broken = (0..1_000).find_map(|_| stream.flush().err());
        assert!(broken.is_some() && stream.stream.is_none());
        assert!(stream.connect(start).unwrap(), "a new session, at once");
        assert!(stream.backlog.is_empty(), "which begins with a whole message");
    }

    #[test]
    fn where_nobody_listens_nothing_is_tried_too_often() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (mut stream, start) = (Stream::new(address), Instant::now());
        assert!(stream.connect(start).is_err() && stream.tried == Some(start));
        let soon = start + Duration::from_secs(1);
        assert!(stream.connect(soon).is_err() && stream.tried == Some(start));
        let later = start + CONNECT_AGAIN;
        assert!(stream.connect(later).is_err() && stream.tried == Some(later));
    }

    #[test]
    fn a_dead_receiver_of_datagrams_is_an_error_of_theirs_alone() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut datagrams = Datagrams::new(to);
        assert!(datagrams.bind().unwrap() && !datagrams.bind().unwrap());
        let errors = (0..10).filter(|_| datagrams.send(b"message").is_err()).count();
        assert!((1..10).contains(&errors), "{errors}");
    }
}
