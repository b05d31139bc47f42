//! From a hash to the flow that has it: buckets of twelve entries, each bucket one cache line.
//!
//! An entry is eight bits of the hash, its *tag*, and a word of six further bits and the flow's
//! number. The twelve tags of a bucket are compared at once; of other flows one in 1,400 looks
//! alike, and only that one costs a look at its record. A bucket's line can be prefetched from the
//! hash alone. At most two thirds of the entries are used. What does not fit into its home bucket
//! (one flow in seventy when the table is full) goes to one of the next, and the home remembers how
//! many of its flows did so and how far the furthest went: a lookup goes on there only then. An
//! entry lies no further than [`REACH_MAX`] buckets from its home; an insertion that would need
//! more is refused (I8). Removal clears one entry: no tombstones, so the table does not age. See
//! docs/decisions/0011-bucketed-flow-index.md for what was compared.

use crate::prefetch::{Line, Part, prefetch};
use crate::types::{Area, FlowIndex};

/// Entries of a bucket.
const ENTRIES: usize = 12;

/// Flows of a bucket on average when the table is full.
const FLOWS_PER_BUCKET: usize = 8;

/// Buckets behind the home that an entry may be in. With a keyed hash none comes near.
const REACH_MAX: u32 = 32;

/// Bits of an entry's word that hold the number of its flow.
const NUMBER_BITS: u32 = 26;
const NUMBER_MASK: u32 = (1 << NUMBER_BITS) - 1;

/// The word behind the tags: how many entries whose home this is are elsewhere (lower half), and
/// how many buckets away the furthest of them was put (upper half).
const AWAY: usize = 3;

/// The word of the first entry.
const FIRST: usize = 4;

/// The index of one flow table.
pub(super) struct Index {
    buckets: Part<[Line]>,
    /// Buckets behind its home that an entry may be in: all others, at most [`REACH_MAX`].
    furthest: u32,
}

/// An empty entry found for a hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct EmptySlot {
    distance: u32,
    at: usize,
}

impl Index {
    /// An index for up to `capacity` flows. Memory is touched as it is used.
    pub(super) fn new(capacity: usize) -> Index {
        let others = capacity / FLOWS_PER_BUCKET;
        let furthest = u32::try_from(others).unwrap_or(REACH_MAX).min(REACH_MAX);
        Index { buckets: Part::zeroed_slice(others + 1), furthest }
    }

    /// Bytes of memory at most.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Where it lies.
    pub(super) fn area(&self) -> Area {
        Area::of(self.buckets.as_ptr(), self.buckets.len())
    }

    /// Starts loading the home bucket of a hash.
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.buckets[self.home(hash)]);
    }

    /// The first flow of the home bucket that looks like this hash. Nearly always the right one, if
    /// there is a right one.
    #[inline(always)]
    pub(super) fn candidate(&self, hash: u64) -> Option<FlowIndex> {
        search(&self.buckets[self.home(hash)], hash, |_| true)
    }

    /// Where an entry with this hash can go, if its home bucket alone can tell that, and that no
    /// flow looks like it.
    #[inline(always)]
    pub(super) fn fresh_slot(&self, hash: u64) -> Option<EmptySlot> {
        let bucket = &self.buckets[self.home(hash)];
        let is_known = search(bucket, hash, |_| true).is_some() || reach(bucket) > 0;
        let at = first(matches(bucket, 0)).filter(|_| !is_known)?;
        Some(EmptySlot { distance: 0, at })
    }

    /// The flow under this hash that `is` the one.
    #[inline]
    pub(super) fn find(
        &self,
        hash: u64,
        mut is: impl FnMut(FlowIndex) -> bool,
    ) -> Option<FlowIndex> {
        let home = self.home(hash);
        let bucket = &self.buckets[home];
        search(bucket, hash, &mut is).or_else(|| {
            let mut further = (1..=reach(bucket)).map(|distance| self.neighbor(home, distance));
            further.find_map(|at| search(&self.buckets[at], hash, &mut is))
        })
    }

    /// Where an entry with this hash can go.
    #[inline(always)]
    pub(super) fn empty_slot(&self, hash: u64) -> Option<EmptySlot> {
        match first(matches(&self.buckets[self.home(hash)], 0)) {
            Some(at) => Some(EmptySlot { distance: 0, at }),
            None => self.empty_slot_away(hash),
        }
    }

    #[cold]
    fn empty_slot_away(&self, hash: u64) -> Option<EmptySlot> {
        let home = self.home(hash);
        (1..=self.furthest).find_map(|distance| {
            let at = first(matches(&self.buckets[self.neighbor(home, distance)], 0))?;
            Some(EmptySlot { distance, at })
        })
    }

    /// Enters a flow into an entry that [`Index::empty_slot`] found for the same hash just before.
    pub(super) fn insert(&mut self, slot: EmptySlot, hash: u64, flow: FlowIndex) {
        let home = self.home(hash);
        let to = self.neighbor(home, slot.distance);
        set(&mut self.buckets[to], slot.at, tag(hash), word(hash, flow));
        if slot.distance > 0 {
            let away = &mut self.buckets[home].0[AWAY];
            let furthest = (*away >> 16).max(slot.distance);
            *away = furthest << 16 | ((*away & 0xffff) + 1);
        }
    }

    /// Removes a flow. `false` if it is not there.
    pub(super) fn remove(&mut self, hash: u64, flow: FlowIndex) -> bool {
        let home = self.home(hash);
        for distance in 0..=reach(&self.buckets[home]) {
            let at = self.neighbor(home, distance);
            let Some(entry) = entry_of(&self.buckets[at], tag(hash), word(hash, flow)) else {
                continue;
            };
            set(&mut self.buckets[at], entry, 0, 0);
            if distance > 0 {
                let away = &mut self.buckets[home].0[AWAY];
                *away = if *away & 0xffff == 1 { 0 } else { *away - 1 };
            }
            return true;
        }
        false
    }

    /// Multiply-shift instead of a remainder or a power of two: any number of buckets.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The bucket this far behind another, round the end.
    #[inline(always)]
    fn neighbor(&self, home: usize, distance: u32) -> usize {
        let at = home + distance as usize;
        if at < self.buckets.len() { at } else { at - self.buckets.len() }
    }
}

