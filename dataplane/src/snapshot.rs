//! The configuration as the data path reads it: built once from a [`Plan`], then read only (I7).
//!
//! A snapshot answers four questions in constant time: which virtual network a device belongs to,
//! what adit itself is under an address of that network (an endpoint or a NAT IP), which rule an
//! endpoint's service has for a protocol and port, and which backend a hash falls on.
//! It holds no atomics and no handles; leases and resolved next hops live in `nat` and `neighbor`,
//! beside it in a `generation`.
//!
//! [`Plan`] is plain data; [`Snapshot::build`] refuses a plan that contradicts itself, so that a
//! snapshot never does.

mod patch;
mod peering;
mod plan;
mod quota;
mod security;
mod spread;
mod treatment;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use hashbrown::HashMap;

use crate::hash::FixedMap;

pub use crate::types::{Ending, Persistence, Timeouts};
pub use patch::Patch;
pub use peering::{PeerSpace, PeeringPlan, PeeringState};
pub use plan::{
    Balance, DeviceKind, DevicePlan, EndpointPlan, LeavingPlan, Plan, PlanError, ProbeSourcePlan,
    QuotaPlan, RoutePlan, RulePlan, ScopePlan, ServicePlan, UdpTracking,
};
pub use quota::{Quota, Reserves};
pub use security::{Access, Dialling, PortRange, SecurityGroup, SecurityGroupPlan, SecurityRule};
pub use spread::Spread;
pub use treatment::{Fragments, IcmpAnswers, IcmpErrors, MssClamp, Treatment};

use peering::Peers;

use crate::types::{
    Address, Addresses, BackendIndex, DeviceIndex, EndpointIndex, Family, LinkId, NeighborIndex,
    Prefix, Protocol, RowIndex, ScopeId, ScopedAddress, SecurityGroupIndex, ServiceIndex,
};

/// What adit is under an address of a virtual network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// A private endpoint: packets to it travel forward.
    Endpoint(EndpointIndex),
    /// A NAT IP of a service: packets to it return.
    NatIp,
    /// An address that health probes come from, and nothing else.
    ProbeSource,
}

/// Whether a connection carries traffic. Only `Approved` does (I11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// Traffic passes.
    Approved,
    /// Waits for the provider.
    Pending,
    /// The provider said no, at first or later.
    Rejected,
    /// The provider deleted the connection.
    Disconnected,
}

/// A private endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Id of its connection.
    pub link: LinkId,
    /// The virtual network that it lives in.
    pub scope: ScopeId,
    /// Its addresses there.
    pub addresses: Addresses,
    /// The service that it leads to.
    pub service: ServiceIndex,
    /// State of its connection.
    pub gate: Gate,
    /// Whether it answers echo requests.
    pub answers_echo: bool,
    /// How many flows it may have, and shall get.
    pub quota: Quota,
    /// The group that guards its subnet, if one does.
    pub security: Option<SecurityGroupIndex>,
}

impl Endpoint {
    /// Whether room is kept for it.
    #[must_use]
    pub fn reserves(&self) -> bool {
        self.gate == Gate::Approved && self.quota.reserved > 0
    }
}

/// A private link service.
#[derive(Clone, Debug)]
pub struct Service {
    /// The provider's virtual network.
    pub scope: ScopeId,
    /// 1 to [`crate::limits::NAT_IPS_MAX`] addresses of that network, whose ports are leased.
    pub nat_ips: Box<[Address]>,
    /// As many that it had before and that still have flows.
    leaving: Box<[(Address, NatIpState)]>,
    /// What its endpoints shall get.
    pub reserves: Reserves,
    /// What clients are told whose TCP segments it refuses.
    pub refusal: Refusal,
    /// What it does with what is not plain traffic that fits.
    pub treatment: Treatment,
    /// Backends and the protocols that they serve, sorted.
    serving: Box<[(Address, Protocol)]>,
    rules: Box<[Rule]>,
    /// Positions in `rules`, by protocol and port.
    by_port: FixedMap,
}

