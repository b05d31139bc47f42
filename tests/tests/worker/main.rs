//! Workers turned by hand on devices in memory: what they adopt, open, hand over, refuse and list,
//! and that every packet is accounted for.

mod sessions;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dataplane::device::mem::{MemDevice, MemFrame};
use dataplane::device::{Batch, Device, DeviceError, Frame, Link, Transmitted};
use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::generation::Generation;
use dataplane::limits::RECORDS_MAX;
use dataplane::nat::Pool;
use dataplane::packet::FlowKey;
use dataplane::publish::Cell as GenerationCell;
use dataplane::record::Recording;
use dataplane::snapshot::{DevicePlan, Gate};
use dataplane::stats::{Counters, DeviceState};
use dataplane::trace::Filter;
use dataplane::types::{
    Area, DeviceIndex, GenerationNumber, Instant, MacAddress, Protocol, ScopeId, WorkerId,
};
use dataplane::worker::{
    CrewConfig, Finding, Inquiry, Passage, Platform, Queue, Seat, SessionPage, Shared, Trace,
    Traced, Worker, crew,
};
use harness::encode::{ArpShape, flags};
use harness::topology::{A, B, CLIENT, ENDPOINT, NAT_IP, P, backend};
use harness::world::{Socket, clients};
use harness::{Observed, Shape, Topology, mac_of, observe};

/// A device in memory that can also refuse frames for what they are, and whose owner can give it
/// another address and MTU, or its name to another.
#[derive(Clone)]
struct TestDevice {
    memory: MemDevice,
    rejects: Rc<Cell<bool>>,
    panics: Rc<Cell<bool>>,
    /// What a look at it finds.
    found: Rc<Cell<Result<Link, DeviceError>>>,
    link: Link,
}

impl Device for TestDevice {
    fn link(&self) -> Link {
        self.link
    }

    fn refresh(&mut self) -> Result<Link, DeviceError> {
        self.link = self.found.get()?;
        Ok(self.link)
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        self.memory.receive(batch)
    }

    fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        assert!(!self.panics.get(), "a bug of adit, played by the device");
        if self.rejects.get() {
            return Transmitted { rejected: frames.len(), ..Transmitted::default() };
        }
        self.memory.transmit(frames)
    }
}

/// The devices of all workers, and who was woken.
#[derive(Clone, Default)]
struct Machine {
    devices: Rc<RefCell<BTreeMap<(String, u8), TestDevice>>>,
    woken: Rc<RefCell<Vec<WorkerId>>>,
    rejects: Rc<Cell<bool>>,
    panics: Rc<Cell<bool>>,
    favored: Rc<RefCell<Vec<Area>>>,
}

const NO_SUCH_DEVICE: i32 = 19;

impl Platform for Machine {
    type Device = TestDevice;

    fn open(&mut self, plan: &DevicePlan, queue: Queue) -> Result<TestDevice, DeviceError> {
        let devices = self.devices.borrow();
        let device = devices.get(&(plan.name.clone(), queue.worker.0));
        let device = device.filter(|device| !device.memory.is_down());
        let missing = DeviceError { operation: "open", errno: NO_SUCH_DEVICE };
        let mut device = device.cloned().ok_or(missing)?;
        device.refresh()?;
        Ok(device)
    }

    fn now(&mut self) -> Instant {
        Instant::ZERO
    }

    fn wait(&mut self, _: &mut dyn Iterator<Item = &TestDevice>, _: Duration) {}

    fn favor(&mut self, area: Area) {
        self.favored.borrow_mut().push(area);
    }

    fn wake(&mut self, worker: WorkerId) {
        self.woken.borrow_mut().push(worker);
    }
}

/// Workers and what is around them.
struct Crew {
    topology: Topology,
    machine: Machine,
    workers: Vec<Worker<Machine>>,
    shared: Vec<Arc<Shared>>,
    /// For those who come in place of others.
    seats: Vec<Seat>,
    cell: Arc<GenerationCell>,
    now: Instant,
}

