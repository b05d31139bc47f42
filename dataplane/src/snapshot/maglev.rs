//! Maglev consistent hashing: a table that spreads hashes evenly over backends and moves few of
//! them when a backend comes or goes (Eisenbud et al., NSDI 2016, section 3.4).
//!
//! Each backend walks its own permutation of the slots, which depends on its address alone, and
//! takes the first free one in turn. With at least 128 slots a backend no backend's share differs
//! from another's by more than one slot, which is under 1 %.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use crate::limits::BACKENDS_PER_RULE_MAX;

/// Sizes that a table can have: primes, so that every step from 1 to size - 1 visits all slots.
pub const TABLE_SIZES: [u32; 8] = [1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071];

/// Slots for each backend at least, so that shares differ by less than 1 %.
const SLOTS_PER_BACKEND: usize = 127;

const _: () = assert!(BACKENDS_PER_RULE_MAX * SLOTS_PER_BACKEND <= 131_071);

/// Marks a slot that is not taken yet.
const FREE: u16 = u16::MAX;

/// A table from hashes to positions in a list of backends. Two bytes a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaglevTable {
    slots: Box<[u16]>,
}

impl MaglevTable {
    /// The table for these backends, which must differ from each other; `None` if there are none or
    /// more than [`BACKENDS_PER_RULE_MAX`].
    #[must_use]
    pub fn build(backends: &[Ipv4Addr]) -> Option<MaglevTable> {
        if backends.is_empty() || backends.len() > BACKENDS_PER_RULE_MAX {
            return None;
        }
        let wanted = backends.len() * SLOTS_PER_BACKEND;
        let size = TABLE_SIZES.into_iter().find(|&size| size as usize >= wanted)?;
        Some(MaglevTable { slots: populate(backends, u64::from(size)) })
    }

    /// The position of the backend that `hash` falls on.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "below the length of the table")]
    pub fn position(&self, hash: u64) -> usize {
        // Multiply-shift instead of a remainder: even, and a fraction of a division's time.
        let slot = (u128::from(hash) * self.slots.len() as u128) >> 64;
        usize::from(self.slots[slot as usize])
    }
}

/// One backend's walk over the slots.
struct Permutation {
    next: u64,
    step: u64,
}

impl Permutation {
    fn of(backend: Ipv4Addr, size: u64) -> Permutation {
        let hash = mix(u64::from(backend.to_bits()));
        Permutation { next: hash % size, step: mix(hash) % (size - 1) + 1 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the size of the table")]
    fn take(&mut self, size: u64) -> usize {
        let slot = self.next;
        self.next = (self.next + self.step) % size;
        slot as usize
    }
}

#[expect(clippy::cast_possible_truncation, reason = "positions are below BACKENDS_PER_RULE_MAX")]
fn populate(backends: &[Ipv4Addr], size: u64) -> Box<[u16]> {
    let mut slots = vec![FREE; size as usize];
    let mut walks: Vec<_> = backends.iter().map(|&ip| Permutation::of(ip, size)).collect();
    // In the order of addresses, so that the order of the configuration does not matter.
    let mut turns: Vec<usize> = (0..backends.len()).collect();
    turns.sort_unstable_by_key(|&position| backends[position]);
    let mut free = slots.len();
    'full: loop {
        for &position in &turns {
            if free == 0 {
                break 'full;
            }
            let slot = loop {
                let slot = walks[position].take(size);
                if slots[slot] == FREE {
                    break slot;
                }
            };
            slots[slot] = position as u16;
            free -= 1;
        }
    }
    slots.into_boxed_slice()
}

/// The finalizer of splitmix64: spreads neighboring addresses over the whole range.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u32) -> Vec<Ipv4Addr> {
        (0..count).map(|i| Ipv4Addr::from_bits(0x0a01_0004 + i)).collect()
    }

    fn shares(table: &MaglevTable, backends: usize) -> Vec<usize> {
        let mut shares = vec![0; backends];
        table.slots.iter().for_each(|&position| shares[usize::from(position)] += 1);
        shares
    }

    #[test]
    fn shares_differ_by_one_slot_at_most() {
        for count in [1, 2, 3, 4, 7, 64, 500, 1024] {
            let table = MaglevTable::build(&addresses(count)).unwrap();
            let shares = shares(&table, count as usize);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{count} backends: {least} to {most}");
            assert!(*least >= SLOTS_PER_BACKEND - 1, "{count} backends: {least}");
        }
    }

    #[test]
    fn a_leaving_backend_moves_little_else() {
        for count in [3_u32, 10, 64] {
            let before = addresses(count);
            let gone = before[1];
            let after: Vec<_> = before.iter().copied().filter(|&ip| ip != gone).collect();
            let (old, new) =
                (MaglevTable::build(&before).unwrap(), MaglevTable::build(&after).unwrap());
            let samples = 100_000_u64;
            let moved = (0..samples).filter(|&i| {
                let hash = mix(i);
                before[old.position(hash)] != after[new.position(hash)]
            });
            let moved = moved.count() as f64 / samples as f64;
            // The share that must move, and what a table of this size moves besides.
            assert!(moved <= 1.0 / f64::from(count) + 0.12, "{count} backends: {moved}");
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let backends = addresses(5);
        let mut reversed = backends.clone();
        reversed.reverse();
        let (a, b) =
            (MaglevTable::build(&backends).unwrap(), MaglevTable::build(&reversed).unwrap());
        for hash in (0..1000).map(mix) {
            assert_eq!(backends[a.position(hash)], reversed[b.position(hash)]);
        }
    }

    #[test]
    fn no_table_for_no_backend() {
        assert_eq!(MaglevTable::build(&[]), None);
    }
}
