//! Which packets somebody wants to see, while they pass: plain data, and whether a packet or a flow
//! is one of them.
//!
//! A packet is seen twice, as it arrived and as it left, in two virtual networks with other
//! addresses; it matches if all that is asked for is found on either side. Looks at addresses and
//! ports only, and takes what it reads for what it says: whether a packet is well formed is judged
//! elsewhere.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::drop_reason::DropReason;
use crate::types::{Addresses, Protocol, ScopeId};

/// Bytes of an Ethernet header.
const ETHERNET_BYTES: usize = 14;

/// Which of the packets that match otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdicts {
    /// Whatever becomes of them.
    #[default]
    All,
    /// Those that are dropped.
    Dropped,
    /// Those that are dropped for this reason.
    DroppedFor(DropReason),
}

/// What is asked for; a packet must have all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// A transport protocol.
    pub protocol: Option<Protocol>,
    /// A virtual network, on either side.
    pub scope: Option<ScopeId>,
    /// An endpoint: its virtual network and addresses.
    pub endpoint: Option<(ScopeId, Addresses)>,
    /// A client's address.
    pub client: Option<IpAddr>,
    /// A NAT IP.
    pub nat_ip: Option<IpAddr>,
    /// A backend's address.
    pub backend: Option<IpAddr>,
    /// A port, of whomever.
    pub port: Option<u16>,
    /// What became of it.
    pub verdicts: Verdicts,
}

/// A packet on one side of adit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The virtual network.
    pub scope: ScopeId,
    /// The number of its transport protocol.
    pub protocol: u8,
    /// Where it comes from.
    pub source: (IpAddr, u16),
    /// Where it goes.
    pub destination: (IpAddr, u16),
}

impl Sight {
    /// What a frame says; `None` if it is not IP or too short. Without ports (a later fragment,
    /// another protocol) both are 0.
    #[must_use]
    pub fn of(scope: ScopeId, frame: &[u8]) -> Option<Sight> {
        let packet = frame.get(ETHERNET_BYTES..)?;
        match frame.get(12..ETHERNET_BYTES)? {
            [0x08, 0x00] => {
                let at = usize::from(packet.first()? & 15) * 4;
                let address = |at: usize| {
                    let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                    Some(IpAddr::V4(Ipv4Addr::from(octets)))
                };
                let is_first = packet.get(6)? & 0x1f == 0 && *packet.get(7)? == 0;
                let protocol = *packet.get(9)?;
                let ends = (address(12)?, address(16)?);
                Some(Sight::with_ports(scope, protocol, ends, packet, at, is_first))
            }
            [0x86, 0xdd] => {
                let address = |at: usize| {
                    let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                    Some(IpAddr::V6(Ipv6Addr::from(octets)))
                };
                let ends = (address(8)?, address(24)?);
                Some(Sight::with_ports(scope, *packet.get(6)?, ends, packet, 40, true))
            }
            _ => None,
        }
    }

    fn with_ports(
        scope: ScopeId,
        protocol: u8,
        (source, destination): (IpAddr, IpAddr),
        packet: &[u8],
        at: usize,
        is_first: bool,
    ) -> Sight {
        let has_ports = is_first && Protocol::ALL.iter().any(|known| *known as u8 == protocol);
        let port = |at: usize| match packet.get(at..at + 2) {
            Some(&[high, low]) if has_ports => u16::from_be_bytes([high, low]),
            _ => 0,
        };
        let (from, to) = (port(at), port(at + 2));
        Sight { scope, protocol, source: (source, from), destination: (destination, to) }
    }

    fn has(&self, address: IpAddr) -> bool {
        self.source.0 == address || self.destination.0 == address
    }
}

impl Filter {
    /// Whether it asks for a packet that was seen like this and was dropped for this reason, if it
    /// was.
    #[must_use]
    pub fn wants(&self, sights: [Option<Sight>; 2], dropped: Option<DropReason>) -> bool {
        let is_verdict = match self.verdicts {
            Verdicts::All => true,
            Verdicts::Dropped => dropped.is_some(),
            Verdicts::DroppedFor(reason) => dropped == Some(reason),
        };
        is_verdict && self.is_seen_in(sights)
    }

    /// Whether it may ask for packets of a flow that pass and are seen like this.
    #[must_use]
    pub fn wants_flow(&self, sights: [Sight; 2]) -> bool {
        self.verdicts == Verdicts::All && self.is_seen_in(sights.map(Some))
    }

