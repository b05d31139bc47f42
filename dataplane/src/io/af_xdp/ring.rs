//! Rings in memory that is shared with the kernel: one side writes entries and moves the producer's
//! index, the other reads them and moves the consumer's.
//!
//! Each end trusts the other's index no further than that entries between the two are there: an
//! index that lies can make frames come twice or never, but no access leaves the ring.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::sys::{Errno, last_errno};

/// Types of ring entries: every bit pattern is a value.
///
/// # Safety
/// It must be so: the kernel writes what it likes.
pub(super) unsafe trait Entry: Copy {}

// SAFETY: a number: the address of a chunk.
unsafe impl Entry for u64 {}
// SAFETY: numbers without padding: address, length, options.
unsafe impl Entry for Descriptor {}

/// A piece of a frame in frame memory (`struct xdp_desc`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Descriptor {
    /// Its first byte, counted from the start of the memory.
    pub(super) address: u64,
    pub(super) bytes: u32,
    pub(super) options: u32,
}

/// Memory that the kernel gave; given back when dropped.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn of(socket: BorrowedFd<'_>, page: libc::off_t, bytes: usize) -> Result<Mapping, Errno> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let sharing = libc::MAP_SHARED | libc::MAP_POPULATE;
        let anywhere = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start =
            unsafe { libc::mmap(anywhere, bytes, access, sharing, socket.as_raw_fd(), page) };
        if start == libc::MAP_FAILED {
            return Err(last_errno());
        }
        NonNull::new(start.cast()).map(|start| Mapping { start, bytes }).ok_or(libc::ENOMEM)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing that points into it outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Where the parts of a ring lie in its mapping, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) producer: u64,
    pub(super) consumer: u64,
    pub(super) entries: u64,
}

impl From<libc::xdp_ring_offset> for Layout {
    fn from(offsets: libc::xdp_ring_offset) -> Layout {
        Layout { producer: offsets.producer, consumer: offsets.consumer, entries: offsets.desc }
    }
}

/// What both ends of a ring are made of.
struct Ring<T: Entry> {
    mapping: Mapping,
    layout: [usize; 3],
    mask: u32,
    /// Our index, before it is published.
    own: u32,
    /// The other side's, as we saw it last.
    other: u32,
    entries: PhantomData<T>,
}

// SAFETY: it owns its mapping; the indices in it are atomic, and the entries between them belong to
// one side at a time.
unsafe impl<T: Entry> Send for Ring<T> {}

impl<T: Entry> Ring<T> {
    /// The ring of a socket at this page of its file; `entries` is a power of two.
    fn of(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        layout: Layout,
        entries: u32,
    ) -> Result<Ring<T>, Errno> {
        let place = |offset: u64| usize::try_from(offset).map_err(|_| libc::EINVAL);
        let layout = [place(layout.producer)?, place(layout.consumer)?, place(layout.entries)?];
        let bytes = entries as usize * size_of::<T>();
        let end = layout[2].checked_add(bytes).ok_or(libc::EINVAL)?;
        let index_fits = |at: usize| at.is_multiple_of(4) && at + 4 <= end;
        let aligned = layout[2].is_multiple_of(align_of::<T>());
        if !entries.is_power_of_two() || !aligned || !layout[..2].iter().all(|&at| index_fits(at)) {
            return Err(libc::EINVAL);
        }
        let mapping = Mapping::of(socket, page, end)?;
        let mask = entries - 1;
        Ok(Ring { mapping, layout, mask, own: 0, other: 0, entries: PhantomData })
    }

    fn index(&self, which: usize) -> &AtomicU32 {
        // SAFETY: the place is aligned and within the mapping, as was checked when it was made; the
        // kernel accesses it atomically.
        unsafe { &*self.mapping.start.as_ptr().add(self.layout[which]).cast::<AtomicU32>() }
    }

    fn producer(&self) -> &AtomicU32 {
        self.index(0)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.index(1)
    }

    /// The entry of an index.
    fn entry(&self, index: u32) -> *mut T {
        let at = self.layout[2] + (index & self.mask) as usize * size_of::<T>();
        // SAFETY: masked, it is within the mapping, as was checked when it was made.
        unsafe { self.mapping.start.as_ptr().add(at).cast() }
    }
}

/// The end of a ring that we write.
pub(super) struct Producer<T: Entry>(Ring<T>);

impl<T: Entry> Producer<T> {
    pub(super) fn of(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        layout: Layout,
        entries: u32,
    ) -> Result<Producer<T>, Errno> {
        Ring::of(socket, page, layout, entries).map(Producer)
    }

    /// Entries that have been pushed and not been consumed.
    pub(super) fn pending(&mut self) -> u32 {
        self.0.other = self.0.consumer().load(Ordering::Acquire);
        self.0.own.wrapping_sub(self.0.other)
    }

    /// Writes an entry, for which there must be room; the other side sees it after
    /// [`Producer::publish`].
    pub(super) fn push(&mut self, entry: T) {
        // SAFETY: the entry is within the mapping and, since there is room, ours.
        unsafe { self.0.entry(self.0.own).write(entry) };
        self.0.own = self.0.own.wrapping_add(1);
    }

    /// Lets the other side see what was pushed.
    pub(super) fn publish(&mut self) {
        self.0.producer().store(self.0.own, Ordering::Release);
    }
}

/// The end of a ring that we read.
pub(super) struct Consumer<T: Entry>(Ring<T>);

impl<T: Entry> Consumer<T> {
    pub(super) fn of(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        layout: Layout,
        entries: u32,
    ) -> Result<Consumer<T>, Errno> {
        Ring::of(socket, page, layout, entries).map(Consumer)
    }

    /// Takes the next entry; its place is given back by [`Consumer::release`].
    pub(super) fn take(&mut self) -> Option<T> {
        if self.0.own == self.0.other {
            self.0.other = self.0.producer().load(Ordering::Acquire);
            if self.0.own == self.0.other {
                return None;
            }
        }
        // SAFETY: the entry is within the mapping, written by the other side, and every bit pattern
        // is a value.
        let entry = unsafe { self.0.entry(self.0.own).read() };
        self.0.own = self.0.own.wrapping_add(1);
        Some(entry)
    }

    /// Gives the places of what was taken back.
    pub(super) fn release(&mut self) {
        self.0.consumer().store(self.0.own, Ordering::Release);
    }
}
