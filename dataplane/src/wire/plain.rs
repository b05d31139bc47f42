//! The headers of nearly every packet, where they nearly always are: Ethernet II, IPv4 without
//! options, TCP or UDP, at fixed places of a frame's first 64 bytes.
//!
//! Fields are read and written as whole words *as they lie in memory*: addresses, ports and
//! stations are only compared, hashed, and stored again, for which their byte order does not
//! matter. Every access is in bounds by its type. A view has no opinion: whether a frame is plain
//! at all, [`Plain::is_plain`] tells.

use core::net::Ipv4Addr;

use crate::types::Address;

/// Bytes that the view covers.
pub const HEAD_BYTES: usize = 64;

/// Byte where the transport header begins.
pub const TRANSPORT_OFFSET: u16 = 34;

/// The six bytes of a station in a word that begins with them.
pub const STATION_MASK: u64 = 0xffff_ffff_ffff;

/// The bit, in the first of the two bytes that tell of fragments.
const DONT_FRAGMENT: u8 = 0x40;

const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);

/// What a plain frame says of the station that it is for, and of fragments.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    station: u64,
    fragment_mask: u16,
    fragment: u16,
}

impl Form {
    /// No frame has it.
    pub const NONE: Form = Form { station: u64::MAX, fragment_mask: 0, fragment: 0 };

    /// Frames for this station ([`crate::types::MacAddress::word`]); `atomic_only`: that may not be
    /// fragmented any more.
    #[must_use]
    pub const fn new(station: u64, atomic_only: bool) -> Form {
        let dont = if atomic_only { DONT_FRAGMENT } else { 0 };
        // More fragments, and the offset.
        let fragment_mask = u16::from_le_bytes([0x3f | dont, 0xff]);
        Form { station, fragment_mask, fragment: u16::from_le_bytes([dont, 0]) }
    }
}

/// The start of a frame, to read.
#[derive(Clone, Copy)]
pub struct Plain<'a>(&'a [u8; HEAD_BYTES]);

/// `N` bytes from a fixed place: one load.
#[inline(always)]
fn bytes<const AT: usize, const N: usize>(head: &[u8; HEAD_BYTES]) -> [u8; N] {
    const { assert!(AT + N <= HEAD_BYTES) };
    core::array::from_fn(|at| head[AT + at])
}

impl<'a> Plain<'a> {
    /// The view.
    #[inline(always)]
    #[must_use]
    pub fn of(head: &'a [u8; HEAD_BYTES]) -> Self {
        Plain(head)
    }

    #[inline(always)]
    fn half<const AT: usize>(self) -> u16 {
        u16::from_be_bytes(bytes::<AT, 2>(self.0))
    }

    #[inline(always)]
    fn word<const AT: usize>(self) -> u32 {
        u32::from_ne_bytes(bytes::<AT, 4>(self.0))
    }

    #[inline(always)]
    fn wide<const AT: usize>(self) -> u64 {
        u64::from_ne_bytes(bytes::<AT, 8>(self.0))
    }

    /// Whether the view fits the frame: IPv4 in Ethernet II for that station, a header without
    /// options, no fragment. What it carries may be anything.
    #[inline(always)]
    #[must_use]
    pub fn is_plain(self, form: &Form) -> bool {
        const KIND: u64 = u64::from_le_bytes([0, 0, 0, 0, 0x08, 0x00, 0x45, 0]);
        const KIND_MASK: u64 = u64::from_le_bytes([0, 0, 0, 0, 0xff, 0xff, 0xff, 0]);
        // Not masked after the comparison: a station that no frame can have must stay none.
        let station = (self.wide::<0>().to_le() & STATION_MASK) ^ form.station;
        let kind = (self.wide::<8>().to_le() ^ KIND) & KIND_MASK;
        let fragment = u16::from_le_bytes(bytes::<20, 2>(self.0)) & form.fragment_mask;
        station | kind | u64::from(fragment ^ form.fragment) == 0
    }

    /// The station that it comes from.
    #[inline(always)]
    #[must_use]
    pub fn source_station(self) -> u64 {
        self.wide::<6>().to_le() & STATION_MASK
    }

    /// Bytes of the packet, header included.
    #[inline(always)]
    #[must_use]
    pub fn total_length(self) -> u16 {
        self.half::<16>()
    }