/// The tag of a hash: never 0, which marks an empty entry.
#[inline(always)]
fn tag(hash: u64) -> u8 {
    hash.to_le_bytes()[0].max(1)
}

/// The word of an entry: bits of the hash that the tag does not have, and the flow's number.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "bits of a hash")]
fn word(hash: u64, flow: FlowIndex) -> u32 {
    hash as u32 & !NUMBER_MASK | flow.0
}

/// How many buckets away from its home the furthest entry may be.
#[inline(always)]
fn reach(home: &Line) -> u32 {
    home.0[AWAY] >> 16
}

#[inline(always)]
fn search(bucket: &Line, hash: u64, mut is: impl FnMut(FlowIndex) -> bool) -> Option<FlowIndex> {
    let mut candidates = matches(bucket, tag(hash));
    while let Some(at) = first(candidates) {
        let word = bucket.0[FIRST + at];
        let flow = FlowIndex(word & NUMBER_MASK);
        if word == self::word(hash, flow) && is(flow) {
            return Some(flow);
        }
        candidates &= candidates - 1;
    }
    None
}

fn entry_of(bucket: &Line, tag: u8, word: u32) -> Option<usize> {
    let mut candidates = matches(bucket, tag);
    while let Some(at) = first(candidates) {
        if bucket.0[FIRST + at] == word {
            return Some(at);
        }
        candidates &= candidates - 1;
    }
    None
}

fn set(bucket: &mut Line, at: usize, tag: u8, word: u32) {
    bucket.0[FIRST + at] = word;
    let mut tags = bucket.0[at / 4].to_ne_bytes();
    tags[at % 4] = tag;
    bucket.0[at / 4] = u32::from_ne_bytes(tags);
}

/// The position of the lowest set bit, which is below [`ENTRIES`].
#[inline(always)]
fn first(candidates: u32) -> Option<usize> {
    let at = candidates.trailing_zeros() as usize;
    (at < ENTRIES).then_some(at)
}

/// A bit for each entry with this tag.
#[inline(always)]
fn matches(bucket: &Line, tag: u8) -> u32 {
    bucket.equal_bytes(tag) & ((1 << ENTRIES) - 1)
}

const _: () = {
    assert!(FIRST + ENTRIES == 16 && AWAY * 4 == ENTRIES);
    assert!(crate::limits::FLOWS_PER_WORKER_MAX <= NUMBER_MASK as usize);
};

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use std::collections::BTreeMap;

    /// Few distinct homes, so that buckets overflow, wrap round the end and empty in every way.
    #[test]
    fn agrees_with_an_ordered_map_under_collisions() {
        let mut index = Index::new(64);
        let buckets = index.buckets.len() as u64;
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let mut state = 1_u64;
        for step in 0..50_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let flow = (state >> 33) as u32 % 96;
            if let Some(hash) = model.remove(&flow) {
                assert!(index.remove(hash, FlowIndex(flow)), "step {step}");
                assert!(!index.remove(hash, FlowIndex(flow)));
            } else {
                // The last three buckets, eight tags, four further bits.
                let home = buckets - 1 - (state >> 45) % 3;
                let bits = state >> 61 | (state >> 50 & 3) << NUMBER_BITS;
                let hash = ((home << 32) / buckets + 1) << 32 | bits;
                let Some(slot) = index.empty_slot(hash) else { continue };
                index.insert(slot, hash, FlowIndex(flow));
                model.insert(flow, hash);
            }
            for (&flow, &hash) in &model {
                assert_eq!(index.find(hash, |found| found.0 == flow), Some(FlowIndex(flow)));
            }
        }
        for (flow, hash) in model {
            assert!(index.remove(hash, FlowIndex(flow)));
        }
        assert!(index.buckets.iter().all(|bucket| bucket.0 == [0; 16]), "nothing stays behind");
    }

    #[test]
    fn a_full_table_has_room_for_its_capacity_and_most_entries_at_home() {
        const CAPACITY: u32 = 100_000;
        let keys = crate::hash::Keys::new(5);
        let mut index = Index::new(CAPACITY as usize);
        let mut away = 0;
        for flow in 0..CAPACITY {
            let hash = keys.hash(u64::from(flow), 0);
            let slot = index.empty_slot(hash).unwrap();
            away += u32::from(slot.distance > 0);
            index.insert(slot, hash, FlowIndex(flow));
        }
        assert!(away < CAPACITY / 50, "{away} flows are not at home");
        for flow in 0..CAPACITY {
            let hash = keys.hash(u64::from(flow), 0);
            assert_eq!(index.find(hash, |found| found.0 == flow), Some(FlowIndex(flow)));
        }
    }

    #[test]
    fn a_full_neighborhood_is_refused() {
        let mut index = Index::new(1_000);
        let slots: Vec<_> = (0..)
            .map_while(|flow| {
                let slot = index.empty_slot(7)?;
                index.insert(slot, 7, FlowIndex(flow));
                Some(slot)
            })
            .collect();
        assert_eq!(slots.len(), ENTRIES * (REACH_MAX as usize + 1));
        assert_eq!(index.find(7, |_| false), None);
        assert!(index.find(8, |_| true).is_none());
    }
}
