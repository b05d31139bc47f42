//! Network security groups, with Azure's default rules behind their own.

use serde_json::{Value, json};

use super::{etag, part, reference, whole};
use crate::resource::estate::Estate;
use crate::resource::model::{Direction, Parties, SecurityGroup, SecurityRule};
use crate::resource::{Kind, security};

/// Azure's rules: name, description, priority, direction, whether it allows, source, destination.
type DefaultRule = (&'static str, &'static str, u16, Direction, bool, &'static str, &'static str);

const DEFAULT_RULES: &[DefaultRule] = &[
    (
        "AllowVnetInBound",
        "Allow inbound traffic from all VMs in VNET",
        65_000,
        Direction::Inbound,
        true,
        "VirtualNetwork",
        "VirtualNetwork",
    ),
    (
        "AllowAzureLoadBalancerInBound",
        "Allow inbound traffic from azure load balancer",
        65_001,
        Direction::Inbound,
        true,
        "AzureLoadBalancer",
        "*",
    ),
    ("DenyAllInBound", "Deny all inbound traffic", 65_500, Direction::Inbound, false, "*", "*"),
    (
        "AllowVnetOutBound",
        "Allow outbound traffic from all VMs to all VMs in VNET",
        65_000,
        Direction::Outbound,
        true,
        "VirtualNetwork",
        "VirtualNetwork",
    ),
    (
        "AllowInternetOutBound",
        "Allow outbound traffic from all VMs to Internet",
        65_001,
        Direction::Outbound,
        true,
        "*",
        "Internet",
    ),
    ("DenyAllOutBound", "Deny all outbound traffic", 65_500, Direction::Outbound, false, "*", "*"),
];

/// A network security group.
pub(super) fn group(estate: &Estate, group: &SecurityGroup) -> Value {
    let id = group.head.id(Kind::SecurityGroup);
    let own = group.rules.iter().map(|rule| ("securityRules", rule.clone()));
    let default = DEFAULT_RULES.iter().map(|rule| ("defaultSecurityRules", default_rule(rule)));
    let shown = own.chain(default).map(|(list, rule)| {
        let mut value = part(&id, list, &rule.name, self::rule(estate, &rule));
        value["etag"] = etag(&group.head).into();
        (list, value)
    });
    let (own, default): (Vec<_>, Vec<_>) = shown.partition(|(list, _)| *list == "securityRules");
    let key = group.head.key();
    let subnets = security::users(estate, &key).map(|(network, subnet)| {
        json!({ "id": format!("{}/subnets/{subnet}", network.id(Kind::Network)) })
    });
    let values = |list: Vec<(&str, Value)>| list.into_iter().map(|(_, rule)| rule).collect();
    let (own, default): (Value, Value) = (values(own), values(default));
    let properties = json!({
        "securityRules": own,
        "defaultSecurityRules": default,
        "subnets": subnets.collect::<Vec<_>>(),
    });
    whole(&group.head, Kind::SecurityGroup, properties)
}

fn default_rule(
    &(name, description, priority, direction, allows, source, destination): &DefaultRule,
) -> SecurityRule {
    SecurityRule {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        priority,
        direction,
        allows,
        protocol: "*".to_owned(),
        sources: Parties::Addresses(vec![source.to_owned()]),
        destinations: Parties::Addresses(vec![destination.to_owned()]),
        source_ports: vec!["*".to_owned()],
        ports: vec!["*".to_owned()],
    }
}

fn rule(estate: &Estate, rule: &SecurityRule) -> Value {
    let mut value = json!({
        "protocol": rule.protocol,
        "access": if rule.allows { "Allow" } else { "Deny" },
        "priority": rule.priority,
        "direction": rule.direction.name(),
    });
    if let Some(description) = &rule.description {
        value["description"] = description.as_str().into();
    }
    for (side, parties, ports) in [
        ("source", &rule.sources, &rule.source_ports),
        ("destination", &rule.destinations, &rule.ports),
    ] {
        one_or_many(&mut value, &format!("{side}PortRange"), "s", ports);
        let prefix = format!("{side}AddressPrefix");
        match parties {
            Parties::Addresses(texts) => one_or_many(&mut value, &prefix, "es", texts),
            Parties::Groups(keys) => {
                let ids = keys.iter().map(|key| reference(estate, Kind::AppGroup, key));
                let ids: Vec<Value> = ids.collect();
                value[format!("{side}ApplicationSecurityGroups")] = ids.into();
                value[format!("{prefix}es")] = json!([]);
            }
        }
    }
    value
}

/// As Azure shows it: one value by itself, more of them in a list, which is always there.
fn one_or_many(value: &mut Value, name: &str, plural: &str, texts: &[String]) {
    let list = match texts {
        [one] => {
            value[name] = one.as_str().into();
            json!([])
        }
        more => json!(more),
    };
    value[format!("{name}{plural}")] = list;
}
