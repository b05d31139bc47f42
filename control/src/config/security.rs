//! Network security groups, and the subnets whose endpoints they guard.

use std::net::IpAddr;

use dataplane::snapshot::{Access, PortRange};
use dataplane::types::{Address, Prefix, Protocol};

use super::name::Name;

/// Priorities of rules that are not Azure's own, the lowest and the highest.
pub(crate) const PRIORITIES: (u16, u16) = (100, 4_096);

/// Rules of a group at most, as in Azure.
pub(crate) const RULES_MAX: usize = 1_000;

/// What the lists of one rule multiply to at most, as in Azure.
pub(crate) const COMBINATIONS_MAX: usize = 250_000;

/// Reads `443`, `8000-8100` or `*`.
pub(crate) fn port_range(text: &str) -> Option<PortRange> {
    if text == "*" {
        return Some(PortRange::ALL);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if first <= last => Some(PortRange { first, last }),
        _ => None,
    }
}

/// Priority of Azure's rule that hosts of the virtual network may come in.
pub(crate) const ALLOW_VNET: u16 = 65_000;

/// Priority of Azure's rule that nobody may.
pub(crate) const DENY_ALL: u16 = 65_500;

/// The rules behind all others, by Azure's names.
const DEFAULT_RULES: [(u16, &str); 2] =
    [(ALLOW_VNET, "AllowVnetInBound"), (DENY_ALL, "DenyAllInBound")];

/// A part of a virtual network's address space.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// Its name, unique in the network.
    pub name: Name,
    /// Its addresses, a prefix of one family or of each; no two subnets overlap.
    pub address_prefixes: Vec<Prefix>,
    /// The group that it names.
    pub security_group: Option<usize>,
    /// What of its policies is in force for private endpoints.
    pub policies: EndpointPolicies,
}

impl Subnet {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: impl Into<Address>) -> bool {
        let address = address.into();
        self.address_prefixes.iter().any(|prefix| prefix.contains(address))
    }

    /// The group that guards the private endpoints in it: what it names is not in force by itself.
    #[must_use]
    pub fn guard(&self) -> Option<usize> {
        self.security_group.filter(|_| self.policies.guards())
    }
}

/// Which policies of a subnet are in force for private endpoints: `privateEndpointNetworkPolicies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum EndpointPolicies {
    /// None: Azure's default.
    #[default]
    Disabled,
    /// The network security group.
    NetworkSecurityGroupEnabled,
    /// The route table. adit has none: hosts choose their ways to it themselves.
    RouteTableEnabled,
    /// Both.
    Enabled,
}

impl EndpointPolicies {
    /// By Azure's names.
    pub(crate) const WORDS: &'static [(&'static str, EndpointPolicies)] = &[
        ("Disabled", EndpointPolicies::Disabled),
        ("NetworkSecurityGroupEnabled", EndpointPolicies::NetworkSecurityGroupEnabled),
        ("RouteTableEnabled", EndpointPolicies::RouteTableEnabled),
        ("Enabled", EndpointPolicies::Enabled),
    ];

    fn guards(self) -> bool {
        matches!(self, Self::NetworkSecurityGroupEnabled | Self::Enabled)
    }
}

/// A network security group.
#[derive(Clone, Debug)]
pub struct NetworkSecurityGroup {
    /// Its name, unique among groups.
    pub name: Name,
    /// Its rules; no two have the same priority.
    pub rules: Vec<SecurityRule>,
}

impl NetworkSecurityGroup {
    /// The names of the rule with a priority and of the group.
    #[must_use]
    pub fn rule(&self, priority: u16) -> (&str, &str) {
        let own = self.rules.iter().find(|rule| rule.priority == priority);
        let default =
            || DEFAULT_RULES.iter().find(|(at, _)| *at == priority).map(|(_, name)| *name);
        let name = own.map(|rule| rule.name.as_str()).or_else(default);
        (name.unwrap_or_default(), self.name.as_str())
    }
}

/// A rule about what comes in.
#[derive(Clone, Debug)]
pub struct SecurityRule {
    /// Its name, unique in the group.
    pub name: Name,
    /// 100 to 4096: lower ones are asked first.
    pub priority: u16,
    /// What it does.
    pub access: Access,
    /// The protocol that it is about; `None`: every one.
    pub protocol: Option<Protocol>,
    /// Where clients may be.
    pub sources: Vec<AddressFilter>,
    /// Where the endpoint may be.
    pub destinations: Vec<AddressFilter>,
    /// Which port of the endpoint may be dialled.
    pub ports: Vec<PortRange>,
}

/// Whose addresses are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFilter {
    /// Everybody's.
    Any,
    /// Those of this prefix.
    Prefix(Prefix),
    /// Those of the subnet's virtual network.
    VirtualNetwork,
    /// This one of the virtual network that stands here.
    Host(usize, IpAddr),
    /// Those of nobody here: whoever reaches an endpoint is of its virtual network, neither the
    /// internet nor Azure's load balancer.
    Nobody,
}

impl AddressFilter {
    /// Azure's service tags that mean something to adit.
    pub(crate) const TAGS: &'static [(&'static str, AddressFilter)] = &[
        ("*", AddressFilter::Any),
        ("VirtualNetwork", AddressFilter::VirtualNetwork),
        ("Internet", AddressFilter::Nobody),
        ("AzureLoadBalancer", AddressFilter::Nobody),
    ];
}
