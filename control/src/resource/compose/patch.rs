//! What [`compose`](super::compose()) would say after a change of one endpoint, as a difference:
//! most changes among many endpoints are of that kind.

use super::one;
use crate::config::{Config, Name, Pool};
use crate::edit::Move;
use crate::resource::model::{Endpoint, Head, Resource};
use crate::resource::{Estate, Kind, Step};

/// What `steps`, which the estate has made already and `undo` would take back, do to the one
/// endpoint that they are about. `None` if they are about anything else, or if it takes the whole
/// to judge them.
#[must_use]
pub fn patch(estate: &Estate, now: &Config, steps: &[Step], undo: &[Step]) -> Option<(Name, Move)> {
    let ([step], [undone]) = (steps, undo) else { return None };
    if step.id.kind != Kind::Endpoint || step.id != undone.id {
        return None;
    }
    let (old, new) = (endpoint(undone), endpoint(step));
    let is_grouped = |endpoint: &&Endpoint| !endpoint.app_groups.is_empty();
    if old.iter().chain(&new).any(is_grouped) {
        return None;
    }
    let name = estate.name(&old.or(new)?.head);
    let at = now.endpoints.iter().position(|endpoint| endpoint.name == name);
    let place = match (at, new) {
        (Some(at), None) => Move::Go(at),
        (None, None) => Move::Stay,
        (at, Some(new)) => {
            let composed = one(estate, new, network(estate, now, new)?, service(estate, now, new)?);
            let mut addresses = composed.addresses.ips();
            if addresses.any(|it| is_claimed(now, composed.virtual_network, it, &name)) {
                return None;
            }
            match at {
                Some(at) => Move::Change(at, composed),
                None => Move::Come(place(estate, now, step), composed),
            }
        }
    };
    Some((name, place))
}

fn endpoint(step: &Step) -> Option<&Endpoint> {
    match step.new.as_ref()? {
        Resource::Endpoint(endpoint) => Some(endpoint),
        _ => None,
    }
}

fn network(estate: &Estate, now: &Config, endpoint: &Endpoint) -> Option<usize> {
    let head: &Head = &estate.network(&endpoint.place.subnet.network)?.head;
    let name = estate.name(head);
    now.virtual_networks.iter().position(|network| network.name == name)
}

fn service(estate: &Estate, now: &Config, endpoint: &Endpoint) -> Option<usize> {
    let name = estate.name(&estate.service(&endpoint.service)?.head);
    now.services.iter().position(|service| service.name == name)
}

/// Where a new endpoint stands: those of the API in the order of their ids, behind the file's.
fn place(estate: &Estate, now: &Config, step: &Step) -> usize {
    let behind = estate.own.after(&step.id);
    let mut behind = behind.take_while(|resource| resource.kind() == Kind::Endpoint);
    // One whose service is gone is not in the configuration.
    let found = behind.find_map(|resource| {
        let name = estate.name(resource.head());
        now.endpoints.iter().position(|one| one.name == name)
    });
    found.unwrap_or(now.endpoints.len())
}

/// Whether anything but the endpoint of this name has an address.
fn is_claimed(now: &Config, network: usize, address: std::net::IpAddr, name: &Name) -> bool {
    let endpoints = now.endpoints.iter().any(|one| {
        one.virtual_network == network && one.addresses.contains(address) && one.name != *name
    });
    let balancers = now.load_balancers.iter().filter(|one| one.virtual_network == network);
    let mut backends = balancers.flat_map(|balancer| {
        let translated = balancer.inbound_nat_rules.iter().map(|rule| rule.backend_address);
        balancer.pools.iter().flat_map(Pool::addresses).chain(translated)
    });
    let routes = now.virtual_networks.get(network).into_iter().flat_map(|one| &one.routes);
    let mut routers = routes.map(|route| route.next_hop_ip_address);
    let is_here = |balancer: usize| {
        now.load_balancers.get(balancer).is_some_and(|one| one.virtual_network == network)
    };
    let services = now.services.iter().filter(|service| is_here(service.load_balancer));
    let mut nat_ips = services.flat_map(|service| &service.nat_ips).map(|nat_ip| nat_ip.address);
    endpoints
        || backends.any(|backend| backend == address)
        || routers.any(|router| router == address)
        || nat_ips.any(|nat_ip| nat_ip == address)
}
