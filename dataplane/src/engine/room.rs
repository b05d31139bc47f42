//! Finds room for a flow that was granted: within its endpoint's quota, a record and a port.
//!
//! An endpoint that has less than is reserved for it takes any room. Others take only what is more
//! than the reserves that are still open, so that no endpoint's flows, answered or not, keep
//! another from its own. Where there is no room, flows that expired go first, then the oldest that
//! was never answered and is not of somebody's reserve; but only if the newcomer may have what
//! that frees. Of what is scarce an endpoint that has more than a fair share (`share`) gets only
//! what its own unanswered flows give up. A refusal leaves nothing behind but counts; what gave way
//! for a record is gone, though there be no port.

use alloc::sync::Arc;

use super::Engine;
use super::admit::Grant;
use super::share::Scarce;
use crate::drop_reason::DropReason;
use crate::flow::{Flow, Vacancy};
use crate::generation::Generation;
use crate::limits::PORTS_PER_POOL;
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

/// A flow that was granted and wants room.
#[derive(Clone, Copy)]
struct Newcomer<'g> {
    grant: &'g Grant,
    standing: Standing,
    /// 1 if it is counted as its endpoint's already, 0 if not.
    counted: u32,
    /// Whether an unanswered flow gives way to it: then it takes nothing that was free, and what is
    /// kept of that for fair shares is no question.
    takes_place: bool,
}

impl Newcomer<'_> {
    /// The same when an unanswered flow gives way to it.
    fn in_place(self) -> Self {
        Newcomer { takes_place: true, ..self }
    }
}

/// Whose unanswered flows give way to a newcomer.
#[derive(Clone, Copy)]
enum Yielding {
    /// Anybody's.
    All,
    /// Those that are of no other endpoint's reserve.
    Unreserved(LinkId),
    /// Its endpoint's own.
    Own(LinkId),
}

impl Engine {
    /// A record and a port for a flow, which is counted as its endpoint's from now on. `vacancy`:
    /// where the table has room for this hash, if it has.
    #[inline(always)]
    pub(super) fn make_way(
        &mut self,
        grant: &Grant,
        (hash, vacancy): (u64, Option<Vacancy>),
        now: Tick,
    ) -> Result<(Vacancy, Lease), DropReason> {
        let usage = self.generation.usages.get(grant.usage).ok_or(DropReason::Internal)?;
        if !usage.open(self.worker, grant.quota.most) {
            usage.refuse(Lack::Maximum);
            return Err(DropReason::EndpointFlowsMax);
        }
        self.shares.open(&self.generation, self.worker, grant.link);
        let Some(vacancy) = vacancy else { return self.seek_room(grant, hash, now) };
        match self.free_lease(grant, vacancy.flow()) {
            Some(lease) => Ok((vacancy, lease)),
            None => self.seek_room(grant, hash, now),
        }
    }

    /// A free port, where nothing is kept for anybody.
    #[inline(always)]
    fn free_lease(&self, grant: &Grant, flow: FlowIndex) -> Option<Lease> {
        let Generation { snapshot, pools, .. } = &*self.generation;
        if snapshot.keeps_room() {
            return None;
        }
        pools.lease(grant.row, grant.hash, (&self.home, flow))
    }

