//! The configurations that a model world can have: a few knobs, each a small number, so that a
//! change is one line of text and can be taken out of a list of operations.
//!
//! Networks 0 and 1 (devices `a` and `b`) have the same addresses and the same endpoint 10.0.0.5;
//! network 2 (devices `p` and `q`) has four backends, two routers, the NAT IPs of two services and
//! an endpoint of its own, whose clients are hosts beside the backends. All of them but the routers
//! have an address of IPv6 as well ([`in_ipv6`]), and knobs say which of the two is in use.

use crate::address::{octets, plus};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use dataplane::device::Link;
use dataplane::snapshot::{
    Access, Balance, DeviceKind, DevicePlan, Ending, EndpointPlan, Fragments, Gate, IcmpAnswers,
    IcmpErrors, LeavingPlan, PeeringPlan, Persistence, Plan, PortRange, ProbeSourcePlan, Quota,
    QuotaPlan, Refusal, RoutePlan, RulePlan, ScopePlan, SecurityGroupPlan, SecurityRule,
    ServicePlan, Timeouts, Treatment, UdpTracking,
};
use dataplane::types::{
    Addresses, DeviceIndex, Family, LinkId, MacAddress, Prefix, Protocol, ProxyDialect, ScopeId,
    ServiceIndex,
};

/// Letters of the devices.
pub(super) const DEVICES: [char; 4] = ['a', 'b', 'p', 'q'];
/// The network that each device is in unless it is moved.
const HOMES: [u16; 4] = [0, 1, 2, 2];
/// Network, address and usual service of each endpoint.
pub(super) const ENDPOINTS: [(u16, IpAddr, u32); 4] = [
    (0, IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5)), 0),
    (1, IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5)), 0),
    (0, IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 6)), 1),
    (2, IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 7)), 0),
];
/// Protocol, port and backend port of each rule of a service; port 0 is every port.
pub(super) const RULES: [(Protocol, u16, u16); 5] = [
    (Protocol::Tcp, 443, 8080),
    (Protocol::Udp, 53, 5353),
    (Protocol::Tcp, 80, 8081),
    (Protocol::Tcp, 0, 0),
    (Protocol::Udp, 0, 0),
];
/// Weights that a backend can have.
const WEIGHTS: [u16; 4] = [1, 0, 3, 2];
/// Opening, established, closing and UDP timeouts in milliseconds.
const TIMEOUTS: [[u64; 4]; 4] = [
    [5_000, 60_000, 3_000, 20_000],
    [1_000, 10_000, 500, 5_000],
    [30_000, 400_000, 30_000, 240_000],
    [70, 130, 10, 95],
];

/// What an endpoint shall get, and the most that it may have.
const QUOTAS: [(u32, u32); 6] =
    [(0, u32::MAX), (0, 2), (1, u32::MAX), (2, u32::MAX), (2, 3), (0, 1)];

/// Percents that may be kept for endpoints below their fair share.
const FAIR_SHARES: [u8; 4] = [0, 10, 25, 50];

/// How long ports rest, where they do.
const HOLD_DOWN_TICKS: u32 = 150;