/// What a client is told whose TCP segment is refused: because nothing is approved, offered or left
/// for it, or because it belongs to no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Refusal {
    /// Nothing: it will time out.
    #[default]
    Silence,
    /// A reset: it fails at once.
    Reset,
}

/// How a service has a NAT IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatIpState {
    /// Its ports are leased.
    Active,
    /// It was taken away: its flows go on, and no port of it is leased any more.
    Draining,
    /// Its time to drain is over: its flows are closed.
    Closing,
}

impl Service {
    /// How the service has a NAT IP, if at all.
    #[must_use]
    pub fn nat_ip(&self, address: Address) -> Option<NatIpState> {
        if self.nat_ips.contains(&address) {
            return Some(NatIpState::Active);
        }
        let leaving = self.leaving.iter().find(|(leaving, _)| *leaving == address);
        leaving.map(|&(_, state)| state)
    }

    /// Its NAT IPs, those that leave last.
    pub fn all_nat_ips(&self) -> impl Iterator<Item = Address> {
        let leaving = self.leaving.iter().map(|&(address, _)| address);
        self.nat_ips.iter().copied().chain(leaving)
    }

    /// Its backends with the protocols that they serve, each once, in ascending order.
    #[must_use]
    pub fn serving(&self) -> &[(Address, Protocol)] {
        &self.serving
    }

    /// Whether a backend serves it with a protocol.
    #[must_use]
    pub fn is_served_by(&self, backend: (Address, Protocol)) -> bool {
        self.serving.binary_search(&backend).is_ok()
    }

    /// The rule for a port of the endpoint: the one that names it, or else the one for all ports of
    /// the protocol.
    #[inline]
    #[must_use]
    pub fn rule(&self, protocol: Protocol, port: u16) -> Option<&Rule> {
        self.rule_at(self.rule_position(protocol, port)?)
    }

    /// The position of that rule.
    #[inline]
    #[must_use]
    pub fn rule_position(&self, protocol: Protocol, port: u16) -> Option<u32> {
        let find = |port| {
            let (high, low) = rule_key(protocol, port);
            self.by_port.get(high, low)
        };
        find(port).or_else(|| find(ANY_PORT))
    }

    /// The rule at a position.
    #[inline]
    #[must_use]
    pub fn rule_at(&self, position: u32) -> Option<&Rule> {
        self.rules.get(position as usize)
    }
}

/// A load-balancing rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Port that the backends listen on; [`ANY_PORT`]: the one that was dialled.
    pub backend_port: u16,
    /// The frontend's address, if it floats: backends get packets that are addressed to it.
    pub floating: Option<Address>,
    /// The pool, in the order of the plan; [`Rule::spread`] names positions in it.
    pub backends: Box<[BackendIndex]>,
    /// The pools that flows to each of them lease from.
    pub rows: Box<[RowIndex]>,
    /// Spreads hashes over those of `backends` that take new flows.
    pub spread: Spread,
    /// What of a client's packet decides which backend serves it.
    pub persistence: Persistence,
    /// Whether UDP flows stay with their backend.
    pub udp_tracking: UdpTracking,
    /// Those of the pool whose flows end: their time to drain is over.
    pub drained: Box<[Address]>,
    /// How long its flows live without a packet.
    pub timeouts: Timeouts,
    /// What becomes of them when they end.
    pub ending: Ending,
}

impl Rule {
    /// The port of a backend that serves a port of the endpoint.
    #[inline]
    #[must_use]
    pub fn port_behind(&self, dialled: u16) -> u16 {
        if self.backend_port == ANY_PORT { dialled } else { self.backend_port }
    }

    /// What packets to a backend are addressed to.
    #[inline]
    #[must_use]
    pub fn target(&self, backend: Address) -> Address {
        self.floating.unwrap_or(backend)
    }
}

