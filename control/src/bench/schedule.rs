//! When things are to begin: slots at an even distance, whatever becomes of those before.
//!
//! A slot that comes late keeps its time, and what waited for it is measured from there. So a
//! backend that stalls is charged for all who would have come meanwhile (no coordinated omission).

use std::time::Duration;

/// Every `stride`-th slot of a rate: the share of one of so many workers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: Duration,
    per_second: f64,
    next: u64,
    stride: u64,
}

/// A rate that several workers keep together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    /// Slots in a second, of all workers.
    pub(super) per_second: f64,
    /// Which worker this is.
    pub(super) worker: u64,
    /// How many there are.
    pub(super) workers: u64,
}

impl Schedule {
    pub(super) fn new(pace: Pace, start: Duration) -> Schedule {
        let Pace { per_second, worker, workers } = pace;
        Schedule { start, per_second, next: worker, stride: workers.max(1) }
    }

    /// The time of the next slot.
    pub(super) fn peek(&self) -> Duration {
        self.start + Duration::from_secs_f64(self.next as f64 / self.per_second)
    }

    /// Takes the next slot, if its time has come; its time.
    pub(super) fn take(&mut self, now: Duration) -> Option<Duration> {
        let time = self.peek();
        (time <= now).then(|| {
            self.next += self.stride;
            time
        })
    }

    /// Takes all slots before `end`; how many there were.
    pub(super) fn skip_to(&mut self, end: Duration) -> u64 {
        let mut skipped = 0;
        while self.peek() < end {
            self.next += self.stride;
            skipped += 1;
        }
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn slots_come_at_their_time_and_keep_it() {
        let pace = Pace { per_second: 100.0, worker: 0, workers: 1 };
        let mut schedule = Schedule::new(pace, ms(1000));
        assert_eq!(schedule.take(ms(999)), None);
        assert_eq!(schedule.take(ms(1000)), Some(ms(1000)));
        assert_eq!(schedule.take(ms(1005)), None);
        // After a stall all that were missed come with the times that they had.
        assert_eq!(schedule.take(ms(1035)), Some(ms(1010)));
        assert_eq!(schedule.take(ms(1035)), Some(ms(1020)));
        assert_eq!(schedule.skip_to(ms(1100)), 7);
        assert_eq!(schedule.peek(), ms(1100));
    }

    #[test]
    fn workers_share_the_slots() {
        let slots = |worker| {
            let pace = Pace { per_second: 1000.0, worker, workers: 3 };
            let mut schedule = Schedule::new(pace, ms(0));
            std::iter::from_fn(move || schedule.take(ms(8))).collect::<Vec<_>>()
        };
        let mut all: Vec<Duration> = (0..3).flat_map(slots).collect();
        all.sort();
        assert_eq!(all, (0..9).map(ms).collect::<Vec<_>>());
    }

    #[test]
    fn a_day_of_slots_does_not_drift() {
        let pace = Pace { per_second: 3.0, worker: 0, workers: 1 };
        let mut schedule = Schedule::new(pace, ms(0));
        schedule.next = 3 * 86_400;
        assert_eq!(schedule.peek(), Duration::from_secs(86_400));
    }
}
