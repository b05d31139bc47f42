//! A server that resets each connection at the n-th byte.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};

use crate::backend::service::TcpService;
use crate::client::reset_on_close;
use crate::error::LabError;
use crate::namespace::Namespace;

/// Echoes bytes as they come, and resets the connection when the n-th has arrived.
pub struct ResetAt {
    service: TcpService,
}

impl ResetAt {
    /// Binds to `address` inside `namespace` and serves until dropped. With 0 for `bytes` the
    /// connection is reset as soon as it is accepted.
    ///
    /// # Errors
    /// When the address is not there or the port is taken.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
        bytes: u64,
    ) -> Result<Self, LabError> {
        let service = TcpService::start(namespace, address, name, move |stream, _| {
            // A client that goes away first is no error of ours.
            let _ = echo_then_reset(stream, bytes);
        })?;
        Ok(Self { service })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.service.address()
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.service.peers().count()
    }
}

fn echo_then_reset(mut stream: &TcpStream, bytes: u64) -> io::Result<()> {
    let mut chunk = [0; 4096];
    let mut incoming = stream.take(bytes);
    while incoming.limit() > 0 {
        let length = incoming.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        // The n-th byte is answered by the reset.
        if incoming.limit() > 0 {
            stream.write_all(&chunk[..length])?;
        }
    }
    reset_on_close(stream)
}
