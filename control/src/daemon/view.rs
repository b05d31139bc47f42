//! What clients see: resources, counters and states as plain data of the protocol.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::generation::Generation;
use dataplane::limits::PORTS_PER_POOL;
use dataplane::nat::{Lack, Pool, Usage};
use dataplane::snapshot::{
    DeviceKind, DevicePlan, Fragments, IcmpAnswers, IcmpErrors, MssClamp, Persistence, PoolKey,
    UdpTracking,
};
use dataplane::stats::{Counters, DeviceReport, DeviceState as QueueState};
use dataplane::types::{
    Address, DeviceIndex, LinkId, Protocol, ProxyDialect, ScopeId, ServiceIndex, Tick,
};
use rustix::io::Errno;

use super::audit::Audit;
use super::crew::{Crew, FastPathState};
use super::ledger::{Book, Books};
use super::privileges;
use super::prober::Probing;
use super::push::Push;
use super::recorder::Recorder;
use crate::api;
use crate::config;
use crate::config::{
    AdminState, Config, Lifetime, LoadBalancer, PrivateLinkService, Probe, ProbeProtocol, Rule,
};
use crate::state::{Departure, Probed, Registry, Stage};

/// What a status is made of.
pub(super) struct Facts<'f> {
    pub(super) registry: &'f Registry,
    pub(super) generation: &'f Generation,
    pub(super) crew: &'f Crew,
    pub(super) configuration: &'f Path,
    pub(super) uptime: Duration,
    pub(super) flows_max: usize,
    /// Backends that are probed, and how many of them may take new flows.
    pub(super) probed: (usize, usize),
    pub(super) recorder: Option<&'f Recorder>,
    pub(super) audit: &'f Audit,
    pub(super) push: Option<&'f Push>,
    pub(super) books: &'f Books,
}

impl Facts<'_> {
    pub(super) fn status(&self) -> api::Status {
        let counters = self.crew.counters();
        api::Status {
            adit: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.uptime.as_secs(),
            configuration: self.configuration.display().to_string(),
            generation: self.generation.number.0,
            workers: self.workers(),
            devices: devices(self.registry, self.crew),
            next_hops: self.next_hops(),
            flows: counters.flows,
            flows_unanswered: counters.flows_unanswered,
            flows_opened: counters.flows_opened,
            flows_moved: counters.flows_moved,
            flows_displaced: counters.flows_displaced,
            flows_revoked: counters.flows_revoked,
            flows_reset: counters.flows_reset,
            ports_resting: counters.ports_resting,
            proxy_headers_sent: counters.proxy_headers_sent,
            proxy_headers_repeated: counters.proxy_headers_repeated,
            proxy_headers_waiting: counters.proxy_headers_waiting,
            nat_ports_leased: self
                .generation
                .pools
                .iter()
                .map(|pool| u64::from(pool.leased()))
                .sum(),
            backends_probed: self.probed.0 as u64,
            backends_healthy: self.probed.1 as u64,
            fair_share_percent: self.generation.snapshot.fair_share_percent(),
            fast_path: self.fast_path(),
            privileges: privileges::held(),
            recording: api::Recording {
                audit_log: self.audit.status(),
                ..self.recorder.map(Recorder::status).unwrap_or_default()
            },
            metrics_push: self.push.map(Push::status),
            received: counters.received,
            received_bytes: counters.received_bytes,
            shortcut: counters.shortcut,
            forwarded: counters.forwarded,
            forwarded_bytes: counters.forwarded_bytes,
            consumed: counters.consumed,
            held: counters.held,
            dropped: counters.dropped_total(),
            traffic_of_others: self.books.others.into(),
        }
    }

    fn fast_path(&self) -> api::FastPath {
        let (state, detail) = match self.crew.fast_path() {
            FastPathState::Off => (api::FastPathState::Off, None),
            FastPathState::On(kernel) => {
                let left_out = kernel.left_out();
                let not_on = left_out.iter().map(|(name, why)| format!("not on {name}: {why}"));
                let not_on = not_on.collect::<Vec<_>>().join("; ");
                (api::FastPathState::On, (!not_on.is_empty()).then_some(not_on))
            }
            FastPathState::Unavailable(why) => (api::FastPathState::Unavailable, Some(why.clone())),
        };
        api::FastPath { state, detail }
    }

    fn workers(&self) -> Vec<api::Worker> {
        let workers = self.crew.shared().iter().enumerate().map(|(at, shared)| {
            let counters = shared.stats.read();
            api::Worker {
                worker: u8::try_from(at).unwrap_or(u8::MAX),
                generation: shared.stats.adopted().0,
                flows: counters.flows,
                flows_max: self.flows_max as u64,
                forwarded: counters.forwarded,
                dropped: counters.dropped_total(),
            }
        });
        workers.collect()
    }

    fn next_hops(&self) -> Vec<api::NextHop> {
        let Generation { snapshot, neighbors, .. } = self.generation;
        let device_name = |device: DeviceIndex| {
            let plan = snapshot.devices().get(device.slot())?.as_ref()?;
            Some(plan.name.clone())
        };
        let next_hops = snapshot.next_hops().iter().map(|next_hop| {
            let found = neighbors.find(next_hop.scope, next_hop.address);
            let hop = found.and_then(|neighbor| neighbors.lookup(neighbor));
            api::NextHop {
                virtual_network: network_name(self.registry, next_hop.scope),
                address: next_hop.address,
                mac: hop.map(|hop| hop.mac.to_string()),
                device: hop.and_then(|hop| device_name(hop.device)),
            }
        });
        next_hops.collect()
    }
}

