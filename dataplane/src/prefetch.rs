//! Memory as the processor likes it: in cache lines, in one piece that huge pages can lie under,
//! asked for before it is needed, and the first bytes of a line compared at once.
//!
//! [`Part`] is a box whose neighbors lie beside it. Where many parts are made together, they begin
//! at lines and follow each other; their memory is given back when the last of them is gone.

use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::mem::{align_of, needs_drop};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use bytemuck::Zeroable;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Bytes of a huge page where there are any; what is smaller cannot be in one.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// 64 bytes that share a cache line, as sixteen words.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u32; 16]);

// SAFETY: integers without padding, for which all zeros is a value.
#[allow(unsafe_code)]
unsafe impl Zeroable for Line {}

impl Line {
    /// A bit for each of the first sixteen bytes that has this value.
    #[cfg(target_feature = "sse2")]
    #[inline(always)]
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_wrap, reason = "bits, not numbers")]
    pub(crate) fn equal_bytes(&self, value: u8) -> u32 {
        use core::arch::x86_64::{
            _mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8,
        };
        // SAFETY: the target has these instructions; the line is live, has more than sixteen bytes
        // and is aligned to more than that.
        #[allow(unsafe_code)]
        unsafe {
            let bytes = _mm_load_si128(core::ptr::from_ref(self).cast());
            _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(value as i8))) as u32
        }
    }

    /// A bit for each of the first sixteen bytes that has this value.
    #[cfg(not(target_feature = "sse2"))]
    pub(crate) fn equal_bytes(&self, value: u8) -> u32 {
        let bytes = self.0[..4].iter().flat_map(|word| word.to_ne_bytes());
        bytes.enumerate().fold(0, |bits, (at, byte)| bits | u32::from(byte == value) << at)
    }
}

/// Owns a value in memory that it may share with other parts.
pub(crate) struct Part<T: ?Sized> {
    place: NonNull<T>,
    _memory: Arc<Memory>,
}

// SAFETY: a part owns its value alone, as a box does; what it shares is only given back.
#[allow(unsafe_code)]
unsafe impl<T: ?Sized + Send> Send for Part<T> {}

// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<T: ?Sized + Sync> Sync for Part<T> {}

impl<T: Zeroable> Part<T> {
    /// This many parts of zeros that follow each other, the first at the start of a line. Memory is
    /// used as it is written.
    pub(crate) fn zeros(count: usize) -> Vec<Part<T>> {
        let (memory, first) = Memory::zeroed::<T>(count);
        // SAFETY: there is room for `count` values behind `first`.
        #[allow(unsafe_code)]
        let place = |at: usize| unsafe { first.add(at) };
        let memory = Arc::new(memory);
        (0..count).map(|at| Part { place: place(at), _memory: Arc::clone(&memory) }).collect()
    }
}

impl<T: Zeroable> Part<[T]> {
    /// This many zeros in one part, the first at the start of a line. Memory is used as it is
    /// written.
    pub(crate) fn zeroed_slice(count: usize) -> Part<[T]> {
        let (memory, first) = Memory::zeroed::<T>(count);
        let place = NonNull::slice_from_raw_parts(first, count);
        Part { place, _memory: Arc::new(memory) }
    }
}

impl<T: ?Sized> Deref for Part<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the place is initialized with zeros, which are a value, is valid as long as the
        // memory, which lives as long as this part, and is no other part's.
        #[allow(unsafe_code)]
        unsafe {
            self.place.as_ref()
        }
    }
}

impl<T: ?Sized> DerefMut for Part<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; the borrow of the only part that has the place is exclusive.
        #[allow(unsafe_code)]
        unsafe {
            self.place.as_mut()
        }
    }
}

/// What parts lie in.
struct Memory {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: nothing is done with it but giving it back, once.
#[allow(unsafe_code)]
unsafe impl Send for Memory {}

// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Memory {}

impl Memory {
    /// Zeros for `count` values, and the place of the first.
    ///
    /// Aligned by hand: an allocator that is asked for more than its usual alignment writes the
    /// zeros itself, which uses the memory at once and with small pages.
    fn zeroed<T: Zeroable>(count: usize) -> (Memory, NonNull<T>) {
        const { assert!(align_of::<T>() <= LINE_BYTES && !needs_drop::<T>()) };
        let bytes = size_of::<T>() * count;
        let align = if bytes < HUGE_PAGE_BYTES { LINE_BYTES } else { HUGE_PAGE_BYTES };
        // Fails where there is less address space than that, as any other allocation would.
        let layout = Layout::array::<u128>((bytes + align).div_ceil(size_of::<u128>()));
        let layout = layout.unwrap_or_else(|_| handle_alloc_error(Layout::new::<T>()));
        // SAFETY: the layout is not empty.
        #[allow(unsafe_code)]
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        let skipped = base.addr().get().wrapping_neg() % align;
        // SAFETY: fewer bytes are skipped than the layout has beyond those of the values.
        #[allow(unsafe_code)]
        let first = unsafe { base.add(skipped) };
        (Memory { base, layout }, first.cast())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it came from the allocator with this layout, and no part is left.
        #[allow(unsafe_code)]
        unsafe {
            dealloc(self.base.as_ptr(), self.layout);
        }
    }
}

/// Asks the processor to load the line that `place` begins in, for a later pass over the batch. A
/// hint: changes no result.
///
/// Only as far as the second cache: a batch asks for more lines than the first one can wait for at
/// once, and would then wait for them one after the other.
#[inline(always)]
pub(crate) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    hint::<{ core::arch::x86_64::_MM_HINT_T1 }, T>(place);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// The same for one of the next packets of this pass: into the first cache.
#[inline(always)]
pub(crate) fn prefetch_near<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    hint::<{ core::arch::x86_64::_MM_HINT_T0 }, T>(place);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn hint<const LEVEL: i32, T>(place: &T) {
    // SAFETY: a prefetch reads nothing architecturally and cannot fault; the address is that of a
    // live reference besides.
    #[allow(unsafe_code)]
    unsafe {
        core::arch::x86_64::_mm_prefetch::<LEVEL>(core::ptr::from_ref(place).cast());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_zero_lie_side_by_side_and_outlive_each_other() {
        let mut parts = Part::<[u8; 192]>::zeros(5);
        let start = parts[0].as_ptr().addr();
        assert_eq!(start % LINE_BYTES, 0);
        for (at, part) in parts.iter_mut().enumerate() {
            assert_eq!(part.as_ptr().addr(), start + at * 192);
            assert_eq!(**part, [0; 192]);
            part.fill(at.to_le_bytes()[0] + 1);
        }
        let last = parts.pop();
        drop(parts);
        assert!(last.is_some_and(|last| *last == [5; 192]));
    }

    #[test]
    fn a_large_table_begins_where_huge_pages_do_and_an_empty_one_is_nothing() {
        let table = Part::<[Line]>::zeroed_slice(HUGE_PAGE_BYTES / LINE_BYTES);
        assert_eq!(table.as_ptr().addr() % HUGE_PAGE_BYTES, 0);
        assert_eq!(table[table.len() - 1].0, [0; 16]);
        assert_eq!(Part::<[Line]>::zeroed_slice(0).len(), 0);
        assert_eq!(Part::<Line>::zeros(0).len(), 0);
    }
}