/// A server of a backend pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its address in the provider's virtual network.
    pub address: Address,
    /// The next hop towards it: itself if it is on the segment, else a router.
    pub next_hop: NeighborIndex,
}

/// A station that frames are sent to, to be resolved by ARP or Neighbor Discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The virtual network that it is asked for in.
    pub scope: ScopeId,
    /// Its address.
    pub address: IpAddr,
    /// The NAT IP of its family in whose name it is asked.
    pub asker: IpAddr,
}

/// What one port pool is for. Its leases are disjoint from every other pool's (I2). Both addresses
/// are of one family. Backends behind a frontend that floats share a pool: their answers all come
/// from the frontend's address, so that the port alone tells whose they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolKey {
    /// The provider's virtual network.
    pub scope: ScopeId,
    /// Whose ports are leased.
    pub nat_ip: Address,
    /// What packets are addressed to: a backend, or a frontend that floats.
    pub target: Address,
    /// TCP and UDP ports are different ports.
    pub protocol: Protocol,
}

impl PoolKey {
    /// As the key of a [`FixedMap`], which those of IPv6 do not fit.
    #[inline(always)]
    #[must_use]
    pub fn words(&self) -> Option<(u64, u32)> {
        let domain = u32::from(self.scope.0) << 8 | self.protocol as u32;
        match (self.nat_ip.family(), self.target.family()) {
            (Family::V4, Family::V4) => Some(Self::words_of(
                domain,
                self.nat_ip.last_word().into(),
                self.target.last_word().into(),
            )),
            // One of both would be taken for another's whose NAT IP ends alike.
            _ => None,
        }
    }

    /// The same, from scope and protocol in one word, as a packet has them (`FlowKey::domain`).
    #[inline(always)]
    #[must_use]
    pub fn words_of(domain: u32, nat_ip: Ipv4Addr, target: Ipv4Addr) -> (u64, u32) {
        (u64::from(nat_ip.to_bits()) << 32 | u64::from(target.to_bits()), domain)
    }
}

/// All pools that a service leases from towards one target: one for each of its NAT IPs that are of
/// the target's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolRow {
    /// The service.
    pub service: ServiceIndex,
    /// What packets are addressed to.
    pub target: Address,
    /// With which protocol.
    pub protocol: Protocol,
}

/// A virtual network.
#[derive(Clone, Debug)]
struct Scope {
    address_space: Box<[Prefix]>,
    devices: Box<[DeviceIndex]>,
    /// Whether adit has an IPv6 address there.
    speaks_ipv6: bool,
    peers: Peers,
}

/// The configuration of one generation. See the module's documentation.
///
/// Clones share everything but what lists endpoints.
#[derive(Clone, Debug)]
pub struct Snapshot {
    devices: Arc<[Option<DevicePlan>]>,
    scopes: Arc<[Scope]>,
    /// Endpoints by their index, NAT IPs as [`NAT_IP`], others as [`PROBE_SOURCE`]. Those of IPv4.
    locals: FixedMap,
    /// Those of IPv6.
    wide_locals: HashMap<ScopedAddress, Local>,
    /// Addresses that health probes come from, NAT IPs among them.
    probe_sources: Arc<[ProbeSourcePlan]>,
    by_nat_ip: Arc<HashMap<ScopedAddress, ServiceIndex>>,
    reassembles: bool,
    tells_refused: bool,
    reserves: Reserves,
    endpoints: Vec<Endpoint>,
    by_link: HashMap<LinkId, EndpointIndex>,
    services: Arc<[Service]>,
    security_groups: Arc<[SecurityGroup]>,
    fair_share_percent: u8,
    backends: Arc<[Backend]>,
    backend_of: Arc<HashMap<ScopedAddress, BackendIndex>>,
    next_hops: Arc<[NextHop]>,
    pool_keys: Arc<[PoolKey]>,
    pool_rows: Arc<[PoolRow]>,
}

