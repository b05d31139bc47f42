//! ICMP for IPv6 (RFC 4443): echo answered, errors about refused packets originated.
//!
//! A message exists only if its checksum holds. Bounds: a message is summed once; an error of
//! adit's own fills a packet of 1,280 bytes at most (2.4 c).

use core::net::Ipv6Addr;

use super::icmp::{ErrorFrame, OWN_TTL, Problem, QUOTE_BYTES_MAX};
use crate::drop_reason::DropReason;
use crate::types::MacAddress;
use crate::wire::checksum::{self, Delta};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::icmp::{self, Icmp};
use crate::wire::ipv6::{self, Ipv6, Ipv6Mut};

const UNREACHABLE: u8 = 1;
const TOO_BIG: u8 = 2;
const TIME_EXCEEDED: u8 = 3;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

const UNREACHABLE_PROHIBITED: u8 = 1;

/// An echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Who sent it.
    pub source: Ipv6Addr,
    /// Whom it is for.
    destination: Ipv6Addr,
    /// The station that sent it.
    station: MacAddress,
}

impl Echo {
    /// Judges a frame with an ICMPv6 message whose IPv6 header held. One behind extension headers
    /// is not answered.
    ///
    /// # Errors
    /// [`DropReason::IcmpInvalid`]: cut off, or the checksum is wrong;
    /// [`DropReason::IcmpUnsupported`]: it is no echo request.
    pub fn parse(frame: &[u8]) -> Result<Echo, DropReason> {
        let (header, message) = parts(frame).ok_or(DropReason::IcmpInvalid)?;
        if header.next_header() != ipv6::ICMP {
            return Err(DropReason::IcmpUnsupported);
        }
        let icmp = Icmp::of(message).ok_or(DropReason::IcmpInvalid)?;
        if sum(header, message) != u16::MAX {
            return Err(DropReason::IcmpInvalid);
        }
        if (icmp.kind(), icmp.code()) != (ECHO_REQUEST, 0) {
            return Err(DropReason::IcmpUnsupported);
        }
        let station = Ethernet::of(frame).ok_or(DropReason::IcmpInvalid)?.source();
        Ok(Echo { source: header.source(), destination: header.destination(), station })
    }

    /// Turns the frame of this request into its reply, sent from the station `mac`.
    pub fn answer(&self, frame: &mut [u8], mac: MacAddress) -> Option<()> {
        ethernet::set_stations(frame, self.station, mac);
        let packet = frame.get_mut(ethernet::HEADER_BYTES..)?;
        let mut header = Ipv6Mut::of(packet)?;
        header.set_hop_limit(OWN_TTL);
        header.set_addresses(self.destination, self.source);
        let message = packet.get_mut(ipv6::HEADER_BYTES..)?;
        // The sum over addresses stays the same when they change places.
        let change = Delta::of_u16(word(ECHO_REQUEST), word(ECHO_REPLY));
        let updated = change.update(Icmp::of(message)?.checksum());
        message[0] = ECHO_REPLY;
        message[icmp::CHECKSUM_OFFSET..icmp::CHECKSUM_OFFSET + 2]
            .copy_from_slice(&updated.to_be_bytes());
        Some(())
    }
}

/// The error about the packet in a frame that arrived at the station `mac`: to its sender, in the
/// name of the address that it was sent to. The frame must be as it came.
#[must_use]
pub fn emit_error(frame: &[u8], mac: MacAddress, problem: Problem) -> Option<ErrorFrame> {
    const AT: usize = ethernet::HEADER_BYTES + ipv6::HEADER_BYTES;
    let (header, _) = parts(frame)?;
    let end = AT + usize::from(header.payload_length());
    let quote = frame.get(ethernet::HEADER_BYTES..end)?;
    let quote = &quote[..quote.len().min(QUOTE_BYTES_MAX)];
    let (kind, code, value) = match problem {
        Problem::TooBig(mtu) => (TOO_BIG, 0, u32::from(mtu)),
        Problem::TimeExceeded => (TIME_EXCEEDED, 0, 0),
        Problem::Prohibited => (UNREACHABLE, UNREACHABLE_PROHIBITED, 0),
    };
    let mut error = ErrorFrame::new();
    error.try_extend_from_slice(&[0; AT]).ok()?;
    error.try_extend_from_slice(&[kind, code, 0, 0]).ok()?;
    error.try_extend_from_slice(&value.to_be_bytes()).ok()?;
    error.try_extend_from_slice(quote).ok()?;
    error[12..14].copy_from_slice(&ethernet::IPV6.to_be_bytes());
    let mut own = Ipv6Mut::of(&mut error[ethernet::HEADER_BYTES..])?;
    own.set_class(0);
    own.set_payload_length(u16::try_from(icmp::HEADER_BYTES + quote.len()).ok()?);
    own.set_next_header(ipv6::ICMP);
    own.set_hop_limit(OWN_TTL);
    own.set_addresses(header.destination(), header.source());
    let sum = !sum(Ipv6::of(&error[ethernet::HEADER_BYTES..])?, &error[AT..]);
    error[AT + 2..AT + 4].copy_from_slice(&sum.to_be_bytes());
    ethernet::set_stations(&mut error, Ethernet::of(frame)?.source(), mac);
    Some(error)
}

/// The header of a frame's packet, and what lies behind its fixed part.
fn parts(frame: &[u8]) -> Option<(Ipv6<'_>, &[u8])> {
    let packet = frame.get(ethernet::HEADER_BYTES..)?;
    let header = Ipv6::of(packet)?;
    let end = ipv6::HEADER_BYTES + usize::from(header.payload_length());
    Some((header, packet.get(ipv6::HEADER_BYTES..end)?))
}

/// The one's complement sum over pseudo-header and message; 0xFFFF if the checksum is right.
fn sum(header: Ipv6<'_>, message: &[u8]) -> u16 {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let parts =
        [checksum::sum(header.addresses()), length, u16::from(ipv6::ICMP), checksum::sum(message)];
    parts.into_iter().fold(0, checksum::add)
}

/// Type and a code of zero, as a word of the message.
fn word(kind: u8) -> u16 {
    u16::from_be_bytes([kind, 0])
}
