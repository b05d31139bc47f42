//! When each backend is asked, and what its outcomes come to.
//!
//! Attempts at one backend begin an interval apart, a little more or less so that backends do not
//! march in step; the first ones are spread. An attempt that is late, because the machine slept or
//! too many were under way, begins anew from its moment: nothing is made up for, and after a leap
//! of time all are spread again. At most [`ATTEMPTS_MAX`] are under way at a time; work per call is
//! a look at every backend.

use std::collections::BTreeMap;
use std::time::Duration;

use super::judge::{Judge, Pace, State};

/// Attempts under way at a time.
pub(crate) const ATTEMPTS_MAX: usize = 256;

/// First attempts are spread over this time, or over the interval if that is shorter.
const SPREAD: Duration = Duration::from_millis(500);

/// An interval may be so many parts of a hundred longer or shorter.
const JITTER_PERCENT: u32 = 5;

/// An attempt that shall begin now.
pub(crate) struct Attempt<'m, K, T> {
    pub(crate) key: &'m K,
    pub(crate) target: &'m T,
}

/// A verdict that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) before: State,
    pub(crate) after: State,
    /// How long it was in the state before.
    pub(crate) lasted: Duration,
}

/// How a backend is.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) state: State,
    /// For how long it has been so.
    pub(crate) lasts: Duration,
    /// Outcomes in a row that would change it.
    pub(crate) missing: u32,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    /// Verdicts that became others.
    pub(crate) changes: u64,
    /// What went wrong last, and how long ago.
    pub(crate) last_error: Option<(String, Duration)>,
}

struct Seat<T> {
    target: T,
    pace: Pace,
    judge: Judge,
    /// When the next attempt begins.
    due: Duration,
    is_asked: bool,
    successes: u64,
    failures: u64,
    changes: u64,
    last_error: Option<(String, Duration)>,
}

/// See the module's documentation. `K` names a backend under a probe, `T` is what is asked of it.
pub(crate) struct Machine<K, T> {
    seats: BTreeMap<K, Seat<T>>,
    under_way: usize,
    chance: u64,
}

impl<K: Ord + Clone, T: PartialEq> Machine<K, T> {
    /// Nobody is asked yet.
    pub(crate) fn new(seed: u64) -> Machine<K, T> {
        Machine { seats: BTreeMap::new(), under_way: 0, chance: seed | 1 }
    }

    /// From now on these are asked. Whoever was asked before keeps what is known of him, whatever
    /// is asked now; `presumed` says of the others whether they took flows before.
    pub(crate) fn retarget(
        &mut self,
        now: Duration,
        targets: impl IntoIterator<Item = (K, T, Pace)>,
        presumed: impl Fn(&K) -> bool,
    ) {
        let mut before = std::mem::take(&mut self.seats);
        for (key, target, pace) in targets {
            let known = before.remove(&key);
            let is_same = known.as_ref().is_some_and(|seat| seat.target == target);
            let first = now + self.part_of(SPREAD.min(pace.interval));
            let seat = match known {
                Some(seat) if is_same => {
                    let due = seat.due.min(now + pace.interval);
                    Seat { pace, due, ..seat }
                }
                Some(seat) => Seat { target, pace, due: first, ..seat },
                None => {
                    let state = if presumed(&key) { State::Presumed } else { State::Unknown };
                    Seat {
                        target,
                        pace,
                        judge: Judge::new(now, state),
                        due: first,
                        is_asked: false,
                        successes: 0,
                        failures: 0,
                        changes: 0,
                        last_error: None,
                    }
                }
            };
            self.seats.insert(key, seat);
        }
        // Attempts at those who are gone are nobody's any more.
        self.under_way = self.seats.values().filter(|seat| seat.is_asked).count();
    }

    /// An attempt that is due; it is under way from now on.
    pub(crate) fn begin(&mut self, now: Duration) -> Option<Attempt<'_, K, T>> {
        if self.under_way >= ATTEMPTS_MAX {
            return None;
        }
        loop {
            let due = self.seats.iter().filter(|(_, seat)| !seat.is_asked && seat.due <= now);
            let (key, seat) = due.min_by_key(|(_, seat)| seat.due)?;
            let (key, pace, due) = (key.clone(), seat.pace, seat.due);
            let leapt = now - due > pace.interval;
            let next = if leapt {
                now + self.part_of(SPREAD.min(pace.interval))
            } else {
                now + self.jittered(pace.interval)
            };
            let seat = self.seats.get_mut(&key)?;
            // Due strictly later, or this would not end.
            seat.due = next.max(now + Duration::from_millis(1));
            if leapt {
                continue;
            }
            seat.is_asked = true;
            self.under_way += 1;
            let (key, seat) = self.seats.get_key_value(&key)?;
            return Some(Attempt { key, target: &seat.target });
        }
    }

    /// An attempt has ended; returns the verdict if it changed.
    pub(crate) fn finish(
        &mut self,
        now: Duration,
        key: &K,
        outcome: Result<(), String>,
    ) -> Option<Change> {
        let seat = self.seats.get_mut(key).filter(|seat| seat.is_asked)?;
        seat.is_asked = false;
        self.under_way = self.under_way.saturating_sub(1);
        let (before, since) = (seat.judge.state(), seat.judge.since());
        let has_changed = seat.judge.hear(now, outcome.is_ok(), seat.pace);
        match outcome {
            Ok(()) => seat.successes += 1,
            Err(error) => {
                seat.failures += 1;
                seat.last_error = Some((error, now));
            }
        }
        seat.changes += u64::from(has_changed);
        let lasted = now.saturating_sub(since);
        has_changed.then(|| Change { before, after: seat.judge.state(), lasted })
    }

    /// When the next attempt is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let free = self.seats.values().filter(|seat| !seat.is_asked);
        free.map(|seat| seat.due).min().filter(|_| self.under_way < ATTEMPTS_MAX)
    }

    /// How many are asked.
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Those to whom new flows may go.
    pub(crate) fn healthy(&self) -> impl Iterator<Item = &K> {
        let fit = self.seats.iter().filter(|(_, seat)| seat.judge.state().takes_flows());
        fit.map(|(key, _)| key)
    }

    /// How a backend is.
    pub(crate) fn report(&self, now: Duration, key: &K) -> Option<Report> {
        let seat = self.seats.get(key)?;
        let ago = |then: Duration| now.saturating_sub(then);
        Some(Report {
            state: seat.judge.state(),
            lasts: ago(seat.judge.since()),
            missing: seat.judge.missing(seat.pace),
            successes: seat.successes,
            failures: seat.failures,
            changes: seat.changes,
            last_error: seat.last_error.as_ref().map(|(text, at)| (text.clone(), ago(*at))),
        })
    }

    /// Somewhere from nothing to the whole of a duration.
    fn part_of(&mut self, whole: Duration) -> Duration {
        whole * self.draw(1000) / 1000
    }

    fn jittered(&mut self, interval: Duration) -> Duration {
        interval * (100 - JITTER_PERCENT + self.draw(2 * JITTER_PERCENT + 1)) / 100
    }

    /// A number below `end` (xorshift64, Marsaglia 2003): nothing here must be a secret.
    fn draw(&mut self, end: u32) -> u32 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        u32::try_from(self.chance % u64::from(end)).unwrap_or(0)
    }
}
