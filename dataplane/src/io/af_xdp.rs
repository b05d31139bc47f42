//! An existing interface, read and written through AF_XDP sockets: rings in shared memory, fed by a
//! small XDP program that the device brings along.
//!
//! Fast for small packets, and only for those: the kernel then hands over no super-packets, since
//! XDP on one end of a veth pair makes the other end cut its own. A super-packet that comes from a
//! device of another kind is cut here. Nor does the kernel say which checksums are unfinished; that
//! is recognized by their value, and they are finished on the way out (decision 0022).
//!
//! It is the station that the interface is. The host's own stack sees nothing of what arrives, and
//! nothing that the host sends through the interface is seen here. Each worker has the queues of
//! the interface that are its share; one that has none sends through a packet socket.
//!
//! Bounds: chunks and rings of fixed number for each queue, 5 MiB for an MTU of 1500; what finds no
//! chunk is dropped by the kernel and counted as missed. Frames are copied between the kernel and
//! its memory, and once more between that and a batch, whose frames own theirs: a chunk never
//! travels from one device to another, so each queue has a memory of its own. Needs Linux 6.6, a
//! driver with native XDP, and rights over the whole system, not only in a user namespace.
//!
//! Does not see a VLAN tag that the sender's kernel keeps beside the frame: XDP does not show it.

mod program;
mod queue;
// Indices and entries lie in memory that the kernel gave.
#[allow(unsafe_code)]
mod ring;
mod setup;
// bpf(2) and the options of AF_XDP sockets.
#[allow(unsafe_code)]
mod sys;
// Frames lie in memory that is shared with the kernel.
#[allow(unsafe_code)]
mod umem;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

pub(super) use program::Programs;

use self::program::Attached;
use self::queue::{QueueSocket, chunk_bytes};
use self::setup::Bound;
use super::{Refusal, failed, sys as system};
use crate::device::{Batch, DeviceError, Frame, Link, Transmitted};
use crate::offload;
use crate::offload::cut::Cut;
use crate::worker::Queue;

/// Times that nothing arrived between two looks whether the device is still there: not in every
/// turn of a worker that polls, but soon in one that an error keeps from sleeping.
const LOOK_INTERVAL: u32 = 16;

/// One worker's queues of an interface.
pub(super) struct AfXdp {
    link: Link,
    // Closed before the program is given up: fields are dropped in this order.
    queues: Vec<QueueSocket>,
    _program: Arc<Attached>,
    bound: Bound,
    /// Where a super-packet is cut.
    spare: Frame,
    /// The queue that is asked first next time.
    turn: usize,
    /// Times in a row that nothing arrived.
    quiet: u32,
    lost: Option<DeviceError>,
}

impl AfXdp {
    /// Opens the queues of an interface of the calling thread's namespace that are this worker's;
    /// `None` if it has none.
    ///
    /// # Errors
    /// There is none of that name, it is down, its driver has no native XDP, somebody else's
    /// program or socket is on it, or the right is missing.
    pub(super) fn open(
        name: &str,
        worker: Queue,
        programs: &Programs,
    ) -> Result<Option<AfXdp>, DeviceError> {
        let opened = setup::open(name, worker, programs)?;
        Ok(opened.map(|setup::Opened { queues, program, bound, link }| AfXdp {
            link,
            queues,
            _program: program,
            bound,
            spare: Frame::new(),
            turn: 0,
            quiet: 0,
            lost: None,
        }))
    }

    /// See [`crate::device::Device::link`].
    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// See [`crate::device::Device::refresh`].
    pub(super) fn refresh(&mut self) -> Result<Link, DeviceError> {
        self.link = self.bound.link()?;
        if self.queues.iter().any(|queue| queue.chunk_bytes() != chunk_bytes(self.link.mtu)) {
            return Err(failed("fit frames of the new MTU into chunks")(libc::EMSGSIZE));
        }
        Ok(self.link)
    }

