//! The key under which a flow's forward packets find it: its virtual network and 5-tuple.

use core::net::Ipv4Addr;

use super::Packet;
use crate::hash::Keys;
use crate::types::{LinkId, Protocol, ScopeId, WorkerId};

/// Scope and 5-tuple of a flow, as its client sends it. Two clients with the same tuple in two
/// virtual networks have different keys (I1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// The client's address.
    pub client: Ipv4Addr,
    /// The endpoint's address.
    pub endpoint: Ipv4Addr,
    /// The client's port.
    pub client_port: u16,
    /// The port of the endpoint that it talks to.
    pub endpoint_port: u16,
    /// The virtual network that both live in.
    pub scope: ScopeId,
    /// The protocol.
    pub protocol: Protocol,
}

impl FlowKey {
    /// The key of a packet that came in from `scope` towards an endpoint.
    #[inline(always)]
    #[must_use]
    pub fn of(scope: ScopeId, packet: &Packet) -> FlowKey {
        FlowKey {
            client: packet.tuple.source,
            endpoint: packet.tuple.destination,
            client_port: packet.tuple.source_port,
            endpoint_port: packet.tuple.destination_port,
            scope,
            protocol: packet.protocol,
        }
    }

    /// The hash under which the flow table has it.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self, keys: &Keys) -> u64 {
        hash_words(keys, self.addresses(), self.ports(), self.scope, self.protocol)
    }

    /// The hash by which a backend is chosen: over the connection's link id and the 5-tuple, so
    /// that equal tuples of different consumers fall independently.
    #[inline(always)]
    #[must_use]
    pub fn balance_hash(&self, keys: &Keys, link: LinkId) -> u64 {
        let ports = u64::from(self.ports()) << 8 | u64::from(self.protocol as u8);
        keys.hash(self.addresses(), ports ^ u64::from(link.0) << 40 ^ u64::from(link.0) >> 24)
    }

    /// The worker that owns the flow, whichever of them its packets arrive at. Kept this simple so
    /// that a kernel filter can compute it; multiplied, because Linux gives a client's connections
    /// ports of one parity first.
    #[inline(always)]
    #[must_use]
    pub fn owner(&self, workers: u8) -> WorkerId {
        let address = self.client.to_bits();
        let mixed = address ^ address >> 16 ^ u32::from(self.client_port);
        let owner = (mixed.wrapping_mul(0x9e37_79b1) >> 16) % u32::from(workers.max(1));
        WorkerId(owner.to_le_bytes()[0])
    }

    /// Client's and endpoint's address, as they lie in memory and in a packet.
    #[inline(always)]
    #[must_use]
    pub fn addresses(&self) -> u64 {
        let ([a, b, c, d], [e, f, g, h]) = (self.client.octets(), self.endpoint.octets());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    /// Client's and endpoint's port, as they lie in a packet.
    #[inline(always)]
    #[must_use]
    pub fn ports(&self) -> u32 {
        ports_word(self.client_port, self.endpoint_port)
    }
}

/// Two ports as they lie in a packet.
#[inline(always)]
#[must_use]
pub fn ports_word(source: u16, destination: u16) -> u32 {
    (u32::from(source) << 16 | u32::from(destination)).to_be()
}

/// The hash of the flow table, from the words that a packet has.
#[inline(always)]
#[must_use]
pub fn hash_words(
    keys: &Keys,
    addresses: u64,
    ports: u32,
    scope: ScopeId,
    protocol: Protocol,
) -> u64 {
    let scope = u64::from(scope.0) << 8 | u64::from(protocol as u8);
    // The scope's 24 bits share a word with the ports: shifted, so that they do not overlap.
    keys.hash(addresses, u64::from(ports) << 24 | scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scope: u16, client_port: u16) -> FlowKey {
        FlowKey {
            client: Ipv4Addr::new(10, 0, 0, 10),
            endpoint: Ipv4Addr::new(10, 0, 0, 5),
            client_port,
            endpoint_port: 443,
            scope: ScopeId(scope),
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn i1_equal_tuples_of_two_networks_have_two_keys_and_two_hashes() {
        let keys = Keys::new(1);
        assert_ne!(key(0, 4000), key(1, 4000));
        assert_ne!(key(0, 4000).hash(&keys), key(1, 4000).hash(&keys));
        let udp = FlowKey { protocol: Protocol::Udp, ..key(0, 4000) };
        assert_ne!(udp.hash(&keys), key(0, 4000).hash(&keys));
    }

    #[test]
    fn equal_tuples_of_two_connections_fall_on_backends_independently() {
        let keys = Keys::new(1);
        let half = |port, link| key(0, port).balance_hash(&keys, LinkId(link)) >> 63;
        let agree = (0..10_000).filter(|&port| half(port, 0x2000_0001) == half(port, 0x2000_0002));
        assert!((4_700..5_300).contains(&agree.count()), "two backends, chosen by two coins");
    }

    #[test]
    fn one_worker_owns_everything() {
        assert!((0..1000).all(|port| key(0, port).owner(1) == WorkerId(0)));
        assert!((0..1000).all(|port| key(0, port).owner(3).0 < 3));
    }
}
