//! ICMP headers (RFC 792): 8 bytes, of which the last four mean something else in each type.

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;

/// Byte of the checksum field.
pub const CHECKSUM_OFFSET: usize = 2;

/// Type of an echo reply.
pub const ECHO_REPLY: u8 = 0;
/// Type of "destination unreachable".
pub const UNREACHABLE: u8 = 3;
/// Type of an echo request.
pub const ECHO_REQUEST: u8 = 8;
/// Type of "time exceeded".
pub const TIME_EXCEEDED: u8 = 11;
/// Type of "parameter problem".
pub const PARAMETER_PROBLEM: u8 = 12;

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

    /// Bytes of the quoted packet before its extensions begin, if the sender says so (RFC 4884
    /// 4.1).
    #[must_use]
    pub fn quoted_bytes(self) -> Option<usize> {
        (self.0[5] != 0).then_some(usize::from(self.0[5]) * 4)
    }

    /// MTU of the next hop, in "fragmentation needed" (RFC 1191 4); a pointer or nothing elsewhere.
    #[must_use]
    pub fn word(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }

    /// Where the fault is, in "parameter problem".
    #[must_use]
    pub fn pointer(self) -> u8 {
        self.0[4]
    }
}