    /// The error that the next [`AfXdp::receive`] will report.
    pub(super) fn lost(&self) -> Option<DeviceError> {
        self.lost
    }

    /// What to wait for.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.queues.iter().map(QueueSocket::descriptor)
    }

    /// See [`crate::device::Device::receive`].
    pub(super) fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        batch.clear();
        if let Some(error) = self.lost {
            return Err(error);
        }
        let mut received = 0;
        self.turn = (self.turn + 1) % self.queues.len().max(1);
        let (late, early) = self.queues.split_at_mut(self.turn);
        for queue in early.iter_mut().chain(late) {
            received += queue.receive(&mut batch.room_mut()[received..]);
            // What the kernel could not take before.
            if queue.is_sending() {
                self.lost = queue.flush().gone.map(failed("send through the XDP socket"));
            }
        }
        batch.set_length(received);
        if received > 0 {
            self.quiet = 0;
            return Ok(());
        }
        self.quiet += 1;
        if self.quiet >= LOOK_INTERVAL {
            self.quiet = 0;
            self.look();
        }
        self.lost.map_or(Ok(()), Err)
    }

    /// Notices that the interface is gone.
    fn look(&mut self) {
        for queue in &self.queues {
            let error: Result<i32, _> =
                system::option(queue.descriptor(), libc::SOL_SOCKET, libc::SO_ERROR);
            if let Ok(errno) | Err(errno) = error
                && errno != 0
            {
                self.lost = Some(failed("receive from the XDP socket")(errno));
            }
        }
    }

    /// See [`crate::device::Device::missed`].
    pub(super) fn missed(&mut self) -> u64 {
        self.queues.iter_mut().map(QueueSocket::missed).sum()
    }

    /// See [`crate::device::Device::transmit`]. A super-packet of which a piece is refused counts
    /// as refused.
    pub(super) fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        let mut done = Transmitted::default();
        let Some(queue) = self.queues.first_mut().filter(|_| self.lost.is_none()) else {
            done.gone = frames.len();
            return done;
        };
        let mut dropped = 0;
        let mut gone = None;
        for frame in frames {
            let (refusal, flushed) = give(queue, frame, &mut self.spare);
            dropped += flushed.dropped;
            gone = gone.or(flushed.gone);
            match refusal {
                Ok(()) => done.sent += 1,
                Err(Refusal::Full) => done.full += 1,
                Err(Refusal::Rejected) => done.rejected += 1,
                Err(Refusal::Gone) => done.gone += 1,
            }
        }
        let flushed = queue.flush();
        dropped += flushed.dropped;
        self.lost = gone.or(flushed.gone).map(failed("send through the XDP socket"));
        if self.lost.is_some() {
            done.gone += std::mem::take(&mut done.sent);
        }
        let refused = dropped.min(done.sent);
        done.sent -= refused;
        done.full += refused;
        done
    }
}

/// Gives a queue a frame, in pieces if it is a super-packet. A queue that is full is flushed once.
fn give(
    queue: &mut QueueSocket,
    frame: &Frame,
    spare: &mut Frame,
) -> (Result<(), Refusal>, queue::Flushed) {
    let mut flushed = queue::Flushed::default();
    let mut push = |bytes: &[u8], patch| match queue.push(bytes, patch) {
        Err(Refusal::Full) => {
            let now = queue.flush();
            flushed.dropped += now.dropped;
            flushed.gone = flushed.gone.or(now.gone);
            queue.push(bytes, patch)
        }
        other => other,
    };
    let result = if frame.offload.segmentation.is_none() {
        push(frame.bytes(), offload::finish(frame))
    } else if let Some(cut) = Cut::of(frame) {
        (0..cut.count()).try_for_each(|number| {
            cut.write(number, spare);
            push(spare.bytes(), None)
        })
    } else {
        Err(Refusal::Rejected)
    };
    (result, flushed)
}
