//! Network security groups as the data path asks them: one for each subnet that has one in force,
//! with Azure's default rules behind its own.

use std::net::IpAddr;

use dataplane::snapshot::{Access, PortRange, SecurityGroupPlan, SecurityRule};
use dataplane::types::{Family, Prefix, SecurityGroupIndex};

use crate::config::{ALLOW_VNET, AddressFilter, Config, DENY_ALL, PrivateEndpoint, Subnet};
use crate::state::Registry;

/// `None` if the registry is not the configuration's.
pub(super) fn groups(config: &Config, registry: &Registry) -> Option<Vec<SecurityGroupPlan>> {
    guarded(config).map(|guarded| group(config, registry, guarded)).collect()
}

/// The one of [`groups`] that guards an endpoint.
pub(super) fn group_of(config: &Config, endpoint: &PrivateEndpoint) -> Option<SecurityGroupIndex> {
    let mut guarded = guarded(config);
    let at = guarded.position(|(at, subnet)| is_in(endpoint, at, subnet))?;
    Some(SecurityGroupIndex(u32::try_from(at).ok()?))
}

/// Subnets that have a group in force, with their networks.
fn guarded(config: &Config) -> impl Iterator<Item = (usize, &Subnet)> {
    let networks = config.virtual_networks.iter().enumerate();
    let subnets =
        networks.flat_map(|(at, network)| network.subnets.iter().map(move |subnet| (at, subnet)));
    subnets.filter(|(_, subnet)| subnet.guard().is_some())
}

fn is_in(endpoint: &PrivateEndpoint, network: usize, subnet: &Subnet) -> bool {
    endpoint.virtual_network == network && subnet.contains(endpoint.addresses.first())
}

fn group(
    config: &Config,
    registry: &Registry,
    (at, subnet): (usize, &Subnet),
) -> Option<SecurityGroupPlan> {
    let group = config.security_groups.get(subnet.guard()?)?;
    let endpoints = config.endpoints.iter().filter(|endpoint| is_in(endpoint, at, subnet));
    let links = endpoints.map(|endpoint| Some(registry.connection(&endpoint.name)?.link));
    let own = group.rules.iter().map(|rule| SecurityRule {
        priority: rule.priority,
        protocol: rule.protocol,
        sources: prefixes(config, at, &rule.sources),
        destinations: prefixes(config, at, &rule.destinations),
        ports: rule.ports.clone(),
        access: rule.access,
    });
    let default = |priority, filter, access| SecurityRule {
        priority,
        protocol: None,
        sources: prefixes(config, at, &[filter]),
        destinations: prefixes(config, at, &[filter]),
        ports: vec![PortRange::ALL],
        access,
    };
    let behind = [
        default(ALLOW_VNET, AddressFilter::VirtualNetwork, Access::Allow),
        default(DENY_ALL, AddressFilter::Any, Access::Deny),
    ];
    Some(SecurityGroupPlan {
        rules: own.chain(behind).collect(),
        links: links.collect::<Option<_>>()?,
    })
}

/// The prefixes that the filters of a network's group mean.
fn prefixes(config: &Config, at: usize, filters: &[AddressFilter]) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    for filter in filters {
        match *filter {
            AddressFilter::Any => {
                let all = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
                prefixes.extend(all.iter().filter_map(|first| Prefix::new(*first, 0)));
            }
            AddressFilter::Prefix(prefix) => prefixes.push(prefix),
            AddressFilter::VirtualNetwork => prefixes.extend(config.client_prefixes(at)),
            AddressFilter::Host(there, address) if there == at => {
                prefixes.extend(Prefix::new(address, Family::of(address).bits()));
            }
            AddressFilter::Host(..) | AddressFilter::Nobody => {}
        }
    }
    prefixes
}
