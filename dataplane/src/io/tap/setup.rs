//! Creating a TAP device, or joining one that exists.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::super::interface::{self, Interface};
use super::super::sys::{Errno, InterfaceCall, InterfaceRequest};
use super::super::vnet_header::VNET_HEADER_BYTES;
use super::super::{Fail, failed, sys};
use super::station;
use super::sys::{set_header_bytes, set_offloads};
use crate::device::{DeviceError, Link};

/// The driver's own device file. Which namespace the TAP device lands in is decided by the thread
/// that opens it.
const DRIVER: &str = "/dev/net/tun";

/// One queue of a TAP device that is ready.
pub(super) struct Opened {
    pub(super) tap: OwnedFd,
    /// Belongs to the device's namespace, to ask about the device through.
    pub(super) control: OwnedFd,
    pub(super) link: Link,
}

/// Opens a queue of the device `name` of the calling thread's namespace.
///
/// A device that did not exist is set up; one that did may have been set down by its owner, and
/// stays so.
pub(super) fn open(
    name: &str,
    namespace: Option<&str>,
    workers: u8,
) -> Result<Opened, DeviceError> {
    let (tap, control, existed) = create(name, workers)?;
    let interface = Interface::new(control.as_fd(), name)?;
    if existed {
        interface.require_up()?;
    } else {
        interface.set_up()?;
    }
    let theirs = interface.link()?;
    let mac = station::address(namespace, name, theirs.mac);
    Ok(Opened { tap, control, link: Link { mac, mtu: theirs.mtu } })
}

/// Opens a queue of the inbox `name`. The host's own stack shall say nothing there.
pub(super) fn open_inbox(name: &str, workers: u8) -> Result<Opened, DeviceError> {
    let (tap, control, _) = create(name, workers)?;
    // Where there is no IPv6 there is nothing to forbid.
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    let interface = Interface::new(control.as_fd(), name)?;
    interface.set_up()?;
    let link = interface.link()?;
    Ok(Opened { tap, control, link })
}

/// A queue of the device `name` of the calling thread's namespace, a socket to ask about it
/// through, and whether the device existed before.
fn create(name: &str, workers: u8) -> Result<(OwnedFd, OwnedFd, bool), DeviceError> {
    let control = interface::control_socket()?;
    let existed = Interface::new(control.as_fd(), name)?.exists();
    let tap: OwnedFd = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(DRIVER)
        .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
        .fail("open the TAP driver's device file")?
        .into();
    attach(tap.as_fd(), name, workers)?;
    #[expect(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "10")]
    const HEADER_BYTES: i32 = VNET_HEADER_BYTES as i32;
    set_header_bytes(tap.as_fd(), HEADER_BYTES).fail("set the size of virtio headers")?;
    accept_offloads(tap.as_fd()).fail("accept offloads of the TAP device")?;
    Ok((tap, control, existed))
}

/// The kernel's number of an attached device.
pub(super) fn number(tap: BorrowedFd<'_>, control: BorrowedFd<'_>) -> Result<u32, DeviceError> {
    let mut request = InterfaceRequest::default();
    sys::interface(tap, InterfaceCall::AttachedTap, &mut request).fail("find the TAP device")?;
    let number = Interface::of_name(control, request.name).index()?;
    u32::try_from(number).map_err(|_| failed("find the TAP device")(libc::ENODEV))
}

/// The MTU of an attached device as it is now, whatever it is called by now; `None` if that cannot
/// be told, because it was moved to another namespace.
pub(super) fn mtu(tap: BorrowedFd<'_>, control: BorrowedFd<'_>) -> Option<u32> {
    let mut request = InterfaceRequest::default();
    sys::interface(tap, InterfaceCall::AttachedTap, &mut request).ok()?;
    Interface::of_name(control, request.name).link().ok().map(|link| link.mtu)
}

/// Attaches to the device, creating it if need be.
///
/// A device has one queue or several for all its life. For a single worker either will do; for
/// several a device of one queue will not.
fn attach(tap: BorrowedFd<'_>, name: &str, workers: u8) -> Result<(), DeviceError> {
    if workers > 1 {
        return request(tap, name, libc::IFF_MULTI_QUEUE).map_err(|errno| match errno {
            libc::EINVAL => {
                failed("attach several workers: no TAP device of several queues")(errno)
            }
            _ => failed("attach to the TAP device")(errno),
        });
    }
    match request(tap, name, 0) {
        Err(libc::EINVAL) => {
            request(tap, name, libc::IFF_MULTI_QUEUE).map_err(|errno| match errno {
                libc::EINVAL => failed("attach to an interface that is no TAP device")(errno),
                _ => failed("attach to the TAP device")(errno),
            })
        }
        Err(libc::EBUSY) => Err(failed("attach to a TAP device that is in use")(libc::EBUSY)),
        other => other.fail("attach to the TAP device"),
    }
}

fn request(tap: BorrowedFd<'_>, name: &str, queues: i32) -> Result<(), Errno> {
    let mut request = interface::request(name)?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | queues;
    // The field has 16 bits, and all flags of TAP devices fit.
    let [flags0, flags1, ..] = flags.to_le_bytes();
    request.value[..2].copy_from_slice(&u16::from_le_bytes([flags0, flags1]).to_ne_bytes());
    sys::interface(tap, InterfaceCall::AttachTap, &mut request)
}

/// Everything that a frame can say it needs; UDP segmentation only since Linux 6.2.
fn accept_offloads(tap: BorrowedFd<'_>) -> Result<(), Errno> {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    match set_offloads(tap, tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6) {
        Err(libc::EINVAL) => set_offloads(tap, tcp),
        other => other,
    }
}
