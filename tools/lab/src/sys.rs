//! System calls that have no safe wrapper elsewhere: the only unsafe code of this crate.
//!
//! Each function takes and returns Rust types, checks the result, and keeps no state. What may
//! run between fork and exec, or in the forked child of [`probe`], neither allocates nor locks.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// How a process separates itself from the machine, prepared so that no step allocates.
pub(crate) struct Separation {
    /// The id maps that make the caller root in a new user namespace; `None` for real root.
    pub(crate) user_namespace: Option<IdMaps>,
}

/// One-line id maps: `0 <outer id> 1`.
pub(crate) struct IdMaps {
    pub(crate) uid: CString,
    pub(crate) gid: CString,
}

/// The steps of a separation, in order; the value crosses the pipe of [`probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Unshare = 1,
    DenySetgroups = 2,
    MapUid = 3,
    MapGid = 4,
    RaiseLoopback = 5,
}

impl Step {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Unshare, Self::DenySetgroups, Self::MapUid, Self::MapGid, Self::RaiseLoopback]
            .into_iter()
            .find(|step| *step as u8 == byte)
    }
}

/// A step of a separation that the kernel refused.
pub(crate) struct StepRefused {
    pub(crate) step: Step,
    pub(crate) source: io::Error,
}

/// Separates the calling process. It allocates nothing, so it may run in a forked child.
pub(crate) fn separate(plan: &Separation) -> Result<(), StepRefused> {
    let mut flags = libc::CLONE_NEWNET;
    if plan.user_namespace.is_some() {
        flags |= libc::CLONE_NEWUSER;
    }
    let at = |step: Step| move |source: io::Error| StepRefused { step, source };
    // SAFETY: unshare takes no pointer; it changes only what the caller asked to change.
    check(unsafe { libc::unshare(flags) }).map_err(at(Step::Unshare))?;
    if let Some(maps) = &plan.user_namespace {
        match write_file(c"/proc/self/setgroups", c"deny") {
            // Kernels before 3.19 have no such file and ask for nothing.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(Step::DenySetgroups)(error));
            }
            _ => {}
        }
        write_file(c"/proc/self/uid_map", &maps.uid).map_err(at(Step::MapUid))?;
        write_file(c"/proc/self/gid_map", &maps.gid).map_err(at(Step::MapGid))?;
    }
    raise_loopback().map_err(at(Step::RaiseLoopback))
}

/// Performs the separation in a forked child that exits at once: tells whether it is allowed
/// without changing the caller.
pub(crate) fn probe(plan: &Separation) -> io::Result<Result<(), StepRefused>> {
    let (reader, writer) = io::pipe()?;
    // SAFETY: the child calls only functions that neither allocate nor lock, and leaves by
    // _exit, so state that another thread held at the fork is never touched.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let report = match separate(plan) {
            Ok(()) => [0; 5],
            Err(refused) => {
                let errno = refused.source.raw_os_error().unwrap_or(0).to_ne_bytes();
                [refused.step as u8, errno[0], errno[1], errno[2], errno[3]]
            }
        };
        // SAFETY: the buffer is live and of the given length; _exit does not return.
        unsafe {
            libc::write(writer.as_raw_fd(), report.as_ptr().cast(), report.len());
            libc::_exit(0)
        }
    }
    check(pid)?;
    drop(writer);
    let mut report = [0; 5];
    let outcome = io::Read::read_exact(&mut &reader, &mut report);
    let mut status = 0;
    // SAFETY: the status is a live local; the pid is our own child, reaped exactly once.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
    outcome?;
    let errno = i32::from_ne_bytes([report[1], report[2], report[3], report[4]]);
    Ok(match Step::from_byte(report[0]) {
        None => Ok(()),
        Some(step) => Err(StepRefused { step, source: io::Error::from_raw_os_error(errno) }),
    })
}

/// Gives the calling thread a new, empty network namespace.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: unshare takes no pointer.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Moves the calling thread into the network namespace that `namespace` refers to.
pub(crate) fn set_network(namespace: BorrowedFd<'_>) -> io::Result<()> {
    set_network_raw(namespace.as_raw_fd())
}

