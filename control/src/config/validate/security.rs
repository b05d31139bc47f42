//! Subnets, and the network security groups that guard the endpoints in them.

use std::collections::HashMap;

use dataplane::snapshot::{Access, PortRange};
use dataplane::types::Family;
use dataplane::types::{Prefix, Protocol};

use super::super::raw::{RawSecurityGroup, RawSecurityRule, RawSubnet, Text};
use super::super::security::{
    self, AddressFilter, COMBINATIONS_MAX, EndpointPolicies, NetworkSecurityGroup, PRIORITIES,
    RULES_MAX, SecurityRule, Subnet,
};
use super::{Context, Table, address, value};

const ACCESSES: &[(&str, Access)] = &[("Allow", Access::Allow), ("Deny", Access::Deny)];
const PROTOCOLS: &[(&str, Option<Protocol>)] =
    &[("Tcp", Some(Protocol::Tcp)), ("Udp", Some(Protocol::Udp)), ("*", None)];

pub(super) fn groups(
    context: &mut Context,
    raw: &[RawSecurityGroup],
) -> Vec<Option<NetworkSecurityGroup>> {
    raw.iter().map(|raw| group(context, raw)).collect()
}

fn group(context: &mut Context, raw: &RawSecurityGroup) -> Option<NetworkSecurityGroup> {
    let name = context.name(raw.name.as_ref());
    context.positions(raw.rules.iter().map(|rule| rule.name.as_ref()), "security rule");
    if let Some(first_over) = raw.rules.get(RULES_MAX) {
        let cure = format!("a group has at most {RULES_MAX}");
        context.error(&first_over.place, "too many security rules", cure);
    }
    let rules: Vec<_> = raw.rules.iter().map(|raw| rule(context, raw)).collect();
    let unique = unique_priorities(context, &raw.rules);
    let rules = rules.into_iter().collect::<Option<_>>().filter(|_| unique);
    Some(NetworkSecurityGroup { name: name?, rules: rules? })
}

fn unique_priorities(context: &mut Context, raw: &[RawSecurityRule]) -> bool {
    let mut lines = HashMap::new();
    let mut unique = true;
    for priority in raw.iter().filter_map(|rule| rule.priority.as_ref()) {
        if let Some(line) = lines.insert(priority.value, priority.place.line) {
            let problem = format!("priority {} is taken on line {line}", priority.value);
            context.error(&priority.place, problem, "rules are asked in order: choose another");
            unique = false;
        }
    }
    unique
}

fn rule(context: &mut Context, raw: &RawSecurityRule) -> Option<SecurityRule> {
    let name = context.name(raw.name.as_ref());
    let inbound = raw.direction.as_ref().is_none_or(|text| is_inbound(context, text));
    let priority = raw.priority.as_ref();
    let priority = priority
        .and_then(|raw| value::number(context, raw, PRIORITIES.0.into(), PRIORITIES.1.into()));
    let access = raw.access.as_ref().and_then(|text| value::word(context, text, ACCESSES));
    let protocol = match &raw.protocol {
        None => Some(None),
        Some(text) => value::word(context, text, PROTOCOLS),
    };
    let sources = each(context, raw.sources.as_deref(), AddressFilter::Any, filter);
    let destinations = each(context, raw.destinations.as_deref(), AddressFilter::Any, filter);
    let ports = each(context, raw.ports.as_deref(), PortRange::ALL, port_range);
    let (sources, destinations, ports) = (sources?, destinations?, ports?);
    let combinations = sources.len() * destinations.len() * ports.len();
    if combinations > COMBINATIONS_MAX {
        let problem = format!("the rule's lists multiply to {combinations}");
        let cure = format!("as in Azure, {COMBINATIONS_MAX} is the most: split the rule");
        context.error(&raw.place, problem, cure);
        return None;
    }
    inbound.then_some(SecurityRule {
        name: name?,
        priority: priority?,
        access: access?,
        protocol: protocol?,
        sources,
        destinations,
        ports,
    })
}

fn is_inbound(context: &mut Context, text: &Text) -> bool {
    if text.value.eq_ignore_ascii_case("outbound") {
        let problem = "an outbound rule says nothing about private endpoints";
        context.error(&text.place, problem, "leave the rule out: endpoints open no connections");
        return false;
    }
    value::word(context, text, &[("Inbound", ())]).is_some()
}

