//! What a configuration means. A [`Config`] exists only if every rule holds: names resolve,
//! addresses lie where they must, nothing is used twice, and every number is within its limits.
//!
//! Fields that refer to another resource hold its position in the list of that resource.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dataplane::snapshot::{Balance, DeviceKind, Quota, Treatment};
use dataplane::types::{Address, Addresses, Family, Prefix};

pub use super::balance::{
    AdminState, InboundNatRule, Lifetime, Pool, PoolBackend, Rule, RuleProtocol,
};
use super::name::{InterfaceName, Name};
use super::probe::{NoHealthyBackends, Probe};
use super::profile::FlowSettings;
use super::reader::Located;
pub use super::recording::{Collector, FlowLog, LogFile, Memory, MetricsPush, Receiver};
pub use super::security::{
    AddressFilter, EndpointPolicies, NetworkSecurityGroup, SecurityRule, Subnet,
};
use crate::state::{ConnectionState, Health};

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) settings: Settings,
    pub(crate) virtual_networks: Vec<VirtualNetwork>,
    pub(crate) devices: Vec<Device>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) load_balancers: Vec<LoadBalancer>,
    pub(crate) services: Vec<PrivateLinkService>,
    pub(crate) endpoints: Vec<PrivateEndpoint>,
    pub(crate) security_groups: Vec<NetworkSecurityGroup>,
}

/// `[adit]` and the logs: what is fixed for as long as the process runs, but for fair shares.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the control socket is.
    pub control_socket: Setting<PathBuf>,
    /// Where metrics and the page are served, if anywhere.
    pub http: Setting<Option<SocketAddr>>,
    /// Worker threads.
    pub workers: Setting<u8>,
    /// Flows that each worker has room for.
    pub flows_max: Setting<usize>,
    /// How much of what is scarce is kept for endpoints that have no more than their fair share.
    pub fair_share_percent: u8,
    /// Whether the kernel carries the usual packets of flows.
    pub fast_path: Setting<FastPathUse>,
    /// Whether privileges that nothing needs are dropped.
    pub privileges: Setting<PrivilegeUse>,
    /// How long flows are remembered after their end.
    pub whois: Setting<Memory>,
    /// Where flows are written down.
    pub flow_log: Setting<FlowLog>,
    /// Where it is written down who changed what; `None`: with what the daemon says.
    pub audit_log: Setting<Option<PathBuf>>,
    /// Where metrics are sent, if anywhere.
    pub metrics_push: Setting<Option<MetricsPush>>,
}

/// What becomes of privileges that nothing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PrivilegeUse {
    /// They are dropped for good.
    #[default]
    Drop,
    /// They stay.
    Keep,
}

/// Whether the kernel carries the usual packets of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FastPathUse {
    /// Where it can.
    #[default]
    Auto,
    /// adit carries all of them.
    Off,
}

/// A setting's value, and where the file has it; `None` if it is a default.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// The line that it stands on, if any.
    pub line: Option<usize>,
}

impl<T> Setting<T> {
    /// A value that the file has.
    pub(super) fn of<R>(raw: &Located<R>, value: T) -> Setting<T> {
        Setting { value, line: Some(raw.place.line) }
    }

    /// A value that the file does not have.
    pub(super) fn default(value: T) -> Setting<T> {
        Setting { value, line: None }
    }
}

/// A virtual network.
#[derive(Clone, Debug)]
pub struct VirtualNetwork {
    /// Its name, unique among virtual networks.
    pub name: Name,
    /// Its prefixes; no two overlap.
    pub address_space: Vec<Prefix>,
    /// Prefixes of other networks and of sites on premises, whose clients come by its routers.
    /// None overlaps another or one of its own.
    pub remote_address_space: Vec<Prefix>,
    /// Networks that it names as its peers, each once; whether they name it, too, is another
    /// question.
    pub peers: Vec<usize>,
    /// Ways to backends behind routers; no two have the same prefix.
    pub routes: Vec<Route>,
    /// Parts of it that have policies of their own.
    pub subnets: Vec<Subnet>,
}

impl VirtualNetwork {
    /// Its prefixes as text.
    #[must_use]
    pub fn address_space_text(&self) -> String {
        list(&self.address_space)
    }

    /// Its remote prefixes as text.
    #[must_use]
    pub fn remote_address_space_text(&self) -> String {
        list(&self.remote_address_space)
    }

    /// Where its clients may come from.
    pub fn client_prefixes(&self) -> impl Iterator<Item = Prefix> + '_ {
        self.address_space.iter().chain(&self.remote_address_space).copied()
    }
}

