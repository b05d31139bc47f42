//! Rules of Standard load balancers: frontends here, their other parts below.

use std::collections::HashSet;
use std::sync::Arc;

use dataplane::types::Family;

use super::address::{Allocator, Wanted};
use super::body::{self, Object};
use super::estate::{Estate, Rights};
use super::model::{Balancer, Frontend, Head, Resource, SubnetKey};
use super::{Fault, Id, Key, Kind, Step};

mod nat;
mod pool;
mod probe;
mod rule;

/// Families by Azure's names of versions.
pub(super) const VERSIONS: &[(&str, Family)] = &[("IPv4", Family::V4), ("IPv6", Family::V6)];

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
    for (property, what) in
        [("inboundNatPools", "inbound NAT pools"), ("outboundRules", "outbound rules")]
    {
        if !properties.objects(property)?.is_empty() {
            return Err(Fault::unsupported(&properties.path(property), what));
        }
    }
    let frontends = frontends(estate, &head.key(), &properties)?;
    let probes = properties.objects("probes")?;
    let probes = probes.iter().map(probe::probe).collect::<Result<_, _>>()?;
    let (pools, rules, nat_rules) = (Vec::new(), Vec::new(), Vec::new());
    let mut balancer = Balancer { head, frontends, pools, rules, probes, nat_rules };
    let each = |name: &str| properties.objects(name);
    for body in &each("backendAddressPools")? {
        let pool = pool::pool(estate, &balancer, body.name()?, body, rights)?;
        balancer.pools.push(pool);
    }
    for body in &each("loadBalancingRules")? {
        balancer.rules.push(rule::rule(&balancer, body, rights)?);
    }
    for body in &each("inboundNatRules")? {
        let rule = nat::nat_rule(&balancer, body.name()?, body)?;
        balancer.nat_rules.push(rule);
    }
    finish(estate, &properties, balancer)
}

/// Creates a pool of a load balancer, or replaces one.
///
/// # Errors
/// The request breaks a rule.
pub fn put_pool(
    estate: &Estate,
    mut balancer: Balancer,
    name: &str,
    body: &Object<'_>,
    rights: &dyn Rights,
) -> Result<Vec<Step>, Fault> {
    let name = body::name("name", name)?;
    let pool = pool::pool(estate, &balancer, name, body, rights)?;
    replace(&mut balancer.pools, pool, |pool| &mut pool.name);
    finish(estate, &body.object("properties")?, balancer)
}

/// Deletes a pool of a load balancer.
///
/// # Errors
/// A rule leads to it.
pub fn delete_pool(
    estate: &Estate,
    mut balancer: Balancer,
    name: &str,
) -> Result<Vec<Step>, Fault> {
    let is_it = |pool: &str| pool.eq_ignore_ascii_case(name);
    let rules = balancer.rules.iter().filter(|rule| is_it(&rule.pool)).map(|rule| &rule.name);
    let translated = balancer.nat_rules.iter();
    let translated = translated.filter(|rule| rule.pool.as_deref().is_some_and(is_it));
    if let Some(rule) = rules.chain(translated.map(|rule| &rule.name)).next() {
        let message = format!(
            "backend address pool {name} is used by the rule {rule}; give that another pool, or \
            delete it first"
        );
        return Err(Fault::new(400, "InUseBackendAddressPoolCannotBeDeleted", message));
    }
    balancer.pools.retain(|pool| !is_it(&pool.name));
    finish(estate, &Object::nothing(), balancer)
}

/// Creates an inbound NAT rule of a load balancer, or replaces one.
///
/// # Errors
/// The request breaks a rule.
pub fn put_nat_rule(
    estate: &Estate,
    mut balancer: Balancer,
    name: &str,
    body: &Object<'_>,
) -> Result<Vec<Step>, Fault> {
    let rule = nat::nat_rule(&balancer, body::name("name", name)?, body)?;
    replace(&mut balancer.nat_rules, rule, |rule| &mut rule.name);
    finish(estate, &body.object("properties")?, balancer)
}

/// Deletes an inbound NAT rule of a load balancer.
///
/// # Errors
/// The whole does not hold together without it.
pub fn delete_nat_rule(
    estate: &Estate,
    mut balancer: Balancer,
    name: &str,
) -> Result<Vec<Step>, Fault> {
    balancer.nat_rules.retain(|rule| !rule.name.eq_ignore_ascii_case(name));
    finish(estate, &Object::nothing(), balancer)
}

/// Puts a part in the place of the one of its name, which keeps its spelling, or behind all.
pub(super) fn replace<T>(list: &mut Vec<T>, mut new: T, name: impl Fn(&mut T) -> &mut String) {
    let wanted = name(&mut new).clone();
    let is_it = |old: &mut T| name(old).eq_ignore_ascii_case(&wanted);
    match list.iter_mut().find_map(|old| is_it(old).then_some(old)) {
        Some(old) => {
            name(&mut new).clone_from(name(old));
            *old = new;
        }
        None => list.push(new),
    }
}

/// Judges a load balancer as a whole, and gives its backends their ports.
fn finish(
    estate: &Estate,
    properties: &Object<'_>,
    mut balancer: Balancer,
) -> Result<Vec<Step>, Fault> {
    let names = |field: &str, names: Vec<&str>| unique(&properties.path(field), names.into_iter());
    names("backendAddressPools", balancer.pools.iter().map(|it| it.name.as_str()).collect())?;
    names("loadBalancingRules", balancer.rules.iter().map(|it| it.name.as_str()).collect())?;
    names("probes", balancer.probes.iter().map(|it| it.name.as_str()).collect())?;
    names("inboundNatRules", balancer.nat_rules.iter().map(|it| it.name.as_str()).collect())?;
    rule::unique_ports(&properties.path("loadBalancingRules"), &balancer)?;
    nat::apart(&properties.path("inboundNatRules"), &balancer)?;
    let old = estate.balancer(&balancer.head.key());
    nat::map_ports(&properties.path("inboundNatRules"), &mut balancer, old.map(Arc::as_ref))?;
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

fn frontends(estate: &Estate, key: &Key, properties: &Object<'_>) -> Result<Vec<Frontend>, Fault> {
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
    let place = |(name, inner, subnet): (String, Object<'_>, SubnetKey)| {
        let wanted = asked(&inner)?;
        let field = inner.path("privateIPAddress");
        let old = old.and_then(|old| old.frontend(&name)).and_then(|old| old.address);
        let place = allocator.place(&field, subnet, &wanted, old)?;
        let (subnet, address) = (place.subnet, Some(place.address));
        Ok(Frontend { name, subnet, address, is_static: place.is_static })
    };
    wanted.into_iter().map(place).collect()
}

/// The address that a request asks for.
///
/// # Errors
/// It is no address, static and missing, or not of the version that the request names.
pub(super) fn asked(properties: &Object<'_>) -> Result<Wanted, Fault> {
    let methods = [("Static", true), ("Dynamic", false)];
    let family = properties.word("privateIPAddressVersion", VERSIONS)?.unwrap_or(Family::V4);
    let method = properties.word("privateIPAllocationMethod", &methods)?;
    let address = properties.address("privateIPAddress")?;
    let field = properties.path("privateIPAddress");
    match (method, address) {
        (Some(true), None) => {
            let rule = "a static address is not named";
            Err(Fault::value(&field, rule, "name it, or write Dynamic"))
        }
        (Some(true), address) => Wanted::of(&field, family, address),
        // Clients send back the address that they were given.
        (Some(false) | None, _) => Ok(Wanted { family, address: None }),
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
