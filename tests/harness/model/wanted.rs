//! What a configuration wants, looked up in its plan from one end to the other.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use dataplane::snapshot::{
    Access, EndpointPlan, Gate, LeavingPlan, Persistence, Plan, RulePlan, SecurityRule, ServicePlan,
};
use dataplane::types::{DeviceIndex, Protocol};

use super::choices::Choice;
use super::form::Packet;
use super::peering::{judge_client, may_reach_ipv6};
use super::rules::{Flow, Key, PoolKey};

/// Backends and their weights.
pub(super) type Takers = BTreeMap<IpAddr, u16>;

/// What adit is under an address of a network.
pub(super) enum Local<'a> {
    Endpoint(&'a EndpointPlan),
    NatIp,
    ProbeSource,
}

pub(super) fn local(plan: &Plan, scope: u16, address: IpAddr) -> Option<Local<'_>> {
    let mut endpoints = plan.endpoints.iter();
    let endpoint =
        endpoints.find(|entry| entry.scope.0 == scope && entry.addresses.contains(address));
    match endpoint {
        Some(endpoint) => Some(Local::Endpoint(endpoint)),
        None if nat_ips(plan).any(|nat_ip| nat_ip == (scope, address)) => Some(Local::NatIp),
        None => is_probe_source(plan, scope, address).then_some(Local::ProbeSource),
    }
}

/// Whether adit has an address of IPv6 in a network, or may have one in a peer of it.
pub(super) fn speaks_ipv6(plan: &Plan, scope: u16) -> bool {
    let endpoints = plan.endpoints.iter();
    let endpoints =
        endpoints.flat_map(|entry| entry.addresses.ips().map(|address| (entry.scope.0, address)));
    let sources = plan.probe_sources.iter().map(|source| (source.scope.0, source.address));
    let mut all = endpoints.chain(sources).chain(nat_ips(plan));
    all.any(|(of, address)| of == scope && address.is_ipv6()) || may_reach_ipv6(plan, scope)
}

/// Whether health probes come from an address.
fn is_probe_source(plan: &Plan, scope: u16, address: IpAddr) -> bool {
    let mut sources = plan.probe_sources.iter();
    sources.any(|source| (source.scope.0, source.address) == (scope, address))
}

/// Whether a packet is a backend's answer to a health probe.
pub(super) fn answers_probe(plan: &Plan, scope: u16, packet: &Packet) -> bool {
    let (nat, backend) = (packet.destination, packet.source.0);
    let services = plan.services.iter().filter(|service| service.scope.0 == scope);
    let mut rules = services.flat_map(|service| &service.rules);
    let is_backend = rules.any(|rule| rule.backends.contains(&backend));
    let is_low = nat.1 < 1024 && packet.protocol == Protocol::Tcp as u8;
    is_low && is_backend && is_probe_source(plan, scope, nat.0)
}

/// Every NAT IP and its network, those that leave too.
fn nat_ips(plan: &Plan) -> impl Iterator<Item = (u16, IpAddr)> {
    let active = plan
        .services
        .iter()
        .flat_map(|service| service.nat_ips.iter().map(|&address| (service.scope.0, address)));
    let scope = |leaving: &LeavingPlan| plan.services[leaving.service.slot()].scope.0;
    active.chain(plan.leaving_nat_ips.iter().map(move |nat_ip| (scope(nat_ip), nat_ip.address)))
}

/// Whether a service has, or had and has not let go of, a NAT IP; `Some(true)` if it closes it.
pub(super) fn has_nat_ip(plan: &Plan, service: usize, address: IpAddr) -> Option<bool> {
    if plan.services[service].nat_ips.contains(&address) {
        return Some(false);
    }
    let mut leaving = plan.leaving_nat_ips.iter();
    let is_it =
        |nat_ip: &&LeavingPlan| nat_ip.service.slot() == service && nat_ip.address == address;
    leaving.find(is_it).map(|nat_ip| nat_ip.is_closing)
}

pub(super) fn scope_of(plan: &Plan, device: DeviceIndex) -> Option<u16> {
    plan.devices.get(device.slot())?.as_ref().map(|device| device.scope.0)
}

pub(super) fn judge_source(plan: &Plan, scope: u16, source: IpAddr) -> Result<(), DropReason> {
    let space = &plan.scopes[usize::from(scope)].address_space;
    let inside = space.iter().any(|prefix| prefix.contains(source));
    let legitimate = inside && local(plan, scope, source).is_none();
    if legitimate { Ok(()) } else { Err(DropReason::SourceSpoofed) }
}

pub(super) fn judge_gate(gate: Gate) -> Result<(), DropReason> {
    match gate {
        Gate::Approved => Ok(()),
        Gate::Pending => Err(DropReason::ConnectionPending),
        Gate::Rejected => Err(DropReason::ConnectionRejected),
        Gate::Disconnected => Err(DropReason::ConnectionDisconnected),
    }
}

pub(super) fn rule_for(
    service: &ServicePlan,
    (_, protocol, _, endpoint): &Key,
) -> Option<RulePlan> {
    let find = |port| {
        let mut rules = service.rules.iter();
        rules.find(|rule| rule.protocol as u8 == *protocol && rule.port == port)
    };
    // Port 0 is the rule for all ports.
    find(endpoint.1).or_else(|| find(0)).cloned()
}

/// The port of a backend that serves a flow.
pub(super) fn port_behind(rule: &RulePlan, key: &Key) -> u16 {
    if rule.backend_port == 0 { key.3.1 } else { rule.backend_port }
}

