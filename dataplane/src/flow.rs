//! Flows: one record each, one cache line, named by both of its keys (I3).
//!
//! The forward key finds a record through a hash index; the return key is the leased port, whose
//! entry in `nat` holds the record's [`crate::types::FlowIndex`]. Capacity is fixed at start and a
//! live flow is never evicted; idle ones leave by a timer wheel with bounded work (I8). Picks no
//! backend, leases no port, reads no configuration.

mod beside;
mod index;
mod insertion;
mod record;
mod state;
mod table;
mod tally;
mod wheel;

pub use beside::Outsides;
pub use insertion::{Insertions, Underway};
pub use record::{Flow, FlowView, Insert, Serving, Terms};
pub use state::State;
pub use table::{FlowTable, Vacancy};
pub use tally::Tallies;
