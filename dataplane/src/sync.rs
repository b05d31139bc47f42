//! What threads meet on: atomics, the lock of a cell and the rings' queue, under one name each.
//!
//! In the product these are those of `core`, parking_lot and crossbeam, and cost nothing. Under
//! `--cfg loom` they are the model checker's, which tries the orders in which threads can meet and
//! the values that each may then see (`dataplane/tests/sync.rs`). Whatever two threads share
//! without owning is taken from here, or it is not checked.

#[cfg(loom)]
mod model;

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
#[cfg(all(feature = "io", not(loom)))]
pub(crate) use crossbeam_queue::ArrayQueue;
#[cfg(loom)]
pub(crate) use model::*;
#[cfg(all(feature = "io", not(loom)))]
pub(crate) use parking_lot::Mutex;

use alloc::boxed::Box;
use alloc::vec::Vec;

/// A table of atomics; those that are made together lie side by side.
#[cfg(not(loom))]
pub(crate) type Table<T, const COUNT: usize> = crate::prefetch::Part<[T; COUNT]>;

/// A table of the model checker's.
#[cfg(loom)]
pub(crate) type Table<T, const COUNT: usize> = Box<[T; COUNT]>;

/// So many tables of zeros. Memory is used as it is written.
#[cfg(not(loom))]
pub(crate) fn zeroed_tables<T: bytemuck::Zeroable, const COUNT: usize>(
    tables: usize,
) -> Vec<Table<T, COUNT>> {
    crate::prefetch::Part::zeros(tables)
}

/// The model checker must hear of each.
#[cfg(loom)]
pub(crate) fn zeroed_tables<T: Default, const COUNT: usize>(tables: usize) -> Vec<Table<T, COUNT>> {
    (0..tables).map(|_| Box::new(core::array::from_fn(|_| T::default()))).collect()
}

/// Zeroed atomics straight from the allocator, so that memory is used only where they are touched.
#[cfg(not(loom))]
pub(crate) fn zeroed<T: bytemuck::Zeroable>(count: usize) -> Box<[T]> {
    bytemuck::zeroed_slice_box(count)
}

/// The model checker must hear of each.
#[cfg(loom)]
pub(crate) fn zeroed<T: Default>(count: usize) -> Box<[T]> {
    (0..count).map(|_| T::default()).collect()
}
