//! What the maps of the program hold, vouched for as plain bytes; and maps that are read and
//! written in place.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use aya::Pod;

use super::slot::{Inbox, Key, Passed, Slot};
use super::table::SLOT_WORDS;

// SAFETY: integers and arrays of them, without padding.
unsafe impl Pod for Inbox {}

// SAFETY: integers and arrays of them; its fields add up to its size, which `slot` asserts.
unsafe impl Pod for Slot {}

// SAFETY: two u64.
unsafe impl Pod for Passed {}

/// A key as it lies in a slot.
pub(super) fn key_words(key: &Key) -> [u64; 2] {
    // SAFETY: sixteen bytes of integers without padding, of which any are a value.
    unsafe { std::mem::transmute(*key) }
}

/// A slot as words.
pub(super) fn slot_words(slot: &Slot) -> [u64; SLOT_WORDS] {
    // SAFETY: integers without padding, of which any are a value; sizes agree.
    unsafe { std::mem::transmute(*slot) }
}

/// The same back.
pub(super) fn slot_of(words: [u64; SLOT_WORDS]) -> Slot {
    // SAFETY: as above.
    unsafe { std::mem::transmute(words) }
}

/// An array of whole numbers that others may read and write, too: a map of the program.
pub(super) struct Words {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the mapping is reached by atomic words alone and belongs to this value.
unsafe impl Send for Words {}

// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Of a map that may be mapped and has so many words.
    ///
    /// # Errors
    /// The kernel does not allow it.
    pub(super) fn of_map(map: BorrowedFd<'_>, count: usize) -> io::Result<Words> {
        Words::mapped(count, libc::MAP_SHARED, map.as_raw_fd())
    }

    /// Of memory that nobody shares, all zeros.
    ///
    /// # Errors
    /// There is none.
    #[cfg(test)]
    pub(super) fn anonymous(count: usize) -> io::Result<Words> {
        Words::mapped(count, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    fn mapped(count: usize, how: libc::c_int, of: libc::c_int) -> io::Result<Words> {
        let (bytes, anywhere) = (count * size_of::<u64>(), std::ptr::null_mut());
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe { libc::mmap(anywhere, bytes, access, how, of, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Words { start, count })
    }

    /// The words of an element, each of which has so many; none if there is no such element.
    pub(super) fn of(&self, element: usize, words: usize) -> &[AtomicU64] {
        // SAFETY: the mapping has `count` words and lasts as long as this value; pages begin at
        // multiples of eight; whoever else writes there does so by whole numbers.
        let all = unsafe { NonNull::slice_from_raw_parts(self.start, self.count).as_ref() };
        all.get(element * words..(element + 1) * words).unwrap_or_default()
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: this is what was mapped, and nobody has a reference into it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * size_of::<u64>()) };
    }
}
