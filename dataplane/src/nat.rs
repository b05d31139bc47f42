//! Port leases: which (NAT IP, port) towards whom is held by which flow (I2).
//!
//! There is one [`Pool`] for each (NAT IP, target, protocol), with a lease for every port from 1024
//! to 65,535; the target is a backend, or a frontend that floats before its backends. Pools are
//! shared by all workers and outlive the generation that made them; a lease is one atomic claim on
//! a bitmap. Blocks of 64 ports are a worker's home by their number, so that workers do not meet on
//! a bitmap word (and a kernel filter can steer returning packets by their port); when its home is
//! full a worker leases from anybody's, so that no port is ever out of reach. Who holds a port is
//! read from the port's own entry: the return path needs no hash.
//!
//! Knows no bytes and no flows: a holder is a number that the engine understands.

mod pool;
mod usage;

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;

pub use pool::{Holder, Home, Pool};
pub use usage::{Lack, Usage, Usages};

use crate::hash::FixedMap;
use crate::limits::{NAT_IPS_MAX, POOLS_MAX, PORTS_PER_POOL};
use crate::snapshot::{PoolKey, Service, Snapshot};
use crate::types::{Address, Area, FlowIndex, Lease, PoolIndex, Protocol, WorkerId};

/// The pools of one generation. A pool keeps its slot for as long as a port of it is leased. Clones
/// share the pools.
#[derive(Clone)]
pub struct Pools {
    slots: Arc<[Option<Arc<Pool>>]>,
    by_key: FixedMap,
    /// Those whose keys have no such words.
    by_wide_key: HashMap<PoolKey, PoolIndex>,
}

impl Pools {
    /// Empty pools for every key of the snapshot.
    #[must_use]
    pub fn first(snapshot: &Snapshot, seed: u64) -> Pools {
        Self::build(Vec::new(), snapshot, seed)
    }

    /// The pools of a new snapshot: those that stay keep their leases and slots; those that go keep
    /// theirs until nothing is leased, and lease no more. A pool that could be leased from until
    /// now is kept in any case: a worker that works with the old snapshot a little longer may still
    /// do so, and the next change will see it.
    #[must_use]
    pub fn next(&self, snapshot: &Snapshot, seed: u64) -> Pools {
        let wanted = |pool: &Arc<Pool>| {
            let was_wanted = self.find(&pool.key()).is_some();
            let is_wanted = snapshot.pool_keys().binary_search(&pool.key()).is_ok();
            pool.leased() > 0 || was_wanted || is_wanted
        };
        let kept = self.slots.iter().map(|slot| slot.as_ref().filter(|pool| wanted(pool)).cloned());
        Self::build(kept.collect(), snapshot, seed)
    }

    fn build(mut slots: Vec<Option<Arc<Pool>>>, snapshot: &Snapshot, seed: u64) -> Pools {
        let pools = slots.iter().flatten();
        let existing: BTreeSet<PoolKey> = pools.map(|pool| pool.key()).collect();
        let keys = snapshot.pool_keys().iter().copied();
        let missing: Vec<PoolKey> = keys.filter(|key| !existing.contains(key)).collect();
        // A plan has no more than there may be, but pools that drain may have taken the place of
        // some: those have no port to lease until the next generation.
        let room = POOLS_MAX.saturating_sub(existing.len());
        let missing = missing.get(..room).unwrap_or(&missing);
        let mut free = 0;
        for pool in Pool::build(missing, seed) {
            while slots.get(free).is_some_and(Option::is_some) {
                free += 1;
            }
            let pool = Some(Arc::new(pool));
            match slots.get_mut(free) {
                Some(slot) => *slot = pool,
                None => slots.push(pool),
            }
        }
        let numbered = slots.iter().enumerate();
        let filled = numbered.filter_map(|(at, pool)| Some((at, pool.as_ref()?.key())));
        let wanted = filled.filter(|(_, key)| snapshot.pool_keys().binary_search(key).is_ok());
        let index = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        let (mut entries, mut by_wide_key) = (Vec::new(), HashMap::new());
        for (at, key) in wanted {
            match key.words() {
                Some(words) => entries.push((words, index(at).into())),
                None => drop(by_wide_key.insert(key, PoolIndex(index(at)))),
            }
        }
        let by_key = FixedMap::build(&entries);
        Pools { by_key, by_wide_key, slots: slots.into() }
    }

