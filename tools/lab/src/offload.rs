//! Offloads of a device, switched on and off as `ethtool -K` does.
//!
//! On a veth pair nothing is offloaded to hardware: a packet sent with transmit checksum offload
//! arrives with a *partial* checksum, and one sent with TSO arrives as one frame far above the
//! MTU. Whoever reads such a device raw must expect both, or switch them off on the *other* end.

use std::io;

use crate::error::{Context, LabError};
use crate::link::Link;
use crate::sys;

/// An offload that can be switched on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Receive checksum verification.
    RxChecksum,
    /// Transmit checksums left to the device.
    TxChecksum,
    /// Frames handed over in pieces.
    ScatterGather,
    /// TCP segmentation by the device. Needs `TxChecksum` and `ScatterGather`.
    Tso,
    /// Segmentation just before the device. Needs `ScatterGather`.
    Gso,
    /// Received segments merged.
    Gro,
}

impl Offload {
    /// All offloads, in an order in which each can be switched on.
    pub const ALL: [Self; 6] =
        [Self::RxChecksum, Self::TxChecksum, Self::ScatterGather, Self::Tso, Self::Gso, Self::Gro];

    /// The commands of linux/ethtool.h that read and write it.
    fn commands(self) -> (u32, u32) {
        match self {
            Self::RxChecksum => (0x14, 0x15),
            Self::TxChecksum => (0x16, 0x17),
            Self::ScatterGather => (0x18, 0x19),
            Self::Tso => (0x1e, 0x1f),
            Self::Gso => (0x23, 0x24),
            Self::Gro => (0x2b, 0x2c),
        }
    }
}

impl Link {
    /// Whether an offload is on.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn offload(&self, offload: Offload) -> Result<bool, LabError> {
        let (read, _) = offload.commands();
        sys::ethtool(self.namespace().control(), self.name(), read, 0)
            .map(|value| value != 0)
            .context("read offload of", || format!("{self} ({offload:?})"))
    }

    /// Switches an offload.
    ///
    /// # Errors
    /// When the device cannot, or keeps it off because another that it needs is off.
    pub fn set_offload(&self, offload: Offload, on: bool) -> Result<(), LabError> {
        let (_, write) = offload.commands();
        let subject = || format!("{self} ({offload:?} to {on})");
        sys::ethtool(self.namespace().control(), self.name(), write, u32::from(on))
            .context("switch offload of", subject)?;
        if self.offload(offload)? == on {
            return Ok(());
        }
        let source = io::Error::other("the kernel accepted and did not comply");
        Err(LabError::new("switch offload of", subject(), source))
    }

    /// Switches all offloads of [`Offload::ALL`], which makes what leaves the device look as on a
    /// wire (`false`) or as local stacks prefer it (`true`).
    ///
    /// # Errors
    /// The first that cannot be switched.
    pub fn set_all_offloads(&self, on: bool) -> Result<(), LabError> {
        Offload::ALL.iter().try_for_each(|offload| self.set_offload(*offload, on))
    }
}
