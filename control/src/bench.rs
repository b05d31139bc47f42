//! `adit bench`: puts a load on a backend or load balancer, and measures what comes back.
//!
//! Decisions are pure and take the time as an argument: `connections` and `datagrams` say what
//! happens next, `schedule` when, `ladder` which step follows, `outcome` what it was worth.
//! `tcp`, `udp` and `clock` are the only ones that touch sockets and clocks. Each thread
//! works on its own and reports four times a second what it counted; nothing is shared but a flag
//! to stop. Sockets are those of the kernel, so it needs no root and no interface.
//!
//! It does not send raw frames, and it does not judge more than that: see docs/bench.md.

mod answer;
mod args;
mod capacity;
mod clock;
mod connections;
mod crew;
mod datagram;
mod datagrams;
mod fault;
pub mod histogram;
mod ladder;
mod machine;
mod outcome;
mod page;
mod places;
mod plan;
mod progress;
mod report;
mod run;
mod schedule;
mod series;
mod serve;
mod sockets;
mod tally;
mod tcp;
mod udp;
mod work;

use std::fmt;
use std::path::Path;
use std::time::Duration;

pub use args::Bench;

use crate::stop::Stop;
use answer::Speak;
use args::Common;
use fault::Fault;
use ladder::Rung;
use machine::Machine;
use outcome::{Step, Terms};
use plan::{Plan, Transport};
use progress::Progress;
use report::Report;
use run::Runner;
use work::Mode;

/// Why a bench could not be run, or not to a good end.
#[derive(Debug)]
pub struct BenchError {
    problem: String,
    cure: String,
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.problem, self.cure)
    }
}

impl std::error::Error for BenchError {}

impl BenchError {
    fn new(problem: impl Into<String>, cure: impl Into<String>) -> BenchError {
        BenchError { problem: problem.into(), cure: cure.into() }
    }
}

/// Runs a bench; what shall stand on standard output goes to `print`.
///
/// # Errors
/// It could not begin, was no success by the bounds that were set, or its report could not be
/// written.
pub fn run(options: &Bench, print: impl FnOnce(&str)) -> Result<(), BenchError> {
    let stop = Stop::on_signals().map_err(|error| {
        BenchError::new(format!("signals cannot be listened for: {error}"), "try again")
    })?;
    let (plan, common) = match options {
        Bench::Tcp(options) => (Plan::tcp(options)?, &options.common),
        Bench::Udp(options) => (Plan::udp(options)?, &options.common),
        Bench::Serve(options) => return serve::run(options, &stop, print),
    };
    let writable = common.report.as_deref().map(check_writable).transpose();
    writable?;
    let report = measure(plan, common, &stop)?;
    if let Some(file) = &common.report {
        std::fs::write(file, page::page(&report)).map_err(|error| unwritable(file, &error))?;
    }
    if common.json {
        let json = serde_json::to_string(&report).map_err(|error| {
            BenchError::new(format!("the result cannot be written: {error}"), "please report it")
        })?;
        print(&format!("{json}\n"));
    } else {
        print(&report.text());
    }
    conclude(&report)
}

/// A report that cannot be written is better known before.
fn check_writable(file: &Path) -> Result<(), BenchError> {
    let opened = std::fs::File::options().create(true).append(true).open(file);
    opened.map(drop).map_err(|error| unwritable(file, &error))
}

fn unwritable(file: &Path, error: &std::io::Error) -> BenchError {
    let problem = format!("the report {} cannot be written: {error}", file.display());
    BenchError::new(problem, "name a file in a folder that exists and is yours")
}

