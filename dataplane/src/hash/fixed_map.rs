//! A map that packets only read: two words to a 32-bit value, in one cache line as a rule.
//!
//! For what every packet asks of a configuration. Open addressing, at most a quarter full; the
//! build tries secrets until no key lies further than [`REACH`] slots from its home, and enlarges
//! the table when it finds none, so that a lookup is bounded (I8). Keys come from configuration,
//! not from packets: nobody outside can choose them after the secret.
//!
//! Clones share the table until one of them changes.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

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
    /// How many keys there are.
    count: usize,
    /// A power of two of homes, and [`REACH`] slots behind them, so that no probe wraps.
    slots: Arc<[Slot]>,
}

/// A slot that holds nothing.
const VACANT: Slot = Slot { high: 0, low: 0, value: EMPTY };

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
        let slots = vec![VACANT; homes + REACH].into();
        let mut map = FixedMap { keys, mask: homes - 1, count: 0, slots };
        entries.iter().all(|&(key, value)| map.try_insert(key, value)).then_some(map)
    }

    /// Gives a key a value below `u32::MAX`, in place of the one that it has.
    pub fn insert(&mut self, key: (u64, u32), value: u32) {
        let is_roomy = (self.count + 1) * 4 <= self.mask + 1 || self.get(key.0, key.1).is_some();
        if is_roomy && self.try_insert(key, value) {
            return;
        }
        let mut entries: Vec<_> = self.entries().filter(|(known, _)| *known != key).collect();
        entries.push((key, value));
        *self = FixedMap::build(&entries);
    }

    /// `false`, and nothing changed, if there is no room for the key near its home.
    fn try_insert(&mut self, (high, low): (u64, u32), value: u32) -> bool {
        let home = self.home(high, low);
        let reach = self.slots.get(home..home + REACH).unwrap_or_default();
        let is_place = |slot: &Slot| slot.value == EMPTY || (slot.high, slot.low) == (high, low);
        let Some(place) = reach.iter().position(is_place) else { return false };
        let slot = &mut Arc::make_mut(&mut self.slots)[home + place];
        self.count += usize::from(slot.value == EMPTY);
        *slot = Slot { high, low, value };
        true
    }

    /// Forgets a key. What lies behind it moves up, so that the first empty slot still ends a
    /// search.
    pub fn remove(&mut self, (high, low): (u64, u32)) {
        let home = self.home(high, low);
        let reach = self.slots.get(home..home + REACH).unwrap_or_default();
        let mut filled = reach.iter().take_while(|slot| slot.value != EMPTY);
        let found = filled.position(|slot| (slot.high, slot.low) == (high, low));
        let Some(mut hole) = found.map(|place| home + place) else { return };
        let (keys, mask) = (self.keys, self.mask);
        let slots = Arc::make_mut(&mut self.slots);
        for at in hole + 1..slots.len() {
            let slot = slots[at];
            if slot.value == EMPTY {
                break;
            }
            if home_of(keys, mask, slot.high, slot.low) <= hole {
                slots[hole] = slot;
                hole = at;
            }
        }
        slots[hole] = VACANT;
        self.count -= 1;
    }

    /// All keys and their values, in no order.
    pub fn entries(&self) -> impl Iterator<Item = ((u64, u32), u32)> {
        let filled = self.slots.iter().filter(|slot| slot.value != EMPTY);
        filled.map(|slot| ((slot.high, slot.low), slot.value))
    }

    /// The value of a key.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, high: u64, low: u32) -> Option<u32> {
        let home = self.home(high, low);
        let slot = self.slots.get(home)?;
        // No gap is ever left, so the first empty slot ends the search.
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
    fn home(&self, high: u64, low: u32) -> usize {
        home_of(self.keys, self.mask, high, low)
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "cut to the number of homes")]
fn home_of(keys: Keys, mask: usize, high: u64, low: u32) -> usize {
    keys.hash_once(high, u64::from(low)) as usize & mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

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
    #[test]
    fn it_changes_as_a_map_does_and_its_clones_stay_as_they_were() {
        let (mut map, mut expected) = (FixedMap::build(&[]), HashMap::new());
        let dice = Keys::new(3);
        for turn in 0..40_000_u64 {
            let drawn = dice.hash(turn, 0);
            // Few keys at first, then more and more, so that it grows, is crowded and shrinks.
            let bound = 1 + (turn % 20_000) / 10;
            let key = (drawn % bound, (drawn >> 40) as u32 % 2);
            let before = (turn % 997 == 0).then(|| (map.clone(), expected.clone()));
            if drawn >> 60 < 7 {
                map.remove(key);
                expected.remove(&key);
            } else {
                map.insert(key, turn as u32);
                expected.insert(key, turn as u32);
            }
            assert_eq!(map.get(key.0, key.1), expected.get(&key).copied());
            assert_eq!(map.count, expected.len());
            if turn % 997 == 0 {
                same(&map, &expected);
            }
            if let Some((map, expected)) = before {
                same(&map, &expected);
            }
        }
    }

    fn same(map: &FixedMap, expected: &HashMap<(u64, u32), u32>) {
        for high in 0..2_001 {
            for low in 0..2 {
                assert_eq!(map.get(high, low), expected.get(&(high, low)).copied());
            }
        }
    }
}
