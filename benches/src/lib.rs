//! Rigs that benchmarks drive: an engine with as many flows as wanted, packets of those flows in
//! random order, and a clock that counts processor cycles.
//!
//! Everything goes through the public door of `dataplane`. The packets are built by etherparse.

pub mod changes;
pub mod clocks;
pub mod compare;
pub mod reader;
pub mod rig;
#[allow(unsafe_code)] // one instruction: rdtsc
mod sys;
