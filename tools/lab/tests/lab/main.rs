//! The lab tried on itself, directly over veth pairs: what it builds carries packets, what it
//! takes down is gone, and it leaves nothing behind.
//!
//! It has its own main (`harness = false`), since the sandbox must be entered before any thread
//! starts, and speaks like cargo's runner: `--list` and one word of a name to choose tests.
//! Where namespaces are forbidden it says so loudly and fails nothing.

mod networks;
mod traffic;
mod trouble;
mod world;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lab::sandbox;
use lab::sandbox::SandboxError;

pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;
pub(crate) type Test = (&'static str, fn() -> Outcome);

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = arguments.first().and_then(|word| word.strip_prefix("--child-")) {
        return world::play_child(role);
    }
    let all = [networks::CASES, traffic::CASES, trouble::CASES].concat();
    if arguments.iter().any(|word| word == "--list") {
        all.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|word| !word.starts_with('-'));
    let chosen: Vec<_> = all
        .iter()
        .filter(|(name, _)| filter.is_none_or(|filter| name.contains(filter.as_str())))
        .collect();
    let filtered = all.len() - chosen.len();
    let begin = Instant::now();
    println!("\nrunning {} tests", chosen.len());
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    match sandbox::enter() {
        Ok(privilege) => {
            println!("in a sandbox as {privilege:?}");
            for (name, test) in chosen {
                let outcome = run(name, *test);
                *(if outcome { &mut passed } else { &mut failed }) += 1;
            }
        }
        Err(error @ SandboxError::Forbidden { .. }) => {
            println!("\nNOT RUN: {error}\n");
            ignored = chosen.len();
        }
        Err(error) => {
            println!("cannot enter the sandbox: {error}");
            failed = chosen.len();
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; \
         0 measured; {filtered} filtered out; finished in {:.2}s\n",
        begin.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one test on a thread of its own, so that neither a panic nor a hang stops the others.
fn run(name: &str, test: fn() -> Outcome) -> bool {
    print!("test {name} ... ");
    let _ = std::io::stdout().flush();
    let (sender, receiver) = mpsc::channel();
    let running = thread::spawn(move || {
        let outcome = test();
        let _ = sender.send(());
        outcome
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = receiver.recv_timeout(PATIENCE) {
        println!("FAILED\n  still running after {PATIENCE:?}");
        return false;
    }
    match running.join() {
        Ok(Ok(())) => println!("ok"),
        Ok(Err(error)) => {
            println!("FAILED\n  {error}");
            return false;
        }
        // The panic's message has gone to standard error.
        Err(_) => {
            println!("FAILED");
            return false;
        }
    }
    true
}
