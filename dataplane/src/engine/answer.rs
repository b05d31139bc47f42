//! What adit says to those whose packets it refuses, and to both sides of connections that it ends.
//!
//! A refused packet stays counted under its reason; the answer is a frame of adit's own, made at
//! once and sent by [`Engine::poll_transmit`]. Bounds (I8): [`ANSWERS_MAX`] wait; what would be
//! more is not said. An answer goes back to the station and by the device that the packet came
//! from, so that it can reach nobody else (I1).

use alloc::collections::VecDeque;

use super::Engine;
use super::revalidate::{has_lease, rule_of};
use crate::classify::classify;
use crate::device::Frame;
use crate::drop_reason::DropReason;
use crate::flow::{FlowView, State};
use crate::nat::Holder;
use crate::packet::reset::{self, Segment};
use crate::packet::{Parsed, parse};
use crate::snapshot::{Local, Refusal};
use crate::types::{Address, DeviceIndex, Direction, FlowIndex, Hop};
use crate::wire::ethernet::HEADER_BYTES;
use crate::wire::ip::Ip;

/// Answers that wait to be sent, at most; more are made by no packet than a batch has.
const ANSWERS_MAX: usize = 512;

/// Sequence numbers of a side's probes: no window covers both (RFC 7323 2.3: less than 2^30).
const PROBE_SEQUENCES: [u32; 2] = [0x2000_0000, 0xa000_0000];

/// Something to be sent.
enum Answer {
    /// A reset, out of this device.
    Segment(DeviceIndex, Segment),
    /// Questions to both sides of a flow that is being reset; the next one has this number.
    Probes(FlowIndex, u8),
}

/// See the module's documentation.
pub(super) struct Answers(VecDeque<Answer>);

impl Answers {
    pub(super) fn new() -> Answers {
        Answers(VecDeque::with_capacity(ANSWERS_MAX))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets questions; they name next hops of a configuration that is over.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn push(&mut self, answer: Answer) {
        if self.0.len() < ANSWERS_MAX {
            self.0.push_back(answer);
        }
    }
}

impl Engine {
    /// Tells the sender of a packet that is dropped for this reason, if it shall be told.
    #[cold]
    pub(super) fn answer_refused(&mut self, reason: DropReason, frame: &Frame) {
        if reason != DropReason::ConnectionReset && !is_policy(reason) {
            return;
        }
        let device = frame.ingress;
        // Most refused packets end here, and floods are made of them; `parse` looks again.
        let ip = frame.bytes().get(HEADER_BYTES..).and_then(Ip::of);
        let Some(destination) = ip.map(|ip| ip.addresses().1) else { return };
        let is_told =
            reason == DropReason::ConnectionReset || self.resets_refused(device, destination);
        if !is_told {
            return;
        }
        let Some(scope) = self.generation.snapshot.device_scope(device) else { return };
        let Some(receiver) = self.receiver(device, scope) else { return };
        let Ok(Parsed::Packet(packet)) = parse(frame, receiver) else { return };
        if let Some(segment) = reset::answer(frame.bytes(), &packet, receiver.mac) {
            self.answers.push(Answer::Segment(device, segment));
        }
    }

    /// Asks both sides of a flow what they expect, so that they can be reset.
    pub(super) fn probe(&mut self, number: FlowIndex) {
        self.answers.push(Answer::Probes(number, 0));
    }

    /// Writes the next answer into `frame`.
    pub(super) fn emit_answer(&mut self, frame: &mut Frame) -> Option<DeviceIndex> {
        while let Some(answer) = self.answers.0.front_mut() {
            let (device, segment) = match answer {
                Answer::Segment(device, segment) => {
                    let answer = (*device, Some(segment.clone()));
                    self.answers.0.pop_front();
                    answer
                }
                Answer::Probes(number, turn) => {
                    let (number, at) = (*number, *turn);
                    *turn += 1;
                    match self.make_probe(number, at) {
                        Some(probe) => probe,
                        None => {
                            self.answers.0.pop_front();
                            continue;
                        }
                    }
                }
            };
            // Its device may have closed since.
            if let Some(segment) = segment.filter(|_| self.link(device).is_some()) {
                frame.fill(&segment);
                return Some(device);
            }
        }
        None
    }

    /// The probe with this number, each side's in turn: where to and what, if that is known;
    /// `None` after the last.
    fn make_probe(&self, number: FlowIndex, turn: u8) -> Option<(DeviceIndex, Option<Segment>)> {
        let sequence = *PROBE_SEQUENCES.get(usize::from(turn / 2))?;
        let flow = self.flows.get(number).filter(|flow| flow.state == State::Resetting)?;
        let direction = if turn.is_multiple_of(2) { Direction::Return } else { Direction::Forward };
        let hop = match direction {
            Direction::Return => flow.client().filter(|hop| self.is_of_scope(hop, flow)),
            Direction::Forward => self.backend_hop(number, flow),
        };
        let Some(hop) = hop else { return Some((DeviceIndex(0), None)) };
        let tuple = flow.rewrite(direction).to;
        let link = self.link(hop.device);
        let probe = link.and_then(|link| reset::probe(&tuple, (link.mac, hop.mac), sequence));
        Some((hop.device, probe))
    }

    /// I1: the client's device may meanwhile be another network's.
    fn is_of_scope(&self, hop: &Hop, flow: FlowView<'_>) -> bool {
        self.generation.snapshot.device_scope(hop.device) == Some(flow.key().scope)
    }

    /// Where the backend is, if adit may still speak to it in the NAT IP's name (I1).
    fn backend_hop(&self, number: FlowIndex, flow: FlowView<'_>) -> Option<Hop> {
        let snapshot = &self.generation.snapshot;
        let service = snapshot.service(snapshot.endpoint_of_link(flow.link)?.service)?;
        let holder = Holder { worker: self.worker, flow: number };
        if !has_lease(&self.generation, service, flow, holder) {
            return None;
        }
        let rule = rule_of(&self.generation, &flow)?;
        let mut backends = rule.backends.iter().filter_map(|&backend| snapshot.backend(backend));
        let backend = backends.find(|backend| backend.address == flow.backend())?;
        self.generation.neighbors.lookup(backend.next_hop)
    }

    fn resets_refused(&self, device: DeviceIndex, address: Address) -> bool {
        let snapshot = &self.generation.snapshot;
        let scope = snapshot.device_scope(device);
        let local = scope.and_then(|scope| classify(snapshot, scope, address).ok());
        let Some(Local::Endpoint(endpoint)) = local else { return false };
        let endpoint = snapshot.endpoint(endpoint);
        let service = endpoint.and_then(|endpoint| snapshot.service(endpoint.service));
        service.is_some_and(|service| service.refusal == Refusal::Reset)
    }
}

/// Whether a client's packet that dies for this reason was refused by the configuration or for want
/// of room, rather than for its form: those clients can be told.
fn is_policy(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::ConnectionPending
            | DropReason::ConnectionRejected
            | DropReason::ConnectionDisconnected
            | DropReason::SecurityRuleDenied
            | DropReason::NoRule
            | DropReason::NoBackend
            | DropReason::NoHealthyBackend
            | DropReason::TcpNotSyn
            | DropReason::EndpointRemoved
            | DropReason::BackendRemoved
            | DropReason::NatIpRemoved
            | DropReason::NatIpDrained
            | DropReason::BackendDrained
            | DropReason::NatPortsExhausted
            | DropReason::EndpointFlowsMax
            | DropReason::RoomReserved
            | DropReason::FlowTableFull
    )
}
