//! A UDP echo server that loses some of the datagrams.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::answer::Answer;
use crate::backend::service::UdpService;
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::pattern::mix;

/// Answers datagrams as [`crate::backend::UdpEcho`] does, but only some of them. Which ones is
/// decided by the seed and by how many came before, so that a run can be repeated.
pub struct LossyUdpEcho {
    service: UdpService,
    lost: Arc<AtomicU64>,
}

impl LossyUdpEcho {
    /// Binds to `address` inside `namespace` and serves until dropped. Of a hundred datagrams
    /// `loss_percent` are lost, on average.
    ///
    /// # Errors
    /// When the address is not there or the port is taken.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
        loss_percent: u8,
        seed: u64,
    ) -> Result<Self, LabError> {
        let (backend, lost) = (name.to_string(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&lost);
        let mut number = 0;
        let service = UdpService::start(namespace, address, name, move |socket, peer, payload| {
            number += 1;
            if is_lost(seed, number, loss_percent) {
                counter.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let payload = String::from_utf8_lossy(payload).into_owned();
            let answer = Answer { backend: backend.clone(), peer, payload };
            // A full send buffer loses it, too.
            let _ = socket.send_to(answer.to_string().as_bytes(), peer);
        })?;
        Ok(Self { service, lost })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.service.address()
    }

    /// Datagrams that came so far, lost ones included.
    pub fn datagrams(&self) -> u64 {
        self.service.peers().count()
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn is_lost(seed: u64, number: u64, loss_percent: u8) -> bool {
    mix(seed ^ mix(number)) % 100 < u64::from(loss_percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_as_many_are_lost_as_said_and_always_the_same() {
        let lost = |seed, percent| (0..10_000).filter(|&at| is_lost(seed, at, percent)).count();
        assert_eq!((lost(1, 0), lost(1, 100)), (0, 10_000));
        for seed in 0..10 {
            assert!((2_800..3_200).contains(&lost(seed, 30)), "seed {seed}");
            assert_eq!(lost(seed, 30), lost(seed, 30));
        }
    }
}
