//! Live flows as others see them: plain values, copied a bounded number at a time.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::{Engine, Fate};
use crate::flow::{Flow, FlowView, State};
use crate::packet::FlowKey;
use crate::record::EndReason;
use crate::types::{FlowIndex, Instant, LinkId, Tick};

/// Records that are asked for before they are looked at.
const PREFETCHED: u32 = 4;

/// A live flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The number that it has in its worker's table while it lives.
    pub number: FlowIndex,
    /// Scope and 5-tuple on the client's side.
    pub key: FlowKey,
    /// The connection that it belongs to.
    pub link: LinkId,
    /// The NAT IP that its backend sees.
    pub nat_ip: IpAddr,
    /// The leased port.
    pub nat_port: u16,
    /// The backend's own address.
    pub backend: IpAddr,
    /// What packets to it are addressed to: the same, or the address of a frontend that floats.
    pub target: IpAddr,
    /// The port there.
    pub backend_port: u16,
    /// What it is doing.
    pub state: State,
    /// Time since its first packet, if that is recorded.
    pub age: Option<Duration>,
    /// Time since its last packet.
    pub idle: Duration,
    /// Time until it expires if no packet comes.
    pub expires_in: Duration,
    /// What another configuration would make of it, if that was asked.
    pub fate: Option<Fate>,
}

impl Session {
    pub(super) fn of(number: FlowIndex, flow: FlowView<'_>, last_seen: Tick, now: Tick) -> Session {
        let duration = |ticks: u32| Duration::from_nanos(u64::from(ticks) * Tick::NANOS);
        let (nat_ip, nat_port) = flow.nat();
        let (backend, (target, backend_port)) = (flow.backend(), flow.target());
        let idle_ticks = now.since(last_seen);
        Session {
            number,
            key: flow.key(),
            link: flow.link,
            nat_ip: nat_ip.ip(),
            nat_port,
            backend: backend.ip(),
            target: target.ip(),
            backend_port,
            state: flow.state,
            age: None,
            idle: duration(idle_ticks),
            expires_in: duration(flow.timeout_ticks.saturating_sub(idle_ticks)),
            fate: None,
        }
    }
}

impl Engine {
    /// The live flow with this number.
    #[must_use]
    pub fn session(&self, now: Instant, number: FlowIndex) -> Option<Session> {
        let now = now.tick();
        let flow = self.flows.get(number).filter(|flow| flow.state != State::Resting)?;
        self.seen(number, &flow, now).map(|seen| self.view(number, flow, seen, now))
    }

    fn view(&self, number: FlowIndex, flow: FlowView<'_>, seen: Tick, now: Tick) -> Session {
        let age = self.age(number, now);
        Session { age, ..Session::of(number, flow, seen, now) }
    }

    /// Ends the live flow with this number and forward key, as if its time were over: with resets
    /// to both sides if its rule wants them and the connection was established. Returns the flow as
    /// it was, `None` if there is no such flow.
    pub fn end_session(
        &mut self,
        now: Instant,
        number: FlowIndex,
        key: &FlowKey,
    ) -> Option<Session> {
        let session = self.session(now, number).filter(|session| session.key == *key)?;
        if session.state == State::Resetting {
            return None;
        }
        self.latest = now.tick();
        self.end(number, EndReason::Killed, now.tick());
        Some(session)
    }

    /// Copies live flows from the table into `into`, starting at the record `from`, until `steps`
    /// records were looked at or `into` is at its capacity. Returns where to go on, `None` at the
    /// end.
    pub fn sessions(
        &self,
        now: Instant,
        from: FlowIndex,
        steps: u32,
        into: &mut Vec<Session>,
    ) -> Option<FlowIndex> {
        let now = now.tick();
        let end = u32::try_from(self.flows.extent()).unwrap_or(u32::MAX);
        let stop = end.min(from.0.saturating_add(steps));
        for number in from.0..stop {
            if into.len() == into.capacity() {
                return Some(FlowIndex(number));
            }
            let live = self.flows.get(FlowIndex(number));
            let live = live.filter(|flow| flow.state != State::Resting);
            let view = live.and_then(|flow| {
                let seen = self.seen(FlowIndex(number), &flow, now)?;
                Some(self.view(FlowIndex(number), flow, seen, now))
            });
            into.extend(view);
        }
        // Of a walk in small steps the next one finds them loaded.
        for number in stop..end.min(stop + PREFETCHED) {
            self.flows.prefetch_flow(FlowIndex(number));
        }
        (stop < end).then_some(FlowIndex(stop))
    }

    /// When a flow was last seen by anybody, unless it has expired. A fast path is asked only
    /// about those that have expired by their record: others may have been idle for less long than
    /// they show.
    pub(super) fn seen(&self, number: FlowIndex, flow: &Flow, now: Tick) -> Option<Tick> {
        if !flow.is_expired(now) {
            return Some(flow.last_seen);
        }
        let used = self.last_used(number)?;
        (now.since(used) < flow.timeout_ticks).then_some(used)
    }
}
