//! What senders leave to a device, done in software for a device that cannot: finding out that a
//! checksum is unfinished, finishing it, and cutting super-packets ([`cut`]).
//!
//! Pure functions over bytes; none panics, whatever the bytes are. I6: [`unfinished`] takes a
//! checksum for partial by its value alone, which is sound for right checksums always and for wrong
//! ones with the chance that the checksum itself has; decision 0022 has the argument. Knows no
//! device and decides nothing about a packet.

pub mod cut;

use crate::device::{Checksum, Frame};
use crate::wire::checksum::{add, sum, sum_of};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::{tcp, udp};

/// The transport of an IP packet that is no fragment.
#[derive(Clone, Copy)]
struct Transport {
    protocol: Protocol,
    /// Byte of the frame where its header begins.
    start: usize,
    /// Byte of the frame behind the packet; padding may follow.
    end: usize,
    /// Sum of the addresses of the pseudo-header.
    addresses: u16,
}

/// A protocol with a pseudo-header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    fn of(number: u8) -> Option<Protocol> {
        match number {
            ipv4::TCP => Some(Protocol::Tcp),
            ipv4::UDP => Some(Protocol::Udp),
            _ => None,
        }
    }

    /// Byte of the checksum field in the transport header.
    fn checksum_offset(self) -> usize {
        match self {
            Protocol::Tcp => tcp::CHECKSUM_OFFSET,
            Protocol::Udp => udp::CHECKSUM_OFFSET,
        }
    }

    /// Bytes of the shortest header.
    fn header_bytes_min(self) -> usize {
        match self {
            Protocol::Tcp => tcp::HEADER_BYTES_MIN,
            Protocol::Udp => udp::HEADER_BYTES,
        }
    }

    fn number(self) -> u8 {
        match self {
            Protocol::Tcp => ipv4::TCP,
            Protocol::Udp => ipv4::UDP,
        }
    }
}

impl Transport {
    /// That of a frame; `None` if it has none, or lies about its lengths.
    #[inline]
    fn of(frame: &[u8]) -> Option<Transport> {
        let packet = frame.get(ethernet::HEADER_BYTES..)?;
        match Ethernet::of(frame)?.ethertype() {
            ethernet::IPV4 => {}
            ethernet::IPV6 => return Transport::of_ipv6(packet),
            _ => return None,
        }
        let header = Ipv4::of(packet)?;
        let protocol = Protocol::of(header.protocol_number())?;
        let (header_bytes, length) = (header.header_bytes(), usize::from(header.total_length()));
        let has_header = header_bytes >= ipv4::HEADER_BYTES_MIN
            && length >= header_bytes + protocol.header_bytes_min();
        if header.version() != 4 || header.is_fragment() || !has_header || length > packet.len() {
            return None;
        }
        let addresses: &[u8; 8] = packet[12..].first_chunk()?;
        Some(Transport {
            protocol,
            start: ethernet::HEADER_BYTES + header_bytes,
            end: ethernet::HEADER_BYTES + length,
            addresses: sum_of(addresses),
        })
    }

    #[cold]
    fn of_ipv6(packet: &[u8]) -> Option<Transport> {
        let header = Ipv6::of(packet)?;
        let length = ipv6::HEADER_BYTES + usize::from(header.payload_length());
        let upper = ipv6::upper(packet.get(..length)?).ok()?;
        if upper.piece.is_some() {
            return None;
        }
        let protocol = Protocol::of(upper.protocol)?;
        let has_header = length >= upper.offset + protocol.header_bytes_min();
        (header.version() == 6 && has_header).then(|| Transport {
            protocol,
            start: ethernet::HEADER_BYTES + upper.offset,
            end: ethernet::HEADER_BYTES + length,
            addresses: sum(header.addresses()),
        })
    }

    /// The folded sum of the pseudo-header of so many bytes of transport; never 0.
    #[inline]
    fn pseudo_sum(&self, transport_bytes: usize) -> u16 {
        // A packet has at most 65,535 bytes.
        let length = u16::try_from(transport_bytes).unwrap_or(u16::MAX);
        add(add(self.addresses, u16::from(self.protocol.number())), length)
    }

    fn checksum_at(&self) -> usize {
        self.start + self.protocol.checksum_offset()
    }
}

/// Whether a frame that came without a word about its checksum has an unfinished one: the field
/// holds the sum of the pseudo-header, not inverted, as a kernel leaves it to the device.
#[inline]
#[must_use]
pub fn unfinished(frame: &[u8]) -> Checksum {
    let Some(transport) = Transport::of(frame) else { return Checksum::Complete };
    let at = transport.checksum_at();
    let expected = transport.pseudo_sum(transport.end - transport.start).to_be_bytes();
    // The header is there, so the field is; it lies within the first hundred bytes.
    let ends = (u16::try_from(transport.start), u16::try_from(at - transport.start));
    match (frame.get(at..at + 2) == Some(&expected), ends) {
        (true, (Ok(start), Ok(offset))) => Checksum::Partial { start, offset },
        _ => Checksum::Complete,
    }
}

/// What finishes a frame's checksum: the byte where the field lies and what belongs there. `None`
/// if nothing is unfinished, or not within the frame.
#[must_use]
pub fn finish(frame: &Frame) -> Option<(usize, [u8; 2])> {
    let Checksum::Partial { start, offset } = frame.offload.checksum else { return None };
    let (start, bytes) = (usize::from(start), frame.bytes());
    let at = start + usize::from(offset);
    bytes.get(at..at + 2)?;
    // Padding behind the packet is not covered.
    let end = Transport::of(bytes).map_or(bytes.len(), |transport| transport.end);
    Some((at, field_of(sum(bytes.get(start..end)?))))
}

/// The field for a sum of everything that is covered. A sum of zero is written as 0xFFFF, which
/// is the same number: in UDP a field of 0 would mean that there is no checksum.
fn field_of(covered: u16) -> [u8; 2] {
    let field = !covered;
    (if field == 0 { u16::MAX } else { field }).to_be_bytes()
}
