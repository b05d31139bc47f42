//! What one worker has to do in one step: plain data.

use std::time::Duration;

use super::schedule::Pace;

/// What is done with TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// New connections: open, exchange, close
    Open,
    /// Requests and their answers over connections that stay
    Request,
    /// Many connections at once: open all, hold them, and see which still answer
    Hold,
}

/// One worker's share of a step.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// For TCP.
    pub(super) mode: Mode,
    /// Connections at once, or sockets that datagrams are sent from.
    pub(super) flows: usize,
    /// When things begin; without it, as soon as a flow is free.
    pub(super) pace: Option<Pace>,
    /// How long nothing is measured at the beginning.
    pub(super) warm_up: Duration,
    /// How long it is measured, or connections are held.
    pub(super) time: Duration,
    /// How many things are begun, instead of for how long.
    pub(super) count: Option<u64>,
    /// How long a connection, an answer or a datagram may take.
    pub(super) timeout: Duration,
    /// Whether anything is said on connections.
    pub(super) speaks: bool,
}
