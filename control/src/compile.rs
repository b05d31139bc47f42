//! From a valid configuration and what outlives it to the plan of the data path. Pure: the same
//! arguments give the same plan.
//!
//! Devices and virtual networks stand where the registry has them, so that their numbers mean the
//! same in every generation; services, rules and endpoints stand in the order of the file.

use dataplane::limits;
use dataplane::snapshot::{
    Balance, Endpoint, EndpointPlan, PeeringPlan, Plan, ProbeSourcePlan, QuotaPlan, RoutePlan,
    RulePlan, ScopePlan, ServicePlan, Snapshot,
};
use dataplane::types::{Family, ScopeId, ServiceIndex};

use crate::config::{
    Config, ConfigErrors, LoadBalancer, PrivateEndpoint, PrivateLinkService, VirtualNetwork,
};
use crate::state::{Connection, Exhausted, Registry};

mod security;

/// The snapshot for `config` and the registry that goes with it.
///
/// # Errors
/// The run is out of numbers, or the data path refuses the plan: beyond what validation knows, only
/// limits on sums over the whole file are left.
pub fn compile(config: &Config, registry: &Registry) -> Result<(Snapshot, Registry), ConfigErrors> {
    let next = registry.next(config).map_err(|exhausted| exhausted_error(&exhausted))?;
    let snapshot = snapshot(config, &next)?;
    Ok((snapshot, next))
}

/// The snapshot for `config` with the connections as `registry` has them.
///
/// # Errors
/// As [`compile`].
pub fn snapshot(config: &Config, registry: &Registry) -> Result<Snapshot, ConfigErrors> {
    let plan = plan(config, registry).ok_or_else(|| exhausted_error(&Exhausted("names")))?;
    Snapshot::build(plan).map_err(|error| {
        let problem = format!("the data path cannot take this configuration: {error}");
        ConfigErrors::whole(problem, "make it smaller")
    })
}

/// An endpoint of `config` as [`snapshot`] has it, with this connection. `None` if the registry is
/// not the configuration's.
#[must_use]
pub fn endpoint(
    config: &Config,
    registry: &Registry,
    endpoint: &PrivateEndpoint,
    connection: &Connection,
) -> Option<Endpoint> {
    let scope = scope_at(config, registry, endpoint.virtual_network)?;
    let EndpointPlan { link, scope, addresses, service, gate, answers_echo } =
        plan_endpoint(endpoint, connection, scope)?;
    let (quota, security) = (config.quota(endpoint), security::group_of(config, endpoint));
    Some(Endpoint { link, scope, addresses, service, gate, answers_echo, quota, security })
}

fn plan_endpoint(
    endpoint: &PrivateEndpoint,
    connection: &Connection,
    scope: ScopeId,
) -> Option<EndpointPlan> {
    Some(EndpointPlan {
        link: connection.link,
        scope,
        addresses: endpoint.addresses,
        service: ServiceIndex(u32::try_from(endpoint.service).ok()?),
        gate: connection.state.gate(),
        answers_echo: endpoint.icmp_echo,
    })
}

fn exhausted_error(exhausted: &Exhausted) -> ConfigErrors {
    let problem = format!("this run of adit has used up its numbers for {}", exhausted.0);
    ConfigErrors::whole(problem, "restart adit")
}

/// `None` if the registry is not the configuration's.
fn plan(config: &Config, registry: &Registry) -> Option<Plan> {
    let empty = || ScopePlan { address_space: Vec::new(), routes: Vec::new() };
    let mut scopes: Vec<ScopePlan> = (0..registry.scope_count()).map(|_| empty()).collect();
    for network in &config.virtual_networks {
        *scopes.get_mut(registry.scope(&network.name)?.slot())? = scope(network);
    }
    let services = config.services.iter().map(|service| plan_service(config, registry, service));
    let services: Option<Vec<ServicePlan>> = services.collect();
    let connections = config.endpoints.iter().map(|one| registry.connection(&one.name));
    let connections: Vec<&Connection> = connections.collect::<Option<_>>()?;
    let known = || config.endpoints.iter().zip(&connections);
    let networks = config.virtual_networks.iter();
    let networks: Vec<_> = networks.map(|network| registry.scope(&network.name)).collect();
    let endpoints = known().map(|(endpoint, connection)| {
        plan_endpoint(endpoint, connection, (*networks.get(endpoint.virtual_network)?)?)
    });
    let endpoints: Option<Vec<EndpointPlan>> = endpoints.collect();
    let devices = registry.devices().to_vec();
    let quotas = known().map(|(endpoint, connection)| QuotaPlan {
        link: connection.link,
        quota: config.quota(endpoint),
    });
    let quotas = quotas.collect();
    let probe_sources = probe_sources(config, registry)?;
    let leaving_nat_ips = registry.departures().plan(config);
    Some(Plan {
        devices,
        scopes,
        services: services?,
        endpoints: endpoints?,
        leaving_nat_ips,
        quotas,
        probe_sources,
        security_groups: security::groups(config, registry)?,
        peerings: peerings(config, &networks)?,
        fair_share_percent: config.settings.fair_share_percent,
    })
}

