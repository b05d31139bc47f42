//! Puts configurations in force and keeps them until the last worker has let go of them, so that no
//! worker ever spends its time on freeing one.
//!
//! Workers are never more than one generation apart: what is in force is replaced only when every
//! worker works with it. Two that were further apart could lease one port twice, from a pool that
//! went and from the one that came back in its place (I2).

use std::sync::Arc;
use std::time::Duration;

use dataplane::account::Accounts;
use dataplane::generation::Generation;
use dataplane::publish::Cell;
use dataplane::record::Traffic;
use dataplane::snapshot::{Patch, PlanError, Snapshot};
use dataplane::types::GenerationNumber;

use super::crew::Crew;
use super::directory::Known;
use super::ledger::{Books, Ledger};

/// How long workers may take to adopt a generation; they look at the start of every batch.
const ADOPTION_TIME: Duration = Duration::from_secs(2);

/// Workers that are behind, as one names them: `worker 0, 2`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lag {
    /// Nothing was put in force: they do not work with the generation in force yet.
    Before(String),
    /// The new generation is in force, and they did not adopt it in time.
    After(String),
}

/// How the generation that follows differs.
pub(super) enum Step {
    /// It has another snapshot.
    To(Box<Snapshot>),
    /// One endpoint is another.
    Patch(Patch),
}

/// The generation in force and those before it that are still in use.
pub(super) struct Publisher {
    cell: Arc<Cell>,
    current: Arc<Generation>,
    retired: Vec<Arc<Generation>>,
    seed: u64,
    ledger: Ledger,
    /// How long it waits for workers.
    patience: Duration,
}

impl Publisher {
    /// With the first generation, not seen by any worker yet.
    pub(super) fn new(snapshot: Snapshot, seed: u64, known: &Known) -> Publisher {
        let current = Arc::new(Generation::first(snapshot, seed));
        let cell = Arc::new(Cell::new(Arc::clone(&current)));
        let (retired, mut ledger) = (Vec::new(), Ledger::default());
        ledger.follow((&Accounts::none(), &current.accounts), known, |_| Traffic::default());
        Publisher { cell, current, retired, seed, ledger, patience: ADOPTION_TIME }
    }

    /// Where workers find the generation.
    pub(super) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// The generation in force.
    pub(super) fn current(&self) -> &Generation {
        &self.current
    }

    /// Waits until every worker works with what is in force.
    pub(super) fn settle(&self, crew: &Crew) -> Result<(), Lag> {
        crew.wait_until_adopted(self.current.number, self.patience).map_err(Lag::Before)
    }

    /// Puts in force what follows the generation in force, when every worker works with that, and
    /// waits until every worker works with what follows.
    pub(super) fn publish(
        &mut self,
        next: Generation,
        crew: &Crew,
        known: &Known,
    ) -> Result<GenerationNumber, Lag> {
        self.settle(crew)?;
        let accounts = (&*self.current.accounts, &*next.accounts);
        self.ledger.follow(accounts, known, |slot| crew.carried(slot));
        let number = self.replace(next);
        crew.wake();
        let adopted = crew.wait_until_adopted(number, self.patience);
        self.reap();
        adopted.map(|()| number).map_err(Lag::After)
    }

    /// What would be in force after a step, when every worker works with what is in force now.
    pub(super) fn following(&self, step: Step) -> Result<Generation, PlanError> {
        match step {
            Step::To(snapshot) => Ok(self.next(*snapshot)),
            Step::Patch(patch) => self.current.with(&patch),
        }
    }

    /// What would be in force with this snapshot.
    pub(super) fn next(&self, snapshot: Snapshot) -> Generation {
        self.current.next(snapshot, self.seed)
    }

    /// What everybody has carried.
    pub(super) fn books(&self, crew: &Crew, known: &Known) -> Books {
        self.ledger.read(&self.current.accounts, known, |slot| crew.carried(slot))
    }

    fn replace(&mut self, next: Generation) -> GenerationNumber {
        let next = Arc::new(next);
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
impl Publisher {
    /// With no patience at all, for workers that are played.
    pub(super) fn impatient(mut self) -> Publisher {
        self.patience = Duration::ZERO;
        self
    }
}

#[cfg(test)]
mod tests {
    use dataplane::snapshot::Plan;

    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot::build(Plan::default()).unwrap()
    }

    #[test]
    fn workers_are_never_two_generations_apart() {
        let mut publisher = Publisher::new(snapshot(), 1, &Known::default()).impatient();
        let crew = Crew::played(3, publisher.cell());
        let mut publish =
            || publisher.publish(publisher.next(snapshot()), &crew, &Known::default());
        let named = |workers: &str| format!("worker {workers}");
        assert_eq!(publish(), Err(Lag::Before(named("0, 1, 2"))), "none works yet");
        (0..3).for_each(|worker| crew.play_adoption(worker, 1));
        assert_eq!(publish(), Err(Lag::After(named("0, 1, 2"))), "in force all the same");
        crew.play_adoption(0, 2);
        crew.play_adoption(2, 2);
        for _ in 0..3 {
            assert_eq!(publish(), Err(Lag::Before(named("1"))), "nothing moves without it");
        }
        crew.play_adoption(1, 2);
        assert_eq!(publish(), Err(Lag::After(named("0, 1, 2"))));
        (0..3).for_each(|worker| crew.play_adoption(worker, 3));
        assert_eq!(publisher.current().number.0, 3);
    }

    #[test]
    fn a_generation_is_freed_here_and_only_after_its_last_worker() {
        let mut publisher = Publisher::new(snapshot(), 1, &Known::default());
        let worker = publisher.cell().load();
        let first = Arc::downgrade(&worker);
        assert_eq!(publisher.replace(publisher.next(snapshot())).0, 2);
        publisher.reap();
        drop(worker);
        assert!(first.upgrade().is_some(), "the worker's was not the last reference");
        publisher.reap();
        assert!(first.upgrade().is_none() && publisher.retired.is_empty());
        for number in 3..20 {
            assert_eq!(publisher.replace(publisher.next(snapshot())).0, number);
            publisher.reap();
            assert!(publisher.retired.is_empty(), "nobody holds an old one");
        }
        assert_eq!(publisher.cell().load().number, publisher.current().number);
    }
}
