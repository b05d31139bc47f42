//! Health probes: who is asked when, what an attempt says and hears, and what follows from it.
//!
//! All of it is sans-IO: time comes in as the time since the start of the process, packets as
//! bytes. `machine` decides when attempts begin and what their outcomes mean, `judge` is the
//! verdict on one backend, `dialogue` what is said over one connection, `http` its bytes, `tls` its
//! disguise, `stack` the TCP below it. The daemon carries packets between the stack and the workers
//! and puts verdicts in force.

mod dialogue;
mod http;
mod judge;
mod machine;
mod stack;
mod target;
mod tls;

pub(crate) use dialogue::Question;
pub(crate) use judge::Pace;
#[cfg(test)]
pub(crate) use judge::State;
pub(crate) use machine::{Change, Machine, Report};
pub(crate) use stack::{Call, Route, Stack};
pub(crate) use target::{Target, targets};

#[cfg(test)]
mod tests;
