//! Rules of virtual networks and their subnets.

use std::sync::Arc;

use dataplane::types::{Family, Prefix};

use super::body::{self, Object};
use super::estate::Estate;
use super::limits::{SUBNET_LENGTHS, SUBNET_LENGTHS_IPV6};
use super::model::{Head, Network, Peering, Resource, Subnet, SubnetKey};
use super::{Fault, Id, Key, Kind, Step, peering};

const POLICIES: &[(&str, &str)] = &[
    ("Disabled", "Disabled"),
    ("Enabled", "Enabled"),
    ("NetworkSecurityGroupEnabled", "NetworkSecurityGroupEnabled"),
    ("RouteTableEnabled", "RouteTableEnabled"),
];

const SWITCH: &[(&str, bool)] = &[("Enabled", true), ("Disabled", false)];

/// Creates a virtual network, or replaces one.
///
/// # Errors
/// The request breaks a rule.
pub fn put(estate: &Estate, head: Head, body: &Object<'_>) -> Result<Vec<Step>, Fault> {
    let old = estate.network(&head.key());
    let properties = body.object("properties")?;
    let space = properties.object("addressSpace")?;
    let address_space = address_space(&space)?;
    let scale = [("Basic", true), ("Disabled", false)];
    let at_scale = properties.word("privateEndpointVNetPolicies", &scale)?.unwrap_or(false);
    // Azure keeps the subnets of a network whose request does not speak of them.
    let subnets = match properties.has("subnets") {
        true => {
            let list = properties.objects("subnets")?;
            list.iter().map(|body| subnet(estate, body)).collect::<Result<_, _>>()?
        }
        false => old.map(|old| old.subnets.clone()).unwrap_or_default(),
    };
    let peerings = old.map(|old| old.peerings.clone()).unwrap_or_default();
    let (routers, field) = (Vec::new(), properties.path("addressSpace"));
    let network = Network { head, address_space, subnets, peerings, routers, at_scale };
    keep_peerings(&properties, &network)?;
    peering::overlaps(estate, &network, &field)?;
    judge(&network)?;
    let field = properties.path("subnets");
    keep_used(estate, &field, &network)?;
    Ok(vec![Step::put(Resource::Network(Arc::new(network)))])
}

/// Creates a subnet, or replaces one.
///
/// # Errors
/// The request breaks a rule.
pub fn put_subnet(
    estate: &Estate,
    network: &Network,
    name: &str,
    body: &Object<'_>,
    revision: u64,
) -> Result<Vec<Step>, Fault> {
    let name = body::name("name", name)?;
    let subnet = subnet_named(estate, name, body)?;
    let mut network = network.clone();
    network.head.revision = revision;
    let same = |old: &Subnet| old.name.eq_ignore_ascii_case(&subnet.name);
    match network.subnets.iter().position(same) {
        Some(at) => {
            network.subnets[at] = Subnet { name: network.subnets[at].name.clone(), ..subnet }
        }
        None => network.subnets.push(subnet),
    }
    judge(&network)?;
    keep_used(estate, "properties.addressPrefix", &network)?;
    Ok(vec![Step::put(Resource::Network(Arc::new(network)))])
}

/// Deletes a subnet.
///
/// # Errors
/// Something is in it.
pub fn delete_subnet(
    estate: &Estate,
    network: &Network,
    name: &str,
    revision: u64,
) -> Result<Vec<Step>, Fault> {
    let key = network.head.key();
    if let Some(user) = user_of(estate, &key, Some(name)) {
        let message = format!("subnet {name} is used by {user}; delete that first");
        return Err(Fault::new(400, "InUseSubnetCannotBeDeleted", message));
    }
    let mut network = network.clone();
    network.head.revision = revision;
    network.subnets.retain(|subnet| !subnet.name.eq_ignore_ascii_case(name));
    Ok(vec![Step::put(Resource::Network(Arc::new(network)))])
}

/// Deletes a virtual network.
///
/// # Errors
/// Something is in it.
pub fn delete(estate: &Estate, key: &Key) -> Result<Vec<Step>, Fault> {
    if let Some(user) = user_of(estate, key, None) {
        let message = format!("virtual network {} is used by {user}; delete that first", key.name);
        return Err(Fault::new(400, "InUseSubnetCannotBeDeleted", message));
    }
    let mut steps = peering::leave(estate, |network| network == key);
    steps.push(Step::delete(Id::new(Kind::Network, key)));
    Ok(steps)
}

