//! Network security groups as the data path asks them: one for each subnet that has one in force,
//! with Azure's default rules behind its own.

use std::net::IpAddr;

use dataplane::snapshot::{Access, PortRange, SecurityGroupPlan, SecurityRule};
use dataplane::types::{Family, Prefix};

use crate::config::{ALLOW_VNET, AddressFilter, Config, DENY_ALL, Subnet, VirtualNetwork};
use crate::state::Registry;

/// `None` if the registry is not the configuration's.
pub(super) fn groups(config: &Config, registry: &Registry) -> Option<Vec<SecurityGroupPlan>> {
    let networks = config.virtual_networks.iter().enumerate();
    let subnets = networks
        .flat_map(|(at, network)| network.subnets.iter().map(move |subnet| (at, network, subnet)));
    let guarded = subnets.filter(|(.., subnet)| subnet.guard().is_some());
    guarded.map(|subnet| group(config, registry, subnet)).collect()
}

fn group(
    config: &Config,
    registry: &Registry,
    (at, network, subnet): (usize, &VirtualNetwork, &Subnet),
) -> Option<SecurityGroupPlan> {
    let group = config.security_groups.get(subnet.guard()?)?;
    let endpoints = config.endpoints.iter().filter(|endpoint| {
        endpoint.virtual_network == at && subnet.address_prefix.contains(endpoint.address)
    });
    let links = endpoints.map(|endpoint| Some(registry.connection(&endpoint.name)?.link));
    let own = group.rules.iter().map(|rule| SecurityRule {
        priority: rule.priority,
        protocol: rule.protocol,
        sources: prefixes(&rule.sources, (at, network)),
        destinations: prefixes(&rule.destinations, (at, network)),
        ports: rule.ports.clone(),
        access: rule.access,
    });
    let default = |priority, filter, access| SecurityRule {
        priority,
        protocol: None,
        sources: prefixes(&[filter], (at, network)),
        destinations: prefixes(&[filter], (at, network)),
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

fn prefixes(filters: &[AddressFilter], (at, network): (usize, &VirtualNetwork)) -> Vec<Prefix> {
    let mut prefixes = Vec::new();
    for filter in filters {
        match *filter {
            AddressFilter::Any => {
                let all = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
                prefixes.extend(all.iter().filter_map(|first| Prefix::new(*first, 0)));
            }
            AddressFilter::Prefix(prefix) => prefixes.push(prefix),
            AddressFilter::VirtualNetwork => prefixes.extend(network.client_prefixes()),
            AddressFilter::Host(there, address) if there == at => {
                prefixes.extend(Prefix::new(address, Family::of(address).bits()));
            }
            AddressFilter::Host(..) | AddressFilter::Nobody => {}
        }
    }
    prefixes
}
