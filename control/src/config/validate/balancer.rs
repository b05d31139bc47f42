//! Load balancers: pools, load-balancing rules, inbound NAT rules.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use dataplane::limits::BACKENDS_PER_RULE_MAX;
use dataplane::snapshot::{Persistence, UdpTracking};
use dataplane::types::Protocol;

use super::super::balance::{
    AdminState, InboundNatRule, Lifetime, Pool, PoolBackend, Rule, RuleProtocol, WEIGHT_MAX,
};
use super::super::raw::{
    RawBackend, RawConfig, RawInboundNatRule, RawLifetime, RawLoadBalancer, RawPool, RawRule, Text,
};
use super::super::reader::{Located, Place};
use super::super::valid::{LoadBalancer, VirtualNetwork};
use super::address::{Use, claimed_host};
use super::{Context, Names, Table, probe, value};

type Networks<'n> = &'n [Option<VirtualNetwork>];

/// The longest time to drain that makes sense: a day.
const DRAIN_SECONDS_MAX: i64 = 24 * 3600;

/// What decides about the backend, by Azure's names.
const DISTRIBUTIONS: &[(&str, Persistence)] = &[
    ("Default", Persistence::None),
    ("SourceIP", Persistence::SourceIp),
    ("SourceIPProtocol", Persistence::SourceIpProtocol),
];

pub(super) fn load_balancers(
    context: &mut Context,
    names: &Names<'_>,
    networks: Networks<'_>,
    raw: &RawConfig,
) -> Vec<Option<LoadBalancer>> {
    let balancers = raw.load_balancers.iter();
    balancers.map(|balancer| load_balancer(context, names, networks, raw, balancer)).collect()
}

fn load_balancer(
    context: &mut Context,
    names: &Names<'_>,
    networks: Networks<'_>,
    file: &RawConfig,
    raw: &RawLoadBalancer,
) -> Option<LoadBalancer> {
    let name = context.name(raw.name.as_ref());
    let network = context.resolve(&names.networks, raw.virtual_network.as_ref());
    let standard = raw.sku.as_ref().is_none_or(|text| is_standard(context, text));
    let address = raw.frontend_ip_address.as_ref();
    let frontend = claimed_host(context, address, network, networks, Use::Frontend);
    let pools: Vec<_> = raw.pools.iter().map(|raw| pool(context, network, networks, raw)).collect();
    let pool_names = raw.pools.iter().map(|pool| pool.name.as_ref());
    let table = context.positions(pool_names, "backend address pool");
    let probes: Vec<_> = raw.probes.iter().map(|raw| probe::probe(context, raw)).collect();
    let probe_names =
        context.positions(raw.probes.iter().map(|probe| probe.name.as_ref()), "probe");
    let probe_sources = probe::sources(context, file, raw, network, networks);
    warn_of_idle_probes(context, raw);
    let rules: Vec<_> =
        raw.rules.iter().map(|raw| rule(context, &table, &probe_names, (frontend, raw))).collect();
    context.positions(raw.rules.iter().map(|rule| rule.name.as_ref()), "load-balancing rule");
    let nat_rules = raw.inbound_nat_rules.iter();
    let nat_rules: Vec<_> = nat_rules
        .map(|raw| inbound_nat_rule(context, network, networks, (frontend, raw)))
        .collect();
    let nat_names = raw.inbound_nat_rules.iter().map(|rule| rule.name.as_ref());
    context.positions(nat_names, "inbound NAT rule");
    unique_frontends(context, raw, &rules, &nat_rules);
    if raw.rules.is_empty() && raw.inbound_nat_rules.is_empty() {
        let cure = "add load_balancing_rule = [{ ... }]: without one every packet is dropped";
        context.warn(&raw.place, "the load balancer has no rule", cure);
    }
    standard.then_some(LoadBalancer {
        name: name?,
        virtual_network: network?,
        frontend,
        pools: pools.into_iter().collect::<Option<_>>()?,
        rules: rules.into_iter().collect::<Option<_>>()?,
        inbound_nat_rules: nat_rules.into_iter().collect::<Option<_>>()?,
        probes: probes.into_iter().collect::<Option<_>>()?,
        probe_sources: probe_sources?,
    })
}

