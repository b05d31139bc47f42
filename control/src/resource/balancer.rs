//! Rules of Standard load balancers: frontends, pools and rules.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::limits::BACKENDS_PER_RULE_MAX;

use super::address::Allocator;
use super::body::Object;
use super::estate::{Estate, Rights};
use super::model::{
    Balancer, Distribution, Frontend, Head, Pool, Resource, Rule, SubnetKey, Transport,
};
use super::{Fault, Id, Key, Kind, Step};

/// Creates a load balancer, or replaces one.
///
/// # Errors
/// The request breaks a rule.
pub fn put(
    estate: &Estate,
    head: Head,
    body: &Object<'_>,
    rights: &dyn Rights,
) -> Result<Vec<Step>, Fault> {
    standard(body)?;
    let properties = body.object("properties")?;
    for (property, what) in [
        ("inboundNatRules", "inbound NAT rules"),
        ("inboundNatPools", "inbound NAT pools"),
        ("outboundRules", "outbound rules"),
    ] {
        if !properties.objects(property)?.is_empty() {
            return Err(Fault::unsupported(&properties.path(property), what));
        }
    }
    let key = head.key();
    let frontends = frontends(estate, &key, &head, &properties)?;
    let network = frontends.first().map(|frontend| frontend.subnet.network.clone());
    let pools = properties.objects("backendAddressPools")?;
    let pools = pools.iter().map(|body| pool(estate, network.as_ref(), body, rights));
    let pools: Vec<Pool> = pools.collect::<Result<_, _>>()?;
    unique(&properties.path("backendAddressPools"), pools.iter().map(|pool| pool.name.as_str()))?;
    let mut balancer = Balancer { head, frontends, pools, rules: Vec::new() };
    let rules = properties.objects("loadBalancingRules")?;
    let rules = rules.iter().map(|body| rule(&balancer, body));
    balancer.rules = rules.collect::<Result<_, _>>()?;
    let field = properties.path("loadBalancingRules");
    unique(&field, balancer.rules.iter().map(|rule| rule.name.as_str()))?;
    unique_ports(&field, &balancer)?;
    keep_used(estate, &properties.path("frontendIPConfigurations"), &balancer)?;
    Ok(vec![Step::put(Resource::Balancer(Arc::new(balancer)))])
}

/// Deletes a load balancer.
///
/// # Errors
/// A private link service leads to it.
pub fn delete(estate: &Estate, key: &Key) -> Result<Vec<Step>, Fault> {
    if let Some(service) = estate.services().find(|service| service.frontend.0 == *key) {
        let message = format!(
            "load balancer {} has the private link service {}; delete that first",
            key.name, service.head.name
        );
        return Err(Fault::new(400, "CannotDeleteLoadBalancerWithPrivateLinkService", message));
    }
    Ok(vec![Step::delete(Id::new(Kind::Balancer, key))])
}

fn standard(body: &Object<'_>) -> Result<(), Fault> {
    let sku = body.object("sku")?;
    let words = [("Standard", true), ("Basic", false), ("Gateway", false)];
    if sku.word("name", &words)?.unwrap_or(true) {
        return Ok(());
    }
    let rule = "private link services do not work behind this sku";
    Err(Fault::rule("LoadBalancerSkuNotSupported", &sku.path("name"), rule, "write \"Standard\""))
}

fn frontends(
    estate: &Estate,
    key: &Key,
    head: &Head,
    properties: &Object<'_>,
) -> Result<Vec<Frontend>, Fault> {
    let field = properties.path("frontendIPConfigurations");
    let old = estate.balancer(key);
    let me = Id::new(Kind::Balancer, key);
    let mut network: Option<Key> = None;
    let mut wanted = Vec::new();
    for body in properties.objects("frontendIPConfigurations")? {
        let name = body.name()?;
        let inner = body.object("properties")?;
        for property in ["publicIPAddress", "publicIPPrefix", "gatewayLoadBalancer"] {
            if inner.has(property) {
                let what = "frontends but internal ones: name a subnet instead";
                return Err(Fault::unsupported(&inner.path(property), what));
            }
        }
        let subnet = subnet(estate, &inner)?;
        if network.get_or_insert_with(|| subnet.network.clone()) != &subnet.network {
            let rule = "all frontends of a load balancer are in one virtual network";
            let cure = "choose a subnet of the same network";
            return Err(Fault::value(&inner.path("subnet"), rule, cure));
        }
        wanted.push((name, inner, subnet));
    }
    unique(&field, wanted.iter().map(|(name, _, _)| name.as_str()))?;
    let Some(network) = network else { return Ok(Vec::new()) };
    let mut allocator = Allocator::new(estate, &network, Some(&me));
    let owner = format!("a frontend of {}", head.name);
    let place = |(name, inner, subnet): (String, Object<'_>, SubnetKey)| {
        let address = asked(&inner)?;
        let field = inner.path("privateIPAddress");
        let old = old.and_then(|old| old.frontend(&name)).and_then(|old| old.address);
        let place = allocator.place(&field, subnet, address, old, &owner)?;
        let (subnet, address) = (place.subnet, Some(place.address));
        Ok(Frontend { name, subnet, address, is_static: place.is_static })
    };
    wanted.into_iter().map(place).collect()
}

