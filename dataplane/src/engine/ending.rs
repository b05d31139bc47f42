//! How flows end: by reset or in silence, their ports leased again at once or after a rest.
//!
//! A flow that adit ends (idle, or no longer wanted) is first `Resetting` if its rule asks for
//! resets and both sides believe in the connection: no packet passes (I11), whoever speaks is
//! answered with a reset, and both sides are asked to speak. A flow whose rule has a hold-down is
//! then `Resting`: it holds its record and its lease (I2) and nothing finds it. Neither state
//! outlives its time, and both are ordinary flows to the timers.

use super::Engine;
use super::fate::resets;
use super::revalidate::rule_of;
use crate::flow::State;
use crate::nat::Holder;
use crate::record::EndReason;
use crate::types::{Ending, FlowIndex, GenerationNumber, Tick};

/// How long both sides of a connection that adit ends may still be told, in ticks: 2 s.
const RESETTING_TICKS: u32 = 200;

/// No configuration's number, so that a packet of an ended flow is always judged first.
pub(super) const ENDED: GenerationNumber = GenerationNumber(0);

impl Engine {
    /// Ends flows whose time is up, as far as `steps` allow.
    pub(super) fn expire(&mut self, now: Tick, steps: &mut u32) {
        while let Some(number) = self.flows.next_expired(now, steps) {
            if self.has_expired(number, now) {
                self.end(number, self.silence(number), now);
            }
        }
    }

    /// Ends a flow that both sides may still believe in; closes one that is over.
    pub(super) fn end(&mut self, number: FlowIndex, why: EndReason, now: Tick) {
        self.take_back(number);
        let Some(flow) = self.flows.get_mut(number) else { return };
        if !resets(&self.generation, flow) {
            return self.close(number, why, now);
        }
        self.record_end(number, why);
        let Some(flow) = self.flows.get_mut(number) else { return };
        flow.state = State::Resetting;
        flow.generation = ENDED;
        flow.last_seen = now;
        flow.timeout_ticks = RESETTING_TICKS;
        self.flows.reschedule(number, now);
        self.forget_pending(number);
        self.counters.flows_reset += 1;
        self.probe(number);
    }

    /// Closes a flow: gives its lease back, at once or after its hold-down.
    pub(super) fn close(&mut self, number: FlowIndex, why: EndReason, now: Tick) {
        self.take_back(number);
        let Some(flow) = self.flows.get_mut(number) else { return };
        if flow.state == State::Resting {
            return self.remove(number, why);
        }
        let rule = rule_of(&self.generation, flow);
        let Ending { hold_down_ticks, .. } = rule.map(|rule| rule.ending).unwrap_or_default();
        if hold_down_ticks == 0 {
            return self.remove(number, why);
        }
        self.record_end(number, why);
        let Some(flow) = self.flows.get_mut(number) else { return };
        self.counters.flows_unanswered -= u64::from(flow.state.is_embryonic());
        flow.state = State::Resting;
        flow.generation = ENDED;
        flow.last_seen = now;
        flow.timeout_ticks = hold_down_ticks;
        self.unlink(number);
        self.forget_pending(number);
        self.flows.reschedule(number, now);
        self.counters.flows_closed += 1;
        self.counters.ports_resting += 1;
        self.count_flows();
    }

    /// No packet finds a flow under its forward key any more.
    fn unlink(&mut self, number: FlowIndex) {
        let key = self.flows.get(number).map(|flow| flow.key());
        if let Some(key) = key {
            self.flows.unlink(number, key.hash(&self.table_keys));
        }
    }

    /// Removes a flow and releases its lease.
    pub(super) fn remove(&mut self, number: FlowIndex, why: EndReason) {
        self.take_back(number);
        self.record_end(number, why);
        let Some(key) = self.flows.get(number).map(|flow| flow.key()) else { return };
        let Some(flow) = self.flows.remove(number, key.hash(&self.table_keys)) else { return };
        let holder = Holder { worker: self.worker, flow: number };
        if let Some(pool) = self.generation.pools.pool(flow.pool) {
            pool.release(flow.nat_port(), holder);
        }
        if let Some(usage) = self.generation.usages.find(flow.link) {
            usage.close(self.worker);
            self.shares.close(&self.generation, self.worker, flow.link);
        }
        self.forget_pending(number);
        self.counters.flows_unanswered -= u64::from(flow.state.is_embryonic());
        match flow.state {
            State::Resting => self.counters.ports_resting -= 1,
            _ => self.counters.flows_closed += 1,
        }
        self.count_flows();
    }

    /// Nothing that waits to be sent for a flow is sent any more.
    fn forget_pending(&mut self, number: FlowIndex) {
        self.forget_header(number);
        let dropped = self.hold.forget(number);
        if dropped > 0 {
            self.drop_held(dropped);
            self.count_held();
        }
    }

    /// Live flows: all records but those that only keep a port.
    pub(super) fn count_flows(&mut self) {
        self.counters.flows = self.flows.len() as u64 - self.counters.ports_resting;
    }
}
