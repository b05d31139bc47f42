//! What the maps of the program hold, vouched for as plain bytes; the one call that the library
//! lacks; and a map that is read in place.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, from_ref};
use std::sync::atomic::{AtomicU64, Ordering};

use aya::Pod;

use super::entry::{Entry, Inbox, Key, Passed};

// SAFETY: integers and arrays of them, without padding.
unsafe impl Pod for Inbox {}

// SAFETY: arrays of bytes and a u32 at a multiple of four, without padding.
unsafe impl Pod for Key {}

// SAFETY: integers and arrays of them; its fields add up to its size, which `entry` asserts.
unsafe impl Pod for Entry {}

// SAFETY: two u64.
unsafe impl Pod for Passed {}

/// An array of [`Passed`] as the kernel has it, to be read in place.
pub(super) struct Cells {
    start: NonNull<[AtomicU64; 2]>,
    count: usize,
}

// SAFETY: the mapping is only read, by whole numbers, and belongs to this value alone.
unsafe impl Send for Cells {}

// SAFETY: as above.
unsafe impl Sync for Cells {}

impl Cells {
    /// Of a map of so many elements that may be mapped.
    ///
    /// # Errors
    /// The kernel does not allow it.
    pub(super) fn of(map: BorrowedFd<'_>, count: usize) -> io::Result<Cells> {
        let (bytes, anywhere) = (count * size_of::<Passed>(), std::ptr::null_mut());
        let (access, sharing) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { libc::mmap(anywhere, bytes, access, sharing, map.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Cells { start, count })
    }

    /// An element; zeros if there is none.
    pub(super) fn read(&self, at: usize) -> Passed {
        if at >= self.count {
            return Passed { packets: 0, bytes: 0 };
        }
        // SAFETY: the mapping has `count` elements and lasts as long as this value; pages begin at
        // multiples of eight; who else writes there is the kernel, whole words at a time.
        let [packets, bytes] = unsafe { self.start.add(at).as_ref() };
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Passed { packets: load(packets), bytes: load(bytes) }
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        // SAFETY: this is what was mapped, and nobody has a reference into it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * size_of::<Passed>()) };
    }
}

/// The part of `union bpf_attr` that calls about elements take (bpf(2)).
#[repr(C)]
struct Attributes {
    map: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
const LOOKUP_AND_DELETE: libc::c_int = 21;

/// Takes an entry out of a map of [`Key`] to [`Entry`], in one step, so that nothing is counted
/// there between a look and a removal.
///
/// # Errors
/// There is none.
pub(super) fn take(map: BorrowedFd<'_>, key: &Key) -> io::Result<Entry> {
    let mut entry = MaybeUninit::<Entry>::uninit();
    let attributes = Attributes {
        map: map.as_raw_fd().cast_unsigned(),
        unused: 0,
        key: from_ref(key).expose_provenance() as u64,
        value: entry.as_mut_ptr().expose_provenance() as u64,
        flags: 0,
    };
    // SAFETY: key and value have the sizes of the map, for which it was made, and live until the
    // call returns; the kernel reads the one, writes the other and keeps neither.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            LOOKUP_AND_DELETE,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has written all of it.
    Ok(unsafe { entry.assume_init() })
}
