//! Azure's client, as a program that does a step for each line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Stdio};

use lab::Process;
use serde_json::Value;

use crate::case::{Failure, Outcome};
use crate::role;
use crate::runner::find;
use crate::world::{World, text};

/// Azure's client as a child in adit's namespace, which does a step for each line.
pub(super) struct Sdk {
    _process: Process,
    steps: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Sdk {
    pub(super) fn start(world: &World, python: &str) -> Result<Sdk, Failure> {
        let access = world.adit.ask(&["arm", "env"])?;
        let program = find(python).ok_or("python is gone")?;
        let mut command = role::program_in(&world.middle, program)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("arm/client.py");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (variable, field) in [
            ("ADIT_ARM_ENDPOINT", "endpoint"),
            ("ADIT_ARM_TOKEN", "token"),
            ("ADIT_ARM_CA", "ca"),
            ("ADIT_ARM_SUBSCRIPTION", "subscription"),
        ] {
            command.env(variable, text(&access, field)?);
        }
        let mut process = Process::start(command)?;
        let steps = process.child().stdin.take().ok_or("a pipe to the client")?;
        let answers = process.child().stdout.take().ok_or("a pipe from the client")?;
        Ok(Sdk { _process: process, steps, answers: BufReader::new(answers) })
    }

    fn ask(&mut self, step: &str) -> Result<Value, Failure> {
        writeln!(self.steps, "{step}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| format!("{step}: {error}: {line:?}").into())
    }

    /// What came of a step.
    pub(super) fn ok(&mut self, step: &str) -> Result<Value, Failure> {
        let answer = self.ask(step)?;
        ensure!(answer.get("ok").is_some(), "{step}: {answer}");
        Ok(answer["ok"].clone())
    }

    /// The step is refused, with this in the code.
    pub(super) fn refused(&mut self, step: &str, code: &str) -> Outcome {
        let answer = self.ask(step)?;
        let found = answer["code"].as_str().unwrap_or_default();
        ensure!(found.contains(code), "{step} should be refused as {code}: {answer}");
        Ok(())
    }
}
