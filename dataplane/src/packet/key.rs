//! The key under which a flow's forward packets find it: its virtual network and 5-tuple.

use super::Packet;
use crate::hash::Keys;
use crate::types::{
    Address, Family, LinkId, OWNER_MULTIPLIER, Persistence, Protocol, ScopeId, WorkerId,
};
use crate::wire::plain::PlainTuple;

/// Scope and 5-tuple of a flow, as its client sends it. Two clients with the same tuple in two
/// virtual networks have different keys (I1). Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The client's address.
    pub client: Address,
    /// The endpoint's address.
    pub endpoint: Address,
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

    /// The family of its addresses.
    #[inline]
    #[must_use]
    pub const fn family(&self) -> Family {
        self.endpoint.family()
    }

    /// The hash under which the flow table has it: over the whole addresses, so that whoever may
    /// choose 64 bits of his own cannot aim at a bucket.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self, keys: &Keys) -> u64 {
        match self.family() {
            Family::V4 => hash_plain(keys, &self.plain(), self.domain()),
            Family::V6 => {
                let rest = u64::from(self.plain().ports()) << 32 | u64::from(self.domain());
                keys.hash(self.address_hash(keys), rest)
            }
        }
    }

    /// Both addresses in one word: as they are, where they fit.
    #[inline(always)]
    fn address_hash(&self, keys: &Keys) -> u64 {
        let fold = |address: Address| {
            let [high, low] = address.halves();
            keys.hash(high, low)
        };
        match self.family() {
            Family::V4 => self.plain().addresses(),
            Family::V6 => keys.hash(fold(self.client), fold(self.endpoint)),
        }
    }

    /// The hash by which a backend is chosen: over the connection's link id and as much of the
    /// 5-tuple as persistence leaves, so that equal tuples of different consumers fall
    /// independently.
    #[inline(always)]
    #[must_use]
    pub fn balance_hash(&self, keys: &Keys, link: LinkId, persistence: Persistence) -> u64 {
        let tuple = self.plain();
        let (ports, protocol) = (u64::from(tuple.ports()) << 8, u64::from(self.protocol as u8));
        let rest = match persistence {
            Persistence::None => ports | protocol,
            Persistence::SourceIp => 0,
            Persistence::SourceIpProtocol => protocol,
        };
        let addresses = self.address_hash(keys);
        keys.hash(addresses, rest ^ u64::from(link.0) << 40 ^ u64::from(link.0) >> 24)
    }

    /// The worker that owns the flow, whichever of them its packets arrive at. Kept this simple so
    /// that a kernel filter can compute it (`io` gives it one); multiplied, because Linux gives a
    /// client's connections ports of one parity first.
    #[inline(always)]
    #[must_use]
    pub fn owner(&self, workers: u8) -> WorkerId {
        let address = self.client.folded();
        let mixed = address ^ address >> 16 ^ u32::from(self.client_port);
        let owner = (mixed.wrapping_mul(OWNER_MULTIPLIER) >> 16) % u32::from(workers.max(1));
        WorkerId(owner.to_le_bytes()[0])
    }

    /// Addresses and ports as they lie in the client's packets; of IPv6 the ports alone.
    #[inline(always)]
    #[must_use]
    pub fn plain(&self) -> PlainTuple {
        PlainTuple::of_any((self.client, self.client_port), (self.endpoint, self.endpoint_port))
    }

    /// Scope, protocol and family in one word: the scope above eight bits of protocol, the family
    /// above that, so that no key of IPv6 has the domain of one of IPv4.
    #[inline(always)]
    #[must_use]
    pub fn domain(&self) -> u32 {
        let family = if self.family() == Family::V4 { 0 } else { IPV6_DOMAIN };
        family | u32::from(self.scope.0) << 8 | self.protocol as u32
    }

    /// The key of IPv4 that has this tuple and domain.
    #[must_use]
    pub fn from_plain(tuple: &PlainTuple, domain: u32) -> FlowKey {
        let (client, client_port) = tuple.source();
        let (endpoint, endpoint_port) = tuple.destination();
        let (client, endpoint) = (client.into(), endpoint.into());
        let [protocol, low, high, _] = domain.to_le_bytes();
        let is_tcp = protocol == Protocol::Tcp as u8;
        let protocol = if is_tcp { Protocol::Tcp } else { Protocol::Udp };
        let scope = ScopeId(u16::from_le_bytes([low, high]));
        FlowKey { client, endpoint, client_port, endpoint_port, scope, protocol }
    }
}

