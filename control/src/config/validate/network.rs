//! Virtual networks, their routes, and the devices in front of them.

use std::collections::{HashMap, HashSet};

use dataplane::limits::DEVICES_MAX;
use dataplane::snapshot::DeviceKind;
use dataplane::types::Prefix;

use super::super::name::InterfaceName;
use super::super::raw::{RawConfig, RawDevice, RawRoute, RawVirtualNetwork, Text};
use super::super::reader::Place;
use super::super::valid::{Binding, Device, Route, VirtualNetwork};
use super::{Context, Names, address, peering, security, value};

/// Virtual networks at most, as the data path numbers them.
const NETWORKS_MAX: usize = u16::MAX as usize;

pub(super) fn virtual_networks(
    context: &mut Context,
    names: &Names<'_>,
    raw: &[RawVirtualNetwork],
) -> Vec<Option<VirtualNetwork>> {
    if let Some(first_over) = raw.get(NETWORKS_MAX) {
        let cure = format!("a file has at most {NETWORKS_MAX}");
        context.error(&first_over.place, "too many virtual networks", cure);
    }
    raw.iter().map(|raw| virtual_network(context, names, raw)).collect()
}

fn virtual_network(
    context: &mut Context,
    names: &Names<'_>,
    raw: &RawVirtualNetwork,
) -> Option<VirtualNetwork> {
    let name = context.name(raw.name.as_ref());
    let address_space = address_space(context, raw.address_space.as_deref(), &raw.place);
    let remote = raw.remote_address_space.as_deref().unwrap_or_default();
    let remote = remote_address_space(context, remote, address_space.as_deref());
    let peers = peering::resolve(context, names, raw);
    let (name, address_space, remote_address_space) = (name?, address_space?, remote?);
    let subnets = security::subnets(context, &names.security_groups, &raw.subnets, &address_space);
    let (routes, subnets, peers) = (Vec::new(), subnets?, peers?);
    let mut network =
        VirtualNetwork { name, address_space, remote_address_space, peers, routes, subnets };
    let routes: Vec<_> = raw.routes.iter().map(|raw| route(context, raw, &network)).collect();
    network.routes = routes.into_iter().collect::<Option<_>>()?;
    let unique = unique_routes(context, &raw.routes, &network.routes);
    unique.then_some(network)
}

fn address_space(
    context: &mut Context,
    raw: Option<&[Text]>,
    place: &Place,
) -> Option<Vec<Prefix>> {
    let raw = raw?;
    if raw.is_empty() {
        let place = Place { path: format!("{}.address_space", place.path), line: place.line };
        context.error(&place, "the address space is empty", "name a prefix: [\"10.0.0.0/16\"]");
        return None;
    }
    let cure = "keep the larger of the two (other virtual networks may overlap)";
    separate_prefixes(context, raw, &[], cure)
}

fn remote_address_space(
    context: &mut Context,
    raw: &[Text],
    own: Option<&[Prefix]>,
) -> Option<Vec<Prefix>> {
    let cure = "leave it out if it is the network's own, else keep the larger of the two";
    separate_prefixes(context, raw, own.unwrap_or_default(), cure)
}

/// Prefixes, none of which overlaps another or one of `others`.
fn separate_prefixes(
    context: &mut Context,
    raw: &[Text],
    others: &[Prefix],
    cure: &str,
) -> Option<Vec<Prefix>> {
    let mut prefixes: Vec<Prefix> = Vec::new();
    let mut faultless = true;
    for text in raw {
        let Some(prefix) = address::prefix(context, text) else {
            faultless = false;
            continue;
        };
        if let Some(other) = others.iter().chain(&prefixes).find(|other| other.overlaps(prefix)) {
            let problem = format!("{prefix} overlaps {other} of the same virtual network");
            context.error(&text.place, problem, cure);
            faultless = false;
        }
        prefixes.push(prefix);
    }
    faultless.then_some(prefixes)
}

