//! A header of IP, written anew: of packets that change their family, of ICMP that adit sends, and
//! of packets that ICMP errors quote. It has no options, and no extension but a fragment's.

use core::net::IpAddr;

use crate::types::{Address, Family};
use crate::wire::ethernet;
use crate::wire::ip::Piece;
use crate::wire::ipv4::{self, Ipv4, Ipv4Mut};
use crate::wire::ipv6::{self, Ipv6Mut};

/// What a header says, but for lengths. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source: Address,
    pub(super) destination: Address,
    /// Type of service, or traffic class.
    pub(super) class: u8,
    pub(super) hops: u8,
    /// Number of the protocol.
    pub(super) protocol: u8,
    /// Whether it may not become fragments, which of IPv6 none may.
    pub(super) dont_fragment: bool,
    /// Which piece of its datagram the packet has, if not all of it.
    pub(super) piece: Option<Piece>,
}

impl Header {
    /// Its bytes.
    pub(super) fn bytes(&self) -> usize {
        match (self.destination.family(), self.piece) {
            (Family::V4, _) => ipv4::HEADER_BYTES_MIN,
            (Family::V6, None) => ipv6::HEADER_BYTES,
            (Family::V6, Some(_)) => ipv6::HEADER_BYTES + ipv6::FRAGMENT_BYTES,
        }
    }

    /// The type of a frame that it begins the packet of.
    pub(super) fn ethertype(&self) -> u16 {
        match self.destination.family() {
            Family::V4 => ethernet::IPV4,
            Family::V6 => ethernet::IPV6,
        }
    }

    /// Writes it at the start of a packet, in front of `body` bytes; `None` if it does not fit, or
    /// if a packet cannot have so many.
    pub(super) fn write(&self, packet: &mut [u8], body: usize) -> Option<()> {
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ipv4Mut::of(packet)?;
                header.begin(self.class, self.dont_fragment);
                if let Some(piece) = self.piece {
                    header.set_piece(piece);
                }
                header.set_total_length(u16::try_from(self.bytes() + body).ok()?);
                header.set_ttl_and_protocol(self.hops, self.protocol);
                header.set_addresses(source, destination);
                let sum = Ipv4::of(packet)?.sum();
                Ipv4Mut::of(packet)?.set_checksum((!sum).to_be());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let payload = self.bytes() - ipv6::HEADER_BYTES + body;
                let mut header = Ipv6Mut::of(packet)?;
                header.set_class(self.class);
                header.set_payload_length(u16::try_from(payload).ok()?);
                header.set_next_header(self.piece.map_or(self.protocol, |_| ipv6::FRAGMENT));
                header.set_hop_limit(self.hops);
                header.set_addresses(source, destination);
                if let Some(piece) = self.piece {
                    let extension = packet.get_mut(ipv6::HEADER_BYTES..self.bytes())?;
                    extension.copy_from_slice(&ipv6::fragment_header(self.protocol, piece));
                }
            }
            _ => return None,
        }
        Some(())
    }
}
