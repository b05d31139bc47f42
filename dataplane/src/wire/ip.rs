//! What headers of both families of IP say alike, so that nobody asks which one it is.

use crate::types::Address;

use super::checksum;
use super::ipv4::{self, Ipv4, Ipv4Mut};
use super::ipv6::{self, Ipv6, Ipv6Mut};

/// Which piece of its datagram a fragment has (RFC 791 3.1, RFC 8200 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Byte of the datagram where it begins, a multiple of eight; at most 65,528.
    pub start: u16,
    /// Whether more follows.
    pub more: bool,
    /// What fragments of one datagram have in common; of IPv4 16 bits.
    pub id: u32,
}

/// A header to read.
#[derive(Clone, Copy)]
pub enum Ip<'a> {
    /// RFC 791.
    V4(Ipv4<'a>),
    /// RFC 8200.
    V6(Ipv6<'a>),
}

impl<'a> Ip<'a> {
    /// The header at the start of a packet, by its version; `None` if it is cut off or neither.
    #[inline]
    #[must_use]
    pub fn of(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Ipv4::of(packet).map(Ip::V4),
            6 => Ipv6::of(packet).map(Ip::V6),
            _ => None,
        }
    }

    /// Bytes of the packet, header included.
    #[inline]
    #[must_use]
    pub fn total_bytes(self) -> usize {
        match self {
            Ip::V4(header) => usize::from(header.total_length()),
            Ip::V6(header) => ipv6::HEADER_BYTES + usize::from(header.payload_length()),
        }
    }

    /// Source and destination.
    #[must_use]
    pub fn addresses(self) -> (Address, Address) {
        match self {
            Ip::V4(header) => (header.source().into(), header.destination().into()),
            Ip::V6(header) => (header.source().into(), header.destination().into()),
        }
    }

    /// How the packet is to be treated: type of service, or traffic class.
    #[must_use]
    pub fn class(self) -> u8 {
        match self {
            Ip::V4(header) => header.type_of_service(),
            Ip::V6(header) => header.traffic_class(),
        }
    }

    /// How many hops it may still go.
    #[must_use]
    pub fn hops(self) -> u8 {
        match self {
            Ip::V4(header) => header.ttl(),
            Ip::V6(header) => header.hop_limit(),
        }
    }

    /// The one's complement sum over both addresses, as a pseudo-header has it.
    #[must_use]
    pub fn address_sum(self) -> u16 {
        match self {
            Ip::V4(header) => checksum::add(
                checksum::sum(&header.source().octets()),
                checksum::sum(&header.destination().octets()),
            ),
            Ip::V6(header) => checksum::sum(header.addresses()),
        }
    }
}

/// Shortens a packet to so many bytes, header included; its header checksum follows. `None` if it
/// is neither IPv4 nor IPv6, or they are fewer than its header.
pub fn set_total_bytes(packet: &mut [u8], bytes: usize) -> Option<()> {
    match Ip::of(packet)? {
        Ip::V4(header) => {
            let (old, new) = (header.total_length(), u16::try_from(bytes).ok()?);
            let change = checksum::Delta::of_u16(old.to_be(), new.to_be());
            let mut header = Ipv4Mut::of(packet)?;
            header.set_total_length(new);
            header.set_checksum(change.update(header.checksum()));
        }
        Ip::V6(_) => {
            let payload = bytes.checked_sub(ipv6::HEADER_BYTES)?;
            Ipv6Mut::of(packet)?.set_payload_length(u16::try_from(payload).ok()?);
        }
    }
    Some(())
}

/// Protocol numbers, which both families share but for ICMP's.
pub use ipv4::{TCP, UDP};
