//! Which backend of a rule a hash falls on. Pure: no state, no bytes, no flows.

use crate::snapshot::{Backend, Rule, Snapshot};

/// The backend that `hash` falls on; `None` if the rule's pool is empty.
#[inline]
#[must_use]
pub fn choose<'a>(snapshot: &'a Snapshot, rule: &Rule, hash: u64) -> Option<&'a Backend> {
    let position = rule.table.as_ref()?.position(hash);
    snapshot.backend(*rule.backends.get(position)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{
        Ending, MaglevTable, Plan, Refusal, RulePlan, ScopePlan, ServicePlan, Treatment,
    };
    use crate::types::{Protocol, ScopeId, ServiceIndex, Timeouts};
    use alloc::vec;
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;

    fn snapshot(backends: &[Ipv4Addr]) -> Snapshot {
        let rule = RulePlan {
            protocol: Protocol::Tcp,
            port: 80,
            backend_port: 8080,
            backends: backends.to_vec(),
            timeouts: Timeouts::default(),
            ending: Ending::default(),
        };
        let nat_ips = vec![Ipv4Addr::new(10, 1, 0, 4)];
        Snapshot::build(Plan {
            scopes: vec![ScopePlan { address_space: Vec::new(), routes: Vec::new() }],
            services: vec![ServicePlan {
                scope: ScopeId(0),
                nat_ips,
                refusal: Refusal::Silence,
                rules: vec![rule],
                treatment: Treatment::default(),
            }],
            ..Plan::default()
        })
        .unwrap()
    }

    #[test]
    fn a_hash_falls_on_the_backend_that_the_table_names() {
        let backends: Vec<_> = (10..15).map(|last| Ipv4Addr::new(10, 1, 0, last)).collect();
        let (snapshot, table) = (snapshot(&backends), MaglevTable::build(&backends).unwrap());
        let rule = snapshot.service(ServiceIndex(0)).unwrap().rule(Protocol::Tcp, 80).unwrap();
        for hash in (0..64).map(|turn| u64::MAX / 64 * turn) {
            let chosen = choose(&snapshot, rule, hash).unwrap();
            assert_eq!(chosen.address, backends[table.position(hash)]);
        }
    }

    #[test]
    fn an_empty_pool_has_no_backend() {
        let snapshot = snapshot(&[]);
        let rule = snapshot.service(ServiceIndex(0)).unwrap().rule(Protocol::Tcp, 80).unwrap();
        assert!(choose(&snapshot, rule, 1).is_none());
    }
}
