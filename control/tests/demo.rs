//! `adit demo` from outside: it ends well, on time and without a trace, and says what it checked;
//! when it is interrupted, or its adit dies, it says so and leaves nothing either.
//!
//! Where network namespaces are forbidden nothing of this can run: the tests then say `NOT RUN`,
//! and check only that the demo says why.

// Clippy knows only functions marked #[test] as tests; all of this file is one.
#![allow(clippy::unwrap_used)]

use std::fmt::Display;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Far more than the demo takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A demo under way, with a place for its files that shows whether any is left.
struct Demo {
    child: Child,
    files: TempDir,
}

/// How it ended.
struct Outcome {
    status: ExitStatus,
    output: String,
    errors: String,
}

impl Demo {
    /// Starts the demo, or says that it cannot run here.
    fn start(arguments: &[&str]) -> Option<Demo> {
        if let Err(error) = lab::sandbox::check() {
            not_run(&error);
            let output = adit().arg("demo").output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{errors}");
            assert!(errors.contains("network namespaces, and they are forbidden"), "{errors}");
            return None;
        }
        let files = tempfile::tempdir().unwrap();
        let mut command = adit();
        command.arg("demo").args(arguments).env("TMPDIR", files.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Some(Demo { child: command.spawn().unwrap(), files })
    }

    /// Reads its output up to a line that contains `words`.
    fn read_until(&mut self, words: &str) -> String {
        let mut read = String::new();
        // One byte at a time: what follows stays in the pipe for whoever reads next.
        let mut reader = BufReader::with_capacity(1, self.child.stdout.as_mut().unwrap());
        while !read.lines().last().is_some_and(|line| line.contains(words)) {
            let length = reader.read_line(&mut read).unwrap();
            assert_ne!(length, 0, "no {words:?} in:\n{read}");
        }
        read
    }

    /// The process in which it runs adit.
    fn adit(&self) -> Option<u32> {
        let demo = self.child.id();
        let children = fs::read_to_string(format!("/proc/{demo}/task/{demo}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// Waits for its end; nothing of it may be left by then.
    fn end(mut self) -> Outcome {
        let adit = self.adit();
        let deadline = Instant::now() + PATIENCE;
        let mut output = String::new();
        let mut errors = String::new();
        // The test's harness has no other bound: a demo that hangs is killed, and fails.
        let (mut stdout, mut stderr) =
            (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        let readers = std::thread::spawn(move || {
            stdout.read_to_string(&mut output).unwrap();
            stderr.read_to_string(&mut errors).unwrap();
            (output, errors)
        });
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (output, errors) = readers.join().unwrap();
        let left: Vec<PathBuf> =
            fs::read_dir(self.files.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [] as [PathBuf; 0], "{output}{errors}");
        if let Some(adit) = adit {
            assert!(!is_adit(adit), "process {adit} was left behind\n{output}{errors}");
        }
        Outcome { status, output, errors }
    }
}

/// Says so past the test runner, which keeps the words of tests that pass to itself.
fn not_run(why: &dyn Display) {
    io::stderr().write_all(format!("\nNOT RUN: {why}\n").as_bytes()).unwrap();
}

fn adit() -> Command {
    Command::new(env!("CARGO_BIN_EXE_adit"))
}

/// Whether the process runs and is no other one that was given its id meanwhile.
fn is_adit(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|line| line.contains("adit"))
}

fn signal(process: u32, signal: Signal) {
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(process, signal).unwrap();
}

#[test]
fn every_claim_of_the_tour_holds() {
    let Some(demo) = Demo::start(&[]) else { return };
    let Outcome { status, output, errors } = demo.end();
    assert!(status.success(), "{output}{errors}");
    assert_eq!(errors, "");
    assert!(output.contains("claims held, in") && !output.contains('✗'), "{output}");
    // Something was claimed in every step, and it fits a terminal without colour.
    for step in 1..=10 {
        let begin = output.find(&format!("\n{step:>2} ")).unwrap();
        let end = output.find(&format!("\n{:>2} ", step + 1)).unwrap_or(output.len());
        assert!(output[begin..end].contains('✓'), "step {step}:\n{output}");
    }
    let tour = output.split("Where to go next").next().unwrap();
    let longest = tour.lines().max_by_key(|line| line.chars().count()).unwrap();
    assert!(longest.chars().count() <= 80, "{longest}");
    assert!(!output.contains('\x1b'), "{output}");
}

#[test]
fn an_interrupted_demo_takes_everything_down() {
    for words in ["One connection", "waits for approval"] {
        let Some(mut demo) = Demo::start(&[]) else { return };
        demo.read_until(words);
        assert!(demo.adit().is_none_or(is_adit));
        signal(demo.child.id(), Signal::INT);
        let Outcome { status, output, errors } = demo.end();
        assert_eq!(status.code(), Some(1), "{output}{errors}");
        assert!(errors.contains("interrupted"), "{errors}");
    }
}

#[test]
fn a_kept_network_waits_for_the_interrupt_and_ends_well() {
    let Some(mut demo) = Demo::start(&["--keep"]) else { return };
    let read = demo.read_until("Ctrl-C here takes everything down");
    for line in ["nsenter ", "curl -s http://10.0.0.5/", "export ADIT_SOCKET="] {
        assert!(read.contains(line), "{read}");
    }
    let socket = read.lines().find_map(|line| line.trim().strip_prefix("export ADIT_SOCKET="));
    let status = adit().args(["status", "--socket", socket.unwrap()]).output().unwrap();
    assert!(status.status.success(), "{status:?}");
    signal(demo.child.id(), Signal::INT);
    let Outcome { status, output, errors } = demo.end();
    assert!(status.success(), "{output}{errors}");
    assert!(output.contains("claims held, in"), "{output}");
}

#[test]
fn a_demo_whose_adit_dies_fails_and_says_so() {
    let Some(mut demo) = Demo::start(&["--keep"]) else { return };
    demo.read_until("Ctrl-C here takes everything down");
    // A kernel may be built without the list of children.
    let Some(adit) = demo.adit() else {
        not_run(&"/proc has no list of children here");
        signal(demo.child.id(), Signal::INT);
        demo.end();
        return;
    };
    signal(adit, Signal::KILL);
    let Outcome { status, output, errors } = demo.end();
    assert_eq!(status.code(), Some(1), "{output}{errors}");
    assert!(errors.contains("adit ended by itself: signal: 9"), "{errors}");
}

#[test]
fn adit_does_not_outlive_a_killed_demo() {
    let Some(mut demo) = Demo::start(&["--keep"]) else { return };
    demo.read_until("Ctrl-C here takes everything down");
    let adit = demo.adit();
    demo.child.kill().unwrap();
    demo.child.wait().unwrap();
    let Some(adit) = adit else { return };
    let deadline = Instant::now() + PATIENCE;
    while is_adit(adit) {
        assert!(Instant::now() < deadline, "process {adit} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}
