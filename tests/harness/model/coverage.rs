//! What the operations reached, so that nobody wonders: how often each verdict, each reason and
//! each counter occurred.

use std::collections::BTreeMap;
use std::fmt;

use dataplane::drop_reason::DropReason;
use dataplane::record::{EndReason, FlowEvent};
use dataplane::stats::Counters;

/// Sums over all worlds.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Operations that were carried out.
    pub operations: u64,
    /// Batches that engines were given.
    pub(super) batches: u64,
    /// Worlds that were played.
    pub(super) worlds: u64,
    /// Packets that had to wait for their next hop.
    pub(super) held: u64,
    /// Flows that began before a frontend that floats.
    pub(super) floated: u64,
    /// Answers to health probes.
    pub(super) taken_up: u64,
    /// Later fragments that followed their first one, by whether they came and left over IPv6.
    pub(super) followed: [[u64; 2]; 2],
    /// ICMP errors of adit's own: too big, time exceeded, prohibited; over IPv4 and IPv6.
    pub(super) problems: [[u64; 2]; 3],
    /// What engines counted.
    pub(super) counters: Counters,
    /// Flows that were opened, by whether their clients' and their backends' addresses are of IPv6.
    pub(super) opened: [[u64; 2]; 2],
    /// ICMP errors that were carried on, by whether they came and left over IPv6.
    pub(super) reported: [[u64; 2]; 2],
    /// Echo requests that were answered, over IPv4 and IPv6.
    pub(super) echoed: [u64; 2],
    /// How often each thing was told of a flow.
    pub(super) told: BTreeMap<FlowEvent, u64>,
}

/// Only a bug of adit's reaches the first, and the second needs more flows than worlds have.
const OUT_OF_REACH: [DropReason; 2] = [DropReason::Internal, DropReason::ProxyHeadersFull];

impl Coverage {
    /// Adds what others reached.
    pub fn add(&mut self, other: &Coverage) {
        self.operations += other.operations;
        self.batches += other.batches;
        self.worlds += other.worlds;
        self.held += other.held;
        self.taken_up += other.taken_up;
        self.floated += other.floated;
        self.counters.add(&other.counters);
        for (own, more) in [
            (&mut self.opened, &other.opened),
            (&mut self.reported, &other.reported),
            (&mut self.followed, &other.followed),
        ] {
            for (sum, count) in own.as_flattened_mut().iter_mut().zip(more.as_flattened()) {
                *sum += count;
            }
        }
        let problems = other.problems.as_flattened();
        for (sum, count) in self.problems.as_flattened_mut().iter_mut().zip(problems) {
            *sum += count;
        }
        for (sum, count) in self.echoed.iter_mut().zip(other.echoed) {
            *sum += count;
        }
        for (event, count) in &other.told {
            *self.told.entry(*event).or_default() += count;
        }
    }

    fn facts(&self) -> Vec<(&'static str, u64)> {
        let counters = &self.counters;
        vec![
            ("worlds", self.worlds),
            ("batches", self.batches),
            ("received", counters.received),
            ("forwarded", counters.forwarded),
            ("consumed", counters.consumed),
            ("replied", counters.replied),
            ("originated", counters.originated),
            ("had to wait", self.held),
            ("taken up", self.taken_up),
            ("floated", self.floated),
            ("handed_over", counters.handed_over),
            ("taken_over", counters.taken_over),
            ("flows_opened", counters.flows_opened),
            ("from IPv4 to IPv4", self.opened[0][0]),
            ("from IPv4 to IPv6", self.opened[0][1]),
            ("from IPv6 to IPv4", self.opened[1][0]),
            ("from IPv6 to IPv6", self.opened[1][1]),
            ("errors within IPv4", self.reported[0][0]),
            ("errors from IPv4 to IPv6", self.reported[0][1]),
            ("errors from IPv6 to IPv4", self.reported[1][0]),
            ("errors within IPv6", self.reported[1][1]),
            ("fragments within IPv4", self.followed[0][0]),
            ("fragments from IPv4 to IPv6", self.followed[0][1]),
            ("fragments from IPv6 to IPv4", self.followed[1][0]),
            ("fragments within IPv6", self.followed[1][1]),
            ("echo over IPv4", self.echoed[0]),
            ("echo over IPv6", self.echoed[1]),
            ("told too big over IPv4", self.problems[0][0]),
            ("told too big over IPv6", self.problems[0][1]),
            ("told time exceeded over IPv4", self.problems[1][0]),
            ("told time exceeded over IPv6", self.problems[1][1]),
            ("told prohibited over IPv4", self.problems[2][0]),
            ("told prohibited over IPv6", self.problems[2][1]),
            ("flows_closed", counters.flows_closed),
            ("flows_revoked", counters.flows_revoked),
            ("flows_moved", counters.flows_moved),
            ("flows_displaced", counters.flows_displaced),
            ("flows_reset", counters.flows_reset),
            ("ports_resting", counters.ports_resting),
            ("proxy_headers_sent", counters.proxy_headers_sent),
            ("proxy_headers_repeated", counters.proxy_headers_repeated),
        ]
    }

    /// What can be reached and was not.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let reachable = DropReason::ALL.iter().filter(|reason| !OUT_OF_REACH.contains(reason));
        let unreached = reachable.filter(|reason| self.counters.dropped[reason.slot()] == 0);
        let facts = self.facts().into_iter().filter(|(_, count)| *count == 0);
        // Nobody here gives commands.
        let out_of_reach = [EndReason::Killed, EndReason::Internal];
        let ends = EndReason::ALL.iter().filter(|why| !out_of_reach.contains(why));
        let untold = ends.filter(|why| !self.told.contains_key(&FlowEvent::Ended(**why)));
        let unreached = unreached.map(|reason| reason.metric());
        facts.map(|(name, _)| name).chain(unreached).chain(untold.map(|why| why.name())).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.facts() {
            writeln!(f, "{count:>12}  {name}")?;
        }
        for (event, count) in &self.told {
            writeln!(f, "{count:>12}  {event:?}")?;
        }
        for reason in DropReason::ALL {
            writeln!(f, "{:>12}  drop {}", self.counters.dropped[reason.slot()], reason.metric())?;
        }
        Ok(())
    }
}
