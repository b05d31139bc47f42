//! What a worker's turn takes while somebody lists every session of its table, as `adit sessions`
//! does: page after page through the real exchange, from another thread.
//!
//! A turn is a batch of packets of random flows, received by copying and sent by counting, so that
//! nothing but the worker is measured. Turns without and with a reader alternate. A turn's time is
//! that for which its thread had a processor: what else runs on the machine would be most of the
//! longest turns otherwise.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use dataplane::device::{Batch, Device, DeviceError, Frame, Link, Offload, Transmitted};
use dataplane::publish::Cell;
use dataplane::snapshot::DevicePlan;
use dataplane::types::{Area, DeviceIndex, Instant, WorkerId};
use dataplane::worker::{CrewConfig, Platform, Queue, SessionPage, Shared, Worker, crew};

use rustix::time::{ClockId, clock_gettime};

use crate::rig::{self, Rig, Setup, Translated};

/// Sessions of a page, as the daemon asks for them.
const PAGE_SESSIONS: usize = 4_096;

/// Time between two looks for a page, as the daemon looks.
const LOOK: Duration = Duration::from_micros(200);

/// Turns of the whole, without a reader and with one, so often in turn.
const ROUNDS: usize = 8;

/// Nanoseconds of turns: half of them take no more than the first, and so on.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// The median.
    pub median: u64,
    /// Of a hundred one takes more.
    pub p99: u64,
    /// Of a thousand one takes more.
    pub p999: u64,
    /// Of ten thousand one takes more.
    pub p9999: u64,
    /// The longest.
    pub max: u64,
}

impl Turns {
    fn of(mut times: Vec<u64>) -> Turns {
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        let at = |place: usize| times.get(place).copied().unwrap_or(0);
        Turns {
            median: at(last / 2),
            p99: at(last - last / 100),
            p999: at(last - last / 1_000),
            p9999: at(last - last / 10_000),
            max: at(last),
        }
    }
}

/// Without a reader and with one.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Open flows.
    pub flows: usize,
    /// Each round without a reader.
    pub alone: Vec<Turns>,
    /// Each round with one.
    pub read: Vec<Turns>,
    /// Sessions that the reader was given.
    pub sessions: u64,
    /// For how long it read.
    pub seconds: f64,
}

/// Turns of a worker with `flows` flows, `turns` of them a round.
///
/// # Panics
/// If the worker forwards fewer than all of its packets: a bug of this bench.
#[must_use]
pub fn measure(flows: usize, turns: usize, setup: Setup) -> Figures {
    let mut bench = Bench::new(flows, setup);
    let reader = Reader::start(&bench.shared);
    // After the reader has begun, which must not be bound to the same. A thread that is not bound
    // measures as well, with more spread.
    let _ = dataplane::io::usable_cpus().first().map(|cpu| dataplane::io::pin_to_cpu(*cpu));
    bench.open(flows);
    let (mut alone, mut read) = (Vec::new(), Vec::new());
    let (mut sessions, mut seconds) = (0, 0.0);
    for _ in 0..ROUNDS {
        alone.push(Turns::of(bench.turns(turns)));
        reader.is_reading.store(true, Ordering::Release);
        let (began, known) = (std::time::Instant::now(), reader.sessions.load(Ordering::Acquire));
        read.push(Turns::of(bench.turns(turns)));
        seconds += began.elapsed().as_secs_f64();
        sessions += reader.sessions.load(Ordering::Acquire) - known;
        reader.is_reading.store(false, Ordering::Release);
        // What was asked for last is still answered, with nobody's packets.
        bench.idle(64);
    }
    reader.is_over.store(true, Ordering::Release);
    while !reader.thread.is_finished() {
        bench.idle(1);
    }
    Figures { flows, alone, read, sessions, seconds }
}

/// What lists sessions.
struct Reader {
    is_reading: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    sessions: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Reader {
    fn start(shared: &Arc<Shared>) -> Reader {
        let (is_reading, is_over) = (Arc::default(), Arc::default());
        let sessions = Arc::default();
        let own = (Arc::clone(shared), Arc::clone(&is_reading), Arc::clone(&is_over));
        let count = Arc::clone(&sessions);
        let thread = thread::spawn(move || read(&own.0, (&own.1, &own.2), &count));
        Reader { is_reading, is_over, sessions, thread }
    }
}

/// Lists all sessions over and over, as the daemon does.
fn read(shared: &Shared, (is_reading, is_over): (&AtomicBool, &AtomicBool), count: &AtomicU64) {
    let mut page = SessionPage::new(PAGE_SESSIONS);
    while !is_over.load(Ordering::Acquire) {
        if !is_reading.load(Ordering::Acquire) {
            thread::sleep(LOOK);
            continue;
        }
        if page.done {
            page = SessionPage::new(PAGE_SESSIONS);
        }
        page.sessions.clear();
        let Ok(ticket) = shared.request_sessions(page) else { return };
        page = loop {
            match shared.take_sessions(ticket) {
                Some(page) => break page,
                None if is_over.load(Ordering::Acquire) => return,
                None => thread::sleep(LOOK),
            }
        };
        count.fetch_add(page.sessions.len() as u64, Ordering::Release);
    }
}

/// One end of a device: frames that wait to be received, and what was sent, if that is asked for.
#[derive(Default)]
struct Ends {
    arriving: Vec<rig::Bytes>,
    sent: Option<Vec<Vec<u8>>>,
    count: usize,
}

#[derive(Clone)]
struct Cable {
    link: Link,
    ends: Rc<RefCell<Ends>>,
}

impl Device for Cable {
    fn link(&self) -> Link {
        self.link
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        batch.clear();
        let mut ends = self.ends.borrow_mut();
        for bytes in &ends.arriving {
            if let Some(frame) = batch.append() {
                frame.fill(bytes);
                frame.offload = Offload::default();
            }
        }
        ends.arriving.clear();
        Ok(())
    }

    fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        let mut ends = self.ends.borrow_mut();
        ends.count += frames.len();
        if let Some(sent) = &mut ends.sent {
            sent.extend(frames.iter().map(|frame| frame.bytes().to_vec()));
        }
        Transmitted { sent: frames.len(), ..Transmitted::default() }
    }
}

/// A machine with two cables.
struct Machine {
    cables: [Cable; 2],
    huge_pages: bool,
}

impl Platform for Machine {
    type Device = Cable;

    fn open(&mut self, plan: &DevicePlan, _: Queue) -> Result<Cable, DeviceError> {
        Ok(self.cables[usize::from(plan.scope.0 == 1)].clone())
    }

    fn now(&mut self) -> Instant {
        dataplane::io::now()
    }

    fn wait(&mut self, _: &mut dyn Iterator<Item = &Cable>, _: Duration) {}

    fn favor(&mut self, area: Area) {
        if self.huge_pages {
            dataplane::io::favor(area);
        }
    }

    fn wake(&mut self, _: WorkerId) {}
}

struct Bench {
    setup: Setup,
    worker: Worker<Machine>,
    shared: Arc<Shared>,
    cables: [Cable; 2],
    began: std::time::Instant,
    flows: Vec<Translated>,
    random: rig::Random,
}

impl Bench {
    fn new(flows: usize, setup: Setup) -> Bench {
        let cell = Arc::new(Cell::new(Rig::generation(flows)));
        let recording = setup.recording;
        let config = CrewConfig { workers: 1, flows_max: flows, seed: 7, recording };
        let seat = crew(config, &cell).pop().expect("one seat");
        let cables = [rig::CONSUMER, rig::PROVIDER].map(|mac| {
            let link = Link { mac, mtu: 1500 };
            Cable { link, ends: Rc::default() }
        });
        let shared = Arc::clone(&seat.shared);
        let machine = Machine { cables: cables.clone(), huge_pages: setup.huge_pages };
        let worker = Worker::new(seat, machine);
        let (began, flows, random) =
            (std::time::Instant::now(), Vec::new(), rig::Random::default());
        let mut bench = Bench { setup, worker, shared, cables, began, flows, random };
        bench.idle(1);
        bench
    }

    /// The time since the rig's own beginning, when it knew its neighbors.
    fn now(&self) -> Instant {
        let elapsed = u64::try_from(self.began.elapsed().as_nanos()).expect("a sane time");
        Instant::from_nanos(rig::BEGINNING_NS + elapsed)
    }

    fn idle(&mut self, turns: usize) {
        for _ in 0..turns {
            let now = self.now();
            self.worker.turn(now);
        }
    }

    /// The neighbors answer, as those that are there do.
    fn answer(&self) {
        rig::confirm(self.worker.engine().generation(), self.now());
    }

    fn give(&self, device: DeviceIndex, frames: Vec<rig::Bytes>) {
        self.cables[device.slot()].ends.borrow_mut().arriving = frames;
    }

    /// Opens flows and answers them.
    fn open(&mut self, count: usize) {
        let sent = |bench: &Bench| bench.cables[1].ends.borrow_mut().sent.replace(Vec::new());
        sent(self);
        while self.flows.len() < count {
            let first = self.flows.len();
            let batch = self.setup.batch.min(count - first);
            let clients = (first..first + batch).map(|at| u32::try_from(at).expect("few clients"));
            let packets = clients.clone().map(rig::from_client).collect();
            self.give(rig::CONSUMER_DEVICE, packets);
            self.idle(1);
            self.answer();
            let sent = sent(self).unwrap_or_default();
            let opened = clients.zip(&sent).map(|(client, bytes)| rig::observe(client, bytes));
            self.flows.extend(opened);
            assert_eq!(self.flows.len(), first + batch, "every packet opens a flow");
            let answers = self.flows[first..].iter().map(rig::from_backend).collect();
            self.give(rig::PROVIDER_DEVICE, answers);
            self.idle(1);
        }
        self.cables[1].ends.borrow_mut().sent = None;
    }

    /// The time of each turn.
    fn turns(&mut self, turns: usize) -> Vec<u64> {
        let carried = |bench: &Bench| -> usize {
            bench.cables.iter().map(|cable| cable.ends.borrow().count).sum()
        };
        let before = carried(self);
        let times = (0..turns).map(|turn| {
            if turn % 10_000 == 0 {
                self.answer();
            }
            self.measured_turn(turn % 2 == 0)
        });
        let times = times.collect();
        // And a question for a neighbor now and then.
        assert!(carried(self) - before >= turns * self.setup.batch, "every packet is sent on");
        times
    }

    fn measured_turn(&mut self, is_forward: bool) -> u64 {
        let picked: Vec<usize> =
            (0..self.setup.batch).map(|_| self.random.below(self.flows.len())).collect();
        let picked = picked.iter().map(|at| &self.flows[*at]);
        let (device, frames) = if is_forward {
            (rig::CONSUMER_DEVICE, picked.map(|flow| rig::from_client(flow.client)).collect())
        } else {
            (rig::PROVIDER_DEVICE, picked.map(rig::from_backend).collect())
        };
        self.give(device, frames);
        let at = self.now();
        let before = own_time();
        self.worker.turn(at);
        own_time() - before
    }
}

/// Nanoseconds for which this thread had a processor.
fn own_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    u64::try_from(nanoseconds).unwrap_or(0)
}
