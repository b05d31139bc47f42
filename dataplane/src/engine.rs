//! The packet path: parse, classify, find or admit the flow, rewrite, say the verdict.
//!
//! One engine belongs to one worker, which owns its flows alone: no lock, no clock, no allocation
//! after start; time comes in as an argument, chance from the seed (I10). What it shares with other
//! workers (port pools, next hops) is atomic and lives in the generation.
//!
//! In: [`Engine::process`] takes a batch and gives a verdict for each frame, [`Engine::advance`]
//! takes the time, [`Engine::adopt`] a new configuration, [`Engine::attach`] and [`Engine::detach`]
//! what became of a device. Out: [`Engine::poll_transmit`] gives frames that the engine itself
//! sends, [`Engine::settle`] hears what became of all of them, [`Engine::counters`] tells, and
//! [`Engine::poll_record`] tells of flows, if that was asked for.
//!
//! A batch goes through three passes (`express`), which carry the plain packets of established
//! flows. The others follow frame by frame, in order: `opening` takes those that open a flow in the
//! usual way, `path` whatever is left.

mod admit;
mod announce;
mod answer;
mod embryo;
mod ending;
mod exception;
mod explain;
mod express;
mod fate;
mod fragment;
mod hold;
mod icmp;
mod insertion;
mod mss;
mod opening;
mod path;
mod probe;
mod problem;
mod rate;
mod record;
mod revalidate;
mod room;
mod sessions;
mod share;
mod shortcut;
mod trace;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;

pub use crate::packet::FlowKey;
pub use explain::{Explanation, NatChoice, NextHopChoice, RuleChoice};
pub use fate::Fate;
pub use sessions::Session;

use crate::account::AccountPage;
use crate::device::{Batch, Frame, Link};
use crate::drop_reason::DropReason;
use crate::flow::{FlowTable, Insertions};
use crate::generation::Generation;
use crate::hash::Keys;
use crate::limits::{BATCH_FRAMES_MAX, DEVICES_MAX};
use crate::nat::Home;
use crate::packet::Receiver;
use crate::stats::Counters;
use crate::types::{Area, DeviceIndex, FlowIndex, Instant, ScopeId, Tick, WorkerId};
use announce::Announcements;
use answer::Answers;
use embryo::Embryos;
use express::{Exits, Step};
use fragment::{Identifications, KnownDatagrams};
use hold::Hold;
use opening::Offers;
use problem::Problems;
use rate::Rate;
use record::Records;
use share::Shares;
use shortcut::Shortcuts;
use trace::Watched;

/// What shall become of a frame. For `Forward` and `Reply` the frame has been changed to what shall
/// be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it out of this device.
    Forward(DeviceIndex),
    /// It has become adit's answer: send it out of the device that it came from.
    Reply(DeviceIndex),
    /// It was for adit itself.
    Consume,
    /// It answers a health probe: give its packet to whoever probes.
    TakeUp,
    /// The engine has a copy, to be sent when its next hop is known.
    Hold,
    /// Give it to the worker that owns its flow.
    HandOver(WorkerId),
    /// It dies, for this reason.
    Drop(DropReason),
}

/// The verdicts of a batch, by the position of their frames.
pub type Verdicts = [Verdict; BATCH_FRAMES_MAX];

/// Where a batch came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// From devices.
    Device,
    /// From other workers.
    Peer,
}

/// What a frame is that [`Engine::poll_transmit`] gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A packet that waited for its next hop.
    Held,
    /// A frame of adit's own: a request or an answer.
    Own,
}

/// What became of frames that the engine wanted sent. The driver reports it, so that they are
/// counted once and in one place (I9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Packets that the kernel took: how many, and their bytes.
    Forwarded(usize, usize),
    /// Answers that were sent.
    Replied(usize),
    /// Own requests that were sent.
    Originated(usize),
    /// Frames that another worker took.
    HandedOver(usize),
    /// Records of flows that nobody took in time.
    RecordsLost(usize),
    /// Packets that could not be sent or handed over, and why.
    Dropped(DropReason, usize),
}

