//! `cargo xtask miri`: the core's unit tests and packets through the whole engine in an interpreter
//! that sees undefined behaviour.
//!
//! No part of `ci`: it needs a nightly toolchain with the component `miri`. What is missing is said
//! with its cure.

use std::process::{Command, ExitCode};

/// What is interpreted.
const RUNS: [&[&str]; 2] = [
    &["test", "-p", "dataplane", "--no-default-features", "--lib", "--locked"],
    &["test", "-p", "adit-tests", "--test", "behaviour", "--locked"],
];

/// Runs what can be interpreted, or says what is missing.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        eprintln!("miri: takes no arguments");
        return ExitCode::from(2);
    }
    let installed = miri(&["--version"]).output().is_ok_and(|output| output.status.success());
    if !installed {
        eprintln!(
            "miri: the nightly toolchain has no Miri, so nothing was checked; add it with\n  \
             rustup toolchain install nightly --component miri,rust-src"
        );
        return ExitCode::FAILURE;
    }
    for arguments in RUNS {
        println!("miri: rustup run nightly cargo miri {}", arguments.join(" "));
        match miri(arguments).status() {
            Ok(status) if status.success() => {}
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => {
                eprintln!("miri: could not start: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn miri(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "miri"]).args(arguments);
    command.current_dir(crate::tree::workspace_root());
    command
}
