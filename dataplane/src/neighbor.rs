//! Which station answers for each next hop: one slot per next hop of the snapshot, shared by all
//! workers, so that an ARP answer that reaches any of them serves them all.
//!
//! A slot is one 64-bit word (station and device, so that they change together) and the ticks of
//! its last confirmation and request. A lookup is one load. A generation with other devices or next
//! hops has slots of its own: what was learned is copied into the next if the next hop and the
//! device are still what they were (I1: a device that changed hands is forgotten, and a worker that
//! still works with the old generation cannot bring it back). Sends no packet itself: `engine` asks
//! and hears, this room remembers.

use alloc::sync::Arc;
use core::net::IpAddr;

use hashbrown::HashMap;

use crate::snapshot::{NextHop, Snapshot};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::types::{DeviceIndex, Hop, HopWord, NeighborIndex, ScopeId, ScopedAddress, Tick};

/// A confirmed hop is used for this long before it is asked for again (RFC 4861's REACHABLE_TIME).
pub const CONFIRMED_TICKS: u32 = 30 * 100;

/// Time between two requests for the same hop (RFC 1122 2.3.2.1 allows one a second).
pub const REQUEST_INTERVAL_TICKS: u32 = 100;

/// A confirmed hop that did not answer for this long is forgotten.
pub const FORGOTTEN_TICKS: u32 = CONFIRMED_TICKS + 10 * REQUEST_INTERVAL_TICKS;

#[derive(Default)]
struct Slot {
    hop: AtomicU64,
    confirmed: AtomicU32,
    requested: AtomicU32,
    /// Since the last confirmation the device was opened or closed, or a backend did not answer.
    doubtful: AtomicBool,
}

impl Slot {
    fn hop(&self) -> Option<Hop> {
        HopWord(self.hop.load(Ordering::Relaxed)).hop()
    }

    fn copy(&self) -> Slot {
        let word = |cell: &AtomicU32| AtomicU32::new(cell.load(Ordering::Relaxed));
        Slot {
            hop: AtomicU64::new(self.hop.load(Ordering::Relaxed)),
            confirmed: word(&self.confirmed),
            requested: word(&self.requested),
            doubtful: AtomicBool::new(self.doubtful.load(Ordering::Relaxed)),
        }
    }

    /// Forgets a hop that was confirmed last at that time; no if an answer came in between.
    fn forget(&self, hop: u64, confirmed: Tick) -> bool {
        let swap = |from, to| {
            let swapped = self.hop.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
            swapped.is_ok()
        };
        if !swap(hop, 0) {
            return false;
        }
        // The same station may have answered: then the word looked as before, and goes back.
        let is_silent = self.confirmed.load(Ordering::Relaxed) == confirmed.0;
        if !is_silent {
            swap(0, hop);
        }
        is_silent
    }
}

/// The next hops of one generation. Positions are those of [`Snapshot::next_hops`]. Clones share
/// them: for generations that agree on next hops and devices.
#[derive(Clone)]
pub struct Neighbors {
    slots: Arc<[Slot]>,
    next_hops: Arc<[NextHop]>,
    by_address: Arc<HashMap<ScopedAddress, NeighborIndex>>,
}

impl Neighbors {
    /// The next hops of `snapshot`, all unresolved.
    #[must_use]
    pub fn first(snapshot: &Snapshot) -> Neighbors {
        Self::build(snapshot, |_| None)
    }

    /// The next hops of `snapshot`, with what is known of those that `old` had under the same
    /// address on a device that has not changed.
    #[must_use]
    pub fn next(&self, old: &Snapshot, snapshot: &Snapshot) -> Neighbors {
        Self::build(snapshot, |next_hop| {
            let slot = &self.slots[self.find(next_hop.scope, next_hop.address)?.slot()];
            let known = slot.hop();
            let same_device = |hop: Hop| {
                let at = hop.device.slot();
                old.devices().get(at).is_some_and(Option::is_some)
                    && old.devices().get(at) == snapshot.devices().get(at)
            };
            known.is_none_or(same_device).then(|| slot.copy())
        })
    }

    /// Whether both are the same next hops, known to either at once.
    #[must_use]
    pub fn is_shared_with(&self, other: &Neighbors) -> bool {
        Arc::ptr_eq(&self.slots, &other.slots)
    }

