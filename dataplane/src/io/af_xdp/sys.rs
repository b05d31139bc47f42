//! The system calls of AF_XDP sockets and of the program that feeds them, each behind a safe
//! function. Only its own structures cross; rings and frame memory are in their own files.

use std::mem::{size_of, size_of_val};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void};

use super::super::interface::InterfaceName;
use super::super::sys::{Errno, InterfaceRequest, check, last_errno, length_of};

/// Commands of bpf(2).
#[derive(Clone, Copy)]
enum Command {
    MapCreate = 0,
    MapUpdate = 2,
    ProgramLoad = 5,
    LinkCreate = 28,
}

/// Room for the arguments of any command here; the kernel takes what is behind them for zeros.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Arguments([u8; 128]);

impl Arguments {
    /// Arguments with these bytes at these places.
    fn of(fields: &[(usize, &[u8])]) -> Arguments {
        let mut arguments = Arguments([0; 128]);
        for (at, bytes) in fields {
            arguments.0[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        arguments
    }
}

/// # Safety
/// Every pointer among the arguments is valid for what the command does with it.
unsafe fn bpf(command: Command, arguments: &Arguments) -> Result<c_int, Errno> {
    let at: *const Arguments = arguments;
    // SAFETY: the kernel reads as many bytes as stated; the caller vouches for pointers within.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as c_int, at, size_of::<Arguments>()) };
    if result < 0 { Err(last_errno()) } else { Ok(c_int::try_from(result).unwrap_or(-1)) }
}

/// Takes over the descriptor that a command returned.
fn owned(descriptor: c_int) -> OwnedFd {
    // SAFETY: only called with what commands that make a new descriptor returned.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// A map from a device's queues, of which there are `queues`, to AF_XDP sockets.
pub(super) fn create_socket_map(queues: u32) -> Result<OwnedFd, Errno> {
    const TYPE_SOCKETS: u32 = 17;
    let (four, kind) = (4_u32.to_ne_bytes(), TYPE_SOCKETS.to_ne_bytes());
    let arguments =
        Arguments::of(&[(0, &kind), (4, &four), (8, &four), (12, &queues.to_ne_bytes())]);
    // SAFETY: no pointer among them.
    unsafe { bpf(Command::MapCreate, &arguments) }.map(owned)
}

/// Puts the socket of a queue into the map.
pub(super) fn set_socket(
    map: BorrowedFd<'_>,
    queue: u32,
    socket: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let value = socket.as_raw_fd();
    let (key_at, value_at) = (pointer(&queue), pointer(&value));
    let arguments =
        Arguments::of(&[(0, &map.as_raw_fd().to_ne_bytes()), (8, &key_at), (16, &value_at)]);
    // SAFETY: key and value have the four bytes that the map's were made with, and live through
    // the call.
    unsafe { bpf(Command::MapUpdate, &arguments) }.map(drop)
}

/// Loads an XDP program that takes frames in several pieces.
pub(super) fn load_program(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    const TYPE_XDP: u32 = 6;
    const ATTACH_XDP: u32 = 37;
    const FRAMES_IN_PIECES: u32 = 1 << 5;
    let license = c"Apache-2.0";
    let count = u32::try_from(instructions.len()).map_err(|_| libc::E2BIG)?;
    let arguments = Arguments::of(&[
        (0, &TYPE_XDP.to_ne_bytes()),
        (4, &count.to_ne_bytes()),
        (8, &(instructions.as_ptr() as u64).to_ne_bytes()),
        (16, &(license.as_ptr() as u64).to_ne_bytes()),
        (44, &FRAMES_IN_PIECES.to_ne_bytes()),
        (68, &ATTACH_XDP.to_ne_bytes()),
    ]);
    // SAFETY: the instructions are as many as stated, the license ends with a zero byte, and both
    // live through the call.
    unsafe { bpf(Command::ProgramLoad, &arguments) }.map(owned)
}

/// Attaches a program to an interface's driver; it is detached when the link is closed.
pub(super) fn attach(program: BorrowedFd<'_>, interface: i32) -> Result<OwnedFd, Errno> {
    const ATTACH_XDP: u32 = 37;
    const IN_DRIVER: u32 = 1 << 2;
    let arguments = Arguments::of(&[
        (0, &program.as_raw_fd().to_ne_bytes()),
        (4, &interface.to_ne_bytes()),
        (8, &ATTACH_XDP.to_ne_bytes()),
        (12, &IN_DRIVER.to_ne_bytes()),
    ]);
    // SAFETY: no pointer among them.
    unsafe { bpf(Command::LinkCreate, &arguments) }.map(owned)
}

fn pointer<T>(to: &T) -> [u8; 8] {
    let at: *const T = to;
    (at as u64).to_ne_bytes()
}

/// Types that the kernel may read and write as they are: numbers without padding between them.
///
/// # Safety
/// It must be so.
pub(super) unsafe trait Plain {}

// SAFETY: numbers, and a length that is a multiple of the largest.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: six numbers of one size.
unsafe impl Plain for libc::xdp_statistics {}

/// Reads an option of an AF_XDP socket.
pub(super) fn option<T: Plain>(
    socket: BorrowedFd<'_>,
    name: c_int,
    mut value: T,
) -> Result<T, Errno> {
    let mut length = length_of(&value);
    let at: *mut T = &raw mut value;
    let level = libc::SOL_XDP;
    // SAFETY: `at` points to `length` bytes of plain numbers that live through the call.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, at.cast(), &raw mut length) };
    check(result).map(|_| value)
}

/// Registers the frame memory of a socket.
///
/// # Safety
/// The kernel reads and writes it until the socket is closed: it must be mapped so long, and not be
/// looked at as anything but bytes that change.
pub(super) unsafe fn register(
    socket: BorrowedFd<'_>,
    start: *mut c_void,
    bytes: usize,
    chunk_bytes: u32,
) -> Result<(), Errno> {
    // The first form of the structure, which every kernel takes.
    #[repr(C)]
    struct Registration {
        start: u64,
        bytes: u64,
        chunk_bytes: u32,
        headroom: u32,
        flags: u32,
        metadata_bytes: u32,
    }
    let registration = Registration {
        start: start as u64,
        bytes: bytes as u64,
        chunk_bytes,
        headroom: 0,
        flags: 0,
        metadata_bytes: 0,
    };
    let (at, length) = ((&raw const registration).cast(), length_of(&registration));
    let (level, name) = (libc::SOL_XDP, libc::XDP_UMEM_REG);
    // SAFETY: `at` points to `length` bytes that live through the call; the caller vouches for the
    // memory.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, at, length) }).map(drop)
}

/// Binds a socket to a queue of an interface: frames are copied, may come in pieces, and sending
/// is asked for by [`kick`].
pub(super) fn bind(socket: BorrowedFd<'_>, interface: i32, queue: u32) -> Result<(), Errno> {
    #[expect(clippy::cast_possible_truncation, reason = "the number is 44")]
    let family = libc::AF_XDP as u16;
    let address = libc::sockaddr_xdp {
        sxdp_family: family,
        sxdp_flags: libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP | libc::XDP_USE_SG,
        sxdp_ifindex: u32::try_from(interface).map_err(|_| libc::ENODEV)?,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let (at, length) = ((&raw const address).cast(), length_of(&address));
    // SAFETY: `at` points to an address of `length` bytes that lives through the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), at, length) }).map(drop)
}

/// Makes the kernel send what is in the socket's ring, without blocking.
pub(super) fn kick(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let (nothing, flags) = (std::ptr::null(), libc::MSG_DONTWAIT);
    let (no_address, no_length) = (std::ptr::null(), 0);
    // SAFETY: no bytes and no address are handed over.
    let result =
        unsafe { libc::sendto(socket.as_raw_fd(), nothing, 0, flags, no_address, no_length) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// The queues that an interface receives on, as its driver says; `None` if it does not say.
pub(super) fn receive_queues(socket: BorrowedFd<'_>, name: InterfaceName) -> Option<u32> {
    const GET_CHANNELS: u32 = 0x3c;
    const SIOCETHTOOL: u32 = 0x8946;
    // linux/ethtool.h: the command, four limits, then receive, transmit, other and combined.
    let mut channels = [0_u32; 9];
    channels[0] = GET_CHANNELS;
    let mut request = InterfaceRequest { name, ..InterfaceRequest::default() };
    let at = (channels.as_mut_ptr() as usize).to_ne_bytes();
    request.value[..size_of_val(&at)].copy_from_slice(&at);
    let argument = &raw mut request;
    // SAFETY: the call reads the request and, at the address in it, reads and writes as many
    // numbers as there are; both live through it.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, argument) }).ok()?;
    let [_, _, _, _, _, receive, _, _, combined] = channels;
    Some(receive.max(combined)).filter(|&queues| queues > 0)
}
