//! The only place where a forwarded packet is changed (I4, I5, I6).
//!
//! A rewrite replaces both addresses and both ports, takes one hop off the time to live, and
//! carries the checksums along by difference. The return rewrite of a flow is the inverse of its
//! forward one.

use core::net::Ipv4Addr;

use super::Packet;
use crate::types::Protocol;
use crate::wire::checksum::Delta;
use crate::wire::ethernet;
use crate::wire::ipv4::Ipv4Mut;
use crate::wire::plain::{HEAD_BYTES, PlainMut};
use crate::wire::{tcp, udp};

/// Addresses and ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

/// What addresses and ports become, and what that does to checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The tuple that the packet leaves with.
    pub to: Tuple,
    /// Change of the sum over both addresses: in the IPv4 header and every pseudo-header.
    pub addresses: Delta,
    /// Change of the sum over both ports.
    pub ports: Delta,
}

impl Rewrite {
    /// The rewrite that turns one tuple into another.
    #[must_use]
    pub fn new(from: &Tuple, to: &Tuple) -> Rewrite {
        let source = Delta::of_u32(from.source.to_bits(), to.source.to_bits());
        let destination = Delta::of_u32(from.destination.to_bits(), to.destination.to_bits());
        let source_port = Delta::of_u16(from.source_port, to.source_port);
        let destination_port = Delta::of_u16(from.destination_port, to.destination_port);
        Rewrite {
            to: *to,
            addresses: source.and(destination),
            ports: source_port.and(destination_port),
        }
    }

    /// Applies the rewrite to the frame that `packet` was parsed from. `None` if it was not: the
    /// frame is then untouched.
    #[inline(always)]
    #[must_use]
    pub fn apply(&self, frame: &mut [u8], packet: &Packet) -> Option<()> {
        let split = usize::from(packet.transport_offset);
        let (head, transport) = frame.split_at_mut_checked(split)?;
        let mut header = Ipv4Mut::of(head.get_mut(ethernet::HEADER_BYTES..)?)?;
        let checksum_at = match packet.protocol {
            Protocol::Tcp => tcp::CHECKSUM_OFFSET,
            Protocol::Udp => udp::CHECKSUM_OFFSET,
        };
        let field = transport.get_mut(checksum_at..checksum_at + 2)?;
        let checksum = u16::from_be_bytes([field[0], field[1]]);
        field.copy_from_slice(&self.transport_checksum(checksum, packet).to_be_bytes());
        transport[0..2].copy_from_slice(&self.to.source_port.to_be_bytes());
        transport[2..4].copy_from_slice(&self.to.destination_port.to_be_bytes());

        let before = header.ttl_word();
        let ttl = before.to_be_bytes()[0].saturating_sub(1);
        header.set_ttl(ttl);
        let hop = Delta::of_u16(before, header.ttl_word());
        header.set_checksum(self.addresses.and(hop).update(header.checksum()));
        header.set_addresses(self.to.source, self.to.destination);
        Some(())
    }

    /// I6: a partial checksum takes the addresses alone; an absent one stays absent; a computed UDP
    /// checksum of 0 is sent as 0xFFFF, because 0 means absent (RFC 768).
    #[inline(always)]
    fn transport_checksum(&self, checksum: u16, packet: &Packet) -> u16 {
        if packet.partial_checksum {
            return self.addresses.update_partial(checksum);
        }
        let updated = self.addresses.and(self.ports).update(checksum);
        match (packet.protocol, checksum, updated) {
            (Protocol::Udp, 0, _) => 0,
            (Protocol::Udp, _, 0) => u16::MAX,
            _ => updated,
        }
    }
}

/// A [`Rewrite`] in the words of a plain frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainRewrite {
    /// Both addresses that the packet leaves with, as they lie in it.
    pub addresses: u64,
    /// Both ports, as they lie in it.
    pub ports: u32,
    /// Change of the sum over both addresses.
    pub header: Delta,
    /// Change of the sum over addresses and ports.
    pub transport: Delta,
}

impl PlainRewrite {
    /// Applies the rewrite to the frame that `seen` was a glance at.
    #[inline(always)]
    pub fn apply(&self, head: &mut [u8; HEAD_BYTES], protocol: Protocol, is_partial: bool) {
        /// What one hop less does to the word of time to live and protocol, whatever they are.
        const HOP: Delta = Delta::of_u16(0x0100, 0);
        let mut plain = PlainMut::of(head);
        plain.take_hop();
        plain.change_header_checksum(|field| self.header.and(HOP).update(field));
        plain.set_tuple(self.addresses, self.ports);
        let update = |field| match is_partial {
            true => self.header.update_partial(field),
            false => self.transport.update(field),
        };
        match protocol {
            Protocol::Tcp => plain.change_tcp_checksum(update),
            // I6: as in `Rewrite`.
            Protocol::Udp => plain.change_udp_checksum(|field| match (field, update(field)) {
                (_, changed) if is_partial => changed,
                (0, _) => 0,
                (_, 0) => u16::MAX,
                (_, changed) => changed,
            }),
        }
    }
}
