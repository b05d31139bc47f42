//! How flows end: in silence or with resets, their ports free at once or after a rest; and what
//! adit says to those whose packets it refuses.

use dataplane::drop_reason::DropReason;
use dataplane::record::EndReason;
use dataplane::snapshot::{Ending, Refusal};
use dataplane::types::{DeviceIndex, LinkId};
use pnet_base::MacAddr;

use super::choices::Choice;
use super::choices::Seen;
use super::expect::Socket;
use super::form::{self, Form, Mac, Packet};
use super::peering::reached;
use super::rules::{COLLECT_TICKS, Key, Model, PoolKey};
use super::wanted::{Local, has_nat_ip, rule_for, scope_of, speaks_ipv6};
use crate::encode::{Image, Shape, TCP, flags};

/// Ticks that a flow is being reset.
const RESETTING: u64 = 200;
/// What the probes of a side claim as their numbers.
const PROBES: [u32; 2] = [0x2000_0000, 0xa000_0000];

/// A port that is leased though its flow is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    pub(super) worker: usize,
    pub(super) until: u64,
    pub(super) target: Socket,
    pub(super) link: LinkId,
}

/// A segment of adit's own, without its flags and numbers.
pub(super) fn own(from: Socket, to: Socket, (from_mac, to_mac): (Mac, Mac)) -> Shape {
    let shape = Shape::new(TCP, from, to).to_station(MacAddr::from(to_mac));
    Shape { from_mac: MacAddr::from(from_mac), fragment_flags: 2, window: 0, ..shape }
}

/// The reset that answers a segment.
fn reset(me: Mac, packet: &Packet, input: &Image) -> Shape {
    let word = |at: usize| {
        let at = packet.transport_at + at;
        u32::from_be_bytes(input.bytes[at..at + 4].try_into().unwrap())
    };
    let (sequence, acknowledgement) = (word(4), word(8));
    let shape = own(packet.destination, packet.source, (me, packet.station));
    if packet.has(flags::ACK) {
        return Shape { flags: flags::RST, sequence: acknowledgement, ..shape };
    }
    let ends = u32::from(packet.has(flags::SYN)) + u32::from(packet.has(flags::FIN));
    let said = u32::try_from(data(packet, input)).unwrap() + ends;
    let acknowledgement = sequence.wrapping_add(said);
    Shape { flags: flags::RST | flags::ACK, acknowledgement, ..shape }
}

/// Bytes of data in a segment.
pub(super) fn data(packet: &Packet, input: &Image) -> usize {
    let header = usize::from(input.bytes[packet.transport_at + 12] >> 4) * 4;
    packet.covered_end - packet.transport_at - header
}

/// Whether it was refused by the configuration or for want of room, not for its form.
fn is_policy(reason: DropReason) -> bool {
    use DropReason as R;
    let gate = [R::ConnectionPending, R::ConnectionRejected, R::ConnectionDisconnected];
    let gone = [
        R::EndpointRemoved,
        R::BackendRemoved,
        R::NatIpRemoved,
        R::NatIpDrained,
        R::BackendDrained,
    ];
    let none = [
        R::SecurityRuleDenied,
        R::NoRule,
        R::NoBackend,
        R::NoHealthyBackend,
        R::TcpNotSyn,
        R::NatPortsExhausted,
        R::FlowTableFull,
    ];
    let quota = [R::EndpointFlowsMax, R::RoomReserved];
    gate.contains(&reason)
        || gone.contains(&reason)
        || none.contains(&reason)
        || quota.contains(&reason)
}

impl Model {
    /// A TCP sender whose packet is refused is told, if it shall be told.
    pub(super) fn tell_refused(
        &mut self,
        worker: usize,
        reason: DropReason,
        (ingress, input): (DeviceIndex, &Image),
    ) {
        if reason != DropReason::ConnectionReset && !is_policy(reason) {
            return;
        }
        let plan = &self.view(worker).plan;
        let (scope, link) = (scope_of(plan, ingress), self.workers[worker].links.get(&ingress));
        let (Some(scope), Some(link)) = (scope, link) else { return };
        let me = link.mac.0;
        let form = form::judge(input, me, speaks_ipv6(plan, scope));
        let Ok(Form::Packet(packet)) = form else { return };
        let is_told = match reached(plan, scope, packet.destination.0) {
            _ if reason == DropReason::ConnectionReset => true,
            Ok(Local::Endpoint(endpoint)) => {
                plan.services[endpoint.service.slot()].refusal == Refusal::Reset
            }
            _ => false,
        };
        if is_told && packet.protocol == TCP && !packet.has(flags::RST) {
            let told = reset(me, &packet, input).encode();
            self.workers[worker].requests.push((ingress, told));
        }
    }