fn route(context: &mut Context, raw: &RawRoute, network: &VirtualNetwork) -> Option<Route> {
    let prefix = raw.address_prefix.as_ref().and_then(|text| address::prefix(context, text));
    let next_hop = raw.next_hop_ip_address.as_ref();
    let next_hop = next_hop.and_then(|text| address::host_of(context, text, network));
    let prefix = prefix?;
    let inside = |space: &Prefix| space.length() <= prefix.length() && space.overlaps(prefix);
    if !network.address_space.iter().any(inside) {
        let problem = format!("{prefix} is not within the address space of \"{}\"", network.name);
        let cure = "routes lead to backends of the same virtual network: \
            add the prefix to address_space, or leave the route out";
        if let Some(text) = &raw.address_prefix {
            context.error(&text.place, problem, cure);
        }
        return None;
    }
    Some(Route { address_prefix: prefix, next_hop_ip_address: next_hop? })
}

fn unique_routes(context: &mut Context, raw: &[RawRoute], routes: &[Route]) -> bool {
    let mut seen = HashSet::new();
    let mut unique = true;
    for (raw, route) in raw.iter().zip(routes) {
        if !seen.insert(route.address_prefix) {
            let problem = format!("there are two routes to {}", route.address_prefix);
            if let Some(text) = &raw.address_prefix {
                context.error(&text.place, problem, "keep one of them");
            }
            unique = false;
        }
    }
    unique
}

pub(super) fn devices(
    context: &mut Context,
    names: &Names<'_>,
    raw: &[RawDevice],
) -> (Vec<Option<Device>>, Vec<Binding>) {
    if let Some(first_over) = raw.get(DEVICES_MAX) {
        let cure = format!("a file has at most {DEVICES_MAX}");
        context.error(&first_over.place, "too many devices", cure);
    }
    let mut seen = HashMap::new();
    for device in raw {
        let Some(name) = &device.name else { continue };
        let namespace = device.network_namespace.as_ref().map(|text| text.value.as_str());
        if let Some(line) = seen.insert((namespace, name.value.as_str()), name.place.line) {
            let problem = format!("interface {:?} is already attached on line {line}", name.value);
            let cure = "attach an interface of a namespace once, to one virtual network";
            context.error(&name.place, problem, cure);
        }
    }
    let (bound, plain): (Vec<_>, Vec<_>) = raw.iter().partition(|raw| is_bound(raw));
    let devices = plain.into_iter().map(|raw| device(context, names, raw)).collect();
    (devices, bound.into_iter().filter_map(|raw| binding(context, raw)).collect())
}

/// Whether a device is of a virtual network that the API makes: names of the file have no slash.
fn is_bound(raw: &RawDevice) -> bool {
    raw.virtual_network.as_ref().is_some_and(|text| text.value.contains('/'))
}

fn binding(context: &mut Context, raw: &RawDevice) -> Option<Binding> {
    let (name, kind, network_namespace) = interface(context, raw);
    let text = raw.virtual_network.as_ref()?;
    let is_id = text.value.starts_with('/');
    let words = text.value.split('/').collect::<Vec<_>>();
    if (is_id && !is_network_id(&words)) || (!is_id && (words.len() != 2 || words.contains(&""))) {
        let problem = format!("{:?} names no virtual network", text.value);
        let cure = "write \"group/name\" for one that the API makes, or its whole resource id";
        context.error(&text.place, problem, cure);
        return None;
    }
    let virtual_network = text.value.clone();
    Some(Binding {
        name: name?,
        kind: kind?,
        virtual_network,
        network_namespace: network_namespace?,
    })
}

/// `/subscriptions/{s}/resourceGroups/{g}/providers/Microsoft.Network/virtualNetworks/{v}`
fn is_network_id(words: &[&str]) -> bool {
    let is = |at: usize, word: &str| words.get(at).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let fixed = is(1, "subscriptions") && is(3, "resourceGroups") && is(5, "providers");
    let kind = is(6, "Microsoft.Network") && is(7, "virtualNetworks");
    fixed && kind && words.len() == 9 && !words[1..].contains(&"")
}

