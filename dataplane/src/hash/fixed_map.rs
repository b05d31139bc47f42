//! A map that is built once and then only read: two words to a 32-bit value, in one cache line as a
//! rule.
//!
//! For what every packet asks of a configuration. Open addressing, at most a quarter full; the
//! build tries secrets until no key lies further than [`REACH`] slots from its home, and enlarges
//! the table when it finds none, so that a lookup is bounded (I8). Keys come from configuration,
//! not from packets: nobody outside can choose them after the secret.

use alloc::boxed::Box;
use alloc::vec;

use super::Keys;

/// Slots that a lookup looks at, at most.
const REACH: usize = 8;

/// Secrets that are tried before the table is enlarged.
const ATTEMPTS: u64 = 16;

/// Marks a slot that holds nothing.
const EMPTY: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Slot {
    high: u64,
    low: u32,
    value: u32,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct FixedMap {
    keys: Keys,
    mask: usize,
    /// A power of two of homes, and [`REACH`] slots behind them, so that no probe wraps.
    slots: Box<[Slot]>,
}

impl FixedMap {
    /// The map of these entries: a key of two words and a value below `u32::MAX`. Of entries with
    /// one key, one is kept.
    #[must_use]
    pub fn build(entries: &[((u64, u32), u32)]) -> FixedMap {
        let mut homes = (entries.len() * 4).next_power_of_two();
        loop {
            let attempt = |secret| FixedMap::try_build(entries, homes, Keys::new(secret));
            if let Some(map) = (0..ATTEMPTS).find_map(attempt) {
                return map;
            }
            homes *= 2;
        }
    }

    fn try_build(entries: &[((u64, u32), u32)], homes: usize, keys: Keys) -> Option<FixedMap> {
        let empty = Slot { high: 0, low: 0, value: EMPTY };
        let slots = vec![empty; homes + REACH].into_boxed_slice();
        let mut map = FixedMap { keys, mask: homes - 1, slots };
        for &((high, low), value) in entries {
            let home = map.home(high, low);
            let mut reach = map.slots[home..home + REACH].iter_mut();
            let is_place =
                |slot: &&mut Slot| slot.value == EMPTY || (slot.high, slot.low) == (high, low);
            *reach.find(is_place)? = Slot { high, low, value };
        }
        Some(map)
    }

    /// The value of a key.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, high: u64, low: u32) -> Option<u32> {
        let home = self.home(high, low);
        let slot = self.slots.get(home)?;
        // Nothing was ever removed, so the first empty slot ends the search.
        match (slot.high, slot.low) == (high, low) {
            true => Some(slot.value).filter(|value| *value != EMPTY),
            false if slot.value == EMPTY => None,
            false => self.get_further(home, high, low),
        }
    }

    #[inline(never)]
    fn get_further(&self, home: usize, high: u64, low: u32) -> Option<u32> {
        let slots = self.slots.get(home + 1..home + REACH)?;
        let mut filled = slots.iter().take_while(|slot| slot.value != EMPTY);
        filled.find(|slot| (slot.high, slot.low) == (high, low)).map(|slot| slot.value)
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "cut to the number of homes")]
    fn home(&self, high: u64, low: u32) -> usize {
        self.keys.hash_once(high, u64::from(low)) as usize & self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn every_key_has_its_value_and_no_other_has_one() {
        for count in [0_u32, 1, 2, 3, 100, 70_000] {
            // Addresses as configurations have them: neighbors.
            let key = |at: u32| (u64::from(0x0a00_0004 + at / 2), at % 2);
            let entries: Vec<_> = (0..count).map(|at| (key(at), at)).collect();
            let map = FixedMap::build(&entries);
            for at in 0..count {
                let (high, low) = key(at);
                assert_eq!(map.get(high, low), Some(at), "{at} of {count}");
            }
            for at in count..count + 1_000 {
                let (high, low) = key(at);
                assert_eq!(map.get(high, low), None, "{at} of {count}");
            }
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_there_once() {
        let map = FixedMap::build(&[((1, 1), 5), ((1, 1), 6)]);
        assert_eq!(map.get(1, 1), Some(6));
    }
}
