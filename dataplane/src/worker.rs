//! Drives one engine: adopts configurations, moves batches from devices through the engine to
//! devices, waits when there is nothing to do.
//!
//! Knows no protocol, names no concrete device and no clock: those come with a [`Platform`]. A
//! device that cannot be opened or fails is tried again every so often, so that its return is
//! picked up. A worker may take the seat of one that ended: it begins without flows and goes on
//! with its counters. Polls for [`POLL_TIME`] after the last packet and then blocks, so that an
//! idle worker costs nothing.

mod attachments;
mod dispatch;
mod handover;
mod inquiry;
mod platform;
mod probe;
mod seat;
mod trace;

use alloc::sync::Arc;
use core::time::Duration;

pub use inquiry::{Finding, Inquiry};
pub use platform::{Platform, Queue};
pub use probe::{ProbeFrame, ProbeRings};
pub use seat::{CrewConfig, Seat, SessionPage, Shared, Ticket, crew};
pub use trace::{Passage, Snapped, Trace, Traced};

use crate::device::{Batch, Frame};
use crate::engine::{Arrival, Engine, EngineConfig, Outcome, Verdict, Verdicts};
use crate::limits::BATCH_FRAMES_MAX;
use crate::types::{DeviceIndex, Instant, Tick, WorkerId};
use attachments::{Attachments, Change};
use handover::Handover;
use trace::Tracer;

/// How long a worker polls without finding anything before it blocks.
pub const POLL_TIME: Duration = Duration::from_micros(50);

/// How long a worker blocks at most.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What a turn does for a page of sessions: a record of the flow table for each frame that a batch
/// has room for and this turn did not have, so that it takes no longer than one of a full batch.
const SESSION_STEPS: usize = BATCH_FRAMES_MAX;

/// Frames for each of which a turn looks at a record in any case, so that a list has an end.
const FRAMES_PER_STEP: usize = 16;

/// For how many records one counts that is also judged by another configuration.
const JUDGED_COST: usize = 4;

/// One worker. See the module's documentation.
pub struct Worker<P: Platform> {
    queue: Queue,
    platform: P,
    shared: Arc<Shared>,
    handover: Handover,
    engine: Engine,
    devices: Attachments<P::Device>,
    batch: Batch,
    verdicts: Verdicts,
    spare: Frame,
    page: Option<SessionPage>,
    tracer: Tracer,
    /// The tick in which time was last taken notice of.
    advanced: Option<Tick>,
}

impl<P: Platform> Worker<P> {
    /// A worker on its seat; opens no device yet.
    #[must_use]
    pub fn new(seat: Seat, mut platform: P) -> Worker<P> {
        let Seat { worker, config, shared, handover } = seat;
        let generation = shared.cell.load();
        let sizes = EngineConfig {
            worker,
            workers: config.workers,
            flows_max: config.flows_max,
            seed: config.seed,
        };
        let mut engine = Engine::new(&sizes, Arc::clone(&generation));
        if let Some(path) = platform.fast_path() {
            engine.accelerate(path);
        }
        engine.record(config.recording);
        engine.account_on(Arc::clone(&shared.accounts));
        engine.inherit(&shared.stats.read());
        let batch = Batch::new();
        engine.areas().chain([batch.area()]).for_each(|at| platform.favor(at));
        favor_pools(&engine, &mut platform);
        let mut devices = Attachments::new();
        let changed = |change| follow(&mut engine, &change);
        devices.adopt(generation.snapshot.devices(), &shared.stats, changed);
        Worker {
            queue: Queue { worker, workers: config.workers },
            platform,
            shared,
            handover,
            engine,
            devices,
            batch,
            verdicts: [Verdict::Consume; BATCH_FRAMES_MAX],
            spare: Frame::new(),
            page: None,
            tracer: Tracer::default(),
            advanced: None,
        }
    }

