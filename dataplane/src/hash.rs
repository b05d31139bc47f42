//! A fast keyed hash of sixteen bytes, for tables that strangers fill.
//!
//! Two rounds of a folded 64 by 64 bit multiplication, the construction of wyhash and foldhash. The
//! key is drawn at start, so that nobody outside can aim at one slot or one backend. Not
//! cryptographic: it spreads, it does not sign. [`FixedMap`] is the table that is built on it.

mod fixed_map;

pub use fixed_map::FixedMap;

/// The secret of a hash.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    keys: [u64; 3],
}

impl Keys {
    /// The keys that follow from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Keys {
        // Odd constants in between keep a seed of zero from yielding zero keys.
        let first = splitmix(seed);
        let second = splitmix(first ^ 0x9e37_79b9_7f4a_7c15);
        let third = splitmix(second ^ 0xd1b5_4a32_d192_ed03);
        Keys { keys: [first, second, third | 1] }
    }

    /// The hash of two words.
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self, high: u64, low: u64) -> u64 {
        let [first, second, third] = self.keys;
        folded_multiply(folded_multiply(high ^ first, low ^ second) ^ third, 0x9fb2_1c65_1e98_df25)
    }

    /// A weaker hash of two words in half the time, for keys that no stranger chooses.
    #[inline(always)]
    #[must_use]
    pub const fn hash_once(&self, high: u64, low: u64) -> u64 {
        let [first, second, _] = self.keys;
        folded_multiply(high ^ first, low ^ second)
    }
}

/// High half xor low half of the product.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a product are what is wanted")]
const fn folded_multiply(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

const fn splitmix(state: u64) -> u64 {
    let value = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighboring_inputs_spread_over_all_bits() {
        let keys = Keys::new(0);
        let mut ones = [0_u32; 64];
        for value in 0..10_000 {
            let hash = keys.hash(value, 1) ^ keys.hash(value + 1, 1);
            ones.iter_mut().enumerate().for_each(|(bit, count)| *count += (hash >> bit & 1) as u32);
        }
        for (bit, count) in ones.into_iter().enumerate() {
            assert!((4_700..5_300).contains(&count), "bit {bit} flips {count} times of 10,000");
        }
    }

    #[test]
    fn another_seed_is_another_hash() {
        assert_ne!(Keys::new(1).hash(2, 3), Keys::new(2).hash(2, 3));
    }
}
