//! Everything around the data path: the configuration, the resources that it names, the daemon that
//! programs workers, the control socket, and the command line.
//!
//! The way down is `config` (text to a valid configuration), `state` (what outlives it), `compile`
//! (both to a snapshot) and `daemon` (publishes it). No worker ever waits for anything here.

pub mod api;
pub mod arm;
pub mod bench;
pub mod cli;
pub mod compile;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod difference;
pub mod edit;
pub mod moment;
pub mod plot;
pub(crate) mod probe;
pub mod recording;
pub mod resource;
pub mod state;
mod stop;
pub mod store;
mod web;
