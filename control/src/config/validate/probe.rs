//! Health probes of load balancers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use dataplane::types::{Addresses, Family, Prefix};

use super::super::probe::{
    HTTP_PORTS_REFUSED, INTERVAL_DEFAULT, INTERVAL_MAX, INTERVAL_MIN, NoHealthyBackends, Probe,
    ProbeProtocol, THRESHOLD_MAX, wrong_path,
};
use super::super::raw::{RawConfig, RawLoadBalancer, RawProbe, Text};
use super::super::valid::VirtualNetwork;
use super::address::{Use, address, claim, of_each_family, unusable};
use super::{Context, value};

/// Azure probes from here; they lie in no virtual network.
const AZURE_SOURCES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x1234, 0x5678, 0x9abc)),
];

pub(super) fn probe(context: &mut Context, raw: &RawProbe) -> Option<Probe> {
    let name = context.name(raw.name.as_ref());
    let protocol = raw.protocol.as_ref();
    let protocol = protocol.and_then(|text| value::word(context, text, ProbeProtocol::WORDS));
    let port = value::port(context, raw.port.as_ref());
    if let (Some(port), Some(place)) = (port, raw.port.as_ref().map(|port| &port.place))
        && protocol.is_some_and(|protocol| protocol != ProbeProtocol::Tcp)
        && HTTP_PORTS_REFUSED.contains(&port)
    {
        let problem = format!("port {port} is refused by HTTP probes, as in Azure");
        context.error(place, problem, "probe another port, or write protocol = \"Tcp\"");
    }
    let request_path = request_path(context, raw, protocol);
    let threshold = match &raw.probe_threshold {
        None => Some(1),
        Some(threshold) => value::number(context, threshold, 1, i64::from(THRESHOLD_MAX)),
    };
    let no_healthy_backends = match &raw.no_healthy_backends_behavior {
        None => Some(NoHealthyBackends::default()),
        Some(text) => value::word(context, text, NoHealthyBackends::WORDS),
    };
    if let Some(number) = &raw.number_of_probes {
        let cure = "Azure ignores it, and so does adit: write probe_threshold";
        context.warn(&number.place, "number_of_probes has no effect", cure);
    }
    let interval = interval(context, raw);
    Some(Probe {
        name: name?,
        protocol: protocol?,
        port: port?,
        request_path: request_path?,
        interval: interval?,
        threshold: threshold?,
        no_healthy_backends: no_healthy_backends?,
        send_proxy_protocol: raw.send_proxy_protocol.as_ref().map(|sends| sends.value),
    })
}

fn interval(context: &mut Context, raw: &RawProbe) -> Option<Duration> {
    match (&raw.interval_in_seconds, &raw.interval) {
        (None, None) => Some(INTERVAL_DEFAULT),
        (Some(seconds), None) => {
            let value = u64::try_from(seconds.value)
                .ok()
                .filter(|value| (INTERVAL_MIN..=INTERVAL_MAX).contains(value));
            if value.is_none() {
                let problem = format!("{} is out of range", seconds.value);
                let cure = "write 5 to 86400, as in Azure; adit alone has interval = \"500ms\"";
                context.error(&seconds.place, problem, cure);
            }
            value.map(Duration::from_secs)
        }
        (None, Some(text)) => value::timeout(context, text),
        (Some(_), Some(text)) => {
            let problem = "the interval is there twice";
            context.error(&text.place, problem, "keep interval_in_seconds or interval");
            None
        }
    }
}

fn request_path(
    context: &mut Context,
    raw: &RawProbe,
    protocol: Option<ProbeProtocol>,
) -> Option<String> {
    match (&raw.request_path, protocol) {
        (None, Some(ProbeProtocol::Tcp)) => Some("/".to_owned()),
        (None, None) => None,
        (None, Some(protocol)) => {
            let problem = format!("request_path is missing, which {} asks for", protocol.name());
            context.error(&raw.place, problem, "write request_path = \"/\"");
            None
        }
        (Some(text), Some(ProbeProtocol::Tcp)) => {
            let cure = "a TCP probe only opens a connection: leave it out, or write \"Http\"";
            context.error(&text.place, "a TCP probe asks for no path", cure);
            None
        }
        (Some(text), _) => {
            let Some(problem) = wrong_path(&text.value) else { return Some(text.value.clone()) };
            context.error(&text.place, problem, "write it as in a URL: \"/healthz\"");
            None
        }
    }
}

/// The addresses that probes come from, if they are said.
pub(super) fn sources(
    context: &mut Context,
    raw: &RawConfig,
    balancer: &RawLoadBalancer,
    network: Option<usize>,
    networks: &[Option<VirtualNetwork>],
) -> Option<Option<Addresses>> {
    let Some(texts) = &balancer.probe_source_ip_address else { return Some(None) };
    // NAT IPs of its own services claim themselves, and may be named here.
    let name = |name: &Option<Text>| name.as_ref().map(|name| name.value.clone());
    let own =
        raw.services.iter().filter(|service| name(&service.load_balancer) == name(&balancer.name));
    let nat_ips = own.filter_map(|service| service.nat_ips.as_ref()).flatten();
    let nat_ips = nat_ips.filter_map(|nat_ip| nat_ip.private_ip_address.as_ref());
    let nat_ips: Vec<IpAddr> = nat_ips.filter_map(|nat_ip| nat_ip.value.parse().ok()).collect();
    let source = |context: &mut Context, text: &Text| {
        let address = address(context, text)?;
        let at = network?;
        judge_source(context, text, address, networks.get(at)?.as_ref()?)?;
        if !nat_ips.contains(&address) {
            claim(context, text, at, address, Use::ProbeSource);
        }
        Some(address)
    };
    of_each_family(context, texts, source).map(Some)
}

/// A source is one that a host could have, of any network: backends may reach it by a route.
fn judge_source(
    context: &mut Context,
    text: &Text,
    address: IpAddr,
    network: &VirtualNetwork,
) -> Option<()> {
    if network.address_space.iter().any(|prefix| prefix.contains(address)) {
        return super::address::host_of(context, text, network).map(drop);
    }
    let host = Prefix::new(address, Family::of(address).bits())?;
    let what = unusable(host).filter(|_| !AZURE_SOURCES.contains(&address));
    let Some(what) = what else { return Some(()) };
    let problem = format!("{address} lies in {what}");
    context.error(&text.place, problem, "leave it out: probes then come from a NAT IP");
    None
}