    fn ending(&self, key: &Key) -> Ending {
        let flow = &self.flows[key];
        let plan = &self.view(flow.worker).plan;
        let endpoint = plan.endpoints.iter().find(|endpoint| endpoint.link == flow.link);
        let service = endpoint.map(|endpoint| &plan.services[endpoint.service.slot()]);
        let rule = service.and_then(|service| rule_for(service, key));
        rule.map(|rule| rule.ending).unwrap_or_default()
    }

    /// adit ends a flow: by resetting both sides if they believe in it.
    pub(super) fn end(&mut self, key: &Key, why: EndReason) {
        let resets = self.ending(key).resets;
        let flow = self.flows.get_mut(key).expect("a flow that is ended lives");
        if !(resets && flow.state.is_connected()) {
            return self.close(key, why);
        }
        self.tell_end(key, why);
        let flow = self.flows.get_mut(key).expect("it was looked at above");
        flow.state = flow.state.resetting();
        (flow.last_seen, flow.timeout, flow.judged) = (self.now, RESETTING, 0);
        let (worker, number) = (flow.worker, flow.number);
        self.workers[worker].probes.push(number);
        self.forget_header(key);
        self.drop_held(worker, |held| held.key == *key);
        self.workers[worker].counters.flows_reset += 1;
    }

    /// A flow is over; its port may have to rest.
    pub(super) fn close(&mut self, key: &Key, why: EndReason) {
        let rests = u64::from(self.ending(key).hold_down_ticks);
        let flow = &self.flows[key];
        let (pool, port, worker) = (flow.pool(), flow.choice.nat.1, flow.worker);
        let rest =
            Rest { worker, until: self.now + rests, target: flow.choice.target, link: flow.link };
        self.remove(key, why);
        if rests > 0 {
            self.resting.insert((pool, port), rest);
            self.workers[worker].counters.ports_resting += 1;
        }
    }

    pub(super) fn wake(&mut self, lease: &(PoolKey, u16)) {
        let rest = self.resting.remove(lease).expect("a port that rests");
        self.workers[rest.worker].counters.ports_resting -= 1;
    }

    /// Free: as with flows, when a rest is over for good.
    pub(super) fn collect_resting(&mut self, worker: usize, seen: &dyn Seen) {
        let now = self.now;
        let over = self.resting.iter().filter(|(lease, rest)| {
            let is_due = now >= rest.until.next_multiple_of(COLLECT_TICKS);
            rest.worker == worker && now >= rest.until && (is_due || !seen.rests(lease))
        });
        for lease in over.map(|(lease, _)| *lease).collect::<Vec<_>>() {
            self.wake(&lease);
        }
    }

    /// Owes the questions to both sides of flows that are being reset.
    pub(super) fn probe(&mut self, worker: usize) {
        for number in std::mem::take(&mut self.workers[worker].probes) {
            let mut flows = self.flows.iter();
            let found = flows.find(|(_, flow)| (flow.worker, flow.number) == (worker, number));
            let key = found.filter(|(_, flow)| flow.state.is_resetting()).map(|(key, _)| *key);
            let sides = key.map(|key| [self.client_side(&key), self.backend_side(&key)]);
            for (device, shape) in sides.into_iter().flatten().flatten() {
                for sequence in PROBES {
                    let (flags, acknowledgement) = (flags::ACK, sequence);
                    let shape = shape.clone();
                    let probe = Shape { flags, sequence, acknowledgement, window: 1024, ..shape };
                    self.workers[worker].requests.push((device, probe.encode()));
                }
            }
        }
    }

    fn client_side(&self, key: &Key) -> Option<(DeviceIndex, Shape)> {
        let flow = &self.flows[key];
        let (device, mac) = flow.client?;
        let is_its = scope_of(&self.view(flow.worker).plan, device) == Some(key.0);
        let link = self.workers[flow.worker].links.get(&device).filter(|_| is_its)?;
        Some((device, own(key.3, key.2, (link.mac.0, mac))))
    }

    fn backend_side(&self, key: &Key) -> Option<(DeviceIndex, Shape)> {
        let flow = &self.flows[key];
        let view = self.view(flow.worker);
        let mut endpoints = view.plan.endpoints.iter();
        let endpoint = endpoints.find(|endpoint| endpoint.link == flow.link)?;
        let service = &view.plan.services[endpoint.service.slot()];
        let rule = rule_for(service, key)?;
        let Choice { nat, backend, target } = flow.choice;
        rule.backends.contains(&backend).then_some(())?;
        // Its NAT IP may be somebody else's by now.
        has_nat_ip(&view.plan, endpoint.service.slot(), flow.choice.nat.0)?;
        (service.scope.0 == flow.provider).then_some(())?;
        let next_hop = (service.scope.0, view.next_hop(service.scope.0, backend));
        let (device, mac) = view.hops.lookup(next_hop)?;
        let link = self.workers[flow.worker].links.get(&device)?;
        Some((device, own(nat, target, (link.mac.0, mac))))
    }
}
