//! Drives engines by hand: frames in, verdicts carried out, time and configuration changed between
//! any two batches; no threads, no clock, no sleep.
//!
//! The hosts of the provider answer ARP by themselves unless they are silent. After every step the
//! checkers of [`crate::check`] look at every frame that left and at every table.

mod flood;
mod lent;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::device::Frame;
use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdicts;
use dataplane::engine::{Arrival, Engine, EngineConfig, Origin, Outcome, Session, Verdict};
use dataplane::generation::Generation;
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::snapshot::{Gate, Patch};
use dataplane::types::{DeviceIndex, FlowIndex, Instant, WorkerId};

use crate::check::{Checker, Passage};
use crate::encode::{ArpShape, Image, TCP, mac_of};
use crate::observe::{Observed, observe, piece};
use crate::topology::Topology;
use lent::Lent;

pub use flood::{Flood, Reach, Socket, Tally, clients};

/// Sizes and secret of a world.
#[derive(Clone, Copy, Debug)]
pub struct WorldConfig {
    /// How many engines.
    pub workers: u8,
    /// Flows that each has room for.
    pub flows_max: usize,
    /// Secret of hashes and ports.
    pub seed: u64,
    /// Whether tables are checked after every step, or only when asked.
    pub check_tables: bool,
}

impl Default for WorldConfig {
    fn default() -> Self {
        WorldConfig { workers: 1, flows_max: 65_536, seed: 1, check_tables: true }
    }
}

/// Why a frame left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Translated.
    Forwarded,
    /// An answer of adit's.
    Replied,
    /// A request of adit's.
    Requested,
    /// What adit says to whom it refuses or whose connection it ends.
    Told,
}

/// A frame that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// By which device.
    pub device: DeviceIndex,
    /// Why.
    pub kind: Kind,
    /// What.
    pub image: Image,
}

/// A frame on its way: as it came, where from, and what the engine made of it.
struct Underway {
    ingress: DeviceIndex,
    input: Image,
    output: Image,
    /// How often it was handed over.
    handed: u8,
}

impl Underway {
    fn new(ingress: DeviceIndex, input: Image) -> Underway {
        Underway { ingress, input, output: Image::default(), handed: 0 }
    }

    /// Another worker gets it: of fragments the one at which they meet, then the one whose they
    /// are; of anything else that one at once.
    fn hand_over(&mut self) {
        self.handed += 1;
        let most = if is_fragment(&self.input.bytes) { 2 } else { 1 };
        assert!(self.handed <= most, "a frame was handed over {} times", self.handed);
    }
}

/// See the module's documentation.
pub struct World {
    /// The configuration as of the last reload.
    pub topology: Topology,
    /// The time.
    pub now: Instant,
    /// The engines, by worker.
    pub engines: Vec<Engine>,
    /// Frames that left and nobody took yet.
    pub left: VecDeque<Left>,
    /// Hosts that do not answer ARP.
    pub silent: BTreeSet<IpAddr>,
    /// Whether hosts answer ARP at all, out of sight.
    pub answers_arp: bool,
    /// A device that refuses frames, and the reason under which that is counted.
    pub refusing: Option<(DeviceIndex, DropReason)>,
    /// The generation that was built last.
    pub generation: Arc<Generation>,
    config: WorldConfig,
    /// The topology that each engine works with.
    views: Vec<Arc<Topology>>,
    /// What the generation that was built last says.
    published: Arc<Topology>,
    checker: Checker,
    /// Frames that wait for a next hop, by the worker whose engine has them.
    held: Vec<Vec<Underway>>,
    handed: Vec<VecDeque<Underway>>,
    batch: Lent,
    verdicts: Verdicts,
    spare: Frame,
}

impl World {
    /// A world whose next hops are all resolved.
    #[must_use]
    pub fn new(topology: Topology) -> World {
        World::with(topology, WorldConfig::default())
    }

    /// As [`World::new`], of these sizes.
    #[must_use]
    pub fn with(topology: Topology, config: WorldConfig) -> World {
        World::with_silent(topology, config, &[])
    }

    /// As [`World::with`], in which some hosts do not answer ARP.
    #[must_use]
    pub fn with_silent(topology: Topology, config: WorldConfig, silent: &[IpAddr]) -> World {
        let mut world = World::unstarted(topology, config);
        world.silent = silent.iter().copied().collect();
        // An advance asks for some next hops at a time.
        for _ in 0..=world.generation.neighbors.len() {
            world.advance();
        }
        world
    }

