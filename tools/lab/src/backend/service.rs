//! What the servers share: accept or receive loops that can be woken and ended, and the log of
//! the peers they saw.
//!
//! A loop waits on its socket and on a pipe whose other end its owner holds: dropping that end
//! wakes it, so nothing polls and nothing outlives its owner.

use std::collections::HashSet;
use std::io;
use std::io::{PipeReader, PipeWriter};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::error::{Context, LabError};
use crate::namespace::Namespace;
use crate::sys;

/// Connections that a TCP server serves at once.
pub const MAX_CONNECTIONS: usize = 4096;
/// Peer addresses that a server remembers; later ones are only counted.
pub const MAX_PEERS_KEPT: usize = 1 << 16;

/// A connection's thread needs little; thousands of them shall fit.
const STACK_BYTES: usize = 128 * 1024;
/// How long to let a passing lack of descriptors or threads go by.
const BREATH: Duration = Duration::from_millis(10);

/// The addresses a server has seen.
#[derive(Default)]
pub(crate) struct PeerLog {
    count: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    in_order: Vec<SocketAddrV4>,
    known: HashSet<SocketAddrV4>,
}

impl PeerLog {
    /// Notes a connection.
    fn add(&self, peer: SocketAddrV4) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.in_order.len() < MAX_PEERS_KEPT {
            kept.in_order.push(peer);
        }
    }

    /// Notes the sender of a datagram, once for each address.
    fn add_distinct(&self, peer: SocketAddrV4) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.in_order.len() < MAX_PEERS_KEPT && kept.known.insert(peer) {
            kept.in_order.push(peer);
        }
    }

    pub(crate) fn peers(&self) -> Vec<SocketAddrV4> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).in_order.clone()
    }

    /// Connections or datagrams so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// A running loop with what it takes to end it.
struct Loop {
    stopped: Arc<AtomicBool>,
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

/// The loop's side of [`Loop`].
struct Leash {
    stopped: Arc<AtomicBool>,
    wake: PipeReader,
}

impl Loop {
    fn start(name: &str, body: impl FnOnce(Leash) + Send + 'static) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let leash = Leash { stopped: Arc::clone(&stopped), wake: reader };
        let thread = thread::Builder::new().name(format!("lab-{name}")).spawn(|| body(leash))?;
        Ok(Self { stopped, wake: Some(writer), thread: Some(thread) })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // Its panic, if there was one, has been printed already.
            let _ = thread.join();
        }
    }
}

impl Leash {
    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Waits until the socket has something to read or the owner wants an end.
    fn wait(&self, socket: &impl AsFd) {
        // A failure to wait is met by the read that follows, after a breath.
        if sys::wait_readable(socket.as_fd(), self.wake.as_fd(), None).is_err() {
            self.breathe();
        }
    }

    fn breathe(&self) {
        self.pause(BREATH);
    }

    /// Waits for so long, unless the owner wants an end.
    fn pause(&self, time: Duration) {
        let _ = sys::wait_readable(self.wake.as_fd(), self.wake.as_fd(), Some(time));
    }
}

/// How a TCP server accepts.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// How long each connection waits although it could be accepted.
    pub(crate) delay: Duration,
    /// How many may wait at once.
    pub(crate) backlog: i32,
}

impl Pace {
    const AT_ONCE: Pace = Pace { delay: Duration::ZERO, backlog: 1024 };
}

/// A TCP server: one thread that accepts and one for each connection.
pub(crate) struct TcpService {
    address: SocketAddrV4,
    peers: Arc<PeerLog>,
    // Held to be dropped.
    _accepting: Loop,
}

impl TcpService {
    /// Binds inside `namespace` and serves each connection by `serve`, whose return closes it.
    pub(crate) fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
        serve: impl Fn(&TcpStream, SocketAddrV4) + Send + Sync + 'static,
    ) -> Result<Self, LabError> {
        Self::start_at(namespace, address, name, Pace::AT_ONCE, serve)
    }

    /// As [`Self::start`], but accepting at a pace.
    pub(crate) fn start_at(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
        pace: Pace,
        serve: impl Fn(&TcpStream, SocketAddrV4) + Send + Sync + 'static,
    ) -> Result<Self, LabError> {
        let subject = || format!("{name} at {address} in {}", namespace.name());
        let peers = Arc::new(PeerLog::default());
        let listener =
            namespace.run(|| bind_tcp(address, pace.backlog))?.context("bind", subject)?;
        let address = v4(listener.local_addr()).context("bind", subject)?;
        let log = Arc::clone(&peers);
        let serve = Arc::new(serve);
        let accepting =
            Loop::start(name, move |leash| accept(&leash, &listener, pace.delay, &log, &serve))
                .context("start", subject)?;
        Ok(Self { address, peers, _accepting: accepting })
    }

    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(crate) fn peers(&self) -> &PeerLog {
        &self.peers
    }
}

