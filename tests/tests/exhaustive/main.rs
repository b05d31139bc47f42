//! Where the space is finite, all of it: checksum updates, IPv4 lengths, and the ports of a pool.
//!
//! Each file says what its space is and, where it is too large to walk, which smaller ones stand
//! for it and why that is enough.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod checksum;
mod lengths;
mod packets;
mod ports;
