//! How adit ends and begins again: asked to, and killed.

use std::time::Instant;

use lab::client::http_get;
use rustix::process::Signal;

use super::{FAST_2, PACKET_2, TAP};
use crate::case::{Case, Outcome, PATIENCE};
use crate::world::{World, dial, port};

pub(super) const CASES: &[Case] = &[
    Case::new("lifecycle::ends_when_asked", PACKET_2, ends_when_asked),
    Case::new("lifecycle::restarts_after_kill", PACKET_2, restarts_after_kill),
    Case::new("lifecycle::fast_path_restarts_after_kill", FAST_2, restarts_after_kill),
    Case::new("lifecycle::tap_restarts_after_kill", TAP, restarts_after_kill),
];

fn ends_when_asked(world: &mut World) -> Outcome {
    for signal in [Signal::TERM, Signal::INT] {
        works(world)?;
        let forwarded = world.adit.status("forwarded")?;
        let begin = Instant::now();
        world.adit.signal(signal)?;
        let status = world.adit.wait(PATIENCE)?;
        print!("[{} ms] ", begin.elapsed().as_millis());
        ensure!(status.code() == Some(0), "it ended with {status}");
        let left: Vec<_> = std::fs::read_dir(world.adit.directory())?.flatten().collect();
        let left: Vec<_> = left.iter().map(std::fs::DirEntry::file_name).collect();
        ensure!(left.len() == 2, "files are left: {left:?}");
        let log = world.adit.log();
        let goodbye = log.lines().rev().find(|line| line.contains("stopped after"));
        let goodbye = goodbye.ok_or("it said no final counters")?;
        let (_, last) = goodbye.split_once("forwarded ").ok_or("no packets forwarded")?;
        let last: u64 = last.split(',').next().unwrap_or_default().parse()?;
        // The connections' last packets may have passed after the question.
        ensure!((forwarded..forwarded + 100).contains(&last), "{goodbye}, {forwarded} before");
        world.restart()?;
    }
    works(world)
}

fn restarts_after_kill(world: &mut World) -> Outcome {
    works(world)?;
    second_is_refused(world)?;
    world.adit.signal(Signal::KILL)?;
    let status = world.adit.wait(PATIENCE)?;
    ensure!(!status.success(), "it ended with {status}");
    ensure!(world.adit.socket().exists(), "nobody was there to remove the socket");
    let output = world.adit.command(&["status"])?;
    ensure!(output.status.code() == Some(3), "without a daemon: {:?}", output.status);
    world.restart()?;
    works(world)
}

/// Two on one socket are one too many.
fn second_is_refused(world: &World) -> Outcome {
    let mut second = crate::role::adit_in(&world.middle)?;
    let output = second.arg("run").arg("--config").arg(world.adit.directory().join("adit.toml"));
    let output = output.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "a second one: {:?}: {said}", output.status);
    ensure!(said.contains("already"), "a second one said: {said}");
    works(world)
}

fn works(world: &World) -> Outcome {
    world.both(|_| {
        for _ in 0..5 {
            ensure!(http_get(&dial(port::HTTP), "/")?.status == 200, "no answer");
        }
        Ok(())
    })?;
    Ok(())
}
