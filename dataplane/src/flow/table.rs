//! The flow table of one worker: records, the index of their forward keys, and their timers,
//! changed together or not at all (I3).
//!
//! [`FlowTable::vacancy`] reserves nothing; it says where the next flow would go, so that a port
//! can be leased in its name before [`FlowTable::insert`], which cannot fail. Memory: 64 bytes a
//! record, 8 of index, 1.5 of timer, and 32 more for a flow with an IPv6 address on either side, 16
//! for one whose frontend floats, 40 for each pool; fixed at start, touched as it is used.

use alloc::vec::Vec;

use super::beside::{Beside, Outsides};
use super::index::{EmptySlot, Index};
use super::record::{Flow, FlowView, Terms};
use super::wheel::{Timer, Wheel};
use crate::limits::FLOWS_PER_WORKER_MAX;
use crate::packet::FlowKey;
use crate::prefetch::prefetch;
use crate::types::{Address, Area, FlowIndex, Hop, PoolIndex, Tick};

/// Room for one flow: its number and its place in the index.
#[derive(Clone, Copy, Debug)]
pub struct Vacancy {
    flow: FlowIndex,
    slot: EmptySlot,
    hash: u64,
}

impl Vacancy {
    /// The number that the flow will have.
    #[must_use]
    pub fn flow(&self) -> FlowIndex {
        self.flow
    }
}

/// See the module's documentation.
pub struct FlowTable {
    flows: Vec<Flow>,
    /// What does not fit into some of the records.
    beside: Beside,
    /// The record that became vacant last; each vacant record names the one before it.
    vacant: Option<FlowIndex>,
    live: usize,
    index: Index,
    wheel: Wheel,
    capacity: usize,
}

impl FlowTable {
    /// An empty table for `capacity` flows, at most [`FLOWS_PER_WORKER_MAX`].
    #[must_use]
    pub fn new(capacity: usize) -> FlowTable {
        let capacity = capacity.clamp(1, FLOWS_PER_WORKER_MAX);
        FlowTable {
            flows: Vec::with_capacity(capacity),
            beside: Beside::new(capacity),
            vacant: None,
            live: 0,
            index: Index::new(capacity),
            wheel: Wheel::new(capacity),
            capacity,
        }
    }

