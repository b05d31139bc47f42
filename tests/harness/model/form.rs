//! What the bytes of a frame say, and whether they may: the model's own reader.
//!
//! Reads by byte position, as the RFCs draw the headers; the rules stand in the order in which the
//! first that is broken gives the reason.

use std::net::{IpAddr, Ipv6Addr};

use dataplane::device::{Checksum, FrameFault, SegmentationKind};
use dataplane::drop_reason::DropReason;

use crate::address::{octets, v6};
use crate::encode::{ICMP, Image, TCP, UDP, flags};
use crate::ndp::{ICMPV6, solicited_node};
use crate::sum::{add, pseudo_header, sum};

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
    /// Byte of the frame behind the packet: what follows is padding.
    pub(super) end: usize,
    /// Bytes of the largest IP packet that leaves because of it, if it leaves as it came.
    pub(super) wire_bytes: usize,
    pub(super) partial: bool,
    /// The part of its datagram that it has, if it is a fragment.
    pub(super) piece: Option<Piece>,
    /// Why it cannot become one of the other family.
    pub(super) stays: Option<DropReason>,
}

impl Packet {
    /// Whether it is a client's first of a TCP connection.
    pub(super) fn opens(&self) -> bool {
        self.flags & (flags::SYN | flags::ACK) == flags::SYN
    }

    pub(super) fn has(&self, bits: u8) -> bool {
        self.flags & bits != 0
    }

    pub(super) fn is_ipv6(&self) -> bool {
        self.source.0.is_ipv6()
    }

    /// Bytes of the largest IP packet that leaves because of it, if it leaves in that family: with
    /// another header in place of its own, if that is another one.
    pub(super) fn wire_bytes_as(&self, is_ipv6: bool) -> usize {
        let own = self.transport_at - 14;
        match self.is_ipv6() == is_ipv6 {
            true => self.wire_bytes,
            false => {
                let piece = if is_ipv6 && self.piece.is_some() { 8 } else { 0 };
                self.wire_bytes - own + header_bytes(is_ipv6) + piece
            }
        }
    }
}

/// Bytes of a header without options or extensions.
pub(super) fn header_bytes(is_ipv6: bool) -> usize {
    if is_ipv6 { 40 } else { 20 }
}

/// ARP or Neighbor Discovery of right form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolution {
    /// Whom it asks for, if it asks, and who gets the answer.
    pub(super) question: Option<(IpAddr, (IpAddr, Mac))>,
    /// Who is said to be where.
    pub(super) told: Option<(IpAddr, Mac)>,
}

