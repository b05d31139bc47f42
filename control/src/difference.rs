//! What is different between two configurations, resource by resource, by their names. Pure.

use std::collections::BTreeMap;

use dataplane::snapshot::Quota;
use serde::{Deserialize, Serialize};

use crate::config::{
    Config, LoadBalancer, NetworkSecurityGroup, Pool, PrivateEndpoint, PrivateLinkService, Subnet,
    VirtualNetwork,
};
use crate::state::Registry;

/// What becomes of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// It stays, with another value of something.
    Changed,
}

/// What becomes of one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What it is, as the configuration calls it.
    pub kind: String,
    /// Its name; of what belongs to another resource, that one's too: `lb/http`.
    pub name: String,
    /// What becomes of it.
    pub action: Action,
    /// Of one that changes: each value, before and after.
    pub values: Vec<Value>,
}

/// A value that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Its name.
    pub name: String,
    /// As it is.
    pub before: String,
    /// As it would be.
    pub after: String,
}

/// Kind and name of a resource, and its values by name.
type Resources = BTreeMap<(&'static str, String), BTreeMap<&'static str, String>>;

/// What changes when `new` takes the place of `old`, with connections as the registries have them.
#[must_use]
pub fn differences(old: (&Config, &Registry), new: (&Config, &Registry)) -> Vec<Difference> {
    let (old, new) = (resources(old.0, old.1), resources(new.0, new.1));
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differences = names.into_iter().filter_map(|key| {
        let (action, values) = match (old.get(key), new.get(key)) {
            (None, _) => (Action::Added, Vec::new()),
            (_, None) => (Action::Removed, Vec::new()),
            (Some(old), Some(new)) if old == new => return None,
            (Some(old), Some(new)) => (Action::Changed, values(old, new)),
        };
        let (kind, name) = (key.0.to_owned(), key.1.clone());
        Some(Difference { kind, name, action, values })
    });
    differences.collect()
}

fn values(
    old: &BTreeMap<&'static str, String>,
    new: &BTreeMap<&'static str, String>,
) -> Vec<Value> {
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let changed = names.into_iter().filter_map(|name| {
        let of = |values: &BTreeMap<&str, String>| values.get(name).cloned().unwrap_or_default();
        let (before, after) = (of(old), of(new));
        (before != after).then(|| Value { name: (*name).to_owned(), before, after })
    });
    changed.collect()
}

fn resources(config: &Config, registry: &Registry) -> Resources {
    let mut all = Resources::new();
    for network in config.virtual_networks() {
        let name = network.name.to_string();
        all.insert(("virtual_network", name), of_network(config, network));
        for subnet in &network.subnets {
            let name = format!("{}/{}", network.name, subnet.name);
            all.insert(("subnet", name), of_subnet(config, subnet));
        }
    }
    for device in config.devices() {
        let namespace = device.network_namespace.clone().unwrap_or_default();
        let place = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
        let values = BTreeMap::from([
            ("kind", format!("{:?}", device.kind)),
            ("virtual_network", network_name(config, device.virtual_network)),
        ]);
        all.insert(("device", format!("{}{place}", device.name.as_str())), values);
    }
    for balancer in config.load_balancers() {
        of_balancer(&mut all, config, balancer);
    }
    for group in config.security_groups() {
        of_security_group(&mut all, group);
    }
    for service in config.services() {
        of_service(&mut all, config, service);
    }
    for endpoint in config.endpoints() {
        let values = of_endpoint(config, registry, endpoint);
        all.insert(("private_endpoint", endpoint.name.to_string()), values);
    }
    all
}

fn network_name(config: &Config, at: usize) -> String {
    config.virtual_networks().get(at).map_or_else(String::new, |network| network.name.to_string())
}

fn of_network(config: &Config, network: &VirtualNetwork) -> BTreeMap<&'static str, String> {
    let route = |route: &crate::config::Route| {
        format!("{} by {}", route.address_prefix, route.next_hop_ip_address)
    };
    let routes: Vec<String> = network.routes.iter().map(route).collect();
    let peers = network.peers.iter().map(|&peer| network_name(config, peer));
    let peers: Vec<String> = peers.collect();
    BTreeMap::from([
        ("address_space", network.address_space_text()),
        ("remote_address_space", network.remote_address_space_text()),
        ("peered_with", peers.join(", ")),
        ("routes", routes.join(", ")),
    ])
}

fn of_subnet(config: &Config, subnet: &Subnet) -> BTreeMap<&'static str, String> {
    let group = subnet.security_group.and_then(|at| config.security_groups().get(at));
    let group = group.map_or_else(String::new, |group| group.name.to_string());
    let prefixes: Vec<String> = subnet.address_prefixes.iter().map(ToString::to_string).collect();
    BTreeMap::from([
        ("address_prefix", prefixes.join(", ")),
        ("network_security_group", group),
        ("private_endpoint_network_policies", format!("{:?}", subnet.policies)),
    ])
}

