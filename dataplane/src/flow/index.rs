//! From a hash to the flow that has it: an open-addressed table whose lines can be prefetched.
//!
//! A slot is one 64-bit word: 32 bits of the hash, and the flow's number plus one. Eight slots
//! share a cache line, a lookup compares hash bits before it touches any record, and because the
//! home slot follows from the stored bits, removal can close the gap without reading records
//! (backward shift; no tombstones, so the table does not age). At most half of the slots are used.
//! An entry lies no further than [`PROBES_MAX`] from its home; an insertion that would need more is
//! refused (I8). See docs/decisions/0003-flow-index.md for why this is not hashbrown.

use alloc::boxed::Box;
use alloc::vec;

use super::prefetch::prefetch;
use crate::types::FlowIndex;

/// Slots that an operation looks at, at most. With a keyed hash and half the slots free, no chain
/// comes near.
const PROBES_MAX: usize = 256;

/// The index of one flow table.
pub(super) struct Index {
    slots: Box<[u64]>,
    mask: usize,
}

/// An empty slot found for a hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct EmptySlot(usize);

impl Index {
    /// An index for up to `capacity` flows. Memory is touched as it is used.
    pub(super) fn new(capacity: usize) -> Index {
        let slots = (capacity * 2).next_power_of_two().max(PROBES_MAX);
        Index { slots: vec![0; slots].into_boxed_slice(), mask: slots - 1 }
    }

    /// Bytes of memory at most.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.slots[self.home(tag(hash))]);
    }

    /// The first flow under this hash that `is` the one; a few others may share its bits.
    #[inline]
    pub(super) fn find(
        &self,
        hash: u64,
        mut is: impl FnMut(FlowIndex) -> bool,
    ) -> Option<FlowIndex> {
        let tag = tag(hash);
        let mut at = self.home(tag);
        for _ in 0..PROBES_MAX {
            let slot = self.slots[at];
            let flow = flow(slot)?;
            if slot >> 32 == u64::from(tag) && is(flow) {
                return Some(flow);
            }
            at = (at + 1) & self.mask;
        }
        None
    }

    /// Where an entry with this hash can go.
    pub(super) fn empty_slot(&self, hash: u64) -> Option<EmptySlot> {
        let home = self.home(tag(hash));
        let probes = (0..PROBES_MAX).map(|distance| (home + distance) & self.mask);
        probes.into_iter().find(|&at| self.slots[at] == 0).map(EmptySlot)
    }

    /// Enters a flow into a slot that [`Index::empty_slot`] found for the same hash just before.
    pub(super) fn insert(&mut self, slot: EmptySlot, hash: u64, flow: FlowIndex) {
        self.slots[slot.0] = u64::from(tag(hash)) << 32 | u64::from(flow.0 + 1);
    }

    /// Removes a flow and closes the gap. `false` if it is not there.
    pub(super) fn remove(&mut self, hash: u64, flow: FlowIndex) -> bool {
        let wanted = u64::from(tag(hash)) << 32 | u64::from(flow.0 + 1);
        let home = self.home(tag(hash));
        let probes = (0..PROBES_MAX).map(|distance| (home + distance) & self.mask);
        let Some(at) = probes.into_iter().find(|&at| self.slots[at] == wanted) else {
            return false;
        };
        self.close_gap(at);
        true
    }

    /// Moves followers back over the gap as long as that brings them nearer to their homes.
    fn close_gap(&mut self, mut gap: usize) {
        let mut at = gap;
        loop {
            at = (at + 1) & self.mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let home = self.home((slot >> 32) as u32);
            let from_home = at.wrapping_sub(home) & self.mask;
            let from_gap = at.wrapping_sub(gap) & self.mask;
            if from_home >= from_gap {
                self.slots[gap] = slot;
                gap = at;
            }
        }
        self.slots[gap] = 0;
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        tag as usize & self.mask
    }
}

/// The bits of a hash that a slot keeps.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn flow(slot: u64) -> Option<FlowIndex> {
    let number = slot as u32;
    (number != 0).then(|| FlowIndex(number.wrapping_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Few distinct homes, so that chains collide, wrap round the end and are cut in every way.
    #[test]
    fn agrees_with_an_ordered_map_under_collisions() {
        let mut index = Index::new(64);
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let mut state = 1_u64;
        for step in 0..50_000_u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let flow = (state >> 33) as u32 % 128;
            if let Some(hash) = model.remove(&flow) {
                assert!(index.remove(hash, FlowIndex(flow)), "step {step}");
                assert!(!index.remove(hash, FlowIndex(flow)));
            } else {
                let home = 240 + (state >> 45) % 40;
                let hash = (home | (state >> 60) << 20) << 32;
                let slot = index.empty_slot(hash).unwrap();
                index.insert(slot, hash, FlowIndex(flow));
                model.insert(flow, hash);
            }
            for (&flow, &hash) in &model {
                assert_eq!(index.find(hash, |found| found.0 == flow), Some(FlowIndex(flow)));
            }
        }
    }

    #[test]
    fn a_full_neighborhood_is_refused() {
        let mut index = Index::new(1);
        for flow in 0..256 {
            let slot = index.empty_slot(7).unwrap();
            index.insert(slot, 7, FlowIndex(flow));
        }
        assert!(index.empty_slot(7).is_none());
        assert_eq!(index.find(7, |_| false), None);
    }
}