impl Crew {
    fn new(workers: u8, room: usize) -> Crew {
        let topology = Topology::with_backends(&[backend(0)]);
        let generation = Arc::new(Generation::first(topology.snapshot(), 1));
        let cell = Arc::new(GenerationCell::new(generation));
        let machine = Machine::default();
        let config =
            CrewConfig { workers, flows_max: 100_000, seed: 1, recording: Recording::Traffic };
        let seats = crew(config, &cell);
        let shared = seats.iter().map(|seat| Arc::clone(&seat.shared)).collect();
        let worker = |seat: &Seat| Worker::new(seat.successor(), machine.clone());
        let workers = seats.iter().map(worker).collect();
        let now = Instant::from_nanos(1_000_000_000);
        let mut all = Crew { topology, machine, workers, shared, seats, cell, now };
        for worker in 0..all.workers.len() {
            ["a", "b", "p"].iter().zip(0..).for_each(|(name, at)| all.plug(name, at, worker, room));
        }
        all.settle();
        all.answer_arp();
        all
    }

    fn plug(&self, name: &str, at: usize, worker: usize, room: usize) {
        let link = self.topology.links[at];
        let (memory, found) = (MemDevice::new(link, room), Rc::new(Cell::new(Ok(link))));
        let (rejects, panics) = (Rc::clone(&self.machine.rejects), Rc::clone(&self.machine.panics));
        let device = TestDevice { memory, rejects, panics, found, link };
        let key = (name.to_owned(), u8::try_from(worker).expect("few workers"));
        self.machine.devices.borrow_mut().insert(key, device);
    }

    fn device(&self, name: &str, worker: u8) -> MemDevice {
        self.machine.devices.borrow()[&(name.to_owned(), worker)].memory.clone()
    }

    /// What the owner of a device makes of it.
    fn change(&self, name: &str, worker: u8, link: Result<Link, DeviceError>) {
        self.machine.devices.borrow()[&(name.to_owned(), worker)].found.set(link);
    }

    /// Turns every worker until none finds anything.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let turn = |worker: &mut Worker<Machine>| worker.turn(self.now);
            if self.workers.iter_mut().map(turn).filter(|worked| *worked).count() == 0 {
                return;
            }
        }
        unreachable!("workers come to rest");
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        self.settle();
    }

    /// The backend answers; every worker profits.
    fn answer_arp(&mut self) {
        let adit = (NAT_IP, self.topology.station(P));
        let answer = ArpShape::is_at((backend(0), mac_of(backend(0))), adit).encode();
        self.device("p", 0).arrive(answer.bytes);
        self.settle();
        for worker in 0..self.workers.len() {
            while self.device("p", u8::try_from(worker).unwrap_or(0)).take_sent().is_some() {}
        }
    }

    fn syn(&self, device: DeviceIndex, client: Socket) -> MemFrame {
        let shape = Shape::tcp(client, (ENDPOINT, 443), flags::SYN);
        MemFrame::from(shape.to_station(self.topology.station(device)).encode().bytes)
    }

    fn counters(&self, worker: usize) -> Counters {
        let counters = self.shared[worker].stats.read();
        assert_eq!(counters.account_difference(), 0, "{counters:?}");
        assert_eq!(&counters, self.workers[worker].engine().counters(), "the page is current");
        counters
    }

    fn leased(&self) -> u32 {
        self.cell.load().pools.iter().map(Pool::leased).sum()
    }

    fn dropped(&self, worker: usize, reason: DropReason) -> u64 {
        self.counters(worker).dropped[reason.slot()]
    }

    fn publish(&self) {
        let next = self.cell.load().next(self.topology.snapshot(), 1);
        self.cell.publish(Arc::new(next));
    }
}

fn some_clients(count: u32) -> Vec<Socket> {
    clients(0, count).collect()
}

