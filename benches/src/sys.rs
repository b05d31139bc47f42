//! The processor's time stamp counter.

/// Cycles of the reference clock since some origin.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn clocks() -> u64 {
    // SAFETY: reading the time stamp counter has no precondition and no side effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Nanoseconds, where there is no such counter.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn clocks() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
