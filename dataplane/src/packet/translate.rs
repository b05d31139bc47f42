//! One family's header in place of the other's (RFC 7915), where client and backend differ.
//!
//! Addresses come from the flow, not from an algorithm, so nothing of RFC 6052 is needed. Traffic
//! class, hop limit and lengths are carried over (4.1, 5.1); extension headers and IPv4 options
//! stay behind (4.1, 5.1), because neither has a counterpart. A packet of at most
//! [`FRAGMENTABLE_BYTES_MAX`] bytes becomes one that may be fragmented, a larger one may not
//! (5.1); fragments are translated by nobody here. An absent UDP checksum is computed, because IPv6
//! has none that are absent (4.5). Whatever the kernel is asked to finish is asked for in terms of
//! the new family. Bounds: the rest of the frame is moved once.

use core::net::IpAddr;

use super::Packet;
use super::rewrite::Tuple;
use crate::device::{Checksum, Frame, SegmentationKind};
use crate::types::{Family, Protocol};
use crate::wire::checksum;
use crate::wire::ethernet;
use crate::wire::ip::Ip;
use crate::wire::ipv4::{self, Ipv4, Ipv4Mut};
use crate::wire::ipv6::{self, Ipv6, Ipv6Mut};
use crate::wire::udp::{self, Udp};

/// A packet that comes from IPv6 and has no more bytes than this becomes one that IPv4 may fragment
/// (RFC 7915 5.1): its sender cannot be told to send smaller ones.
const FRAGMENTABLE_BYTES_MAX: u32 = 1_260;

/// What both families' headers say.
struct Said {
    class: u8,
    hops: u8,
}

/// Bytes of a packet that leaves in another family than it came in; of a super-packet, those of its
/// largest segment.
#[must_use]
pub fn translated_bytes(packet: &Packet, family: Family) -> u32 {
    let header = packet.transport_offset.saturating_sub(HEADER_START);
    packet.wire_bytes.saturating_sub(u32::from(header)) + u32::from(family.header_bytes())
}

/// Replaces the header; ports and the transport checksum are those of `to` already. Says what the
/// packet is now, `None` if it does not fit.
pub(super) fn translate(frame: &mut Frame, packet: &Packet, to: &Tuple) -> Option<Packet> {
    let bytes = frame.bytes();
    let (start, header) = (usize::from(packet.transport_offset), Ip::of(bytes.get(14..)?)?);
    let end = ethernet::HEADER_BYTES + header.total_bytes();
    let body = end.checked_sub(start)?;
    let said = match header {
        Ip::V4(header) => Said { class: header.type_of_service(), hops: header.ttl() },
        Ip::V6(header) => Said { class: header.traffic_class(), hops: header.hop_limit() },
    };
    let family = to.family();
    let begin = ethernet::HEADER_BYTES + usize::from(family.header_bytes());
    let wire_bytes = translated_bytes(packet, family);
    let is_atomic = family == Family::V6 || wire_bytes > FRAGMENTABLE_BYTES_MAX;
    let transport_offset = u16::try_from(begin).ok()?;
    let leaves = Packet { tuple: *to, is_atomic, transport_offset, wire_bytes, ..*packet };
    if body > usize::from(u16::MAX) - usize::from(family.header_bytes()) {
        return None;
    }
    // What lies behind the packet is padding, and is not taken along.
    let buffer = frame.buffer_mut();
    if begin + body > buffer.len() {
        return None;
    }
    buffer.copy_within(start..end, begin);
    frame.set_length(begin + body);
    write_header(frame.bytes_mut(), to, &said, &leaves, body)?;
    carry_offload(frame, start, begin);
    if family == Family::V6 {
        complete_udp(frame.bytes_mut(), &leaves)?;
    }
    Some(leaves)
}

fn write_header(
    frame: &mut [u8],
    to: &Tuple,
    said: &Said,
    packet: &Packet,
    body: usize,
) -> Option<()> {
    let hops = said.hops.checked_sub(1)?;
    let (ethernet, bytes) = frame.split_at_mut_checked(ethernet::HEADER_BYTES)?;
    let protocol = packet.protocol as u8;
    let ethertype = match to.ips() {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = u16::try_from(ipv4::HEADER_BYTES_MIN + body).ok()?;
            let mut header = Ipv4Mut::of(bytes)?;
            header.begin(said.class, packet.is_atomic);
            header.set_total_length(total);
            header.set_ttl_and_protocol(hops, protocol);
            header.set_addresses(source, destination);
            let sum = Ipv4::of(bytes)?.sum();
            Ipv4Mut::of(bytes)?.set_checksum((!sum).to_be());
            ethernet::IPV4
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = Ipv6Mut::of(bytes)?;
            header.set_class(said.class);
            header.set_payload_length(u16::try_from(body).ok()?);
            header.set_next_header(protocol);
            header.set_hop_limit(hops);
            header.set_addresses(source, destination);
            ethernet::IPV6
        }
        _ => return None,
    };
    ethernet.get_mut(12..)?.copy_from_slice(&ethertype.to_be_bytes());
    Some(())
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
    if datagram.get(field.clone())? != [0, 0] {
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
