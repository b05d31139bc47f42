//! What the bytes of a frame say, and whether they may: the model's own reader.
//!
//! Reads by byte position, as the RFCs draw the headers; the rules stand in the order in which the
//! first that is broken gives the reason.

use std::net::IpAddr;

use dataplane::device::{Checksum, FrameFault, SegmentationKind};
use dataplane::drop_reason::DropReason;

use crate::address::octets;
use crate::encode::{ICMP, Image, TCP, UDP, flags};
use crate::sum::sum;

/// A station's address.
pub(super) type Mac = [u8; 6];

/// A TCP or UDP packet of right form.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) station: Mac,
    pub(super) protocol: u8,
    pub(super) source: (IpAddr, u16),
    pub(super) destination: (IpAddr, u16),
    /// TCP's control bits, 0 for UDP.
    pub(super) flags: u8,
    /// Byte of the frame where the transport header begins.
    pub(super) transport_at: usize,
    /// Byte of the frame behind what the transport checksum covers.
    pub(super) covered_end: usize,
    /// Bytes of the largest IPv4 packet that leaves because of it.
    pub(super) wire_bytes: usize,
    pub(super) partial: bool,
}

impl Packet {
    /// Whether it is a client's first of a TCP connection.
    pub(super) fn opens(&self) -> bool {
        self.flags & (flags::SYN | flags::ACK) == flags::SYN
    }

    pub(super) fn has(&self, bits: u8) -> bool {
        self.flags & bits != 0
    }
}

/// An ARP packet of right form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arp {
    pub(super) asks: bool,
    pub(super) sender: (IpAddr, Mac),
    pub(super) target: IpAddr,
}

