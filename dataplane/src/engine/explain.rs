//! What would become of a packet: the decisions of the packet path, made without a packet and
//! without changing anything.
//!
//! The functions that decide are the packet path's own (`classify`, `admit`, `revalidate`, the
//! choice of a port pool); a [`Witness`] hears what each of them found. The packet asked about is a
//! TCP segment that opens a connection or a datagram, small enough for every device. Bounds (I8):
//! one lookup, and for want of room the search that an admission would make.

use core::net::IpAddr;

use super::Engine;
use super::admit::{Grant, judge_gate};
use super::revalidate::judge;
use super::sessions::Session;
use crate::classify::{classify, judge_client};
use crate::drop_reason::DropReason;
use crate::flow::{FlowView, State};
use crate::limits::PORTS_PER_POOL;
use crate::nat::{Holder, Pool};
use crate::packet::{FlowKey, judge_addresses};
use crate::snapshot::{Backend, Endpoint, Local, NextHop, PoolKey, Rule, SecurityRule};
use crate::types::{
    EndpointIndex, FlowIndex, GenerationNumber, Hop, Instant, NeighborIndex, Persistence, Tick,
    Timeouts, WorkerId,
};

/// Hears of the decisions on a new flow, in the order in which they are made. The packet path's is
/// `()`, which costs nothing.
pub(super) trait Witness {
    fn hear(&mut self, found: Found<'_>);
}

impl Witness for () {
    #[inline(always)]
    fn hear(&mut self, _: Found<'_>) {}
}

/// A decision that was made, in favor of the packet unless it says otherwise.
pub(super) enum Found<'a> {
    /// The source may send.
    Source,
    /// The connection is approved.
    Approval,
    /// This rule of the group that guards the endpoint's subnet decides, in favor or not.
    Security(&'a SecurityRule),
    /// This rule takes the port.
    Rule(&'a Rule, u16),
    /// This backend was chosen.
    Backend(&'a Backend),
}

/// The rule that takes a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleChoice {
    /// Port that its backends are asked on.
    pub backend_port: u16,
    /// What chooses the backend of a new flow.
    pub persistence: Persistence,
    /// How many backends it has.
    pub backends: usize,
    /// How long its flows live without a packet.
    pub timeouts: Timeouts,
}

/// The NAT IP that stands for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatChoice {
    /// Its address.
    pub nat_ip: IpAddr,
    /// The leased port, if the flow exists.
    pub port: Option<u16>,
    /// Ports that are free towards the backend.
    pub free: u32,
}

/// Where packets to the backend go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHopChoice {
    /// Whom adit asks for.
    pub next_hop: NextHop,
    /// Who answered, if anybody did.
    pub hop: Option<Hop>,
}

/// The decisions on a packet, as far as they went. What is `None` was not decided any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The packet.
    pub key: FlowKey,
    /// Which worker was asked.
    pub worker: WorkerId,
    /// The configuration that it works with.
    pub generation: GenerationNumber,
    /// What adit is under the destination address.
    pub destination: Option<Local>,
    /// The endpoint that is dialled.
    pub endpoint: Option<Endpoint>,
    /// The live flow that the packet belongs to.
    pub flow: Option<Session>,
    /// Whether the source may send.
    pub source_may_send: bool,
    /// Whether the connection is approved.
    pub is_approved: bool,
    /// The priority of the security rule that decides about a new flow.
    pub security: Option<u16>,
    /// The rule that takes the port.
    pub rule: Option<RuleChoice>,
    /// The backend.
    pub backend: Option<Backend>,
    /// The NAT IP.
    pub nat: Option<NatChoice>,
    /// Whether a flow that nobody answered gives way to a new one, for want of room.
    pub displaces: bool,
    /// Where the packet goes next.
    pub next_hop: Option<NextHopChoice>,
    /// Whether it passes, or why not.
    pub outcome: Result<(), DropReason>,
}

