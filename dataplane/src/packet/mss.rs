//! The largest segment that a TCP SYN announces (RFC 9293 3.7.1), lowered to what a path takes.
//!
//! An option that is missing is not added, one that is malformed is left alone, and none is ever
//! raised. The checksum follows by difference; a partial one does not cover options yet (I6).
//! Bounds: one pass over at most 40 bytes of options.

use super::Packet;
use crate::wire::checksum::Delta;
use crate::wire::tcp::{self, Tcp};

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// Lowers the MSS option of the segment that `packet` was parsed from to `mss_max`.
pub fn clamp_mss(frame: &mut [u8], packet: &Packet, mss_max: u16) {
    let Some(segment) = frame.get_mut(usize::from(packet.transport_offset)..) else { return };
    let Some(at) = find_mss(segment) else { return };
    let announced = u16::from_be_bytes([segment[at], segment[at + 1]]);
    if announced <= mss_max {
        return;
    }
    segment[at..at + 2].copy_from_slice(&mss_max.to_be_bytes());
    if packet.partial_checksum {
        return;
    }
    // At an odd place its halves belong to two words of the sum.
    let (old, new) = match at % 2 {
        0 => (announced, mss_max),
        _ => (announced.swap_bytes(), mss_max.swap_bytes()),
    };
    let field = tcp::CHECKSUM_OFFSET..tcp::CHECKSUM_OFFSET + 2;
    let checksum = u16::from_be_bytes([segment[field.start], segment[field.start + 1]]);
    let updated = Delta::of_u16(old, new).update(checksum);
    segment[field].copy_from_slice(&updated.to_be_bytes());
}

/// Where in the segment the value of its MSS option stands; `None` if it has none, or if options
/// before it contradict themselves.
fn find_mss(segment: &[u8]) -> Option<usize> {
    let header_bytes = Tcp::of(segment)?.header_bytes();
    let mut at = tcp::HEADER_BYTES_MIN;
    loop {
        let option = segment.get(at..header_bytes)?;
        let length = match *option {
            [END_OF_OPTIONS, ..] | [] => return None,
            [NO_OPERATION, ..] => 1,
            [MAXIMUM_SEGMENT_SIZE, 4, _, _, ..] => return Some(at + 2),
            // Of another length it is malformed; and an option takes two bytes at least.
            [MAXIMUM_SEGMENT_SIZE, ..] | [_] | [_, 0 | 1, ..] => return None,
            [_, length, ..] => usize::from(length),
        };
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut bytes = [0; 20].to_vec();
        bytes[12] = u8::try_from(5 + options.len() / 4).unwrap() << 4;
        bytes.extend(options);
        bytes
    }

    #[test]
    fn the_option_is_found_wherever_it_stands() {
        assert_eq!(find_mss(&segment(&[2, 4, 5, 180])), Some(22));
        assert_eq!(find_mss(&segment(&[1, 2, 4, 5, 180, 1, 1, 1])), Some(23));
        assert_eq!(find_mss(&segment(&[3, 3, 7, 2, 4, 5, 180, 0])), Some(25));
        assert_eq!(find_mss(&segment(&[4, 2, 1, 1, 2, 4, 5, 180])), Some(26));
    }

    #[test]
    fn what_is_malformed_is_not_found() {
        let cases: [&[u8]; 8] = [
            &[],
            &[1, 1, 1, 1],
            // Behind the end.
            &[0, 2, 4, 5, 180, 0, 0, 0],
            // Of the wrong length, or cut off by the end of the header.
            &[2, 3, 5, 180],
            &[1, 2, 4, 5],
            // Behind an option without length, or with one that leads nowhere.
            &[3, 0, 2, 4, 5, 180, 0, 0],
            &[3, 1, 2, 4, 5, 180, 0, 0],
            &[3, 99, 2, 4, 5, 180, 0, 0],
        ];
        for options in cases {
            assert_eq!(find_mss(&segment(options)), None, "{options:?}");
        }
    }
}
