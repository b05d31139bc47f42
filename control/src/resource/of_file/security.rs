//! Rules of network security groups.

use dataplane::snapshot::{Access, PortRange};
use dataplane::types::Protocol;

use crate::config::{self, AddressFilter};
use crate::resource::model::{Direction, Parties, SecurityRule};

pub(super) fn rule(rule: &config::SecurityRule) -> SecurityRule {
    SecurityRule {
        name: rule.name.to_string(),
        description: None,
        priority: rule.priority,
        direction: Direction::Inbound,
        allows: rule.access == Access::Allow,
        protocol: match rule.protocol {
            Some(Protocol::Tcp) => "Tcp".to_owned(),
            Some(Protocol::Udp) => "Udp".to_owned(),
            None => "*".to_owned(),
        },
        sources: parties(&rule.sources),
        destinations: parties(&rule.destinations),
        source_ports: vec!["*".to_owned()],
        ports: rule.ports.iter().map(|range| ports(*range)).collect(),
    }
}

fn parties(filters: &[AddressFilter]) -> Parties {
    let text = |filter: &AddressFilter| match filter {
        AddressFilter::Any => "*".to_owned(),
        AddressFilter::Prefix(prefix) => prefix.to_string(),
        AddressFilter::VirtualNetwork => "VirtualNetwork".to_owned(),
        AddressFilter::Host(_, address) => address.to_string(),
        // The file's other tag means nobody as well.
        AddressFilter::Nobody => "Internet".to_owned(),
    };
    Parties::Addresses(filters.iter().map(text).collect())
}

fn ports(range: PortRange) -> String {
    match range {
        PortRange::ALL => "*".to_owned(),
        PortRange { first, last } if first == last => first.to_string(),
        PortRange { first, last } => format!("{first}-{last}"),
    }
}
