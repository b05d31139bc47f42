//! What does not fit into the records of flows: by pool, what the packets to backends are addressed
//! from and to; and at the places of some records, client and endpoint of wide flows, and whose
//! frontend floats, the addresses of their backends.
//!
//! Memory is used as such flows come; a place keeps what its last flow left there.

use super::record::{Flow, Terms};
use crate::limits::POOLS_MAX;
use crate::packet::PlainTuple;
use crate::prefetch::Part;
use crate::types::{Address, FlowIndex, PoolIndex};

/// What the flows of each pool have in common, because a pool is that of one NAT IP and one target:
/// what their packets leave with towards the backend. Kept apart from the pools, whose lines all
/// workers write to.
pub struct Outsides {
    /// As they lie in packets of IPv4, where a packet reads them.
    plain: Part<[u64]>,
    /// NAT IP and target.
    addresses: Part<[[[u64; 2]; 2]]>,
}

impl Outsides {
    pub(super) fn new() -> Outsides {
        Outsides { plain: Part::zeroed_slice(POOLS_MAX), addresses: Part::zeroed_slice(POOLS_MAX) }
    }

    /// Source and destination of packets to the backend, as [`PlainTuple::addresses`] has them.
    #[inline(always)]
    #[must_use]
    pub fn plain(&self, pool: PoolIndex) -> u64 {
        self.plain.get(usize::from(pool.0)).copied().unwrap_or(0)
    }

    /// NAT IP and target of a pool.
    #[inline]
    pub(super) fn of(&self, pool: PoolIndex) -> [Address; 2] {
        let halves = self.addresses.get(usize::from(pool.0)).copied().unwrap_or_default();
        halves.map(Address::of_halves)
    }

    /// Notes what the flows of a pool leave with. A slot is no other pool's as long as it has
    /// flows, so this changes nothing for any of them.
    pub(super) fn note(&mut self, pool: PoolIndex, nat_ip: Address, target: Address) {
        if let Some(place) = self.plain.get_mut(usize::from(pool.0)) {
            *place = PlainTuple::of_any((nat_ip, 0), (target, 0)).addresses();
        }
        if let Some(place) = self.addresses.get_mut(usize::from(pool.0)) {
            *place = [nat_ip.halves(), target.halves()];
        }
    }
}

/// See the module's documentation.
pub(super) struct Beside {
    pub(super) outsides: Outsides,
    insides: Part<[[[u64; 2]; 2]]>,
    backends: Part<[[u64; 2]]>,
}

impl Beside {
    /// Room for so many flows.
    pub(super) fn new(capacity: usize) -> Beside {
        Beside {
            outsides: Outsides::new(),
            insides: Part::zeroed_slice(capacity),
            backends: Part::zeroed_slice(capacity),
        }
    }

    /// Client and endpoint of a wide flow.
    pub(super) fn insides(&self, flow: FlowIndex) -> [Address; 2] {
        let halves = self.insides.get(flow.slot()).copied().unwrap_or_default();
        halves.map(Address::of_halves)
    }

    /// Of a flow whose frontend floats.
    pub(super) fn backend(&self, flow: FlowIndex) -> Address {
        Address::of_halves(self.backends.get(flow.slot()).copied().unwrap_or_default())
    }

    /// Notes what a new flow has.
    #[inline(always)]
    pub(super) fn note(&mut self, number: FlowIndex, flow: &Flow, terms: &Terms<'_>) {
        if flow.is_wide() || flow.floats() {
            self.note_rare(number, flow, terms);
        }
    }

    #[cold]
    fn note_rare(&mut self, number: FlowIndex, flow: &Flow, terms: &Terms<'_>) {
        if flow.is_wide()
            && let Some(place) = self.insides.get_mut(number.slot())
        {
            *place = [terms.key.client.halves(), terms.key.endpoint.halves()];
        }
        if flow.floats()
            && let Some(place) = self.backends.get_mut(number.slot())
        {
            *place = terms.serving.backend.halves();
        }
    }
}
