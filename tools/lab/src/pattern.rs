//! Deterministic pseudo-random bytes, and a hash of bytes: how transfers prove themselves.
//!
//! Byte `n` of the pattern depends on `n` alone (SplitMix64 of `n / 8`), so any piece can be made
//! and checked without the pieces before it. Neither is meant against an adversary.

/// Writes the bytes of the pattern that begin at `offset`.
pub fn fill(offset: u64, bytes: &mut [u8]) {
    let mut at = offset;
    let mut rest = bytes;
    // Bytes up to the next word boundary, then whole words, of which the last may be cut.
    while !rest.is_empty() {
        let word = mix(at / 8).to_le_bytes();
        // The remainder of a division by 8 fits any integer.
        #[allow(clippy::cast_possible_truncation)]
        let skip = (at % 8) as usize;
        let length = (8 - skip).min(rest.len());
        let (head, tail) = rest.split_at_mut(length);
        head.copy_from_slice(&word[skip..skip + length]);
        rest = tail;
        at += length as u64;
    }
}

/// Whether `bytes` are those of the pattern that begin at `offset`.
pub fn matches(offset: u64, bytes: &[u8]) -> bool {
    let mut expected = [0; 4096];
    let mut at = offset;
    bytes.chunks(expected.len()).all(|chunk| {
        let expected = &mut expected[..chunk.len()];
        fill(at, expected);
        at += chunk.len() as u64;
        chunk == expected
    })
}

/// Scatters numbers (the output function of SplitMix64).
pub(crate) fn mix(index: u64) -> u64 {
    let mut word = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// FNV-1a of 64 bits, fed in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The hash of all bytes so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_the_pattern_is_the_same() {
        let mut whole = [0; 64];
        fill(0, &mut whole);
        for start in 0..whole.len() {
            for end in start..=whole.len() {
                let mut piece = vec![0; end - start];
                fill(start as u64, &mut piece);
                assert_eq!(piece, whole[start..end]);
                assert!(matches(start as u64, &piece));
            }
        }
        whole[40] ^= 1;
        assert!(!matches(0, &whole));
    }

    #[test]
    fn fnv_gives_its_published_values() {
        let hash = |bytes: &[u8]| {
            let mut hash = Fnv::default();
            hash.update(bytes);
            hash.value()
        };
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
