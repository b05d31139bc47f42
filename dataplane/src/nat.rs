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
use crate::snapshot::{PoolKey, PoolRow, Snapshot};
use crate::types::{Address, Area, FlowIndex, Lease, PoolIndex, RowIndex, WorkerId};

/// The pools of one generation. A pool keeps its slot for as long as a port of it is leased. Clones
/// share the pools.
#[derive(Clone)]
pub struct Pools {
    slots: Arc<[Option<Arc<Pool>>]>,
    by_key: FixedMap,
    /// Those whose keys have no such words.
    by_wide_key: HashMap<PoolKey, PoolIndex>,
    /// Those that a new flow may lease from, as the snapshot numbers them.
    rows: Arc<[Row]>,
}

/// The pools of a [`PoolRow`], but for those whose place is taken by pools that drain.
#[derive(Clone, Copy, Default)]
struct Row {
    pools: [u16; NAT_IPS_MAX],
    count: u8,
}

impl Row {
    fn of(pools: impl Iterator<Item = PoolIndex>) -> Row {
        let mut row = Row::default();
        for (place, pool) in row.pools.iter_mut().zip(pools) {
            *place = pool.0;
            row.count += 1;
        }
        row
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.count.into()
    }

    #[inline(always)]
    fn get(&self, position: usize) -> Option<PoolIndex> {
        self.pools.get(position).copied().filter(|_| position < self.len()).map(PoolIndex)
    }
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
        let mut pools = Pools { by_key, by_wide_key, slots: slots.into(), rows: Arc::default() };
        pools.rows = snapshot.pool_rows().iter().map(|row| pools.line_up(snapshot, row)).collect();
        pools
    }

    fn line_up(&self, snapshot: &Snapshot, row: &PoolRow) -> Row {
        let PoolRow { service, target, protocol } = *row;
        let Some(service) = snapshot.service(service) else { return Row::default() };
        let scope = service.scope;
        let of_family = service.nat_ips.iter().filter(|nat_ip| nat_ip.family() == target.family());
        let pool = |&nat_ip: &Address| self.find(&PoolKey { scope, nat_ip, target, protocol });
        Row::of(of_family.filter_map(pool))
    }

    #[inline(always)]
    fn row(&self, row: RowIndex) -> Option<&Row> {
        self.rows.get(row.slot())
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

    /// Leases a port of one of the pools of a row: of two that `hash` picks the one with fewer
    /// leases, and when that has none left, of two others that have some. `None` if none has.
    #[inline(always)]
    pub fn lease(
        &self,
        row: RowIndex,
        hash: u64,
        (home, flow): (&Home, FlowIndex),
    ) -> Option<Lease> {
        let row = self.row(row)?;
        match lease_of(self.preferred_of(row, hash)?, (home, flow)) {
            Some(lease) => Some(lease),
            None => self.lease_any(row, (home, flow)),
        }
    }

    /// Another worker has taken the last port of a pool meanwhile.
    #[cold]
    fn lease_any(&self, row: &Row, of: (&Home, FlowIndex)) -> Option<Lease> {
        self.all_of(row).find_map(|pool| lease_of(pool, of))
    }

    /// The pool that a lease is taken from, as far as can be said while others lease.
    #[must_use]
    pub fn preferred(&self, row: RowIndex, hash: u64) -> Option<(PoolIndex, &Pool)> {
        self.preferred_of(self.row(row)?, hash)
    }

    #[inline(always)]
    fn preferred_of(&self, row: &Row, hash: u64) -> Option<(PoolIndex, &Pool)> {
        let preferred = self.emptier(row, two_positions(hash, row.len()));
        preferred.or_else(|| self.emptier_of_open(row, hash))
    }

    /// The one of two pools of a row that has fewer leases, if it has room.
    #[inline(always)]
    fn emptier(&self, row: &Row, (one, other): (usize, usize)) -> Option<(PoolIndex, &Pool)> {
        let (one, other) = (self.at(row, one)?, self.at(row, other)?);
        let emptier = if other.1.leased() < one.1.leased() { other } else { one };
        emptier.1.has_room().then_some(emptier)
    }

    /// The same of two that `hash` picks among those that have room.
    #[cold]
    fn emptier_of_open(&self, row: &Row, hash: u64) -> Option<(PoolIndex, &Pool)> {
        let (mut open, mut number) = ([0; NAT_IPS_MAX], 0);
        for position in 0..row.len() {
            if self.at(row, position).is_some_and(|(_, pool)| pool.has_room()) {
                open[number] = position;
                number += 1;
            }
        }
        let (one, other) = two_positions(hash, number);
        if number == 0 { None } else { self.emptier(row, (open[one], open[other])) }
    }

    /// Ports that are free, over all pools of a row.
    #[must_use]
    pub fn free(&self, row: RowIndex) -> usize {
        let pools = self.row(row).into_iter().flat_map(|row| self.all_of(row));
        pools.map(|(_, pool)| PORTS_PER_POOL.saturating_sub(pool.leased() as usize)).sum()
    }

    /// Counts a newcomer that found no port in any pool of a row, with each of them.
    pub fn refuse(&self, row: RowIndex) {
        let pools = self.row(row).into_iter().flat_map(|row| self.all_of(row));
        pools.for_each(|(_, pool)| pool.refuse());
    }

    /// The pools of a row.
    fn all_of(&self, row: &Row) -> impl Iterator<Item = (PoolIndex, &Pool)> {
        (0..row.len()).filter_map(|position| self.at(row, position))
    }

    /// The pool at a position of a row.
    #[inline(always)]
    fn at(&self, row: &Row, position: usize) -> Option<(PoolIndex, &Pool)> {
        let index = row.get(position)?;
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

    /// Whether both are the same pools in the same slots, as those of a patch are.
    #[must_use]
    pub fn are_shared_with(&self, other: &Pools) -> bool {
        Arc::ptr_eq(&self.slots, &other.slots)
    }

    /// NAT IP and target of each, by its slot.
    pub fn addresses(&self) -> impl Iterator<Item = (PoolIndex, [Address; 2])> {
        let slots = (0..=u16::MAX).map(PoolIndex).zip(&*self.slots);
        slots.filter_map(|(index, pool)| {
            let PoolKey { nat_ip, target, .. } = pool.as_ref()?.key();
            Some((index, [nat_ip, target]))
        })
    }

    /// All pools, those that only drain included.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.slots.iter().flatten().map(|pool| &**pool)
    }
}

