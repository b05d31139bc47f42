//! Builds frames, right ones and odd ones, with pnet's packet types.
//!
//! A [`Shape`] says everything about a frame that a test may want to set; [`Shape::encode`] makes
//! the bytes. What a shape does not say is computed as a correct sender would. Overrides come last,
//! so that a frame can lie about its lengths and checksums.

use std::net::IpAddr;

use dataplane::device::{Checksum, FrameFault, Offload, Segmentation, SegmentationKind};
use pnet_base::MacAddr;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperation, MutableArpPacket};
use pnet_packet::ethernet::{EtherType, EtherTypes, MutableEthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::MutableIpv4Packet;
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::tcp::MutableTcpPacket;
use pnet_packet::udp::MutableUdpPacket;

use crate::address::{octets, v4, v6};
use crate::icmp::{ECHO_REQUEST, IcmpShape};
use crate::sum::{add, pseudo_header, sum};

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;

/// TCP's control bits.
pub mod flags {
    /// No more data.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets a connection.
    pub const RST: u8 = 0x04;
    /// Data is to be delivered.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement number is meant.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer is meant.
    pub const URG: u8 = 0x20;
    /// The network was congested (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// The sender has slowed down because of it (RFC 3168).
    pub const CWR: u8 = 0x80;
}

/// A frame and what a kernel would say about it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Image {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// Work left to be done.
    pub offload: Offload,
    /// What the device found wrong with it.
    pub fault: Option<FrameFault>,
}

impl From<Vec<u8>> for Image {
    fn from(bytes: Vec<u8>) -> Image {
        Image { bytes, ..Image::default() }
    }
}

/// How the transport checksum is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sum {
    /// As it should be.
    #[default]
    Right,
    /// Wrong by this much, in one's complement.
    Off(u16),
    /// 0: none (UDP).
    Absent,
    /// Left to the kernel: the sum of the pseudo-header.
    Partial,
}

/// The station of a host: made of its address, so that every host has its own.
#[must_use]
pub fn mac_of(host: IpAddr) -> MacAddr {
    let octets = octets(host);
    let [.., a, b, c, d] = octets[..] else { unreachable!("an address has four bytes") };
    MacAddr::new(0x02, 0x00, a, b, c, d)
}

/// Everything about a frame with an IP packet in it: of IPv6 if its addresses are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Sending station.
    pub from_mac: MacAddr,
    /// Receiving station.
    pub to_mac: MacAddr,
    /// VLAN tag.
    pub vlan: Option<u16>,
    /// EtherType instead of the family's.
    pub ethertype: Option<u16>,
    /// IP version; 4 is the family's own.
    pub version: u8,
    /// Header length in words instead of the true one.
    pub header_words: Option<u8>,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Total length, or payload length of IPv6, instead of the true one.
    pub total_length: Option<u16>,
    /// Identification.
    pub id: u16,
    /// The three flags: 2 is "don't fragment", 1 "more fragments".
    pub fragment_flags: u8,
    /// Fragment offset in units of eight bytes.
    pub fragment_offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Added to the right header checksum.
    pub header_error: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP options, whole words.
    pub ip_options: Vec<u8>,
    /// Flow label of IPv6.
    pub flow_label: u32,
    /// Extension headers of IPv6 with the number of the first; each names the next itself.
    pub extensions: (u8, Vec<u8>),
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// TCP sequence number.
    pub sequence: u32,
    /// TCP acknowledgement number.
    pub acknowledgement: u32,
    /// TCP control bits.
    pub flags: u8,
    /// TCP window.
    pub window: u16,
    /// TCP options, whole words.
    pub tcp_options: Vec<u8>,
    /// TCP header length in words instead of the true one.
    pub data_offset: Option<u8>,
    /// UDP length instead of the true one.
    pub udp_length: Option<u16>,
    /// Transport checksum.
    pub sum: Sum,
    /// Bytes behind the transport header.
    pub payload: Vec<u8>,
    /// Bytes behind the IPv4 packet.
    pub padding: Vec<u8>,
    /// Frame bytes that remain; the rest is cut off.
    pub cut: Option<usize>,
    /// A super-packet with segments of this many payload bytes.
    pub segment_bytes: Option<u16>,
    /// Where the kernel is told the transport header begins, instead of where it does.
    pub partial_start: Option<u16>,
    /// A bit of the frame that is turned over, counted from the first byte's highest.
    pub flip: Option<usize>,
}

