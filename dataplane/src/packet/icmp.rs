//! ICMP for IPv4 (RFC 792): messages judged, echo answered, errors translated and originated.
//!
//! A message exists only if its checksum holds (RFC 5508 REQ-3). What adit sends is built anew: its
//! IPv4 header has no options, its quote ends before any extension, so that nothing in it was
//! written by a host of the other network (I1). It is atomic (RFC 6864), so its identification
//! means nothing. Bounds: a message is summed once; a quote has at most [`ERROR_BYTES_MAX`] bytes.

use core::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;
use etherparse::{IpFragOffset, IpNumber, Ipv4Header};

use super::rewrite::{Change, Tuple};
use crate::drop_reason::DropReason;
use crate::types::{MacAddress, Protocol};
use crate::wire::checksum::{self, Delta};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::icmp::{self, Icmp};
use crate::wire::ip::Ip;
use crate::wire::ipv4::{self, Ipv4, Ipv4Mut};
use crate::wire::ipv6;
use crate::wire::{ports, tcp, udp};

/// Bytes of a frame with an ICMP error of adit's own at most: of a packet that every host takes,
/// which is 576 bytes for IPv4 (RFC 1812 4.3.2.3) and 1,280 for IPv6 (RFC 4443 2.4).
pub const ERROR_BYTES_MAX: usize = ethernet::HEADER_BYTES + 1_280;

/// Bytes of the refused packet that an error of adit's own quotes at most.
const OWN_QUOTE_BYTES_MAX: usize = 576 - ipv4::HEADER_BYTES_MIN - icmp::HEADER_BYTES;

/// The same for IPv6.
pub(super) const QUOTE_BYTES_MAX: usize =
    ERROR_BYTES_MAX - ethernet::HEADER_BYTES - ipv6::HEADER_BYTES - icmp::HEADER_BYTES;

/// Bytes of the quote that a translated error keeps at most: behind them extensions may begin that
/// tell of routers' interfaces, whether or not the message says so (RFC 4884 5.5).
const TRANSLATED_QUOTE_BYTES_MAX: usize = 128;

/// Bytes behind the quoted header that every error has (RFC 792).
const PORTS_AND_MORE_BYTES: usize = 8;

/// Time to live of packets that adit originates.
pub(super) const OWN_TTL: u8 = 64;

const UNREACHABLE_FRAGMENTATION_NEEDED: u8 = 4;
const UNREACHABLE_PROHIBITED: u8 = 13;

/// A frame that adit sends in answer to a packet that it refused.
pub type ErrorFrame = ArrayVec<u8, ERROR_BYTES_MAX>;

/// What an error of adit's own says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Larger than the next hop's MTU, which is told (RFC 1191 4, RFC 4443 3.2).
    TooBig(u16),
    /// The time to live ran out in transit.
    TimeExceeded,
    /// Communication is administratively prohibited.
    Prohibited,
}

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
        let (number, offset, dont_fragment) = match ip {
            Ip::V4(header) if header.fragment_offset_bytes() != 0 => return None,
            Ip::V4(header) => {
                (header.protocol_number(), header.header_bytes(), header.dont_fragment())
            }
            Ip::V6(_) => {
                let upper = ipv6::upper(packet.get(..ip.total_bytes())?).ok()?;
                (upper.protocol, upper.offset, true)
            }
        };
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
    let header = match Ip::of(packet)? {
        Ip::V4(header) => header,
        Ip::V6(_) => return super::icmpv6::emit_error(frame, mac, problem),
    };
    let quote = packet.get(..usize::from(header.total_length()))?;
    let quote = &quote[..quote.len().min(OWN_QUOTE_BYTES_MAX)];
    let (kind, code, word) = match problem {
        Problem::TooBig(mtu) => (icmp::UNREACHABLE, UNREACHABLE_FRAGMENTATION_NEEDED, mtu),
        Problem::TimeExceeded => (icmp::TIME_EXCEEDED, 0, 0),
        Problem::Prohibited => (icmp::UNREACHABLE, UNREACHABLE_PROHIBITED, 0),
    };
    let [high, low] = word.to_be_bytes();
    let outer = (header.destination(), header.source());
    let mut answer = emit(outer, OWN_TTL, [kind, code, 0, 0, 0, 0, high, low], quote)?;
    ethernet::set_stations(&mut answer, Ethernet::of(frame)?.source(), mac);
    Some(answer)
}

