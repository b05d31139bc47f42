//! Plays operations on the real engine and on the model at once, and compares them: every verdict,
//! every byte that leaves, every counter, every flow.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use dataplane::device::{Batch, Frame, Link};
use dataplane::drop_reason::DropReason;
use dataplane::engine::{
    Arrival, Engine, EngineConfig, Origin, Outcome, Session, Verdict, Verdicts,
};
use dataplane::fast_path::InterfaceNumber;
use dataplane::generation::Generation;
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::nat::{Holder, Home};
use dataplane::record::{FlowEvent, FlowRecord, Recording};
use dataplane::snapshot::Snapshot;
use dataplane::types::{DeviceIndex, FlowIndex, Instant, Tick, WorkerId};

use super::accounts::Bases;
use super::choices::{Choice, SQUATTER};
use super::coverage::Coverage;
use super::expect::{same_frame, with_id_of};
use super::form::upper;
use super::look::{Look, choice_of, key_of};
use super::op::{Arrive, Op, Rings, WorldShape};
use super::rules::{Model, PoolKey};
use super::setup::{Setup, link, link_of_station, nat_ip, target};
use crate::encode::{Image, TCP, mac_of};
use crate::fast_path::{Memory, check};
use crate::script::packet::Described;

/// Calls that bring an engine through its timers, however far the clock leapt, and many more.
const ADVANCES_MAX: usize = 1_000;

/// Buffers that one world after the other uses.
pub(super) struct Rig {
    batch: Batch,
    verdicts: Verdicts,
    spare: Frame,
    sessions: Vec<Session>,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig {
            batch: Batch::new(),
            verdicts: [Verdict::Consume; BATCH_FRAMES_MAX],
            spare: Frame::new(),
            sessions: Vec::with_capacity(4096),
        }
    }
}

/// A frame on its way, and where it came in.
type Underway = (DeviceIndex, Image);

/// A world under way.
pub(super) struct Play<'r> {
    pub(super) model: Model,
    pub(super) shape: WorldShape,
    pub(super) coverage: Coverage,
    rig: &'r mut Rig,
    engines: Vec<Engine>,
    /// What each has told of flows and was not compared yet.
    told: Vec<Vec<FlowRecord>>,
    generation: Arc<Generation>,
    setup: Setup,
    now: Instant,
    refusing: Option<(DeviceIndex, DropReason)>,
    rings: Rings,
    /// Frames that were handed over and have not arrived yet, by worker.
    slow: Vec<Vec<Underway>>,
    /// Frames of the batch that is being gathered, and for which worker.
    gathered: (usize, Vec<Underway>),
    /// What the engines lend their flows to, in some worlds.
    fast_path: Option<Memory>,
    bases: Bases,
}

/// Operations between two looks at all accounts and all that is lent.
const LOOK_EVERY: u64 = 32;

/// Fails with a message if two things differ.
pub(super) fn agree<T: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: &T,
    seen: &T,
) -> Result<(), String> {
    if expected == seen {
        return Ok(());
    }
    Err(format!("{what}\n  model:  {expected:x?}\n  engine: {seen:x?}"))
}