#[test]
fn packets_go_both_ways_and_are_accounted() {
    let mut crew = Crew::new(1, 100);
    let client = some_clients(1)[0];
    crew.device("a", 0).arrive(crew.syn(A, client));
    crew.settle();
    let sent = crew.device("p", 0).take_sent().expect("the SYN left");
    let seen = observe(&sent.bytes).transport();
    let answer = Shape::tcp(
        (seen.destination, seen.destination_port),
        (seen.source, seen.source_port),
        flags::SYN | flags::ACK,
    );
    let answer = answer.to_station(crew.topology.station(P)).encode();
    crew.device("p", 0).arrive(answer.bytes);
    crew.settle();
    let sent = crew.device("a", 0).take_sent().expect("the answer left");
    let seen = observe(&sent.bytes).transport();
    assert_eq!((seen.destination, seen.destination_port), client);
    let counters = crew.counters(0);
    assert_eq!((counters.received, counters.forwarded, counters.flows), (3, 2, 1));
    assert_eq!(crew.shared[0].stats.device(P).received, 2);
    assert_eq!(crew.shared[0].stats.device(A).sent, 1);
}

/// Nobody reads the ring of records: it takes what it has room for, the rest is lost and counted,
/// and no packet feels it.
#[test]
fn a_full_ring_of_records_loses_records_and_nothing_else() {
    let (mut crew, count) = (Crew::new(1, 1_000), RECORDS_MAX as u64 + 500);
    for clients in some_clients(u32::try_from(count).unwrap()).chunks(500) {
        clients.iter().for_each(|client| crew.device("a", 0).arrive(crew.syn(A, *client)));
        crew.settle();
        while crew.device("p", 0).take_sent().is_some() {}
    }
    let counters = crew.counters(0);
    assert_eq!((counters.forwarded, counters.flows_opened), (count, count));
    // Nobody has answered them: some had to give way.
    let records = count + counters.flows_displaced;
    let lost = records - RECORDS_MAX as u64;
    assert_eq!((counters.records, counters.records_lost), (records, lost));
    let read = std::iter::from_fn(|| crew.shared[0].take_record()).count();
    assert_eq!(read, RECORDS_MAX);
    crew.device("a", 0).arrive(crew.syn(A, (CLIENT, 9)));
    crew.settle();
    let record = crew.shared[0].take_record().expect("there is room again");
    assert_eq!(record.key.client_port, 9);
}

/// Whoever watches brings the memory; what finds none there passes unseen, and counted.
#[test]
fn a_trace_that_nobody_reads_loses_sight_of_packets_and_nothing_else() {
    let mut crew = Crew::new(1, 100);
    let filter = Filter { port: Some(443), ..Filter::default() };
    let trace = Arc::new(Trace::new(filter, 64, 8));
    crew.shared[0].trace(Some(Arc::clone(&trace)));
    crew.pass(Duration::from_millis(10));
    assert!(trace.is_ready());
    let other = Shape::udp((CLIENT, 9), (ENDPOINT, 53), &[7; 400]);
    crew.device("a", 0).arrive(other.to_station(crew.topology.station(A)).encode().bytes);
    some_clients(20).iter().for_each(|client| crew.device("a", 0).arrive(crew.syn(A, *client)));
    crew.settle();
    assert_eq!((crew.counters(0).forwarded, trace.lost()), (21, 12));
    let sides = |seen: &Traced| {
        assert_eq!(seen.passage, Passage::Arrived(A, Verdict::Forward(P)));
        let seen = [&seen.before, &seen.after].map(|side| {
            assert!(side.bytes.len() == side.length.min(64), "cut: {side:?}");
            observe(&side.bytes).transport()
        });
        (seen[0].destination, seen[1].source)
    };
    let seen: Vec<_> = std::iter::from_fn(|| trace.take(sides)).collect();
    assert_eq!(seen, vec![(ENDPOINT, NAT_IP); 8]);
    crew.shared[0].trace(None);
    crew.settle();
    assert_eq!(Arc::strong_count(&trace), 1, "the worker has let go of it");
}

