//! A device in memory: two queues of frames that a test or a bench fills and empties by hand.
//!
//! Clones share the queues, so that a test keeps one end while a worker owns the other. The
//! transmit queue is bounded, so that a full ring can be played.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use super::{Batch, Device, DeviceError, Frame, Link, Offload, Transmitted};
use crate::limits::BATCH_FRAMES_MAX;

/// A frame at rest in a [`MemDevice`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MemFrame {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// What a kernel would have said about it.
    pub offload: Offload,
}

impl From<Vec<u8>> for MemFrame {
    fn from(bytes: Vec<u8>) -> MemFrame {
        MemFrame { bytes, offload: Offload::default() }
    }
}

#[derive(Default)]
struct Queues {
    arriving: VecDeque<MemFrame>,
    sent: VecDeque<MemFrame>,
    room: usize,
    down: bool,
}

/// One end of a device in memory.
#[derive(Clone)]
pub struct MemDevice {
    link: Link,
    queues: Rc<RefCell<Queues>>,
}

impl MemDevice {
    /// A device that is up and takes `room` frames before its transmit queue is full.
    #[must_use]
    pub fn new(link: Link, room: usize) -> MemDevice {
        let queues = Queues { room, ..Queues::default() };
        MemDevice { link, queues: Rc::new(RefCell::new(queues)) }
    }

    /// Lets a frame arrive.
    pub fn arrive(&self, frame: impl Into<MemFrame>) {
        self.queues.borrow_mut().arriving.push_back(frame.into());
    }

    /// Takes the oldest frame that was sent.
    #[must_use]
    pub fn take_sent(&self) -> Option<MemFrame> {
        self.queues.borrow_mut().sent.pop_front()
    }

    /// Sets the device down or up; a device that is down loses what waits in it.
    pub fn set_down(&self, down: bool) {
        let mut queues = self.queues.borrow_mut();
        queues.down = down;
        queues.arriving.clear();
    }

    /// Whether it was set down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.queues.borrow().down
    }
}

/// `ENETDOWN` of Linux.
const NETWORK_DOWN: i32 = 100;

impl Device for MemDevice {
    fn link(&self) -> Link {
        self.link
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        batch.clear();
        let mut queues = self.queues.borrow_mut();
        if queues.down {
            return Err(DeviceError { operation: "receive", errno: NETWORK_DOWN });
        }
        for _ in 0..BATCH_FRAMES_MAX {
            let Some(arrived) = queues.arriving.pop_front() else {
                break;
            };
            if let Some(frame) = batch.append() {
                frame.fill(&arrived.bytes);
                frame.offload = arrived.offload;
            }
        }
        Ok(())
    }

    fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        let mut queues = self.queues.borrow_mut();
        if queues.down {
            return Transmitted { gone: frames.len(), ..Transmitted::default() };
        }
        let free = queues.room.saturating_sub(queues.sent.len()).min(frames.len());
        for frame in &frames[..free] {
            let bytes = frame.bytes().to_vec();
            queues.sent.push_back(MemFrame { bytes, offload: frame.offload });
        }
        Transmitted { sent: free, full: frames.len() - free, ..Transmitted::default() }
    }
}
