//! A crew on a platform that panics when it is told to: what a bug of adit does to a worker.

use std::sync::atomic::{AtomicUsize, Ordering};

use dataplane::device::{Batch, Device, DeviceError, Frame, Link, Transmitted};
use dataplane::generation::Generation;
use dataplane::record::Recording;
use dataplane::snapshot::{DevicePlan, Plan, Snapshot};
use dataplane::types;
use dataplane::worker::Queue;

use super::*;

/// No device at all.
enum Nothing {}

impl Device for Nothing {
    fn link(&self) -> Link {
        match *self {}
    }

    fn receive(&mut self, _: &mut Batch) -> Result<(), DeviceError> {
        match *self {}
    }

    fn transmit(&mut self, _: &[&Frame]) -> Transmitted {
        match *self {}
    }
}

/// One of its workers panics when it would wait, as often as there are faults.
#[derive(Clone)]
struct Faulty {
    began: Instant,
    faults: Arc<AtomicUsize>,
    lives: Arc<AtomicUsize>,
}

impl Platform for Faulty {
    type Device = Nothing;

    fn open(&mut self, _: &DevicePlan, _: Queue) -> Result<Nothing, DeviceError> {
        Err(DeviceError { operation: "open", errno: 19 })
    }

    fn now(&mut self) -> types::Instant {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        types::Instant::from_nanos(nanos)
    }

    fn wait(&mut self, _: &mut dyn Iterator<Item = &Nothing>, timeout: Duration) {
        let take = |faults: usize| faults.checked_sub(1);
        let took = self.faults.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        assert!(took.is_err(), "a bug of adit, played by the platform");
        self.lives.fetch_add(1, Ordering::Relaxed);
        thread::park_timeout(timeout.min(LOOK));
    }

    fn wake(&mut self, _: types::WorkerId) {}
}

struct World {
    crew: Crew,
    faults: Arc<AtomicUsize>,
    lives: Arc<AtomicUsize>,
}

impl World {
    fn new(workers: u8) -> World {
        let snapshot = Snapshot::build(Plan::default()).unwrap();
        let cell = Arc::new(Cell::new(Arc::new(Generation::first(snapshot, 1))));
        let seats = crew(
            CrewConfig { workers, flows_max: 64, seed: 1, recording: Recording::Nothing },
            &cell,
        );
        let (faults, lives) = (Arc::default(), Arc::default());
        let platform = Faulty {
            began: Instant::now(),
            faults: Arc::clone(&faults),
            lives: Arc::clone(&lives),
        };
        let platforms = vec![platform; usize::from(workers)];
        let crew = Crew::of(seats, platforms, Arc::new([]), &[]).unwrap();
        let world = World { crew, faults, lives };
        world.wait_until_all_work();
        world
    }

    fn wait_until_all_work(&self) {
        let adopted = self.crew.wait_until_adopted(GenerationNumber(1), Duration::from_secs(10));
        assert_eq!(adopted, Ok(()));
    }

    /// A worker meets a bug; which one.
    fn fault(&self) -> usize {
        self.faults.store(1, Ordering::Relaxed);
        wait_for(|| self.crew.ended())
    }
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "it did not happen in time");
        thread::park_timeout(LOOK);
    }
}

#[test]
fn a_worker_that_ended_is_started_again() {
    let world = World::new(2);
    assert_eq!(world.crew.ended(), None);
    for _ in 0..REVIVALS_MAX {
        let ended = world.fault();
        world.crew.revive(ended).unwrap();
        assert_eq!(world.crew.ended(), None);
        world.wait_until_all_work();
    }
    let before = world.lives.load(Ordering::Relaxed);
    wait_for(|| (world.lives.load(Ordering::Relaxed) > before + 10).then_some(()));
    world.crew.stop();
}

#[test]
fn a_worker_that_ends_again_and_again_is_given_up() {
    let world = World::new(1);
    for _ in 0..REVIVALS_MAX {
        world.crew.revive(world.fault()).unwrap();
    }
    let error = world.crew.revive(world.fault()).unwrap_err();
    assert!(error.problem.contains("worker 0 ended by itself once more"), "{error}");
    world.crew.stop();
}
