//! ICMP of both families that arrives: echo requests for an endpoint, errors about flows.
//!
//! Both are dropped unless the configuration says otherwise. An error is translated only if it is
//! about a packet that a live flow has sent that way: it then leaves about that packet as its
//! sender knows it, in the name of the endpoint or the NAT IP, so that neither side learns an
//! address of the other (I1). It opens, refreshes and ends nothing (RFC 4787 REQ-12, RFC 5382
//! REQ-10, RFC 5508 REQ-6).

use super::admit::judge_gate;
use super::problem::Owner;
use super::{Arrival, Engine, Verdict};
use crate::classify::{judge_client, judge_source};
use crate::device::{Checksum, Frame};
use crate::drop_reason::DropReason;
use crate::nat::Holder;
use crate::packet::FlowKey;
use crate::packet::icmp::{Message, MessageKind, Moved, Path, Quoted, Report};
use crate::snapshot::{Endpoint, IcmpErrors, PoolKey};
use crate::types::{Address, DeviceIndex, Direction, Family, FlowIndex, Hop, ScopeId, Tick};
use crate::wire::ethernet;
use crate::wire::ip::Ip;

/// A flow, found by a packet that it has sent.
struct Found {
    holder: Holder,
    /// Which way that packet went.
    sent: Direction,
}

impl Engine {
    /// An ICMP message; its IP header held.
    pub(super) fn hear_icmp(
        &mut self,
        arrival: Arrival,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let scope = self.generation.snapshot.device_scope(frame.ingress);
        let scope = scope.ok_or(DropReason::DeviceDown)?;
        // Whether anybody wants it is asked before it is looked into.
        let destination = ip_destination(frame).ok_or(DropReason::Internal)?;
        let (echo, errors) = match self.owner(scope, destination) {
            Some(Owner::Endpoint(endpoint, service)) => {
                (Some(*endpoint).filter(|it| it.answers_echo), service.treatment.icmp_errors)
            }
            Some(Owner::NatIp(service)) => (None, service.treatment.icmp_errors),
            None => (None, IcmpErrors::Drop),
        };
        if echo.is_none() && errors == IcmpErrors::Drop {
            return Err(DropReason::IcmpUnsupported);
        }
        if frame.offload.checksum != Checksum::Complete || frame.offload.segmentation.is_some() {
            return Err(DropReason::OffloadInvalid);
        }
        let message = Message::parse(frame.bytes())?;
        match (message.kind, echo, errors) {
            (MessageKind::EchoRequest, Some(endpoint), _) => {
                self.answer_echo(&endpoint, &message, frame, now)
            }
            (MessageKind::Error(report, quoted), _, IcmpErrors::Translate) => {
                self.translate_error(&message, (report, &quoted), arrival, frame, now)
            }
            _ => Err(DropReason::IcmpUnsupported),
        }
    }

    fn answer_echo(
        &mut self,
        endpoint: &Endpoint,
        message: &Message,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let (snapshot, device) = (&self.generation.snapshot, frame.ingress);
        let scope = snapshot.device_scope(device).ok_or(DropReason::DeviceDown)?;
        judge_client(snapshot, (scope, message.source), endpoint.scope)?;
        judge_gate(endpoint.gate)?;
        if !self.echo_rate.take(scope, now) {
            return Err(DropReason::IcmpRate);
        }
        let link = self.link(device).ok_or(DropReason::DeviceDown)?;
        message.answer_echo(frame.bytes_mut(), link.mac).ok_or(DropReason::Internal)?;
        Ok(Verdict::Reply(device))
    }

