//! Rules of private endpoints: one connection to one service, and an address that never changes.

use std::net::IpAddr;
use std::sync::Arc;

use dataplane::types::{Address, Family};

use super::address::{Allocator, Wanted};
use super::balancer::subnet;
use super::body::{self, Object};
use super::estate::{Estate, Rights, View};
use super::limits::{self, Limit};
use super::model::{
    Endpoint, Head, IpConfiguration, Ipv6Place, Place, Resource, Service, SubnetKey,
};
use super::service::{is_alias, lists};
use super::{Dice, Fault, Id, Key, Kind, Step};
use crate::state::ConnectionState;

/// What a request asks for, before an address is given.
struct Asked<'e> {
    service: &'e Arc<Service>,
    target: String,
    name: String,
    is_manual: bool,
    message: Option<String>,
}

/// Creates a private endpoint, or replaces what may change of one.
///
/// # Errors
/// The request breaks a rule.
pub fn put(
    view: View<'_>,
    head: Head,
    body: &Object<'_>,
    rights: &dyn Rights,
    dice: Dice<'_>,
) -> Result<Vec<Step>, Fault> {
    let estate = view.estate;
    let key = head.key();
    let old = estate.endpoint(&key);
    let properties = body.object("properties")?;
    let families = version(&properties)?;
    if let Some(old) = old {
        refuse_disconnected(view, old)?;
    }
    let asked = connection(estate, &head, &properties, rights, old.map(Arc::as_ref))?;
    let subnet = subnet(estate, &properties)?;
    same_region(estate, &head, &subnet.network)?;
    let named = ip_configurations(&properties, families, rights)?;
    let nic_name = properties.text("customNetworkInterfaceName")?.filter(|text| !text.is_empty());
    let field = properties.path("customNetworkInterfaceName");
    let nic_name = nic_name.map(|text| body::name(&field, text)).transpose()?;
    let app_groups = app_groups(estate, &key, &properties, &subnet.network)?;
    if let Some(old) = old {
        let kept = (&old.place.subnet, &old.service) == (&subnet, &asked.service.head.key());
        let addresses_kept = keeps_addresses(old, families, &named);
        if !kept || !addresses_kept || (nic_name.is_some() && nic_name != old.nic_name) {
            let message = "the subnet, the address, the NIC and the service of a private endpoint \
                never change; delete it and create another";
            return Err(Fault::new(400, "PrivateEndpointPropertyCannotBeChanged", message));
        }
        let new = Endpoint {
            head,
            request_message: asked.message,
            connection_name: asked.name,
            target: asked.target,
            is_manual: asked.is_manual,
            app_groups,
            ..old.as_ref().clone()
        };
        return Ok(vec![Step::put(Resource::Endpoint(Arc::new(new)))]);
    }
    count(estate, &head, &subnet.network, &asked.service.head.key())?;
    let initial = initial(&head, asked.service, asked.is_manual, rights)?;
    let field = properties.path("ipConfigurations");
    let (place, ip_configuration, ipv6) = places(estate, &field, &subnet, named)?;
    let endpoint = Endpoint {
        guid: super::render::guid(dice()),
        place,
        ip_configuration,
        ipv6,
        nic_name,
        service: asked.service.head.key(),
        target: asked.target,
        connection_name: asked.name,
        is_manual: asked.is_manual,
        request_message: asked.message,
        initial,
        app_groups,
        head,
    };
    Ok(vec![Step::put(Resource::Endpoint(Arc::new(endpoint)))])
}

/// Whether a request asks for the addresses that an endpoint has.
fn keeps_addresses(old: &Endpoint, families: &[Family], named: &[Named]) -> bool {
    let has = old.addresses();
    let keeps = |named: &Named| named.address.is_none_or(|address| has.contains(address));
    has.iter().map(Address::family).eq(families.iter().copied()) && named.iter().all(keeps)
}

/// Gives an endpoint its addresses: the first, and that of IPv6 beside it.
fn places(
    estate: &Estate,
    field: &str,
    subnet: &SubnetKey,
    named: Vec<Named>,
) -> Result<(Place, Option<IpConfiguration>, Option<Ipv6Place>), Fault> {
    let mut allocator = Allocator::new(estate, &subnet.network, None);
    let mut places = named.into_iter().map(|Named { family, address, configuration }| {
        let wanted = Wanted { family, address };
        let place = allocator.place(field, subnet.clone(), &wanted, None)?;
        Ok((place, configuration))
    });
    let none = || Fault::value(field, "an endpoint has an address", "ask for one");
    let (place, ip_configuration) = places.next().ok_or_else(none)??;
    let beside = places.next().transpose()?.map(|(place, ip_configuration)| Ipv6Place {
        address: place.address,
        is_static: place.is_static,
        ip_configuration,
    });
    Ok((place, ip_configuration, beside))
}

/// Deletes a private endpoint, and its connection with it.
#[must_use]
pub fn delete(key: &Key) -> Vec<Step> {
    vec![Step::delete(Id::new(Kind::Endpoint, key))]
}

