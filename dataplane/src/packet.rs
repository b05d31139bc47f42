//! Packets judged by their form: parsed into plain values, keyed, rewritten.
//!
//! A [`Packet`] exists only if every length, offset and header checksum held (see [`parse`]); a
//! [`FlowKey`] names the flow it belongs to; a [`Rewrite`] says which fields it leaves with. Knows
//! no endpoint, no backend and no lease.

pub mod arp;
mod key;
mod parse;
pub mod reset;
mod rewrite;

pub use key::FlowKey;
pub use parse::{Packet, Parsed, parse};
pub use rewrite::{Rewrite, Tuple};

pub use crate::wire::checksum::Delta;
pub use crate::wire::tcp::TcpFlags;
