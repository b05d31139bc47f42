//! The sockets of several workers on one device, which share its frames by who owns their flows.
//!
//! The kernel tells such groups apart by a number of 16 bits, and a socket that joins a group of
//! somebody else would steal its frames without an error. So the number is not ours to choose: the
//! kernel draws a free one for the first worker that opens the device, and the others are told
//! through [`FanoutGroups`]. A device is known by its network namespace and interface index, which
//! outlive no deletion.
//!
//! A group has a program ([`super::steering`]) that names a socket for each frame by its position
//! among those of the group: the order of joining, in which the last one takes the place of one
//! that leaves. That order is kept here, and the program is made anew when a socket joins or NAT
//! IPs change. When one leaves, frames go astray, and are handed over, until then. A kernel that
//! refuses the program shares frames by a hash of the flow instead, from the second attempt to open
//! the device on: the first is shown as failed.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::{Fail, sys};
use super::steering;
use super::sys::{close_filter, set_program};
use crate::device::DeviceError;
use crate::types::WorkerId;
use crate::worker::Queue;

/// From linux/if_packet.h; unsigned in libc.
const TYPE_HASH: i32 = 0;
const TYPE_PROGRAM: i32 = 6;
const FLAG_UNIQUE_ID: i32 = 0x2000;
/// The group has a hook of its own, which does not heed the sockets' `PACKET_IGNORE_OUTGOING`.
const FLAG_IGNORE_OUTGOING: i32 = 0x4000;

/// The groups of this process, shared by its workers.
#[derive(Clone, Default)]
pub(in super::super) struct FanoutGroups(Arc<Mutex<Groups>>);

#[derive(Default)]
struct Groups {
    groups: Vec<Group>,
    /// The kernel has refused a program.
    by_hash: bool,
}

/// The sockets of one device.
struct Group {
    device: DeviceKey,
    id: i32,
    kind: i32,
    /// In the kernel's order.
    members: Vec<WorkerId>,
    workers: u8,
    nat_ips: Vec<IpAddr>,
}

/// A network namespace, by the cookie that the kernel never gives to another, and an interface.
type DeviceKey = (u64, i32);

/// The place of one socket in the group of its device. To be dropped when the socket is closed.
pub(super) struct Member {
    groups: FanoutGroups,
    device: DeviceKey,
    worker: WorkerId,
}

impl Member {
    /// Makes the group heed which addresses answers come to.
    pub(super) fn steer(&self, socket: BorrowedFd<'_>, nat_ips: &[IpAddr]) {
        let mut groups = self.groups.0.lock();
        let mut all = groups.groups.iter_mut();
        let Some(group) = all.find(|group| group.device == self.device) else { return };
        if group.nat_ips != nat_ips {
            group.nat_ips = nat_ips.to_vec();
            // The program before it stays in force; packets are handed over.
            let _ = group.set_program(socket);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let groups = &mut self.groups.0.lock().groups;
        for group in groups.iter_mut().filter(|group| group.device == self.device) {
            if let Some(at) = group.members.iter().position(|worker| *worker == self.worker) {
                group.members.swap_remove(at);
            }
        }
        groups.retain(|group| !group.members.is_empty());
    }
}

impl Group {
    /// Gives the kernel the program for the members as they are.
    fn set_program(&self, socket: BorrowedFd<'_>) -> Result<(), i32> {
        if self.kind != TYPE_PROGRAM {
            return Ok(());
        }
        let program = steering::program(self.workers, &self.members, &self.nat_ips);
        set_program(socket, (libc::SOL_PACKET, libc::PACKET_FANOUT_DATA), &program)
    }
}

impl FanoutGroups {
    /// Lets a socket that is about to be bound receive nothing, so that frames which the group
    /// gives to others do not arrive twice until [`FanoutGroups::join`].
    pub(super) fn prepare(socket: BorrowedFd<'_>) -> Result<(), DeviceError> {
        close_filter(socket).fail("close the socket's filter")
    }

    /// Puts a bound socket into the group of its device, and lets it receive.
    ///
    /// Frames that the group gives to it between the two are lost: those of about a microsecond.
    /// One that another CPU was delivering at that instant may still arrive twice. To wait until no
    /// CPU is would lose the frames of milliseconds instead, and networks do double packets.
    pub(super) fn join(
        &self,
        socket: &OwnedFd,
        interface: i32,
        Queue { worker, workers }: Queue,
    ) -> Result<Member, DeviceError> {
        let socket = socket.as_fd();
        let namespace: u64 = sys::option(socket, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE)
            .fail("read the namespace's cookie")?;
        let device = (namespace, interface);
        // Held through the calls, so that two workers cannot both be the first, and the order of
        // members is the kernel's.
        let mut groups = self.0.lock();
        let at = groups.groups.iter().position(|group| group.device == device);
        let at = if let Some(at) = at {
            set_group(socket, groups.groups[at].id, groups.groups[at].kind)?;
            at
        } else {
            let kind = if groups.by_hash { TYPE_HASH } else { TYPE_PROGRAM };
            let set = set_group(socket, FLAG_UNIQUE_ID << 16, kind);
            groups.by_hash |= set.is_err();
            set?;
            let id: i32 = sys::option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT)
                .fail("read the fanout group")?;
            let (id, members, nat_ips) = (id & 0xffff, Vec::new(), Vec::new());
            groups.groups.push(Group { device, id, kind, members, workers, nat_ips });
            groups.groups.len() - 1
        };
        groups.groups[at].members.push(worker);
        let programmed = groups.groups[at].set_program(socket);
        groups.by_hash |= programmed.is_err();
        drop(groups);
        let member = Member { groups: self.clone(), device, worker };
        programmed.fail("set the program of the fanout group")?;
        sys::set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)
            .fail("open the socket's filter")?;
        Ok(member)
    }
}

fn set_group(socket: BorrowedFd<'_>, id_and_flags: i32, kind: i32) -> Result<(), DeviceError> {
    let value = id_and_flags | (kind | FLAG_IGNORE_OUTGOING) << 16;
    sys::set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, value)
        .fail("join the fanout group")
}