    /// Works until it is stopped. Packets in flight are lost; devices close when the worker is
    /// dropped.
    pub fn run(&mut self) {
        let mut last_work = self.platform.now();
        while !self.shared.is_stopped() {
            let now = self.platform.now();
            if self.turn(now) {
                last_work = now;
            } else if now.since(last_work) >= POLL_TIME {
                self.rest(now);
            }
        }
    }

    /// One turn: everything that is there now, at most a batch from each device. Returns whether
    /// there was anything.
    pub fn turn(&mut self, now: Instant) -> bool {
        let adopted = self.adopt();
        self.tracer.follow(&self.shared.trace, &mut self.engine);
        let mut frames = 0;
        for at in 0..self.devices.len() {
            frames += self.serve_device(attachments::index(at), now);
        }
        frames += self.serve_peers(now);
        let worked = frames > 0;
        // Time is taken notice of once a tick; nothing in the engine is finer.
        if adopted || self.advanced != Some(now.tick()) {
            self.advance(now);
        } else if worked {
            self.drain(now);
            self.tell();
            self.shared.stats.write(self.engine.counters());
        }
        worked | self.answer_sessions(now, frames)
    }

    /// Its engine, to be looked at.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn adopt(&mut self) -> bool {
        let known = self.engine.generation().number;
        let Some(generation) = self.shared.cell.moved_from(known) else {
            return false;
        };
        self.engine.adopt(Arc::clone(&generation));
        favor_pools(&self.engine, &mut self.platform);
        let engine = &mut self.engine;
        let changed = |change| follow(engine, &change);
        self.devices.adopt(generation.snapshot.devices(), &self.shared.stats, changed);
        self.devices.steer(&generation.snapshot);
        true
    }

    /// Serves what a device has; how many frames that were.
    fn serve_device(&mut self, device: DeviceIndex, now: Instant) -> usize {
        match self.devices.receive(device, &mut self.batch) {
            None => return 0,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                self.devices.fail(device, error, now, &self.shared.stats);
                self.engine.detach(device);
                return 0;
            }
        }
        if self.batch.is_empty() {
            return 0;
        }
        self.shared.stats.count_device(device, self.batch.len(), 0);
        self.batch.frames_mut().iter_mut().for_each(|frame| frame.ingress = device);
        self.serve_batch(Arrival::Device, now);
        self.batch.len()
    }

    /// Serves what peers have handed over; how many frames that were.
    fn serve_peers(&mut self, now: Instant) -> usize {
        if !self.handover.is_waiting() {
            return 0;
        }
        self.handover.take(&mut self.batch);
        self.serve_batch(Arrival::Peer, now);
        self.batch.len()
    }

    fn serve_batch(&mut self, arrival: Arrival, now: Instant) {
        self.tracer.before(&self.batch);
        self.engine.process(now, arrival, &mut self.batch, &mut self.verdicts);
        let snapshot = &self.engine.generation().snapshot;
        self.tracer.after(&self.batch, &self.verdicts, snapshot, now);
        let (engine, devices) = (&mut self.engine, &mut self.devices);
        let watch = (&self.tracer, now);
        dispatch::send_ahead(&mut self.spare, engine, devices, &self.shared.stats, watch);
        let peers = dispatch::dispatch(
            &self.batch,
            &self.verdicts,
            &mut self.engine,
            &mut self.devices,
            &self.handover,
            &self.shared,
        );
        self.wake(peers);
    }

    fn drain(&mut self, now: Instant) {
        let peers = dispatch::drain(
            &mut self.spare,
            &mut self.engine,
            &mut self.devices,
            &self.handover,
            &self.shared.stats,
            (&self.tracer, now),
        );
        self.wake(peers);
    }

    /// Tells of flows that began or ended.
    fn tell(&mut self) {
        while let Some(record) = self.engine.poll_record() {
            if !self.shared.tell(record) {
                self.engine.settle(Outcome::RecordsLost(1));
            }
        }
    }

    /// Wakes the peers that were given frames, a bit for each.
    fn wake(&mut self, peers: u64) {
        for peer in (0..64).filter(|peer| peers >> peer & 1 == 1) {
            self.platform.wake(WorkerId(peer));
        }
    }

    fn advance(&mut self, now: Instant) {
        let engine = &mut self.engine;
        let changed = |change| follow(engine, &change);
        let (platform, stats) = (&mut self.platform, &self.shared.stats);
        if self.devices.open(platform, self.queue, now, stats, changed) {
            self.devices.steer(&self.engine.generation().snapshot);
        }
        let changed = |change| follow(&mut self.engine, &change);
        self.devices.audit(now, &self.shared.stats, changed);
        let is_behind = self.engine.advance(now);
        self.advanced = (!is_behind).then(|| now.tick());
        self.shared.inquiries.answer(&mut self.engine, now);
        let (engine, devices) = (&mut self.engine, &mut self.devices);
        dispatch::send_probes(&mut self.spare, engine, devices, &self.shared);
        self.drain(now);
        self.tell();
        self.tracer.report(&self.engine);
        if self.page.is_none() {
            self.page = self.shared.next_request();
        }
        self.shared.stats.write(self.engine.counters());
    }

    /// Goes on with the page of sessions that control asked for, if it did, in a turn of so many
    /// frames.
    fn answer_sessions(&mut self, now: Instant, frames: usize) -> bool {
        let Some(page) = &mut self.page else { return false };
        let known = page.sessions.len();
        let cost = if page.under.is_some() { JUDGED_COST } else { 1 };
        let steps = SESSION_STEPS.saturating_sub(frames).max(frames / FRAMES_PER_STEP) / cost;
        let steps = u32::try_from(steps.max(1)).unwrap_or(u32::MAX);
        match self.engine.sessions(now, page.next, steps, &mut page.sessions) {
            Some(next) => page.next = next,
            None => page.done = true,
        }
        if let Some(under) = &page.under {
            for session in page.sessions.iter_mut().skip(known) {
                session.fate = self.engine.fate(under, session.number);
            }
        }
        let is_full = page.sessions.len() == page.sessions.capacity();
        if page.done || is_full {
            self.give_page_back();
        }
        true
    }

    fn give_page_back(&mut self) {
        if let Some(page) = self.page.take() {
            self.shared.answer(page);
        }
    }

    /// Blocks until there is something to do.
    fn rest(&mut self, now: Instant) {
        let attempt = self.devices.next_attempt();
        let deadline = self.engine.next_deadline(now);
        let until = [attempt, deadline].into_iter().flatten().min();
        let timeout = until.map_or(WAIT_MAX, |until| until.since(now)).min(WAIT_MAX);
        if self.advanced.is_none() || timeout.is_zero() || self.handover.is_waiting() {
            return;
        }
        self.platform.wait(&mut self.devices.open_devices(), timeout);
        // Whatever it was, a request of control may wait too.
        self.advanced = None;
    }
}

impl<P: Platform> Drop for Worker<P> {
    /// Leaves the account in order however the worker ends, and nobody waiting for it.
    fn drop(&mut self) {
        self.engine.abandon();
        self.give_page_back();
        self.devices.adopt(&[], &self.shared.stats, |_| {});
        self.shared.stats.write(self.engine.counters());
    }
}

/// Favors port pools, unless they are so many that most of their memory will never be used, and
/// would be with large pages: more than the worker's flows could need.
fn favor_pools<P: Platform>(engine: &Engine, platform: &mut P) {
    let areas = engine.generation().pools.areas();
    let bytes: usize = areas.iter().map(|area| area.bytes).sum();
    if bytes <= engine.flows().bytes() {
        areas.into_iter().for_each(|area| platform.favor(area));
    }
}

/// Lets the engine know what happened to a device.
fn follow(engine: &mut Engine, change: &Change) {
    match *change {
        Change::Opened(device, link, interface) => {
            engine.lend_device(device, interface);
            engine.attach(device, link);
        }
        Change::Closed(device) => {
            engine.lend_device(device, None);
            engine.detach(device);
        }
    }
}
