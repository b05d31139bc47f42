//! The long way: a frame judged from its first byte to its verdict, whatever it is.
//!
//! The short way (`express`) leaves to it what is not a plain packet of an established flow.

use super::insertion::Fate;
use super::record::packet_bytes;
use super::{Arrival, Engine, Verdict};
use crate::classify::classify;
use crate::device::Frame;
use crate::drop_reason::DropReason;
use crate::flow::State;
use crate::limits::PORT_FIRST;
use crate::nat::Holder;
use crate::packet::{
    FlowKey, Fragmentation, Packet, Parsed, TcpFlags, judge_crossing, parse, splice,
};
use crate::snapshot::{Local, PoolKey};
use crate::types::{
    DeviceIndex, Direction, EndpointIndex, FlowIndex, Hop, NeighborIndex, PoolIndex, Tick,
};
use crate::wire::ethernet;

/// A packet from a client to an endpoint.
pub(super) struct Forward {
    pub(super) packet: Packet,
    pub(super) key: FlowKey,
    pub(super) hash: u64,
    pub(super) endpoint: EndpointIndex,
}

/// A packet from a backend to a NAT IP.
pub(super) struct Return {
    pub(super) packet: Packet,
    pub(super) pool: PoolIndex,
}

impl Engine {
    /// The verdict on a frame.
    pub(super) fn decide(
        &mut self,
        arrival: Arrival,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let device = frame.ingress;
        let snapshot = &self.generation.snapshot;
        // A frame of a device that was just taken away.
        let scope = snapshot.device_scope(device).ok_or(DropReason::DeviceDown)?;
        let receiver = self.receiver(device, scope).ok_or(DropReason::DeviceDown)?;
        let packet = match parse(frame, receiver)? {
            Parsed::Packet(packet) => packet,
            Parsed::Resolution => return self.hear_resolution(frame, now),
        };
        match classify(snapshot, scope, packet.tuple.destination)? {
            Local::Endpoint(endpoint) => {
                let key = FlowKey::of(scope, &packet);
                let hash = key.hash(&self.table_keys);
                self.forward(Forward { packet, key, hash, endpoint }, frame, now)
            }
            Local::ProbeSource => self.hear_probed(scope, &packet),
            // Ports below those that are leased: nobody's but the prober's.
            Local::NatIp if packet.tuple.destination_port < PORT_FIRST => {
                self.hear_probed(scope, &packet)
            }
            Local::NatIp => {
                let key = PoolKey {
                    scope,
                    nat_ip: packet.tuple.destination,
                    target: packet.tuple.source,
                    protocol: packet.protocol,
                };
                let pool = self.generation.pools.find(&key);
                let pool = pool.ok_or(DropReason::UnsolicitedFromProvider)?;
                self.back(Return { packet, pool }, arrival, frame, now)
            }
        }
    }

    pub(super) fn forward(
        &mut self,
        mut forward: Forward,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let owner = forward.key.owner(self.workers);
        if owner != self.worker {
            return Ok(Verdict::HandOver(owner));
        }
        let packet = &forward.packet;
        let found = self.live_flow(&forward, now)?;
        let client = Hop { device: frame.ingress, mac: packet.station };
        let number = match found {
            Some(number) => {
                if packet.flags.opens() {
                    self.suspect_backend(number, now);
                }
                self.notice_client(number, client);
                self.flows.get_mut(number).ok_or(DropReason::Internal)?.hear_client(client);
                number
            }
            None => self.admit(&forward, client, now)?,
        };
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        let rewrite = flow.rewrite(Direction::Forward);
        let neighbor = flow.neighbor();
        let hop = self.generation.neighbors.lookup(neighbor);
        let wire_bytes = judge_crossing(frame, packet, rewrite.to.family())?;
        match hop {
            Some(hop) => self.judge_egress(hop.device, wire_bytes)?,
            None => self.judge_any_egress(neighbor, wire_bytes)?,
        }
        let fate = self.judge_insertion(number, frame, packet, now)?;
        // The packet that opens a flow says nothing about it that is not known.
        if found.is_some() {
            self.touch(number, Direction::Forward, packet, now)?;
            self.lend(number);
        }
        if fate == Fate::Replaced {
            return Ok(Verdict::Consume);
        }
        let bytes = packet_bytes(frame);
        rewrite.apply(frame, &mut forward.packet).ok_or(DropReason::Internal)?;
        let packet = &forward.packet;
        if packet.flags.any(TcpFlags::SYN) {
            self.clamp_segments(number, frame, packet);
        }
        Engine::insert_before(frame, packet, fate).ok_or(DropReason::Internal)?;
        if packet.fragmentation != Fragmentation::Atomic {
            self.identify(number, frame);
        }
        let verdict = match hop {
            Some(hop) => self.send(frame, hop),
            None => self.wait_for((number, neighbor), frame, now),
        }?;
        self.tally(number, Direction::Forward, bytes);
        Ok(verdict)
    }

    /// The flow of a client's packet, if it lives and its configuration still wants it.
    #[inline(always)]
    fn live_flow(&mut self, forward: &Forward, now: Tick) -> Result<Option<FlowIndex>, DropReason> {
        let found = self.flows.lookup(&forward.key, forward.hash);
        let Some(number) = found else { return Ok(None) };
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        let opens = forward.packet.flags.opens();
        let yields = flow.state.yields_to_syn();
        let is_expired = self.has_expired(number, now);
        if opens && (is_expired || yields) {
            self.close(number, self.silence(number), now);
            return Ok(None);
        }
        if is_expired {
            self.end(number, self.silence(number), now);
            let resets = self.flows.get(number).is_some_and(|f| f.state == State::Resetting);
            return if resets { Err(DropReason::ConnectionReset) } else { Ok(None) };
        }
        match self.revalidate(number, now) {
            Ok(()) => Ok(Some(number)),
            // Not this datagram's fault: it opens the flow anew.
            Err(DropReason::FlowMoved) => Ok(None),
            Err(reason) => Err(reason),
        }
    }

