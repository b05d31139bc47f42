//! Resources as JSON, in the shape of Azure's API.
//!
//! Both lists of connections of an endpoint are always there: clients walk both.

use std::net::IpAddr;

use dataplane::types::Family;
use ring::digest;
use serde_json::{Value, json};

use super::estate::{Estate, View};
use super::model::{
    Endpoint, Group, Head, Ipv6Place, NatIp, Network, Place, Resource, Service, Subnet, SubnetKey,
};
use super::{Id, Key, Kind};

mod balancer;
mod peering;
mod security;

pub use balancer::port_mappings;

/// A guid's text.
#[must_use]
pub fn guid(number: u128) -> String {
    let text = format!("{number:032x}");
    let (a, b, c, d) = (&text[..8], &text[8..12], &text[12..16], &text[16..20]);
    format!("{a}-{b}-{c}-{d}-{}", &text[20..])
}

/// The guid that a name always has.
#[must_use]
pub fn guid_of(name: &str) -> String {
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    let (first, _) = digest.as_ref().split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    guid(u128::from_be_bytes(*first))
}

/// A resource of any kind.
#[must_use]
pub fn resource(view: View<'_>, resource: &Resource) -> Value {
    match resource {
        Resource::Group(group) => self::group(group),
        Resource::Network(network) => self::network(view.estate, network),
        Resource::Balancer(balancer) => balancer::balancer(view.estate, balancer),
        Resource::Service(service) => self::service(view, service),
        Resource::Endpoint(endpoint) => self::endpoint(view, endpoint),
        Resource::SecurityGroup(group) => security::group(view.estate, group),
        Resource::AppGroup(group) => whole(&group.head, Kind::AppGroup, json!({})),
    }
}

/// `{"id": ...}` of a resource, as it was first written.
fn reference(estate: &Estate, kind: Kind, key: &Key) -> Value {
    let shown = estate.get(&Id::new(kind, key)).map(|resource| resource.head().id(kind));
    json!({ "id": shown })
}

fn whole(head: &Head, kind: Kind, properties: Value) -> Value {
    json!({
        "id": head.id(kind),
        "name": head.name,
        "type": format!("Microsoft.Network/{}", kind.type_name()),
        "location": head.location,
        "tags": head.tags,
        "etag": etag(head),
        "properties": with_state(properties),
    })
}

/// What a client may send back to say which version it means.
#[must_use]
pub fn etag(head: &Head) -> String {
    format!("W/\"{}\"", guid(u128::from(head.revision)))
}

fn with_state(mut properties: Value) -> Value {
    properties["provisioningState"] = "Succeeded".into();
    properties
}

/// A part of a resource, which has an id below that one's.
fn part(parent: &str, type_name: &str, name: &str, properties: Value) -> Value {
    let type_of = |path: &str| path.split("/providers/").nth(1).map(str::to_owned);
    let mut words = type_of(parent).unwrap_or_default();
    // A parent's id has its type and its name behind its provider.
    words.truncate(words.rfind('/').unwrap_or(0));
    json!({
        "id": format!("{parent}/{type_name}/{name}"),
        "name": name,
        "type": format!("{words}/{type_name}"),
        "properties": with_state(properties),
    })
}

/// A resource group.
#[must_use]
pub fn group(group: &Group) -> Value {
    let Head { subscription, group: name, location, tags, .. } = &group.head;
    json!({
        "id": format!("/subscriptions/{subscription}/resourceGroups/{name}"),
        "name": name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": location,
        "tags": tags,
        "properties": { "provisioningState": "Succeeded" },
    })
}

/// A virtual network.
#[must_use]
pub fn network(estate: &Estate, network: &Network) -> Value {
    let prefixes: Vec<String> = network.address_space.iter().map(ToString::to_string).collect();
    let subnets: Vec<Value> =
        network.subnets.iter().map(|subnet| self::subnet(estate, network, subnet)).collect();
    let peerings = network.peerings.iter().map(|one| peering::peering(estate, network, one));
    let peerings: Vec<Value> = peerings.collect();
    let scale = if network.at_scale { "Basic" } else { "Disabled" };
    whole(
        &network.head,
        Kind::Network,
        json!({
            "addressSpace": { "addressPrefixes": prefixes },
            "subnets": subnets,
            "privateEndpointVNetPolicies": scale,
            "virtualNetworkPeerings": peerings,
            "enableDdosProtection": false,
        }),
    )
}

