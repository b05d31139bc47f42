//! `cargo xtask compare`: builds the comparison of adit with its peers in release and runs it.
//!
//! All arguments are the comparison's; its standard output is this command's, so that `--json`
//! gives an object for each contender and nothing else.

use std::process::{Command, ExitCode};

use crate::tree;

/// Runs the comparison.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--release", "--locked", "--package", "adit-benches"]);
    command.args(["--bin", "compare", "--"]).args(arguments);
    match command.current_dir(tree::workspace_root()).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) if status.code() == Some(2) => ExitCode::from(2),
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