/// The name of a virtual network.
pub(super) fn network_name(registry: &Registry, scope: ScopeId) -> String {
    registry.network(scope).map_or_else(|| format!("#{}", scope.0), ToString::to_string)
}

/// Every device, as all workers together see it.
pub(super) fn devices(registry: &Registry, crew: &Crew) -> Vec<api::Device> {
    let slots = registry.devices().iter().enumerate();
    let used = slots.filter_map(|(at, plan)| Some((u16::try_from(at).ok()?, plan.as_ref()?)));
    used.map(|(at, plan)| device(registry, crew, DeviceIndex(at), plan)).collect()
}

fn device(registry: &Registry, crew: &Crew, at: DeviceIndex, plan: &DevicePlan) -> api::Device {
    let reports: Vec<DeviceReport> =
        crew.shared().iter().map(|shared| shared.stats.device(at)).collect();
    let (state, detail) = combined(plan.kind, &reports);
    api::Device {
        name: plan.name.clone(),
        kind: kind_name(plan.kind).to_owned(),
        network_namespace: plan.namespace.clone(),
        virtual_network: network_name(registry, plan.scope),
        state,
        detail,
        received: reports.iter().map(|report| report.received).sum(),
        sent: reports.iter().map(|report| report.sent).sum(),
        missed: reports.iter().map(|report| report.missed).sum(),
    }
}

/// A device is up if every worker has it; the first worker that has not says why.
fn combined(kind: DeviceKind, reports: &[DeviceReport]) -> (api::DeviceState, Option<String>) {
    let down = reports.iter().find_map(|report| match report.state {
        QueueState::Down(errno) => Some(errno),
        QueueState::Up | QueueState::Unopened => None,
    });
    if let Some(errno) = down {
        return (api::DeviceState::Down, Some(reason(kind, errno)));
    }
    let up = reports.iter().all(|report| report.state == QueueState::Up);
    (if up { api::DeviceState::Up } else { api::DeviceState::Unopened }, None)
}

/// The system's words for an error number.
fn system_error(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Why a device cannot be opened and, where that is known, what helps.
fn reason(kind: DeviceKind, errno: i32) -> String {
    let error = system_error(errno);
    let cures = [
        (Errno::PERM, "af_xdp needs root outside of any user namespace, af_packet does not"),
        (Errno::OPNOTSUPP, "its driver has no native XDP, use kind = \"af_packet\""),
        (Errno::BUSY, "another XDP program or socket is on it, see `ip link show`"),
        (Errno::NOSPC, "its other end sends on more queues than it receives on, see `ethtool -L`"),
    ];
    let is_it = |(number, _): &&(Errno, &str)| number.raw_os_error() == errno;
    let cure = cures.iter().find(is_it).filter(|_| kind == DeviceKind::AfXdp);
    cure.map_or(error.clone(), |(_, cure)| format!("{error} ({cure})"))
}

/// As the configuration has it.
pub(crate) fn kind_name(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::AfPacket => "af_packet",
        DeviceKind::AfXdp => "af_xdp",
        DeviceKind::Tap => "tap",
    }
}

