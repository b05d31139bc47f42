//! Fragments of IP packets (RFC 791 3.2, RFC 8200 4.5), judged by their form and rewritten.
//!
//! The first fragment must hold the whole transport header, and no later one may begin within it
//! (RFC 1858, RFC 3128, RFC 7112): it is then a [`Packet`] like any other, but for lengths.
//! Transport checksums span fragments and are updated by difference in the first (I6). Between
//! families the fragment's numbers move from one kind of header to the other (RFC 7915 4.1, 5.1.1).
//! Bounds: fixed headers, extension headers as [`ipv6::EXTENSIONS_MAX`] says; the rest of a frame
//! is moved once.

use core::ops::Range;

use super::header::Header;
use super::parse::{has_sense, upper};
use super::rewrite::{Rewrite, Tuple};
use super::translate::replace;
use super::{Fragmentation, Packet};
use crate::device::{Frame, Offload};
use crate::drop_reason::DropReason;
use crate::types::{Address, Family, MacAddress, Protocol};
use crate::wire::checksum::Delta;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{Ip, Piece};
use crate::wire::ipv4::{self, Ipv4Mut};
use crate::wire::ipv6;
use crate::wire::ports;
use crate::wire::tcp::{self, Tcp, TcpFlags};
use crate::wire::udp::{self, Udp};

/// A well-formed fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Who sent it.
    pub source: Address,
    /// Whom it is for.
    pub destination: Address,
    /// The identification of its datagram.
    pub id: u32,
    /// Which bytes of its datagram it carries.
    pub bytes: Range<u16>,
    /// Whether none follow.
    pub is_last: bool,
    /// Bytes of the packet that it is.
    pub wire_bytes: u32,
    /// What is known of its datagram, if it is the first.
    pub first: Option<Packet>,
    /// What it says that it carries; that of a later fragment of IPv6 means nothing (RFC 8200 4.5).
    number: u8,
    /// Byte in the frame where its part of the datagram begins.
    body: usize,
}

impl Fragment {
    /// Judges a frame with a fragment whose IP header held.
    ///
    /// # Errors
    /// Why it must be dropped.
    pub fn parse(frame: &Frame) -> Result<Fragment, DropReason> {
        if frame.offload != Offload::default() {
            return Err(DropReason::OffloadInvalid);
        }
        let station = Ethernet::of(frame.bytes()).ok_or(DropReason::Internal)?.source();
        let packet = frame.bytes().get(ethernet::HEADER_BYTES..).ok_or(DropReason::Internal)?;
        let ip = Ip::of(packet).ok_or(DropReason::Internal)?;
        let packet = packet.get(..ip.total_bytes()).ok_or(DropReason::Internal)?;
        let place = Place::of(ip, packet)?;
        let protocol = place.protocol()?;
        let bytes = place.judge_extent(packet.len())?;
        let first = match (bytes.start, protocol) {
            (0, Some(protocol)) => Some(first(&place, packet, protocol, station)?),
            // RFC 3128: it would replace part of the header that was judged.
            (start, Some(protocol)) if usize::from(start) < header_bytes_min(protocol) => {
                return Err(DropReason::FragmentTiny);
            }
            _ => None,
        };
        let (source, destination) = ip.addresses();
        if ip.hops() <= 1 {
            return Err(match destination.family() {
                Family::V4 => DropReason::Ipv4TtlExpired,
                Family::V6 => DropReason::Ipv6HopLimit,
            });
        }
        Ok(Fragment {
            source,
            destination,
            id: place.piece.id,
            bytes,
            is_last: !place.piece.more,
            wire_bytes: u32::try_from(packet.len()).unwrap_or(u32::MAX),
            first,
            number: place.number,
            body: ethernet::HEADER_BYTES + place.body,
        })
    }

    /// The protocol number that names its datagram, too: of IPv6 none does.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        match self.destination.family() {
            Family::V4 => self.number,
            Family::V6 => 0,
        }
    }

    /// Bytes of the packet that it becomes towards a family.
    ///
    /// # Errors
    /// No datagram of that family has so many.
    pub fn judge_crossing(&self, to: Family) -> Result<u32, DropReason> {
        if self.destination.family() == to {
            return Ok(self.wire_bytes);
        }
        let header = u32::from(to.header_bytes());
        if to == Family::V4 && u32::from(self.bytes.end) + header > u32::from(u16::MAX) {
            return Err(DropReason::TooBig);
        }
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        Ok(header + fragment_header_bytes(to) + length)
    }

    /// Rewrites the frame of this fragment, which is not the first: other addresses, one hop less
    /// to live, another identification.
    pub fn rewrite(&self, frame: &mut Frame, rewrite: &Rewrite, id: u32) -> Option<()> {
        if self.destination.family() == rewrite.to.family() {
            rewrite.readdress(frame.bytes_mut().get_mut(ethernet::HEADER_BYTES..)?)?;
            return set_identification(frame.bytes_mut(), id);
        }
        let ip = Ip::of(frame.bytes().get(ethernet::HEADER_BYTES..)?)?;
        let header = Header {
            source: rewrite.to.source,
            destination: rewrite.to.destination,
            class: ip.class(),
            hops: ip.hops().checked_sub(1)?,
            protocol: self.number,
            dont_fragment: false,
            piece: Some(Piece { start: self.bytes.start, more: !self.is_last, id }),
        };
        replace(frame, self.body, &header).map(|_| ())
    }
}

/// Bytes that a fragment has in front of its part of the datagram, beside the header of IP.
pub(super) const fn fragment_header_bytes(family: Family) -> u32 {
    match family {
        Family::V4 => 0,
        Family::V6 => 8,
    }
}