/// What can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Knob {
    /// Of a service: bits 0 to 3 the backends, bit 4 turns their order round.
    Backends,
    /// Of a service: bits 0 to 2 the NAT IPs; none means the first.
    NatIps,
    /// Of a service: bits 0 to 2 the NAT IPs that leave, of those that it does not have; bit 3
    /// closes them.
    Leaving,
    /// Of a service: its rules, by bits.
    Rules,
    /// Of a service: two bits for each backend, which weight.
    Weights,
    /// Of a service: bits 0 and 1 persistence, bit 2 tracks UDP.
    Balance,
    /// Of a service: which timeouts.
    Timeouts,
    /// Of a service: bit 0 resets both sides, bit 1 lets ports rest, bit 2 tells refused clients.
    Endings,
    /// Of a service: the provider's network.
    Provider,
    /// Of an endpoint: its link id; 0 if there is no such endpoint.
    Link,
    /// Of an endpoint: its gate.
    Gate,
    /// Of an endpoint: its service.
    Service,
    /// Of an endpoint: which of [`QUOTAS`].
    Quota,
    /// Of an endpoint: its network security group, from 4 on none.
    Security,
    /// A device: 0 gone, 1 as usual, 2 under another name, 3 in another network.
    Device,
    /// Of a network: 1 leaves out some of its hosts.
    Space,
    /// Routes to two of the backends, by bits.
    Routes,
    /// Of a service: whose PROXY headers its backends get, if any.
    Proxy,
    /// Of a service: where health probes come from: 1 its first NAT IP, 2 an address of its own.
    Probes,
    /// Of a service: the backends that have drained, by bits.
    Drained,
    /// Of a service: bits 0 to 4 the rules whose frontend floats; bit 5 gives it the address of a
    /// backend.
    Floating,
    /// Of an endpoint: 1 if its address is of IPv6.
    Family,
    /// Of a service: the backends whose addresses are of IPv6, by bits. If there are any it has NAT
    /// IPs of both families.
    Families,
    /// Of a consumer's network and the provider's: bit 0 the former names the latter as its peer,
    /// bit 1 the latter the former, bit 2 some of the hosts of both are behind routers.
    Peering,
    /// What is kept for endpoints below their fair share: which of [`FAIR_SHARES`].
    FairShare,
    /// Of a service: 1 translates ICMP errors.
    Icmp,
    /// Of an endpoint: 1 answers echo requests.
    Echo,
    /// Of a service: 1 lets fragments follow their first one.
    Fragments,
    /// Of a service: what it tells senders of refused packets: bit 0 too big, bit 1 time exceeded,
    /// bit 2 prohibited.
    Answers,
}

/// A knob, its name, how many of it there are and how many positions it has.
pub(super) const KNOBS: [(Knob, &str, u32, u32); 29] = [
    (Knob::Backends, "backends", 2, 32),
    (Knob::NatIps, "nat-ips", 2, 8),
    (Knob::Leaving, "leaving", 2, 16),
    (Knob::Rules, "rules", 2, 32),
    (Knob::Weights, "weights", 2, 256),
    (Knob::Balance, "balance", 2, 8),
    (Knob::Timeouts, "timeouts", 2, 4),
    (Knob::Endings, "endings", 2, 8),
    (Knob::Provider, "provider", 2, 3),
    (Knob::Link, "link", 4, u32::MAX),
    (Knob::Gate, "gate", 4, 4),
    (Knob::Service, "service", 4, 2),
    (Knob::Quota, "quota", 4, 6),
    (Knob::Security, "security", 4, 8),
    (Knob::Device, "device", 4, 4),
    (Knob::Space, "space", 3, 2),
    (Knob::Routes, "routes", 1, 4),
    (Knob::Proxy, "proxy", 2, 4),
    (Knob::Probes, "probes", 2, 4),
    (Knob::Drained, "drained", 2, 16),
    (Knob::Floating, "floating", 2, 64),
    (Knob::Family, "family", 4, 3),
    (Knob::Families, "families", 2, 16),
    (Knob::Peering, "peering", 2, 8),
    (Knob::FairShare, "fair-share", 1, 4),
    (Knob::Icmp, "icmp", 2, 2),
    (Knob::Echo, "echo", 4, 2),
    (Knob::Fragments, "fragments", 2, 2),
    (Knob::Answers, "answers", 2, 8),
];

/// The address of IPv6 that stands beside one of IPv4: `fd00:B::C:D` for `10.B.C.D`.
pub(super) fn in_ipv6(address: IpAddr) -> IpAddr {
    let [_, network, high, low] = octets(address)[..] else { return address };
    let words = [0xfd00, network.into(), 0, 0, 0, 0, high.into(), low.into()];
    Ipv6Addr::from(words).into()
}

/// The address of the family that is asked for.
pub(super) fn of_family(address: IpAddr, is_ipv6: bool) -> IpAddr {
    if is_ipv6 { in_ipv6(address) } else { address }
}

/// A backend's address.
pub(super) fn backend(number: u32) -> IpAddr {
    plus(IpAddr::from([10, 1, 0, 10]), number)
}

