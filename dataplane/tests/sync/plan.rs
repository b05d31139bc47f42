//! The smallest configuration with a lease in it: one virtual network for clients, one with a
//! service of one backend.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use dataplane::snapshot::{
    Balance, DeviceKind, DevicePlan, EndpointPlan, Gate, Plan, PoolKey, Refusal, RulePlan,
    ScopePlan, ServicePlan, Snapshot, Timeouts, Treatment,
};
use dataplane::types::{Address, Ending, LinkId, Prefix, Protocol, ScopeId, ServiceIndex};

pub(crate) const ENDPOINT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
pub(crate) const NAT_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 4));
pub(crate) const BACKEND: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 10));

/// The one pool that can be leased from.
pub(crate) const POOL: PoolKey = PoolKey {
    scope: ScopeId(1),
    nat_ip: Address::of(NAT_IP),
    target: Address::of(BACKEND),
    protocol: Protocol::Tcp,
};

// Built once: a model runs its test thousands of times.
static WITH_POOL: LazyLock<Snapshot> = LazyLock::new(|| build(true));
static WITHOUT_POOL: LazyLock<Snapshot> = LazyLock::new(|| build(false));

/// The configuration, with its backend or without; without there is no pool.
pub(crate) fn snapshot(with_pool: bool) -> Snapshot {
    if with_pool { WITH_POOL.clone() } else { WITHOUT_POOL.clone() }
}

fn build(with_pool: bool) -> Snapshot {
    let prefix = |second| Prefix::new(IpAddr::from([10, second, 0, 0]), 16).unwrap();
    let scope = |second| ScopePlan { address_space: vec![prefix(second)], routes: Vec::new() };
    let device = |name: &str, scope| {
        let (name, kind) = (name.to_owned(), DeviceKind::AfPacket);
        Some(DevicePlan { name, kind, namespace: None, scope: ScopeId(scope) })
    };
    let rule = RulePlan {
        protocol: Protocol::Tcp,
        port: 443,
        backend_port: 8080,
        floating: None,
        backends: if with_pool { vec![BACKEND] } else { Vec::new() },
        balance: Balance::default(),
        timeouts: Timeouts::default(),
        ending: Ending::default(),
    };
    let (nat_ips, refusal) = (vec![NAT_IP], Refusal::Silence);
    let (treatment, rules) = (Treatment::default(), vec![rule]);
    let service = ServicePlan { scope: ScopeId(1), nat_ips, refusal, treatment, rules };
    let endpoint = EndpointPlan {
        link: LinkId(1),
        scope: ScopeId(0),
        addresses: ENDPOINT.into(),
        service: ServiceIndex(0),
        gate: Gate::Approved,
        answers_echo: false,
    };
    let plan = Plan {
        devices: vec![device("client", 0), device("provider", 1)],
        scopes: vec![scope(0), scope(1)],
        services: vec![service],
        endpoints: vec![endpoint],
        ..Plan::default()
    };
    Snapshot::build(plan).unwrap()
}