pub(super) fn endpoints(
    config: &Config,
    registry: &Registry,
    generation: &Generation,
    books: &Books,
) -> Vec<api::Endpoint> {
    let endpoints = config.endpoints().iter().filter_map(|endpoint| {
        let connection = registry.connection(&endpoint.name)?;
        let book = books.connections.get(&connection.link);
        Some(api::Endpoint {
            name: endpoint.name.to_string(),
            virtual_network: config
                .virtual_networks()
                .get(endpoint.virtual_network)?
                .name
                .to_string(),
            private_ip_addresses: endpoint.addresses.ips().collect(),
            private_link_service: config.services().get(endpoint.service)?.name.to_string(),
            connection_state: connection.state,
            description: connection.description.clone(),
            request_message: endpoint.request_message.clone(),
            link_id: connection.link.0,
            flows: generation.usages.find(connection.link).map_or(0, Usage::flows),
            flows_reserved: config.quota(endpoint).reserved,
            flows_max: Some(config.quota(endpoint).most).filter(|most| *most < u32::MAX),
            refused: refusals(generation, connection.link),
            traffic: book.map(|book| book.total.into()).unwrap_or_default(),
            accounts: book.map(accounts).unwrap_or_default(),
        })
    });
    endpoints.collect()
}

fn accounts(book: &Book) -> Vec<api::Account> {
    let accounts = book.accounts.iter().map(|(key, traffic)| api::Account {
        backend: key.towards.map(|(backend, _)| backend.ip()),
        protocol: key.towards.map(|(_, protocol)| protocol.into()),
        traffic: (*traffic).into(),
    });
    accounts.collect()
}

/// How often newcomers of a connection were refused for want of room.
pub(super) fn refusals(generation: &Generation, link: LinkId) -> api::Refusals {
    let count = |lack| generation.usages.find(link).map_or(0, |usage| usage.refused(lack));
    api::Refusals {
        endpoint_flows_max: count(Lack::Maximum),
        nat_ports_exhausted: count(Lack::Port),
        flow_table_full: count(Lack::Record),
        room_reserved: count(Lack::Share),
    }
}

/// What services are looked at in.
pub(super) struct Scene<'v> {
    pub(super) config: &'v Config,
    pub(super) registry: &'v Registry,
    pub(super) generation: &'v Generation,
    pub(super) probing: &'v Probing,
    pub(super) books: Books,
    pub(super) now: Duration,
}

impl Scene<'_> {
    pub(super) fn services(&self) -> Vec<api::Service> {
        services(self)
    }
}

fn services(scene: &Scene<'_>) -> Vec<api::Service> {
    let &Scene { config, registry, generation, ref books, now, .. } = scene;
    let services = config.services().iter().enumerate().filter_map(|(at, service)| {
        let balancer = config.load_balancers().get(service.load_balancer)?;
        let network = config.virtual_networks().get(balancer.virtual_network)?;
        let scope = registry.scope(&network.name)?;
        let led_here = config.endpoints().iter().filter(|endpoint| endpoint.service == at);
        Some(api::Service {
            name: service.name.to_string(),
            load_balancer: balancer.name.to_string(),
            virtual_network: network.name.to_string(),
            nat_ips: service.nat_ips.iter().map(|nat_ip| nat_ip.address).collect(),
            leaving_nat_ips: leaving_nat_ips(service, registry, generation, now),
            private_endpoints: led_here.map(|endpoint| endpoint.name.to_string()).collect(),
            mss_clamp: mss_clamp(service.treatment.mss_clamp),
            icmp_answers: icmp_answers(service.treatment.icmp_answers),
            icmp_errors: match service.treatment.icmp_errors {
                IcmpErrors::Drop => "drop".to_owned(),
                IcmpErrors::Translate => "translate".to_owned(),
            },
            fragments: match service.treatment.fragments {
                Fragments::Drop => "drop".to_owned(),
                Fragments::Reassemble => "reassemble".to_owned(),
            },
            proxy_protocol: proxy_protocol(service.treatment.proxy_protocol),
            rules: rules(balancer, service, ServiceIndex(u32::try_from(at).ok()?), scene),
            nat_ports: nat_ports(balancer, service, (registry, scope), generation),
            traffic: books.services.get(service.name.as_str()).copied().unwrap_or_default().into(),
        })
    });
    services.collect()
}

fn leaving_nat_ips(
    service: &PrivateLinkService,
    registry: &Registry,
    generation: &Generation,
    now: Duration,
) -> Vec<api::LeavingNatIp> {
    let departures = registry.departures().of_service(&service.name);
    let leaving = departures.map(|departure| api::LeavingNatIp {
        address: departure.address,
        state: match departure.stage {
            Stage::Draining => "draining".to_owned(),
            Stage::Closing => "closing".to_owned(),
        },
        seconds_left: departure.until.saturating_sub(now).as_secs_f64(),
        leased: leased_by(departure, registry, generation),
    });
    leaving.collect()
}