/// A well-formed ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who sent it.
    pub source: Ipv4Addr,
    /// Whom it is for.
    pub destination: Ipv4Addr,
    /// Its time to live.
    pub ttl: u8,
    /// The station that sent it.
    pub station: MacAddress,
    /// What it is.
    pub kind: MessageKind,
}

/// What an ICMP message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// Asks for an answer.
    EchoRequest,
    /// Says what happened to a packet.
    Error(Quoted),
    /// Anything else.
    Other,
}

/// The packet that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// Its protocol.
    pub protocol: Protocol,
    /// Byte in the frame where it begins, and how many bytes of it are kept.
    start: usize,
    kept: usize,
}

impl Message {
    /// Judges a frame with an ICMP message whose IPv4 header held.
    ///
    /// # Errors
    /// [`DropReason::IcmpInvalid`]: cut off, or a checksum is wrong.
    pub fn parse(frame: &[u8]) -> Result<Message, DropReason> {
        let packet = frame.get(ethernet::HEADER_BYTES..).ok_or(DropReason::IcmpInvalid)?;
        let header = Ipv4::of(packet).ok_or(DropReason::IcmpInvalid)?;
        let body = header.header_bytes()..usize::from(header.total_length());
        let start = ethernet::HEADER_BYTES + header.header_bytes();
        let message = packet.get(body).ok_or(DropReason::IcmpInvalid)?;
        let icmp = Icmp::of(message).ok_or(DropReason::IcmpInvalid)?;
        if checksum::sum(message) != u16::MAX {
            return Err(DropReason::IcmpInvalid);
        }
        let has_options = header.header_bytes() != ipv4::HEADER_BYTES_MIN;
        let kind = match icmp.kind() {
            // An answer would have to carry them on or turn them round (RFC 1122 3.2.2.6).
            icmp::ECHO_REQUEST if !has_options => MessageKind::EchoRequest,
            icmp::UNREACHABLE | icmp::TIME_EXCEEDED | icmp::PARAMETER_PROBLEM => {
                MessageKind::Error(Quoted::of(icmp, message, start)?)
            }
            _ => MessageKind::Other,
        };
        let station = Ethernet::of(frame).ok_or(DropReason::IcmpInvalid)?.source();
        let (source, destination) = (header.source(), header.destination());
        Ok(Message { source, destination, ttl: header.ttl(), station, kind })
    }

    /// Turns the frame of this echo request into its reply, sent from the station `mac`.
    pub fn answer_echo(&self, frame: &mut [u8], mac: MacAddress) -> Option<()> {
        let (head, message) =
            frame.split_at_mut_checked(ethernet::HEADER_BYTES + ipv4::HEADER_BYTES_MIN)?;
        let asked = Icmp::of(message)?;
        let change = Delta::of_u16(
            u16::from_be_bytes([asked.kind(), asked.code()]),
            u16::from_be_bytes([icmp::ECHO_REPLY, 0]),
        );
        let updated = change.update(asked.checksum());
        message[..2].copy_from_slice(&[icmp::ECHO_REPLY, 0]);
        message[icmp::CHECKSUM_OFFSET..icmp::CHECKSUM_OFFSET + 2]
            .copy_from_slice(&updated.to_be_bytes());
        let total_length = Ipv4::of(&head[ethernet::HEADER_BYTES..])?.total_length();
        let body_bytes = usize::from(total_length).checked_sub(ipv4::HEADER_BYTES_MIN)?;
        let header = header((self.destination, self.source), OWN_TTL, body_bytes)?;
        head[ethernet::HEADER_BYTES..].copy_from_slice(&header);
        ethernet::set_stations(head, self.station, mac);
        Some(())
    }
}