    fn build(snapshot: &Snapshot, known: impl Fn(&NextHop) -> Option<Slot>) -> Neighbors {
        let next_hops = snapshot.next_hops();
        let index = |at: usize| NeighborIndex(u32::try_from(at).unwrap_or(u32::MAX));
        let keys = next_hops.iter().enumerate();
        let place = |hop: &NextHop| ScopedAddress::new(hop.scope, hop.address);
        Neighbors {
            slots: next_hops.iter().map(|hop| known(hop).unwrap_or_default()).collect(),
            by_address: Arc::new(keys.map(|(at, hop)| (place(hop), index(at))).collect()),
            next_hops: next_hops.into(),
        }
    }

    /// The slot of an address, if anybody needs it.
    #[must_use]
    pub fn find(&self, scope: ScopeId, address: IpAddr) -> Option<NeighborIndex> {
        self.by_address.get(&ScopedAddress::new(scope, address)).copied()
    }

    /// Whom to ask for, and in whose name.
    #[must_use]
    pub fn next_hop(&self, neighbor: NeighborIndex) -> Option<NextHop> {
        self.next_hops.get(neighbor.slot()).copied()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Where frames to the neighbor go, if that is known.
    #[inline]
    #[must_use]
    pub fn lookup(&self, neighbor: NeighborIndex) -> Option<Hop> {
        self.word(neighbor).hop()
    }

    /// As [`Neighbors::lookup`], in one word.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, neighbor: NeighborIndex) -> HopWord {
        let slot = self.slots.get(neighbor.slot());
        slot.map_or(HopWord::NONE, |slot| HopWord(slot.hop.load(Ordering::Acquire)))
    }

    /// Notes that the neighbor answered.
    pub fn confirm(&self, neighbor: NeighborIndex, hop: Hop, now: Tick) {
        if let Some(slot) = self.slots.get(neighbor.slot()) {
            slot.confirmed.store(now.0, Ordering::Relaxed);
            slot.doubtful.store(false, Ordering::Relaxed);
            // A swap, so that a model checker too knows it before or after what forgets the hop.
            slot.hop.swap(HopWord::from(hop).0, Ordering::AcqRel);
        }
    }

    /// Devices that `changed` names were opened or closed: who answered on them before may be
    /// another station or elsewhere by now, and is asked for again. Until the answer comes, the old
    /// station is still used.
    pub fn doubt(&self, changed: impl Fn(DeviceIndex) -> bool) {
        for slot in &*self.slots {
            let hop = slot.hop();
            if hop.is_some_and(|hop| changed(hop.device)) {
                slot.doubtful.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Somebody waits for an answer from behind the neighbor: it may be another station by now.
    pub fn suspect(&self, neighbor: NeighborIndex) {
        if let Some(slot) = self.slots.get(neighbor.slot()) {
            slot.doubtful.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the neighbor should be asked for now: unresolved, in doubt or not confirmed for
    /// long, and not asked for a moment ago. Says yes to one caller only; forgets a neighbor that
    /// stays silent.
    #[must_use]
    pub fn claim_request(&self, neighbor: NeighborIndex, now: Tick) -> bool {
        let Some(slot) = self.slots.get(neighbor.slot()) else {
            return false;
        };
        let confirmed = Tick(slot.confirmed.load(Ordering::Relaxed));
        let silent = now.since(confirmed);
        let hop = slot.hop.load(Ordering::Relaxed);
        let doubtful = slot.doubtful.load(Ordering::Relaxed);
        if hop != 0 && silent < CONFIRMED_TICKS && !doubtful {
            return false;
        }
        let requested = slot.requested.load(Ordering::Relaxed);
        // 0 is "never": an engine's clock may start anywhere.
        if requested != 0 && now.since(Tick(requested)) < REQUEST_INTERVAL_TICKS {
            return false;
        }
        let was_asked = requested != 0 && Tick(requested).since(confirmed) > 0;
        let is_lost = hop != 0 && was_asked && silent >= FORGOTTEN_TICKS;
        if is_lost && !slot.forget(hop, confirmed) {
            return false;
        }
        let stamp = now.0.max(1);
        let swap = |to| {
            slot.requested.compare_exchange(requested, to, Ordering::Relaxed, Ordering::Relaxed)
        };
        swap(stamp).is_ok()
    }
}
