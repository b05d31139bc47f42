//! Load balancers and their parts.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{method, part, subnet_id, version, whole};
use crate::resource::Kind;
use crate::resource::estate::Estate;
use crate::resource::model::{
    Backend, Balancer, Frontend, Head, NatRule, Pool, Probe, Rule, Transport,
};

/// A load balancer.
pub(super) fn balancer(estate: &Estate, balancer: &Balancer) -> Value {
    let head = &balancer.head;
    let id = head.id(Kind::Balancer);
    let frontends = balancer.frontends.iter().map(|frontend| {
        let name = &frontend.name;
        own(head, "frontendIPConfigurations", name, self::frontend(estate, balancer, frontend))
    });
    let pools = balancer.pools.iter();
    let pools =
        pools.map(|pool| own(head, "backendAddressPools", &pool.name, self::pool(balancer, pool)));
    let rules = balancer.rules.iter();
    let rules =
        rules.map(|rule| own(head, "loadBalancingRules", &rule.name, self::rule(&id, rule)));
    let probes = balancer.probes.iter();
    let probes = probes.map(|probe| own(head, "probes", &probe.name, self::probe(balancer, probe)));
    let nat_rules = balancer.nat_rules.iter();
    let nat_rules =
        nat_rules.map(|rule| own(head, "inboundNatRules", &rule.name, nat_rule(&id, rule)));
    let mut value = whole(
        head,
        Kind::Balancer,
        json!({
            "frontendIPConfigurations": frontends.collect::<Vec<_>>(),
            "backendAddressPools": pools.collect::<Vec<_>>(),
            "loadBalancingRules": rules.collect::<Vec<_>>(),
            "probes": probes.collect::<Vec<_>>(),
            "inboundNatRules": nat_rules.collect::<Vec<_>>(),
            "outboundRules": [],
            "inboundNatPools": [],
        }),
    );
    value["sku"] = json!({ "name": "Standard", "tier": "Regional" });
    value
}

/// A part of a load balancer, of that one's version.
fn own(head: &Head, type_name: &str, name: &str, properties: Value) -> Value {
    let mut value = part(&head.id(Kind::Balancer), type_name, name, properties);
    value["etag"] = super::etag(head).into();
    value
}

/// References to the parts of a load balancer that are meant.
fn ids<'n>(
    balancer: &Balancer,
    type_name: &str,
    names: impl Iterator<Item = &'n String>,
) -> Vec<Value> {
    let id = balancer.head.id(Kind::Balancer);
    names.map(|name| json!({ "id": format!("{id}/{type_name}/{name}") })).collect()
}

fn frontend(estate: &Estate, balancer: &Balancer, frontend: &Frontend) -> Value {
    let here = |name: &str| frontend.name.eq_ignore_ascii_case(name);
    let rules = balancer.rules.iter().filter(|rule| here(&rule.frontend)).map(|rule| &rule.name);
    let nat_rules = balancer.nat_rules.iter().filter(|rule| here(&rule.frontend));
    json!({
        "privateIPAddress": frontend.address,
        "privateIPAllocationMethod": method(frontend.is_static),
        "privateIPAddressVersion": version(frontend.address),
        "subnet": subnet_id(estate, &frontend.subnet),
        "loadBalancingRules": ids(balancer, "loadBalancingRules", rules),
        "inboundNatRules": ids(balancer, "inboundNatRules", nat_rules.map(|rule| &rule.name)),
    })
}

fn pool(balancer: &Balancer, pool: &Pool) -> Value {
    let here = |name: &str| pool.name.eq_ignore_ascii_case(name);
    let rules = balancer.rules.iter().filter(|rule| here(&rule.pool)).map(|rule| &rule.name);
    let mut nat_rules = balancer.nat_rules.iter();
    let backends = pool.backends.iter().map(|backend| self::backend(balancer, pool, backend));
    let mut value = json!({
        "loadBalancerBackendAddresses": backends.collect::<Vec<_>>(),
        "loadBalancingRules": ids(balancer, "loadBalancingRules", rules),
        "inboundNatRules": ids(balancer, "inboundNatRules", nat_rules
            .by_ref()
            .filter(|rule| rule.pool.as_deref().is_some_and(here))
            .map(|rule| &rule.name)),
    });
    if let Some(seconds) = pool.drain_seconds {
        value["drainPeriodInSeconds"] = seconds.into();
    }
    value
}