/// The backends of a rule that take new flows, and their weights.
pub(super) fn takers(rule: &RulePlan) -> Takers {
    let weight = |at: usize| rule.balance.weights.get(at).copied().unwrap_or(1);
    let all = rule.backends.iter().enumerate().map(|(at, backend)| (*backend, weight(at)));
    all.filter(|(_, weight)| *weight > 0).collect()
}

/// What of a flow decides which of the takers it gets.
pub(super) fn affinity(rule: &RulePlan, &(scope, protocol, client, endpoint): &Key) -> Key {
    let protocol = match rule.balance.persistence {
        Persistence::None => return (scope, protocol, client, endpoint),
        Persistence::SourceIp => 0,
        Persistence::SourceIpProtocol => protocol,
    };
    (scope, protocol, (client.0, 0), (endpoint.0, 0))
}

/// Whether ports may be leased, and answered, for this pool.
pub(super) fn is_pool(plan: &Plan, (scope, nat_ip, target, protocol): PoolKey) -> bool {
    let leads = |rule: &RulePlan| match rule.floating {
        None => rule.backends.contains(&target),
        Some(frontend) => frontend == target && !rule.backends.is_empty(),
    };
    let serves = |rule: &RulePlan| rule.protocol as u8 == protocol && leads(rule);
    let services = plan.services.iter().enumerate();
    let mut services = services.filter(|(_, service)| service.scope.0 == scope);
    services.any(|(at, service)| {
        let is_family = nat_ip.is_ipv6() == target.is_ipv6();
        is_family && has_nat_ip(plan, at, nat_ip).is_some() && service.rules.iter().any(serves)
    })
}

/// Of the group's rules that fit, the one with the lowest number decides; without one it is no.
fn judge_security(plan: &Plan, endpoint: &EndpointPlan, key: &Key) -> Result<(), DropReason> {
    let mut groups = plan.security_groups.iter();
    let Some(group) = groups.find(|group| group.links.contains(&endpoint.link)) else {
        return Ok(());
    };
    let (_, protocol, client, dialled) = *key;
    let fits = |rule: &&SecurityRule| {
        rule.protocol.is_none_or(|only| only as u8 == protocol)
            && rule.sources.iter().any(|prefix| prefix.contains(client.0))
            && rule.destinations.iter().any(|prefix| prefix.contains(dialled.0))
            && rule.ports.iter().any(|ports| ports.first <= dialled.1 && dialled.1 <= ports.last)
    };
    let decides = group.rules.iter().filter(fits).min_by_key(|rule| rule.priority);
    match decides.map(|rule| rule.access) {
        Some(Access::Allow) => Ok(()),
        _ => Err(DropReason::SecurityRuleDenied),
    }
}

/// Whether a client's first packet may open a flow, and by which rule.
pub(super) fn grant(
    plan: &Plan,
    key: &Key,
    packet: &Packet,
    endpoint: &EndpointPlan,
) -> Result<(RulePlan, ServicePlan), DropReason> {
    judge_client(plan, (key.0, key.2.0), endpoint.scope.0)?;
    judge_gate(endpoint.gate)?;
    judge_security(plan, endpoint, key)?;
    let service = &plan.services[endpoint.service.slot()];
    let rule = rule_for(service, key).ok_or(DropReason::NoRule)?;
    if rule.protocol == Protocol::Tcp && !packet.opens() {
        return Err(DropReason::TcpNotSyn);
    }
    if rule.backends.is_empty() {
        return Err(DropReason::NoBackend);
    }
    if takers(&rule).is_empty() {
        return Err(DropReason::NoHealthyBackend);
    }
    Ok((rule, service.clone()))
}

/// Whether a configuration still wants a flow.
pub(super) fn wants(plan: &Plan, key: &Key, flow: &Flow) -> Result<(), DropReason> {
    let mut endpoints = plan.endpoints.iter();
    // A network has no peer at its own addresses.
    let is_own =
        plan.scopes[usize::from(key.0)].address_space.iter().any(|prefix| prefix.contains(key.3.0));
    let endpoint = endpoints.find(|endpoint| {
        let is_home = endpoint.scope.0 == key.0 || !is_own;
        endpoint.link == flow.link && endpoint.addresses.contains(key.3.0) && is_home
    });
    let endpoint = endpoint.ok_or(DropReason::EndpointRemoved)?;
    judge_gate(endpoint.gate)?;
    judge_client(plan, (key.0, key.2.0), endpoint.scope.0)?;
    let service = &plan.services[endpoint.service.slot()];
    let rule = rule_for(service, key).ok_or(DropReason::EndpointRemoved)?;
    let Choice { nat, backend, target } = flow.choice;
    let is_closing = has_nat_ip(plan, endpoint.service.slot(), nat.0);
    let is_closing = is_closing.ok_or(DropReason::NatIpRemoved)?;
    let addressed = (rule.floating.unwrap_or(backend), port_behind(&rule, key));
    if !rule.backends.contains(&backend) || addressed != target {
        return Err(DropReason::BackendRemoved);
    }
    if service.scope.0 != flow.provider {
        return Err(DropReason::NatIpRemoved);
    }
    if is_closing {
        return Err(DropReason::NatIpDrained);
    }
    let is_drained = rule.balance.drained.contains(&backend);
    if is_drained { Err(DropReason::BackendDrained) } else { Ok(()) }
}