/// What [`FlowKey::domain`] has above the scope for IPv6.
const IPV6_DOMAIN: u32 = 1 << 24;

/// The hash under which the flow table has the key of this tuple and domain, which are of IPv4.
#[inline(always)]
#[must_use]
pub fn hash_plain(keys: &Keys, tuple: &PlainTuple, domain: u32) -> u64 {
    // Such a domain has 24 bits: shifted, so that it does not overlap the ports.
    keys.hash(tuple.addresses(), u64::from(tuple.ports()) << 24 | u64::from(domain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn key(scope: u16, client_port: u16) -> FlowKey {
        FlowKey {
            client: Ipv4Addr::new(10, 0, 0, 10).into(),
            endpoint: Ipv4Addr::new(10, 0, 0, 5).into(),
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
    fn a_key_survives_the_form_in_which_packets_have_it() {
        for protocol in Protocol::ALL {
            let key = FlowKey { protocol, ..key(0xfedc, 4000) };
            assert_eq!(FlowKey::from_plain(&key.plain(), key.domain()), key);
        }
    }

    #[test]
    fn equal_tuples_of_two_connections_fall_on_backends_independently() {
        let keys = Keys::new(1);
        let half =
            |port, link| key(0, port).balance_hash(&keys, LinkId(link), Persistence::None) >> 63;
        let agree = (0..10_000).filter(|&port| half(port, 0x2000_0001) == half(port, 0x2000_0002));
        assert!((4_700..5_300).contains(&agree.count()), "two backends, chosen by two coins");
    }

    #[test]
    fn persistence_takes_ports_and_protocol_out_of_the_choice() {
        let keys = Keys::new(1);
        let hash = |key: FlowKey, link, how| key.balance_hash(&keys, LinkId(link), how);
        let (one, other) = (key(0, 4000), FlowKey { endpoint_port: 80, ..key(0, 4001) });
        let udp = FlowKey { protocol: Protocol::Udp, ..one };
        let elsewhere = FlowKey { client: Ipv4Addr::new(10, 0, 0, 11).into(), ..one };
        for (how, same_ports, same_protocol) in [
            (Persistence::None, false, false),
            (Persistence::SourceIp, true, true),
            (Persistence::SourceIpProtocol, true, false),
        ] {
            assert_eq!(hash(one, 1, how) == hash(other, 1, how), same_ports, "{how:?}");
            assert_eq!(hash(one, 1, how) == hash(udp, 1, how), same_protocol, "{how:?}");
            assert_ne!(hash(one, 1, how), hash(elsewhere, 1, how), "{how:?}: another client");
            assert_ne!(hash(one, 1, how), hash(one, 2, how), "{how:?}: another connection");
        }
    }

    #[test]
    fn every_bit_of_an_ipv6_address_counts() {
        let keys = Keys::new(1);
        let address = |bits: u128| Address::from(core::net::Ipv6Addr::from_bits(bits));
        let base = 0x2001_0db8_0000_0000_0000_0000_0000_0005;
        let one = FlowKey { client: address(base ^ 1), endpoint: address(base), ..key(0, 4000) };
        for bit in 0..128 {
            let client = FlowKey { client: address(base ^ 1 ^ 1 << bit), ..one };
            let endpoint = FlowKey { endpoint: address(base ^ 1 << bit), ..one };
            for other in [client, endpoint] {
                assert_ne!(one.hash(&keys), other.hash(&keys), "bit {bit}");
                let balance = |key: &FlowKey| key.balance_hash(&keys, LinkId(1), Persistence::None);
                assert_ne!(balance(&one), balance(&other), "bit {bit}");
            }
        }
        let swapped = FlowKey { client: one.endpoint, endpoint: one.client, ..one };
        assert_ne!(one.hash(&keys), swapped.hash(&keys));
        assert_ne!(one.domain(), key(0, 4000).domain());
    }

    #[test]
    fn one_worker_owns_everything() {
        assert!((0..1000).all(|port| key(0, port).owner(1) == WorkerId(0)));
        assert!((0..1000).all(|port| key(0, port).owner(3).0 < 3));
    }
}
