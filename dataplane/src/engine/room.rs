//! Finds room for a flow that was granted: within its endpoint's quota, a record and a port.
//!
//! An endpoint that has less than is reserved for it takes any room. Others take only what is more
//! than the reserves that are still open, so that no endpoint's flows, answered or not, keep
//! another from its own. Where there is no room, flows that expired go first, then the oldest that
//! was never answered and is not of somebody's reserve. A refusal leaves nothing behind but counts.

use alloc::sync::Arc;

use super::Engine;
use super::admit::Grant;
use crate::drop_reason::DropReason;
use crate::flow::{Flow, Vacancy};
use crate::generation::Generation;
use crate::nat::{Holder, Lack, Pool, Usage};
use crate::snapshot::Service;
use crate::types::{FlowIndex, Lease, LinkId, Protocol, Tick};

/// Expired flows that a full table is searched for, for each flow that it refuses: timers looked
/// at.
const RECLAIM_STEPS: u32 = 64;

/// How long the answer to a datagram may be under way, in ticks: 1 s.
const ANSWER_TICKS: u32 = 100;

/// How a newcomer stands to what is reserved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Its endpoint has less than is reserved for it.
    Reserved,
    /// It has that, or nothing is.
    Common,
}

impl Engine {
    /// A record and a port for a flow, which is counted as its endpoint's from now on.
    pub(super) fn make_way(
        &mut self,
        grant: &Grant,
        hash: u64,
        now: Tick,
    ) -> Result<(Vacancy, Lease), DropReason> {
        let usage = self.generation.usages.find(grant.link).ok_or(DropReason::Internal)?;
        if !usage.open(self.worker, grant.quota.most) {
            usage.refuse(Lack::Maximum);
            return Err(DropReason::EndpointFlowsMax);
        }
        let is_reserved = usage.flows() <= grant.quota.reserved;
        let standing = if is_reserved { Standing::Reserved } else { Standing::Common };
        let way = self.room(grant, standing, hash, now);
        if let (Err(reason), Some(usage)) = (way, self.generation.usages.find(grant.link)) {
            usage.close(self.worker);
            match reason {
                DropReason::NatPortsExhausted => usage.refuse(Lack::Port),
                DropReason::FlowTableFull => usage.refuse(Lack::Record),
                _ => usage.refuse(Lack::Share),
            }
        }
        way
    }

    fn room(
        &mut self,
        grant: &Grant,
        standing: Standing,
        hash: u64,
        now: Tick,
    ) -> Result<(Vacancy, Lease), DropReason> {
        let vacancy = self.vacancy((grant, standing), hash, now)?;
        if let Some(lease) = self.lease(grant, standing, vacancy.flow())? {
            return Ok((vacancy, lease));
        }
        let generation = Arc::clone(&self.generation);
        let service = generation.snapshot.service(grant.service).ok_or(DropReason::Internal)?;
        let (target, protocol) = (grant.target, grant.protocol);
        let frees_port = frees_port(&generation, service, grant);
        let is_freed = |flow: &Flow| {
            frees_port(flow)
                && is_quiet(flow, now)
                && may_displace(&generation, flow, (grant.link, standing))
        };
        let leased = if self.make_room(is_freed) {
            let vacancy = self.vacancy((grant, standing), hash, now)?;
            self.lease(grant, standing, vacancy.flow())?.map(|lease| (vacancy, lease))
        } else {
            None
        };
        leased.ok_or_else(|| {
            if generation.pools.free(service, target, protocol) > 0 {
                return DropReason::RoomReserved;
            }
            generation.pools.refuse(service, target, protocol);
            DropReason::NatPortsExhausted
        })
    }

    /// Room for a flow in the table. A full one first gives up a flow that has expired (a full
    /// table of expired flows takes new ones at full rate), then one that was never answered.
    fn vacancy(
        &mut self,
        (grant, standing): (&Grant, Standing),
        hash: u64,
        now: Tick,
    ) -> Result<Vacancy, DropReason> {
        if let Some(vacancy) = self.free_record(standing, hash) {
            return Ok(vacancy);
        }
        let mut steps = RECLAIM_STEPS;
        if let Some(expired) = self.flows.next_expired(now, &mut steps)
            && self.has_expired(expired, now)
        {
            self.end(expired, self.silence(expired), now);
        }
        if let Some(vacancy) = self.free_record(standing, hash) {
            return Ok(vacancy);
        }
        let generation = Arc::clone(&self.generation);
        self.make_room(|flow| may_displace(&generation, flow, (grant.link, standing)));
        let is_full = || self.flows.room() == 0;
        let why = || if is_full() { DropReason::FlowTableFull } else { DropReason::RoomReserved };
        self.free_record(standing, hash).ok_or_else(why)
    }

    /// A free record, if the newcomer may have it.
    fn free_record(&self, standing: Standing, hash: u64) -> Option<Vacancy> {
        if self.may_have_record(standing, 0) { self.flows.vacancy(hash) } else { None }
    }

    /// Whether a newcomer may have a record, if so many more were free.
    fn may_have_record(&self, standing: Standing, more: usize) -> bool {
        let Generation { snapshot, usages, .. } = &*self.generation;
        let flows = |link| usages.find(link).map_or(0, Usage::flows);
        let room = self.flows.room() + more;
        standing == Standing::Reserved && room > 0 || snapshot.reserves().leave(room, flows)
    }