/// Targets: backends, and the address that floats before them.
pub(super) const TARGETS: u32 = 5;

/// The address of a backend, or the one that floats.
pub(super) fn target(number: u32) -> IpAddr {
    if number + 1 < TARGETS { backend(number) } else { IpAddr::from([10, 1, 1, 90]) }
}

/// A router's address.
pub(super) fn router(number: u32) -> IpAddr {
    plus(IpAddr::from([10, 1, 0, 200]), number)
}

/// An address of a service that only probes come from.
pub(super) fn probe_source(service: u32) -> IpAddr {
    plus(IpAddr::from([10, 1, 1, 100]), service)
}

/// A NAT IP of a service.
pub(super) fn nat_ip(service: u32, number: u32) -> IpAddr {
    plus(IpAddr::from([10, 1, 1, 4]), 16 * service + number)
}

/// adit's usual station and an MTU on a device.
pub(super) fn link(device: DeviceIndex, mtu: u32) -> Link {
    link_of_station(device, 0, mtu)
}

/// One of adit's stations and an MTU on a device.
pub(super) fn link_of_station(device: DeviceIndex, station: u8, mtu: u32) -> Link {
    Link { mac: MacAddress([0x0e, 0xad, 0x17, station, 0, device.0.to_le_bytes()[0]]), mtu }
}

/// All knobs. What was never turned is as [`Setup::get`] says.
#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    knobs: BTreeMap<(Knob, u32), u32>,
}

impl Setup {
    pub(super) fn set(&mut self, knob: Knob, of: u32, value: u32) {
        self.knobs.insert((knob, of), value);
    }

    fn get(&self, knob: Knob, of: u32) -> u32 {
        let usual = match knob {
            Knob::Backends | Knob::Rules => 0b111,
            Knob::NatIps => 0b011,
            Knob::Provider => 2,
            Knob::Security => 4,
            Knob::Link => 101 + of,
            Knob::Service => ENDPOINTS[of as usize].2,
            Knob::Device | Knob::Icmp | Knob::Echo => 1,
            Knob::Weights | Knob::Balance | Knob::Timeouts | Knob::Endings => 0,
            Knob::Gate | Knob::Space | Knob::Routes | Knob::Leaving | Knob::Quota => 0,
            Knob::Proxy | Knob::Probes | Knob::Drained | Knob::Floating => 0,
            Knob::Family | Knob::Families | Knob::FairShare => 0,
            Knob::Peering | Knob::Fragments | Knob::Answers => 0,
        };
        self.knobs.get(&(knob, of)).copied().unwrap_or(usual)
    }

    fn bits(&self, knob: Knob, of: u32) -> impl Iterator<Item = u32> {
        let value = self.get(knob, of);
        // The fifth bit of the backends is about their order.
        let bits = if knob == Knob::Backends { 4 } else { 5 };
        (0..bits).filter(move |bit| value >> bit & 1 == 1)
    }

    /// What a snapshot is built from.
    pub(super) fn plan(&self) -> Plan {
        let device = |at: u16| self.device(at);
        Plan {
            devices: (0..4).map(device).collect(),
            scopes: (0..3).map(|scope| self.scope(scope)).collect(),
            services: (0..2).map(|service| self.service(service)).collect(),
            endpoints: (0..4).filter_map(|endpoint| self.endpoint(endpoint)).collect(),
            leaving_nat_ips: (0..2).flat_map(|service| self.leaving(service)).collect(),
            quotas: (0..4).map(|endpoint| self.quota(endpoint)).collect(),
            probe_sources: (0..2).flat_map(|service| self.probe_sources(service)).collect(),
            security_groups: (0..4).map(|group| self.security_group(group)).collect(),
            peerings: (0..2).flat_map(|consumer| self.peering(consumer)).collect(),
            fair_share_percent: FAIR_SHARES[self.get(Knob::FairShare, 0) as usize],
        }
    }