    /// Whether it must not be fragmented.
    #[inline(always)]
    #[must_use]
    pub fn dont_fragment(self) -> bool {
        self.0[20] & DONT_FRAGMENT != 0
    }

    /// Time to live, in hops.
    #[inline(always)]
    #[must_use]
    pub fn ttl(self) -> u8 {
        self.0[22]
    }

    /// Number of the protocol that it carries.
    #[inline(always)]
    #[must_use]
    pub fn protocol_number(self) -> u8 {
        self.0[23]
    }

    /// Whether the header's checksum is right: the one's complement sum of its words is zero, which
    /// is to say that their sum is a multiple of 0xFFFF, in either byte order (RFC 1071 2 (B)) and
    /// with words of any width, as 2^64 is one there. The sum is never zero altogether: the version
    /// is not.
    #[inline(always)]
    #[must_use]
    pub fn has_right_sum(self) -> bool {
        let (sum, first_carry) = self.wide::<14>().overflowing_add(self.wide::<22>());
        let (sum, second_carry) = sum.overflowing_add(u64::from(self.word::<30>()));
        // At most one of the carries is set, and neither sum is then near the end.
        let sum = sum + u64::from(first_carry) + u64::from(second_carry);
        // Times the inverse of 0xFFFF modulo 2^64, multiples become their quotients and all other
        // numbers more than any quotient: `is_multiple_of`, kept in one piece.
        sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff
    }

    /// Addresses and ports.
    #[inline(always)]
    #[must_use]
    pub fn tuple(self) -> PlainTuple {
        PlainTuple { words: [self.word::<26>(), self.word::<30>(), self.word::<34>()] }
    }

    /// The destination port.
    #[inline(always)]
    #[must_use]
    pub fn destination_port(self) -> u16 {
        self.half::<36>()
    }

    /// Bytes of a UDP datagram, header included.
    #[inline(always)]
    #[must_use]
    pub fn udp_length(self) -> u16 {
        self.half::<38>()
    }

    /// Bytes of a TCP header.
    #[inline(always)]
    #[must_use]
    pub fn tcp_header_bytes(self) -> u16 {
        u16::from(self.0[46] >> 4) * 4
    }

    /// The control bits of a TCP segment.
    #[inline(always)]
    #[must_use]
    pub fn tcp_flags(self) -> super::tcp::TcpFlags {
        super::tcp::TcpFlags(self.0[47])
    }
}

/// The start of a plain frame, to write.
pub struct PlainMut<'a>(&'a mut [u8; HEAD_BYTES]);

impl<'a> PlainMut<'a> {
    /// The view.
    #[inline(always)]
    #[must_use]
    pub fn of(head: &'a mut [u8; HEAD_BYTES]) -> Self {
        PlainMut(head)
    }

    #[inline(always)]
    fn set<const AT: usize, const N: usize>(&mut self, bytes: [u8; N]) {
        const { assert!(AT + N <= HEAD_BYTES) };
        self.0[AT..AT + N].copy_from_slice(&bytes);
    }

    /// Changes two bytes, taken as they lie in memory.
    #[inline(always)]
    fn change<const AT: usize>(&mut self, change: impl FnOnce(u16) -> u16) {
        let changed = change(u16::from_ne_bytes(bytes::<AT, 2>(self.0)));
        self.set::<AT, 2>(changed.to_ne_bytes());
    }

    /// Sets both stations: the destination is the lower 48 bits of a word.
    #[inline(always)]
    pub fn set_stations(&mut self, destination: u64, source: SourceStation) {
        let first = destination & STATION_MASK | source.first;
        self.set::<0, 8>(first.to_le_bytes());
        self.set::<8, 4>(source.rest.to_le_bytes());
    }

    /// Sets both addresses and both ports.
    #[inline(always)]
    pub fn set_tuple(&mut self, tuple: &PlainTuple) {
        let [source, destination, ports] = tuple.words.map(u32::to_ne_bytes);
        self.set::<26, 4>(source);
        self.set::<30, 4>(destination);
        self.set::<34, 4>(ports);
    }

