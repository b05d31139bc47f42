//! Opening a packet socket on an interface, and the decisions that are taken once for all frames.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::super::interface::{Interface, InterfaceName};
use super::super::{Fail, failed, sys};
use super::fanout::{FanoutGroups, Member};
use super::sys::bind;
use crate::device::{DeviceError, Link};
use crate::worker::Queue;

/// Bytes that may wait in a socket, as the kernel counts them: about 200 super-packets, or 20,000
/// small frames. Enough for a worker that is not scheduled for some milliseconds.
const SOCKET_BUFFER_BYTES: i32 = 16 << 20;

/// Whether frames go to the driver past the interface's queueing discipline.
///
/// They do not. What goes past it also goes past software segmentation: the kernel then drops, as
/// if a queue were full, every super-packet that the interface cannot cut by itself (TSO switched
/// off, or UDP segmentation, or XDP on the other end of a veth). A veth has no queueing discipline
/// by default, so there is little to save; and where one is attached, it is what makes a full ring
/// of the other end hold frames back (since Linux 6.16) instead of dropping them silently.
const BYPASS_QUEUEING: bool = false;

/// All protocols, in network byte order.
#[expect(clippy::cast_possible_truncation, reason = "the number has 16 bits")]
const EVERY_PROTOCOL: u16 = (libc::ETH_P_ALL as u16).to_be();

/// Binds a socket to its interface without letting it receive.
const NO_PROTOCOL: u16 = 0;

/// A socket that is ready, and what must live as long.
pub(super) struct Opened {
    pub(super) socket: OwnedFd,
    pub(super) member: Option<Member>,
    pub(super) bound: Bound,
    pub(super) link: Link,
}

/// The interface that a socket is bound to, and the name that it had then.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    name: InterfaceName,
    index: i32,
}

impl Bound {
    /// Address and MTU of the interface as they are now.
    ///
    /// # Errors
    /// The name is that of another interface by now, or of none.
    pub(super) fn link(&self, socket: BorrowedFd<'_>) -> Result<Link, DeviceError> {
        let interface = Interface::of_name(socket, self.name);
        if interface.index()? != self.index {
            return Err(failed("find the interface under its name")(libc::ENODEV));
        }
        interface.link()
    }

    /// The kernel's number of the interface.
    pub(super) fn number(self) -> u32 {
        // The kernel's numbers are positive.
        self.index.unsigned_abs()
    }

    /// Fails if the interface is down.
    pub(super) fn require_up(&self, socket: BorrowedFd<'_>) -> Result<(), DeviceError> {
        Interface::of_name(socket, self.name).require_up()
    }
}

/// Opens the interface `name` of the calling thread's namespace.
pub(super) fn open(name: &str, queue: Queue, groups: &FanoutGroups) -> Result<Opened, DeviceError> {
    let (socket, bound, link) = prepare(name)?;
    let index = bound.index;
    let shared = queue.workers > 1;
    if shared {
        FanoutGroups::prepare(socket.as_fd())?;
    }
    bind(socket.as_fd(), EVERY_PROTOCOL, index).fail("bind the packet socket")?;
    let member = if shared { Some(groups.join(&socket, index, queue)?) } else { None };
    Ok(Opened { socket, member, bound, link })
}

/// Opens it to send only.
pub(super) fn open_for_sending(name: &str) -> Result<Opened, DeviceError> {
    let (socket, bound, link) = prepare(name)?;
    bind(socket.as_fd(), NO_PROTOCOL, bound.index).fail("bind the packet socket")?;
    Ok(Opened { socket, member: None, bound, link })
}

/// A socket that is not bound yet, for an interface that is up.
fn prepare(name: &str) -> Result<(OwnedFd, Bound, Link), DeviceError> {
    // Protocol 0 receives nothing: a socket that is not bound yet would hear every interface.
    let socket = sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0).fail("open a packet socket")?;
    let interface = Interface::new(socket.as_fd(), name)?;
    let index = interface.index()?;
    let link = interface.link()?;
    interface.require_up()?;
    set_options(socket.as_fd())?;
    enlarge_buffers(socket.as_fd());
    let bound = Bound { name: interface.name(), index };
    Ok((socket, bound, link))
}

fn set_options(socket: BorrowedFd<'_>) -> Result<(), DeviceError> {
    let options = [
        (libc::PACKET_VNET_HDR, 1, "ask for virtio headers"),
        (libc::PACKET_IGNORE_OUTGOING, 1, "ignore outgoing frames"),
        (libc::PACKET_AUXDATA, 1, "ask for VLAN tags"),
        (libc::PACKET_QDISC_BYPASS, i32::from(BYPASS_QUEUEING), "choose the way to the driver"),
    ];
    for (name, value, operation) in options {
        sys::set_option(socket, libc::SOL_PACKET, name, value).fail(operation)?;
    }
    Ok(())
}

/// As far as is permitted: beyond the system's limit takes `CAP_NET_ADMIN` outside of any user
/// namespace. Smaller buffers lose frames sooner under a burst, which is no reason to refuse.
fn enlarge_buffers(socket: BorrowedFd<'_>) {
    let buffers =
        [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)];
    for (beyond_limit, within_limit) in buffers {
        let set = |name| sys::set_option(socket, libc::SOL_SOCKET, name, SOCKET_BUFFER_BYTES);
        if set(beyond_limit).is_err() {
            let _ = set(within_limit);
        }
    }
}
