//! What a frame, a batch and a device are. Knows no operating system and looks into no byte.
//!
//! A device hands over frames in batches, each with what the kernel said about it beside its bytes
//! (an unfinished checksum, segmentation still to be done), and takes frames the same way, so that
//! 64 KiB super-packets and partial checksums pass through adit untouched. Frames own their memory:
//! a device copies into and out of them, and none of its own memory outlives a call.
//!
//! [`mem`] has the device for tests and benches; the real ones are in `io`.

pub mod mem;

use alloc::boxed::Box;
use core::fmt;
use core::net::IpAddr;

use crate::fast_path::InterfaceNumber;
use crate::limits::{BATCH_FRAMES_MAX, FRAME_BYTES_MAX};
use crate::prefetch::Part;
use crate::types::{Area, DeviceIndex, MacAddress};

/// What the kernel left to be done on a frame before it goes on a real wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Offload {
    /// State of the transport checksum.
    pub checksum: Checksum,
    /// `Some` for a super-packet that stands for several segments.
    pub segmentation: Option<Segmentation>,
}

/// State of a frame's transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Checksum {
    /// The field says what the sender computed.
    #[default]
    Complete,
    /// The field holds the folded sum of the pseudo-header, not inverted; whoever completes it adds
    /// everything from `start` and writes the result at `start + offset`.
    Partial {
        /// Byte in the frame where the transport header begins.
        start: u16,
        /// Byte of the checksum field, counted from `start`.
        offset: u16,
    },
}

/// How a super-packet is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Protocol that the segments will have.
    pub kind: SegmentationKind,
    /// Payload bytes of each segment but the last; never 0.
    pub segment_bytes: u16,
    /// Bytes of all headers, as the sender's kernel says; a hint.
    pub header_bytes: u16,
    /// Congestion window reduced shall be set on the first segment only.
    pub ecn: bool,
}

/// The protocols whose super-packets exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP over IPv4.
    TcpIpv4,
    /// TCP over IPv6.
    TcpIpv6,
    /// UDP datagrams of equal size (USO).
    Udp,
}

/// What a device found wrong with a frame. The engine drops it under the reason of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// The virtio header contradicts the frame.
    OffloadInvalid,
    /// Longer than [`FRAME_BYTES_MAX`].
    Truncated,
    /// The kernel took a VLAN tag off.
    VlanTagged,
}

/// One Ethernet frame without its check sequence, and what the kernel said about it.
pub struct Frame {
    /// Begins at a cache line, so that all headers are in one.
    buffer: Part<[u8; FRAME_BYTES_MAX]>,
    length: usize,
    /// Work left to whoever puts the frame on a wire.
    pub offload: Offload,
    /// `Some` if the frame must not be believed.
    pub fault: Option<FrameFault>,
    /// The device that it came from. Set by the worker; devices do not know their own number.
    pub ingress: DeviceIndex,
}

impl Frame {
    /// An empty frame with room for [`FRAME_BYTES_MAX`] bytes. Memory is touched only as it is
    /// used.
    #[must_use]
    pub fn new() -> Frame {
        let mut buffers = Part::zeros(1);
        buffers.pop().map_or_else(|| unreachable!("one was asked for"), Frame::of)
    }

    fn of(buffer: Part<[u8; FRAME_BYTES_MAX]>) -> Frame {
        Frame {
            buffer,
            length: 0,
            offload: Offload::default(),
            fault: None,
            ingress: DeviceIndex(0),
        }
    }

