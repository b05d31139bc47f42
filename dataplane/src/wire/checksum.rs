//! Internet checksums by difference: RFC 1071 sums, RFC 1624 updates.
//!
//! A checksum field holds the complement of the one's complement sum of what it covers. When a
//! covered word changes from `m` to `m'`, the new field is `~(~field + ~m + m')` (RFC 1624,
//! equation 3). The part `~m + m'` depends on the change alone: a [`Delta`]. Deltas of several
//! changes add up, and the complement of a delta undoes it, so a flow computes its delta once and a
//! packet pays one addition. Byte order does not matter as long as all words have the same.
//!
//! A *partial* checksum (the kernel's CHECKSUM_PARTIAL) is different: the field holds the sum of
//! the pseudo-header, **not** complemented, and ports are not in it yet. So it takes the delta of
//! the addresses, by plain addition, and must not take that of the ports.

/// The change of a one's complement sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta(u16);

impl Delta {
    /// Nothing changes.
    pub const NONE: Delta = Delta(0);

    /// A covered 16-bit word changes from `old` to `new`.
    #[inline(always)]
    #[must_use]
    pub const fn of_u16(old: u16, new: u16) -> Delta {
        Delta(add(!old, new))
    }

    /// A covered 32-bit word, aligned to 16 bits, changes from `old` to `new`.
    #[inline(always)]
    #[must_use]
    pub const fn of_u32(old: u32, new: u32) -> Delta {
        Delta(add(fold(!old), fold(new)))
    }

    /// Two covered 32-bit words, aligned to 16 bits, change from `old` to `new`.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
    pub const fn of_both(old: [u32; 2], new: [u32; 2]) -> Delta {
        let sum = !old[0] as u64 + !old[1] as u64 + new[0] as u64 + new[1] as u64;
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        Delta(((sum & 0xffff) + (sum >> 16)) as u16)
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Delta) -> Delta {
        Delta(add(self.0, other.0))
    }

    /// The change back.
    #[inline(always)]
    #[must_use]
    pub const fn inverse(self) -> Delta {
        Delta(!self.0)
    }

    /// The field of a complete checksum after the change. Right if it was right; as wrong as it was
    /// if not (I6).
    #[inline(always)]
    #[must_use]
    pub const fn update(self, field: u16) -> u16 {
        // The complement of a sum of complements is a difference.
        let (difference, borrow) = field.overflowing_sub(self.0);
        difference.wrapping_sub(borrow as u16)
    }

    /// The field of a partial checksum after a change of addresses.
    #[inline(always)]
    #[must_use]
    pub const fn update_partial(self, field: u16) -> u16 {
        add(field, self.0)
    }
}

/// One's complement addition: the carry comes back in at the bottom.
#[inline(always)]
#[must_use]
pub const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// The one's complement sum of the two halves of a word.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
const fn fold(word: u32) -> u16 {
    add((word >> 16) as u16, word as u16)
}

/// The one's complement sum of big-endian 16-bit words; a last odd byte is the upper half of one.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut tail = [0; 4];
    tail[..rest.len()].copy_from_slice(rest);
    // In the order of the host, with all carries kept: the sum of words in another byte order is
    // the sum in that order (RFC 1071, 2 B), and a compiler adds several such words at a time.
    let native = |word: &[u8; 4]| u64::from(u32::from_ne_bytes(*word));
    let wide = words.iter().map(native).sum::<u64>() + native(&tail);
    fold_wide(wide).to_be()
}

/// As [`sum`], of a few bytes whose number is known: compiles to as many additions as words.
#[inline(always)]
#[must_use]
pub fn sum_of<const BYTES: usize>(bytes: &[u8; BYTES]) -> u16 {
    const { assert!(BYTES.is_multiple_of(4)) };
    let (words, _) = bytes.as_chunks::<4>();
    let wide = words.iter().fold(0, |wide, word| wide + u64::from(u32::from_be_bytes(*word)));
    fold_wide(wide)
}

/// The one's complement sum of 32-bit words whose carries were kept: 2^32 is 1 in it.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
const fn fold_wide(wide: u64) -> u16 {
    add(fold((wide >> 32) as u32), fold(wide as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word by word, as RFC 1071 section 4.1 writes it.
    fn reference_sum(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn sums_of_all_lengths() {
        let bytes: [u8; 77] = core::array::from_fn(|i| (i * 151 + 200) as u8);
        for length in 0..bytes.len() {
            assert_eq!(sum(&bytes[..length]), reference_sum(&bytes[..length]), "{length}");
        }
        assert_eq!(sum(&[0xff; 65_535]), reference_sum(&[0xff; 65_535]));
    }

    #[test]
    fn every_update_of_a_word_equals_the_sum_from_scratch() {
        // All pairs (old, new) would be 2^32; every old against a spread of new ones, and edges.
        let edges = [0, 1, 0x00ff, 0x0100, 0x7fff, 0x8000, 0xfffe, 0xffff];
        for constant in [0x0001_u16, 0x4500, 0xfffe, 0xffff] {
            for old in 0..=u16::MAX {
                let before = !add(constant, old);
                for new in edges.into_iter().chain([old.wrapping_mul(31), !old]) {
                    let after = Delta::of_u16(old, new).update(before);
                    assert_eq!(after, !add(constant, new), "{constant:x} {old:x} {new:x}");
                    let back = Delta::of_u16(old, new).inverse().update(after);
                    assert_eq!(back, before, "{constant:x} {old:x} {new:x}");
                }
            }
        }
    }

    #[test]
    fn deltas_add_up() {
        let (old, new) = (0x0a00_0005_u32, 0xfffe_0001_u32);
        let halves = Delta::of_u16(0x0a00, 0xfffe).and(Delta::of_u16(0x0005, 0x0001));
        assert_eq!(Delta::of_u32(old, new).update(0x1234), halves.update(0x1234));
    }

    #[test]
    fn two_words_at_once_are_as_one_after_the_other() {
        let edges = [0, 1, 0xffff, 0x1_0000, 0xfffe_0001, 0x8000_8000, 0xffff_0000, u32::MAX];
        let pairs = edges.into_iter().flat_map(|one| edges.map(|other| [one, other]));
        for old in pairs.clone() {
            for new in pairs.clone() {
                let [one, other] = [0, 1].map(|at: usize| Delta::of_u32(old[at], new[at]));
                assert_eq!(Delta::of_both(old, new), one.and(other), "{old:x?} {new:x?}");
            }
        }
    }
}