    fn translate_error(
        &mut self,
        message: &Message,
        (report, quoted): (Report, &Quoted),
        arrival: Arrival,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let scope = self.generation.snapshot.device_scope(frame.ingress);
        let scope = scope.ok_or(DropReason::DeviceDown)?;
        judge_source(&self.generation.snapshot, scope, message.source)?;
        if message.hops <= 1 {
            return Err(match message.source.family() {
                Family::V4 => DropReason::Ipv4TtlExpired,
                Family::V6 => DropReason::Ipv6HopLimit,
            });
        }
        if quoted.tuple.source != message.destination {
            return Err(DropReason::IcmpUnmatched);
        }
        let Found { holder, sent } = self.find_sender(scope, quoted, arrival)?;
        if holder.worker != self.worker {
            return match arrival {
                Arrival::Device => Ok(Verdict::HandOver(holder.worker)),
                Arrival::Peer => Err(DropReason::IcmpUnmatched),
            };
        }
        let hop = self.judge_sender(holder.flow, quoted, sent, now)?;
        let flow = self.flows.get(holder.flow).ok_or(DropReason::Internal)?;
        // As it was before adit translated it: the way back of its own way.
        let was = match sent {
            Direction::Forward => flow.rewrite(Direction::Return).to.inverse(),
            Direction::Return => flow.rewrite(Direction::Forward).to.inverse(),
        };
        let inserted = Engine::inserted_bytes(&flow);
        let moved = match sent {
            Direction::Forward => Moved { sequence: inserted.wrapping_neg(), ..Moved::default() },
            Direction::Return => Moved { acknowledgement: inserted, ..Moved::default() },
        };
        let path = self.path(frame.ingress, hop).ok_or(DropReason::DeviceDown)?;
        let report = report.translate(was.family(), path, quoted.bytes);
        let report = report.ok_or(DropReason::IcmpUntranslatable)?;
        let says = (report, message.hops - 1);
        let translated = quoted.translate(frame.bytes(), &was, says, moved);
        frame.fill(&translated.ok_or(DropReason::Internal)?);
        self.send(frame, hop)
    }

    fn path(&self, ingress: DeviceIndex, hop: Hop) -> Option<Path> {
        let (ingress, egress) = (self.link(ingress)?.mtu, self.link(hop.device)?.mtu);
        Some(Path { ingress, egress })
    }

    /// Who sent the quoted packet: a flow of this worker, or of the one that owns it.
    fn find_sender(
        &self,
        scope: ScopeId,
        quoted: &Quoted,
        arrival: Arrival,
    ) -> Result<Found, DropReason> {
        let Quoted { tuple, protocol, .. } = *quoted;
        let pools = &self.generation.pools;
        let (nat_ip, target) = (tuple.source, tuple.destination);
        if let Some(pool) = pools.find(&PoolKey { scope, nat_ip, target, protocol }) {
            let holder = pools.pool(pool).and_then(|pool| pool.holder(tuple.source_port));
            let holder = holder.ok_or(DropReason::IcmpUnmatched)?;
            return Ok(Found { holder, sent: Direction::Forward });
        }
        let key = FlowKey {
            client: tuple.destination,
            endpoint: tuple.source,
            client_port: tuple.destination_port,
            endpoint_port: tuple.source_port,
            scope,
            protocol,
        };
        let sent = Direction::Return;
        let owner = key.owner(self.workers);
        if owner != self.worker && arrival == Arrival::Device {
            return Ok(Found { holder: Holder { worker: owner, flow: FlowIndex(0) }, sent });
        }
        let flow = self.flows.lookup(&key, key.hash(&self.table_keys));
        let flow = flow.ok_or(DropReason::IcmpUnmatched)?;
        Ok(Found { holder: Holder { worker: self.worker, flow }, sent })
    }

    /// Whether the flow lives, is wanted and did send the quoted packet; where its sender is.
    fn judge_sender(
        &mut self,
        number: FlowIndex,
        quoted: &Quoted,
        sent: Direction,
        now: Tick,
    ) -> Result<Hop, DropReason> {
        let flow = self.flows.get(number).ok_or(DropReason::IcmpUnmatched)?;
        if flow.is_expired(now) || flow.rewrite(sent).to != quoted.tuple {
            return Err(DropReason::IcmpUnmatched);
        }
        self.revalidate(number, now)?;
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        match sent {
            Direction::Forward => flow.client().ok_or(DropReason::ClientUnknown),
            Direction::Return => {
                let hop = self.generation.neighbors.lookup(flow.neighbor());
                hop.ok_or(DropReason::NeighborPending)
            }
        }
    }
}

pub(super) fn ip_destination(frame: &Frame) -> Option<Address> {
    Some(Ip::of(frame.bytes().get(ethernet::HEADER_BYTES..)?)?.addresses().1)
}
