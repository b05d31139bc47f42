//! The model checker's atomics and lock, and a queue made of the lock: how crossbeam's queue keeps
//! its own promises is not ours to check, what we do around it is.

use alloc::collections::VecDeque;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A lock that is not poisoned.
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Mutex<T> {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

/// A bounded queue with the calls of crossbeam's that we use.
pub(crate) struct ArrayQueue<T> {
    waiting: Mutex<VecDeque<T>>,
    capacity: usize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> ArrayQueue<T> {
        ArrayQueue { waiting: Mutex::new(VecDeque::with_capacity(capacity)), capacity }
    }

    pub(crate) fn push(&self, value: T) -> Result<(), T> {
        let mut waiting = self.waiting.lock();
        if waiting.len() == self.capacity {
            return Err(value);
        }
        waiting.push_back(value);
        Ok(())
    }

    pub(crate) fn force_push(&self, value: T) -> Option<T> {
        let mut waiting = self.waiting.lock();
        let oldest = if waiting.len() == self.capacity { waiting.pop_front() } else { None };
        waiting.push_back(value);
        oldest
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.waiting.lock().pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }
}
