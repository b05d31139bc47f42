//! Linux as a worker sees it: devices, a monotonic clock, and a way to sleep until something
//! happens.
//!
//! Every worker has one [`LinuxPlatform`]; all of a process are made together, because they wake
//! each other and share devices. The control thread wakes a worker through its [`Waker`].
//!
//! Instants count from boot and are the same for all workers. Waiting allocates only when there
//! are more devices than ever before.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::fast_path::KernelFastPath;
use super::{Common, Fail, LinuxDevice, sys};
use crate::device::DeviceError;
use crate::fast_path::FastPath;
use crate::snapshot::DevicePlan;
use crate::types::{Area, Instant, WorkerId};
use crate::worker::{Platform, Queue};

/// Ends the wait of one worker. Clones wake the same one.
#[derive(Clone)]
pub struct Waker {
    event: Arc<OwnedFd>,
}

impl Waker {
    fn new() -> Result<Waker, DeviceError> {
        let event = sys::event().fail("create an event counter")?;
        Ok(Waker { event: Arc::new(event) })
    }

    /// Ends the worker's wait, or the next one if it does not wait.
    pub fn wake(&self) {
        // It fails only when 2^64 - 2 calls were not answered: then the worker is awake already.
        let _ = sys::signal(self.event.as_fd());
    }
}

/// The operating system, for one worker. A clone is for a worker in place of it.
#[derive(Clone)]
pub struct LinuxPlatform {
    worker: WorkerId,
    wakers: Arc<[Waker]>,
    common: Common,
    fast_path: Option<KernelFastPath>,
    polled: Vec<libc::pollfd>,
}

impl LinuxPlatform {
    /// Platforms for workers 0 to `workers` - 1 of one process.
    ///
    /// # Errors
    /// File descriptors have run out.
    pub fn for_workers(workers: u8) -> Result<Vec<LinuxPlatform>, DeviceError> {
        let wakers: Result<Arc<[Waker]>, DeviceError> =
            (0..workers).map(|_| Waker::new()).collect();
        let (wakers, common) = (wakers?, Common::default());
        let platforms = (0..workers).map(|worker| LinuxPlatform {
            worker: WorkerId(worker),
            wakers: Arc::clone(&wakers),
            common: common.clone(),
            fast_path: None,
            polled: Vec::new(),
        });
        Ok(platforms.collect())
    }

    /// The same, with a fast path for the interfaces that can take part in it.
    #[must_use]
    pub fn with_fast_path(self, fast_path: &KernelFastPath) -> LinuxPlatform {
        LinuxPlatform { fast_path: Some(fast_path.clone()), ..self }
    }

    /// The wakers of all workers, in their order.
    #[must_use]
    pub fn wakers(&self) -> Arc<[Waker]> {
        Arc::clone(&self.wakers)
    }

    fn own_waker(&self) -> Option<&Waker> {
        self.wakers.get(self.worker.slot())
    }
}

/// The time on the clock that workers read.
#[must_use]
pub fn now() -> Instant {
    Instant::from_nanos(sys::monotonic_nanos())
}

impl Platform for LinuxPlatform {
    type Device = LinuxDevice;

    fn open(&mut self, plan: &DevicePlan, queue: Queue) -> Result<LinuxDevice, DeviceError> {
        LinuxDevice::open(plan, queue, &self.common, self.fast_path.as_ref())
    }

    fn fast_path(&mut self) -> Option<Box<dyn FastPath>> {
        self.fast_path.clone().map(|fast_path| Box::new(fast_path) as Box<dyn FastPath>)
    }

    fn now(&mut self) -> Instant {
        now()
    }

    fn wait(&mut self, devices: &mut dyn Iterator<Item = &LinuxDevice>, timeout: Duration) {
        let mut timeout = timeout;
        self.polled.clear();
        let own = self.own_waker().map_or(-1, |waker| waker.event.as_raw_fd());
        self.polled.push(readable(own));
        for device in devices {
            if device.has_error() {
                timeout = Duration::ZERO;
            }
            device.descriptors(|fd| self.polled.push(readable(fd.as_raw_fd())));
        }
        // An interrupted wait is a short one, and any other failure makes the worker look at once.
        let _ = sys::poll(&mut self.polled, timeout);
        let woken = self.polled.first().is_some_and(|own| own.revents != 0);
        if woken && let Some(waker) = self.own_waker() {
            sys::drain(waker.event.as_fd());
        }
    }

    fn favor(&mut self, area: Area) {
        favor(area);
    }

    fn wake(&mut self, worker: WorkerId) {
        if let Some(waker) = self.wakers.get(worker.slot()) {
            waker.wake();
        }
    }
}

/// Asks the kernel for huge pages under a table that is read at random places. A kernel that has
/// none to give goes on with small ones, and the table is slower.
pub fn favor(area: Area) {
    // Advice: an error means that there are no huge pages at all.
    let _ = sys::advise_huge_pages(area.start, area.bytes);
}

/// Asks for frames; errors are told unasked. A negative descriptor is passed over.
fn readable(fd: i32) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// The CPUs that the calling thread may run on, in ascending order; at least one.
#[must_use]
pub fn usable_cpus() -> Vec<usize> {
    let Ok(set) = sys::affinity() else {
        return vec![0];
    };
    (0..sys::CPUS_MAX).filter(|&cpu| sys::contains(&set, cpu)).collect()
}

/// Binds the calling thread to a CPU. A thread that is not bound works as well, only slower, so
/// that a caller may report the error and go on.
///
/// # Errors
/// There is no such CPU, or it is not among those that this process may use.
pub fn pin_to_cpu(cpu: usize) -> Result<(), DeviceError> {
    sys::set_affinity(cpu).fail("bind the thread to its CPU")
}
