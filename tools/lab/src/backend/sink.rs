//! Sinks: servers that count what they are sent and say nothing.

use std::io::Read;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::service::{TcpService, UdpService};
use crate::error::LabError;
use crate::namespace::Namespace;

/// What a sink has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Datagrams for UDP; for TCP connections, since a stream has no packets.
    pub arrivals: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

/// A TCP server that reads and counts.
pub struct TcpSink {
    service: TcpService,
    bytes: Arc<AtomicU64>,
}

impl TcpSink {
    /// Binds to `address` inside `namespace` and counts until dropped.
    ///
    /// # Errors
    /// When the address is not there or the port is taken.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
    ) -> Result<Self, LabError> {
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        let service = TcpService::start(namespace, address, name, move |mut stream, _| {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                counter.fetch_add(length as u64, Ordering::Relaxed);
            }
        })?;
        Ok(Self { service, bytes })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.service.address()
    }

    /// What came so far.
    pub fn received(&self) -> Received {
        let bytes = self.bytes.load(Ordering::Relaxed);
        Received { arrivals: self.service.peers().count(), bytes }
    }

    /// Closes everything, as dropping it does.
    pub fn stop(self) {}
}

/// A UDP server that receives and counts.
pub struct UdpSink {
    service: UdpService,
    bytes: Arc<AtomicU64>,
}

impl UdpSink {
    /// Binds to `address` inside `namespace` and counts until dropped.
    ///
    /// # Errors
    /// When the address is not there or the port is taken.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
    ) -> Result<Self, LabError> {
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        let service = UdpService::start(namespace, address, name, move |_, _, payload| {
            counter.fetch_add(payload.len() as u64, Ordering::Relaxed);
        })?;
        Ok(Self { service, bytes })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.service.address()
    }

    /// What came so far.
    pub fn received(&self) -> Received {
        let bytes = self.bytes.load(Ordering::Relaxed);
        Received { arrivals: self.service.peers().count(), bytes }
    }

    /// Closes everything, as dropping it does.
    pub fn stop(self) {}
}
