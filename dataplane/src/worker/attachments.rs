//! The devices of one worker: opened as the configuration names them, closed as it forgets them,
//! tried again every so often while they are down or missing.

use core::time::Duration;

use super::platform::{Platform, Queue};
use crate::device::{Batch, Device, DeviceError, Frame, Link, Transmitted};
use crate::fast_path::InterfaceNumber;
use crate::limits::DEVICES_MAX;
use crate::snapshot::{DevicePlan, Snapshot};
use crate::stats::{DeviceState, StatsPage};
use crate::types::{DeviceIndex, Instant};

use alloc::vec::Vec;

/// Time between two attempts to open a device.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Devices that are tried in one turn.
const ATTEMPTS_MAX: usize = 8;

/// Time between two looks at an open device: what it missed, and whether its address and MTU are
/// still the same. Each is a handful of system calls.
const AUDIT_INTERVAL: Duration = Duration::from_millis(500);

struct Attachment<D> {
    plan: DevicePlan,
    device: Option<D>,
    retry_at: Instant,
}

/// What happened to a device, for the engine to know.
pub(super) enum Change {
    /// It is open, or open and has another address or MTU; and its interface, if that takes part
    /// in the fast path.
    Opened(DeviceIndex, Link, Option<InterfaceNumber>),
    Closed(DeviceIndex),
}

/// See the module's documentation.
pub(super) struct Attachments<D> {
    slots: Vec<Option<Attachment<D>>>,
    /// When the devices are asked next what they missed.
    audit_at: Instant,
}

impl<D: Device> Attachments<D> {
    pub(super) fn new() -> Self {
        Attachments { slots: Vec::with_capacity(DEVICES_MAX), audit_at: Instant::ZERO }
    }

    /// Follows a new configuration: forgets what is not wanted or wanted otherwise, notes what is
    /// wanted. Devices that stay the same stay open.
    pub(super) fn adopt(
        &mut self,
        plans: &[Option<DevicePlan>],
        stats: &StatsPage,
        mut changed: impl FnMut(Change),
    ) {
        self.slots.resize_with(plans.len().max(self.slots.len()), || None);
        let wanted = plans.iter().map(Option::as_ref).chain(core::iter::repeat(None));
        for (at, (slot, plan)) in self.slots.iter_mut().zip(wanted).enumerate() {
            if slot.as_ref().map(|slot| &slot.plan) == plan {
                continue;
            }
            if slot.take().is_some() {
                stats.write_device_state(index(at), DeviceState::Unopened);
                changed(Change::Closed(index(at)));
            }
            let attachment = |plan: &DevicePlan| Attachment {
                plan: plan.clone(),
                device: None,
                retry_at: Instant::ZERO,
            };
            *slot = plan.map(attachment);
        }
    }

    /// Tells each open device which addresses answers to it have.
    pub(super) fn steer(&mut self, snapshot: &Snapshot) {
        for slot in self.slots.iter_mut().flatten() {
            if let Some(device) = &mut slot.device {
                device.steer(&snapshot.nat_ips(slot.plan.scope));
            }
        }
    }

    /// Opens what is wanted, not open, and due; at most [`ATTEMPTS_MAX`] at a time, because packets
    /// wait meanwhile. Says whether it opened any.
    pub(super) fn open<P: Platform<Device = D>>(
        &mut self,
        platform: &mut P,
        queue: Queue,
        now: Instant,
        stats: &StatsPage,
        mut changed: impl FnMut(Change),
    ) -> bool {
        let mut opened = false;
        let slots = self.slots.iter_mut().enumerate();
        let wanted = slots.filter_map(|(at, slot)| Some((at, slot.as_mut()?)));
        let due = wanted.filter(|(_, slot)| slot.device.is_none() && now >= slot.retry_at);
        for (at, slot) in due.take(ATTEMPTS_MAX) {
            match platform.open(&slot.plan, queue) {
                Ok(device) => {
                    changed(Change::Opened(index(at), device.link(), device.interface()));
                    stats.write_device_state(index(at), DeviceState::Up);
                    slot.device = Some(device);
                    opened = true;
                }
                Err(error) => {
                    stats.write_device_state(index(at), DeviceState::Down(error.errno));
                    slot.retry_at = now.after(RETRY_INTERVAL);
                }
            }
        }
        opened
    }

    /// Asks open devices, now and then, how many frames they missed and what their owners changed.
    pub(super) fn audit(
        &mut self,
        now: Instant,
        stats: &StatsPage,
        mut changed: impl FnMut(Change),
    ) {
        if now < self.audit_at {
            return;
        }
        self.audit_at = now.after(AUDIT_INTERVAL);
        for at in 0..self.slots.len() {
            let slot = self.slots.get_mut(at).and_then(Option::as_mut);
            let Some(device) = slot.and_then(|slot| slot.device.as_mut()) else { continue };
            stats.count_missed(index(at), device.missed());
            let before = device.link();
            match device.refresh() {
                Ok(link) if link == before => {}
                Ok(link) => changed(Change::Opened(index(at), link, device.interface())),
                Err(error) => {
                    self.fail(index(at), error, now, stats);
                    changed(Change::Closed(index(at)));
                }
            }
        }
    }

    /// Closes a device that failed; it is tried again later.
    pub(super) fn fail(
        &mut self,
        device: DeviceIndex,
        error: DeviceError,
        now: Instant,
        stats: &StatsPage,
    ) {
        if let Some(Some(slot)) = self.slots.get_mut(device.slot()) {
            slot.device = None;
            slot.retry_at = now.after(RETRY_INTERVAL);
            stats.write_device_state(device, DeviceState::Down(error.errno));
        }
    }

    /// Receives from the device in a slot; `None` if none is open there.
    pub(super) fn receive(
        &mut self,
        device: DeviceIndex,
        batch: &mut Batch,
    ) -> Option<Result<(), DeviceError>> {
        let slot = self.slots.get_mut(device.slot())?.as_mut()?;
        Some(slot.device.as_mut()?.receive(batch))
    }

    /// Sends on a device; all frames are gone if it is not open.
    pub(super) fn transmit(&mut self, device: DeviceIndex, frames: &[&Frame]) -> Transmitted {
        let slot = self.slots.get_mut(device.slot()).and_then(Option::as_mut);
        match slot.and_then(|slot| slot.device.as_mut()) {
            Some(device) => device.transmit(frames),
            None => Transmitted { gone: frames.len(), ..Transmitted::default() },
        }
    }

    /// Number of slots; devices are numbered below it.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The open devices.
    pub(super) fn open_devices(&self) -> impl Iterator<Item = &D> {
        self.slots.iter().flatten().filter_map(|slot| slot.device.as_ref())
    }

    /// When the next attempt to open a device is due.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let closed = self.slots.iter().flatten().filter(|slot| slot.device.is_none());
        closed.map(|slot| slot.retry_at).min()
    }
}

/// The number of the device in a slot; there are never more than [`DEVICES_MAX`].
pub(super) fn index(at: usize) -> DeviceIndex {
    DeviceIndex(u16::try_from(at).unwrap_or(u16::MAX))
}
