//! A server that closes one half of each connection long before the other.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::service::TcpService;
use crate::error::LabError;
use crate::namespace::Namespace;

/// Who closes his half first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The server says who it is and FIN, and reads on until the client's FIN.
    Server,
    /// The server answers only when the client has said FIN: who it is, and how many bytes came.
    Client,
}

/// See the module's documentation. Both say `backend=<name> peer=<ip:port>` and, after the client's
/// FIN, ` received=<bytes>`.
pub struct HalfClose {
    service: TcpService,
    bytes: Arc<AtomicU64>,
}

impl HalfClose {
    /// Binds to `address` inside `namespace` and serves until dropped.
    ///
    /// # Errors
    /// When the address is not there or the port is taken.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
        first: First,
    ) -> Result<Self, LabError> {
        let bytes = Arc::new(AtomicU64::new(0));
        let (counter, backend) = (Arc::clone(&bytes), name.to_string());
        let service = TcpService::start(namespace, address, name, move |stream, peer| {
            let own = format!("backend={backend} peer={peer}");
            // A client that goes away is no error of ours.
            let _ = serve(stream, first, &own, &counter);
        })?;
        Ok(Self { service, bytes })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.service.address()
    }

    /// Bytes received so far, on all connections.
    pub fn received(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn serve(mut stream: &TcpStream, first: First, own: &str, counter: &AtomicU64) -> io::Result<()> {
    if first == First::Server {
        stream.write_all(format!("{own}\n").as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
    }
    let mut chunk = [0; 16 * 1024];
    let mut received = 0;
    loop {
        match stream.read(&mut chunk)? {
            0 => break,
            length => {
                received += length as u64;
                counter.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
    }
    if first == First::Client {
        stream.write_all(format!("{own} received={received}\n").as_bytes())?;
    }
    Ok(())
}
