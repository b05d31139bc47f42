//! A cable with faults: it delays, loses, doubles, reorders, corrupts and cuts frames, and refuses
//! those that are too long for it.

use super::agenda::{MICRO, Nanos};
use crate::Random;

/// How a cable treats frames. Chances are in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) loss: usize,
    pub(super) double: usize,
    pub(super) reorder: usize,
    pub(super) corrupt: usize,
    pub(super) cut: usize,
    /// Time on the way, in microseconds, and by how much it varies.
    pub(super) delay: usize,
    pub(super) jitter: usize,
}

/// A frame that comes out at the other end.
pub(super) struct Carried {
    pub(super) at: Nanos,
    pub(super) bytes: Vec<u8>,
    /// Whether it is what was sent.
    pub(super) is_intact: bool,
}

/// One direction of a cable.
pub(super) struct Cable {
    pub(super) faults: Faults,
    /// Bytes of an IP packet at most.
    pub(super) mtu: usize,
    /// When the last frame came out that kept its place.
    last: Nanos,
}

impl Cable {
    pub(super) fn new(faults: Faults, mtu: usize) -> Cable {
        Cable { faults, mtu, last: 0 }
    }

    /// What becomes of a frame that goes in now.
    pub(super) fn carry(&mut self, random: &mut Random, now: Nanos, sent: &[u8]) -> Vec<Carried> {
        let faults = self.faults;
        let mut happens = |chance| chance > 0 && random.below(1_000) < chance;
        if sent.len() > self.mtu + 14 || happens(faults.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(happens(faults.double));
        let (spoils, cuts) = (happens(faults.corrupt), happens(faults.cut));
        let overtaken = happens(faults.reorder);
        (0..copies)
            .map(|copy| {
                let mut bytes = sent.to_vec();
                let wait = faults.delay + random.below(faults.jitter + 1);
                let mut at = now + wait as Nanos * MICRO;
                if overtaken && copy == 0 {
                    at += (1 + random.below(20_000)) as Nanos * MICRO;
                } else {
                    at = at.max(self.last);
                    self.last = at;
                }
                let mut is_intact = true;
                if spoils {
                    let bit = random.below(bytes.len() * 8);
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    is_intact = false;
                }
                // At least so much that no trailer can stand in for what is gone.
                if cuts && bytes.len() > 24 {
                    bytes.truncate(random.below(bytes.len() - 24) + 1);
                    is_intact = false;
                }
                Carried { at, bytes, is_intact }
            })
            .collect()
    }
}
