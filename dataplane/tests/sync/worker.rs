//! Whole workers on threads: what wakes one that is about to block, and frames on their way from
//! one to another (I9).
//!
//! The machine under them waits without a timeout, so that nothing is found by luck a second later:
//! if all have come to rest, whatever was to be done must have been done.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use dataplane::device::{Batch, Device, DeviceError, Frame, Link, Transmitted};
use dataplane::drop_reason::DropReason;
use dataplane::generation::Generation;
use dataplane::packet::FlowKey;
use dataplane::publish::Cell;
use dataplane::record::Recording;
use dataplane::snapshot::DevicePlan;
use dataplane::stats::Counters;
use dataplane::types::{
    DeviceIndex, Hop, Instant, MacAddress, NeighborIndex, Protocol, ScopeId, Tick, WorkerId,
};
use dataplane::worker::{
    CrewConfig, POLL_TIME, Platform, Queue, SessionPage, Shared, Worker, crew,
};
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle};

use crate::check;
use crate::plan::{ENDPOINT, snapshot};

const STATION: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));

/// Where workers rest: by worker, whether it does and whether it was woken.
struct Hall {
    beds: Mutex<Vec<Bed>>,
    moved: Condvar,
}

#[derive(Clone, Default)]
struct Bed {
    is_taken: bool,
    is_woken: bool,
}

impl Hall {
    fn new(workers: u8) -> Arc<Hall> {
        let beds = Mutex::new(vec![Bed::default(); usize::from(workers)]);
        Arc::new(Hall { beds, moved: Condvar::new() })
    }

    fn wake(&self, worker: usize) {
        self.beds.lock().unwrap()[worker].is_woken = true;
        self.moved.notify_all();
    }

    fn rest(&self, worker: usize) {
        let mut beds = self.beds.lock().unwrap();
        beds[worker].is_taken = true;
        self.moved.notify_all();
        while !beds[worker].is_woken {
            beds = self.moved.wait(beds).unwrap();
        }
        beds[worker] = Bed::default();
    }

    /// Waits until every worker rests and none was woken.
    fn await_quiet(&self) {
        let mut beds = self.beds.lock().unwrap();
        while !beds.iter().all(|bed| bed.is_taken && !bed.is_woken) {
            beds = self.moved.wait(beds).unwrap();
        }
    }
}

/// A device that had all its frames when it was opened, and takes any number.
struct Wire {
    arriving: Vec<Vec<u8>>,
}

impl Device for Wire {
    fn link(&self) -> Link {
        Link { mac: STATION, mtu: 1500 }
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        batch.clear();
        for bytes in self.arriving.drain(..) {
            batch.append().unwrap().fill(&bytes);
        }
        Ok(())
    }

    fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        Transmitted { sent: frames.len(), ..Transmitted::default() }
    }
}

/// The operating system of one worker.
struct Machine {
    worker: usize,
    hall: Arc<Hall>,
    clock: Instant,
    /// Arrive on the client's device.
    arriving: Vec<Vec<u8>>,
}

impl Platform for Machine {
    type Device = Wire;

    fn open(&mut self, plan: &DevicePlan, _: Queue) -> Result<Wire, DeviceError> {
        let is_client = plan.scope == ScopeId(0);
        let arriving = if is_client { std::mem::take(&mut self.arriving) } else { Vec::new() };
        Ok(Wire { arriving })
    }

    fn now(&mut self) -> Instant {
        self.clock = self.clock.after(POLL_TIME);
        self.clock
    }

    fn wait(&mut self, devices: &mut dyn Iterator<Item = &Wire>, _: Duration) {
        let mut is_silent = true;
        for device in devices {
            is_silent &= device.arriving.is_empty();
        }
        if is_silent {
            self.hall.rest(self.worker);
        }
    }

    fn wake(&mut self, worker: WorkerId) {
        self.hall.wake(usize::from(worker.0));
    }
}

/// Workers on their threads.
struct World {
    cell: Arc<Cell>,
    hall: Arc<Hall>,
    shared: Vec<Arc<Shared>>,
    threads: Vec<JoinHandle<Counters>>,
}