/// Sizes and secret of an engine.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Which worker it belongs to.
    pub worker: WorkerId,
    /// Among how many.
    pub workers: u8,
    /// Flows that there is room for.
    pub flows_max: usize,
    /// Secret from which hashes derive; the same for all workers.
    pub seed: u64,
}

/// Timers and flows that one call of [`Engine::advance`] looks at, at most; next hops are 16 more.
pub const ADVANCE_STEPS: u32 = 256;

/// See the module's documentation.
pub struct Engine {
    worker: WorkerId,
    workers: u8,
    home: Home,
    /// Hashes keys for the flow table.
    table_keys: Keys,
    /// Hashes keys for the choice of a backend.
    balance_keys: Keys,
    generation: Arc<Generation>,
    links: Box<[Option<Link>]>,
    /// What the short way needs of `links`.
    exits: Exits,
    flows: FlowTable,
    hold: Hold,
    requests: VecDeque<exception::Request>,
    answers: Answers,
    embryos: Embryos,
    shares: Shares,
    offers: Offers,
    insertions: Insertions,
    announcements: Announcements,
    problems: Problems,
    echo_rate: Rate,
    datagrams: KnownDatagrams,
    identifications: Identifications,
    /// When it was last told the time.
    latest: Tick,
    /// Where the walk over all flows after a change of configuration is; `None` when it is done.
    sweep: Option<FlowIndex>,
    /// The next hop that is looked after next.
    neighbor_turn: u32,
    shortcuts: Option<Shortcuts>,
    watched: Watched,
    records: Records,
    accounts: Arc<AccountPage>,
    /// What is known of the frames of the batch under way.
    steps: Box<[Step]>,
    counters: Counters,
}

impl Engine {
    /// An engine without flows and devices.
    #[must_use]
    pub fn new(config: &EngineConfig, generation: Arc<Generation>) -> Engine {
        let workers = config.workers.max(1);
        let mut engine = Engine {
            worker: config.worker,
            workers,
            home: Home::new(config.worker, workers),
            table_keys: Keys::new(config.seed),
            balance_keys: Keys::new(!config.seed),
            generation,
            links: vec![None; DEVICES_MAX].into_boxed_slice(),
            exits: Exits::new(),
            flows: FlowTable::new(config.flows_max),
            hold: Hold::new(),
            requests: VecDeque::with_capacity(exception::REQUESTS_MAX),
            answers: Answers::new(),
            embryos: Embryos::new(config.flows_max),
            shares: Shares::default(),
            offers: Offers::new(Keys::new(config.seed)),
            insertions: Insertions::new(config.flows_max),
            announcements: Announcements::new(),
            problems: Problems::new(),
            echo_rate: Rate::new(),
            datagrams: KnownDatagrams::new(),
            identifications: Identifications::new(config.worker, workers, config.seed),
            latest: Tick(0),
            sweep: None,
            neighbor_turn: 0,
            shortcuts: None,
            watched: Watched::default(),
            records: Records::default(),
            accounts: Arc::new(AccountPage::new()),
            steps: vec![Step::NEW; BATCH_FRAMES_MAX].into_boxed_slice(),
            counters: Counters::default(),
        };
        engine.counters.generation = u64::from(engine.generation.number.0);
        engine.flows.know_pools(engine.generation.pools.addresses());
        engine.shares.count(&engine.generation, engine.worker);
        engine
    }

    /// Goes on where a worker of the same number ended, whatever it ended by: with what it counted
    /// and without its flows, whose leases are given back here because nobody else knows of them.
    /// Packets that waited with it are lost by a fault of adit. For an engine without flows.
    pub fn inherit(&mut self, counters: &Counters) {
        self.generation.pools.release_all(self.worker);
        self.generation.usages.release_all(self.worker);
        self.shares.count(&self.generation, self.worker);
        let generation = self.counters.generation;
        let flows_closed = counters.flows_closed + counters.flows;
        let lost = usize::try_from(counters.held).unwrap_or(0);
        self.counters = Counters {
            generation,
            flows_closed,
            flows: 0,
            flows_unanswered: 0,
            proxy_headers_waiting: 0,
            ports_resting: 0,
            held: 0,
            ..counters.clone()
        };
        self.settle(Outcome::Dropped(DropReason::Internal, lost));
    }

