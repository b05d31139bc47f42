//! `cargo xtask ci`: exactly what CI runs, in its order, stopping at the first failure.
//!
//! Each step prints its command before it runs and its time after it. A failure names the step and
//! the command that repeats it alone.

use std::env;
use std::io;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::tidy;
use crate::tree;

/// A target without an operating system: what builds for it needs none.
const BARE_TARGET: &str = "x86_64-unknown-none";

/// One step: a name, and the cargo command line that it is.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

impl Step {
    const fn new(name: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { name, arguments, environment: &[] }
    }

    /// The step as one would type it.
    fn command_line(&self) -> String {
        let mut line = String::new();
        for (name, value) in self.environment {
            line.push_str(&format!("{name}=\"{value}\" "));
        }
        format!("{line}cargo {}", self.arguments.join(" "))
    }
}

const FORMAT: Step = Step::new("format", &["fmt", "--all", "--check"]);
const LINT: Step = Step::new(
    "lint",
    &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
);
const TIDY: Step = Step::new("tidy", &["xtask", "tidy"]);
const BPF: Step = Step::new("fast path's program", &["xtask", "bpf"]);
const NO_STD: Step = Step::new(
    "core without std",
    &["check", "-p", "dataplane", "--no-default-features", "--locked"],
);
const BARE: Step = Step::new(
    "core without an operating system",
    &["check", "-p", "dataplane", "--no-default-features", "--locked", "--target", BARE_TARGET],
);
const DOC: Step = Step {
    name: "documentation",
    arguments: &["doc", "--workspace", "--no-deps", "--locked"],
    environment: &[("RUSTDOCFLAGS", "-D warnings")],
};
const TEST: Step = Step::new("test", &["test", "--locked"]);
/// Only the core and the model checker are built for it; other flags, other files beside the rest.
const SYNC: Step = Step {
    name: "model check",
    arguments: &["test", "-p", "dataplane", "--test", "sync", "--locked"],
    environment: &[("RUSTFLAGS", "--cfg loom")],
};
const MODEL: Step =
    Step::new("model, fixed", &["xtask", "model", "--ops", "9100000", "--seed", "1"]);
const FRESH_MODEL: Step =
    Step::new("model, fresh", &["xtask", "model", "--ops", "900000", "--seed", "random"]);
const WORLDS: Step = Step::new("simulated worlds, fixed", &["xtask", "sim", "--seeds", "1..1501"]);
const FRESH_WORLDS: Step =
    Step::new("simulated worlds, fresh", &["xtask", "sim", "--count", "100"]);

/// The steps, in order.
fn steps(bare_target: bool) -> Vec<Step> {
    let mut steps = vec![FORMAT, LINT, TIDY, BPF, NO_STD];
    if bare_target {
        steps.push(BARE);
    }
    steps.extend([DOC, TEST, SYNC, MODEL, FRESH_MODEL, WORLDS, FRESH_WORLDS]);
    steps
}

/// Runs every step.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        eprintln!("ci: takes no arguments");
        return ExitCode::from(2);
    }
    let bare_target = has_bare_target();
    if !bare_target {
        println!("ci: note: without the target {BARE_TARGET}, that check of the core is skipped");
    }
    let mut times = Vec::new();
    for step in steps(bare_target) {
        println!("ci: {}: {}", step.name, step.command_line());
        let start = Instant::now();
        let outcome = run_step(&step);
        let elapsed = start.elapsed();
        match outcome {
            Ok(true) => println!("ci: {}: passed in {}", step.name, seconds(elapsed)),
            Ok(false) => {
                return failed(&step, &format!("failed after {}", seconds(elapsed)));
            }
            Err(error) => return failed(&step, &format!("could not start: {error}")),
        }
        times.push((step.name, elapsed));
    }
    println!("ci: all passed");
    for (name, elapsed) in &times {
        println!("ci: {:>8}  {name}", seconds(*elapsed));
    }
    let total: Duration = times.iter().map(|(_, elapsed)| elapsed).sum();
    println!("ci: {:>8}  in all", seconds(total));
    ExitCode::SUCCESS
}

fn failed(step: &Step, how: &str) -> ExitCode {
    eprintln!("ci: FAILED: {}: {how}. To repeat it alone: {}", step.name, step.command_line());
    ExitCode::FAILURE
}

fn run_step(step: &Step) -> io::Result<bool> {
    if step.name == TIDY.name {
        return Ok(tidy::run(&[]) == ExitCode::SUCCESS);
    }
    let mut command = cargo();
    command.args(step.arguments);
    command.envs(step.environment.iter().copied());
    Ok(command.current_dir(tree::workspace_root()).status()?.success())
}

/// The cargo that started this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Whether the toolchain has the core library of the bare target.
fn has_bare_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", BARE_TARGET])
        .current_dir(tree::workspace_root())
        .output();
    let Ok(output) = output else {
        return false;
    };
    let dir = String::from_utf8_lossy(&output.stdout);
    std::fs::read_dir(dir.trim()).is_ok_and(|mut files| files.next().is_some())
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read_as_they_are_typed() {
        let lines: Vec<String> = steps(true).iter().map(Step::command_line).collect();
        assert_eq!(
            lines,
            [
                "cargo fmt --all --check",
                "cargo clippy --workspace --all-targets --locked -- -D warnings",
                "cargo xtask tidy",
                "cargo xtask bpf",
                "cargo check -p dataplane --no-default-features --locked",
                "cargo check -p dataplane --no-default-features --locked \
                 --target x86_64-unknown-none",
                "RUSTDOCFLAGS=\"-D warnings\" cargo doc --workspace --no-deps --locked",
                "cargo test --locked",
                "RUSTFLAGS=\"--cfg loom\" cargo test -p dataplane --test sync --locked",
                "cargo xtask model --ops 9100000 --seed 1",
                "cargo xtask model --ops 900000 --seed random",
                "cargo xtask sim --seeds 1..1501",
                "cargo xtask sim --count 100",
            ]
        );
        assert_eq!(steps(false).len(), steps(true).len() - 1);
    }
}
