//! A child process that cannot outlive its handle.
//!
//! It is for programs under test that run inside a [`crate::Namespace`]: a test that fails half
//! way must not leave them running. Make the command with [`crate::Namespace::command`].

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::error::{Context, LabError};

/// A running program; dropping it kills it and waits for its end.
#[derive(Debug)]
pub struct Process {
    child: Child,
    program: String,
}

impl Process {
    /// Starts the command.
    ///
    /// # Errors
    /// When the program cannot be started or its namespace cannot be entered.
    pub fn start(mut command: Command) -> Result<Self, LabError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().context("start", || program.clone())?;
        Ok(Self { child, program })
    }

    /// The child itself, for its pipes and its id.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    /// Of kind `TimedOut` when it still runs after `timeout`; it then goes on running.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus, LabError> {
        const STEP: Duration = Duration::from_millis(5);
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().context("wait for", || self.name())? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let source = io::Error::from(io::ErrorKind::TimedOut);
                return Err(LabError::new("wait for", self.name(), source));
            }
            std::thread::sleep(STEP);
        }
    }

    fn name(&self) -> String {
        self.program.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the child has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
