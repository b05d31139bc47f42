//! `cargo xtask model`: random operations on the engine and on the independent model of `tests/`,
//! in the release profile. The arguments are those of that program; `--help` lists them.

use std::process::{Command, ExitCode};

use crate::ci;
use crate::tree;

const PROGRAM: &[&str] =
    &["run", "--release", "--locked", "--package", "adit-tests", "--bin", "model", "--"];

/// Builds the program and runs it.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut command: Command = ci::cargo();
    command.args(PROGRAM).args(arguments).current_dir(tree::workspace_root());
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("model: could not start cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
