//! What this file does when it is started as a child: be adit, or become another program.
//!
//! Which of the two it is stands in the name that it is started under (the first word of its
//! command line). Either way it is killed when the thread that started it ends, so nothing
//! outlives the tests, however they end.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use lab::Namespace;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::case::Failure;

/// This file, even if it was replaced meanwhile.
const OWN_FILE: &str = "/proc/self/exe";
const ADIT: &str = "adit";
const PROGRAM: &str = "adit-e2e-program";

/// Plays the role that the process was started for, if it was started for one.
pub(crate) fn play() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let name = words.next()?;
    if name == ADIT {
        return Some(die_with_parent().map_or(ExitCode::FAILURE, |()| control::cli::main()));
    }
    if name != PROGRAM {
        return None;
    }
    let program = words.next()?;
    let error = match die_with_parent() {
        Ok(()) => Command::new(&program).args(words).exec(),
        Err(error) => error,
    };
    eprintln!("{}: {error}", program.display());
    Some(ExitCode::FAILURE)
}

fn die_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// adit, to be run inside a namespace.
pub(crate) fn adit_in(namespace: &Namespace) -> Result<Command, Failure> {
    let mut command = namespace.command(OWN_FILE)?;
    command.arg0(ADIT).env_remove("ADIT_SOCKET").stdin(Stdio::null());
    Ok(command)
}

/// adit, to ask another adit something.
pub(crate) fn adit() -> Command {
    let mut command = Command::new(OWN_FILE);
    command.arg0(ADIT).env_remove("ADIT_SOCKET").stdin(Stdio::null());
    command
}

/// Another program, to be run inside a namespace.
pub(crate) fn program_in(
    namespace: &Namespace,
    program: impl AsRef<OsStr>,
) -> Result<Command, Failure> {
    let mut command = namespace.command(OWN_FILE)?;
    command.arg0(PROGRAM).arg(program).stdin(Stdio::null());
    Ok(command)
}