/// A subnet.
#[must_use]
pub fn subnet(estate: &Estate, network: &Network, subnet: &Subnet) -> Value {
    let services = if subnet.service_policies { "Enabled" } else { "Disabled" };
    let prefixes: Vec<String> = subnet.prefixes.iter().map(ToString::to_string).collect();
    let mut properties = json!({
        "privateEndpointNetworkPolicies": subnet.endpoint_policies,
        "privateLinkServiceNetworkPolicies": services,
    });
    match prefixes.as_slice() {
        [prefix] => properties["addressPrefix"] = json!(prefix),
        prefixes => properties["addressPrefixes"] = json!(prefixes),
    }
    if let Some(group) = &subnet.security_group {
        properties["networkSecurityGroup"] = reference(estate, Kind::SecurityGroup, group);
    }
    let mut value = part(&network.head.id(Kind::Network), "subnets", &subnet.name, properties);
    value["etag"] = etag(&network.head).into();
    value
}

fn subnet_id(estate: &Estate, key: &SubnetKey) -> Value {
    let shown = estate.subnet(key).map(|(network, subnet)| {
        format!("{}/subnets/{}", network.head.id(Kind::Network), subnet.name)
    });
    json!({ "id": shown })
}

fn method(is_static: bool) -> &'static str {
    if is_static { "Static" } else { "Dynamic" }
}

/// `IPv4` or `IPv6`; a frontend of the file that has no address is taken for one of IPv4.
fn version(address: Option<IpAddr>) -> &'static str {
    address.map_or(Family::V4, Family::of).name()
}

/// A private link service.
#[must_use]
pub fn service(view: View<'_>, service: &Service) -> Value {
    let estate = view.estate;
    let id = service.head.id(Kind::Service);
    let (balancer, frontend) = &service.frontend;
    let frontend = estate.balancer(balancer).map(|balancer| {
        let id = balancer.head.id(Kind::Balancer);
        json!({ "id": format!("{id}/frontendIPConfigurations/{frontend}") })
    });
    let nat_ips = service.nat_ips.iter().map(|nat_ip| {
        let properties = self::nat_ip(estate, nat_ip);
        let mut value = part(&id, "ipConfigurations", &nat_ip.name, properties);
        value["etag"] = etag(&service.head).into();
        value
    });
    let connections = view.connected(&service.head.key());
    let connections = connections.map(|endpoint| connection(view, service, endpoint));
    whole(
        &service.head,
        Kind::Service,
        json!({
            "alias": service.alias,
            "loadBalancerFrontendIpConfigurations": frontend.into_iter().collect::<Vec<_>>(),
            "ipConfigurations": nat_ips.collect::<Vec<_>>(),
            "visibility": { "subscriptions": service.visibility },
            "autoApproval": { "subscriptions": service.auto_approval },
            "fqdns": service.fqdns,
            "enableProxyProtocol": service.proxy_protocol,
            "networkInterfaces": [{ "id": nic_id(&service.head, &nic_of_service(service)) }],
            "privateEndpointConnections": connections.collect::<Vec<_>>(),
        }),
    )
}

fn nat_ip(estate: &Estate, nat_ip: &NatIp) -> Value {
    json!({
        "privateIPAddress": nat_ip.place.address,
        "privateIPAllocationMethod": method(nat_ip.place.is_static),
        "privateIPAddressVersion": version(Some(nat_ip.place.address)),
        "primary": nat_ip.primary,
        "subnet": subnet_id(estate, &nat_ip.place.subnet),
    })
}

/// A connection as the provider sees it.
#[must_use]
pub fn connection(view: View<'_>, service: &Service, endpoint: &Endpoint) -> Value {
    let link = view.connection(endpoint).map(|connection| connection.link.0.to_string());
    let properties = json!({
        "privateEndpoint": { "id": endpoint.head.id(Kind::Endpoint) },
        "privateLinkServiceConnectionState": state(view, endpoint),
        "privateEndpointLocation": endpoint.head.location,
        "linkIdentifier": link,
    });
    let parent = service.head.id(Kind::Service);
    let name = endpoint.connection();
    let mut value = part(&parent, "privateEndpointConnections", &name, properties);
    value["etag"] = etag(&endpoint.head).into();
    value
}

fn state(view: View<'_>, endpoint: &Endpoint) -> Value {
    let known = view.connection(endpoint);
    let description = known.map_or("Removed by the provider", |known| known.description.as_str());
    let actions = known.map_or("None", |known| known.actions_required.as_str());
    json!({
        "status": view.state(endpoint).name(),
        "description": description,
        "actionsRequired": actions,
    })
}

