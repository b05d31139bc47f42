//! The cell through which a generation reaches the workers: one lock, one atomic.
//!
//! Control publishes; a worker looks at the number at the start of a batch, one load, and
//! takes the lock only when it moved. Control keeps what it published until every worker has let go
//! of it, so that no worker ever frees a snapshot.

use alloc::sync::Arc;

use crate::generation::Generation;
use crate::sync::{AtomicU32, Mutex, Ordering};
use crate::types::GenerationNumber;

/// Holds the generation that is in force.
pub struct Cell {
    number: AtomicU32,
    current: Mutex<Arc<Generation>>,
}

impl Cell {
    /// A cell that holds `first`.
    #[must_use]
    pub fn new(first: Arc<Generation>) -> Cell {
        Cell { number: AtomicU32::new(first.number.0), current: Mutex::new(first) }
    }

    /// Puts `next` in force and returns what was before.
    pub fn publish(&self, next: Arc<Generation>) -> Arc<Generation> {
        let mut current = self.current.lock();
        let number = next.number.0;
        let before = core::mem::replace(&mut *current, next);
        self.number.store(number, Ordering::Release);
        before
    }

    /// The generation in force.
    #[must_use]
    pub fn load(&self) -> Arc<Generation> {
        Arc::clone(&self.current.lock())
    }

    /// The generation in force, if it is another than `known`.
    #[inline]
    #[must_use]
    pub fn moved_from(&self, known: GenerationNumber) -> Option<Arc<Generation>> {
        (self.number.load(Ordering::Acquire) != known.0).then(|| self.load())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Plan, Snapshot};

    #[test]
    fn a_worker_sees_the_move_once() {
        let snapshot = || Snapshot::build(Plan::default()).unwrap();
        let first = Arc::new(Generation::first(snapshot(), 1));
        let cell = Cell::new(Arc::clone(&first));
        assert!(cell.moved_from(first.number).is_none());
        let next = Arc::new(first.next(snapshot(), 1));
        let before = cell.publish(Arc::clone(&next));
        assert_eq!(before.number, first.number);
        let adopted = cell.moved_from(first.number).unwrap();
        assert_eq!(adopted.number, next.number);
        assert!(cell.moved_from(adopted.number).is_none());
    }
}
