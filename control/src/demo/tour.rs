//! The tour: each step sends real traffic, asks adit about it, and compares the two.
//!
//! A step that cannot go on is a failed claim of its own, and the next step follows, unless adit is
//! gone. Every wait is for something that can be observed, and bounded.

mod account;
mod approval;
mod overlap;
mod refusal;
mod scene;
mod spread;
mod views;

use std::fmt::Display;
use std::time::{Duration, Instant};

use lab::client::Session;

use super::daemon::Daemon;
use super::report::Report;
use super::topology::Topology;
use super::trouble::Trouble;
use crate::stop::Stop;

/// How long an exchange that works may take, on a slow machine. Never waited for when it works.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait where no answer is expected. TCP repeats its first SYN after a second.
const SILENCE: Duration = Duration::from_millis(400);

/// Time between two looks at something that is about to happen.
const STEP: Duration = Duration::from_millis(5);

/// Everything that the steps share.
pub(super) struct Tour<'a> {
    topology: &'a Topology,
    daemon: Daemon,
    report: &'a mut Report,
    stop: &'a Stop,
    began: Instant,
    /// A live session of each consumer with the same 5-tuple, opened by the step `overlap`.
    twins: Vec<Session>,
}

impl<'a> Tour<'a> {
    /// A tour of a network in which adit is ready.
    pub(super) fn new(
        topology: &'a Topology,
        daemon: Daemon,
        report: &'a mut Report,
        stop: &'a Stop,
        began: Instant,
    ) -> Tour<'a> {
        Tour { topology, daemon, report, stop, began, twins: Vec::new() }
    }

    /// Walks all steps; adit still runs when it returns.
    ///
    /// # Errors
    /// adit is gone, or the user wants an end.
    pub(super) fn walk(mut self) -> Result<Daemon, Trouble> {
        for (heading, step) in STEPS {
            self.report.step(heading);
            let outcome = step(&mut self);
            if self.stop.is_requested() {
                return Err(Trouble::Stopped);
            }
            self.daemon.check_alive()?;
            if let Err(trouble) = outcome {
                self.report.claim("The step could be carried out", false, "no error", trouble);
            }
        }
        Ok(self.daemon)
    }

    /// Looks again and again until `is_settled`, for a bounded time; returns the last look.
    fn settle<T>(
        &self,
        mut look: impl FnMut(&Self) -> Result<T, Trouble>,
        is_settled: impl Fn(&T) -> bool,
    ) -> Result<T, Trouble> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = look(self)?;
            if is_settled(&seen) || Instant::now() >= deadline {
                return Ok(seen);
            }
            if self.stop.is_requested() {
                return Err(Trouble::Stopped);
            }
            std::thread::sleep(STEP);
        }
    }
}

type Step = fn(&mut Tour<'_>) -> Result<(), Trouble>;

const STEPS: [(&str, Step); 9] = [
    ("The network, and adit in it", scene::show),
    ("One connection, two views", views::tcp),
    ("Two consumers, one address space: the same 5-tuple twice, at once", overlap::show),
    ("The spread over backends and NAT IPs", spread::show),
    ("NAT ports: one lease for each flow", spread::ports),
    ("UDP, by the same door", views::udp),
    ("What is dropped is counted, and explained", refusal::show),
    ("An endpoint that waits for approval", approval::show),
    ("The account", account::show),
];

/// Ends adit as a service manager would.
pub(super) fn end(report: &mut Report, daemon: Daemon) -> Result<(), Trouble> {
    report.step("The end");
    let socket = daemon.socket().to_owned();
    let began = Instant::now();
    let status = daemon.end()?;
    let claim = format!("On SIGTERM adit ended, {}", milliseconds(began.elapsed()));
    report.claim(&claim, status.success(), "exit status: 0", status);
    report.equal("Its control socket is gone", false, socket.exists());
    Ok(())
}

/// A list as people read it.
fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn milliseconds(time: Duration) -> String {
    format!("after {:.1} ms", time.as_secs_f64() * 1e3)
}
