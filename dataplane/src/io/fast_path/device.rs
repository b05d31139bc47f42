//! An interface whose usual packets the kernel carries: what else arrives is read from the inbox,
//! and what adit sends goes out through a packet socket that receives nothing.

use std::os::fd::BorrowedFd;

use super::super::af_packet::AfPacket;
use super::super::failed;
use super::super::tap::Tap;
use super::{KernelFastPath, Membership};
use crate::device::{Batch, DeviceError, Frame, Link, Transmitted};
use crate::fast_path::InterfaceNumber;
use crate::types::ScopeId;

/// One worker's queue of such an interface.
pub(in super::super) struct Shortened {
    // The program is taken off before the inbox goes: fields are dropped in this order.
    attached: Membership,
    sender: AfPacket,
    inbox: Tap,
}

impl Shortened {
    /// Opens an interface of adit's own namespace, which `workers` share. `None` if it is one for
    /// packet sockets.
    ///
    /// # Errors
    /// It cannot be opened at all; or another worker has it under the program already, and this one
    /// cannot join.
    pub(in super::super) fn open(
        name: &str,
        scope: ScopeId,
        workers: u8,
        fast_path: &KernelFastPath,
    ) -> Result<Option<Shortened>, DeviceError> {
        let sender = AfPacket::open_for_sending(name)?;
        let interface = sender.interface();
        match Shortened::join(name, sender, (scope, workers), fast_path) {
            Ok(device) => Ok(Some(device)),
            Err(error) if fast_path.leave_out((name, interface), error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn join(
        name: &str,
        sender: AfPacket,
        (scope, workers): (ScopeId, u8),
        fast_path: &KernelFastPath,
    ) -> Result<Shortened, DeviceError> {
        let interface = sender.interface();
        // Unique in the namespace: by the interface, and by the process that reads it.
        let inbox_name = format!("a{interface}x{:x}", std::process::id());
        let inbox = Tap::open_inbox(&inbox_name, workers)?;
        let station = sender.link().mac;
        let attached = fast_path.attach((name, interface), (station, scope), inbox.interface()?)?;
        Ok(Shortened { attached, sender, inbox })
    }

    /// See [`crate::device::Device::link`].
    pub(in super::super) fn link(&self) -> Link {
        self.sender.link()
    }

    /// See [`crate::device::Device::interface`].
    pub(in super::super) fn interface(&self) -> InterfaceNumber {
        InterfaceNumber(self.attached.interface())
    }

    /// See [`crate::device::Device::refresh`]. The socket is not told when the interface goes down,
    /// and the program knows the station that adit had: with another it must be opened anew.
    pub(in super::super) fn refresh(&mut self) -> Result<Link, DeviceError> {
        let before = self.sender.link().mac;
        let link = self.sender.refresh()?;
        self.sender.require_up()?;
        if link.mac != before {
            return Err(failed("go on with another address of the interface")(libc::ESTALE));
        }
        Ok(link)
    }

    /// The error that the next [`Shortened::receive`] will report.
    pub(in super::super) fn lost(&self) -> Option<DeviceError> {
        self.sender.lost().or(self.inbox.lost())
    }

    /// What to wait for.
    pub(in super::super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.inbox.descriptor()
    }

    /// See [`crate::device::Device::receive`].
    pub(in super::super) fn receive(&mut self, batch: &mut Batch) -> Result<(), DeviceError> {
        match self.sender.lost() {
            Some(error) => {
                batch.clear();
                Err(error)
            }
            None => self.inbox.receive(batch),
        }
    }

    /// See [`crate::device::Device::transmit`].
    pub(in super::super) fn transmit(&mut self, frames: &[&Frame]) -> Transmitted {
        self.sender.transmit(frames)
    }
}
