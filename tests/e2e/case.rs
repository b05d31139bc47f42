//! What a case is, how it fails, and how it waits.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use crate::world::{Plan, World};

pub(crate) type Failure = Box<dyn Error + Send + Sync>;
pub(crate) type Outcome = Result<(), Failure>;

/// Long enough for a slow machine; never waited for when things happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A case: the world that it happens in, and what happens.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) plan: Plan,
    /// Programs that it runs.
    pub(crate) programs: &'static [&'static str],
    pub(crate) run: fn(&mut World) -> Outcome,
}

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        plan: Plan,
        run: fn(&mut World) -> Outcome,
    ) -> Case {
        Case { name, plan, programs: &[], run }
    }

    /// With these programs, without which it is not run.
    pub(crate) const fn with(mut self, programs: &'static [&'static str]) -> Case {
        self.programs = programs;
        self
    }
}

/// Fails the case, with words, unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($words)+).into());
        }
    };
}

/// Looks again and again until there is something to see.
pub(crate) fn wait_for<T>(
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    const STEP: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            return Err(format!("did not happen in {PATIENCE:?}: {what}").into());
        }
        thread::sleep(STEP);
    }
}

/// Waits until something holds.
pub(crate) fn wait_until(
    what: &str,
    mut holds: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    wait_for(what, || Ok(holds()?.then_some(())))
}

/// Does the same on so many threads at once, in the namespace of this one.
pub(crate) fn at_once(threads: usize, work: impl Fn(usize) -> Outcome + Sync) -> Outcome {
    let work = &work;
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|at| scope.spawn(move || work(at))).collect();
        running.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}
