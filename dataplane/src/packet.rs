//! Packets judged by their form: parsed into plain values, keyed, rewritten.
//!
//! A [`Packet`] exists only if every length, offset and header checksum held (see [`parse`]); a
//! [`Glance`] is what can be said in a few instructions of a packet without any oddity; a
//! [`FlowKey`] names the flow it belongs to; a [`Rewrite`] says which fields it leaves with. Knows
//! no endpoint, no backend and no lease.

pub mod arp;
pub mod fragment;
mod glance;
mod header;
pub mod icmp;
mod key;
mod mss;
pub mod ndp;
mod parse;
pub mod proxy;
pub mod reset;
pub mod resolution;
mod rewrite;
mod segment;
pub mod splice;
mod translate;

pub use glance::Glance;
pub use key::{FlowKey, hash_plain};
pub use mss::clamp_mss;
pub use parse::{Fragmentation, Packet, Parsed, Receiver, has_sense, judge_addresses, parse};
pub use rewrite::{Change, PlainRewrite, Rewrite, Tuple};
pub use translate::{judge_crossing, mtu_across};

pub use crate::wire::checksum::Delta;
pub use crate::wire::plain::PlainTuple;
pub use crate::wire::tcp::TcpFlags;