    pub(super) fn back(
        &mut self,
        mut back: Return,
        arrival: Arrival,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let packet = &back.packet;
        let holder = self.holder(&back).ok_or(DropReason::UnsolicitedFromProvider)?;
        if holder.worker != self.worker {
            // A lease that changed hands on the way is over; nobody chases it round the workers.
            return match arrival {
                Arrival::Device => Ok(Verdict::HandOver(holder.worker)),
                Arrival::Peer => Err(DropReason::UnsolicitedFromProvider),
            };
        }
        let number = holder.flow;
        if self.has_expired(number, now) {
            self.end(number, self.silence(number), now);
        }
        let flow = self.flows.get(number).ok_or(DropReason::UnsolicitedFromProvider)?;
        let tuple = &packet.tuple;
        if flow.nat() != (tuple.destination, tuple.destination_port) {
            return Err(DropReason::Internal);
        }
        if flow.target() != (tuple.source, tuple.source_port) {
            return Err(DropReason::BackendMismatch);
        }
        self.revalidate(number, now)?;
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        if flow.state == State::Opening && brings_data(frame, packet) {
            return Err(DropReason::TcpUnanswered);
        }
        let rewrite = flow.rewrite(Direction::Return);
        let client = flow.client().ok_or(DropReason::ClientUnknown)?;
        let wire_bytes = judge_crossing(frame, packet, rewrite.to.family())?;
        self.judge_egress(client.device, wire_bytes)?;
        self.touch(number, Direction::Return, packet, now)?;
        self.lend(number);
        let bytes = packet_bytes(frame);
        rewrite.apply(frame, &mut back.packet).ok_or(DropReason::Internal)?;
        let packet = &back.packet;
        if packet.flags.any(TcpFlags::SYN) {
            self.clamp_segments(number, frame, packet);
        }
        self.take_out(number, frame, packet);
        if packet.fragmentation != Fragmentation::Atomic {
            self.identify(number, frame);
        }
        let verdict = self.send(frame, client)?;
        self.tally(number, Direction::Return, bytes);
        Ok(verdict)
    }

    /// Stamps the flow and follows its state. A new state may shorten its life.
    #[inline(always)]
    fn touch(
        &mut self,
        number: FlowIndex,
        direction: Direction,
        packet: &Packet,
        now: Tick,
    ) -> Result<(), DropReason> {
        let flow = self.flows.get_mut(number).ok_or(DropReason::Internal)?;
        let state = flow.state.after(direction, packet.flags);
        // Resets keep nothing alive (RFC 7857 section 8): they are easily forged.
        if state != flow.state || !packet.flags.any(TcpFlags::RST) {
            flow.last_seen = now;
        }
        if state != flow.state {
            let was_embryonic = flow.state.is_embryonic();
            self.counters.flows_unanswered -= u64::from(was_embryonic && !state.is_embryonic());
            flow.state = state;
            self.refresh_timeout(number, now);
        }
        Ok(())
    }

    /// Whether the packet fits the device that it leaves by.
    #[inline(always)]
    fn judge_egress(&self, device: DeviceIndex, wire_bytes: u32) -> Result<(), DropReason> {
        let link = self.link(device).ok_or(DropReason::DeviceDown)?;
        if wire_bytes <= link.mtu { Ok(()) } else { Err(DropReason::TooBig) }
    }

    /// Whether the packet fits all devices that it may turn out to leave by: its next hop is not
    /// known yet.
    #[cold]
    fn judge_any_egress(&self, neighbor: NeighborIndex, wire_bytes: u32) -> Result<(), DropReason> {
        let mtu = self.mtu_towards(neighbor);
        if mtu.is_some_and(|mtu| wire_bytes > mtu) {
            return Err(DropReason::TooBig);
        }
        Ok(())
    }

    /// Addresses the frame to its next station.
    #[inline(always)]
    pub(super) fn send(&self, frame: &mut Frame, hop: Hop) -> Result<Verdict, DropReason> {
        let link = self.link(hop.device).ok_or(DropReason::DeviceDown)?;
        ethernet::set_stations(frame.bytes_mut(), hop.mac, link.mac);
        Ok(Verdict::Forward(hop.device))
    }

    #[inline(always)]
    pub(super) fn holder(&self, back: &Return) -> Option<Holder> {
        let pool = self.generation.pools.pool(back.pool)?;
        pool.holder(back.packet.tuple.destination_port)
    }
}

/// Whether a segment brings data without opening or ending anything. From a backend that has not
/// answered the client's SYN it belongs to whoever had the port before, maybe another tenant (I1).
/// A bare acknowledgement passes: by it a client learns that the backend still believes in an
/// earlier connection, and resets that (RFC 9293 3.10.7.3).
#[cold]
fn brings_data(frame: &Frame, packet: &Packet) -> bool {
    let is_plain = !packet.flags.any(TcpFlags::SYN) && !packet.flags.any(TcpFlags::RST);
    is_plain && splice::read(frame.bytes(), packet).is_some_and(|(_, bytes)| bytes > 0)
}
