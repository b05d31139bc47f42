//! Shows packets to whoever asked for them, as they arrived and as they left.
//!
//! Whoever asks brings the memory: records wait in a ring for being taken, and when none is left a
//! packet is lost to the trace, counted, and passes as it would have (I8). Without a trace a worker
//! looks at one number each turn and at one flag each batch.
//!
//! Seen is what the engine decides. What a device refuses afterwards is in the counters only.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::device::{Batch, Frame};
use crate::drop_reason::DropReason;
use crate::engine::{Engine, Origin, Verdict, Verdicts};
use crate::limits::BATCH_FRAMES_MAX;
use crate::snapshot::Snapshot;
use crate::sync::{ArrayQueue, AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::trace::{Filter, Sight};
use crate::types::{DeviceIndex, Instant};

/// A frame, cut to what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapped {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// How many it had.
    pub length: usize,
}

impl Snapped {
    fn fill(&mut self, bytes: &[u8], length: usize) {
        // Within the room that whoever asked has made.
        let room = self.bytes.capacity().min(bytes.len());
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
        self.length = length;
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It arrived by this device, and this was decided.
    Arrived(DeviceIndex, Verdict),
    /// adit sends it by this device: one that waited, or one of its own.
    Sent(DeviceIndex, Origin),
}

/// A packet that was asked for.
#[derive(Debug)]
pub struct Traced {
    /// When.
    pub at: Instant,
    /// What became of it.
    pub passage: Passage,
    /// As it arrived; empty of what adit sends by itself.
    pub before: Snapped,
    /// As it leaves; empty if it does not.
    pub after: Snapped,
}

/// What one worker is asked to show.
pub struct Trace {
    filter: Filter,
    snap: usize,
    free: ArrayQueue<Traced>,
    full: ArrayQueue<Traced>,
    lost: AtomicU64,
    is_ready: AtomicBool,
    /// The frames of a batch, as they arrived: `snap` bytes for each.
    arrived: Mutex<Vec<Snapped>>,
}

impl Trace {
    /// Packets that `filter` asks for, cut to `snap` bytes, so many at a time.
    #[must_use]
    pub fn new(filter: Filter, snap: usize, records: usize) -> Trace {
        let room = || Snapped { bytes: Vec::with_capacity(snap), length: 0 };
        let records = records.max(1);
        let (free, full) = (ArrayQueue::new(records), ArrayQueue::new(records));
        for _ in 0..records {
            let passage = Passage::Arrived(DeviceIndex(0), Verdict::Consume);
            let (before, after) = (room(), room());
            // There is room for all of them.
            let _ = free.push(Traced { at: Instant::ZERO, passage, before, after });
        }
        Trace {
            filter,
            snap,
            free,
            full,
            lost: AtomicU64::new(0),
            is_ready: AtomicBool::new(false),
            arrived: Mutex::new((0..BATCH_FRAMES_MAX).map(|_| room()).collect()),
        }
    }

    /// Whether the worker sees all such packets: none of them passes by the kernel any more.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// Packets that were not shown because nobody took those before them in time.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Looks at the next packet, and gives its memory back.
    pub fn take<T>(&self, look: impl FnOnce(&Traced) -> T) -> Option<T> {
        let traced = self.full.pop()?;
        let looked = look(&traced);
        // It came from there.
        let _ = self.free.push(traced);
        Some(looked)
    }

    /// For the worker: how it was before the batch is judged.
    fn note(&self, batch: &Batch) {
        let mut arrived = self.arrived.lock();
        for (frame, snapped) in batch.frames().iter().zip(arrived.iter_mut()) {
            snapped.fill(cut(frame.bytes(), self.snap), frame.bytes().len());
        }
    }

