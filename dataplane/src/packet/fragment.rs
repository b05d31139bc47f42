//! Fragments of IPv4 packets (RFC 791 3.2), judged by their form.
//!
//! The first fragment must hold the whole transport header, and no later one may begin within it
//! (RFC 1858, RFC 3128): it is then a [`Packet`] like any other, but for lengths. Transport
//! checksums span fragments and are updated by difference in the first (I6). Bounds: fixed headers.

use core::net::Ipv4Addr;
use core::ops::Range;

use super::Packet;
use super::parse::has_sense;
use super::rewrite::Tuple;
use crate::device::{Frame, Offload};
use crate::drop_reason::DropReason;
use crate::types::{MacAddress, Protocol};
use crate::wire::checksum::Delta;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::{self, Ipv4, Ipv4Mut};
use crate::wire::ports;
use crate::wire::tcp::{self, Tcp, TcpFlags};
use crate::wire::udp::{self, Udp};

/// A well-formed fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// Whom it is for.
    pub destination: Ipv4Addr,
    /// The identification of its datagram.
    pub id: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// Which bytes of its datagram it carries.
    pub bytes: Range<u16>,
    /// Whether none follow.
    pub is_last: bool,
    /// Bytes of the IPv4 packet that it is.
    pub wire_bytes: u32,
    /// What is known of its datagram, if it is the first.
    pub first: Option<Packet>,
}

impl Fragment {
    /// Judges a frame with a fragment whose IPv4 header held.
    ///
    /// # Errors
    /// Why it must be dropped.
    pub fn parse(frame: &Frame) -> Result<Fragment, DropReason> {
        if frame.offload != Offload::default() {
            return Err(DropReason::OffloadInvalid);
        }
        let ethernet = Ethernet::of(frame.bytes()).ok_or(DropReason::Internal)?;
        let packet = frame.bytes().get(ethernet::HEADER_BYTES..).ok_or(DropReason::Internal)?;
        let header = Ipv4::of(packet).ok_or(DropReason::Internal)?;
        let body = header.header_bytes()..usize::from(header.total_length());
        let payload = packet.get(body).ok_or(DropReason::Internal)?;
        let protocol = match header.protocol_number() {
            ipv4::TCP => Protocol::Tcp,
            ipv4::UDP => Protocol::Udp,
            ipv4::ICMP => return Err(DropReason::IcmpUnsupported),
            _ => return Err(DropReason::ProtocolUnsupported),
        };
        let is_last = !header.more_fragments();
        let bytes = judge_extent(header, payload.len(), is_last)?;
        let first = match bytes.start {
            0 => Some(first(header, payload, protocol, ethernet.source())?),
            // RFC 3128: it would replace part of the header that was judged.
            start if usize::from(start) < header_bytes_min(protocol) => {
                return Err(DropReason::FragmentTiny);
            }
            _ => None,
        };
        if header.ttl() <= 1 {
            return Err(DropReason::Ipv4TtlExpired);
        }
        Ok(Fragment {
            source: header.source(),
            destination: header.destination(),
            id: header.identification(),
            protocol,
            bytes,
            is_last,
            wire_bytes: u32::from(header.total_length()),
            first,
        })
    }
}

/// All but the last are whole units of eight bytes, and none ends beyond the largest packet.
fn judge_extent(header: Ipv4<'_>, length: usize, is_last: bool) -> Result<Range<u16>, DropReason> {
    if length == 0 || !is_last && !length.is_multiple_of(8) {
        return Err(DropReason::FragmentTiny);
    }
    let start = header.fragment_offset_bytes();
    let largest = usize::from(u16::MAX) - header.header_bytes();
    let end = start + length;
    match (u16::try_from(start), u16::try_from(end)) {
        (Ok(start), Ok(end)) if usize::from(end) <= largest => Ok(start..end),
        _ => Err(DropReason::FragmentOverlap),
    }
}

fn header_bytes_min(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => tcp::HEADER_BYTES_MIN,
        Protocol::Udp => udp::HEADER_BYTES,
    }
}

/// The packet that the first fragment begins.
fn first(
    header: Ipv4<'_>,
    payload: &[u8],
    protocol: Protocol,
    station: MacAddress,
) -> Result<Packet, DropReason> {
    let flags = match protocol {
        Protocol::Tcp => judge_tcp(payload)?,
        Protocol::Udp => judge_udp(payload)?,
    };
    let (source_port, destination_port) = ports(payload).ok_or(DropReason::FragmentTiny)?;
    if source_port == 0 || destination_port == 0 {
        return Err(DropReason::PortZero);
    }
    let offset = ethernet::HEADER_BYTES + header.header_bytes();
    Ok(Packet {
        tuple: Tuple {
            source: header.source().into(),
            destination: header.destination().into(),
            source_port,
            destination_port,
        },
        protocol,
        flags,
        partial_checksum: false,
        is_atomic: false,
        transport_offset: u16::try_from(offset).map_err(|_| DropReason::Internal)?,
        wire_bytes: u32::from(header.total_length()),
        station,
    })
}

/// The whole header with its options must be there.
fn judge_tcp(payload: &[u8]) -> Result<TcpFlags, DropReason> {
    let header = Tcp::of(payload).ok_or(DropReason::FragmentTiny)?;
    match header.header_bytes() {
        0..tcp::HEADER_BYTES_MIN => Err(DropReason::TcpHeaderInvalid),
        bytes if bytes > payload.len() => Err(DropReason::FragmentTiny),
        _ if !has_sense(header.flags()) => Err(DropReason::TcpFlagsInvalid),
        _ => Ok(header.flags()),
    }
}

/// More follows: the datagram is longer than its first fragment.
fn judge_udp(payload: &[u8]) -> Result<TcpFlags, DropReason> {
    let header = Udp::of(payload).ok_or(DropReason::FragmentTiny)?;
    if usize::from(header.length()) <= payload.len() {
        return Err(DropReason::UdpHeaderInvalid);
    }
    Ok(TcpFlags::default())
}

/// The identification of the packet of a frame.
#[must_use]
pub fn identification(frame: &[u8]) -> Option<u16> {
    Some(Ipv4::of(frame.get(ethernet::HEADER_BYTES..)?)?.identification())
}

/// Gives the packet of a frame another identification.
pub fn set_identification(frame: &mut [u8], id: u16) -> Option<()> {
    let mut header = Ipv4Mut::of(frame.get_mut(ethernet::HEADER_BYTES..)?)?;
    let change = Delta::of_u16(header.identification().to_be(), id.to_be());
    header.set_identification(id);
    header.set_checksum(change.update(header.checksum()));
    Some(())
}

/// Rewrites a fragment that is not the first: other addresses, one hop less to live.
pub fn rewrite_later(frame: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr) -> Option<()> {
    let packet = frame.get_mut(ethernet::HEADER_BYTES..)?;
    let was = Ipv4::of(packet)?;
    let change =
        |old: Ipv4Addr, new: Ipv4Addr| Delta::of_u32(old.to_bits().to_be(), new.to_bits().to_be());
    let addresses = change(was.source(), source).and(change(was.destination(), destination));
    let hop = Delta::of_u16(u16::from_ne_bytes([1, 0]), 0);
    let mut header = Ipv4Mut::of(packet)?;
    header.take_hop();
    header.set_checksum(addresses.and(hop).update(header.checksum()));
    header.set_addresses(source, destination);
    Some(())
}
