//! The room `io` against the real kernel: packet sockets, AF_XDP and TAP devices in network
//! namespaces that this test makes, with the kernel's own TCP and UDP at the other end of the wire.
//!
//! It has its own main (`harness = false`), since the sandbox must be entered before any thread
//! starts, and speaks like cargo's runner: `--list`, and one word of a name to choose tests. With
//! `--measure` it measures instead of testing. Where namespaces are forbidden it says so loudly and
//! fails nothing. No test waits for ever.

// Tests may unwrap and panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bridge;
mod measure;
mod packet_socket;
mod platform;
mod tap;
mod world;
mod xdp;

use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lab::sandbox;
use lab::sandbox::SandboxError;

pub(crate) type Test = (&'static str, fn());

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |flag: &str| arguments.iter().any(|word| word == flag);
    if given(platform::UNPRIVILEGED) {
        return platform::open_without_permission();
    }
    let all = [packet_socket::TESTS, tap::TESTS, xdp::TESTS, bridge::TESTS, platform::TESTS];
    let all = all.concat();
    if given("--list") {
        all.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|word| !word.starts_with('-'));
    let is_chosen = |test: &&Test| filter.is_none_or(|filter| test.0.contains(filter.as_str()));
    let mut chosen: Vec<_> = all.iter().filter(is_chosen).collect();
    match sandbox::enter() {
        Ok(privilege) => println!("\nin a sandbox as {privilege:?}"),
        Err(error @ SandboxError::Forbidden { .. }) => {
            println!("\nNOT RUN: {error}\n");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            println!("cannot enter the sandbox: {error}");
            return ExitCode::FAILURE;
        }
    }
    if given("--measure") {
        measure::all();
        return ExitCode::SUCCESS;
    }
    if let Some(error) = tap::unavailable() {
        println!("\nNOT RUN: tests of TAP devices: {}: {error}\n", tap::DRIVER);
        chosen.retain(|test| !test.0.contains("tap") && !test.0.contains("both_kinds"));
    }
    if let Some(why) = xdp::unavailable() {
        println!("\nNOT RUN: tests of AF_XDP: {why}\n");
        chosen.retain(|test| !test.0.contains("xdp"));
    }
    run_all(&chosen, all.len() - chosen.len())
}

fn run_all(chosen: &[&Test], filtered: usize) -> ExitCode {
    println!("running {} tests", chosen.len());
    let begin = Instant::now();
    let passed = chosen.iter().filter(|(name, test)| run(name, *test)).count();
    let failed = chosen.len() - passed;
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; 0 ignored; 0 measured; \
         {filtered} filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        begin.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs one test on a thread of its own, so that neither a panic nor a hang stops the others.
fn run(name: &str, test: fn()) -> bool {
    print!("test {name} ... ");
    let _ = std::io::stdout().flush();
    let (done, finished) = mpsc::channel::<()>();
    let running = thread::spawn(move || {
        // Dropped at the end, by a panic as well.
        let _done = done;
        test();
    });
    if finished.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
        println!("FAILED\n  still running after {PATIENCE:?}");
        return false;
    }
    let passed = running.join().is_ok();
    println!("{}", if passed { "ok" } else { "FAILED" });
    passed
}
