//! `adit run`: workers on their threads, the control socket, and signals.
//!
//! The main thread waits for signals, looks after devices and frees what workers have let go of.
//! One thread accepts clients, each of which has a thread of its own. All changes go through the
//! one lock around `controller`, so they happen one after the other, whole or not at all. No worker
//! waits for any of this.

mod arm;
mod audit;
mod clients;
mod controller;
mod crew;
mod directory;
mod exhaustion;
mod explain;
mod facts;
mod inquiry;
mod ledger;
mod notify;
mod plan;
mod privileges;
mod prober;
mod publisher;
mod push;
mod recorder;
mod server;
mod sessions;
mod socket;
mod trace;
mod view;
mod watch;
mod web;
mod whois;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::drop_reason::DropReason;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::api::Request;
use crate::config::{CONTROL_SOCKET, Config, ConfigErrors};
pub use arm::ArmOptions;
use audit::{Audit, Who};
pub(crate) use controller::read_configuration;
use controller::{Controller, Memory};
use crew::{Crew, Equipment};
use notify::Notifier;
use recorder::Recorder;
use server::Daemon;
use socket::ControlSocket;
use watch::Watch;

/// How often devices and old generations are looked after.
const TICK: Duration = Duration::from_millis(200);

/// How long workers may take to begin: they allocate their tables first.
const START_TIME: Duration = Duration::from_secs(60);

/// Why the daemon did not start, or ended.
#[derive(Debug)]
pub struct DaemonError {
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

impl DaemonError {
    fn new(problem: impl Into<String>, cure: impl Into<String>) -> DaemonError {
        DaemonError { problem: problem.into(), cure: cure.into() }
    }

    fn of_configuration(path: &Path, errors: &ConfigErrors) -> DaemonError {
        let problem = format!("{} has faults:\n{errors}", path.display());
        DaemonError::new(problem, "mend them, and look at the file with `adit check`")
    }
}

impl fmt::Display for DaemonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.problem, self.cure)
    }
}

impl std::error::Error for DaemonError {}

/// Says a line to whoever watches the daemon.
fn log(line: impl fmt::Display) {
    // Nobody may be watching: then there is nobody to tell that, either.
    let _ = writeln!(io::stderr().lock(), "adit: {line}");
}

/// Runs until a signal ends it.
///
/// # Errors
/// It could not start, or a part of it ended by itself and cannot be started again.
pub fn run(configuration: &Path, options: &ArmOptions) -> Result<(), DaemonError> {
    let path = std::path::absolute(configuration).unwrap_or_else(|_| configuration.to_owned());
    // Noted from now on, and heard once there are threads.
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| deaf(&error))?;
    let (text, _) = read_configuration(&path).map_err(|(what, cure)| {
        // Who names none gets the usual one, and may not know that.
        let is_missing = path.try_exists().is_ok_and(|exists| !exists);
        let how = if is_missing { ": adit run --config FILE" } else { "" };
        DaemonError::new(what, format!("{cure}{how}"))
    })?;
    let checked = crate::config::check(&text)
        .map_err(|errors| DaemonError::of_configuration(&path, &errors))?;
    for warning in &checked.warnings {
        log(format_args!("warning: {warning}"));
    }
    let socket_path = checked.config.settings().control_socket.value.clone();
    let is_default = socket_path == Path::new(CONTROL_SOCKET);
    let socket = ControlSocket::bind(&socket_path, is_default)?;
    let http = checked.config.settings().http.value.map(web::bind).transpose()?;
    let (memory, api) = arm::prepare(options, &socket_path)?;
    let audit = Audit::open(checked.config.settings().audit_log.value.as_deref())?;
    let equipment = Equipment::take(checked.config.settings(), secret()?)?;
    let gone = privileges::drop_needless(&checked.config)?;
    privileges::warn_of_unreadable(&path);
    let events = listen_for_signals(signals)?;
    let daemon = start(&path, checked.config, memory, (equipment, audit))?;
    daemon.controller.lock().lacks(gone);
    let api = api.map(|api| arm::serve(api, &daemon)).transpose()?;
    let prober = prober::start(&daemon)?;
    let control = server::serve(&socket, &daemon)?;
    if let Some(listener) = http {
        web::announce(web::serve(listener, &daemon)?);
    }
    let push = daemon.controller.lock().metrics_push().cloned();
    push.map(|push| push::start(&push, &daemon)).transpose()?;
    log(format_args!("ready, control socket {}", socket_path.display()));
    let mut notifier = Notifier::of_environment();
    notifier.ready("forwarding");
    let outcome = supervise(&daemon, &events, &[Some(control), Some(prober), api], &mut notifier);
    notifier.stopping();
    // No request may start something once the workers end; the last one is waited for.
    let controller = daemon.controller.lock();
    drop(socket);
    let counters = daemon.crew.stop();
    daemon.recorder.stop();
    say_goodbye(&counters, controller.uptime());
    outcome
}