impl<'r> Play<'r> {
    pub(super) fn new(shape: WorldShape, rig: &'r mut Rig) -> Play<'r> {
        let setup = Setup::default();
        let snapshot = Snapshot::build(setup.plan()).expect("the first plan is consistent");
        let generation = Arc::new(Generation::first(snapshot, shape.seed));
        // What is lent and carries nothing must change nothing.
        let fast_path = (shape.seed % 4 == 1).then(Memory::default);
        let engine = |worker| {
            let (workers, flows_max, seed) = (shape.workers, shape.flows_max, shape.seed);
            let config = EngineConfig { worker: WorkerId(worker), workers, flows_max, seed };
            let mut engine = Engine::new(&config, Arc::clone(&generation));
            engine.record(Recording::Traffic);
            if let Some(memory) = &fast_path {
                engine.accelerate(Box::new(memory.clone()));
                let lend =
                    |at| engine.lend_device(DeviceIndex(at), Some(InterfaceNumber(at.into())));
                (0..3).for_each(lend);
            }
            engine
        };
        let now = Instant::from_nanos(shape.start_ms * 1_000_000);
        let workers = usize::from(shape.workers);
        let model = Model::new(workers, shape.flows_max, ticks(now), setup.plan());
        let mut play = Play {
            model,
            shape,
            coverage: Coverage::default(),
            rig,
            engines: (0..shape.workers).map(engine).collect(),
            told: vec![Vec::new(); workers],
            generation,
            setup,
            now,
            refusing: None,
            rings: Rings::Free,
            slow: vec![Vec::new(); workers],
            gathered: (0, Vec::new()),
            fast_path: fast_path.clone(),
            bases: Bases::default(),
        };
        for at in 0..4 {
            play.set_link(DeviceIndex(at), Some(link(DeviceIndex(at), 1500)));
        }
        play
    }

    /// Carries an operation out on both sides.
    pub(super) fn apply(&mut self, op: &Op) -> Result<(), String> {
        self.coverage.operations += 1;
        if let Op::Arrive(arrive) = op {
            self.gather(arrive)?;
            if arrive.more {
                return Ok(());
            }
        }
        self.finish_batch()?;
        match op {
            Op::Arrive(_) => {}
            Op::Set { knob, of, value, late } => {
                self.adopt();
                self.setup.set(*knob, *of, *value);
                self.publish()?;
                self.adopt_at(0);
                if !late {
                    self.adopt();
                }
            }
            Op::Adopt => self.adopt(),
            Op::Time { ms, noticed } => self.pass(*ms, *noticed)?,
            Op::Link { device, mtu, station } => {
                self.set_link(*device, mtu.map(|mtu| link_of_station(*device, *station, mtu)));
            }
            Op::Refuse(refusing) => self.refusing = *refusing,
            Op::Rings(rings) => {
                self.rings = *rings;
                self.deliver()?;
            }
            Op::Deliver => self.deliver()?,
            Op::Squat { service, nat_ip: at, backend: to, protocol, left } => {
                let scope = self.setup.plan().services[*service as usize].scope.0;
                self.squat((scope, nat_ip(*service, *at), target(*to), *protocol as u8), *left);
            }
        }
        self.drain()?;
        self.compare()
    }

    /// The end of the list: a batch may still wait for its last frame.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.finish_batch()?;
        self.deliver()?;
        self.compare()?;
        for pool in self.generation.pools.iter() {
            let key = pool.key();
            let key = (key.scope.0, key.nat_ip.ip(), key.target.ip(), key.protocol as u8);
            let leased = (pool.leased() as usize, pool.count_leases() as usize);
            let expected = self.model.leased(key);
            agree("the leases of a pool", &(expected, expected), &leased)?;
        }
        for usage in self.generation.usages.iter() {
            let expected = self.model.flows_of(usage.link());
            agree("the flows of a connection", &expected, &(usage.flows() as usize))?;
        }
        self.bases.compare(&self.generation, &self.engines, &self.model)?;
        self.coverage.opened = self.model.opened;
        self.coverage.reported = self.model.reported;
        self.coverage.echoed = self.model.echoed;
        self.coverage.followed = self.model.followed;
        self.coverage.problems = self.model.problems;
        for engine in &self.engines {
            self.coverage.counters.add(engine.counters());
        }
        Ok(())
    }

    fn gather(&mut self, arrive: &Arrive) -> Result<(), String> {
        let worker = usize::from(arrive.worker) % self.engines.len();
        if self.gathered.0 != worker {
            self.finish_batch()?;
            self.gathered.0 = worker;
        }
        if let Some(packet) = self.resolve(arrive) {
            self.gathered.1.push((arrive.device, packet.encode()));
        }
        Ok(())
    }