    /// None, a NAT IP of each family, or addresses of one family or of both.
    fn probe_sources(&self, service: u32) -> Vec<ProbeSourcePlan> {
        let own = probe_source(service);
        let addresses = match self.get(Knob::Probes, service) {
            0 => Vec::new(),
            1 => {
                let nat_ips = self.service(service).nat_ips;
                let first = |family| nat_ips.iter().copied().find(|it| Family::of(*it) == family);
                Family::ALL.into_iter().filter_map(first).collect()
            }
            2 => vec![own],
            _ => vec![own, in_ipv6(own)],
        };
        let scope = ScopeId(u16::try_from(self.get(Knob::Provider, service)).unwrap());
        addresses.into_iter().map(|address| ProbeSourcePlan { scope, address }).collect()
    }

    fn device(&self, at: u16) -> Option<DevicePlan> {
        let home = HOMES[usize::from(at)];
        let (suffix, scope) = match self.get(Knob::Device, u32::from(at)) {
            0 => return None,
            1 => ("", home),
            2 => ("-new", home),
            _ => ("", (home + 1) % 3),
        };
        let name = format!("{}{suffix}", DEVICES[usize::from(at)]);
        Some(DevicePlan {
            name,
            kind: DeviceKind::AfPacket,
            namespace: None,
            scope: ScopeId(scope),
        })
    }

    fn scope(&self, scope: u32) -> ScopePlan {
        let prefix = |[a, b, c, d]: [u8; 4], length| {
            Prefix::new(IpAddr::from([a, b, c, d]), length).unwrap()
        };
        let second = if scope == 2 { 1 } else { 0 };
        let wide = |address, length| Prefix::new(in_ipv6(address), length).unwrap();
        let space = match self.get(Knob::Space, scope) {
            0 => {
                let all = IpAddr::from([10, second, 0, 0]);
                vec![prefix([10, second, 0, 0], 16), wide(all, 64)]
            }
            // Without the clients' last two hosts, and the backends.
            _ => {
                let some = IpAddr::from([10, second, 2, 0]);
                vec![prefix([10, second, 2, 0], 31), wide(some, 127)]
            }
        };
        let routes = [
            RoutePlan { prefix: prefix([10, 1, 0, 12], 32), next_hop: router(0) },
            RoutePlan { prefix: prefix([10, 1, 0, 12], 31), next_hop: router(1) },
        ];
        let routes = self.bits(Knob::Routes, 0).map(|bit| routes[bit as usize]);
        let routes = if scope == 2 { routes.collect() } else { Vec::new() };
        ScopePlan { address_space: space, routes }
    }

    /// The provider has one peer at most: both consumers have the same addresses.
    fn peering(&self, consumer: u16) -> Vec<PeeringPlan> {
        let said = |of: u16| self.get(Knob::Peering, of.into());
        let prefixes = |second| {
            // Third byte and the lengths of prefixes of both families: all, or the endpoints and
            // two of the clients.
            let some: &[(u8, u8, u8)] = match said(consumer) & 4 {
                0 => &[(0, 16, 64)],
                _ => &[(0, 24, 112), (2, 31, 127)],
            };
            let both = some.iter().flat_map(|&(third, narrow, wide)| {
                let first = IpAddr::from([10, second, third, 0]);
                [Prefix::new(first, narrow).unwrap(), Prefix::new(in_ipv6(first), wide).unwrap()]
            });
            both.collect()
        };
        let (one, other) = (ScopeId(consumer), ScopeId(2));
        let is_taken = consumer == 1 && said(0) & 2 != 0;
        let sides = [
            (said(consumer) & 1 != 0, one, other, 1),
            (said(consumer) & 2 != 0 && !is_taken, other, one, 0),
        ];
        let sides = sides.into_iter().filter(|(is_there, ..)| *is_there);
        let plan =
            |(_, scope, with, second)| PeeringPlan { scope, with, prefixes: prefixes(second) };
        sides.map(plan).collect()
    }