impl Quoted {
    /// The packet that an error quotes. Its own checksum is not verified, most of it being cut off.
    fn of(icmp: Icmp<'_>, message: &[u8], start: usize) -> Result<Quoted, DropReason> {
        let quote = message.get(icmp::HEADER_BYTES..).ok_or(DropReason::IcmpInvalid)?;
        let header = Ipv4::of(quote).ok_or(DropReason::IcmpInvalid)?;
        if header.version() != 4 || header.header_bytes() < ipv4::HEADER_BYTES_MIN {
            return Err(DropReason::IcmpInvalid);
        }
        let (head, rest) =
            quote.split_at_checked(header.header_bytes()).ok_or(DropReason::IcmpInvalid)?;
        if checksum::sum(head) != u16::MAX || rest.len() < PORTS_AND_MORE_BYTES {
            return Err(DropReason::IcmpInvalid);
        }
        // Its options are left to no consumer and no provider: routers write addresses into them.
        let is_plain = head.len() == ipv4::HEADER_BYTES_MIN && header.fragment_offset_bytes() == 0;
        let protocol = transport(header.protocol_number()).filter(|_| is_plain);
        let protocol = protocol.ok_or(DropReason::IcmpUnmatched)?;
        let (source_port, destination_port) = ports(rest).ok_or(DropReason::IcmpInvalid)?;
        let kept = quote
            .len()
            .min(usize::from(header.total_length()))
            .min(icmp.quoted_bytes().unwrap_or(usize::MAX))
            .min(TRANSLATED_QUOTE_BYTES_MAX);
        if kept < ipv4::HEADER_BYTES_MIN + PORTS_AND_MORE_BYTES {
            return Err(DropReason::IcmpInvalid);
        }
        Ok(Quoted {
            tuple: Tuple {
                source: header.source().into(),
                destination: header.destination().into(),
                source_port,
                destination_port,
            },
            protocol,
            start: start + icmp::HEADER_BYTES,
            kept,
        })
    }

    /// The error of the frame, about a packet with the tuple `was` instead, from its destination to
    /// its source, with one hop less to live, and with TCP's numbers changed by so much. `None` if
    /// the frame is another, or the tuple of IPv6.
    #[must_use]
    pub fn translate(
        &self,
        frame: &[u8],
        was: &Tuple,
        ttl: u8,
        moved: Moved,
    ) -> Option<ErrorFrame> {
        let icmp = Icmp::of(frame.get(self.start.checked_sub(icmp::HEADER_BYTES)?..)?)?;
        let quote = frame.get(self.start..self.start + self.kept)?;
        let mut own: ArrayVec<u8, TRANSLATED_QUOTE_BYTES_MAX> = quote.try_into().ok()?;
        let change = Change::between(&self.tuple, was);
        let (IpAddr::V4(source), IpAddr::V4(destination)) = was.ips() else {
            return None;
        };
        let (head, rest) = own.split_at_mut_checked(ipv4::HEADER_BYTES_MIN)?;
        let mut header = Ipv4Mut::of(head)?;
        header.set_addresses(source, destination);
        header.set_checksum(change.addresses.update(header.checksum()));
        rest[..2].copy_from_slice(&was.source_port.to_be_bytes());
        rest[2..4].copy_from_slice(&was.destination_port.to_be_bytes());
        let numbers = match self.protocol {
            Protocol::Tcp => moved.apply(rest),
            Protocol::Udp => Delta::default(),
        };
        self.update_transport(change.tuple.and(numbers), rest);
        // No length of the quote: what it would be needed for is cut off.
        let (pointer, word) = match (icmp.kind(), icmp.code()) {
            (icmp::PARAMETER_PROBLEM, _) => (icmp.pointer(), 0),
            (icmp::UNREACHABLE, UNREACHABLE_FRAGMENTATION_NEEDED) => (0, icmp.word()),
            _ => (0, 0),
        };
        let [high, low] = word.to_be_bytes();
        let start = [icmp.kind(), icmp.code(), 0, 0, pointer, 0, high, low];
        emit((destination, source), ttl.checked_sub(1)?, start, &own)
    }

