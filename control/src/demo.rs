//! `adit demo`: a small Private Link on this machine, taken on a tour that checks what it says.
//!
//! The whole network lives in namespaces of this process and its one child, so that nothing of it
//! is seen from outside. All of it, the child and its files are gone when the demo ends, also on an
//! error or a signal; only if it is killed outright do its files stay, in the temporary directory.
//! The traffic is that of real kernel sockets. What is printed was measured in this run; a claim
//! that does not hold is printed as such and makes the exit code non-zero.
//!
//! `topology` builds the network, `daemon` runs adit in it, `tour` walks through, `report` prints
//! and keeps the score. It needs no root where ordinary users may make user namespaces.

mod daemon;
mod keep;
mod leftovers;
mod report;
mod scratch;
mod topology;
mod tour;
mod trouble;

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use lab::sandbox::{self, Privilege, SandboxError};

use crate::stop::Stop;
use daemon::Daemon;
use leftovers::Holdings;
use report::Report;
use scratch::Scratch;
use topology::Topology;
use tour::Tour;
use trouble::Trouble;

/// What `adit demo --help` says below the options.
const HELP: &str = "\
It builds two consumers with the same addresses, a provider with three backends, and adit between \
them, in network namespaces that nobody else sees, and sends real TCP and UDP through: who sees \
which source address, the same 5-tuple twice at once, the spread over backends and NAT IPs, port \
leases, drops and their reasons, an endpoint approved and rejected, and the account of all packets.

Whatever it prints is checked; if a check fails, the exit code is 1. It takes a few seconds and \
leaves nothing behind, also when it is interrupted.

It needs Linux, and root or the right to make user namespaces; no other program, and no network.";

/// How to run the demo.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(after_help = HELP)]
pub struct Options {
    /// Leave the network up after the tour, print how to enter it, and wait for Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Be the adit of a running demo; for the demo itself
    #[arg(long, value_name = "FILE", hide = true)]
    pub daemon: Option<PathBuf>,
}

/// Why the demo did not run, or not to a good end.
#[derive(Debug)]
pub struct DemoError {
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.problem, self.cure)
    }
}

impl std::error::Error for DemoError {}

impl DemoError {
    fn new(problem: impl Into<String>, cure: impl Into<String>) -> DemoError {
        DemoError { problem: problem.into(), cure: cure.into() }
    }
}

/// Runs the demo until it is done or interrupted. Must be called before any thread is started.
///
/// # Errors
/// It could not be set up, a claim did not hold, or it was interrupted. Everything that it built is
/// gone by then.
pub fn run(options: &Options) -> Result<(), DemoError> {
    if let Some(configuration) = &options.daemon {
        return Err(daemon::become_daemon(configuration));
    }
    let began = Instant::now();
    let privilege = sandbox::enter().map_err(|error| refused(&error))?;
    let stop = Stop::on_signals().map_err(|error| {
        DemoError::new(format!("signals cannot be listened for: {error}"), "try again")
    })?;
    let mut report = Report::to_stdout(stop.clone());
    greet(&mut report, privilege);
    let outcome = Holdings::count().map_err(Trouble::from).and_then(|before| {
        build_and_show(&mut report, options, &stop, began)?;
        Ok(before.compare(&mut report)?)
    });
    conclude(&mut report, outcome, began)
}

fn refused(error: &SandboxError) -> DemoError {
    match error {
        SandboxError::Forbidden { operation, cure, source } => {
            let problem = "the demo needs network namespaces, and they are forbidden here";
            DemoError::new(format!("{problem}: {operation}: {source}"), cure.clone())
        }
        SandboxError::NotSingleThreaded { .. } | SandboxError::Unavailable(_) => {
            DemoError::new(error.to_string(), "run it again, and if it stays, please report it")
        }
    }
}

fn greet(report: &mut Report, privilege: Privilege) {
    report.heading("adit demo: Private Link that moves real packets");
    let whose = match privilege {
        Privilege::Root => "as root",
        Privilege::UserNamespace => "as an ordinary user",
    };
    report.say(&format!(
        "What follows happens now, {whose}, in network namespaces of its own: clients and servers \
         on real kernel sockets, and adit between them. Each ✓ was checked in this run."
    ));
}

/// Everything that is built here is gone when it returns.
fn build_and_show(
    report: &mut Report,
    options: &Options,
    stop: &Stop,
    began: Instant,
) -> Result<(), Trouble> {
    let scratch = Scratch::create()?;
    let topology = Topology::build()?;
    let daemon = Daemon::start(&topology.adit, &scratch, stop)?;
    let mut daemon = Tour::new(&topology, daemon, report, stop, began).walk()?;
    if options.keep {
        keep::wait(report, &topology, &mut daemon, stop)?;
    }
    tour::end(report, daemon)
}

fn conclude(
    report: &mut Report,
    outcome: Result<(), Trouble>,
    began: Instant,
) -> Result<(), DemoError> {
    match outcome {
        Ok(()) => {}
        Err(Trouble::Stopped) => {
            return Err(DemoError::new("interrupted", "everything was taken down; run it again"));
        }
        Err(trouble) => {
            let cure = "everything was taken down; run it again, and if it stays, please report it";
            return Err(DemoError::new(trouble.to_string(), cure));
        }
    }
    let (held, failed) = (report.held(), report.failed());
    let (total, seconds) = (held + failed, began.elapsed().as_secs_f64());
    if failed > 0 {
        report.verdict(&format!("{failed} of {total} claims did not hold, in {seconds:.1} s."));
        let problem = format!("{failed} of {total} claims of the demo did not hold");
        return Err(DemoError::new(problem, "look at the lines marked ✗, and please report them"));
    }
    report.verdict(&format!("All {total} claims held, in {seconds:.1} s."));
    where_next(report);
    Ok(())
}

fn where_next(report: &mut Report) {
    report.heading("Where to go next");
    report.line("adit demo --keep        this network again, for you to walk around in");
    report.line("adit check FILE         whether a configuration of yours is valid");
    report.line("adit run --config FILE  run it");
    report.line("adit help               what you can ask it then");
    report.line("");
    report.line("control/adit.example.toml is a configuration with every setting explained;");
    report.line(&format!("adit is {}", keep::own_path().display()));
}
