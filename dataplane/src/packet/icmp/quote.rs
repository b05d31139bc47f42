//! The packet that an ICMP error quotes: judged, and quoted anew as its sender knows it.

use core::net::IpAddr;

use arrayvec::ArrayVec;

use super::report::Report;
use super::{ErrorFrame, emit, transport};
use crate::drop_reason::DropReason;
use crate::packet::header::Header;
use crate::packet::rewrite::{Change, Tuple};
use crate::types::{Family, Protocol};
use crate::wire::checksum::{self, Delta};
use crate::wire::icmp::{self, Icmp};
use crate::wire::ip::Ip;
use crate::wire::ipv4::{self, Ipv4, Ipv4Mut};
use crate::wire::ipv6::{self, Ipv6Mut};
use crate::wire::{ports, tcp, udp};

/// Bytes of the quote that a translated error keeps at most: behind them extensions may begin that
/// tell of routers' interfaces, whether or not the message says so (RFC 4884 5.5).
const QUOTE_BYTES_MAX: usize = 128;

/// Bytes behind the quoted headers of IP that every error has (RFC 792).
const PORTS_AND_MORE_BYTES: usize = 8;

/// The packet that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// Its protocol.
    pub protocol: Protocol,
    /// Bytes that it has, quoted or not.
    pub bytes: u32,
    /// Byte in the frame where it begins, and how many bytes of it are kept.
    start: usize,
    kept: usize,
    /// Byte of it where the transport header begins.
    transport: usize,
}

impl Quoted {
    /// The packet that an error quotes, and what the error says of it. Its own checksum is not
    /// verified, most of it being cut off.
    pub(super) fn of(
        report: Report,
        family: Family,
        message: &[u8],
        start: usize,
    ) -> Result<(Report, Quoted), DropReason> {
        let header = Icmp::of(message).ok_or(DropReason::IcmpInvalid)?;
        let quote = message.get(icmp::HEADER_BYTES..).ok_or(DropReason::IcmpInvalid)?;
        let ip = Ip::of(quote).filter(|ip| ip.addresses().1.family() == family);
        let ip = ip.ok_or(DropReason::IcmpInvalid)?;
        let kept = quote
            .len()
            .min(ip.total_bytes())
            .min(report.quoted_bytes(header).unwrap_or(usize::MAX))
            .min(QUOTE_BYTES_MAX);
        let (number, transport_at) = match ip {
            Ip::V4(header) => judge_ipv4(header, quote)?,
            Ip::V6(_) => judge_ipv6(&quote[..kept])?,
        };
        let protocol = transport(number).ok_or(DropReason::IcmpUnmatched)?;
        let rest = quote[..kept].get(transport_at..).filter(|it| it.len() >= PORTS_AND_MORE_BYTES);
        let (source_port, destination_port) =
            rest.and_then(ports).ok_or(DropReason::IcmpInvalid)?;
        let report =
            report.without_extensions(transport_at).ok_or(DropReason::IcmpUntranslatable)?;
        let (source, destination) = ip.addresses();
        let quoted = Quoted {
            tuple: Tuple { source, destination, source_port, destination_port },
            protocol,
            bytes: u32::try_from(ip.total_bytes()).unwrap_or(u32::MAX),
            start: start + icmp::HEADER_BYTES,
            kept,
            transport: transport_at,
        };
        Ok((report, quoted))
    }

