//! Rules of private link services: the frontend, NAT IPs, who sees it, whom it approves.

use std::sync::Arc;

use dataplane::types::Family;

use super::address::Allocator;
use super::balancer::{asked, subnet, unique};
use super::body::Object;
use super::estate::{Estate, Rights, View};
use super::limits;
use super::model::{Head, NatIp, Place, Resource, Service, SubnetKey};
use super::{Dice, Fault, Id, Key, Kind, Step};

/// Ends every alias.
const ALIAS_SUFFIX: &str = "azure.privatelinkservice";

/// Creates a private link service, or replaces one.
///
/// # Errors
/// The request breaks a rule.
pub fn put(
    estate: &Estate,
    head: Head,
    body: &Object<'_>,
    rights: &dyn Rights,
    dice: Dice<'_>,
) -> Result<Vec<Step>, Fault> {
    let key = head.key();
    let old = estate.service(&key);
    let properties = body.object("properties")?;
    if properties.has("destinationIPAddress") {
        let field = properties.path("destinationIPAddress");
        return Err(Fault::unsupported(&field, "services without a load balancer"));
    }
    let modes = [("Default", true), ("Restricted", false)];
    if properties.word("accessMode", &modes)? == Some(false) {
        return Err(Fault::unsupported(&properties.path("accessMode"), "restricted access"));
    }
    let proxy_protocol = properties.truth("enableProxyProtocol")?.unwrap_or(false);
    let frontend = frontend(estate, &key, &properties)?;
    let (visibility, auto_approval) = audience(&properties)?;
    let fqdns = properties.texts("fqdns")?.into_iter().map(str::to_owned).collect();
    if old.is_none() {
        let here = |service: &&Arc<Service>| service.head.key().subscription == key.subscription;
        let count = estate.services().filter(here).count();
        limits::SERVICES_PER_SUBSCRIPTION.check("name", count + 1)?;
    }
    let (guid, alias) = match old {
        Some(old) => (old.guid.clone(), old.alias.clone()),
        None => {
            let guid = super::render::guid(dice());
            let alias = alias(&head.name, &guid, &head.location);
            (guid, alias)
        }
    };
    let network = frontend_network(estate, &frontend);
    let nat_ips =
        nat_ips(estate, &head, &properties, (old.map(Arc::as_ref), network.as_ref()), rights)?;
    let service = Service {
        head,
        guid,
        alias,
        frontend,
        nat_ips,
        visibility,
        auto_approval,
        fqdns,
        proxy_protocol,
    };
    Ok(vec![Step::put(Resource::Service(Arc::new(service)))])
}

/// Deletes a private link service.
///
/// # Errors
/// It has connections.
pub fn delete(view: View<'_>, key: &Key) -> Result<Vec<Step>, Fault> {
    if let Some(endpoint) = view.connected(key).next() {
        let message = format!(
            "private link service {} has the connection {}; delete that first",
            key.name,
            endpoint.connection()
        );
        let code = "PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted";
        return Err(Fault::new(400, code, message));
    }
    // Endpoints whose connection the provider has removed keep their word for whoever asks.
    Ok(vec![Step::delete(Id::new(Kind::Service, key))])
}

/// `prefix.{guid}.region.azure.privatelinkservice`
#[must_use]
pub fn alias(name: &str, guid: &str, location: &str) -> String {
    let region: String = location.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{name}.{guid}.{}.{ALIAS_SUFFIX}", region.to_ascii_lowercase())
}

/// Whether a text has the form of an alias.
#[must_use]
pub fn is_alias(text: &str) -> bool {
    text.to_ascii_lowercase().ends_with(&format!(".{ALIAS_SUFFIX}"))
}

/// Whether a subscription is in a list.
#[must_use]
pub fn lists(list: &[String], subscription: &str) -> bool {
    list.iter().any(|entry| entry == "*" || entry.eq_ignore_ascii_case(subscription))
}

/// The virtual network of a frontend.
#[must_use]
pub fn frontend_network(estate: &Estate, (balancer, frontend): &(Key, String)) -> Option<Key> {
    let balancer = estate.balancer(balancer)?;
    Some(balancer.frontend(frontend)?.subnet.network.clone())
}