    fn service(&self, service: u32) -> ServicePlan {
        let mut numbers: Vec<_> = self.bits(Knob::Backends, service).collect();
        if self.get(Knob::Backends, service) & 16 != 0 {
            numbers.reverse();
        }
        let backends = numbers.iter().map(|number| self.backend(service, *number));
        let backends: Vec<_> = backends.collect();
        let [opening, established, closing, udp] =
            TIMEOUTS[self.get(Knob::Timeouts, service) as usize].map(Duration::from_millis);
        let timeouts = Timeouts::new(opening, established, closing, udp);
        let endings = self.get(Knob::Endings, service);
        let hold_down_ticks = if endings & 2 != 0 { HOLD_DOWN_TICKS } else { 0 };
        let ending = Ending { resets: endings & 1 != 0, hold_down_ticks };
        let balance = self.balance(service, &numbers);
        let is_backends = self.get(Knob::Floating, service) & 32 != 0;
        let frontend = target(if is_backends { 3 } else { TARGETS - 1 });
        // It has one address, so it floats before backends of one family.
        let wide = backends.iter().filter(|backend| backend.is_ipv6()).count();
        let may_float = wide == 0 || wide == backends.len();
        let frontend = of_family(frontend, wide > 0);
        let rule = |bit: u32| {
            let (protocol, port, backend_port) = RULES[bit as usize];
            let (backends, balance) = (backends.clone(), balance.clone());
            let floats = may_float && self.get(Knob::Floating, service) >> bit & 1 == 1;
            RulePlan {
                protocol,
                port,
                backend_port,
                floating: floats.then_some(frontend),
                backends,
                balance,
                timeouts,
                ending,
            }
        };
        let refusal = if endings & 4 != 0 { Refusal::Reset } else { Refusal::Silence };
        let mut numbers: Vec<_> = self.bits(Knob::NatIps, service).collect();
        if numbers.is_empty() {
            numbers.push(0);
        }
        let nat_ips = self.nat_ips(service, &numbers);
        let scope = u16::try_from(self.get(Knob::Provider, service)).unwrap();
        let dialects = [ProxyDialect::Azure, ProxyDialect::Aws, ProxyDialect::Gcp];
        let proxy_protocol = match self.get(Knob::Proxy, service) {
            0 => None,
            dialect => Some(dialects[dialect as usize - 1]),
        };
        let icmp_errors = match self.get(Knob::Icmp, service) {
            0 => IcmpErrors::Drop,
            _ => IcmpErrors::Translate,
        };
        let fragments = match self.get(Knob::Fragments, service) {
            0 => Fragments::Drop,
            _ => Fragments::Reassemble,
        };
        let rules = self.bits(Knob::Rules, service).map(rule).collect();
        ServicePlan {
            scope: ScopeId(scope),
            nat_ips,
            refusal,
            treatment: Treatment {
                proxy_protocol,
                icmp_answers: self.icmp_answers(service),
                icmp_errors,
                fragments,
                ..Treatment::default()
            },
            rules,
        }
    }

    fn icmp_answers(&self, service: u32) -> IcmpAnswers {
        let says = |bit: u32| self.get(Knob::Answers, service) >> bit & 1 == 1;
        IcmpAnswers { too_big: says(0), time_exceeded: says(1), prohibited: says(2) }
    }

    fn backend(&self, service: u32, number: u32) -> IpAddr {
        let is_ipv6 = self.get(Knob::Families, service) >> number & 1 == 1;
        of_family(backend(number), is_ipv6)
    }

    /// The NAT IPs with these numbers, those of IPv6 last.
    fn nat_ips(&self, service: u32, numbers: &[u32]) -> Vec<IpAddr> {
        let narrow: Vec<IpAddr> = numbers.iter().map(|number| nat_ip(service, *number)).collect();
        let has_both = self.get(Knob::Families, service) != 0;
        let wide = narrow.iter().copied().filter(|_| has_both).map(in_ipv6);
        narrow.iter().copied().chain(wide).collect()
    }

    fn leaving(&self, service: u32) -> Vec<LeavingPlan> {
        let is_closing = self.get(Knob::Leaving, service) & 8 != 0;
        let active = self.service(service).nat_ips;
        let numbers: Vec<_> = self.bits(Knob::Leaving, service).filter(|bit| *bit < 3).collect();
        let leaving = self.nat_ips(service, &numbers).into_iter();
        let leaving = leaving.filter(|address| !active.contains(address));
        let service = ServiceIndex(service);
        leaving.map(|address| LeavingPlan { service, address, is_closing }).collect()
    }

