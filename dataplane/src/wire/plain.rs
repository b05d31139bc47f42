//! The headers of nearly every packet, where they nearly always are: Ethernet II, IPv4 without
//! options, TCP or UDP, at fixed places of a frame's first 64 bytes.
//!
//! Fields are read and written as whole words *as they lie in memory*: addresses, ports and
//! stations are only compared, hashed, and stored again, for which their byte order does not
//! matter. Every access is in bounds by its type. A view has no opinion: whether a frame is plain
//! at all, [`Plain::is_plain`] tells.

/// Bytes that the view covers.
pub const HEAD_BYTES: usize = 64;

/// Byte where the transport header begins.
pub const TRANSPORT_OFFSET: usize = 34;

/// The six bytes of a station in a word that begins with them.
pub const STATION_MASK: u64 = 0xffff_ffff_ffff;

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

    /// Whether the view fits: IPv4 in Ethernet II, a header without options, no fragment. What it
    /// carries may be anything.
    #[inline(always)]
    #[must_use]
    pub fn is_plain(self) -> bool {
        const MASK: u64 = u64::from_be_bytes([0xff, 0, 0, 0, 0, 0, 0x3f, 0xff]);
        const FITS: u64 = u64::from_be_bytes([0x45, 0, 0, 0, 0, 0, 0, 0]);
        self.half::<12>() == super::ethernet::IPV4
            && self.wide::<14>() & MASK.to_be() == FITS.to_be()
    }

    /// The station that the frame is for.
    #[inline(always)]
    #[must_use]
    pub fn destination_station(self) -> u64 {
        self.wide::<0>().to_le() & STATION_MASK
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
    /// is to say that their sum is a multiple of 0xFFFF, in either byte order (RFC 1071 2 (B)). It
    /// is never zero altogether: the version is not.
    #[inline(always)]
    #[must_use]
    pub fn has_right_sum(self) -> bool {
        let (first, second) = (self.word::<14>(), self.word::<18>());
        let (third, source) = (self.word::<22>(), self.word::<26>());
        let words = [first, second, third, source, self.word::<30>()];
        words.into_iter().map(u64::from).sum::<u64>().is_multiple_of(0xffff)
    }

    /// Source and destination address, as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub fn addresses(self) -> u64 {
        self.wide::<26>()
    }

    /// The source address.
    #[inline(always)]
    #[must_use]
    pub fn source(self) -> core::net::Ipv4Addr {
        core::net::Ipv4Addr::from(bytes::<26, 4>(self.0))
    }

    /// The destination address.
    #[inline(always)]
    #[must_use]
    pub fn destination(self) -> core::net::Ipv4Addr {
        core::net::Ipv4Addr::from(bytes::<30, 4>(self.0))
    }

    /// Source and destination port, as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub fn ports(self) -> u32 {
        self.word::<34>()
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

    #[inline(always)]
    fn half<const AT: usize>(&self) -> u16 {
        u16::from_be_bytes(bytes::<AT, 2>(self.0))
    }

    /// Sets both stations.
    #[inline(always)]
    pub fn set_stations(&mut self, destination: u64, source: u64) {
        let first = destination & STATION_MASK | source << 48;
        let [_, _, a, b, c, d, ..] = source.to_le_bytes();
        self.set::<0, 8>(first.to_le_bytes());
        self.set::<8, 4>([a, b, c, d]);
    }

    /// Sets both addresses and both ports, given as they lie in memory.
    #[inline(always)]
    pub fn set_tuple(&mut self, addresses: u64, ports: u32) {
        self.set::<26, 8>(addresses.to_ne_bytes());
        self.set::<34, 4>(ports.to_ne_bytes());
    }

    /// Takes one hop off the time to live, which must not be zero.
    #[inline(always)]
    pub fn take_hop(&mut self) {
        self.0[22] = self.0[22].wrapping_sub(1);
    }

    /// Changes the header's checksum.
    #[inline(always)]
    pub fn change_header_checksum(&mut self, change: impl FnOnce(u16) -> u16) {
        let changed = change(self.half::<24>());
        self.set::<24, 2>(changed.to_be_bytes());
    }

    /// Changes the checksum of a UDP datagram.
    #[inline(always)]
    pub fn change_udp_checksum(&mut self, change: impl FnOnce(u16) -> u16) {
        let changed = change(self.half::<40>());
        self.set::<40, 2>(changed.to_be_bytes());
    }

    /// Changes the checksum of a TCP segment.
    #[inline(always)]
    pub fn change_tcp_checksum(&mut self, change: impl FnOnce(u16) -> u16) {
        let changed = change(self.half::<50>());
        self.set::<50, 2>(changed.to_be_bytes());
    }
}

const _: () = {
    use super::{ethernet, ipv4, tcp, udp};
    assert!(TRANSPORT_OFFSET == ethernet::HEADER_BYTES + ipv4::HEADER_BYTES_MIN);
    assert!(TRANSPORT_OFFSET + udp::CHECKSUM_OFFSET == 40);
    assert!(TRANSPORT_OFFSET + tcp::CHECKSUM_OFFSET == 50);
};
