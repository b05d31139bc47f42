//! Client functions, to be called inside [`crate::Namespace::run`].
//!
//! Promise: each makes its own socket in the namespace of the calling thread, ends within the
//! timeout of its [`Dial`], counted over the whole call, and leaves nothing open. A timeout is an
//! error of kind [`io::ErrorKind::TimedOut`], whatever the socket called it.
//!
//! A source port can be used again at once after a call that ended well: the HTTP server closes
//! first and so keeps TIME_WAIT, and [`tcp_connect`] ends by a reset. They do not retry.

mod flood;
mod http;
mod https;
mod ping;
mod session;

pub use flood::syn_flood;
pub use http::{Response, Transfer, download, http_get, upload};
pub use https::Https;
pub use ping::{PingOutcome, ping, ping_sized};
pub use session::{Session, SessionState};

use std::io;
use std::net::{SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::answer::Answer;
use crate::error::{Context, LabError};

/// The timeout of a [`Dial`] that names none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom to call, from where, and how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The address that is called.
    pub destination: SocketAddrV4,
    /// The address it is called from; port 0 leaves the port, `None` both, to the kernel.
    pub source: Option<SocketAddrV4>,
    /// How long the whole call may take.
    pub timeout: Duration,
}

impl Dial {
    /// A call from wherever the kernel chooses, within [`DEFAULT_TIMEOUT`].
    pub fn to(destination: SocketAddrV4) -> Self {
        Self { destination, source: None, timeout: DEFAULT_TIMEOUT }
    }

    /// From this address.
    #[must_use]
    pub fn from(mut self, source: SocketAddrV4) -> Self {
        self.source = Some(source);
        self
    }

    /// Within this time.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn deadline(&self) -> Deadline {
        Deadline(Instant::now() + self.timeout)
    }

    fn socket(&self, kind: Type, protocol: Protocol) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
        if let Some(source) = self.source {
            // An earlier connection from the same port may linger in TIME_WAIT.
            socket.set_reuse_address(true)?;
            socket.bind(&SockAddr::from(source))?;
        }
        Ok(socket)
    }

    fn connect(&self, deadline: Deadline) -> io::Result<TcpStream> {
        let socket = self.socket(Type::STREAM, Protocol::TCP)?;
        socket.connect_timeout(&SockAddr::from(self.destination), deadline.remaining()?)?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }

    fn name(&self) -> String {
        match self.source {
            Some(source) => format!("{} from {source}", self.destination),
            None => self.destination.to_string(),
        }
    }
}

/// The moment a call must be over.
#[derive(Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    /// The time left, never zero; an error when there is none.
    fn remaining(self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    }
}

/// Sockets with a timeout call its passing `WouldBlock`.
fn name_timeout(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::from(io::ErrorKind::TimedOut),
        _ => error,
    }
}

/// A stream each of whose reads and writes ends by one deadline.
struct TimedStream<'a> {
    stream: &'a TcpStream,
    deadline: Deadline,
}

impl io::Read for TimedStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.deadline.remaining()?))?;
        (&mut &*self.stream).read(buffer).map_err(name_timeout)
    }
}

impl io::Write for TimedStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.deadline.remaining()?))?;
        (&mut &*self.stream).write(bytes).map_err(name_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How an attempt to connect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectOutcome {
    /// The handshake was completed.
    Connected,
    /// It was answered by a reset.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// A router or our own host said that there is no way.
    Unreachable,
}

/// Tries to connect. A connection that comes about is reset at once, which frees its source port.
///
/// # Errors
/// Only for what is no outcome, such as a source address that is taken or not ours.
pub fn tcp_connect(dial: &Dial) -> Result<ConnectOutcome, LabError> {
    match dial.connect(dial.deadline()) {
        Ok(stream) => {
            reset_on_close(&stream).context("connect", || dial.name())?;
            Ok(ConnectOutcome::Connected)
        }
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(ConnectOutcome::Refused),
            io::ErrorKind::TimedOut => Ok(ConnectOutcome::TimedOut),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Ok(ConnectOutcome::Unreachable)
            }
            _ => Err(LabError::new("connect", dial.name(), error)),
        },
    }
}

/// Lingering for no time at all turns the closing of a socket into a reset.
pub(crate) fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// Sends one datagram to a [`crate::backend::UdpEcho`] and reads its answer.
///
/// # Errors
/// Of kind `TimedOut` without an answer, `ConnectionRefused` when an ICMP error came instead,
/// `InvalidData` when something else answered.
pub fn udp_exchange(dial: &Dial, payload: &str) -> Result<Answer, LabError> {
    let exchange = || {
        let socket = udp_socket(dial)?;
        let deadline = dial.deadline();
        socket.send(payload.as_bytes())?;
        socket.set_read_timeout(Some(deadline.remaining()?))?;
        let mut buffer = vec![0; 1 << 16];
        let length = socket.recv(&mut buffer).map_err(name_timeout)?;
        let answer: Answer = String::from_utf8_lossy(&buffer[..length]).parse()?;
        if answer.payload == payload {
            return Ok(answer);
        }
        let words = format!("the payload came back as {:?}", answer.payload);
        Err(io::Error::new(io::ErrorKind::InvalidData, words))
    };
    exchange().context("exchange datagrams with", || dial.name())
}

/// Sends one datagram and waits for nothing.
///
/// # Errors
/// When it cannot be sent.
pub fn udp_send(dial: &Dial, payload: &[u8]) -> Result<(), LabError> {
    udp_socket(dial)
        .and_then(|socket| socket.send(payload))
        .context("send datagram to", || dial.name())
        .map(drop)
}

/// A connected socket: it hears only the destination, and ICMP errors about it.
fn udp_socket(dial: &Dial) -> io::Result<UdpSocket> {
    let socket = dial.socket(Type::DGRAM, Protocol::UDP)?;
    socket.connect(&SockAddr::from(dial.destination))?;
    Ok(socket.into())
}