    fn is_seen_in(&self, sights: [Option<Sight>; 2]) -> bool {
        let any = |holds: &dyn Fn(&Sight) -> bool| sights.iter().flatten().any(holds);
        let addresses = [self.client, self.nat_ip, self.backend];
        self.protocol.is_none_or(|protocol| any(&|sight| sight.protocol == protocol as u8))
            && self.scope.is_none_or(|scope| any(&|sight| sight.scope == scope))
            && self.endpoint.is_none_or(|(scope, at)| {
                any(&|sight| sight.scope == scope && at.ips().any(|address| sight.has(address)))
            })
            && addresses.into_iter().flatten().all(|address| any(&|sight| sight.has(address)))
            && self.port.is_none_or(|port| {
                any(&|sight| [sight.source.1, sight.destination.1].contains(&port))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
    const ENDPOINT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
    const NAT_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 4));
    const BACKEND: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 10));
    const INSIDE: ScopeId = ScopeId(1);
    const PROVIDER: ScopeId = ScopeId(3);

    fn seen(scope: ScopeId, source: (IpAddr, u16), destination: (IpAddr, u16)) -> Sight {
        Sight { scope, protocol: 6, source, destination }
    }

    fn both_ways() -> [[Sight; 2]; 2] {
        let (client, endpoint) = ((CLIENT, 40_000), (ENDPOINT, 443));
        let (nat, backend) = ((NAT_IP, 1_024), (BACKEND, 8_443));
        [
            [seen(INSIDE, client, endpoint), seen(PROVIDER, nat, backend)],
            [seen(PROVIDER, backend, nat), seen(INSIDE, endpoint, client)],
        ]
    }

    #[test]
    fn each_word_of_a_filter_finds_both_directions_and_rules_others_out() {
        let all = Filter::default();
        let filters = [
            (Filter { protocol: Some(Protocol::Tcp), ..all }, true),
            (Filter { protocol: Some(Protocol::Udp), ..all }, false),
            (Filter { scope: Some(INSIDE), ..all }, true),
            (Filter { scope: Some(PROVIDER), ..all }, true),
            (Filter { scope: Some(ScopeId(2)), ..all }, false),
            (Filter { endpoint: Some((INSIDE, ENDPOINT.into())), ..all }, true),
            (Filter { endpoint: Some((ScopeId(2), ENDPOINT.into())), ..all }, false),
            (Filter { client: Some(CLIENT), nat_ip: Some(NAT_IP), ..all }, true),
            (Filter { client: Some(CLIENT), nat_ip: Some(ENDPOINT), ..all }, true),
            (Filter { backend: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), ..all }, false),
            (Filter { backend: Some(BACKEND), port: Some(443), ..all }, true),
            (Filter { backend: Some(BACKEND), port: Some(444), ..all }, false),
        ];
        for (filter, expected) in filters {
            for sights in both_ways() {
                assert_eq!(filter.wants(sights.map(Some), None), expected, "{filter:?}");
                assert_eq!(filter.wants_flow(sights), expected, "{filter:?}");
            }
        }
    }

    #[test]
    fn who_asks_for_drops_sees_nothing_else() {
        let [[before, _], _] = both_ways();
        let sights = [Some(before), None];
        let of = |verdicts| Filter { verdicts, ..Filter::default() };
        let (land, no_rule) = (DropReason::Land, DropReason::NoRule);
        for (verdicts, dropped, expected) in [
            (Verdicts::Dropped, Some(land), true),
            (Verdicts::Dropped, None, false),
            (Verdicts::DroppedFor(land), Some(land), true),
            (Verdicts::DroppedFor(land), Some(no_rule), false),
            (Verdicts::All, Some(no_rule), true),
        ] {
            assert_eq!(of(verdicts).wants(sights, dropped), expected);
            assert_eq!(of(verdicts).wants_flow(both_ways()[0]), verdicts == Verdicts::All);
        }
    }

    #[test]
    fn a_frame_says_who_it_is_from_however_long_it_is() {
        let mut frame = [0; 42];
        frame[12] = 8;
        (frame[14], frame[23]) = (0x45, 17);
        frame[26..30].copy_from_slice(&[10, 0, 0, 9]);
        frame[30..34].copy_from_slice(&[10, 0, 0, 5]);
        frame[34..38].copy_from_slice(&[0x9c, 0x40, 1, 0xbb]);
        let expected = Sight {
            scope: INSIDE,
            protocol: 17,
            source: (CLIENT, 40_000),
            destination: (ENDPOINT, 443),
        };
        assert_eq!(Sight::of(INSIDE, &frame), Some(expected));
        let bare = Sight { source: (CLIENT, 0), destination: (ENDPOINT, 0), ..expected };
        assert_eq!(Sight::of(INSIDE, &frame[..34]), Some(bare));
        frame[21] = 1;
        assert_eq!(Sight::of(INSIDE, &frame), Some(bare), "a later fragment");
        for length in 0..34 {
            assert_eq!(Sight::of(INSIDE, &frame[..length]), None, "{length}");
        }
    }
}
