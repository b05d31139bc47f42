//! Ethernet II headers (IEEE 802.3, 3.2): 14 bytes, untagged.

use crate::types::{Family, MacAddress};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 14;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of a VLAN tag (802.1Q).
pub const VLAN: u16 = 0x8100;
/// EtherType of a service VLAN tag (802.1ad).
pub const SERVICE_VLAN: u16 = 0x88a8;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// EtherType of packets of a family.
#[must_use]
pub const fn ethertype(family: Family) -> u16 {
    match family {
        Family::V4 => IPV4,
        Family::V6 => IPV6,
    }
}

/// A header to read.
#[derive(Clone, Copy)]
pub struct Ethernet<'a>(&'a [u8; HEADER_BYTES]);

impl<'a> Ethernet<'a> {
    /// The header at the start of a frame; `None` if the frame is too short.
    #[inline(always)]
    #[must_use]
    pub fn of(frame: &'a [u8]) -> Option<Self> {
        frame.first_chunk().map(Ethernet)
    }

    /// The station that the frame is for.
    #[inline(always)]
    #[must_use]
    pub fn destination(self) -> MacAddress {
        let [a, b, c, d, e, f, ..] = *self.0;
        MacAddress([a, b, c, d, e, f])
    }

    /// The station that it comes from.
    #[inline(always)]
    #[must_use]
    pub fn source(self) -> MacAddress {
        let [_, _, _, _, _, _, a, b, c, d, e, f, ..] = *self.0;
        MacAddress([a, b, c, d, e, f])
    }

    /// What it carries.
    #[inline(always)]
    #[must_use]
    pub fn ethertype(self) -> u16 {
        u16::from_be_bytes([self.0[12], self.0[13]])
    }
}

/// Writes what a frame carries into the header at its start; does nothing to a shorter one.
pub fn set_ethertype(frame: &mut [u8], ethertype: u16) {
    if let Some(header) = frame.first_chunk_mut::<HEADER_BYTES>() {
        header[12..].copy_from_slice(&ethertype.to_be_bytes());
    }
}

/// Writes both stations into the header at the start of a frame; does nothing to a shorter one.
#[inline(always)]
pub fn set_stations(frame: &mut [u8], destination: MacAddress, source: MacAddress) {
    if let Some(header) = frame.first_chunk_mut::<HEADER_BYTES>() {
        header[..6].copy_from_slice(&destination.0);
        header[6..12].copy_from_slice(&source.0);
    }
}
