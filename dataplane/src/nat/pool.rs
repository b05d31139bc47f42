//! One port pool: a two-level bitmap of what is leased, and who holds each port.
//!
//! 1,008 leaf words of 64 ports and 16 summary words that say which leaves have a free port. A
//! lease looks at no more than the rest of one leaf, 34 summary words and one leaf again, whatever
//! the fill (I8); a release at one of each. Leases run through the ports from a start that the seed
//! chose (RFC 6056 3.3.1) and come back to a port only after all others, so that reuse is as late
//! as possible (RFC 6888 REQ-8).
//!
//! Workers share a pool without a lock. A set leaf bit is the lease itself; the summary is a hint
//! that may lag for an instant, and a lease that finds it wrong tries on.

use alloc::boxed::Box;

use crate::limits::{BLOCKS_PER_POOL, PORT_FIRST, PORTS_PER_BLOCK, PORTS_PER_POOL, WORKERS_MAX};
use crate::prefetch::prefetch;
use crate::snapshot::PoolKey;
use crate::sync::{AtomicU16, AtomicU32, AtomicU64, Ordering, Table, zeroed, zeroed_tables};
use crate::types::{Address, Area, FlowIndex, WorkerId};

const SUMMARY_WORDS: usize = BLOCKS_PER_POOL.div_ceil(64);

/// A leaf without a free port.
const FULL: u64 = u64::MAX >> (64 - PORTS_PER_BLOCK);

/// Which flow of which worker holds a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The worker that owns the flow.
    pub worker: WorkerId,
    /// The flow in that worker's table.
    pub flow: FlowIndex,
}

impl Holder {
    const WORKER_BITS: u32 = 6;

    /// Packs into 32 bits, never 0: six bits of worker, 26 of flow plus one.
    fn pack(self) -> u32 {
        (u32::from(self.worker.0) << (32 - Self::WORKER_BITS)) | (self.flow.0 + 1)
    }

    fn unpack(word: u32) -> Option<Holder> {
        let flow = word & (u32::MAX >> Self::WORKER_BITS);
        let worker = WorkerId((word >> (32 - Self::WORKER_BITS)).to_le_bytes()[0]);
        (flow != 0).then(|| Holder { worker, flow: FlowIndex(flow - 1) })
    }
}

/// The blocks that a worker leases from first: those whose number is its own modulo the number of
/// workers.
#[derive(Clone, Debug)]
pub struct Home {
    worker: WorkerId,
    masks: [u64; SUMMARY_WORDS],
}

impl Home {
    /// The home of `worker` among `workers` of them.
    #[must_use]
    pub fn new(worker: WorkerId, workers: u8) -> Home {
        let mut masks = [0; SUMMARY_WORDS];
        for block in (0..BLOCKS_PER_POOL).filter(|block| Self::owner(*block, workers) == worker) {
            masks[block / 64] |= 1 << (block % 64);
        }
        Home { worker, masks }
    }

    fn owner(block: usize, workers: u8) -> WorkerId {
        WorkerId((block % usize::from(workers.max(1))).to_le_bytes()[0])
    }
}

/// The leases of one (NAT IP, target, protocol). See the module's documentation.
///
/// What a lease asks for lies in as few cache lines as there can be: there are many pools, and
/// leases come from all of them in turn.
#[repr(C, align(64))]
pub struct Pool {
    leased: AtomicU32,
    /// A set bit is a port that is leased.
    leaves: Box<[AtomicU64]>,
    holders: Holders,
    /// Position behind each worker's last lease, where it goes on.
    cursors: [AtomicU16; WORKERS_MAX],
    key: PoolKey,
    /// A set bit is a leaf that may have a free port.
    summary: [AtomicU64; SUMMARY_WORDS],
    refused: AtomicU64,
}

/// Who holds each port of a pool.
type Holders = Table<AtomicU32, PORTS_PER_POOL>;

impl Pool {
    /// A pool for each of these keys, with nothing leased. Memory is touched as ports are leased.
    /// The entries of all of them lie side by side, because a packet reads any of them.
    pub fn build(keys: &[PoolKey], seed: u64) -> impl Iterator<Item = Pool> {
        let holders = zeroed_tables(keys.len()).into_iter();
        keys.iter().zip(holders).map(move |(key, holders)| Pool::of(*key, seed, holders))
    }

    /// A pool by itself.
    #[must_use]
    pub fn new(key: PoolKey, seed: u64) -> Pool {
        let pool = Pool::build(&[key], seed).next();
        pool.unwrap_or_else(|| unreachable!("one key is one pool"))
    }

