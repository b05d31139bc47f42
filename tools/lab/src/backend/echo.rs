//! Echo servers: each answers a line (TCP) or a datagram (UDP) by [`Answer`].

use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddrV4, TcpStream};

use super::service::{TcpService, UdpService};
use crate::answer::Answer;
use crate::error::LabError;
use crate::namespace::Namespace;

/// The longest line that the TCP server takes, its end included; a longer one ends the connection.
pub const MAX_LINE_BYTES: u64 = 64 * 1024;

/// A TCP server that answers each line by one line.
pub struct TcpEcho {
    service: TcpService,
}

impl TcpEcho {
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
        let backend = name.to_string();
        let service = TcpService::start(namespace, address, name, move |stream, peer| {
            // A client that goes away is no error of ours.
            let _ = echo_lines(stream, &backend, peer);
        })?;
        Ok(Self { service })
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

    /// Closes the listener and all connections and ends the threads, as dropping it does.
    pub fn stop(self) {}
}

/// Answers line by line until the client leaves.
pub(super) fn echo_lines(stream: &TcpStream, backend: &str, peer: SocketAddrV4) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(());
        }
        let payload = String::from_utf8_lossy(&line).into_owned();
        let answer = Answer { backend: backend.to_string(), peer, payload };
        (&mut &*stream).write_all(format!("{answer}\n").as_bytes())?;
    }
}

/// A UDP server that answers each datagram by one datagram.
pub struct UdpEcho {
    service: UdpService,
}

impl UdpEcho {
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
        let backend = name.to_string();
        let service = UdpService::start(namespace, address, name, move |socket, peer, payload| {
            let payload = String::from_utf8_lossy(payload).into_owned();
            let answer = Answer { backend: backend.clone(), peer, payload };
            // A full send buffer loses the answer, as networks do.
            let _ = socket.send_to(answer.to_string().as_bytes(), peer);
        })?;
        Ok(Self { service })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.service.address()
    }

    /// Each peer once, in order of its first datagram.
    pub fn peers(&self) -> Vec<SocketAddrV4> {
        self.service.peers().peers()
    }

    /// Datagrams so far.
    pub fn datagrams(&self) -> u64 {
        self.service.peers().count()
    }

    /// Closes the socket and ends the thread, as dropping it does.
    pub fn stop(self) {}
}