/// The address that a request names, unless it asks for any.
///
/// # Errors
/// It is no address, or static and missing.
pub(super) fn asked(properties: &Object<'_>) -> Result<Option<Ipv4Addr>, Fault> {
    let methods = [("Static", true), ("Dynamic", false)];
    let versions = [("IPv4", true), ("IPv6", false)];
    if properties.word("privateIPAddressVersion", &versions)? == Some(false) {
        return Err(Fault::unsupported(&properties.path("privateIPAddressVersion"), "IPv6 yet"));
    }
    let method = properties.word("privateIPAllocationMethod", &methods)?;
    let address = properties.address("privateIPAddress")?;
    let field = properties.path("privateIPAddress");
    match (method, address) {
        (Some(true), None) => {
            let rule = "a static address is not named";
            Err(Fault::value(&field, rule, "name it, or write Dynamic"))
        }
        (Some(true), Some(address)) => Ok(Some(address)),
        // Clients send back the address that they were given.
        (Some(false) | None, _) => Ok(None),
    }
}

/// The subnet that a request names.
///
/// # Errors
/// It names none, or none that there is.
pub(super) fn subnet(estate: &Estate, properties: &Object<'_>) -> Result<SubnetKey, Fault> {
    let field = properties.path("subnet");
    let Some(reference) = properties.reference("subnet", Kind::Network)? else {
        let cure = "name it: {\"id\": \".../virtualNetworks/v/subnets/s\"}";
        return Err(Fault::value(&field, "the subnet is missing", cure));
    };
    let Some(name) = reference.part_of("subnets") else {
        let cure = "end it with /subnets/{name}";
        return Err(Fault::rule("LinkedInvalidPropertyId", &field, "this is no subnet", cure));
    };
    let key = SubnetKey { network: reference.id.key.clone(), subnet: name.to_ascii_lowercase() };
    match estate.subnet(&key) {
        Some(_) => Ok(key),
        None => Err(Fault::reference(&field, &format!("{}/subnets/{name}", reference.id))),
    }
}

fn pool(
    estate: &Estate,
    network: Option<&Key>,
    body: &Object<'_>,
    rights: &dyn Rights,
) -> Result<Pool, Fault> {
    let name = body.name()?;
    let properties = body.object("properties")?;
    let list = properties.objects("loadBalancerBackendAddresses")?;
    let field = properties.path("loadBalancerBackendAddresses");
    if rights.is_strict() && !list.is_empty() {
        let what = "pools of addresses behind private link services in strict mode";
        return Err(Fault::unsupported(&field, what));
    }
    if list.len() > BACKENDS_PER_RULE_MAX {
        let rule = format!("the pool has {} backends", list.len());
        return Err(Fault::value(&field, rule, format!("{BACKENDS_PER_RULE_MAX} is the most")));
    }
    let mut backends: Vec<(String, Ipv4Addr)> = Vec::new();
    let mut seen = HashSet::new();
    for (at, backend) in list.iter().enumerate() {
        let inner = backend.object("properties")?;
        let field = inner.path("ipAddress");
        let Some(address) = inner.address("ipAddress")? else {
            return Err(Fault::value(&field, "the address is missing", "name it: \"10.1.0.10\""));
        };
        let known = network.and_then(|key| estate.network(key));
        let known = known.map(|network| &network.address_space);
        if known.is_none_or(|space| !space.iter().any(|prefix| prefix.contains(address))) {
            let rule = format!("{address} is not in the virtual network of the frontends");
            return Err(Fault::value(&field, rule, "backends are in the same virtual network"));
        }
        if !seen.insert(address) {
            let rule = format!("{address} is in the pool twice");
            return Err(Fault::value(&field, rule, "remove one of the two"));
        }
        let name = if backend.has("name") { backend.name()? } else { format!("backend-{at}") };
        backends.push((name, address));
    }
    Ok(Pool { name, backends })
}

