//! Datagrams whose fragments are on their way: what has been seen of each, and fragments that came
//! before the first one (virtual reassembly: nothing is put together).
//!
//! A datagram is known from its first fragment to arrive until all of it has been seen, or for
//! [`FRAGMENT_TICKS`]. Fragments that overlap or contradict each other are refused (RFC 1858 3,
//! RFC 5722 4), and with them the rest of their datagram. What becomes of a datagram is decided by
//! whoever sees its first fragment; this room remembers it and knows neither flows nor bytes.
//!
//! Bounds (I8): memory is fixed at start, [`DATAGRAMS_MAX`] datagrams of [`FRAGMENTS_MAX`]
//! fragments and [`HELD_FRAGMENTS_MAX`] frames. One network has a quarter of either, so that no
//! tenant takes another's (RFC 4787 REQ-14). A search looks at all of them: fragments are rare, and
//! there are few.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use arrayvec::ArrayVec;

use crate::drop_reason::DropReason;
use crate::hash::Keys;
use crate::limits::{
    DATAGRAMS_MAX, FRAGMENT_TICKS, FRAGMENTS_MAX, HELD_FRAGMENTS_MAX, HELD_FRAME_BYTES_MAX,
};
use crate::types::{Address, DeviceIndex, ScopeId, Tick, WorkerId};

/// One network's part of all room: a quarter.
const NETWORKS: usize = 4;

/// What names a datagram (RFC 791 3.2, RFC 8200 4.5), in one virtual network (I1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramKey {
    /// The virtual network that it came from.
    pub scope: ScopeId,
    /// Who sent it.
    pub source: Address,
    /// Whom it is for.
    pub destination: Address,
    /// Its identification.
    pub id: u32,
    /// IP protocol number; 0 for IPv6, of which it is no part.
    pub protocol: u8,
}

impl DatagramKey {
    /// The worker at which fragments between two addresses meet. Not by identification: datagrams
    /// of one flow stay in their order.
    #[must_use]
    pub fn meeting_worker(&self, keys: &Keys, workers: u8) -> WorkerId {
        let [source, destination] = [self.source, self.destination].map(Address::folded);
        let addresses = u64::from(source) << 32 | u64::from(destination);
        let hash = keys.hash(addresses, u64::from(self.scope.0));
        WorkerId((hash % u64::from(workers.max(1))).to_le_bytes()[0])
    }
}

/// The part of a datagram that a fragment carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which bytes of the datagram.
    pub bytes: Range<u16>,
    /// Whether none follow.
    pub is_last: bool,
}

/// A datagram among those that are known, until the next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramIndex(usize);

struct Datagram<C> {
    key: DatagramKey,
    since: Tick,
    parts: ArrayVec<Range<u16>, FRAGMENTS_MAX>,
    total: Option<u16>,
    /// What becomes of it, once that is known.
    course: Option<C>,
}

struct Held {
    key: DatagramKey,
    since: Tick,
    ingress: DeviceIndex,
    length: usize,
    bytes: Box<[u8]>,
}

/// A fragment that waited, and what becomes of its datagram.
pub struct Released<C> {
    /// Its datagram.
    pub key: DatagramKey,
    /// What becomes of that.
    pub course: C,
    /// The device that it came from.
    pub ingress: DeviceIndex,
}

/// See the module's documentation. `C` is what can become of a datagram.
pub struct Datagrams<C> {
    known: Vec<Datagram<C>>,
    held: Vec<Held>,
    free: Vec<Box<[u8]>>,
}

impl<C: Copy> Datagrams<C> {
    /// None known. Memory for waiting frames is touched as it is used.
    #[must_use]
    pub fn new() -> Datagrams<C> {
        let buffer = || vec![0; HELD_FRAME_BYTES_MAX].into_boxed_slice();
        Datagrams {
            known: Vec::with_capacity(DATAGRAMS_MAX),
            held: Vec::with_capacity(HELD_FRAGMENTS_MAX),
            free: (0..HELD_FRAGMENTS_MAX).map(|_| buffer()).collect(),
        }
    }

    /// Whether nothing is known and nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// How many fragments wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Notes that a part of a datagram was seen. A part that overlaps another is refused, and with
    /// it, unless it is the same once more, the whole datagram: the caller's `refused` is what
    /// becomes of it.
    ///
    /// # Errors
    /// It overlaps or contradicts what was seen, or there is no room.
    pub fn see(
        &mut self,
        key: DatagramKey,
        part: &Part,
        now: Tick,
        refused: C,
    ) -> Result<DatagramIndex, DropReason> {
        let found = self.known.iter().position(|datagram| datagram.key == key);
        let at = match found {
            Some(at) => at,
            None => self.enter(key, now)?,
        };
        let datagram = &mut self.known[at];
        match datagram.judge(part) {
            Ok(()) => Ok(DatagramIndex(at)),
            Err(Fault::Same) => Err(DropReason::FragmentOverlap),
            Err(Fault::Overlap) => {
                datagram.course = Some(refused);
                Err(DropReason::FragmentOverlap)
            }
            Err(Fault::TooMany) => {
                datagram.course = Some(refused);
                Err(DropReason::FragmentLimit)
            }
        }
    }