impl World {
    /// With frames that arrive at each.
    fn start(arriving: Vec<Vec<Vec<u8>>>) -> World {
        let workers = u8::try_from(arriving.len()).unwrap();
        let generation = Arc::new(Generation::first(snapshot(true), 1));
        let backend = Hop { device: DeviceIndex(1), mac: MacAddress([2, 0, 0, 0, 0, 9]) };
        generation.neighbors.confirm(NeighborIndex(0), backend, Tick(1));
        let cell = Arc::new(Cell::new(generation));
        let hall = Hall::new(workers);
        let seats =
            crew(CrewConfig { workers, flows_max: 4, seed: 1, recording: Recording::Flows }, &cell);
        let shared = seats.iter().map(|seat| Arc::clone(&seat.shared)).collect();
        let start = |((worker, seat), arriving)| {
            let (hall, clock) = (Arc::clone(&hall), Instant::from_nanos(1_000_000_000));
            let machine = Machine { worker, hall, clock, arriving };
            thread::spawn(move || {
                let mut worker = Box::new(Worker::new(seat, machine));
                worker.run();
                worker.engine().counters().clone()
            })
        };
        let threads = seats.into_iter().enumerate().zip(arriving).map(start).collect();
        World { cell, hall, shared, threads }
    }

    fn wake(&self) {
        (0..self.threads.len()).for_each(|worker| self.hall.wake(worker));
    }

    /// Ends the workers when they have come to rest.
    fn stop(self) -> Vec<Counters> {
        self.hall.await_quiet();
        self.shared.iter().for_each(|shared| shared.stop());
        self.wake();
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

#[test]
fn a_worker_about_to_block_hears_of_a_publication() {
    check(3, || {
        let world = World::start(vec![Vec::new()]);
        let next = Arc::new(world.cell.load().next(snapshot(true), 1));
        let before = world.cell.publish(Arc::clone(&next));
        world.wake();
        world.hall.await_quiet();
        assert_eq!(world.shared[0].stats.adopted(), next.number);
        assert_eq!(before.number.0, 1);
        world.stop();
    });
}

#[test]
fn a_worker_about_to_block_hears_of_a_question() {
    check(3, || {
        let world = World::start(vec![Vec::new()]);
        let ticket = world.shared[0].request_sessions(SessionPage::new(4)).unwrap();
        world.wake();
        world.hall.await_quiet();
        let page = world.shared[0].take_sessions(ticket).expect("it was answered");
        assert!(page.done && page.sessions.is_empty());
        world.stop();
    });
}

/// SYNs of clients whose flows belong to `owner` of two workers.
fn syns(owner: u8, count: usize) -> Vec<Vec<u8>> {
    let is_owned = |port: &u16| {
        let key = FlowKey {
            scope: ScopeId(0),
            client: CLIENT.into(),
            client_port: *port,
            endpoint: ENDPOINT.into(),
            endpoint_port: 443,
            protocol: Protocol::Tcp,
        };
        key.owner(2) == WorkerId(owner)
    };
    (40_000..50_000).filter(is_owned).take(count).map(syn).collect()
}

fn syn(port: u16) -> Vec<u8> {
    let mut ip = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (at, address) in [(12, CLIENT), (16, ENDPOINT)] {
        let IpAddr::V4(address) = address else { panic!("{address} is not IPv4") };
        ip[at..at + 4].copy_from_slice(&address.octets());
    }
    let words = ip.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u32>();
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    ip[10..12].copy_from_slice(&(!sum).to_be_bytes());
    let mut frame = [&STATION.0[..], &[2, 0, 0, 0, 0, 7], &[8, 0]].concat();
    frame.extend_from_slice(&ip);
    frame.extend_from_slice(&port.to_be_bytes());
    frame.extend_from_slice(&[1, 187, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}

fn dropped(counters: &Counters, reason: DropReason) -> u64 {
    counters.dropped[reason.slot()]
}

/// What a worker made of the frames of its peer: those that came before it had opened its devices
/// died of that, the others left.
fn is_served(counters: &Counters) -> bool {
    let early = dropped(counters, DropReason::DeviceDown);
    counters.account_difference() == 0 && counters.forwarded + early == counters.taken_over
}

#[test]
fn frames_for_a_worker_about_to_block_reach_it_once() {
    check(1, || {
        let counters = World::start(vec![syns(1, 2), Vec::new()]).stop();
        assert_eq!((counters[0].handed_over, counters[0].dropped_total()), (2, 0), "room for two");
        assert_eq!(counters[1].taken_over, 2);
        assert!(is_served(&counters[1]), "{counters:?}");
    });
}

#[test]
fn a_full_ring_refuses_and_every_frame_is_counted_once() {
    check(1, || {
        let counters = World::start(vec![syns(1, 4), syns(0, 1)]).stop();
        let refused = dropped(&counters[0], DropReason::HandoverFull);
        assert_eq!(counters[0].handed_over + refused, 4);
        assert_eq!(counters[1].handed_over, 1);
        for (from, to) in [(0, 1), (1, 0)] {
            assert_eq!(counters[from].handed_over, counters[to].taken_over);
            assert!(is_served(&counters[to]), "{counters:?}");
        }
    });
}