#[test]
fn a_device_that_goes_down_is_picked_up_again() {
    let mut crew = Crew::new(1, 100);
    let client = some_clients(1)[0];
    crew.device("a", 0).arrive(crew.syn(A, client));
    crew.settle();
    crew.device("p", 0).set_down(true);
    crew.settle();
    assert_eq!(crew.shared[0].stats.device(P).state, DeviceState::Down(100));
    crew.device("a", 0).arrive(crew.syn(A, client));
    crew.settle();
    assert_eq!(crew.dropped(0, DropReason::DeviceDown), 1);
    crew.pass(Duration::from_millis(210));
    assert_eq!(crew.shared[0].stats.device(P).state, DeviceState::Down(NO_SUCH_DEVICE));
    crew.device("p", 0).set_down(false);
    crew.pass(Duration::from_millis(210));
    assert_eq!(crew.shared[0].stats.device(P).state, DeviceState::Up);
    while crew.device("p", 0).take_sent().is_some() {}
    crew.device("a", 0).arrive(crew.syn(A, client));
    crew.settle();
    assert!(crew.device("p", 0).take_sent().is_some());
    let counters = crew.counters(0);
    assert_eq!((counters.flows_opened, counters.flows), (1, 1));
}

/// Nothing fails on a device whose owner changes it: adit looks by itself.
#[test]
fn another_address_and_mtu_of_an_open_device_are_noticed() {
    let mut crew = Crew::new(1, 100);
    let client = some_clients(1)[0];
    let link = Link { mac: MacAddress([2, 7, 7, 7, 7, 7]), mtu: 300 };
    crew.change("p", 0, Ok(link));
    // Noticed in half a second; the backend was asked for less than a second ago.
    crew.pass(Duration::from_millis(510));
    crew.pass(Duration::from_millis(500));
    let asked = crew.device("p", 0).take_sent().expect("who answered before is asked again");
    assert_eq!(asked.bytes[6..12], link.mac.0);
    crew.device("a", 0).arrive(crew.syn(A, client));
    let long = Shape::udp(client, (ENDPOINT, 53), &[7; 400]).to_station(crew.topology.station(A));
    crew.device("a", 0).arrive(long.encode().bytes);
    crew.settle();
    let sent = crew.device("p", 0).take_sent().expect("the SYN left");
    assert_eq!(sent.bytes[6..12], link.mac.0, "in the name of the new station");
    assert_eq!(crew.dropped(0, DropReason::TooBig), 1);
    assert_eq!(crew.shared[0].stats.device(P).state, DeviceState::Up);
}

/// Hosts believe in the old station until they are told; others are not concerned.
#[test]
fn another_address_is_announced_once_in_its_network() {
    let mut crew = Crew::new(2, 100);
    let link = Link { mac: MacAddress([2, 7, 7, 7, 7, 7]), mtu: 1500 };
    for worker in 0..2 {
        crew.change("a", worker, Ok(link));
        crew.change("p", worker, Ok(link));
    }
    crew.pass(Duration::from_secs(1));
    crew.pass(Duration::from_secs(1));
    let announced = |name| -> Vec<IpAddr> {
        let sent = (0..2).flat_map(|worker| {
            let device = crew.device(name, worker);
            std::iter::from_fn(move || device.take_sent())
        });
        let arps = sent.filter_map(|frame| match observe(&frame.bytes) {
            Observed::Arp { operation: 1, sender, target, .. } if sender == target => {
                assert_eq!(frame.bytes[..12], [[0xff; 6], link.mac.0].concat());
                Some(target)
            }
            _ => None,
        });
        arps.collect()
    };
    assert_eq!(announced("a"), [ENDPOINT]);
    assert_eq!(announced("b"), [IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED); 0]);
    assert_eq!(announced("p"), [NAT_IP]);
    crew.counters(0);
}