    fn enter(&mut self, key: DatagramKey, now: Tick) -> Result<usize, DropReason> {
        let of_scope = self.known.iter().filter(|datagram| datagram.key.scope == key.scope).count();
        if self.known.len() >= DATAGRAMS_MAX || of_scope >= DATAGRAMS_MAX / NETWORKS {
            return Err(DropReason::FragmentLimit);
        }
        let parts = ArrayVec::new();
        self.known.push(Datagram { key, since: now, parts, total: None, course: None });
        Ok(self.known.len() - 1)
    }

    /// What becomes of a datagram, if that is known.
    #[must_use]
    pub fn course(&self, datagram: DatagramIndex) -> Option<C> {
        self.known.get(datagram.0)?.course
    }

    /// Says what becomes of a datagram, unless that is known.
    pub fn set_course(&mut self, datagram: DatagramIndex, course: C) {
        if let Some(datagram) = self.known.get_mut(datagram.0) {
            datagram.course.get_or_insert(course);
        }
    }

    /// Forgets a datagram if all of it was seen and nothing of it waits.
    pub fn forget_whole(&mut self, datagram: DatagramIndex) {
        let Some(known) = self.known.get(datagram.0) else { return };
        if known.is_whole() && !self.held.iter().any(|held| held.key == known.key) {
            self.known.swap_remove(datagram.0);
        }
    }

    /// Keeps a copy of a fragment until the first one of its datagram comes; `false` if there is no
    /// room for it.
    pub fn hold(
        &mut self,
        datagram: DatagramIndex,
        frame: &[u8],
        ingress: DeviceIndex,
        now: Tick,
    ) -> bool {
        let Some(known) = self.known.get(datagram.0) else { return false };
        let key = known.key;
        let of_scope = self.held.iter().filter(|held| held.key.scope == key.scope).count();
        let length = frame.len();
        if length > HELD_FRAME_BYTES_MAX || of_scope >= HELD_FRAGMENTS_MAX / NETWORKS {
            return false;
        }
        let Some(mut bytes) = self.free.pop() else { return false };
        bytes[..length].copy_from_slice(frame);
        self.held.push(Held { key, since: now, ingress, length, bytes });
        true
    }

    /// The oldest fragment that waited and whose datagram's course is `wanted`; its bytes are given
    /// to `take`.
    pub fn release(
        &mut self,
        wanted: impl Fn(&C) -> bool,
        take: impl FnOnce(&[u8]),
    ) -> Option<Released<C>> {
        let course = |held: &Held| {
            let datagram = self.known.iter().find(|datagram| datagram.key == held.key)?;
            datagram.course.filter(&wanted)
        };
        let found = self.held.iter().enumerate();
        let (at, course) = found.into_iter().find_map(|(at, held)| Some((at, course(held)?)))?;
        let Held { key, ingress, length, bytes, .. } = self.held.remove(at);
        take(&bytes[..length]);
        self.free.push(bytes);
        if let Some(at) = self.known.iter().position(|datagram| datagram.key == key) {
            self.forget_whole(DatagramIndex(at));
        }
        Some(Released { key, course, ingress })
    }

    /// Forgets what has been known for too long; how many fragments waited in vain.
    pub fn expire(&mut self, now: Tick) -> usize {
        let is_old = |since: Tick| now.since(since) >= FRAGMENT_TICKS;
        let before = self.held.len();
        // In the order of their arrival, as they will be sent.
        while self.held.first().is_some_and(|held| is_old(held.since)) {
            self.free.push(self.held.remove(0).bytes);
        }
        let held = &self.held;
        self.known.retain(|datagram| {
            !is_old(datagram.since) || held.iter().any(|held| held.key == datagram.key)
        });
        before - self.held.len()
    }

    /// Forgets everything; how many fragments waited.
    pub fn clear(&mut self) -> usize {
        let count = self.held.len();
        self.free.extend(self.held.drain(..).map(|held| held.bytes));
        self.known.clear();
        count
    }
}

impl<C: Copy> Default for Datagrams<C> {
    fn default() -> Self {
        Self::new()
    }
}

/// What is wrong with a part.
enum Fault {
    /// It was seen before, just so.
    Same,
    Overlap,
    TooMany,
}

impl<C> Datagram<C> {
    fn judge(&mut self, part: &Part) -> Result<(), Fault> {
        let Part { bytes, is_last } = part;
        if self.parts.contains(bytes) {
            return Err(Fault::Same);
        }
        let overlaps = |seen: &Range<u16>| seen.start < bytes.end && bytes.start < seen.end;
        let reaches_beyond = self.total.is_some_and(|total| *is_last || bytes.end > total);
        let ends_before = *is_last && self.parts.iter().any(|seen| seen.end > bytes.end);
        if self.parts.iter().any(overlaps) || reaches_beyond || ends_before {
            return Err(Fault::Overlap);
        }
        self.parts.try_push(bytes.clone()).map_err(|_| Fault::TooMany)?;
        if *is_last {
            self.total = Some(bytes.end);
        }
        Ok(())
    }

