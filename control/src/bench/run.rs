//! Runs a step: starts the workers, puts their reports together, shows progress.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::BenchError;
use super::clock::{Clock, Poller};
use super::connections::Connections;
use super::crew::{Aim, Slice, drive};
use super::datagrams::Datagrams;
use super::ladder::Rung;
use super::machine::Ticks;
use super::outcome::Counts;
use super::places::Places;
use super::plan::{Plan, Transport};
use super::progress::Progress;
use super::series::Series;
use super::tcp::Tcp;
use super::udp::Udp;
use crate::stop::Stop;

/// How often progress is shown.
const LOOK: Duration = Duration::from_millis(250);

/// See the module's documentation.
pub(super) struct Runner<'a> {
    stop: &'a Stop,
    clock: Clock,
    /// Differs from run to run, and changes with each step.
    seed: u64,
}

impl<'a> Runner<'a> {
    pub(super) fn start(stop: &'a Stop) -> Runner<'a> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = u64::from(now.subsec_nanos()) << 8 ^ u64::from(std::process::id());
        Runner { stop, clock: Clock::start(), seed }
    }

    /// Does a step and gives what was counted.
    pub(super) fn step(
        &mut self,
        plan: &Plan,
        rung: Rung,
        progress: &mut Progress,
    ) -> Result<Counts, BenchError> {
        self.seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
        let aim = Aim {
            target: plan.target,
            sources: plan.sources.clone(),
            ports: plan.ports_for(rung.flows),
            talk: plan.talk.clone(),
            size: usize::try_from(plan.size).unwrap_or(usize::MAX),
            close_by_reset: plan.close_by_reset,
            run: u32::try_from(self.seed >> 32).unwrap_or_default(),
        };
        let workers = plan.workers(rung);
        let before = Ticks::now();
        let (reports, receiver) = mpsc::channel();
        let mut gathered = Gathered::new(workers);
        let outcome = thread::scope(|scope| {
            let mut threads = Vec::new();
            for worker in 0..workers {
                let share = Share { worker, workers, seed: self.seed >> 16 };
                let (reports, aim) = (reports.clone(), &aim);
                let (clock, stop) = (self.clock, self.stop);
                let work = move || share.work(plan, rung, aim, clock, stop, &reports);
                let name = format!("bench-{worker}");
                threads.push(thread::Builder::new().name(name).spawn_scoped(scope, work)?);
            }
            drop(reports);
            gathered.gather(&receiver, progress);
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        });
        outcome.map_err(|error| failed(&error, plan))?;
        let machine = Ticks::now().shares_since(before);
        Ok(gathered.finish(machine, self.stop.is_requested()))
    }
}

fn failed(error: &io::Error, plan: &Plan) -> BenchError {
    let fault = super::fault::Fault::of(error);
    let problem = format!("a socket to {} cannot be had: {error}", plan.target_name);
    BenchError::new(problem, super::report::fault_words(fault).1)
}

/// Which worker of how many.
#[derive(Clone, Copy)]
struct Share {
    worker: usize,
    workers: usize,
    seed: u64,
}

impl Share {
    fn work(
        self,
        plan: &Plan,
        rung: Rung,
        aim: &Aim,
        clock: Clock,
        stop: &Stop,
        reports: &Sender<Slice>,
    ) -> io::Result<()> {
        let Share { worker, workers, seed } = self;
        let mut poller = Poller::new()?;
        let work = plan.share(rung, worker, workers);
        let ports = aim.ports.clone();
        let mut places = Places::new(&aim.sources, ports, worker as u64, workers as u64, seed);
        let flows = work.flows;
        match plan.transport {
            Transport::Tcp => {
                let decisions = Connections::new(work, clock.now());
                let mut tcp = Tcp::new(decisions, flows, aim, places);
                drive(worker, &mut tcp, &mut poller, clock, stop, reports)
            }
            Transport::Udp => {
                let sockets = Udp::sockets(flows, aim, &mut places, &poller)?;
                let decisions = Datagrams::new(work, aim.run, clock.now());
                let decisions = decisions.ok_or_else(|| io::Error::other("no rate"))?;
                let mut udp = Udp::new(decisions, sockets, aim);
                drive(worker, &mut udp, &mut poller, clock, stop, reports)
            }
        }
    }
}

/// What workers have reported so far.
struct Gathered {
    counts: Counts,
    series: Series,
    /// Of each worker: flows that are open, processor time and the time in which it was used.
    open: Vec<(usize, usize)>,
    used: Vec<(Duration, Duration)>,
}

impl Gathered {
    fn new(workers: usize) -> Gathered {
        Gathered {
            counts: Counts::default(),
            series: Series::default(),
            open: vec![(0, 0); workers],
            used: vec![(Duration::ZERO, Duration::ZERO); workers],
        }
    }

    /// Until all workers have ended.
    fn gather(&mut self, reports: &Receiver<Slice>, progress: &mut Progress) {
        loop {
            match reports.recv_timeout(LOOK) {
                Ok(slice) => self.add(&slice),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let open = self.open.iter().map(|open| open.0).sum();
            progress.show(&self.counts.measured, open, || self.series.latest());
        }
    }

    fn add(&mut self, slice: &Slice) {
        self.counts.measured.merge(&slice.measured);
        self.counts.warm_up.merge(&slice.warm_up);
        self.open[slice.worker] = slice.open;
        self.counts.open = self.open.iter().map(|open| open.1).sum();
        if let Some(second) = slice.second {
            self.series.add(second, &slice.measured);
            let used = &mut self.used[slice.worker];
            *used = (used.0 + slice.used, used.1 + slice.wall);
        }
        self.counts.opening_time = self.counts.opening_time.max(slice.opening_time);
        self.counts.time = self.counts.time.max(slice.ended.unwrap_or_default());
    }

    fn finish(self, machine: Option<(f64, f64)>, is_cut: bool) -> Counts {
        let share =
            |(used, wall): &(Duration, Duration)| used.as_secs_f64() / wall.as_secs_f64().max(1e-9);
        let threads = self.used.iter().map(share).collect();
        let seconds = self.series.finish();
        Counts { threads, seconds, machine, is_cut, ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tally::Tally;

    fn slice(worker: usize, second: Option<u64>, completed: u64) -> Slice {
        let mut measured = Tally::default();
        (0..completed).for_each(|_| measured.complete(Duration::from_micros(10), None));
        Slice {
            worker,
            second,
            measured,
            warm_up: Tally::default(),
            open: (5, 6),
            used: Duration::from_millis(50),
            wall: Duration::from_millis(100),
            opening_time: None,
            ended: None,
        }
    }

    #[test]
    fn reports_of_all_workers_come_together() {
        let mut gathered = Gathered::new(2);
        for slice in [
            slice(0, None, 0),
            slice(0, Some(0), 3),
            slice(1, Some(0), 4),
            Slice { ended: Some(Duration::from_secs(2)), open: (0, 7), ..slice(1, Some(1), 1) },
        ] {
            gathered.add(&slice);
        }
        let counts = gathered.finish(Some((0.5, 0.0)), false);
        assert_eq!((counts.measured.completed, counts.open), (8, 13));
        assert_eq!(counts.threads, [0.5, 0.5]);
        assert_eq!(counts.seconds.len(), 2);
        assert_eq!((counts.seconds[0].completed, counts.time), (7, Duration::from_secs(2)));
    }
}
