//! One world: everything that a seed decides, put together and played event by event.

use std::net::IpAddr;
use std::time::Duration;

use dataplane::device::Link;
use dataplane::drop_reason::DropReason;
use dataplane::engine::Engine;
use dataplane::nat::{Holder, Pool};
use dataplane::record::Recording;
use dataplane::snapshot::PoolKey;
use dataplane::types::{FlowIndex, Instant, MacAddress, WorkerId};
use dataplane::worker::{CrewConfig, Worker, crew};
use pnet_base::MacAddr;
use pnet_packet::ethernet::EthernetPacket;

use super::Report;
use super::agenda::{Agenda, MICRO, MILLI, Nanos, SECOND};
use super::chaos::Undo;
use super::client::Client;
use super::dial::{Dial, Dials, Ending, Progress};
use super::host::{App, Host};
use super::intent::{Intent, Service, Way, backend, client, frontend, nat_ip};
use super::link::{Cable, Faults};
use super::nic::{Bench, Deed, Fate};
use super::pattern::CELL;
use super::program::Program;
use super::segments;
use super::server::Server;
use super::swarm::Swarm;
use super::trace::{Lines, Trace};
use super::watch::{Moment, Watch};
use crate::{Image, Observed, Random, mac_of, observe};

/// Longer than any timeout: what is silent for so long is forgotten.
const SILENCE: Nanos = 400 * SECOND;

/// When a world is over even if somebody still waits.
const HORIZON: Nanos = 6_000 * SECOND;

/// The longest time without a look at a worker.
const TURN_MAX: Nanos = 100 * MILLI;

/// A transmit ring that is not empty gives more frames to its cable after this long.
const DRAIN_INTERVAL: Nanos = 50 * MICRO;

/// Flows for each of which the tables may be looked at one turn later.
const FLOWS_PER_LOOK: usize = 16;

/// The flow that holds ports which the world itself leased, of a worker that does not exist.
pub(super) const NOBODY: Holder = Holder { worker: WorkerId(63), flow: FlowIndex(1 << 25) };

/// What can happen.
pub(super) enum Event {
    ToHost(usize, Vec<u8>),
    ToAdit { network: usize, bytes: Vec<u8>, is_intact: bool },
    Host(usize),
    Turn(usize),
    Drain,
    Act,
    Undo(Undo),
}

/// See the module's documentation.
pub(super) struct World {
    pub(super) swarm: Swarm,
    pub(super) random: Random,
    pub(super) now: Nanos,
    /// adit's clock shows this more: it may start anywhere.
    epoch: Nanos,
    pub(super) agenda: Agenda<Event>,
    pub(super) hosts: Vec<Host>,
    /// From hosts to adit and from adit to hosts, by network.
    inward: Vec<Cable>,
    outward: Vec<Cable>,
    pub(super) bench: Bench,
    workers: Vec<Worker<Bench>>,
    due: Vec<Nanos>,
    pub(super) stalled: Vec<Nanos>,
    is_draining: bool,
    pub(super) intent: Intent,
    pub(super) program: Program,
    watch: Watch,
    pub(super) trace: Trace,
    pub(super) dials: Dials,
    /// Ports that the world itself leased.
    pub(super) reserved: Vec<(PoolKey, Vec<u16>)>,
    pub(super) acts_left: usize,
    steps: u64,
    /// Turns since the tables were looked at, and what they were like.
    turns: usize,
    looked_at: [u64; 3],
}

