//! The worker threads: starting, waking, waiting for and ending them, and starting another in place
//! of one that ended by a fault of adit.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::io::{KernelFastPath, LinuxPlatform, Waker, pin_to_cpu, usable_cpus};
use dataplane::publish::Cell;
#[cfg(test)]
use dataplane::record::Recording;
use dataplane::record::Traffic;
use dataplane::stats::Counters;
use dataplane::types::{AccountIndex, GenerationNumber};
use dataplane::worker::{CrewConfig, Platform, ProbeRings, Seat, Shared, Worker, crew};
use parking_lot::Mutex;

use super::recorder::recording;
use super::{DaemonError, log};
use crate::config::{FastPathUse, Settings};

/// Time between two looks at what workers say.
const LOOK: Duration = Duration::from_millis(1);

/// Workers that are started in place of others within [`REVIVAL_TIME`] at most: after that they
/// would only end again.
const REVIVALS_MAX: usize = 3;
const REVIVAL_TIME: Duration = Duration::from_secs(60);

/// Starts the thread of a worker; may be called again once that has ended.
type Spawn = Box<dyn Fn(usize) -> io::Result<JoinHandle<()>> + Send + Sync>;

/// All workers of the process.
pub(super) struct Crew {
    shared: Vec<Arc<Shared>>,
    wakers: Arc<[Waker]>,
    spawn: Spawn,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// When workers were started in place of others.
    revivals: Mutex<Vec<Instant>>,
    fast_path: FastPathState,
}

/// What has become of the kernel's fast path.
pub(super) enum FastPathState {
    /// Nobody wants it.
    Off,
    /// It is there, for the devices that can take part.
    On(KernelFastPath),
    /// The kernel does not give it, for this reason.
    Unavailable(String),
}

/// What workers are given by the operating system before they start.
pub(super) struct Equipment {
    platforms: Vec<LinuxPlatform>,
    fast_path: FastPathState,
}

impl Equipment {
    /// Takes what only a privileged process gets, and only once: the fast path's program.
    pub(super) fn take(settings: &Settings, seed: u64) -> Result<Equipment, DaemonError> {
        let platforms = LinuxPlatform::for_workers(settings.workers.value).map_err(|error| {
            DaemonError::new(format!("workers cannot start: {error}"), "raise `ulimit -n`")
        })?;
        let (platforms, fast_path) = match settings.fast_path.value {
            FastPathUse::Off => (platforms, FastPathState::Off),
            FastPathUse::Auto => accelerate(platforms, seed),
        };
        Ok(Equipment { platforms, fast_path })
    }
}

impl Crew {
    /// Starts a thread for each worker.
    pub(super) fn start(
        settings: &Settings,
        equipment: Equipment,
        seed: u64,
        cell: &Arc<Cell>,
    ) -> Result<Crew, DaemonError> {
        let (workers, flows_max) = (settings.workers.value, settings.flows_max.value);
        let recording = recording(settings);
        let Equipment { platforms, fast_path } = equipment;
        let wakers = platforms.first().map(LinuxPlatform::wakers).unwrap_or_else(|| Arc::new([]));
        let cpus = usable_cpus();
        if usize::from(workers) > cpus.len() {
            log(format_args!("warning: {workers} workers share {} CPUs", cpus.len()));
        }
        let seats = crew(CrewConfig { workers, flows_max, seed, recording }, cell);
        let crew = Crew::of(seats, platforms, wakers, &cpus)?;
        Ok(Crew { fast_path, ..crew })
    }

    /// What has become of the kernel's fast path.
    pub(super) fn fast_path(&self) -> &FastPathState {
        &self.fast_path
    }

