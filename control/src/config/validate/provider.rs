//! The provider's side: load balancers with their pools and rules, and private link services.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dataplane::limits::{BACKENDS_PER_RULE_MAX, NAT_IPS_MAX};
use dataplane::snapshot::Refusal;
use dataplane::types::Protocol;

use super::super::profile::{FlowSettings, Profile};
use super::super::raw::{RawConfig, RawLoadBalancer, RawNatIp, RawPool, RawRule, RawService, Text};
use super::super::reader::Place;
use super::super::valid::{LoadBalancer, NatIp, Pool, PrivateLinkService, Rule, VirtualNetwork};
use super::address::{Use, claimed_host};
use super::treatment::treatment;
use super::{Context, Names, Table, value};

/// Services of one load balancer at most (Private Link FAQ).
const SERVICES_PER_BALANCER_MAX: usize = 8;

/// How long a NAT IP that is taken away keeps its flows unless the service says otherwise: until
/// what idles has timed out.
const NAT_IP_DRAIN: Duration = Duration::from_secs(300);

/// What refused clients are told, by name.
const REFUSALS: &[(&str, Refusal)] = &[("silent", Refusal::Silence), ("reset", Refusal::Reset)];

type Networks<'n> = &'n [Option<VirtualNetwork>];

pub(super) fn load_balancers(
    context: &mut Context,
    names: &Names<'_>,
    networks: Networks<'_>,
    raw: &RawConfig,
) -> Vec<Option<LoadBalancer>> {
    let balancers = raw.load_balancers.iter();
    balancers.map(|raw| load_balancer(context, names, networks, raw)).collect()
}