    /// As [`World::with`], in which adit's ARP requests leave like any frame and nobody answers;
    /// none was sent yet.
    #[must_use]
    pub fn with_manual_arp(topology: Topology, config: WorldConfig) -> World {
        let mut world = World::unstarted(topology, config);
        world.answers_arp = false;
        world
    }

    fn unstarted(topology: Topology, config: WorldConfig) -> World {
        let generation = Arc::new(Generation::first(topology.snapshot(), config.seed));
        let engine = |worker| {
            let sizes = EngineConfig {
                worker: WorkerId(worker),
                workers: config.workers,
                flows_max: config.flows_max,
                seed: config.seed,
            };
            Engine::new(&sizes, Arc::clone(&generation))
        };
        let view = Arc::new(topology.clone());
        let mut world = World {
            now: Instant::from_nanos(1_000_000_000),
            engines: (0..config.workers).map(engine).collect(),
            left: VecDeque::new(),
            silent: BTreeSet::new(),
            answers_arp: true,
            refusing: None,
            views: vec![Arc::clone(&view); usize::from(config.workers)],
            published: view,
            checker: Checker::new(config.seed),
            held: (0..config.workers).map(|_| Vec::new()).collect(),
            handed: (0..config.workers).map(|_| VecDeque::new()).collect(),
            batch: Lent::new(),
            verdicts: [Verdict::Consume; BATCH_FRAMES_MAX],
            spare: Frame::new(),
            topology,
            generation,
            config,
        };
        let devices = world.topology.links.len();
        for at in 0..devices {
            world.attach(DeviceIndex(u16::try_from(at).unwrap()));
        }
        world
    }

    /// A device comes up, with the link that the topology says.
    pub fn attach(&mut self, device: DeviceIndex) {
        let link = self.topology.links[device.slot()];
        for engine in &mut self.engines {
            engine.attach(device, link);
        }
    }

    /// A device goes down.
    pub fn detach(&mut self, device: DeviceIndex) {
        for engine in &mut self.engines {
            engine.detach(device);
        }
    }

    /// One frame arrives at worker 0.
    pub fn arrive(&mut self, device: DeviceIndex, image: &Image) -> Verdict {
        self.arrive_at(0, device, std::slice::from_ref(image))[0]
    }

    /// Frames arrive at a worker, in batches as full as can be.
    pub fn arrive_at(
        &mut self,
        worker: usize,
        device: DeviceIndex,
        images: &[Image],
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(images.len());
        for chunk in images.chunks(BATCH_FRAMES_MAX) {
            let underway = chunk.iter().map(|input| Underway::new(device, input.clone()));
            verdicts.extend(self.process(worker, Arrival::Device, underway.collect()));
            self.settle_down();
        }
        self.check_step();
        verdicts
    }

    /// Time passes, noticed as often as a worker would.
    pub fn pass(&mut self, duration: Duration) {
        let step = Duration::from_millis(20);
        let end = self.now.after(duration);
        while self.now < end {
            self.now = self.now.after(step).min(end);
            self.advance();
        }
        self.check_step();
    }

    /// Time jumps and is noticed once, afterwards.
    pub fn leap(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        self.advance();
        self.check_step();
    }

    /// Puts the topology in force in all engines.
    pub fn reload(&mut self) {
        self.publish();
        for worker in 0..self.engines.len() {
            self.adopt(worker);
        }
    }

    /// Builds the generation of the topology; engines go on with theirs.
    pub fn publish(&mut self) {
        let next = self.generation.next(self.topology.snapshot(), self.config.seed);
        self.generation = Arc::new(next);
        self.published = Arc::new(self.topology.clone());
    }

    /// One engine adopts the generation that was built last, maybe the one that it has.
    pub fn adopt(&mut self, worker: usize) {
        self.views[worker] = Arc::clone(&self.published);
        let has = &self.engines[worker].generation().neighbors;
        // Only with other next hops does it give up on what waits for them.
        if !self.generation.neighbors.is_shared_with(has) {
            self.held[worker].clear();
        }
        self.engines[worker].adopt(Arc::clone(&self.generation));
        self.drain(worker);
        self.check_step();
    }

    /// Decides on the connections of a tenant's endpoints as control does: in a patch of what is in
    /// force, which all engines adopt.
    ///
    /// # Panics
    /// The engines refuse the patch.
    pub fn decide(&mut self, tenant: DeviceIndex, gate: Gate) {
        self.topology.set_gate(tenant, gate);
        let endpoints = self.topology.plan.endpoints.clone().into_iter();
        for endpoint in endpoints.filter(|endpoint| endpoint.scope.0 == tenant.0) {
            let patch = Patch::gate(&self.generation.snapshot, endpoint.link, gate);
            let next = self.generation.with(&patch).expect("a gate contradicts nothing");
            self.generation = Arc::new(next);
            self.published = Arc::new(self.topology.clone());
            for worker in 0..self.engines.len() {
                self.views[worker] = Arc::clone(&self.published);
                self.engines[worker].adopt(Arc::clone(&self.generation));
                self.drain(worker);
                self.check_step();
            }
        }
    }