    /// An error of the frame that says this, about a packet with the tuple `was` instead, from its
    /// destination to its source, with so many hops to live, and with TCP's numbers changed by so
    /// much. `None` if the frame is another.
    #[must_use]
    pub fn translate(
        &self,
        frame: &[u8],
        was: &Tuple,
        (report, hops): (Report, u8),
        moved: Moved,
    ) -> Option<ErrorFrame> {
        let quote = frame.get(self.start..self.start + self.kept)?;
        let (head, rest) = quote.split_at_checked(self.transport)?;
        let header_bytes = usize::from(was.family().header_bytes());
        let rest = &rest[..rest.len().min(QUOTE_BYTES_MAX - header_bytes)];
        let mut own = ArrayVec::<u8, QUOTE_BYTES_MAX>::new();
        own.try_extend_from_slice(&[0; ipv6::HEADER_BYTES][..header_bytes]).ok()?;
        own.try_extend_from_slice(rest).ok()?;
        let (header, rest) = own.split_at_mut_checked(header_bytes)?;
        let change = Change::between(&self.tuple, was);
        self.write_header(header, head, was, change.addresses)?;
        rest.get_mut(..2)?.copy_from_slice(&was.source_port.to_be_bytes());
        rest.get_mut(2..4)?.copy_from_slice(&was.destination_port.to_be_bytes());
        let numbers = match self.protocol {
            Protocol::Tcp => moved.apply(rest),
            Protocol::Udp => Delta::NONE,
        };
        self.update_transport(change.tuple.and(numbers), rest);
        emit((was.destination, was.source), hops, report, &own)
    }

    /// The header of the packet as its sender knows it: `head` was quoted. Extension headers stay
    /// behind, because routers may write into those that they look at.
    fn write_header(&self, own: &mut [u8], head: &[u8], was: &Tuple, change: Delta) -> Option<()> {
        let body = usize::try_from(self.bytes).ok()?.checked_sub(self.transport)?;
        match (self.tuple.family(), was.ips()) {
            (Family::V4, (IpAddr::V4(source), IpAddr::V4(destination))) => {
                own.copy_from_slice(head);
                let mut header = Ipv4Mut::of(own)?;
                header.set_addresses(source, destination);
                header.set_checksum(change.update(header.checksum()));
            }
            (Family::V6, (IpAddr::V6(source), IpAddr::V6(destination))) => {
                own.copy_from_slice(head.get(..ipv6::HEADER_BYTES)?);
                let mut header = Ipv6Mut::of(own)?;
                header.set_addresses(source, destination);
                header.set_payload_length(u16::try_from(body).ok()?);
                header.set_next_header(self.protocol as u8);
            }
            _ => {
                let ip = Ip::of(head)?;
                let header = Header {
                    source: was.source,
                    destination: was.destination,
                    class: ip.class(),
                    hops: ip.hops(),
                    protocol: self.protocol as u8,
                    dont_fragment: true,
                    piece: None,
                };
                header.write(own, body)?;
            }
        }
        Some(())
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

/// The protocol of a quoted packet, and where its transport header begins. Options are left to no
/// consumer and no provider: routers write addresses into them.
fn judge_ipv4(header: Ipv4<'_>, quote: &[u8]) -> Result<(u8, usize), DropReason> {
    let head = quote.get(..header.header_bytes()).ok_or(DropReason::IcmpInvalid)?;
    if head.len() < ipv4::HEADER_BYTES_MIN || checksum::sum(head) != u16::MAX {
        return Err(DropReason::IcmpInvalid);
    }
    let is_later = header.piece().is_some_and(|piece| piece.start > 0);
    if is_later || head.len() > ipv4::HEADER_BYTES_MIN {
        return Err(DropReason::IcmpUnmatched);
    }
    Ok((header.protocol_number(), head.len()))
}

/// The same of IPv6.
fn judge_ipv6(quote: &[u8]) -> Result<(u8, usize), DropReason> {
    let upper = ipv6::upper(quote).map_err(|fault| match fault {
        ipv6::ChainFault::Malformed => DropReason::IcmpInvalid,
        ipv6::ChainFault::Routing => DropReason::IcmpUnmatched,
    })?;
    if upper.piece.is_some_and(|piece| piece.start > 0) {
        return Err(DropReason::IcmpUnmatched);
    }
    Ok((upper.protocol, upper.offset))
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
        numbers.into_iter().fold(Delta::NONE, |change, (at, moved)| {
            let field = segment.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
            let Some(field) = field.filter(|_| moved != 0) else { return change };
            let old = u32::from_be_bytes(*field);
            let new = old.wrapping_add(moved);
            *field = new.to_be_bytes();
            change.and(Delta::of_u32(old.to_be(), new.to_be()))
        })
    }
}