    /// Takes one hop off the time to live, which must not be zero.
    #[inline(always)]
    pub fn take_hop(&mut self) {
        self.0[22] = self.0[22].wrapping_sub(1);
    }

    /// Changes the header's checksum, taken as it lies in memory.
    #[inline(always)]
    pub fn change_header_checksum(&mut self, change: impl FnOnce(u16) -> u16) {
        self.change::<24>(change);
    }

    /// Changes the checksum of a UDP datagram, taken as it lies in memory.
    #[inline(always)]
    pub fn change_udp_checksum(&mut self, change: impl FnOnce(u16) -> u16) {
        self.change::<40>(change);
    }

    /// Changes the checksum of a TCP segment, taken as it lies in memory.
    #[inline(always)]
    pub fn change_tcp_checksum(&mut self, change: impl FnOnce(u16) -> u16) {
        self.change::<50>(change);
    }
}

/// A station, cut as it lies behind another one.
#[derive(Clone, Copy, Debug)]
pub struct SourceStation {
    first: u64,
    rest: u32,
}

impl SourceStation {
    /// From the lower 48 bits of a word.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the upper four of six bytes")]
    pub const fn new(station: u64) -> SourceStation {
        SourceStation { first: station << 48, rest: (station >> 16) as u32 }
    }
}

/// Addresses and ports of a packet, as they lie in it: source address, destination address, source
/// port before destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainTuple {
    words: [u32; 3],
}

impl PlainTuple {
    /// No packet's.
    pub const NONE: PlainTuple = PlainTuple { words: [0; 3] };

    /// From their values.
    #[must_use]
    pub fn new(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16)) -> PlainTuple {
        let [source_address, destination_address] =
            [source.0, destination.0].map(|address| address.to_bits().to_be());
        let ports = PlainTuple::join_ports(source.1, destination.1);
        PlainTuple { words: [source_address, destination_address, ports] }
    }

    /// Two ports as [`PlainTuple::ports`] has them.
    #[inline(always)]
    #[must_use]
    pub fn join_ports(source: u16, destination: u16) -> u32 {
        (u32::from(source) << 16 | u32::from(destination)).to_be()
    }

    /// From their values in either family. Of an address of IPv6 that is its last word, which means
    /// nothing; ports always fit.
    #[inline(always)]
    #[must_use]
    pub fn of_any(source: (Address, u16), destination: (Address, u16)) -> PlainTuple {
        let narrow = |(address, port): (Address, u16)| (address.last_word().into(), port);
        PlainTuple::new(narrow(source), narrow(destination))
    }

    /// From what [`PlainTuple::addresses`] and [`PlainTuple::ports`] give.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "two words in one")]
    pub const fn of_words(addresses: u64, ports: u32) -> PlainTuple {
        PlainTuple { words: [addresses as u32, (addresses >> 32) as u32, ports] }
    }

    /// Source address and port.
    #[inline]
    #[must_use]
    pub fn source(&self) -> (Ipv4Addr, u16) {
        let [a, b, ..] = self.words[2].to_ne_bytes();
        (Ipv4Addr::from_bits(u32::from_be(self.words[0])), u16::from_be_bytes([a, b]))
    }

    /// Destination address and port.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> (Ipv4Addr, u16) {
        self.inverse().source()
    }

    /// Both addresses in one word.
    #[inline(always)]
    #[must_use]
    pub fn addresses(&self) -> u64 {
        u64::from(self.words[1]) << 32 | u64::from(self.words[0])
    }

    /// Both ports.
    #[inline(always)]
    #[must_use]
    pub fn ports(&self) -> u32 {
        self.words[2]
    }

    /// The tuple of the answer: source and destination change places.
    #[inline(always)]
    #[must_use]
    pub fn inverse(&self) -> PlainTuple {
        let [source, destination, ports] = self.words;
        PlainTuple { words: [destination, source, ports.rotate_left(16)] }
    }
}

const _: () = {
    use super::{ethernet, ipv4, tcp, udp};
    let transport = ethernet::HEADER_BYTES + ipv4::HEADER_BYTES_MIN;
    assert!(TRANSPORT_OFFSET as usize == transport);
    assert!(transport + udp::CHECKSUM_OFFSET == 40);
    assert!(transport + tcp::CHECKSUM_OFFSET == 50);
};