    /// Takes the oldest frame that left.
    ///
    /// # Panics
    /// None did.
    pub fn take(&mut self) -> Left {
        self.left.pop_front().expect("a frame left")
    }

    /// Live flows of all workers.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        let mut all = Vec::new();
        for engine in &self.engines {
            let mut some = Vec::with_capacity(engine.flows().extent());
            let end = engine.sessions(self.now, FlowIndex(0), u32::MAX, &mut some);
            assert_eq!(end, None, "there was room for all sessions");
            all.extend(some);
        }
        all
    }

    /// Packets dropped for a reason, by all workers.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        let count = |engine: &Engine| engine.counters().dropped[reason.slot()];
        self.engines.iter().map(count).sum()
    }

    /// Looks at every table.
    pub fn check_tables(&mut self) {
        let engines: Vec<&Engine> = self.engines.iter().collect();
        self.checker.tables(&engines, &self.generation);
    }

    fn check_step(&mut self) {
        self.checker.accounts(&self.engines);
        if self.config.check_tables {
            self.check_tables();
        }
    }

    fn advance(&mut self) {
        for worker in 0..self.engines.len() {
            while self.engines[worker].advance(self.now) {}
            self.drain(worker);
        }
        self.settle_down();
    }

    /// Serves peers and lets engines send until nothing moves.
    fn settle_down(&mut self) {
        for worker in 0..self.engines.len() {
            self.drain(worker);
        }
        while let Some(worker) = self.handed.iter().position(|frames| !frames.is_empty()) {
            let count = self.handed[worker].len().min(BATCH_FRAMES_MAX);
            let frames = self.handed[worker].drain(..count).collect();
            self.process(worker, Arrival::Peer, frames);
            self.drain(worker);
        }
    }

    fn process(
        &mut self,
        worker: usize,
        arrival: Arrival,
        mut frames: Vec<Underway>,
    ) -> Vec<Verdict> {
        self.batch.clear();
        for underway in &frames {
            let frame = self.batch.append().expect("a batch has room");
            frame.fill(&underway.input.bytes);
            frame.offload = underway.input.offload;
            frame.fault = underway.input.fault.or(frame.fault);
            frame.ingress = underway.ingress;
        }
        let engine = &mut self.engines[worker];
        engine.process(self.now, arrival, &mut self.batch, &mut self.verdicts);
        let verdicts = self.verdicts[..frames.len()].to_vec();
        for (frame, underway) in self.batch.frames().iter().zip(&mut frames) {
            underway.output.bytes = frame.bytes().to_vec();
            underway.output.offload = frame.offload;
        }
        while let Some(device) = self.engines[worker].poll_ahead(&mut self.spare) {
            self.engines[worker].settle(Outcome::Originated(1));
            let image = Image { bytes: self.spare.bytes().to_vec(), ..Image::default() };
            self.left.push_back(Left { device, kind: Kind::Told, image });
        }
        for (underway, verdict) in frames.into_iter().zip(&verdicts) {
            self.carry_out(worker, underway, *verdict);
        }
        verdicts
    }

    fn carry_out(&mut self, worker: usize, mut underway: Underway, verdict: Verdict) {
        match verdict {
            Verdict::Drop(_) | Verdict::Consume | Verdict::TakeUp => {}
            Verdict::Hold => {
                let packets = [&underway.input, &underway.output];
                let is_later = matches!(observe(&packets[0].bytes), Observed::Fragment(_));
                if !is_later {
                    self.checker.wait(&self.views[worker], underway.ingress, packets);
                }
                self.held[worker].push(underway);
            }
            Verdict::HandOver(peer) => {
                self.engines[worker].settle(Outcome::HandedOver(1));
                assert!(underway.output == underway.input, "handed over unchanged");
                underway.hand_over();
                self.handed[usize::from(peer.0)].push_back(underway);
            }
            Verdict::Forward(device) => {
                self.forward(worker, device, underway);
            }
            Verdict::Reply(device) => {
                self.engines[worker].settle(Outcome::Replied(1));
                let image = underway.output;
                self.left.push_back(Left { device, kind: Kind::Replied, image });
            }
        }
    }

    fn forward(&mut self, worker: usize, device: DeviceIndex, underway: Underway) {
        let Underway { ingress, input, output, .. } = underway;
        if matches!(observe(&input.bytes), Observed::Error(_)) {
            let sessions = self.sessions();
            self.checker.know(&self.views[worker], &sessions);
        }
        self.checker.passage(&Passage {
            topology: &self.views[worker],
            ingress,
            input: &input,
            egress: device,
            output: &output,
        });
        let engine = &mut self.engines[worker];
        match self.refusing {
            Some((refusing, reason)) if refusing == device => {
                engine.settle(Outcome::Dropped(reason, 1));
            }
            _ => {
                engine.settle(Outcome::Forwarded(1, output.bytes.len()));
                self.left.push_back(Left { device, kind: Kind::Forwarded, image: output });
            }
        }
    }

    /// Lets an engine send what it wants to; hosts answer its requests.
    fn drain(&mut self, worker: usize) {
        while let Some((device, origin)) = self.engines[worker].poll_transmit(&mut self.spare) {
            let image = Image {
                bytes: self.spare.bytes().to_vec(),
                offload: self.spare.offload,
                fault: None,
            };
            match origin {
                Origin::Held => {
                    let same = |held: &Underway| is_same(&held.output, &image);
                    let held = &mut self.held[worker];
                    let at = held.iter().rposition(same).expect("it was held before");
                    let mut underway = held.remove(at);
                    underway.output = image;
                    self.forward(worker, device, underway);
                }
                Origin::Own => {
                    self.engines[worker].settle(Outcome::Originated(1));
                    self.request(worker, device, image);
                }
            }
        }
        while let Some(peer) = self.engines[worker].poll_hand_over(&mut self.spare) {
            let bytes = self.spare.bytes();
            let held = &mut self.held[worker];
            let at = held.iter().rposition(|held| held.output.bytes == bytes);
            let mut underway = held.remove(at.expect("it was held before"));
            underway.hand_over();
            assert_eq!(underway.ingress, self.spare.ingress, "where it came from");
            self.engines[worker].settle(Outcome::HandedOver(1));
            self.handed[usize::from(peer.0)].push_back(underway);
        }
    }

    fn request(&mut self, worker: usize, device: DeviceIndex, image: Image) {
        let (sender, target, from_mac) = match observe(&image.bytes) {
            Observed::Arp { operation: 1, sender, target, from_mac, .. } => {
                (sender, target, from_mac)
            }
            Observed::Transport(said) if said.protocol == TCP => {
                self.left.push_back(Left { device, kind: Kind::Told, image });
                return;
            }
            Observed::Error(_) => {
                self.left.push_back(Left { device, kind: Kind::Told, image });
                return;
            }
            Observed::Ndp(question) if question.asks => {
                if !self.answers_arp {
                    self.left.push_back(Left { device, kind: Kind::Requested, image });
                } else if !self.silent.contains(&question.target) {
                    let underway = Underway::new(device, crate::ndp::answer(&question));
                    self.process(worker, Arrival::Device, vec![underway]);
                }
                return;
            }
            Observed::Ndp(_) => {
                self.left.push_back(Left { device, kind: Kind::Told, image });
                return;
            }
            Observed::Other if image.bytes.get(12..14) == Some(&[0x86, 0xdd]) => {
                self.left.push_back(Left { device, kind: Kind::Told, image });
                return;
            }
            other => panic!("adit itself sends ARP, TCP and ICMP errors only: {other:?}"),
        };
        if !self.answers_arp {
            self.left.push_back(Left { device, kind: Kind::Requested, image });
        } else if !self.silent.contains(&target) {
            let answer = ArpShape::is_at((target, mac_of(target)), (sender, from_mac)).encode();
            let underway = Underway::new(device, answer);
            self.process(worker, Arrival::Device, vec![underway]);
        }
    }
}

/// Whether a frame holds a part of a datagram, the first one included.
fn is_fragment(bytes: &[u8]) -> bool {
    piece(bytes).is_some()
}

/// Whether a frame that leaves is one that waited: all but its stations was written before, unless
/// it is a later fragment, which is translated only now.
fn is_same(held: &Image, left: &Image) -> bool {
    if held.offload == left.offload && held.bytes[12..] == left.bytes[12..] {
        return true;
    }
    match (observe(&held.bytes), observe(&left.bytes)) {
        (Observed::Fragment(held), Observed::Fragment(left)) => {
            (held.piece.offset, held.payload) == (left.piece.offset, left.payload)
        }
        _ => false,
    }
}