fn bind_tcp(address: SocketAddrV4, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A connection in service. The stream is the handler's; here it is only held to be cut short.
struct Connection {
    stream: Weak<TcpStream>,
    thread: JoinHandle<()>,
}

fn accept<S>(
    leash: &Leash,
    listener: &TcpListener,
    delay: Duration,
    peers: &PeerLog,
    serve: &Arc<S>,
) where
    S: Fn(&TcpStream, SocketAddrV4) + Send + Sync + 'static,
{
    let mut connections: Vec<Connection> = Vec::new();
    while !leash.stopped() {
        if !delay.is_zero() {
            leash.wait(listener);
            leash.pause(delay);
        }
        let (stream, peer) = match listener.accept() {
            Ok((stream, SocketAddr::V4(peer))) => (stream, peer),
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                leash.wait(listener);
                continue;
            }
            Err(_) => {
                leash.breathe();
                continue;
            }
        };
        peers.add(peer);
        connections.retain(|connection| !connection.thread.is_finished());
        if connections.len() < MAX_CONNECTIONS {
            connections.extend(start_connection(stream, peer, serve));
        }
    }
    for connection in &connections {
        if let Some(stream) = connection.stream.upgrade() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
    for connection in connections {
        let _ = connection.thread.join();
    }
}

fn start_connection<S>(stream: TcpStream, peer: SocketAddrV4, serve: &Arc<S>) -> Option<Connection>
where
    S: Fn(&TcpStream, SocketAddrV4) + Send + Sync + 'static,
{
    // Answers are small and awaited.
    let _ = stream.set_nodelay(true);
    let stream = Arc::new(stream);
    let weak = Arc::downgrade(&stream);
    let serve = Arc::clone(serve);
    let builder = thread::Builder::new().name("lab-connection".into()).stack_size(STACK_BYTES);
    let thread = builder.spawn(move || serve(&stream, peer)).ok()?;
    Some(Connection { stream: weak, thread })
}

/// A UDP server: one thread.
pub(crate) struct UdpService {
    address: SocketAddrV4,
    peers: Arc<PeerLog>,
    // Held to be dropped.
    _receiving: Loop,
}

impl UdpService {
    /// Binds inside `namespace` and shows each datagram to `serve`, which may answer.
    pub(crate) fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
        serve: impl FnMut(&UdpSocket, SocketAddrV4, &[u8]) + Send + 'static,
    ) -> Result<Self, LabError> {
        let subject = || format!("{name} at {address} in {}", namespace.name());
        let socket = namespace.run(|| bind_udp(address))?.context("bind", subject)?;
        let address = v4(socket.local_addr()).context("bind", subject)?;
        let peers = Arc::new(PeerLog::default());
        let log = Arc::clone(&peers);
        let receiving = Loop::start(name, move |leash| receive(&leash, &socket, &log, serve))
            .context("start", subject)?;
        Ok(Self { address, peers, _receiving: receiving })
    }

    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(crate) fn peers(&self) -> &PeerLog {
        &self.peers
    }
}

fn bind_udp(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn receive(
    leash: &Leash,
    socket: &UdpSocket,
    peers: &PeerLog,
    mut serve: impl FnMut(&UdpSocket, SocketAddrV4, &[u8]),
) {
    let mut buffer = vec![0; 1 << 16];
    while !leash.stopped() {
        match socket.recv_from(&mut buffer) {
            Ok((length, SocketAddr::V4(peer))) => {
                peers.add_distinct(peer);
                serve(socket, peer, &buffer[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => leash.wait(socket),
            // An ICMP error that an earlier answer met.
            Ok(_) | Err(_) => {}
        }
    }
}

fn v4(address: io::Result<SocketAddr>) -> io::Result<SocketAddrV4> {
    match address? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}
