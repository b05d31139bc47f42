//! adit's devices: rings of bounded length whose other ends the world holds, and a journal of what
//! workers took from them and gave to them, in order.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use dataplane::device::{Batch, Device, DeviceError, Frame, Link, Transmitted};
use dataplane::snapshot::DevicePlan;
use dataplane::types::{Instant, WorkerId};
use dataplane::worker::{Platform, Queue};

use crate::encode::Image;

/// `ENETDOWN` and `ENODEV` of Linux.
const NETWORK_DOWN: i32 = 100;
const NO_SUCH_DEVICE: i32 = 19;

/// Sizes of a device's rings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rings {
    /// Frames that wait for a worker at most.
    pub(super) receive: usize,
    /// Frames that wait for the cable at most.
    pub(super) transmit: usize,
    /// Frames that a worker is given at once.
    pub(super) burst: usize,
}

/// What became of a frame that a worker wanted sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Taken,
    Full,
    Rejected,
    Gone,
}

/// What a worker did with a device.
pub(super) enum Deed {
    /// Took a frame.
    Received(Image),
    /// Wanted one sent.
    Sent(Image, Fate),
}

/// A worker's queue of a device.
struct Port {
    link: Link,
    rings: Rings,
    arriving: VecDeque<Image>,
    leaving: VecDeque<Image>,
    missed: u64,
    /// Whether a worker has it open: what comes while none does is nobody's.
    open: bool,
}

/// All devices of the machine that adit runs on. Networks are named by their numbers.
#[derive(Default)]
pub(super) struct Machine {
    ports: BTreeMap<(usize, u8), Port>,
    down: BTreeMap<usize, bool>,
    /// Devices that reject one frame in so many, and how many came.
    picky: BTreeMap<usize, (u64, u64)>,
    woken: Vec<u8>,
    journal: Vec<(usize, Deed)>,
    /// Frames that no worker took in time.
    pub(super) missed: u64,
    /// Frames for which a transmit ring had no room.
    pub(super) refused: u64,
}

impl Machine {
    pub(super) fn plug(&mut self, network: usize, worker: u8, link: Link, rings: Rings) {
        let (arriving, leaving) = (VecDeque::new(), VecDeque::new());
        let port = Port { link, rings, arriving, leaving, missed: 0, open: false };
        self.ports.insert((network, worker), port);
    }

    /// A frame arrives; `false` if the ring is full or nobody has the device open.
    pub(super) fn arrive(&mut self, network: usize, worker: u8, image: Image) -> bool {
        let is_down = self.is_down(network);
        let port = self.ports.get_mut(&(network, worker));
        let Some(port) = port.filter(|port| port.open && !is_down) else { return false };
        if port.arriving.len() >= port.rings.receive {
            port.missed += 1;
            self.missed += 1;
            return false;
        }
        port.arriving.push_back(image);
        true
    }

    /// The frame that arrived last and waits for a worker, to be made longer.
    pub(super) fn last_arrival(&mut self, network: usize, worker: u8) -> Option<&mut Image> {
        self.ports.get_mut(&(network, worker))?.arriving.back_mut()
    }

    /// Takes up to `count` frames that leave.
    pub(super) fn take(&mut self, network: usize, worker: u8, count: usize) -> Vec<Image> {
        let Some(port) = self.ports.get_mut(&(network, worker)) else { return Vec::new() };
        let count = count.min(port.leaving.len());
        port.leaving.drain(..count).collect()
    }

    /// Whether frames wait for a worker.
    pub(super) fn has_arrivals(&self, worker: u8) -> bool {
        let mut mine = self.ports.iter().filter(|((_, owner), _)| *owner == worker);
        mine.any(|(_, port)| !port.arriving.is_empty())
    }

    /// Sets a device down or up; all that waits in it is lost.
    pub(super) fn set_down(&mut self, network: usize, down: bool) {
        self.down.insert(network, down);
        for ((_, _), port) in self.ports.iter_mut().filter(|((at, _), _)| *at == network) {
            port.arriving.clear();
            port.leaving.clear();
        }
    }

    pub(super) fn is_down(&self, network: usize) -> bool {
        self.down.get(&network) == Some(&true)
    }

    /// Lets a device reject one frame in so many, or none any more.
    pub(super) fn set_picky(&mut self, network: usize, one_in: Option<u64>) {
        self.picky.remove(&network);
        self.picky.extend(one_in.map(|one_in| (network, (one_in, 0))));
    }

