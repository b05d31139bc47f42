//! Runs the cases one after the other, each on a thread of its own and within a time, and reports
//! in the style of cargo's runner.

use std::any::Any;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use lab::sandbox::{self, Privilege, SandboxError};

use crate::case::{Case, Failure};
use crate::cases;
use crate::world::{Probe, World};

/// A case that takes longer hangs.
const CASE_TIME: Duration = Duration::from_secs(90);

/// Where programs of administrators live, which may be missing from an ordinary user's path.
const MORE_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

#[derive(Default)]
struct Score {
    passed: usize,
    failed: Vec<&'static str>,
    ignored: Vec<&'static str>,
}

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = cases::all();
    if arguments.iter().any(|word| word == "--list") {
        all.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |case: &&Case| {
        filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter.as_str()))
    };
    let chosen: Vec<Case> = all.iter().filter(wanted).copied().collect();
    let begin = Instant::now();
    println!("\nrunning {} tests", chosen.len());
    let mut score = Score::default();
    match sandbox::enter() {
        Ok(privilege) => {
            println!("in a sandbox as {privilege:?}");
            chosen.iter().for_each(|case| score.add(case));
        }
        Err(error @ SandboxError::Forbidden { .. }) => {
            println!("\nNOT RUN: {error}");
            score.ignored = chosen.iter().map(|case| case.name).collect();
        }
        Err(error) => {
            println!("cannot enter the sandbox: {error}");
            score.failed = chosen.iter().map(|case| case.name).collect();
        }
    }
    score.report(all.len() - chosen.len(), begin.elapsed())
}

impl Score {
    fn add(&mut self, case: &Case) {
        if let Some(lack) = lack(case) {
            println!("test {} ... NOT RUN: {lack}", case.name);
            self.ignored.push(case.name);
        } else if run(*case) {
            self.passed += 1;
        } else {
            self.failed.push(case.name);
        }
    }

    fn report(&self, filtered: usize, elapsed: Duration) -> ExitCode {
        if !self.ignored.is_empty() {
            println!("\nNOT RUN: {}", self.ignored.join(", "));
        }
        if !self.failed.is_empty() {
            println!("\nFAILED: {}", self.failed.join(", "));
        }
        let verdict = if self.failed.is_empty() { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {verdict}. {} passed; {} failed; {} ignored; 0 measured; \
             {filtered} filtered out; finished in {:.2}s\n",
            self.passed,
            self.failed.len(),
            self.ignored.len(),
            elapsed.as_secs_f64()
        );
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// What a case needs and this machine does not have.
fn lack(case: &Case) -> Option<String> {
    let missing: Vec<&str> =
        case.programs.iter().filter(|name| find(name).is_none()).copied().collect();
    if !missing.is_empty() {
        let missing = missing.join(" and ");
        return Some(format!("{missing} not found (install {missing})"));
    }
    if case.plan.needs_xdp() && sandbox::entered() != Some(Privilege::Root) {
        return Some("AF_XDP needs root of the system, not only of a sandbox".to_owned());
    }
    if case.plan.needs_tap() {
        let driver = File::options().read(true).write(true).open("/dev/net/tun");
        let cure = "run as root, or allow this user to open it";
        return driver.err().map(|error| format!("/dev/net/tun: {error} ({cure})"));
    }
    None
}

/// The file of an installed program.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(MORE_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// Whether a case passed.
fn run(case: Case) -> bool {
    print!("test {} ... ", case.name);
    // A terminal that is gone sees nothing anyway.
    let _ = std::io::stdout().flush();
    let begin = Instant::now();
    let (sender, probes) = mpsc::channel();
    let (done, outcome) = mpsc::channel();
    let work = move || {
        let result = catch_unwind(AssertUnwindSafe(|| attempt(&case, &sender)));
        let _ = done.send(());
        result.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
    };
    let running = thread::spawn(work);
    let failure = if outcome.recv_timeout(CASE_TIME).is_err() {
        // Its processes and namespaces end with this process.
        let look = |probe: Probe| {
            let shown = probe.show();
            probe.clean_up();
            shown
        };
        let shown = probes.try_iter().map(look).collect::<String>();
        Some(format!("still running after {CASE_TIME:?}\n{shown}"))
    } else {
        running
            .join()
            .unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
            .err()
            .map(|failure| failure.to_string())
    };
    let elapsed = begin.elapsed().as_secs_f64();
    match failure {
        None => println!("ok ({elapsed:.2}s)"),
        Some(ref failure) => println!("FAILED ({elapsed:.2}s)\n  {failure}"),
    }
    failure.is_none()
}

/// Builds the world, lets the case happen, and on failure looks around before the world ends.
fn attempt(case: &Case, probes: &Sender<Probe>) -> Result<(), Failure> {
    let mut world = World::build(case.plan)?;
    let probe = world.adit.probe();
    let _ = probes.send(probe.clone());
    let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)(&mut world)));
    let outcome = outcome.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
    outcome.map_err(|failure| format!("{failure}\n{}", probe.show()).into())
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("of something that is no text")).into()
}
