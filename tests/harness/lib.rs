//! Harness of the tests: builds packets with an encoder of its own, drives engines through a world
//! without threads and clocks, and checks the invariants after every step.
//!
//! It judges the bytes that the dataplane makes, so it shares no code with the dataplane's own
//! encoder: packets are pnet's, and checksums are summed from scratch here. It uses the public
//! doors of the dataplane only.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness fails by panicking, with a message for the reader of the test"
)]
#![deny(missing_docs)]

pub mod address;
pub mod check;
pub mod encode;
pub mod fast_path;
pub mod form;
pub mod fuzz;
pub mod icmp;
pub mod model;
pub mod ndp;
pub mod observe;
pub mod random;
pub mod script;
pub mod sim;
pub mod sum;
pub mod topology;
pub mod world;

pub use encode::{Image, Shape, Sum, mac_of};
pub use observe::{Observed, observe};
pub use random::Random;
pub use topology::Topology;
pub use world::{Left, World, WorldConfig};
