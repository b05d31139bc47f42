//! The real binary, without privileges: commands from their arguments to their exit codes, and a
//! daemon from its start to its end.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod browser;
mod client;
mod commands;
mod crash;
mod daemon;
mod push;
mod support;
mod web;