impl Shape {
    /// A packet from one (address, port) to another, without payload.
    #[must_use]
    pub fn new(protocol: u8, from: (IpAddr, u16), to: (IpAddr, u16)) -> Shape {
        Shape {
            from_mac: mac_of(from.0),
            to_mac: MacAddr::zero(),
            vlan: None,
            ethertype: None,
            version: 4,
            header_words: None,
            tos: 0,
            total_length: None,
            id: 0,
            fragment_flags: 0,
            fragment_offset: 0,
            ttl: 64,
            header_error: 0,
            protocol,
            source: from.0,
            destination: to.0,
            ip_options: Vec::new(),
            flow_label: 0,
            extensions: (protocol, Vec::new()),
            source_port: from.1,
            destination_port: to.1,
            sequence: 0,
            acknowledgement: 0,
            flags: 0,
            window: 0xffff,
            tcp_options: Vec::new(),
            data_offset: None,
            udp_length: None,
            sum: Sum::Right,
            payload: Vec::new(),
            padding: Vec::new(),
            cut: None,
            segment_bytes: None,
            partial_start: None,
            flip: None,
        }
    }

    /// A TCP segment with these control bits.
    #[must_use]
    pub fn tcp(from: (IpAddr, u16), to: (IpAddr, u16), flags: u8) -> Shape {
        Shape { flags, ..Shape::new(TCP, from, to) }
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Shape {
        Shape::new(UDP, from, to).with_payload(payload)
    }

    /// An ICMP echo request.
    #[must_use]
    pub fn ping(from: IpAddr, to: IpAddr) -> Shape {
        IcmpShape::echo(ECHO_REQUEST, 0x1234, 1, &[]).between(from, to)
    }

    /// With this payload.
    #[must_use]
    pub fn with_payload(mut self, payload: &[u8]) -> Shape {
        self.payload = payload.to_vec();
        self
    }

    /// Sent to this station.
    #[must_use]
    pub fn to_station(mut self, mac: MacAddr) -> Shape {
        self.to_mac = mac;
        self
    }

    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Image {
        let transport = self.transport();
        let packet = self.packet(&transport);
        let mut bytes = self.ethernet(&packet);
        bytes.extend(&self.padding);
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        if let Some(byte) = self.flip.and_then(|bit| bytes.get_mut(bit / 8)) {
            *byte ^= 0x80 >> (self.flip.unwrap_or(0) % 8);
        }
        Image { bytes, offload: self.offload(), fault: None }
    }

    fn ethernet(&self, packet: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 14];
        let mut header = MutableEthernetPacket::new(&mut bytes).unwrap();
        header.set_source(self.from_mac);
        header.set_destination(self.to_mac);
        let own = if self.is_ipv6() { EtherTypes::Ipv6 } else { EtherTypes::Ipv4 };
        let inner = self.ethertype.map_or(own, EtherType);
        match self.vlan {
            None => header.set_ethertype(inner),
            Some(tag) => {
                header.set_ethertype(EtherTypes::Vlan);
                bytes.extend(tag.to_be_bytes());
                bytes.extend(inner.0.to_be_bytes());
            }
        }
        bytes.extend(packet);
        bytes
    }

    fn is_ipv6(&self) -> bool {
        self.source.is_ipv6()
    }

    fn header_bytes(&self) -> usize {
        match self.is_ipv6() {
            true => 40 + self.extensions.1.len(),
            false => 20 + self.ip_options.len(),
        }
    }

