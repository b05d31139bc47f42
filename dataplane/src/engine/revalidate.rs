//! Judges flows by a configuration that is newer than they are (I7, I11).
//!
//! A flow remembers the generation that last judged it. Its first packet under another one asks
//! here before it passes; flows without packets are visited in the background, a bounded number at
//! a time, so that leases of what was taken away come back soon. A flow lives on exactly if a
//! client could open it today and would be allowed the same backend and NAT IP; it keeps both,
//! because a reload moves no flow, but for one of UDP that is not tracked and would have another
//! backend today: it ends, and its client's next datagram opens one that leads there.

use alloc::sync::Arc;

use super::Engine;
use super::admit::judge_gate;
use super::record::revoked;
use crate::classify::judge_client;
use crate::drop_reason::DropReason;
use crate::flow::{Flow, FlowView, State};
use crate::generation::Generation;
use crate::nat::Holder;
use crate::record::EndReason;
use crate::snapshot::{NatIpState, PoolKey, Rule, Service, UdpTracking};
use crate::types::{FlowIndex, NeighborIndex, Protocol, Tick};

/// What a flow takes over from the configuration that judged it.
pub(super) struct Renewal<'a> {
    pub(super) rule: &'a Rule,
    pub(super) neighbor: NeighborIndex,
    keeps_client: bool,
}

pub(super) fn judge<'a>(
    generation: &'a Generation,
    flow: FlowView<'_>,
    holder: Holder,
) -> Result<Renewal<'a>, DropReason> {
    let (snapshot, key) = (&generation.snapshot, flow.key());
    let endpoint = snapshot.endpoint_of_link(flow.link).ok_or(DropReason::EndpointRemoved)?;
    // Peers do not overlap: who dials an address of the own network does not mean a peer's.
    let is_another =
        endpoint.scope != key.scope && snapshot.in_address_space(key.scope, key.endpoint);
    if !endpoint.addresses.contains(key.endpoint) || is_another {
        return Err(DropReason::EndpointRemoved);
    }
    judge_gate(endpoint.gate)?;
    judge_client(snapshot, (key.scope, key.client), endpoint.scope)?;
    let service = snapshot.service(endpoint.service).ok_or(DropReason::Internal)?;
    let rule = service.rule(key.protocol, key.endpoint_port).ok_or(DropReason::EndpointRemoved)?;
    let state = service.nat_ip(flow.nat().0).ok_or(DropReason::NatIpRemoved)?;
    let (backend, (target, port)) = (flow.backend(), flow.target());
    let mut backends = rule.backends.iter().filter_map(|&backend| snapshot.backend(backend));
    let port_behind = rule.port_behind(key.endpoint_port);
    let is_addressed = rule.target(backend) == target && port_behind == port;
    let found = backends.find(|known| known.address == backend && is_addressed);
    let found = found.ok_or(DropReason::BackendRemoved)?;
    if !has_lease(generation, service, flow, holder) {
        return Err(DropReason::NatIpRemoved);
    }
    if state == NatIpState::Closing {
        return Err(DropReason::NatIpDrained);
    }
    if rule.drained.contains(&backend) {
        return Err(DropReason::BackendDrained);
    }
    let device_scope = flow.client().and_then(|hop| snapshot.device_scope(hop.device));
    let keeps_client = device_scope == Some(key.scope);
    Ok(Renewal { rule, neighbor: found.next_hop, keeps_client })
}

/// Whether a flow's NAT IP is its service's, and its port leased to it. The same addresses in
/// another provider's network are not the same; and a pool that went and came back while a worker
/// leased from it does not know that lease (I2).
pub(super) fn has_lease(
    generation: &Generation,
    service: &Service,
    flow: FlowView<'_>,
    holder: Holder,
) -> bool {
    let ((nat_ip, nat_port), protocol) = (flow.nat(), flow.protocol());
    let key = PoolKey { scope: service.scope, nat_ip, target: flow.target().0, protocol };
    let pool = generation.pools.pool(flow.pool).filter(|pool| pool.key() == key);
    let is_leased = pool.is_some_and(|pool| pool.holder(nat_port) == Some(holder));
    is_leased && service.nat_ip(nat_ip).is_some()
}