/// Leases a port of a pool.
#[inline(always)]
fn lease_of((index, pool): (PoolIndex, &Pool), (home, flow): (&Home, FlowIndex)) -> Option<Lease> {
    let port = pool.lease(home, flow)?;
    Some(Lease { pool: index, port })
}

/// Two positions below `count`, different if there are two, evenly spread over all pairs. Taken
/// from the lower half of the hash: the upper one chose the backend.
fn two_positions(hash: u64, count: usize) -> (usize, usize) {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    let scale = |half: u16, count: usize| (usize::from(half) * count) >> 16;
    let one = scale(u16::from_le_bytes([a, b]), count);
    let step = 1 + scale(u16::from_le_bytes([c, d]), count.saturating_sub(1));
    let other = one + step;
    (one, if other < count { other } else { other.saturating_sub(count) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{
        Balance, Ending, Plan, Refusal, RulePlan, ScopePlan, ServicePlan, Timeouts, Treatment,
    };
    use crate::types::{Protocol, ScopeId};
    use core::net::IpAddr;

    const BACKENDS: [&str; 2] = ["10.1.0.10", "fd00::10"];

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Both services are of one network and have the same backends.
    fn snapshot(nat_ips: [&[&str]; 2]) -> Snapshot {
        let service = |nat_ips: &[&str]| {
            let rule = RulePlan {
                protocol: Protocol::Udp,
                port: 53,
                backend_port: 53,
                floating: None,
                backends: BACKENDS.map(address).to_vec(),
                balance: Balance::default(),
                timeouts: Timeouts::default(),
                ending: Ending::default(),
            };
            ServicePlan {
                scope: ScopeId(0),
                nat_ips: nat_ips.iter().copied().map(address).collect(),
                refusal: Refusal::Silence,
                rules: vec![rule],
                treatment: Treatment::default(),
            }
        };
        let scopes = vec![ScopePlan { address_space: Vec::new(), routes: Vec::new() }];
        let services = nat_ips.into_iter().map(service).collect();
        Snapshot::build(Plan { scopes, services, ..Plan::default() }).unwrap()
    }

    /// One address of IPv6 ends as another service's of IPv4 does.
    #[test]
    fn a_service_leases_from_its_own_nat_ips_of_the_targets_family() {
        let own: [&[&str]; 2] =
            [&["fd00::a02:4", "10.2.0.9", "10.2.0.8"], &["10.2.0.4", "fd00::a02:9"]];
        let snapshot = snapshot(own);
        let pools = Pools::first(&snapshot, 1);
        let home = Home::new(WorkerId(0), 1);
        for (at, own) in (0..).zip(own) {
            let service = crate::types::ServiceIndex(at);
            for target in BACKENDS.map(|text| Address::from(address(text))) {
                let own = own.iter().copied().map(|text| Address::from(address(text)));
                let own: BTreeSet<Address> =
                    own.filter(|nat_ip| nat_ip.family() == target.family()).collect();
                let wanted = PoolRow { service, target, protocol: Protocol::Udp };
                let row = snapshot.pool_rows().iter().position(|row| *row == wanted).unwrap();
                let row = RowIndex(row.try_into().unwrap());
                assert_eq!(pools.free(row), own.len() * PORTS_PER_POOL);
                let lease = |turn: u32| {
                    let hash = u64::from(turn).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let of = (&home, FlowIndex(turn));
                    let lease = pools.lease(row, hash, of).unwrap();
                    pools.pool(lease.pool).unwrap().key().nat_ip
                };
                assert_eq!((0..100).map(lease).collect::<BTreeSet<_>>(), own);
            }
        }
    }
}
