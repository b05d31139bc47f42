//! A snapshot that differs from another in one endpoint: copied and patched instead of built, so
//! that a change among ten thousand endpoints costs a copy of what lists them, and nothing else.
//!
//! What it says is what [`Snapshot::build`] would say of the plan with that change; only the order
//! of endpoints is another, which means nothing.

use alloc::sync::Arc;
use core::net::IpAddr;

use super::{Endpoint, Gate, Local, PlanError, Reserves, Snapshot, index, local_key, taken};
use crate::types::{EndpointIndex, Family, LinkId, ScopedAddress};

/// How one endpoint differs: created, removed, or another in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Patch {
    /// The connection of the one that was there; nothing is removed if there is none such.
    pub gone: Option<LinkId>,
    /// The one that is there from now on.
    pub new: Option<Endpoint>,
}

impl Patch {
    /// A connection in another state; nothing, if there is none such.
    #[must_use]
    pub fn gate(snapshot: &Snapshot, link: LinkId, gate: Gate) -> Patch {
        let known = snapshot.endpoint_of_link(link);
        Patch { gone: known.map(|_| link), new: known.map(|known| Endpoint { gate, ..*known }) }
    }

    /// Whether the connection is there from now on because of it.
    #[must_use]
    pub fn brings(&self, link: LinkId) -> bool {
        self.new.is_some_and(|new| new.link == link)
    }
}

impl Snapshot {
    /// The same with one endpoint as `patch` has it.
    ///
    /// # Errors
    /// The new one contradicts what is there.
    pub fn with(&self, patch: &Patch) -> Result<Snapshot, PlanError> {
        let mut next = self.clone();
        let at = patch.gone.and_then(|link| next.by_link.get(&link).copied());
        let old = at.and_then(|at| next.endpoint(at).copied());
        if let Some(old) = old {
            next.by_link.remove(&old.link);
            next.vacate(&old);
        }
        if let Some(new) = patch.new {
            next.judge(&new)?;
        }
        match (at, patch.new) {
            (Some(at), Some(new)) => next.settle(at, new),
            (Some(at), None) => next.close(at),
            (None, Some(new)) => {
                next.endpoints.push(new);
                next.settle(EndpointIndex(index(next.endpoints.len() - 1)), new);
            }
            (None, None) => {}
        }
        for endpoint in old.iter().chain(&patch.new) {
            next.follow(endpoint);
        }
        Ok(next)
    }

    /// Refuses an endpoint that contradicts what is there.
    fn judge(&self, new: &Endpoint) -> Result<(), PlanError> {
        if new.scope.slot() >= self.scopes.len() {
            return Err(PlanError::Dangling("an endpoint's virtual network", new.scope.slot()));
        }
        if new.service.slot() >= self.services.len() {
            return Err(PlanError::Dangling("an endpoint's service", new.service.slot()));
        }
        if let Some(group) = new.security.filter(|group| group.slot() >= self.security_groups.len())
        {
            return Err(PlanError::Dangling("an endpoint's security group", group.slot()));
        }
        if self.by_link.contains_key(&new.link) {
            return Err(PlanError::Duplicate("link id", alloc::format!("{}", new.link.0)));
        }
        let mut addresses = new.addresses.iter();
        match addresses.find(|address| self.local(new.scope, *address).is_some()) {
            Some(address) => Err(taken(address)),
            None => Ok(()),
        }
    }

    /// Nothing is under the addresses of an endpoint any more.
    fn vacate(&mut self, old: &Endpoint) {
        for address in old.addresses.iter() {
            match address.ip() {
                IpAddr::V4(address) => self.locals.remove(local_key(old.scope, address)),
                IpAddr::V6(_) => {
                    let at = ScopedAddress { scope: old.scope, address };
                    self.wide_locals.remove(&at);
                }
            }
        }
    }

    /// Puts an endpoint under its number, its addresses and its connection.
    fn settle(&mut self, at: EndpointIndex, new: Endpoint) {
        if let Some(slot) = self.endpoints.get_mut(at.slot()) {
            *slot = new;
        }
        self.by_link.insert(new.link, at);
        for address in new.addresses.iter() {
            match address.ip() {
                IpAddr::V4(address) => self.locals.insert(local_key(new.scope, address), at.0),
                IpAddr::V6(_) => {
                    let place = ScopedAddress { scope: new.scope, address };
                    self.wide_locals.insert(place, Local::Endpoint(at));
                }
            }
        }
    }

    /// Gives the number of an endpoint that is gone to the last one.
    fn close(&mut self, at: EndpointIndex) {
        self.endpoints.swap_remove(at.slot());
        if let Some(&moved) = self.endpoints.get(at.slot()) {
            self.settle(at, moved);
        }
    }

    /// What else depends on an endpoint that came or went: what is reserved, and whether its
    /// network speaks IPv6.
    fn follow(&mut self, endpoint: &Endpoint) {
        if endpoint.reserves() {
            self.reserves = Reserves::of(self.endpoints.iter());
            let lead_there = self.endpoints.iter().filter(|one| one.service == endpoint.service);
            let reserves = Reserves::of(lead_there);
            let services = Arc::make_mut(&mut self.services);
            if let Some(service) = services.get_mut(endpoint.service.slot()) {
                service.reserves = reserves;
            }
        }
        if endpoint.addresses.of(Family::V6).is_some() {
            let speaks_ipv6 = self.wide_locals.keys().any(|at| at.scope == endpoint.scope);
            let scopes = Arc::make_mut(&mut self.scopes);
            if let Some(scope) = scopes.get_mut(endpoint.scope.slot()) {
                scope.speaks_ipv6 = speaks_ipv6;
            }
        }
    }
}
