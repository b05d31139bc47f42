//! The table of shortcuts that the program reads while adit writes it, in place and without a
//! system call.
//!
//! A key has two buckets of [`SLOTS_PER_BUCKET`] slots; the first one is filled first. A slot is
//! written under its serial number, which is odd meanwhile: a reader takes what it copied only if
//! the number was even before and is the same afterwards. Taking a shortcut back is one store.
//! Where both buckets are full, one of their slots moves to its other bucket; so eight tenths of
//! the table can be used before a key in a thousand finds no place. One writer at a time.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::slot::{BUCKETS, Key, Passed, SLOTS_PER_BUCKET, Slot};
use super::sys::{Words, key_words, slot_of, slot_words};

/// Words of a slot.
pub(super) const SLOT_WORDS: usize = size_of::<Slot>() / size_of::<u64>();

/// Words of what is counted for one.
pub(super) const PASSED_WORDS: usize = size_of::<Passed>() / size_of::<u64>();

/// Slots of the table.
pub(super) const SLOTS: usize = BUCKETS * SLOTS_PER_BUCKET;

/// See the module's documentation.
pub(super) struct Table {
    slots: Words,
    carried: Words,
    seeds: [u64; 2],
}

impl Table {
    /// Of the program's maps, mapped into adit's memory.
    pub(super) fn new(slots: Words, carried: Words, seeds: [u64; 2]) -> Table {
        Table { slots, carried, seeds }
    }

    /// Writes a shortcut, in place of one with the same key; `false` if there is no room for it.
    pub(super) fn install(&mut self, slot: &Slot) -> bool {
        let known = self.find(&slot.key).or_else(|| self.vacant(&slot.key));
        let Some(at) = known.or_else(|| self.make_room(&slot.key)) else { return false };
        self.begin(at, slot);
        true
    }

