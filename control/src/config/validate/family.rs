//! What IPv4 and IPv6 addresses of one service have to do with each other.
//!
//! Clients and backends may be of different families: adit translates. But it speaks to a backend
//! from a NAT IP of the backend's family, and probes backends over IPv4 alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane::types::Family;

use super::super::balance::Pool;
use super::super::error::ConfigError;
use super::super::raw::{RawConfig, RawLoadBalancer};
use super::super::reader::Place;
use super::super::valid::{Config, LoadBalancer};

/// What is wrong with the families of all addresses together.
pub(super) fn judge(config: &Config, raw: &RawConfig) -> Vec<ConfigError> {
    let balancers = config.load_balancers.iter().zip(&raw.load_balancers);
    let mut errors: Vec<_> =
        balancers.flat_map(|(balancer, raw)| judge_probes(balancer, raw)).collect();
    for (service, raw) in config.services.iter().zip(&raw.services) {
        let Some(balancer) = config.load_balancers.get(service.load_balancer) else { continue };
        let own: BTreeSet<_> = service.nat_ips.iter().map(|it| Family::of(it.address)).collect();
        // Whoever has none is told so elsewhere.
        let missing = families(balancer);
        for family in missing.difference(&own).filter(|_| !own.is_empty()) {
            let (name, what) = (&service.name, family.name());
            let problem =
                format!("service \"{name}\" has {what} backends, and no {what} NAT IP for them");
            let cure = format!(
                "add a NAT IP with an {what} address of \"{}\", or take those backends out",
                config
                    .virtual_networks
                    .get(balancer.virtual_network)
                    .map_or("", |it| it.name.as_str())
            );
            errors.push(raw.place.error(problem, cure));
        }
    }
    errors
}

/// Families of all backends that rules of a load balancer lead to.
fn families(balancer: &LoadBalancer) -> BTreeSet<Family> {
    let pools = balancer.rules.iter().filter_map(|rule| balancer.pools.get(rule.pool));
    let pooled = pools.flat_map(Pool::addresses);
    let translated = balancer.inbound_nat_rules.iter().map(|rule| rule.backend_address);
    pooled.chain(translated).map(Family::of).collect()
}

fn judge_probes(balancer: &LoadBalancer, raw: &RawLoadBalancer) -> Vec<ConfigError> {
    let is_wide = |address: &IpAddr| address.is_ipv6();
    let mut errors = Vec::new();
    for (rule, raw) in balancer.rules.iter().zip(&raw.rules) {
        let pool = balancer.pools.get(rule.pool).filter(|_| balancer.probe_of(rule).is_some());
        let Some(backend) = pool.and_then(|pool| pool.addresses().find(is_wide)) else { continue };
        let place = raw.probe.as_ref().map_or(&raw.place, |probe| &probe.place);
        let problem = format!("the backend {backend} is IPv6, and adit probes over IPv4 only");
        let cure = "leave the rule's probe out: its backends then count as healthy";
        errors.push(place.error(problem, cure));
    }
    if let Some(source) = balancer.probe_source.filter(is_wide) {
        let place = raw.probe_source_ip_address.as_ref();
        let place = place.map_or_else(Place::default, |text| text.place.clone());
        let problem = format!("{source} is IPv6, and adit probes over IPv4 only");
        errors.push(place.error(problem, "name an IPv4 address, or leave it out"));
    }
    errors
}
