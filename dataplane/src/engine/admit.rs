//! Opens a flow: may this client talk to this endpoint, who serves it, under which lease.
//!
//! The configuration is asked before anything changes; then come the lease and the one insert (I3).
//! A refusal leaves no flow and no lease behind; a full table may have lost expired flows.
//! `explain` asks the same functions without changing anything, and hears what each of them found.
//! `opening` asks less often, and grants and enters by the same ones.

use super::Engine;
use super::explain::{Found, Witness};
use super::path::Forward;
use crate::classify::judge_client;
use crate::drop_reason::DropReason;
use crate::flow::{Serving, Terms, Vacancy};
use crate::generation::Generation;
use crate::lb;
use crate::packet::FlowKey;
use crate::snapshot::{Access, Backend, Dialling, Endpoint, Gate, Quota, Rule, Snapshot};
use crate::types::{
    Address, EndpointIndex, FlowIndex, Hop, Lease, LinkId, Persistence, Protocol, RowIndex,
    ServiceIndex, Tick, Timeouts, UsageIndex,
};

/// I11: only an approved connection carries traffic.
pub(super) fn judge_gate(gate: Gate) -> Result<(), DropReason> {
    match gate {
        Gate::Approved => Ok(()),
        Gate::Pending => Err(DropReason::ConnectionPending),
        Gate::Rejected => Err(DropReason::ConnectionRejected),
        Gate::Disconnected => Err(DropReason::ConnectionDisconnected),
    }
}

/// Whether the group that guards an endpoint's subnet lets a new flow in.
fn judge_security(
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    key: &FlowKey,
    witness: &mut impl Witness,
) -> Result<(), DropReason> {
    let Some(group) = snapshot.security_group(endpoint) else { return Ok(()) };
    let FlowKey { protocol, client: source, endpoint: destination, endpoint_port: port, .. } = *key;
    let rule = group.decide(&Dialling { protocol, source, destination, port });
    let rule = rule.ok_or(DropReason::SecurityRuleDenied)?;
    witness.hear(Found::Security(rule));
    match rule.access {
        Access::Allow => Ok(()),
        Access::Deny => Err(DropReason::SecurityRuleDenied),
    }
}

/// Why a rule has no backend for a new flow.
fn no_backend(rule: &Rule) -> DropReason {
    if rule.backends.is_empty() { DropReason::NoBackend } else { DropReason::NoHealthyBackend }
}

/// What the configuration in force grants a new flow.
pub(super) struct Grant {
    pub(super) link: LinkId,
    pub(super) service: ServiceIndex,
    /// Where the connection's flows are counted.
    pub(super) usage: UsageIndex,
    pub(super) backend: Backend,
    /// What it may lease from.
    pub(super) row: RowIndex,
    /// What packets to the backend are addressed to.
    pub(super) target: Address,
    backend_port: u16,
    timeouts: Timeouts,
    pub(super) quota: Quota,
    pub(super) protocol: Protocol,
    pub(super) hash: u64,
}

impl Engine {
    /// Opens a flow for a client's packet that belongs to none.
    pub(super) fn admit(
        &mut self,
        forward: &Forward,
        client: Hop,
        now: Tick,
    ) -> Result<FlowIndex, DropReason> {
        let key = &forward.key;
        let grant = self.grant(key, forward.endpoint, forward.packet.flags.opens(), &mut ())?;
        let place = (forward.hash, self.flows.vacancy(forward.hash));
        let (vacancy, lease) = self.make_way(&grant, place, now)?;
        self.note_offer(key, forward.endpoint);
        let number = self.enter((key, &grant), (vacancy, lease), client, now);
        self.owe_header(number);
        Ok(number)
    }

    /// Enters a flow that was granted and has room.
    #[inline(always)]
    pub(super) fn enter(
        &mut self,
        (key, grant): (&FlowKey, &Grant),
        (vacancy, lease): (Vacancy, Lease),
        client: Hop,
        now: Tick,
    ) -> FlowIndex {
        let (backend, target, port) = (grant.backend.address, grant.target, grant.backend_port);
        let serving = Serving { backend, target, port };
        let terms = Terms { key, lease, serving: &serving };
        let mut flow = self.flows.open(&terms, client);
        flow.set_neighbor(grant.backend.next_hop);
        flow.link = grant.link;
        flow.account = self.generation.accounts.find(grant.link, backend, key.protocol);
        flow.generation = self.generation.number;
        flow.last_seen = now;
        flow.timeout_ticks = flow.state.timeout_ticks(&grant.timeouts);
        self.flows.insert(vacancy, flow, &terms, now);
        self.record_begin(vacancy.flow(), now);
        self.note_embryo(vacancy.flow(), lease);
        self.counters.flows_opened += 1;
        vacancy.flow()
    }

    /// Judges whether the flow may be opened, by a packet that `opens` one or not, and chooses its
    /// backend. The witness hears of each decision.
    pub(super) fn grant(
        &self,
        key: &FlowKey,
        endpoint: EndpointIndex,
        opens: bool,
        witness: &mut impl Witness,
    ) -> Result<Grant, DropReason> {
        let snapshot = &self.generation.snapshot;
        let endpoint = snapshot.endpoint(endpoint).ok_or(DropReason::Internal)?;
        judge_client(snapshot, (key.scope, key.client), endpoint.scope)?;
        witness.hear(Found::Source);
        judge_gate(endpoint.gate)?;
        witness.hear(Found::Approval);
        judge_security(snapshot, endpoint, key, witness)?;
        let service = snapshot.service(endpoint.service).ok_or(DropReason::Internal)?;
        let rule = service.rule(key.protocol, key.endpoint_port).ok_or(DropReason::NoRule)?;
        witness.hear(Found::Rule(rule, key.endpoint_port));
        if key.protocol == Protocol::Tcp && !opens {
            return Err(DropReason::TcpNotSyn);
        }
        let usage = self.generation.usages.position(endpoint.link).ok_or(DropReason::Internal)?;
        let grant = self.grant_by((endpoint, usage), rule, key).ok_or_else(|| no_backend(rule))?;
        witness.hear(Found::Backend(&grant.backend));
        Ok(grant)
    }

    /// What a rule of an endpoint's service grants; `None` if it has no backend for the flow.
    #[inline(always)]
    pub(super) fn grant_by(
        &self,
        (endpoint, usage): (&Endpoint, UsageIndex),
        rule: &Rule,
        key: &FlowKey,
    ) -> Option<Grant> {
        let (link, service) = (endpoint.link, endpoint.service);
        // NAT IPs share the flows of a client even where one backend serves them all.
        let hash = key.balance_hash(&self.balance_keys, link, Persistence::None);
        let (backend, row) = self.choose(&self.generation, rule, key, link)?;
        let (backend_port, timeouts) = (rule.port_behind(key.endpoint_port), rule.timeouts);
        let target = rule.target(backend.address);
        let (protocol, quota) = (key.protocol, endpoint.quota);
        Some(Grant {
            link,
            service,
            usage,
            backend,
            row,
            target,
            backend_port,
            timeouts,
            quota,
            protocol,
            hash,
        })
    }

    /// The backend that a new flow would have under a configuration, and what it would lease from.
    #[inline(always)]
    pub(super) fn choose(
        &self,
        under: &Generation,
        rule: &Rule,
        key: &FlowKey,
        link: LinkId,
    ) -> Option<(Backend, RowIndex)> {
        let hash = key.balance_hash(&self.balance_keys, link, rule.persistence);
        let (backend, row) = lb::choose(&under.snapshot, rule, hash)?;
        Some((*backend, row))
    }
}
