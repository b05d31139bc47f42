//! What IPv4 and IPv6 addresses of one service have to do with each other.
//!
//! Clients and backends may be of different families: adit translates. But it speaks to a backend
//! from a NAT IP of the backend's family.

use dataplane::types::Family;
use std::collections::BTreeSet;

use super::super::balance::Pool;
use super::super::error::ConfigError;
use super::super::raw::RawConfig;
use super::super::valid::{Config, LoadBalancer, PrivateLinkService};

/// What is wrong with the families of all addresses together.
pub(super) fn judge(config: &Config, raw: &RawConfig) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for (service, raw) in config.services.iter().zip(&raw.services) {
        let missing = without_nat_ip(config, service);
        errors.extend(missing.map(|(problem, cure)| raw.place.error(problem, cure)));
    }
    errors
}

/// What is wrong with the NAT IPs of a service whose backends are of a family that they are not of,
/// and the cure.
pub(crate) fn without_nat_ip(
    config: &Config,
    service: &PrivateLinkService,
) -> Option<(String, String)> {
    let balancer = config.load_balancers.get(service.load_balancer)?;
    let own: BTreeSet<_> = service.nat_ips.iter().map(|it| Family::of(it.address)).collect();
    let needed = families(balancer);
    // Whoever has none is told so elsewhere.
    let family = needed.difference(&own).find(|_| !own.is_empty())?;
    let (name, what) = (&service.name, family.name());
    let network = config.virtual_networks.get(balancer.virtual_network);
    let network = network.map_or("", |it| it.name.as_str());
    Some((
        format!("service \"{name}\" has {what} backends, and no {what} NAT IP for them"),
        format!("add a NAT IP with an {what} address of \"{network}\", or take those backends out"),
    ))
}

/// Families of all backends that rules of a load balancer lead to.
fn families(balancer: &LoadBalancer) -> BTreeSet<Family> {
    let pools = balancer.rules.iter().filter_map(|rule| balancer.pools.get(rule.pool));
    let pooled = pools.flat_map(Pool::addresses);
    let translated = balancer.inbound_nat_rules.iter().map(|rule| rule.backend_address);
    pooled.chain(translated).map(Family::of).collect()
}
