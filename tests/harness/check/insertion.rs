//! What may change in a segment because adit puts a PROXY header in front of its stream: numbers by
//! the bytes of a header, a window by no more, the blocks of selective acknowledgements; and what a
//! SYN must not say.

use crate::encode::{TCP, flags};
use crate::observe::Transport;

/// Bytes of the headers that there are.
const HEADERS: [u32; 3] = [36, 39, 54];

/// Whether the data of a SYN was cut off.
pub(super) fn is_cut(before: &Transport, after: &Transport) -> bool {
    let opens = before.protocol == TCP && before.flags & flags::SYN != 0;
    opens && !before.payload.is_empty() && after.payload.is_empty()
}

/// Whether a byte of the frame may be another than it came.
pub(super) fn may_change(input: &[u8], output: &[u8], before: &Transport, at: usize) -> bool {
    if before.protocol != TCP {
        return false;
    }
    let segment = before.transport_at;
    let word = |bytes: &[u8], at: usize| {
        u32::from_be_bytes(bytes[segment + at..segment + at + 4].try_into().unwrap())
    };
    let opens = before.flags & flags::SYN != 0;
    let grown = |at: usize| word(output, at).wrapping_sub(word(input, at));
    let header_end = segment + usize::from(input[segment + 12] >> 4) * 4;
    match at.checked_sub(segment) {
        Some(4..8) => !opens && HEADERS.contains(&grown(4)),
        // Less than a header, of what the backend has not got all of yet.
        Some(8..12) => !opens && grown(8).wrapping_neg() <= 54,
        Some(14 | 15) => {
            let window = |bytes: &[u8]| word(bytes, 12) & 0xffff;
            window(input).wrapping_sub(window(output)) <= 54
        }
        Some(20..) if at < header_end => true,
        // The length of what was cut off.
        None => opens && matches!(at, 16 | 17),
        _ => false,
    }
}
