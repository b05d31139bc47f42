//! Flows of a backend that a test plays, at times that it says.

use super::*;
use crate::bench::schedule::Pace;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn work(mode: Mode, flows: usize) -> Work {
    Work {
        mode,
        flows,
        pace: None,
        warm_up: ms(0),
        time: ms(1000),
        count: None,
        timeout: ms(500),
        speaks: true,
    }
}

fn paced(per_second: f64, mut work: Work) -> Work {
    work.pace = Some(Pace { per_second, worker: 0, workers: 1 });
    work
}

fn all(flows: &mut Connections, now: u64) -> Vec<Action> {
    std::iter::from_fn(|| flows.next(ms(now))).collect()
}

/// Opens and answers all that asks for it; what was done.
fn serve(flows: &mut Connections, now: u64) -> usize {
    let mut done = 0;
    while let Some(action) = flows.next(ms(now)) {
        match action {
            Action::Open(flow) => flows.opened(ms(now), flow),
            Action::Ask(flow) => flows.answered(ms(now), flow, Some("b1")),
            Action::Close(_) => {}
        }
        done += 1;
        if done > 10_000 {
            break;
        }
    }
    done
}

#[test]
fn a_connection_is_opened_asked_and_closed() {
    let mut flows = Connections::new(work(Mode::Open, 1), ms(0));
    assert_eq!(all(&mut flows, 0), [Action::Open(0)]);
    flows.opened(ms(3), 0);
    assert_eq!(all(&mut flows, 3), [Action::Ask(0)]);
    flows.answered(ms(10), 0, Some("b1"));
    // Without a pace the next one begins at once.
    assert_eq!(all(&mut flows, 10), [Action::Close(0), Action::Open(0)]);
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.started, tally.completed, tally.opened), (2, 1, 1));
    assert_eq!((tally.openings.longest(), tally.latencies.longest()), (ms(3), ms(10)));
    assert_eq!(tally.backends["b1"], 1);
}

#[test]
fn what_waits_for_a_flow_is_measured_from_when_it_was_to_begin() {
    let mut flows = Connections::new(paced(100.0, work(Mode::Open, 1)), ms(0));
    assert_eq!(all(&mut flows, 0), [Action::Open(0)]);
    flows.opened(ms(0), 0);
    assert_eq!(all(&mut flows, 0), [Action::Ask(0)]);
    // The backend stalls for 100 ms.
    assert_eq!(all(&mut flows, 60), []);
    flows.answered(ms(100), 0, None);
    assert_eq!(all(&mut flows, 100), [Action::Close(0), Action::Open(0)]);
    flows.opened(ms(100), 0);
    assert_eq!(all(&mut flows, 100), [Action::Ask(0)]);
    flows.answered(ms(100), 0, None);
    let (tally, _) = flows.take_tallies();
    // The second was to begin at 10 ms; the generator was not to blame.
    assert_eq!((tally.completed, tally.late), (2, 0));
    assert_eq!(
        tally.latencies.quantile(0.0).map(|time| time / 1_000_000),
        Some(ms(90) / 1_000_000)
    );
}

#[test]
fn a_generator_that_comes_late_says_so() {
    let mut flows = Connections::new(paced(100.0, work(Mode::Open, 8)), ms(0));
    let opened = all(&mut flows, 35);
    assert_eq!(opened.len(), 4);
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.started, tally.late), (4, 4));
}

#[test]
fn the_end_leaves_nothing_behind() {
    let mut flows = Connections::new(paced(10.0, work(Mode::Open, 1)), ms(0));
    assert_eq!(all(&mut flows, 0), [Action::Open(0)]);
    assert_eq!(all(&mut flows, 499), []);
    // Nobody answers: its time is over, and the slots that waited have theirs.
    assert_eq!(all(&mut flows, 500), [Action::Close(0), Action::Open(0)]);
    assert_eq!(all(&mut flows, 1000), [Action::Close(0)]);
    assert!(flows.is_done() && flows.wake_at().is_none_or(|at| at > ms(1000)));
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.started, tally.completed, tally.unsent), (2, 0, 8));
    assert_eq!(tally.faults(Fault::ConnectTimeout), 2);
}

#[test]
fn a_generator_that_wakes_after_the_end_still_does_what_was_due() {
    let mut flows = Connections::new(paced(100.0, work(Mode::Open, 8)), ms(0));
    for now in (0..980).step_by(10) {
        serve(&mut flows, now);
    }
    serve(&mut flows, 1003);
    assert!(flows.is_done());
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.completed, tally.unsent, tally.late), (100, 0, 2));
}

#[test]
fn so_many_and_no_more() {
    let counted = Work { count: Some(5), ..work(Mode::Open, 2) };
    let mut flows = Connections::new(counted, ms(0));
    serve(&mut flows, 0);
    assert!(flows.is_done());
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.started, tally.completed), (5, 5));
}

#[test]
fn warm_up_is_counted_apart() {
    let warm = Work { warm_up: ms(100), ..paced(100.0, work(Mode::Open, 4)) };
    let mut flows = Connections::new(warm, ms(0));
    for now in (0..1100).step_by(10) {
        serve(&mut flows, now);
    }
    serve(&mut flows, 1100);
    let (measured, warm_up) = flows.take_tallies();
    assert_eq!((measured.completed, warm_up.completed), (100, 10));
    assert!(flows.is_done());
    assert_eq!(flows.measured_from(), Some(ms(100)));
}

