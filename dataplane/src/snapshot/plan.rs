//! What a snapshot is built from: plain data in plain order, and the checks that it is consistent.
//!
//! `control` fills a [`Plan`] from validated configuration; tests write one by hand. Indices are
//! positions in its lists.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use hashbrown::HashMap;

use super::{
    Backend, Endpoint, Fragments, Gate, IcmpAnswers, Local, NAT_IP, NatIpState, NextHop,
    PROBE_SOURCE, PeeringPlan, Peers, Persistence, PoolKey, PoolRow, Quota, Refusal, Reserves,
    Rule, Scope, SecurityGroup, SecurityGroupPlan, Service, Snapshot, Spread, Treatment, index,
    local_key, rule_key, taken,
};
use crate::hash::FixedMap;
use crate::limits::{BACKENDS_PER_RULE_MAX, DEVICES_MAX, NAT_IPS_MAX, POOLS_MAX};
use crate::types::{
    Address, Addresses, BackendIndex, DeviceIndex, Ending, EndpointIndex, Family, LinkId,
    NeighborIndex, Prefix, Protocol, RowIndex, ScopeId, ScopedAddress, SecurityGroupIndex,
    ServiceIndex, Timeouts,
};
/// Everything that a snapshot knows, as plain lists.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Device slots, in the order of [`DeviceIndex`]. A slot keeps its device from one plan to the
    /// next; a removed device leaves `None`.
    pub devices: Vec<Option<DevicePlan>>,
    /// Virtual networks, in the order of [`ScopeId`].
    pub scopes: Vec<ScopePlan>,
    /// Services, in the order of [`ServiceIndex`].
    pub services: Vec<ServicePlan>,
    /// Endpoints, in the order of [`EndpointIndex`].
    pub endpoints: Vec<EndpointPlan>,
    /// NAT IPs that were taken away from services and still have flows.
    pub leaving_nat_ips: Vec<LeavingPlan>,
    /// What endpoints may have and shall get; for those without an entry nothing is settled.
    pub quotas: Vec<QuotaPlan>,
    /// Addresses that health probes come from: NAT IPs, or such that are used for nothing else.
    pub probe_sources: Vec<ProbeSourcePlan>,
    /// Network security groups, in the order of [`SecurityGroupIndex`].
    pub security_groups: Vec<SecurityGroupPlan>,
    /// Peerings, each side by itself and at most once.
    pub peerings: Vec<PeeringPlan>,
    /// How much of all ports towards a target, and of all records, is kept for endpoints that have
    /// no more than their fair share: 0 to 100 of a hundred.
    pub fair_share_percent: u8,
}

/// An address that health probes come from. adit answers for it; what else comes to it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSourcePlan {
    /// The provider's virtual network.
    pub scope: ScopeId,
    /// The address.
    pub address: IpAddr,
}

/// The quota of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaPlan {
    /// Id of its connection.
    pub link: LinkId,
    /// The quota.
    pub quota: Quota,
}

/// A NAT IP that is on its way out: it keeps its flows and gets no new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeavingPlan {
    /// Whose it was.
    pub service: ServiceIndex,
    /// The address, owned by nothing else of that network.
    pub address: IpAddr,
    /// Whether its flows are closed now; else they may go on.
    pub is_closing: bool,
}

/// An interface to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePlan {
    /// Interface name, as the kernel knows it.
    pub name: String,
    /// How it is attached.
    pub kind: DeviceKind,
    /// Path of the network namespace that it lives in; `None` for adit's own.
    pub namespace: Option<String>,
    /// The virtual network behind it.
    pub scope: ScopeId,
}

/// How an interface is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// An existing interface (a veth), through a packet socket.
    AfPacket,
    /// An existing interface (a veth), through AF_XDP sockets and a program on its driver.
    AfXdp,
    /// A TAP device that adit creates, or joins if it exists.
    Tap,
}

