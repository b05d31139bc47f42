//! The invariants, checked from outside.
//!
//! [`Checker::passage`] looks at every packet that passes: where it may go (I1, I11), what may
//! change in it (I5), its checksums (I6), and that an answer undoes exactly what the request's
//! translation did (I4). [`Checker::tables`] walks all flows and leases (I2, I3).
//! [`Checker::accounts`] balances the counters (I9).

mod error;
mod fragment;
mod insertion;
mod leases;
mod passage;
mod rewrite;

use dataplane::engine::{Engine, Session};
use dataplane::generation::Generation;
use dataplane::snapshot::{Fragments, PoolKey, Treatment};
use dataplane::types::DeviceIndex;

use crate::encode::Image;
use crate::topology::Topology;
use passage::Ledger;
pub use passage::{CANARY, Passage, canary};
use rewrite::Licence;

/// Remembers what passed, to judge what comes back.
pub struct Checker {
    seed: u64,
    ledger: Ledger,
    /// Whether a service puts headers in front of streams, or one did.
    inserts: bool,
}

impl Checker {
    /// A checker of engines with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Checker {
        Checker { seed, ledger: Ledger::default(), inserts: false }
    }

    /// Judges a packet that was forwarded.
    ///
    /// # Panics
    /// It should not have been, or not so.
    pub fn passage(&mut self, passage: &Passage<'_>) {
        let is_judged = error::check(&self.ledger, passage);
        if is_judged || fragment::check(&self.ledger, passage) {
            return;
        }
        let any = |cares: fn(&Treatment) -> bool| {
            passage.topology.plan.services.iter().any(|service| cares(&service.treatment))
        };
        let licence = Licence {
            reassembles: any(|treatment| treatment.fragments == Fragments::Reassemble),
            inserts: self.inserts || any(|treatment| treatment.proxy_protocol.is_some()),
        };
        // Flows keep their header when a configuration wants none any more.
        self.inserts = licence.inserts;
        rewrite::check(passage.input, passage.output, licence);
        self.ledger.check(passage);
    }

    /// Hears of flows, of which perhaps no packet has passed yet.
    pub fn know(&mut self, topology: &Topology, sessions: &[Session]) {
        sessions.iter().for_each(|session| self.ledger.know(topology, session));
    }

    /// Hears of a packet that came in by a device, was translated and waits for its next hop.
    ///
    /// # Panics
    /// It belongs to no endpoint.
    pub fn wait(&mut self, topology: &Topology, ingress: DeviceIndex, packets: [&Image; 2]) {
        let scope = topology.scope(ingress).expect("I1: it came in by a device of a network");
        self.ledger.wait(topology, scope, packets);
    }

    /// Judges flows and leases.
    ///
    /// # Panics
    /// They contradict each other.
    pub fn tables(&self, engines: &[&Engine], generation: &Generation) {
        leases::check(engines, generation, self.seed, |_| 0);
    }

    /// As [`Checker::tables`]; `others` says how many ports of a pool the test itself leased.
    ///
    /// # Panics
    /// As [`Checker::tables`].
    pub fn tables_beside(
        &self,
        engines: &[&Engine],
        generation: &Generation,
        others: impl Fn(&PoolKey) -> u32,
    ) {
        leases::check(engines, generation, self.seed, others);
    }

    /// Judges what changed in a packet that was forwarded, wherever it went, where no service cares
    /// for fragments; `inserts`: whether one puts headers in front of streams.
    ///
    /// # Panics
    /// Something changed that should not have, or did not that should have.
    pub fn rewritten(&self, input: &Image, output: &Image, inserts: bool) {
        rewrite::check(input, output, Licence { reassembles: false, inserts });
    }

    /// Judges counters.
    ///
    /// # Panics
    /// A packet was lost or counted twice, or a frame was handed over to nobody.
    pub fn accounts(&self, engines: &[Engine]) {
        let (mut given, mut taken) = (0, 0);
        for engine in engines {
            let counters = engine.counters();
            assert_eq!(counters.account_difference(), 0, "I9: {counters:?}");
            let alive = counters.flows_opened - counters.flows_closed;
            assert_eq!(alive, counters.flows, "flows opened and closed");
            let records = counters.flows + counters.ports_resting;
            assert_eq!(records, engine.flows().len() as u64, "flows live or resting");
            given += counters.handed_over;
            taken += counters.taken_over;
        }
        assert_eq!(given, taken, "frames handed over were taken over");
    }
}
