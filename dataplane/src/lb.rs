//! Which backend of a rule a hash falls on. Pure: no state, no bytes, no flows.

use crate::snapshot::{Backend, Rule, Snapshot};
use crate::types::RowIndex;

/// The backend that `hash` falls on, and the pools that flows to it lease from; `None` if the
/// rule's pool is empty.
#[inline]
#[must_use]
pub fn choose<'a>(
    snapshot: &'a Snapshot,
    rule: &Rule,
    hash: u64,
) -> Option<(&'a Backend, RowIndex)> {
    let position = rule.spread.position(hash)?;
    let backend = snapshot.backend(*rule.backends.get(position)?)?;
    Some((backend, *rule.rows.get(position)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{
        Balance, Ending, Plan, Refusal, RulePlan, ScopePlan, ServicePlan, Spread, Treatment,
    };
    use crate::types::{Protocol, ScopeId, ServiceIndex, Timeouts};
    use alloc::vec;
    use alloc::vec::Vec;
    use core::net::IpAddr;

    fn snapshot(backends: &[IpAddr], weights: &[u16]) -> Snapshot {
        let rule = RulePlan {
            protocol: Protocol::Tcp,
            port: 80,
            backend_port: 8080,
            floating: None,
            backends: backends.to_vec(),
            balance: Balance { weights: weights.to_vec(), ..Balance::default() },
            timeouts: Timeouts::default(),
            ending: Ending::default(),
        };
        let nat_ips = vec![IpAddr::from([10, 1, 0, 4])];
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
    fn a_hash_falls_on_the_backend_that_the_spread_names() {
        let backends: Vec<_> = (10..15).map(|last| IpAddr::from([10, 1, 0, last])).collect();
        let weights = [1, 0, 3, 1, 2];
        let snapshot = snapshot(&backends, &weights);
        let spread = Spread::build(backends.iter().copied().zip(weights));
        let rule = snapshot.service(ServiceIndex(0)).unwrap().rule(Protocol::Tcp, 80).unwrap();
        for hash in (0..64).map(|turn| u64::MAX / 64 * turn) {
            let (chosen, row) = choose(&snapshot, rule, hash).unwrap();
            assert_eq!(chosen.address, backends[spread.position(hash).unwrap()]);
            assert_eq!(snapshot.pool_rows()[row.slot()].target, chosen.address);
        }
    }

    #[test]
    fn a_pool_without_backends_that_take_flows_has_none_for_them() {
        for backends in [&[][..], &[IpAddr::from([10, 1, 0, 10])]] {
            let snapshot = snapshot(backends, &[0]);
            let rule = snapshot.service(ServiceIndex(0)).unwrap().rule(Protocol::Tcp, 80).unwrap();
            assert!(choose(&snapshot, rule, 1).is_none());
        }
    }
}
