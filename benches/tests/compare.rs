//! The comparison in short, so that it does not rot: every contender that this machine has is
//! measured once, for a moment. Its main is its own, since the sandbox must be entered before any
//! thread starts, and since it must play adit.

use std::process::ExitCode;
use std::time::Duration;

use benches::compare::{ADIT, Effort, Kind, Outcome, files, line, run, table};
use lab::sandbox::{self, SandboxError};

fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| name == ADIT) {
        return control::cli::main();
    }
    const NAME: &str = "every_contender_is_measured";
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    if words.iter().any(|word| !word.starts_with('-') && !NAME.contains(word.as_str())) {
        return ExitCode::SUCCESS;
    }
    match sandbox::enter() {
        Ok(_) => {}
        Err(error @ SandboxError::Forbidden { .. }) => {
            println!("\nNOT RUN: {error}\n");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            println!("cannot enter the sandbox: {error}");
            return ExitCode::FAILURE;
        }
    }
    let duration = Duration::from_millis(100);
    let effort = Effort { rounds: 1, duration, flows: vec![1, 100] };
    let outcomes = run(&Kind::ALL, &effort, |_| {});
    print!("{}", table(&outcomes, &effort));
    let mut failed = false;
    for outcome in &outcomes {
        if let Err(fault) = judge(outcome, &effort) {
            println!("FAILED: {}: {fault}", outcome.0.name());
            failed = true;
        }
    }
    let empty = files(&outcomes, &effort).into_iter().find(|(_, content)| content.len() < 100);
    if let Some((name, _)) = empty {
        println!("FAILED: {name} says nothing");
        failed = true;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// All figures are there, and none is zero.
fn judge(outcome: &Outcome, effort: &Effort) -> Result<(), String> {
    let (kind, result) = outcome;
    let line = line(outcome, effort);
    if let Err(reason) = result {
        println!("NOT RUN: {}: {reason}", kind.name());
        // Others' programs may be missing; packet sockets never are.
        let missing = ["run", "spawn", "start", "No such file"];
        let may_miss = !kind.name().ends_with("af_packet") && *kind != Kind::Pnet;
        let excused = may_miss && missing.iter().any(|word| reason.contains(word));
        return if excused { Ok(()) } else { Err(reason.clone()) };
    }
    let mut places = vec!["/tcp_gbps/median", "/connections_per_second/median"];
    places.extend(["/latency_us/p50/median", "/latency_us/p99/median"]);
    if kind.knows_udp() {
        places.extend(["/mpps/1/median", "/mpps/100/median"]);
    }
    for place in places {
        let figure = line.pointer(place).and_then(serde_json::Value::as_f64);
        if figure.is_none_or(|figure| figure <= 0.0) {
            return Err(format!("{place} is {figure:?} in {line}"));
        }
    }
    Ok(())
}
