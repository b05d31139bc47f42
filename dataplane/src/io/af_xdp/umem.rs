//! The memory that a socket's frames lie in, shared with the kernel, in chunks of one size.
//!
//! Bytes are copied in and out within bounds; no reference into it is ever given out.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use super::super::sys::{Errno, last_errno};
use super::sys::register;

/// Frame memory. Must be dropped after its socket.
pub(super) struct Umem {
    start: NonNull<u8>,
    bytes: usize,
    chunk_bytes: usize,
}

// SAFETY: it owns its mapping, and copies bytes that the kernel is not using.
unsafe impl Send for Umem {}

impl Umem {
    /// Memory of so many chunks.
    pub(super) fn new(chunks: usize, chunk_bytes: usize) -> Result<Umem, Errno> {
        let bytes = chunks * chunk_bytes;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let sharing = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let anywhere = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { libc::mmap(anywhere, bytes, access, sharing, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(last_errno());
        }
        let start = NonNull::new(start.cast()).ok_or(libc::ENOMEM)?;
        Ok(Umem { start, bytes, chunk_bytes })
    }

    /// Shares it with a socket.
    pub(super) fn register(&self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        let chunk_bytes = u32::try_from(self.chunk_bytes).map_err(|_| libc::EINVAL)?;
        // SAFETY: it stays mapped until it is dropped, which is after the socket; only bytes are
        // copied in and out of it.
        unsafe { register(socket, self.start.as_ptr().cast(), self.bytes, chunk_bytes) }
    }

    pub(super) fn chunk_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// The address of the chunk that an address is in.
    pub(super) fn chunk_of(&self, address: u64) -> u64 {
        address & !(self.chunk_bytes as u64 - 1)
    }

    /// Copies out what lies at an address, as much as fits into `into`. Says how much that was: 0
    /// if it does not lie within the memory.
    pub(super) fn read(&self, address: u64, bytes: u32, into: &mut [u8]) -> usize {
        let length = (bytes as usize).min(into.len());
        let Some(from) = self.place(address, length) else { return 0 };
        // SAFETY: the place holds `length` bytes, and so does `into`, which is no part of it.
        unsafe { from.copy_to_nonoverlapping(into.as_mut_ptr(), length) };
        length
    }

    /// Copies bytes to an address; nothing happens if they do not fit within the memory.
    pub(super) fn write(&mut self, address: u64, bytes: &[u8]) {
        let Some(to) = self.place(address, bytes.len()) else { return };
        // SAFETY: the place has room for so many bytes, which are no part of it.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    fn place(&self, address: u64, length: usize) -> Option<*mut u8> {
        let at = usize::try_from(address).ok()?;
        let fits = at.checked_add(length).is_some_and(|end| end <= self.bytes);
        // SAFETY: it is within the mapping, as was just checked.
        fits.then(|| unsafe { self.start.as_ptr().add(at) })
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours. The kernel holds the pages themselves as long as it needs
        // them.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
