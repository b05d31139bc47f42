//! What flows carried, and since when they are there, beside their records: for whoever wants to
//! know. Off until it is asked for, and then of a fixed size (I8).
//!
//! Memory: 4 bytes a flow for its beginning, and 32 if its traffic is counted; used as flows are.

use alloc::boxed::Box;
use alloc::vec;

use crate::prefetch::prefetch;
use crate::record::{Count, Recording, Traffic};
use crate::types::{Area, Direction, FlowIndex, Tick};

/// Packets and bytes, by [`Direction`]. A half of it lies in one cache line, and a packet needs no
/// more.
type Tally = [[u64; 2]; 2];

/// See the module's documentation.
#[derive(Default)]
pub struct Tallies {
    tallies: Box<[Tally]>,
    began: Box<[Tick]>,
}

impl Tallies {
    /// For a table of `capacity` flows.
    #[must_use]
    pub fn new(capacity: usize, recording: Recording) -> Tallies {
        let room = |is_wanted: bool| if is_wanted { capacity } else { 0 };
        Tallies {
            tallies: vec![[[0; 2]; 2]; room(recording == Recording::Traffic)].into_boxed_slice(),
            began: vec![Tick(0); room(recording != Recording::Nothing)].into_boxed_slice(),
        }
    }

    /// Bytes of memory when full.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.tallies) + size_of_val(&*self.began)
    }

    /// What packets read and write at random places.
    #[must_use]
    pub fn areas(&self) -> [Area; 2] {
        let Tallies { tallies, began } = self;
        [Area::of(tallies.as_ptr(), tallies.len()), Area::of(began.as_ptr(), began.len())]
    }

    /// A flow begins, and has carried nothing.
    pub fn begin(&mut self, flow: FlowIndex, now: Tick) {
        if let Some(tally) = self.tallies.get_mut(flow.slot()) {
            *tally = Tally::default();
        }
        if let Some(began) = self.began.get_mut(flow.slot()) {
            *began = now;
        }
    }

    /// Starts loading what [`Tallies::add`] writes.
    #[inline(always)]
    pub fn prefetch(&self, flow: FlowIndex, direction: Direction) {
        if let Some(tally) = self.tallies.get(flow.slot()) {
            prefetch(&tally[direction as usize]);
        }
    }

    /// Whether traffic is counted at all.
    #[inline(always)]
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.tallies.is_empty()
    }

    /// A flow has carried this.
    #[inline(always)]
    pub fn add(&mut self, flow: FlowIndex, direction: Direction, count: Count) {
        if let Some(tally) = self.tallies.get_mut(flow.slot()) {
            let [packets, bytes] = &mut tally[direction as usize];
            *packets += count.packets;
            *bytes += count.bytes;
        }
    }

    /// When a flow began; zero if that is not recorded.
    #[must_use]
    pub fn began(&self, flow: FlowIndex) -> Tick {
        self.began.get(flow.slot()).copied().unwrap_or(Tick(0))
    }

    /// What a flow has carried so far; nothing if that is not recorded.
    #[must_use]
    pub fn traffic(&self, flow: FlowIndex) -> Traffic {
        let tally = self.tallies.get(flow.slot()).copied().unwrap_or_default();
        let [forward, back] = tally.map(|[packets, bytes]| Count { packets, bytes });
        Traffic { forward, back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_counted_by_direction_and_begin_with_nothing() {
        let mut tallies = Tallies::new(2, Recording::Traffic);
        let (flow, other) = (FlowIndex(1), FlowIndex(0));
        tallies.begin(flow, Tick(7));
        let count = |packets, bytes| Count { packets, bytes };
        tallies.add(flow, Direction::Forward, count(1, 60));
        tallies.add(flow, Direction::Forward, count(2, 90));
        tallies.add(flow, Direction::Return, count(1, 1500));
        let expected = Traffic { forward: count(3, 150), back: count(1, 1500) };
        assert_eq!((tallies.traffic(flow), tallies.began(flow)), (expected, Tick(7)));
        assert_eq!(tallies.traffic(other), Traffic::default());
        tallies.begin(flow, Tick(9));
        assert_eq!(tallies.traffic(flow), Traffic::default());
        assert_eq!(tallies.bytes(), 2 * 36);
    }

    #[test]
    fn what_is_not_recorded_takes_no_memory() {
        for (recording, bytes) in [(Recording::Nothing, 0), (Recording::Flows, 8)] {
            let mut tallies = Tallies::new(2, recording);
            assert_eq!((tallies.bytes(), tallies.counts()), (bytes, false));
            tallies.begin(FlowIndex(0), Tick(3));
            tallies.add(FlowIndex(0), Direction::Return, Count { packets: 1, bytes: 1 });
            assert_eq!(tallies.traffic(FlowIndex(0)), Traffic::default());
        }
    }
}
