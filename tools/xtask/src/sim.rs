//! `cargo xtask sim`: plays simulated worlds, built with optimisation.

use std::process::ExitCode;

use crate::{ci, tree};

/// The cargo command line in front of the program's own arguments.
const PROGRAM: &[&str] =
    &["run", "--quiet", "--release", "--locked", "-p", "adit-tests", "--bin", "sim", "--"];

/// Hands all arguments on.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut command = ci::cargo();
    command.args(PROGRAM).args(arguments).current_dir(tree::workspace_root());
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: could not start cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
