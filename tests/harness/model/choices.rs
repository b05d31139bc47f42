//! Where adit is free to choose: the model looks at what was chosen, complains if that was not
//! allowed, and goes on with it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::limits::PORTS_PER_POOL;
use dataplane::snapshot::{RulePlan, ServicePlan, UdpTracking};
use dataplane::types::{Protocol, WorkerId};

use super::expect::Socket;
use super::fragment::DatagramKey;
use super::quota::{Newcomer, is_unprotected};
use super::rules::{COLLECT_TICKS, Flow, Key, Model, PoolKey};
use super::wanted::{Takers, affinity, port_behind, takers, wants};
use crate::encode::TCP;

/// A full table is searched for an expired flow in no more steps than these.
const RECLAIM_STEPS: u64 = 64;

/// The answer to a datagram may be under way for so long.
const ANSWER_TICKS: u64 = 100;

/// A worker that is none of the model's: it holds what is squatted.
pub(super) const SQUATTER: WorkerId = WorkerId(63);

/// What adit chose for a flow: NAT IP and port, backend, and what its packets are addressed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) nat: Socket,
    pub(super) backend: IpAddr,
    pub(super) target: Socket,
}

/// What a full table gives up first: an expired flow, or a port whose rest is over.
enum Old {
    Flow(Key),
    Port((PoolKey, u16)),
}

/// Where a port is wanted: any of the service's NAT IPs will do.
struct Way<'a> {
    service: &'a ServicePlan,
    target: IpAddr,
    protocol: u8,
}

impl Way<'_> {
    fn pool(&self, nat_ip: IpAddr) -> PoolKey {
        (self.service.scope.0, nat_ip, self.target, self.protocol)
    }

    /// NAT IPs of the target's family.
    fn nat_ips(&self) -> impl Iterator<Item = &IpAddr> {
        let is_ipv6 = self.target.is_ipv6();
        self.service.nat_ips.iter().filter(move |nat_ip| nat_ip.is_ipv6() == is_ipv6)
    }

    /// How many ports there are in all.
    fn ports(&self) -> usize {
        self.nat_ips().count() * PORTS_PER_POOL
    }

    /// Whether the flow holds such a port.
    fn is_of(&self, flow: &Flow) -> bool {
        let Choice { nat, target, .. } = flow.choice;
        (flow.provider, flow.protocol) == (self.service.scope.0, self.protocol)
            && target.0 == self.target
            && self.service.nat_ips.contains(&nat.0)
    }
}

/// What can be seen from outside of adit's choices.
pub(super) trait Seen {
    /// The verdict on the frame that is judged.
    fn verdict(&self) -> Verdict;
    /// What was chosen for a flow that is in the table, and the number of its record.
    fn choice(&self, key: &Key) -> Option<(Choice, u32)>;
    /// Whether adit has ended the flow and tells both sides.
    fn resets(&self, key: &Key) -> bool;
    /// Whether a port rests.
    fn rests(&self, lease: &(PoolKey, u16)) -> bool;
    /// Whether adit has just told that a flow moved.
    fn has_moved(&self, key: &Key) -> bool;
    /// How many unanswered flows gave way so far.
    fn displaced(&self) -> u64;
    /// The worker at which fragments between two addresses meet.
    fn meeting(&self, datagram: &DatagramKey) -> usize;

    /// Whether a flow is still in the table, expired or not.
    fn has(&self, key: &Key) -> bool {
        self.choice(key).is_some()
    }
}