    /// The packet that arrives: an answer comes from the backend to the NAT IP of its flow.
    fn resolve(&self, arrive: &Arrive) -> Option<Described> {
        let Some(scope) = arrive.answers else { return Some(arrive.packet.clone()) };
        let Described::Ipv4(shape, fault) = &arrive.packet else { return None };
        let client = (shape.source, shape.source_port);
        let endpoint = (shape.destination, shape.destination_port);
        let key = (scope, shape.protocol, client, endpoint);
        let (_, Choice { nat, backend, target }) = self.model.translations.get(&key)?;
        let mut answer = shape.clone();
        (answer.source, answer.source_port) = *target;
        (answer.destination, answer.destination_port) = *nat;
        answer.from_mac = mac_of(*backend);
        Some(Described::Ipv4(answer, *fault))
    }

    fn finish_batch(&mut self) -> Result<(), String> {
        let (worker, frames) = (self.gathered.0, std::mem::take(&mut self.gathered.1));
        self.process(worker, Arrival::Device, frames)
    }

    /// Frames arrive at a worker, in as few batches as can be told apart: which flow a packet
    /// opened is seen at the end of its batch, and so is which flow made room for it.
    fn process(
        &mut self,
        worker: usize,
        arrival: Arrival,
        frames: Vec<Underway>,
    ) -> Result<(), String> {
        let mut frames = frames.into_iter().peekable();
        while frames.peek().is_some() {
            let batch = self.next_batch(worker, &mut frames);
            let handed = self.run_batch(worker, arrival, &batch)?;
            for (peer, frames) in handed.into_iter().enumerate() {
                self.process(peer, Arrival::Peer, frames)?;
            }
            self.drain()?;
        }
        Ok(())
    }

    /// Frames that were handed over arrive.
    fn deliver(&mut self) -> Result<(), String> {
        for peer in 0..self.engines.len() {
            let frames = std::mem::take(&mut self.slow[peer]);
            self.process(peer, Arrival::Peer, frames)?;
        }
        Ok(())
    }

    /// The frames up to the first whose flow may take the place of one that the batch opens. If it
    /// may take any other's, it is the last.
    fn next_batch(
        &self,
        worker: usize,
        frames: &mut Peekable<impl Iterator<Item = Underway>>,
    ) -> Vec<Underway> {
        let (mut batch, mut openers) = (Vec::new(), BTreeSet::new());
        let (spare, mut opened) = (self.model.spare(worker), 0);
        while batch.len() < BATCH_FRAMES_MAX && opened <= spare {
            let may_join = |(device, image): &Underway| {
                let opens = self.model.may_open(worker, (*device, image));
                let is_first = opener(&image.bytes).is_none_or(|opener| openers.insert(opener));
                let joins = is_first && (!opens || opened == 0 || opened < spare);
                opened += usize::from(opens);
                joins
            };
            let Some(frame) = frames.next_if(may_join) else { break };
            batch.push(frame);
        }
        batch
    }

    /// One batch; gives back the frames that were handed over, by worker.
    fn run_batch(
        &mut self,
        worker: usize,
        arrival: Arrival,
        frames: &[Underway],
    ) -> Result<Vec<Vec<Underway>>, String> {
        self.coverage.batches += 1;
        let rig = &mut *self.rig;
        rig.batch.clear();
        for (device, image) in frames {
            let frame = rig.batch.append().expect("a batch has room");
            frame.fill(&image.bytes);
            frame.offload = image.offload;
            frame.fault = image.fault.or(frame.fault);
            frame.ingress = *device;
        }
        self.engines[worker].process(self.now, arrival, &mut rig.batch, &mut rig.verdicts);
        self.told[worker].extend(std::iter::from_fn(|| self.engines[worker].poll_record()));
        let mut handed = vec![Vec::new(); self.engines.len()];
        for (at, (device, input)) in frames.iter().enumerate() {
            let verdict = self.rig.verdicts[at];
            let look = Look {
                engine: &self.engines[worker],
                told: &self.told[worker],
                shape: self.shape,
                verdict,
            };
            let expected = self.model.arrive(worker, arrival, (*device, input), &look);
            agree("the verdict", &expected.verdict, &verdict)?;
            let frame = &self.rig.batch.frames()[at];
            if verdict == Verdict::Hold && expected.has_new_id {
                self.model.learn_id(worker, frame.bytes());
            }
            if let Some(datagram) = expected.begins {
                self.model.learn_datagram(worker, datagram, frame.bytes());
            }
            let image = expected.image.map(|image| match expected.has_new_id {
                true => with_id_of(&image, frame.bytes()),
                false => image,
            });
            let same = match &image {
                Some(image) => same_frame(image, frame, expected.zero_at),
                None if matches!(verdict, Verdict::HandOver(_)) => same_frame(input, frame, None),
                None => true,
            };
            if !same {
                agree("the frame", &image, &Some(image_of(frame)))?;
            }
            let bytes = frame.bytes().len();
            if let Some(peer) = self.settle_verdict(worker, verdict, bytes) {
                let ring = if self.rings == Rings::Slow { &mut self.slow } else { &mut handed };
                ring[peer].push((*device, input.clone()));
            }
        }
        Ok(handed)
    }

