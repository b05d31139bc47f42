//! An independent model of adit, and random operations that must find both in agreement.
//!
//! The rules say what must happen: which verdict, which bytes, which counters, which flows. They
//! share no code with the engine but its plain data types. A [`Campaign`] draws worlds, plays them
//! on the engine and the model side by side, and shrinks what fails to a short list of operations
//! in text, which [`replay`] plays again.

mod accounts;
mod announce;
mod choices;
mod coverage;
mod draw;
mod echo;
mod ending;
mod expect;
mod form;
mod fragment;
mod hops;
mod icmp;
mod insertion;
mod look;
mod op;
mod peering;
mod pieces;
mod play;
mod problem;
mod quota;
mod report;
mod rules;
mod setup;
mod shrink;
mod state;
mod talk;
mod told;
mod unanswered;
mod wanted;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use coverage::Coverage;
use draw::Draw;
use op::{Op, WorldShape};
use play::{Play, Rig};

/// Operations of one world.
pub const OPS_PER_WORLD: u64 = 5_000;

/// A world in which the engine and the model did not agree.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// What they did not agree on.
    pub what: String,
    /// The world's seed.
    pub seed: u64,
    /// How many operations it took.
    pub operations: usize,
    /// The shortest list of operations that was found to show it.
    pub script: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Disagreement { what, seed, operations, script } = self;
        writeln!(f, "world {seed}, after {operations} operations, the model does not agree:")?;
        writeln!(f, "{what}\n")?;
        writeln!(f, "# the shortest way there; `cargo xtask model --replay FILE` repeats it")?;
        f.write_str(script)
    }
}

/// Plays worlds one after the other; a worker thread has one.
pub struct Campaign {
    rig: Rig,
    /// What was reached so far.
    pub coverage: Coverage,
}

impl Default for Campaign {
    fn default() -> Self {
        Campaign { rig: Rig::new(), coverage: Coverage::default() }
    }
}

impl Campaign {
    /// Plays the world of a seed for so many operations.
    ///
    /// # Errors
    /// The engine and the model did not agree.
    pub fn world(&mut self, seed: u64, operations: u64) -> Result<(), Disagreement> {
        let (shape, mut draw) = Draw::new(seed);
        let mut ops = Vec::new();
        let ended = guarded(|| {
            let mut play = Play::new(shape, &mut self.rig);
            for _ in 0..operations {
                ops.push(draw.next(&play.model));
                play.apply(ops.last().expect("one was just drawn"))?;
            }
            play.end()?;
            Ok(play.coverage)
        });
        match ended {
            Ok(coverage) => {
                self.coverage.add(&coverage);
                self.coverage.worlds += 1;
                Ok(())
            }
            Err(_) => Err(self.explain(seed, shape, ops)),
        }
    }

    fn explain(&mut self, seed: u64, shape: WorldShape, ops: Vec<Op>) -> Disagreement {
        let operations = ops.len();
        let ops = shrink::shrink(ops, |ops| self.play(shape, ops).is_err());
        let what = self.play(shape, &ops).err().unwrap_or_default();
        Disagreement { what, seed, operations, script: op::write(&shape, &ops) }
    }

    fn play(&mut self, shape: WorldShape, ops: &[Op]) -> Result<(), String> {
        guarded(|| {
            let mut play = Play::new(shape, &mut self.rig);
            ops.iter().try_for_each(|op| play.apply(op))?;
            play.end()
        })
    }
}

/// Plays a list of operations that was written down.
///
/// # Errors
/// It cannot be read, or the engine and the model do not agree.
pub fn replay(text: &str) -> Result<(), String> {
    let (shape, ops) = op::read(text)?;
    Campaign::default().play(shape, &ops)
}

/// A panic is a disagreement too.
fn guarded<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", text.unwrap_or("of unknown kind")))
    })
}
