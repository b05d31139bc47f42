//! NAT IPs that were taken away from services and still have flows: they drain, then they close.
//!
//! A NAT IP that a reload takes away gets no new flows from then on, and keeps those that it has
//! until they are over or its time is. Then what is left is closed, both sides told where a rule
//! says so, and a few seconds later the address is nobody's. One that the file names again, for
//! whatever use, is that from the reload on. Times are counted from the start of the run.

use std::net::IpAddr;
use std::time::Duration;

use dataplane::limits::NAT_IPS_MAX;
use dataplane::snapshot::LeavingPlan;
use dataplane::types::ServiceIndex;

use crate::config::{Config, Name, PrivateLinkService};

/// How long both sides of what is closed may still be told.
const CLOSING_TIME: Duration = Duration::from_secs(3);

/// What a NAT IP still does that was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its flows go on.
    Draining,
    /// Its flows are closed.
    Closing,
}

/// A NAT IP on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The service that had it.
    pub service: Name,
    /// The provider's virtual network.
    pub virtual_network: Name,
    /// The address.
    pub address: IpAddr,
    /// What it still does.
    pub stage: Stage,
    /// When that ends.
    pub until: Duration,
}

/// All of them, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departures(Vec<Departure>);

impl Departures {
    /// Those of a service.
    pub fn of_service(&self, service: &Name) -> impl Iterator<Item = &Departure> {
        self.0.iter().filter(move |departure| departure.service == *service)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Departure> {
        self.0.iter()
    }

    /// What they are when `new` takes the place of `old`: of a service that stays, those that drain
    /// already and those that it no longer has, as long as their addresses are used for nothing
    /// else.
    #[must_use]
    pub fn next(&self, old: &Config, new: &Config, now: Duration) -> Departures {
        let mut next = Vec::new();
        for service in &new.services {
            let Some(network) = network_of(new, service) else { continue };
            let mut leaving: Vec<Departure> = self.of_service(&service.name).cloned().collect();
            let before = old.services.iter().find(|before| before.name == service.name);
            for nat_ip in before.into_iter().flat_map(|before| &before.nat_ips) {
                leaving.push(Departure {
                    service: service.name.clone(),
                    virtual_network: network_of(old, before.unwrap_or(service))
                        .unwrap_or(network)
                        .clone(),
                    address: nat_ip.address,
                    stage: Stage::Draining,
                    until: now + service.nat_ip_drain,
                });
            }
            leaving.retain(|departure| {
                departure.virtual_network == *network
                    && departure.until > now
                    && is_unused(new, network, departure.address)
            });
            // The data path has room for as many as a service can have at once.
            let excess = leaving.len().saturating_sub(NAT_IPS_MAX);
            next.extend(leaving.into_iter().skip(excess));
        }
        Departures(next)
    }

    /// What they have become by now, if that is something else: one without a leased port is gone,
    /// one whose time is over closes and then goes.
    #[must_use]
    pub fn tend(&self, now: Duration, leased: impl Fn(&Departure) -> u32) -> Option<Departures> {
        let tended = self.0.iter().filter_map(|departure| match departure.stage {
            _ if leased(departure) == 0 => None,
            _ if now < departure.until => Some(departure.clone()),
            Stage::Draining => Some(Departure {
                stage: Stage::Closing,
                until: now + CLOSING_TIME,
                ..departure.clone()
            }),
            Stage::Closing => None,
        });
        let tended = Departures(tended.collect());
        (tended != *self).then_some(tended)
    }

    /// As the data path has them.
    pub(crate) fn plan(&self, config: &Config) -> Vec<LeavingPlan> {
        let plan = |departure: &Departure| {
            let mut services = config.services.iter();
            let at = services.position(|service| service.name == departure.service)?;
            Some(LeavingPlan {
                service: ServiceIndex(u32::try_from(at).ok()?),
                address: departure.address,
                is_closing: departure.stage == Stage::Closing,
            })
        };
        self.0.iter().filter_map(plan).collect()
    }
}

fn network_of<'c>(config: &'c Config, service: &PrivateLinkService) -> Option<&'c Name> {
    let balancer = config.load_balancers.get(service.load_balancer)?;
    config.virtual_networks.get(balancer.virtual_network).map(|network| &network.name)
}

