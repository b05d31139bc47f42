//! What backends behind a frontend that floats must be: of its family, and on the segment.
//!
//! Packets to them are addressed to the frontend, so the station that a frame goes to alone says
//! which of them is meant. A router would not know.

use std::net::IpAddr;

use dataplane::types::Family;

use super::super::error::ConfigError;
use super::super::raw::RawConfig;
use super::super::reader::{Located, Place};
use super::super::valid::{Config, VirtualNetwork};

/// What is wrong with backends behind frontends that float.
pub(super) fn judge(config: &Config, raw: &RawConfig) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for (balancer, raw) in config.load_balancers.iter().zip(&raw.load_balancers) {
        let network = config.virtual_networks.get(balancer.virtual_network);
        let mut judge = |frontend, backends: &[IpAddr], place: Place| {
            let wrong = |&backend| wrong_before_frontend(network, frontend, backend);
            let wrong = backends.iter().find_map(wrong);
            errors.extend(wrong.map(|(problem, cure)| place.error(problem, cure)));
        };
        for (rule, raw) in balancer.rules.iter().zip(&raw.rules) {
            let pool = balancer.pools.get(rule.pool);
            let (Some(frontend), Some(pool)) = (rule.floating, pool) else { continue };
            let place = place(raw.enable_floating_ip.as_ref(), &raw.place);
            judge(frontend, &pool.addresses().collect::<Vec<_>>(), place);
        }
        for (rule, raw) in balancer.inbound_nat_rules.iter().zip(&raw.inbound_nat_rules) {
            let Some(frontend) = rule.floating else { continue };
            let place = place(raw.enable_floating_ip.as_ref(), &raw.place);
            judge(frontend, &[rule.backend_address], place);
        }
    }
    errors
}

fn place(flag: Option<&Located<bool>>, rule: &Place) -> Place {
    flag.map_or_else(|| rule.clone(), |flag| flag.place.clone())
}

/// What is wrong with a backend behind a frontend that floats, and the cure.
pub(crate) fn wrong_before_frontend(
    network: Option<&VirtualNetwork>,
    frontend: IpAddr,
    backend: IpAddr,
) -> Option<(String, String)> {
    if Family::of(frontend) != Family::of(backend) {
        let (have, want) = (Family::of(backend).name(), Family::of(frontend).name());
        let problem =
            format!("the backend {backend} is {have}, and the frontend {frontend} {want}");
        let cure = "a frontend floats before backends of its own family: name one of theirs";
        return Some((problem, cure.to_owned()));
    }
    let route = network?.routes.iter().find(|route| route.address_prefix.contains(backend))?;
    let problem = format!(
        "the backend {backend} is behind the router {}, which would not know whom a packet for \
         {frontend} is meant for",
        route.next_hop_ip_address
    );
    let cure = "put it on the segment, or leave the floating IP out";
    Some((problem, cure.to_owned()))
}
