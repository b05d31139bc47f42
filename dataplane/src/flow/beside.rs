//! What does not fit into the records of some flows, at the places of their records: the addresses
//! of wide ones, and whose frontend floats, the addresses of their backends.
//!
//! Memory is used as such flows come; a place keeps what its last such flow left there.

use super::record::{Addresses, Flow};
use crate::prefetch::Part;
use crate::types::{Address, FlowIndex};

/// See the module's documentation.
pub(super) struct Beside {
    addresses: Part<[Addresses]>,
    backends: Part<[[u64; 2]]>,
}

impl Beside {
    /// Room for so many flows.
    pub(super) fn new(capacity: usize) -> Beside {
        Beside { addresses: Part::zeroed_slice(capacity), backends: Part::zeroed_slice(capacity) }
    }

    /// Of a wide flow.
    pub(super) fn addresses(&self, flow: FlowIndex) -> Addresses {
        self.addresses.get(flow.slot()).copied().unwrap_or_default()
    }

    /// Of a flow whose frontend floats.
    pub(super) fn backend(&self, flow: FlowIndex) -> [u64; 2] {
        self.backends.get(flow.slot()).copied().unwrap_or_default()
    }

    /// Notes what a new flow has: client, endpoint, NAT IP, target, backend.
    #[cold]
    pub(super) fn note(&mut self, number: FlowIndex, flow: &Flow, addresses: &[Address; 5]) {
        let [client, endpoint, nat_ip, target, backend] = addresses.map(Address::halves);
        if flow.is_wide()
            && let Some(place) = self.addresses.get_mut(number.slot())
        {
            *place = [client, endpoint, nat_ip, target];
        }
        if flow.floats()
            && let Some(place) = self.backends.get_mut(number.slot())
        {
            *place = backend;
        }
    }
}