fn backend(balancer: &Balancer, pool: &Pool, backend: &Backend) -> Value {
    json!({ "name": backend.name, "properties": {
        "ipAddress": backend.address,
        "adminState": backend.admin_state.name(),
        "inboundNatRulesPortMapping": port_mappings(balancer, pool, backend.address),
    }})
}

/// The ports that lead to one backend of a pool.
#[must_use]
pub fn port_mappings(balancer: &Balancer, pool: &Pool, address: IpAddr) -> Vec<Value> {
    let is_pool = |name: &str| pool.name.eq_ignore_ascii_case(name);
    let rules = balancer.nat_rules.iter().filter(|rule| rule.pool.as_deref().is_some_and(is_pool));
    let mappings = rules.filter_map(|rule| {
        let (_, port) = rule.mapping.iter().find(|(known, _)| *known == address)?;
        Some(json!({
            "inboundNatRuleName": rule.name,
            "protocol": rule.protocol.name(),
            "frontendPort": port,
            "backendPort": rule.backend_port,
        }))
    });
    mappings.collect()
}

fn rule(balancer: &str, rule: &Rule) -> Value {
    let pool = json!({ "id": format!("{balancer}/backendAddressPools/{}", rule.pool) });
    let frontend = format!("{balancer}/frontendIPConfigurations/{}", rule.frontend);
    let mut value = json!({
        "frontendIPConfiguration": { "id": frontend },
        "backendAddressPool": pool,
        "backendAddressPools": [pool],
        "protocol": rule.protocol.name(),
        "frontendPort": rule.frontend_port,
        "backendPort": rule.backend_port,
        "idleTimeoutInMinutes": idle_minutes(rule.idle_minutes),
        "enableTcpReset": resets(rule.protocol, rule.tcp_reset),
        "enableFloatingIP": rule.floats,
        "enableConnectionTracking": rule.udp_tracking,
        "disableOutboundSnat": rule.outbound_snat_disabled,
        "loadDistribution": rule.distribution.name(),
    });
    if let Some(probe) = &rule.probe {
        value["probe"] = json!({ "id": format!("{balancer}/probes/{probe}") });
    }
    value
}

/// What is in force where nothing was said: a private link service's 300 s.
fn idle_minutes(said: Option<u8>) -> u8 {
    said.unwrap_or(5)
}

/// What is in force where nothing was said: as with a private link service, both sides are reset.
fn resets(protocol: Transport, said: Option<bool>) -> bool {
    said.unwrap_or(protocol == Transport::Tcp)
}

fn probe(balancer: &Balancer, probe: &Probe) -> Value {
    let is_it = |name: &String| name.eq_ignore_ascii_case(&probe.name);
    let rules = balancer.rules.iter().filter(|rule| rule.probe.as_ref().is_some_and(is_it));
    let mut value = json!({
        "protocol": probe.protocol.name(),
        "port": probe.port,
        "intervalInSeconds": probe.interval_ms.div_ceil(1_000),
        "numberOfProbes": probe.number_of_probes.unwrap_or(1),
        "probeThreshold": probe.threshold,
        "noHealthyBackendsBehavior": probe.no_healthy_backends.name(),
        "loadBalancingRules": ids(balancer, "loadBalancingRules", rules.map(|rule| &rule.name)),
    });
    if let Some(path) = &probe.request_path {
        value["requestPath"] = path.as_str().into();
    }
    value
}

fn nat_rule(balancer: &str, rule: &NatRule) -> Value {
    let frontend = format!("{balancer}/frontendIPConfigurations/{}", rule.frontend);
    let mut value = json!({
        "frontendIPConfiguration": { "id": frontend },
        "protocol": rule.protocol.name(),
        "backendPort": rule.backend_port,
        "idleTimeoutInMinutes": idle_minutes(rule.idle_minutes),
        "enableTcpReset": resets(rule.protocol, rule.tcp_reset),
        "enableFloatingIP": rule.floats,
    });
    match &rule.pool {
        Some(pool) => {
            let pool = format!("{balancer}/backendAddressPools/{pool}");
            value["backendAddressPool"] = json!({ "id": pool });
            value["frontendPortRangeStart"] = rule.first_port.into();
            value["frontendPortRangeEnd"] = rule.last_port.into();
        }
        None => value["frontendPort"] = rule.first_port.into(),
    }
    value
}
