//! Clocks of the reference counter that the engine takes for a packet: medians over batches, with
//! their spread.

use std::sync::{Arc, Barrier};

use dataplane::record::Recording;
use dataplane::types::WorkerId;

use crate::rig::{Rig, Setup};

/// The time stamp counter, or nanoseconds where there is none.
#[must_use]
pub fn now() -> u64 {
    crate::sys::clocks()
}

/// Clocks for a packet over many batches.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// What one batch in ten falls short of.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// What one batch in ten exceeds.
    pub high: f64,
}

impl Clocks {
    fn of(mut batches: Vec<f64>) -> Clocks {
        batches.sort_unstable_by(f64::total_cmp);
        let quantile = |tenths: usize| {
            let last = batches.len().saturating_sub(1);
            batches.get(last * tenths / 10).copied().unwrap_or(f64::NAN)
        };
        Clocks { low: quantile(1), median: quantile(5), high: quantile(9) }
    }
}

/// What was measured with a number of flows.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Open flows.
    pub flows: usize,
    /// A packet of an open flow, both directions in turn: a batch of clients' packets and one of
    /// backends', together.
    pub hit: Clocks,
    /// Of those: from clients.
    pub forward: Clocks,
    /// Of those: from backends.
    pub back: Clocks,
    /// A packet that is refused.
    pub refused: Clocks,
    /// A packet that opens a flow: the last tenth of them.
    pub new: Clocks,
    /// Bytes of all tables for a flow.
    pub bytes_per_flow: f64,
}

/// Opens `flows` flows in a table for as many, then sends packets of random ones, `batches` batches
/// in each direction.
#[must_use]
pub fn measure(flows: usize, batches: usize, setup: Setup) -> Figures {
    let mut rig = Rig::new(flows, setup);
    rig.open(flows - flows.div_ceil(10));
    let new = Clocks::of(rig.open(flows));
    let packet = |clocks: u64| clocks as f64 / setup.batch as f64;
    let (mut forward, mut back) = (Vec::new(), Vec::new());
    for _ in 0..batches {
        forward.push(packet(rig.hit(true)));
        back.push(packet(rig.hit(false)));
    }
    let both = forward.iter().zip(&back).map(|(one, other)| (one + other) / 2.0);
    Figures {
        flows,
        hit: Clocks::of(both.collect()),
        refused: Clocks::of((0..batches / 4).map(|_| packet(rig.miss())).collect()),
        forward: Clocks::of(forward),
        back: Clocks::of(back),
        new,
        bytes_per_flow: rig.table_bytes() as f64 / flows as f64,
    }
}

/// What a packet of an open flow takes without and with a flow log: two engines that carry batches
/// in turn, so that whatever else the machine does falls on both.
#[must_use]
pub fn measure_flow_log(flows: usize, batches: usize, setup: Setup) -> [Clocks; 2] {
    let mut rigs = [Recording::Nothing, Recording::Traffic].map(|recording| {
        let mut rig = Rig::new(flows, Setup { recording, ..setup });
        rig.open(flows);
        rig
    });
    let mut clocks = [Vec::new(), Vec::new()];
    for turn in 0..batches {
        // The second of a pair finds the caches as the first has left them.
        for at in [turn % 2, (turn + 1) % 2] {
            let both = rigs[at].hit(true) + rigs[at].hit(false);
            clocks[at].push(both as f64 / (2 * setup.batch) as f64);
        }
    }
    clocks.map(Clocks::of)
}

/// What a packet of an open flow takes with each number of workers, from one to `workers`, that
/// work at the same time on as many threads, bound to processors. They share the configuration and
/// its port pools, and `flows` flows are shared out among them. A batch counts by its own clocks:
/// what else runs on the machine shows in the spread, not as a lack of workers.
#[must_use]
pub fn measure_workers(flows: usize, batches: usize, setup: Setup, workers: u8) -> Vec<Clocks> {
    (1..=workers).map(|count| at_once(flows, batches, setup, count)).collect()
}

fn at_once(flows: usize, batches: usize, setup: Setup, workers: u8) -> Clocks {
    let generation = Rig::generation(flows);
    let begin = Arc::new(Barrier::new(usize::from(workers)));
    let cpus = dataplane::io::usable_cpus();
    let own = flows / usize::from(workers);
    let work = |worker: u8| {
        let (generation, begin) = (Arc::clone(&generation), Arc::clone(&begin));
        let cpu = cpus[usize::from(worker) % cpus.len()];
        move || {
            // A thread that is not bound measures as well, with more spread.
            let _ = dataplane::io::pin_to_cpu(cpu);
            let mut rig = Rig::worker(own, setup, &generation, WorkerId(worker), workers);
            rig.open(own);
            begin.wait();
            let clocks = |is_forward: bool, rig: &mut Rig| rig.hit(is_forward) as f64;
            let batch = |_| (clocks(true, &mut rig) + clocks(false, &mut rig)) / 2.0;
            let all: Vec<f64> = (0..batches).map(batch).collect();
            all.into_iter().map(|batch| batch / setup.batch as f64).collect::<Vec<f64>>()
        }
    };
    let threads: Vec<_> = (0..workers).map(|worker| std::thread::spawn(work(worker))).collect();
    let clocks = threads.into_iter().map(|thread| thread.join().expect("a worker measures"));
    Clocks::of(clocks.flatten().collect())
}
