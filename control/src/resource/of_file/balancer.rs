//! Parts of load balancers.

use dataplane::snapshot::{Persistence, UdpTracking};
use dataplane::types::Protocol;

use super::FRONTEND;
use crate::config::{self, InboundNatRule, Lifetime, LoadBalancer, ProbeProtocol, RuleProtocol};
use crate::resource::model::{Backend, Distribution, NatRule, Pool, Probe, Rule, Transport};

pub(super) fn pool(pool: &config::Pool) -> Pool {
    let backends = pool.backends.iter().map(|backend| Backend {
        name: backend.address.to_string(),
        address: backend.address,
        admin_state: backend.admin_state,
    });
    let seconds = |drain: std::time::Duration| u32::try_from(drain.as_secs()).unwrap_or(u32::MAX);
    Pool {
        name: pool.name.to_string(),
        backends: backends.collect(),
        drain_seconds: pool.drain.map(seconds),
    }
}

/// `None` if its pool is not the load balancer's.
pub(super) fn rule(balancer: &LoadBalancer, rule: &config::Rule) -> Option<Rule> {
    Some(Rule {
        name: rule.name.to_string(),
        frontend: FRONTEND.to_owned(),
        pool: balancer.pools.get(rule.pool)?.name.to_string(),
        protocol: match rule.protocol {
            RuleProtocol::Tcp => Transport::Tcp,
            RuleProtocol::Udp => Transport::Udp,
            RuleProtocol::All => Transport::All,
        },
        distribution: match rule.persistence {
            Persistence::None => Distribution::Default,
            Persistence::SourceIp => Distribution::SourceIP,
            Persistence::SourceIpProtocol => Distribution::SourceIPProtocol,
        },
        frontend_port: rule.frontend_port,
        backend_port: rule.backend_port,
        idle_minutes: idle_minutes(&rule.lifetime),
        tcp_reset: rule.lifetime.tcp_reset,
        probe: balancer.probe_of(rule).map(|probe| probe.name.to_string()),
        udp_tracking: rule.udp_tracking == UdpTracking::On,
        floats: rule.floating.is_some(),
        outbound_snat_disabled: false,
    })
}

fn idle_minutes(lifetime: &Lifetime) -> Option<u8> {
    let minutes = |idle: std::time::Duration| u8::try_from(idle.as_secs() / 60).unwrap_or(u8::MAX);
    lifetime.idle_timeout.map(minutes)
}

pub(super) fn probe(probe: &config::Probe) -> Probe {
    let has_path = probe.protocol != ProbeProtocol::Tcp;
    Probe {
        name: probe.name.to_string(),
        protocol: probe.protocol,
        port: probe.port,
        interval_ms: u64::try_from(probe.interval.as_millis()).unwrap_or(u64::MAX),
        number_of_probes: None,
        threshold: probe.threshold,
        request_path: has_path.then(|| probe.request_path.clone()),
        no_healthy_backends: probe.no_healthy_backends,
    }
}

pub(super) fn nat_rule(rule: &InboundNatRule) -> NatRule {
    NatRule {
        name: rule.name.to_string(),
        frontend: FRONTEND.to_owned(),
        pool: None,
        protocol: match rule.protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
        },
        first_port: rule.frontend_port,
        last_port: rule.frontend_port,
        backend_port: rule.backend_port,
        floats: rule.floating.is_some(),
        mapping: vec![(rule.backend_address, rule.frontend_port)],
        idle_minutes: idle_minutes(&rule.lifetime),
        tcp_reset: rule.lifetime.tcp_reset,
    }
}