#[test]
fn a_name_that_has_moved_to_another_device_is_followed() {
    let mut crew = Crew::new(1, 100);
    let link = crew.topology.links[2];
    crew.change("p", 0, Err(DeviceError { operation: "find", errno: NO_SUCH_DEVICE }));
    crew.pass(Duration::from_millis(510));
    assert_eq!(crew.shared[0].stats.device(P).state, DeviceState::Down(NO_SUCH_DEVICE));
    crew.device("a", 0).arrive(crew.syn(A, some_clients(1)[0]));
    crew.settle();
    assert_eq!(crew.dropped(0, DropReason::DeviceDown), 1);
    crew.change("p", 0, Ok(link));
    crew.pass(Duration::from_millis(210));
    assert_eq!(crew.shared[0].stats.device(P).state, DeviceState::Up);
}

#[test]
fn a_full_transmit_ring_is_counted_frame_by_frame() {
    let mut crew = Crew::new(1, 4);
    for client in some_clients(10) {
        crew.device("a", 0).arrive(crew.syn(A, client));
    }
    crew.settle();
    let counters = crew.counters(0);
    assert_eq!(counters.forwarded, 4);
    assert_eq!(crew.dropped(0, DropReason::TransmitFull), 6);
    assert_eq!(counters.flows, 10);
}

#[test]
fn frames_that_the_kernel_rejects_are_counted() {
    let mut crew = Crew::new(1, 100);
    crew.machine.rejects.set(true);
    for client in some_clients(3) {
        crew.device("a", 0).arrive(crew.syn(A, client));
    }
    crew.settle();
    assert_eq!(crew.dropped(0, DropReason::TransmitRejected), 3);
    assert_eq!(crew.counters(0).forwarded, 0);
}

#[test]
fn frames_change_hands_between_workers_and_a_full_ring_is_counted() {
    let mut crew = Crew::new(2, 1_000);
    for client in some_clients(600) {
        crew.device("a", 0).arrive(crew.syn(A, client));
    }
    // Only worker 0 turns: the ring to worker 1 holds 256.
    for _ in 0..20 {
        let now = crew.now;
        crew.workers[0].turn(now);
    }
    let mine = crew.counters(0);
    let over = crew.dropped(0, DropReason::HandoverFull);
    assert_eq!((mine.handed_over, mine.forwarded + 256 + over), (256, 600));
    assert!(over > 0, "more than a ring was for worker 1");
    assert!(crew.machine.woken.borrow().contains(&WorkerId(1)));
    crew.settle();
    let theirs = crew.counters(1);
    assert_eq!((theirs.taken_over, theirs.forwarded, theirs.flows), (256, 256, 256));
    // Each worker sends by its own queue.
    assert!(crew.device("p", 1).take_sent().is_some());
}

#[test]
fn a_published_configuration_is_adopted_at_the_next_turn() {
    let mut crew = Crew::new(2, 100);
    let all = some_clients(2);
    for &client in &all {
        crew.device("a", 0).arrive(crew.syn(A, client));
    }
    crew.settle();
    crew.topology.set_gate(A, Gate::Rejected);
    crew.publish();
    for &client in &all {
        crew.device("a", 0).arrive(crew.syn(A, client));
        crew.device("b", 0).arrive(crew.syn(B, client));
    }
    crew.settle();
    let mut rejected = 0;
    for worker in 0..2 {
        assert_eq!(crew.shared[worker].stats.adopted(), GenerationNumber(2));
        rejected += crew.dropped(worker, DropReason::ConnectionRejected);
    }
    assert_eq!(rejected, 2);
    assert_eq!(crew.counters(0).flows + crew.counters(1).flows, 2);
}

#[test]
fn devices_come_and_go_with_the_configuration() {
    let mut crew = Crew::new(1, 100);
    crew.topology.set_device(B, "b", false);
    crew.publish();
    crew.settle();
    assert_eq!(crew.shared[0].stats.device(B).state, DeviceState::Unopened);
    crew.topology.set_device(B, "elsewhere", true);
    crew.publish();
    crew.settle();
    assert_eq!(crew.shared[0].stats.device(B).state, DeviceState::Down(NO_SUCH_DEVICE));
    crew.plug("elsewhere", 1, 0, 100);
    crew.pass(Duration::from_millis(210));
    assert_eq!(crew.shared[0].stats.device(B).state, DeviceState::Up);
    crew.device("elsewhere", 0).arrive(crew.syn(B, some_clients(1)[0]));
    crew.settle();
    assert_eq!(crew.counters(0).flows, 1);
}

