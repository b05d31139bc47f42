//! Keeps flows that somebody wants to see away from the fast path, which shows nothing.
//!
//! When a trace begins, every flow is asked once, a bounded number at a time, and those that match
//! are taken back; while it lasts, none of them is lent. Others stay where they are.

use super::Engine;
use crate::flow::FlowView;
use crate::trace::{Filter, Sight};
use crate::types::{Address, FlowIndex};

/// What is wanted, and how far the walk over all flows has come.
#[derive(Default)]
pub(super) struct Watched {
    filter: Option<Filter>,
    sweep: Option<FlowIndex>,
}

impl Engine {
    /// From now on packets of flows that the filter asks for come to the engine; with `None`, they
    /// need not any more.
    pub fn trace(&mut self, filter: Option<Filter>) {
        let sweep = filter.filter(|_| self.shortcuts.is_some()).map(|_| FlowIndex(0));
        self.watched = Watched { filter, sweep };
    }

    /// Whether all of them do.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.watched.sweep.is_none()
    }

    /// Whether a flow must not be lent.
    pub(super) fn is_watched(&self, flow: FlowView<'_>) -> bool {
        let Some(filter) = &self.watched.filter else { return false };
        let Some(provider) = self.generation.pools.pool(flow.pool) else { return true };
        let key = flow.key();
        let protocol = key.protocol as u8;
        let ip = |(address, port): (Address, u16)| (address.ip(), port);
        let inside = Sight {
            scope: key.scope,
            protocol,
            source: ip((key.client, key.client_port)),
            destination: ip((key.endpoint, key.endpoint_port)),
        };
        let outside = Sight {
            scope: provider.key().scope,
            protocol,
            source: ip(flow.nat()),
            destination: ip(flow.target()),
        };
        filter.wants_flow([inside, outside])
    }

    /// Takes flows back that are wanted.
    pub(super) fn withdraw(&mut self, steps: &mut u32) {
        while let Some(at) = self.watched.sweep.filter(|_| *steps > 0) {
            if at.slot() >= self.flows.extent() {
                self.watched.sweep = None;
                return;
            }
            *steps -= 1;
            if self.flows.get(at).is_some_and(|flow| self.is_watched(flow)) {
                self.take_back(at);
            }
            self.watched.sweep = Some(FlowIndex(at.0 + 1));
        }
    }
}