    /// Whether a newcomer may have a port of the service, if so many more were free.
    #[inline(always)]
    fn may_have_port(
        &self,
        (service, grant): (&Service, &Grant),
        standing: Standing,
        more: usize,
    ) -> bool {
        let is_free = standing == Standing::Reserved || service.reserves.is_empty();
        is_free || self.leaves_reserves((service, grant), more)
    }

    #[cold]
    fn leaves_reserves(&self, (service, grant): (&Service, &Grant), more: usize) -> bool {
        let Generation { pools, usages, .. } = &*self.generation;
        let flows = |link| usages.find(link).map_or(0, Usage::flows);
        let free = pools.free(service, grant.target, grant.protocol) + more;
        service.reserves.leave(free, flows)
    }

    /// A free port, if the newcomer may have it.
    fn lease(
        &self,
        grant: &Grant,
        standing: Standing,
        flow: FlowIndex,
    ) -> Result<Option<Lease>, DropReason> {
        let Generation { snapshot, pools, .. } = &*self.generation;
        let service = snapshot.service(grant.service).ok_or(DropReason::Internal)?;
        let (target, protocol) = (grant.target, grant.protocol);
        if !self.may_have_port((service, grant), standing, 0) {
            return Ok(None);
        }
        let lease = pools.lease(service, target, protocol, grant.hash, (&self.home, flow));
        // Other workers may have leased meanwhile: looked at again, as if it were not leased yet.
        Ok(lease.filter(|lease| {
            let stays = self.may_have_port((service, grant), standing, 1);
            if let (false, Some(pool)) = (stays, pools.pool(lease.pool)) {
                pool.release(lease.port, Holder { worker: self.worker, flow });
            }
            stays
        }))
    }

    /// Whether [`Engine::make_way`] would find a record and a port, and whether only because an
    /// unanswered flow gives way.
    pub(super) fn foresee_way(
        &self,
        grant: &Grant,
        hash: u64,
        now: Tick,
    ) -> Result<bool, DropReason> {
        let generation = &*self.generation;
        let flows = generation.usages.find(grant.link).map_or(0, Usage::flows);
        if flows >= grant.quota.most {
            return Err(DropReason::EndpointFlowsMax);
        }
        let is_reserved = flows < grant.quota.reserved;
        let standing = if is_reserved { Standing::Reserved } else { Standing::Common };
        let gives_way = |flow: &Flow| may_displace(generation, flow, (grant.link, standing));
        let mut displaces = false;
        if self.free_record(standing, hash).is_none() {
            if !(self.may_have_record(standing, 1) && self.can_make_room(gives_way)) {
                return Err(match self.flows.room() {
                    0 => DropReason::FlowTableFull,
                    _ => DropReason::RoomReserved,
                });
            }
            displaces = true;
        }
        let service = generation.snapshot.service(grant.service).ok_or(DropReason::Internal)?;
        let free = generation.pools.free(service, grant.target, grant.protocol);
        if free > 0 && self.may_have_port((service, grant), standing, 0) {
            return Ok(displaces);
        }
        let frees_port = frees_port(generation, service, grant);
        let is_freed = |flow: &Flow| frees_port(flow) && is_quiet(flow, now) && gives_way(flow);
        if self.may_have_port((service, grant), standing, 1) && self.can_make_room(is_freed) {
            return Ok(true);
        }
        Err(if free > 0 { DropReason::RoomReserved } else { DropReason::NatPortsExhausted })
    }
}

/// Whether a flow's end would free a port of the service's NAT IPs towards the newcomer's target.
fn frees_port(generation: &Generation, service: &Service, grant: &Grant) -> impl Fn(&Flow) -> bool {
    let (target, protocol) = (grant.target, grant.protocol);
    move |flow| {
        let Some(key) = generation.pools.pool(flow.pool).map(Pool::key) else { return false };
        let is_way = (key.scope, key.target, key.protocol) == (service.scope, target, protocol);
        is_way && service.nat_ips.contains(&key.nat_ip)
    }
}

/// Whether an unanswered flow's port may be another's at once: not while an answer to its datagram
/// may be under way, which would reach the wrong client, maybe another tenant's (I1). What is late
/// in TCP is told by the state of the flow that has the port by then.
fn is_quiet(flow: &Flow, now: Tick) -> bool {
    flow.protocol() == Protocol::Tcp || now.since(flow.last_seen) >= ANSWER_TICKS
}

/// Whether an unanswered flow may give way to a newcomer: not if it is of another endpoint's
/// reserve.
fn may_displace(
    generation: &Generation,
    flow: &Flow,
    (newcomer, standing): (LinkId, Standing),
) -> bool {
    standing == Standing::Reserved || flow.link == newcomer || !is_of_reserve(generation, flow)
}

/// Whether a flow's endpoint has no more flows than are reserved for it.
pub(super) fn is_of_reserve(generation: &Generation, flow: &Flow) -> bool {
    let endpoint = generation.snapshot.endpoint_of_link(flow.link);
    let usage = generation.usages.find(flow.link);
    let (Some(endpoint), Some(usage)) = (endpoint, usage) else { return false };
    endpoint.reserves() && usage.flows() <= endpoint.quota.reserved
}
