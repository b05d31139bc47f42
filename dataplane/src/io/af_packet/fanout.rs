//! The sockets of several workers on one device, which share its frames by a hash of the flow.
//!
//! The kernel tells such groups apart by a number of 16 bits, and a socket that joins a group of
//! somebody else would steal its frames without an error. So the number is not ours to choose: the
//! kernel draws a free one for the first worker that opens the device, and the others are told
//! through [`FanoutGroups`]. A device is known by its network namespace and interface index, which
//! outlive no deletion.
//!
//! Fragments are not reassembled for the hash: adit drops them anyway.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::super::{Fail, sys};
use super::sys::close_filter;
use crate::device::DeviceError;

/// From linux/if_packet.h; unsigned in libc.
const TYPE_HASH: i32 = 0;
const FLAG_UNIQUE_ID: i32 = 0x2000;
/// The group has a hook of its own, which does not heed the sockets' `PACKET_IGNORE_OUTGOING`.
const FLAG_IGNORE_OUTGOING: i32 = 0x4000;

/// The groups of this process, shared by its workers.
#[derive(Clone, Default)]
pub(in super::super) struct FanoutGroups {
    groups: Arc<Mutex<Vec<Entry>>>,
}

struct Entry {
    device: DeviceKey,
    member: Weak<GroupId>,
}

/// A network namespace, by the cookie that the kernel never gives to another, and an interface.
type DeviceKey = (u64, i32);

/// The number of a group. Sockets keep it as long as they are in the group.
pub(super) struct GroupId(i32);

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
    ) -> Result<Arc<GroupId>, DeviceError> {
        let socket = socket.as_fd();
        let namespace: u64 = sys::option(socket, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE)
            .fail("read the namespace's cookie")?;
        let device = (namespace, interface);
        // Held through the calls, so that two workers cannot both be the first.
        let mut groups = self.groups.lock();
        groups.retain(|entry| entry.member.strong_count() > 0);
        let known = groups.iter().find(|entry| entry.device == device);
        let id = if let Some(id) = known.and_then(|entry| entry.member.upgrade()) {
            set_group(socket, id.0)?;
            id
        } else {
            set_group(socket, FLAG_UNIQUE_ID << 16)?;
            let group: i32 = sys::option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT)
                .fail("read the fanout group")?;
            let id = Arc::new(GroupId(group & 0xffff));
            groups.push(Entry { device, member: Arc::downgrade(&id) });
            id
        };
        drop(groups);
        sys::set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)
            .fail("open the socket's filter")?;
        Ok(id)
    }
}

fn set_group(socket: BorrowedFd<'_>, id_and_flags: i32) -> Result<(), DeviceError> {
    let value = id_and_flags | (TYPE_HASH | FLAG_IGNORE_OUTGOING) << 16;
    sys::set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, value)
        .fail("join the fanout group")
}