/// What the main thread waits for.
enum Event {
    Stop,
    Reload,
}

fn deaf(error: &io::Error) -> DaemonError {
    DaemonError::new(format!("could not listen for signals: {error}"), "try again")
}

fn listen_for_signals(mut signals: Signals) -> Result<Receiver<Event>, DaemonError> {
    let (sender, receiver) = mpsc::channel();
    let forward = move || {
        for signal in signals.forever() {
            let event = if signal == SIGHUP { Event::Reload } else { Event::Stop };
            if sender.send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(forward)
        .map_err(|error| deaf(&error))?;
    Ok(receiver)
}

/// A number that nobody can guess.
fn secret() -> Result<u64, DaemonError> {
    getrandom::u64().map_err(|error| {
        let problem = format!("the kernel gave no random number: {error}");
        DaemonError::new(problem, "try again")
    })
}

/// Starts the workers and waits until they work with the first generation.
fn start(
    path: &Path,
    config: Config,
    memory: Memory,
    (equipment, audit): (Equipment, Audit),
) -> Result<Arc<Daemon>, DaemonError> {
    let (crew_seed, pool_seed) = (secret()?, secret()?);
    let failed = |errors| DaemonError::of_configuration(path, &errors);
    let mut controller =
        Controller::with_memory(path, config, pool_seed, memory).map_err(failed)?;
    controller.keep_audit(audit);
    let crew = Crew::start(controller.settings(), equipment, crew_seed, controller.cell())?;
    let crew = Arc::new(crew);
    let recorder = Recorder::start(controller.settings(), &crew, controller.directory());
    let recorder = recorder.inspect_err(|_| {
        crew.stop();
    })?;
    controller.attach(Arc::clone(&crew), Arc::clone(&recorder));
    let began = Instant::now();
    if let Err(laggards) = crew.wait_until_adopted(controller.number(), START_TIME) {
        let problem = format!("{laggards} did not start within {} s", began.elapsed().as_secs());
        crew.stop();
        return Err(DaemonError::new(problem, "lower workers or flows_max"));
    }
    let (workers, devices) = (crew.len(), controller.device_count());
    log(format_args!(
        "adit {} runs {workers} workers and {devices} devices from {}",
        env!("CARGO_PKG_VERSION"),
        path.display()
    ));
    Ok(Arc::new(Daemon::new(controller, crew, recorder)))
}

/// Waits for signals and looks after things meanwhile. What only half works ends.
fn supervise(
    daemon: &Daemon,
    events: &Receiver<Event>,
    servers: &[Option<JoinHandle<()>>],
    notifier: &mut Notifier,
) -> Result<(), DaemonError> {
    let mut watch = Watch::default();
    loop {
        notifier.live(Instant::now());
        match events.recv_timeout(TICK) {
            Ok(Event::Stop) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                let problem = "signals are heard no more: a bug of adit";
                return Err(DaemonError::new(problem, "please report it with the lines above"));
            }
            Ok(Event::Reload) => {
                notifier.reloading();
                notifier.ready(reload(daemon));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(worker) = daemon.crew.ended() {
            log(format_args!(
                "worker {worker} ended by itself: this is a bug of adit, please report it with the \
                 lines above. Its flows are lost; it starts again without any"
            ));
            daemon.crew.revive(worker)?;
        }
        if servers.iter().flatten().any(JoinHandle::is_finished) {
            let problem = "a thread of adit ended by itself, which is a bug";
            return Err(DaemonError::new(problem, "please report it with the lines above"));
        }
        let devices = {
            let mut controller = daemon.controller.lock();
            controller.reap();
            controller.tend().into_iter().for_each(|refused| daemon.recorder.tell(refused));
            controller.devices()
        };
        watch.look(&devices).iter().for_each(log);
    }
}

/// Reloads, and says in a few words how that went.
fn reload(daemon: &Daemon) -> &'static str {
    match daemon.decide(&Request::Reload {}, Who::Signal) {
        Ok(_) => "forwarding",
        Err(failure) => {
            log(format_args!("reload: {failure}"));
            "forwarding; the last reload was refused, see the log"
        }
    }
}

fn say_goodbye(counters: &dataplane::stats::Counters, uptime: Duration) {
    log(format_args!(
        "stopped after {} s: received {}, forwarded {}, dropped {}, flows opened {}",
        uptime.as_secs(),
        counters.received,
        counters.forwarded,
        counters.dropped_total(),
        counters.flows_opened,
    ));
    for reason in DropReason::ALL {
        let count = counters.dropped[reason.slot()];
        if count > 0 {
            log(format_args!("dropped {count}: {}", reason.metric()));
        }
    }
}