fn set_network_raw(namespace: RawFd) -> io::Result<()> {
    // SAFETY: setns takes no pointer; a wrong descriptor is answered with an error.
    check(unsafe { libc::setns(namespace, libc::CLONE_NEWNET) }).map(drop)
}

/// Makes the child of `command` enter `namespace` before it executes its program. The closure
/// owns its descriptor, so the command may outlive every other handle.
pub(crate) fn enter_before_exec(command: &mut Command, namespace: OwnedFd) {
    // SAFETY: between fork and exec the closure makes one system call, without allocation.
    unsafe {
        command.pre_exec(move || set_network_raw(namespace.as_raw_fd()));
    }
}

/// The effective user and group of the process.
pub(crate) fn effective_ids() -> (u32, u32) {
    // SAFETY: these calls cannot fail and take no argument.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Which of two descriptors can be read (or was hung up) within `timeout`; `None` waits for ever.
pub(crate) fn wait_readable(
    first: BorrowedFd<'_>,
    second: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> io::Result<(bool, bool)> {
    let entry =
        |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(first), entry(second)];
    let timeout_ms =
        timeout.map_or(-1, |t| i32::try_from(t.as_millis()).unwrap_or(i32::MAX).max(1));
    // SAFETY: the array is live and its length is passed.
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), 2, timeout_ms) };
    match check(ready) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok((false, false)),
        Err(error) => Err(error),
        Ok(_) => Ok((entries[0].revents != 0, entries[1].revents != 0)),
    }
}

/// Asks for the kernel's own words beside an error number on a netlink socket.
pub(crate) fn ask_extended_ack(socket: BorrowedFd<'_>) -> io::Result<()> {
    /// Of a C int, on every Linux.
    const SIZE: libc::socklen_t = 4;
    let on: libc::c_int = 1;
    // SAFETY: the value is live for the call and its size is passed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            (&raw const on).cast(),
            SIZE,
        )
    };
    check(result).map(drop)
}

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Runs one of the legacy ethtool commands, which carry a 32-bit value, on a device of the
/// namespace that `socket` was opened in. Returns the value after the call.
pub(crate) fn ethtool(
    socket: BorrowedFd<'_>,
    device: &str,
    command: u32,
    data: u32,
) -> io::Result<u32> {
    let mut value = EthtoolValue { command, data };
    let mut request = interface_request(device)?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request and the value it points to live until the call returns; the legacy
    // commands read and write exactly one EthtoolValue.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) })?;
    Ok(value.data)
}

/// Sets `lo` up in the namespace of the calling thread. Allocates nothing.
pub(crate) fn raise_loopback() -> io::Result<()> {
    /// `IFF_UP`, as wide as the field that holds it.
    const UP: libc::c_short = 1;
    // SAFETY: socket takes no pointer; a descriptor it returns belongs to us alone.
    let socket = unsafe {
        let fd = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        OwnedFd::from_raw_fd(fd)
    };
    let mut request = interface_request("lo")?;
    // SAFETY: the request lives until the call returns; SIOCGIFFLAGS writes its flags.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: the flags were just written by the kernel; both views of the union are plain data.
    unsafe {
        request.ifr_ifru.ifru_flags |= UP;
    }
    // SAFETY: as above; SIOCSIFFLAGS reads the flags.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) })
        .map(drop)
}

fn interface_request(device: &str) -> io::Result<libc::ifreq> {
    if device.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    // SAFETY: ifreq is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// Writes a whole file by one call, as the files of user namespaces demand. Allocates nothing.
fn write_file(path: &CStr, content: &CStr) -> io::Result<()> {
    // SAFETY: the path is a live C string; a descriptor that open returns belongs to us alone.
    let file = unsafe {
        let fd = check(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        OwnedFd::from_raw_fd(fd)
    };
    let bytes = content.to_bytes();
    // SAFETY: the buffer is live and its length is passed.
    let written = unsafe { libc::write(file.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Turns the C convention of -1 and errno into a result. Allocates nothing.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
