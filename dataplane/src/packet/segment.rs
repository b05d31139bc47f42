//! A TCP segment, to change bytes of while its checksum follows by difference (RFC 1624).
//!
//! A partial checksum does not cover the segment yet, so it stays as it is (I6). Bounds: work grows
//! with the bytes that are changed, which are those of a header.

use super::Packet;
use crate::wire::checksum::Delta;
use crate::wire::tcp;

/// See the module's documentation.
pub(super) struct SegmentMut<'a> {
    bytes: &'a mut [u8],
    is_partial: bool,
}

impl<'a> SegmentMut<'a> {
    /// The segment that `packet` was parsed from; `None` if the frame is another.
    pub(super) fn of(frame: &'a mut [u8], packet: &Packet) -> Option<Self> {
        let bytes = frame.get_mut(usize::from(packet.transport_offset)..)?;
        let is_partial = packet.partial_checksum;
        (bytes.len() >= tcp::HEADER_BYTES_MIN).then_some(SegmentMut { bytes, is_partial })
    }

    /// Its bytes, and the padding behind it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Writes `new` at `at`; nothing if that is not within the segment.
    pub(super) fn put(&mut self, at: usize, new: &[u8]) {
        let end = at + new.len();
        if end > self.bytes.len() {
            return;
        }
        let words = at / 2..end.div_ceil(2);
        let sum = |bytes: &[u8]| {
            let word = |at: usize| {
                let low = bytes.get(2 * at + 1).copied().unwrap_or(0);
                u16::from_be_bytes([bytes[2 * at], low])
            };
            words.clone().fold(Delta::NONE, |sum, at| sum.and(Delta::of_u16(0xffff, word(at))))
        };
        let before = sum(self.bytes);
        self.bytes[at..end].copy_from_slice(new);
        let after = sum(self.bytes);
        self.change_checksum(after.and(before.inverse()));
    }

    /// What the sum over the pseudo-header covers changed by so much; for partial checksums.
    pub(super) fn change_partial_checksum(&mut self, change: Delta) {
        let field = tcp::CHECKSUM_OFFSET..tcp::CHECKSUM_OFFSET + 2;
        let checksum = u16::from_be_bytes([self.bytes[field.start], self.bytes[field.start + 1]]);
        self.bytes[field].copy_from_slice(&change.update_partial(checksum).to_be_bytes());
    }

    /// What it covers changed by so much.
    pub(super) fn change_checksum(&mut self, change: Delta) {
        if self.is_partial {
            return;
        }
        let field = tcp::CHECKSUM_OFFSET..tcp::CHECKSUM_OFFSET + 2;
        let checksum = u16::from_be_bytes([self.bytes[field.start], self.bytes[field.start + 1]]);
        self.bytes[field].copy_from_slice(&change.update(checksum).to_be_bytes());
    }
}
