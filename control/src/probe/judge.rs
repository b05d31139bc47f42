//! The verdict on one backend, from one outcome after the other.
//!
//! The first outcome decides at once, so that a new backend waits no longer than one attempt. After
//! that, so many outcomes in a row as the threshold says change the verdict. A backend that falls
//! again soon after it rose must answer twice as often in a row each time, up to [`CAUTION_MAX`]
//! times the threshold, before it gets new flows again: one that flaps is worse than one that is
//! down. What stays up for [`STEADY_INTERVALS`] has earned trust again.

use std::time::Duration;

/// By how much the threshold grows at most.
const CAUTION_MAX: u32 = 8;

/// A backend that stayed up for so many intervals has not flapped.
const STEADY_INTERVALS: u32 = 20;

/// What is known of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing yet: it takes no new flows.
    Unknown,
    /// Nothing yet, but it took flows before it was probed, and goes on until a verdict.
    Presumed,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl State {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Unknown => "unknown",
            State::Presumed => "presumed",
            State::Up => "up",
            State::Down => "down",
        }
    }

    /// Whether new flows may go there.
    pub(crate) fn takes_flows(self) -> bool {
        matches!(self, State::Up | State::Presumed)
    }
}

/// How a probe judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) interval: Duration,
    pub(crate) threshold: u32,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    state: State,
    since: Duration,
    /// Outcomes in a row that speak against the state.
    contrary: u32,
    /// How often it fell, each time soon after it rose.
    falls: u32,
}

impl Judge {
    pub(super) fn new(now: Duration, state: State) -> Judge {
        Judge { state, since: now, contrary: 0, falls: 0 }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Since when it is in its state.
    pub(super) fn since(&self) -> Duration {
        self.since
    }

    /// How many outcomes more, all alike, would change the state.
    pub(super) fn missing(&self, pace: Pace) -> u32 {
        self.needed(pace).saturating_sub(self.contrary)
    }

    /// Hears an outcome; says whether the state is another now.
    pub(super) fn hear(&mut self, now: Duration, answered: bool, pace: Pace) -> bool {
        let agrees = match self.state {
            State::Unknown => false,
            State::Presumed if answered => false,
            State::Up | State::Presumed => answered,
            State::Down => !answered,
        };
        if agrees {
            self.contrary = 0;
            return false;
        }
        self.contrary += 1;
        let confirms = self.state == State::Presumed && answered;
        if self.contrary < self.needed(pace) && !confirms {
            return false;
        }
        self.change(now, if answered { State::Up } else { State::Down }, pace);
        true
    }

    fn change(&mut self, now: Duration, state: State, pace: Pace) {
        if self.state == State::Up {
            let was_steady = now.saturating_sub(self.since) >= pace.interval * STEADY_INTERVALS;
            self.falls = if was_steady { 1 } else { self.falls.saturating_add(1) };
        }
        (self.state, self.since, self.contrary) = (state, now, 0);
    }

    /// How many outcomes in a row change the state.
    fn needed(&self, pace: Pace) -> u32 {
        match self.state {
            State::Unknown => 1,
            State::Up | State::Presumed => pace.threshold,
            State::Down => {
                let caution = 1_u32.checked_shl(self.falls.saturating_sub(1));
                pace.threshold.saturating_mul(caution.unwrap_or(CAUTION_MAX).min(CAUTION_MAX))
            }
        }
    }
}
