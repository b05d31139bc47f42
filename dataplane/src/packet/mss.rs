//! The largest segment that a TCP SYN announces (RFC 9293 3.7.1), lowered to what a path takes.
//!
//! An option that is missing is not added, one that is malformed is left alone, and none is ever
//! raised. The checksum follows by difference; a partial one does not cover options yet (I6).
//! Bounds: one pass over at most 40 bytes of options.

use super::Packet;
use super::segment::SegmentMut;
use crate::wire::tcp;

const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// Lowers the MSS option of the segment that `packet` was parsed from to `mss_max`.
pub fn clamp_mss(frame: &mut [u8], packet: &Packet, mss_max: u16) {
    let Some(mut segment) = SegmentMut::of(frame, packet) else { return };
    let Some(at) = find_mss(segment.bytes()) else { return };
    let announced = u16::from_be_bytes([segment.bytes()[at], segment.bytes()[at + 1]]);
    if announced > mss_max {
        segment.put(at, &mss_max.to_be_bytes());
    }
}

/// Where in the segment the value of its MSS option stands; `None` if it has none, or if options
/// before it contradict themselves.
fn find_mss(segment: &[u8]) -> Option<usize> {
    let mss = tcp::options(segment).find(|option| option.kind == MAXIMUM_SEGMENT_SIZE)?;
    (mss.value.len() == 2).then_some(mss.value.start)
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