    fn rejects(&mut self, network: usize) -> bool {
        let Some((one_in, count)) = self.picky.get_mut(&network) else { return false };
        *count += 1;
        count.is_multiple_of(*one_in)
    }

    pub(super) fn take_journal(&mut self) -> Vec<(usize, Deed)> {
        std::mem::take(&mut self.journal)
    }

    pub(super) fn take_woken(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.woken)
    }
}

/// The machine as workers see it.
#[derive(Clone, Default)]
pub(super) struct Bench(pub(super) Rc<RefCell<Machine>>);

/// A worker's queue of a device, opened.
pub(super) struct Nic {
    machine: Rc<RefCell<Machine>>,
    network: usize,
    worker: u8,
    link: Link,
}

impl Platform for Bench {
    type Device = Nic;

    fn open(&mut self, plan: &DevicePlan, queue: Queue) -> Result<Nic, DeviceError> {
        let missing = DeviceError { operation: "open", errno: NO_SUCH_DEVICE };
        let network = plan.name.strip_prefix("net").and_then(|number| number.parse().ok());
        let (network, worker): (usize, u8) = (network.ok_or(missing)?, queue.worker.0);
        let mut machine = self.0.borrow_mut();
        let is_down = machine.is_down(network);
        let port = machine.ports.get_mut(&(network, worker)).filter(|_| !is_down);
        let port = port.ok_or(missing)?;
        port.open = true;
        Ok(Nic { machine: Rc::clone(&self.0), network, worker, link: port.link })
    }

    fn now(&mut self) -> Instant {
        Instant::ZERO
    }

    fn wait(&mut self, _: &mut dyn Iterator<Item = &Nic>, _: Duration) {}

    fn wake(&mut self, worker: WorkerId) {
        self.0.borrow_mut().woken.push(worker.0);
    }
}

impl Drop for Nic {
    fn drop(&mut self) {
        let mut machine = self.machine.borrow_mut();
        if let Some(port) = machine.ports.get_mut(&(self.network, self.worker)) {
            port.open = false;
            port.arriving.clear();
        }
    }
}

impl Device for Nic {
    fn link(&self) -> Link {
        self.link
    }

    fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        batch.clear();
        let mut machine = self.machine.borrow_mut();
        if machine.is_down(self.network) {
            return Err(DeviceError { operation: "receive", errno: NETWORK_DOWN });
        }
        let Machine { ports, journal, .. } = &mut *machine;
        let Some(port) = ports.get_mut(&(self.network, self.worker)) else { return Ok(()) };
        let count = port.rings.burst.min(port.arriving.len());
        for image in port.arriving.drain(..count) {
            let frame = batch.append().expect("bursts fit a batch");
            frame.fill(&image.bytes);
            frame.offload = image.offload;
            journal.push((self.network, Deed::Received(image)));
        }
        Ok(())
    }

    fn missed(&mut self) -> u64 {
        let mut machine = self.machine.borrow_mut();
        let port = machine.ports.get_mut(&(self.network, self.worker));
        port.map_or(0, |port| std::mem::take(&mut port.missed))
    }

    fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        let mut machine = self.machine.borrow_mut();
        let is_down = machine.is_down(self.network);
        let mut transmitted = Transmitted::default();
        for frame in frames {
            let (bytes, offload) = (frame.bytes().to_vec(), frame.offload);
            let image = Image { bytes, offload, fault: None };
            let is_rejected = machine.rejects(self.network);
            let key = (self.network, self.worker);
            let port = machine.ports.get_mut(&key).filter(|_| !is_down);
            let fate = match port {
                None => Fate::Gone,
                Some(_) if is_rejected => Fate::Rejected,
                Some(port) if port.leaving.len() >= port.rings.transmit => Fate::Full,
                Some(port) => {
                    port.leaving.push_back(image.clone());
                    Fate::Taken
                }
            };
            match fate {
                Fate::Taken => transmitted.sent += 1,
                Fate::Full => transmitted.full += 1,
                Fate::Rejected => transmitted.rejected += 1,
                Fate::Gone => transmitted.gone += 1,
            }
            machine.refused += u64::from(fate == Fate::Full);
            machine.journal.push((self.network, Deed::Sent(image, fate)));
        }
        transmitted
    }
}