    fn balance(&self, service: u32, backends: &[u32]) -> Balance {
        let weights = self.get(Knob::Weights, service);
        let weight = |number: &u32| WEIGHTS[(weights >> (2 * number) & 3) as usize];
        let balance = self.get(Knob::Balance, service);
        let persistence = match balance & 3 {
            1 => Persistence::SourceIp,
            2 => Persistence::SourceIpProtocol,
            _ => Persistence::None,
        };
        let tracked = if balance & 4 != 0 { UdpTracking::On } else { UdpTracking::Off };
        let weights = backends.iter().map(weight).collect();
        let drained = self.bits(Knob::Drained, service);
        let drained = drained.filter(|number| *number < 4);
        let drained = drained.map(|number| self.backend(service, number)).collect();
        Balance { persistence, udp_tracking: tracked, weights, drained }
    }

    /// One lets no UDP in, one is about a host, and one has no rules.
    fn security_group(&self, group: u32) -> SecurityGroupPlan {
        let prefix = |[a, b, c, d]: [u8; 4], length| {
            Prefix::new(IpAddr::from([a, b, c, d]), length).unwrap()
        };
        let all = SecurityRule {
            priority: 4_000,
            protocol: None,
            sources: all_addresses(),
            destinations: all_addresses(),
            ports: vec![PortRange::ALL],
            access: Access::Allow,
        };
        let udp = SecurityRule {
            priority: 200,
            protocol: Some(Protocol::Udp),
            access: Access::Deny,
            ..all.clone()
        };
        let host = SecurityRule {
            priority: 300,
            sources: vec![prefix([10, 0, 2, 1], 32), prefix([10, 0, 2, 2], 31)],
            destinations: vec![prefix([10, 0, 0, 0], 24)],
            ports: vec![PortRange { first: 0, last: 52 }, PortRange { first: 54, last: 443 }],
            access: Access::Deny,
            ..all.clone()
        };
        let rules = match group {
            0 => vec![all, udp],
            1 => vec![host, all],
            2 => vec![
                SecurityRule { access: Access::Allow, priority: 100, ..host.clone() },
                udp,
                all,
            ],
            _ => Vec::new(),
        };
        let guarded = (0..4).filter(|endpoint| self.get(Knob::Security, *endpoint) == group);
        let links = guarded.map(|endpoint| self.get(Knob::Link, endpoint));
        SecurityGroupPlan { rules, links: links.filter(|link| *link != 0).map(LinkId).collect() }
    }

    fn quota(&self, at: u32) -> QuotaPlan {
        let (reserved, most) = QUOTAS[self.get(Knob::Quota, at) as usize];
        let link = LinkId(self.get(Knob::Link, at));
        QuotaPlan { link, quota: Quota { reserved, most } }
    }

    fn endpoint(&self, at: u32) -> Option<EndpointPlan> {
        let (scope, address, _) = ENDPOINTS[at as usize];
        let addresses = match self.get(Knob::Family, at) {
            0 => address.into(),
            1 => in_ipv6(address).into(),
            _ => Addresses::from(address).and(in_ipv6(address)).unwrap(),
        };
        let gates = [Gate::Approved, Gate::Pending, Gate::Rejected, Gate::Disconnected];
        let link = self.get(Knob::Link, at);
        (link != 0).then(|| EndpointPlan {
            link: LinkId(link),
            scope: ScopeId(scope),
            addresses,
            answers_echo: self.get(Knob::Echo, at) == 1,
            service: ServiceIndex(self.get(Knob::Service, at)),
            gate: gates[self.get(Knob::Gate, at) as usize],
        })
    }
}

/// Every address of either family.
fn all_addresses() -> Vec<Prefix> {
    let all = ["0.0.0.0", "::"].map(|address| address.parse().unwrap());
    all.map(|address| Prefix::new(address, 0).unwrap()).to_vec()
}