/// A virtual network.
#[derive(Clone, Debug)]
pub struct ScopePlan {
    /// Prefixes that its hosts' addresses lie in; anything else is spoofed.
    pub address_space: Vec<Prefix>,
    /// Ways to backends that are not on the segment; the longest prefix wins.
    pub routes: Vec<RoutePlan>,
}

/// A route to backends behind a router.
#[derive(Clone, Copy, Debug)]
pub struct RoutePlan {
    /// Destinations.
    pub prefix: Prefix,
    /// The router, on the segment.
    pub next_hop: IpAddr,
}

/// A private link service and the load balancer behind it.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    /// The provider's virtual network.
    pub scope: ScopeId,
    /// 1 to 8 addresses, owned by no other service or endpoint of that network; among them one at
    /// least of each family that backends have.
    pub nat_ips: Vec<IpAddr>,
    /// What clients are told whose TCP segments it refuses.
    pub refusal: Refusal,
    /// At most one for each protocol and port.
    pub rules: Vec<RulePlan>,
    /// What it does with what is not plain traffic that fits.
    pub treatment: Treatment,
}

/// A load-balancing rule.
#[derive(Clone, Debug)]
pub struct RulePlan {
    /// What it matches.
    pub protocol: Protocol,
    /// Port of the endpoint; [`super::ANY_PORT`]: all that no other rule of the protocol has.
    pub port: u16,
    /// Port of the backends; [`super::ANY_PORT`]: the one that was dialled.
    pub backend_port: u16,
    /// The frontend's address in the provider's virtual network, of the family of the backends, if
    /// it floats: packets to backends are addressed to it.
    pub floating: Option<IpAddr>,
    /// Addresses of the backends in the provider's virtual network, without duplicates: all that
    /// may serve flows, also those that take no new ones.
    pub backends: Vec<IpAddr>,
    /// How flows are spread over them.
    pub balance: Balance,
    /// How long its flows live without a packet.
    pub timeouts: Timeouts,
    /// What becomes of them when they end.
    pub ending: Ending,
}

/// How a rule spreads flows over its backends.
#[derive(Clone, Debug, Default)]
pub struct Balance {
    /// What of a client's packet decides.
    pub persistence: Persistence,
    /// Whether UDP flows stay with their backend.
    pub udp_tracking: UdpTracking,
    /// Shares of the backends, in their order: 0 takes no new flows and keeps those that it has.
    /// Empty: all alike.
    pub weights: Vec<u16>,
    /// Backends whose flows end: their time to drain is over.
    pub drained: Vec<IpAddr>,
}

/// Whether UDP flows stay with their backend when the pool changes, as TCP flows do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpTracking {
    /// A flow whose hash falls on another backend by now goes there.
    Off,
    /// A flow stays for as long as its backend may serve it.
    #[default]
    On,
}

/// A private endpoint.
#[derive(Clone, Copy, Debug)]
pub struct EndpointPlan {
    /// Id of its connection; unique in the plan, and never used for another connection again.
    pub link: LinkId,
    /// The virtual network that it lives in.
    pub scope: ScopeId,
    /// Its addresses, owned by nothing else of adit in that network.
    pub addresses: Addresses,
    /// Where it leads.
    pub service: ServiceIndex,
    /// State of its connection.
    pub gate: Gate,
    /// Whether it answers echo requests while it is approved.
    pub answers_echo: bool,
}