fn load_balancer(
    context: &mut Context,
    names: &Names<'_>,
    networks: Networks<'_>,
    raw: &RawLoadBalancer,
) -> Option<LoadBalancer> {
    let name = context.name(raw.name.as_ref());
    let network = context.resolve(&names.networks, raw.virtual_network.as_ref());
    let standard = raw.sku.as_ref().is_none_or(|text| is_standard(context, text));
    let pools: Vec<_> = raw.pools.iter().map(|raw| pool(context, network, networks, raw)).collect();
    let pool_names = raw.pools.iter().map(|pool| pool.name.as_ref());
    let table = context.positions(pool_names, "backend address pool");
    let rules: Vec<_> = raw.rules.iter().map(|raw| rule(context, &table, raw)).collect();
    context.positions(raw.rules.iter().map(|rule| rule.name.as_ref()), "load-balancing rule");
    unique_frontends(context, &raw.rules, &rules);
    if raw.rules.is_empty() {
        let cure = "add load_balancing_rule = [{ ... }]: without one every packet is dropped";
        context.warn(&raw.place, "the load balancer has no rule", cure);
    }
    standard.then_some(LoadBalancer {
        name: name?,
        virtual_network: network?,
        pools: pools.into_iter().collect::<Option<_>>()?,
        rules: rules.into_iter().collect::<Option<_>>()?,
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
    let texts = raw.backend_addresses.as_deref()?;
    if texts.is_empty() {
        let cure = "name a backend: until then its rules drop every packet";
        context.warn(&raw.place, "the backend pool is empty", cure);
    }
    if let Some(first_over) = texts.get(BACKENDS_PER_RULE_MAX) {
        let cure = format!("a pool has at most {BACKENDS_PER_RULE_MAX}");
        context.error(&first_over.place, "too many backends", cure);
    }
    let mut backends: Vec<Ipv4Addr> = Vec::new();
    let mut faultless = true;
    for text in texts {
        let backend = claimed_host(context, Some(text), network, networks, Use::Backend);
        let Some(backend) = backend else {
            faultless = false;
            continue;
        };
        if backends.contains(&backend) {
            let problem = format!("{backend} is in the pool twice");
            context.error(&text.place, problem, "remove one of the two");
            faultless = false;
        }
        backends.push(backend);
    }
    faultless.then_some(Pool { name: name?, backend_addresses: backends })
}

fn rule(context: &mut Context, pools: &Table<'_>, raw: &RawRule) -> Option<Rule> {
    let name = context.name(raw.name.as_ref());
    let protocol = raw.protocol.as_ref().and_then(|text| protocol(context, text));
    let frontend_port = value::port(context, raw.frontend_port.as_ref());
    let backend_port = value::port(context, raw.backend_port.as_ref());
    let pool = context.resolve(pools, raw.backend_address_pool.as_ref());
    let idle_timeout = match &raw.idle_timeout_minutes {
        None => None,
        Some(minutes) => {
            let minutes: u64 = value::number(context, minutes, 4, 30)?;
            Some(Duration::from_secs(minutes * 60))
        }
    };
    if let (Some(minutes), Some(Protocol::Udp)) = (&raw.idle_timeout_minutes, protocol) {
        let cure = "it is about TCP: set udp_timeout of the private link service instead";
        context.warn(&minutes.place, "the idle timeout of a UDP rule has no effect", cure);
    }
    if let (Some(reset), Some(Protocol::Udp)) = (&raw.enable_tcp_reset, protocol) {
        let cure = "it is about TCP: leave it out";
        context.warn(&reset.place, "the TCP reset of a UDP rule has no effect", cure);
    }
    Some(Rule {
        name: name?,
        protocol: protocol?,
        frontend_port: frontend_port?,
        backend_port: backend_port?,
        pool: pool?,
        idle_timeout,
        tcp_reset: raw.enable_tcp_reset.as_ref().map(|reset| reset.value),
    })
}

fn protocol(context: &mut Context, text: &Text) -> Option<Protocol> {
    let is = |word: &str| text.value.eq_ignore_ascii_case(word);
    if is("all") {
        let problem = "rules for all ports (protocol \"All\") are not supported yet";
        context.error(&text.place, problem, "write one rule for each protocol and port");
        return None;
    }
    if ["icmp", "icmpv6", "sctp", "gre", "esp", "ah"].into_iter().any(is) {
        let problem = format!("private endpoints carry TCP and UDP only, not {}", text.value);
        context.error(&text.place, problem, "write \"Tcp\" or \"Udp\"");
        return None;
    }
    value::word(context, text, &[("Tcp", Protocol::Tcp), ("Udp", Protocol::Udp)])
}

fn unique_frontends(context: &mut Context, raw: &[RawRule], rules: &[Option<Rule>]) {
    let mut seen = HashMap::new();
    for (raw, rule) in raw.iter().zip(rules) {
        let Some(rule) = rule else { continue };
        let place = raw.frontend_port.as_ref().map_or(&raw.place, |port| &port.place);
        let key = (rule.protocol, rule.frontend_port);
        if let Some(line) = seen.insert(key, place.line) {
            let (protocol, port) = (rule.protocol.name(), rule.frontend_port);
            let problem = format!("the rule on line {line} has {protocol} port {port} already");
            let cure = "a load balancer has one rule for each protocol and frontend port";
            context.error(place, problem, cure);
        }
    }
}

pub(super) fn services(
    context: &mut Context,
    names: &Names<'_>,
    networks: Networks<'_>,
    raw: &RawConfig,
) -> Vec<Option<PrivateLinkService>> {
    let mut per_balancer: HashMap<usize, usize> = HashMap::new();
    let services = raw.services.iter().map(|raw_service| {
        let balancer = context.resolve(&names.load_balancers, raw_service.load_balancer.as_ref());
        if let (Some(balancer), Some(text)) = (balancer, &raw_service.load_balancer) {
            let count = per_balancer.entry(balancer).or_default();
            *count += 1;
            if *count == SERVICES_PER_BALANCER_MAX + 1 {
                let problem = format!("load balancer {:?} has more than 8 services", text.value);
                let cure = "as in Azure, 8 is the most: use another load balancer";
                context.error(&text.place, problem, cure);
            }
        }
        let network = balancer.and_then(|at| names.network_of_balancer(raw, at));
        service(context, networks, raw_service, balancer, network)
    });
    services.collect()
}

fn service(
    context: &mut Context,
    networks: Networks<'_>,
    raw: &RawService,
    balancer: Option<usize>,
    network: Option<usize>,
) -> Option<PrivateLinkService> {
    let name = context.name(raw.name.as_ref());
    let nat_ips = nat_ips(context, networks, raw, network);
    let nat_ip_drain = match &raw.nat_ip_drain_timeout {
        None => Some(NAT_IP_DRAIN),
        Some(text) => value::drain(context, text),
    };
    let flows = flow_settings(context, raw);
    let treatment = treatment(context, raw);
    Some(PrivateLinkService {
        name: name?,
        load_balancer: balancer?,
        nat_ips: nat_ips?,
        nat_ip_drain: nat_ip_drain?,
        auto_approve: raw.auto_approve.as_ref().is_some_and(|auto| auto.value),
        flows: flows?,
        treatment: treatment?,
    })
}

/// The profile's settings, and what the service has instead of them.
fn flow_settings(context: &mut Context, raw: &RawService) -> Option<FlowSettings> {
    let profile = match &raw.profile {
        None => Some(Profile::default()),
        Some(text) => value::word(context, text, Profile::WORDS),
    };
    let default = profile.unwrap_or_default().settings();
    let mut timeout = |text: &Option<Text>, default| match text {
        None => Some(default),
        Some(text) => value::timeout(context, text),
    };
    let established = timeout(&raw.tcp_established_timeout, default.established);
    let half_open = timeout(&raw.tcp_half_open_timeout, default.half_open);
    let closing = timeout(&raw.tcp_closing_timeout, default.closing);
    let udp = timeout(&raw.udp_timeout, default.udp);
    let hold_down = match &raw.port_hold_down {
        None => Some(default.hold_down),
        Some(text) => value::hold_down(context, text),
    };
    let refusal = match &raw.tcp_refusals {
        None => Some(default.refusal),
        Some(text) => value::word(context, text, REFUSALS),
    };
    profile?;
    Some(FlowSettings {
        established: established?,
        half_open: half_open?,
        closing: closing?,
        udp: udp?,
        hold_down: hold_down?,
        tcp_reset: default.tcp_reset,
        refusal: refusal?,
    })
}

fn nat_ips(
    context: &mut Context,
    networks: Networks<'_>,
    raw: &RawService,
    network: Option<usize>,
) -> Option<Vec<NatIp>> {
    let list = raw.nat_ips.as_deref()?;
    if list.is_empty() || list.len() > NAT_IPS_MAX {
        let path = format!("{}.nat_ip_configurations", raw.place.path);
        let place = Place { path, line: raw.place.line };
        let (problem, cure) = match list.len() {
            0 => (
                "there is no NAT IP".to_owned(),
                format!("a service has 1 to {NAT_IPS_MAX}: the last one cannot be taken away"),
            ),
            more => {
                (format!("there are {more} NAT IPs"), format!("a service has 1 to {NAT_IPS_MAX}"))
            }
        };
        context.error(&place, problem, cure);
    }
    context.positions(list.iter().map(|nat_ip| nat_ip.name.as_ref()), "NAT IP configuration");
    let nat_ips: Vec<_> = list.iter().map(|raw| nat_ip(context, networks, raw, network)).collect();
    nat_ips.into_iter().collect()
}

fn nat_ip(
    context: &mut Context,
    networks: Networks<'_>,
    raw: &RawNatIp,
    network: Option<usize>,
) -> Option<NatIp> {
    let name = context.name(raw.name.as_ref());
    let text = raw.private_ip_address.as_ref();
    let address = claimed_host(context, text, network, networks, Use::NatIp);
    Some(NatIp { name: name?, address: address? })
}
