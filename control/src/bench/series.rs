//! What happened in each second: the reports of all workers put together.
//!
//! Bounds: the times of three seconds are kept whole; older ones only as two percentiles.

use std::collections::BTreeMap;

use serde::Serialize;

use super::tally::Tally;

/// Seconds of which late reports are still awaited.
const OPEN_SECONDS: u64 = 3;

/// One second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Second {
    pub(super) second: u64,
    pub(super) completed: u64,
    /// Faults.
    pub(super) failed: u64,
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    closed: BTreeMap<u64, Second>,
    open: BTreeMap<u64, Tally>,
}

impl Series {
    /// Takes what a worker has counted in a second.
    pub(super) fn add(&mut self, second: u64, tally: &Tally) {
        if let Some(closed) = self.closed.get_mut(&second) {
            closed.completed += tally.completed;
            closed.failed += tally.failed();
            return;
        }
        self.open.entry(second).or_default().merge(tally);
        let newest = self.open.last_key_value().map_or(0, |entry| *entry.0);
        while let Some(oldest) = self.open.first_entry() {
            if oldest.key() + OPEN_SECONDS > newest {
                break;
            }
            let (second, tally) = oldest.remove_entry();
            self.closed.insert(second, close(second, &tally));
        }
    }

    /// The last whole second so far.
    pub(super) fn latest(&self) -> Option<Second> {
        let (newest, _) = self.open.last_key_value()?;
        let before = newest.checked_sub(1)?;
        self.open.get(&before).map(|tally| close(before, tally))
    }

    /// All seconds, also those in which nothing happened, up to the last.
    pub(super) fn finish(mut self) -> Vec<Second> {
        for (second, tally) in std::mem::take(&mut self.open) {
            self.closed.insert(second, close(second, &tally));
        }
        let last = self.closed.last_key_value().map(|entry| *entry.0);
        let seconds = last.map(|last| 0..=last).into_iter().flatten();
        let take = |second| {
            let empty = Second { second, ..Second::default() };
            self.closed.get(&second).cloned().unwrap_or(empty)
        };
        seconds.map(take).collect()
    }
}

fn close(second: u64, tally: &Tally) -> Second {
    let micros = |share| tally.latencies.quantile(share).map(|time| time.as_secs_f64() * 1e6);
    let (completed, failed) = (tally.completed, tally.failed());
    Second { second, completed, failed, p50_us: micros(0.5), p99_us: micros(0.99) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::fault::Fault;

    fn tally(completed: u64) -> Tally {
        let mut tally = Tally::default();
        (0..completed).for_each(|at| tally.complete(Duration::from_micros(at + 1), None));
        tally
    }

    #[test]
    fn workers_meet_in_their_second_and_gaps_are_seconds_too() {
        let mut series = Series::default();
        series.add(0, &tally(5));
        assert_eq!(series.latest(), None);
        series.add(1, &tally(1));
        series.add(0, &tally(2));
        assert_eq!(series.latest().map(|second| second.completed), Some(7));
        let mut failed = Tally::default();
        failed.fail(Fault::Reset);
        series.add(9, &failed);
        // Much too late, and counted all the same.
        series.add(0, &tally(3));
        let seconds = series.finish();
        assert_eq!(seconds.len(), 10);
        assert_eq!((seconds[0].completed, seconds[1].completed), (10, 1));
        assert_eq!((seconds[9].completed, seconds[9].failed), (0, 1));
        assert_eq!((seconds[5].second, seconds[5].p50_us), (5, None));
        assert!(seconds[0].p50_us.is_some_and(|p50| (p50 - 2.0).abs() < 0.1), "{seconds:?}");
    }
}