fn device(context: &mut Context, names: &Names<'_>, raw: &RawDevice) -> Option<Device> {
    let (name, kind, network_namespace) = interface(context, raw);
    let virtual_network = context.resolve(&names.networks, raw.virtual_network.as_ref());
    let (name, kind, virtual_network) = (name?, kind?, virtual_network?);
    Some(Device { name, kind, virtual_network, network_namespace: network_namespace? })
}

/// Name, kind and namespace of an interface.
type Interface = (Option<InterfaceName>, Option<DeviceKind>, Option<Option<String>>);

fn interface(context: &mut Context, raw: &RawDevice) -> Interface {
    let name = raw.name.as_ref().and_then(|text| {
        let name = InterfaceName::new(&text.value);
        if name.is_none() {
            let problem = format!("{:?} is not a valid interface name", text.value);
            context.error(&text.place, problem, InterfaceName::RULE);
        }
        name
    });
    let kind = raw.kind.as_ref().and_then(|text| kind(context, text));
    let network_namespace = match &raw.network_namespace {
        None => Some(None),
        Some(text) => value::absolute_path(context, text).map(Some),
    };
    (name, kind, network_namespace)
}

fn kind(context: &mut Context, text: &Text) -> Option<DeviceKind> {
    if text.value.eq_ignore_ascii_case("veth") {
        context.error(
            &text.place,
            "\"veth\" is not a kind",
            "a veth is \"af_packet\", or \"af_xdp\"",
        );
        return None;
    }
    let kinds = [
        ("af_packet", DeviceKind::AfPacket),
        ("af_xdp", DeviceKind::AfXdp),
        ("tap", DeviceKind::Tap),
    ];
    value::word(context, text, &kinds)
}

/// A virtual network in which something of adit lives needs a device, or, for its endpoints, a peer
/// that has one; a network in which nothing does may be on its way in or out.
pub(super) fn attachment(
    context: &mut Context,
    names: &Names<'_>,
    networks: &[Option<VirtualNetwork>],
    raw: &RawConfig,
) {
    let find = |text: Option<&Text>| {
        text.and_then(|text| names.networks.by_name.get(text.value.as_str()).copied())
    };
    let endpoints = raw.endpoints.iter().filter_map(|pe| find(pe.virtual_network.as_ref()));
    let services = raw.services.iter().filter_map(|service| {
        let name = service.load_balancer.as_ref()?.value.as_str();
        let balancer = names.load_balancers.by_name.get(name)?;
        names.network_of_balancer(raw, *balancer)
    });
    let (endpoints, services): (HashSet<usize>, HashSet<usize>) =
        (endpoints.collect(), services.collect());
    let attached: HashSet<usize> =
        raw.devices.iter().filter_map(|device| find(device.virtual_network.as_ref())).collect();
    let names_back = |at, peer: &usize| {
        networks.get(*peer).and_then(Option::as_ref).is_some_and(|peer| peer.peers.contains(&at))
    };
    let has_peer = |at: usize| {
        let mut peers = networks.get(at).into_iter().flatten().flat_map(|network| &network.peers);
        peers.any(|peer| attached.contains(peer) && names_back(at, peer))
    };
    for (at, network) in raw.virtual_networks.iter().enumerate() {
        let Some(name) = network.name.as_ref().filter(|_| !attached.contains(&at)) else {
            continue;
        };
        let is_reached = !services.contains(&at) && has_peer(at);
        if is_reached {
            continue;
        }
        let used = services.contains(&at) || endpoints.contains(&at);
        let problem = format!("virtual network {:?} has no device", name.value);
        let cure = format!("attach one: [[device]] with virtual_network = {:?}", name.value);
        if used {
            context.error(&name.place, problem + ", so no packet can reach it", cure);
        } else {
            context.warn(&name.place, problem, cure);
        }
    }
}
