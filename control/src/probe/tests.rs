//! Probing with a clock that the tests turn: verdicts, schedules, and attempts against servers of
//! smoltcp's own.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::judge::Judge;
use super::machine::ATTEMPTS_MAX;
use super::*;

mod attempts;

const SECOND: Duration = Duration::from_secs(1);
const PACE: Pace = Pace { interval: SECOND, threshold: 3 };

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Lets a judge hear outcomes, one each second from the second given on; `+` is an answer. Returns
/// the states after each.
fn hear(judge: &mut Judge, from: u32, outcomes: &str, pace: Pace) -> Vec<State> {
    let after = |(at, outcome): (u32, char)| {
        judge.hear(SECOND * (from + at), outcome == '+', pace);
        judge.state()
    };
    (0..).zip(outcomes.chars()).map(after).collect()
}

#[test]
fn the_first_outcome_decides_at_once() {
    for (outcome, state) in [("+", State::Up), ("-", State::Down)] {
        let mut judge = Judge::new(Duration::ZERO, State::Unknown);
        assert_eq!(judge.missing(PACE), 1);
        assert_eq!(hear(&mut judge, 1, outcome, PACE), [state]);
    }
}

#[test]
fn a_verdict_changes_after_so_many_outcomes_in_a_row() {
    let mut judge = Judge::new(Duration::ZERO, State::Unknown);
    let states = hear(&mut judge, 1, "+--+---", PACE);
    assert_eq!(states[..6], [State::Up; 6], "two in a row are not three");
    assert_eq!((states[6], judge.since(), judge.missing(PACE)), (State::Down, SECOND * 7, 3));
    assert_eq!(hear(&mut judge, 8, "++-++", PACE), [State::Down; 5]);
    assert_eq!(judge.missing(PACE), 1);
    assert_eq!(hear(&mut judge, 13, "+", PACE), [State::Up]);
}

#[test]
fn who_took_flows_before_goes_on_until_the_threshold() {
    let mut judge = Judge::new(Duration::ZERO, State::Presumed);
    assert_eq!(hear(&mut judge, 1, "--", PACE), [State::Presumed; 2]);
    assert_eq!(hear(&mut judge, 3, "-", PACE), [State::Down]);
    let mut judge = Judge::new(Duration::ZERO, State::Presumed);
    assert_eq!(hear(&mut judge, 1, "-+", PACE), [State::Presumed, State::Up]);
}

#[test]
fn who_flaps_must_answer_longer_each_time_up_to_a_bound() {
    let pace = Pace { threshold: 1, ..PACE };
    let mut judge = Judge::new(Duration::ZERO, State::Unknown);
    let mut now = 0;
    let mut outcome = |judge: &mut Judge, answered| {
        now += 1;
        judge.hear(SECOND * now, answered, pace);
        judge.state()
    };
    outcome(&mut judge, true);
    for needed in [1, 2, 4, 8, 8, 8] {
        assert_eq!(outcome(&mut judge, false), State::Down);
        assert_eq!(judge.missing(pace), needed);
        for _ in 1..needed {
            assert_eq!(outcome(&mut judge, true), State::Down);
        }
        assert_eq!(outcome(&mut judge, true), State::Up);
    }
    // Who then stays up for twenty intervals is trusted again.
    (0..20).for_each(|_| assert_eq!(outcome(&mut judge, true), State::Up));
    outcome(&mut judge, false);
    assert_eq!((judge.state(), judge.missing(pace)), (State::Down, 1));
}

/// Whatever comes: a verdict falls only after as many failures in a row as the threshold says, and
/// rises only after as many answers.
#[test]
fn no_sequence_changes_a_verdict_early() {
    let mut random = Random(7);
    for _ in 0..200 {
        let pace = Pace { threshold: 1 + u32::try_from(random.below(5)).unwrap(), ..PACE };
        let mut judge = Judge::new(Duration::ZERO, State::Unknown);
        judge.hear(Duration::ZERO, true, pace);
        let (mut row, mut last) = (0_u32, true);
        for at in 1..300 {
            let answered = random.below(3) > 0;
            row = if answered == last { row + 1 } else { 1 };
            last = answered;
            let before = judge.state();
            let changed = judge.hear(SECOND * at, answered, pace);
            assert_eq!(changed, before != judge.state());
            if changed {
                assert!(row >= pace.threshold, "{row} of {}", pace.threshold);
                assert_eq!(judge.state(), if answered { State::Up } else { State::Down });
            }
            assert!(judge.missing(pace) >= 1 && judge.missing(pace) <= 8 * pace.threshold);
        }
    }
}