    /// Reports what became of a frame; says to whom it was handed over.
    fn settle_verdict(&mut self, worker: usize, verdict: Verdict, bytes: usize) -> Option<usize> {
        match verdict {
            Verdict::Drop(_) | Verdict::Consume => {}
            Verdict::TakeUp => self.coverage.taken_up += 1,
            Verdict::Hold => self.coverage.held += 1,
            Verdict::Forward(device) => self.send(worker, device, bytes),
            Verdict::Reply(_) => self.settle(worker, Outcome::Replied(1)),
            Verdict::HandOver(peer) => {
                let peer = usize::from(peer.0);
                if peer < self.engines.len() && self.rings != Rings::Full {
                    self.settle(worker, Outcome::HandedOver(1));
                    return Some(peer);
                }
                self.settle(worker, Outcome::Dropped(DropReason::HandoverFull, 1));
            }
        }
        None
    }

    fn send(&mut self, worker: usize, device: DeviceIndex, bytes: usize) {
        let refused = self.refusing.filter(|(refusing, _)| *refusing == device);
        let sent = Outcome::Forwarded(1, bytes);
        self.settle(worker, refused.map_or(sent, |(_, reason)| Outcome::Dropped(reason, 1)));
    }

    fn settle(&mut self, worker: usize, outcome: Outcome) {
        self.engines[worker].settle(outcome);
        self.model.settle(worker, outcome);
    }

    /// What workers send by themselves: packets that waited, in order, and requests, in any order.
    fn drain(&mut self) -> Result<(), String> {
        for worker in 0..self.engines.len() {
            let mut held = self.model.release(worker);
            let (told, verdict) = (&self.told[worker][..], Verdict::Consume);
            let look = Look { engine: &self.engines[worker], told, shape: self.shape, verdict };
            held.extend(self.model.release_fragments(worker, &look));
            let mut held = held.into_iter();
            if worker == 0 {
                self.model.announce();
            }
            self.model.send_headers(worker);
            self.model.probe(worker);
            let mut expected = std::mem::take(&mut self.model.workers[worker].requests);
            let mut requests = Vec::new();
            while let Some((device, origin)) =
                self.engines[worker].poll_transmit(&mut self.rig.spare)
            {
                let seen = (device, image_of(&self.rig.spare));
                match origin {
                    Origin::Held => {
                        agree("the packet whose wait is over", &held.next(), &Some(seen))?;
                        self.send(worker, device, self.rig.spare.bytes().len());
                    }
                    Origin::Own => {
                        self.settle(worker, Outcome::Originated(1));
                        requests.push(seen);
                    }
                }
            }
            agree("the packet whose wait is over", &held.next(), &None)?;
            let order = |(device, image): &Underway| (*device, image.bytes.clone());
            expected.sort_by_key(order);
            requests.sort_by_key(order);
            agree("the requests", &expected, &requests)?;
            self.hand_over_released(worker)?;
        }
        Ok(())
    }