    /// A record and a port, if need be with what others give up and within what is kept; else the
    /// flow is not counted any more.
    #[cold]
    fn seek_room(
        &mut self,
        grant: &Grant,
        hash: u64,
        now: Tick,
    ) -> Result<(Vacancy, Lease), DropReason> {
        let usage = self.generation.usages.get(grant.usage).ok_or(DropReason::Internal)?;
        let is_reserved = usage.flows() <= grant.quota.reserved;
        let standing = if is_reserved { Standing::Reserved } else { Standing::Common };
        let way =
            self.room(Newcomer { grant, standing, counted: 1, takes_place: false }, hash, now);
        if let (Err(reason), Some(usage)) = (way, self.generation.usages.get(grant.usage)) {
            usage.close(self.worker);
            self.shares.close(&self.generation, self.worker, grant.link);
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
        newcomer: Newcomer<'_>,
        hash: u64,
        now: Tick,
    ) -> Result<(Vacancy, Lease), DropReason> {
        let vacancy = self.vacancy(newcomer, hash, now)?;
        if let Some(lease) = self.lease(newcomer, vacancy.flow()) {
            return Ok((vacancy, lease));
        }
        let grant = newcomer.grant;
        let yielding = self.yielding(newcomer, Scarce::Ports(grant.service));
        let generation = Arc::clone(&self.generation);
        let service = generation.snapshot.service(grant.service).ok_or(DropReason::Internal)?;
        let frees_port = frees_port(&generation, service, grant);
        let is_freed = |flow: &Flow| {
            frees_port(flow) && is_quiet(flow, now) && may_displace(&generation, flow, yielding)
        };
        let taking = newcomer.in_place();
        let leased = if self.leaves_reserves((service, taking), 1) && self.make_room(is_freed) {
            let vacancy = self.vacancy(taking, hash, now)?;
            self.lease(taking, vacancy.flow()).map(|lease| (vacancy, lease))
        } else {
            None
        };
        leased.ok_or_else(|| {
            if generation.pools.free(grant.row) > 0 {
                return DropReason::RoomReserved;
            }
            generation.pools.refuse(grant.row);
            DropReason::NatPortsExhausted
        })
    }

    /// Room for a flow in the table. A full one first gives up a flow that has expired (a full
    /// table of expired flows takes new ones at full rate), then one that was never answered.
    fn vacancy(
        &mut self,
        newcomer: Newcomer<'_>,
        hash: u64,
        now: Tick,
    ) -> Result<Vacancy, DropReason> {
        if let Some(vacancy) = self.free_record(newcomer, hash) {
            return Ok(vacancy);
        }
        let mut steps = RECLAIM_STEPS;
        if let Some(expired) = self.flows.next_expired(now, &mut steps)
            && self.has_expired(expired, now)
        {
            self.end(expired, self.silence(expired), now);
        }
        if let Some(vacancy) = self.free_record(newcomer, hash) {
            return Ok(vacancy);
        }
        let yielding = self.yielding(newcomer, Scarce::Records);
        let generation = Arc::clone(&self.generation);
        let gives_way = |flow: &Flow| may_displace(&generation, flow, yielding);
        let taking = newcomer.in_place();
        let gave_way = self.may_have_record(taking, 1) && self.make_room(gives_way);
        let newcomer = if gave_way { taking } else { newcomer };
        let is_full = || self.flows.room() == 0;
        let why = || if is_full() { DropReason::FlowTableFull } else { DropReason::RoomReserved };
        self.free_record(newcomer, hash).ok_or_else(why)
    }

    /// A free record, if the newcomer may have it.
    fn free_record(&self, newcomer: Newcomer<'_>, hash: u64) -> Option<Vacancy> {
        if self.may_have_record(newcomer, 0) { self.flows.vacancy(hash) } else { None }
    }

    /// Whether a newcomer may have a record, if so many more were free.
    fn may_have_record(&self, newcomer: Newcomer<'_>, more: usize) -> bool {
        let Generation { snapshot, usages, .. } = &*self.generation;
        let flows = |link| usages.find(link).map_or(0, Usage::flows);
        let room = self.flows.room() + more;
        if newcomer.standing == Standing::Reserved {
            return room > 0;
        }
        let is_scarce = room <= snapshot.kept(self.flows.capacity());
        snapshot.reserves().leave(room, flows)
            && !(is_scarce && self.is_above(newcomer, Scarce::Records))
    }

    /// Whether reserves leave a newcomer a port of the service, if so many more were free.
    fn leaves_reserves(&self, (service, newcomer): (&Service, Newcomer<'_>), more: usize) -> bool {
        let is_free = newcomer.standing == Standing::Reserved || service.reserves.is_empty();
        is_free || self.leaves_open_reserves((service, newcomer.grant), more)
    }

    #[cold]
    fn leaves_open_reserves(&self, (service, grant): (&Service, &Grant), more: usize) -> bool {
        let Generation { pools, usages, .. } = &*self.generation;
        let flows = |link| usages.find(link).map_or(0, Usage::flows);
        let free = pools.free(grant.row) + more;
        service.reserves.leave(free, flows)
    }

    /// Whether a newcomer may have a port though its endpoint may have more than a fair share, if
    /// so many more were free.
    #[cold]
    fn leaves_shares(&self, (service, newcomer): (&Service, Newcomer<'_>), more: usize) -> bool {
        let Newcomer { grant, standing, .. } = newcomer;
        let family = grant.target.family();
        let nat_ips = service.nat_ips.iter().filter(|nat_ip| nat_ip.family() == family);
        let kept = self.generation.snapshot.kept(nat_ips.count() * PORTS_PER_POOL);
        let free = self.generation.pools.free(grant.row) + more;
        let is_scarce = standing == Standing::Common && free <= kept;
        !(is_scarce && self.is_above(newcomer, Scarce::Ports(grant.service)))
    }

    /// Whether its endpoint has more than a fair share.
    fn is_above(&self, newcomer: Newcomer<'_>, scarce: Scarce) -> bool {
        let of = (scarce, newcomer.grant.link);
        let counted = newcomer.counted;
        !newcomer.takes_place && self.shares.is_exceeded(&self.generation, self.worker, of, counted)
    }

    /// Whose unanswered flows give way to a newcomer for which there was no room.
    fn yielding(&self, newcomer: Newcomer<'_>, scarce: Scarce) -> Yielding {
        let keeps = self.generation.snapshot.fair_share_percent() > 0;
        match newcomer.standing {
            Standing::Reserved => Yielding::All,
            Standing::Common if keeps && self.is_above(newcomer, scarce) => {
                Yielding::Own(newcomer.grant.link)
            }
            Standing::Common => Yielding::Unreserved(newcomer.grant.link),
        }
    }

    /// A free port, if the newcomer may have it.
    fn lease(&self, newcomer: Newcomer<'_>, flow: FlowIndex) -> Option<Lease> {
        let Generation { snapshot, pools, .. } = &*self.generation;
        let grant = newcomer.grant;
        let service = snapshot.service(grant.service)?;
        if !self.leaves_reserves((service, newcomer), 0) {
            return None;
        }
        let lease = pools.lease(grant.row, grant.hash, (&self.home, flow))?;
        // Other workers may have leased meanwhile: looked at again, as if it were not leased yet.
        let pool = pools.pool(lease.pool)?;
        let is_plenty = !self.may_be_scarce(service, pool);
        let stays = self.leaves_reserves((service, newcomer), 1)
            && (is_plenty || self.leaves_shares((service, newcomer), 1));
        if !stays {
            pool.release(lease.port, Holder { worker: self.worker, flow });
        }
        stays.then_some(lease)
    }

    /// Whether ports may be scarce of which one was just leased from this pool: not if it has more
    /// left by itself than is kept of all.
    #[inline]
    fn may_be_scarce(&self, service: &Service, pool: &Pool) -> bool {
        let left = PORTS_PER_POOL.saturating_sub(pool.leased() as usize);
        left < self.generation.snapshot.kept(service.nat_ips.len() * PORTS_PER_POOL)
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
        let flows = generation.usages.get(grant.usage).map_or(0, Usage::flows);
        if flows >= grant.quota.most {
            return Err(DropReason::EndpointFlowsMax);
        }
        let is_reserved = flows < grant.quota.reserved;
        let standing = if is_reserved { Standing::Reserved } else { Standing::Common };
        let newcomer = Newcomer { grant, standing, counted: 0, takes_place: false };
        let mut displaces = false;
        if self.free_record(newcomer, hash).is_none() {
            let yielding = self.yielding(newcomer, Scarce::Records);
            let gives_way = |flow: &Flow| may_displace(generation, flow, yielding);
            let taking = newcomer.in_place();
            if !(self.may_have_record(taking, 1) && self.can_make_room(gives_way)) {
                return Err(match self.flows.room() {
                    0 => DropReason::FlowTableFull,
                    _ => DropReason::RoomReserved,
                });
            }
            displaces = true;
        }
        let service = generation.snapshot.service(grant.service).ok_or(DropReason::Internal)?;
        let free = generation.pools.free(grant.row);
        let leaves = |newcomer, more| {
            let way = (service, newcomer);
            self.leaves_reserves(way, more) && self.leaves_shares(way, more)
        };
        if free > 0 && leaves(newcomer, 0) {
            return Ok(displaces);
        }
        let yielding = self.yielding(newcomer, Scarce::Ports(grant.service));
        let frees_port = frees_port(generation, service, grant);
        let is_freed = |flow: &Flow| {
            frees_port(flow) && is_quiet(flow, now) && may_displace(generation, flow, yielding)
        };
        if leaves(newcomer.in_place(), 1) && self.can_make_room(is_freed) {
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

/// Whether an unanswered flow may give way to a newcomer.
fn may_displace(generation: &Generation, flow: &Flow, yielding: Yielding) -> bool {
    match yielding {
        Yielding::All => true,
        Yielding::Unreserved(link) => flow.link == link || !is_of_reserve(generation, flow),
        Yielding::Own(link) => flow.link == link,
    }
}

/// Whether a flow's endpoint has no more flows than are reserved for it.
pub(super) fn is_of_reserve(generation: &Generation, flow: &Flow) -> bool {
    let endpoint = generation.snapshot.endpoint_of_link(flow.link);
    let usage = generation.usages.find(flow.link);
    let (Some(endpoint), Some(usage)) = (endpoint, usage) else { return false };
    endpoint.reserves() && usage.flows() <= endpoint.quota.reserved
}
