//! Whether an endpoint has more than a fair share, asked when room is scarce.
//!
//! Scarce is what is at most the part that the configuration keeps (`fair_share_percent`). Then a
//! newcomer gets in whose endpoint has no more flows than the average of those that compete: all
//! that have any, and one more as long as another that may come has none. So a lone endpoint is
//! never above the average, two that are equal take turns, and whoever fills everything leaves what
//! is kept to others. Nobody's flows end for it.
//!
//! Counted are the flows of this worker, by service for ports and in all for records: clients fall
//! on workers evenly, and no worker waits for another. Where anything is kept, the counts are made
//! when a configuration is adopted, by one look at each of its endpoints, and follow each flow from
//! then on, so that no packet waits for them (I8).

use alloc::vec::Vec;

use crate::generation::Generation;
use crate::snapshot::{Endpoint, Gate};
use crate::types::{LinkId, ServiceIndex, WorkerId};

/// What is scarce.
#[derive(Clone, Copy)]
pub(super) enum Scarce {
    /// Ports of a service's NAT IPs.
    Ports(ServiceIndex),
    /// Records of the table.
    Records,
}

/// See the module's documentation. Without services nothing is kept, and nothing counted.
#[derive(Default)]
pub(super) struct Shares {
    all: Share,
    of_services: Vec<Share>,
}

/// Flows of endpoints that compete.
#[derive(Clone, Copy, Default)]
struct Share {
    flows: u64,
    /// Endpoints that have any.
    active: u32,
    /// Approved ones that have none.
    idle: u32,
}

impl Share {
    /// An endpoint that had no flows has so many.
    fn enter(&mut self, endpoint: &Endpoint, flows: u32) {
        self.flows += u64::from(flows);
        self.active += u32::from(flows > 0);
        self.idle += u32::from(flows == 0 && endpoint.gate == Gate::Approved);
    }

    /// An endpoint that had so many flows is not counted any more.
    fn leave(&mut self, endpoint: &Endpoint, flows: u32) {
        self.flows = self.flows.saturating_sub(flows.into());
        self.active = self.active.saturating_sub(u32::from(flows > 0));
        let was_idle = flows == 0 && endpoint.gate == Gate::Approved;
        self.idle = self.idle.saturating_sub(u32::from(was_idle));
    }

    /// Whether so many are more than the average.
    fn is_exceeded_by(&self, flows: u32) -> bool {
        let competing = u64::from(self.active) + u64::from(self.idle > 0);
        u64::from(flows) * competing > self.flows
    }
}

impl Shares {
    /// Another configuration is in force: counts anew. Allocates if it has more services than any
    /// before.
    pub(super) fn count(&mut self, generation: &Generation, worker: WorkerId) {
        let snapshot = &generation.snapshot;
        self.all = Share::default();
        self.of_services.clear();
        if snapshot.fair_share_percent() == 0 {
            return;
        }
        self.of_services.resize(snapshot.service_count(), Share::default());
        for endpoint in snapshot.endpoints() {
            let flows = flows_of(generation, worker, endpoint.link);
            self.each(endpoint, |share| share.enter(endpoint, flows));
        }
    }

    /// A worker counts one more flow of a connection.
    #[inline]
    pub(super) fn open(&mut self, generation: &Generation, worker: WorkerId, link: LinkId) {
        if !self.of_services.is_empty() {
            self.follow(generation, (worker, link), |flows| flows.saturating_sub(1));
        }
    }

    /// It counts one less.
    #[inline]
    pub(super) fn close(&mut self, generation: &Generation, worker: WorkerId, link: LinkId) {
        if !self.of_services.is_empty() {
            self.follow(generation, (worker, link), |flows| flows + 1);
        }
    }

    /// Whether a connection has more than a fair share; `newcomer`: how many of the flows that are
    /// counted as its own are only wanted.
    pub(super) fn is_exceeded(
        &self,
        generation: &Generation,
        worker: WorkerId,
        (scarce, link): (Scarce, LinkId),
        newcomer: u32,
    ) -> bool {
        let own = flows_of(generation, worker, link).saturating_sub(newcomer);
        let share = match scarce {
            Scarce::Records => Some(&self.all),
            Scarce::Ports(service) => self.of_services.get(service.slot()),
        };
        share.is_some_and(|share| {
            let flows = share.flows.saturating_sub(newcomer.into());
            Share { flows, ..*share }.is_exceeded_by(own)
        })
    }

    /// Both shares that an endpoint's flows are of.
    fn each(&mut self, endpoint: &Endpoint, mut change: impl FnMut(&mut Share)) {
        change(&mut self.all);
        if let Some(share) = self.of_services.get_mut(endpoint.service.slot()) {
            change(share);
        }
    }

    /// `before` says how many flows a connection had, by how many it has.
    #[cold]
    fn follow(
        &mut self,
        generation: &Generation,
        (worker, link): (WorkerId, LinkId),
        before: impl Fn(u32) -> u32,
    ) {
        let Some(endpoint) = generation.snapshot.endpoint_of_link(link) else { return };
        let flows = flows_of(generation, worker, link);
        self.each(endpoint, |share| {
            share.leave(endpoint, before(flows));
            share.enter(endpoint, flows);
        });
    }
}

/// Flows of a connection that a worker has.
fn flows_of(generation: &Generation, worker: WorkerId, link: LinkId) -> u32 {
    generation.usages.find(link).map_or(0, |usage| usage.flows_of(worker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(flows: u64, active: u32, idle: u32) -> Share {
        Share { flows, active, idle }
    }

    #[test]
    fn who_is_alone_is_never_above_the_average_and_equals_take_turns() {
        assert!(!share(1_000, 1, 0).is_exceeded_by(1_000));
        assert!(share(1_000, 1, 1).is_exceeded_by(1_000), "another may come");
        assert!(!share(1_000, 2, 0).is_exceeded_by(500), "both have as many");
        assert!(share(1_001, 2, 0).is_exceeded_by(501) && !share(1_001, 2, 0).is_exceeded_by(500));
    }

    #[test]
    fn many_that_have_nothing_count_as_one() {
        assert!(!share(900, 2, 7).is_exceeded_by(300) && share(900, 2, 7).is_exceeded_by(301));
    }
}
