//! adit itself, as a child process in its own namespace, and questions to it over its control
//! socket, as any program would ask them.
//!
//! The child is asked to end, waited for, and killed if it does not; it ends with the demo even if
//! that is killed. It has a process group of its own, so that Ctrl-C reaches the demo alone, which
//! then takes things down in order.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::ops;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use lab::{Namespace, Process};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use super::DemoError;
use super::scratch::Scratch;
use super::trouble::Trouble;
use crate::api::{
    Answer, DeviceState, Drop, Endpoint, Request, Response, Service, Session, SessionFilter, Status,
};
use crate::stop::Stop;

/// This program, even if its file was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The configuration, but for the socket's path.
const CONFIGURATION: &str = include_str!("adit.toml");

/// How long adit may take to start, to answer, and to end.
const START_TIME: Duration = Duration::from_secs(20);
const ANSWER_TIME: Duration = Duration::from_secs(5);
const END_TIME: Duration = Duration::from_secs(5);

/// Time between two looks at something that is about to happen.
const STEP: Duration = Duration::from_millis(2);

/// Lines of the child's output that are shown when it fails.
const LAST_LINES: usize = 15;

/// The running child.
pub(super) struct Daemon {
    process: Process,
    socket: PathBuf,
    log: PathBuf,
}

impl Daemon {
    /// Starts it in `namespace`, with its files in `scratch`, and waits until it answers and every
    /// device is up and every backend has answered its ARP request.
    pub(super) fn start(
        namespace: &Namespace,
        scratch: &Scratch,
        stop: &Stop,
    ) -> Result<Daemon, Trouble> {
        let [socket, configuration, log] =
            ["control.sock", "adit.toml", "adit.log"].map(|name| scratch.path().join(name));
        let text = CONFIGURATION.replace("@CONTROL_SOCKET@", &socket.to_string_lossy());
        fs::write(&configuration, text).map_err(Trouble::file(&configuration))?;
        let output = File::create(&log).map_err(Trouble::file(&log))?;
        let errors = output.try_clone().map_err(Trouble::file(&log))?;
        let mut command = namespace.command(OWN_PROGRAM)?;
        command.arg0("adit").args(["demo", "--daemon"]).arg(&configuration);
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let mut daemon = Daemon { process: Process::start(command)?, socket, log };
        daemon.wait_until_ready(stop)?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self, stop: &Stop) -> Result<(), Trouble> {
        let deadline = Instant::now() + START_TIME;
        loop {
            self.check_alive()?;
            let status = self.status();
            if status.as_ref().is_ok_and(is_ready) {
                return Ok(());
            }
            if stop.is_requested() {
                return Err(Trouble::Stopped);
            }
            if Instant::now() >= deadline {
                let what = match status {
                    Ok(status) => not_ready(&status),
                    Err(error) => error.to_string(),
                };
                let what = format!("adit is not ready after {START_TIME:?}: {what}");
                return Err(Trouble::Adit(self.with_log(&what)));
            }
            std::thread::sleep(STEP);
        }
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// An error, with its last words, if it has ended.
    pub(super) fn check_alive(&mut self) -> Result<(), Trouble> {
        match self.process.child().try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                Err(Trouble::Adit(self.with_log(&format!("adit ended by itself: {status}"))))
            }
            Err(error) => Err(Trouble::Adit(format!("adit cannot be waited for: {error}"))),
        }
    }

    /// Asks it to end and waits for that. A child that does not is killed.
    pub(super) fn end(mut self) -> Result<ExitStatus, Trouble> {
        self.try_end()
    }

    fn try_end(&mut self) -> Result<ExitStatus, Trouble> {
        let failed = |error: io::Error| Trouble::Adit(format!("adit cannot be ended: {error}"));
        let child = self.process.child();
        // Once it has been waited for, its id may be another process's.
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            kill_process(id, Signal::TERM).map_err(|error| failed(error.into()))?;
        }
        self.process.wait(END_TIME).map_err(|error| {
            // A child that does not listen gets no second chance when this is dropped.
            let _ = self.process.child().kill();
            Trouble::Adit(self.with_log(&format!("adit did not end after SIGTERM: {error}")))
        })
    }

    /// How it is.
    pub(super) fn status(&self) -> Result<Status, Trouble> {
        match self.ask(&Request::Status {})? {
            Response::Status(status) => Ok(*status),
            other => Err(surprise(&other)),
        }
    }

    /// Its private endpoints.
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, Trouble> {
        match self.ask(&Request::Endpoints {})? {
            Response::Endpoints { endpoints } => Ok(endpoints),
            other => Err(surprise(&other)),
        }
    }

    /// Its services.
    pub(super) fn services(&self) -> Result<Vec<Service>, Trouble> {
        match self.ask(&Request::Services {})? {
            Response::Services { services } => Ok(services),
            other => Err(surprise(&other)),
        }
    }

    /// The flows that live now and match.
    pub(super) fn sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, Trouble> {
        match self.ask(&Request::Sessions(filter))? {
            Response::Sessions { sessions, .. } => Ok(sessions),
            other => Err(surprise(&other)),
        }
    }

    /// Every reason to drop packets, with its count.
    pub(super) fn drops(&self) -> Result<Vec<Drop>, Trouble> {
        match self.ask(&Request::Drops { all: true })? {
            Response::Drops { drops, .. } => Ok(drops),
            other => Err(surprise(&other)),
        }
    }

    /// One reason.
    pub(super) fn drop_of(&self, metric: &str) -> Result<Drop, Trouble> {
        let found = self.drops()?.into_iter().find(|drop| drop.metric == metric);
        found.ok_or_else(|| Trouble::Adit(format!("adit has no counter {metric}")))
    }

    /// Asks, and puts the lines of the answer together.
    pub(super) fn ask(&self, request: &Request) -> Result<Response, Trouble> {
        let failed = |error: io::Error| {
            Trouble::Adit(format!("ask adit at {}: {error}", self.socket.display()))
        };
        let stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_TIME)).map_err(failed)?;
        stream.set_write_timeout(Some(ANSWER_TIME)).map_err(failed)?;
        (&stream).write_all(request.line().as_bytes()).map_err(failed)?;
        let mut lines = BufReader::new(&stream).lines();
        let mut found = Vec::new();
        loop {
            let line = lines.next().unwrap_or(Err(io::ErrorKind::UnexpectedEof.into()));
            let answer: Answer = serde_json::from_str(&line.map_err(failed)?)
                .map_err(|error| failed(error.into()))?;
            match answer.into_result() {
                Err(failure) => return Err(Trouble::Adit(failure.to_string())),
                Ok(Response::Sessions { sessions, last, more }) => {
                    found.extend(sessions);
                    if last {
                        return Ok(Response::Sessions { sessions: found, last, more });
                    }
                }
                Ok(response) => return Ok(response),
            }
        }
    }

    /// What went wrong, and the last lines that the child wrote.
    fn with_log(&self, what: &str) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
        let last: String = last.iter().map(|line| format!("\n  | {line}")).collect();
        format!("{what}{last}")
    }
}

