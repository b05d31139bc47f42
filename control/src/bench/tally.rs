//! What was counted: by one worker in a second, or by all of them in a step.
//!
//! Bounds: 64 names of backends, the rest under one name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fault::Fault;
use super::histogram::Histogram;

const BACKENDS_MAX: usize = 64;
const OTHERS: &str = "(others)";

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Connections, requests or datagrams that were begun.
    pub(super) started: u64,
    /// Those of them that came to a good end.
    pub(super) completed: u64,
    /// Those that were still under way when the bench was ended early.
    pub(super) abandoned: u64,
    /// Connections that were established.
    pub(super) opened: u64,
    /// Connections that their backend ended between two requests, and that were opened again.
    pub(super) reopened: u64,
    /// From when each was to begin to its end.
    pub(super) latencies: Histogram,
    /// From the SYN to the established connection.
    pub(super) openings: Histogram,
    /// How many answers each backend gave, of those that said who they are.
    pub(super) backends: BTreeMap<String, u64>,
    /// Slots that the generator itself was late for.
    pub(super) late: u64,
    /// Slots that came to nothing, since all flows were busy or time was over.
    pub(super) unsent: u64,
    /// Datagrams that were overtaken by a later one of their flow.
    pub(super) reordered: u64,
    /// Answers to datagrams that had been answered.
    pub(super) duplicated: u64,
    /// By [`Fault::index`].
    pub(super) faults: [u64; Fault::COUNT],
}

impl Tally {
    /// Counts a good end.
    pub(super) fn complete(&mut self, latency: Duration, backend: Option<&str>) {
        self.completed += 1;
        self.latencies.add(latency);
        if let Some(name) = backend {
            self.answered_by(name, 1);
        }
    }

    /// Counts a fault.
    pub(super) fn fail(&mut self, fault: Fault) {
        self.faults[fault.index()] += 1;
    }

    /// How often a fault happened.
    pub(super) fn faults(&self, fault: Fault) -> u64 {
        self.faults[fault.index()]
    }

    /// How often any happened.
    pub(super) fn failed(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// How many came to no good end.
    pub(super) fn lost(&self) -> u64 {
        self.started.saturating_sub(self.completed + self.abandoned)
    }

    pub(super) fn merge(&mut self, other: &Tally) {
        for (sum, more) in [
            (&mut self.started, other.started),
            (&mut self.completed, other.completed),
            (&mut self.abandoned, other.abandoned),
            (&mut self.opened, other.opened),
            (&mut self.reopened, other.reopened),
            (&mut self.late, other.late),
            (&mut self.unsent, other.unsent),
            (&mut self.reordered, other.reordered),
            (&mut self.duplicated, other.duplicated),
        ] {
            *sum += more;
        }
        for (sum, more) in self.faults.iter_mut().zip(other.faults) {
            *sum += more;
        }
        self.latencies.merge(&other.latencies);
        self.openings.merge(&other.openings);
        for (name, count) in &other.backends {
            self.answered_by(name, *count);
        }
    }

    fn answered_by(&mut self, name: &str, count: u64) {
        if let Some(sum) = self.backends.get_mut(name) {
            *sum += count;
            return;
        }
        let name = if self.backends.len() < BACKENDS_MAX { name } else { OTHERS };
        *self.backends.entry(name.to_owned()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_sums_of_everything() {
        let mut one = Tally { started: 3, unsent: 1, late: 2, ..Tally::default() };
        one.complete(Duration::from_millis(2), Some("b1"));
        one.fail(Fault::Reset);
        let mut other = Tally { started: 2, opened: 5, reopened: 1, ..Tally::default() };
        other.complete(Duration::from_millis(4), Some("b2"));
        other.complete(Duration::from_millis(6), Some("b1"));
        (other.reordered, other.duplicated, other.abandoned) = (7, 8, 1);
        one.merge(&other);
        assert_eq!((one.started, one.completed, one.opened, one.reopened), (5, 3, 5, 1));
        assert_eq!((one.unsent, one.late, one.reordered, one.duplicated), (1, 2, 7, 8));
        assert_eq!((one.failed(), one.faults(Fault::Reset)), (1, 1));
        assert_eq!((one.latencies.total(), one.lost()), (3, 1));
        let backends: Vec<_> = one.backends.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(backends, [("b1", 2), ("b2", 1)]);
    }

    #[test]
    fn names_without_end_take_no_room() {
        let mut tally = Tally::default();
        for at in 0..1000 {
            tally.complete(Duration::ZERO, Some(&format!("backend-{at}")));
        }
        assert_eq!(tally.backends.len(), BACKENDS_MAX + 1);
        assert_eq!(tally.backends[OTHERS], 1000 - BACKENDS_MAX as u64);
    }
}