    /// Takes a shortcut back, and says what it carried; `None` if there is none.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Passed> {
        let at = self.find(key)?;
        self.free(at);
        let [packets, bytes] = self.carried.of(at, PASSED_WORDS) else { return None };
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Some(Passed { packets: load(packets), bytes: load(bytes) })
    }

    /// When a shortcut last carried a packet, on the clock that never goes back; 0: not yet.
    pub(super) fn last_used_nanos(&self, key: &Key) -> Option<u64> {
        Some(self.read(self.find(key)?).last_used_nanos)
    }

    fn find(&self, key: &Key) -> Option<usize> {
        let wanted = key_words(key);
        self.places(key).find(|&at| match self.slots.of(at, SLOT_WORDS) {
            [head, first, second, ..] => {
                let (_, epoch) = halves(head.load(Ordering::Relaxed));
                let known = [first, second].map(|word| word.load(Ordering::Relaxed));
                epoch != 0 && known == wanted
            }
            _ => false,
        })
    }

    /// A free slot for a key.
    fn vacant(&self, key: &Key) -> Option<usize> {
        self.places(key).find(|&at| self.read(at).epoch == 0)
    }

    /// Frees a slot for a key by moving what is there to its other bucket.
    fn make_room(&mut self, key: &Key) -> Option<usize> {
        let mut moves = self.places(key).map(|at| (at, self.read(at)));
        let found = moves.find_map(|(at, slot)| Some((at, slot, self.vacant(&slot.key)?)));
        let (from, slot, to) = found?;
        self.begin(to, &slot);
        self.free(from);
        // What the program noted there meanwhile.
        let late = self.read(from).last_used_nanos;
        if let [.., last_used] = self.slots.of(to, SLOT_WORDS) {
            last_used.fetch_max(late, Ordering::Relaxed);
        }
        let counts = self.carried.of(from, PASSED_WORDS).iter();
        for (before, now) in counts.zip(self.carried.of(to, PASSED_WORDS)) {
            now.fetch_add(before.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Some(from)
    }

    /// Writes a shortcut that has carried nothing where there is none.
    fn begin(&mut self, at: usize, slot: &Slot) {
        for count in self.carried.of(at, PASSED_WORDS) {
            count.store(0, Ordering::Relaxed);
        }
        self.write(at, slot);
    }

    /// When this returns, no packet finds what is in a slot.
    fn free(&mut self, at: usize) {
        if let Some(head) = self.slots.of(at, SLOT_WORDS).first() {
            let (serial, _) = halves(head.load(Ordering::Relaxed));
            // Seen by all processors before anything that is done next.
            head.store(join(serial.wrapping_add(2), 0), Ordering::SeqCst);
        }
    }

    /// The slots that a key may be in, in the order in which they are taken.
    fn places(&self, key: &Key) -> impl Iterator<Item = usize> + use<> {
        let buckets = key.buckets(&self.seeds).into_iter();
        let first = buckets.map(|bucket| bucket as usize * SLOTS_PER_BUCKET);
        first.flat_map(|first| first..first + SLOTS_PER_BUCKET)
    }

    fn read(&self, at: usize) -> Slot {
        let mut words = [0; SLOT_WORDS];
        for (word, known) in words.iter_mut().zip(self.slots.of(at, SLOT_WORDS)) {
            *word = known.load(Ordering::Relaxed);
        }
        slot_of(words)
    }

    fn write(&mut self, at: usize, slot: &Slot) {
        let [head, rest @ ..] = self.slots.of(at, SLOT_WORDS) else { return };
        let [_, values @ ..] = slot_words(slot);
        let (serial, _) = halves(head.load(Ordering::Relaxed));
        let begun = serial.wrapping_add(1);
        head.store(join(begun, 0), Ordering::Relaxed);
        // Whoever sees a word of the new shortcut sees that its serial number is odd.
        fence(Ordering::Release);
        for (word, value) in rest.iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        head.store(join(begun.wrapping_add(1), slot.epoch), Ordering::Release);
    }
}

/// Serial number and epoch, the first two fields of a slot, as they lie in its first word.
fn join(serial: u32, epoch: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (serial.to_ne_bytes(), epoch.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn halves(word: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fast_path::{Course, InterfaceNumber, Shortcut, ShortcutKey};
    use crate::types::{AccountIndex, Direction, MacAddress, Protocol, ScopeId};
    use std::net::{Ipv4Addr, SocketAddrV4};

    fn shortcut(port: u16) -> Shortcut {
        let course = |from, to| Course {
            source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, from), port),
            destination: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, to), 443),
        };
        Shortcut {
            key: ShortcutKey { scope: ScopeId(1), protocol: Protocol::Tcp, arrives: course(1, 2) },
            from: None,
            leaves: course(3, 4),
            by: InterfaceNumber(5),
            to: MacAddress::ZERO,
            mtu: 1_500,
            account: AccountIndex(0),
            way: Direction::Return,
            counts: true,
        }
    }

    fn table() -> Table {
        let words = |count| Words::anonymous(count).unwrap();
        Table::new(words(SLOTS * SLOT_WORDS), words(SLOTS * PASSED_WORDS), [1, 2])
    }

    #[test]
    fn a_slot_is_read_as_it_was_written_and_gone_when_it_is_removed() {
        let mut table = table();
        let slots: Vec<Slot> = (1..1_000).map(|port| Slot::of(&shortcut(port), 7)).collect();
        assert!(slots.iter().all(|slot| table.install(slot)));
        for slot in &slots {
            let at = table.find(&slot.key).unwrap();
            let mut read = table.read(at);
            assert_eq!(std::mem::take(&mut read.serial), 2);
            assert_eq!(read, *slot);
            assert_eq!(table.last_used_nanos(&slot.key), Some(0));
            table.carried.of(at, PASSED_WORDS)[0].store(3, Ordering::Relaxed);
            assert_eq!(table.remove(&slot.key), Some(Passed { packets: 3, bytes: 0 }));
            assert_eq!((table.remove(&slot.key), table.last_used_nanos(&slot.key)), (None, None));
            assert_eq!(table.read(at).serial, 4);
        }
        assert!(slots.iter().all(|slot| table.install(slot)));
        assert_eq!(table.remove(&slots[0].key), Some(Passed::default()), "counted anew");
    }

    #[test]
    fn a_key_that_comes_again_takes_its_own_slot() {
        let mut table = table();
        let (one, other) = (Slot::of(&shortcut(1), 7), Slot::of(&shortcut(1), 8));
        assert!(table.install(&one) && table.install(&other));
        assert_eq!(table.remove(&one.key), Some(Passed::default()));
        assert_eq!(table.remove(&one.key), None);
    }

    #[test]
    fn a_slot_moves_to_its_other_bucket_with_all_that_it_knows_to_make_room() {
        let mut table = table();
        let wanted = Slot::of(&shortcut(1), 7);
        let places: Vec<usize> = table.places(&wanted.key).collect();
        assert_eq!(places.len(), 2 * SLOTS_PER_BUCKET);
        for (port, &at) in (2..).zip(&places) {
            let mut slot = Slot::of(&shortcut(port), 7);
            slot.last_used_nanos = 5;
            table.begin(at, &slot);
            table.carried.of(at, PASSED_WORDS)[1].store(port.into(), Ordering::Relaxed);
        }
        assert!(table.install(&wanted));
        assert_eq!(table.read(places[0]).key, wanted.key);
        let moved = Slot::of(&shortcut(2), 7).key;
        assert_eq!(table.last_used_nanos(&moved), Some(5));
        assert_eq!(table.remove(&moved), Some(Passed { packets: 0, bytes: 2 }));
        assert_eq!(table.remove(&wanted.key), Some(Passed::default()));
    }

    #[test]
    fn a_table_that_is_eight_tenths_full_has_room_for_nearly_all() {
        let mut table = table();
        let count = SLOTS / 10 * 8;
        let slot = |number: usize| {
            let [low, high, wide, _] = u32::try_from(number).unwrap().to_le_bytes();
            let mut shortcut = shortcut(u16::from_le_bytes([low, high]));
            shortcut.key.scope = ScopeId(wide.into());
            Slot::of(&shortcut, 7)
        };
        let refused = (0..count).filter(|&number| !table.install(&slot(number))).count();
        assert!(refused * 1_000 < count, "{refused} of {count}");
        let lost = (0..count).filter(|&number| table.remove(&slot(number).key).is_none()).count();
        assert_eq!(lost, refused, "whoever moved is found");
    }

    /// The values are those of another program that computes the same.
    #[test]
    fn the_hash_is_that_of_the_program() {
        let buckets = |port| Slot::of(&shortcut(port), 7).key.buckets(&[1, 2]);
        assert_eq!(
            [buckets(1), buckets(2), buckets(40_000)],
            [[3710, 46513], [25557, 27571], [26394, 14867]]
        );
    }
}
