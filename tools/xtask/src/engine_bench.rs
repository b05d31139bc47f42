//! `cargo xtask engine-bench`: builds the engine's benchmark in release and runs it.
//!
//! All arguments are the benchmark's; its standard output is this command's, so that `--json` gives
//! one object and nothing else.

use std::process::{Command, ExitCode};

use crate::tree;

/// Runs the benchmark.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--release", "--locked", "--package", "adit-benches"]);
    command.args(["--bin", "engine-bench", "--"]).args(arguments);
    match command.current_dir(tree::workspace_root()).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("engine-bench: cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
