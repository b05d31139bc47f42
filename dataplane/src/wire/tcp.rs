//! TCP headers (RFC 9293, 3.1): the 20 fixed bytes.

use core::ops::BitOr;

/// Bytes of a header without options.
pub const HEADER_BYTES_MIN: usize = 20;

/// Byte of the checksum field.
pub const CHECKSUM_OFFSET: usize = 16;

/// The control bits of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Opens a connection.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Resets the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// The acknowledgement number is meant.
    pub const ACK: TcpFlags = TcpFlags(0x10);

    /// Whether any of these bits is set.
    #[inline(always)]
    #[must_use]
    pub const fn any(self, of: TcpFlags) -> bool {
        self.0 & of.0 != 0
    }
}

impl BitOr for TcpFlags {
    type Output = TcpFlags;

    fn bitor(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

/// The fixed part of a header, to read.
#[derive(Clone, Copy)]
pub struct Tcp<'a>(&'a [u8; HEADER_BYTES_MIN]);

impl<'a> Tcp<'a> {
    /// The header at the start of a segment; `None` if the segment is too short.
    #[inline(always)]
    #[must_use]
    pub fn of(segment: &'a [u8]) -> Option<Self> {
        segment.first_chunk().map(Tcp)
    }

    /// Bytes of the header with its options, 0 to 60; 20 or more in a valid header.
    #[inline(always)]
    #[must_use]
    pub fn header_bytes(self) -> usize {
        usize::from(self.0[12] >> 4) * 4
    }

    /// The control bits.
    #[inline(always)]
    #[must_use]
    pub fn flags(self) -> TcpFlags {
        TcpFlags(self.0[13])
    }
}