/// Peerings are created and deleted by themselves; clients send back those that they were given.
fn keep_peerings(properties: &Object<'_>, network: &Network) -> Result<(), Fault> {
    for body in properties.objects("virtualNetworkPeerings")? {
        let name = body.name()?;
        let is_it = |known: &Peering| known.name.eq_ignore_ascii_case(&name);
        if !network.peerings.iter().any(is_it) {
            let what = format!("peering {name} within its network: put it by itself");
            return Err(Fault::unsupported(&body.path("name"), what));
        }
    }
    Ok(())
}

fn address_space(space: &Object<'_>) -> Result<Vec<Prefix>, Fault> {
    let field = space.path("addressPrefixes");
    let texts = space.texts("addressPrefixes")?;
    if texts.is_empty() {
        let cure = "name one: [\"10.0.0.0/16\"]";
        return Err(Fault::value(&field, "a virtual network has at least one prefix", cure));
    }
    let mut prefixes: Vec<Prefix> = Vec::new();
    for (at, text) in texts.into_iter().enumerate() {
        let field = format!("{field}[{at}]");
        let prefix = body::prefix(&field, text)?;
        if let Some(what) = crate::config::unusable(prefix) {
            let rule = format!("{prefix} overlaps {what}");
            return Err(Fault::value(&field, rule, "hosts have unicast addresses"));
        }
        if let Some(other) = prefixes.iter().find(|other| other.overlaps(prefix)) {
            let rule = format!("{prefix} overlaps {other}");
            let cure = "keep one of the two";
            return Err(Fault::rule("NetcfgInvalidVirtualNetworkSite", &field, rule, cure));
        }
        prefixes.push(prefix);
    }
    Ok(prefixes)
}

fn subnet(estate: &Estate, body: &Object<'_>) -> Result<Subnet, Fault> {
    subnet_named(estate, body.name()?, body)
}

fn subnet_named(estate: &Estate, name: String, body: &Object<'_>) -> Result<Subnet, Fault> {
    let properties = body.object("properties")?;
    for (property, what) in [("routeTable", "route tables"), ("natGateway", "NAT gateways")] {
        if properties.has(property) {
            return Err(Fault::unsupported(&properties.path(property), what));
        }
    }
    let prefixes = subnet_prefixes(&properties)?;
    let security_group = security_group(estate, &properties)?;
    let policies = properties.word("privateEndpointNetworkPolicies", POLICIES)?;
    let service = properties.word("privateLinkServiceNetworkPolicies", SWITCH)?;
    let endpoint_policies = policies.unwrap_or("Disabled").to_owned();
    let service_policies = service.unwrap_or(true);
    Ok(Subnet { name, prefixes, endpoint_policies, service_policies, security_group })
}

/// The prefixes of a subnet: one, or one of each family, that of IPv4 first.
fn subnet_prefixes(properties: &Object<'_>) -> Result<Vec<Prefix>, Fault> {
    let list = properties.texts("addressPrefixes")?;
    let (name, texts) = match (properties.text("addressPrefix")?, list) {
        // Clients send back both, of which this one is the first of the other.
        (Some(text), list) if list.is_empty() => ("addressPrefix", vec![text]),
        (_, list) => ("addressPrefixes", list),
    };
    let field = properties.path(name);
    let mut prefixes: Vec<Prefix> = Vec::new();
    for text in texts {
        let prefix = body::prefix(&field, text)?;
        if prefixes.iter().any(|other| other.family() == prefix.family()) {
            let what = format!("subnets of two {} prefixes", prefix.family().name());
            return Err(Fault::unsupported(&field, what));
        }
        let (lengths, cure) = match prefix.family() {
            Family::V4 => {
                (SUBNET_LENGTHS, format!("a subnet is at least a /{}", SUBNET_LENGTHS.end()))
            }
            Family::V6 => (SUBNET_LENGTHS_IPV6, "an IPv6 subnet is exactly a /64".to_owned()),
        };
        if !lengths.contains(&prefix.length()) {
            let rule = format!("{prefix} is no possible subnet");
            return Err(Fault::rule("NetcfgInvalidSubnet", &field, rule, cure));
        }
        prefixes.push(prefix);
    }
    prefixes.sort_by_key(|prefix| prefix.family());
    if prefixes.is_empty() {
        let field = properties.path("addressPrefix");
        return Err(Fault::value(&field, "the prefix is missing", "name it: \"10.0.0.0/24\""));
    }
    Ok(prefixes)
}