fn is_standard(context: &mut Context, text: &Text) -> bool {
    if text.value.eq_ignore_ascii_case("basic") || text.value.eq_ignore_ascii_case("gateway") {
        let problem = format!("a private link service does not work behind sku {:?}", text.value);
        context.error(&text.place, problem, "write \"Standard\", or leave it out");
        return false;
    }
    value::word(context, text, &[("Standard", ())]).is_some()
}

fn pool(
    context: &mut Context,
    network: Option<usize>,
    networks: Networks<'_>,
    raw: &RawPool,
) -> Option<Pool> {
    let name = context.name(raw.name.as_ref());
    let drain = match &raw.drain_period_in_seconds {
        None => Some(None),
        Some(seconds) => {
            let seconds: Option<u64> = value::number(context, seconds, 0, DRAIN_SECONDS_MAX);
            seconds.map(|seconds| Some(Duration::from_secs(seconds)))
        }
    };
    let raws = raw.backends.as_deref()?;
    if raws.is_empty() {
        let cure = "name a backend: until then its rules drop every packet";
        context.warn(&raw.place, "the backend pool is empty", cure);
    }
    if let Some(first_over) = raws.get(BACKENDS_PER_RULE_MAX) {
        let cure = format!("a pool has at most {BACKENDS_PER_RULE_MAX}");
        context.error(&first_over.place, "too many backends", cure);
    }
    let mut backends: Vec<PoolBackend> = Vec::new();
    let mut faultless = true;
    for raw in raws {
        let Some(backend) = backend(context, network, networks, raw) else {
            faultless = false;
            continue;
        };
        if backends.iter().any(|other| other.address == backend.address) {
            let problem = format!("{} is in the pool twice", backend.address);
            context.error(&raw.place, problem, "remove one of the two");
            faultless = false;
        }
        backends.push(backend);
    }
    faultless.then_some(Pool { name: name?, backends, drain: drain? })
}

fn backend(
    context: &mut Context,
    network: Option<usize>,
    networks: Networks<'_>,
    raw: &RawBackend,
) -> Option<PoolBackend> {
    let address = claimed_host(context, raw.ip_address.as_ref(), network, networks, Use::Backend);
    let weight = match &raw.weight {
        None => Some(1),
        Some(weight) => value::number(context, weight, 1, i64::from(WEIGHT_MAX)),
    };
    let admin_state = match &raw.admin_state {
        None => Some(AdminState::None),
        Some(text) => value::word(context, text, AdminState::WORDS),
    };
    Some(PoolBackend { address: address?, weight: weight?, admin_state: admin_state? })
}

/// A probe that no rule names asks nobody.
fn warn_of_idle_probes(context: &mut Context, raw: &RawLoadBalancer) {
    let used = |name: &Text| {
        let mut probes = raw.rules.iter().filter_map(|rule| rule.probe.as_ref());
        probes.any(|probe| probe.value == name.value)
    };
    let idle = raw.probes.iter().filter_map(|probe| probe.name.as_ref()).filter(|name| !used(name));
    for name in idle {
        let cure = format!("write probe = {:?} in a load-balancing rule", name.value);
        context.warn(&name.place, "no rule names the probe, so it asks nobody", cure);
    }
}

