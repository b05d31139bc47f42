//! What adit answers to each requirement on NATs, shown by a test of the engine.
//!
//! There is a test for each requirement of RFC 4787, 5382, 5508, 6888 and 7857 that applies to
//! adit, as it stands or in adapted form; it is named after it. Its comment has a fixed form: what
//! the requirement means, then `Applies:` ("as it stands" or "adapted"), `Answer:` and, only where
//! adit does otherwise, `Deviation:`. A test asserts what adit does, deviating or not. What does
//! not apply is listed, with the reason, in the header of the RFC's module. `cargo xtask rfc`
//! makes docs/rfc-compliance.md of these comments, and `cargo xtask tidy` finds what is missing.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, with a message for its reader"
)]

mod icmp;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc6888;
mod rfc7857;
mod same;
mod talk;