    fn of(key: PoolKey, seed: u64, holders: Holders) -> Pool {
        let start = start(&key, seed);
        let full_words = BLOCKS_PER_POOL / 64;
        let rest = (1_u64 << (BLOCKS_PER_POOL % 64)) - 1;
        Pool {
            key,
            leased: AtomicU32::new(0),
            refused: AtomicU64::new(0),
            cursors: core::array::from_fn(|_| AtomicU16::new(start)),
            summary: core::array::from_fn(|word| {
                AtomicU64::new(if word < full_words { u64::MAX } else { rest })
            }),
            leaves: zeroed(BLOCKS_PER_POOL),
            holders,
        }
    }

    /// What the pool is for.
    #[must_use]
    pub fn key(&self) -> PoolKey {
        self.key
    }

    /// Bytes of memory when full.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(self) + size_of_val(&*self.leaves) + size_of_val(&*self.holders)
    }

    /// Where the entries of its ports lie.
    #[must_use]
    pub fn area(&self) -> Area {
        Area::of(self.holders.as_ptr(), self.holders.len())
    }

    /// How many ports are leased now.
    #[inline]
    #[must_use]
    pub fn leased(&self) -> u32 {
        self.leased.load(Ordering::Relaxed)
    }

    /// Whether a port is free, as far as can be said while others lease.
    #[must_use]
    pub fn has_room(&self) -> bool {
        (self.leased() as usize) < PORTS_PER_POOL
    }

    /// How many newcomers were refused because neither this pool nor another that would have done
    /// had a port left.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts one of those.
    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Leases the next free port behind the worker's last one, in its home while that has one;
    /// `None` if every port of the pool is leased.
    pub fn lease(&self, home: &Home, flow: FlowIndex) -> Option<u16> {
        let holder = Holder { worker: home.worker, flow };
        let cursor = self.cursors.get(usize::from(home.worker.0))?;
        let position = self.claim(usize::from(cursor.load(Ordering::Relaxed)), &home.masks)?;
        self.leased.fetch_add(1, Ordering::Relaxed);
        self.holders[position].store(holder.pack(), Ordering::Release);
        let next = (position + 1) % PORTS_PER_POOL;
        cursor.store(u16::try_from(next).unwrap_or(0), Ordering::Relaxed);
        Some(port_at(position))
    }

    /// Gives a leased port back. Does nothing if `holder` does not hold it, so that a lease can
    /// never be released by somebody else.
    pub fn release(&self, port: u16, holder: Holder) -> bool {
        let Some(position) = position_of(port) else {
            return false;
        };
        let entry = &self.holders[position];
        let held = entry.compare_exchange(holder.pack(), 0, Ordering::AcqRel, Ordering::Relaxed);
        if held.is_err() {
            return false;
        }
        let (block, bit) = (position / PORTS_PER_BLOCK, position % PORTS_PER_BLOCK);
        let before = self.leaves[block].fetch_and(!(1 << bit), Ordering::AcqRel);
        if before == FULL {
            self.summary[block / 64].fetch_or(1 << (block % 64), Ordering::AcqRel);
        }
        self.leased.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Gives back every port that a worker holds. For a worker that has ended, whose flows are gone
    /// without having released them; a walk over all ports.
    pub fn release_all(&self, worker: WorkerId) {
        if self.leased() == 0 {
            return;
        }
        for (port, entry) in (PORT_FIRST..=u16::MAX).zip(self.holders.iter()) {
            let holder = Holder::unpack(entry.load(Ordering::Acquire));
            if let Some(holder) = holder.filter(|holder| holder.worker == worker) {
                self.release(port, holder);
            }
        }
    }

    /// Who holds a port.
    #[inline]
    #[must_use]
    pub fn holder(&self, port: u16) -> Option<Holder> {
        Holder::unpack(self.holders[position_of(port)?].load(Ordering::Acquire))
    }

    /// Starts loading the entry of a port.
    #[inline(always)]
    pub(super) fn prefetch_holder(&self, port: u16) {
        if let Some(entry) = position_of(port).and_then(|position| self.holders.get(position)) {
            prefetch(entry);
        }
    }

    /// Counts the leases port by port, to be compared with [`Pool::leased`] when no worker runs.
    #[must_use]
    pub fn count_leases(&self) -> u32 {
        self.leaves.iter().map(|leaf| leaf.load(Ordering::Relaxed).count_ones()).sum()
    }

    /// Finds and claims a free port: the rest of the cursor's leaf, then a round over the home,
    /// then a round over all blocks.
    fn claim(&self, from: usize, home: &[u64; SUMMARY_WORDS]) -> Option<usize> {
        let block = from / PORTS_PER_BLOCK;
        if home[block / 64] >> (block % 64) & 1 == 1 {
            let rest = u64::MAX << (from % PORTS_PER_BLOCK);
            if let Some(position) = self.claim_in(block, rest) {
                return Some(position);
            }
        }
        let everywhere = [u64::MAX; SUMMARY_WORDS];
        self.claim_round(block + 1, home).or_else(|| self.claim_round(block + 1, &everywhere))
    }

    /// Claims in the first block at or behind `block`, round the end, that the mask and the summary
    /// both name. Looks at the first word twice: its upper part first, its lower part last.
    fn claim_round(&self, block: usize, masks: &[u64; SUMMARY_WORDS]) -> Option<usize> {
        let first = block / 64 % SUMMARY_WORDS;
        let upper = u64::MAX << (block % 64);
        for turn in 0..=SUMMARY_WORDS {
            let word = (first + turn) % SUMMARY_WORDS;
            let part = match turn {
                0 => upper,
                SUMMARY_WORDS => !upper,
                _ => u64::MAX,
            };
            let mut candidates = self.summary[word].load(Ordering::Acquire) & masks[word] & part;
            // With one worker the first candidate has a free port; beside others it may just have
            // lost it.
            while candidates != 0 {
                let bit = candidates.trailing_zeros() as usize;
                if let Some(position) = self.claim_in(word * 64 + bit, u64::MAX) {
                    return Some(position);
                }
                candidates &= candidates - 1;
            }
        }
        None
    }

    /// Claims the lowest free port of a block among those that `among` names.
    fn claim_in(&self, block: usize, among: u64) -> Option<usize> {
        let leaf = &self.leaves[block];
        let mut taken = leaf.load(Ordering::Acquire);
        loop {
            let free = !taken & FULL & among;
            if free == 0 {
                return None;
            }
            let bit = free.trailing_zeros();
            let claimed = taken | 1 << bit;
            match leaf.compare_exchange(taken, claimed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    if claimed == FULL {
                        self.mark_full(block);
                    }
                    return Some(block * PORTS_PER_BLOCK + bit as usize);
                }
                Err(now) => taken = now,
            }
        }
    }

    /// Takes a full block out of the summary. A release that came in between is seen by looking
    /// again, so that no free port is ever hidden.
    fn mark_full(&self, block: usize) {
        let (word, bit) = (&self.summary[block / 64], 1 << (block % 64));
        word.fetch_and(!bit, Ordering::AcqRel);
        if self.leaves[block].load(Ordering::Acquire) != FULL {
            word.fetch_or(bit, Ordering::AcqRel);
        }
    }
}