/// Ports that flows of a NAT IP that leaves still hold.
pub(super) fn leased_by(
    departure: &Departure,
    registry: &Registry,
    generation: &Generation,
) -> u32 {
    let scope = registry.scope(&departure.virtual_network);
    let is_its = |key: PoolKey| Some(key.scope) == scope && key.nat_ip == departure.address;
    let pools = generation.pools.iter().filter(|pool| is_its(pool.key()));
    pools.map(Pool::leased).sum()
}

fn rules(
    balancer: &LoadBalancer,
    service: &PrivateLinkService,
    index: ServiceIndex,
    scene: &Scene<'_>,
) -> Vec<api::Rule> {
    let place = Place { service, index, generation: scene.generation };
    let mut rules = Vec::new();
    for rule in &balancer.rules {
        let Some(pool) = balancer.pools.get(rule.pool) else { continue };
        let balance = balancer.balance(rule, pool, scene.registry.health());
        for &protocol in rule.protocol.each() {
            let backends =
                pool.backends.iter().zip(&balance.weights).map(|(backend, share)| api::Backend {
                    address: backend.address,
                    resolved: place.resolves(backend.address),
                    weight: backend.weight,
                    admin_state: backend.admin_state.name().to_owned(),
                    takes_flows: *share > 0,
                    probe: backend_probe(balancer, rule, backend.address, scene.probing),
                    drain_seconds_left: drain_left(balancer, pool, backend.address, scene),
                });
            rules.push(api::Rule {
                name: rule.name.to_string(),
                kind: api::RuleKind::LoadBalancing,
                protocol: protocol.into(),
                frontend_port: rule.frontend_port,
                backend_port: rule.backend_port,
                floating_ip: rule.floating,
                load_distribution: distribution(rule.persistence).to_owned(),
                enable_connection_tracking: rule.udp_tracking == UdpTracking::On,
                backends: backends.collect(),
                probe: balancer.probe_of(rule).map(rule_probe),
                idle_timeout_seconds: place.idle_timeout(protocol, &rule.lifetime),
            });
        }
    }
    rules.extend(balancer.inbound_nat_rules.iter().map(|rule| {
        let backend = api::Backend {
            address: rule.backend_address,
            resolved: place.resolves(rule.backend_address),
            weight: 1,
            admin_state: AdminState::None.name().to_owned(),
            takes_flows: true,
            probe: None,
            drain_seconds_left: None,
        };
        api::Rule {
            name: rule.name.to_string(),
            kind: api::RuleKind::InboundNat,
            protocol: rule.protocol.into(),
            frontend_port: rule.frontend_port,
            backend_port: rule.backend_port,
            floating_ip: rule.floating,
            load_distribution: distribution(Persistence::None).to_owned(),
            enable_connection_tracking: false,
            backends: vec![backend],
            probe: None,
            idle_timeout_seconds: place.idle_timeout(rule.protocol, &rule.lifetime),
        }
    }));
    rules
}

/// What a rule's probe asks.
fn rule_probe(probe: &Probe) -> api::RuleProbe {
    let has_path = probe.protocol != ProbeProtocol::Tcp;
    api::RuleProbe {
        name: probe.name.to_string(),
        protocol: probe.protocol.name().to_owned(),
        port: probe.port,
        request_path: has_path.then(|| probe.request_path.clone()),
        interval_seconds: probe.interval.as_secs_f64(),
        probe_threshold: probe.threshold,
        no_healthy_backends_behavior: probe.no_healthy_backends.name().to_owned(),
    }
}

/// How long a backend that drains may still do so.
fn drain_left(
    balancer: &LoadBalancer,
    pool: &config::Pool,
    address: IpAddr,
    scene: &Scene<'_>,
) -> Option<f64> {
    let drain = scene.registry.drains().find(&balancer.name, &pool.name, address)?;
    Some(drain.until.saturating_sub(scene.now).as_secs_f64())
}

/// What a rule's probe says of a backend.
fn backend_probe(
    balancer: &LoadBalancer,
    rule: &Rule,
    address: IpAddr,
    probing: &Probing,
) -> Option<api::BackendProbe> {
    let probe = balancer.probe_of(rule)?.name.clone();
    let key = Probed { load_balancer: balancer.name.clone(), probe, address };
    let report = probing.report(&key)?;
    let (error, ago) = report.last_error.unzip();
    Some(api::BackendProbe {
        state: report.state.name().to_owned(),
        seconds: report.lasts.as_secs_f64(),
        missing: report.missing,
        successes: report.successes,
        failures: report.failures,
        changes: report.changes,
        last_error: error,
        last_error_seconds_ago: ago.map(|ago| ago.as_secs_f64()),
    })
}