/// Whether an address of a virtual network is used for nothing.
fn is_unused(config: &Config, network: &Name, address: IpAddr) -> bool {
    let mut networks = config.virtual_networks.iter();
    let Some(at) = networks.position(|candidate| candidate.name == *network) else { return false };
    let space = &config.virtual_networks[at];
    let is_nat_ip = |service: &PrivateLinkService| {
        network_of(config, service) == Some(network)
            && service.nat_ips.iter().any(|nat_ip| nat_ip.address == address)
    };
    let mut balancers = config.load_balancers.iter().filter(|lb| lb.virtual_network == at);
    let mut endpoints = config.endpoints.iter().filter(|pe| pe.virtual_network == at);
    space.address_space.iter().any(|prefix| prefix.contains(address))
        && space.routes.iter().all(|route| route.next_hop_ip_address != address)
        && !config.services.iter().any(is_nat_ip)
        && !endpoints.any(|endpoint| endpoint.addresses.contains(address))
        && !balancers.any(|lb| lb.has_backend(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;

    const SECOND: Duration = Duration::from_secs(1);

    /// The example, whose service has the NAT IPs 10.1.0.4 and 10.1.0.5.
    fn example() -> String {
        include_str!("../../adit.example.toml").to_owned()
    }

    fn without_second() -> String {
        let line = "  { name = \"nat2\", private_ip_address = \"10.1.0.5\" },\n";
        assert!(example().contains(line));
        example().replace(line, "")
    }

    fn config(text: &str) -> Config {
        check(text).unwrap_or_else(|errors| panic!("{errors}")).config
    }

    fn departed() -> (Departures, Config) {
        let (old, new) = (config(&example()), config(&without_second()));
        (Departures::default().next(&old, &new, 10 * SECOND), new)
    }

    #[test]
    fn a_nat_ip_that_is_taken_away_drains_for_as_long_as_the_service_says() {
        let (departures, new) = departed();
        let [departure] = departures.0.as_slice() else { panic!("{departures:?}") };
        assert_eq!(departure.address, IpAddr::from([10, 1, 0, 5]));
        assert_eq!((departure.stage, departure.until), (Stage::Draining, 310 * SECOND));
        let plan = departures.plan(&new);
        let expected =
            LeavingPlan { service: ServiceIndex(0), address: departure.address, is_closing: false };
        assert_eq!(plan, [expected]);
        assert_eq!(departures.next(&new, &new, 20 * SECOND), departures, "reloads change nothing");
        let at_once = without_second()
            .replace("nat_ip_drain_timeout = \"5m\"", "nat_ip_drain_timeout = \"0s\"");
        assert_ne!(at_once, without_second());
        let none = Departures::default().next(&config(&example()), &config(&at_once), SECOND);
        assert_eq!(none, Departures::default());
    }

    #[test]
    fn it_goes_at_zero_flows_or_closes_when_its_time_is_over() {
        let (departures, _) = departed();
        assert_eq!(departures.tend(11 * SECOND, |_| 3), None);
        assert_eq!(departures.tend(11 * SECOND, |_| 0), Some(Departures::default()));
        let closing = departures.tend(310 * SECOND, |_| 3).unwrap();
        assert_eq!((closing.0[0].stage, closing.0[0].until), (Stage::Closing, 313 * SECOND));
        assert_eq!(closing.tend(312 * SECOND, |_| 1), None);
        assert_eq!(closing.tend(312 * SECOND, |_| 0), Some(Departures::default()));
        assert_eq!(closing.tend(313 * SECOND, |_| 1), Some(Departures::default()));
    }

    #[test]
    fn it_stays_only_while_its_service_does_and_its_address_is_unused() {
        let (departures, new) = departed();
        let back = config(&example());
        assert_eq!(departures.next(&new, &back, 20 * SECOND), Departures::default(), "it is back");
        let backend = without_second().replace("10.1.0.11\"", "10.1.0.5\"");
        assert_ne!(backend, without_second());
        let taken = departures.next(&new, &config(&backend), 20 * SECOND);
        assert_eq!(taken, Departures::default(), "a backend has its address");
        let renamed = without_second()
            .replace("private_link_service = \"web\"", "private_link_service = \"www\"")
            .replace("name = \"web\"", "name = \"www\"");
        let other = departures.next(&new, &config(&renamed), 20 * SECOND);
        assert_eq!(other, Departures::default(), "its service is gone");
    }
}
