//! ICMP of both families (RFC 792, RFC 4443): messages judged, echo answered, errors translated and
//! originated.
//!
//! A message exists only if its checksum holds (RFC 5508 REQ-3). What adit sends is built anew: its
//! header has no options, its quote ends before any extension, so that nothing in it was written by
//! a host of the other network (I1). Of IPv4 it is atomic (RFC 6864), so its identification means
//! nothing. Bounds: a message is summed once; an error has at most [`ERROR_BYTES_MAX`] bytes.

mod quote;
mod report;

use arrayvec::ArrayVec;

use super::header::Header;
use super::parse::upper;
use super::rewrite::Tuple;
use crate::drop_reason::DropReason;
use crate::types::{Address, Family, MacAddress, Protocol};
use crate::wire::checksum::{self, Delta};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::icmp::{self, Icmp};
use crate::wire::ip::Ip;
use crate::wire::ipv4;
use crate::wire::ipv6;
use crate::wire::ports;

pub use quote::{Moved, Quoted};
pub use report::{Path, Problem, Report};

/// Bytes of a frame with an ICMP error of adit's own at most: of a packet that every host takes,
/// which is 576 bytes for IPv4 (RFC 1812 4.3.2.3) and 1,280 for IPv6 (RFC 4443 2.4).
pub const ERROR_BYTES_MAX: usize = ethernet::HEADER_BYTES + 1_280;

/// Time to live of packets that adit originates.
const OWN_TTL: u8 = 64;

/// A frame that adit sends in answer to a packet that it refused.
pub type ErrorFrame = ArrayVec<u8, ERROR_BYTES_MAX>;

/// A packet that was refused, by what an answer needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Addresses and ports.
    pub tuple: Tuple,
    /// The protocol.
    pub protocol: Protocol,
    /// Whether it may not be fragmented.
    pub dont_fragment: bool,
}

impl Refused {
    /// What is known of a frame that may be answered by an ICMP error: TCP or UDP, and not a later
    /// fragment (RFC 1812 4.3.2.7). Frames for groups and from nobody never come this far.
    #[must_use]
    pub fn of(frame: &[u8]) -> Option<Refused> {
        let packet = frame.get(ethernet::HEADER_BYTES..)?;
        let ip = Ip::of(packet)?;
        let (number, offset, piece, dont_fragment) = match ip {
            Ip::V4(header) => {
                let (number, offset) = (header.protocol_number(), header.header_bytes());
                (number, offset, header.piece(), header.dont_fragment())
            }
            Ip::V6(_) => {
                let upper = ipv6::upper(packet.get(..ip.total_bytes())?).ok()?;
                (upper.protocol, upper.offset, upper.piece, true)
            }
        };
        if piece.is_some_and(|piece| piece.start > 0) {
            return None;
        }
        let (source_port, destination_port) = ports(packet.get(offset..)?)?;
        let (source, destination) = ip.addresses();
        let tuple = Tuple { source, destination, source_port, destination_port };
        Some(Refused { tuple, protocol: transport(number)?, dont_fragment })
    }
}

/// The error about the packet in a frame that arrived at the station `mac`: to its sender, in the
/// name of the address that it was sent to. The frame must be as it came.
#[must_use]
pub fn emit_error(frame: &[u8], mac: MacAddress, problem: Problem) -> Option<ErrorFrame> {
    let packet = frame.get(ethernet::HEADER_BYTES..)?;
    let ip = Ip::of(packet)?;
    let (source, destination) = ip.addresses();
    let family = destination.family();
    let quote = packet.get(..ip.total_bytes())?;
    let quote = &quote[..quote.len().min(own_quote_bytes_max(family))];
    let report = Report::of(problem, family);
    let mut error = emit((destination, source), OWN_TTL, report, quote)?;
    ethernet::set_stations(&mut error, Ethernet::of(frame)?.source(), mac);
    Some(error)
}

/// Bytes of the refused packet that an error of adit's own quotes at most.
fn own_quote_bytes_max(family: Family) -> usize {
    let packet = match family {
        Family::V4 => 576,
        Family::V6 => ERROR_BYTES_MAX - ethernet::HEADER_BYTES,
    };
    packet - usize::from(family.header_bytes()) - icmp::HEADER_BYTES
}

/// A well-formed ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub source: Address,
    /// Whom it is for.
    pub destination: Address,
    /// How many hops it may still go.
    pub hops: u8,
    /// What it is.
    pub kind: MessageKind,
    /// The station that sent it.
    station: MacAddress,
    /// Byte in the frame where it begins.
    start: usize,
}

/// What an ICMP message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Asks for an answer.
    EchoRequest,
    /// Says what happened to a packet.
    Error(Report, Quoted),
    /// Anything else.
    Other,
}