pub(super) enum Form {
    Packet(Packet),
    Arp,
    Ndp,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn address(bytes: &[u8], at: usize) -> IpAddr {
    IpAddr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn wide_address(bytes: &[u8], at: usize) -> Ipv6Addr {
    <[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap().into()
}

pub(super) fn mac(bytes: &[u8], at: usize) -> Mac {
    bytes[at..at + 6].try_into().unwrap()
}

fn is_group(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

fn is_unicast(mac: Mac) -> bool {
    !is_group(mac) && mac != [0; 6]
}

/// What a frame is that arrived at the station `me`, where adit has an address of IPv6 or not.
pub(super) fn judge(image: &Image, me: Mac, speaks_ipv6: bool) -> Result<Form, DropReason> {
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
        0x86dd if !speaks_ipv6 => Err(DropReason::Ipv6Unsupported),
        _ if !to_me && !to_group => Err(DropReason::EthernetNotForUs),
        0x86dd => ipv6(image, to_group),
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
    judge_martians((source, destination), |ip| matches!(octets(ip)[0], 0 | 127 | 224..))?;
    if source == destination {
        return Err(DropReason::Land);
    }
    // More fragments, or an offset.
    if word(ip, 6) & 0x3fff != 0 {
        return Err(DropReason::Ipv4Fragment);
    }
    if ip[9] == ICMP {
        return Err(DropReason::IcmpUnsupported);
    }
    packet(image, (source, destination), ip[9], (header, total), ip[8])
}

/// RFC 8200.
fn ipv6(image: &Image, to_group: bool) -> Result<Form, DropReason> {
    let ip = &image.bytes[14..];
    if ip.len() < 40 {
        return Err(DropReason::Ipv6Truncated);
    }
    if ip[0] >> 4 != 6 {
        return Err(DropReason::Ipv6HeaderInvalid);
    }
    let total = 40 + usize::from(word(ip, 4));
    if total > ip.len() {
        return Err(DropReason::Ipv6PayloadLength);
    }
    let Upper { number: protocol, at: header, piece, .. } = upper(&ip[..total])?;
    let first = ip[header..total].first();
    if protocol == ICMPV6 && header == 40 && matches!(first, Some(135 | 136)) {
        return Ok(Form::Ndp);
    }
    if to_group {
        return Err(DropReason::MartianDestination);
    }
    let ends = (wide_address(ip, 8).into(), wide_address(ip, 24).into());
    // Those that look like IPv4's are refused first, whatever else they are.
    judge_martians(ends, |ip| is_mapped(v6(ip)))?;
    // 0000::/8 is nobody's as far as it can look like another's; ff00::/8 are groups.
    judge_martians(ends, |ip| v6(ip).segments()[..4] == [0; 4] || octets(ip)[0] == 0xff)?;
    if ends.0 == ends.1 {
        return Err(DropReason::Land);
    }
    if piece.is_some() {
        return Err(DropReason::Ipv6Fragment);
    }
    if protocol == ICMPV6 {
        return Err(DropReason::IcmpUnsupported);
    }
    packet(image, ends, protocol, (header, total), ip[7]).map(Form::Packet)
}

/// Whether an address looks like one of IPv4 (RFC 4291 2.5.5.2).
fn is_mapped(ip: Ipv6Addr) -> bool {
    ip.segments()[..6] == [0, 0, 0, 0, 0, 0xffff]
}

/// Neither end may have such an address.
fn judge_martians(
    (source, destination): (IpAddr, IpAddr),
    is_nobody: impl Fn(IpAddr) -> bool,
) -> Result<(), DropReason> {
    if is_nobody(source) {
        return Err(DropReason::MartianSource);
    }
    if is_nobody(destination) {
        return Err(DropReason::MartianDestination);
    }
    Ok(())
}

/// Which part of its datagram a fragment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Byte of the datagram where it begins.
    pub(super) start: usize,
    pub(super) more: bool,
    pub(super) id: u32,
}

/// What follows the extension headers of an IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Upper {
    pub(super) number: u8,
    /// Byte where it begins.
    pub(super) at: usize,
    /// Byte where what was fragmented begins, if a fragment header is there.
    pub(super) body: usize,
    pub(super) piece: Option<Piece>,
}

/// Follows the extension headers, of a later fragment as far as that of fragments.
pub(super) fn upper(packet: &[u8]) -> Result<Upper, DropReason> {
    let (mut number, mut at, mut passed) = (packet[6], 40, 0);
    let (mut body, mut piece) = (40, None);
    while [0, 43, 44, 60].contains(&number) && piece.is_none_or(|piece: Piece| piece.start == 0) {
        passed += 1;
        let header = packet.get(at..at + 8).filter(|_| passed <= 8);
        let header = header.ok_or(DropReason::Ipv6ExtensionHeaders)?;
        match number {
            // Hop-by-hop options come first or not at all.
            0 if passed > 1 => return Err(DropReason::Ipv6ExtensionHeaders),
            43 if header[2] == 0 || header[3] > 0 => return Err(DropReason::Ipv6RoutingHeader),
            44 if body > 40 => return Err(DropReason::Ipv6ExtensionHeaders),
            44 => {
                let place = word(header, 2);
                let (start, more) = (usize::from(place & 0xfff8), place & 1 == 1);
                let id = u32::from(word(header, 4)) << 16 | u32::from(word(header, 6));
                (body, piece) = (at + 8, Some(Piece { start, more, id }));
            }
            _ => {}
        }
        at += if number == 44 { 8 } else { 8 + 8 * usize::from(header[1]) };
        number = header[0];
        if at > packet.len() || at > 40 + 256 {
            return Err(DropReason::Ipv6ExtensionHeaders);
        }
    }
    // One that is all of its datagram is none (RFC 6946).
    let piece = piece.filter(|piece| piece.start > 0 || piece.more);
    Ok(Upper { number, at, body, piece })
}

/// TCP or UDP behind a header of either family that ends at `header` of `total` bytes.
fn packet(
    image: &Image,
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    (header, total): (usize, usize),
    hops: u8,
) -> Result<Packet, DropReason> {
    let segment = &image.bytes[14 + header..14 + total];
    let transport_header = transport(segment, protocol)?;
    let ports = (word(segment, 0), word(segment, 2));
    if ports.0 == 0 || ports.1 == 0 {
        return Err(DropReason::PortZero);
    }
    let is_ipv6 = source.is_ipv6();
    if hops <= 1 {
        let of = [DropReason::Ipv4TtlExpired, DropReason::Ipv6HopLimit];
        return Err(of[usize::from(is_ipv6)]);
    }
    let partial = image.offload.checksum != Checksum::Complete;
    if is_ipv6 && protocol == UDP && !partial && word(segment, 6) == 0 {
        return Err(DropReason::UdpChecksumMissing);
    }
    judge_offload(image, (protocol, is_ipv6), 14 + header)?;
    let covered = if protocol == UDP { usize::from(word(segment, 4)) } else { segment.len() };
    let segment_bytes = image.offload.segmentation.map(|cut| usize::from(cut.segment_bytes));
    Ok(Packet {
        station: mac(&image.bytes, 6),
        protocol,
        source: (source, ports.0),
        destination: (destination, ports.1),
        flags: if protocol == TCP { segment[13] } else { 0 },
        transport_at: 14 + header,
        covered_end: 14 + header + covered,
        end: 14 + total,
        wire_bytes: segment_bytes
            .map_or(total, |bytes| total.min(header + transport_header + bytes)),
        partial,
        piece: None,
        stays: None,
    })
}

/// Bytes of the transport header.
fn transport(segment: &[u8], protocol: u8) -> Result<usize, DropReason> {
    match protocol {
        TCP => {
            let header = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
            if segment.len() < 20 || header > segment.len() {
                return Err(DropReason::TcpHeaderInvalid);
            }
            judge_tcp(segment)?;
            Ok(header)
        }
        UDP => {
            let length = if segment.len() < 8 { 0 } else { usize::from(word(segment, 4)) };
            let fits = (8..=segment.len()).contains(&length);
            if fits { Ok(8) } else { Err(DropReason::UdpHeaderInvalid) }
        }
        _ => Err(DropReason::ProtocolUnsupported),
    }
}

/// The control bits of a TCP header.
pub(super) fn judge_tcp(segment: &[u8]) -> Result<u8, DropReason> {
    if segment[12] >> 4 < 5 {
        return Err(DropReason::TcpHeaderInvalid);
    }
    let bits = segment[13] & (flags::SYN | flags::FIN | flags::RST | flags::ACK);
    let syn_and_end = bits & flags::SYN != 0 && bits & (flags::FIN | flags::RST) != 0;
    if syn_and_end || bits & !flags::FIN == 0 {
        return Err(DropReason::TcpFlagsInvalid);
    }
    Ok(segment[13])
}

/// What a kernel still has to do must suit the packet.
fn judge_offload(
    image: &Image,
    (protocol, is_ipv6): (u8, bool),
    transport_at: usize,
) -> Result<(), DropReason> {
    let (field, kind) = match (protocol, is_ipv6) {
        (TCP, false) => (16, SegmentationKind::TcpIpv4),
        (TCP, true) => (16, SegmentationKind::TcpIpv6),
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
pub(super) fn arp(bytes: &[u8]) -> Result<Resolution, DropReason> {
    let body = &bytes[14..];
    // Ethernet, IPv4, addresses of six and four bytes.
    if body.len() < 28 || body[..6] != [0, 1, 8, 0, 6, 4] {
        return Err(DropReason::ArpInvalid);
    }
    let sender = (address(body, 14), mac(body, 8));
    if !matches!(word(body, 6), 1 | 2) || !is_unicast(sender.1) {
        return Err(DropReason::ArpInvalid);
    }
    let question = (word(body, 6) == 1).then_some((address(body, 24), sender));
    Ok(Resolution { question, told: Some(sender) })
}

/// The Neighbor Discovery in a frame (RFC 4861 7.1), which [`judge`] has found.
pub(super) fn ndp(bytes: &[u8]) -> Result<Resolution, DropReason> {
    read_ndp(bytes).ok_or(DropReason::NdpInvalid)
}

fn read_ndp(bytes: &[u8]) -> Option<Resolution> {
    let ip = &bytes[14..];
    let message = &ip[40..40 + usize::from(word(ip, 4))];
    let (source, destination) = (wide_address(ip, 8), wide_address(ip, 24));
    let length = u16::try_from(message.len()).unwrap();
    let pseudo = pseudo_header(source.into(), destination.into(), ICMPV6, length);
    let is_whole = ip[7] == 255 && message.len() >= 24 && add(pseudo, sum(message)) == 0xffff;
    (is_whole && message[1] == 0).then_some(())?;
    let target = wide_address(message, 8);
    let is_sound = |ip: Ipv6Addr| ip.octets()[0] != 0xff && !is_mapped(ip);
    (is_sound(source) && is_sound(target)).then_some(())?;
    let (asks, is_probe) = (message[0] == 135, source.is_unspecified());
    let wanted = if asks { 1 } else { 2 };
    let (mut at, mut link) = (24, None);
    while at < message.len() {
        let units = message.get(at + 1).filter(|units| **units > 0)?;
        let option = message.get(at..at + 8 * usize::from(*units))?;
        if option[0] == wanted && *units == 1 {
            link = Some(mac(option, 2)).filter(|station| is_unicast(*station));
            link?;
        }
        at += option.len();
    }
    let station = mac(bytes, 6);
    if !asks {
        let is_solicited = message[4] & 0x40 != 0;
        let misfits = is_probe || is_solicited && destination.is_multicast();
        let told = Some((target.into(), link.unwrap_or(station)));
        return (!misfits).then_some(Resolution { question: None, told });
    }
    if is_probe && (link.is_some() || solicited_node(target.into()).1 != destination) {
        return None;
    }
    let question = Some((target.into(), (source.into(), link.unwrap_or(station))));
    Some(Resolution { question, told: link.map(|link| (source.into(), link)) })
}
