//! Views over bytes: named fields of Ethernet, IPv4, IPv6, ICMP, TCP and UDP headers, and Internet
//! checksums.
//!
//! A view borrows exactly the fixed part of a header, so that every access is in bounds by its type
//! and costs one load. Views are total functions without policy: what a field may say is for
//! `packet`.

pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod plain;
pub mod tcp;
pub mod udp;

/// Source and destination port of a TCP segment or a UDP datagram, which have them in the same
/// place; `None` if it is too short.
#[inline(always)]
#[must_use]
pub fn ports(transport: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *transport.first_chunk()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}
