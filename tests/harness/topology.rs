//! What a world is made of: virtual networks, endpoints, a service, and how to change them.
//!
//! [`Topology::standard`] has two tenants, `a` and `b`, with the same address space 10.0.0.0/16 and
//! the same endpoint address 10.0.0.5, and a provider `p` with 10.1.0.0/16, NAT IP 10.1.0.4 and
//! backends 10.1.0.10 to 12. TCP 443 leads to 8080 and UDP 53 to 5353. Changes keep indices, as
//! `control` does.

use std::net::IpAddr;
use std::time::Duration;

use dataplane::device::Link;
use dataplane::snapshot::{
    Balance, DeviceKind, DevicePlan, Ending, EndpointPlan, Gate, LeavingPlan, PeeringPlan, Plan,
    Quota, QuotaPlan, Refusal, RulePlan, ScopePlan, ServicePlan, Snapshot, Timeouts, Treatment,
};
use dataplane::types::{DeviceIndex, LinkId, MacAddress, Prefix, Protocol, ScopeId, ServiceIndex};
use pnet_base::MacAddr;

/// Device, and network, of the first tenant.
pub const A: DeviceIndex = DeviceIndex(0);
/// Device, and network, of the second tenant.
pub const B: DeviceIndex = DeviceIndex(1);
/// Device, and network, of the provider.
pub const P: DeviceIndex = DeviceIndex(2);

/// Address of both tenants' endpoints.
pub const ENDPOINT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5));
/// The first NAT IP of the service.
pub const NAT_IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 4));
/// A client; there is one in each tenant's network.
pub const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, 1));

/// The standard backends, by number from 0.
#[must_use]
pub fn backend(number: u8) -> IpAddr {
    IpAddr::from([10, 1, 0, 10 + number])
}

/// A plan with handles to change it by.
#[derive(Clone, Debug)]
pub struct Topology {
    /// What snapshots are built from.
    pub plan: Plan,
    /// Address and MTU of each device.
    pub links: Vec<Link>,
}

impl Topology {
    /// See the module's documentation.
    #[must_use]
    pub fn standard() -> Topology {
        let prefix = |second| Prefix::new(IpAddr::from([10, second, 0, 0]), 16).unwrap();
        let scope = |second| ScopePlan { address_space: vec![prefix(second)], routes: Vec::new() };
        let devices = ["a", "b", "p"].into_iter().enumerate();
        let plan = Plan {
            devices: devices.map(|(at, name)| Some(device(name, at))).collect(),
            scopes: vec![scope(0), scope(0), scope(1)],
            services: vec![service(2, NAT_IP)],
            endpoints: vec![endpoint(0, 0), endpoint(1, 0)],
            ..Plan::default()
        };
        let links = (0..3).map(link).collect();
        Topology { plan, links }
    }

    /// The standard one with these backends.
    #[must_use]
    pub fn with_backends(backends: &[IpAddr]) -> Topology {
        let mut topology = Topology::standard();
        topology.set_backends(backends);
        topology
    }