/// The families of the addresses that a request asks for, that of IPv4 first.
fn version(properties: &Object<'_>) -> Result<&'static [Family], Fault> {
    const VERSIONS: &[(&str, &[Family])] =
        &[("IPv4", &[Family::V4]), ("IPv6", &[Family::V6]), ("DualStack", &Family::ALL)];
    Ok(properties.word("ipVersionType", VERSIONS)?.unwrap_or(&[Family::V4]))
}

/// The application security groups that an endpoint of a network shall be in.
fn app_groups(
    estate: &Estate,
    key: &Key,
    properties: &Object<'_>,
    network: &Key,
) -> Result<Vec<Key>, Fault> {
    let field = properties.path("applicationSecurityGroups");
    let list = properties.objects("applicationSecurityGroups")?;
    let groups = super::security::app_groups(estate, &list)?;
    for group in &groups {
        let others = estate
            .endpoints()
            .filter(|other| other.head.key() != *key && other.app_groups.contains(group));
        let others: Vec<_> = others.collect();
        limits::ENDPOINTS_PER_APP_GROUP.check(&field, others.len() + 1)?;
        if let Some(other) = others.iter().find(|other| other.place.subnet.network != *network) {
            let rule = format!("{} is in another virtual network", other.head.name);
            let cure = "all members of a group are in the virtual network of its first one";
            let code = "ApplicationSecurityGroupMembersNotInSameVirtualNetwork";
            return Err(Fault::rule(code, &field, rule, cure));
        }
    }
    Ok(groups)
}

fn refuse_disconnected(view: View<'_>, old: &Endpoint) -> Result<(), Fault> {
    if view.state(old) != ConnectionState::Disconnected {
        return Ok(());
    }
    let message = format!(
        "the provider removed the connection of private endpoint {}; delete the endpoint, and \
        create it anew to ask again",
        old.head.name
    );
    Err(Fault::conflict("PrivateEndpointConnectionIsDisconnected", message))
}

/// The one connection, of either list.
fn connection<'e>(
    estate: &'e Estate,
    head: &Head,
    properties: &Object<'_>,
    rights: &dyn Rights,
    old: Option<&Endpoint>,
) -> Result<Asked<'e>, Fault> {
    let automatic = properties.objects("privateLinkServiceConnections")?;
    let manual = properties.objects("manualPrivateLinkServiceConnections")?;
    let all: Vec<(&Object<'_>, bool)> = automatic
        .iter()
        .map(|object| (object, false))
        .chain(manual.iter().map(|object| (object, true)))
        .collect();
    let [(object, is_manual)] = all.as_slice() else {
        let rule = format!("an endpoint has one connection, not {}", all.len());
        let cure = "name one, here or in manualPrivateLinkServiceConnections";
        let field = properties.path("privateLinkServiceConnections");
        return Err(Fault::rule("PrivateEndpointNeedsOneConnection", &field, rule, cure));
    };
    let inner = object.object("properties")?;
    let field = inner.path("privateLinkServiceId");
    let Some(target) = inner.text("privateLinkServiceId")?.filter(|text| !text.is_empty()) else {
        let cure = "write the id of a private link service, or its alias in a manual connection";
        return Err(Fault::value(&field, "the service is missing", cure));
    };
    let groups = inner.texts("groupIds")?;
    if let Some(group) = groups.into_iter().find(|group| !group.is_empty()) {
        let rule = format!("a private link service has no group {group:?}");
        let cure = "leave groupIds empty";
        let field = inner.path("groupIds");
        return Err(Fault::rule("PrivateLinkServiceDoesNotSupportGroupIds", &field, rule, cure));
    }
    let message = inner.text("requestMessage")?.filter(|text| !text.is_empty());
    let length = message.map_or(0, |text| text.chars().count());
    limits::REQUEST_MESSAGE.check(&inner.path("requestMessage"), length)?;
    let service = target_service(estate, &field, target, *is_manual)?;
    // What one is connected to already one may go on naming.
    let known = old.is_some_and(|old| old.service == service.head.key());
    if !known && !is_visible(service, &head.subscription, rights) {
        return Err(Fault::reference(&field, target));
    }
    let name = if object.has("name") { object.name()? } else { head.name.clone() };
    let (target, message) = (target.to_owned(), message.map(str::to_owned));
    Ok(Asked { service, target, name, is_manual: *is_manual, message })
}

fn target_service<'e>(
    estate: &'e Estate,
    field: &str,
    target: &str,
    is_manual: bool,
) -> Result<&'e Arc<Service>, Fault> {
    let found = if is_alias(target) {
        if !is_manual {
            let rule = "an alias is for manual connections";
            let cure = "write the resource id, or move it to manualPrivateLinkServiceConnections";
            return Err(Fault::value(field, rule, cure));
        }
        estate.services().find(|service| service.alias.eq_ignore_ascii_case(target))
    } else {
        estate.service(&body::reference(field, target, Kind::Service)?.id.key)
    };
    found.ok_or_else(|| Fault::reference(field, target))
}

