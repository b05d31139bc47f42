//! What a worker counts, and the page on which others read it while it runs.
//!
//! Counting happens in one place, where verdicts are consumed. Account (I9), for every worker:
//! `received + taken_over = forwarded + consumed + handed_over + held + Σ dropped`, where `held` is
//! how many packets wait for a next hop at the moment. Replies and requests that adit makes itself
//! are counted apart.

use crate::drop_reason::DropReason;
use crate::limits::DEVICES_MAX;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::types::{DeviceIndex, GenerationNumber};

use alloc::boxed::Box;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A worker's counters. Those of what is now may shrink, the others only grow.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
            /// Packets dropped, by [`DropReason::slot`].
            pub dropped: [u64; DropReason::COUNT],
        }

        impl Counters {
            /// Names of the single counters, in the order of [`Counters::values`].
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];

            /// The single counters, in the order of [`Counters::NAMES`].
            #[must_use]
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name,)+]
            }

            fn from_values(
                values: [u64; Self::NAMES.len()],
                dropped: [u64; DropReason::COUNT],
            ) -> Self {
                let [$($name,)+] = values;
                Counters { $($name,)+ dropped }
            }
        }
    };
}

counters! {
    /// Frames that came from devices.
    received,
    /// Bytes of those, Ethernet header included.
    received_bytes,
    /// Frames that the kernel took, translated.
    forwarded,
    /// Bytes of those.
    forwarded_bytes,
    /// Of the received and forwarded ones: packets that a fast path carried, past the engine.
    shortcut,
    /// Frames that were for adit itself: ARP, and acknowledgements that a PROXY header replaces.
    consumed,
    /// Answers of adit: ARP replies. Each of the packets they answer is counted as consumed.
    replied,
    /// Frames of adit's own: ARP requests, PROXY headers, and what those are told whose packets or
    /// connections it refuses.
    originated,
    /// Frames given to the worker that owns their flow.
    handed_over,
    /// Frames taken from other workers.
    taken_over,
    /// Packets that wait for a next hop now.
    held,
    /// Flows that live now.
    flows,
    /// Of those: flows that nobody has answered yet.
    flows_unanswered,
    /// Flows ever opened.
    flows_opened,
    /// Flows ever closed, for whatever reason.
    flows_closed,
    /// Of the flows closed: those whose configuration went away under them.
    flows_revoked,
    /// Of the flows closed: UDP flows that fell on another backend when their pool changed.
    flows_moved,
    /// Of the flows closed: those that nobody had answered and that gave way to newer ones.
    flows_displaced,
    /// Flows that adit ended with resets.
    flows_reset,
    /// Records of flows that began or ended, given to whoever asked for them.
    records,
    /// Records that were lost because nobody took those before them in time.
    records_lost,
    /// PROXY headers sent in front of a client's bytes: one for each connection.
    proxy_headers_sent,
    /// Of those: sent once more, because no acknowledgement had come.
    proxy_headers_repeated,
    /// PROXY headers that no backend has acknowledged yet.
    proxy_headers_waiting,
    /// Ports that rest now, after their flow closed (hold-down).
    ports_resting,
    /// The generation that the worker works with.
    generation,
}

impl Default for Counters {
    fn default() -> Self {
        Self::from_values([0; Self::NAMES.len()], [0; DropReason::COUNT])
    }
}

impl Counters {
    /// All drops together.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Adds another worker's counters to these.
    pub fn add(&mut self, other: &Counters) {
        let (mut sum, others) = (self.values(), other.values());
        sum.iter_mut().zip(others).for_each(|(mine, theirs)| *mine += theirs);
        let mut dropped = self.dropped;
        dropped.iter_mut().zip(other.dropped).for_each(|(mine, theirs)| *mine += theirs);
        let generation = self.generation.max(other.generation);
        *self = Self::from_values(sum, dropped);
        self.generation = generation;
    }

    /// What is missing from the account: zero unless a packet was lost or counted twice (I9).
    #[must_use]
    pub fn account_difference(&self) -> i128 {
        let sum = |counters: &[u64]| counters.iter().map(|&count| i128::from(count)).sum::<i128>();
        let inwards = sum(&[self.received, self.taken_over]);
        let outwards = sum(&[self.forwarded, self.consumed, self.handed_over, self.held]);
        inwards - outwards - sum(&self.dropped)
    }
}

/// How a worker's queue of a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// No such device, or not tried yet.
    Unopened,
    /// Open.
    Up,
    /// Could not be opened or went away, with the system's error number; tried again every so
    /// often.
    Down(i32),
}

/// What a worker says of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceReport {
    /// Its state.
    pub state: DeviceState,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames that the system dropped before the worker could receive them: it was too slow.
    pub missed: u64,
}

impl DeviceReport {
    /// Nothing to say.
    const NONE: DeviceReport =
        DeviceReport { state: DeviceState::Unopened, received: 0, sent: 0, missed: 0 };
}

#[derive(Default)]
struct DeviceSlot {
    state: AtomicU32,
    received: AtomicU64,
    sent: AtomicU64,
    missed: AtomicU64,
}

