//! Cache lines: aligned, zeroed without being touched, asked for before they are needed, and their
//! first bytes compared at once.

use alloc::boxed::Box;

/// 64 bytes that share a cache line, as sixteen words.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u32; 16]);

// SAFETY: integers without padding, for which all zeros is a value.
#[allow(unsafe_code)]
unsafe impl bytemuck::Zeroable for Line {}

impl Line {
    /// This many lines of zeros, straight from the allocator: memory is used as it is written.
    pub(crate) fn zeros(count: usize) -> Box<[Line]> {
        bytemuck::zeroed_slice_box(count)
    }

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

/// Asks the processor to load the line that `place` begins in. A hint: changes no result.
#[inline(always)]
pub(crate) fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing architecturally and cannot fault; the address is that of
        // a live reference besides.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(place).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