impl Message {
    /// Judges a frame with an ICMP message whose IP header held.
    ///
    /// # Errors
    /// [`DropReason::IcmpInvalid`]: cut off, a checksum is wrong, or it says what cannot be;
    /// [`DropReason::IcmpUnmatched`], [`DropReason::IcmpUntranslatable`]: it is about something
    /// that no flow has sent, or that its sender never had.
    pub fn parse(frame: &[u8]) -> Result<Message, DropReason> {
        let packet = frame.get(ethernet::HEADER_BYTES..).ok_or(DropReason::IcmpInvalid)?;
        let ip = Ip::of(packet).ok_or(DropReason::IcmpInvalid)?;
        let packet = packet.get(..ip.total_bytes()).ok_or(DropReason::IcmpInvalid)?;
        let header_bytes = match ip {
            Ip::V4(header) => header.header_bytes(),
            Ip::V6(_) => upper(packet)?.offset,
        };
        let start = ethernet::HEADER_BYTES + header_bytes;
        let message = packet.get(header_bytes..).ok_or(DropReason::IcmpInvalid)?;
        let icmp = Icmp::of(message).ok_or(DropReason::IcmpInvalid)?;
        if covered(ip, message) != u16::MAX {
            return Err(DropReason::IcmpInvalid);
        }
        let (source, destination) = ip.addresses();
        let family = destination.family();
        let has_options = header_bytes != usize::from(family.header_bytes());
        let kind = match Report::read(family, icmp) {
            Some(report) if report.is_senseless() => return Err(DropReason::IcmpInvalid),
            Some(report) => {
                let (report, quoted) = Quoted::of(report, family, message, start)?;
                MessageKind::Error(report, quoted)
            }
            // An answer would have to carry them on or turn them round (RFC 1122 3.2.2.6).
            None if icmp.kind() == echo_kinds(family).0 && !has_options => MessageKind::EchoRequest,
            None => MessageKind::Other,
        };
        let station = Ethernet::of(frame).ok_or(DropReason::IcmpInvalid)?.source();
        Ok(Message { source, destination, hops: ip.hops(), kind, station, start })
    }

    /// Turns the frame of this echo request into its reply, sent from the station `mac`.
    pub fn answer_echo(&self, frame: &mut [u8], mac: MacAddress) -> Option<()> {
        let (head, message) = frame.split_at_mut_checked(self.start)?;
        let asked = Icmp::of(message)?;
        let (_, reply) = echo_kinds(self.source.family());
        // The sum over addresses stays the same when they change places.
        let change = Delta::of_u16(
            u16::from_be_bytes([asked.kind(), asked.code()]),
            u16::from_be_bytes([reply, 0]),
        );
        let updated = change.update(asked.checksum());
        message.get_mut(..2)?.copy_from_slice(&[reply, 0]);
        let field = icmp::CHECKSUM_OFFSET..icmp::CHECKSUM_OFFSET + 2;
        message.get_mut(field)?.copy_from_slice(&updated.to_be_bytes());
        ethernet::set_stations(head, self.station, mac);
        let packet = head.get_mut(ethernet::HEADER_BYTES..)?;
        let body = Ip::of(packet)?.total_bytes().checked_sub(packet.len())?;
        own_header((self.destination, self.source), OWN_TTL).write(packet, body)
    }
}

/// Types of echo requests and replies.
const fn echo_kinds(family: Family) -> (u8, u8) {
    match family {
        Family::V4 => (8, 0),
        Family::V6 => (128, 129),
    }
}

/// The one's complement sum over what the checksum of a message covers: of ICMPv6 a pseudo-header,
/// too (RFC 4443 2.3). 0xFFFF if the checksum is right.
fn covered(ip: Ip<'_>, message: &[u8]) -> u16 {
    let own = checksum::sum(message);
    match ip {
        Ip::V4(_) => own,
        Ip::V6(_) => {
            let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
            let parts = [ip.address_sum(), length, u16::from(ipv6::ICMP)];
            parts.into_iter().fold(own, checksum::add)
        }
    }
}

fn transport(number: u8) -> Option<Protocol> {
    match number {
        ipv4::TCP => Some(Protocol::Tcp),
        ipv4::UDP => Some(Protocol::Udp),
        _ => None,
    }
}

/// The header of a message of adit's own: atomic, without options.
fn own_header((source, destination): (Address, Address), hops: u8) -> Header {
    let protocol = match destination.family() {
        Family::V4 => ipv4::ICMP,
        Family::V6 => ipv6::ICMP,
    };
    Header { source, destination, class: 0, hops, protocol, dont_fragment: true, piece: None }
}

/// A frame without stations, with an ICMP error from one address to another.
fn emit(outer: (Address, Address), hops: u8, report: Report, quote: &[u8]) -> Option<ErrorFrame> {
    let header = own_header(outer, hops);
    let mut frame = ErrorFrame::new();
    let start = ethernet::HEADER_BYTES + header.bytes();
    frame.try_extend_from_slice(&[0; ethernet::HEADER_BYTES + ipv6::HEADER_BYTES][..start]).ok()?;
    frame.try_extend_from_slice(&report.bytes()).ok()?;
    frame.try_extend_from_slice(quote).ok()?;
    ethernet::set_ethertype(&mut frame, header.ethertype());
    let (head, message) = frame.split_at_mut_checked(start)?;
    let packet = head.get_mut(ethernet::HEADER_BYTES..)?;
    header.write(packet, message.len())?;
    let sum = !covered(Ip::of(packet)?, message);
    let field = icmp::CHECKSUM_OFFSET..icmp::CHECKSUM_OFFSET + 2;
    message.get_mut(field)?.copy_from_slice(&sum.to_be_bytes());
    Some(frame)
}