/// A fault of adit ends a worker in the middle of a batch. Whoever comes in its place begins
/// without flows; no port stays leased, no packet is forgotten, and the other worker goes on.
#[test]
fn a_worker_in_place_of_one_that_ended_begins_empty_and_accounts_for_everything() {
    let mut crew = Crew::new(2, 1_000);
    let open = |crew: &mut Crew, count| {
        let all = some_clients(count).into_iter();
        all.for_each(|client| crew.device("a", 0).arrive(crew.syn(A, client)));
        crew.settle();
    };
    open(&mut crew, 200);
    let (ended, other) = (crew.counters(0), crew.counters(1));
    assert!(ended.flows > 50 && other.flows > 50);
    assert_eq!(u64::from(crew.leased()), ended.flows + other.flows);
    let asked = crew.shared[0].request_sessions(SessionPage::new(10));
    let ticket = asked.expect("no other page is under way");
    crew.machine.panics.set(true);
    for client in some_clients(64) {
        crew.device("a", 0).arrive(crew.syn(A, client));
    }
    let now = crew.now;
    let worker = crew.workers.remove(0);
    let end = catch_unwind(AssertUnwindSafe(move || {
        let mut worker = worker;
        worker.turn(now)
    }));
    assert!(end.is_err());
    crew.machine.panics.set(false);
    assert_eq!(crew.shared[0].stats.device(A).state, DeviceState::Unopened);
    crew.workers.insert(0, Worker::new(crew.seats[0].successor(), crew.machine.clone()));
    crew.settle();
    let now = crew.counters(0);
    let lost = crew.dropped(0, DropReason::Internal);
    assert_eq!(now.received, ended.received + 64, "the batch is accounted for");
    assert!(lost > 0 && lost + now.handed_over - ended.handed_over == 64, "{lost} were lost");
    assert_eq!((now.flows, now.flows_closed), (0, ended.flows_closed + ended.flows));
    assert_eq!(u64::from(crew.leased()), crew.counters(1).flows);
    let page = crew.shared[0].take_sessions(ticket).expect("nobody waits for the list in vain");
    assert!(page.sessions.is_empty());
    open(&mut crew, 200);
    let flows = (crew.counters(0).flows, crew.counters(1).flows);
    assert_eq!(flows, (ended.flows, other.flows));
    assert_eq!(u64::from(crew.leased()), ended.flows + other.flows);
}

#[test]
fn questions_are_answered_by_the_worker_that_knows() {
    let mut crew = Crew::new(1, 100);
    let client = some_clients(1)[0];
    crew.device("a", 0).arrive(crew.syn(A, client));
    crew.settle();
    let key = FlowKey {
        client: client.0.into(),
        endpoint: ENDPOINT.into(),
        client_port: client.1,
        endpoint_port: 443,
        scope: ScopeId(A.0),
        protocol: Protocol::Tcp,
    };
    let ask = |crew: &mut Crew, inquiry| {
        let ticket = crew.shared[0].inquire(inquiry).expect("no other question waits");
        assert!(crew.shared[0].inquire(inquiry).is_none(), "one at a time");
        crew.pass(Duration::from_millis(10));
        crew.shared[0].take_finding(ticket).expect("answered in a tick")
    };
    let Finding::Explained(said) = ask(&mut crew, Inquiry::Explain(key)) else { panic!() };
    let flow = said.flow.expect("it belongs to the flow");
    assert_eq!((said.outcome, flow.key, said.worker), (Ok(()), key, WorkerId(0)));
    let Finding::Session(shown) = ask(&mut crew, Inquiry::Show(flow.number)) else { panic!() };
    assert_eq!(shown.map(|shown| shown.key), Some(key));
    let Finding::Session(ended) = ask(&mut crew, Inquiry::End(flow.number, key)) else { panic!() };
    assert_eq!(ended.map(|ended| ended.key), Some(key));
    let Finding::Session(shown) = ask(&mut crew, Inquiry::Show(flow.number)) else { panic!() };
    assert!(shown.is_none());
    assert_eq!(crew.counters(0).flows, 0);
    // Nobody waits for the answer to the first question any more.
    let late = crew.shared[0].inquire(Inquiry::Explain(key)).expect("nothing waits");
    crew.pass(Duration::from_millis(10));
    let next = crew.shared[0].inquire(Inquiry::Show(flow.number)).expect("the first was taken");
    crew.pass(Duration::from_millis(10));
    assert!(matches!(crew.shared[0].take_finding(next), Some(Finding::Session(None))));
    assert!(crew.shared[0].take_finding(late).is_none());
}

