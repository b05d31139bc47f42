//! The worker threads: starting, waking, waiting for and ending them.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::io::{LinuxPlatform, Waker, pin_to_cpu, usable_cpus};
use dataplane::publish::Cell;
use dataplane::stats::Counters;
use dataplane::types::GenerationNumber;
use dataplane::worker::{CrewConfig, Shared, Worker, crew};
use parking_lot::Mutex;

use super::{DaemonError, log};
use crate::config::Settings;

/// Time between two looks at what workers say.
const LOOK: Duration = Duration::from_millis(1);

/// All workers of the process.
pub(super) struct Crew {
    shared: Vec<Arc<Shared>>,
    wakers: Arc<[Waker]>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Crew {
    /// Starts a thread for each worker.
    pub(super) fn start(
        settings: &Settings,
        seed: u64,
        cell: &Arc<Cell>,
    ) -> Result<Crew, DaemonError> {
        let (workers, flows_max) = (settings.workers.value, settings.flows_max.value);
        let platforms = LinuxPlatform::for_workers(workers).map_err(|error| {
            DaemonError::new(format!("workers cannot start: {error}"), "raise `ulimit -n`")
        })?;
        let seats = crew(CrewConfig { workers, flows_max, seed }, cell);
        let shared: Vec<_> = seats.iter().map(|seat| Arc::clone(&seat.shared)).collect();
        let wakers = platforms.first().map(LinuxPlatform::wakers).unwrap_or_else(|| Arc::new([]));
        let cpus = usable_cpus();
        if usize::from(workers) > cpus.len() {
            log(format_args!("warning: {workers} workers share {} CPUs", cpus.len()));
        }
        let mut crew = Crew { shared, wakers, threads: Mutex::default() };
        for (at, (seat, platform)) in seats.into_iter().zip(platforms).enumerate() {
            let cpu = cpus.get(at % cpus.len().max(1)).copied();
            let work = move || {
                if let Some(Err(error)) = cpu.map(pin_to_cpu) {
                    log(format_args!("worker {at}: {error}; it runs on any CPU"));
                }
                Worker::new(seat, platform).run();
            };
            let thread = thread::Builder::new().name(format!("worker-{at}")).spawn(work);
            match thread {
                Ok(thread) => crew.threads.get_mut().push(thread),
                Err(error) => {
                    crew.stop();
                    let problem = format!("worker {at} cannot start: {error}");
                    return Err(DaemonError::new(problem, "lower workers"));
                }
            }
        }
        Ok(crew)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.shared.len()
    }

    /// What each shares with control, in the order of their numbers.
    pub(super) fn shared(&self) -> &[Arc<Shared>] {
        &self.shared
    }

    /// Makes every worker look at what control wants.
    pub(super) fn wake(&self) {
        self.wakers.iter().for_each(Waker::wake);
    }

    /// All workers' counters together.
    pub(super) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.shared.iter().for_each(|shared| sum.add(&shared.stats.read()));
        sum
    }

    /// Waits until every worker works with a generation; else says which do not.
    pub(super) fn wait_until_adopted(
        &self,
        number: GenerationNumber,
        patience: Duration,
    ) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        loop {
            let lags = |shared: &Arc<Shared>| shared.stats.adopted() != number;
            let laggards = self.shared.iter().enumerate().filter(|(_, shared)| lags(shared));
            let laggards: Vec<String> = laggards.map(|(at, _)| at.to_string()).collect();
            if laggards.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline || self.ended().is_some() {
                return Err(format!("worker {}", laggards.join(", ")));
            }
            thread::sleep(LOOK);
        }
    }

    /// A worker that ended although nobody stopped it.
    pub(super) fn ended(&self) -> Option<usize> {
        self.threads.lock().iter().position(JoinHandle::is_finished)
    }

    /// Ends all workers, waits for them, and returns what they counted.
    pub(super) fn stop(&self) -> Counters {
        self.shared.iter().for_each(|shared| shared.stop());
        self.wake();
        for (at, thread) in self.threads.lock().drain(..).enumerate() {
            if thread.join().is_err() {
                log(format_args!("worker {at} had panicked: this is a bug of adit"));
            }
        }
        self.counters()
    }
}
