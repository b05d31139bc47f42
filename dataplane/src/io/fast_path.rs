//! Linux' kernel as a fast path: a program on adit's interfaces carries the usual packets of flows
//! whose shortcuts adit has written into its map.
//!
//! The program (`shortcut.bpf.c`, and the object that it is built to, which is what is loaded) runs
//! where frames arrive (TCX, Linux 6.6), keeps super-packets and partial checksums, and puts
//! packets straight into the namespace at the other end of a veth. What it does not carry it copies
//! to an inbox of the interface, a TAP device that workers read instead of a packet socket; the
//! frame itself goes on to the host's own stack, as with a packet socket. So there is one decision
//! for each frame, and none is carried and judged as well.
//!
//! Only interfaces of adit's own namespace can take part: the kernel sends no packet from one
//! namespace's interface to another's. Everything vanishes with the process: program, maps and
//! inboxes live as long as their descriptors.
//!
//! Bounds: [`SHORTCUTS_MAX`] shortcuts, each about 200 bytes of the kernel's memory while it is
//! there, and 2 MiB for the counts of each processor. It needs CAP_BPF and CAP_NET_ADMIN in the
//! initial user namespace.

mod device;
mod entry;
mod peer;
mod program;
// What maps hold is vouched for.
#[allow(unsafe_code)]
mod sys;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

pub(super) use device::Shortened;

use self::entry::{Entry, Inbox, Key};
use self::program::{Maps, OnInterface, Program};
use super::Fail;
use crate::device::DeviceError;
use crate::fast_path::{Carried, FastPath, InterfaceNumber, Shortcut, ShortcutKey};
use crate::record::{Count, Traffic};
use crate::types::{AccountIndex, Direction, Instant, MacAddress, ScopeId};

pub use self::program::SHORTCUTS_MAX;

/// Why there is no fast path, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastPathError(pub(super) String);

impl fmt::Display for FastPathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fast path of one process. Clones are the same one.
#[derive(Clone)]
pub struct KernelFastPath {
    shared: Arc<Shared>,
}

struct Shared {
    program: Mutex<Program>,
    maps: Mutex<Maps>,
    /// What the map says, too.
    epoch: AtomicU32,
    serial: AtomicU32,
    attached: Mutex<Vec<Weak<Attached>>>,
}

/// An interface under the program, until nobody has it open any more.
struct Attached {
    interface: u32,
    /// Whether packets may be put at its other end.
    by_peer: bool,
    shared: Arc<Shared>,
    _program: OnInterface,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.maps.lock().remove_inbox(self.interface);
    }
}

impl KernelFastPath {
    /// Loads the program.
    ///
    /// # Errors
    /// The kernel is too old or does not allow it, or the processor is none on which the program's
    /// reading of its map was thought through: x86-64.
    pub fn load() -> Result<KernelFastPath, FastPathError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(FastPathError("it is made for x86-64 only".into()));
        }
        let (program, mut maps) = program::load()?;
        let first = 1;
        maps.set_epoch(first).map_err(FastPathError)?;
        let shared = Shared {
            program: Mutex::new(program),
            maps: Mutex::new(maps),
            epoch: AtomicU32::new(first),
            serial: AtomicU32::new(0),
            attached: Mutex::default(),
        };
        Ok(KernelFastPath { shared: Arc::new(shared) })
    }

    /// Puts an interface of this namespace under the program, if it is not yet: what arrives there
    /// from now on is read at the interface `inbox`.
    fn attach(
        &self,
        (name, interface): (&str, u32),
        (station, scope): (MacAddress, ScopeId),
        inbox: u32,
    ) -> Result<Arc<Attached>, DeviceError> {
        // Held throughout, so that two workers cannot both be the first.
        let mut attached = self.shared.attached.lock();
        attached.retain(|known| known.strong_count() > 0);
        let mut known = attached.iter().filter_map(Weak::upgrade);
        if let Some(attached) = known.find(|known| known.interface == interface) {
            return Ok(attached);
        }
        let by_peer = peer::is_elsewhere(interface)?;
        let inbox = Inbox::new(scope, inbox, station);
        let named = self.shared.maps.lock().set_inbox(interface, inbox);
        named.fail("name the inbox of an interface")?;
        let program = self.shared.program.lock().put_on(name);
        let program = program.fail("put the fast path's program on the interface")?;
        let shared = Arc::clone(&self.shared);
        let new = Arc::new(Attached { interface, by_peer, shared, _program: program });
        attached.push(Arc::downgrade(&new));
        Ok(new)
    }

    /// What it has carried that was counted in an account's slot, whosever account that was. Bytes
    /// are those of IPv4 packets.
    #[must_use]
    pub fn carried_by(&self, account: AccountIndex) -> Traffic {
        let maps = self.shared.maps.lock();
        let of = |way| {
            let carried = maps.carried_by(account, way);
            Count { packets: carried.packets, bytes: carried.packet_bytes() }
        };
        Traffic { forward: of(Direction::Forward), back: of(Direction::Return) }
    }

    fn goes_by_peer(&self, interface: InterfaceNumber) -> bool {
        let attached = self.shared.attached.lock();
        let mut known = attached.iter().filter_map(Weak::upgrade);
        known.find(|known| known.interface == interface.0).is_some_and(|known| known.by_peer)
    }
}

impl FastPath for KernelFastPath {
    fn renew(&mut self) {
        let mut maps = self.shared.maps.lock();
        let epoch = self.shared.epoch.load(Ordering::Relaxed).checked_add(1).unwrap_or(1);
        // An array of one number that exists takes any number.
        let _ = maps.set_epoch(epoch);
        // Only now may anybody install in it.
        self.shared.epoch.store(epoch, Ordering::Release);
    }

    fn epoch(&self) -> u32 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    fn install(&mut self, shortcut: &Shortcut, epoch: u32) -> bool {
        let by_peer = self.goes_by_peer(shortcut.by);
        let serial = self.shared.serial.fetch_add(1, Ordering::Relaxed);
        let entry = Entry::of(shortcut, by_peer, epoch, serial);
        self.shared.maps.lock().set_entry(Key::of(&shortcut.key), entry)
    }

    fn remove(&mut self, key: &ShortcutKey) -> Carried {
        let entry = self.shared.maps.lock().remove_entry(Key::of(key));
        entry.map_or_else(Carried::default, |entry| entry.carried.into())
    }

    fn last_used(&self, key: &ShortcutKey) -> Option<Instant> {
        let entry = self.shared.maps.lock().entry(Key::of(key))?;
        (entry.last_used_nanos > 0).then(|| Instant::from_nanos(entry.last_used_nanos))
    }

    fn take_carried(&mut self) -> Carried {
        self.shared.maps.lock().take_carried()
    }
}