/// A start that nobody outside can guess.
fn start(key: &PoolKey, seed: u64) -> u16 {
    let keys = crate::hash::Keys::new(seed);
    let fold = |address: Address| {
        let [high, low] = address.halves();
        keys.hash(high, low)
    };
    let addresses = keys.hash(fold(key.nat_ip), fold(key.target));
    let hash = keys.hash(addresses, u64::from(key.protocol as u8));
    let position = (u128::from(hash) * PORTS_PER_POOL as u128) >> 64;
    u16::try_from(position).unwrap_or(0)
}

fn port_at(position: usize) -> u16 {
    u16::try_from(position).map_or(u16::MAX, |position| PORT_FIRST + position)
}

#[inline]
fn position_of(port: u16) -> Option<usize> {
    port.checked_sub(PORT_FIRST).map(usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Protocol, ScopeId};
    use alloc::vec::Vec;
    use core::net::IpAddr;
    use std::collections::BTreeSet;

    fn pool(seed: u64) -> Pool {
        let key = PoolKey {
            scope: ScopeId(0),
            nat_ip: IpAddr::from([10, 1, 0, 4]).into(),
            target: IpAddr::from([10, 1, 0, 10]).into(),
            protocol: Protocol::Tcp,
        };
        Pool::new(key, seed)
    }

    fn holder(worker: u8, flow: u32) -> Holder {
        Holder { worker: WorkerId(worker), flow: FlowIndex(flow) }
    }

    #[test]
    fn every_port_is_leased_once_before_the_first_refusal() {
        let (pool, home) = (pool(7), Home::new(WorkerId(0), 1));
        let mut seen = BTreeSet::new();
        for flow in 0..64_512 {
            let port = pool.lease(&home, FlowIndex(flow)).unwrap();
            assert!(port >= PORT_FIRST && seen.insert(port));
            assert_eq!(pool.holder(port), Some(holder(0, flow)));
        }
        assert_eq!(pool.lease(&home, FlowIndex(64_512)), None);
        assert_eq!((pool.leased(), pool.count_leases()), (64_512, 64_512));
        assert!(!pool.release(2000, holder(0, 1 << 20)), "released by a stranger");
        let owner = pool.holder(2000).unwrap();
        assert!(pool.release(2000, owner) && !pool.release(2000, owner));
        assert_eq!(pool.lease(&home, FlowIndex(5)), Some(2000));
    }

    #[test]
    fn a_port_comes_back_only_after_all_others() {
        let (pool, home) = (pool(1), Home::new(WorkerId(0), 1));
        let first = pool.lease(&home, FlowIndex(0)).unwrap();
        assert!(pool.release(first, holder(0, 0)));
        for flow in 1..64_512 {
            let port = pool.lease(&home, FlowIndex(flow)).unwrap();
            assert_ne!(port, first);
            assert!(pool.release(port, holder(0, flow)));
        }
        assert_eq!(pool.lease(&home, FlowIndex(1)), Some(first));
    }

    #[test]
    fn the_start_depends_on_the_seed() {
        let starts: BTreeSet<u16> = (0..100)
            .map(|seed| pool(seed).lease(&Home::new(WorkerId(0), 1), FlowIndex(0)).unwrap())
            .collect();
        assert!(starts.len() > 95);
    }

    #[test]
    fn workers_lease_at_home_first_and_leave_no_port_unused() {
        for workers in [2_u8, 3, 64] {
            let pool = pool(3);
            let homes: Vec<_> = (0..workers).map(|w| Home::new(WorkerId(w), workers)).collect();
            let at_home = homes[1].masks.iter().map(|mask| mask.count_ones()).sum::<u32>() * 64;
            for flow in 0..64_512 {
                let port = pool.lease(&homes[1], FlowIndex(flow)).unwrap();
                let block = usize::from(port - PORT_FIRST) / PORTS_PER_BLOCK;
                let is_home = Home::owner(block, workers) == WorkerId(1);
                assert_eq!(is_home, flow < at_home, "flow {flow} of {workers} workers");
            }
            assert_eq!(pool.lease(&homes[0], FlowIndex(0)), None);
        }
    }

    #[test]
    fn what_one_worker_holds_comes_back_without_the_others() {
        let pool = pool(5);
        for (worker, granted) in [(0_u8, 40_000), (1, 24_512)] {
            let home = Home::new(WorkerId(worker), 2);
            let leased = (0..40_000).filter_map(|flow| pool.lease(&home, FlowIndex(flow)));
            assert_eq!(leased.count(), granted);
        }
        assert_eq!(pool.leased(), 64_512);
        pool.release_all(WorkerId(0));
        assert_eq!((pool.leased(), pool.count_leases()), (24_512, 24_512));
        let holders: BTreeSet<u8> = (PORT_FIRST..=u16::MAX)
            .filter_map(|port| pool.holder(port))
            .map(|held| held.worker.0)
            .collect();
        assert_eq!(holders, BTreeSet::from([1]));
        let home = Home::new(WorkerId(0), 2);
        assert!((0..40_000).all(|flow| pool.lease(&home, FlowIndex(flow)).is_some()));
        assert_eq!(pool.lease(&home, FlowIndex(0)), None, "every port can be leased again");
    }

    #[test]
    fn threads_never_share_a_port() {
        let pool = pool(9);
        let lease_all = |worker: u8| {
            let home = Home::new(WorkerId(worker), 2);
            let lease = |flow| pool.lease(&home, FlowIndex(flow));
            (0..64_512).map_while(lease).collect::<Vec<u16>>()
        };
        let (mine, theirs) = std::thread::scope(|scope| {
            let other = scope.spawn(|| lease_all(1));
            (lease_all(0), other.join().unwrap())
        });
        assert_eq!(mine.len() + theirs.len(), 64_512);
        let all: BTreeSet<u16> = mine.into_iter().chain(theirs).collect();
        assert_eq!(all.len(), 64_512);
    }
}