    /// Starts workers on these seats, each with its platform.
    fn of<P: Platform + Clone + Send + Sync + 'static>(
        seats: Vec<Seat>,
        platforms: Vec<P>,
        wakers: Arc<[Waker]>,
        cpus: &[usize],
    ) -> Result<Crew, DaemonError> {
        let shared: Vec<_> = seats.iter().map(|seat| Arc::clone(&seat.shared)).collect();
        let count = shared.len();
        let cpu = |at: usize| cpus.get(at % cpus.len().max(1)).copied();
        let places = seats.into_iter().zip(platforms).enumerate();
        let places = places.map(|(at, (seat, platform))| (seat, platform, cpu(at)));
        let places: Vec<_> = places.collect();
        let spawn = move |at: usize| {
            let (seat, platform, cpu) = places.get(at).ok_or(io::ErrorKind::NotFound)?;
            spawn_worker(seat.successor(), platform.clone(), *cpu)
        };
        let (threads, revivals) = (Mutex::default(), Mutex::default());
        let fast_path = FastPathState::Off;
        let spawn = Box::new(spawn);
        let mut crew = Crew { shared, wakers, spawn, threads, revivals, fast_path };
        for at in 0..count {
            match (crew.spawn)(at) {
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

    /// The rings of health probes' frames, the same for all workers.
    pub(super) fn probe_rings(&self) -> Option<Arc<ProbeRings>> {
        self.shared.first().map(|shared| Arc::clone(&shared.probes))
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

    /// What all workers and the kernel have counted in a slot of accounts.
    pub(super) fn carried(&self, account: AccountIndex) -> Traffic {
        let mut sum = match &self.fast_path {
            FastPathState::On(kernel) => kernel.carried_by(account),
            FastPathState::Off | FastPathState::Unavailable(_) => Traffic::default(),
        };
        self.shared.iter().for_each(|shared| sum += shared.accounts.read(account));
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

    /// A crew whose workers are played by a test: nothing runs.
    #[cfg(test)]
    pub(super) fn played(workers: u8, cell: &Arc<Cell>) -> Crew {
        let seats = crew(
            CrewConfig { workers, flows_max: 1, seed: 1, recording: Recording::Nothing },
            cell,
        );
        let shared = seats.into_iter().map(|seat| seat.shared).collect();
        let (threads, revivals) = (Mutex::default(), Mutex::default());
        let spawn = Box::new(|_| Err(io::ErrorKind::Unsupported.into()));
        let fast_path = FastPathState::Off;
        Crew { shared, wakers: Arc::new([]), spawn, threads, revivals, fast_path }
    }

    /// Says, as a worker would, that it works with a generation.
    #[cfg(test)]
    pub(super) fn play_adoption(&self, worker: usize, generation: u64) {
        self.shared[worker].stats.write(&Counters { generation, ..Counters::default() });
    }

    /// A worker that ended although nobody stopped it.
    pub(super) fn ended(&self) -> Option<usize> {
        self.threads.lock().iter().position(JoinHandle::is_finished)
    }

    /// Starts another worker in place of one that ended, which takes over its counters and nothing
    /// else. Fails if that happens too often.
    pub(super) fn revive(&self, worker: usize) -> Result<(), DaemonError> {
        const CURE: &str = "please report it with the lines above";
        let now = Instant::now();
        let mut revivals = self.revivals.lock();
        revivals.retain(|then| now.duration_since(*then) < REVIVAL_TIME);
        if revivals.len() >= REVIVALS_MAX {
            let problem = format!("worker {worker} ended by itself once more: adit gives up");
            return Err(DaemonError::new(problem, CURE));
        }
        revivals.push(now);
        let mut threads = self.threads.lock();
        let Some(ended) = threads.get_mut(worker) else { return Ok(()) };
        let thread = (self.spawn)(worker).map_err(|error| {
            DaemonError::new(format!("worker {worker} cannot start again: {error}"), CURE)
        })?;
        // It has ended already, and what it panicked with has been printed.
        drop(std::mem::replace(ended, thread).join());
        Ok(())
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

/// Gives all platforms one fast path, if the kernel has it; else says why not.
fn accelerate(platforms: Vec<LinuxPlatform>, seed: u64) -> (Vec<LinuxPlatform>, FastPathState) {
    match KernelFastPath::load(seed) {
        Ok(fast_path) => {
            let platforms = platforms.into_iter();
            let platforms = platforms.map(|platform| platform.with_fast_path(&fast_path));
            (platforms.collect(), FastPathState::On(fast_path))
        }
        Err(error) => {
            log(format_args!(
                "the kernel's fast path is not available: {error}; adit carries all packets itself \
                 (it needs root and Linux 6.6; fast_path = \"off\" silences this)"
            ));
            (platforms, FastPathState::Unavailable(error.to_string()))
        }
    }
}

fn spawn_worker<P: Platform + Send + 'static>(
    seat: Seat,
    platform: P,
    cpu: Option<usize>,
) -> io::Result<JoinHandle<()>> {
    let number = seat.worker.0;
    let work = move || {
        if let Some(Err(error)) = cpu.map(pin_to_cpu) {
            log(format_args!("worker {number}: {error}; it runs on any CPU"));
        }
        Worker::new(seat, platform).run();
    };
    thread::Builder::new().name(format!("worker-{number}")).spawn(work)
}

#[cfg(test)]
mod tests;
