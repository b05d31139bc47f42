//! Reads frames back into plain values, with pnet's packet types.

use std::net::IpAddr;

use pnet_base::MacAddr;
use pnet_packet::Packet;
use pnet_packet::arp::ArpPacket;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::TcpPacket;
use pnet_packet::udp::UdpPacket;

use crate::encode::{ICMP, TCP, UDP};
use crate::icmp::IcmpSeen;
use crate::ndp::{ICMPV6, NdpSeen};
use crate::sum::sum;

/// What a test asks of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// TCP or UDP.
    Transport(Transport),
    /// ARP.
    Arp {
        /// 1 asks, 2 answers.
        operation: u16,
        /// Who says it.
        sender: IpAddr,
        /// His station.
        sender_mac: MacAddr,
        /// To or about whom.
        target: IpAddr,
        /// Sending station of the frame.
        from_mac: MacAddr,
    },
    /// Neighbor Discovery.
    Ndp(NdpSeen),
    /// An ICMP error about a TCP or UDP packet.
    Error(SeenError),
    /// A fragment that is not the first of its datagram.
    Fragment(SeenFragment),
    /// Anything else.
    Other,
}

/// Which part of its datagram a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenPiece {
    /// Where it begins, in units of eight bytes.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
    /// The identification of its datagram, and where in the frame that stands.
    pub id: (u32, usize),
}

/// The part that a frame has of its datagram, if not all of it.
#[must_use]
pub fn piece(bytes: &[u8]) -> Option<SeenPiece> {
    read_ip(bytes, 14)?.piece
}

/// A later fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFragment {
    /// Sending station.
    pub from_mac: MacAddr,
    /// Receiving station.
    pub to_mac: MacAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Time to live.
    pub ttl: u8,
    /// Which part of its datagram it is.
    pub piece: SeenPiece,
    /// Its part of the datagram.
    pub payload: Vec<u8>,
    /// Whether the header checksum is right.
    pub holds: bool,
}

/// An ICMP error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenError {
    /// Sending station.
    pub from_mac: MacAddr,
    /// Receiving station.
    pub to_mac: MacAddr,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Time to live.
    pub ttl: u8,
    /// What it says.
    pub message: IcmpSeen,
    /// The packet that it quotes: protocol, source, destination.
    pub quoted: (u8, (IpAddr, u16), (IpAddr, u16)),
    /// Bytes that it says it has.
    pub quoted_bytes: usize,
    /// Whether the header checksums of both packets are right.
    pub holds: bool,
}

/// A TCP or UDP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Sending station.
    pub from_mac: MacAddr,
    /// Receiving station.
    pub to_mac: MacAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Time to live.
    pub ttl: u8,
    /// TCP's control bits; 0 for UDP.
    pub flags: u8,
    /// Transport checksum field.
    pub checksum: u16,
    /// Byte of the frame where the transport header begins.
    pub transport_at: usize,
    /// Byte of the frame behind the IP packet.
    pub end: usize,
    /// Bytes behind the transport header.
    pub payload: Vec<u8>,
}

impl SeenPiece {
    fn is_a_part(&self) -> bool {
        self.offset > 0 || self.more
    }
}

impl Observed {
    /// The TCP or UDP packet that it is.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn transport(self) -> Transport {
        match self {
            Observed::Transport(transport) => transport,
            other => panic!("not TCP or UDP: {other:?}"),
        }
    }

    /// Who says at which station an address is, in the words of either family, if anybody does.
    #[must_use]
    pub fn teller(&self) -> Option<(IpAddr, MacAddr)> {
        match self {
            Observed::Arp { sender, sender_mac, .. } => Some((*sender, *sender_mac)),
            Observed::Ndp(seen) if seen.asks => seen.station.map(|station| (seen.source, station)),
            Observed::Ndp(seen) => Some((seen.target, seen.station.unwrap_or(seen.from_mac))),
            _ => None,
        }
    }

    /// Whose station is asked for, in the words of either family, if anybody's is.
    #[must_use]
    pub fn question(&self) -> Option<IpAddr> {
        match self {
            Observed::Arp { operation: 1, target, .. } => Some(*target),
            Observed::Ndp(seen) if seen.asks => Some(seen.target),
            _ => None,
        }
    }
}