/// Stands for all ports of a protocol in a rule (HA ports). No packet has it.
pub const ANY_PORT: u16 = 0;

/// Stands for a NAT IP where endpoints are numbered.
const NAT_IP: u32 = u32::MAX - 1;

/// Stands for an address that only probes come from where endpoints are numbered.
const PROBE_SOURCE: u32 = u32::MAX - 2;

#[inline(always)]
fn local_key(scope: ScopeId, address: Ipv4Addr) -> (u64, u32) {
    (u64::from(address.to_bits()), u32::from(scope.0))
}

#[inline(always)]
fn rule_key(protocol: Protocol, port: u16) -> (u64, u32) {
    (u64::from(port), protocol as u32)
}

impl Snapshot {
    /// Builds the snapshot that `plan` describes.
    ///
    /// # Errors
    /// The plan contradicts itself; the error says where.
    pub fn build(plan: Plan) -> Result<Snapshot, PlanError> {
        plan::build(plan)
    }

    /// All device slots; `None` where a device was removed and its number is not used again yet.
    #[must_use]
    pub fn devices(&self) -> &[Option<DevicePlan>] {
        &self.devices
    }

    /// The virtual network that a device belongs to.
    #[inline]
    #[must_use]
    pub fn device_scope(&self, device: DeviceIndex) -> Option<ScopeId> {
        self.devices.get(device.slot())?.as_ref().map(|device| device.scope)
    }

    /// Whether adit has an IPv6 address in a virtual network, or may have one in a peer of it.
    #[inline]
    #[must_use]
    pub fn speaks_ipv6(&self, scope: ScopeId) -> bool {
        let scope = self.scopes.get(scope.slot());
        scope.is_some_and(|scope| scope.speaks_ipv6 || scope.peers.speak_ipv6())
    }

    /// The devices of a virtual network.
    #[must_use]
    pub fn scope_devices(&self, scope: ScopeId) -> &[DeviceIndex] {
        self.scopes.get(scope.slot()).map_or(&[], |scope| &scope.devices)
    }

    /// Whether an address belongs to a virtual network's address space.
    #[inline]
    #[must_use]
    pub fn in_address_space(&self, scope: ScopeId, address: impl Into<Address>) -> bool {
        let address = address.into();
        let scope = self.scopes.get(scope.slot());
        scope.is_some_and(|scope| scope.address_space.iter().any(|prefix| prefix.contains(address)))
    }

    /// What adit is under this address in the network itself.
    #[inline(always)]
    #[must_use]
    pub fn local(&self, scope: ScopeId, address: impl Into<Address>) -> Option<Local> {
        let address = address.into();
        let (high, low) = match address.family() {
            Family::V4 => local_key(scope, address.last_word().into()),
            Family::V6 => return self.wide_locals.get(&ScopedAddress { scope, address }).copied(),
        };
        match self.locals.get(high, low)? {
            NAT_IP => Some(Local::NatIp),
            PROBE_SOURCE => Some(Local::ProbeSource),
            endpoint => Some(Local::Endpoint(EndpointIndex(endpoint))),
        }
    }

    /// An endpoint by its index.
    #[inline]
    #[must_use]
    pub fn endpoint(&self, index: EndpointIndex) -> Option<&Endpoint> {
        self.endpoints.get(index.slot())
    }

    /// An endpoint by the id of its connection, which survives from one snapshot to the next.
    #[must_use]
    pub fn endpoint_of_link(&self, link: LinkId) -> Option<&Endpoint> {
        self.by_link.get(&link).and_then(|&index| self.endpoint(index))
    }

    /// All endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// A service by its index.
    #[inline]
    #[must_use]
    pub fn service(&self, index: ServiceIndex) -> Option<&Service> {
        self.services.get(index.slot())
    }