fn rule(
    context: &mut Context,
    pools: &Table<'_>,
    probes: &Table<'_>,
    (frontend, raw): (Option<IpAddr>, &RawRule),
) -> Option<Rule> {
    let name = context.name(raw.name.as_ref());
    let protocol = raw.protocol.as_ref().and_then(|text| rule_protocol(context, text));
    let frontend_port = rule_port(context, protocol, raw.frontend_port.as_ref());
    let backend_port = rule_port(context, protocol, raw.backend_port.as_ref());
    let ports = (frontend_port, backend_port);
    let floating = floating(context, frontend, raw.enable_floating_ip.as_ref(), ports);
    let pool = context.resolve(pools, raw.backend_address_pool.as_ref());
    let probe = match &raw.probe {
        None => Some(None),
        Some(name) => context.resolve(probes, Some(name)).map(Some),
    };
    let persistence = match &raw.load_distribution {
        None => Some(Persistence::None),
        Some(text) => value::word(context, text, DISTRIBUTIONS),
    };
    if let (Some(tracking), Some(RuleProtocol::Tcp)) = (&raw.enable_connection_tracking, protocol) {
        let cure = "it is about UDP, TCP is always tracked: leave it out";
        context.warn(&tracking.place, "the connection tracking of a TCP rule has no effect", cure);
    }
    let is_tracked = raw.enable_connection_tracking.as_ref().is_some_and(|tracked| tracked.value);
    let mut lifetime = lifetime(context, &raw.lifetime, protocol == Some(RuleProtocol::Udp))?;
    if protocol == Some(RuleProtocol::All) {
        // As in Azure, where HA ports come without resets; here they can be had.
        lifetime.tcp_reset = lifetime.tcp_reset.or(Some(false));
    }
    Some(Rule {
        name: name?,
        protocol: protocol?,
        frontend_port: frontend_port?,
        backend_port: backend_port?,
        floating: floating?,
        pool: pool?,
        probe: probe?,
        persistence: persistence?,
        udp_tracking: if is_tracked { UdpTracking::On } else { UdpTracking::Off },
        lifetime,
    })
}

fn inbound_nat_rule(
    context: &mut Context,
    network: Option<usize>,
    networks: Networks<'_>,
    (frontend, raw): (Option<IpAddr>, &RawInboundNatRule),
) -> Option<InboundNatRule> {
    let name = context.name(raw.name.as_ref());
    let protocol = match raw.protocol.as_ref().and_then(|text| rule_protocol(context, text))? {
        RuleProtocol::Tcp => Some(Protocol::Tcp),
        RuleProtocol::Udp => Some(Protocol::Udp),
        RuleProtocol::All => {
            if let Some(text) = &raw.protocol {
                let cure = "write one rule for each protocol and port, or a load-balancing rule";
                context.error(&text.place, "an inbound NAT rule has one protocol", cure);
            }
            None
        }
    };
    let frontend_port = value::port(context, raw.frontend_port.as_ref());
    let backend_port = value::port(context, raw.backend_port.as_ref());
    let ports = (frontend_port, backend_port);
    let floating = floating(context, frontend, raw.enable_floating_ip.as_ref(), ports);
    let address = raw.backend_ip_address.as_ref();
    let address = claimed_host(context, address, network, networks, Use::Backend);
    let lifetime = lifetime(context, &raw.lifetime, protocol == Some(Protocol::Udp));
    Some(InboundNatRule {
        name: name?,
        protocol: protocol?,
        frontend_port: frontend_port?,
        backend_address: address?,
        backend_port: backend_port?,
        floating: floating?,
        lifetime: lifetime?,
    })
}

/// The frontend's address, if a rule wants it to float: its packets keep the port, too.
fn floating(
    context: &mut Context,
    frontend: Option<IpAddr>,
    raw: Option<&Located<bool>>,
    (frontend_port, backend_port): (Option<u16>, Option<u16>),
) -> Option<Option<IpAddr>> {
    let Some(raw) = raw.filter(|raw| raw.value) else { return Some(None) };
    if frontend.is_none() {
        let cure = "write frontend_ip_address in the load balancer: the address that its backends \
            have on a loopback interface";
        context.error(&raw.place, "the frontend that shall float has no address", cure);
        return None;
    }
    if let (Some(frontend_port), Some(backend_port)) = (frontend_port, backend_port)
        && frontend_port != backend_port
    {
        let problem = format!(
            "packets of a rule with a floating IP keep their port {frontend_port}, and \
             backend_port is {backend_port}"
        );
        let cure = format!("write backend_port = {frontend_port}, or leave the floating IP out");
        context.error(&raw.place, problem, cure);
        return None;
    }
    Some(frontend)
}