    /// From now on what connections carry is counted there. To be called before there are flows.
    pub fn account_on(&mut self, page: Arc<AccountPage>) {
        self.accounts = page;
    }

    /// What connections carried, by `accounts` of the generation.
    #[must_use]
    pub fn accounts(&self) -> &AccountPage {
        &self.accounts
    }

    /// Accounts for the packets that it was about to judge or to send when a fault of adit ended it
    /// (I9). Does nothing between two batches.
    pub fn abandon(&mut self) {
        let lost = usize::try_from(self.counters.account_difference()).unwrap_or(0);
        self.settle(Outcome::Dropped(DropReason::Internal, lost));
    }

    /// Works with another configuration from the next packet on (I7, I11). Flows are judged by it
    /// when their next packet comes, and in the background. Packets that wait for a next hop or a
    /// first fragment are judged when they leave, if only an endpoint is another; else they are
    /// dropped, since numbers of next hops mean something else from now on.
    pub fn adopt(&mut self, generation: Arc<Generation>) {
        let is_patch = generation.neighbors.is_shared_with(&self.generation.neighbors);
        let has_new_pools = !generation.pools.are_shared_with(&self.generation.pools);
        self.generation = generation;
        self.shares.count(&self.generation, self.worker);
        self.renew_shortcuts();
        self.counters.generation = u64::from(self.generation.number.0);
        // What was closed after the generation was built is not in doubt there yet.
        self.generation.neighbors.doubt(|device| self.link(device).is_none());
        self.sweep = Some(FlowIndex(0));
        self.announcements.restart();
        if has_new_pools {
            self.flows.know_pools(self.generation.pools.addresses());
        }
        if !is_patch {
            self.forget_waiting();
        }
    }

    /// Gives up on all that waits, and on what was to be sent.
    fn forget_waiting(&mut self) {
        self.requests.clear();
        self.answers.clear();
        self.problems.clear();
        let dropped = self.hold.clear();
        self.drop_held(dropped);
        let dropped = self.datagrams.clear();
        self.settle(Outcome::Dropped(DropReason::FragmentTimeout, dropped));
        self.count_held();
    }

    /// The configuration that is in force.
    #[must_use]
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// A device is open, with this address and MTU, or it was open and these have changed. Its next
    /// hops are asked for again: they may have changed, too. Another address than before is
    /// announced.
    pub fn attach(&mut self, device: DeviceIndex, link: Link) {
        self.note_station(device, link);
        self.generation.neighbors.doubt(|changed| changed == device);
        if let Some(slot) = self.links.get_mut(device.slot()) {
            *slot = Some(link);
        }
        self.exits.set(device, Some(link));
        self.renew_shortcuts();
    }

    /// A device is down or gone. Next hops behind it are asked for again: they may have moved.
    pub fn detach(&mut self, device: DeviceIndex) {
        self.generation.neighbors.doubt(|changed| changed == device);
        if let Some(slot) = self.links.get_mut(device.slot()) {
            *slot = None;
        }
        self.exits.set(device, None);
        self.renew_shortcuts();
    }