fn of_security_group(all: &mut Resources, group: &NetworkSecurityGroup) {
    all.insert(("network_security_group", group.name.to_string()), BTreeMap::new());
    for rule in &group.rules {
        let values = BTreeMap::from([
            ("priority", rule.priority.to_string()),
            ("access", format!("{:?}", rule.access)),
            ("protocol", rule.protocol.map_or("*", |protocol| protocol.name()).to_owned()),
            ("source_address_prefixes", format!("{:?}", rule.sources)),
            ("destination_address_prefixes", format!("{:?}", rule.destinations)),
            ("destination_port_ranges", format!("{:?}", rule.ports)),
        ]);
        all.insert(("security_rule", format!("{}/{}", group.name, rule.name)), values);
    }
}

fn of_balancer(all: &mut Resources, config: &Config, balancer: &LoadBalancer) {
    let own = |name: &dyn std::fmt::Display| format!("{}/{name}", balancer.name);
    let frontend = balancer.frontend.map_or_else(String::new, |frontend| frontend.to_string());
    let values = [
        ("virtual_network", network_name(config, balancer.virtual_network)),
        ("frontend_ip_address", frontend),
    ];
    all.insert(("load_balancer", balancer.name.to_string()), BTreeMap::from(values));
    for pool in &balancer.pools {
        let drain = pool.drain.map_or_else(String::new, |drain| drain.as_secs().to_string());
        let values = BTreeMap::from([("drain_period_in_seconds", drain)]);
        all.insert(("pool", own(&pool.name)), values);
        for backend in &pool.backends {
            let values = BTreeMap::from([
                ("weight", backend.weight.to_string()),
                ("admin_state", backend.admin_state.name().to_owned()),
            ]);
            let name = format!("{}/{}", own(&pool.name), backend.address);
            all.insert(("backend", name), values);
        }
    }
    for rule in &balancer.rules {
        let pool = balancer.pools.get(rule.pool).map(|pool: &Pool| pool.name.to_string());
        let probe = balancer.probe_of(rule);
        let values = BTreeMap::from([
            ("protocol", format!("{:?}", rule.protocol)),
            ("frontend_port", rule.frontend_port.to_string()),
            ("backend_port", rule.backend_port.to_string()),
            ("backend_address_pool", pool.unwrap_or_default()),
            ("enable_floating_ip", rule.floating.is_some().to_string()),
            ("load_distribution", format!("{:?}", rule.persistence)),
            ("enable_connection_tracking", format!("{:?}", rule.udp_tracking)),
            ("idle_timeout", format!("{:?}", rule.lifetime.idle_timeout)),
            ("enable_tcp_reset", format!("{:?}", rule.lifetime.tcp_reset)),
            ("probe", probe.map_or_else(String::new, |probe| probe.name.to_string())),
        ]);
        all.insert(("load_balancing_rule", own(&rule.name)), values);
    }
    for probe in &balancer.probes {
        let values = BTreeMap::from([
            ("protocol", probe.protocol.name().to_owned()),
            ("port", probe.port.to_string()),
            ("request_path", probe.request_path.clone()),
            ("interval", format!("{:?}", probe.interval)),
            ("probe_threshold", probe.threshold.to_string()),
            ("no_healthy_backends_behavior", probe.no_healthy_backends.name().to_owned()),
            ("send_proxy_protocol", format!("{:?}", probe.send_proxy_protocol)),
        ]);
        all.insert(("probe", own(&probe.name)), values);
    }
    for rule in &balancer.inbound_nat_rules {
        let values = BTreeMap::from([
            ("protocol", rule.protocol.name().to_owned()),
            ("frontend_port", rule.frontend_port.to_string()),
            ("backend", format!("{}:{}", rule.backend_address, rule.backend_port)),
            ("enable_floating_ip", rule.floating.is_some().to_string()),
            ("idle_timeout", format!("{:?}", rule.lifetime.idle_timeout)),
            ("enable_tcp_reset", format!("{:?}", rule.lifetime.tcp_reset)),
        ]);
        all.insert(("inbound_nat_rule", own(&rule.name)), values);
    }
}

fn of_service(all: &mut Resources, config: &Config, service: &PrivateLinkService) {
    let balancer = config.load_balancers().get(service.load_balancer);
    let values = BTreeMap::from([
        ("load_balancer", balancer.map_or_else(String::new, |one| one.name.to_string())),
        ("nat_ip_drain_timeout", format!("{:?}", service.nat_ip_drain)),
        ("flows_reserved", service.quota.reserved.to_string()),
        ("flows_max", most(service.quota)),
        ("auto_approve", service.auto_approve.to_string()),
        ("flows", format!("{:?}", service.flows)),
        ("treatment", format!("{:?}", service.treatment)),
    ]);
    all.insert(("private_link_service", service.name.to_string()), values);
    for nat_ip in &service.nat_ips {
        // By its address: another name makes it no other.
        let name = format!("{}/{}", service.name, nat_ip.address);
        all.insert(("nat_ip", name), BTreeMap::new());
    }
}