    /// The quoted packet's own checksum, if the quote reaches that far and it has one.
    fn update_transport(&self, change: Delta, rest: &mut [u8]) {
        let at = match self.protocol {
            Protocol::Tcp => tcp::CHECKSUM_OFFSET,
            Protocol::Udp => udp::CHECKSUM_OFFSET,
        };
        let Some(field) = rest.get_mut(at..at + 2) else { return };
        let checksum = u16::from_ne_bytes([field[0], field[1]]);
        let updated = change.update(checksum);
        let updated = match (self.protocol, checksum, updated) {
            (Protocol::Udp, 0, _) => 0,
            (Protocol::Udp, _, 0) => u16::MAX,
            _ => updated,
        };
        field.copy_from_slice(&updated.to_ne_bytes());
    }
}

/// What is added to the numbers of a quoted segment, so that its sender knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// To its sequence number.
    pub sequence: u32,
    /// To what it acknowledges.
    pub acknowledgement: u32,
}

impl Moved {
    /// Changes them as far as they are quoted. Returns the change of the segment's sum.
    fn apply(self, segment: &mut [u8]) -> Delta {
        let numbers = [
            (tcp::SEQUENCE_OFFSET, self.sequence),
            (tcp::ACKNOWLEDGEMENT_OFFSET, self.acknowledgement),
        ];
        numbers.into_iter().fold(Delta::default(), |change, (at, moved)| {
            let field = segment.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
            let Some(field) = field.filter(|_| moved != 0) else { return change };
            let old = u32::from_be_bytes(*field);
            let new = old.wrapping_add(moved);
            *field = new.to_be_bytes();
            change.and(Delta::of_u32(old.to_be(), new.to_be()))
        })
    }
}

fn transport(number: u8) -> Option<Protocol> {
    match number {
        ipv4::TCP => Some(Protocol::Tcp),
        ipv4::UDP => Some(Protocol::Udp),
        _ => None,
    }
}

/// A frame without stations, with an ICMP message from one address to another.
fn emit(
    outer: (Ipv4Addr, Ipv4Addr),
    ttl: u8,
    start: [u8; icmp::HEADER_BYTES],
    quote: &[u8],
) -> Option<ErrorFrame> {
    let mut frame = ErrorFrame::new();
    frame.try_extend_from_slice(&[0; 12]).ok()?;
    frame.try_extend_from_slice(&ethernet::IPV4.to_be_bytes()).ok()?;
    frame.try_extend_from_slice(&header(outer, ttl, icmp::HEADER_BYTES + quote.len())?).ok()?;
    let message = frame.len();
    frame.try_extend_from_slice(&start).ok()?;
    frame.try_extend_from_slice(quote).ok()?;
    let checksum = !checksum::sum(&frame[message..]);
    let field = message + icmp::CHECKSUM_OFFSET;
    frame[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    Some(frame)
}

/// An IPv4 header in front of `body_bytes` of ICMP: atomic, without options.
fn header(
    (source, destination): (Ipv4Addr, Ipv4Addr),
    ttl: u8,
    body_bytes: usize,
) -> Option<[u8; ipv4::HEADER_BYTES_MIN]> {
    let body_bytes = u16::try_from(body_bytes).ok()?;
    let (source, destination) = (source.octets(), destination.octets());
    let mut header = Ipv4Header::new(body_bytes, ttl, IpNumber::ICMP, source, destination).ok()?;
    header.dont_fragment = true;
    header.fragment_offset = IpFragOffset::ZERO;
    header.header_checksum = header.calc_header_checksum();
    header.to_bytes().as_slice().try_into().ok()
}
