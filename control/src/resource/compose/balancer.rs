//! Load balancers made through the API, as the configuration has them: one for each frontend.

use std::net::IpAddr;
use std::time::Duration;

use dataplane::snapshot::{Persistence, UdpTracking};
use dataplane::types::Protocol;

use crate::config::{
    InboundNatRule, Lifetime, LoadBalancer, Name, Pool, PoolBackend, Probe, ProbeProtocol,
    RuleProtocol,
};
use crate::resource::model::{self, Balancer, Distribution, NatRule, Rule, Transport};

/// The part of a load balancer behind one frontend.
pub(super) fn load_balancer(
    balancer: &Balancer,
    name: Name,
    frontend: &str,
    virtual_network: usize,
) -> LoadBalancer {
    let here = |name: &str| name.eq_ignore_ascii_case(frontend);
    let address = balancer.frontend(frontend).and_then(|frontend| frontend.address);
    let rules = balancer.rules.iter().filter(|rule| here(&rule.frontend));
    let nat_rules = balancer.nat_rules.iter().filter(|rule| here(&rule.frontend));
    LoadBalancer {
        name,
        virtual_network,
        frontend: address,
        pools: balancer.pools.iter().map(pool).collect(),
        rules: rules.filter_map(|rule| self::rule(balancer, address, rule)).collect(),
        inbound_nat_rules: nat_rules.flat_map(|rule| self::nat_rules(address, rule)).collect(),
        probes: balancer.probes.iter().map(probe).collect(),
        probe_sources: None,
    }
}

fn pool(pool: &model::Pool) -> Pool {
    let backend = |backend: &model::Backend| PoolBackend {
        address: backend.address,
        weight: 1,
        admin_state: backend.admin_state,
    };
    Pool {
        name: Name::of_resource(pool.name.clone()),
        backends: pool.backends.iter().map(backend).collect(),
        drain: pool.drain_seconds.map(|seconds| Duration::from_secs(seconds.into())),
    }
}

fn rule(balancer: &Balancer, frontend: Option<IpAddr>, rule: &Rule) -> Option<crate::config::Rule> {
    let is_pool = |pool: &model::Pool| pool.name.eq_ignore_ascii_case(&rule.pool);
    let named = rule.probe.as_ref();
    let is_probe = |name: &String| {
        let mut probes = balancer.probes.iter();
        probes.position(|probe| probe.name.eq_ignore_ascii_case(name))
    };
    let mut lifetime = lifetime(rule.protocol, rule.idle_minutes, rule.tcp_reset);
    if rule.protocol == Transport::All {
        // As in Azure, where HA ports come without resets; here they can be had.
        lifetime.tcp_reset = lifetime.tcp_reset.or(Some(false));
    }
    Some(crate::config::Rule {
        name: Name::of_resource(rule.name.clone()),
        protocol: match rule.protocol {
            Transport::Tcp => RuleProtocol::Tcp,
            Transport::Udp => RuleProtocol::Udp,
            Transport::All => RuleProtocol::All,
        },
        frontend_port: rule.frontend_port,
        backend_port: rule.backend_port,
        floating: frontend.filter(|_| rule.floats),
        pool: balancer.pools.iter().position(is_pool)?,
        probe: named.and_then(is_probe),
        persistence: match rule.distribution {
            Distribution::Default => Persistence::None,
            Distribution::SourceIP => Persistence::SourceIp,
            Distribution::SourceIPProtocol => Persistence::SourceIpProtocol,
        },
        udp_tracking: if rule.udp_tracking { UdpTracking::On } else { UdpTracking::Off },
        lifetime,
    })
}

/// A rule for each backend, named after it.
fn nat_rules(
    frontend: Option<IpAddr>,
    rule: &NatRule,
) -> impl Iterator<Item = InboundNatRule> + use<'_> {
    let one = move |&(backend_address, frontend_port): &(IpAddr, u16)| InboundNatRule {
        name: Name::of_resource(format!("{}/{backend_address}", rule.name)),
        protocol: if rule.protocol == Transport::Udp { Protocol::Udp } else { Protocol::Tcp },
        frontend_port,
        backend_address,
        backend_port: rule.backend_port,
        floating: frontend.filter(|_| rule.floats),
        lifetime: lifetime(rule.protocol, rule.idle_minutes, rule.tcp_reset),
    };
    rule.mapping.iter().map(one)
}

/// Of UDP alone none of it has an effect.
fn lifetime(protocol: Transport, minutes: Option<u8>, tcp_reset: Option<bool>) -> Lifetime {
    if protocol == Transport::Udp {
        return Lifetime::default();
    }
    let idle_timeout = minutes.map(|minutes| Duration::from_secs(u64::from(minutes) * 60));
    Lifetime { idle_timeout, tcp_reset }
}

fn probe(probe: &model::Probe) -> Probe {
    Probe {
        name: Name::of_resource(probe.name.clone()),
        protocol: probe.protocol,
        port: probe.port,
        request_path: match probe.protocol {
            ProbeProtocol::Tcp => "/".to_owned(),
            ProbeProtocol::Http | ProbeProtocol::Https => {
                probe.request_path.clone().unwrap_or_else(|| "/".to_owned())
            }
        },
        interval: Duration::from_millis(probe.interval_ms),
        threshold: probe.threshold,
        no_healthy_backends: probe.no_healthy_backends,
        send_proxy_protocol: None,
    }
}