/// Whether a subscription, or the caller by its own rights, may know of a service.
#[must_use]
pub fn is_visible(service: &Service, subscription: &str, rights: &dyn Rights) -> bool {
    lists(&service.visibility, subscription)
        || rights.may_read(&Id::new(Kind::Service, &service.head.key()))
}

/// The state in which a connection begins.
fn initial(
    head: &Head,
    service: &Service,
    is_manual: bool,
    rights: &dyn Rights,
) -> Result<ConnectionState, Fault> {
    if rights.tenant(&head.subscription) != rights.tenant(&service.head.subscription) {
        if is_manual {
            return Ok(ConnectionState::Pending);
        }
        let message = "privateLinkServiceConnections: the service is of another tenant, which \
            approves by hand; ask in manualPrivateLinkServiceConnections";
        return Err(Fault::new(403, "LinkedAuthorizationFailed", message));
    }
    let listed = lists(&service.auto_approval, &head.subscription);
    let entitled = !is_manual && rights.may_write(&Id::new(Kind::Service, &service.head.key()));
    let approved = listed || entitled;
    Ok(if approved { ConnectionState::Approved } else { ConnectionState::Pending })
}

fn same_region(estate: &Estate, head: &Head, network: &Key) -> Result<(), Fault> {
    let Some(network) = estate.network(network) else { return Ok(()) };
    let plain = |text: &str| text.replace(' ', "").to_ascii_lowercase();
    // Those of the file have no region of their own.
    let is_api = network.head.origin == super::model::Origin::Api;
    if is_api && plain(&network.head.location) != plain(&head.location) {
        let rule = format!("the virtual network is in {:?}", network.head.location);
        let cure = "an endpoint is in the region of its virtual network";
        return Err(Fault::rule("InvalidResourceLocation", "location", rule, cure));
    }
    if network.head.key().subscription != head.key().subscription {
        let rule = "the virtual network is of another subscription";
        let cure = "an endpoint is in the subscription of its virtual network";
        let code = "LinkedAuthorizationFailed";
        return Err(Fault::rule(code, "properties.subnet", rule, cure));
    }
    Ok(())
}

fn count(estate: &Estate, head: &Head, network: &Key, service: &Key) -> Result<(), Fault> {
    let in_network = estate.endpoints_of_network(network).count();
    let in_subscription = estate.endpoints_of_subscription(&head.subscription);
    let of_service = estate.endpoints_of_service(service).count();
    let at_scale = estate.network(network).is_some_and(|network| network.at_scale);
    let of_network: &Limit = match at_scale {
        true => &limits::ENDPOINTS_PER_NETWORK_AT_SCALE,
        false => &limits::ENDPOINTS_PER_NETWORK,
    };
    of_network.check("properties.subnet", in_network + 1)?;
    limits::ENDPOINTS_PER_SUBSCRIPTION.check("name", in_subscription + 1)?;
    limits::ENDPOINTS_PER_SERVICE.check("privateLinkServiceId", of_service + 1)
}

/// An address of an endpoint, as the request has it.
struct Named {
    family: Family,
    address: Option<IpAddr>,
    configuration: Option<IpConfiguration>,
}

/// What a request says of an address of each family.
fn ip_configurations(
    properties: &Object<'_>,
    families: &[Family],
    rights: &dyn Rights,
) -> Result<Vec<Named>, Fault> {
    let field = properties.path("ipConfigurations");
    let list = properties.objects("ipConfigurations")?;
    if rights.is_strict() && !list.is_empty() {
        let what = "static addresses of endpoints of private link services, as Azure does not";
        return Err(Fault::unsupported(&field, what));
    }
    if list.len() > families.len() {
        let rule = format!("there are {} IP configurations", list.len());
        let cure = "an endpoint of such a service has one address of each family of ipVersionType";
        return Err(Fault::value(&field, rule, cure));
    }
    let named = |&family| Named { family, address: None, configuration: None };
    let mut all: Vec<Named> = families.iter().map(named).collect();
    for object in &list {
        let inner = object.object("properties")?;
        let address = inner.address("privateIPAddress")?;
        let text = |name: &str| Ok(inner.text(name)?.unwrap_or_default().to_owned());
        let configuration = (object.name()?, text("groupId")?, text("memberName")?);
        // One without an address is about the first family that no other one is about.
        let is_it = |one: &&mut Named| {
            let of_family = address.is_none_or(|address| Family::of(address) == one.family);
            one.configuration.is_none() && of_family
        };
        let Some(one) = all.iter_mut().find(is_it) else {
            let names: Vec<&str> = families.iter().map(|family| family.name()).collect();
            let address = address.map_or_else(String::new, |address| address.to_string());
            let rule = format!("{address} is no {} address of its own", names.join(" or "));
            let cure = "write another ipVersionType, or another address";
            let field = inner.path("privateIPAddress");
            return Err(Fault::rule("InvalidIPAddressVersion", &field, rule, cure));
        };
        (one.address, one.configuration) = (address, Some(configuration));
    }
    Ok(all)
}