fn of_endpoint(
    config: &Config,
    registry: &Registry,
    endpoint: &PrivateEndpoint,
) -> BTreeMap<&'static str, String> {
    let service = config.services().get(endpoint.service);
    let connection = registry.connection(&endpoint.name);
    let state = connection.map_or_else(String::new, |connection| connection.state.to_string());
    let link = connection.map_or_else(String::new, |connection| connection.link.0.to_string());
    BTreeMap::from([
        ("virtual_network", network_name(config, endpoint.virtual_network)),
        ("private_ip_address", endpoint.addresses.to_string()),
        ("private_link_service", service.map_or_else(String::new, |one| one.name.to_string())),
        ("request_message", endpoint.request_message.clone().unwrap_or_default()),
        ("connection_state", state),
        ("link_id", link),
        ("icmp_echo", endpoint.icmp_echo.to_string()),
        ("flows_reserved", config.quota(endpoint).reserved.to_string()),
        ("flows_max", most(config.quota(endpoint))),
    ])
}

/// How many flows there may be, as the file says it.
fn most(quota: Quota) -> String {
    match quota.most {
        u32::MAX => "none".to_owned(),
        most => most.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile;
    use crate::config::check;

    fn differences_after(changes: &[(&str, &str)]) -> Vec<String> {
        let old_text = include_str!("../adit.example.toml").to_owned();
        let mut text = old_text.clone();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        let config = |text: &str| check(text).unwrap_or_else(|errors| panic!("{errors}")).config;
        let (old, new) = (config(&old_text), config(&text));
        let (_, before) = compile(&old, &Registry::default()).unwrap();
        let (_, after) = compile(&new, &before).unwrap();
        let found = differences((&old, &before), (&new, &after));
        let line = |one: &Difference| {
            let value = |one: &Value| format!(" {} {}>{}", one.name, one.before, one.after);
            let values: String = one.values.iter().map(value).collect();
            format!("{:?} {} {}{values}", one.action, one.kind, one.name)
        };
        found.iter().map(line).collect()
    }

    #[test]
    fn each_change_is_named_once_and_nothing_else() {
        assert!(differences_after(&[]).is_empty());
        assert_eq!(
            differences_after(&[("  \"10.1.0.11\",\n", "  { ip_address = \"10.1.0.12\" },\n")]),
            ["Removed backend lb/web-servers/10.1.0.11", "Added backend lb/web-servers/10.1.0.12"]
        );
        assert_eq!(
            differences_after(&[
                ("weight = 2", "weight = 3"),
                ("frontend_port = 80\n", "frontend_port = 81\n")
            ]),
            [
                "Changed backend lb/web-servers/10.1.9.12 weight 2>3",
                "Changed load_balancing_rule lb/http frontend_port 80>81",
            ]
        );
        let line = "flows_reserved = 2000\nflows_max = 50000\n";
        let changed = differences_after(&[(line, ""), ("endpoint_flows_max = 100000\n", "")]);
        for (of, values) in [
            ("private_endpoint", " flows_max 50000>none flows_reserved 2000>1000"),
            ("private_link_service", " flows_max 100000>none"),
        ] {
            let is_it = |line: &String| line.contains(of) && line.ends_with(values);
            assert!(changed.iter().any(is_it), "{values} of {changed:?}");
        }
        let line = "  { name = \"nat2\", private_ip_address = \"10.1.0.5\" },\n";
        assert_eq!(differences_after(&[(line, "")]), ["Removed nat_ip web/10.1.0.5"]);
    }

    #[test]
    fn an_endpoint_that_moves_has_another_connection() {
        let changed = differences_after(&[
            (
                "name = \"pe-a\"\nvirtual_network = \"consumer-a\"",
                "name = \"pe-a\"\nvirtual_network = \"consumer-b\"",
            ),
            ("private_ip_address = \"10.0.0.5\"", "private_ip_address = \"10.0.0.9\""),
        ]);
        let [one] = changed.as_slice() else { panic!("{changed:?}") };
        for part in ["pe-a", "private_ip_address 10.0.0.5>10.0.0.9", "consumer-a>consumer-b"] {
            assert!(one.contains(part), "{one}");
        }
        assert!(one.contains("link_id 536870913>536870915"), "{one}");
    }

    #[test]
    fn the_order_of_a_file_means_nothing() {
        let text = include_str!("../adit.example.toml");
        let network =
            "[[virtual_network]]\nname = \"consumer-b\"\naddress_space = [\"10.0.0.0/16\"]\n";
        assert!(text.contains(network));
        let moved =
            [(network, ""), ("[[load_balancer]]\n", &format!("{network}[[load_balancer]]\n"))];
        assert!(differences_after(&moved).is_empty());
    }
}