    /// The snapshot of the plan.
    ///
    /// # Panics
    /// The plan contradicts itself.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::build(self.plan.clone()).expect("the topology's plan is consistent")
    }

    /// Gives every rule of the service these backends.
    pub fn set_backends(&mut self, backends: &[IpAddr]) {
        for rule in &mut self.plan.services[0].rules {
            rule.backends = backends.to_vec();
            rule.balance.weights.clear();
        }
    }

    /// The backends of the service.
    #[must_use]
    pub fn backends(&self) -> &[IpAddr] {
        &self.plan.services[0].rules[0].backends
    }

    /// Gives the service these NAT IPs.
    pub fn set_nat_ips(&mut self, nat_ips: &[IpAddr]) {
        self.plan.services[0].nat_ips = nat_ips.to_vec();
    }

    /// Takes a NAT IP of the service away; its flows go on until it is `closing`.
    pub fn drain_nat_ip(&mut self, address: IpAddr, is_closing: bool) {
        self.plan.services[0].nat_ips.retain(|nat_ip| *nat_ip != address);
        let leaving = &mut self.plan.leaving_nat_ips;
        leaving.retain(|leaving| leaving.address != address);
        leaving.push(LeavingPlan { service: ServiceIndex(0), address, is_closing });
    }

    /// The stations that packets for an address of a network may go to: its next hop's, or if the
    /// address floats, those of all backends that may be meant.
    #[must_use]
    pub fn stations_of(&self, scope: ScopeId, target: IpAddr) -> Vec<MacAddr> {
        let services = self.plan.services.iter().filter(|service| service.scope == scope);
        let rules = services.flat_map(|service| &service.rules);
        let floating = rules.filter(|rule| rule.floating == Some(target));
        let mut hosts: Vec<IpAddr> =
            floating.flat_map(|rule| rule.backends.iter().copied()).collect();
        hosts.push(target);
        hosts.into_iter().map(|host| crate::encode::mac_of(self.next_hop(scope, host))).collect()
    }

    /// Sets how many flows a tenant's endpoints shall get and may have.
    pub fn set_quota(&mut self, tenant: DeviceIndex, quota: Quota) {
        let endpoints = self.plan.endpoints.iter();
        let of_tenant = endpoints.filter(|endpoint| endpoint.scope.0 == tenant.0);
        let links: Vec<LinkId> = of_tenant.map(|endpoint| endpoint.link).collect();
        self.plan.quotas.retain(|entry| !links.contains(&entry.link));
        self.plan.quotas.extend(links.into_iter().map(|link| QuotaPlan { link, quota }));
    }

    /// Sets the state of the connections of a tenant's endpoints.
    pub fn set_gate(&mut self, tenant: DeviceIndex, gate: Gate) {
        let of_tenant = |endpoint: &&mut EndpointPlan| endpoint.scope.0 == tenant.0;
        let endpoints = self.plan.endpoints.iter_mut().filter(of_tenant);
        endpoints.for_each(|endpoint| endpoint.gate = gate);
    }

    /// Removes the endpoints of a tenant.
    pub fn remove_endpoint(&mut self, tenant: DeviceIndex) {
        let plan = &mut self.plan;
        plan.endpoints.retain(|endpoint| endpoint.scope.0 != tenant.0);
    }

    /// Gives a tenant an endpoint again, under a new link id.
    pub fn add_endpoint(&mut self, tenant: DeviceIndex, link: LinkId) {
        let again = endpoint(tenant.0, 0);
        self.plan.endpoints.push(EndpointPlan { link, ..again });
    }

    /// Removes a device or brings it back.
    pub fn set_device(&mut self, at: DeviceIndex, name: &str, present: bool) {
        self.plan.devices[at.slot()] = present.then(|| device(name, at.slot()));
    }

    /// Sets the timeouts of all rules, in seconds: opening, established, closing, UDP.
    pub fn set_timeouts(&mut self, [opening, established, closing, udp]: [u64; 4]) {
        let seconds = Duration::from_secs;
        for rule in self.plan.services.iter_mut().flat_map(|s| &mut s.rules) {
            rule.timeouts = Timeouts::new(
                seconds(opening),
                seconds(established),
                seconds(closing),
                seconds(udp),
            );
        }
    }

    /// Changes what becomes of flows of all rules when they end.
    pub fn change_ending(&mut self, change: impl Fn(&mut Ending)) {
        for rule in self.plan.services.iter_mut().flat_map(|s| &mut s.rules) {
            change(&mut rule.ending);
        }
    }

    /// Sets what refused clients are told by all services.
    pub fn set_refusal(&mut self, refusal: Refusal) {
        self.plan.services.iter_mut().for_each(|service| service.refusal = refusal);
    }

    /// Adds a second service of the same provider, with its own NAT IP and backends, and an
    /// endpoint for it in a tenant's network.
    pub fn add_service(
        &mut self,
        nat_ip: IpAddr,
        backends: &[IpAddr],
        (tenant, address): (DeviceIndex, IpAddr),
    ) {
        let number = u32::try_from(self.plan.services.len()).unwrap();
        let mut added = service(2, nat_ip);
        for rule in &mut added.rules {
            rule.backends = backends.to_vec();
        }
        self.plan.services.push(added);
        let mut entry = endpoint(tenant.0, number);
        entry.addresses = address.into();
        entry.link = LinkId(1000 + number);
        self.plan.endpoints.push(entry);
    }

    /// The endpoint with this address that the hosts of a network reach: its own, or that of a
    /// network that is peered with it.
    #[must_use]
    pub fn endpoint(&self, scope: ScopeId, address: IpAddr) -> Option<&EndpointPlan> {
        let in_network = |of: ScopeId| {
            let mut endpoints = self.plan.endpoints.iter();
            endpoints.find(|endpoint| endpoint.scope == of && endpoint.addresses.contains(address))
        };
        let holds = |said: &&PeeringPlan| said.prefixes.iter().any(|one| one.contains(address));
        let of_peer = || {
            let said = self.plan.peerings.iter().filter(|said| said.scope == scope);
            let peer = said.filter(holds).map(|said| said.with).next()?;
            self.is_peered(peer, scope).then(|| in_network(peer))?
        };
        in_network(scope).or_else(of_peer)
    }

    /// Whether a network names another as its peer.
    fn is_peered(&self, scope: ScopeId, with: ScopeId) -> bool {
        self.plan.peerings.iter().any(|said| said.scope == scope && said.with == with)
    }

    /// A network says that another is its peer, with these prefixes of it; or without any, that it
    /// is none any more.
    pub fn set_peering(&mut self, scope: ScopeId, with: ScopeId, prefixes: &[Prefix]) {
        let peerings = &mut self.plan.peerings;
        peerings.retain(|said| (said.scope, said.with) != (scope, with));
        if !prefixes.is_empty() {
            peerings.push(PeeringPlan { scope, with, prefixes: prefixes.to_vec() });
        }
    }

    /// The service with this NAT IP in a network.
    #[must_use]
    pub fn service_of_nat_ip(&self, scope: ScopeId, nat_ip: IpAddr) -> Option<&ServicePlan> {
        let mut services = self.plan.services.iter();
        let known =
            services.find(|service| service.scope == scope && service.nat_ips.contains(&nat_ip));
        known.or_else(|| {
            let mut leaving = self.plan.leaving_nat_ips.iter();
            let of = |leaving: &LeavingPlan| &self.plan.services[leaving.service.slot()];
            let is_it =
                |leaving: &&LeavingPlan| leaving.address == nat_ip && of(leaving).scope == scope;
            leaving.find(is_it).map(of)
        })
    }

    /// The network behind a device.
    #[must_use]
    pub fn scope(&self, device: DeviceIndex) -> Option<ScopeId> {
        let device = self.plan.devices.get(device.slot())?.as_ref();
        device.map(|device| device.scope)
    }

    /// Where frames to a backend go first: the router of the longest route, or itself.
    #[must_use]
    pub fn next_hop(&self, scope: ScopeId, backend: IpAddr) -> IpAddr {
        let routes = self.plan.scopes[scope.slot()].routes.iter();
        let covering = routes.filter(|route| route.prefix.contains(backend));
        let best = covering.max_by_key(|route| route.prefix.length());
        best.map_or(backend, |route| route.next_hop)
    }

    /// adit's station on a device.
    #[must_use]
    pub fn station(&self, device: DeviceIndex) -> MacAddr {
        MacAddr::from(self.links[device.slot()].mac.0)
    }
}

