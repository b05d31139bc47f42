//! Clocks of the reference counter that the engine takes for a packet: medians over batches, with
//! their spread.

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
