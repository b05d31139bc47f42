//! Who shall be asked what, as the configuration has it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use dataplane::types::Family;

use super::{Pace, Question, Route};
use crate::config::{Config, LoadBalancer, Probe};
use crate::state::{Probed, Registry};

/// What is asked of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) route: Route,
    pub(crate) backend: SocketAddr,
    pub(crate) question: Question,
    pub(crate) timeout: Duration,
}

/// Every backend of every rule that has a probe, once for each probe.
pub(crate) fn targets(config: &Config, registry: &Registry) -> BTreeMap<Probed, (Target, Pace)> {
    let mut targets = BTreeMap::new();
    for (at, balancer) in config.load_balancers().iter().enumerate() {
        let network = config.virtual_networks().get(balancer.virtual_network);
        let scope = network.and_then(|network| registry.scope(&network.name));
        let Some(scope) = scope else { continue };
        let header = has_proxy_headers(config, at);
        for (key, probe) in probed(balancer) {
            let source = config.probe_source(at, Family::of(key.address));
            let Some(source) = source else { continue };
            let target = Target {
                route: Route { scope, source },
                backend: SocketAddr::new(key.address, probe.port),
                question: Question {
                    protocol: probe.protocol,
                    path: probe.request_path.clone(),
                    proxy_header: probe.send_proxy_protocol.unwrap_or(header),
                },
                timeout: probe.timeout(),
            };
            let pace = Pace { interval: probe.interval, threshold: probe.threshold };
            targets.entry(key).or_insert((target, pace));
        }
    }
    targets
}

fn probed(balancer: &LoadBalancer) -> impl Iterator<Item = (Probed, &Probe)> {
    let rules = balancer.rules.iter();
    let probed = rules
        .filter_map(move |rule| Some((balancer.probe_of(rule)?, balancer.pools.get(rule.pool)?)));
    probed.flat_map(move |(probe, pool)| {
        pool.addresses().map(move |address| {
            let (load_balancer, name) = (balancer.name.clone(), probe.name.clone());
            (Probed { load_balancer, probe: name, address }, probe)
        })
    })
}

/// As in Azure: if one service of a load balancer sends PROXY headers, its probes do.
fn has_proxy_headers(config: &Config, load_balancer: usize) -> bool {
    let mut services = config.services().iter();
    services.any(|service| {
        service.load_balancer == load_balancer && service.treatment.proxy_protocol.is_some()
    })
}
