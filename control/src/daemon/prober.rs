//! The thread that asks backends how they are, and what is known of them.
//!
//! It carries packets between the attempts' own TCP and the workers, hears outcomes, says verdicts
//! that change, and has the controller put them in force. It waits for the next attempt that is
//! due; while any is under way it looks for answers every so often, up to [`LOOK_MAX`] apart.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::types::{Family, ScopedAddress};
use dataplane::wire::ethernet;
use dataplane::worker::{ProbeFrame, ProbeRings};
use parking_lot::{Condvar, Mutex};

use super::crew::Crew;
use super::server::Daemon;
use super::{DaemonError, log, recorder};
use crate::config::Config;
use crate::probe::{Call, Change, Machine, Report, Stack, Target, targets};
use crate::state::{Health, Probed, Registry};

/// Time between two looks for answers: the first after something happened, and the longest.
const LOOK_MIN: Duration = Duration::from_micros(500);
const LOOK_MAX: Duration = Duration::from_millis(10);

/// What is known of all probed backends.
pub(super) struct Probing {
    machine: Mutex<Machine<Probed, Target>>,
    /// Others are asked than before.
    changed: Condvar,
    started: Instant,
}

impl Probing {
    /// Nobody is asked yet. `seed` spreads the first attempts.
    pub(super) fn new(seed: u64, started: Instant) -> Probing {
        Probing { machine: Mutex::new(Machine::new(seed)), changed: Condvar::new(), started }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// From now on those are asked whom the configuration names. Those of whom nothing is known and
    /// who are healthy by the registry took flows before.
    pub(super) fn follow(&self, config: &Config, registry: &Registry) {
        let targets = targets(config, registry).into_iter();
        let targets = targets.map(|(key, (target, pace))| (key, target, pace));
        let took_flows = |key: &Probed| registry.health().has(key);
        self.machine.lock().retarget(self.now(), targets, took_flows);
        self.changed.notify_one();
    }

    /// Who is healthy.
    pub(super) fn health(&self) -> Health {
        self.machine.lock().healthy().cloned().collect()
    }

    /// How a backend is.
    pub(super) fn report(&self, key: &Probed) -> Option<Report> {
        self.machine.lock().report(self.now(), key)
    }

    /// How many backends are asked, and how many of them may take new flows.
    pub(super) fn count(&self) -> (usize, usize) {
        let machine = self.machine.lock();
        (machine.len(), machine.healthy().count())
    }
}

/// Asks on a thread that lives as long as the process.
pub(super) fn start(daemon: &Arc<Daemon>) -> Result<JoinHandle<()>, DaemonError> {
    let failed = |error: String| {
        DaemonError::new(format!("backends cannot be probed: {error}"), "try again")
    };
    let seed = getrandom::u64().map_err(|error| failed(error.to_string()))?;
    let today = Duration::from_millis(recorder::now().0);
    let stack = Stack::new(seed, today).map_err(failed)?;
    let probing = Arc::clone(daemon.controller.lock().probing());
    let daemon = Arc::clone(daemon);
    let mut prober = Prober { probing, stack, daemon };
    let work = move || prober.run();
    let thread = thread::Builder::new().name("prober".to_owned());
    thread.spawn(work).map_err(|error| failed(error.to_string()))
}

struct Prober {
    probing: Arc<Probing>,
    stack: Stack<Probed>,
    daemon: Arc<Daemon>,
}

impl Prober {
    fn run(&mut self) {
        let Some(rings) = self.daemon.crew.probe_rings() else { return };
        let mut look = LOOK_MIN;
        loop {
            let now = self.probing.now();
            self.begin(now);
            let ended = exchange(&mut self.stack, now, &rings, &self.daemon.crew);
            look = if ended.is_some() { LOOK_MIN } else { LOOK_MAX.min(look * 2) };
            self.hear(now, ended.unwrap_or_default());
            self.wait(look);
        }
    }

