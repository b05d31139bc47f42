//! One AF_XDP socket: a queue of an interface, its four rings and its frame memory.
//!
//! The memory is divided once: some chunks are for arriving frames and travel between the kernel
//! and the receive ring; the others are for departing ones and are free unless the kernel has them.
//! A frame larger than a chunk comes and goes in pieces.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::super::sys::{self as system, Errno};
use super::super::{Fail, Refusal};
use super::ring::{Consumer, Descriptor, Producer};
use super::sys::{bind, kick, option};
use super::umem::Umem;
use crate::device::{DeviceError, Frame, FrameFault, Offload};
use crate::offload;

/// Chunks for arriving frames: those of two milliseconds at a million a second.
const RECEIVE_CHUNKS: u32 = 2048;

/// Chunks for departing frames. The kernel has copied a frame when the call that sends it returns,
/// so a few batches suffice.
const SEND_CHUNKS: u32 = 512;

/// Pieces that the kernel makes one packet of at most.
const PIECES_MAX: usize = 18;

/// Frames that one call may send; without asking for more, it is 32.
const SEND_BUDGET: i32 = 256;

/// Bytes that may be on their way, as the kernel counts them.
const SEND_BUFFER_BYTES: i32 = 16 << 20;

/// Bytes that the kernel keeps free before an arriving frame, and what an Ethernet header and a
/// VLAN tag take.
const HEADROOM: usize = 256 + 18;

/// The size of chunks that hold a frame of this MTU, or large pieces of it.
pub(super) fn chunk_bytes(mtu: u32) -> usize {
    if mtu as usize + HEADROOM <= 2048 { 2048 } else { 4096 }
}

/// See the module's documentation.
pub(super) struct QueueSocket {
    // Closed before its memory is unmapped: fields are dropped in this order.
    socket: OwnedFd,
    umem: Umem,
    fill: Producer<u64>,
    arrived: Consumer<Descriptor>,
    departing: Producer<Descriptor>,
    departed: Consumer<u64>,
    /// Chunks that no frame is in.
    free: Vec<u64>,
    /// What was missed when last asked.
    missed: u64,
}

/// What became of what a queue was given to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flushed {
    /// Frames that the kernel threw away, because the other end's ring was full.
    pub(super) dropped: usize,
    /// The error with which the device is gone.
    pub(super) gone: Option<Errno>,
}

impl QueueSocket {
    /// Binds a new socket to a queue. Frames arrive once it is in the map of the device's program.
    pub(super) fn open(
        interface: i32,
        queue: u32,
        chunk_bytes: usize,
    ) -> Result<QueueSocket, DeviceError> {
        let socket = system::socket(libc::AF_XDP, libc::SOCK_RAW, 0).fail("open an XDP socket")?;
        let chunks = RECEIVE_CHUNKS as usize + SEND_CHUNKS as usize;
        let umem = Umem::new(chunks, chunk_bytes).fail("allocate frame memory")?;
        umem.register(socket.as_fd()).fail("share frame memory with the kernel")?;
        size_rings(socket.as_fd()).fail("make the rings of an XDP socket")?;
        let (fill, arrived, departing, departed) =
            map_rings(socket.as_fd()).fail("map the rings of an XDP socket")?;
        // Advice: what it cannot have, it does without.
        let set = |level, name, value| system::set_option(socket.as_fd(), level, name, value);
        let _ = set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
            .or_else(|_| set(libc::SOL_SOCKET, libc::SO_SNDBUF, SEND_BUFFER_BYTES));
        let _ = set(libc::SOL_XDP, MAX_TX_SKB_BUDGET, SEND_BUDGET);
        let address = |chunk: u32| u64::from(chunk) * chunk_bytes as u64;
        let free = (RECEIVE_CHUNKS..RECEIVE_CHUNKS + SEND_CHUNKS).map(address).collect();
        let mut queue_socket =
            QueueSocket { socket, umem, fill, arrived, departing, departed, free, missed: 0 };
        (0..RECEIVE_CHUNKS).map(address).for_each(|chunk| queue_socket.fill.push(chunk));
        queue_socket.fill.publish();
        bind(queue_socket.descriptor(), interface, queue).fail("bind the XDP socket")?;
        Ok(queue_socket)
    }