impl World {
    pub(super) fn new(seed: u64, lines: Lines) -> World {
        let mut random = Random::new(seed);
        let swarm = Swarm::draw(&mut random);
        let intent = intent(&swarm);
        let program = Program::new(&intent.text(), seed);
        let bench = Bench::default();
        let networks = intent.networks();
        let cables = |faults| (0..networks).map(|at| Cable::new(faults, swarm.mtus[at])).collect();
        let inward = cables(swarm.faults);
        // Only on the way to adit: of two flipped bits, an Internet checksum may notice neither.
        let outward = cables(Faults { corrupt: 0, cut: 0, ..swarm.faults });
        for network in 0..networks {
            let link = link(network, swarm.mtus[network]);
            for worker in 0..swarm.workers {
                bench.0.borrow_mut().plug(network, worker, link, swarm.rings);
            }
        }
        let config = CrewConfig {
            workers: swarm.workers,
            flows_max: swarm.flows_max,
            seed,
            recording: Recording::Traffic,
        };
        let seats = crew(config, &program.cell);
        let workers: Vec<_> =
            seats.into_iter().map(|seat| Worker::new(seat, bench.clone())).collect();
        let dials = Dials::new(plan_dials(&swarm, &intent, &mut random));
        let hosts = hosts(&swarm, &intent, &dials, &mut random);
        let own = (0..networks).map(|at| MacAddr::from(link(at, 0).mac.0)).collect();
        let (watch, trace) = (Watch::new(seed, own, swarm.workers), Trace::new(lines));
        // The second makes ticks wrap while the world lasts.
        let epoch = *random.pick(&[SECOND, (u64::from(u32::MAX) - 20_000) * 10 * MILLI]);
        World {
            epoch,
            agenda: Agenda::new(),
            inward,
            outward,
            due: vec![Nanos::MAX; workers.len()],
            stalled: vec![0; workers.len()],
            acts_left: swarm.count * usize::from(!swarm.acts.is_empty()),
            reserved: Vec::new(),
            is_draining: false,
            now: 0,
            steps: 0,
            turns: 0,
            looked_at: [0; 3],
            swarm,
            random,
            hosts,
            bench,
            workers,
            intent,
            program,
            watch,
            trace,
            dials,
        }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn last_lines(&self) -> Vec<String> {
        self.trace.last()
    }

    /// Plays it to its end.
    pub(super) fn run(&mut self) -> Report {
        self.trace.event(0, "swarm", format!("{:?}", self.swarm));
        (0..self.workers.len()).for_each(|worker| self.schedule_turn(worker, 0));
        for host in 0..self.hosts.len() {
            self.poll_host(host);
        }
        self.schedule_act();
        while let Some(at) = self.agenda.next_at() {
            let is_over = self.acts_left == 0 && self.dials.all.iter().all(Dial::is_over);
            if is_over || at > HORIZON {
                break;
            }
            self.step();
        }
        self.judge_transfers();
        self.fall_silent();
        self.report()
    }

    /// The next thing happens.
    fn step(&mut self) {
        let Some((at, event)) = self.agenda.next() else { return };
        self.now = self.now.max(at);
        self.steps += 1;
        match event {
            Event::ToHost(network, bytes) => self.reach_host(network, &bytes),
            Event::ToAdit { network, bytes, is_intact } => {
                self.reach_adit(network, bytes, is_intact);
            }
            Event::Host(host) => {
                if self.hosts[host].due <= self.now {
                    self.poll_host(host);
                }
            }
            Event::Turn(worker) => {
                if self.due[worker] <= self.now {
                    self.turn(worker);
                }
            }
            Event::Drain => {
                self.is_draining = false;
                self.drain();
            }
            Event::Act => self.act(),
            Event::Undo(undo) => self.undo(undo),
        }
    }

    fn reach_host(&mut self, network: usize, bytes: &[u8]) {
        // Frames that were cut within their header are nobody's.
        let Some(ethernet) = EthernetPacket::new(bytes) else { return };
        let target = ethernet.get_destination();
        let is_group = target.0 & 1 == 1;
        for at in 0..self.hosts.len() {
            let host = &mut self.hosts[at];
            if host.network == network && (host.mac == target || is_group) {
                self.trace.frame(self.now, "to host", host.address, bytes);
                host.hear(bytes.to_vec());
                self.poll_host(at);
            }
        }
    }

    pub(super) fn poll_host(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        let network = host.network;
        let frames = host.poll(self.now, &mut self.dials);
        let deadline = host.deadline(self.now, &self.dials);
        host.due = deadline.map_or(Nanos::MAX, |due| due.max(self.now + MICRO));
        if host.due < Nanos::MAX {
            self.agenda.note(host.due, Event::Host(at));
        }
        for bytes in frames {
            self.send_inward(network, &bytes);
        }
    }

    /// A host sends a frame towards adit.
    pub(super) fn send_inward(&mut self, network: usize, bytes: &[u8]) {
        for carried in self.inward[network].carry(&mut self.random, self.now, bytes) {
            let (bytes, is_intact) = (carried.bytes, carried.is_intact);
            self.agenda.note(carried.at, Event::ToAdit { network, bytes, is_intact });
        }
    }

    fn reach_adit(&mut self, network: usize, bytes: Vec<u8>, is_intact: bool) {
        let worker = match observe(&bytes) {
            Observed::Transport(seen) if !self.swarm.scatters => {
                usize::from(seen.source_port ^ seen.destination_port) % self.workers.len()
            }
            _ => self.random.below(self.workers.len()),
        };
        let number = u8::try_from(worker).unwrap();
        if self.swarm.merges && is_intact && self.joins(network, number, &bytes) {
            return;
        }
        let image = self.watch.number(network, Image::from(bytes), is_intact);
        self.trace.frame(self.now, "to adit", format!("net{network}/{worker}"), &image.bytes);
        if self.bench.0.borrow_mut().arrive(network, number, image) {
            self.schedule_soon(worker);
        } else {
            self.trace.event(self.now, "missed", network);
        }
    }

    /// Whether a frame became part of the one that arrived before it, and waits for a worker.
    fn joins(&mut self, network: usize, worker: u8, bytes: &[u8]) -> bool {
        let mut machine = self.bench.0.borrow_mut();
        let Some(last) = machine.last_arrival(network, worker) else { return false };
        let merged = self.watch.intact(last).and_then(|last| segments::merge(&last, bytes));
        let Some(merged) = merged else { return false };
        *last = self.watch.number(network, merged, true);
        self.trace.frame(self.now, "joins", format!("net{network}/{worker}"), &last.bytes);
        true
    }

    /// A worker shall turn this much later, or earlier.
    pub(super) fn schedule_turn(&mut self, worker: usize, wait: Nanos) {
        let at = (self.now + wait).max(self.stalled[worker]);
        if at < self.due[worker] {
            self.due[worker] = at;
            self.agenda.note(at, Event::Turn(worker));
        }
    }

    /// A worker shall turn as soon as it does in this world. One that does not exist is nobody's:
    /// ports that the world itself leased are held in its name.
    fn schedule_soon(&mut self, worker: usize) {
        if worker < self.workers.len() {
            let wait = self.random.below(self.swarm.latency) as Nanos * MICRO;
            self.schedule_turn(worker, wait);
        }
    }

    pub(super) fn clock(&self) -> Instant {
        Instant::from_nanos(self.epoch + self.now)
    }

    fn turn(&mut self, at: usize) {
        self.due[at] = Nanos::MAX;
        if self.stalled[at] > self.now {
            self.schedule_turn(at, 0);
            return;
        }
        let clock = self.clock();
        let worker = &mut self.workers[at];
        let has_worked = worker.turn(clock);
        let (deeds, woken) = {
            let mut machine = self.bench.0.borrow_mut();
            (machine.take_journal(), machine.take_woken())
        };
        let generation = self.program.current.number.0;
        let moment = Moment { now: self.now, worker: at, intent: &self.intent, generation };
        for (network, deed) in &deeds {
            if let Deed::Sent(image, fate) = deed {
                let what = if *fate == Fate::Taken { "adit sends" } else { "refused" };
                self.trace.frame(self.now, what, format!("net{network}/{at}"), &image.bytes);
            }
            self.watch.deed(&moment, *network, deed);
        }
        let engine = worker.engine();
        self.watch.account(at, engine, self.swarm.flows_max);
        let too_big = engine.counters().dropped[DropReason::TooBig.slot()];
        assert!(too_big == 0 || !self.swarm.has_one_mtu(), "no segment is longer than its path");
        self.watch.bounds(at, engine, self.intent.networks() + 1);
        let deadline = engine.next_deadline(clock).map_or(TURN_MAX, |due| {
            u64::try_from(due.since(clock).as_nanos()).unwrap().clamp(MICRO, TURN_MAX)
        });
        self.look_at_tables();
        self.drain();
        woken.into_iter().for_each(|peer| self.schedule_soon(usize::from(peer)));
        let waits = self.bench.0.borrow().has_arrivals(u8::try_from(at).unwrap());
        let soon = has_worked || waits;
        self.schedule_turn(at, if soon { MICRO } else { deadline });
    }

    /// I2 and I3, whenever a table changed; large ones less often.
    fn look_at_tables(&mut self) {
        self.turns += 1;
        let engines: Vec<&Engine> = self.workers.iter().map(Worker::engine).collect();
        let sum = |of: fn(&Engine) -> u64| engines.iter().map(|engine| of(engine)).sum::<u64>();
        let now = [
            sum(|engine| engine.counters().flows_opened),
            sum(|engine| engine.counters().flows_closed),
            sum(|engine| engine.counters().generation),
        ];
        let flows = engines.iter().map(|engine| engine.flows().len()).sum::<usize>();
        if now == self.looked_at || self.turns < flows / FLOWS_PER_LOOK {
            return;
        }
        (self.turns, self.looked_at) = (0, now);
        self.check_tables();
    }

    fn check_tables(&self) {
        let engines: Vec<&Engine> = self.workers.iter().map(Worker::engine).collect();
        let reserved = |key: &PoolKey| {
            let of_key = self.reserved.iter().filter(|(pool, _)| pool == key);
            of_key.map(|(_, ports)| u32::try_from(ports.len()).unwrap()).sum::<u32>()
        };
        self.watch.checker().tables_beside(&engines, &self.program.current, reserved);
    }

    /// Transmit rings give frames to their cables.
    fn drain(&mut self) {
        let mut rest = false;
        for network in 0..self.intent.networks() {
            for worker in 0..self.swarm.workers {
                let taken = self.bench.0.borrow_mut().take(network, worker, self.swarm.drain);
                rest |= taken.len() == self.swarm.drain;
                for mut image in taken {
                    Watch::strip(&mut image.bytes);
                    self.send_outward(network, image);
                }
            }
        }
        if rest && !self.is_draining {
            self.is_draining = true;
            self.agenda.note(self.now + DRAIN_INTERVAL, Event::Drain);
        }
    }

    /// adit's kernel sends a frame to a host.
    fn send_outward(&mut self, network: usize, image: Image) {
        for bytes in segments::cut(image) {
            let cable = &mut self.outward[network];
            for carried in cable.carry(&mut self.random, self.now, &bytes) {
                self.agenda.note(carried.at, Event::ToHost(network, carried.bytes));
            }
        }
    }

    /// In a mild world every transfer has completed, unless its silence was longer than adit keeps
    /// a flow.
    fn judge_transfers(&self) {
        if !self.swarm.is_mild {
            return;
        }
        for (number, dial) in self.dials.all.iter().enumerate() {
            let wanted = if dial.outlives { Progress::Broken } else { Progress::Done };
            let is_whole = dial.asked == dial.request && dial.answered == dial.response;
            let is_fine = dial.outlives || dial.ending == Ending::Reset || is_whole;
            let right = dial.progress == wanted && is_fine;
            assert!(right, "transfer: a mild world left connection {number} so: {dial:?}");
        }
    }

    /// Everybody falls silent; when time has passed, nothing is left in adit (I2).
    fn fall_silent(&mut self) {
        self.trace.event(self.now, "silence", "");
        self.hosts.iter_mut().for_each(|host| host.is_off = true);
        self.release_reserved();
        self.agenda = Agenda::new();
        self.is_draining = true;
        self.stalled.fill(0);
        let (step, end) = (*self.random.pick(&[80, 300, 900]) * MILLI, self.now + SILENCE);
        while self.now < end {
            self.now += step;
            for worker in 0..self.workers.len() {
                self.turn(worker);
                self.steps += 1;
            }
            self.agenda = Agenda::new();
        }
        self.check_tables();
        let engines: Vec<&Engine> = self.workers.iter().map(Worker::engine).collect();
        let sum = |of: fn(&Engine) -> u64| engines.iter().map(|engine| of(engine)).sum::<u64>();
        let handed = sum(|engine| engine.counters().handed_over);
        assert_eq!(handed, sum(|engine| engine.counters().taken_over), "I9: frames handed over");
        assert_eq!(sum(|engine| engine.counters().held), 0, "silence: packets still wait");
        assert_eq!(sum(|engine| engine.flows().len() as u64), 0, "silence: flows are left");
        let leased = self.program.current.pools.iter().map(Pool::leased).sum::<u32>();
        assert_eq!(leased, 0, "silence: leases are left");
        assert_eq!(self.program.reap(), 0, "silence: a worker keeps an old generation");
    }

    fn report(&self) -> Report {
        let mut report = Report {
            worlds: 1,
            mild: u64::from(self.swarm.is_mild),
            ways: Way::ALL.map(|way| u64::from(way == self.swarm.way)),
            floating: u64::from(self.swarm.floats),
            steps: self.steps,
            packets: self.watch.packets,
            bytes: self.watch.bytes,
            merged: self.watch.merged,
            delivered: self.dials.bytes,
            generations: u64::from(self.program.current.number.0),
            time: Duration::from_nanos(self.now),
            ..Report::default()
        };
        for dial in &self.dials.all {
            report.dialled += u64::from(dial.progress != Progress::Waiting);
            report.completed += u64::from(dial.progress == Progress::Done);
            let has_paused = self.swarm.is_mild && dial.pause > 0;
            report.paused += u64::from(has_paused && dial.progress == Progress::Done);
            report.outlived += u64::from(has_paused && dial.outlives);
        }
        for worker in &self.workers {
            let dropped = worker.engine().counters().dropped.to_vec();
            report.add(&Report { dropped, ..Report::default() });
        }
        report.hash = self.trace.hash();
        report
    }
}

/// adit's address and MTU in a network.
pub(super) fn link(network: usize, mtu: usize) -> Link {
    let last = u8::try_from(network).unwrap();
    Link { mac: MacAddress([0x0e, 0xad, 0x17, 0, 0, last]), mtu: u32::try_from(mtu).unwrap() }
}

fn intent(swarm: &Swarm) -> Intent {
    let service = |number: usize| Service {
        network: swarm.tenants + number,
        nat_ips: (0..swarm.nat_ips).map(|number| nat_ip(swarm.way.providers, number)).collect(),
        backends: (0..swarm.backends).map(|number| backend(swarm.way.providers, number)).collect(),
        timeouts: [300, 30, 30, 240],
        proxy: swarm.proxy,
        frontend: swarm.floats.then(|| frontend(swarm.way.providers)),
    };
    let services = (0..swarm.providers).map(service).collect();
    let intent = Intent::new(swarm.way, swarm.tenants, services);
    Intent { workers: swarm.workers, flows_max: swarm.flows_max, ..intent }
}

fn plan_dials(swarm: &Swarm, intent: &Intent, random: &mut Random) -> Vec<Dial> {
    let per_tenant = usize::from(swarm.clients);
    let mut next_port = vec![10_000; swarm.tenants];
    let mut dials = Vec::new();
    for _ in 0..swarm.dials {
        let tenant = random.below(swarm.tenants);
        let mut endpoints = intent.endpoints.iter().filter(|one| one.network == tenant);
        let endpoint = endpoints.nth(random.below(swarm.providers)).expect("one for each service");
        let is_tcp = !random.one_in(4);
        let request = CELL + random.below(swarm.bytes);
        // Datagrams hold whole cells.
        let request = if is_tcp { request } else { request.next_multiple_of(CELL) };
        let response = if is_tcp { random.below(swarm.bytes) } else { request };
        let pauses = swarm.has_pauses && random.one_in(2);
        let outlives = pauses && is_tcp && request > 64 && random.one_in(2);
        // Nothing but the request shall break its silence.
        let response = if outlives { 0 } else { response };
        let pause = if outlives { 345 } else { 1 + random.below(285) as u64 };
        let endings = [Ending::Client, Ending::HalfClose, Ending::Server, Ending::Reset];
        let ending = if outlives { Ending::Client } else { *random.pick(&endings) };
        next_port[tenant] += 1;
        dials.push(Dial {
            tenant,
            host: tenant * per_tenant + random.below(per_tenant),
            endpoint: endpoint.address,
            is_tcp,
            // The same in every tenant's network.
            port: next_port[tenant],
            start: random.below(3_000) as Nanos * MILLI,
            request,
            response,
            ending,
            pause: pause * SECOND * u64::from(pauses),
            outlives,
            progress: Progress::Waiting,
            asked: 0,
            answered: 0,
            served_by: None,
        });
    }
    dials
}

/// Clients first, tenant by tenant; then backends.
fn hosts(swarm: &Swarm, intent: &Intent, dials: &Dials, random: &mut Random) -> Vec<Host> {
    let mut hosts = Vec::new();
    let mut host = |network: usize, address: IpAddr, app: App| {
        let place = (mac_of(address), swarm.mtus[network]);
        Host::new((network, address), place, app, random.draw())
    };
    for tenant in 0..swarm.tenants {
        for number in 0..swarm.clients {
            let address = client(swarm.way.tenants, number);
            let app = App::Client(Client::new(dials, hosts.len()));
            hosts.push(host(tenant, address, app));
        }
    }
    for service in &intent.services {
        for number in 0..swarm.backends {
            let address = backend(swarm.way.providers, number);
            let app = App::Server(Server::new(address, service));
            let mut backend = host(service.network, address, app);
            service.frontend.into_iter().for_each(|frontend| backend.share(frontend));
            hosts.push(backend);
        }
    }
    hosts
}