    fn ipv6_packet(&self, transport: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        let body = self.extensions.1.len() + transport.len();
        let true_length = u16::try_from(body).unwrap_or(u16::MAX);
        let mut header = MutableIpv6Packet::new(&mut bytes).unwrap();
        header.set_version(if self.version == 4 { 6 } else { self.version });
        header.set_traffic_class(self.tos);
        header.set_flow_label(self.flow_label);
        header.set_payload_length(self.total_length.unwrap_or(true_length));
        header.set_next_header(IpNextHeaderProtocol(self.extensions.0));
        header.set_hop_limit(self.ttl);
        header.set_source(v6(self.source));
        header.set_destination(v6(self.destination));
        bytes.extend(&self.extensions.1);
        bytes.extend(transport);
        bytes
    }

    fn packet(&self, transport: &[u8]) -> Vec<u8> {
        if self.is_ipv6() {
            return self.ipv6_packet(transport);
        }
        let mut bytes = vec![0; self.header_bytes()];
        bytes[20..].copy_from_slice(&self.ip_options);
        let true_words = u8::try_from(self.header_bytes() / 4).unwrap();
        let true_length = u16::try_from(self.header_bytes() + transport.len()).unwrap_or(u16::MAX);
        let mut header = MutableIpv4Packet::new(&mut bytes).unwrap();
        header.set_version(self.version);
        header.set_header_length(self.header_words.unwrap_or(true_words));
        header.set_dscp(self.tos >> 2);
        header.set_ecn(self.tos & 3);
        header.set_total_length(self.total_length.unwrap_or(true_length));
        header.set_identification(self.id);
        header.set_flags(self.fragment_flags);
        header.set_fragment_offset(self.fragment_offset);
        header.set_ttl(self.ttl);
        header.set_next_level_protocol(IpNextHeaderProtocol(self.protocol));
        header.set_source(v4(self.source));
        header.set_destination(v4(self.destination));
        let checksum = add(!sum(&bytes), self.header_error);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(transport);
        bytes
    }

    fn transport(&self) -> Vec<u8> {
        match self.protocol {
            TCP => self.tcp_segment(),
            UDP => self.udp_datagram(),
            _ => self.payload.clone(),
        }
    }

    fn tcp_segment(&self) -> Vec<u8> {
        let header_bytes = 20 + self.tcp_options.len();
        let mut bytes = vec![0; header_bytes];
        bytes[20..].copy_from_slice(&self.tcp_options);
        let true_words = u8::try_from(header_bytes / 4).unwrap();
        let mut header = MutableTcpPacket::new(&mut bytes).unwrap();
        header.set_source(self.source_port);
        header.set_destination(self.destination_port);
        header.set_sequence(self.sequence);
        header.set_acknowledgement(self.acknowledgement);
        header.set_data_offset(self.data_offset.unwrap_or(true_words));
        header.set_flags(self.flags);
        header.set_window(self.window);
        bytes.extend(&self.payload);
        self.write_sum(&mut bytes, 16, None);
        bytes
    }

    fn udp_datagram(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        let true_length = u16::try_from(8 + self.payload.len()).unwrap_or(u16::MAX);
        let length = self.udp_length.unwrap_or(true_length);
        let mut header = MutableUdpPacket::new(&mut bytes).unwrap();
        header.set_source(self.source_port);
        header.set_destination(self.destination_port);
        header.set_length(length);
        bytes.extend(&self.payload);
        let covered = usize::from(length).clamp(8, bytes.len());
        self.write_sum(&mut bytes, 6, Some(covered));
        bytes
    }

    /// Writes the transport checksum over the first `covered` bytes, or all.
    fn write_sum(&self, bytes: &mut [u8], at: usize, covered: Option<usize>) {
        let covered = covered.unwrap_or(bytes.len());
        let length = u16::try_from(covered).unwrap_or(u16::MAX);
        let pseudo = pseudo_header(self.source, self.destination, self.protocol, length);
        let right = !add(pseudo, sum(&bytes[..covered]));
        let field = match self.sum {
            Sum::Right => self.never_absent(right),
            Sum::Off(error) => self.never_absent(add(right, error)),
            Sum::Absent => 0,
            Sum::Partial => pseudo,
        };
        bytes[at..at + 2].copy_from_slice(&field.to_be_bytes());
    }

