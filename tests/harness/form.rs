//! What is wrong with the form of a frame, judged from the RFCs alone.
//!
//! [`faults`] reads byte by byte what the dataplane reads by its own parser, so that the two can be
//! compared over all lengths and over any bytes. It names every fault that it sees, in no order: a
//! drop may name any of them, and a frame without a fault must not be dropped for its form.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane::device::{Checksum, FrameFault, Offload, SegmentationKind};
use dataplane::drop_reason::DropReason;
use dataplane::limits::FRAME_BYTES_MAX;
use pnet_base::MacAddr;

use crate::address::octets;
use crate::encode::{ICMP, Image, TCP, UDP, flags};
use crate::sum::sum;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// The reasons that judge nothing but the form of a frame.
pub const REASONS: [DropReason; 24] = [
    DropReason::OffloadInvalid,
    DropReason::FrameTruncated,
    DropReason::VlanTagged,
    DropReason::EthernetTruncated,
    DropReason::EthernetSourceInvalid,
    DropReason::EthernetNotForUs,
    DropReason::EthertypeUnsupported,
    DropReason::Ipv6Unsupported,
    DropReason::Ipv4Truncated,
    DropReason::Ipv4HeaderInvalid,
    DropReason::Ipv4TotalLength,
    DropReason::Ipv4Checksum,
    DropReason::Ipv4Fragment,
    DropReason::Ipv4TtlExpired,
    DropReason::MartianSource,
    DropReason::MartianDestination,
    DropReason::Land,
    DropReason::IcmpUnsupported,
    DropReason::ProtocolUnsupported,
    DropReason::TcpHeaderInvalid,
    DropReason::TcpFlagsInvalid,
    DropReason::UdpHeaderInvalid,
    DropReason::PortZero,
    DropReason::ArpInvalid,
];

/// Everything that is wrong with a frame that arrives at adit's station `station`.
#[must_use]
pub fn faults(image: &Image, station: MacAddr) -> BTreeSet<DropReason> {
    let mut found = Faults(BTreeSet::new());
    match image.fault {
        Some(FrameFault::OffloadInvalid) => found.note(true, DropReason::OffloadInvalid),
        Some(FrameFault::VlanTagged) => found.note(true, DropReason::VlanTagged),
        Some(FrameFault::Truncated) => found.note(true, DropReason::FrameTruncated),
        None => {}
    }
    found.note(image.bytes.len() > FRAME_BYTES_MAX, DropReason::FrameTruncated);
    if found.0.is_empty() {
        found.ethernet(&image.bytes, station, image.offload);
    }
    found.0
}