/// Whether a choice among other takers may follow one that was made before: only a backend that is
/// new or weighs more takes a flow from one that is still there and weighs no less.
fn may_follow((before, old): &(Takers, IpAddr), (set, new): (&Takers, IpAddr)) -> bool {
    let weight = |set: &Takers, backend: &IpAddr| set.get(backend).copied().unwrap_or(0);
    new == *old
        || weight(set, &new) > weight(before, &new)
        || weight(set, old) < weight(before, old)
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

    /// Free: the backend, which must be one of the rule's that take flows, the same for the same
    /// flow and the same backends, and no other's while only others left; the NAT IP, which must be
    /// one of the service's; its port, which nobody may hold. If the chosen backend's pools are
    /// all leased an unanswered flow gives way, if the newcomer may then have the port; refused
    /// exactly if there is none.
    pub(super) fn choose(
        &mut self,
        (worker, newcomer, at): (usize, Newcomer, usize),
        key: Key,
        (rule, service): (&RulePlan, &ServicePlan),
        seen: &dyn Seen,
    ) -> Result<(Choice, u32), DropReason> {
        let link = newcomer.link;
        let way = |backend: IpAddr| Way {
            service,
            target: rule.floating.unwrap_or(backend),
            protocol: key.1,
        };
        let (set, affinity) = (takers(rule), affinity(rule, &key));
        let earlier = self.backends.get(&(link, affinity)).cloned();
        let before = earlier.as_ref().filter(|(same, _)| *same == set).map(|(_, backend)| *backend);
        let dry = [DropReason::NatPortsExhausted, DropReason::RoomReserved].map(Verdict::Drop);
        let refused = dry.contains(&seen.verdict());
        let protected = self.protected(worker, newcomer, Some(at));
        let may_take = |model: &Model, newcomer, way: &Way<'_>, more: usize| {
            let free = model.free_ports(way) + more;
            model.may_take(worker, newcomer, (free, way.ports(), Some(at)))
        };
        let gives_way = |model: &Model, way: &Way<'_>, flow: &Flow| {
            way.is_of(flow) && model.is_quiet(flow) && is_unprotected(flow, &protected)
        };
        // Only if it then may have the port does a flow give way.
        let may_replace = |model: &Model, way: &Way<'_>| {
            may_take(model, newcomer.in_place(), way, 1)
                && model.would_give_way(worker, |flow| gives_way(model, way, flow))
        };
        let is_dry = |backend: &IpAddr| {
            let way = way(*backend);
            !may_take(self, newcomer, &way, 0)
                && !may_replace(self, &way)
                && self.why_dry(&way) == seen.verdict()
        };
        let towards = match before {
            Some(backend) => Some(backend),
            None if refused => set.keys().copied().find(is_dry),
            None => seen.choice(&key).map(|(choice, _)| choice.backend),
        };
        let towards = towards.ok_or(DropReason::Internal)?;
        let way = way(towards);
        if !may_take(self, newcomer, &way, 0) {
            let gave_way = may_take(self, newcomer.in_place(), &way, 1)
                && self.give_way(worker, |model, flow| gives_way(model, &way, flow));
            let newcomer = if gave_way { newcomer.in_place() } else { newcomer };
            if !may_take(self, newcomer, &way, 0) {
                return Err(match self.why_dry(&way) {
                    Verdict::Drop(reason) => reason,
                    _ => DropReason::Internal,
                });
            }
        }
        let (chosen, number) = seen.choice(&key).ok_or(DropReason::Internal)?;
        let Choice { nat, backend, target } = chosen;
        let allowed = set.contains_key(&backend)
            && earlier.is_none_or(|earlier| may_follow(&earlier, (&set, backend)))
            && backend == towards
            && target == (way.target, port_behind(rule, &key))
            && service.nat_ips.contains(&nat.0)
            && nat.0.is_ipv6() == target.0.is_ipv6()
            && nat.1 >= 1024
            && self.is_free(way.pool(nat.0), nat.1);
        if !allowed {
            self.complain(format!("{chosen:?} may not be chosen for {key:?}"));
        }
        self.backends.insert((link, affinity), (set, backend));
        Ok((chosen, number))
    }

    /// Free: whether a UDP flow that is not tracked goes elsewhere when the pool changes. It must
    /// if its backend takes no flows any more, and may not if nothing changed.
    pub(super) fn moves(&mut self, key: &Key, seen: &dyn Seen) -> bool {
        let (rule, flow) = (self.rule_of(key), &self.flows[key]);
        if rule.protocol == Protocol::Tcp || rule.balance.udp_tracking == UdpTracking::On {
            return false;
        }
        let (set, backend) = (takers(&rule), flow.choice.backend);
        if self.must_move(key) {
            return true;
        }
        let before = self.backends.get(&(flow.link, affinity(&rule, key)));
        let is_same = before.is_some_and(|(same, chosen)| *same == set && *chosen == backend);
        let stays = match seen.choice(key) {
            Some((choice, _)) => choice.backend == backend,
            // It moved; or it stayed, and its time was over under the new configuration at once.
            None => !seen.has_moved(key),
        };
        if is_same && !stays {
            self.complain(format!("{key:?} was moved for nothing"));
        }
        !stays
    }

    /// Whether the backend of a UDP flow that is not tracked takes no flows any more.
    pub(super) fn must_move(&self, key: &Key) -> bool {
        let flow = &self.flows[key];
        if wants(&self.view(flow.worker).plan, key, flow).is_err() {
            return false;
        }
        let rule = self.rule_of(key);
        let is_pinned =
            rule.protocol == Protocol::Tcp || rule.balance.udp_tracking == UdpTracking::On;
        !is_pinned && !takers(&rule).contains_key(&flow.choice.backend)
    }

    pub(super) fn is_free(&self, pool: PoolKey, port: u16) -> bool {
        let squatted = self.squatted.get(&pool).is_some_and(|left| !left.contains(&port));
        let lease = (pool, port);
        !squatted && !self.leases.contains_key(&lease) && !self.resting.contains_key(&lease)
    }

    /// How many ports of a pool are held, by flows or others.
    pub(super) fn leased(&self, pool: PoolKey) -> usize {
        let squatted = self.squatted.get(&pool).map_or(0, |left| PORTS_PER_POOL - left.len());
        let all = (pool, 0)..=(pool, u16::MAX);
        squatted + self.leases.range(all.clone()).count() + self.resting.range(all).count()
    }

    /// While a datagram's answer may come, its port is nobody else's.
    fn is_quiet(&self, flow: &Flow) -> bool {
        flow.protocol == TCP || self.now >= flow.last_seen + ANSWER_TICKS
    }

    /// Ports that are free on a way.
    fn free_ports(&self, way: &Way<'_>) -> usize {
        way.nat_ips().map(|&nat_ip| PORTS_PER_POOL - self.leased(way.pool(nat_ip))).sum()
    }

    /// What a newcomer is told that may have no port on a way.
    fn why_dry(&self, way: &Way<'_>) -> Verdict {
        match self.free_ports(way) {
            0 => Verdict::Drop(DropReason::NatPortsExhausted),
            _ => Verdict::Drop(DropReason::RoomReserved),
        }
    }

    /// Somebody else takes all ports of a pool but these, and those that flows hold.
    pub(super) fn squat(&mut self, pool: PoolKey, mut left: BTreeSet<u16>) {
        let leases = self.leases.range((pool, 0)..=(pool, u16::MAX));
        left.extend(leases.map(|((_, port), _)| *port));
        let resting = self.resting.range((pool, 0)..=(pool, u16::MAX));
        left.extend(resting.map(|((_, port), _)| *port));
        self.squatted.insert(pool, left);
    }

    /// A full table gives up an expired flow if it finds one, or else the oldest that was never
    /// answered.
    pub(super) fn make_room(
        &mut self,
        worker: usize,
        newcomer: Newcomer,
        seen: &dyn Seen,
    ) -> Result<(), DropReason> {
        let has_room = |model: &Model, newcomer, more: usize| {
            let room = model.flows_max - model.count(worker) + more;
            model.may_take(worker, newcomer, (room, model.flows_max, None))
        };
        if has_room(self, newcomer, 0) {
            return Ok(());
        }
        match self.reclaimed((worker, newcomer), seen) {
            Some(Old::Flow(key)) => self.end(&key, self.silence(&key)),
            Some(Old::Port(lease)) => self.wake(&lease),
            None => {}
        }
        // An end may take its time.
        if has_room(self, newcomer, 0) {
            return Ok(());
        }
        let protected = self.protected(worker, newcomer, None);
        let gave_way = has_room(self, newcomer.in_place(), 1)
            && self.give_way(worker, |_, flow| is_unprotected(flow, &protected));
        if has_room(self, if gave_way { newcomer.in_place() } else { newcomer }, 0) {
            return Ok(());
        }
        let is_full = self.count(worker) >= self.flows_max;
        Err(if is_full { DropReason::FlowTableFull } else { DropReason::RoomReserved })
    }

    /// Free: which expired flow a full table gives up, and whether one is found when many timers
    /// stand in the way.
    fn reclaimed(&mut self, (worker, newcomer): (usize, Newcomer), seen: &dyn Seen) -> Option<Old> {
        let (now, mut gone, mut must) = (self.now, Vec::new(), false);
        let slots = (now - self.workers[worker].collected) / COLLECT_TICKS + 1;
        for (key, flow) in self.flows.iter().filter(|(_, flow)| flow.worker == worker) {
            if self.is_gone(key, seen) {
                gone.push(*key);
            }
            must |= slots + (self.flows_max as u64) < RECLAIM_STEPS && flow.is_due(now);
        }
        let displaced = seen.displaced() - self.workers[worker].counters.flows_displaced;
        let resting = self.resting.iter().filter(|(_, rest)| rest.worker == worker);
        let mut over = resting.filter(|(_, rest)| now >= rest.until);
        must |= over.clone().any(|(_, rest)| {
            let due = rest.until.next_multiple_of(COLLECT_TICKS);
            slots + (self.flows_max as u64) < RECLAIM_STEPS && now >= due
        });
        if let Some((lease, _)) = over.find(|(lease, _)| !seen.rests(lease)) {
            return Some(Old::Port(*lease));
        }
        if gone.len() as u64 > displaced {
            // Of several the one whose end takes its time: those that give way go at once. Or else
            // the one that would not have given way, or not first.
            let protected = self.protected(worker, newcomer, None);
            gone.retain(|key| self.flows[key].is_expired(now));
            let lingers = |key: &Key| {
                let flow = &self.flows[key];
                seen.resets(key) || seen.rests(&(flow.pool(), flow.choice.nat.1))
            };
            let expired = gone.into_iter().max_by_key(|key| {
                let stays = !is_unprotected(&self.flows[key], &protected);
                (lingers(key), stays, self.turn(key))
            });
            return expired.map(Old::Flow);
        }
        if must {
            self.complain("a full table kept a flow that had expired long ago".to_owned());
        }
        None
    }

    /// Whether adit has done with a flow what the model has not yet.
    pub(super) fn is_gone(&self, key: &Key, seen: &dyn Seen) -> bool {
        !seen.has(key) || seen.resets(key) && !self.flows[key].state.is_resetting()
    }

    /// How many flows can be opened before others may have to go for them.
    pub(super) fn spare(&self, worker: usize) -> usize {
        if !self.squatted.is_empty() || self.has_reserves() {
            return 0;
        }
        (self.flows_max - self.count(worker)).min(self.quiet_opens(worker))
    }

    fn count(&self, worker: usize) -> usize {
        let flows = self.flows.values().filter(|flow| flow.worker == worker).count();
        flows + self.resting.values().filter(|rest| rest.worker == worker).count()
    }
}
