//! Reads what workers tell of flows, remembers those that ended, and writes the flow log.
//!
//! One thread looks at every worker's ring every so often. Nothing waits for it: what it has no
//! time to read is lost in the ring and counted there, what it cannot write is lost and counted
//! here, and packets feel neither (I8). A log that is in trouble is tried again with every event.

mod collector;
mod file;
mod sink;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dataplane::record::{FlowEvent as What, FlowRecord, Recording};
use dataplane::types::Tick;
use parking_lot::Mutex;

use super::DaemonError;
use super::crew::Crew;
use super::directory::{Directory, Known};
use crate::api;
use crate::config::{Collector, FlowLog, Memory, Settings};
use crate::moment::Moment;
use crate::recording::ended::{Ended, Sighting};
use crate::recording::event::{Event, FlowEvent, Refused};
pub(super) use file::LineFile;
use sink::{Ipfix, Lines, Sink};

/// Time between two looks at rings in which there was nothing.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// Records that are taken from a ring before they are written.
const BATCH_RECORDS: usize = 2_048;

/// Events of control's own that wait to be written.
const WAITING_MAX: usize = 1_024;

/// What workers are to tell for these settings.
pub(super) fn recording(settings: &Settings) -> Recording {
    match (settings.flow_log.value.is_on(), settings.whois.value.flows_max) {
        (true, _) => Recording::Traffic,
        (false, 0) => Recording::Nothing,
        (false, _) => Recording::Flows,
    }
}

/// The time as people have it.
pub(super) fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// See the module's documentation.
pub(super) struct Recorder {
    ended: Mutex<Ended>,
    memory: Memory,
    sinks: Vec<Sink>,
    /// What control itself has to tell.
    waiting: Mutex<Vec<Event>>,
    directory: Arc<Directory>,
    crew: Arc<Crew>,
    is_stopped: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The time on both clocks.
#[derive(Clone, Copy)]
struct Clocks {
    tick: Tick,
    now: Moment,
}

impl Clocks {
    fn read() -> Clocks {
        Clocks { tick: dataplane::io::now().tick(), now: now() }
    }

    fn moment(&self, tick: Tick) -> Moment {
        let ago = u64::from(self.tick.since(tick)) * Tick::NANOS;
        self.now.before(Duration::from_nanos(ago))
    }
}

impl Recorder {
    /// Opens what is written to, and begins.
    pub(super) fn start(
        settings: &Settings,
        crew: &Arc<Crew>,
        directory: &Arc<Directory>,
    ) -> Result<Arc<Recorder>, DaemonError> {
        let memory = settings.whois.value;
        let recorder = Arc::new(Recorder {
            ended: Mutex::new(Ended::new(memory)),
            memory,
            sinks: sinks(&settings.flow_log.value)?,
            waiting: Mutex::default(),
            directory: Arc::clone(directory),
            crew: Arc::clone(crew),
            is_stopped: AtomicBool::new(false),
            thread: Mutex::default(),
        });
        if recording(settings) != Recording::Nothing {
            let own = Arc::clone(&recorder);
            let run = move || own.run();
            let thread = thread::Builder::new().name("recorder".to_owned()).spawn(run);
            let failed = |error: io::Error| {
                DaemonError::new(format!("flows cannot be recorded: {error}"), "try again")
            };
            *recorder.thread.lock() = Some(thread.map_err(failed)?);
        }
        Ok(recorder)
    }

