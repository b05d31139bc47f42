//! The engine allocates nothing after start: not for a hit, an admission, a refusal, an answer,
//! an ICMP error, an expiry or a reload.

#[allow(unsafe_code, reason = "the allocator interface is unsafe")]
mod sys;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use dataplane::device::{Batch, Frame};
use dataplane::engine::{Arrival, Engine, EngineConfig, Verdict};
use dataplane::generation::Generation;
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::record::Recording;
use dataplane::snapshot::{Fragments, IcmpAnswers, IcmpErrors, Treatment};
use dataplane::types::{DeviceIndex, Instant, WorkerId};
use harness::encode::{ArpShape, flags};
use harness::icmp::IcmpShape;
use harness::topology::{A, ENDPOINT, P, backend};
use harness::world::clients;
use harness::{Image, Shape, Topology, mac_of, observe};
use sys::allocations;

struct Bench {
    topology: Topology,
    engine: Engine,
    now: Instant,
    batch: Batch,
    verdicts: [Verdict; BATCH_FRAMES_MAX],
    spare: Frame,
}

impl Bench {
    fn new() -> Bench {
        Bench::with_room(10_000, 0)
    }

    /// With records for so many flows, of which so much is kept for those below their fair share.
    fn with_room(flows_max: usize, fair_share_percent: u8) -> Bench {
        let mut topology = Topology::with_backends(&[backend(0)]);
        topology.set_timeouts([30, 300, 30, 30]);
        topology.plan.endpoints[0].answers_echo = true;
        topology.plan.services[0].treatment = Treatment {
            icmp_answers: IcmpAnswers { time_exceeded: true, ..IcmpAnswers::default() },
            icmp_errors: IcmpErrors::Translate,
            fragments: Fragments::Reassemble,
            ..Treatment::default()
        };
        topology.plan.fair_share_percent = fair_share_percent;
        let generation = Arc::new(Generation::first(topology.snapshot(), 1));
        let config = EngineConfig { worker: WorkerId(0), workers: 1, flows_max, seed: 1 };
        let mut engine = Engine::new(&config, generation);
        engine.record(Recording::Traffic);
        for device in [A, P] {
            engine.attach(device, topology.links[device.slot()]);
        }
        Bench {
            topology,
            engine,
            now: Instant::from_nanos(1_000_000_000),
            batch: Batch::new(),
            verdicts: [Verdict::Consume; BATCH_FRAMES_MAX],
            spare: Frame::new(),
        }
    }

    fn load(&mut self, device: DeviceIndex, images: &[Image]) {
        self.batch.clear();
        for image in images {
            let frame = self.batch.append().expect("a batch has room");
            frame.fill(&image.bytes);
            frame.ingress = device;
        }
    }

    /// Allocations while the batch is processed; every verdict must be as expected.
    fn process(&mut self, device: DeviceIndex, images: &[Image], expected: Verdict) -> u64 {
        self.load(device, images);
        let before = allocations();
        self.engine.process(self.now, Arrival::Device, &mut self.batch, &mut self.verdicts);
        let count = allocations() - before;
        let verdicts = &self.verdicts[..images.len()];
        assert!(verdicts.iter().all(|verdict| *verdict == expected), "{verdicts:?}");
        count
    }

    fn resolve(&mut self) -> u64 {
        let (host, mac) = (backend(0), mac_of(backend(0)));
        let adit = (harness::topology::NAT_IP, self.topology.station(P));
        let answer = ArpShape::is_at((host, mac), adit).encode();
        self.process(P, &[answer], Verdict::Consume)
    }

    fn send(&mut self) -> u64 {
        let before = allocations();
        while let Some(sent) = self.engine.poll_transmit(&mut self.spare) {
            black_box(sent);
        }
        while let Some(record) = self.engine.poll_record() {
            black_box(record);
        }
        allocations() - before
    }

    fn advance(&mut self, duration: Duration) -> u64 {
        self.now = self.now.after(duration);
        let before = allocations();
        while self.engine.advance(self.now) {}
        allocations() - before
    }

    /// A backend's error about the last packet that it was sent.
    fn translate(&mut self) -> u64 {
        let syn = self.opening(0, 1);
        self.process(A, &syn, Verdict::Forward(P));
        let sent = self.batch.frames()[0].bytes()[14..].to_vec();
        let seen = observe(self.batch.frames()[0].bytes()).transport();
        let error = IcmpShape::about(3, 3, &sent, 100).between(seen.destination, seen.source);
        let error = error.to_station(self.topology.station(P)).encode();
        self.process(P, &[error], Verdict::Forward(A))
    }

    /// What a backend says to the openings of the last batch, which were forwarded.
    fn answers(&self) -> Vec<Image> {
        let answer = |frame: &Frame| {
            let seen = observe(frame.bytes()).transport();
            let from = (seen.destination, seen.destination_port);
            let to = (seen.source, seen.source_port);
            let answer = Shape::tcp(from, to, flags::SYN | flags::ACK);
            answer.to_station(self.topology.station(P)).encode()
        };
        self.batch.frames().iter().map(answer).collect()
    }

