//! Cycles of the reference clock that the engine takes for a packet: medians over batches.

use dataplane::limits::BATCH_FRAMES_MAX;

use crate::rig::Rig;

/// The time stamp counter, or nanoseconds where there is none.
#[must_use]
pub fn now() -> u64 {
    crate::sys::clocks()
}

/// What was measured with a number of flows.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Open flows.
    pub flows: usize,
    /// Clocks for a packet of an open flow from its client.
    pub forward: f64,
    /// Clocks for a packet of an open flow from its backend.
    pub back: f64,
    /// Clocks for a packet that is refused.
    pub miss: f64,
    /// Clocks for a packet that opens a flow, on average over the last tenth of them.
    pub new: f64,
    /// Bytes of table for a flow.
    pub bytes_per_flow: f64,
}

/// Batches that a median is taken over.
const BATCHES: usize = 20_000;

/// Opens `flows` flows in a table for as many, then sends packets of random ones.
#[must_use]
pub fn measure(flows: usize) -> Figures {
    let mut rig = Rig::new(flows);
    let most = flows - flows.div_ceil(10);
    rig.open(most);
    let new = rig.open(flows) as f64 / (flows - most) as f64;
    let median = |rig: &mut Rig, batch: &dyn Fn(&mut Rig) -> u64| {
        let mut clocks: Vec<u64> = (0..BATCHES).map(|_| batch(rig)).collect();
        clocks.sort_unstable();
        clocks[BATCHES / 2] as f64 / BATCH_FRAMES_MAX as f64
    };
    Figures {
        flows,
        forward: median(&mut rig, &|rig| rig.hit(true)),
        back: median(&mut rig, &|rig| rig.hit(false)),
        miss: median(&mut rig, &|rig| rig.miss()),
        new,
        bytes_per_flow: rig.table_bytes() as f64 / flows as f64,
    }
}
