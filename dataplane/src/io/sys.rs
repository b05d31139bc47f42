//! The system calls that all devices and the platform share, each behind a safe function.
//!
//! Every function checks the result and returns the error number; none keeps a pointer past its
//! call, allocates or retries.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, c_ulong};

/// The number of an error that the system reported.
pub(super) type Errno = i32;

/// The error of the system call that just failed on this thread.
pub(super) fn last_errno() -> Errno {
    // `last_os_error` always holds a number.
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Turns the result of a system call into a `Result`.
pub(super) fn check(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

/// The size of what a system call is pointed to.
#[expect(clippy::cast_possible_truncation, reason = "structures of some dozen bytes")]
pub(super) fn length_of<T>(_: &T) -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// Takes over a descriptor that a system call has just returned.
///
/// # Safety
/// `result` is the result of a call that returns a new descriptor or a negative number.
unsafe fn new_descriptor(result: c_int) -> Result<OwnedFd, Errno> {
    let descriptor = check(result)?;
    // SAFETY: the caller says that it is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A socket that does not block and is not inherited by children.
pub(super) fn socket(family: c_int, kind: c_int, protocol: c_int) -> Result<OwnedFd, Errno> {
    let kind = kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket takes no pointer and returns a new descriptor.
    unsafe { new_descriptor(libc::socket(family, kind, protocol)) }
}

/// Sets a socket option that is a plain number.
pub(super) fn set_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> Result<(), Errno> {
    let length = length_of(&value);
    let value = (&raw const value).cast();
    // SAFETY: `value` points to a c_int that outlives the call, and `length` is its size.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) }).map(drop)
}

/// Reads a socket option that is a plain number of four (`u32`, `i32`) or eight bytes (`u64`).
pub(super) fn option<T: Copy + Default + Number>(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
) -> Result<T, Errno> {
    let mut value = T::default();
    let mut length = length_of(&value);
    let at = (&raw mut value).cast();
    // SAFETY: `at` points to `length` bytes that live through the call; every bit pattern is a
    // valid `Number`.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, at, &raw mut length) })?;
    Ok(value)
}

/// Types of which every bit pattern is a value.
///
/// # Safety
/// It must be so: the kernel writes what it likes.
pub(super) unsafe trait Number {}

// SAFETY: an integer without padding.
unsafe impl Number for i32 {}

// SAFETY: an integer without padding.
unsafe impl Number for u64 {}

// SAFETY: integers without padding within or between.
unsafe impl Number for [u32; 2] {}

/// `struct ifreq` as plain bytes: the kernel reads and writes at most these.
#[repr(C, align(8))]
#[derive(Clone, Copy, Default)]
pub(super) struct InterfaceRequest {
    /// Name of the interface, ended by a zero byte.
    pub(super) name: [u8; libc::IFNAMSIZ],
    /// What is asked or answered; its form depends on the request.
    pub(super) value: [u8; 24],
}

// A kernel that copies more than this would write behind it.
const _: () = assert!(size_of::<InterfaceRequest>() >= size_of::<libc::ifreq>());

/// The requests that take and return a `struct ifreq`.
#[derive(Clone, Copy)]
pub(super) enum InterfaceCall {
    Index,
    Mtu,
    HardwareAddress,
    Flags,
    SetFlags,
    /// `TUNSETIFF`, on a descriptor of `/dev/net/tun`.
    AttachTap,
    /// `TUNGETIFF`, on a descriptor that is attached.
    AttachedTap,
}

impl InterfaceCall {
    fn number(self) -> c_ulong {
        // From linux/sockios.h; libc types some of them differently from target to target.
        match self {
            InterfaceCall::Index => 0x8933,
            InterfaceCall::Mtu => 0x8921,
            InterfaceCall::HardwareAddress => 0x8927,
            InterfaceCall::Flags => 0x8913,
            InterfaceCall::SetFlags => 0x8914,
            InterfaceCall::AttachTap => libc::TUNSETIFF as c_ulong,
            InterfaceCall::AttachedTap => libc::TUNGETIFF as c_ulong,
        }
    }
}

/// Asks the kernel about an interface, or changes it.
pub(super) fn interface(
    descriptor: BorrowedFd<'_>,
    call: InterfaceCall,
    request: &mut InterfaceRequest,
) -> Result<(), Errno> {
    let argument: *mut InterfaceRequest = request;
    // SAFETY: each of these calls reads and writes one `struct ifreq`, for which there is room at
    // `argument`, and keeps no pointer.
    check(unsafe { libc::ioctl(descriptor.as_raw_fd(), call.number() as _, argument) }).map(drop)
}

/// Moves the calling thread into the network namespace that `namespace` is open on.
pub(super) fn enter_network_namespace(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: setns takes no pointer and changes the calling thread only.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// A counter that can be waited for; it does not block.
pub(super) fn event() -> Result<OwnedFd, Errno> {
    // SAFETY: eventfd takes no pointer and returns a new descriptor.
    unsafe { new_descriptor(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) }
}

/// Adds one to an event counter.
pub(super) fn signal(event: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: eventfd_write takes no pointer.
    check(unsafe { libc::eventfd_write(event.as_raw_fd(), 1) }).map(drop)
}

/// Sets an event counter back to zero.
pub(super) fn drain(event: BorrowedFd<'_>) {
    let mut count = 0;
    // SAFETY: `count` lives through the call. It fails only if the counter is zero already.
    unsafe { libc::eventfd_read(event.as_raw_fd(), &raw mut count) };
}

/// Waits until one of the descriptors has what it is polled for, at most `timeout`. Says whether
/// one has.
pub(super) fn poll(descriptors: &mut [libc::pollfd], timeout: Duration) -> Result<bool, Errno> {
    let time = timespec(timeout);
    let count = descriptors.len() as libc::nfds_t;
    let at = descriptors.as_mut_ptr();
    // SAFETY: `at` points to `count` pollfds and `time` to a timespec; both live through the call.
    // A null signal mask leaves the thread's own.
    let ready = check(unsafe { libc::ppoll(at, count, &raw const time, std::ptr::null()) })?;
    Ok(ready > 0)
}

fn timespec(duration: Duration) -> libc::timespec {
    // SAFETY: a timespec is numbers, and padding on some targets; zero is a value of each.
    let mut time: libc::timespec = unsafe { MaybeUninit::zeroed().assume_init() };
    time.tv_sec = libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX);
    time.tv_nsec = duration.subsec_nanos() as _;
    time
}

/// Nanoseconds of the clock that never goes back, since boot. The same for all threads.
pub(super) fn monotonic_nanos() -> u64 {
    let mut time = timespec(Duration::ZERO);
    // SAFETY: `time` lives through the call. It cannot fail for a clock that always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Advises the kernel to put huge pages under every page that the area touches.
pub(super) fn advise_huge_pages(start: usize, bytes: usize) -> Result<(), Errno> {
    // The smallest page of any system that has huge ones; where pages are larger it fails.
    const PAGE_BYTES: usize = 4096;
    let first = start & !(PAGE_BYTES - 1);
    let length = start + bytes - first;
    let at = std::ptr::without_provenance_mut(first);
    // SAFETY: this advice changes neither the content nor the validity of any memory, whosever it
    // is, and an address where there is none is an error; nothing is accessed through the pointer.
    check(unsafe { libc::madvise(at, length, libc::MADV_HUGEPAGE) }).map(drop)
}

/// CPUs that the calling thread may run on.
pub(super) fn affinity() -> Result<libc::cpu_set_t, Errno> {
    // SAFETY: a cpu_set_t is an array of numbers; zero is a value of it.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `set` lives through the call and has the size given; 0 is the calling thread.
    check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) })?;
    Ok(set)
}

/// Whether a CPU is in a set.
pub(super) fn contains(set: &libc::cpu_set_t, cpu: usize) -> bool {
    // SAFETY: the index is within the set.
    cpu < CPUS_MAX && unsafe { libc::CPU_ISSET(cpu, set) }
}

/// CPUs that a set has room for.
pub(super) const CPUS_MAX: usize = 8 * size_of::<libc::cpu_set_t>();

/// Binds the calling thread to a CPU.
pub(super) fn set_affinity(cpu: usize) -> Result<(), Errno> {
    if cpu >= CPUS_MAX {
        return Err(libc::EINVAL);
    }
    // SAFETY: a cpu_set_t is an array of numbers; zero is a value of it.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the index is within the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` lives through the call and has the size given; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}