    /// A computed UDP checksum of 0 is sent as 0xFFFF (RFC 768).
    fn never_absent(&self, checksum: u16) -> u16 {
        if self.protocol == UDP && checksum == 0 { u16::MAX } else { checksum }
    }

    fn offload(&self) -> Offload {
        let start = u16::try_from(14 + self.header_bytes()).unwrap();
        let start = self.partial_start.unwrap_or(start);
        let (offset, kind, transport_header) = match self.protocol {
            UDP => (6, SegmentationKind::Udp, 8),
            _ if self.is_ipv6() => (16, SegmentationKind::TcpIpv6, 20 + self.tcp_options.len()),
            _ => (16, SegmentationKind::TcpIpv4, 20 + self.tcp_options.len()),
        };
        let headers = 14 + self.header_bytes() + transport_header;
        Offload {
            checksum: match self.sum {
                Sum::Partial => Checksum::Partial { start, offset },
                _ => Checksum::Complete,
            },
            segmentation: self.segment_bytes.map(|segment_bytes| Segmentation {
                kind,
                segment_bytes,
                header_bytes: u16::try_from(headers).unwrap(),
                ecn: false,
            }),
        }
    }
}

/// Everything about an ARP frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArpShape {
    /// Sending station of the frame.
    pub from_mac: MacAddr,
    /// Receiving station of the frame.
    pub to_mac: MacAddr,
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Station of the sender, in the packet.
    pub sender_mac: MacAddr,
    /// Address of the sender.
    pub sender: IpAddr,
    /// Station of the target.
    pub target_mac: MacAddr,
    /// Address of the target.
    pub target: IpAddr,
    /// Hardware type: 1 is Ethernet.
    pub hardware: u16,
    /// Frame bytes that remain.
    pub cut: Option<usize>,
}

impl ArpShape {
    /// The question where `target` is, asked by `sender` to all.
    #[must_use]
    pub fn who_has(target: IpAddr, (sender, mac): (IpAddr, MacAddr)) -> ArpShape {
        ArpShape {
            from_mac: mac,
            to_mac: MacAddr::broadcast(),
            operation: 1,
            sender_mac: mac,
            sender,
            target_mac: MacAddr::zero(),
            target,
            hardware: ArpHardwareTypes::Ethernet.0,
            cut: None,
        }
    }

    /// The answer that `sender` is at `mac`, to the asker.
    #[must_use]
    pub fn is_at(
        (sender, mac): (IpAddr, MacAddr),
        (asker, asker_mac): (IpAddr, MacAddr),
    ) -> ArpShape {
        ArpShape {
            to_mac: asker_mac,
            operation: 2,
            target_mac: asker_mac,
            ..ArpShape::who_has(asker, (sender, mac))
        }
    }

    /// The frame, without padding.
    #[must_use]
    pub fn encode(&self) -> Image {
        let mut body = vec![0; 28];
        let mut packet = MutableArpPacket::new(&mut body).unwrap();
        packet.set_hardware_type(pnet_packet::arp::ArpHardwareType(self.hardware));
        packet.set_protocol_type(EtherTypes::Ipv4);
        packet.set_hw_addr_len(6);
        packet.set_proto_addr_len(4);
        packet.set_operation(ArpOperation(self.operation));
        packet.set_sender_hw_addr(self.sender_mac);
        packet.set_sender_proto_addr(v4(self.sender));
        packet.set_target_hw_addr(self.target_mac);
        packet.set_target_proto_addr(v4(self.target));
        let mut bytes = vec![0; 14];
        let mut header = MutableEthernetPacket::new(&mut bytes).unwrap();
        header.set_source(self.from_mac);
        header.set_destination(self.to_mac);
        header.set_ethertype(EtherTypes::Arp);
        bytes.extend(body);
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        Image::from(bytes)
    }
}
