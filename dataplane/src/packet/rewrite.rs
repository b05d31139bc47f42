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
use crate::wire::plain::{HEAD_BYTES, PlainMut, PlainTuple};
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

impl From<PlainTuple> for Tuple {
    fn from(plain: PlainTuple) -> Tuple {
        let (source, source_port) = plain.source();
        let (destination, destination_port) = plain.destination();
        Tuple { source, destination, source_port, destination_port }
    }
}

impl From<Tuple> for PlainTuple {
    fn from(tuple: Tuple) -> PlainTuple {
        let Tuple { source, destination, source_port, destination_port } = tuple;
        PlainTuple::new((source, source_port), (destination, destination_port))
    }
}

/// What addresses and ports become, and what that does to checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The tuple that the packet leaves with.
    pub to: PlainTuple,
    /// Change of the sum over both addresses: in the IPv4 header and every pseudo-header.
    pub addresses: Delta,
    /// Change of the sum over addresses and ports.
    pub tuple: Delta,
}

/// What one hop less does to the word of time to live and protocol, whatever they are.
const HOP: Delta = Delta::of_u16(u16::from_ne_bytes([1, 0]), 0);

impl Rewrite {
    /// The rewrite that turns one tuple into another.
    #[must_use]
    pub fn new(from: &PlainTuple, to: &PlainTuple) -> Rewrite {
        let halves = |tuple: &PlainTuple| {
            let [a, b, c, d, e, f, g, h] = tuple.addresses().to_ne_bytes();
            [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
        };
        let ([source, destination], [new_source, new_destination]) = (halves(from), halves(to));
        let source = Delta::of_u32(source, new_source);
        let addresses = source.and(Delta::of_u32(destination, new_destination));
        let tuple = addresses.and(Delta::of_u32(from.ports(), to.ports()));
        Rewrite { to: *to, addresses, tuple }
    }

    /// Applies the rewrite to the frame that `packet` was parsed from. `None` if it was not: the
    /// frame is then untouched.
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
        let checksum = u16::from_ne_bytes([field[0], field[1]]);
        let changed = self.transport_checksum(checksum, packet.protocol, packet.partial_checksum);
        field.copy_from_slice(&changed.to_ne_bytes());
        transport[0..4].copy_from_slice(&self.to.ports().to_ne_bytes());
        header.take_hop();
        header.set_checksum(self.addresses.and(HOP).update(header.checksum()));
        header.set_addresses(self.to.source().0, self.to.destination().0);
        Some(())
    }

    /// Applies the rewrite to the frame that a glance recognized.
    #[inline(always)]
    pub fn apply_plain(&self, head: &mut [u8; HEAD_BYTES], protocol: Protocol, is_partial: bool) {
        let mut plain = PlainMut::of(head);
        plain.take_hop();
        plain.change_header_checksum(|field| self.addresses.and(HOP).update(field));
        plain.set_tuple(&self.to);
        let change = |field| self.transport_checksum(field, protocol, is_partial);
        match protocol {
            Protocol::Tcp => plain.change_tcp_checksum(change),
            Protocol::Udp => plain.change_udp_checksum(change),
        }
    }

    /// I6: a partial checksum takes the addresses alone; an absent one stays absent; a computed UDP
    /// checksum of 0 is sent as 0xFFFF, because 0 means absent (RFC 768).
    #[inline(always)]
    fn transport_checksum(&self, checksum: u16, protocol: Protocol, is_partial: bool) -> u16 {
        if is_partial {
            return self.addresses.update_partial(checksum);
        }
        let updated = self.tuple.update(checksum);
        match (protocol, checksum, updated) {
            (Protocol::Udp, 0, _) => 0,
            (Protocol::Udp, _, 0) => u16::MAX,
            _ => updated,
        }
    }
}
