//! The provider's side: private link services.

use std::collections::HashMap;
use std::time::Duration;

use dataplane::limits::NAT_IPS_MAX;
use dataplane::snapshot::Refusal;

use super::super::profile::{FlowSettings, Profile};
use super::super::raw::{RawConfig, RawLoadBalancer, RawNatIp, RawService, Text};
use super::super::reader::Place;
use super::super::valid::{NatIp, PrivateLinkService, VirtualNetwork};
use super::address::{Use, claimed_host};
use super::treatment::treatment;
use super::{Context, Names, quota, value};

/// Services of one load balancer at most (Private Link FAQ).
const SERVICES_PER_BALANCER_MAX: usize = 8;

/// How long a NAT IP that is taken away keeps its flows unless the service says otherwise: until
/// what idles has timed out.
const NAT_IP_DRAIN: Duration = Duration::from_secs(300);

/// What refused clients are told, by name.
const REFUSALS: &[(&str, Refusal)] = &[("silent", Refusal::Silence), ("reset", Refusal::Reset)];

type Networks<'n> = &'n [Option<VirtualNetwork>];

pub(super) fn services(
    context: &mut Context,
    names: &Names<'_>,
    networks: Networks<'_>,
    raw: &RawConfig,
) -> Vec<Option<PrivateLinkService>> {
    let mut per_balancer: HashMap<usize, usize> = HashMap::new();
    let services = raw.services.iter().map(|raw_service| {
        warn_of_proxy_protocol(context, raw, raw_service);
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

/// A header in front of nothing: it is for TCP.
fn warn_of_proxy_protocol(context: &mut Context, raw: &RawConfig, service: &RawService) {
    let Some(text) = &service.proxy_protocol else { return };
    let name = service.load_balancer.as_ref().map(|name| &name.value);
    let same = |other: &&RawLoadBalancer| other.name.as_ref().map(|name| &name.value) == name;
    let Some(balancer) = raw.load_balancers.iter().find(same) else { return };
    let rules = balancer.rules.iter().map(|rule| &rule.protocol);
    let nat_rules = balancer.inbound_nat_rules.iter().map(|rule| &rule.protocol);
    let is_udp = |protocol: &Option<Text>| {
        protocol.as_ref().is_some_and(|protocol| protocol.value.eq_ignore_ascii_case("udp"))
    };
    let is_none = text.value.eq_ignore_ascii_case("none");
    if !is_none && !balancer.rules.is_empty() && rules.chain(nat_rules).all(is_udp) {
        let problem = "proxy_protocol has no effect: the load balancer has no TCP rule";
        context.warn(&text.place, problem, "it is about TCP: leave it out");
    }
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
    let quota = quota::of_service(context, raw);
    let flows = flow_settings(context, raw);
    let treatment = treatment(context, raw);
    Some(PrivateLinkService {
        name: name?,
        load_balancer: balancer?,
        nat_ips: nat_ips?,
        nat_ip_drain: nat_ip_drain?,
        quota: quota?,
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
