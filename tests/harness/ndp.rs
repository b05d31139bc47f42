//! Neighbor Discovery: built and read with pnet's packet types, summed from scratch.

use std::net::{IpAddr, Ipv6Addr};

use pnet_base::MacAddr;
use pnet_packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NeighborAdvertPacket,
    NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{Icmpv6Code, Icmpv6Types};

use crate::encode::{Image, Shape, mac_of};
use crate::sum::{add, pseudo_header, sum};

/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Everything about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NdpShape {
    /// Whether it asks; else it answers.
    pub asks: bool,
    /// Station and address that it comes from.
    pub from: (MacAddr, IpAddr),
    /// Station and address that it goes to.
    pub to: (MacAddr, IpAddr),
    /// Whom it is about.
    pub target: IpAddr,
    /// The station in its option, if it has one.
    pub station: Option<MacAddr>,
    /// Flags of an advertisement.
    pub flags: u8,
    /// Hop limit.
    pub hops: u8,
    /// Code.
    pub code: u8,
    /// Added to the right checksum.
    pub error: u16,
    /// Frame bytes that remain.
    pub cut: Option<usize>,
}

/// The group that listens for questions about an address, and its station.
#[must_use]
pub fn solicited_node(address: IpAddr) -> (MacAddr, IpAddr) {
    let octets = crate::address::octets(address);
    let [.., a, b, c] = octets[..] else { unreachable!("an address has three bytes") };
    let low = u16::from_be_bytes([b, c]);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low);
    (MacAddr::new(0x33, 0x33, 0xff, a, b, c), group.into())
}

/// All nodes, and their station.
#[must_use]
pub fn all_nodes() -> (MacAddr, IpAddr) {
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    (MacAddr::new(0x33, 0x33, 0, 0, 0, 1), group.into())
}

impl NdpShape {
    /// The question where `target` is, asked by `from`; of an unspecified asker one that probes.
    #[must_use]
    pub fn who_has(target: IpAddr, (asker, mac): (IpAddr, MacAddr)) -> NdpShape {
        let station = (!asker.is_unspecified()).then_some(mac);
        NdpShape {
            asks: true,
            from: (mac, asker),
            to: solicited_node(target),
            target,
            station,
            flags: 0,
            hops: 255,
            code: 0,
            error: 0,
            cut: None,
        }
    }

    /// The answer that `target` is at `mac`, to an asker; to all, if that is unspecified.
    #[must_use]
    pub fn is_at(
        (target, mac): (IpAddr, MacAddr),
        (asker, asker_mac): (IpAddr, MacAddr),
    ) -> NdpShape {
        let (to, flags) = match asker.is_unspecified() {
            true => (all_nodes(), 0x20),
            false => ((asker_mac, asker), 0x60),
        };
        let question = NdpShape::who_has(target, (target, mac));
        NdpShape { asks: false, to, flags, ..question }
    }

    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Image {
        let mut message = vec![0; 24];
        if self.asks {
            let mut packet = MutableNeighborSolicitPacket::new(&mut message).unwrap();
            packet.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
            packet.set_icmpv6_code(Icmpv6Code(self.code));
            packet.set_target_addr(crate::address::v6(self.target));
        } else {
            let mut packet = MutableNeighborAdvertPacket::new(&mut message).unwrap();
            packet.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
            packet.set_icmpv6_code(Icmpv6Code(self.code));
            packet.set_flags(self.flags);
            packet.set_target_addr(crate::address::v6(self.target));
        }
        if let Some(station) = self.station {
            message.extend([if self.asks { 1 } else { 2 }, 1]);
            message.extend(station.octets());
        }
        let length = u16::try_from(message.len()).unwrap();
        let pseudo = pseudo_header(self.from.1, self.to.1, ICMPV6, length);
        let checksum = add(!add(pseudo, sum(&message)), self.error);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let mut shape = Shape::new(ICMPV6, (self.from.1, 0), (self.to.1, 0)).with_payload(&message);
        (shape.from_mac, shape.to_mac, shape.ttl) = (self.from.0, self.to.0, self.hops);
        shape.cut = self.cut;
        shape.encode()
    }
}

/// A message in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NdpSeen {
    /// Whether it asks.
    pub asks: bool,
    /// Who says it.
    pub source: IpAddr,
    /// Whom it is about.
    pub target: IpAddr,
    /// The station in its option, if it has one.
    pub station: Option<MacAddr>,
    /// Sending station of the frame.
    pub from_mac: MacAddr,
}

/// The message in an IPv6 packet's payload.
#[must_use]
pub fn read(message: &[u8], source: IpAddr, from_mac: MacAddr) -> Option<NdpSeen> {
    let (asks, target) = match message.first()? {
        135 => (true, NeighborSolicitPacket::new(message)?.get_target_addr()),
        136 => (false, NeighborAdvertPacket::new(message)?.get_target_addr()),
        _ => return None,
    };
    let station = match message[24..] {
        [kind, 1, a, b, c, d, e, f, ..] if kind == if asks { 1 } else { 2 } => {
            Some(MacAddr::new(a, b, c, d, e, f))
        }
        _ => None,
    };
    Some(NdpSeen { asks, source, target: target.into(), station, from_mac })
}

/// The answer of a host that is asked.
#[must_use]
pub fn answer(question: &NdpSeen) -> Image {
    let target = (question.target, mac_of(question.target));
    NdpShape::is_at(target, (question.source, question.from_mac)).encode()
}
