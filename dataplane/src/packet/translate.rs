//! One family's header in place of the other's (RFC 7915), where client and backend differ.
//!
//! Addresses come from the flow, not from an algorithm, so nothing of RFC 6052 is needed. Traffic
//! class, hop limit and lengths are carried over (4.1, 5.1); extension headers and IPv4 options
//! stay behind (4.1, 5.1), because neither has a counterpart. A packet of at most
//! [`FRAGMENTABLE_BYTES_MAX`] bytes becomes one that may be fragmented, a larger one may not
//! (5.1). Fragments stay the fragments that they are (4.1, 5.1.1), later ones are `fragment`'s
//! business. An absent UDP checksum is computed, because IPv6 has none that are absent (4.5).
//! Whatever the kernel is asked to finish is asked for in terms of the new family. Bounds: the rest
//! of the frame is moved once.

use super::fragment::{fragment_header_bytes, has_no_checksum, piece_of};
use super::header::Header;
use super::rewrite::Tuple;
use super::{Fragmentation, Packet};
use crate::device::{Checksum, Frame, SegmentationKind};
use crate::drop_reason::DropReason;
use crate::types::{Family, Protocol};
use crate::wire::checksum;
use crate::wire::ethernet;
use crate::wire::ip::Ip;
use crate::wire::ipv4;
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::udp::{self, Udp};

/// A packet that comes from IPv6 and has no more bytes than this becomes one that IPv4 may fragment
/// (RFC 7915 5.1): its sender cannot be told to send smaller ones.
const FRAGMENTABLE_BYTES_MAX: u32 = 1_260;

/// The MTU of a path in one family, as senders of another have to know it (RFC 7915 4.2, 5.2).
#[must_use]
pub fn mtu_across(mtu: u32, (from, to): (Family, Family)) -> u32 {
    let shifted =
        mtu.saturating_add(to.header_bytes().into()).saturating_sub(from.header_bytes().into());
    match (from, to) {
        // What is too large for the rest of the path then, IPv4 may fragment.
        (Family::V4, Family::V6) => shifted.max(ipv6::MTU_MIN),
        _ => shifted,
    }
}

/// Bytes of a packet as it leaves towards a family; of a super-packet, those of its largest
/// segment.
///
/// # Errors
/// It does not get there: too long for the other family, or a fragment that would need what is in
/// others.
#[inline(always)]
pub fn judge_crossing(frame: &Frame, packet: &Packet, to: Family) -> Result<u32, DropReason> {
    if packet.tuple.family() == to { Ok(packet.wire_bytes) } else { cross(frame, packet, to) }
}

#[cold]
fn cross(frame: &Frame, packet: &Packet, to: Family) -> Result<u32, DropReason> {
    let bytes = frame.bytes().get(ethernet::HEADER_BYTES..);
    let ip = bytes.and_then(Ip::of).ok_or(DropReason::Internal)?;
    let start = usize::from(packet.transport_offset);
    if packet.fragmentation == Fragmentation::First {
        let bytes = bytes.ok_or(DropReason::Internal)?;
        let (_, body) = piece_of(bytes).ok_or(DropReason::Internal)?;
        // RFC 7915 5.1.1: they would have to be taken out of the datagram that is in pieces.
        if start != ethernet::HEADER_BYTES + body {
            return Err(DropReason::Ipv6ExtensionHeaders);
        }
        // RFC 7915 4.5: nobody here has all that it would have to cover.
        let transport = frame.bytes().get(start..).ok_or(DropReason::Internal)?;
        if to == Family::V6 && has_no_checksum(packet.protocol, transport) {
            return Err(DropReason::UdpChecksumMissing);
        }
    }
    let transport = (ethernet::HEADER_BYTES + ip.total_bytes()).saturating_sub(start);
    if transport + usize::from(to.header_bytes()) > usize::from(u16::MAX) {
        return Err(DropReason::TooBig);
    }
    Ok(translated_bytes(packet, to))
}

/// Bytes of a packet that leaves in another family than it came in; of a super-packet, those of its
/// largest segment.
fn translated_bytes(packet: &Packet, family: Family) -> u32 {
    let header = packet.transport_offset.saturating_sub(HEADER_START);
    let fragment_header = match packet.fragmentation {
        Fragmentation::First => fragment_header_bytes(family),
        Fragmentation::Atomic | Fragmentation::Allowed => 0,
    };
    packet.wire_bytes.saturating_sub(u32::from(header))
        + u32::from(family.header_bytes())
        + fragment_header
}

