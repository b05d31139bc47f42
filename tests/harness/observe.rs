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
    /// Where it begins, in units of eight bytes.
    pub offset: u16,
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
}

/// What the bytes of a frame say; `Other` if they are cut off somewhere.
#[must_use]
pub fn observe(bytes: &[u8]) -> Observed {
    let Some(ethernet) = EthernetPacket::new(bytes) else {
        return Observed::Other;
    };
    match ethernet.get_ethertype() {
        EtherTypes::Arp => observe_arp(&ethernet),
        EtherTypes::Ipv4 => {
            if let Some(later) = observe_later(bytes, &ethernet) {
                return Observed::Fragment(later);
            }
            let transport = observe_ipv4(bytes, &ethernet).map(Observed::Transport);
            let error = || observe_error(bytes, &ethernet).map(Observed::Error);
            transport.or_else(error).unwrap_or(Observed::Other)
        }
        EtherTypes::Ipv6 => {
            let transport = observe_ipv6(bytes, &ethernet).map(Observed::Transport);
            let ndp = || observe_ndp(bytes, &ethernet).map(Observed::Ndp);
            transport.or_else(ndp).unwrap_or(Observed::Other)
        }
        _ => Observed::Other,
    }
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

fn observe_ipv4(bytes: &[u8], ethernet: &EthernetPacket<'_>) -> Option<Transport> {
    let ipv4 = Ipv4Packet::new(bytes.get(14..)?)?;
    let header = IpSeen {
        source: ipv4.get_source().into(),
        destination: ipv4.get_destination().into(),
        ttl: ipv4.get_ttl(),
        protocol: ipv4.get_next_level_protocol().0,
        transport_at: 14 + usize::from(ipv4.get_header_length()) * 4,
        end: 14 + usize::from(ipv4.get_total_length()),
    };
    observe_transport(bytes, ethernet, header)
}

/// Follows extension headers by their lengths; those of fragments have eight bytes.
fn observe_ipv6(bytes: &[u8], ethernet: &EthernetPacket<'_>) -> Option<Transport> {
    let ipv6 = Ipv6Packet::new(bytes.get(14..)?)?;
    let (mut protocol, mut at) = (ipv6.get_next_header().0, 54);
    while [0, 43, 44, 60].contains(&protocol) {
        let start = bytes.get(at..at + 8)?;
        at += if protocol == 44 { 8 } else { 8 + 8 * usize::from(start[1]) };
        protocol = start[0];
    }
    let header = IpSeen {
        source: ipv6.get_source().into(),
        destination: ipv6.get_destination().into(),
        ttl: ipv6.get_hop_limit(),
        protocol,
        transport_at: at,
        end: 54 + usize::from(ipv6.get_payload_length()),
    };
    observe_transport(bytes, ethernet, header)
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
}

fn observe_transport(
    bytes: &[u8],
    ethernet: &EthernetPacket<'_>,
    header: IpSeen,
) -> Option<Transport> {
    let IpSeen { source, destination, ttl, protocol, transport_at, end } = header;
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
    let packet = bytes.get(14..)?;
    let header = Ipv4Packet::new(packet).filter(|header| header.get_fragment_offset() != 0)?;
    let header_bytes = usize::from(header.get_header_length()) * 4;
    Some(SeenFragment {
        from_mac: ethernet.get_source(),
        to_mac: ethernet.get_destination(),
        protocol: header.get_next_level_protocol().0,
        source: header.get_source().into(),
        destination: header.get_destination().into(),
        ttl: header.get_ttl(),
        offset: header.get_fragment_offset(),
        payload: packet.get(header_bytes..usize::from(header.get_total_length()))?.to_vec(),
        holds: sum(packet.get(..header_bytes)?) == u16::MAX,
    })
}

fn observe_error(bytes: &[u8], ethernet: &EthernetPacket<'_>) -> Option<SeenError> {
    let packet = bytes.get(14..)?;
    let outer = Ipv4Packet::new(packet)?;
    let header_bytes = usize::from(outer.get_header_length()) * 4;
    let message = packet.get(header_bytes..usize::from(outer.get_total_length()))?;
    let message =
        crate::icmp::read(message).filter(|_| outer.get_next_level_protocol().0 == ICMP)?;
    let inner = Ipv4Packet::new(&message.body).filter(|_| [3, 11, 12].contains(&message.kind))?;
    let inner_bytes = usize::from(inner.get_header_length()) * 4;
    let ports = message.body.get(inner_bytes..inner_bytes + 4)?;
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    let from = (inner.get_source().into(), port(0));
    let to = (inner.get_destination().into(), port(2));
    Some(SeenError {
        from_mac: ethernet.get_source(),
        to_mac: ethernet.get_destination(),
        source: outer.get_source().into(),
        destination: outer.get_destination().into(),
        ttl: outer.get_ttl(),
        quoted: (inner.get_next_level_protocol().0, from, to),
        holds: sum(&packet[..header_bytes]) == u16::MAX
            && sum(&message.body[..inner_bytes]) == u16::MAX,
        message,
    })
}
