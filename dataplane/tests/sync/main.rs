//! What threads share, under a model checker: every order in which two or three of them can meet,
//! up to a number of preemptions, and every value that the memory model lets each of them see.
//!
//! The worlds are small (four ports to a pool, two frames to a ring: `limits` under `--cfg loom`),
//! because the rules that can break do not depend on the size. A thread that waits for what never
//! comes is a deadlock here, and a failure. CONTRIBUTING.md says how to run this.
#![cfg(loom)]

mod neighbor;
mod plan;
mod pool;
mod publish;
mod worker;

/// Tries the orders of `test`'s threads with at most `preemptions` switches that no thread asked
/// for, or `LOOM_MAX_PREEMPTIONS`. Most faults need one or two.
fn check(preemptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    builder.check(test);
}
