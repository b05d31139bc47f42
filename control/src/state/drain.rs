//! Backends that their administrators take down, in pools that say how long they may drain: until
//! then their flows go on, after that they are closed, both sides told where a rule says so.
//!
//! The time begins with the change that takes a backend down, or that gives its pool a time. A
//! reload that changes neither begins no time anew; who is up again is forgotten. Times are counted
//! from the start of the run, before which there were no flows.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::{AdminState, Config, LoadBalancer, Name, Pool, PoolBackend};

/// A backend that drains or has drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// The load balancer.
    pub load_balancer: Name,
    /// Its pool.
    pub pool: Name,
    /// The backend.
    pub address: IpAddr,
    /// When its time is over.
    pub until: Duration,
    /// Whether its flows are closed.
    pub is_over: bool,
}

impl Drain {
    fn is_of(&self, load_balancer: &Name, pool: &Name) -> bool {
        (&self.load_balancer, &self.pool) == (load_balancer, pool)
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drains(Vec<Drain>);

impl Drains {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Drain> {
        self.0.iter()
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, load_balancer: &Name, pool: &Name, address: IpAddr) -> Option<&Drain> {
        self.iter().find(|drain| drain.is_of(load_balancer, pool) && drain.address == address)
    }

    /// The backends of a pool whose time is over.
    #[must_use]
    pub fn drained(&self, load_balancer: &Name, pool: &Name) -> Vec<IpAddr> {
        let of_pool = self.iter().filter(|drain| drain.is_of(load_balancer, pool));
        of_pool.filter(|drain| drain.is_over).map(|drain| drain.address).collect()
    }

    /// What they are when `new` takes the place of `old`.
    #[must_use]
    pub fn next(&self, old: &Config, new: &Config, now: Duration) -> Drains {
        let mut next: Vec<Drain> = Vec::new();
        for (balancer, pool, backend) in backends(new) {
            let Some(time) = pool.drain.filter(|_| is_down(backend)) else { continue };
            let (load_balancer, name) = (balancer.name.clone(), pool.name.clone());
            let is_it = |drain: &Drain| {
                drain.is_of(&load_balancer, &name) && drain.address == backend.address
            };
            // Of a load balancer that the API made there is one for each frontend.
            if next.iter().any(is_it) {
                continue;
            }
            let known = self.find(&load_balancer, &name, backend.address);
            let mut before = backends(old).filter(|(old_balancer, old_pool, old_backend)| {
                (&old_balancer.name, &old_pool.name, old_backend.address)
                    == (&load_balancer, &name, backend.address)
            });
            // Who was not there before has no flows.
            let was_there = before.next().is_some();
            let fresh = || Drain {
                load_balancer: load_balancer.clone(),
                pool: name.clone(),
                address: backend.address,
                until: now + time,
                is_over: time.is_zero(),
            };
            next.extend(known.cloned().or_else(|| was_there.then(fresh)));
        }
        Drains(next)
    }

    /// What they have become by now, if that is something else.
    #[must_use]
    pub fn tend(&self, now: Duration) -> Option<Drains> {
        let tend = |drain: &Drain| Drain { is_over: now >= drain.until, ..drain.clone() };
        let tended = Drains(self.iter().map(tend).collect());
        (tended != *self).then_some(tended)
    }
}

fn is_down(backend: &PoolBackend) -> bool {
    backend.admin_state == AdminState::Down
}

fn backends(config: &Config) -> impl Iterator<Item = (&LoadBalancer, &Pool, &PoolBackend)> {
    let pools = config
        .load_balancers
        .iter()
        .flat_map(|balancer| balancer.pools.iter().map(move |pool| (balancer, pool)));
    pools.flat_map(|(balancer, pool)| {
        pool.backends.iter().map(move |backend| (balancer, pool, backend))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;

    const SECOND: Duration = Duration::from_secs(1);

    /// The example with its third backend in a state, and a pool with these keys.
    fn config(state: &str, keys: &str) -> Config {
        let example = include_str!("../../adit.example.toml");
        let text = example
            .replace("admin_state = \"None\"", &format!("admin_state = \"{state}\""))
            .replace("drain_period_in_seconds = 60\n", keys);
        check(&text).unwrap_or_else(|errors| panic!("{errors}")).config
    }

    const MINUTE: &str = "drain_period_in_seconds = 60\n";

    #[test]
    fn the_time_begins_when_a_backend_is_taken_down_and_only_then() {
        let (up, down) = (config("None", MINUTE), config("Down", MINUTE));
        let drains = Drains::default().next(&up, &down, 10 * SECOND);
        let [drain] = &drains.0[..] else { panic!("{drains:?}") };
        assert_eq!((drain.address.to_string().as_str(), drain.until), ("10.1.9.12", 70 * SECOND));
        assert!(drains.drained(&drain.load_balancer, &drain.pool).is_empty());
        assert_eq!(drains.next(&down, &down, 50 * SECOND), drains, "reloads change nothing");
        assert_eq!(drains.tend(69 * SECOND), None);
        let over = drains.tend(70 * SECOND).unwrap();
        assert_eq!(over.drained(&drain.load_balancer, &drain.pool), [drain.address]);
        assert_eq!(over.tend(71 * SECOND), None);
        assert_eq!(over.next(&down, &down, 80 * SECOND), over);
        assert_eq!(over.next(&down, &up, 90 * SECOND), Drains::default(), "it is up again");
    }

    #[test]
    fn without_a_time_flows_go_on_and_without_any_time_they_end() {
        let up = config("None", "");
        let down = config("Down", "");
        assert_eq!(Drains::default().next(&up, &down, SECOND), Drains::default());
        let later = Drains::default().next(&down, &config("Down", MINUTE), 5 * SECOND);
        assert_eq!(later.0[0].until, 65 * SECOND, "its pool was given a time");
        let at_once = config("Down", "drain_period_in_seconds = 0\n");
        assert!(Drains::default().next(&up, &at_once, SECOND).0[0].is_over);
    }

    #[test]
    fn who_was_not_there_has_nothing_to_drain() {
        let empty = check("").unwrap().config;
        let down = config("Down", MINUTE);
        assert_eq!(Drains::default().next(&empty, &down, SECOND), Drains::default());
    }
}
