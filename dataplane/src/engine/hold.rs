//! Packets that wait for their next hop (RFC 1122 2.3.2.2): few, small, and not for long.
//!
//! Memory is fixed at start: [`HELD_FRAMES_MAX`] frames of [`HELD_FRAME_BYTES_MAX`] bytes, no more
//! than [`HELD_FRAMES_PER_NEIGHBOR_MAX`] for one neighbor, so that one dead backend does not take
//! all the room; eight can. Order among the packets for one neighbor is kept. A packet waits no
//! longer than its flow lives: it leaves under the flow's lease, which may be another's afterwards
//! (I2).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;

use crate::device::{Frame, Offload};
use crate::limits::{HELD_FRAME_BYTES_MAX, HELD_FRAMES_MAX, HELD_FRAMES_PER_NEIGHBOR_MAX};
use crate::types::{FlowIndex, NeighborIndex, Tick};

/// How long a packet waits at most, in ticks: two seconds, two requests.
const WAIT_TICKS: u32 = 200;

struct Held {
    flow: FlowIndex,
    neighbor: NeighborIndex,
    since: Tick,
    offload: Offload,
    length: usize,
    bytes: Box<[u8]>,
}

/// See the module's documentation.
pub(super) struct Hold {
    waiting: VecDeque<Held>,
    free: VecDeque<Box<[u8]>>,
}

impl Hold {
    pub(super) fn new() -> Hold {
        let buffer = || vec![0; HELD_FRAME_BYTES_MAX].into_boxed_slice();
        Hold {
            waiting: VecDeque::with_capacity(HELD_FRAMES_MAX),
            free: (0..HELD_FRAMES_MAX).map(|_| buffer()).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Keeps a copy of a rewritten frame of a flow; `false` if there is no room for it.
    pub(super) fn push(
        &mut self,
        (flow, neighbor): (FlowIndex, NeighborIndex),
        frame: &Frame,
        now: Tick,
    ) -> bool {
        let length = frame.bytes().len();
        let same = self.waiting.iter().filter(|held| held.neighbor == neighbor).count();
        if length > HELD_FRAME_BYTES_MAX || same >= HELD_FRAMES_PER_NEIGHBOR_MAX {
            return false;
        }
        let Some(mut bytes) = self.free.pop_front() else {
            return false;
        };
        bytes[..length].copy_from_slice(frame.bytes());
        let offload = frame.offload;
        self.waiting.push_back(Held { flow, neighbor, since: now, offload, length, bytes });
        true
    }

    /// Moves the oldest packet whose neighbor is `ready` into `frame`; whose it is.
    pub(super) fn pop<T>(
        &mut self,
        frame: &mut Frame,
        ready: impl Fn(NeighborIndex) -> Option<T>,
    ) -> Option<(FlowIndex, T)> {
        let (at, found) = self
            .waiting
            .iter()
            .enumerate()
            .find_map(|(at, held)| Some((at, ready(held.neighbor)?)))?;
        let held = self.waiting.remove(at)?;
        frame.fill(&held.bytes[..held.length]);
        frame.offload = held.offload;
        self.free.push_back(held.bytes);
        Some((held.flow, found))
    }

    /// Gives up on packets that waited for too long; how many.
    pub(super) fn expire(&mut self, now: Tick) -> usize {
        let before = self.waiting.len();
        while self.waiting.front().is_some_and(|held| now.since(held.since) >= WAIT_TICKS) {
            self.free.extend(self.waiting.pop_front().map(|held| held.bytes));
        }
        before - self.waiting.len()
    }

    /// Gives up on the packets of a flow that is over; how many.
    pub(super) fn forget(&mut self, flow: FlowIndex) -> usize {
        let before = self.waiting.len();
        while let Some(at) = self.waiting.iter().position(|held| held.flow == flow) {
            self.free.extend(self.waiting.remove(at).map(|held| held.bytes));
        }
        before - self.waiting.len()
    }

    /// Gives up on all; how many.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.waiting.len();
        self.free.extend(self.waiting.drain(..).map(|held| held.bytes));
        count
    }
}