/// How a plan contradicts itself. `control` finds these first and says them in the words of the
/// file; here they are the last line of defence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// An index names nothing: what holds it, and which number.
    Dangling(&'static str, usize),
    /// More of something than there may be: of what.
    TooMany(&'static str),
    /// A list that may not be empty is: of what.
    Missing(&'static str),
    /// Something that must be unique is not: what.
    Duplicate(&'static str, String),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::Dangling(what, index) => write!(f, "{what} {index} does not exist"),
            PlanError::TooMany(what) => write!(f, "too many {what}"),
            PlanError::Missing(what) => write!(f, "no {what}"),
            PlanError::Duplicate(what, which) => write!(f, "{what} {which} is used twice"),
        }
    }
}

/// See [`Snapshot::build`].
pub(super) fn build(plan: Plan) -> Result<Snapshot, PlanError> {
    let mut builder = Builder::default();
    let mut scopes = builder.scopes(&plan)?;
    let services = builder.services(&plan)?;
    let endpoints = builder.endpoints(&plan)?;
    let probe_sources = builder.probe_sources(&plan)?;
    let services = with_reserves(services, &endpoints);
    let reserves = Reserves::of(endpoints.iter());
    let locals = builder.locals.iter();
    let wide_locals = locals.filter(|(at, _)| at.address.family() == Family::V6);
    let wide_locals: HashMap<_, _> = wide_locals.map(|(at, local)| (*at, *local)).collect();
    for at in wide_locals.keys() {
        if let Some(scope) = scopes.get_mut(at.scope.slot()) {
            scope.speaks_ipv6 = true;
        }
    }
    builder.pool_keys.sort_unstable();
    builder.pool_keys.dedup();
    if builder.pool_keys.len() > POOLS_MAX {
        return Err(PlanError::TooMany(
            "port pools: NAT IPs times backends times protocols, 65536 at most",
        ));
    }
    let links = endpoints.iter().enumerate();
    let cares = |service: &Service| service.treatment.fragments == Fragments::Reassemble;
    let reassembles = services.iter().any(cares);
    let tells = |service: &Service| {
        service.refusal != Refusal::Silence
            || service.treatment.icmp_answers != IcmpAnswers::default()
    };
    let tells_refused = services.iter().any(tells);
    let security_groups = plan.security_groups.iter().map(SecurityGroup::build).collect();
    Ok(Snapshot {
        security_groups,
        fair_share_percent: plan.fair_share_percent.min(100),
        devices: plan.devices.into(),
        scopes: scopes.into(),
        by_link: links.map(|(at, endpoint)| (endpoint.link, EndpointIndex(index(at)))).collect(),
        locals: self::locals(&builder.locals),
        wide_locals,
        probe_sources: probe_sources.into(),
        by_nat_ip: builder.by_nat_ip.into(),
        reassembles,
        tells_refused,
        reserves,
        endpoints,
        services: services.into(),
        backends: builder.backends.into(),
        backend_of: builder.backend_of.into(),
        next_hops: builder.next_hops.into(),
        pool_keys: builder.pool_keys.into(),
        pool_rows: builder.pool_rows.into(),
    })
}

#[derive(Default)]
struct Builder {
    locals: HashMap<ScopedAddress, Local>,
    by_nat_ip: HashMap<ScopedAddress, ServiceIndex>,
    backends: Vec<Backend>,
    backend_of: HashMap<ScopedAddress, BackendIndex>,
    next_hops: Vec<NextHop>,
    next_hop_of: HashMap<ScopedAddress, NeighborIndex>,
    pool_keys: Vec<PoolKey>,
    pool_rows: Vec<PoolRow>,
    pool_row_of: HashMap<PoolRow, RowIndex>,
}

impl Builder {
    fn scopes(&mut self, plan: &Plan) -> Result<Box<[Scope]>, PlanError> {
        if plan.devices.len() > DEVICES_MAX {
            return Err(PlanError::TooMany("devices"));
        }
        if plan.scopes.len() > usize::from(u16::MAX) {
            return Err(PlanError::TooMany("virtual networks"));
        }
        let mut devices: Vec<Vec<DeviceIndex>> = plan.scopes.iter().map(|_| Vec::new()).collect();
        for (at, device) in plan.devices.iter().enumerate() {
            let Some(device) = device else { continue };
            let scope = device.scope.slot();
            let list = devices.get_mut(scope);
            let list = list.ok_or(PlanError::Dangling("a device's virtual network", scope))?;
            list.push(DeviceIndex(u16::try_from(at).unwrap_or(u16::MAX)));
        }
        let peers = Peers::of_all(plan.scopes.len(), &plan.peerings)?;
        let scopes = plan.scopes.iter().zip(devices).zip(peers);
        let scopes = scopes.map(|((scope, devices), peers)| Scope {
            address_space: scope.address_space.clone().into_boxed_slice(),
            devices: devices.into_boxed_slice(),
            speaks_ipv6: false,
            peers,
        });
        Ok(scopes.collect())
    }

    fn services(&mut self, plan: &Plan) -> Result<Box<[Service]>, PlanError> {
        for leaving in &plan.leaving_nat_ips {
            if leaving.service.slot() >= plan.services.len() {
                let what = "the service of a NAT IP that leaves";
                return Err(PlanError::Dangling(what, leaving.service.slot()));
            }
        }
        let services = plan.services.iter().enumerate();
        let services = services.map(|(at, service)| {
            let at = ServiceIndex(index(at));
            self.service(plan, (at, service), leaving(plan, at)).inspect(|built| {
                let place = |nat_ip| (ScopedAddress::new(built.scope, nat_ip), at);
                self.by_nat_ip.extend(built.all_nat_ips().map(place));
            })
        });
        services.collect()
    }

    fn service(
        &mut self,
        plan: &Plan,
        (at, service): (ServiceIndex, &ServicePlan),
        leaving: Vec<(Address, NatIpState)>,
    ) -> Result<Service, PlanError> {
        if service.nat_ips.len() > NAT_IPS_MAX || leaving.len() > NAT_IPS_MAX {
            return Err(PlanError::TooMany("NAT IPs of a service"));
        }
        if service.nat_ips.is_empty() {
            return Err(PlanError::Missing("NAT IP of a service"));
        }
        let nat_ips: Box<[Address]> = service.nat_ips.iter().copied().map(Address::from).collect();
        let addresses = nat_ips.iter().chain(leaving.iter().map(|(address, _)| address));
        let addresses: Vec<Address> = addresses.copied().collect();
        for &nat_ip in &addresses {
            self.claim(service.scope, nat_ip, Local::NatIp)?;
        }
        let mut rules = Vec::with_capacity(service.rules.len());
        let mut by_port = Vec::with_capacity(service.rules.len());
        let mut known = BTreeSet::new();
        let mut serving = BTreeSet::new();
        for plan_rule in &service.rules {
            let RulePlan { protocol, port, .. } = *plan_rule;
            let key = rule_key(protocol, port);
            if !known.insert(key) {
                let which = alloc::format!("{}/{port}", protocol.name());
                return Err(PlanError::Duplicate("rule", which));
            }
            by_port.push((key, index(rules.len())));
            let backends = plan_rule.backends.iter().copied().map(Address::from);
            serving.extend(backends.map(|backend| (backend, protocol)));
            rules.push(self.rule(plan, (at, service), plan_rule, &addresses)?);
        }
        let (rules, by_port) = (rules.into_boxed_slice(), FixedMap::build(&by_port));
        let (scope, refusal, treatment) = (service.scope, service.refusal, service.treatment);
        let leaving = leaving.into_boxed_slice();
        let reserves = Reserves::default();
        let serving = serving.into_iter().collect();
        Ok(Service {
            scope,
            nat_ips,
            leaving,
            reserves,
            refusal,
            treatment,
            serving,
            rules,
            by_port,
        })
    }

    fn rule(
        &mut self,
        plan: &Plan,
        (at, service): (ServiceIndex, &ServicePlan),
        rule: &RulePlan,
        nat_ips: &[Address],
    ) -> Result<Rule, PlanError> {
        if rule.backends.len() > BACKENDS_PER_RULE_MAX {
            return Err(PlanError::TooMany("backends of a rule"));
        }
        let scope = plan
            .scopes
            .get(service.scope.slot())
            .ok_or(PlanError::Dangling("a service's virtual network", service.scope.slot()))?;
        let mut backends = Vec::with_capacity(rule.backends.len());
        let mut rows = Vec::with_capacity(rule.backends.len());
        for address in rule.backends.iter().copied().map(Address::from) {
            let target = rule.floating.map_or(address, Address::from);
            if target.family() != address.family() {
                return Err(PlanError::Missing("floating address of a backend's family"));
            }
            let of_family = |nat_ip: &&IpAddr| Family::of(**nat_ip) == address.family();
            let asker = service.nat_ips.iter().find(of_family);
            let asker = *asker.ok_or(PlanError::Missing("NAT IP of a backend's family"))?;
            let backend = self.backend(service.scope, scope, address, asker)?;
            if backends.contains(&backend) {
                return Err(PlanError::Duplicate("backend", alloc::format!("{address}")));
            }
            backends.push(backend);
            rows.push(self.pool_row(PoolRow { service: at, target, protocol: rule.protocol }));
            let (scope, protocol) = (service.scope, rule.protocol);
            let key = |&nat_ip| PoolKey { scope, nat_ip, target, protocol };
            let of_family = nat_ips.iter().filter(|nat_ip| nat_ip.family() == address.family());
            self.pool_keys.extend(of_family.map(key));
        }
        let Balance { persistence, udp_tracking, weights, drained } = &rule.balance;
        let weight = |at| if weights.is_empty() { Some(1) } else { weights.get(at).copied() };
        let weights = (0..backends.len()).map(weight).collect::<Option<Vec<u16>>>();
        let weights = weights.ok_or(PlanError::Missing("weight of a backend"))?;
        Ok(Rule {
            backend_port: rule.backend_port,
            floating: rule.floating.map(Address::from),
            spread: Spread::build(rule.backends.iter().copied().zip(weights)),
            persistence: *persistence,
            udp_tracking: *udp_tracking,
            drained: drained.iter().copied().map(Address::from).collect(),
            backends: backends.into_boxed_slice(),
            rows: rows.into_boxed_slice(),
            timeouts: rule.timeouts,
            ending: rule.ending,
        })
    }

    /// A row has a pool at least, which no other row has: there are not too many if pools are not.
    fn pool_row(&mut self, row: PoolRow) -> RowIndex {
        *self.pool_row_of.entry(row).or_insert_with(|| {
            self.pool_rows.push(row);
            RowIndex(u16::try_from(self.pool_rows.len() - 1).unwrap_or(u16::MAX))
        })
    }

    fn backend(
        &mut self,
        scope_id: ScopeId,
        scope: &ScopePlan,
        address: Address,
        asker: IpAddr,
    ) -> Result<BackendIndex, PlanError> {
        let at = ScopedAddress { scope: scope_id, address };
        if let Some(&known) = self.backend_of.get(&at) {
            return Ok(known);
        }
        let next_hop = self.next_hop(scope_id, next_hop_address(scope, address.ip()), asker)?;
        let backend = BackendIndex(index(self.backends.len()));
        self.backends.push(Backend { address, next_hop });
        self.backend_of.insert(at, backend);
        Ok(backend)
    }

    fn next_hop(
        &mut self,
        scope: ScopeId,
        address: IpAddr,
        asker: IpAddr,
    ) -> Result<NeighborIndex, PlanError> {
        let at = ScopedAddress::new(scope, address);
        if let Some(&known) = self.next_hop_of.get(&at) {
            return Ok(known);
        }
        if self.next_hops.len() > usize::from(u16::MAX) {
            return Err(PlanError::TooMany("next hops"));
        }
        let neighbor = NeighborIndex(index(self.next_hops.len()));
        self.next_hops.push(NextHop { scope, address, asker });
        self.next_hop_of.insert(at, neighbor);
        Ok(neighbor)
    }

    fn endpoints(&mut self, plan: &Plan) -> Result<Vec<Endpoint>, PlanError> {
        let mut endpoints = Vec::with_capacity(plan.endpoints.len());
        let mut links = HashMap::new();
        let quotas = plan.quotas.iter().map(|entry| (entry.link, entry.quota));
        let quotas: HashMap<LinkId, Quota> = quotas.collect();
        let groups = security_of(plan)?;
        for (at, endpoint) in plan.endpoints.iter().enumerate() {
            let EndpointPlan { link, scope, addresses, service, gate, answers_echo } = *endpoint;
            if scope.slot() >= plan.scopes.len() {
                return Err(PlanError::Dangling("an endpoint's virtual network", scope.slot()));
            }
            if service.slot() >= plan.services.len() {
                return Err(PlanError::Dangling("an endpoint's service", service.slot()));
            }
            if links.insert(link, at).is_some() {
                return Err(PlanError::Duplicate("link id", alloc::format!("{}", link.0)));
            }
            for address in addresses.iter() {
                self.claim(scope, address, Local::Endpoint(EndpointIndex(index(at))))?;
            }
            let quota = quotas.get(&link).copied().unwrap_or_default();
            let security = groups.get(&link).copied();
            endpoints.push(Endpoint {
                link,
                scope,
                addresses,
                service,
                gate,
                answers_echo,
                quota,
                security,
            });
        }
        Ok(endpoints)
    }

    /// NAT IPs and addresses of their own; a NAT IP may be named by more than one load balancer.
    fn probe_sources(&mut self, plan: &Plan) -> Result<Box<[ProbeSourcePlan]>, PlanError> {
        let mut sources = Vec::new();
        for &source in &plan.probe_sources {
            let ProbeSourcePlan { scope, address } = source;
            if scope.slot() >= plan.scopes.len() {
                return Err(PlanError::Dangling("a probe's virtual network", scope.slot()));
            }
            let address = address.into();
            let known = self.locals.get(&ScopedAddress { scope, address });
            if !matches!(known, Some(Local::NatIp | Local::ProbeSource)) {
                self.claim(scope, address, Local::ProbeSource)?;
            }
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        Ok(sources.into_boxed_slice())
    }

    fn claim(&mut self, scope: ScopeId, address: Address, local: Local) -> Result<(), PlanError> {
        match self.locals.insert(ScopedAddress { scope, address }, local) {
            None => Ok(()),
            Some(_) => Err(taken(address)),
        }
    }
}

/// Which group guards which connection's endpoint.
fn security_of(plan: &Plan) -> Result<HashMap<LinkId, SecurityGroupIndex>, PlanError> {
    let mut of = HashMap::new();
    for (at, group) in plan.security_groups.iter().enumerate() {
        for &link in &group.links {
            if of.insert(link, SecurityGroupIndex(index(at))).is_some() {
                let which = alloc::format!("of link {}", link.0);
                return Err(PlanError::Duplicate("security group", which));
            }
        }
    }
    Ok(of)
}

/// The services, each with what its endpoints shall get.
fn with_reserves(mut services: Box<[Service]>, endpoints: &[Endpoint]) -> Box<[Service]> {
    for (at, service) in services.iter_mut().enumerate() {
        let lead_here = endpoints.iter().filter(|endpoint| endpoint.service.slot() == at);
        service.reserves = Reserves::of(lead_here);
    }
    services
}

fn locals(locals: &HashMap<ScopedAddress, Local>) -> FixedMap {
    let entry = |(at, local): (&ScopedAddress, &Local)| {
        let IpAddr::V4(address) = at.address.ip() else { return None };
        let value = match *local {
            Local::Endpoint(endpoint) => endpoint.0,
            Local::NatIp => NAT_IP,
            Local::ProbeSource => PROBE_SOURCE,
        };
        Some((local_key(at.scope, address), value))
    };
    FixedMap::build(&locals.iter().filter_map(entry).collect::<Vec<_>>())
}

fn leaving(plan: &Plan, service: ServiceIndex) -> Vec<(Address, NatIpState)> {
    let state = |is_closing| if is_closing { NatIpState::Closing } else { NatIpState::Draining };
    let of_service = plan.leaving_nat_ips.iter().filter(|leaving| leaving.service == service);
    of_service.map(|leaving| (leaving.address.into(), state(leaving.is_closing))).collect()
}

/// A backend is its own next hop unless a route covers it; the longest prefix wins.
fn next_hop_address(scope: &ScopePlan, backend: IpAddr) -> IpAddr {
    let covering = scope.routes.iter().filter(|route| route.prefix.contains(backend));
    covering.max_by_key(|route| route.prefix.length()).map_or(backend, |route| route.next_hop)
}
