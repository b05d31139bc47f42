//! adit as a child process, and its command line as the way to ask it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use lab::{Namespace, Process};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::Vitals;
use super::vitals::processor_time;
use crate::case::{Failure, wait_until};
use crate::role;

/// The running program and its files.
pub(crate) struct Adit {
    process: Option<Process>,
    namespace: Namespace,
    directory: TempDir,
}

/// Where to look when something went wrong.
#[derive(Clone)]
pub(crate) struct Probe {
    directory: PathBuf,
}

impl Adit {
    /// Nothing runs yet.
    pub(crate) fn prepare(namespace: &Namespace) -> io::Result<Adit> {
        let directory = tempfile::Builder::new().prefix("adit-e2e-").tempdir()?;
        Ok(Adit { process: None, namespace: namespace.clone(), directory })
    }

    /// Files of the case go here.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.probe().socket()
    }

    /// Writes the configuration file.
    pub(crate) fn configure(&self, text: &str) -> io::Result<()> {
        fs::write(self.directory().join("adit.toml"), text)
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        self.start_with(&[])
    }

    /// The same, with more words on its command line.
    pub(crate) fn start_with(&mut self, more: &[&str]) -> Result<(), Failure> {
        let log = File::options().create(true).append(true).open(self.probe().log())?;
        let mut command = role::adit_in(&self.namespace)?;
        command.arg("run").arg("--config").arg(self.directory().join("adit.toml"));
        command.args(more);
        self.process = Some(Process::start({
            command.stdout(Stdio::null()).stderr(log);
            command
        })?);
        wait_until("adit answers", || {
            self.check_alive()?;
            Ok(self.ask(&["status"]).is_ok())
        })
        .map_err(|failure| format!("{failure}\n{}", self.probe().show()).into())
    }

    /// An error if it has ended.
    pub(crate) fn check_alive(&mut self) -> Result<(), Failure> {
        let process = self.process.as_mut().ok_or("adit was not started")?;
        match process.child().try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("adit ended: {status}").into()),
        }
    }

    /// Its process id.
    pub(crate) fn id(&mut self) -> Result<u32, Failure> {
        self.check_alive()?;
        Ok(self.process.as_mut().ok_or("adit was not started")?.child().id())
    }

    /// What the kernel says of its process.
    pub(crate) fn vitals(&mut self) -> Result<Vitals, Failure> {
        Vitals::of(self.id()?)
    }

    /// How long its process has run on processors.
    pub(crate) fn processor_time(&mut self) -> Result<Duration, Failure> {
        processor_time(self.id()?)
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Failure> {
        let id = i32::try_from(self.id()?).ok().and_then(Pid::from_raw);
        Ok(kill_process(id.ok_or("a process id")?, signal)?)
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<ExitStatus, Failure> {
        let process = self.process.as_mut().ok_or("adit was not started")?;
        let status = process.wait(patience)?;
        self.process = None;
        Ok(status)
    }

    /// Runs a command of its command line against it.
    pub(crate) fn command(&self, words: &[&str]) -> io::Result<Output> {
        self.probe().command(words)
    }

    /// The JSON that a command answers.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<Value, Failure> {
        let output = self.command(&[words, &["--json"]].concat())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("adit {}: {}: {said}", words.join(" "), output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// A number of `adit status`.
    pub(crate) fn status(&self, field: &str) -> Result<u64, Failure> {
        number(&self.ask(&["status"])?, field)
    }

    /// How often packets were dropped for a reason.
    pub(crate) fn drops(&self, metric: &str) -> Result<u64, Failure> {
        let answer = self.ask(&["drops", "--all"])?;
        let found = list(&answer, "drops")?.iter().find(|drop| drop["metric"] == metric);
        number(found.ok_or_else(|| format!("no reason {metric}"))?, "count")
    }

    /// The flows that live now.
    pub(crate) fn sessions(&self) -> Result<Vec<Value>, Failure> {
        Ok(list(&self.ask(&["sessions", "--limit", "1000"])?, "sessions")?.clone())
    }

    /// Waits until a reason has been counted at least so often.
    pub(crate) fn wait_for_drops(&self, metric: &str, at_least: u64) -> Result<u64, Failure> {
        let mut count = 0;
        wait_until(&format!("{at_least} packets are dropped as {metric}"), || {
            count = self.drops(metric)?;
            Ok(count >= at_least)
        })?;
        Ok(count)
    }

    pub(crate) fn log(&self) -> String {
        self.probe().read_log()
    }

    pub(crate) fn probe(&self) -> Probe {
        Probe { directory: self.directory().to_owned() }
    }
}

impl Probe {
    pub(crate) fn command(&self, words: &[&str]) -> io::Result<Output> {
        role::adit().args(words).arg("--socket").arg(self.socket()).output()
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("adit.sock")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("adit.log")
    }

    fn read_log(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Removes the files of a case that hangs: nobody else will.
    pub(crate) fn clean_up(&self) {
        // What cannot be removed is in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }

    /// What adit has said and how it is.
    pub(crate) fn show(&self) -> String {
        let mut text = format!("--- adit's standard error\n{}", self.read_log());
        for word in ["status", "endpoints", "services", "drops"] {
            let said = match self.command(&[word]) {
                Ok(output) => [output.stdout, output.stderr].concat(),
                Err(error) => error.to_string().into_bytes(),
            };
            text.push_str(&format!("--- adit {word}\n{}", String::from_utf8_lossy(&said)));
        }
        text
    }
}

/// A number in an answer.
pub(crate) fn number(value: &Value, field: &str) -> Result<u64, Failure> {
    value[field].as_u64().ok_or_else(|| format!("no number {field} in {value}").into())
}

/// A text in an answer.
pub(crate) fn text<'v>(value: &'v Value, field: &str) -> Result<&'v str, Failure> {
    value[field].as_str().ok_or_else(|| format!("no text {field} in {value}").into())
}

/// A list in an answer.
pub(crate) fn list<'v>(value: &'v Value, field: &str) -> Result<&'v Vec<Value>, Failure> {
    value[field].as_array().ok_or_else(|| format!("no list {field} in {value}").into())
}