impl ops::Drop for Daemon {
    fn drop(&mut self) {
        // If that fails, the process is killed as its handle is dropped.
        let _ = self.try_end();
    }
}

fn is_ready(status: &Status) -> bool {
    status.devices.iter().all(|device| device.state == DeviceState::Up)
        && status.next_hops.iter().all(|next_hop| next_hop.mac.is_some())
}

fn not_ready(status: &Status) -> String {
    let devices = status.devices.iter().filter(|device| device.state != DeviceState::Up);
    let devices = devices.map(|device| {
        let detail = device.detail.as_deref().unwrap_or("not opened yet");
        format!("device {} is not up ({detail})", device.name)
    });
    let silent = status.next_hops.iter().filter(|next_hop| next_hop.mac.is_none());
    let silent = silent.map(|next_hop| format!("{} has not answered ARP", next_hop.address));
    devices.chain(silent).collect::<Vec<_>>().join(", ")
}

fn surprise(response: &Response) -> Trouble {
    Trouble::Adit(format!("adit answered something else: {response:?}"))
}

/// The child's side of [`Daemon::start`]: becomes `adit run`, and ends when its parent does.
pub(super) fn become_daemon(configuration: &Path) -> DemoError {
    let cure = "this is how the demo starts adit; to run it yourself: adit run --config FILE";
    let error = match set_parent_process_death_signal(Some(Signal::TERM)) {
        Ok(()) => {
            let mut command = Command::new(OWN_PROGRAM);
            // It comes back only if it fails.
            command.arg0("adit").args(["run", "--config"]).arg(configuration).exec()
        }
        Err(error) => error.into(),
    };
    DemoError { problem: format!("adit cannot be started: {error}"), cure: cure.to_owned() }
}
