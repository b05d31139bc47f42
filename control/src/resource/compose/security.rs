//! Network security groups made through the API, as the configuration has them: application
//! security groups become the addresses of their members, and what cannot match is left out.

use std::collections::HashMap;
use std::net::IpAddr;

use dataplane::snapshot::{Access, PortRange};
use dataplane::types::Protocol;

use super::{Clash, Composer, clash};
use crate::config::{AddressFilter, Name, NetworkSecurityGroup, SecurityRule, port_range};
use crate::resource::model::{self, Direction, Parties, Resource, SecurityGroup};
use crate::resource::{Id, Key, Kind, security};

/// Members of application security groups: positions of their networks, and addresses.
type Members = HashMap<Key, Vec<(usize, IpAddr)>>;

impl Composer<'_> {
    /// Adds the groups, in the order in which they were numbered.
    pub(super) fn security_groups(&mut self) -> Result<(), Clash> {
        let members = self.members();
        for group in self.own(Kind::SecurityGroup) {
            let Resource::SecurityGroup(group) = group else { continue };
            let rules = group.rules.iter();
            let rules = rules.map(|rule| self.security_rule(group, rule, &members));
            let rules = rules.collect::<Result<Vec<_>, Clash>>()?;
            self.config.security_groups.push(NetworkSecurityGroup {
                name: self.estate.name(&group.head),
                rules: rules.into_iter().flatten().collect(),
            });
        }
        Ok(())
    }

    fn members(&self) -> Members {
        let mut members = Members::new();
        for endpoint in self.own(Kind::Endpoint) {
            let Resource::Endpoint(endpoint) = endpoint else { continue };
            let Some(&at) = self.networks.get(&endpoint.place.subnet.network) else { continue };
            for group in &endpoint.app_groups {
                let places = endpoint.addresses().ips().map(|address| (at, address));
                members.entry(group.clone()).or_default().extend(places);
            }
        }
        members
    }

    /// A rule; `None` if it is not about who opens TCP or UDP connections to endpoints.
    fn security_rule(
        &self,
        group: &SecurityGroup,
        rule: &model::SecurityRule,
        members: &Members,
    ) -> Result<Option<SecurityRule>, Clash> {
        let protocol = match rule.protocol.as_str() {
            "Tcp" => Some(Protocol::Tcp),
            "Udp" => Some(Protocol::Udp),
            "*" => None,
            _ => return Ok(None),
        };
        if rule.direction == Direction::Outbound {
            return Ok(None);
        }
        let filters = |parties| self.filters(group, rule, parties, members);
        let ports: Vec<PortRange> = rule.ports.iter().filter_map(|text| port_range(text)).collect();
        Ok(Some(SecurityRule {
            name: Name::of_resource(rule.name.clone()),
            priority: rule.priority,
            access: if rule.allows { Access::Allow } else { Access::Deny },
            protocol,
            sources: filters(&rule.sources)?,
            destinations: filters(&rule.destinations)?,
            ports,
        }))
    }

    fn filters(
        &self,
        group: &SecurityGroup,
        rule: &model::SecurityRule,
        parties: &Parties,
        members: &Members,
    ) -> Result<Vec<AddressFilter>, Clash> {
        let keys = match parties {
            Parties::Addresses(texts) => {
                return Ok(texts.iter().filter_map(|text| security::filter(text)).collect());
            }
            Parties::Groups(keys) => keys,
        };
        let mut filters = Vec::new();
        for key in keys {
            if self.estate.app_group(key).is_none() {
                let id = Id::new(Kind::AppGroup, key);
                let place = format!("rule {} of {}", rule.name, group.head.name);
                let problem = format!("{place} names {id}, which would be gone");
                return Err(clash(problem, "keep it, or change the rule first"));
            }
            let hosts = members.get(key).into_iter().flatten();
            filters.extend(hosts.map(|&(at, address)| AddressFilter::Host(at, address)));
        }
        Ok(filters)
    }
}