fn device(name: &str, at: usize) -> DevicePlan {
    DevicePlan {
        name: name.to_owned(),
        kind: DeviceKind::AfPacket,
        namespace: None,
        scope: ScopeId(u16::try_from(at).unwrap()),
    }
}

fn link(at: u8) -> Link {
    Link { mac: MacAddress([0x0e, 0xad, 0x17, 0, 0, at]), mtu: 1500 }
}

fn endpoint(tenant: u16, service: u32) -> EndpointPlan {
    EndpointPlan {
        link: LinkId(101 + u32::from(tenant)),
        scope: ScopeId(tenant),
        addresses: ENDPOINT.into(),
        service: ServiceIndex(service),
        gate: Gate::Approved,
        answers_echo: false,
    }
}

fn service(scope: u16, nat_ip: IpAddr) -> ServicePlan {
    let rule = |protocol, port, backend_port| RulePlan {
        protocol,
        port,
        backend_port,
        floating: None,
        backends: (0..3).map(backend).collect(),
        balance: Balance::default(),
        timeouts: Timeouts::default(),
        ending: Ending::default(),
    };
    ServicePlan {
        scope: ScopeId(scope),
        nat_ips: vec![nat_ip],
        refusal: Refusal::Silence,
        rules: vec![rule(Protocol::Tcp, 443, 8080), rule(Protocol::Udp, 53, 5353)],
        treatment: Treatment::default(),
    }
}