impl Witness for Explanation {
    fn hear(&mut self, found: Found<'_>) {
        match found {
            Found::Source => self.source_may_send = true,
            Found::Approval => self.is_approved = true,
            Found::Security(rule) => self.security = Some(rule.priority),
            Found::Rule(rule, port) => self.rule = Some(RuleChoice::of(rule, port)),
            Found::Backend(backend) => self.backend = Some(*backend),
        }
    }
}

impl RuleChoice {
    fn of(rule: &Rule, dialled: u16) -> RuleChoice {
        let (backend_port, backends) = (rule.port_behind(dialled), rule.backends.len());
        let (persistence, timeouts) = (rule.persistence, rule.timeouts);
        RuleChoice { backend_port, persistence, backends, timeouts }
    }
}

impl Engine {
    /// What would become of a packet with this key that came now: of a client's to an endpoint, or
    /// of a backend's to a NAT IP. Only the worker that owns its flow knows that flow.
    #[must_use]
    pub fn explain(&self, now: Instant, key: &FlowKey) -> Explanation {
        let mut seen = Explanation {
            key: *key,
            worker: self.worker,
            generation: self.generation.number,
            destination: None,
            endpoint: None,
            flow: None,
            source_may_send: false,
            is_approved: false,
            security: None,
            rule: None,
            backend: None,
            nat: None,
            displaces: false,
            next_hop: None,
            outcome: Ok(()),
        };
        seen.outcome = self.foresee(now.tick(), &mut seen);
        seen
    }

    fn foresee(&self, now: Tick, seen: &mut Explanation) -> Result<(), DropReason> {
        let (snapshot, key) = (&self.generation.snapshot, seen.key);
        let devices = snapshot.scope_devices(key.scope);
        if !devices.iter().any(|&device| self.link(device).is_some()) {
            return Err(DropReason::DeviceDown);
        }
        judge_addresses(key.client, key.endpoint)?;
        if key.client_port == 0 || key.endpoint_port == 0 {
            return Err(DropReason::PortZero);
        }
        let local = classify(snapshot, key.scope, key.endpoint)?;
        seen.destination = Some(local);
        match local {
            Local::Endpoint(endpoint) => self.foresee_forward(endpoint, now, seen),
            Local::NatIp => self.foresee_back(now, seen),
            Local::ProbeSource => Err(DropReason::UnsolicitedFromProvider),
        }
    }