#[test]
fn requests_keep_their_connections() {
    let mut flows = Connections::new(paced(1000.0, work(Mode::Request, 2)), ms(0));
    assert_eq!(all(&mut flows, 0), [Action::Open(0), Action::Open(1)]);
    assert_eq!(flows.measured_from(), None);
    flows.opened(ms(0), 0);
    flows.opened(ms(5), 1);
    assert_eq!(all(&mut flows, 5), [Action::Ask(0)]);
    assert_eq!(all(&mut flows, 6), [Action::Ask(1)]);
    flows.answered(ms(7), 0, None);
    assert_eq!(all(&mut flows, 7), [Action::Ask(0)]);
    flows.failed(ms(8), 0, Fault::Reset);
    // It rests, and is opened again, which no slot is used for.
    assert_eq!(all(&mut flows, 8), []);
    assert_eq!(flows.wake_at(), Some(ms(18)));
    assert_eq!(all(&mut flows, 18), [Action::Open(0)]);
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.started, tally.completed, tally.faults(Fault::Reset)), (3, 1, 1));
}

#[test]
fn a_backend_may_end_a_connection_between_requests() {
    let mut flows = Connections::new(paced(10.0, work(Mode::Request, 1)), ms(0));
    serve(&mut flows, 0);
    flows.ended(ms(50), 0);
    assert_eq!(all(&mut flows, 50), [Action::Open(0)]);
    flows.opened(ms(51), 0);
    assert_eq!(all(&mut flows, 100), [Action::Ask(0)]);
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.failed(), tally.reopened), (0, 1));
}

#[test]
fn held_connections_are_asked_at_the_end() {
    let mut flows = Connections::new(work(Mode::Hold, 600), ms(0));
    let first = all(&mut flows, 0);
    assert_eq!(first.len(), AT_ONCE);
    for action in first {
        let Action::Open(flow) = action else { panic!("{action:?}") };
        flows.opened(ms(1), flow);
    }
    serve(&mut flows, 2);
    assert_eq!((flows.open(), flows.opening_time()), ((600, 600), Some(ms(2))));
    assert_eq!(flows.wake_at(), Some(ms(1002)));
    // One is lost while it is held, one does not answer when it is asked.
    flows.ended(ms(500), 7);
    let mut asked = 0;
    while let Some(action) = flows.next(ms(1002)) {
        if let Action::Ask(flow) = action {
            asked += 1;
            if flow != 8 {
                flows.answered(ms(1003), flow, Some("b1"));
            }
        }
    }
    assert_eq!((asked, flows.is_done()), (599, false));
    assert_eq!(all(&mut flows, 1502), [Action::Close(8)]);
    assert!(flows.is_done());
    assert_eq!(flows.open(), (0, 600));
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.started, tally.opened, tally.completed), (600, 600, 598));
    assert_eq!((tally.faults(Fault::ClosedEarly), tally.faults(Fault::AnswerTimeout)), (1, 1));
}

#[test]
fn refused_connections_do_not_spin() {
    let mut flows = Connections::new(work(Mode::Open, 1), ms(0));
    assert_eq!(all(&mut flows, 0), [Action::Open(0)]);
    flows.failed(ms(0), 0, Fault::Refused);
    assert_eq!(all(&mut flows, 9), []);
    assert_eq!(all(&mut flows, 10), [Action::Open(0)]);
}

#[test]
fn what_comes_too_late_changes_nothing() {
    let mut flows = Connections::new(work(Mode::Open, 1), ms(0));
    all(&mut flows, 0);
    flows.failed(ms(1), 0, Fault::Reset);
    flows.opened(ms(2), 0);
    flows.answered(ms(2), 0, None);
    flows.ended(ms(2), 0);
    flows.failed(ms(2), 0, Fault::Reset);
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.started, tally.completed, tally.failed()), (1, 0, 1));
    flows.stop();
    assert!(flows.is_done());
    assert_eq!(flows.next(ms(100)), None);
}

#[test]
fn what_is_under_way_when_it_is_stopped_is_not_lost() {
    let mut flows = Connections::new(work(Mode::Open, 3), ms(0));
    assert_eq!(all(&mut flows, 0).len(), 3);
    flows.opened(ms(1), 0);
    flows.failed(ms(1), 1, Fault::Reset);
    flows.stop();
    flows.stop();
    assert!(flows.is_done());
    let (tally, _) = flows.take_tallies();
    assert_eq!((tally.started, tally.abandoned, tally.lost()), (3, 2, 1));
    let mut held = Connections::new(work(Mode::Hold, 5), ms(0));
    serve(&mut held, 0);
    held.stop();
    let (tally, _) = held.take_tallies();
    assert_eq!((tally.started, tally.opened, tally.lost()), (5, 5, 0));
}

#[test]
fn without_words_an_open_connection_is_all() {
    let silent = Work { speaks: false, count: Some(3), ..work(Mode::Open, 1) };
    let mut flows = Connections::new(silent, ms(0));
    serve(&mut flows, 0);
    assert!(flows.is_done());
    assert_eq!(flows.take_tallies().0.completed, 3);
}
