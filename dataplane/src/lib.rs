//! Given the same calls, the engine makes the same decisions: it reads no clock, opens no socket,
//! spawns no thread and allocates nothing after start.
//!
//! Frames go in and verdicts come out; ARCHITECTURE.md draws the path. Without the feature `io` the
//! crate is `no_std` with `alloc`, so that a clock or a socket in the core does not compile.

#![cfg_attr(not(any(feature = "io", test)), no_std)]
#![deny(missing_docs)]
// Tests cut numbers to make bytes and hashes of them.
#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

extern crate alloc;

pub mod account;
pub mod classify;
pub mod device;
pub mod drop_reason;
pub mod engine;
pub mod fast_path;
pub mod flow;
pub mod fragment;
pub mod generation;
pub mod hash;
#[cfg(feature = "io")]
pub mod io;
pub mod lb;
pub mod limits;
pub mod nat;
pub mod neighbor;
pub mod offload;
pub mod packet;
mod prefetch;
#[cfg(feature = "io")]
pub mod publish;
pub mod record;
pub mod snapshot;
pub mod stats;
mod sync;
pub mod trace;
pub mod types;
pub mod wire;
#[cfg(feature = "io")]
pub mod worker;
