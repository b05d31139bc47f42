//! The only place where a forwarded packet is changed (I4, I5, I6).
//!
//! A rewrite replaces both addresses and both ports, takes one hop off the time to live, and
//! carries the checksums along by difference. The return rewrite of a flow is the inverse of its
//! forward one. Where the two sides are of different families, the header is replaced too
//! (`translate`); what a transport checksum covers differs in addresses and ports alone even then,
//! because pseudo-headers of both families have the same sum over length and protocol.

use core::net::IpAddr;

use super::translate::translate;
use super::{FlowKey, Packet};
use crate::device::Frame;
use crate::types::{Address, Family, Protocol};
use crate::wire::checksum::Delta;
use crate::wire::ethernet;
use crate::wire::ipv4::Ipv4Mut;
use crate::wire::ipv6::{Ipv6, Ipv6Mut};
use crate::wire::plain::{HEAD_BYTES, PlainMut, PlainTuple};
use crate::wire::{tcp, udp};

/// Addresses and ports of a packet. Both addresses are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

impl Tuple {
    /// The family of its addresses.
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> Family {
        self.destination.family()
    }

    /// Its addresses as the standard library has them, which the headers are built from.
    #[must_use]
    pub const fn ips(&self) -> (IpAddr, IpAddr) {
        (self.source.ip(), self.destination.ip())
    }

    /// As it lies in packets of IPv4; of IPv6 the ports alone.
    #[inline(always)]
    #[must_use]
    pub fn plain(&self) -> PlainTuple {
        let destination = (self.destination, self.destination_port);
        PlainTuple::of_any((self.source, self.source_port), destination)
    }

    /// That of the answer: source and destination change places.
    #[must_use]
    pub const fn inverse(&self) -> Tuple {
        Tuple {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }
}

impl From<&FlowKey> for Tuple {
    fn from(key: &FlowKey) -> Tuple {
        Tuple {
            source: key.client,
            destination: key.endpoint,
            source_port: key.client_port,
            destination_port: key.endpoint_port,
        }
    }
}

impl From<PlainTuple> for Tuple {
    fn from(plain: PlainTuple) -> Tuple {
        let (source, source_port) = plain.source();
        let (destination, destination_port) = plain.destination();
        let (source, destination) = (source.into(), destination.into());
        Tuple { source, destination, source_port, destination_port }
    }
}

/// What addresses and ports become, and what that does to checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Change of the sum over both addresses: in the IPv4 header and every pseudo-header.
    pub addresses: Delta,
    /// Change of the sum over addresses and ports.
    pub tuple: Delta,
}

impl Change {
    /// None at all.
    pub const NONE: Change = Change { addresses: Delta::NONE, tuple: Delta::NONE };