/// Where the parts of a fragment lie in its packet.
struct Place {
    family: Family,
    number: u8,
    /// Where the transport header begins, if it is the first.
    offset: usize,
    /// Where what was fragmented begins.
    body: usize,
    piece: Piece,
}

impl Place {
    fn of(ip: Ip<'_>, packet: &[u8]) -> Result<Place, DropReason> {
        let (family, number, offset, body, piece) = match ip {
            Ip::V4(header) => {
                let bytes = header.header_bytes();
                (Family::V4, header.protocol_number(), bytes, bytes, header.piece())
            }
            Ip::V6(_) => {
                let upper = upper(packet)?;
                (Family::V6, upper.protocol, upper.offset, upper.body, upper.piece)
            }
        };
        let piece = piece.ok_or(DropReason::Internal)?;
        Ok(Place { family, number, offset, body, piece })
    }

    /// The protocol of the datagram, which a later fragment of IPv6 need not tell.
    fn protocol(&self) -> Result<Option<Protocol>, DropReason> {
        let is_open = self.family == Family::V6 && self.piece.start > 0;
        match (self.number, self.family) {
            (ipv4::TCP, _) => Ok(Some(Protocol::Tcp)),
            (ipv4::UDP, _) => Ok(Some(Protocol::Udp)),
            (ipv4::ICMP, Family::V4) | (ipv6::ICMP, Family::V6) => Err(DropReason::IcmpUnsupported),
            (ipv6::DESTINATION_OPTIONS, _) if is_open => Ok(None),
            _ => Err(DropReason::ProtocolUnsupported),
        }
    }

    /// All but the last are whole units of eight bytes, and none ends beyond the largest packet.
    fn judge_extent(&self, packet_bytes: usize) -> Result<Range<u16>, DropReason> {
        let length = packet_bytes.saturating_sub(self.body);
        if length == 0 || self.piece.more && !length.is_multiple_of(8) {
            return Err(DropReason::FragmentTiny);
        }
        // What a length field counts beside the datagram itself, once it is put together.
        let beside = match self.family {
            Family::V4 => self.body,
            Family::V6 => self.body.saturating_sub(ipv6::HEADER_BYTES + ipv6::FRAGMENT_BYTES),
        };
        let end = usize::from(self.piece.start) + length;
        match u16::try_from(end) {
            Ok(end) if usize::from(end) + beside <= usize::from(u16::MAX) => {
                Ok(self.piece.start..end)
            }
            _ => Err(DropReason::FragmentOverlap),
        }
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
    place: &Place,
    packet: &[u8],
    protocol: Protocol,
    station: MacAddress,
) -> Result<Packet, DropReason> {
    let payload = packet.get(place.offset..).ok_or(DropReason::Internal)?;
    let flags = match protocol {
        Protocol::Tcp => judge_tcp(payload)?,
        Protocol::Udp => judge_udp(payload)?,
    };
    let (source_port, destination_port) = ports(payload).ok_or(DropReason::FragmentTiny)?;
    if source_port == 0 || destination_port == 0 {
        return Err(DropReason::PortZero);
    }
    // RFC 8200 8.1.
    if place.family == Family::V6 && has_no_checksum(protocol, payload) {
        return Err(DropReason::UdpChecksumMissing);
    }
    let (source, destination) = Ip::of(packet).ok_or(DropReason::Internal)?.addresses();
    let offset = ethernet::HEADER_BYTES + place.offset;
    Ok(Packet {
        tuple: Tuple { source, destination, source_port, destination_port },
        protocol,
        flags,
        partial_checksum: false,
        fragmentation: Fragmentation::First,
        transport_offset: u16::try_from(offset).map_err(|_| DropReason::Internal)?,
        wire_bytes: u32::try_from(packet.len()).map_err(|_| DropReason::Internal)?,
        station,
    })
}

/// Whether a datagram came without a checksum.
pub(super) fn has_no_checksum(protocol: Protocol, transport: &[u8]) -> bool {
    let field = udp::CHECKSUM_OFFSET..udp::CHECKSUM_OFFSET + 2;
    protocol == Protocol::Udp && transport.get(field) == Some(&[0, 0])
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

/// Which piece of its datagram a packet has, and where what was fragmented begins.
pub(super) fn piece_of(packet: &[u8]) -> Option<(Piece, usize)> {
    match Ip::of(packet)? {
        Ip::V4(header) => Some((header.piece()?, header.header_bytes())),
        Ip::V6(_) => {
            let upper = ipv6::upper(packet).ok()?;
            Some((upper.piece?, upper.body))
        }
    }
}

/// The identification of the fragment in a frame.
#[must_use]
pub fn identification(frame: &[u8]) -> Option<u32> {
    Some(piece_of(frame.get(ethernet::HEADER_BYTES..)?)?.0.id)
}

/// Gives the packet of a frame another identification, of IPv4 the lower half of `id`; one of IPv6
/// that is no fragment has none.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
pub fn set_identification(frame: &mut [u8], id: u32) -> Option<()> {
    let packet = frame.get_mut(ethernet::HEADER_BYTES..)?;
    match Ip::of(packet)? {
        Ip::V4(_) => {
            let mut header = Ipv4Mut::of(packet)?;
            let id = id as u16;
            let change = Delta::of_u16(header.identification().to_be(), id.to_be());
            header.set_identification(id);
            header.set_checksum(change.update(header.checksum()));
        }
        Ip::V6(_) => {
            let (_, body) = piece_of(packet)?;
            packet.get_mut(body.checked_sub(4)?..body)?.copy_from_slice(&id.to_be_bytes());
        }
    }
    Some(())
}
