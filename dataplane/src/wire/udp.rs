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
    #[inline(always)]
    #[must_use]
    pub fn of(datagram: &'a [u8]) -> Option<Self> {
        datagram.first_chunk().map(Udp)
    }

    /// Bytes of the datagram, header included.
    #[inline(always)]
    #[must_use]
    pub fn length(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }
}