/// A private endpoint.
#[must_use]
pub fn endpoint(view: View<'_>, endpoint: &Endpoint) -> Value {
    let estate = view.estate;
    let target = match estate.service(&endpoint.service) {
        Some(service) if !super::service::is_alias(&endpoint.target) => {
            service.head.id(Kind::Service)
        }
        _ => endpoint.target.clone(),
    };
    let id = endpoint.head.id(Kind::Endpoint);
    let list_name = match endpoint.is_manual {
        true => "manualPrivateLinkServiceConnections",
        false => "privateLinkServiceConnections",
    };
    let properties = json!({
        "privateLinkServiceId": target,
        "groupIds": [],
        "requestMessage": endpoint.request_message,
        "privateLinkServiceConnectionState": state(view, endpoint),
    });
    let connection = part(&id, list_name, &endpoint.connection_name, properties);
    let named = endpoint.ip_configuration.iter().map(|named| (named, endpoint.place.address));
    let beside = endpoint.ipv6.iter();
    let beside = beside.filter_map(|one| Some((one.ip_configuration.as_ref()?, one.address)));
    let configurations = named.chain(beside).map(|((name, group, member), address)| {
        json!({ "name": name, "properties": {
            "groupId": group, "memberName": member, "privateIPAddress": address,
        }})
    });
    let groups = endpoint.app_groups.iter();
    let groups = groups.map(|group| reference(estate, Kind::AppGroup, group));
    let mut value = whole(
        &endpoint.head,
        Kind::Endpoint,
        json!({
            "subnet": subnet_id(estate, &endpoint.place.subnet),
            "ipVersionType": endpoint.ip_version(),
            "customNetworkInterfaceName": endpoint.nic_name.clone().unwrap_or_default(),
            "networkInterfaces": [{ "id": nic_id(&endpoint.head, &endpoint.nic()) }],
            "privateLinkServiceConnections": [],
            "manualPrivateLinkServiceConnections": [],
            "ipConfigurations": configurations.collect::<Vec<_>>(),
            "applicationSecurityGroups": groups.collect::<Vec<_>>(),
            "customDnsConfigs": dns(estate, endpoint),
        }),
    );
    value["properties"][list_name] = json!([connection]);
    value
}

/// The service's names, at the endpoint's addresses; only once the provider has let it in.
fn dns(estate: &Estate, endpoint: &Endpoint) -> Vec<Value> {
    let service = estate.service(&endpoint.service);
    let names = service.into_iter().flat_map(|service| &service.fqdns);
    let addresses: Vec<IpAddr> = endpoint.addresses().ips().collect();
    let entry = |name| json!({ "fqdn": name, "ipAddresses": addresses });
    names.map(entry).collect()
}

fn nic_of_service(service: &Service) -> String {
    format!("{}.nic.{}", service.head.name, service.guid)
}

fn nic_id(head: &Head, name: &str) -> String {
    let start = Head { name: String::new(), ..head.clone() }.id(Kind::Group);
    format!("{start}/providers/Microsoft.Network/networkInterfaces/{name}")
}

/// All network interfaces of a resource group, or of a subscription: read-only, one for each
/// endpoint and service.
#[must_use]
pub fn nics(view: View<'_>, within: impl Fn(&Key) -> bool) -> Vec<Value> {
    let endpoints = view.estate.endpoints().filter(|endpoint| within(&endpoint.head.key()));
    let endpoints = endpoints.map(|endpoint| {
        let mut addresses = vec![(endpoint.head.name.clone(), endpoint.place.clone(), true)];
        addresses.extend(endpoint.ipv6.iter().map(|beside| {
            let Ipv6Place { address, is_static, .. } = *beside;
            let place = Place { address, is_static, ..endpoint.place.clone() };
            (format!("{}.ipv6", endpoint.head.name), place, false)
        }));
        let owner = ("privateEndpoint", endpoint.head.id(Kind::Endpoint));
        nic(view.estate, &endpoint.head, &endpoint.nic(), &addresses, owner)
    });
    let services = view.estate.services().filter(|service| within(&service.head.key()));
    let services = services.map(|service| {
        let addresses = service.nat_ips.iter();
        let addresses: Vec<_> =
            addresses.map(|nat| (nat.name.clone(), nat.place.clone(), nat.primary)).collect();
        let owner = ("privateLinkService", service.head.id(Kind::Service));
        nic(view.estate, &service.head, &nic_of_service(service), &addresses, owner)
    });
    endpoints.chain(services).collect()
}

fn nic(
    estate: &Estate,
    head: &Head,
    name: &str,
    addresses: &[(String, Place, bool)],
    (owner_kind, owner): (&str, String),
) -> Value {
    let id = nic_id(head, name);
    let configurations = addresses.iter().map(|(name, place, primary)| {
        let properties = json!({
            "privateIPAddress": place.address,
            "privateIPAllocationMethod": method(place.is_static),
            "privateIPAddressVersion": version(Some(place.address)),
            "primary": primary,
            "subnet": subnet_id(estate, &place.subnet),
        });
        part(&id, "ipConfigurations", name, properties)
    });
    let mut properties = json!({
        "ipConfigurations": configurations.collect::<Vec<_>>(),
        "enableAcceleratedNetworking": false,
        "enableIPForwarding": false,
        "nicType": "Standard",
    });
    properties[owner_kind] = json!({ "id": owner });
    json!({
        "id": id,
        "name": name,
        "type": "Microsoft.Network/networkInterfaces",
        "location": head.location,
        "etag": etag(head),
        "properties": with_state(properties),
    })
}
