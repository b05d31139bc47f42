//! `cargo xtask change-bench`: builds the measurement of changes in release and runs it.
//!
//! All arguments are the measurement's; its standard output is this command's, so that `--json`
//! gives an object for each change and nothing else.

use std::process::{Command, ExitCode};

use crate::tree;

/// Runs the measurement.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--release", "--locked", "--package", "adit-benches"]);
    command.args(["--bin", "changes", "--"]).args(arguments);
    match command.current_dir(tree::workspace_root()).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) if status.code() == Some(2) => ExitCode::from(2),
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("change-bench: cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