/// What the bytes of a frame say; `Other` if they are cut off somewhere.
#[must_use]
pub fn observe(bytes: &[u8]) -> Observed {
    let Some(ethernet) = EthernetPacket::new(bytes) else {
        return Observed::Other;
    };
    match ethernet.get_ethertype() {
        EtherTypes::Arp => observe_arp(&ethernet),
        EtherTypes::Ipv4 => observe_ip(bytes, &ethernet),
        EtherTypes::Ipv6 => {
            let ndp = observe_ndp(bytes, &ethernet).map(Observed::Ndp);
            ndp.unwrap_or_else(|| observe_ip(bytes, &ethernet))
        }
        _ => Observed::Other,
    }
}

fn observe_ip(bytes: &[u8], ethernet: &EthernetPacket<'_>) -> Observed {
    if let Some(later) = observe_later(bytes, ethernet) {
        return Observed::Fragment(later);
    }
    let transport = observe_transport(bytes, ethernet).map(Observed::Transport);
    let error = || observe_error(bytes, ethernet).map(Observed::Error);
    transport.or_else(error).unwrap_or(Observed::Other)
}

fn observe_arp(ethernet: &EthernetPacket<'_>) -> Observed {
    let Some(arp) = ArpPacket::new(ethernet.payload()) else {
        return Observed::Other;
    };
    Observed::Arp {
        operation: arp.get_operation().0,
        sender: arp.get_sender_proto_addr().into(),
        sender_mac: arp.get_sender_hw_addr(),
        target: arp.get_target_proto_addr().into(),
        from_mac: ethernet.get_source(),
    }
}

/// What the header of the packet at byte `at` says: of IPv6 its extension headers are followed by
/// their lengths, those of fragments have eight bytes.
fn read_ip(bytes: &[u8], at: usize) -> Option<IpSeen> {
    let packet = bytes.get(at..)?;
    match packet.first()? >> 4 {
        4 => {
            let header = Ipv4Packet::new(packet)?;
            let header_bytes = usize::from(header.get_header_length()) * 4;
            Some(IpSeen {
                source: header.get_source().into(),
                destination: header.get_destination().into(),
                ttl: header.get_ttl(),
                protocol: header.get_next_level_protocol().0,
                transport_at: at + header_bytes,
                end: at + usize::from(header.get_total_length()),
                piece: Some(SeenPiece {
                    offset: header.get_fragment_offset(),
                    more: header.get_flags() & 1 != 0,
                    id: (header.get_identification().into(), at + 4),
                })
                .filter(SeenPiece::is_a_part),
                holds: packet.get(..header_bytes).is_some_and(|head| sum(head) == u16::MAX),
            })
        }
        6 => {
            let header = Ipv6Packet::new(packet)?;
            let (mut protocol, mut offset) = (header.get_next_header().0, 40);
            let mut piece = None;
            while [0, 43, 44, 60].contains(&protocol) {
                let start = packet.get(offset..offset + 8)?;
                if protocol == 44 {
                    let [place, id] = [&start[..4], &start[4..]]
                        .map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
                    let (units, more) = (u16::try_from(place & 0xffff).ok()? / 8, place & 1 != 0);
                    let id = (id, at + offset + 4);
                    piece = Some(SeenPiece { offset: units, more, id });
                }
                if piece.is_some_and(|piece| piece.offset > 0) {
                    (protocol, offset) = (start[0], offset + 8);
                    break;
                }
                offset += if protocol == 44 { 8 } else { 8 + 8 * usize::from(start[1]) };
                protocol = start[0];
            }
            Some(IpSeen {
                source: header.get_source().into(),
                destination: header.get_destination().into(),
                ttl: header.get_hop_limit(),
                protocol,
                transport_at: at + offset,
                end: at + 40 + usize::from(header.get_payload_length()),
                piece: piece.filter(SeenPiece::is_a_part),
                holds: true,
            })
        }
        _ => None,
    }
}

