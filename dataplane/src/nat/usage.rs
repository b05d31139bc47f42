//! How many flows each connection has, over all workers, and how often it was refused for that.
//!
//! A flow holds one lease and one record (I2, I3), so that this one number bounds both. Cells are
//! shared by all workers and by successive generations; opening a flow below a maximum is one
//! atomic step, so that the maximum is exact. Packets of flows touch nothing here.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::hash::FixedMap;
use crate::limits::WORKERS_MAX;
use crate::snapshot::{Patch, Snapshot};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::types::{LinkId, UsageIndex, WorkerId};

/// What a connection's newcomer lacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It has as many flows as it may have.
    Maximum,
    /// There was no port.
    Port,
    /// There was no record.
    Record,
    /// What ports or records were left are kept for others.
    Share,
}

impl Lack {
    /// All of them.
    pub const ALL: [Lack; 4] = [Lack::Maximum, Lack::Port, Lack::Record, Lack::Share];
}

/// A model checker can follow few.
const WORKERS: usize = if cfg!(loom) { 2 } else { WORKERS_MAX };

/// The flows of one connection.
pub struct Usage {
    link: LinkId,
    flows: AtomicU32,
    /// The same by worker: what goes with a worker that ends.
    by_worker: [AtomicU32; WORKERS],
    refused: [AtomicU64; Lack::ALL.len()],
}

