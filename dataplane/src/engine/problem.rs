//! ICMP errors that adit itself sends about packets that it refuses.
//!
//! The packet stays counted under its reason; the error is a frame of adit's own. It is made only
//! if the service's treatment asks for it, only for a sender that may talk to adit at all (a client
//! of the network, a backend of the service), never about ICMP or a later fragment (RFC 1812
//! 4.3.2.7), and not more often than [`Rate`] allows. Bounds (I8): [`ICMP_ERRORS_MAX`] wait.

use super::Engine;
use super::admit::judge_gate;
use super::rate::Rate;
use crate::classify::{classify, judge_client};
use crate::device::Frame;
use crate::drop_reason::DropReason;
use crate::limits::ICMP_ERRORS_MAX;
use crate::packet::icmp::{ErrorFrame, Problem, Refused, emit_error};
use crate::packet::{FlowKey, mtu_across};
use crate::snapshot::{Endpoint, IcmpAnswers, Local, PoolKey, Service};
use crate::types::{Address, DeviceIndex, NeighborIndex, Protocol, ScopeId, Tick};
use alloc::collections::VecDeque;

/// Errors that wait to be sent.
pub(super) struct Problems {
    waiting: VecDeque<(DeviceIndex, ErrorFrame)>,
    rate: Rate,
}

