//! When a worker sends which datagram, and what it counts: decisions without sockets.
//!
//! Bounds: as [`super::datagram`]. A datagram that has not come back when the time of the last one
//! is over is lost.

use std::time::Duration;

use super::datagram::{Arrival, Stamp, Track};
use super::fault::Fault;
use super::schedule::Schedule;
use super::tally::Tally;
use super::work::Work;

/// A datagram that is sent later than this was missed.
const LATE: Duration = Duration::from_millis(1);

/// How long after the end those that are due are still sent.
const CATCH_UP: Duration = Duration::from_millis(100);

/// See the module's documentation.
pub(super) struct Datagrams {
    work: Work,
    run: u32,
    begun: Duration,
    schedule: Schedule,
    tracks: Vec<Track>,
    sent: u64,
    back: u64,
    /// When waiting ends; set when nothing more is sent.
    patience: Option<Duration>,
    is_over: bool,
    measured: Tally,
    warm_up: Tally,
}

impl Datagrams {
    /// `None` without a pace: datagrams have one.
    pub(super) fn new(work: Work, run: u32, now: Duration) -> Option<Datagrams> {
        Some(Datagrams {
            schedule: Schedule::new(work.pace?, now),
            tracks: vec![Track::default(); work.flows],
            work,
            run,
            begun: now,
            sent: 0,
            back: 0,
            patience: None,
            is_over: false,
            measured: Tally::default(),
            warm_up: Tally::default(),
        })
    }

    /// The next datagram, if its time has come. Flows take turns.
    pub(super) fn next(&mut self, now: Duration) -> Option<Stamp> {
        if self.patience.is_none() && self.is_all_sent(now) {
            self.patience = Some(now + self.work.timeout);
            if let Some(end) = self.end() {
                self.measured.unsent += self.schedule.skip_to(end);
            }
        }
        if let Some(patience) = self.patience {
            self.is_over |= now >= patience || self.back == self.sent;
            return None;
        }
        let intended = self.schedule.take(now)?;
        let flow = usize::try_from(self.sent % self.tracks.len() as u64).unwrap_or_default();
        self.sent += 1;
        let tally = self.tally(intended);
        tally.started += 1;
        tally.late += u64::from(now.saturating_sub(intended) > LATE);
        let sequence = self.tracks[flow].send();
        Some(Stamp { run: self.run, flow: u32::try_from(flow).ok()?, sequence, intended })
    }

    /// Something has come back.
    pub(super) fn heard(&mut self, now: Duration, stamp: Stamp, backend: Option<&str>) {
        let track = usize::try_from(stamp.flow).ok().and_then(|flow| self.tracks.get_mut(flow));
        let Some(track) = track.filter(|_| stamp.run == self.run) else { return };
        let arrival = track.arrive(stamp.sequence);
        let took = now.saturating_sub(stamp.intended);
        let tally = self.tally(stamp.intended);
        match arrival {
            Arrival::Unknown => return,
            Arrival::Again => {
                tally.duplicated += 1;
                return;
            }
            Arrival::Overtaken => tally.reordered += 1,
            Arrival::First => {}
        }
        tally.complete(took, backend);
        self.back += 1;
    }

    /// A socket reports an error; the datagram that it is about counts as lost when time is over.
    pub(super) fn failed(&mut self, now: Duration, fault: Fault) {
        self.tally(now).fail(fault);
    }

    pub(super) fn wake_at(&self) -> Option<Duration> {
        self.patience.or_else(|| {
            let slot = self.schedule.peek();
            Some(self.end().map_or(slot, |end| end.min(slot)))
        })
    }

    /// Nothing more shall be sent; what was is waited for, but not for long.
    pub(super) fn stop(&mut self, now: Duration) {
        let brief = now + self.work.timeout.min(Duration::from_secs(1));
        self.patience = Some(self.patience.map_or(brief, |patience| patience.min(brief)));
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_over
    }

    /// Since when it is measured.
    pub(super) fn measured_from(&self) -> Duration {
        self.begun + self.work.warm_up
    }

