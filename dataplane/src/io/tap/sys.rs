//! The system calls of TAP devices, each behind a safe function.

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_uint, c_ulong, iovec};

use super::super::sys::{Errno, check, last_errno};
use super::super::vnet_header::VNET_HEADER_BYTES;

/// Sets how many bytes the virtio header has.
pub(super) fn set_header_bytes(tap: BorrowedFd<'_>, bytes: c_int) -> Result<(), Errno> {
    // SAFETY: this call reads one int, which lives through it.
    let done =
        unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, &raw const bytes) };
    check(done).map(drop)
}

/// Sets which offloads the reader of the device accepts, as a set of `TUN_F_*`.
pub(super) fn set_offloads(tap: BorrowedFd<'_>, offloads: c_uint) -> Result<(), Errno> {
    let offloads = c_ulong::from(offloads);
    // SAFETY: this call takes the set by value and no pointer.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD as _, offloads) }).map(drop)
}

/// Reads a frame behind its header; the number of bytes of both.
pub(super) fn read(
    tap: BorrowedFd<'_>,
    header: &mut [u8; VNET_HEADER_BYTES],
    frame: &mut [u8],
) -> Result<usize, Errno> {
    let parts = [
        iovec { iov_base: header.as_mut_ptr().cast(), iov_len: header.len() },
        iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() },
    ];
    // SAFETY: the parts are as long as stated and borrowed mutably through the call.
    let bytes = unsafe { libc::readv(tap.as_raw_fd(), parts.as_ptr(), 2) };
    usize::try_from(bytes).map_err(|_| last_errno())
}

/// Writes a frame behind its header.
pub(super) fn write(
    tap: BorrowedFd<'_>,
    header: &[u8; VNET_HEADER_BYTES],
    frame: &[u8],
) -> Result<(), Errno> {
    let parts = [
        iovec { iov_base: header.as_ptr().cast_mut().cast(), iov_len: header.len() },
        iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() },
    ];
    // SAFETY: the parts are as long as stated and borrowed through the call, which only reads them.
    let bytes = unsafe { libc::writev(tap.as_raw_fd(), parts.as_ptr(), 2) };
    if bytes < 0 { Err(last_errno()) } else { Ok(()) }
}
