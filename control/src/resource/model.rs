//! Resources as they are kept. References are keys; what is shown is looked up when it is asked.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::types::Prefix;
use serde::{Deserialize, Serialize};

use super::{Id, Key, Kind};
use crate::state::ConnectionState;

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
    /// Routers of the file; nobody gets their addresses.
    #[serde(skip)]
    pub routers: Vec<Ipv4Addr>,
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
    /// Its addresses.
    #[serde(with = "prefix")]
    pub prefix: Prefix,
    /// `privateEndpointNetworkPolicies`, one of Azure's words.
    pub endpoint_policies: String,
    /// Whether `privateLinkServiceNetworkPolicies` is `Enabled`: then no NAT IP may be here.
    pub service_policies: bool,
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
    pub address: Ipv4Addr,
    /// Whether the request named it.
    pub is_static: bool,
}

/// A Standard load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balancer {
    /// What all have.
    pub head: Head,
    /// Its frontends, all in one virtual network.
    pub frontends: Vec<Frontend>,
    /// Its backend pools.
    pub pools: Vec<Pool>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

impl Balancer {
    /// The frontend of a name.
    #[must_use]
    pub fn frontend(&self, name: &str) -> Option<&Frontend> {
        self.frontends.iter().find(|frontend| frontend.name.eq_ignore_ascii_case(name))
    }
}

/// A frontend of a load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frontend {
    /// Its name.
    pub name: String,
    /// Its subnet and address; the file's have no address of their own.
    pub subnet: SubnetKey,
    /// Its address, if it has one.
    pub address: Option<Ipv4Addr>,
    /// Whether the request named it.
    pub is_static: bool,
}

/// A backend pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its backends, by name; no two have the same address.
    pub backends: Vec<(String, Ipv4Addr)>,
}

/// A load-balancing rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Name of its frontend.
    pub frontend: String,
    /// Name of its pool.
    pub pool: String,
    /// Which packets it takes.
    pub protocol: Transport,
    /// What of a client's packet decides which backend serves it.
    pub distribution: Distribution,
    /// The port that consumers dial.
    pub frontend_port: u16,
    /// The port that backends listen on.
    pub backend_port: u16,
    /// 4 to 30.
    pub idle_minutes: Option<u8>,
    /// Whether both sides are reset when adit ends a flow.
    pub tcp_reset: Option<bool>,
}

/// Protocols of a rule, by Azure's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// TCP to one port.
    Tcp,
    /// UDP to one port.
    Udp,
    /// Both, to all ports that no other rule has.
    All,
}

impl Transport {
    /// All of them, by name.
    pub const WORDS: &[(&str, Transport)] =
        &[("Tcp", Transport::Tcp), ("Udp", Transport::Udp), ("All", Transport::All)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "Tcp",
            Transport::Udp => "Udp",
            Transport::All => "All",
        }
    }
}

/// How flows spread, by Azure's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distribution {
    /// Each by itself.
    Default,
    /// All of a client together.
    SourceIP,
    /// All of a client and protocol together.
    SourceIPProtocol,
}

impl Distribution {
    /// All of them, by name.
    pub const WORDS: &[(&str, Distribution)] = &[
        ("Default", Distribution::Default),
        ("SourceIP", Distribution::SourceIP),
        ("SourceIPProtocol", Distribution::SourceIPProtocol),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Distribution::Default => "Default",
            Distribution::SourceIP => "SourceIP",
            Distribution::SourceIPProtocol => "SourceIPProtocol",
        }
    }
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

/// A private endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What all have.
    pub head: Head,
    /// What makes its connection and its NIC unique.
    pub guid: String,
    /// Where it is, for as long as it lives.
    pub place: Place,
    /// How the request named its address: name, group id, member name.
    pub ip_configuration: Option<(String, String, String)>,
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
}

impl Endpoint {
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
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> Id {
        Id { kind: self.kind(), key: self.head().key() }
    }
}

/// Prefixes as text.
mod prefix {
    use dataplane::types::Prefix;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(prefix: &Prefix, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(prefix)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Prefix, D::Error> {
        let text = String::deserialize(from)?;
        crate::resource::body::prefix("prefix", &text).map_err(Error::custom)
    }
}

mod prefixes {
    use dataplane::types::Prefix;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(list: &[Prefix], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.iter().map(Prefix::to_string))
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Vec<Prefix>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        let read = |text: &String| crate::resource::body::prefix("prefix", text);
        texts.iter().map(read).collect::<Result<_, _>>().map_err(Error::custom)
    }
}