    fn foresee_forward(
        &self,
        endpoint: EndpointIndex,
        now: Tick,
        seen: &mut Explanation,
    ) -> Result<(), DropReason> {
        let key = seen.key;
        seen.endpoint = self.generation.snapshot.endpoint(endpoint).copied();
        let hash = key.hash(&self.table_keys);
        let found = self.flows.lookup(&key, hash);
        let live = found.filter(|&number| {
            let lives = |flow: &FlowView<'_>| {
                !flow.state.yields_to_syn() && self.seen(number, flow, now).is_some()
            };
            let flow = self.flows.get(number).filter(lives);
            flow.is_some_and(|flow| !self.would_move(number, flow))
        });
        let neighbor = match live {
            Some(number) => self.foresee_flow(number, now, seen)?,
            None => {
                let grant = self.grant(&key, endpoint, true, seen)?;
                self.foresee_room(&grant, hash, now, seen)?;
                grant.backend.next_hop
            }
        };
        self.foresee_next_hop(neighbor, seen)
    }

    /// Whether a flow would be opened anew towards another backend, because a change wants it.
    fn would_move(&self, number: FlowIndex, flow: FlowView<'_>) -> bool {
        flow.generation != self.generation.number
            && self.judge_flow(&self.generation, number, flow).err() == Some(DropReason::FlowMoved)
    }

    /// Of a packet of a live flow: the next hop.
    fn foresee_flow(
        &self,
        number: FlowIndex,
        now: Tick,
        seen: &mut Explanation,
    ) -> Result<NeighborIndex, DropReason> {
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        match flow.state {
            State::Resetting => return Err(DropReason::ConnectionReset),
            State::Resting => return Err(DropReason::UnsolicitedFromProvider),
            _ => {
                let last_seen = self.seen(number, &flow, now).unwrap_or(flow.last_seen);
                seen.flow = Some(Session::of(number, flow, last_seen, now));
            }
        }
        let snapshot = &self.generation.snapshot;
        seen.endpoint = snapshot.endpoint_of_link(flow.link).copied();
        let key = flow.key();
        seen.is_approved = seen.endpoint.is_some_and(|endpoint| judge_gate(endpoint.gate).is_ok());
        let client = (key.scope, key.client);
        seen.source_may_send = seen
            .endpoint
            .is_some_and(|endpoint| judge_client(snapshot, client, endpoint.scope).is_ok());
        let renewal = judge(&self.generation, flow, Holder { worker: self.worker, flow: number })?;
        seen.rule = Some(RuleChoice::of(renewal.rule, key.endpoint_port));
        let (nat_ip, port) = flow.nat();
        let address = flow.backend();
        seen.backend = Some(Backend { address, next_hop: renewal.neighbor });
        let leased = self.generation.pools.pool(flow.pool).map_or(0, Pool::leased);
        seen.nat = Some(NatChoice { nat_ip: nat_ip.ip(), port: Some(port), free: free(leased) });
        Ok(renewal.neighbor)
    }

    /// The record and the port of a new flow, as [`Engine::admit`] would find them.
    fn foresee_room(
        &self,
        grant: &Grant,
        hash: u64,
        now: Tick,
        seen: &mut Explanation,
    ) -> Result<(), DropReason> {
        seen.displaces = self.foresee_way(grant, hash, now)?;
        if let Some((_, pool)) = self.generation.pools.preferred(grant.row, grant.hash) {
            let (nat_ip, free) = (pool.key().nat_ip, free(pool.leased()));
            seen.nat = Some(NatChoice { nat_ip: nat_ip.ip(), port: None, free });
        }
        Ok(())
    }

    fn foresee_next_hop(
        &self,
        neighbor: NeighborIndex,
        seen: &mut Explanation,
    ) -> Result<(), DropReason> {
        let neighbors = &self.generation.neighbors;
        let hop = neighbors.lookup(neighbor);
        let next_hop = neighbors.next_hop(neighbor).ok_or(DropReason::Internal)?;
        seen.next_hop = Some(NextHopChoice { next_hop, hop });
        match hop.map(|hop| self.link(hop.device)) {
            Some(None) => Err(DropReason::DeviceDown),
            // The packet that meets an unknown next hop waits for it.
            Some(Some(_)) | None => Ok(()),
        }
    }

    fn foresee_back(&self, now: Tick, seen: &mut Explanation) -> Result<(), DropReason> {
        let FlowKey { scope, client: target, endpoint: nat_ip, protocol, .. } = seen.key;
        let (pools, key) = (&self.generation.pools, PoolKey { scope, nat_ip, target, protocol });
        let unsolicited = DropReason::UnsolicitedFromProvider;
        let pool = pools.find(&key).and_then(|pool| pools.pool(pool)).ok_or(unsolicited)?;
        let holder = pool.holder(seen.key.endpoint_port).ok_or(unsolicited)?;
        let flow = self.flows.get(holder.flow).filter(|_| holder.worker == self.worker);
        let is_seen = |flow: &FlowView<'_>| self.seen(holder.flow, flow, now).is_some();
        let flow = flow.filter(is_seen).ok_or(unsolicited)?;
        if flow.target() != (seen.key.client, seen.key.client_port) {
            return Err(DropReason::BackendMismatch);
        }
        self.foresee_flow(holder.flow, now, seen)?;
        let client = flow.client().ok_or(DropReason::ClientUnknown)?;
        self.link(client.device).ok_or(DropReason::DeviceDown)?;
        Ok(())
    }
}

fn free(leased: u32) -> u32 {
    u32::try_from(PORTS_PER_POOL).unwrap_or(u32::MAX).saturating_sub(leased)
}
