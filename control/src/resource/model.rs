//! Resources as they are kept. References are keys; what is shown is looked up when it is asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::types::{Addresses, Family, Prefix};
use serde::{Deserialize, Serialize};

use super::{Id, Key, Kind};
use crate::state::ConnectionState;

mod balancer;
mod peering;
mod security;

pub use balancer::{
    Backend, Balancer, Distribution, Frontend, NatRule, Pool, Probe, Rule, Transport,
};
pub use peering::Peering;
pub use security::{AppGroup, Direction, Parties, SecurityGroup, SecurityRule};

/// Who says what a resource is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File,
    /// Requests to the API.
    #[default]
    Api,
}

/// What all resources have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Its subscription.
    pub subscription: String,
    /// Its resource group, as first written.
    pub group: String,
    /// Its name, as first written; empty for a resource group.
    pub name: String,
    /// Its region.
    pub location: String,
    /// Words for people.
    pub tags: BTreeMap<String, String>,
    /// Grows with each change.
    pub revision: u64,
    /// Who says what it is.
    #[serde(skip)]
    pub origin: Origin,
}

impl Head {
    /// Where it is.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(&self.subscription, &self.group, &self.name)
    }

    /// Its id, as it is shown.
    #[must_use]
    pub fn id(&self, kind: Kind) -> String {
        let Head { subscription, group, name, .. } = self;
        let start = format!("/subscriptions/{subscription}/resourceGroups/{group}");
        match kind {
            Kind::Group => start,
            kind => format!("{start}/providers/Microsoft.Network/{}/{name}", kind.type_name()),
        }
    }
}

/// A resource group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What all have.
    pub head: Head,
}

/// A virtual network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// What all have.
    pub head: Head,
    /// Its prefixes; no two overlap.
    #[serde(with = "prefixes")]
    pub address_space: Vec<Prefix>,
    /// Its subnets; no two overlap.
    pub subnets: Vec<Subnet>,
    /// What it says of peers; no two of the same one.
    #[serde(default)]
    pub peerings: Vec<Peering>,
    /// Routers of the file; nobody gets their addresses.
    #[serde(skip)]
    pub routers: Vec<IpAddr>,
    /// Whether it takes endpoints at high scale (`privateEndpointVNetPolicies: Basic`).
    pub at_scale: bool,
}

impl Network {
    /// The subnet of a name.
    #[must_use]
    pub fn subnet(&self, name: &str) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.name.eq_ignore_ascii_case(name))
    }
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its name, as first written.
    pub name: String,
    /// Its addresses: a prefix of one family, or of each. A single one was once kept by itself.
    #[serde(with = "prefixes", alias = "prefix")]
    pub prefixes: Vec<Prefix>,
    /// `privateEndpointNetworkPolicies`, one of Azure's words.
    pub endpoint_policies: String,
    /// Whether `privateLinkServiceNetworkPolicies` is `Enabled`: then no NAT IP may be here.
    pub service_policies: bool,
    /// The network security group that it names.
    #[serde(default)]
    pub security_group: Option<Key>,
}

impl Subnet {
    /// Its prefix of a family.
    #[must_use]
    pub fn prefix(&self, family: Family) -> Option<Prefix> {
        self.prefixes.iter().copied().find(|prefix| prefix.family() == family)
    }
}

/// A subnet of a virtual network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubnetKey {
    /// The network.
    pub network: Key,
    /// The subnet's name, in lower case.
    pub subnet: String,
}

/// An address of a subnet, and who chose it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The subnet.
    pub subnet: SubnetKey,
    /// The address.
    pub address: IpAddr,
    /// Whether the request named it.
    pub is_static: bool,
}

/// A private link service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// What all have.
    pub head: Head,
    /// What makes its alias unique.
    pub guid: String,
    /// Its alias, which never changes.
    pub alias: String,
    /// Load balancer and frontend that it leads to.
    pub frontend: (Key, String),
    /// 1 to 8 NAT IPs.
    pub nat_ips: Vec<NatIp>,
    /// Subscriptions that see it; `*` for all.
    pub visibility: Vec<String>,
    /// Subscriptions whose connections are approved without asking; `*` for all.
    pub auto_approval: Vec<String>,
    /// Names under which consumers know it.
    pub fqdns: Vec<String>,
    /// Whether backends are told of the client by a PROXY header.
    pub proxy_protocol: bool,
}

/// A NAT IP configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NatIp {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Whether it is the first among its kind.
    pub primary: bool,
}

/// How a request named an address: name, group id, member name.
pub type IpConfiguration = (String, String, String);

