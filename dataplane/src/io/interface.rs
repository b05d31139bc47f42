//! Questions about an interface by its name: its index, address, MTU, and whether it is up.
//!
//! All are answered for the network namespace of the socket that asks. Each is one ioctl; between
//! two of them the interface may change, so the answers are a hint until a device is bound.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::sys::{self, Errno, InterfaceCall, InterfaceRequest};
use super::{Fail, failed};
use crate::device::{DeviceError, Link};
use crate::types::MacAddress;

/// The name of an interface, ended by a zero byte.
pub(super) type InterfaceName = [u8; libc::IFNAMSIZ];

/// An interface, by its name and a socket of its namespace to ask through.
pub(super) struct Interface<'a> {
    socket: BorrowedFd<'a>,
    name: InterfaceName,
}

impl<'a> Interface<'a> {
    /// An interface of the namespace that `socket` was opened in.
    pub(super) fn new(socket: BorrowedFd<'a>, name: &str) -> Result<Self, DeviceError> {
        let name = request(name).fail("name the interface")?.name;
        Ok(Interface { socket, name })
    }

    /// The interface that has this name now.
    pub(super) fn of_name(socket: BorrowedFd<'a>, name: InterfaceName) -> Self {
        Interface { socket, name }
    }

    /// Its name.
    pub(super) fn name(&self) -> InterfaceName {
        self.name
    }

    /// Its number.
    pub(super) fn index(&self) -> Result<i32, DeviceError> {
        let answer = self.ask(InterfaceCall::Index).fail("find the interface")?;
        Ok(first_number(&answer))
    }

    /// Whether it exists.
    pub(super) fn exists(&self) -> bool {
        self.ask(InterfaceCall::Index).is_ok()
    }

    /// Its Ethernet address and MTU.
    pub(super) fn link(&self) -> Result<Link, DeviceError> {
        let address = self.ask(InterfaceCall::HardwareAddress);
        let [family0, family1, a, b, c, d, e, f, ..] =
            address.fail("read the interface's address")?;
        if u16::from_ne_bytes([family0, family1]) != libc::ARPHRD_ETHER {
            return Err(failed("use an interface that is not Ethernet")(libc::EINVAL));
        }
        let mtu = self.ask(InterfaceCall::Mtu).fail("read the interface's MTU")?;
        let mtu = u32::try_from(first_number(&mtu)).unwrap_or(0);
        Ok(Link { mac: MacAddress([a, b, c, d, e, f]), mtu })
    }

    /// Fails with `ENETDOWN` if it is down.
    pub(super) fn require_up(&self) -> Result<(), DeviceError> {
        let [flags0, flags1, ..] =
            self.ask(InterfaceCall::Flags).fail("read the interface's flags")?;
        if i16::from_ne_bytes([flags0, flags1]) & UP == 0 {
            return Err(failed("use an interface that is down")(libc::ENETDOWN));
        }
        Ok(())
    }

    /// Sets it up.
    pub(super) fn set_up(&self) -> Result<(), DeviceError> {
        let [flags0, flags1, ..] =
            self.ask(InterfaceCall::Flags).fail("read the interface's flags")?;
        let flags = i16::from_ne_bytes([flags0, flags1]) | UP;
        let mut change = InterfaceRequest { name: self.name, ..InterfaceRequest::default() };
        change.value[..2].copy_from_slice(&flags.to_ne_bytes());
        sys::interface(self.socket, InterfaceCall::SetFlags, &mut change)
            .fail("set the interface up")
    }

    fn ask(&self, call: InterfaceCall) -> Result<[u8; 24], Errno> {
        let mut request = InterfaceRequest { name: self.name, ..InterfaceRequest::default() };
        sys::interface(self.socket, call, &mut request)?;
        Ok(request.value)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the flag is 1, the field has 16 bits")]
const UP: i16 = libc::IFF_UP as i16;

/// A socket that interfaces of the calling thread's namespace can be asked about through.
pub(super) fn control_socket() -> Result<OwnedFd, DeviceError> {
    sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0).fail("open a socket to ask about interfaces")
}

/// A request about an interface of this name; one that no interface can have does not exist.
pub(super) fn request(name: &str) -> Result<InterfaceRequest, Errno> {
    let mut request = InterfaceRequest::default();
    let room = libc::IFNAMSIZ - 1;
    if name.is_empty() || name.len() > room || name.contains(['\0', '/']) {
        return Err(libc::ENODEV);
    }
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    Ok(request)
}

fn first_number(value: &[u8; 24]) -> i32 {
    let [a, b, c, d, ..] = *value;
    i32::from_ne_bytes([a, b, c, d])
}