impl Usage {
    /// No flows.
    #[must_use]
    pub fn new(link: LinkId) -> Usage {
        Usage {
            link,
            flows: AtomicU32::new(0),
            by_worker: core::array::from_fn(|_| AtomicU32::new(0)),
            refused: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The connection.
    #[must_use]
    pub fn link(&self) -> LinkId {
        self.link
    }

    /// How many it has: those that live, and those that only keep a port that rests.
    #[must_use]
    pub fn flows(&self) -> u32 {
        self.flows.load(Ordering::Relaxed)
    }

    /// How many of them a worker has.
    #[must_use]
    pub fn flows_of(&self, worker: WorkerId) -> u32 {
        let of_worker = self.by_worker.get(usize::from(worker.0));
        of_worker.map_or(0, |flows| flows.load(Ordering::Relaxed))
    }

    /// One more; `false`, and none more, if it has `most` already.
    #[must_use]
    pub fn open(&self, worker: WorkerId, most: u32) -> bool {
        let more = |flows: u32| (flows < most).then(|| flows + 1);
        let opened = self.flows.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok();
        if opened && let Some(of_worker) = self.by_worker.get(usize::from(worker.0)) {
            of_worker.fetch_add(1, Ordering::Relaxed);
        }
        opened
    }

    /// One less, which the worker had opened.
    pub fn close(&self, worker: WorkerId) {
        if let Some(of_worker) = self.by_worker.get(usize::from(worker.0)) {
            of_worker.fetch_sub(1, Ordering::Relaxed);
        }
        self.flows.fetch_sub(1, Ordering::AcqRel);
    }

    /// Takes away what a worker had that has ended.
    fn release_all(&self, worker: WorkerId) {
        if let Some(of_worker) = self.by_worker.get(usize::from(worker.0)) {
            self.flows.fetch_sub(of_worker.swap(0, Ordering::Relaxed), Ordering::AcqRel);
        }
    }

    /// Counts a newcomer that was refused.
    pub fn refuse(&self, lack: Lack) {
        self.refused[lack as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether any newcomer ever was.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.refused.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// How many were.
    #[must_use]
    pub fn refused(&self, lack: Lack) -> u64 {
        self.refused[lack as usize].load(Ordering::Relaxed)
    }
}

/// The cells of one generation. Clones share them.
#[derive(Clone)]
pub struct Usages {
    cells: Arc<[Arc<Usage>]>,
    by_link: FixedMap,
    /// Those whose connections are not configured any more.
    leaving: Arc<[LinkId]>,
}

impl Usages {
    /// One for each endpoint of the snapshot, without flows.
    #[must_use]
    pub fn first(snapshot: &Snapshot) -> Usages {
        Self::build(BTreeMap::new(), snapshot)
    }

    /// Those of a new snapshot: a connection keeps its cell for as long as it is configured or has
    /// flows; also one that was configured until now, because a worker may still open one.
    #[must_use]
    pub fn next(&self, before: &Snapshot, snapshot: &Snapshot) -> Usages {
        let is_kept = |cell: &&Arc<Usage>| {
            let was_configured = before.endpoint_of_link(cell.link).is_some();
            let is_configured = snapshot.endpoint_of_link(cell.link).is_some();
            cell.flows() > 0 || was_configured || is_configured
        };
        let kept = self.cells.iter().filter(is_kept);
        Self::build(kept.map(|cell| (cell.link, Arc::clone(cell))).collect(), snapshot)
    }

    /// The same of a snapshot to which `patch` has led.
    #[must_use]
    pub fn with(&self, patch: &Patch) -> Usages {
        let has_flows = |link| self.find(link).is_some_and(|cell| cell.flows() > 0);
        let (stay, over): (Vec<LinkId>, Vec<LinkId>) =
            self.leaving.iter().partition(|link| has_flows(**link));
        let over: Vec<LinkId> = over.into_iter().filter(|link| !patch.brings(*link)).collect();
        let new = patch.new.map(|new| new.link).filter(|link| self.find(*link).is_none());
        let gone = patch.gone.filter(|link| self.find(*link).is_some());
        let leaving = stay.into_iter().chain(gone).filter(|link| !patch.brings(*link));
        let leaving = leaving.collect();
        if over.is_empty() && new.is_none() {
            return Usages { leaving, ..self.clone() };
        }
        let (mut cells, mut by_link) = (self.cells.to_vec(), self.by_link.clone());
        for link in over {
            let (high, low) = key(link);
            let Some(at) = by_link.get(high, low).map(|at| at as usize) else { continue };
            by_link.remove((high, low));
            cells.swap_remove(at);
            if let Some(moved) = cells.get(at) {
                by_link.insert(key(moved.link), index(at));
            }
        }
        if let Some(link) = new {
            by_link.insert(key(link), index(cells.len()));
            cells.push(Arc::new(Usage::new(link)));
        }
        Usages { cells: cells.into(), by_link, leaving }
    }

    fn build(mut cells: BTreeMap<LinkId, Arc<Usage>>, snapshot: &Snapshot) -> Usages {
        for endpoint in snapshot.endpoints() {
            let link = endpoint.link;
            cells.entry(link).or_insert_with(|| Arc::new(Usage::new(link)));
        }
        let cells: Arc<[Arc<Usage>]> = cells.into_values().collect();
        let entries = (0..).zip(&*cells).map(|(at, cell)| (key(cell.link), at));
        let by_link = FixedMap::build(&entries.collect::<Vec<_>>());
        let links = cells.iter().map(|cell| cell.link);
        let leaving = links.filter(|link| snapshot.endpoint_of_link(*link).is_none()).collect();
        Usages { cells, by_link, leaving }
    }

    /// The cell of a connection.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, link: LinkId) -> Option<&Usage> {
        self.get(self.position(link)?)
    }

    /// Where that is, in this generation.
    #[inline(always)]
    #[must_use]
    pub fn position(&self, link: LinkId) -> Option<UsageIndex> {
        let (high, low) = key(link);
        self.by_link.get(high, low).map(UsageIndex)
    }

    /// The cell at a position.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, position: UsageIndex) -> Option<&Usage> {
        self.cells.get(position.slot()).map(|cell| &**cell)
    }

    /// All cells.
    pub fn iter(&self) -> impl Iterator<Item = &Usage> {
        self.cells.iter().map(|cell| &**cell)
    }

    /// Takes away what a worker had that has ended.
    pub fn release_all(&self, worker: WorkerId) {
        self.iter().for_each(|cell| cell.release_all(worker));
    }
}

fn key(link: LinkId) -> (u64, u32) {
    (u64::from(link.0), 0)
}

/// There are far fewer connections than 2^32.
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maximum_is_exact_and_a_worker_that_ends_takes_its_own() {
        let usage = Usage::new(LinkId(7));
        let (one, other) = (WorkerId(0), WorkerId(1));
        assert!(usage.open(one, 3) && usage.open(other, 3) && usage.open(other, 3));
        assert!(!usage.open(one, 3));
        usage.close(one);
        assert!(usage.open(one, 3));
        usage.release_all(other);
        assert_eq!(usage.flows(), 1);
        assert!(usage.open(other, 2) && !usage.open(one, 2));
        usage.refuse(Lack::Port);
        assert_eq!(Lack::ALL.map(|lack| usage.refused(lack)), [0, 1, 0, 0]);
    }

    #[test]
    fn threads_never_open_more_than_the_maximum() {
        let usage = Usage::new(LinkId(1));
        let open = |worker| (0..50_000).filter(|_| usage.open(WorkerId(worker), 60_000)).count();
        let opened = std::thread::scope(|scope| {
            let other = scope.spawn(|| open(1));
            open(0) + other.join().unwrap()
        });
        assert_eq!((opened, usage.flows()), (60_000, 60_000));
        usage.release_all(WorkerId(0));
        usage.release_all(WorkerId(1));
        assert_eq!(usage.flows(), 0);
    }
}
