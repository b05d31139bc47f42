//! Where adit is free to choose: the model looks at what was chosen, complains if that was not
//! allowed, and goes on with it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::limits::PORTS_PER_POOL;
use dataplane::snapshot::{RulePlan, ServicePlan};
use dataplane::types::{LinkId, WorkerId};

use super::expect::Socket;
use super::rules::{COLLECT_TICKS, Flow, Key, Model, PoolKey};

/// A full table is searched for an expired flow in no more steps than these.
const RECLAIM_STEPS: u64 = 64;

/// A worker that is none of the model's: it holds what is squatted.
pub(super) const SQUATTER: WorkerId = WorkerId(63);

/// What adit chose for a flow: scope of the provider, NAT IP and port, backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) nat: Socket,
    pub(super) backend: Socket,
}

/// What can be seen from outside of adit's choices.
pub(super) trait Seen {
    /// The verdict on the frame that is judged.
    fn verdict(&self) -> Verdict;
    /// What was chosen for a flow that lives now.
    fn choice(&self, key: &Key) -> Option<Choice>;
    /// Whether the flow is still in the table, expired or not.
    fn has(&self, key: &Key) -> bool;
}

impl Model {
    /// Free: which worker owns a key. It must be a worker, and always the same.
    pub(super) fn owner(&mut self, worker: usize, key: Key, verdict: Verdict) -> usize {
        let chosen = match verdict {
            Verdict::HandOver(peer) => usize::from(peer.0),
            _ => worker,
        };
        let owner = *self.owners.entry(key).or_insert(chosen);
        if owner >= self.workers.len() {
            self.complain(format!("{key:?} is handed over to nobody"));
        }
        owner
    }

    /// Free: the backend, which must be one of the rule's and the same for the same flow and the
    /// same backends; the NAT IP, which must be one of the service's; its port, which nobody may
    /// hold. Refused exactly if the chosen backend's pools are all leased.
    pub(super) fn choose(
        &mut self,
        link: LinkId,
        key: Key,
        (rule, service): (&RulePlan, &ServicePlan),
        seen: &dyn Seen,
    ) -> Result<Choice, DropReason> {
        let pool = |nat_ip: Ipv4Addr, backend| (service.scope.0, nat_ip, backend, key.1);
        let has_port = |backend: Ipv4Addr| {
            service.nat_ips.iter().any(|&nat_ip| self.has_port(pool(nat_ip, backend)))
        };
        let set: BTreeSet<Ipv4Addr> = rule.backends.iter().copied().collect();
        let before = self.backends.get(&(link, key)).filter(|(same, _)| *same == set);
        let before = before.map(|(_, backend)| *backend);
        let refused = seen.verdict() == Verdict::Drop(DropReason::NatPortsExhausted);
        let is_dry = match before {
            Some(backend) => !has_port(backend),
            None => refused && set.iter().any(|&backend| !has_port(backend)),
        };
        if is_dry {
            return Err(DropReason::NatPortsExhausted);
        }
        let chosen = seen.choice(&key).ok_or(DropReason::Internal)?;
        let Choice { nat, backend } = chosen;
        let allowed = set.contains(&backend.0)
            && before.is_none_or(|before| before == backend.0)
            && backend.1 == rule.backend_port
            && service.nat_ips.contains(&nat.0)
            && nat.1 >= 1024
            && self.is_free(pool(nat.0, backend.0), nat.1);
        if !allowed {
            self.complain(format!("{chosen:?} may not be chosen for {key:?}"));
        }
        self.backends.insert((link, key), (set, backend.0));
        Ok(chosen)
    }

    pub(super) fn is_free(&self, pool: PoolKey, port: u16) -> bool {
        let squatted = self.squatted.get(&pool).is_some_and(|left| !left.contains(&port));
        !squatted && !self.leases.contains_key(&(pool, port))
    }

    /// How many ports of a pool are held, by flows or others.
    pub(super) fn leased(&self, pool: PoolKey) -> usize {
        let squatted = self.squatted.get(&pool).map_or(0, |left| PORTS_PER_POOL - left.len());
        squatted + self.leases.range((pool, 0)..=(pool, u16::MAX)).count()
    }

    /// Only pools that are squatted ever run dry here: there are fewer flows than ports.
    fn has_port(&self, pool: PoolKey) -> bool {
        let left = self.squatted.get(&pool);
        left.is_none_or(|left| left.iter().any(|&port| self.is_free(pool, port)))
    }

    /// Somebody else takes all ports of a pool but these, and those that flows hold.
    pub(super) fn squat(&mut self, pool: PoolKey, mut left: BTreeSet<u16>) {
        let leases = self.leases.range((pool, 0)..=(pool, u16::MAX));
        left.extend(leases.map(|((_, port), _)| *port));
        self.squatted.insert(pool, left);
    }

    /// A full table gives up an expired flow if it finds one. Free: which, and whether it is found
    /// when many timers stand in the way.
    pub(super) fn make_room(&mut self, worker: usize, seen: &dyn Seen) -> Result<(), DropReason> {
        if self.count(worker) < self.flows_max {
            return Ok(());
        }
        let (now, mut gone, mut must) = (self.now, None, false);
        let slots = (now - self.workers[worker].collected) / COLLECT_TICKS + 1;
        for (key, flow) in self.flows.iter().filter(|(_, flow)| flow.worker == worker) {
            if flow.is_expired(now) {
                gone = gone.or((!seen.has(key)).then_some(*key));
                must |= slots + (self.flows_max as u64) < RECLAIM_STEPS && flow.is_due(now);
            }
        }
        if must && gone.is_none() {
            self.complain("a full table kept a flow that had expired long ago".to_owned());
        }
        self.close(&gone.ok_or(DropReason::FlowTableFull)?);
        Ok(())
    }

    /// Whether a flow of the worker may be given up for a new one.
    pub(super) fn may_reclaim(&self, worker: usize) -> bool {
        let near_full = self.count(worker) + 64 >= self.flows_max;
        let mine = |flow: &Flow| flow.worker == worker && flow.is_expired(self.now);
        near_full && self.flows.values().any(mine)
    }

    fn count(&self, worker: usize) -> usize {
        self.flows.values().filter(|flow| flow.worker == worker).count()
    }
}
