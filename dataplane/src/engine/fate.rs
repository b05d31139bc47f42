//! What a configuration that is not in force would make of the flows that live now.
//!
//! The decision is the one that `revalidate` acts upon when a configuration comes into force, asked
//! of another generation; nothing changes. Bounds (I8): one flow at a time.

use super::Engine;
use super::revalidate::rule_of;
use crate::drop_reason::DropReason;
use crate::flow::{Flow, FlowView, State};
use crate::generation::Generation;
use crate::snapshot::NatIpState;
use crate::types::FlowIndex;

/// What a configuration makes of a live flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Stays,
    /// It goes on, but its NAT IP is taken away: it has to be over before that is.
    Drains,
    /// It ends, because its datagrams go to another backend from now on.
    Moves,
    /// It ends.
    Ends {
        /// Why.
        reason: DropReason,
        /// Whether both sides are told with resets.
        is_reset: bool,
    },
}

impl Engine {
    /// What `under` would make of the flow with this number; `None` if there is none that lives.
    #[must_use]
    pub fn fate(&self, under: &Generation, number: FlowIndex) -> Option<Fate> {
        let flow = self.flows.get(number)?;
        if matches!(flow.state, State::Resetting | State::Resting) {
            return None;
        }
        Some(match self.judge_flow(under, number, flow) {
            Ok(_) if drains(under, flow) && !drains(&self.generation, flow) => Fate::Drains,
            Ok(_) => Fate::Stays,
            Err(DropReason::FlowMoved) => Fate::Moves,
            Err(reason) => Fate::Ends { reason, is_reset: is_reset(under, &flow, reason) },
        })
    }
}

/// Whether both sides of a flow that a configuration ends for this reason are told with resets.
pub(super) fn is_reset(under: &Generation, flow: &Flow, reason: DropReason) -> bool {
    // It may have lost its lease: there is nothing left to reset with.
    reason != DropReason::NatIpRemoved && resets(under, flow)
}

/// Whether both sides of a flow that ends under a configuration are told with resets.
pub(super) fn resets(under: &Generation, flow: &Flow) -> bool {
    let ending = rule_of(under, flow).map(|rule| rule.ending).unwrap_or_default();
    ending.resets && flow.state.is_established()
}

fn drains(under: &Generation, flow: FlowView<'_>) -> bool {
    let endpoint = under.snapshot.endpoint_of_link(flow.link);
    let service = endpoint.and_then(|endpoint| under.snapshot.service(endpoint.service));
    service.and_then(|service| service.nat_ip(flow.nat().0)) == Some(NatIpState::Draining)
}
