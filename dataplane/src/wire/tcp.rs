//! TCP headers (RFC 9293, 3.1): the 20 fixed bytes, and where options stand.

use core::ops::{BitOr, Range};

/// Bytes of a header without options.
pub const HEADER_BYTES_MIN: usize = 20;

/// Byte of the sequence number, which has four.
pub const SEQUENCE_OFFSET: usize = 4;

/// Byte of the acknowledgement number, which has four.
pub const ACKNOWLEDGEMENT_OFFSET: usize = 8;

/// Byte of the window, which has two.
pub const WINDOW_OFFSET: usize = 14;

/// Byte of the checksum field.
pub const CHECKSUM_OFFSET: usize = 16;

/// Ends the list of options.
const END_OF_OPTIONS: u8 = 0;

/// An option of one byte that says nothing.
pub const NO_OPERATION: u8 = 1;

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

    /// Whether they open a connection: SYN, and none of ACK, FIN and RST.
    #[inline(always)]
    #[must_use]
    pub const fn opens(self) -> bool {
        const WAYS: u8 = TcpFlags::SYN.0 | TcpFlags::ACK.0 | TcpFlags::FIN.0 | TcpFlags::RST.0;
        self.0 & WAYS == TcpFlags::SYN.0
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

    #[inline(always)]
    fn word(self, at: usize) -> u32 {
        u32::from_be_bytes(core::array::from_fn(|byte| self.0[at + byte]))
    }

    /// The sequence number.
    #[inline(always)]
    #[must_use]
    pub fn sequence(self) -> u32 {
        self.word(SEQUENCE_OFFSET)
    }

    /// The acknowledgement number.
    #[inline(always)]
    #[must_use]
    pub fn acknowledgement(self) -> u32 {
        self.word(ACKNOWLEDGEMENT_OFFSET)
    }

    /// The window, as the sender scales it.
    #[inline(always)]
    #[must_use]
    pub fn window(self) -> u16 {
        u16::from_be_bytes([self.0[WINDOW_OFFSET], self.0[WINDOW_OFFSET + 1]])
    }
}

/// An option of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOption {
    /// What it is.
    pub kind: u8,
    /// Where in the segment it stands, with its kind and length.
    pub place: Range<usize>,
    /// Where in the segment its value stands.
    pub value: Range<usize>,
}

/// The options of a segment, but for those of one byte; up to the first that contradicts itself.
pub fn options(segment: &[u8]) -> impl Iterator<Item = TcpOption> {
    let end = Tcp::of(segment).map_or(0, Tcp::header_bytes).min(segment.len());
    let mut at = HEADER_BYTES_MIN;
    core::iter::from_fn(move || {
        while at < end && segment[at] == NO_OPERATION {
            at += 1;
        }
        let [kind, length] = *segment.get(at..end)?.first_chunk()?;
        let length = usize::from(length);
        // An option takes two bytes at least.
        if kind == END_OF_OPTIONS || length < 2 || at + length > end {
            at = end;
            return None;
        }
        let place = at..at + length;
        at = place.end;
        Some(TcpOption { kind, value: place.start + 2..place.end, place })
    })
}