impl Problems {
    pub(super) fn new() -> Problems {
        Problems { waiting: VecDeque::with_capacity(ICMP_ERRORS_MAX), rate: Rate::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets them: their devices may have changed hands.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

/// What an error would say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    TooBig,
    TimeExceeded,
    Prohibited,
}

impl Subject {
    /// What the sender of a packet could hear of its refusal for this reason.
    fn of(reason: DropReason) -> Option<Subject> {
        match reason {
            DropReason::TooBig => Some(Subject::TooBig),
            DropReason::Ipv4TtlExpired | DropReason::Ipv6HopLimit => Some(Subject::TimeExceeded),
            // RFC 5508 REQ-8: for want of resources or of permission.
            DropReason::SecurityRuleDenied
            | DropReason::ConnectionPending
            | DropReason::ConnectionRejected
            | DropReason::ConnectionDisconnected
            | DropReason::NoRule
            | DropReason::NoBackend
            | DropReason::NoHealthyBackend
            | DropReason::NatPortsExhausted
            | DropReason::FlowTableFull => Some(Subject::Prohibited),
            _ => None,
        }
    }

    fn is_wanted(self, answers: IcmpAnswers) -> bool {
        match self {
            Subject::TooBig => answers.too_big,
            Subject::TimeExceeded => answers.time_exceeded,
            Subject::Prohibited => answers.prohibited,
        }
    }
}

/// What adit is under an address that a packet was sent to, and whose it is.
pub(super) enum Owner<'g> {
    Endpoint(&'g Endpoint, &'g Service),
    NatIp(&'g Service),
}

impl Engine {
    /// Tells the sender of a packet that was refused, if it shall be told. The frame is as it came.
    pub(super) fn report_problem(&mut self, reason: DropReason, frame: &Frame, now: Tick) {
        let Some(subject) = Subject::of(reason) else { return };
        if self.problems.waiting.len() >= ICMP_ERRORS_MAX {
            return;
        }
        if let Some(error) = self.make_error(subject, frame, now) {
            self.problems.waiting.push_back((frame.ingress, error));
        }
    }

    fn make_error(&mut self, subject: Subject, frame: &Frame, now: Tick) -> Option<ErrorFrame> {
        let device = frame.ingress;
        let scope = self.generation.snapshot.device_scope(device)?;
        let mac = self.link(device)?.mac;
        let refused = Refused::of(frame.bytes())?;
        if !self.may_hear(subject, scope, &refused) {
            return None;
        }
        let problem = match subject {
            Subject::TooBig if !refused.dont_fragment => return None,
            Subject::TooBig => Problem::TooBig(self.mtu_beyond(scope, &refused)?),
            Subject::TimeExceeded => Problem::TimeExceeded,
            // TCP clients are reset, or hear nothing.
            Subject::Prohibited if refused.protocol == Protocol::Tcp => return None,
            Subject::Prohibited => Problem::Prohibited,
        };
        if !self.problems.rate.take(scope, now) {
            return None;
        }
        emit_error(frame.bytes(), mac, problem)
    }

    /// Whether the service wants the error and its receiver is one of those whom it may reach.
    fn may_hear(&self, subject: Subject, scope: ScopeId, refused: &Refused) -> bool {
        let generation = &self.generation;
        let tuple = &refused.tuple;
        let Some(owner) = self.owner(scope, tuple.destination) else { return false };
        let (Owner::Endpoint(_, service) | Owner::NatIp(service)) = &owner;
        // Asked first: few services want any, and floods are made of refused packets.
        if !subject.is_wanted(service.treatment.icmp_answers) {
            return false;
        }
        match owner {
            Owner::Endpoint(endpoint, _) => {
                // Who waits for approval hears of that, and of nothing else (I11).
                let passes = judge_gate(endpoint.gate).is_ok() || subject == Subject::Prohibited;
                let client = (scope, tuple.source);
                passes && judge_client(&generation.snapshot, client, endpoint.scope).is_ok()
            }
            Owner::NatIp(_) => {
                let key = PoolKey {
                    scope,
                    nat_ip: tuple.destination,
                    target: tuple.source,
                    protocol: refused.protocol,
                };
                generation.pools.find(&key).is_some()
            }
        }
    }

    /// What adit is under an address for hosts of a network.
    pub(super) fn owner(&self, scope: ScopeId, address: Address) -> Option<Owner<'_>> {
        let snapshot = &self.generation.snapshot;
        match classify(snapshot, scope, address).ok()? {
            Local::Endpoint(index) => {
                let endpoint = snapshot.endpoint(index)?;
                Some(Owner::Endpoint(endpoint, snapshot.service(endpoint.service)?))
            }
            Local::NatIp => Some(Owner::NatIp(snapshot.service_of_nat_ip(scope, address)?)),
            Local::ProbeSource => None,
        }
    }

    /// The MTU behind adit that the packet did not fit, as its sender has to know it: its flow
    /// knows where it would have gone.
    fn mtu_beyond(&self, scope: ScopeId, refused: &Refused) -> Option<u32> {
        let Refused { tuple, protocol, .. } = *refused;
        let local = classify(&self.generation.snapshot, scope, tuple.destination).ok()?;
        let (mtu, beyond) = match local {
            Local::Endpoint(_) => {
                let key = FlowKey {
                    client: tuple.source,
                    endpoint: tuple.destination,
                    client_port: tuple.source_port,
                    endpoint_port: tuple.destination_port,
                    scope,
                    protocol,
                };
                let flow = self.flows.lookup(&key, key.hash(&self.table_keys))?;
                let flow = self.flows.get(flow)?;
                (self.mtu_towards(flow.neighbor())?, flow.target().0)
            }
            Local::NatIp => {
                let (nat_ip, target) = (tuple.destination, tuple.source);
                let key = PoolKey { scope, nat_ip, target, protocol };
                let pool = self.generation.pools.pool(self.generation.pools.find(&key)?)?;
                let holder = pool.holder(tuple.destination_port)?;
                let flow = self.flows.get(holder.flow)?;
                (self.link(flow.client()?.device)?.mtu, flow.key().client)
            }
            Local::ProbeSource => return None,
        };
        Some(mtu_across(mtu, (beyond.family(), tuple.family())))
    }

    /// The MTU of the device towards a next hop; while it is not known which one that is, the
    /// smallest of all that it may be.
    pub(super) fn mtu_towards(&self, neighbor: NeighborIndex) -> Option<u32> {
        let generation = &self.generation;
        if let Some(hop) = generation.neighbors.lookup(neighbor) {
            return self.link(hop.device).map(|link| link.mtu);
        }
        let scope = generation.neighbors.next_hop(neighbor)?.scope;
        let devices = generation.snapshot.scope_devices(scope).iter();
        devices.filter_map(|device| self.link(*device)).map(|link| link.mtu).min()
    }

    /// Writes the next error into `frame`.
    pub(super) fn emit_problem(&mut self, frame: &mut Frame) -> Option<DeviceIndex> {
        let (device, error) = self.problems.waiting.pop_front()?;
        frame.fill(&error);
        Some(device)
    }
}
