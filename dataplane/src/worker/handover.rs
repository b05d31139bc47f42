//! Rings between workers, for frames that arrive at one and belong to another.
//!
//! From each worker to each other there is a bounded ring of frames that were allocated at start; a
//! frame is copied in and out. Peers are served in turn, so that a busy one does not starve the
//! others. A full ring refuses, and the frame is dropped and counted (I8).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::device::{Batch, Frame};
use crate::limits::{BATCH_FRAMES_MAX, HANDOVER_FRAMES_MAX};
use crate::sync::ArrayQueue;
use crate::types::WorkerId;

/// One direction between two workers.
struct Ring {
    full: ArrayQueue<Box<Frame>>,
    empty: ArrayQueue<Box<Frame>>,
}

impl Ring {
    fn new() -> Ring {
        let empty = ArrayQueue::new(HANDOVER_FRAMES_MAX);
        for _ in 0..HANDOVER_FRAMES_MAX {
            drop(empty.push(Box::new(Frame::new())));
        }
        Ring { full: ArrayQueue::new(HANDOVER_FRAMES_MAX), empty }
    }
}

/// One worker's ends of its rings, for one user at a time; positions are those of the peers.
#[derive(Clone)]
pub(super) struct Handover {
    outgoing: Vec<Option<Arc<Ring>>>,
    incoming: Vec<Option<Arc<Ring>>>,
    /// The peer that is served first next time.
    turn: usize,
}

impl Handover {
    /// Gives a copy of a frame to a peer; `false` if its ring is full.
    pub(super) fn give(&self, to: WorkerId, frame: &Frame) -> bool {
        let Some(Some(ring)) = self.outgoing.get(usize::from(to.0)) else {
            return false;
        };
        let Some(mut copy) = ring.empty.pop() else {
            return false;
        };
        copy.copy_from(frame);
        ring.full.push(copy).is_ok()
    }

    /// Takes the frames that peers gave, up to a batch of them, from one peer after the other.
    pub(super) fn take(&mut self, batch: &mut Batch) {
        batch.clear();
        let (late, early) = self.incoming.split_at(self.turn);
        for ring in early.iter().chain(late).flatten() {
            while batch.len() < BATCH_FRAMES_MAX {
                let Some(frame) = ring.full.pop() else { break };
                if let Some(into) = batch.append() {
                    into.copy_from(&frame);
                }
                drop(ring.empty.push(frame));
            }
        }
        self.turn = (self.turn + 1) % self.incoming.len().max(1);
    }

    /// Whether a frame waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.incoming.iter().flatten().any(|ring| !ring.full.is_empty())
    }
}

/// The rings between all workers.
pub(super) fn mesh(workers: u8) -> Vec<Handover> {
    let count = usize::from(workers);
    let ring = |from: usize, to: usize| (from != to).then(|| Arc::new(Ring::new()));
    let rings: Vec<Vec<_>> =
        (0..count).map(|from| (0..count).map(|to| ring(from, to)).collect()).collect();
    let ends = |worker: usize| Handover {
        outgoing: rings[worker].clone(),
        incoming: rings.iter().map(|row| row[worker].clone()).collect(),
        turn: 0,
    };
    (0..count).map(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_peer_does_not_starve_the_others() {
        let mut ends = mesh(3);
        let mut batch = Batch::new();
        let mut frame = Frame::new();
        let mut taken = [0_usize; 2];
        for _ in 0..100 {
            for (peer, end) in ends.iter().enumerate().take(2) {
                frame.fill(&[u8::try_from(peer).unwrap(); 60]);
                while end.give(WorkerId(2), &frame) {}
            }
            ends[2].take(&mut batch);
            for frame in batch.frames() {
                taken[usize::from(frame.bytes()[0])] += 1;
            }
        }
        assert_eq!(taken.iter().sum::<usize>(), 100 * BATCH_FRAMES_MAX);
        assert!(taken.iter().all(|&count| count > 30 * BATCH_FRAMES_MAX), "{taken:?}");
    }
}