    /// The frame from its Ethernet header to its last byte, padding included.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// As [`Frame::bytes`], writable.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.length]
    }

    /// The whole buffer, for a device to write into before [`Frame::set_length`].
    #[inline]
    #[must_use]
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        &mut *self.buffer
    }

    /// The first bytes of the buffer: those of the frame, and what is stale behind its end.
    #[inline(always)]
    #[must_use]
    pub fn head<const BYTES: usize>(&self) -> &[u8; BYTES] {
        const { assert!(BYTES <= FRAME_BYTES_MAX) };
        match self.buffer.first_chunk() {
            Some(head) => head,
            None => &[0; BYTES],
        }
    }

    /// As [`Frame::head`], writable; nothing behind the frame's end is ever sent.
    #[inline(always)]
    #[must_use]
    pub fn head_mut<const BYTES: usize>(&mut self) -> &mut [u8; BYTES] {
        const { assert!(BYTES <= FRAME_BYTES_MAX) };
        match self.buffer.first_chunk_mut() {
            Some(head) => head,
            None => unreachable!("the buffer is longer, as is checked above"),
        }
    }

    /// Number of bytes of the frame.
    #[inline(always)]
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Declares the first `length` bytes of the buffer to be the frame; more than fit are cut.
    #[inline]
    pub fn set_length(&mut self, length: usize) {
        self.length = length.min(self.buffer.len());
    }

    /// Becomes a complete frame of these bytes; what does not fit is cut and marked as a fault.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.set_length(bytes.len());
        let length = self.length;
        self.buffer[..length].copy_from_slice(&bytes[..length]);
        self.offload = Offload::default();
        self.fault = (length < bytes.len()).then_some(FrameFault::Truncated);
    }

    /// Becomes a copy of another frame.
    pub fn copy_from(&mut self, other: &Frame) {
        self.fill(other.bytes());
        self.offload = other.offload;
        self.fault = other.fault;
        self.ingress = other.ingress;
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

/// Up to [`BATCH_FRAMES_MAX`] frames that are handled together.
pub struct Batch {
    frames: Box<[Frame]>,
    length: usize,
}

impl Batch {
    /// An empty batch with room for [`BATCH_FRAMES_MAX`] frames.
    #[must_use]
    pub fn new() -> Batch {
        let buffers = Part::zeros(BATCH_FRAMES_MAX);
        Batch { frames: buffers.into_iter().map(Frame::of).collect(), length: 0 }
    }

    /// Where the frames' bytes lie, in one piece.
    #[must_use]
    pub fn area(&self) -> Area {
        let first: &[u8] = self.frames.first().map_or(&[], |frame| &*frame.buffer);
        Area::of(first.as_ptr(), self.frames.len() * FRAME_BYTES_MAX)
    }

    /// The frames in the order of their arrival.
    #[inline]
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames[..self.length]
    }

    /// As [`Batch::frames`], writable.
    #[inline]
    #[must_use]
    pub fn frames_mut(&mut self) -> &mut [Frame] {
        &mut self.frames[..self.length]
    }

    /// All frames that there is room for, for a device to receive into before
    /// [`Batch::set_length`].
    #[inline]
    #[must_use]
    pub fn room_mut(&mut self) -> &mut [Frame] {
        &mut self.frames
    }

    /// Declares the first `length` frames to be the batch; more than fit are ignored.
    #[inline]
    pub fn set_length(&mut self, length: usize) {
        self.length = length.min(self.frames.len());
    }

    /// Forgets all frames.
    #[inline]
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Number of frames.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no frame.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The next frame behind the last, now part of the batch; `None` if the batch is full.
    /// Its content is what an earlier batch left there.
    pub fn append(&mut self) -> Option<&mut Frame> {
        let frame = self.frames.get_mut(self.length)?;
        self.length += 1;
        Some(frame)
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// What the data path must know of an open device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The station that adit is on this device.
    pub mac: MacAddress,
    /// Largest IP packet in bytes that may be sent unsegmented.
    pub mtu: u32,
}

/// How many of the frames handed to [`Device::transmit`] took which way. They add up to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Transmitted {
    /// Accepted by the kernel.
    pub sent: usize,
    /// Refused because a queue was full.
    pub full: usize,
    /// Refused for what they are: too long, or an offload that the device does not take.
    pub rejected: usize,
    /// Not sent because the device is down or gone.
    pub gone: usize,
}

/// An error at the edge: which operation failed and the system's error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceError {
    /// What was attempted, as a verb phrase: `bind the socket`.
    pub operation: &'static str,
    /// The error number (`errno`).
    pub errno: i32,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} (error {})", self.operation, self.errno)
    }
}

/// An interface that is read and written in batches. Neither call blocks.
pub trait Device {
    /// Address and MTU of the open device, as they were when it was last looked at.
    fn link(&self) -> Link;

    /// Looks at the device again: its owner may have given it another address or MTU, or its name
    /// to another device.
    ///
    /// # Errors
    /// The device is no longer the one that was opened and must be opened anew.
    fn refresh(&mut self) -> Result<Link, DeviceError> {
        Ok(self.link())
    }

    /// Replaces the batch by what has arrived, up to [`BATCH_FRAMES_MAX`] frames; none is not an
    /// error.
    ///
    /// # Errors
    /// The device is down or gone and must be opened anew.
    fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError>;

    /// Frames that the system dropped since the last call because nobody received them in time.
    /// They never reached a batch; a device that cannot tell says none.
    fn missed(&mut self) -> u64 {
        0
    }

    /// Hears which addresses answers come to, so that the system can give each worker what belongs
    /// to it. Advice: what arrives at another worker is handed over.
    fn steer(&mut self, nat_ips: &[IpAddr]) {
        let _ = nat_ips;
    }

    /// The interface that shortcuts of the platform's fast path may begin and end at, if the device
    /// takes part in it.
    fn interface(&self) -> Option<InterfaceNumber> {
        None
    }

    /// Sends these frames in this order, at most [`BATCH_FRAMES_MAX`], and says what became of
    /// them.
    fn transmit(&mut self, frames: &[&Frame]) -> Transmitted;
}