    /// Parts do not overlap, so that all was seen when they add up.
    fn is_whole(&self) -> bool {
        let seen: usize = self.parts.iter().map(Range::len).sum();
        self.total.is_some_and(|total| usize::from(total) == seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: u8 = 255;

    fn key(scope: u16, id: u32) -> DatagramKey {
        let (source, destination) = ([10, 0, 1, 1].into(), [10, 0, 0, 5].into());
        DatagramKey { scope: ScopeId(scope), source, destination, id, protocol: 17 }
    }

    fn part(bytes: Range<u16>) -> Part {
        Part { is_last: !bytes.end.is_multiple_of(8), bytes }
    }

    fn see(
        datagrams: &mut Datagrams<u8>,
        id: u32,
        bytes: Range<u16>,
    ) -> Result<DatagramIndex, DropReason> {
        datagrams.see(key(0, id), &part(bytes), Tick(0), REFUSED)
    }

    #[test]
    fn a_datagram_is_forgotten_when_all_of_it_was_seen_in_any_order() {
        let mut datagrams = Datagrams::new();
        for bytes in [16..24, 24..27, 0..16] {
            assert!(!datagrams.is_empty() || bytes.start == 16);
            let seen = see(&mut datagrams, 1, bytes).unwrap();
            datagrams.forget_whole(seen);
        }
        assert!(datagrams.is_empty());
    }

    #[test]
    fn parts_that_overlap_or_contradict_refuse_their_datagram() {
        let cases = [
            (0..16, 8..24),
            (8..16, 0..16),
            (0..64, 8..16),
            (8..16, 0..64),
            // Behind the end, a second end, an end before what was seen.
            (0..20, 24..32),
            (8..20, 24..28),
            (16..24, 8..12),
        ];
        for (before, bad) in cases {
            let mut datagrams = Datagrams::new();
            let seen = see(&mut datagrams, 1, before.clone()).unwrap();
            let refusal = see(&mut datagrams, 1, bad.clone());
            assert_eq!(refusal, Err(DropReason::FragmentOverlap), "{before:?} {bad:?}");
            assert_eq!(datagrams.course(seen), Some(REFUSED));
        }
    }

    #[test]
    fn the_same_part_once_more_is_refused_alone() {
        let mut datagrams = Datagrams::new();
        let seen = see(&mut datagrams, 1, 0..16).unwrap();
        assert_eq!(see(&mut datagrams, 1, 0..16), Err(DropReason::FragmentOverlap));
        assert_eq!(datagrams.course(seen), None);
    }

    #[test]
    fn a_network_has_a_quarter_of_the_room() {
        let mut datagrams = Datagrams::new();
        let quarter = u32::try_from(DATAGRAMS_MAX / 4).unwrap();
        for id in 0..quarter {
            see(&mut datagrams, id, 0..8).unwrap();
        }
        assert_eq!(see(&mut datagrams, quarter, 0..8), Err(DropReason::FragmentLimit));
        let other = datagrams.see(key(1, 0), &part(8..16), Tick(0), REFUSED).unwrap();
        let held = |datagrams: &mut Datagrams<u8>| {
            datagrams.hold(other, b"later", DeviceIndex(3), Tick(0))
        };
        assert!((0..HELD_FRAGMENTS_MAX / 4).all(|_| held(&mut datagrams)));
        assert!(!held(&mut datagrams));
        assert_eq!(datagrams.expire(Tick(FRAGMENT_TICKS)), HELD_FRAGMENTS_MAX / 4);
        assert!(datagrams.is_empty());
    }

    #[test]
    fn too_many_parts_are_refused() {
        let mut datagrams = Datagrams::new();
        let parts = u16::try_from(FRAGMENTS_MAX).unwrap();
        for at in 0..parts {
            see(&mut datagrams, 1, at * 8..at * 8 + 8).unwrap();
        }
        let more = see(&mut datagrams, 1, parts * 8..parts * 8 + 8);
        assert_eq!(more, Err(DropReason::FragmentLimit));
    }

    #[test]
    fn what_waits_is_released_when_its_course_is_known() {
        let mut datagrams = Datagrams::new();
        let seen = see(&mut datagrams, 1, 8..12).unwrap();
        assert!(datagrams.hold(seen, b"later", DeviceIndex(3), Tick(0)));
        assert!(datagrams.release(|_| true, |_| ()).is_none());
        let first = see(&mut datagrams, 1, 0..8).unwrap();
        datagrams.set_course(first, 7);
        datagrams.forget_whole(first);
        assert!(datagrams.release(|course| *course == 8, |_| ()).is_none());
        let mut bytes: Vec<u8> = Vec::new();
        let released = datagrams.release(|course| *course == 7, |held| bytes.extend(held)).unwrap();
        assert_eq!((released.course, released.ingress), (7, DeviceIndex(3)));
        assert_eq!(bytes, b"later");
        assert!(datagrams.is_empty());
    }
}