    /// How many services there are.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// How much of what is scarce is kept for endpoints that have no more than their fair share, in
    /// percent.
    #[must_use]
    pub fn fair_share_percent(&self) -> u8 {
        self.fair_share_percent
    }

    /// Whether any room is kept for anybody: then not everything that is free is everybody's.
    #[inline(always)]
    #[must_use]
    pub fn keeps_room(&self) -> bool {
        self.fair_share_percent > 0 || !self.reserves.is_empty()
    }

    /// How much of so much room is kept for endpoints that have no more than their fair share.
    #[inline]
    #[must_use]
    pub fn kept(&self, capacity: usize) -> usize {
        match self.fair_share_percent {
            0 => 0,
            percent => {
                capacity / 100 * usize::from(percent) + capacity % 100 * usize::from(percent) / 100
            }
        }
    }

    /// The network security group that guards an endpoint's subnet, if one does.
    #[must_use]
    pub fn security_group(&self, endpoint: &Endpoint) -> Option<&SecurityGroup> {
        self.security_groups.get(endpoint.security?.slot())
    }

    /// Whether any service cares for fragments.
    #[must_use]
    pub fn reassembles(&self) -> bool {
        self.reassembles
    }

    /// Whether any service tells anybody that a packet was refused.
    #[must_use]
    pub fn tells_refused(&self) -> bool {
        self.tells_refused
    }

    /// All NAT IPs of a virtual network, in ascending order.
    #[must_use]
    pub fn nat_ips(&self, scope: ScopeId) -> Vec<IpAddr> {
        let own = self.by_nat_ip.keys().filter(|of| of.scope == scope);
        let mut own: Vec<IpAddr> = own.map(|of| of.address.ip()).collect();
        own.sort_unstable();
        own
    }

    /// What all endpoints together shall get.
    #[must_use]
    pub fn reserves(&self) -> &Reserves {
        &self.reserves
    }

    /// The service that has this NAT IP.
    #[must_use]
    pub fn service_of_nat_ip(&self, scope: ScopeId, address: Address) -> Option<&Service> {
        self.service(*self.by_nat_ip.get(&ScopedAddress { scope, address })?)
    }

    /// A backend by its index.
    #[inline]
    #[must_use]
    pub fn backend(&self, index: BackendIndex) -> Option<&Backend> {
        self.backends.get(index.slot())
    }

    /// The backend that has an address in a virtual network.
    #[must_use]
    pub fn backend_at(&self, scope: ScopeId, address: impl Into<Address>) -> Option<&Backend> {
        self.backend(*self.backend_of.get(&ScopedAddress::new(scope, address))?)
    }

    /// The addresses that health probes come from.
    #[must_use]
    pub fn probe_sources(&self) -> &[ProbeSourcePlan] {
        &self.probe_sources
    }

    /// Whether a TCP segment between these addresses can answer a health probe: it goes to where
    /// probes come from, and comes from a backend.
    #[must_use]
    pub fn is_probed(&self, scope: ScopeId, source: Address, backend: Address) -> bool {
        let probes = ProbeSourcePlan { scope, address: source.ip() };
        self.probe_sources.contains(&probes) && self.backend_at(scope, backend).is_some()
    }

    /// Every next hop that some backend needs; [`NeighborIndex`] is the position.
    #[must_use]
    pub fn next_hops(&self) -> &[NextHop] {
        &self.next_hops
    }

    /// Every port pool that some rule can lease from, sorted.
    #[must_use]
    pub fn pool_keys(&self) -> &[PoolKey] {
        &self.pool_keys
    }

    /// Every row of them; [`RowIndex`] is the position.
    #[must_use]
    pub fn pool_rows(&self) -> &[PoolRow] {
        &self.pool_rows
    }
}

fn taken(address: Address) -> PlanError {
    PlanError::Duplicate("address", alloc::format!("{address}"))
}

/// Lists of a plan are far shorter than 2^32; one that were not would fail a bound before.
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
