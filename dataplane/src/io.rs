//! The operating system: real devices and the platform of a worker. The only place with system
//! calls.
//!
//! Three kinds of device, [`LinuxDevice`] over all: packet sockets and AF_XDP sockets on an
//! existing interface, and a TAP device. All say of each arriving frame what is wrong with it, and
//! of each sent frame what became of it; packet sockets and TAP devices move super-packets and
//! partial checksums untouched. Every error names the operation that failed.
//!
//! No policy, and no look at a frame past the virtio header that the kernel puts before it. Nothing
//! here blocks but [`LinuxPlatform`]'s wait; nothing allocates once a device is open. `unsafe`
//! stands only in files named `sys.rs`, `ring.rs` and `umem.rs`.

mod af_packet;
mod af_xdp;
mod fast_path;
mod interface;
mod namespace;
mod platform;
// The wrappers of system calls.
#[allow(unsafe_code)]
mod sys;
mod tap;
pub mod vnet_header;

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

pub use fast_path::{FastPathError, KernelFastPath, SHORTCUTS_MAX};
pub use platform::{LinuxPlatform, Waker, favor, now, pin_to_cpu, usable_cpus};

use self::af_packet::{AfPacket, FanoutGroups};
use self::af_xdp::{AfXdp, Programs};
use self::fast_path::Shortened;
use self::sys::Errno;
use self::tap::Tap;
use crate::device::{Batch, Device, DeviceError, Frame, Link, Transmitted};
use crate::fast_path::InterfaceNumber;
use crate::snapshot::{DeviceKind, DevicePlan};
use crate::worker::Queue;

/// One worker's queue of an interface.
pub struct LinuxDevice {
    kind: Kind,
}

enum Kind {
    AfPacket(AfPacket),
    AfXdp(AfXdp),
    Tap(Tap),
    Shortened(Shortened),
}

/// What the workers of a process share of their devices. Clones are the same.
#[derive(Clone, Default)]
struct Common {
    groups: FanoutGroups,
    programs: Programs,
}

impl LinuxDevice {
    /// See [`crate::worker::Platform::open`].
    fn open(
        plan: &DevicePlan,
        queue: Queue,
        common: &Common,
        fast_path: Option<&KernelFastPath>,
    ) -> Result<LinuxDevice, DeviceError> {
        let namespace = plan.namespace.as_deref();
        if let (Some(fast_path), None, DeviceKind::AfPacket) = (fast_path, namespace, plan.kind) {
            let device = Shortened::open(&plan.name, plan.scope, queue.workers, fast_path)?;
            if let Some(device) = device {
                return Ok(LinuxDevice { kind: Kind::Shortened(device) });
            }
        }
        let kind = namespace::inside(namespace, || match plan.kind {
            DeviceKind::AfPacket => {
                AfPacket::open(&plan.name, queue, &common.groups).map(Kind::AfPacket)
            }
            DeviceKind::AfXdp => {
                match AfXdp::open(&plan.name, queue, &common.programs)? {
                    Some(device) => Ok(Kind::AfXdp(device)),
                    // More workers than queues. What arrives is handed over to this worker.
                    None => AfPacket::open_for_sending(&plan.name).map(Kind::AfPacket),
                }
            }
            DeviceKind::Tap => Tap::open(&plan.name, namespace, queue.workers).map(Kind::Tap),
        })?;
        Ok(LinuxDevice { kind })
    }

    /// What to wait for.
    fn descriptors(&self, mut each: impl FnMut(BorrowedFd<'_>)) {
        match &self.kind {
            Kind::AfPacket(device) => each(device.descriptor()),
            Kind::AfXdp(device) => device.descriptors().for_each(each),
            Kind::Tap(device) => each(device.descriptor()),
            Kind::Shortened(device) => each(device.descriptor()),
        }
    }

    /// Whether the next [`Device::receive`] fails whatever its descriptor says.
    fn has_error(&self) -> bool {
        match &self.kind {
            Kind::AfPacket(device) => device.lost().is_some(),
            Kind::AfXdp(device) => device.lost().is_some(),
            Kind::Tap(device) => device.lost().is_some(),
            Kind::Shortened(device) => device.lost().is_some(),
        }
    }
}

impl Device for LinuxDevice {
    fn link(&self) -> Link {
        match &self.kind {
            Kind::AfPacket(device) => device.link(),
            Kind::AfXdp(device) => device.link(),
            Kind::Tap(device) => device.link(),
            Kind::Shortened(device) => device.link(),
        }
    }

    fn refresh(&mut self) -> Result<Link, DeviceError> {
        match &mut self.kind {
            Kind::AfPacket(device) => device.refresh(),
            Kind::AfXdp(device) => device.refresh(),
            Kind::Tap(device) => Ok(device.refresh()),
            Kind::Shortened(device) => device.refresh(),
        }
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        match &mut self.kind {
            Kind::AfPacket(device) => device.receive(batch),
            Kind::AfXdp(device) => device.receive(batch),
            Kind::Tap(device) => device.receive(batch),
            Kind::Shortened(device) => device.receive(batch),
        }
    }

    fn missed(&mut self) -> u64 {
        match &mut self.kind {
            Kind::AfPacket(device) => device.missed(),
            Kind::AfXdp(device) => device.missed(),
            // The driver counts what its queue did not take with the interface, for its owner.
            Kind::Tap(_) | Kind::Shortened(_) => 0,
        }
    }

    fn interface(&self) -> Option<InterfaceNumber> {
        match &self.kind {
            Kind::AfPacket(_) | Kind::AfXdp(_) | Kind::Tap(_) => None,
            Kind::Shortened(device) => Some(device.interface()),
        }
    }

    fn steer(&mut self, nat_ips: &[IpAddr]) {
        match &mut self.kind {
            Kind::AfPacket(device) => device.steer(nat_ips),
            // Frames come in on the queue that their sender's kernel chose.
            Kind::AfXdp(_) => {}
            // The driver learns by itself: what a worker sends to a flow leads the flow to it.
            Kind::Tap(_) => {}
            // Its inbox is written to by nobody; most of its frames do not come to workers at all.
            Kind::Shortened(_) => {}
        }
    }

    fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        match &mut self.kind {
            Kind::AfPacket(device) => device.transmit(frames),
            Kind::AfXdp(device) => device.transmit(frames),
            Kind::Tap(device) => device.transmit(frames),
            Kind::Shortened(device) => device.transmit(frames),
        }
    }
}

/// Why the kernel did not take a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// A queue is full, or memory is short.
    Full,
    /// For what the frame is. Also errors that nobody foresaw: the next frame may fare better.
    Rejected,
    /// The device is down or gone.
    Gone,
}

impl Refusal {
    fn of(errno: Errno) -> Refusal {
        match errno {
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR => Refusal::Full,
            // A TAP device that is down answers EIO, one that is deleted EBADFD.
            libc::ENETDOWN
            | libc::ENXIO
            | libc::ENODEV
            | libc::EIO
            | libc::EBADFD
            | libc::EBADF => Refusal::Gone,
            _ => Refusal::Rejected,
        }
    }
}

/// Gives an error number the operation that it belongs to.
fn failed(operation: &'static str) -> impl Fn(Errno) -> DeviceError {
    move |errno| DeviceError { operation, errno }
}

/// Names the operation where an error number turns into a [`DeviceError`].
trait Fail<T> {
    fn fail(self, operation: &'static str) -> Result<T, DeviceError>;
}

impl<T> Fail<T> for Result<T, Errno> {
    fn fail(self, operation: &'static str) -> Result<T, DeviceError> {
        self.map_err(failed(operation))
    }
}
