//! What probes say of backends, as far as it decides where new flows go.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::{AdminState, Config, LoadBalancer, Name, Rule};

/// A backend as one probe sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probed {
    /// The load balancer.
    pub load_balancer: Name,
    /// Its probe.
    pub probe: Name,
    /// The backend.
    pub address: IpAddr,
}

/// Which backends are healthy. Those of which nothing is known are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health(BTreeSet<Probed>);

impl Health {
    /// Whether a probe says that a backend is healthy.
    #[must_use]
    pub fn has(&self, probed: &Probed) -> bool {
        self.0.contains(probed)
    }

    /// The same by names.
    #[must_use]
    pub fn is_up(&self, load_balancer: &Name, probe: &Name, address: IpAddr) -> bool {
        let (load_balancer, probe) = (load_balancer.clone(), probe.clone());
        self.has(&Probed { load_balancer, probe, address })
    }

    /// Who is healthy when `new` takes the place of `old`: whoever is, and those who took flows of
    /// a rule that did not ask them, or asked otherwise, until a verdict says that they shall not.
    /// So a probe that is added to a rule interrupts nothing.
    pub(super) fn next(&self, old: &Config, new: &Config) -> Health {
        let mut healthy = BTreeSet::new();
        for balancer in &new.load_balancers {
            // Of a load balancer that the API made there is one for each frontend.
            let before = old.load_balancers.iter().filter(|before| before.name == balancer.name);
            let before: Vec<&LoadBalancer> = before.collect();
            for rule in &balancer.rules {
                let Some(probe) = balancer.probe_of(rule) else { continue };
                let Some(pool) = balancer.pools.get(rule.pool) else { continue };
                let took = |address| before.iter().any(|old| self.took(old, rule, address));
                for address in pool.addresses() {
                    let (load_balancer, probe) = (balancer.name.clone(), probe.name.clone());
                    let probed = Probed { load_balancer, probe, address };
                    if self.has(&probed) || (!knows(&before, &probed) && took(address)) {
                        healthy.insert(probed);
                    }
                }
            }
        }
        Health(healthy)
    }

    /// Whether the rule of the same name led new flows to a backend.
    fn took(&self, old: &LoadBalancer, rule: &Rule, address: IpAddr) -> bool {
        let Some(before) = old.rules.iter().find(|before| before.name == rule.name) else {
            return false;
        };
        let backends = old.pools.get(before.pool).map(|pool| &pool.backends);
        let backend = backends.into_iter().flatten().find(|backend| backend.address == address);
        let probe = old.probe_of(before);
        backend.is_some_and(|backend| {
            let is_up = |name| self.is_up(&old.name, name, address);
            backend.admin_state != AdminState::Down && probe.is_none_or(|probe| is_up(&probe.name))
        })
    }
}

/// Whether a backend was asked before by the same probe: then its verdict stands, whatever it is.
fn knows(before: &[&LoadBalancer], probed: &Probed) -> bool {
    before.iter().any(|old| {
        old.rules.iter().any(|rule| {
            let is_it = old.probe_of(rule).is_some_and(|probe| probe.name == probed.probe);
            let pool = old.pools.get(rule.pool).filter(|_| is_it);
            pool.is_some_and(|pool| pool.addresses().any(|address| address == probed.address))
        })
    })
}

impl FromIterator<Probed> for Health {
    fn from_iter<T: IntoIterator<Item = Probed>>(healthy: T) -> Health {
        Health(healthy.into_iter().collect())
    }
}