fn rule(balancer: &Balancer, body: &Object<'_>) -> Result<Rule, Fault> {
    let name = body.name()?;
    let properties = body.object("properties")?;
    let frontend = part(&properties, "frontendIPConfiguration", "frontendIPConfigurations")?;
    if balancer.frontend(&frontend).is_none() {
        return Err(Fault::reference(&properties.path("frontendIPConfiguration"), &frontend));
    }
    let pool = if properties.has("backendAddressPool") {
        part(&properties, "backendAddressPool", "backendAddressPools")?
    } else {
        let list = properties.objects("backendAddressPools")?;
        let Some(first) = list.first().filter(|_| list.len() == 1) else {
            let field = properties.path("backendAddressPool");
            return Err(Fault::value(&field, "a rule has one pool", "name it: {\"id\": ...}"));
        };
        part_here(first, "backendAddressPools")?
    };
    if !balancer.pools.iter().any(|known| known.name.eq_ignore_ascii_case(&pool)) {
        return Err(Fault::reference(&properties.path("backendAddressPool"), &pool));
    }
    let Some(protocol) = properties.word("protocol", Transport::WORDS)? else {
        let field = properties.path("protocol");
        return Err(Fault::value(&field, "the protocol is missing", "write Tcp, Udp or All"));
    };
    refuse_variants(&properties)?;
    // All ports are 0, and only all of them.
    let range = if protocol == Transport::All { 0..=0 } else { 1..=65_535 };
    let port = |name: &str| {
        let field = properties.path(name);
        let missing =
            || Fault::value(&field, "the port is missing", "write 1 to 65535, or 0 with All");
        properties.number::<u16>(name, range.clone())?.ok_or_else(missing)
    };
    Ok(Rule {
        name,
        frontend,
        pool,
        protocol,
        distribution: properties
            .word("loadDistribution", Distribution::WORDS)?
            .unwrap_or(Distribution::Default),
        frontend_port: port("frontendPort")?,
        backend_port: port("backendPort")?,
        idle_minutes: properties.number("idleTimeoutInMinutes", 4..=30)?,
        tcp_reset: properties.truth("enableTcpReset")?,
    })
}

/// What would change where packets go, and adit does otherwise.
fn refuse_variants(properties: &Object<'_>) -> Result<(), Fault> {
    if properties.truth("enableFloatingIP")? == Some(true) {
        return Err(Fault::unsupported(&properties.path("enableFloatingIP"), "floating IPs"));
    }
    if properties.has("probe") {
        return Err(Fault::unsupported(&properties.path("probe"), "health probes here yet"));
    }
    Ok(())
}

/// The name of a part of the same load balancer; its path before that is not looked at, since
/// clients write it before the load balancer is there.
fn part(properties: &Object<'_>, name: &str, type_name: &str) -> Result<String, Fault> {
    part_here(&properties.object(name)?, type_name)
}

fn part_here(object: &Object<'_>, type_name: &str) -> Result<String, Fault> {
    let reference = object.reference_here(Kind::Balancer)?;
    let wrong = || {
        let cure = format!("end it with /{type_name}/{{name}}");
        Fault::rule("LinkedInvalidPropertyId", &object.path("id"), "this is no such part", cure)
    };
    reference.part_of(type_name).map(str::to_owned).ok_or_else(wrong)
}

/// Names of parts differ.
pub(super) fn unique<'n>(field: &str, names: impl Iterator<Item = &'n str>) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name.to_ascii_lowercase()) {
            let rule = format!("the name {name:?} is there twice");
            return Err(Fault::rule("DuplicateResourceName", field, rule, "choose another"));
        }
    }
    Ok(())
}

fn unique_ports(field: &str, balancer: &Balancer) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    for rule in &balancer.rules {
        let frontend = rule.frontend.to_ascii_lowercase();
        if !seen.insert((frontend, rule.protocol.name(), rule.frontend_port)) {
            let text = format!("rule {} has protocol and port of another rule", rule.name);
            let cure = "a frontend has one rule for each protocol and port";
            return Err(Fault::rule("RulesUseSameFrontendPortProtocolAndVnet", field, text, cure));
        }
    }
    Ok(())
}

/// Frontends that services lead to stay, in the same virtual network.
fn keep_used(estate: &Estate, field: &str, balancer: &Balancer) -> Result<(), Fault> {
    let key = balancer.head.key();
    let Some(old) = estate.balancer(&key) else { return Ok(()) };
    for service in estate.services().filter(|service| service.frontend.0 == key) {
        let name = &service.frontend.1;
        let network = |balancer: &Balancer| {
            balancer.frontend(name).map(|frontend| frontend.subnet.network.clone())
        };
        if network(balancer).is_none() || network(balancer) != network(old) {
            let rule = format!("frontend {name} has the service {}", service.head.name);
            let cure = "keep it where it is, or delete the service first";
            return Err(Fault::rule("FrontendIPConfigurationInUse", field, rule, cure));
        }
    }
    Ok(())
}
