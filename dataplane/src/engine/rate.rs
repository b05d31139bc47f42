//! How often adit speaks ICMP: a token bucket for each virtual network, so that one tenant cannot
//! use up what another needs (RFC 1812 4.3.2.8).
//!
//! A bucket holds [`ICMP_BURST_MAX`] tokens and gets one with each tick. Networks beyond
//! [`ICMP_BUCKETS`] share buckets.

use crate::limits::{ICMP_BUCKETS, ICMP_BURST_MAX};
use crate::types::{ScopeId, Tick};

#[derive(Clone, Copy)]
struct Bucket {
    /// Tokens that were taken, as of `since`.
    taken: u32,
    since: Tick,
}

/// See the module's documentation.
pub(super) struct Rate([Bucket; ICMP_BUCKETS]);

impl Rate {
    /// All buckets are full.
    pub(super) fn new() -> Rate {
        Rate([Bucket { taken: 0, since: Tick(0) }; ICMP_BUCKETS])
    }

    /// Takes a token of the network's bucket, if there is one.
    pub(super) fn take(&mut self, scope: ScopeId, now: Tick) -> bool {
        let bucket = &mut self.0[scope.slot() % ICMP_BUCKETS];
        bucket.taken = bucket.taken.saturating_sub(now.since(bucket.since));
        bucket.since = now;
        let has_token = bucket.taken < ICMP_BURST_MAX;
        bucket.taken += u32::from(has_token);
        has_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_a_tick_and_each_network_its_own() {
        let mut rate = Rate::new();
        let (a, b) = (ScopeId(0), ScopeId(1));
        let mut count = |scope, now| (0..1000).filter(|_| rate.take(scope, Tick(now))).count();
        assert_eq!(count(a, 7), ICMP_BURST_MAX as usize);
        assert_eq!((count(a, 7), count(a, 8), count(a, 11)), (0, 1, 3));
        assert_eq!(count(b, 11), ICMP_BURST_MAX as usize);
        assert_eq!(count(a, 1_000_000), ICMP_BURST_MAX as usize);
    }
}