/// Replaces the header; ports and the transport checksum are those of `to` already. Says what the
/// packet is now, `None` if it does not fit.
pub(super) fn translate(frame: &mut Frame, packet: &Packet, to: &Tuple) -> Option<Packet> {
    let bytes = frame.bytes().get(ethernet::HEADER_BYTES..)?;
    let ip = Ip::of(bytes)?;
    let piece = piece_of(bytes).map(|(piece, _)| piece);
    let family = to.family();
    let wire_bytes = translated_bytes(packet, family);
    let fragmentation = match family {
        _ if piece.is_some() => Fragmentation::First,
        Family::V4 if wire_bytes <= FRAGMENTABLE_BYTES_MAX => Fragmentation::Allowed,
        _ => Fragmentation::Atomic,
    };
    let header = Header {
        source: to.source,
        destination: to.destination,
        class: ip.class(),
        hops: ip.hops().checked_sub(1)?,
        protocol: packet.protocol as u8,
        dont_fragment: fragmentation == Fragmentation::Atomic,
        piece,
    };
    let start = usize::from(packet.transport_offset);
    let begin = replace(frame, start, &header)?;
    carry_offload(frame, start, begin);
    let transport_offset = u16::try_from(begin).ok()?;
    let leaves = Packet { tuple: *to, fragmentation, transport_offset, wire_bytes, ..*packet };
    if family == Family::V6 {
        complete_udp(frame.bytes_mut(), &leaves)?;
    }
    Some(leaves)
}

/// Puts a header in place of everything in front of byte `start` of the frame. Says where what
/// follows is now, `None` if it does not fit.
pub(super) fn replace(frame: &mut Frame, start: usize, header: &Header) -> Option<usize> {
    let ip = Ip::of(frame.bytes().get(ethernet::HEADER_BYTES..)?)?;
    // What lies behind the packet is padding, and is not taken along.
    let end = ethernet::HEADER_BYTES + ip.total_bytes();
    let body = end.checked_sub(start)?;
    let begin = ethernet::HEADER_BYTES + header.bytes();
    let buffer = frame.buffer_mut();
    if begin + body > buffer.len() {
        return None;
    }
    buffer.copy_within(start..end, begin);
    frame.set_length(begin + body);
    ethernet::set_ethertype(frame.bytes_mut(), header.ethertype());
    header.write(frame.bytes_mut().get_mut(ethernet::HEADER_BYTES..)?, body)?;
    Some(begin)
}

/// The transport header has moved from `start` to `begin`, and TCP's super-packets say over what.
fn carry_offload(frame: &mut Frame, start: usize, begin: usize) {
    let moved = |at: u16| {
        let at = (usize::from(at) + begin).saturating_sub(start);
        u16::try_from(at).unwrap_or(u16::MAX)
    };
    if let Checksum::Partial { start, .. } = &mut frame.offload.checksum {
        *start = moved(*start);
    }
    if let Some(cut) = &mut frame.offload.segmentation {
        cut.kind = match cut.kind {
            SegmentationKind::TcpIpv4 => SegmentationKind::TcpIpv6,
            SegmentationKind::TcpIpv6 => SegmentationKind::TcpIpv4,
            SegmentationKind::Udp => SegmentationKind::Udp,
        };
        // A hint, which senders may leave out.
        cut.header_bytes = if cut.header_bytes == 0 { 0 } else { moved(cut.header_bytes) };
    }
}

/// Computes the checksum of a datagram that came without one.
fn complete_udp(frame: &mut [u8], packet: &Packet) -> Option<()> {
    if packet.protocol != Protocol::Udp || packet.partial_checksum {
        return Some(());
    }
    let (head, datagram) = frame.split_at_mut_checked(usize::from(packet.transport_offset))?;
    let field = udp::CHECKSUM_OFFSET..udp::CHECKSUM_OFFSET + 2;
    if !has_no_checksum(packet.protocol, datagram) {
        return Some(());
    }
    let addresses = Ipv6::of(head.get(ethernet::HEADER_BYTES..)?)?.addresses();
    let length = Udp::of(datagram)?.length();
    let covered = checksum::sum(datagram.get(..usize::from(length))?);
    let parts = [checksum::sum(addresses), length, u16::from(ipv4::UDP), covered];
    let sum = parts.into_iter().fold(0, checksum::add);
    let checksum = if sum == u16::MAX { u16::MAX } else { !sum };
    datagram.get_mut(field)?.copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

/// Where the header of IP begins in a frame.
const HEADER_START: u16 = 14;

const _: () = {
    assert!(HEADER_START as usize == ethernet::HEADER_BYTES);
    assert!(ipv6::HEADER_BYTES == Family::V6.header_bytes() as usize);
    assert!(ipv4::HEADER_BYTES_MIN == Family::V4.header_bytes() as usize);
};