/// An address of IPv6 in the subnet of an endpoint, beside one of IPv4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ipv6Place {
    /// The address.
    pub address: IpAddr,
    /// Whether the request named it.
    pub is_static: bool,
    /// How the request named it.
    pub ip_configuration: Option<IpConfiguration>,
}

/// A private endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What all have.
    pub head: Head,
    /// What makes its connection and its NIC unique.
    pub guid: String,
    /// Where it is, for as long as it lives.
    pub place: Place,
    /// How the request named its address.
    pub ip_configuration: Option<IpConfiguration>,
    /// Its address of IPv6, if it has one beside that of IPv4.
    #[serde(default)]
    pub ipv6: Option<Ipv6Place>,
    /// Name of its NIC, if the request named it.
    pub nic_name: Option<String>,
    /// The service that it leads to.
    pub service: Key,
    /// Id or alias of the service, as the request wrote it.
    pub target: String,
    /// Name of its connection.
    pub connection_name: String,
    /// Whether it was asked for as a manual connection.
    pub is_manual: bool,
    /// What the consumer tells the provider.
    pub request_message: Option<String>,
    /// In which state the connection began.
    pub initial: ConnectionState,
    /// The application security groups that it is in.
    #[serde(default)]
    pub app_groups: Vec<Key>,
}

impl Endpoint {
    /// Its addresses.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        let first = Addresses::from(self.place.address);
        self.ipv6.as_ref().and_then(|beside| first.and(beside.address)).unwrap_or(first)
    }

    /// `ipVersionType`, by Azure's words.
    #[must_use]
    pub fn ip_version(&self) -> &'static str {
        match self.ipv6 {
            Some(_) => "DualStack",
            None => Family::of(self.place.address).name(),
        }
    }

    /// Name of its network interface.
    #[must_use]
    pub fn nic(&self) -> String {
        let own = || format!("{}.nic.{}", self.head.name, self.guid);
        self.nic_name.clone().unwrap_or_else(own)
    }

    /// Name of its connection as the provider sees it.
    #[must_use]
    pub fn connection(&self) -> String {
        format!("{}.{}", self.head.name, self.guid)
    }
}

/// A resource of any kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Resource {
    /// A resource group.
    Group(Arc<Group>),
    /// A virtual network.
    Network(Arc<Network>),
    /// A load balancer.
    Balancer(Arc<Balancer>),
    /// A private link service.
    Service(Arc<Service>),
    /// A private endpoint.
    Endpoint(Arc<Endpoint>),
    /// A network security group.
    SecurityGroup(Arc<SecurityGroup>),
    /// An application security group.
    AppGroup(Arc<AppGroup>),
}

impl Resource {
    /// What all have.
    #[must_use]
    pub fn head(&self) -> &Head {
        match self {
            Resource::Group(group) => &group.head,
            Resource::Network(network) => &network.head,
            Resource::Balancer(balancer) => &balancer.head,
            Resource::Service(service) => &service.head,
            Resource::Endpoint(endpoint) => &endpoint.head,
            Resource::SecurityGroup(group) => &group.head,
            Resource::AppGroup(group) => &group.head,
        }
    }

    /// The same, to change it.
    pub fn head_mut(&mut self) -> &mut Head {
        match self {
            Resource::Group(group) => &mut Arc::make_mut(group).head,
            Resource::Network(network) => &mut Arc::make_mut(network).head,
            Resource::Balancer(balancer) => &mut Arc::make_mut(balancer).head,
            Resource::Service(service) => &mut Arc::make_mut(service).head,
            Resource::Endpoint(endpoint) => &mut Arc::make_mut(endpoint).head,
            Resource::SecurityGroup(group) => &mut Arc::make_mut(group).head,
            Resource::AppGroup(group) => &mut Arc::make_mut(group).head,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Group(_) => Kind::Group,
            Resource::Network(_) => Kind::Network,
            Resource::Balancer(_) => Kind::Balancer,
            Resource::Service(_) => Kind::Service,
            Resource::Endpoint(_) => Kind::Endpoint,
            Resource::SecurityGroup(_) => Kind::SecurityGroup,
            Resource::AppGroup(_) => Kind::AppGroup,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Id {
        Id { kind: self.kind(), key: self.head().key() }
    }
}

/// Prefixes as text: a list of them, or one by itself.
mod prefixes {
    use dataplane::types::Prefix;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Many(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(list: &[Prefix], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(Prefix::to_string))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<Prefix>, D::Error> {
        let texts = match Texts::deserialize(from)? {
            Texts::One(text) => vec![text],
            Texts::Many(texts) => texts,
        };
        let read = |text: &String| crate::resource::body::prefix("prefix", text);
        texts.iter().map(read).collect::<Result<_, _>>().map_err(Error::custom)
    }
}