    /// Begins what is due.
    fn begin(&mut self, now: Duration) {
        let mut machine = self.probing.machine.lock();
        while let Some(attempt) = machine.begin(now) {
            let Target { route, backend, question, timeout } = attempt.target.clone();
            let key = attempt.key.clone();
            self.stack.call(now, Call { key, route, backend, question, timeout });
        }
    }

    fn hear(&self, now: Duration, ended: Vec<(Probed, Result<(), String>)>) {
        let mut has_changed = false;
        for (key, outcome) in ended {
            let error = outcome.clone().err();
            let changed = self.probing.machine.lock().finish(now, &key, outcome);
            if let Some(change) = changed {
                has_changed = true;
                log(line(&key, &change, error.as_deref()));
            }
        }
        if has_changed {
            self.daemon.controller.lock().follow_health();
        }
    }

    /// Waits until something is to be done.
    fn wait(&self, look: Duration) {
        let mut machine = self.probing.machine.lock();
        let due = machine.next_due().map(|due| due.saturating_sub(self.probing.now()));
        let look = (!self.stack.is_idle()).then_some(look);
        match due.into_iter().chain(look).min() {
            Some(wait) => drop(self.probing.changed.wait_for(&mut machine, wait)),
            None => self.probing.changed.wait(&mut machine),
        }
    }
}

/// Lets packets come and go. The attempts that ended; `None` if nothing happened at all.
fn exchange(
    stack: &mut Stack<Probed>,
    now: Duration,
    rings: &ProbeRings,
    crew: &Crew,
) -> Option<Vec<(Probed, Result<(), String>)>> {
    let mut is_busy = false;
    while let Some(frame) = rings.take() {
        is_busy = true;
        stack.deliver(
            frame.scope(),
            frame.bytes().get(ethernet::HEADER_BYTES..).unwrap_or_default(),
        );
    }
    let ended = stack.turn(now);
    let outgoing = stack.outgoing();
    let sends = !outgoing.is_empty();
    for packet in outgoing {
        let bytes = [&header(packet.backend.family())[..], &packet.packet].concat();
        let backend = ScopedAddress { scope: packet.scope, address: packet.backend };
        // What finds no room is sent again.
        let _ =
            ProbeFrame::new(packet.scope, &bytes).is_some_and(|frame| rings.ask(backend, frame));
    }
    if sends {
        crew.wake();
    }
    (is_busy || sends || !ended.is_empty()).then_some(ended)
}

/// An Ethernet header whose stations the worker writes.
fn header(family: Family) -> [u8; ethernet::HEADER_BYTES] {
    let mut header = [0; ethernet::HEADER_BYTES];
    header[12..].copy_from_slice(&ethernet::ethertype(family).to_be_bytes());
    header
}

/// What is to be said of a verdict.
fn line(key: &Probed, change: &Change, error: Option<&str>) -> String {
    let Probed { load_balancer, probe, address } = key;
    let (before, after) = (change.before.name(), change.after.name());
    let lasted = change.lasted.as_secs_f64();
    let why = error.map_or_else(String::new, |error| format!(": {error}"));
    format!(
        "backend {address} of {load_balancer}: {after} by probe {probe}{why} (was {before} for \
         {lasted:.1} s)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Name;
    use crate::probe::State;

    #[test]
    fn a_change_is_said_with_its_reason() {
        let name = |text| Name::new(text).unwrap();
        let address = "10.1.0.10".parse().unwrap();
        let key = Probed { load_balancer: name("lb"), probe: name("health"), address };
        let lasted = Duration::from_millis(2_340);
        let change = Change { before: State::Up, after: State::Down, lasted };
        assert_eq!(
            line(&key, &change, Some("status 500, not 200")),
            "backend 10.1.0.10 of lb: down by probe health: status 500, not 200 (was up for 2.3 s)"
        );
    }
}
