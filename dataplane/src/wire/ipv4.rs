//! IPv4 headers (RFC 791, 3.1): the 20 fixed bytes.

use core::net::Ipv4Addr;

use super::checksum;
use super::ip::Piece;

/// Bytes of a header without options.
pub const HEADER_BYTES_MIN: usize = 20;

/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

/// The fixed part of a header, to read.
#[derive(Clone, Copy)]
pub struct Ipv4<'a>(&'a [u8; HEADER_BYTES_MIN]);

impl<'a> Ipv4<'a> {
    /// The header at the start of a packet; `None` if the packet is too short.
    #[inline(always)]
    #[must_use]
    pub fn of(packet: &'a [u8]) -> Option<Self> {
        packet.first_chunk().map(Ipv4)
    }

    /// Version; 4 in a valid header.
    #[inline(always)]
    #[must_use]
    pub fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// Bytes of the header with its options, 0 to 60; 20 or more in a valid header.
    #[inline(always)]
    #[must_use]
    pub fn header_bytes(self) -> usize {
        usize::from(self.0[0] & 15) * 4
    }

    /// How the packet is to be treated; what IPv6 calls traffic class.
    #[must_use]
    pub fn type_of_service(self) -> u8 {
        self.0[1]
    }

    /// Bytes of the packet, header included.
    #[inline(always)]
    #[must_use]
    pub fn total_length(self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Whether it is one of several fragments: more follow, or some came before.
    #[inline(always)]
    #[must_use]
    pub fn is_fragment(self) -> bool {
        u16::from_be_bytes([self.0[6], self.0[7]]) & 0x3fff != 0
    }

    /// Which piece of its datagram it has, if it is a fragment.
    #[must_use]
    pub fn piece(self) -> Option<Piece> {
        let place = u16::from_be_bytes([self.0[6], self.0[7]]);
        let id = u16::from_be_bytes([self.0[4], self.0[5]]).into();
        let piece = Piece { start: (place & 0x1fff) * 8, more: place & 0x2000 != 0, id };
        self.is_fragment().then_some(piece)
    }

    /// Whether it may not be fragmented.
    #[inline(always)]
    #[must_use]
    pub fn dont_fragment(self) -> bool {
        self.0[6] & 0x40 != 0
    }

    /// Time to live, in hops.
    #[inline(always)]
    #[must_use]
    pub fn ttl(self) -> u8 {
        self.0[8]
    }

    /// Number of the protocol that it carries.
    #[inline(always)]
    #[must_use]
    pub fn protocol_number(self) -> u8 {
        self.0[9]
    }

    /// The one's complement sum of the fixed part. 0xFFFF in a valid header without options.
    #[inline(always)]
    #[must_use]
    pub fn sum(self) -> u16 {
        checksum::sum_of(self.0)
    }

    /// Source address.
    #[inline(always)]
    #[must_use]
    pub fn source(self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[12], self.0[13], self.0[14], self.0[15])
    }

    /// Destination address.
    #[inline(always)]
    #[must_use]
    pub fn destination(self) -> Ipv4Addr {
        Ipv4Addr::new(self.0[16], self.0[17], self.0[18], self.0[19])
    }
}

/// The fixed part of a header, to write.
pub struct Ipv4Mut<'a>(&'a mut [u8; HEADER_BYTES_MIN]);

impl<'a> Ipv4Mut<'a> {
    /// The header at the start of a packet; `None` if the packet is too short.
    #[inline(always)]
    #[must_use]
    pub fn of(packet: &'a mut [u8]) -> Option<Self> {
        packet.first_chunk_mut().map(Ipv4Mut)
    }

    /// Makes it that of a fragment.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    pub fn set_piece(&mut self, piece: Piece) {
        let more = if piece.more { 0x2000 } else { 0 };
        self.set_identification(piece.id as u16);
        self.0[6..8].copy_from_slice(&(more | (piece.start / 8)).to_be_bytes());
    }

    /// Begins a header without options, of no fragment and without an identification.
    pub fn begin(&mut self, type_of_service: u8, dont_fragment: bool) {
        let flags = if dont_fragment { 0x40 } else { 0 };
        self.0[..2].copy_from_slice(&[0x45, type_of_service]);
        self.0[4..].fill(0);
        self.0[6] = flags;
    }

    /// Sets how many hops it may still go, and what it carries.
    pub fn set_ttl_and_protocol(&mut self, ttl: u8, protocol: u8) {
        self.0[8..10].copy_from_slice(&[ttl, protocol]);
    }

    /// What fragments of one datagram have in common.
    #[inline(always)]
    #[must_use]
    pub fn identification(&self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// Sets the identification.
    #[inline(always)]
    pub fn set_identification(&mut self, id: u16) {
        self.0[4..6].copy_from_slice(&id.to_be_bytes());
    }

    /// Sets the bytes of the packet, header included.
    #[inline(always)]
    pub fn set_total_length(&mut self, bytes: u16) {
        self.0[2..4].copy_from_slice(&bytes.to_be_bytes());
    }

    /// Takes one hop off the time to live, which must not be zero.
    #[inline(always)]
    pub fn take_hop(&mut self) {
        self.0[8] = self.0[8].wrapping_sub(1);
    }

    /// The header checksum, as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16::from_ne_bytes([self.0[10], self.0[11]])
    }

    /// Sets the header checksum, given as it lies in memory.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.0[10..12].copy_from_slice(&checksum.to_ne_bytes());
    }

    /// Sets both addresses.
    #[inline(always)]
    pub fn set_addresses(&mut self, source: Ipv4Addr, destination: Ipv4Addr) {
        self.0[12..16].copy_from_slice(&source.octets());
        self.0[16..20].copy_from_slice(&destination.octets());
    }
}