    /// Writes what is still there, and ends. Workers have ended.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().take() {
            thread.thread().unpark();
            // One that panicked has said so.
            drop(thread.join());
        }
    }

    fn run(&self) {
        loop {
            let is_last = self.is_stopped.load(Ordering::Acquire);
            let is_behind = self.turn();
            if is_last && !is_behind {
                return;
            }
            if !is_behind {
                thread::park_timeout(LOOK);
            }
        }
    }

    /// Takes what is there, up to a batch of each worker; whether there may be more.
    fn turn(&self) -> bool {
        let (clocks, names) = (Clocks::read(), self.directory.read());
        let mut events = std::mem::take(&mut *self.waiting.lock());
        let mut is_behind = false;
        for shared in self.crew.shared() {
            let records = std::iter::from_fn(|| shared.take_record()).take(BATCH_RECORDS);
            let before = events.len();
            events.extend(records.map(|record| Event::Flow(event(&record, clocks, &names))));
            is_behind |= events.len() - before == BATCH_RECORDS;
        }
        self.remember(&events, clocks.now);
        for sink in &self.sinks {
            sink.write(&events, clocks.now);
        }
        is_behind
    }

    fn remember(&self, events: &[Event], now: Moment) {
        let mut ended = self.ended.lock();
        for event in events {
            if let Event::Flow(flow) = event
                && flow.why.is_some()
            {
                ended.push(flow.clone());
            }
        }
        ended.forget(now);
    }

    /// Writes down that newcomers were refused, if anything is written.
    pub(super) fn tell(&self, refused: Refused) {
        let mut waiting = self.waiting.lock();
        if !self.sinks.is_empty() && waiting.len() < WAITING_MAX {
            waiting.push(Event::Refused(refused));
        }
    }

    /// What is remembered of a sighting: whose it may have been, the latest first, and who had the
    /// port when that was asked for in vain.
    pub(super) fn find(
        &self,
        sighting: &Sighting,
        most: usize,
    ) -> (Vec<FlowEvent>, Option<FlowEvent>) {
        let ended = self.ended.lock();
        (ended.find(sighting, most), ended.nearest(sighting))
    }

    /// How it is.
    pub(super) fn status(&self) -> api::Recording {
        let counters = self.crew.counters();
        let ended = self.ended.lock();
        api::Recording {
            records: counters.records.saturating_sub(counters.records_lost),
            records_lost: counters.records_lost,
            remembered: ended.len() as u64,
            remembered_max: self.memory.flows_max as u64,
            remembered_seconds: self.memory.age_max.as_secs(),
            remembered_since: ended.since().map(Moment::rfc3339),
            flow_logs: self.sinks.iter().map(Sink::status).collect(),
            audit_log: api::AuditLog::default(),
        }
    }
}

fn event(record: &FlowRecord, clocks: Clocks, names: &Known) -> FlowEvent {
    let key = &record.key;
    let ends = names.connection(record.link);
    FlowEvent {
        why: match record.event {
            What::Began => None,
            What::Ended(why) => Some(why),
        },
        at: clocks.moment(record.at),
        began: clocks.moment(record.began),
        last_seen: clocks.moment(record.last_seen),
        protocol: key.protocol.into(),
        scope: key.scope.0,
        virtual_network: names.network(key.scope),
        client: (key.client.ip(), key.client_port),
        endpoint: ends.map(|ends| Arc::clone(&ends.endpoint)),
        service: ends.map(|ends| Arc::clone(&ends.service)),
        endpoint_address: (key.endpoint.ip(), key.endpoint_port),
        link_id: record.link.0,
        nat: (record.nat.0.ip(), record.nat.1),
        backend: record.backend.ip(),
        target: (record.target.0.ip(), record.target.1),
        traffic: record.traffic,
    }
}

fn sinks(log: &FlowLog) -> Result<Vec<Sink>, DaemonError> {
    let mut sinks = Vec::new();
    if let Some(file) = &log.file {
        sinks.push(Sink::new("json", file.path.display().to_string(), Lines::new(file))?);
    }
    if let Some((to, domain)) = &log.ipfix {
        let shown = to.to_string();
        sinks.push(match to {
            Collector::File(file) => Sink::new("ipfix", shown, Ipfix::file(file, *domain))?,
            Collector::Tcp(address) => Sink::new("ipfix", shown, Ipfix::tcp(*address, *domain))?,
            Collector::Udp(address) => Sink::new("ipfix", shown, Ipfix::udp(*address, *domain))?,
        });
    }
    Ok(sinks)
}