    fn opening(&self, from: u32, count: u32) -> Vec<Image> {
        self.say(flags::SYN, from, count)
    }

    fn say(&self, bits: u8, from: u32, count: u32) -> Vec<Image> {
        let say = |client| Shape::tcp(client, (ENDPOINT, 443), bits);
        let station = self.topology.station(A);
        clients(from, count).map(|client| say(client).to_station(station).encode()).collect()
    }
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    drop(black_box(Box::new(7)));
    assert!(allocations() > before);
}

#[test]
fn nothing_is_allocated_after_start() {
    use dataplane::drop_reason::DropReason;
    let mut bench = Bench::new();
    let mut counts = Vec::new();
    counts.push(("hold", bench.process(A, &bench.opening(0, 8), Verdict::Hold)));
    counts.push(("resolve", bench.resolve()));
    counts.push(("send", bench.send()));
    for round in 0..100 {
        let frames = bench.opening(100 + round * 64, 64);
        counts.push(("admit", bench.process(A, &frames, Verdict::Forward(P))));
        let answers = bench.answers();
        counts.push(("hit", bench.process(A, &frames, Verdict::Forward(P))));
        counts.push(("return", bench.process(P, &answers, Verdict::Forward(A))));
    }
    let refused = Verdict::Drop(DropReason::NoRule);
    let station = bench.topology.station(A);
    let wrong = Shape::tcp((harness::topology::CLIENT, 9), (ENDPOINT, 1), flags::SYN);
    counts.push(("refuse", bench.process(A, &[wrong.to_station(station).encode()], refused)));
    let asker = (harness::topology::CLIENT, mac_of(harness::topology::CLIENT));
    let question = ArpShape::who_has(ENDPOINT, asker).encode();
    counts.push(("answer", bench.process(A, &[question], Verdict::Reply(A))));
    let ping = Shape::ping(harness::topology::CLIENT, ENDPOINT).to_station(station);
    counts.push(("echo", bench.process(A, &[ping.encode()], Verdict::Reply(A))));
    let mut late = Shape::udp((harness::topology::CLIENT, 9), (ENDPOINT, 53), b"x");
    late.ttl = 1;
    let expired = Verdict::Drop(DropReason::Ipv4TtlExpired);
    let late = late.to_station(station).encode();
    counts.push(("report", bench.process(A, &[late], expired)));
    counts.push(("send", bench.send()));
    counts.push(("translate", bench.translate()));
    let mut parts = Vec::new();
    for (offset, flags) in [(1, 0), (0, 1)] {
        let mut part = Shape::udp((harness::topology::CLIENT, 9), (ENDPOINT, 53), &[]);
        (part.fragment_offset, part.fragment_flags, part.id) = (offset, flags, 7);
        part.udp_length = Some(16);
        parts.push(part.to_station(station).encode());
    }
    counts.push(("later fragment", bench.process(A, &parts[..1], Verdict::Hold)));
    counts.push(("first fragment", bench.process(A, &parts[1..], Verdict::Forward(P))));
    counts.push(("send", bench.send()));
    let next = Arc::new(bench.engine.generation().next(bench.topology.snapshot(), 1));
    let before = allocations();
    bench.engine.adopt(next);
    counts.push(("adopt", allocations() - before));
    counts.push(("sweep", bench.advance(Duration::ZERO)));
    counts.push(("expire", bench.advance(Duration::from_secs(31))));
    counts.push(("send", bench.send()));
    assert!(bench.engine.flows().is_empty());
    let counters = bench.engine.counters();
    let told = counters.records + counters.records_lost;
    assert_eq!(told, 2 * counters.flows_opened, "each began and ended");
    counts.retain(|(_, count)| *count > 0);
    assert_eq!(counts, []);
}

/// Who has more than a fair share is known when a packet asks, also under a new configuration.
#[test]
fn a_fair_share_is_judged_without_allocation() {
    use dataplane::drop_reason::DropReason;
    let mut bench = Bench::with_room(10, 50);
    let mut counts = vec![("hold", bench.process(A, &bench.opening(0, 1), Verdict::Hold))];
    counts.push(("resolve", bench.resolve()));
    counts.push(("send", bench.send()));
    counts.push(("expire", bench.advance(Duration::from_secs(31))));
    counts.push(("send", bench.send()));
    counts.push(("admit", bench.process(A, &bench.opening(10, 5), Verdict::Forward(P))));
    counts.push(("return", bench.process(P, &bench.answers(), Verdict::Forward(A))));
    // A handshake that is not done would give way to the newcomer.
    let done = bench.say(flags::ACK, 10, 5);
    counts.push(("hit", bench.process(A, &done, Verdict::Forward(P))));
    let refused = Verdict::Drop(DropReason::RoomReserved);
    for round in 0..2 {
        let newcomer = bench.opening(100 + round, 1);
        counts.push(("refuse", bench.process(A, &newcomer, refused)));
        let next = Arc::new(bench.engine.generation().next(bench.topology.snapshot(), 1));
        let before = allocations();
        bench.engine.adopt(next);
        counts.push(("adopt", allocations() - before));
    }
    counts.retain(|(_, count)| *count > 0);
    assert_eq!(counts, []);
}