    fn show(&self, at: Instant, passage: Passage, before: Option<&Snapped>, after: Option<&Frame>) {
        let Some(mut traced) = self.free.pop() else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        (traced.at, traced.passage) = (at, passage);
        let none = Snapped::default();
        let before = before.unwrap_or(&none);
        traced.before.fill(&before.bytes, before.length);
        let bytes = after.map(Frame::bytes).unwrap_or_default();
        traced.after.fill(cut(bytes, self.snap), bytes.len());
        // It was taken from as many.
        let _ = self.full.push(traced);
    }
}

fn cut(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}

/// Where control leaves a trace for a worker.
#[derive(Default)]
pub(super) struct Wanted {
    serial: AtomicU32,
    trace: Mutex<Option<Arc<Trace>>>,
}

impl Wanted {
    /// From now on this is wanted. The worker lets go of what was wanted before within a turn.
    pub(super) fn set(&self, trace: Option<Arc<Trace>>) {
        let before = core::mem::replace(&mut *self.trace.lock(), trace);
        self.serial.fetch_add(1, Ordering::Release);
        drop(before);
    }
}

/// The worker's side.
#[derive(Default)]
pub(super) struct Tracer {
    serial: u32,
    trace: Option<Arc<Trace>>,
}

impl Tracer {
    /// Takes notice of what is wanted now; whoever asked keeps the memory.
    #[inline]
    pub(super) fn follow(&mut self, wanted: &Wanted, engine: &mut Engine) {
        let serial = wanted.serial.load(Ordering::Acquire);
        if serial != self.serial {
            self.serial = serial;
            self.trace.clone_from(&wanted.trace.lock());
            engine.trace(self.trace.as_ref().map(|trace| trace.filter));
        }
    }

    /// Says that no packet which is asked for passes unseen, when that is so.
    pub(super) fn report(&self, engine: &Engine) {
        if let Some(trace) = &self.trace
            && engine.is_traced()
        {
            trace.is_ready.store(true, Ordering::Release);
        }
    }

    /// A batch is about to be judged.
    #[inline]
    pub(super) fn before(&self, batch: &Batch) {
        if let Some(trace) = &self.trace {
            trace.note(batch);
        }
    }

    /// It was.
    #[inline]
    pub(super) fn after(
        &self,
        batch: &Batch,
        verdicts: &Verdicts,
        snapshot: &Snapshot,
        now: Instant,
    ) {
        if let Some(trace) = &self.trace {
            judged(trace, batch, verdicts, snapshot, now);
        }
    }

    /// A frame leaves that came with no batch.
    #[inline]
    pub(super) fn sent(
        &self,
        frame: &Frame,
        (device, origin): (DeviceIndex, Origin),
        snapshot: &Snapshot,
        now: Instant,
    ) {
        let Some(trace) = &self.trace else { return };
        if trace.filter.wants([None, sight(snapshot, device, frame.bytes())], None) {
            trace.show(now, Passage::Sent(device, origin), None, Some(frame));
        }
    }
}

fn sight(snapshot: &Snapshot, device: DeviceIndex, bytes: &[u8]) -> Option<Sight> {
    Sight::of(snapshot.device_scope(device)?, bytes)
}

#[cold]
fn judged(trace: &Trace, batch: &Batch, verdicts: &Verdicts, snapshot: &Snapshot, now: Instant) {
    let arrived = trace.arrived.lock();
    for ((frame, verdict), before) in batch.frames().iter().zip(verdicts).zip(arrived.iter()) {
        let (out, dropped): (Option<DeviceIndex>, Option<DropReason>) = match *verdict {
            Verdict::Forward(device) | Verdict::Reply(device) => (Some(device), None),
            Verdict::Drop(reason) => (None, Some(reason)),
            // Whoever is given it shows it.
            Verdict::HandOver(_) => continue,
            Verdict::Consume | Verdict::TakeUp | Verdict::Hold => (None, None),
        };
        let in_sight = sight(snapshot, frame.ingress, &before.bytes);
        let out_sight = out.and_then(|device| sight(snapshot, device, frame.bytes()));
        if trace.filter.wants([in_sight, out_sight], dropped) {
            let passage = Passage::Arrived(frame.ingress, *verdict);
            trace.show(now, passage, Some(before), out.map(|_| frame));
        }
    }
}
