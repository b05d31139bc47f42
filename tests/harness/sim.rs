//! The simulated world: adit's workers between real TCP/IP stacks, on a virtual clock, with faulty
//! cables, changing configurations and hosts that come and go; all of it follows from one seed.
//!
//! What is real: the engine and the workers, driven turn by turn on one thread; control's way from
//! text to a published generation; smoltcp on both sides. What is simulated: cables, devices, what
//! kernels put together and take apart, time and people. [`run`] plays a seed and judges each step
//! with the checkers of `watch`, and the applications check every byte that they receive. What it
//! does not show: threads, the kernel.

mod agenda;
mod chaos;
mod client;
mod dial;
mod header;
mod host;
mod intent;
mod link;
mod mark;
mod nic;
mod pattern;
mod program;
mod segments;
mod server;
mod swarm;
mod trace;
mod watch;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use dataplane::drop_reason::DropReason;

pub use trace::Lines;
use world::World;

/// Lines that a failure shows.
const LAST_LINES: usize = 40;

/// What happened in a world, or in many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of everything that happened: equal runs have equal ones.
    pub hash: u64,
    /// Worlds.
    pub worlds: u64,
    /// Of these, worlds in which every transfer had to complete.
    pub mild: u64,
    /// Worlds by the families of their tenants' and their providers' networks: IPv4 alone, from
    /// IPv4 to IPv6, from IPv6 to IPv4, IPv6 alone.
    pub ways: [u64; 4],
    /// Worlds whose frontends float.
    pub floating: u64,
    /// Things that happened, each followed by the checkers.
    pub steps: u64,
    /// Packets that adit forwarded.
    pub packets: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Super-packets among them.
    pub merged: u64,
    /// Connections that were dialled.
    pub dialled: u64,
    /// Of these, those that completed.
    pub completed: u64,
    /// In mild worlds: connections that paused, and completed.
    pub paused: u64,
    /// In mild worlds: connections that paused for longer than adit keeps a flow, and broke.
    pub outlived: u64,
    /// Bytes that applications received, each of them checked.
    pub delivered: u64,
    /// Generations that were published.
    pub generations: u64,
    /// Time that passed for those within.
    pub time: Duration,
    /// Packets dropped, by reason.
    pub dropped: Vec<u64>,
}

impl Report {
    /// Adds another world's.
    pub fn add(&mut self, other: &Report) {
        self.hash = self.hash.rotate_left(1) ^ other.hash;
        self.worlds += other.worlds;
        self.mild += other.mild;
        self.ways.iter_mut().zip(other.ways).for_each(|(mine, theirs)| *mine += theirs);
        self.floating += other.floating;
        self.steps += other.steps;
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.merged += other.merged;
        self.dialled += other.dialled;
        self.completed += other.completed;
        self.paused += other.paused;
        self.outlived += other.outlived;
        self.delivered += other.delivered;
        self.generations += other.generations;
        self.time += other.time;
        self.dropped.resize(DropReason::COUNT, 0);
        self.dropped.iter_mut().zip(&other.dropped).for_each(|(mine, theirs)| *mine += theirs);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} worlds ({} mild), {} steps, {} s inside, {} generations",
            self.worlds,
            self.mild,
            self.steps,
            self.time.as_secs(),
            self.generations
        )?;
        let [v4, v4_v6, v6_v4, v6] = self.ways;
        writeln!(
            f,
            "worlds of IPv4 {v4}, of IPv4 to IPv6 {v4_v6}, of IPv6 to IPv4 {v6_v4}, of IPv6 {v6}; \
             in {} of all frontends float",
            self.floating
        )?;
        writeln!(
            f,
            "{} packets ({} super-packets), {} bytes through adit",
            self.packets, self.merged, self.bytes
        )?;
        write!(
            f,
            "{} connections dialled, {} completed, {} bytes delivered and checked",
            self.dialled, self.completed, self.delivered
        )
    }
}

/// A world in which something was wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// After how many steps.
    pub step: u64,
    /// The checker's words.
    pub what: String,
    /// What happened last.
    pub lines: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {} failed at step {}: {}", self.seed, self.step, self.what)?;
        write!(f, "to repeat it: cargo xtask sim --seed {} --trace", self.seed)
    }
}

/// Plays the world of a seed.
///
/// # Errors
/// A checker found something wrong; the world was played again to tell what happened last.
pub fn run(seed: u64, lines: Lines) -> Result<Report, Box<Failure>> {
    match play(seed, lines) {
        Err(_) if lines == Lines::Off => play(seed, Lines::Last(LAST_LINES)),
        outcome => outcome,
    }
}

fn play(seed: u64, lines: Lines) -> Result<Report, Box<Failure>> {
    let mut world = World::new(seed, lines);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    outcome.map_err(|thrown| {
        let text = thrown.downcast_ref::<String>().cloned();
        let text = text.or_else(|| thrown.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = text.unwrap_or_else(|| "a panic without words".to_owned());
        Box::new(Failure { seed, step: world.steps(), what, lines: world.last_lines() })
    })
}