    /// What was counted since the last time: what is measured, and the rest.
    pub(super) fn take_tallies(&mut self) -> (Tally, Tally) {
        (std::mem::take(&mut self.measured), std::mem::take(&mut self.warm_up))
    }

    fn tally(&mut self, intended: Duration) -> &mut Tally {
        let is_measured = intended >= self.measured_from();
        if is_measured { &mut self.measured } else { &mut self.warm_up }
    }

    fn end(&self) -> Option<Duration> {
        let end = self.measured_from() + self.work.time;
        self.work.count.is_none().then_some(end)
    }

    fn is_all_sent(&self, now: Duration) -> bool {
        match (self.work.count, self.end()) {
            (Some(count), _) => self.sent >= count,
            (None, Some(end)) => {
                now >= end && (self.schedule.peek() >= end || now >= end + CATCH_UP)
            }
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::schedule::Pace;
    use crate::bench::work::Mode;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn datagrams(flows: usize, count: Option<u64>) -> Datagrams {
        let work = Work {
            mode: Mode::Request,
            flows,
            pace: Some(Pace { per_second: 100.0, worker: 0, workers: 1 }),
            warm_up: ms(0),
            time: ms(1000),
            count,
            timeout: ms(200),
            speaks: true,
        };
        Datagrams::new(work, 9, ms(0)).unwrap()
    }

    #[test]
    fn flows_take_turns_and_answers_are_counted() {
        let mut datagrams = datagrams(2, None);
        let stamps: Vec<_> = (0..4).filter_map(|at| datagrams.next(ms(at * 10))).collect();
        let numbers: Vec<_> = stamps.iter().map(|stamp| (stamp.flow, stamp.sequence)).collect();
        assert_eq!(numbers, [(0, 0), (1, 0), (0, 1), (1, 1)]);
        datagrams.heard(ms(25), stamps[2], Some("b1"));
        datagrams.heard(ms(26), stamps[0], None);
        datagrams.heard(ms(27), stamps[0], None);
        datagrams.heard(ms(28), Stamp { run: 8, ..stamps[1] }, None);
        datagrams.heard(ms(28), Stamp { flow: 5, ..stamps[1] }, None);
        datagrams.heard(ms(28), Stamp { sequence: 5, ..stamps[1] }, None);
        let (tally, _) = datagrams.take_tallies();
        assert_eq!((tally.started, tally.completed), (4, 2));
        assert_eq!((tally.reordered, tally.duplicated), (1, 1));
        assert_eq!(tally.latencies.longest(), ms(26));
    }

    #[test]
    fn it_waits_for_the_last_and_no_longer_than_needed() {
        let mut answered = datagrams(1, Some(2));
        let stamps: Vec<_> = (0..3).filter_map(|at| answered.next(ms(at * 10))).collect();
        assert_eq!((stamps.len(), answered.is_done()), (2, false));
        assert_eq!(answered.wake_at(), Some(ms(220)));
        stamps.iter().for_each(|stamp| answered.heard(ms(30), *stamp, None));
        assert_eq!(answered.next(ms(30)), None);
        assert!(answered.is_done());
        let mut stopped = datagrams(1, None);
        let stamp = stopped.next(ms(0)).unwrap();
        stopped.stop(ms(5));
        stopped.stop(ms(6));
        assert_eq!((stopped.next(ms(50)), stopped.is_done()), (None, false));
        stopped.heard(ms(60), stamp, None);
        assert_eq!((stopped.next(ms(60)), stopped.is_done()), (None, true));
        let mut lost = datagrams(1, None);
        while lost.next(ms(980)).is_some() {}
        // The last one is due before the end, and sent although it is late.
        assert!(lost.next(ms(1002)).is_some());
        assert_eq!(lost.next(ms(1002)), None);
        assert!(!lost.is_done());
        assert_eq!((lost.next(ms(1202)), lost.is_done()), (None, true));
        let (tally, _) = lost.take_tallies();
        assert_eq!((tally.started, tally.completed, tally.late), (100, 0, 99));
    }
}
