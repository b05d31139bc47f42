//! UDP headers (RFC 768): 8 bytes.

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;

/// Byte of the checksum field.
pub const CHECKSUM_OFFSET: usize = 6;

/// A header to read.
#[derive(Clone, Copy)]
pub struct Udp<'a>(&'a [u8; HEADER_BYTES]);

impl<'a> Udp<'a> {
    /// The header at the start of a datagram; `None` if the datagram is too short.
    #[inline]
    #[must_use]
    pub fn of(datagram: &'a [u8]) -> Option<Self> {
        datagram.first_chunk().map(Udp)
    }

    /// Source and destination port.
    #[inline]
    #[must_use]
    pub fn ports(self) -> (u16, u16) {
        let [a, b, c, d, ..] = *self.0;
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    /// Bytes of the datagram, header included.
    #[inline]
    #[must_use]
    pub fn length(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }
}
