//! What a configuration wants, looked up in its plan from one end to the other.

use std::net::Ipv4Addr;

use dataplane::drop_reason::DropReason;
use dataplane::snapshot::{EndpointPlan, Gate, Plan, RulePlan, ServicePlan};
use dataplane::types::{DeviceIndex, Protocol};

use super::form::Packet;
use super::rules::{Flow, Key, PoolKey};

/// What adit is under an address of a network.
pub(super) enum Local<'a> {
    Endpoint(&'a EndpointPlan),
    NatIp,
}

pub(super) fn local(plan: &Plan, scope: u16, address: Ipv4Addr) -> Option<Local<'_>> {
    let mut endpoints = plan.endpoints.iter();
    let endpoint = endpoints.find(|entry| entry.scope.0 == scope && entry.address == address);
    let is_nat =
        |service: &ServicePlan| service.scope.0 == scope && service.nat_ips.contains(&address);
    match endpoint {
        Some(endpoint) => Some(Local::Endpoint(endpoint)),
        None => plan.services.iter().any(is_nat).then_some(Local::NatIp),
    }
}

pub(super) fn scope_of(plan: &Plan, device: DeviceIndex) -> Option<u16> {
    plan.devices.get(device.slot())?.as_ref().map(|device| device.scope.0)
}

fn judge_source(plan: &Plan, scope: u16, source: Ipv4Addr) -> Result<(), DropReason> {
    let space = &plan.scopes[usize::from(scope)].address_space;
    let inside = space.iter().any(|prefix| prefix.contains(source));
    let legitimate = inside && local(plan, scope, source).is_none();
    if legitimate { Ok(()) } else { Err(DropReason::SourceSpoofed) }
}

fn judge_gate(gate: Gate) -> Result<(), DropReason> {
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
    let mut rules = service.rules.iter();
    rules.find(|rule| rule.protocol as u8 == *protocol && rule.port == endpoint.1).cloned()
}

/// Whether ports may be leased, and answered, for this pool.
pub(super) fn is_pool(plan: &Plan, (scope, nat_ip, backend, protocol): PoolKey) -> bool {
    let serves =
        |rule: &RulePlan| rule.protocol as u8 == protocol && rule.backends.contains(&backend);
    let mut services = plan.services.iter().filter(|service| service.scope.0 == scope);
    services.any(|service| service.nat_ips.contains(&nat_ip) && service.rules.iter().any(serves))
}

/// Whether a client's first packet may open a flow, and by which rule.
pub(super) fn grant(
    plan: &Plan,
    key: &Key,
    packet: &Packet,
    endpoint: &EndpointPlan,
) -> Result<(RulePlan, ServicePlan), DropReason> {
    judge_source(plan, key.0, key.2.0)?;
    judge_gate(endpoint.gate)?;
    let service = &plan.services[endpoint.service.slot()];
    let rule = rule_for(service, key).ok_or(DropReason::NoRule)?;
    if rule.protocol == Protocol::Tcp && !packet.opens() {
        return Err(DropReason::TcpNotSyn);
    }
    if rule.backends.is_empty() {
        return Err(DropReason::NoBackend);
    }
    Ok((rule, service.clone()))
}

/// Whether a configuration still wants a flow.
pub(super) fn wants(plan: &Plan, key: &Key, flow: &Flow) -> Result<(), DropReason> {
    let mut endpoints = plan.endpoints.iter();
    let endpoint = endpoints.find(|endpoint| {
        endpoint.link == flow.link && (endpoint.scope.0, endpoint.address) == (key.0, key.3.0)
    });
    let endpoint = endpoint.ok_or(DropReason::EndpointRemoved)?;
    judge_gate(endpoint.gate)?;
    judge_source(plan, key.0, key.2.0)?;
    let service = &plan.services[endpoint.service.slot()];
    let rule = rule_for(service, key).ok_or(DropReason::EndpointRemoved)?;
    let (nat, backend) = (flow.choice.nat, flow.choice.backend);
    if !service.nat_ips.contains(&nat.0) {
        return Err(DropReason::NatIpRemoved);
    }
    if !rule.backends.contains(&backend.0) || rule.backend_port != backend.1 {
        return Err(DropReason::BackendRemoved);
    }
    if service.scope.0 != flow.provider {
        return Err(DropReason::NatIpRemoved);
    }
    Ok(())
}