type Small = Machine<u32, ()>;

fn machine(backends: u32) -> Small {
    let mut machine = Machine::new(1);
    machine.retarget(Duration::ZERO, (0..backends).map(|key| (key, (), PACE)), |_| false);
    machine
}

/// Begins what is due.
fn begin(machine: &mut Small, now: Duration) -> Vec<u32> {
    std::iter::from_fn(|| machine.begin(now).map(|attempt| *attempt.key)).collect()
}

/// Answers everything at once for so long, in steps of 10 ms; how many began in each step.
fn run(machine: &mut Small, from: Duration, steps: u32) -> Vec<Vec<u32>> {
    let step = |at| {
        let now = from + Duration::from_millis(10) * at;
        let began = begin(machine, now);
        for key in &began {
            machine.finish(now, key, Ok(()));
        }
        began
    };
    (0..steps).map(step).collect()
}

#[test]
fn attempts_are_spread_and_an_interval_apart() {
    let mut machine = machine(100);
    let began = run(&mut machine, Duration::ZERO, 1_000);
    assert!(began.iter().all(|step| step.len() <= 15), "no burst");
    let mut last = BTreeMap::new();
    for (step, keys) in began.iter().enumerate() {
        for key in keys {
            if let Some(before) = last.insert(key, step) {
                let gap = step - before;
                assert!((95..=106).contains(&gap), "{gap} steps between two attempts");
            }
        }
    }
    assert_eq!(last.len(), 100);
    assert!(began.iter().take(51).flatten().count() >= 100, "all within half a second");
}

#[test]
fn a_leap_of_time_brings_no_burst() {
    let mut machine = machine(200);
    run(&mut machine, Duration::ZERO, 300);
    for hours in 1..5 {
        let began = run(&mut machine, SECOND * 3600 * hours, 200);
        let most = began.iter().map(Vec::len).max().unwrap();
        assert!(most <= 20, "{most} attempts at once after the leap");
        let total: usize = began.iter().map(Vec::len).sum();
        assert!((200..=600).contains(&total), "{total} attempts: nothing is made up for");
    }
}

#[test]
fn so_many_are_asked_at_a_time() {
    let many = u32::try_from(ATTEMPTS_MAX).unwrap() + 50;
    let mut machine = machine(many);
    let began = begin(&mut machine, SECOND / 2);
    assert_eq!(began.len(), ATTEMPTS_MAX);
    assert_eq!(machine.next_due(), None, "it waits for an end, not for a time");
    machine.finish(SECOND / 2, &began[0], Ok(()));
    assert_eq!(begin(&mut machine, SECOND / 2).len(), 1);
}

#[test]
fn nobody_is_asked_twice_at_a_time() {
    let mut machine = machine(1);
    assert_eq!(begin(&mut machine, SECOND), [0]);
    assert!(begin(&mut machine, SECOND * 2).is_empty());
    assert_eq!(machine.finish(SECOND * 2, &0, Ok(())).map(|change| change.after), Some(State::Up));
    assert_eq!(machine.finish(SECOND * 2, &0, Err(String::new())), None, "it has ended already");
}

#[test]
fn a_reload_forgets_no_verdict_and_keeps_no_stranger() {
    let mut machine = machine(3);
    begin(&mut machine, SECOND / 2);
    for key in [0, 1] {
        machine.finish(SECOND / 2, &key, Ok(()));
    }
    let pace = Pace { threshold: 1, ..PACE };
    machine.retarget(SECOND, [(1, (), pace), (2, (), pace), (7, (), pace), (8, (), pace)], |key| {
        *key == 7
    });
    let state = |machine: &Small, key| machine.report(SECOND, &key).map(|report| report.state);
    let states = [0, 1, 2, 7, 8].map(|key| state(&machine, key));
    let known = [State::Up, State::Unknown, State::Presumed, State::Unknown].map(Some);
    assert_eq!((states[0], &states[1..]), (None, &known[..]));
    assert_eq!(machine.healthy().copied().collect::<Vec<_>>(), [1, 7]);
    // The attempt at 2 goes on; that at nobody is nobody's.
    assert!(machine.finish(SECOND, &2, Err("late".to_owned())).is_some());
    assert_eq!(machine.finish(SECOND, &0, Ok(())), None);
    let report = machine.report(SECOND * 3, &2).unwrap();
    assert_eq!((report.failures, report.changes), (1, 1));
    assert_eq!(report.last_error, Some(("late".to_owned(), SECOND * 2)));
}