fn frontend(estate: &Estate, key: &Key, properties: &Object<'_>) -> Result<(Key, String), Fault> {
    let field = properties.path("loadBalancerFrontendIpConfigurations");
    let list = properties.objects("loadBalancerFrontendIpConfigurations")?;
    let [first] = list.as_slice() else {
        let rule = format!("a service leads to one frontend, not {}", list.len());
        let cure = "name one: [{\"id\": \".../loadBalancers/lb/frontendIPConfigurations/fe\"}]";
        return Err(Fault::rule("InvalidNumberOfFrontendIpConfigurations", &field, rule, cure));
    };
    let reference = first.reference_here(Kind::Balancer)?;
    let Some(name) = reference.part_of("frontendIPConfigurations") else {
        let cure = "end it with /frontendIPConfigurations/{name}";
        return Err(Fault::rule("LinkedInvalidPropertyId", &field, "this is no frontend", cure));
    };
    let balancer = reference.id.key.clone();
    let found = estate.balancer(&balancer).and_then(|balancer| balancer.frontend(name));
    let Some(found) = found else {
        let what = format!("{}/frontendIPConfigurations/{name}", reference.id);
        return Err(Fault::reference(&field, &what));
    };
    let others = estate.services().filter(|service| service.head.key() != *key);
    let others: Vec<_> = others.filter(|service| service.frontend.0 == balancer).collect();
    limits::SERVICES_PER_BALANCER.check(&field, others.len() + 1)?;
    let is_same = |service: &&Arc<Service>| service.frontend.1.eq_ignore_ascii_case(name);
    // All services of a load balancer of the file share its one frontend.
    let of_file = estate.file.get(&reference.id).is_some();
    if let Some(other) = others.into_iter().find(is_same).filter(|_| !of_file) {
        let rule = format!("frontend {name} has the service {} already", other.head.name);
        let cure = "a frontend has one service: use another frontend";
        return Err(Fault::rule("FrontendIPConfigurationInUse", &field, rule, cure));
    }
    Ok((balancer, found.name.clone()))
}

/// Visibility and auto-approval, which is a part of it.
fn audience(properties: &Object<'_>) -> Result<(Vec<String>, Vec<String>), Fault> {
    let list = |name: &str| {
        let inner = properties.object(name)?;
        let field = inner.path("subscriptions");
        let texts = inner.texts("subscriptions")?;
        limits::SUBSCRIPTIONS_PER_LIST.check(&field, texts.len())?;
        Ok((field, texts.into_iter().map(str::to_owned).collect::<Vec<_>>()))
    };
    let (_, visibility) = list("visibility")?;
    let (field, auto_approval) = list("autoApproval")?;
    let is_seen = |entry: &&String| !lists(&visibility, entry);
    if let Some(hidden) = auto_approval.iter().find(is_seen) {
        let rule = format!("{hidden:?} is not in visibility.subscriptions");
        let cure = "who does not see the service cannot be approved: add it there too";
        let code = "PrivateLinkServiceAutoApprovalNotInVisibility";
        return Err(Fault::rule(code, &field, rule, cure));
    }
    Ok((visibility, auto_approval))
}

fn nat_ips(
    estate: &Estate,
    head: &Head,
    properties: &Object<'_>,
    (old, network): (Option<&Service>, Option<&Key>),
    rights: &dyn Rights,
) -> Result<Vec<NatIp>, Fault> {
    let field = properties.path("ipConfigurations");
    let list = properties.objects("ipConfigurations")?;
    limits::NAT_IPS_PER_SERVICE.check(&field, list.len())?;
    let Some(network) = network.filter(|_| !list.is_empty()) else {
        let cure = "name one: [{\"name\": \"nat1\", \"properties\": {\"subnet\": {\"id\": ...}}}]";
        return Err(Fault::value(&field, "a service has 1 to 8 NAT IPs", cure));
    };
    let me = Id::new(Kind::Service, &head.key());
    let mut allocator = Allocator::new(estate, network, Some(&me));
    let mut wanted = Vec::new();
    for body in &list {
        let (name, inner) = (body.name()?, body.object("properties")?);
        let subnet = nat_subnet(estate, &inner, network)?;
        wanted.push((name, inner, subnet));
    }
    unique(&field, wanted.iter().map(|(name, _, _)| name.as_str()))?;
    let place = |(at, (name, inner, subnet)): (usize, (String, Object<'_>, SubnetKey))| {
        let field = inner.path("privateIPAddress");
        let kept = old.and_then(|old| old_place(old, &name)).map(|place| place.address);
        let wanted = asked(&inner)?;
        if wanted.family == Family::V6 && rights.is_strict() {
            let field = inner.path("privateIPAddressVersion");
            return Err(Fault::unsupported(&field, "NAT IPs of IPv6 in strict mode"));
        }
        let place = allocator.place(&field, subnet, &wanted, kept)?;
        let primary = inner.truth("primary")?.unwrap_or(at == 0);
        Ok(NatIp { name, place, primary })
    };
    wanted.into_iter().enumerate().map(place).collect()
}

fn old_place<'o>(old: &'o Service, name: &str) -> Option<&'o Place> {
    let found = old.nat_ips.iter().find(|nat_ip| nat_ip.name.eq_ignore_ascii_case(name));
    found.map(|nat_ip| &nat_ip.place)
}

fn nat_subnet(estate: &Estate, properties: &Object<'_>, network: &Key) -> Result<SubnetKey, Fault> {
    let key = subnet(estate, properties)?;
    let field = properties.path("subnet");
    if key.network != *network {
        let rule = "NAT IPs are in the virtual network of the load balancer";
        return Err(Fault::value(&field, rule, "choose a subnet of that network"));
    }
    let policies = estate.subnet(&key).is_some_and(|(_, subnet)| subnet.service_policies);
    if policies {
        let code = "PrivateLinkServiceCannotBeCreatedInSubnetThatHasNetworkPoliciesEnabled";
        let rule = "privateLinkServiceNetworkPolicies of the subnet is Enabled";
        return Err(Fault::rule(code, &field, rule, "set it to Disabled first"));
    }
    Ok(key)
}