    /// Fragments that waited and that another worker is to be given.
    fn hand_over_released(&mut self, worker: usize) -> Result<(), String> {
        let mut expected = self.model.release_to_peers(worker).into_iter();
        let mut handed = vec![Vec::new(); self.engines.len()];
        while let Some(peer) = self.engines[worker].poll_hand_over(&mut self.rig.spare) {
            let (ingress, image) = (self.rig.spare.ingress, image_of(&self.rig.spare));
            let seen = (usize::from(peer.0), ingress, image);
            agree("the fragment for another worker", &expected.next().as_ref(), &Some(&seen))?;
            let bytes = self.rig.spare.bytes().len();
            if let Some(peer) = self.settle_verdict(worker, Verdict::HandOver(peer), bytes) {
                let ring = if self.rings == Rings::Slow { &mut self.slow } else { &mut handed };
                ring[peer].push((ingress, seen.2));
            }
        }
        agree("the fragment for another worker", &expected.next(), &None)?;
        for (peer, frames) in handed.into_iter().enumerate() {
            self.process(peer, Arrival::Peer, frames)?;
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64, noticed: bool) -> Result<(), String> {
        self.now = self.now.after(Duration::from_millis(ms));
        if self.now.tick() == Tick(0) {
            // Tick 0 is "never" to the engine's memory of requests.
            self.now = self.now.after(Duration::from_nanos(Tick::NANOS));
        }
        self.model.now = ticks(self.now);
        for (worker, engine) in self.engines.iter_mut().enumerate().filter(|_| noticed) {
            // Twice: a configuration with shorter timeouts may end flows that it goes on with.
            for _ in 0..2 {
                let mut calls = 0..ADVANCES_MAX;
                if calls.all(|_| engine.advance(self.now)) {
                    return Err("the engine never gets through with its timers".to_owned());
                }
            }
            self.told[worker].extend(std::iter::from_fn(|| engine.poll_record()));
            let (told, verdict) = (&self.told[worker][..], Verdict::Consume);
            let look = Look { engine, told, shape: self.shape, verdict };
            self.model.advance(worker, &look);
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), String> {
        let snapshot = Snapshot::build(self.setup.plan()).expect("every plan here is consistent");
        let next = self.generation.next(snapshot, self.shape.seed);
        let accounts = (&*self.generation.accounts, &*next.accounts);
        self.bases.follow(accounts, &self.engines, &mut self.model)?;
        self.generation = Arc::new(next);
        self.model.publish(self.setup.plan());
        Ok(())
    }

    fn adopt(&mut self) {
        for worker in 0..self.engines.len() {
            self.adopt_at(worker);
        }
    }

    fn adopt_at(&mut self, worker: usize) {
        if self.engines[worker].generation().number != self.generation.number {
            self.engines[worker].adopt(Arc::clone(&self.generation));
            self.model.adopt(worker);
        }
    }

    fn set_link(&mut self, device: DeviceIndex, link: Option<Link>) {
        for engine in &mut self.engines {
            match link {
                Some(link) => engine.attach(device, link),
                None => engine.detach(device),
            }
        }
        self.model.set_link(device, link);
    }

    /// Another worker, which plays no other part, leases what is left of a pool but a few ports.
    fn squat(&mut self, (scope, nat_ip, target, protocol): PoolKey, left: usize) {
        let mut pools = self.generation.pools.iter();
        let wanted = pools.find(|pool| {
            let key = pool.key();
            (key.scope.0, key.nat_ip.ip(), key.target.ip(), key.protocol as u8)
                == (scope, nat_ip, target, protocol)
        });
        let Some(pool) = wanted else { return };
        let home = Home::new(SQUATTER, 64);
        let ports: Vec<_> = (0..).map_while(|at| pool.lease(&home, FlowIndex(at))).collect();
        let mut free = BTreeSet::new();
        for (at, port) in (0..).zip(ports).take(left) {
            pool.release(port, Holder { worker: SQUATTER, flow: FlowIndex(at) });
            free.insert(port);
        }
        self.model.squat((scope, nat_ip, target, protocol), free);
    }

    fn compare(&mut self) -> Result<(), String> {
        if let Some(complaint) = self.model.complaints.first() {
            return Err(format!("a choice that is not allowed: {complaint}"));
        }
        for worker in 0..self.engines.len() {
            let unanswered = self.model.count_unanswered(worker) as u64;
            let headers = self.model.count_headers(worker) as u64;
            let held = self.model.count_waiting(worker) as u64;
            let expected = &mut self.model.workers[worker].counters;
            expected.held = held;
            (expected.flows_unanswered, expected.proxy_headers_waiting) = (unanswered, headers);
            agree("the counters", &*expected, self.engines[worker].counters())?;
            self.compare_flows(worker)?;
            self.compare_told(worker)?;
        }
        if !self.coverage.operations.is_multiple_of(LOOK_EVERY) {
            return Ok(());
        }
        self.bases.compare(&self.generation, &self.engines, &self.model)?;
        self.fast_path.as_ref().map_or(Ok(()), |memory| check(&self.engines, memory))
    }

    /// What was told of each flow, in order; free: the order of flows.
    fn compare_told(&mut self, worker: usize) -> Result<(), String> {
        let mut expected = std::mem::take(&mut self.model.workers[worker].told);
        let mut seen = std::mem::take(&mut self.told[worker]);
        seen.extend(std::iter::from_fn(|| self.engines[worker].poll_record()));
        for record in &seen {
            *self.coverage.told.entry(record.event).or_default() += 1;
            let floats = record.target.0 != record.backend && record.event == FlowEvent::Began;
            self.coverage.floated += u64::from(floats);
        }
        let order = |record: &FlowRecord| key_of(&record.key);
        expected.sort_by_key(order);
        seen.sort_by_key(order);
        agree("what is told of flows", &expected, &seen)
    }

    fn compare_flows(&mut self, worker: usize) -> Result<(), String> {
        let (engine, sessions) = (&self.engines[worker], &mut self.rig.sessions);
        sessions.clear();
        engine.sessions(self.now, FlowIndex(0), u32::MAX, sessions);
        let now = self.model.now;
        let alive = self.model.flows.values();
        let alive = alive.filter(|flow| flow.worker == worker && !flow.is_expired(now)).count();
        agree("the number of live flows", &alive, &sessions.len())?;
        let duration = |ticks: u64| Duration::from_nanos(ticks * Tick::NANOS);
        for session in sessions {
            let seen = Some((
                (session.link, choice_of(session), session.state.name()),
                (session.idle, session.idle + session.expires_in),
            ));
            let flow = self.model.flows.get(&key_of(&session.key));
            let expected = flow.map(|flow| {
                let times = (duration(now - flow.last_seen), duration(flow.timeout));
                ((flow.link, flow.choice, flow.state.name()), times)
            });
            agree("a flow", &expected, &seen)?;
        }
        Ok(())
    }
}

fn ticks(now: Instant) -> u64 {
    now.as_nanos() / Tick::NANOS
}

fn image_of(frame: &Frame) -> Image {
    Image { bytes: frame.bytes().to_vec(), offload: frame.offload, fault: frame.fault }
}

/// Addresses and ports of a frame that may open a TCP connection.
fn opener(bytes: &[u8]) -> Option<Vec<u8>> {
    let ip = bytes.get(14..)?;
    let (protocol, at, addresses) = match ip.first()? >> 4 {
        6 => {
            let addresses = ip.get(8..40)?;
            let upper = upper(ip).ok()?;
            (upper.number, upper.at, addresses)
        }
        _ => (*ip.get(9)?, usize::from(ip[0] & 15) * 4, ip.get(12..20)?),
    };
    let opens = protocol == TCP && ip.get(at + 13).is_some_and(|flags| flags & 0x12 == 2);
    let ports = ip.get(at..at + 4).filter(|_| opens)?;
    Some([addresses, ports].concat())
}