/// Makes a frame one that adit looks into: addressed to its station, with the right sum over what
/// the IPv4 header claims to be its length. Leaves alone what is too short for that.
pub fn mend(bytes: &mut [u8], station: MacAddr) {
    if let Some(to) = bytes.get_mut(..6) {
        to.copy_from_slice(&station.octets());
    }
    let claimed = bytes.get(ETHERNET).map_or(0, |first| usize::from(first & 15) * 4);
    let Some(header) = bytes.get_mut(ETHERNET..ETHERNET + claimed.max(20)) else {
        return;
    };
    header[10..12].fill(0);
    let checksum = !sum(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

struct Faults(BTreeSet<DropReason>);

impl Faults {
    fn note(&mut self, is_wrong: bool, reason: DropReason) {
        if is_wrong {
            self.0.insert(reason);
        }
    }

    fn ethernet(&mut self, bytes: &[u8], station: MacAddr, offload: Offload) {
        let Some((header, packet)) = bytes.split_at_checked(ETHERNET) else {
            return self.note(true, DropReason::EthernetTruncated);
        };
        let (to, from) = (&header[..6], &header[6..12]);
        let is_group = |address: &[u8]| address[0] & 1 == 1;
        let (for_us, for_group) = (to == station.octets(), is_group(to));
        let from_nobody = is_group(from) || from == [0; 6];
        self.note(from_nobody, DropReason::EthernetSourceInvalid);
        match (word(header, 12), for_us, for_group) {
            (0x86dd, ..) => self.note(true, DropReason::Ipv6Unsupported),
            (0x8100 | 0x88a8, ..) => self.note(true, DropReason::VlanTagged),
            (_, false, false) => self.note(true, DropReason::EthernetNotForUs),
            (0x0800, true, _) => self.ipv4(packet, offload),
            (0x0800, ..) => self.note(true, DropReason::MartianDestination),
            (0x0806, ..) => self.arp(packet),
            _ => self.note(true, DropReason::EthertypeUnsupported),
        }
    }

    /// RFC 826, for IPv4 over Ethernet, asking or answering in somebody's name.
    fn arp(&mut self, packet: &[u8]) {
        let Some(body) = packet.get(..28) else {
            return self.note(true, DropReason::ArpInvalid);
        };
        let ipv4_over_ethernet = body[..6] == [0, 1, 8, 0, 6, 4];
        let sender = &body[8..14];
        let is_somebody = sender[0] & 1 == 0 && sender != [0; 6];
        let known = [1, 2].contains(&word(body, 6));
        self.note(!ipv4_over_ethernet || !known || !is_somebody, DropReason::ArpInvalid);
    }

    fn ipv4(&mut self, packet: &[u8], offload: Offload) {
        if packet.len() < 20 {
            return self.note(true, DropReason::Ipv4Truncated);
        }
        let header_bytes = usize::from(packet[0] & 15) * 4;
        let total = usize::from(word(packet, 2));
        let header_fits = header_bytes >= 20;
        let is_version_4 = packet[0] >> 4 == 4;
        self.note(!is_version_4 || !header_fits, DropReason::Ipv4HeaderInvalid);
        let total_fits = (header_bytes..=packet.len()).contains(&total);
        self.note(!total_fits, DropReason::Ipv4TotalLength);
        if let Some(header) = packet.get(..header_bytes).filter(|_| header_fits) {
            self.note(sum(header) != u16::MAX, DropReason::Ipv4Checksum);
        }
        self.addresses(address(packet, 12), address(packet, 16));
        self.note(word(packet, 6) & 0x3fff != 0, DropReason::Ipv4Fragment);
        self.note(packet[8] <= 1, DropReason::Ipv4TtlExpired);
        let transport = packet.get(header_bytes..total).filter(|_| header_fits);
        let start = ETHERNET + header_bytes;
        match packet[9] {
            TCP => {
                transport.into_iter().for_each(|segment| self.tcp(segment));
                self.offload(offload, (start, 16), SegmentationKind::TcpIpv4);
            }
            UDP => {
                transport.into_iter().for_each(|datagram| self.udp(datagram));
                self.offload(offload, (start, 6), SegmentationKind::Udp);
            }
            ICMP => self.note(true, DropReason::IcmpUnsupported),
            _ => self.note(true, DropReason::ProtocolUnsupported),
        }
    }

    /// RFC 1812 5.3.7 and RFC 3704.
    fn addresses(&mut self, source: IpAddr, destination: IpAddr) {
        let is_martian = |address: IpAddr| {
            let reserved = octets(address)[0] >= 240;
            let this_network = octets(address)[0] == 0;
            address.is_loopback() || address.is_multicast() || reserved || this_network
        };
        self.note(is_martian(source), DropReason::MartianSource);
        self.note(is_martian(destination), DropReason::MartianDestination);
        self.note(source == destination, DropReason::Land);
    }

    fn tcp(&mut self, segment: &[u8]) {
        if segment.len() < 20 {
            return self.note(true, DropReason::TcpHeaderInvalid);
        }
        let header_bytes = usize::from(segment[12] >> 4) * 4;
        let header_fits = (20..=segment.len()).contains(&header_bytes);
        self.note(!header_fits, DropReason::TcpHeaderInvalid);
        let has = |bits: u8| segment[13] & bits != 0;
        let contradicts = has(flags::SYN) && has(flags::FIN | flags::RST);
        let says_nothing = !has(flags::SYN | flags::RST | flags::ACK);
        self.note(contradicts || says_nothing, DropReason::TcpFlagsInvalid);
        self.ports(segment);
    }

    fn udp(&mut self, datagram: &[u8]) {
        if datagram.len() < 8 {
            return self.note(true, DropReason::UdpHeaderInvalid);
        }
        let length = usize::from(word(datagram, 4));
        let length_fits = (8..=datagram.len()).contains(&length);
        self.note(!length_fits, DropReason::UdpHeaderInvalid);
        self.ports(datagram);
    }

    fn ports(&mut self, transport: &[u8]) {
        let is_zero = word(transport, 0) == 0 || word(transport, 2) == 0;
        self.note(is_zero, DropReason::PortZero);
    }

    /// What the kernel is asked to do must fit the packet.
    fn offload(&mut self, offload: Offload, (start, field): (usize, u16), kind: SegmentationKind) {
        if let Checksum::Partial { start: asked, offset } = offload.checksum {
            let fits = (usize::from(asked), offset) == (start, field);
            self.note(!fits, DropReason::OffloadInvalid);
        }
        let cut = offload.segmentation;
        self.note(cut.is_some_and(|cut| cut.kind != kind), DropReason::OffloadInvalid);
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn address(bytes: &[u8], at: usize) -> IpAddr {
    IpAddr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
