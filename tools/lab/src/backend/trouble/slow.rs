//! A server that is slow to accept: the kernel completes handshakes, and nobody answers for a
//! while.

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::backend::echo::echo_lines;
use crate::backend::service::{Pace, TcpService};
use crate::error::LabError;
use crate::namespace::Namespace;

/// An echo server that waits before each accept, so that one connection comes after the other.
/// Bounds: as many wait as its backlog says; the kernel drops the SYNs of more.
pub struct SlowAccept {
    service: TcpService,
}

impl SlowAccept {
    /// Binds to `address` inside `namespace` and serves until dropped, each connection `delay`
    /// after it could have been, with room for `backlog` that wait.
    ///
    /// # Errors
    /// When the address is not there or the port is taken.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
        delay: Duration,
        backlog: u16,
    ) -> Result<Self, LabError> {
        let backend = name.to_string();
        let pace = Pace { delay, backlog: backlog.into() };
        let service = TcpService::start_at(namespace, address, name, pace, move |stream, peer| {
            // A client that goes away is no error of ours.
            let _ = echo_lines(stream, &backend, peer);
        })?;
        Ok(Self { service })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.service.address()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.service.peers().count()
    }
}