fn observe_ndp(bytes: &[u8], ethernet: &EthernetPacket<'_>) -> Option<NdpSeen> {
    let ipv6 = Ipv6Packet::new(bytes.get(14..)?)?;
    let message = bytes.get(54..54 + usize::from(ipv6.get_payload_length()))?;
    let is_icmp = ipv6.get_next_header().0 == ICMPV6;
    let seen = crate::ndp::read(message, ipv6.get_source().into(), ethernet.get_source());
    seen.filter(|_| is_icmp)
}

/// What a header of either family says.
#[derive(Clone, Copy)]
struct IpSeen {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    protocol: u8,
    transport_at: usize,
    end: usize,
    /// Which part of its datagram it has, if not all of it.
    piece: Option<SeenPiece>,
    /// Whether its checksum is right, if it has one.
    holds: bool,
}

fn observe_transport(bytes: &[u8], ethernet: &EthernetPacket<'_>) -> Option<Transport> {
    let header = read_ip(bytes, 14)?;
    let IpSeen { source, destination, ttl, protocol, transport_at, end, .. } = header;
    let segment = bytes.get(transport_at..end)?;
    let (ports, flags, checksum, header_bytes) = match protocol {
        TCP => {
            let tcp = TcpPacket::new(segment)?;
            let ports = (tcp.get_source(), tcp.get_destination());
            let header_bytes = usize::from(tcp.get_data_offset()) * 4;
            (ports, tcp.get_flags(), tcp.get_checksum(), header_bytes)
        }
        UDP => {
            let udp = UdpPacket::new(segment)?;
            let ports = (udp.get_source(), udp.get_destination());
            (ports, 0, udp.get_checksum(), 8)
        }
        _ => return None,
    };
    Some(Transport {
        from_mac: ethernet.get_source(),
        to_mac: ethernet.get_destination(),
        protocol,
        source,
        destination,
        source_port: ports.0,
        destination_port: ports.1,
        ttl,
        flags,
        checksum,
        transport_at,
        end,
        payload: segment.get(header_bytes..)?.to_vec(),
    })
}

fn observe_later(bytes: &[u8], ethernet: &EthernetPacket<'_>) -> Option<SeenFragment> {
    let header = read_ip(bytes, 14)?;
    let piece = header.piece.filter(|piece| piece.offset > 0)?;
    Some(SeenFragment {
        from_mac: ethernet.get_source(),
        to_mac: ethernet.get_destination(),
        protocol: header.protocol,
        source: header.source,
        destination: header.destination,
        ttl: header.ttl,
        piece,
        payload: bytes.get(header.transport_at..header.end)?.to_vec(),
        holds: header.holds,
    })
}

fn observe_error(bytes: &[u8], ethernet: &EthernetPacket<'_>) -> Option<SeenError> {
    let outer = read_ip(bytes, 14)?;
    let message = bytes.get(outer.transport_at..outer.end)?;
    let is_ipv6 = outer.source.is_ipv6();
    let (number, kinds): (u8, &[u8]) =
        if is_ipv6 { (ICMPV6, &[1, 2, 3, 4]) } else { (ICMP, &[3, 11, 12]) };
    let message = crate::icmp::read(message, (outer.source, outer.destination))?;
    let inner = read_ip(&message.body, 0)?;
    if outer.protocol != number || !kinds.contains(&message.kind) {
        return None;
    }
    let ports = message.body.get(inner.transport_at..inner.transport_at + 4)?;
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let quoted = (inner.protocol, (inner.source, port(0)), (inner.destination, port(2)));
    Some(SeenError {
        from_mac: ethernet.get_source(),
        to_mac: ethernet.get_destination(),
        source: outer.source,
        destination: outer.destination,
        ttl: outer.ttl,
        quoted,
        quoted_bytes: inner.end,
        holds: outer.holds && inner.holds,
        message,
    })
}