fn list(prefixes: &[Prefix]) -> String {
    let prefixes: Vec<String> = prefixes.iter().map(Prefix::to_string).collect();
    prefixes.join(", ")
}

/// A route to backends behind a router.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Destinations, within the address space.
    pub address_prefix: Prefix,
    /// The router, within the address space.
    pub next_hop_ip_address: IpAddr,
}

/// An interface to attach.
#[derive(Clone, Debug)]
pub struct Device {
    /// The kernel's name for it, unique in its namespace.
    pub name: InterfaceName,
    /// How it is attached.
    pub kind: DeviceKind,
    /// The virtual network behind it.
    pub virtual_network: usize,
    /// Absolute path of its network namespace; `None` for the one that adit runs in.
    pub network_namespace: Option<String>,
}

/// An interface of a virtual network that the API makes: attached as soon as that is there.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The kernel's name for it, unique in its namespace.
    pub name: InterfaceName,
    /// How it is attached.
    pub kind: DeviceKind,
    /// The virtual network: `group/name`, or a resource id.
    pub virtual_network: String,
    /// Absolute path of its network namespace; `None` for the one that adit runs in.
    pub network_namespace: Option<String>,
}

/// A Standard load balancer.
#[derive(Clone, Debug)]
pub struct LoadBalancer {
    /// Its name, unique among load balancers.
    pub name: Name,
    /// The provider's virtual network.
    pub virtual_network: usize,
    /// The address of its frontend, if it is said: only backends behind one that floats see it.
    pub frontend: Option<IpAddr>,
    /// Its backend pools.
    pub pools: Vec<Pool>,
    /// Its rules; no two have the same protocol and frontend port.
    pub rules: Vec<Rule>,
    /// Ports that lead to one backend each; none is a rule's.
    pub inbound_nat_rules: Vec<InboundNatRule>,
    /// Its health probes.
    pub probes: Vec<Probe>,
    /// Where probes come from, to backends of their families. To those of another: from a NAT IP of
    /// the first service that leads here.
    pub probe_sources: Option<Addresses>,
}

impl LoadBalancer {
    /// The probe of a rule.
    #[must_use]
    pub fn probe_of(&self, rule: &Rule) -> Option<&Probe> {
        self.probes.get(rule.probe?)
    }

    /// How a rule spreads flows over a pool, of whose backends `health` knows.
    #[must_use]
    pub fn balance(&self, rule: &Rule, pool: &Pool, health: &Health) -> Balance {
        let Some(probe) = self.probe_of(rule) else { return rule.balance(pool, |_| true) };
        let is_up = |backend: &PoolBackend| match backend.admin_state {
            AdminState::None => health.is_up(&self.name, &probe.name, backend.address),
            AdminState::Up => true,
            AdminState::Down => false,
        };
        let is_anyone_up = pool.backends.iter().any(is_up);
        if !is_anyone_up && probe.no_healthy_backends == NoHealthyBackends::AllProbedUp {
            return rule.balance(pool, |_| true);
        }
        rule.balance(pool, is_up)
    }

    /// Whether a rule of either kind can lead to an address.
    #[must_use]
    pub fn has_backend(&self, address: IpAddr) -> bool {
        let mut pooled = self.pools.iter().flat_map(Pool::addresses);
        let mut translated = self.inbound_nat_rules.iter().map(|rule| rule.backend_address);
        pooled.any(|backend| backend == address) || translated.any(|backend| backend == address)
    }
}

/// A private link service.
#[derive(Clone, Debug)]
pub struct PrivateLinkService {
    /// Its name, unique among services.
    pub name: Name,
    /// The load balancer that it leads to.
    pub load_balancer: usize,
    /// 1 to 8 NAT IPs.
    pub nat_ips: Vec<NatIp>,
    /// How long a NAT IP that is taken away keeps its flows.
    pub nat_ip_drain: Duration,
    /// What each of its endpoints shall get and may have, unless it says otherwise.
    pub quota: Quota,
    /// Whether connections are approved without asking.
    pub auto_approve: bool,
    /// How its flows live and end.
    pub flows: FlowSettings,
    /// What it does with what is not plain traffic that fits.
    pub treatment: Treatment,
}

/// A NAT IP configuration.
#[derive(Clone, Debug)]
pub struct NatIp {
    /// Its name, unique in the service.
    pub name: Name,
    /// Its address, in the provider's virtual network and used for nothing else.
    pub address: IpAddr,
}