    /// What to wait for.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn chunk_bytes(&self) -> usize {
        self.umem.chunk_bytes()
    }

    /// Receives into these frames, and says into how many.
    pub(super) fn receive(&mut self, frames: &mut [Frame]) -> usize {
        let mut received = 0;
        for frame in frames {
            let Some(first) = self.arrived.take() else { break };
            self.take_frame(first, frame);
            received += 1;
        }
        if received > 0 {
            self.arrived.release();
            self.fill.publish();
        }
        received
    }

    /// Takes the pieces of a frame from the first on.
    fn take_frame(&mut self, first: Descriptor, frame: &mut Frame) {
        let (mut next, mut length, mut truncated) = (Some(first), 0, false);
        while let Some(piece) = next {
            let room = &mut frame.buffer_mut()[length..];
            let copied = self.umem.read(piece.address, piece.bytes, room);
            truncated |= copied < piece.bytes as usize;
            length += copied;
            // As many chunks circulate as the ring has room for.
            self.fill.push(self.umem.chunk_of(piece.address));
            if piece.options & libc::XDP_PKT_CONTD == 0 {
                break;
            }
            next = self.arrived.take();
            truncated |= next.is_none();
        }
        frame.set_length(length);
        let checksum = offload::unfinished(frame.bytes());
        frame.offload = Offload { checksum, segmentation: None };
        frame.fault = truncated.then_some(FrameFault::Truncated);
    }

    /// Gives the kernel a frame to send with the next [`QueueSocket::flush`], with these bytes in
    /// place of others.
    ///
    /// # Errors
    /// It is too long, or there is no chunk for it.
    pub(super) fn push(
        &mut self,
        frame: &[u8],
        patch: Option<(usize, [u8; 2])>,
    ) -> Result<(), Refusal> {
        let chunk_bytes = self.umem.chunk_bytes();
        let pieces = frame.len().div_ceil(chunk_bytes);
        if pieces == 0 || pieces > PIECES_MAX {
            return Err(Refusal::Rejected);
        }
        if self.free.len() < pieces {
            self.reclaim();
        }
        if self.free.len() < pieces {
            return Err(Refusal::Full);
        }
        for (at, piece) in frame.chunks(chunk_bytes).enumerate() {
            let Some(address) = self.free.pop() else { break };
            self.umem.write(address, piece);
            if let Some((field, bytes)) = patch.filter(|_| at == 0) {
                // Headers are shorter than a chunk.
                self.umem.write(address + field as u64, &bytes);
            }
            let options = if at + 1 < pieces { libc::XDP_PKT_CONTD } else { 0 };
            // Not longer than a chunk.
            let bytes = u32::try_from(piece.len()).unwrap_or(0);
            self.departing.push(Descriptor { address, bytes, options });
        }
        Ok(())
    }

    /// Makes the kernel send what it was given. What it cannot take now stays in the ring and is
    /// tried again with the next call.
    pub(super) fn flush(&mut self) -> Flushed {
        let mut done = Flushed::default();
        self.departing.publish();
        let mut pending = self.departing.pending();
        // Each round makes the ring shorter, or is the last.
        while pending > 0 {
            match kick(self.descriptor()) {
                // The kernel has thrown away the frame at which it stopped.
                Err(libc::EBUSY) => done.dropped += 1,
                Err(errno) if Refusal::of(errno) == Refusal::Gone => {
                    done.gone = Some(errno);
                    break;
                }
                Ok(()) | Err(_) => {}
            }
            let left = self.departing.pending();
            if left >= pending {
                break;
            }
            pending = left;
        }
        self.reclaim();
        done
    }

    /// Whether the kernel still has something to send.
    pub(super) fn is_sending(&mut self) -> bool {
        self.departing.pending() > 0
    }

    /// Takes back the chunks of frames that are sent.
    fn reclaim(&mut self) {
        while self.free.len() < SEND_CHUNKS as usize {
            let Some(address) = self.departed.take() else { break };
            self.free.push(self.umem.chunk_of(address));
        }
        self.departed.release();
    }

    /// Frames since the last call that found no chunk, or no place in the receive ring.
    pub(super) fn missed(&mut self) -> u64 {
        let zero = libc::xdp_statistics {
            rx_dropped: 0,
            rx_invalid_descs: 0,
            tx_invalid_descs: 0,
            rx_ring_full: 0,
            rx_fill_ring_empty_descs: 0,
            tx_ring_empty_descs: 0,
        };
        let Ok(statistics) = option(self.descriptor(), libc::XDP_STATISTICS, zero) else {
            return 0;
        };
        let total = statistics.rx_dropped + statistics.rx_ring_full;
        let since = total.saturating_sub(self.missed);
        self.missed = total;
        since
    }
}

/// From linux/if_xdp.h, since Linux 6.17.
const MAX_TX_SKB_BUDGET: i32 = 9;

fn size_rings(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    for (ring, entries) in [
        (libc::XDP_UMEM_FILL_RING, RECEIVE_CHUNKS),
        (libc::XDP_UMEM_COMPLETION_RING, SEND_CHUNKS),
        (libc::XDP_RX_RING, RECEIVE_CHUNKS),
        (libc::XDP_TX_RING, SEND_CHUNKS),
    ] {
        system::set_option(socket, libc::SOL_XDP, ring, entries.cast_signed())?;
    }
    Ok(())
}

type Rings = (Producer<u64>, Consumer<Descriptor>, Producer<Descriptor>, Consumer<u64>);

fn map_rings(socket: BorrowedFd<'_>) -> Result<Rings, Errno> {
    const NONE: libc::xdp_ring_offset =
        libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
    let none = libc::xdp_mmap_offsets { rx: NONE, tx: NONE, fr: NONE, cr: NONE };
    let offsets = option(socket, libc::XDP_MMAP_OFFSETS, none)?;
    let page = |page: u64| libc::off_t::try_from(page).map_err(|_| libc::EINVAL);
    let fill = page(libc::XDP_UMEM_PGOFF_FILL_RING)?;
    let departed = page(libc::XDP_UMEM_PGOFF_COMPLETION_RING)?;
    let (arrived, departing) = (libc::XDP_PGOFF_RX_RING, libc::XDP_PGOFF_TX_RING);
    Ok((
        Producer::of(socket, fill, offsets.fr.into(), RECEIVE_CHUNKS)?,
        Consumer::of(socket, arrived, offsets.rx.into(), RECEIVE_CHUNKS)?,
        Producer::of(socket, departing, offsets.tx.into(), SEND_CHUNKS)?,
        Consumer::of(socket, departed, offsets.cr.into(), SEND_CHUNKS)?,
    ))
}