#[test]
fn requests_leave_by_the_provider_device_only() {
    let mut crew = Crew::new(1, 100);
    crew.pass(Duration::from_secs(35));
    let sent = crew.device("p", 0).take_sent().expect("it asks again after 30 s");
    let is_request = |observed| matches!(observed, Observed::Arp { operation: 1, .. });
    assert!(is_request(observe(&sent.bytes)));
    assert!(crew.device("a", 0).take_sent().is_none());
    assert!(crew.device("b", 0).take_sent().is_none());
    assert_eq!(crew.counters(0).originated, 2);
}

/// Linux gives connections ports of one parity first: a single busy client must not keep a single
/// worker busy.
#[test]
fn the_connections_of_one_client_spread_over_workers() {
    const CONNECTIONS: u16 = 1_000;
    let owner = |client: IpAddr, client_port, workers| {
        let (protocol, scope) = (Protocol::Tcp, ScopeId(0));
        let (client, endpoint, endpoint_port) = (client.into(), ENDPOINT.into(), 443);
        let key = FlowKey { client, endpoint, client_port, endpoint_port, scope, protocol };
        usize::from(key.owner(workers).0)
    };
    let clients = (0..64).map(|number| harness::address::plus(CLIENT, number * 257));
    for client in clients {
        for (workers, first) in [(2, 32_768_u16), (2, 32_769), (4, 32_768), (4, 32_769)] {
            let mut shares = vec![0_u16; usize::from(workers)];
            for number in 0..CONNECTIONS {
                shares[owner(client, first + 2 * number, workers)] += 1;
            }
            // Within a quarter of an equal share.
            let equal = CONNECTIONS / u16::from(workers);
            let fair = equal * 3 / 4..=equal * 5 / 4;
            assert!(shares.iter().all(|share| fair.contains(share)), "{client}: {shares:?}");
        }
    }
}

#[test]
fn large_tables_are_favored_before_they_are_used() {
    let crew = Crew::new(1, 8);
    let favored = crew.machine.favored.borrow();
    let flows = crew.workers[0].engine().flows();
    assert!(flows.areas().iter().all(|area| favored.contains(area)), "{favored:?}");
    let bytes: usize = flows.areas().iter().map(|area| area.bytes).sum();
    assert!(bytes >= 10_000 * 72, "records and index of 10,000 flows");
    let pools = crew.workers[0].engine().generation().pools.areas();
    let bytes: usize = pools.iter().map(|area| area.bytes).sum();
    assert!(bytes >= 64_512 * 4 && pools.iter().all(|area| favored.contains(area)));
}

#[test]
fn more_pools_than_flows_could_fill_are_not_favored() {
    let mut crew = Crew::new(1, 8);
    crew.topology = Topology::with_backends(&(0..50).map(backend).collect::<Vec<_>>());
    crew.machine.favored.borrow_mut().clear();
    crew.publish();
    crew.settle();
    let favored = crew.machine.favored.borrow();
    assert_eq!(crew.workers[0].engine().generation().number.0, 2);
    assert!(favored.is_empty(), "{favored:?}");
}
