//! What can be seen of an engine's choices: the world's [`Seen`].

use dataplane::engine::{Engine, Session, Verdict};
use dataplane::flow::State as FlowState;
use dataplane::fragment::DatagramKey;
use dataplane::hash::Keys;
use dataplane::packet::FlowKey;
use dataplane::record::{EndReason, FlowEvent, FlowRecord};
use dataplane::types::{Address, FlowIndex, ScopeId};

use super::choices::{Choice, Seen};
use super::fragment;
use super::op::WorldShape;
use super::rules::{Key, PoolKey};

/// The engine's choices, for one frame.
pub(super) struct Look<'a> {
    pub(super) engine: &'a Engine,
    pub(super) told: &'a [FlowRecord],
    pub(super) shape: WorldShape,
    pub(super) verdict: Verdict,
}

pub(super) fn key_of(key: &FlowKey) -> Key {
    let client = (key.client.ip(), key.client_port);
    (key.scope.0, key.protocol as u8, client, (key.endpoint.ip(), key.endpoint_port))
}

pub(super) fn choice_of(session: &Session) -> Choice {
    Choice {
        nat: (session.nat_ip, session.nat_port),
        backend: session.backend,
        target: (session.target, session.backend_port),
    }
}

impl Seen for Look<'_> {
    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn choice(&self, key: &Key) -> Option<(Choice, u32)> {
        let extent = u32::try_from(self.engine.flows().extent()).unwrap();
        let flow = |at| Some((self.engine.flows().get(FlowIndex(at))?, at));
        let mut flows = (0..extent).filter_map(flow);
        let (flow, number) = flows
            .find(|(flow, _)| key_of(&flow.key()) == *key && flow.state != FlowState::Resting)?;
        let ip = |(address, port): (Address, u16)| (address.ip(), port);
        let (nat, backend, target) = (ip(flow.nat()), flow.backend().ip(), ip(flow.target()));
        Some((Choice { nat, backend, target }, number))
    }

    fn resets(&self, key: &Key) -> bool {
        let extent = u32::try_from(self.engine.flows().extent()).unwrap();
        let mut flows = (0..extent).filter_map(|at| self.engine.flows().get(FlowIndex(at)));
        flows.any(|flow| key_of(&flow.key()) == *key && flow.state == FlowState::Resetting)
    }

    fn rests(&self, ((_, nat_ip, target, protocol), port): &(PoolKey, u16)) -> bool {
        let extent = u32::try_from(self.engine.flows().extent()).unwrap();
        let mut flows = (0..extent).filter_map(|at| self.engine.flows().get(FlowIndex(at)));
        flows.any(|flow| {
            flow.state == FlowState::Resting
                && flow.nat() == ((*nat_ip).into(), *port)
                && flow.target().0 == *target
                && flow.key().protocol as u8 == *protocol
        })
    }

    fn has_moved(&self, key: &Key) -> bool {
        let moved = FlowEvent::Ended(EndReason::Moved);
        self.told.iter().any(|record| record.event == moved && key_of(&record.key) == *key)
    }

    fn displaced(&self) -> u64 {
        self.engine.counters().flows_displaced
    }

    fn meeting(&self, datagram: &fragment::DatagramKey) -> usize {
        let &fragment::DatagramKey { scope, source, destination, id, protocol } = datagram;
        let (source, destination) = (source.into(), destination.into());
        let key = DatagramKey { scope: ScopeId(scope), source, destination, id, protocol };
        let WorldShape { workers, seed, .. } = self.shape;
        key.meeting_worker(&Keys::new(seed), workers).0.into()
    }
}