fn measure(mut plan: Plan, common: &Common, stop: &Stop) -> Result<Report, BenchError> {
    let mut report = begin(&plan);
    let mut progress = Progress::new(common.quiet);
    let mut runner = Runner::start(stop);
    report.probes = knock(&plan, &mut runner, &mut progress)?;
    let (mut was_good, mut last_flows) = (true, None);
    let terms = Terms {
        transport: plan.transport,
        mode: plan.mode,
        time: plan.time,
        count: plan.count,
        max_loss: plan.max_loss,
    };
    while let Some(wanted) = plan.ladder.next(was_good) {
        let fit = plan.fit(wanted.flows);
        let is_cut = fit.reason.is_some();
        report.notes.extend(fit.reason);
        if is_cut && last_flows == Some(fit.flows) {
            report.notes.push("no further step: it would be the same again".to_owned());
            break;
        }
        last_flows = Some(fit.flows);
        let rung = Rung { flows: fit.flows, ..wanted };
        progress.step(rung);
        let counts = runner.step(&plan, rung, &mut progress)?;
        let was_cut = counts.is_cut;
        let terms = Terms { time: plan.time_for(rung), ..terms };
        let step = Step::of(counts, rung, terms);
        was_good = step.is_good;
        if was_good {
            report.last_good_step = best(&report, &step).or(report.last_good_step);
        }
        report.steps.push(step);
        if was_cut {
            report.ended_early = true;
            break;
        }
    }
    progress.clear();
    Ok(report)
}

/// The number of a good step, if it is above all good ones so far.
fn best(report: &Report, step: &Step) -> Option<usize> {
    let key = |step: &Step| (step.flows, step.offered_per_second.unwrap_or_default());
    let so_far = report.last_good_step.and_then(|at| report.steps.get(at));
    so_far.is_none_or(|so_far| key(so_far) < key(step)).then_some(report.steps.len())
}

fn begin(plan: &Plan) -> Report {
    let is_tcp = plan.transport == Transport::Tcp;
    Report {
        program: "adit bench",
        version: env!("CARGO_PKG_VERSION"),
        date: machine::date(),
        machine: Machine::look(),
        target: plan.target_name.clone(),
        address: plan.target.to_string(),
        protocol: if is_tcp { "tcp" } else { "udp" },
        mode: is_tcp.then_some(match plan.mode {
            Mode::Open => "open",
            Mode::Request => "request",
            Mode::Hold => "hold",
        }),
        speaks: is_tcp.then_some(match plan.talk.speak {
            Speak::Line => "line",
            Speak::Http => "http",
            Speak::Nothing => "nothing",
        }),
        is_open_loop: plan.ladder.is_paced(),
        size_bytes: plan.size,
        timeout_seconds: plan.timeout.as_secs_f64(),
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        max_loss_percent: plan.max_loss * 100.0,
        sources: plan.sources.len(),
        probes: 0,
        steps: Vec::new(),
        last_good_step: None,
        ended_early: false,
        notes: Vec::new(),
    }
}

/// Asks once whether anything is there, since a load on nothing tells nothing. A backend that
/// resets or answers oddly is there, and its faults are what is measured. How often it asked.
fn knock(plan: &Plan, runner: &mut Runner, progress: &mut Progress) -> Result<u64, BenchError> {
    let (probe, rung) = plan.probe();
    let counts = runner.step(&probe, rung, progress)?;
    let tally = &counts.measured;
    if tally.completed > 0 || counts.is_cut {
        return Ok(tally.started);
    }
    let target = &plan.target_name;
    if plan.transport == Transport::Udp {
        let refused = tally.faults(Fault::Refused) > 0;
        let (problem, cure) = if refused {
            (
                format!("nothing listens at {target}: datagrams are refused (ICMP)"),
                "start an echo there, for example: adit bench serve --listen 0.0.0.0:7007",
            )
        } else {
            (
                format!("nothing comes back from {target}"),
                "datagrams must be echoed: start `adit bench serve` there; through adit, see \
                 `adit drops` and `adit explain`",
            )
        };
        return Err(BenchError::new(problem, cure));
    }
    let nobody = [Fault::Refused, Fault::ConnectTimeout, Fault::Unreachable, Fault::Other];
    let fault = Fault::all().find(|fault| tally.faults(*fault) > 0);
    match fault.filter(|fault| nobody.contains(fault) && tally.opened == 0) {
        None => Ok(tally.started),
        Some(fault) => {
            let (words, cure) = report::fault_words(fault);
            Err(BenchError::new(format!("{target}: {words}"), cure))
        }
    }
}

fn conclude(report: &Report) -> Result<(), BenchError> {
    if report.is_good() {
        return Ok(());
    }
    if report.ended_early {
        return Err(BenchError::new("ended early", "what was measured until then is above"));
    }
    let problem = "no step was good by the bounds that were set";
    Err(BenchError::new(problem, "the lines marked ! say why; --max-loss allows some failures"))
}

/// A time in seconds, as short as it goes.
fn shown(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
