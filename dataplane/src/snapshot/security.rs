//! Network security groups: which new flows the subnet of an endpoint lets in.
//!
//! A group judges the packet that would open a flow, and no other: as in Azure, connections that
//! are open stay when a rule changes. Rules are asked in ascending order of priority, the first
//! that matches decides, and where none does the answer is no. Source ports are not looked at, as
//! Azure reads them as `*` on endpoints.

use crate::types::{Address, LinkId, Prefix, Protocol};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Lets it in.
    Allow,
    /// Keeps it out.
    Deny,
}

/// Ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest, not below the lowest.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: PortRange = PortRange { first: 0, last: u16::MAX };

    fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// One rule of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityRule {
    /// Its place in the order, unique in its group: lower ones are asked first.
    pub priority: u16,
    /// The protocol that it is about; `None`: every one.
    pub protocol: Option<Protocol>,
    /// Where clients may be, for it to match.
    pub sources: Vec<Prefix>,
    /// Where the endpoint may be.
    pub destinations: Vec<Prefix>,
    /// Which port of the endpoint may be dialled.
    pub ports: Vec<PortRange>,
    /// What it does.
    pub access: Access,
}

/// Who dials what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialling {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The client.
    pub source: Address,
    /// The endpoint.
    pub destination: Address,
    /// Its port.
    pub port: u16,
}

impl SecurityRule {
    fn matches(&self, dialling: &Dialling) -> bool {
        let lies_in = |prefixes: &[Prefix], address| prefixes.iter().any(|it| it.contains(address));
        self.protocol.is_none_or(|protocol| protocol == dialling.protocol)
            && self.ports.iter().any(|range| range.contains(dialling.port))
            && lies_in(&self.sources, dialling.source)
            && lies_in(&self.destinations, dialling.destination)
    }
}

/// A group, and the endpoints whose subnets it guards.
#[derive(Clone, Debug, Default)]
pub struct SecurityGroupPlan {
    /// Its rules, in any order.
    pub rules: Vec<SecurityRule>,
    /// Connections of the endpoints. An endpoint has one group at most.
    pub links: Vec<LinkId>,
}

/// A group as packets meet it.
#[derive(Clone, Debug)]
pub struct SecurityGroup {
    /// In ascending order of priority.
    rules: Box<[SecurityRule]>,
}

impl SecurityGroup {
    pub(super) fn build(plan: &SecurityGroupPlan) -> SecurityGroup {
        let mut rules = plan.rules.clone();
        rules.sort_by_key(|rule| rule.priority);
        SecurityGroup { rules: rules.into_boxed_slice() }
    }

    /// The rule that decides, if one matches.
    #[must_use]
    pub fn decide(&self, dialling: &Dialling) -> Option<&SecurityRule> {
        self.rules.iter().find(|rule| rule.matches(dialling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use core::net::IpAddr;

    fn prefix(address: [u8; 4], length: u8) -> Prefix {
        Prefix::new(IpAddr::from(address), length).unwrap()
    }

    fn rule(priority: u16, access: Access) -> SecurityRule {
        let all = vec![prefix([0; 4], 0)];
        SecurityRule {
            priority,
            protocol: None,
            sources: all.clone(),
            destinations: all,
            ports: vec![PortRange::ALL],
            access,
        }
    }

    #[test]
    fn the_lowest_priority_that_matches_decides_whatever_the_order_of_the_plan() {
        let narrow = SecurityRule {
            protocol: Some(Protocol::Tcp),
            sources: vec![prefix([10, 0, 1, 0], 24)],
            destinations: vec![prefix([10, 0, 0, 5], 32)],
            ports: vec![
                PortRange { first: 443, last: 443 },
                PortRange { first: 8_000, last: 8_100 },
            ],
            ..rule(100, Access::Allow)
        };
        let rules = vec![rule(300, Access::Deny), narrow];
        let group = SecurityGroup::build(&SecurityGroupPlan { rules, links: Vec::new() });
        let dialling = Dialling {
            protocol: Protocol::Tcp,
            source: IpAddr::from([10, 0, 1, 9]).into(),
            destination: IpAddr::from([10, 0, 0, 5]).into(),
            port: 8_100,
        };
        let priority = |dialling| group.decide(&dialling).map(|rule| rule.priority);
        assert_eq!(priority(dialling), Some(100));
        assert_eq!(priority(Dialling { port: 8_101, ..dialling }), Some(300));
        assert_eq!(priority(Dialling { protocol: Protocol::Udp, ..dialling }), Some(300));
        let elsewhere = IpAddr::from([10, 0, 2, 9]).into();
        assert_eq!(priority(Dialling { source: elsewhere, ..dialling }), Some(300));
        assert_eq!(priority(Dialling { destination: elsewhere, ..dialling }), Some(300));
        let empty = SecurityGroup::build(&SecurityGroupPlan::default());
        assert!(empty.decide(&dialling).is_none());
    }
}
