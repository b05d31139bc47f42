//! Resources in Azure's shape: what they are, the rules that they keep, and how they become a
//! configuration of the data path.
//!
//! Resources come from two places. Those of the configuration file are read-only here (`of_file`
//! shows them); those made through the API are changed by [`Step`]s, each applied whole or taken
//! back whole. [`compose`](compose::compose) joins both to the one configuration
//! that is compiled, so that nothing reaches the data path that the other side does not know of.
//! Nothing here opens a socket, reads a clock or throws dice: whoever calls passes them in.

pub mod address;
pub mod balancer;
pub mod body;
pub mod change;
pub mod compose;
pub mod connection;
pub mod endpoint;
pub mod estate;
mod fault;
mod id;
pub mod limits;
pub mod model;
pub mod network;
mod of_file;
pub mod peering;
pub mod render;
pub mod security;
pub mod service;
mod shelves;

pub use estate::{Estate, Home, Resources, Step};
pub use fault::Fault;
pub use id::{Id, Key, Kind, Reference};

/// A source of numbers that nobody can guess.
pub type Dice<'d> = &'d mut dyn FnMut() -> u128;