/// What a list says, or what it means to leave it out.
fn each<T>(
    context: &mut Context,
    texts: Option<&[Text]>,
    default: T,
    read: impl Fn(&mut Context, &Text) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(texts) = texts.filter(|texts| !texts.is_empty()) else { return Some(vec![default]) };
    // All of them are judged, whatever becomes of the first.
    let read: Vec<Option<T>> = texts.iter().map(|text| read(context, text)).collect();
    read.into_iter().collect()
}

fn filter(context: &mut Context, text: &Text) -> Option<AddressFilter> {
    let is_address =
        text.value.contains(':') || text.value.starts_with(|first: char| first.is_ascii_digit());
    if !is_address {
        return value::word(context, text, AddressFilter::TAGS);
    }
    if text.value.contains('/') {
        return address::any_prefix(context, text).map(AddressFilter::Prefix);
    }
    let address = address::address(context, text)?;
    Prefix::new(address, Family::of(address).bits()).map(AddressFilter::Prefix)
}

/// `443`, `8000-8100` or `*`.
fn port_range(context: &mut Context, text: &Text) -> Option<PortRange> {
    let range = security::port_range(&text.value);
    if range.is_none() {
        let problem = format!("{:?} is no range of ports", text.value);
        context.error(&text.place, problem, "write \"443\", \"8000-8100\" or \"*\"");
    }
    range
}

/// The subnets of a network, if all are valid.
pub(super) fn subnets(
    context: &mut Context,
    groups: &Table<'_>,
    raw: &[RawSubnet],
    address_space: &[Prefix],
) -> Option<Vec<Subnet>> {
    context.positions(raw.iter().map(|subnet| subnet.name.as_ref()), "subnet");
    let mut known: Vec<Subnet> = Vec::new();
    let mut faultless = true;
    for raw in raw {
        let Some(subnet) = subnet(context, groups, raw, address_space) else {
            faultless = false;
            continue;
        };
        for prefix in &subnet.address_prefixes {
            let others = known.iter().flat_map(|other| {
                other.address_prefixes.iter().map(move |prefix| (prefix, &other.name))
            });
            let mut others = others.filter(|(other, _)| other.overlaps(*prefix));
            if let Some((other, name)) = others.next() {
                let problem = format!("{prefix} overlaps {other} of {name}");
                context.error(&raw.place, problem, "give every subnet a part of its own");
                faultless = false;
            }
        }
        known.push(subnet);
    }
    faultless.then_some(known)
}

fn subnet(
    context: &mut Context,
    groups: &Table<'_>,
    raw: &RawSubnet,
    address_space: &[Prefix],
) -> Option<Subnet> {
    let name = context.name(raw.name.as_ref());
    let texts = raw.address_prefixes.as_ref();
    let address_prefixes = texts.map(|texts| prefixes(context, texts, address_space));
    let security_group = match &raw.security_group {
        None => None,
        Some(text) => Some(context.resolve(groups, Some(text))?),
    };
    let policies = match &raw.policies {
        None => Some(EndpointPolicies::Disabled),
        Some(text) => value::word(context, text, EndpointPolicies::WORDS),
    };
    let (name, address_prefixes, policies) = (name?, address_prefixes??, policies?);
    let subnet = Subnet { name, address_prefixes, security_group, policies };
    if let (Some(text), None) = (&raw.security_group, subnet.guard()) {
        let problem = format!("group {:?} is not in force for private endpoints", text.value);
        let cure = "as in Azure, private_endpoint_network_policies is \"Disabled\" unless it says \
            \"NetworkSecurityGroupEnabled\" or \"Enabled\"";
        context.warn(&text.place, problem, cure);
    }
    Some(subnet)
}

/// The prefixes of a subnet: one, or one of each family.
fn prefixes(
    context: &mut Context,
    texts: &[Text],
    address_space: &[Prefix],
) -> Option<Vec<Prefix>> {
    let mut known: Vec<Prefix> = Vec::new();
    for text in texts {
        let prefix = address::prefix(context, text)?;
        let holds = |space: &Prefix| space.length() <= prefix.length() && space.overlaps(prefix);
        if !address_space.iter().any(holds) {
            let problem = format!("{prefix} is not within the network's address space");
            context.error(&text.place, problem, "choose a part of address_space");
            return None;
        }
        if known.iter().any(|other| other.family() == prefix.family()) {
            let problem = format!("{prefix} is one more of {}", prefix.family().name());
            let cure = "a subnet has one prefix of each family at most: make two subnets";
            context.error(&text.place, problem, cure);
            return None;
        }
        known.push(prefix);
    }
    Some(known)
}
