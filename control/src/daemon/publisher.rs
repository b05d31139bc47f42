//! Puts configurations in force and keeps them until the last worker has let go of them, so that no
//! worker ever spends its time on freeing one.

use std::sync::Arc;
use std::time::Duration;

use dataplane::generation::Generation;
use dataplane::publish::Cell;
use dataplane::snapshot::Snapshot;
use dataplane::types::GenerationNumber;

use super::crew::Crew;

/// How long workers may take to adopt a generation; they look at the start of every batch.
const ADOPTION_TIME: Duration = Duration::from_secs(2);

/// The generation in force and those before it that are still in use.
pub(super) struct Publisher {
    cell: Arc<Cell>,
    current: Arc<Generation>,
    retired: Vec<Arc<Generation>>,
    seed: u64,
}

impl Publisher {
    /// With the first generation, not seen by any worker yet.
    pub(super) fn new(snapshot: Snapshot, seed: u64) -> Publisher {
        let current = Arc::new(Generation::first(snapshot, seed));
        let cell = Arc::new(Cell::new(Arc::clone(&current)));
        Publisher { cell, current, retired: Vec::new(), seed }
    }

    /// Where workers find the generation.
    pub(super) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// The generation in force.
    pub(super) fn current(&self) -> &Generation {
        &self.current
    }

    /// Puts a snapshot in force and waits until every worker works with it. It is in force even if
    /// some do not answer in time; the error says which.
    pub(super) fn publish(
        &mut self,
        snapshot: Snapshot,
        crew: &Crew,
    ) -> Result<GenerationNumber, String> {
        let number = self.replace(snapshot);
        crew.wake();
        let adopted = crew.wait_until_adopted(number, ADOPTION_TIME);
        self.reap();
        adopted.map(|()| number)
    }

    fn replace(&mut self, snapshot: Snapshot) -> GenerationNumber {
        let next = Arc::new(self.current.next(snapshot, self.seed));
        self.retired.push(self.cell.publish(Arc::clone(&next)));
        self.current = next;
        self.current.number
    }

    /// Frees generations that no worker uses any more.
    pub(super) fn reap(&mut self) {
        // Nobody can take a new reference to a retired one: the cell holds another.
        self.retired.retain(|generation| Arc::strong_count(generation) > 1);
    }
}

#[cfg(test)]
mod tests {
    use dataplane::snapshot::Plan;

    use super::*;

    fn empty() -> Snapshot {
        Snapshot::build(Plan::default()).unwrap()
    }

    #[test]
    fn a_generation_is_freed_here_and_only_after_its_last_worker() {
        let mut publisher = Publisher::new(empty(), 1);
        let worker = publisher.cell().load();
        let first = Arc::downgrade(&worker);
        assert_eq!(publisher.replace(empty()).0, 2);
        publisher.reap();
        drop(worker);
        assert!(first.upgrade().is_some(), "the worker's was not the last reference");
        publisher.reap();
        assert!(first.upgrade().is_none() && publisher.retired.is_empty());
        for number in 3..20 {
            assert_eq!(publisher.replace(empty()).0, number);
            publisher.reap();
            assert!(publisher.retired.is_empty(), "nobody holds an old one");
        }
        assert_eq!(publisher.cell().load().number, publisher.current().number);
    }
}
