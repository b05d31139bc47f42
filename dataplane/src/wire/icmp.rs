//! ICMP headers of both families (RFC 792, RFC 4443): 8 bytes, of which the last four mean
//! something else in each type.

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;

/// Byte of the checksum field.
pub const CHECKSUM_OFFSET: usize = 2;

/// A header to read.
#[derive(Clone, Copy)]
pub struct Icmp<'a>(&'a [u8; HEADER_BYTES]);

impl<'a> Icmp<'a> {
    /// The header at the start of a message; `None` if the message is too short.
    #[must_use]
    pub fn of(message: &'a [u8]) -> Option<Self> {
        message.first_chunk().map(Icmp)
    }

    /// What kind of message it is.
    #[must_use]
    pub fn kind(self) -> u8 {
        self.0[0]
    }

    /// More about the kind.
    #[must_use]
    pub fn code(self) -> u8 {
        self.0[1]
    }

    /// The checksum.
    #[must_use]
    pub fn checksum(self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// What is behind the checksum: numbers whose places depend on the type.
    #[must_use]
    pub fn rest(self) -> [u8; 4] {
        [self.0[4], self.0[5], self.0[6], self.0[7]]
    }
}
