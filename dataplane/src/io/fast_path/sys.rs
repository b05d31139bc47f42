//! What the maps of the program hold, vouched for as plain bytes; and the one call that the library
//! lacks.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::from_ref;

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
