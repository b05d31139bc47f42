//! A web server whose health comes and goes.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use crate::backend::HttpServer;
use crate::error::LabError;
use crate::namespace::Namespace;

/// An [`HttpServer`] that answers `GET /health` by 200 and by 503 in turns, beginning with 200; all
/// else it serves all the time.
pub struct FlappingHealth {
    server: HttpServer,
}

impl FlappingHealth {
    /// Binds to `address` inside `namespace` and serves until dropped.
    ///
    /// # Errors
    /// When the address is not there or the port is taken.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
        healthy: Duration,
        unhealthy: Duration,
    ) -> Result<Self, LabError> {
        let began = Instant::now();
        let health = move || is_healthy(began.elapsed(), healthy, unhealthy);
        Ok(Self { server: HttpServer::with_health(namespace, address, name, health)? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.server.address()
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.server.connections()
    }
}

fn is_healthy(time: Duration, healthy: Duration, unhealthy: Duration) -> bool {
    let period = (healthy + unhealthy).as_nanos().max(1);
    time.as_nanos() % period < healthy.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_comes_and_goes() {
        let at = |ms| {
            let time = Duration::from_millis(ms);
            is_healthy(time, Duration::from_millis(300), Duration::from_millis(100))
        };
        let seen: Vec<bool> = [0, 299, 300, 399, 400, 699, 700].map(at).to_vec();
        assert_eq!(seen, [true, true, false, false, true, true, false]);
        assert!(is_healthy(Duration::ZERO, Duration::from_secs(1), Duration::ZERO));
        assert!(!is_healthy(Duration::ZERO, Duration::ZERO, Duration::ZERO));
    }
}