    /// Gives each frame of the batch its verdict, in `verdicts[..batch.len()]`, and rewrites those
    /// that shall be sent.
    pub fn process(
        &mut self,
        now: Instant,
        arrival: Arrival,
        batch: &mut Batch,
        verdicts: &mut Verdicts,
    ) {
        let now = now.tick();
        self.latest = now;
        self.follow_shortcuts();
        let mut steps = core::mem::take(&mut self.steps);
        let bytes = self.survey(batch.frames(), &mut steps);
        self.count_arrivals(arrival, batch.len(), bytes);
        self.locate(batch.frames(), &mut steps);
        let (frames, mut at) = (batch.frames_mut(), 0);
        loop {
            if steps.get(at).is_some_and(Step::has_candidate) {
                let (frames, steps) = (&mut frames[at..], &steps[at..]);
                let verdicts = &mut verdicts[at..];
                at += match self.records.tallies.counts() {
                    false => self.express::<false>(frames, steps, verdicts, now),
                    true => self.express::<true>(frames, steps, verdicts, now),
                };
            }
            let Some(frame) = frames.get_mut(at) else { break };
            verdicts[at] = self.go_on(arrival, (frame, &steps[at]), now);
            at += 1;
        }
        self.steps = steps;
        self.count_held();
        self.count_flows();
    }

    /// Lets time pass: removes flows that were silent for too long, judges flows by a new
    /// configuration, asks for next hops, gives up on packets that waited for too long. Bounded by
    /// [`ADVANCE_STEPS`]; call it again soon if it returns `true`, because it did not get through.
    pub fn advance(&mut self, now: Instant) -> bool {
        let now = now.tick();
        self.latest = now;
        self.follow_shortcuts();
        self.count_shortcuts();
        let mut steps = ADVANCE_STEPS;
        self.expire(now, &mut steps);
        self.sweep(now, &mut steps);
        self.withdraw(&mut steps);
        self.insertions.advance(now, &mut steps);
        self.look_after_neighbors(now);
        self.announcements.advance();
        let dropped = self.hold.expire(now);
        self.drop_held(dropped);
        let dropped = self.datagrams.expire(now);
        self.settle(Outcome::Dropped(DropReason::FragmentTimeout, dropped));
        self.count_held();
        steps == 0
    }