    /// Of one tuple of IPv4 into another.
    #[inline(always)]
    #[must_use]
    pub fn of_plain(from: &PlainTuple, to: &PlainTuple) -> Change {
        let halves = |tuple: &PlainTuple| {
            let [a, b, c, d, e, f, g, h] = tuple.addresses().to_ne_bytes();
            [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
        };
        let addresses = Delta::of_both(halves(from), halves(to));
        let tuple = addresses.and(Delta::of_u32(from.ports(), to.ports()));
        Change { addresses, tuple }
    }

    /// Of one tuple into another, of whichever families.
    #[must_use]
    pub fn between(from: &Tuple, to: &Tuple) -> Change {
        if (from.family(), to.family()) == (Family::V4, Family::V4) {
            return Change::of_plain(&from.plain(), &to.plain());
        }
        let word = |value: u16| value.to_be();
        let sides = [(from.source, to.source), (from.destination, to.destination)];
        let addresses = sides.iter().fold(Delta::NONE, |change, &(old, new)| {
            change.and(of_address(old).inverse()).and(of_address(new))
        });
        let ports = Delta::of_u16(word(from.source_port), word(to.source_port))
            .and(Delta::of_u16(word(from.destination_port), word(to.destination_port)));
        Change { addresses, tuple: addresses.and(ports) }
    }

    /// The change back.
    #[inline(always)]
    #[must_use]
    pub const fn inverse(self) -> Change {
        Change { addresses: self.addresses.inverse(), tuple: self.tuple.inverse() }
    }

    /// I6: a partial checksum takes the addresses alone; an absent one stays absent; a computed UDP
    /// checksum of 0 is sent as 0xFFFF, because 0 means absent (RFC 768).
    #[inline(always)]
    pub(super) fn checksum(self, checksum: u16, protocol: Protocol, is_partial: bool) -> u16 {
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

/// What comes into a sum with an address that was not in it, in the order of the packet.
fn of_address(address: Address) -> Delta {
    address.halves().into_iter().fold(Delta::NONE, |sum, half| {
        let [a, b, c, d, e, f, g, h] = half.to_be_bytes();
        let words = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
        words.into_iter().fold(sum, |sum, word| sum.and(Delta::of_u32(0, word)))
    })
}

/// What a packet of IPv4 leaves with, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainRewrite {
    /// The tuple that the packet leaves with.
    pub to: PlainTuple,
    /// What that changes.
    pub change: Change,
}

/// What a packet leaves with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The tuple that the packet leaves with.
    pub to: Tuple,
    /// What that changes.
    pub change: Change,
}

/// What one hop less does to the word of time to live and protocol, whatever they are.
const HOP: Delta = Delta::of_u16(u16::from_ne_bytes([1, 0]), 0);

impl Rewrite {
    /// Applies the rewrite to the frame that `packet` was parsed from, and to `packet`. `None` if
    /// it was not, or is too large for the other family: the frame then dies.
    #[must_use]
    pub fn apply(&self, frame: &mut Frame, packet: &mut Packet) -> Option<()> {
        let split = usize::from(packet.transport_offset);
        let transport = frame.bytes_mut().get_mut(split..)?;
        let checksum_at = match packet.protocol {
            Protocol::Tcp => tcp::CHECKSUM_OFFSET,
            Protocol::Udp => udp::CHECKSUM_OFFSET,
        };
        let field = transport.get_mut(checksum_at..checksum_at + 2)?;
        let checksum = u16::from_ne_bytes([field[0], field[1]]);
        let changed = self.change.checksum(checksum, packet.protocol, packet.partial_checksum);
        field.copy_from_slice(&changed.to_ne_bytes());
        transport[..2].copy_from_slice(&self.to.source_port.to_be_bytes());
        transport[2..4].copy_from_slice(&self.to.destination_port.to_be_bytes());
        if packet.tuple.family() != self.to.family() {
            *packet = translate(frame, packet, &self.to)?;
            return Some(());
        }
        packet.tuple = self.to;
        self.readdress(frame.bytes_mut().get_mut(ethernet::HEADER_BYTES..split)?)
    }

    /// Addresses and hops of a packet, whose family stays.
    #[inline(always)]
    pub(super) fn readdress(&self, header: &mut [u8]) -> Option<()> {
        match self.to.ips() {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ipv4Mut::of(header)?;
                header.take_hop();
                header.set_checksum(self.change.addresses.and(HOP).update(header.checksum()));
                header.set_addresses(source, destination);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let hops = Ipv6::of(header)?.hop_limit();
                let mut header = Ipv6Mut::of(header)?;
                header.set_hop_limit(hops.saturating_sub(1));
                header.set_addresses(source, destination);
            }
            _ => return None,
        }
        Some(())
    }
}

impl PlainRewrite {
    /// Applies the rewrite to the frame that a glance recognized.
    #[inline(always)]
    pub fn apply(&self, head: &mut [u8; HEAD_BYTES], protocol: Protocol, is_partial: bool) {
        let mut plain = PlainMut::of(head);
        plain.take_hop();
        plain.change_header_checksum(|field| self.change.addresses.and(HOP).update(field));
        plain.set_tuple(&self.to);
        let changed = |field, of| self.change.checksum(field, of, is_partial);
        // Named in each arm, so that neither asks again which one it is.
        match protocol {
            Protocol::Tcp => plain.change_tcp_checksum(|field| changed(field, Protocol::Tcp)),
            Protocol::Udp => plain.change_udp_checksum(|field| changed(field, Protocol::Udp)),
        }
    }
}