/// What a rule says of the life of its flows; of UDP alone none of it has an effect.
fn lifetime(context: &mut Context, raw: &RawLifetime, is_udp: bool) -> Option<Lifetime> {
    let idle_timeout = match &raw.idle_timeout_minutes {
        None => None,
        Some(minutes) => {
            let minutes: u64 = value::number(context, minutes, 4, 30)?;
            Some(Duration::from_secs(minutes * 60))
        }
    };
    if let Some(minutes) = raw.idle_timeout_minutes.as_ref().filter(|_| is_udp) {
        let cure = "it is about TCP: set udp_timeout of the private link service instead";
        context.warn(&minutes.place, "the idle timeout of a UDP rule has no effect", cure);
    }
    if let Some(reset) = raw.enable_tcp_reset.as_ref().filter(|_| is_udp) {
        let cure = "it is about TCP: leave it out";
        context.warn(&reset.place, "the TCP reset of a UDP rule has no effect", cure);
    }
    let tcp_reset = raw.enable_tcp_reset.as_ref().map(|reset| reset.value);
    Some(Lifetime { idle_timeout, tcp_reset })
}

fn rule_protocol(context: &mut Context, text: &Text) -> Option<RuleProtocol> {
    let is = |word: &str| text.value.eq_ignore_ascii_case(word);
    if ["icmp", "icmpv6", "sctp", "gre", "esp", "ah"].into_iter().any(is) {
        let problem = format!("private endpoints carry TCP and UDP only, not {}", text.value);
        context.error(&text.place, problem, "write \"Tcp\", \"Udp\" or \"All\"");
        return None;
    }
    let words =
        [("Tcp", RuleProtocol::Tcp), ("Udp", RuleProtocol::Udp), ("All", RuleProtocol::All)];
    value::word(context, text, &words)
}

/// A port of a rule: 0 exactly if the rule takes all of them.
fn rule_port(
    context: &mut Context,
    protocol: Option<RuleProtocol>,
    raw: Option<&Located<i64>>,
) -> Option<u16> {
    if protocol != Some(RuleProtocol::All) {
        return value::port(context, raw);
    }
    let raw = raw?;
    if raw.value != 0 {
        let problem = format!("a rule for protocol \"All\" takes all ports, not {}", raw.value);
        let cure = "write 0 for both ports, or one rule for each of \"Tcp\" and \"Udp\"";
        context.error(&raw.place, problem, cure);
        return None;
    }
    Some(0)
}

/// A port of a protocol leads to one place. Port 0 is all ports, which any other goes before.
fn unique_frontends(
    context: &mut Context,
    raw: &RawLoadBalancer,
    rules: &[Option<Rule>],
    nat_rules: &[Option<InboundNatRule>],
) {
    let place = |own: &Place, port: &Option<Located<i64>>| {
        port.as_ref().map_or_else(|| own.clone(), |port| port.place.clone())
    };
    let balanced = raw.rules.iter().zip(rules).filter_map(|(raw, rule)| {
        let rule = rule.as_ref()?;
        let protocol = *rule.protocol.each().first()?;
        Some(((protocol, rule.frontend_port), place(&raw.place, &raw.frontend_port)))
    });
    let translated = raw.inbound_nat_rules.iter().zip(nat_rules).filter_map(|(raw, rule)| {
        let rule = rule.as_ref()?;
        Some(((rule.protocol, rule.frontend_port), place(&raw.place, &raw.frontend_port)))
    });
    let mut seen = HashMap::new();
    for ((protocol, port), place) in balanced.chain(translated) {
        let Some(line) = seen.insert((protocol, port), place.line) else { continue };
        let what = match port {
            0 => "all ports".to_owned(),
            port => format!("{} port {port}", protocol.name()),
        };
        let cure = "a load balancer has one rule for each protocol and frontend port";
        context.error(&place, format!("the rule on line {line} has {what} already"), cure);
    }
}