    /// Number of live flows.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// How many more there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.live
    }

    /// Whether no flow lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flows that there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of memory when full of flows of IPv4.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let records = self.flows.capacity() * size_of::<Flow>();
        records + self.index.bytes() + self.wheel.bytes()
    }

    /// The tables that packets read at random places.
    #[must_use]
    pub fn areas(&self) -> [Area; 2] {
        [Area::of(self.flows.as_ptr(), self.flows.capacity()), self.index.area()]
    }

    /// Starts loading the part of the index that a hash needs.
    #[inline(always)]
    pub fn prefetch_index(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Starts loading a record.
    #[inline(always)]
    pub fn prefetch_flow(&self, flow: FlowIndex) {
        if let Some(flow) = self.flows.get(flow.slot()) {
            prefetch(flow);
        }
    }

    /// A flow that probably has this hash, without looking at it.
    #[inline(always)]
    #[must_use]
    pub fn candidate(&self, hash: u64) -> Option<FlowIndex> {
        self.index.candidate(hash)
    }

    /// The flow with this key.
    #[inline]
    #[must_use]
    pub fn lookup(&self, key: &FlowKey, hash: u64) -> Option<FlowIndex> {
        let is_its = |flow| self.get(flow).is_some_and(|flow| flow.key() == *key);
        self.index.find(hash, is_its)
    }

    /// A live flow by its number.
    #[inline]
    #[must_use]
    pub fn get(&self, flow: FlowIndex) -> Option<FlowView<'_>> {
        let record = self.flows.get(flow.slot()).filter(|flow| flow.is_live())?;
        Some(FlowView::new(record, flow, &self.beside))
    }

    /// A live flow by its number, to be changed; not its key.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, flow: FlowIndex) -> Option<&mut Flow> {
        self.flows.get_mut(flow.slot()).filter(|flow| flow.is_live())
    }

    /// All records by their numbers, live or not, to be looked at first: a vacant one has the
    /// generation 0. And what their packets leave with.
    #[inline(always)]
    #[must_use]
    pub fn records_mut(&mut self) -> (&mut [Flow], &Outsides) {
        (&mut self.flows, &self.beside.outsides)
    }

    /// Where a new flow with this hash would go; `None` if the table is full.
    #[inline(always)]
    #[must_use]
    pub fn vacancy(&self, hash: u64) -> Option<Vacancy> {
        Some(Vacancy { flow: self.vacant_record()?, slot: self.index.empty_slot(hash)?, hash })
    }

    /// The same, if surely no flow has this hash. May be `None` where there is none, and room.
    #[inline(always)]
    #[must_use]
    pub fn fresh_vacancy(&self, hash: u64) -> Option<Vacancy> {
        Some(Vacancy { slot: self.index.fresh_slot(hash)?, flow: self.vacant_record()?, hash })
    }

    #[inline(always)]
    fn vacant_record(&self) -> Option<FlowIndex> {
        let fresh = || {
            let next = u32::try_from(self.flows.len()).ok()?;
            (self.flows.len() < self.capacity).then_some(FlowIndex(next))
        };
        self.vacant.or_else(fresh)
    }

    /// Learns what the flows of these pools leave with: NAT IP and target. To be told of a pool
    /// before a flow of it is opened.
    pub fn know_pools(&mut self, pools: impl Iterator<Item = (PoolIndex, [Address; 2])>) {
        pools.for_each(|(pool, [nat_ip, target])| self.beside.outsides.note(pool, nat_ip, target));
    }

    /// A flow on these terms, whose first packet arrived from `client`, to be entered.
    #[inline(always)]
    #[must_use]
    pub fn open(&self, terms: &Terms<'_>, client: Hop) -> Flow {
        Flow::open(terms, &self.beside.outsides, client)
    }

    /// Enters a flow that was opened on these terms where `vacancy` says, which was taken since the
    /// last change of the table.
    #[inline(always)]
    pub fn insert(&mut self, vacancy: Vacancy, flow: Flow, terms: &Terms<'_>, now: Tick) {
        let Vacancy { flow: number, slot, hash } = vacancy;
        if number.slot() == self.flows.len() {
            self.flows.push(Flow::NONE);
        }
        let Some(record) = self.flows.get_mut(number.slot()) else { return };
        self.vacant = record.next_vacant();
        // Built where it stays: copied, it would be read before its parts have left the processor.
        *record = flow;
        self.beside.note(number, record, terms);
        self.live += 1;
        self.index.insert(slot, hash, number);
        self.wheel.schedule(Timer::of(number), record.deadline(), now);
    }

    /// Removes a flow, under both keys as far as this table is concerned; its lease is the caller's
    /// to release. `hash` is that of its key.
    pub fn remove(&mut self, number: FlowIndex, hash: u64) -> Option<Flow> {
        let flow = self.flows.get_mut(number.slot()).filter(|flow| flow.is_live())?;
        let removed = *flow;
        flow.vacate(self.vacant);
        self.vacant = Some(number);
        self.live -= 1;
        self.index.remove(hash, number);
        Some(removed)
    }

    /// Takes a flow out of the index: no packet finds it under its forward key any more. The record
    /// stays until [`FlowTable::remove`].
    pub fn unlink(&mut self, number: FlowIndex, hash: u64) {
        self.index.remove(hash, number);
    }

    /// Schedules a flow anew after its deadline came nearer.
    pub fn reschedule(&mut self, number: FlowIndex, now: Tick) {
        let Some(deadline) = self.get(number).map(|flow| flow.deadline()) else {
            return;
        };
        self.wheel.schedule(Timer::of(number), deadline, now);
    }

    /// The next flow that has expired, still in the table for the caller to remove: it is named
    /// again until it is removed or lives on. Looks at no more than `steps` timers, which it counts
    /// down; timers of flows that turn out to be alive are put back.
    pub fn next_expired(&mut self, now: Tick, steps: &mut u32) -> Option<FlowIndex> {
        while let Some(timer) = self.wheel.next_due(now, steps) {
            let mut nearest: Option<Tick> = None;
            for number in timer.flows() {
                let Some(flow) = self.get(number) else { continue };
                if flow.is_expired(now) {
                    return Some(number);
                }
                let deadline = flow.deadline();
                let is_nearer = |than: Tick| deadline.since(now) < than.since(now);
                if nearest.is_none_or(is_nearer) {
                    nearest = Some(deadline);
                }
            }
            self.wheel.cancel(timer);
            if let Some(deadline) = nearest {
                self.wheel.schedule(timer, deadline, now);
            }
        }
        None
    }

    /// How many record numbers were ever used: the end of a walk over all flows.
    #[must_use]
    pub fn extent(&self) -> usize {
        self.flows.len()
    }
}