    /// When [`Engine::advance`] has something to do next, if no packet comes before.
    #[must_use]
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        use core::time::Duration;
        let has_to_say = !self.requests.is_empty()
            || !self.answers.is_empty()
            || !self.problems.is_empty()
            || self.insertions.has_to_send()
            || !self.announcements.is_empty();
        let wait = if has_to_say || self.sweep.is_some() {
            Duration::ZERO
        } else if self.counters.held > 0 {
            // The answer may reach another worker, which does not know who waits for it.
            Duration::from_millis(10)
        } else if !self.insertions.is_empty() {
            Duration::from_millis(20)
        } else if !(self.flows.is_empty() && self.datagrams.is_empty()) {
            Duration::from_millis(80)
        } else if !self.generation.neighbors.is_empty() {
            Duration::from_millis(500)
        } else {
            return None;
        };
        Some(now.after(wait))
    }

    /// The next frame that the engine itself wants sent, written into `frame`: which device, and
    /// what it is. To be called until it gives `None`, after each batch and each advance.
    pub fn poll_transmit(&mut self, frame: &mut Frame) -> Option<(DeviceIndex, Origin)> {
        let held = self.release_held(frame).or_else(|| self.release_fragment(frame));
        if let Some(device) = held {
            return Some((device, Origin::Held));
        }
        let own = self.emit_header(frame).or_else(|| self.emit_answer(frame));
        let own = own.or_else(|| self.emit_problem(frame));
        let own = own.or_else(|| self.emit_request(frame));
        let own = own.or_else(|| self.emit_announcement(frame));
        own.map(|device| (device, Origin::Own))
    }

    /// The next frame of the engine's own that shall leave before the batch that was just
    /// processed, written into `frame`: which device. To be called until it gives `None`; what is
    /// left comes from [`Engine::poll_transmit`].
    #[inline]
    pub fn poll_ahead(&mut self, frame: &mut Frame) -> Option<DeviceIndex> {
        if self.insertions.has_to_send() { self.emit_header(frame) } else { None }
    }

    /// Hears what became of frames that the engine wanted sent.
    pub fn settle(&mut self, outcome: Outcome) {
        let counters = &mut self.counters;
        match outcome {
            Outcome::Forwarded(frames, bytes) => {
                counters.forwarded += frames as u64;
                counters.forwarded_bytes += bytes as u64;
            }
            Outcome::Replied(frames) => counters.replied += frames as u64,
            Outcome::Originated(frames) => counters.originated += frames as u64,
            Outcome::HandedOver(frames) => counters.handed_over += frames as u64,
            Outcome::RecordsLost(records) => counters.records_lost += records as u64,
            Outcome::Dropped(reason, frames) => counters.dropped[reason.slot()] += frames as u64,
        }
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The flow table, to be looked at.
    #[must_use]
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// The tables that packets read and write at random places. To be asked for after
    /// [`Engine::record`].
    pub fn areas(&self) -> impl Iterator<Item = Area> {
        let areas = self.flows.areas().into_iter().chain(self.records.tallies.areas());
        areas.filter(|area| area.bytes > 0)
    }

    /// What becomes of a frame that is not simply forwarded: some are looked at again, others
    /// answered. Not on the way of packets that pass.
    #[cold]
    fn refuse(
        &mut self,
        reason: DropReason,
        arrival: Arrival,
        frame: &mut Frame,
        now: Tick,
    ) -> Verdict {
        let looked_at = match reason {
            DropReason::IcmpUnsupported => self.hear_icmp(arrival, frame, now),
            DropReason::Ipv4Fragment | DropReason::Ipv6Fragment => {
                self.hear_fragment(arrival, frame, now)
            }
            reason => Err(reason),
        };
        let reason = match looked_at {
            Ok(verdict) => return verdict,
            Err(reason) => reason,
        };
        // Floods are made of refused packets, and few services say a word to them.
        let is_reset = reason == DropReason::ConnectionReset;
        if is_reset || self.generation.snapshot.tells_refused() {
            self.answer_refused(reason, frame);
            self.report_problem(reason, frame, now);
        }
        Verdict::Drop(reason)
    }

    /// What is known of an open device.
    #[inline(always)]
    fn link(&self, device: DeviceIndex) -> Option<Link> {
        self.links.get(device.slot()).copied().flatten()
    }

    /// Who receives frames of an open device of a network.
    #[inline(always)]
    fn receiver(&self, device: DeviceIndex, scope: ScopeId) -> Option<Receiver> {
        let speaks_ipv6 = self.generation.snapshot.speaks_ipv6(scope);
        self.link(device).map(|link| Receiver { mac: link.mac, speaks_ipv6 })
    }

    fn count_arrivals(&mut self, arrival: Arrival, frames: usize, bytes: usize) {
        match arrival {
            Arrival::Peer => self.counters.taken_over += frames as u64,
            Arrival::Device => {
                self.counters.received += frames as u64;
                self.counters.received_bytes += bytes as u64;
            }
        }
    }

    /// The verdict on a frame that the short way of established flows leaves.
    #[inline(never)]
    fn go_on(
        &mut self,
        arrival: Arrival,
        (frame, step): (&mut Frame, &Step),
        now: Tick,
    ) -> Verdict {
        let offer = if step.may_open() { self.offer(frame, step) } else { None };
        let opened = offer.and_then(|offer| self.open(offer, (frame, step), now));
        let verdict = match opened.unwrap_or_else(|| self.decide(arrival, frame, now)) {
            Ok(verdict) => verdict,
            Err(reason) => self.refuse(reason, arrival, frame, now),
        };
        match verdict {
            Verdict::Consume | Verdict::TakeUp | Verdict::Reply(_) => self.counters.consumed += 1,
            Verdict::Drop(reason) => self.counters.dropped[reason.slot()] += 1,
            // Counted when it is known what became of them.
            Verdict::Forward(_) | Verdict::HandOver(_) | Verdict::Hold => {}
        }
        verdict
    }

    /// Packets wait in vain.
    fn drop_held(&mut self, count: usize) {
        self.settle(Outcome::Dropped(DropReason::NeighborUnreachable, count));
    }
}