/// A private endpoint.
#[derive(Clone, Debug)]
pub struct PrivateEndpoint {
    /// Its name, unique among endpoints.
    pub name: Name,
    /// The consumer's virtual network.
    pub virtual_network: usize,
    /// Its address there, or one of each family, used for nothing else.
    pub addresses: Addresses,
    /// The service that it leads to.
    pub service: usize,
    /// What the consumer tells the provider, at most 140 characters.
    pub request_message: Option<String>,
    /// The state in which its connection begins, if it is said: by the file never `Disconnected`.
    pub connection_state: Option<ConnectionState>,
    /// Whether it answers echo requests while it is approved.
    pub icmp_echo: bool,
    /// How many flows it shall get, if it says so.
    pub flows_reserved: Option<u32>,
    /// How many flows it may have, if it says so.
    pub flows_max: Option<u32>,
}

impl Config {
    /// What is fixed while the process runs.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The virtual networks, in the order of the file.
    #[must_use]
    pub fn virtual_networks(&self) -> &[VirtualNetwork] {
        &self.virtual_networks
    }

    /// The devices, in the order of the file.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The devices of virtual networks that the API makes.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The load balancers, in the order of the file.
    #[must_use]
    pub fn load_balancers(&self) -> &[LoadBalancer] {
        &self.load_balancers
    }

    /// The private link services, in the order of the file.
    #[must_use]
    pub fn services(&self) -> &[PrivateLinkService] {
        &self.services
    }

    /// The private endpoints, in the order of the file.
    #[must_use]
    pub fn endpoints(&self) -> &[PrivateEndpoint] {
        &self.endpoints
    }

    /// The network security groups, in the order of the file.
    #[must_use]
    pub fn security_groups(&self) -> &[NetworkSecurityGroup] {
        &self.security_groups
    }

    /// The address that probes of a load balancer's backends of a family come from; `None` if no
    /// service leads to it, or none of its NAT IPs is of that family.
    #[must_use]
    pub fn probe_source(&self, load_balancer: usize, family: Family) -> Option<IpAddr> {
        let mut services = self.services.iter();
        let service = services.find(|service| service.load_balancer == load_balancer)?;
        let own = self.load_balancers.get(load_balancer)?.probe_sources;
        let own = own.and_then(|own| own.of(family)).map(Address::ip);
        let mut nat_ips = service.nat_ips.iter().map(|nat_ip| nat_ip.address);
        own.or_else(|| nat_ips.find(|nat_ip| Family::of(*nat_ip) == family))
    }

    /// How many flows an endpoint shall get and may have.
    #[must_use]
    pub fn quota(&self, endpoint: &PrivateEndpoint) -> Quota {
        let service = self.services.get(endpoint.service);
        let Quota { reserved, most } = service.map(|service| service.quota).unwrap_or_default();
        Quota {
            reserved: endpoint.flows_reserved.unwrap_or(reserved),
            most: endpoint.flows_max.unwrap_or(most),
        }
    }

    /// The network security group that guards an endpoint, if one does.
    #[must_use]
    pub fn guard(&self, endpoint: &PrivateEndpoint) -> Option<&NetworkSecurityGroup> {
        let network = self.virtual_networks.get(endpoint.virtual_network)?;
        // All of its addresses are in the same.
        let mut subnets = network.subnets.iter();
        let guard = subnets.find(|subnet| subnet.contains(endpoint.addresses.first()))?.guard()?;
        self.security_groups.get(guard)
    }

    /// The state in which an endpoint's connection begins.
    #[must_use]
    pub fn initial_state(&self, endpoint: &PrivateEndpoint) -> ConnectionState {
        let auto = self.services.get(endpoint.service).is_some_and(|service| service.auto_approve);
        let default = if auto { ConnectionState::Approved } else { ConnectionState::Pending };
        endpoint.connection_state.unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::Profile;
    use super::*;
    use dataplane::snapshot::{Ending, Timeouts};

    #[test]
    fn the_azure_profile_is_the_data_paths_default_and_a_rule_wins() {
        let mut rule = Lifetime::default();
        let azure = FlowSettings::default();
        assert_eq!(azure.timeouts(&rule), Timeouts::default());
        assert_eq!(azure.ending(&rule), Ending { resets: true, hold_down_ticks: 0 });
        rule.idle_timeout = Some(Duration::from_secs(240));
        rule.tcp_reset = Some(false);
        assert_eq!(azure.timeouts(&rule).established_ticks, 24_000);
        assert!(!azure.ending(&rule).resets);
        let gcp = Profile::Gcp.settings();
        assert_eq!(gcp.ending(&rule).hold_down_ticks, 12_000);
    }
}