impl Engine {
    /// Makes sure that the configuration in force wants the flow; closes it if not.
    #[inline]
    pub(super) fn revalidate(&mut self, number: FlowIndex, now: Tick) -> Result<(), DropReason> {
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        if flow.generation == self.generation.number {
            return Ok(());
        }
        self.renew(number, now)
    }

    #[cold]
    fn renew(&mut self, number: FlowIndex, now: Tick) -> Result<(), DropReason> {
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        match flow.state {
            State::Resetting => return Err(DropReason::ConnectionReset),
            State::Resting => return Err(DropReason::UnsolicitedFromProvider),
            _ => {}
        }
        let generation = Arc::clone(&self.generation);
        match self.judge_flow(&generation, number, flow) {
            Ok(renewal) => {
                let flow = self.flows.get_mut(number).ok_or(DropReason::Internal)?;
                flow.generation = self.generation.number;
                flow.set_neighbor(renewal.neighbor);
                flow.timeout_ticks = flow.state.timeout_ticks(&renewal.rule.timeouts);
                if !renewal.keeps_client {
                    flow.forget_client();
                }
                self.flows.reschedule(number, now);
                Ok(())
            }
            Err(DropReason::FlowMoved) => {
                self.counters.flows_moved += 1;
                self.close(number, EndReason::Moved, now);
                Err(DropReason::FlowMoved)
            }
            Err(reason) => {
                self.counters.flows_revoked += 1;
                match reason {
                    // It may have lost its lease: there is nothing left to reset or rest with.
                    DropReason::NatIpRemoved => self.remove(number, revoked(reason)),
                    _ => self.end(number, revoked(reason), now),
                }
                Err(reason)
            }
        }
    }

    /// Whether a configuration, be it in force or not, lets a flow go on, and if not, why.
    pub(super) fn judge_flow<'a>(
        &self,
        under: &'a Generation,
        number: FlowIndex,
        flow: FlowView<'_>,
    ) -> Result<Renewal<'a>, DropReason> {
        let renewal = judge(under, flow, Holder { worker: self.worker, flow: number })?;
        if self.moves(under, flow, renewal.rule) {
            return Err(DropReason::FlowMoved);
        }
        Ok(renewal)
    }

    /// Whether datagrams of a flow that is not tracked would go to another backend.
    fn moves(&self, under: &Generation, flow: FlowView<'_>, rule: &Rule) -> bool {
        let key = flow.key();
        let is_pinned = key.protocol == Protocol::Tcp || rule.udp_tracking == UdpTracking::On;
        let stays = || {
            let chosen = self.choose(under, rule, &key, flow.link);
            chosen.is_some_and(|(backend, _)| backend.address == flow.backend())
        };
        !is_pinned && !stays()
    }

    /// Visits flows that the configuration in force has not judged yet.
    pub(super) fn sweep(&mut self, now: Tick, steps: &mut u32) {
        let Some(mut at) = self.sweep else { return };
        while *steps > 0 {
            if at.slot() >= self.flows.extent() {
                self.sweep = None;
                return;
            }
            *steps -= 1;
            match self.flows.get(at).is_some().then(|| self.has_expired(at, now)) {
                // Its time is over; longer timeouts do not bring it back.
                Some(true) => self.end(at, self.silence(at), now),
                // A flow that is not wanted is closed and counted as revoked; no packet died of it.
                Some(false) => drop(self.revalidate(at, now)),
                None => {}
            }
            at = FlowIndex(at.0 + 1);
        }
        self.sweep = Some(at);
    }

    /// Sets a flow's timeout after its state changed.
    pub(super) fn refresh_timeout(&mut self, number: FlowIndex, now: Tick) {
        let Some(flow) = self.flows.get_mut(number) else {
            return;
        };
        let Some(rule) = rule_of(&self.generation, flow) else {
            return;
        };
        let before = flow.timeout_ticks;
        flow.timeout_ticks = flow.state.timeout_ticks(&rule.timeouts);
        if flow.timeout_ticks < before {
            self.flows.reschedule(number, now);
        }
    }
}

pub(super) fn rule_of<'a>(generation: &'a Generation, flow: &Flow) -> Option<&'a Rule> {
    let snapshot = &generation.snapshot;
    let service = snapshot.service(snapshot.endpoint_of_link(flow.link)?.service)?;
    service.rule(flow.protocol(), flow.endpoint_port())
}
