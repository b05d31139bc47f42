//! The virtual clock: what happens next, and when. Equal times keep the order in which they were
//! noted down, so that a seed decides everything.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Nanoseconds since the world began.
pub(super) type Nanos = u64;

/// A microsecond.
pub(super) const MICRO: Nanos = 1_000;
/// A millisecond.
pub(super) const MILLI: Nanos = 1_000_000;
/// A second.
pub(super) const SECOND: Nanos = 1_000_000_000;

struct Entry<T> {
    at: Nanos,
    serial: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// What is to happen.
pub(super) struct Agenda<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    serial: u64,
}

impl<T> Agenda<T> {
    pub(super) fn new() -> Agenda<T> {
        Agenda { entries: BinaryHeap::new(), serial: 0 }
    }

    pub(super) fn note(&mut self, at: Nanos, what: T) {
        self.serial += 1;
        self.entries.push(Reverse(Entry { at, serial: self.serial, what }));
    }

    /// The next thing to happen.
    pub(super) fn next(&mut self) -> Option<(Nanos, T)> {
        self.entries.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }

    /// When it is.
    pub(super) fn next_at(&self) -> Option<Nanos> {
        self.entries.peek().map(|Reverse(entry)| entry.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_equals_keep_their_order() {
        let mut agenda = Agenda::new();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            agenda.note(at, what);
        }
        assert_eq!(agenda.next_at(), Some(1));
        let all: String = std::iter::from_fn(|| agenda.next()).map(|(_, what)| what).collect();
        assert_eq!(all, "abcd");
    }
}
