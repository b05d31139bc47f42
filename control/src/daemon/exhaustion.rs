//! Says when newcomers are refused for want of room: for each backend towards which ports ran out,
//! and for each endpoint, at most once in some seconds, with how many were refused since.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::generation::Generation;
use dataplane::nat::Usage;
use dataplane::types::{LinkId, Protocol, ScopeId};

use super::view::{network_name, refusals};
use crate::api::Refusals;
use crate::moment::Moment;
use crate::recording::event::{Refused, Want};
use crate::state::Registry;

/// Time between two lines about the same backend.
const QUIET: Duration = Duration::from_secs(10);

/// The provider's virtual network, the backend or the frontend that floats, and protocol.
type Way = (ScopeId, IpAddr, Protocol);

/// What was said last.
#[derive(Default)]
pub(super) struct Exhaustion {
    ways: BTreeMap<Way, Said>,
    endpoints: BTreeMap<LinkId, Said>,
}

/// What is to be said: newcomers were refused.
#[derive(Debug)]
pub(super) struct News {
    virtual_network: Arc<str>,
    want: Want,
    count: u64,
}

impl News {
    /// For the flow log.
    pub(super) fn refused(self, at: Moment) -> Refused {
        let News { virtual_network, want, count } = self;
        Refused { at, virtual_network, want, count }
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let News { virtual_network, want, count } = self;
        match want {
            Want::Quota { endpoint, .. } => write!(
                f,
                "endpoint {endpoint}: {count} newcomers were refused for want of room; `adit \
                 endpoints --json` says of which"
            ),
            Want::Port { backend, protocol, .. } => write!(
                f,
                "NAT ports exhausted towards {backend} ({protocol}) in {virtual_network}: {count} \
                 newcomers were refused; add a NAT IP or a backend to its service"
            ),
        }
    }
}

#[derive(Default)]
struct Said {
    refused: u64,
    at: Option<Duration>,
}

impl Exhaustion {
    /// Compares what the pools have counted with what was said of them, and returns what is to be
    /// said now; the time is that since the start.
    pub(super) fn look(
        &mut self,
        generation: &Generation,
        registry: &Registry,
        now: Duration,
    ) -> Vec<News> {
        let mut news = self.look_at_ways(generation, registry, now);
        news.extend(self.look_at_endpoints(generation, registry, now));
        news
    }

    fn look_at_endpoints(
        &mut self,
        generation: &Generation,
        registry: &Registry,
        now: Duration,
    ) -> Vec<News> {
        self.endpoints.retain(|link, _| generation.usages.find(*link).is_some());
        let cells = generation.usages.iter().filter(|cell| cell.refuses());
        let refusing: HashSet<LinkId> = cells.map(Usage::link).collect();
        // As a rule there is none, and ten thousand need not be asked one by one.
        if refusing.is_empty() {
            return Vec::new();
        }
        let connections = registry.connections().filter(|(_, link)| refusing.contains(link));
        let news = connections.filter_map(|(name, link)| {
            // Ports that ran out are said for their backend.
            let Refusals { endpoint_flows_max, flow_table_full, room_reserved, .. } =
                refusals(generation, link);
            let refused = endpoint_flows_max + flow_table_full + room_reserved;
            let said = self.endpoints.entry(link).or_default();
            let fresh = said.news(refused, now)?;
            let endpoint = generation.snapshot.endpoint_of_link(link);
            let network = endpoint.map(|endpoint| network_name(registry, endpoint.scope));
            let most = endpoint.map(|endpoint| endpoint.quota.most);
            let flows_max = most.filter(|most| *most < u32::MAX);
            let endpoint = name.as_str().into();
            let want = Want::Quota { endpoint, link_id: link.0, flows_max };
            let virtual_network = network.unwrap_or_default().into();
            Some(News { virtual_network, want, count: fresh })
        });
        news.collect()
    }

    fn look_at_ways(
        &mut self,
        generation: &Generation,
        registry: &Registry,
        now: Duration,
    ) -> Vec<News> {
        let mut counted: BTreeMap<Way, u64> = BTreeMap::new();
        for pool in generation.pools.iter().filter(|pool| pool.refused() > 0) {
            let key = pool.key();
            // Each of the NAT IPs that a newcomer found dry has counted it.
            let count = counted.entry((key.scope, key.target.ip(), key.protocol)).or_default();
            *count = pool.refused().max(*count);
        }
        self.ways.retain(|way, _| counted.contains_key(way));
        let news = counted.into_iter().filter_map(|(way, refused)| {
            let fresh = self.ways.entry(way).or_default().news(refused, now)?;
            let (scope, backend, protocol) = way;
            let pools = generation.pools.iter().filter(|pool| pool.refused() > 0);
            let keys = pools.map(dataplane::nat::Pool::key);
            let its = keys.filter(|key| (key.scope, key.target.ip(), key.protocol) == way);
            let nat_ips = its.map(|key| key.nat_ip.ip()).collect();
            let want = Want::Port { nat_ips, backend, protocol: protocol.into() };
            let virtual_network = network_name(registry, scope).into();
            Some(News { virtual_network, want, count: fresh })
        });
        news.collect()
    }
}

impl Said {
    /// How many were refused since the last line, if it is time for another.
    fn news(&mut self, refused: u64, now: Duration) -> Option<u64> {
        // A pool that went and came back counts from zero.
        let fresh = refused.checked_sub(self.refused).unwrap_or(refused);
        let is_quiet = self.at.is_some_and(|at| now.saturating_sub(at) < QUIET);
        if fresh == 0 || is_quiet {
            return None;
        }
        *self = Said { refused, at: Some(now) };
        Some(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_said_at_once_and_then_summed_up() {
        let second = Duration::from_secs;
        let mut said = Said::default();
        assert_eq!(said.news(0, second(1)), None);
        assert_eq!(said.news(3, second(2)), Some(3));
        assert_eq!(said.news(9, second(3)), None);
        assert_eq!(said.news(10, second(12)), Some(7));
        assert_eq!(said.news(10, second(40)), None, "nothing is new");
        assert_eq!(said.news(2, second(60)), Some(2), "another pool in its place");
    }
}