    /// The slot of a pool that may be leased from.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, key: &PoolKey) -> Option<PoolIndex> {
        match key.words() {
            Some(words) => self.find_words(words),
            None => self.by_wide_key.get(key).copied(),
        }
    }

    /// The same, by [`PoolKey::words`].
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "there are no more than POOLS_MAX")]
    pub fn find_words(&self, (high, low): (u64, u32)) -> Option<PoolIndex> {
        let slot = self.by_key.get(high, low)?;
        Some(PoolIndex(slot as u16))
    }

    /// Leases a port of one of the service's NAT IPs towards a target: of two that `hash` picks
    /// the one with fewer leases, and when that has none left, of two others that have some. `None`
    /// if none has.
    pub fn lease(
        &self,
        service: &Service,
        target: Address,
        protocol: Protocol,
        hash: u64,
        (home, flow): (&Home, FlowIndex),
    ) -> Option<Lease> {
        let lease = |(index, pool): (PoolIndex, &Pool)| {
            let port = pool.lease(home, flow)?;
            Some(Lease { pool: index, nat_ip: pool.key().nat_ip, port })
        };
        let preferred = self.preferred(service, target, protocol, hash)?;
        // Another worker may take its last port meanwhile.
        lease(preferred).or_else(|| {
            let mut all = 0..service.nat_ips.len();
            all.find_map(|at| self.towards(service, at, (target, protocol)).and_then(lease))
        })
    }

    /// The pool that a lease is taken from, as far as can be said while others lease.
    #[must_use]
    pub fn preferred(
        &self,
        service: &Service,
        target: Address,
        protocol: Protocol,
        hash: u64,
    ) -> Option<(PoolIndex, &Pool)> {
        let find = |position: usize| self.towards(service, position, (target, protocol));
        let of_two = |(one, other): (usize, usize)| {
            let (one, other) = (find(one), find(other));
            let leased =
                |of: Option<(PoolIndex, &Pool)>| of.map_or(u32::MAX, |(_, pool)| pool.leased());
            let emptier = if leased(other) < leased(one) { other } else { one };
            emptier.filter(|(_, pool)| pool.has_room())
        };
        let count = service.nat_ips.len();
        of_two(two_positions(hash, count)).or_else(|| {
            let (mut open, mut number) = ([0; NAT_IPS_MAX], 0);
            for position in (0..count).take(NAT_IPS_MAX) {
                if find(position).is_some_and(|(_, pool)| pool.has_room()) {
                    open[number] = position;
                    number += 1;
                }
            }
            let (one, other) = two_positions(hash, number);
            if number == 0 { None } else { of_two((open[one], open[other])) }
        })
    }

    /// Ports that are free towards a target, over all of the service's NAT IPs.
    #[must_use]
    pub fn free(&self, service: &Service, target: Address, protocol: Protocol) -> usize {
        let positions = 0..service.nat_ips.len();
        let pools = positions.filter_map(|at| self.towards(service, at, (target, protocol)));
        pools.map(|(_, pool)| PORTS_PER_POOL.saturating_sub(pool.leased() as usize)).sum()
    }

    /// Counts a newcomer that found no port of any of the service's NAT IPs, with each of them.
    pub fn refuse(&self, service: &Service, target: Address, protocol: Protocol) {
        for position in 0..service.nat_ips.len() {
            if let Some((_, pool)) = self.towards(service, position, (target, protocol)) {
                pool.refuse();
            }
        }
    }

    /// The pool of a service's NAT IP towards a target.
    fn towards(
        &self,
        service: &Service,
        position: usize,
        (target, protocol): (Address, Protocol),
    ) -> Option<(PoolIndex, &Pool)> {
        let nat_ip = *service.nat_ips.get(position)?;
        let index = self.find(&PoolKey { scope: service.scope, nat_ip, target, protocol })?;
        Some((index, self.pool(index)?))
    }

    /// The pool in a slot, whether or not it may still be leased from.
    #[inline]
    #[must_use]
    pub fn pool(&self, index: PoolIndex) -> Option<&Pool> {
        self.slots.get(index.slot())?.as_deref()
    }

    /// Gives back every port that a worker holds, see [`Pool::release_all`].
    pub fn release_all(&self, worker: WorkerId) {
        self.iter().for_each(|pool| pool.release_all(worker));
    }

    /// Starts loading the entry of a port.
    #[inline(always)]
    pub fn prefetch_holder(&self, index: PoolIndex, port: u16) {
        if let Some(pool) = self.pool(index) {
            pool.prefetch_holder(port);
        }
    }

    /// Where the entries lie that returning packets read at random places: adjacent pools in one
    /// piece.
    #[must_use]
    pub fn areas(&self) -> Vec<Area> {
        let mut areas: Vec<Area> = self.iter().map(Pool::area).collect();
        areas.sort_unstable_by_key(|area| area.start);
        areas.dedup_by(|next, area| {
            let is_adjacent = area.start + area.bytes == next.start;
            area.bytes += if is_adjacent { next.bytes } else { 0 };
            is_adjacent
        });
        areas
    }

    /// All pools, those that only drain included.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.slots.iter().flatten().map(|pool| &**pool)
    }
}

/// Two positions below `count`, different if there are two, evenly spread over all pairs. Taken
/// from the lower half of the hash: the upper one chose the backend.
fn two_positions(hash: u64, count: usize) -> (usize, usize) {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    let scale = |half: u16, count: usize| (usize::from(half) * count) >> 16;
    let one = scale(u16::from_le_bytes([a, b]), count);
    let step = 1 + scale(u16::from_le_bytes([c, d]), count.saturating_sub(1));
    (one, (one + step) % count.max(1))
}