/// The group that a subnet names, if it names one.
fn security_group(estate: &Estate, properties: &Object<'_>) -> Result<Option<Key>, Fault> {
    let Some(named) = properties.reference("networkSecurityGroup", Kind::SecurityGroup)? else {
        return Ok(None);
    };
    match estate.security_group(&named.id.key) {
        Some(_) => Ok(Some(named.id.key)),
        None => {
            let field = properties.path("networkSecurityGroup");
            Err(Fault::reference(&field, &named.id.to_string()))
        }
    }
}

/// Subnets lie in the address space and apart from each other, and have names of their own.
fn judge(network: &Network) -> Result<(), Fault> {
    for (at, subnet) in network.subnets.iter().enumerate() {
        let field = format!("properties.subnets[{at}]");
        for &prefix in &subnet.prefixes {
            let holds =
                |space: &Prefix| space.length() <= prefix.length() && space.overlaps(prefix);
            if !network.address_space.iter().any(holds) {
                let rule = format!("{prefix} is not within the network's address space");
                let cure = "choose a part of it, or enlarge it";
                return Err(Fault::rule("NetcfgInvalidSubnet", &field, rule, cure));
            }
        }
        for other in &network.subnets[..at] {
            if other.name.eq_ignore_ascii_case(&subnet.name) {
                let rule = format!("{:?} is the name of another subnet", subnet.name);
                return Err(Fault::rule("DuplicateResourceName", &field, rule, "choose another"));
            }
            let pairs = subnet
                .prefixes
                .iter()
                .flat_map(|prefix| other.prefixes.iter().map(move |other| (prefix, other)));
            let mut pairs = pairs.filter(|(prefix, other)| prefix.overlaps(**other));
            if let Some((prefix, taken)) = pairs.next() {
                let rule = format!("{prefix} overlaps {taken} of subnet {}", other.name);
                let cure = "choose a prefix of its own";
                return Err(Fault::rule("NetcfgSubnetRangesOverlap", &field, rule, cure));
            }
        }
    }
    Ok(())
}

/// What is used stays as it is.
fn keep_used(estate: &Estate, field: &str, network: &Network) -> Result<(), Fault> {
    let key = network.head.key();
    let Some(old) = estate.network(&key) else { return Ok(()) };
    for subnet in &old.subnets {
        let new = network.subnet(&subnet.name);
        // A prefix of the other family may come, and none that is used may go.
        let keeps = |new: &Subnet| subnet.prefixes.iter().all(|old| new.prefixes.contains(old));
        if new.is_some_and(keeps) {
            continue;
        }
        let Some(user) = user_of(estate, &key, Some(&subnet.name)) else { continue };
        let (code, what) = match new {
            None => ("InUseSubnetCannotBeDeleted", "cannot be deleted"),
            Some(_) => ("InUseSubnetCannotBeUpdated", "cannot get another prefix"),
        };
        let rule = format!("subnet {} {what} while {user} is in it", subnet.name);
        return Err(Fault::rule(code, field, rule, "delete that first"));
    }
    Ok(())
}

/// What is in a network, or in one subnet of it.
fn user_of(estate: &Estate, network: &Key, subnet: Option<&str>) -> Option<String> {
    let here = |at: &SubnetKey| {
        at.network == *network && subnet.is_none_or(|name| at.subnet.eq_ignore_ascii_case(name))
    };
    let mut endpoints = estate.endpoints_of_network(network);
    let endpoint = endpoints.find(|endpoint| here(&endpoint.place.subnet));
    let endpoint = endpoint.map(|endpoint| format!("private endpoint {}", endpoint.head.name));
    let service = || {
        let mut services = estate.services();
        let found =
            services.find(|service| service.nat_ips.iter().any(|nat| here(&nat.place.subnet)));
        found.map(|service| format!("private link service {}", service.head.name))
    };
    let balancer = || {
        let mut balancers = estate.balancers();
        let found = balancers
            .find(|balancer| balancer.frontends.iter().any(|frontend| here(&frontend.subnet)));
        found.map(|balancer| format!("load balancer {}", balancer.head.name))
    };
    endpoint.or_else(service).or_else(balancer)
}