/// The page that one worker writes and anybody reads. Each number is whole; two of them may be from
/// different batches.
pub struct StatsPage {
    values: [AtomicU64; Counters::NAMES.len()],
    dropped: [AtomicU64; DropReason::COUNT],
    devices: Box<[DeviceSlot]>,
}

impl StatsPage {
    /// A page of zeros.
    #[must_use]
    pub fn new() -> StatsPage {
        StatsPage {
            values: core::array::from_fn(|_| AtomicU64::new(0)),
            dropped: core::array::from_fn(|_| AtomicU64::new(0)),
            devices: (0..DEVICES_MAX).map(|_| DeviceSlot::default()).collect(),
        }
    }

    /// What the worker wrote last.
    #[must_use]
    pub fn read(&self) -> Counters {
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Counters::from_values(self.values.each_ref().map(load), self.dropped.each_ref().map(load))
    }

    /// The generation that the worker works with; what it wrote before is visible to the caller.
    #[must_use]
    pub fn adopted(&self) -> GenerationNumber {
        let at = Counters::NAMES.len() - 1;
        let number = self.values[at].load(Ordering::Acquire);
        GenerationNumber(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// What the worker wrote last of a device.
    #[must_use]
    pub fn device(&self, device: DeviceIndex) -> DeviceReport {
        let Some(slot) = self.devices.get(device.slot()) else { return DeviceReport::NONE };
        let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        DeviceReport {
            state: match slot.state.load(Ordering::Relaxed) {
                0 => DeviceState::Unopened,
                1 => DeviceState::Up,
                errno => DeviceState::Down(i32::try_from(errno - 2).unwrap_or(i32::MAX)),
            },
            received: load(&slot.received),
            sent: load(&slot.sent),
            missed: load(&slot.missed),
        }
    }

    /// Writes the counters. For the worker alone.
    pub fn write(&self, counters: &Counters) {
        let store = |(cell, value): (&AtomicU64, u64)| cell.store(value, Ordering::Relaxed);
        self.dropped.iter().zip(counters.dropped).for_each(store);
        // The generation is last, and releases what stands before it.
        let cells = self.values.iter().zip(counters.values());
        cells.for_each(|(cell, value)| cell.store(value, Ordering::Release));
    }

    /// Writes the state of a device. For the worker alone.
    pub fn write_device_state(&self, device: DeviceIndex, state: DeviceState) {
        let code = match state {
            DeviceState::Unopened => 0,
            DeviceState::Up => 1,
            DeviceState::Down(errno) => u32::try_from(errno).unwrap_or(0).saturating_add(2),
        };
        if let Some(slot) = self.devices.get(device.slot()) {
            slot.state.store(code, Ordering::Relaxed);
        }
    }

    /// Adds to the counts of a device. For the worker alone.
    pub fn count_device(&self, device: DeviceIndex, received: usize, sent: usize) {
        let Some(slot) = self.devices.get(device.slot()) else { return };
        add(&slot.received, received as u64);
        add(&slot.sent, sent as u64);
    }

    /// Adds to the frames that a device lost before the worker saw them. For the worker alone.
    pub fn count_missed(&self, device: DeviceIndex, missed: u64) {
        if let Some(slot) = self.devices.get(device.slot()) {
            add(&slot.missed, missed);
        }
    }
}

/// One writer: a load and a store, no locked instruction.
fn add(cell: &AtomicU64, count: u64) {
    cell.store(cell.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

impl Default for StatsPage {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_balances_only_if_every_packet_is_counted_once() {
        let mut counters = Counters { received: 5, taken_over: 2, ..Counters::default() };
        (counters.forwarded, counters.consumed, counters.held) = (3, 1, 1);
        counters.dropped[DropReason::Land.slot()] = 2;
        assert_eq!(counters.account_difference(), 0);
        counters.handed_over = 1;
        assert_eq!(counters.account_difference(), -1, "counted twice");
        counters.received += 2;
        assert_eq!(counters.account_difference(), 1, "lost");
    }

    #[test]
    fn sums_add_all_but_the_generation() {
        let one = Counters { flows: 3, generation: 7, ..Counters::default() };
        let mut sum = Counters { flows: 4, generation: 8, ..Counters::default() };
        sum.add(&one);
        assert_eq!((sum.flows, sum.generation), (7, 8));
    }

    #[test]
    fn a_page_gives_back_what_was_written() {
        let (page, device) = (StatsPage::new(), DeviceIndex(3));
        let mut counters = Counters { forwarded: 9, generation: 4, ..Counters::default() };
        counters.dropped[DropReason::Internal.slot()] = 1;
        page.write(&counters);
        assert_eq!((page.read(), page.adopted()), (counters, GenerationNumber(4)));
        for state in [DeviceState::Up, DeviceState::Down(100), DeviceState::Unopened] {
            page.write_device_state(device, state);
            assert_eq!(page.device(device).state, state);
        }
        page.count_device(device, 2, 1);
        page.count_missed(device, 5);
        let report = page.device(device);
        assert_eq!((report.received, report.sent, report.missed), (2, 1, 5));
        assert_eq!(page.device(DeviceIndex(u16::MAX)), DeviceReport::NONE);
    }
}
