//! A TAP device: the kernel's interface is one end of a wire, and adit is the station at the other.
//!
//! It is created if it does not exist, and then vanishes with adit; a persistent one is joined.
//! Each worker has a queue of it. Super-packets and partial checksums pass as on a packet socket.
//! One system call moves one frame: the driver has no batches.
//!
//! A device that its owner sets down stays attached and is silent: nothing arrives, what is sent is
//! counted as gone, and both end when it is set up again. Were it closed instead, a device that
//! adit created would vanish under its owner, with all addresses and routes on it. A device that is
//! deleted is an error.
//!
//! Bounds: the kernel keeps as many frames for each queue as the interface's transmit queue length
//! says and drops what does not fit.

mod setup;
mod station;
// The driver is spoken to by ioctl, readv and writev.
#[allow(unsafe_code)]
mod sys;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::vnet_header::{self, VNET_HEADER_BYTES};
use super::{Refusal, failed};
use crate::device::{Batch, DeviceError, Frame, FrameFault, Link, Transmitted};

/// One worker's queue of a TAP device.
pub(super) struct Tap {
    link: Link,
    tap: OwnedFd,
    control: OwnedFd,
    lost: Option<DeviceError>,
}

impl Tap {
    /// Creates or joins a device of the calling thread's namespace, whose path is `namespace`.
    ///
    /// # Errors
    /// It is no TAP device, is in use, is down, or has one queue for several workers; or the right
    /// is missing.
    pub(super) fn open(
        name: &str,
        namespace: Option<&str>,
        workers: u8,
    ) -> Result<Tap, DeviceError> {
        let setup::Opened { tap, control, link } = setup::open(name, namespace, workers)?;
        Ok(Tap { link, tap, control, lost: None })
    }

    /// Creates an inbox of the fast path: a device that only the kernel's program writes to.
    ///
    /// # Errors
    /// As [`Tap::open`].
    pub(super) fn open_inbox(name: &str, workers: u8) -> Result<Tap, DeviceError> {
        let setup::Opened { tap, control, link } = setup::open_inbox(name, workers)?;
        Ok(Tap { link, tap, control, lost: None })
    }

    /// The kernel's number of it.
    ///
    /// # Errors
    /// It was deleted meanwhile.
    pub(super) fn interface(&self) -> Result<u32, DeviceError> {
        setup::number(self.tap.as_fd(), self.control.as_fd())
    }

    /// See [`crate::device::Device::link`].
    pub(super) fn link(&self) -> Link {
        self.link
    }

    /// See [`crate::device::Device::refresh`]. What is attached stays attached whatever its owner
    /// calls it, and adit's own address is nobody's to change: only the MTU can be another.
    pub(super) fn refresh(&mut self) -> Link {
        if let Some(mtu) = setup::mtu(self.tap.as_fd(), self.control.as_fd()) {
            self.link.mtu = mtu;
        }
        self.link
    }

    /// The error that the next [`Tap::receive`] will report.
    pub(super) fn lost(&self) -> Option<DeviceError> {
        self.lost
    }

    /// What to wait for.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.tap.as_fd()
    }

    /// See [`crate::device::Device::receive`].
    pub(super) fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        batch.clear();
        if let Some(error) = self.lost {
            return Err(error);
        }
        let mut header = [0; VNET_HEADER_BYTES];
        let mut received = 0;
        for frame in batch.room_mut() {
            match sys::read(self.tap.as_fd(), &mut header, frame.buffer_mut()) {
                Ok(bytes) => describe(frame, &header, bytes),
                Err(libc::EAGAIN | libc::EINTR) => break,
                // The driver has dropped a frame that it had no header for.
                Err(libc::EINVAL) => {
                    frame.set_length(0);
                    frame.fault = Some(FrameFault::OffloadInvalid);
                }
                // What was read before it is still good; the error is reported by the next call.
                Err(errno) => {
                    self.lost = Some(failed("read from the TAP device")(errno));
                    break;
                }
            }
            received += 1;
        }
        batch.set_length(received);
        match self.lost {
            Some(error) if received == 0 => Err(error),
            _ => Ok(()),
        }
    }

    /// See [`crate::device::Device::transmit`].
    pub(super) fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        let mut done = Transmitted::default();
        for (at, frame) in frames.iter().enumerate() {
            let header = vnet_header::emit(&frame.offload);
            let Err(errno) = sys::write(self.tap.as_fd(), &header, frame.bytes()) else {
                done.sent += 1;
                continue;
            };
            match Refusal::of(errno) {
                Refusal::Full => done.full += 1,
                Refusal::Rejected => done.rejected += 1,
                // Down or deleted: if deleted, receiving will say so.
                Refusal::Gone => {
                    done.gone += frames.len() - at;
                    break;
                }
            }
        }
        done
    }
}

/// Makes of a frame whose bytes have arrived, with its header `bytes` of them, what the kernel said
/// about it. A frame with a VLAN tag keeps it among its bytes.
fn describe(frame: &mut Frame, header: &[u8; VNET_HEADER_BYTES], bytes: usize) {
    let frame_bytes = bytes.saturating_sub(VNET_HEADER_BYTES);
    // The driver cuts without saying so; no frame that fits fills the buffer to its last byte.
    let truncated = frame_bytes >= frame.buffer_mut().len();
    frame.set_length(frame_bytes);
    let offload = vnet_header::parse(header, frame_bytes);
    frame.offload = offload.unwrap_or_default();
    frame.fault = if truncated { Some(FrameFault::Truncated) } else { offload.err() };
}