/// Where rules are looked at.
struct Place<'g> {
    service: &'g PrivateLinkService,
    index: ServiceIndex,
    generation: &'g Generation,
}

impl Place<'_> {
    fn resolves(&self, backend: IpAddr) -> bool {
        let Generation { snapshot, neighbors, .. } = self.generation;
        let scope = snapshot.service(self.index).map(|service| service.scope);
        let backend = scope.and_then(|scope| snapshot.backend_at(scope, backend));
        backend.is_some_and(|backend| neighbors.lookup(backend.next_hop).is_some())
    }

    fn idle_timeout(&self, protocol: Protocol, lifetime: &Lifetime) -> f64 {
        let timeouts = self.service.flows.timeouts(lifetime);
        tick_seconds(match protocol {
            Protocol::Tcp => timeouts.established_ticks,
            Protocol::Udp => timeouts.udp_ticks,
        })
    }
}

/// As the configuration has it.
fn distribution(persistence: Persistence) -> &'static str {
    match persistence {
        Persistence::None => "Default",
        Persistence::SourceIp => "SourceIP",
        Persistence::SourceIpProtocol => "SourceIPProtocol",
    }
}

fn mss_clamp(clamp: MssClamp) -> String {
    match clamp {
        MssClamp::Auto => "auto".to_owned(),
        MssClamp::Off => "off".to_owned(),
        MssClamp::Bytes(bytes) => bytes.to_string(),
    }
}

fn proxy_protocol(dialect: Option<ProxyDialect>) -> String {
    let name = match dialect {
        None => "none",
        Some(ProxyDialect::Azure) => "azure",
        Some(ProxyDialect::Aws) => "aws",
        Some(ProxyDialect::Gcp) => "gcp",
    };
    name.to_owned()
}

fn icmp_answers(answers: IcmpAnswers) -> Vec<String> {
    let IcmpAnswers { too_big, time_exceeded, prohibited } = answers;
    let words =
        [(too_big, "too_big"), (time_exceeded, "time_exceeded"), (prohibited, "prohibited")];
    words.iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, word)| (*word).to_owned()).collect()
}

fn tick_seconds(ticks: u32) -> f64 {
    Duration::from_nanos(u64::from(ticks) * Tick::NANOS).as_secs_f64()
}

fn nat_ports(
    balancer: &LoadBalancer,
    service: &PrivateLinkService,
    (registry, scope): (&Registry, ScopeId),
    generation: &Generation,
) -> Vec<api::NatPorts> {
    let mut keys: Vec<PoolKey> = Vec::new();
    let leaving = registry.departures().of_service(&service.name);
    let nat_ips = service.nat_ips.iter().map(|nat_ip| nat_ip.address);
    let nat_ips = nat_ips.chain(leaving.map(|leaving| leaving.address));
    let nat_ips: Vec<Address> = nat_ips.map(Address::from).collect();
    let mut add = |protocol, targets: &mut dyn Iterator<Item = IpAddr>| {
        for target in targets.map(Address::from) {
            let key = |&nat_ip| PoolKey { scope, nat_ip, target, protocol };
            keys.extend(nat_ips.iter().map(key));
        }
    };
    for rule in &balancer.rules {
        let Some(pool) = balancer.pools.get(rule.pool) else { continue };
        let target = |backend| rule.floating.unwrap_or(backend);
        for &protocol in rule.protocol.each() {
            add(protocol, &mut pool.addresses().map(target));
        }
    }
    for rule in &balancer.inbound_nat_rules {
        let target = rule.floating.unwrap_or(rule.backend_address);
        add(rule.protocol, &mut std::iter::once(target));
    }
    keys.sort_unstable();
    keys.dedup();
    let pools = keys.into_iter().filter_map(|key| {
        let pool = generation.pools.pool(generation.pools.find(&key)?)?;
        Some(api::NatPorts {
            nat_ip: key.nat_ip.ip(),
            backend: key.target.ip(),
            protocol: key.protocol.into(),
            leased: pool.leased(),
            ports: u32::try_from(PORTS_PER_POOL).unwrap_or(u32::MAX),
            refused: pool.refused(),
        })
    });
    pools.collect()
}

pub(super) fn drops(counters: &Counters, all: bool) -> api::Response {
    let reasons = DropReason::ALL.iter().map(|reason| api::Drop {
        metric: reason.metric().to_owned(),
        count: counters.dropped[reason.slot()],
        sentence: reason.sentence().to_owned(),
        cure: reason.cure().to_owned(),
        source: reason.source().to_owned(),
    });
    let drops = reasons.filter(|drop| all || drop.count > 0).collect();
    api::Response::Drops { drops, total: counters.dropped_total() }
}
