//! Reads frames back into plain values, with pnet's packet types.

use std::net::Ipv4Addr;

use pnet_base::MacAddr;
use pnet_packet::Packet;
use pnet_packet::arp::ArpPacket;
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::tcp::TcpPacket;
use pnet_packet::udp::UdpPacket;

use crate::encode::{TCP, UDP};

/// What a test asks of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// TCP or UDP over IPv4.
    Transport(Transport),
    /// ARP.
    Arp {
        /// 1 asks, 2 answers.
        operation: u16,
        /// Who says it.
        sender: Ipv4Addr,
        /// His station.
        sender_mac: MacAddr,
        /// To or about whom.
        target: Ipv4Addr,
        /// Sending station of the frame.
        from_mac: MacAddr,
    },
    /// Anything else.
    Other,
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
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
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
    /// Byte of the frame behind the IPv4 packet.
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
            observe_ipv4(bytes, &ethernet).map_or(Observed::Other, Observed::Transport)
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
        sender: arp.get_sender_proto_addr(),
        sender_mac: arp.get_sender_hw_addr(),
        target: arp.get_target_proto_addr(),
        from_mac: ethernet.get_source(),
    }
}

fn observe_ipv4(bytes: &[u8], ethernet: &EthernetPacket<'_>) -> Option<Transport> {
    let ipv4 = Ipv4Packet::new(bytes.get(14..)?)?;
    let transport_at = 14 + usize::from(ipv4.get_header_length()) * 4;
    let end = 14 + usize::from(ipv4.get_total_length());
    let segment = bytes.get(transport_at..end)?;
    let protocol = ipv4.get_next_level_protocol().0;
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
        source: ipv4.get_source(),
        destination: ipv4.get_destination(),
        source_port: ports.0,
        destination_port: ports.1,
        ttl: ipv4.get_ttl(),
        flags,
        checksum,
        transport_at,
        end,
        payload: segment.get(header_bytes..)?.to_vec(),
    })
}
