//! Linux' kernel as a fast path: a program on adit's interfaces carries the usual packets of flows
//! whose shortcuts adit has written into its table.
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
//! Bounds: [`SHORTCUTS_MAX`] shortcuts in 16 MiB of the kernel's memory, 4 MiB for what they count
//! by themselves, and 2 MiB for the counts of each processor. It needs CAP_BPF and CAP_NET_ADMIN in
//! the initial user namespace.

mod device;
mod peer;
mod program;
mod slot;
// What maps hold is vouched for.
#[allow(unsafe_code)]
mod sys;
mod table;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

pub(super) use device::Shortened;

use self::program::{Maps, OnInterface, Program};
use self::slot::{Inbox, Key, Slot, place};
use super::{Fail, failed};
use crate::device::DeviceError;
use crate::fast_path::{Carried, FastPath, Shortcut, ShortcutKey};
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
    /// That in force, as the program's settings have it, too.
    epoch: AtomicU32,
    interfaces: Mutex<Interfaces>,
}

/// Which interfaces take part.
#[derive(Default)]
struct Interfaces {
    attached: Vec<Weak<Attached>>,
    left_out: Vec<LeftOut>,
}

/// An interface that the program cannot be put on, and why. All workers then use packet sockets:
/// those see what the program carries, too, which must not be judged as well.
struct LeftOut {
    interface: u32,
    name: String,
    why: DeviceError,
}

impl Interfaces {
    /// The one that is under the program at an interface's place.
    fn at_place_of(&self, interface: u32) -> Option<Arc<Attached>> {
        let mut known = self.attached.iter().filter_map(Weak::upgrade);
        known.find(|known| place(known.interface) == place(interface))
    }

    fn is_left_out(&self, interface: u32) -> bool {
        self.left_out.iter().any(|known| known.interface == interface)
    }
}

/// An interface under the program, until nobody has it open any more.
struct Attached {
    interface: u32,
    inbox: Mutex<Inbox>,
    _program: OnInterface,
}

/// A worker's share in that.
struct Membership {
    attached: Option<Arc<Attached>>,
    shared: Arc<Shared>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        // Under the lock, so that whoever finds nobody at a place finds no program there either.
        let _interfaces = self.shared.interfaces.lock();
        self.attached = None;
    }
}

impl Membership {
    fn interface(&self) -> u32 {
        self.attached.as_ref().map_or(0, |attached| attached.interface)
    }
}

impl KernelFastPath {
    /// Loads the program. `seed` makes unpredictable which flows share a bucket of its table.
    ///
    /// # Errors
    /// The kernel is too old or does not allow it, or the processor is none on which the program's
    /// reading of its table was thought through: x86-64.
    pub fn load(seed: u64) -> Result<KernelFastPath, FastPathError> {
        if !cfg!(target_arch = "x86_64") {
            return Err(FastPathError("it is made for x86-64 only".into()));
        }
        let (program, mut maps) = program::load([seed, !seed.rotate_left(32)])?;
        let first = 1;
        maps.set_epoch(first);
        let shared = Shared {
            program: Mutex::new(program),
            maps: Mutex::new(maps),
            epoch: AtomicU32::new(first),
            interfaces: Mutex::default(),
        };
        Ok(KernelFastPath { shared: Arc::new(shared) })
    }

    /// Puts an interface of this namespace under the program, if it is not yet: what arrives there
    /// from now on is read at the interface `inbox`. A worker that has it open may have opened it
    /// with another station, or for another network: now it is as said here.
    fn attach(
        &self,
        (name, interface): (&str, u32),
        (station, scope): (MacAddress, ScopeId),
        inbox: u32,
    ) -> Result<Membership, DeviceError> {
        // Held throughout, so that two workers cannot both be the first.
        let mut all = self.shared.interfaces.lock();
        all.attached.retain(|known| known.strong_count() > 0);
        if all.is_left_out(interface) {
            return Err(failed("put an interface under the program")(libc::EBUSY));
        }
        let by_peer = peer::is_elsewhere(interface)?.into();
        let (scope, station) = (scope.0.into(), station.0);
        let inbox = Inbox { of: interface, scope, interface: inbox, station, by_peer };
        let member =
            |attached| Membership { attached: Some(attached), shared: Arc::clone(&self.shared) };
        match all.at_place_of(interface) {
            Some(known) if known.interface == interface => {
                if *known.inbox.lock() != inbox {
                    self.shared.set_inbox(inbox)?;
                    *known.inbox.lock() = inbox;
                }
                return Ok(member(known));
            }
            Some(_) => {
                let failed = failed("take two interfaces with numbers 4096 apart");
                return Err(failed(libc::EBUSY));
            }
            None => {}
        }
        self.shared.set_inbox(inbox)?;
        let program = self.shared.program.lock().put_on(name);
        let program = program.fail("put the fast path's program on the interface")?;
        let new = Arc::new(Attached { interface, inbox: Mutex::new(inbox), _program: program });
        all.left_out.retain(|known| known.name != name);
        all.attached.push(Arc::downgrade(&new));
        Ok(member(new))
    }

    /// An interface of this namespace could not be put under the program: from now on it is one for
    /// packet sockets. `false` if it is under the program already, by another worker.
    fn leave_out(&self, (name, interface): (&str, u32), why: DeviceError) -> bool {
        let mut all = self.shared.interfaces.lock();
        if all.at_place_of(interface).is_some_and(|known| known.interface == interface) {
            return false;
        }
        if !all.is_left_out(interface) {
            all.left_out.retain(|known| known.name != name);
            all.left_out.push(LeftOut { interface, name: name.to_owned(), why });
        }
        true
    }

    /// The interfaces of adit's own namespace that it does not run on, each with the reason.
    #[must_use]
    pub fn left_out(&self) -> Vec<(String, String)> {
        let all = self.shared.interfaces.lock();
        let text = |known: &LeftOut| (known.name.clone(), known.why.to_string());
        all.left_out.iter().map(text).collect()
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
}

impl Shared {
    fn renew(&self) {
        let mut maps = self.maps.lock();
        let epoch = self.epoch.load(Ordering::Relaxed).checked_add(1).unwrap_or(1);
        maps.set_epoch(epoch);
        // Only now may anybody install in it.
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Says what an interface under the program is. What relied on what was at its place before is
    /// void by then; it stays when the program is taken off, because nobody asks for it any more.
    fn set_inbox(&self, inbox: Inbox) -> Result<(), DeviceError> {
        self.renew();
        self.maps.lock().set_inbox(inbox).fail("name the inbox of an interface")
    }
}

impl FastPath for KernelFastPath {
    fn renew(&mut self) {
        self.shared.renew();
    }

    fn epoch(&self) -> u32 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    fn install(&mut self, shortcut: &Shortcut, epoch: u32) -> bool {
        self.shared.maps.lock().table.install(&Slot::of(shortcut, epoch))
    }

    fn remove(&mut self, key: &ShortcutKey) -> Carried {
        let carried = self.shared.maps.lock().table.remove(&Key::of(key));
        carried.map_or_else(Carried::default, Carried::from)
    }

    fn last_used(&self, key: &ShortcutKey) -> Option<Instant> {
        let used = self.shared.maps.lock().table.last_used_nanos(&Key::of(key));
        used.filter(|nanos| *nanos > 0).map(Instant::from_nanos)
    }

    fn take_carried(&mut self) -> Carried {
        self.shared.maps.lock().take_carried()
    }
}
