//! Workers, one on each thread, that do their share of a step and report what they counted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::answer::Talk;
use super::clock::{Clock, Poller, thread_time};
use super::tally::Tally;
use crate::stop::Stop;

/// How often a worker reports; a second is a multiple of it.
const REPORT: Duration = Duration::from_millis(250);
/// How often it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);

/// Where a step's flows go, and what is said on them.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    pub(super) target: SocketAddr,
    pub(super) sources: Vec<IpAddr>,
    pub(super) ports: RangeInclusive<u16>,
    pub(super) talk: Talk,
    /// Bytes of a datagram.
    pub(super) size: usize,
    /// Whether connections end by a reset.
    pub(super) close_by_reset: bool,
    /// Differs from run to run and step to step.
    pub(super) run: u32,
}

/// What a worker has counted since its last report.
pub(super) struct Slice {
    pub(super) worker: usize,
    /// The second that it belongs to, from the first that is measured on.
    pub(super) second: Option<u64>,
    pub(super) measured: Tally,
    pub(super) warm_up: Tally,
    /// Flows that are open, and the most that were.
    pub(super) open: (usize, usize),
    /// Processor time, and how long it was.
    pub(super) used: Duration,
    pub(super) wall: Duration,
    /// How long it took to open what is held.
    pub(super) opening_time: Option<Duration>,
    /// When the worker has come to its end, the time that was measured.
    pub(super) ended: Option<Duration>,
}

/// Sockets and the decisions about them.
pub(super) trait Worker {
    /// Does what is to be done now; whether there may be more of it.
    fn act(&mut self, clock: Clock, poller: &Poller) -> bool;
    /// A socket has changed.
    fn happened(&mut self, clock: Clock, number: u64);
    fn wake_at(&self) -> Option<Duration>;
    fn measured_from(&self) -> Option<Duration>;
    fn opening_time(&self) -> Option<Duration>;
    fn open(&self) -> (usize, usize);
    fn take_tallies(&mut self) -> (Tally, Tally);
    fn stop(&mut self, now: Duration);
    fn is_done(&self) -> bool;
}

/// Works until all is done or it shall stop.
pub(super) fn drive(
    number: usize,
    worker: &mut impl Worker,
    poller: &mut Poller,
    clock: Clock,
    stop: &Stop,
    reports: &Sender<Slice>,
) -> io::Result<()> {
    let mut since = Since { time: clock.now(), used: thread_time() };
    let mut next_report = since.time + REPORT;
    loop {
        let has_more = worker.act(clock, poller);
        let now = clock.now();
        if stop.is_requested() {
            worker.stop(now);
        }
        // Whoever no longer listens has been told to stop.
        if worker.is_done() {
            let _ = reports.send(since.report(number, worker, now, true));
            return Ok(());
        }
        if now >= next_report {
            let _ = reports.send(since.report(number, worker, next_report, false));
            next_report = boundary(now, worker.measured_from());
        }
        let wake = worker.wake_at().unwrap_or(now + LOOK).min(next_report).min(now + LOOK);
        let pause = if has_more { Duration::ZERO } else { wake.saturating_sub(now) };
        let numbers: Vec<u64> = poller.wait(pause)?.collect();
        numbers.into_iter().for_each(|number| worker.happened(clock, number));
    }
}

/// When the last report was made, and the processor time until then.
struct Since {
    time: Duration,
    used: Duration,
}

impl Since {
    fn report(
        &mut self,
        number: usize,
        worker: &mut impl Worker,
        now: Duration,
        is_last: bool,
    ) -> Slice {
        let (measured, warm_up) = worker.take_tallies();
        let from = worker.measured_from();
        let used = thread_time();
        let slice = Slice {
            worker: number,
            second: from.and_then(|from| Some(self.time.checked_sub(from)?.as_secs())),
            measured,
            warm_up,
            open: worker.open(),
            used: used.saturating_sub(self.used),
            wall: now.saturating_sub(self.time),
            opening_time: worker.opening_time(),
            ended: is_last.then(|| now.saturating_sub(from.unwrap_or(now))),
        };
        *self = Since { time: now, used };
        slice
    }
}

/// When the next report is due: seconds are cut where measuring began.
fn boundary(now: Duration, measured_from: Option<Duration>) -> Duration {
    let from = measured_from.unwrap_or_default();
    if now < from {
        return from.min(now + REPORT);
    }
    let past = (now - from).as_nanos() / REPORT.as_nanos();
    from + REPORT * u32::try_from(past + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_cut_where_seconds_are() {
        let ms = Duration::from_millis;
        assert_eq!(boundary(ms(10), None), ms(250));
        assert_eq!(boundary(ms(250), None), ms(500));
        assert_eq!(boundary(ms(900), Some(ms(1010))), ms(1010));
        assert_eq!(boundary(ms(100), Some(ms(1010))), ms(350));
        assert_eq!(boundary(ms(1010), Some(ms(1010))), ms(1260));
        // One that comes late catches up with the cut.
        assert_eq!(boundary(ms(1777), Some(ms(1010))), ms(2010));
    }
}
