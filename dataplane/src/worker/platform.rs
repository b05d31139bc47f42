//! The operating system as a worker sees it: devices to open, a clock to read, a way to wait.

use alloc::boxed::Box;
use core::time::Duration;

use crate::device::{Device, DeviceError};
use crate::fast_path::FastPath;
use crate::snapshot::DevicePlan;
use crate::types::{Area, Instant, WorkerId};

/// Which queue of a device a worker takes: its own among those of all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The worker.
    pub worker: WorkerId,
    /// How many workers share the device.
    pub workers: u8,
}

/// What a worker needs from the operating system. Implemented by `io` for Linux and by tests in
/// memory.
pub trait Platform {
    /// The devices that it opens.
    type Device: Device;

    /// Opens a worker's queue of a device.
    ///
    /// # Errors
    /// There is no such device, it is down, or it may not be opened. The worker tries again later.
    fn open(&mut self, plan: &DevicePlan, queue: Queue) -> Result<Self::Device, DeviceError>;

    /// The worker's handle of the system's fast path, if there is one to be used. Asked once.
    fn fast_path(&mut self) -> Option<Box<dyn FastPath>> {
        None
    }

    /// The time. Never goes back.
    fn now(&mut self) -> Instant;

    /// Blocks until a device has a frame or an error, somebody woke this worker, or `timeout` has
    /// passed.
    fn wait(&mut self, devices: &mut dyn Iterator<Item = &Self::Device>, timeout: Duration);

    /// Takes note of memory that packets will read at random places, before it is used: worth
    /// larger pages where the system has them. Advice that may be ignored.
    fn favor(&mut self, area: Area) {
        let _ = area;
    }

    /// Ends the wait of another worker, or the next one if it does not wait.
    fn wake(&mut self, worker: WorkerId);
}
