//! Flows that have ended, remembered for a while: whose a NAT IP's port was.
//!
//! Bounds: so many flows at most, and each for so long; the oldest go first. A question looks at
//! all of them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::event::FlowEvent;
use crate::api::Protocol;
use crate::moment::Moment;

/// How many flows are remembered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Flows at most; 0: none.
    pub flows_max: usize,
    /// How long after its end.
    pub age_max: Duration,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { flows_max: 65_536, age_max: Duration::from_secs(600) }
    }
}

/// What somebody saw on the provider's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// The NAT IP and its port.
    pub(crate) nat: (IpAddr, u16),
    /// The backend, or what packets to it are addressed to.
    pub(crate) backend: IpAddr,
    /// Its port, if it is known.
    pub(crate) backend_port: Option<u16>,
    /// The protocol, if it is known.
    pub(crate) protocol: Option<Protocol>,
    /// When, if not now.
    pub(crate) at: Option<Moment>,
}

impl Sighting {
    /// Whether it is of this protocol and backend's port.
    pub(crate) fn is_of(&self, protocol: Protocol, backend_port: u16) -> bool {
        self.protocol.is_none_or(|wanted| wanted == protocol)
            && self.backend_port.is_none_or(|wanted| wanted == backend_port)
    }

    fn shows(&self, flow: &FlowEvent) -> bool {
        let is_its = flow.nat == self.nat && [flow.backend, flow.target.0].contains(&self.backend);
        let was_there = self.at.is_none_or(|at| (flow.began..=flow.at).contains(&at));
        is_its && was_there && self.is_of(flow.protocol, flow.target.1)
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    memory: Memory,
    /// In the order in which they were told of: about that of their ends.
    flows: VecDeque<FlowEvent>,
}

impl Ended {
    pub(crate) fn new(memory: Memory) -> Ended {
        Ended { memory, flows: VecDeque::new() }
    }

    /// A flow has ended.
    pub(crate) fn push(&mut self, flow: FlowEvent) {
        if self.memory.flows_max == 0 {
            return;
        }
        if self.flows.len() >= self.memory.flows_max {
            self.flows.pop_front();
        }
        self.flows.push_back(flow);
    }

    /// Forgets what is too old.
    pub(crate) fn forget(&mut self, now: Moment) {
        let oldest = now.before(self.memory.age_max);
        while self.flows.front().is_some_and(|flow| flow.at < oldest) {
            self.flows.pop_front();
        }
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// How far back the memory reaches: the end of the oldest flow.
    pub(crate) fn since(&self) -> Option<Moment> {
        self.flows.front().map(|flow| flow.at)
    }

    /// Whose it may have been: the latest first.
    pub(crate) fn find(&self, sighting: &Sighting, most: usize) -> Vec<FlowEvent> {
        let found = self.flows.iter().rev().filter(|flow| sighting.shows(flow));
        found.take(most).cloned().collect()
    }

    /// When the port was last, or is next, a flow's, if not at the time that was asked for.
    pub(crate) fn nearest(&self, sighting: &Sighting) -> Option<FlowEvent> {
        let at = sighting.at?;
        let any_time = Sighting { at: None, ..*sighting };
        let distance =
            |flow: &&FlowEvent| flow.began.0.abs_diff(at.0).min(flow.at.0.abs_diff(at.0));
        let flows = self.flows.iter().filter(|flow| any_time.shows(flow));
        flows.min_by_key(distance).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::event::tests::flow;
    use dataplane::record::EndReason;

    fn ended(began: u64, at: u64) -> FlowEvent {
        FlowEvent { began: Moment(began), at: Moment(at), ..flow(Some(EndReason::Closed)) }
    }

    fn sighting() -> Sighting {
        let FlowEvent { nat, backend, .. } = flow(None);
        Sighting { nat, backend, backend_port: None, protocol: None, at: None }
    }

    fn ends(found: &[FlowEvent]) -> Vec<u64> {
        found.iter().map(|flow| flow.at.0).collect()
    }

    #[test]
    fn a_port_that_several_had_is_found_by_the_time() {
        let mut all = Ended::new(Memory::default());
        [(10, 20), (30, 40), (50, 60)].iter().for_each(|&(began, at)| all.push(ended(began, at)));
        assert_eq!(ends(&all.find(&sighting(), 9)), [60, 40, 20]);
        assert_eq!(ends(&all.find(&sighting(), 2)), [60, 40]);
        let at = |millis| Sighting { at: Some(Moment(millis)), ..sighting() };
        assert_eq!(ends(&all.find(&at(40), 9)), [40]);
        assert_eq!(ends(&all.find(&at(45), 9)), [0; 0]);
        assert_eq!(all.nearest(&at(43)).map(|flow| flow.at.0), Some(40));
        assert_eq!(all.nearest(&at(47)).map(|flow| flow.at.0), Some(60));
        assert_eq!(all.nearest(&sighting()), None, "now is when the live flows are asked");
    }

    #[test]
    fn what_is_known_must_agree() {
        let mut all = Ended::new(Memory::default());
        all.push(ended(10, 20));
        let found = |sighting: Sighting| all.find(&sighting, 9).len();
        assert_eq!(found(Sighting { backend_port: Some(8443), ..sighting() }), 1);
        assert_eq!(found(Sighting { backend_port: Some(8444), ..sighting() }), 0);
        assert_eq!(found(Sighting { protocol: Some(Protocol::Udp), ..sighting() }), 0);
        assert_eq!(found(Sighting { nat: (sighting().nat.0, 1), ..sighting() }), 0);
        let backend = IpAddr::from([10, 1, 0, 11]);
        assert_eq!(found(Sighting { backend, ..sighting() }), 0);
    }

    #[test]
    fn the_oldest_are_forgotten_for_their_number_and_for_their_age() {
        let memory = Memory { flows_max: 3, age_max: Duration::from_millis(50) };
        let mut all = Ended::new(memory);
        (1..=5).for_each(|at| all.push(ended(0, at * 10)));
        assert_eq!((all.len(), all.since()), (3, Some(Moment(30))));
        all.forget(Moment(85));
        assert_eq!(ends(&all.find(&sighting(), 9)), [50, 40]);
        all.forget(Moment(1_000));
        assert_eq!((all.len(), all.since()), (0, None));
        let mut none = Ended::new(Memory { flows_max: 0, ..memory });
        none.push(ended(0, 1));
        assert_eq!(none.len(), 0);
    }
}