/// What networks say of their peers; where each network is numbered so.
fn peerings(config: &Config, scopes: &[Option<ScopeId>]) -> Option<Vec<PeeringPlan>> {
    let scope = |at: usize| *scopes.get(at)?;
    let networks = config.virtual_networks.iter().enumerate();
    let sides = networks.flat_map(|(at, one)| one.peers.iter().map(move |&peer| (at, peer)));
    let plan = |(at, peer): (usize, usize)| {
        let prefixes = config.virtual_networks.get(peer)?.address_space.clone();
        Some(PeeringPlan { scope: scope(at)?, with: scope(peer)?, prefixes })
    };
    sides.map(plan).collect()
}

fn scope(network: &VirtualNetwork) -> ScopePlan {
    let routes = network.routes.iter().map(|route| RoutePlan {
        prefix: route.address_prefix,
        next_hop: route.next_hop_ip_address,
    });
    ScopePlan { address_space: network.client_prefixes().collect(), routes: routes.collect() }
}

fn scope_at(config: &Config, registry: &Registry, network: usize) -> Option<ScopeId> {
    registry.scope(&config.virtual_networks.get(network)?.name)
}

fn plan_service(
    config: &Config,
    registry: &Registry,
    service: &PrivateLinkService,
) -> Option<ServicePlan> {
    let balancer = config.load_balancers.get(service.load_balancer)?;
    Some(ServicePlan {
        scope: scope_at(config, registry, balancer.virtual_network)?,
        nat_ips: service.nat_ips.iter().map(|nat_ip| nat_ip.address).collect(),
        refusal: service.flows.refusal,
        rules: rules(balancer, service, registry)?,
        treatment: service.treatment,
    })
}

/// Where probes of load balancers come from.
fn probe_sources(config: &Config, registry: &Registry) -> Option<Vec<ProbeSourcePlan>> {
    let mut plans = Vec::new();
    for (at, balancer) in config.load_balancers.iter().enumerate() {
        let is_probed = balancer.rules.iter().any(|rule| balancer.probe_of(rule).is_some());
        if !is_probed {
            continue;
        }
        let scope = scope_at(config, registry, balancer.virtual_network)?;
        let sources = Family::ALL.map(|family| config.probe_source(at, family));
        let sources = sources.into_iter().flatten();
        plans.extend(sources.map(|address| ProbeSourcePlan { scope, address }));
    }
    Some(plans)
}

fn rules(
    balancer: &LoadBalancer,
    service: &PrivateLinkService,
    registry: &Registry,
) -> Option<Vec<RulePlan>> {
    let mut plans = Vec::new();
    for rule in &balancer.rules {
        let pool = balancer.pools.get(rule.pool)?;
        let plan = |&protocol| RulePlan {
            protocol,
            port: rule.frontend_port,
            backend_port: rule.backend_port,
            floating: rule.floating,
            backends: pool.addresses().collect(),
            balance: Balance {
                drained: registry.drains().drained(&balancer.name, &pool.name),
                ..balancer.balance(rule, pool, registry.health())
            },
            timeouts: service.flows.timeouts(&rule.lifetime),
            ending: service.flows.ending(&rule.lifetime),
        };
        plans.extend(rule.protocol.each().iter().map(plan));
    }
    let translated = balancer.inbound_nat_rules.iter().map(|rule| RulePlan {
        protocol: rule.protocol,
        port: rule.frontend_port,
        backend_port: rule.backend_port,
        floating: rule.floating,
        backends: vec![rule.backend_address],
        balance: Balance::default(),
        timeouts: service.flows.timeouts(&rule.lifetime),
        ending: service.flows.ending(&rule.lifetime),
    });
    plans.extend(translated);
    Some(plans)
}

// Validation numbers these with fewer bits than it may count.
const _: () = assert!(limits::DEVICES_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests;
