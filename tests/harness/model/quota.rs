//! How many flows endpoints may have, and what is kept for those that have less than they shall.

use std::collections::BTreeSet;

use dataplane::drop_reason::DropReason;
use dataplane::snapshot::{Gate, Plan, Quota};
use dataplane::types::LinkId;

use super::rules::{Flow, Model};

/// A newcomer's endpoint and quota, and whether it has less than is reserved for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) link: LinkId,
    is_reserved: bool,
    /// Whether it takes the place of an unanswered flow: nothing of what is kept for fair shares.
    takes_place: bool,
}

impl Newcomer {
    /// The same when an unanswered flow gives way to it.
    pub(super) fn in_place(self) -> Newcomer {
        Newcomer { takes_place: true, ..self }
    }
}

fn quota(plan: &Plan, link: LinkId) -> Quota {
    let entry = plan.quotas.iter().find(|entry| entry.link == link);
    entry.map(|entry| entry.quota).unwrap_or_default()
}

/// Every approved endpoint of a service, or of all, with what is reserved for it.
fn reserves(plan: &Plan, service: Option<usize>) -> Vec<(LinkId, usize)> {
    let endpoints = plan.endpoints.iter().filter(|endpoint| endpoint.gate == Gate::Approved);
    let of_service = endpoints
        .filter(|endpoint| service.is_none_or(|service| endpoint.service.slot() == service));
    let reserved = of_service.map(|one| (one.link, quota(plan, one.link).reserved as usize));
    reserved.filter(|(_, reserved)| *reserved > 0).collect()
}

impl Model {
    /// Flows that a connection has, those that only keep a port included.
    pub(super) fn flows_of(&self, link: LinkId) -> usize {
        let resting = self.resting.values().filter(|rest| rest.link == link).count();
        self.flows.values().filter(|flow| flow.link == link).count() + resting
    }

    /// Whether an endpoint may have one more.
    pub(super) fn newcomer(&self, worker: usize, link: LinkId) -> Result<Newcomer, DropReason> {
        let (Quota { reserved, most }, flows) =
            (quota(&self.view(worker).plan, link), self.flows_of(link));
        if flows >= most as usize {
            return Err(DropReason::EndpointFlowsMax);
        }
        Ok(Newcomer { link, is_reserved: flows < reserved as usize, takes_place: false })
    }

    /// Whether a newcomer may take of so much room, of so many of a service's ports or of records.
    pub(super) fn may_take(
        &self,
        worker: usize,
        newcomer: Newcomer,
        (room, capacity, service): (usize, usize, Option<usize>),
    ) -> bool {
        // It counts as one of its endpoint's already.
        let flows = |link: LinkId| self.flows_of(link) + usize::from(link == newcomer.link);
        if !newcomer.is_reserved && !newcomer.takes_place {
            let kept = capacity * usize::from(self.view(worker).plan.fair_share_percent) / 100;
            if room <= kept && self.is_above(worker, newcomer, service) {
                return false;
            }
        }
        let open = |(link, reserved): &(LinkId, usize)| reserved.saturating_sub(flows(*link));
        let kept: usize = reserves(&self.view(worker).plan, service).iter().map(open).sum();
        room > if newcomer.is_reserved { 0 } else { kept }
    }

    /// Flows of a worker that a connection has, those that only keep a port included.
    fn flows_here(&self, worker: usize, link: LinkId) -> usize {
        let flows = self.flows.values().filter(|flow| (flow.worker, flow.link) == (worker, link));
        let resting = self.resting.values();
        flows.count() + resting.filter(|rest| (rest.worker, rest.link) == (worker, link)).count()
    }

    /// Whether a newcomer's endpoint has more flows than the average of those that compete with it
    /// for a service's ports or for records. Approved ones without flows count as one.
    fn is_above(&self, worker: usize, newcomer: Newcomer, service: Option<usize>) -> bool {
        let endpoints = self.view(worker).plan.endpoints.iter();
        let competing = endpoints.filter(|one| service.is_none_or(|at| one.service.slot() == at));
        let (mut active, mut idle, mut sum) = (0, 0, 0);
        for endpoint in competing {
            match self.flows_here(worker, endpoint.link) {
                // The newcomer is about to have one.
                0 if endpoint.link == newcomer.link => {}
                0 => idle = idle.max(usize::from(endpoint.gate == Gate::Approved)),
                flows => (active, sum) = (active + 1, sum + flows),
            }
        }
        self.flows_here(worker, newcomer.link) * (active + idle) > sum
    }

    /// Whether an endpoint has no more flows than are reserved for it.
    pub(super) fn is_of_reserve(&self, worker: usize, link: LinkId) -> bool {
        let reserves = reserves(&self.view(worker).plan, None);
        reserves.iter().any(|(of, reserved)| *of == link && self.flows_of(link) <= *reserved)
    }

    /// Endpoints whose unanswered flows do not give way to a newcomer that wants a port of a
    /// service or a record: all others, if its own has more than a fair share.
    pub(super) fn protected(
        &self,
        worker: usize,
        newcomer: Newcomer,
        service: Option<usize>,
    ) -> BTreeSet<LinkId> {
        let keeps = self.view(worker).plan.fair_share_percent > 0 && !newcomer.is_reserved;
        if keeps && self.is_above(worker, newcomer, service) {
            let links = self.flows.values().map(|flow| flow.link);
            return links.filter(|link| *link != newcomer.link).collect();
        }
        let others = reserves(&self.view(worker).plan, None).into_iter();
        let others = others.filter(|(link, reserved)| {
            !newcomer.is_reserved && *link != newcomer.link && self.flows_of(*link) <= *reserved
        });
        others.map(|(link, _)| link).collect()
    }

    /// Whether any configuration that a worker has keeps anything for others.
    pub(super) fn has_reserves(&self) -> bool {
        let views = (0..self.workers.len()).map(|worker| &self.view(worker).plan);
        let keeps = |plan: &Plan| plan.fair_share_percent > 0 || !reserves(plan, None).is_empty();
        views.into_iter().any(keeps)
    }
}

/// Whether a flow is none of the protected endpoints'.
pub(super) fn is_unprotected(flow: &Flow, protected: &BTreeSet<LinkId>) -> bool {
    !protected.contains(&flow.link)
}