pub(super) enum Form {
    Packet(Packet),
    Arp,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn address(bytes: &[u8], at: usize) -> IpAddr {
    IpAddr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn mac(bytes: &[u8], at: usize) -> Mac {
    bytes[at..at + 6].try_into().unwrap()
}

fn is_group(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

fn is_unicast(mac: Mac) -> bool {
    !is_group(mac) && mac != [0; 6]
}

/// What a frame is that arrived at the station `me`.
pub(super) fn judge(image: &Image, me: Mac) -> Result<Form, DropReason> {
    match image.fault {
        Some(FrameFault::OffloadInvalid) => return Err(DropReason::OffloadInvalid),
        Some(FrameFault::Truncated) => return Err(DropReason::FrameTruncated),
        Some(FrameFault::VlanTagged) => return Err(DropReason::VlanTagged),
        None => {}
    }
    let bytes = &image.bytes;
    if bytes.len() < 14 {
        return Err(DropReason::EthernetTruncated);
    }
    if !is_unicast(mac(bytes, 6)) {
        return Err(DropReason::EthernetSourceInvalid);
    }
    let (to_me, to_group) = (mac(bytes, 0) == me, is_group(mac(bytes, 0)));
    match word(bytes, 12) {
        0x8100 | 0x88a8 => Err(DropReason::VlanTagged),
        0x86dd => Err(DropReason::Ipv6Unsupported),
        _ if !to_me && !to_group => Err(DropReason::EthernetNotForUs),
        0x0806 => Ok(Form::Arp),
        0x0800 if to_group => Err(DropReason::MartianDestination),
        0x0800 => ipv4(image).map(Form::Packet),
        _ => Err(DropReason::EthertypeUnsupported),
    }
}

fn ipv4(image: &Image) -> Result<Packet, DropReason> {
    let ip = &image.bytes[14..];
    if ip.len() < 20 {
        return Err(DropReason::Ipv4Truncated);
    }
    let (header, total) = (usize::from(ip[0] & 15) * 4, usize::from(word(ip, 2)));
    if ip[0] >> 4 != 4 || header < 20 {
        return Err(DropReason::Ipv4HeaderInvalid);
    }
    if total > ip.len() || total < header {
        return Err(DropReason::Ipv4TotalLength);
    }
    if sum(&ip[..header]) != 0xffff {
        return Err(DropReason::Ipv4Checksum);
    }
    let (source, destination) = (address(ip, 12), address(ip, 16));
    let is_nobody = |ip: IpAddr| matches!(octets(ip)[0], 0 | 127 | 224..);
    if is_nobody(source) {
        return Err(DropReason::MartianSource);
    }
    if is_nobody(destination) {
        return Err(DropReason::MartianDestination);
    }
    if source == destination {
        return Err(DropReason::Land);
    }
    // More fragments, or an offset.
    if word(ip, 6) & 0x3fff != 0 {
        return Err(DropReason::Ipv4Fragment);
    }
    let segment = &ip[header..total];
    let transport_header = transport(segment, ip[9])?;
    let ports = (word(segment, 0), word(segment, 2));
    if ports.0 == 0 || ports.1 == 0 {
        return Err(DropReason::PortZero);
    }
    if ip[8] <= 1 {
        return Err(DropReason::Ipv4TtlExpired);
    }
    judge_offload(image, ip[9], 14 + header)?;
    let covered = if ip[9] == UDP { usize::from(word(segment, 4)) } else { segment.len() };
    let segment_bytes = image.offload.segmentation.map(|cut| usize::from(cut.segment_bytes));
    Ok(Packet {
        station: mac(&image.bytes, 6),
        protocol: ip[9],
        source: (source, ports.0),
        destination: (destination, ports.1),
        flags: if ip[9] == TCP { segment[13] } else { 0 },
        transport_at: 14 + header,
        covered_end: 14 + header + covered,
        wire_bytes: segment_bytes
            .map_or(total, |bytes| total.min(header + transport_header + bytes)),
        partial: image.offload.checksum != Checksum::Complete,
    })
}

/// Bytes of the transport header.
fn transport(segment: &[u8], protocol: u8) -> Result<usize, DropReason> {
    match protocol {
        TCP => {
            let header = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
            if segment.len() < 20 || header < 20 || header > segment.len() {
                return Err(DropReason::TcpHeaderInvalid);
            }
            let bits = segment[13] & (flags::SYN | flags::FIN | flags::RST | flags::ACK);
            let syn_and_end = bits & flags::SYN != 0 && bits & (flags::FIN | flags::RST) != 0;
            if syn_and_end || bits & !flags::FIN == 0 {
                return Err(DropReason::TcpFlagsInvalid);
            }
            Ok(header)
        }
        UDP => {
            let length = if segment.len() < 8 { 0 } else { usize::from(word(segment, 4)) };
            let fits = (8..=segment.len()).contains(&length);
            if fits { Ok(8) } else { Err(DropReason::UdpHeaderInvalid) }
        }
        ICMP => Err(DropReason::IcmpUnsupported),
        _ => Err(DropReason::ProtocolUnsupported),
    }
}

/// What a kernel still has to do must suit the packet.
fn judge_offload(image: &Image, protocol: u8, transport_at: usize) -> Result<(), DropReason> {
    let (field, kind) = match protocol {
        TCP => (16, SegmentationKind::TcpIpv4),
        _ => (6, SegmentationKind::Udp),
    };
    let sum_fits = match image.offload.checksum {
        Checksum::Complete => true,
        Checksum::Partial { start, offset } => {
            usize::from(start) == transport_at && offset == field
        }
    };
    let cut_fits = image.offload.segmentation.is_none_or(|cut| cut.kind == kind);
    if sum_fits && cut_fits { Ok(()) } else { Err(DropReason::OffloadInvalid) }
}

/// The ARP packet in a frame.
pub(super) fn arp(bytes: &[u8]) -> Result<Arp, DropReason> {
    let body = &bytes[14..];
    // Ethernet, IPv4, addresses of six and four bytes.
    if body.len() < 28 || body[..6] != [0, 1, 8, 0, 6, 4] {
        return Err(DropReason::ArpInvalid);
    }
    let sender = (address(body, 14), mac(body, 8));
    if !matches!(word(body, 6), 1 | 2) || !is_unicast(sender.1) {
        return Err(DropReason::ArpInvalid);
    }
    Ok(Arp { asks: word(body, 6) == 1, sender, target: address(body, 24) })
}
