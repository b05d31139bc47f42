//! What must be told of flows: that each begins, and once that it ends, when packets of it pass no
//! more; why, and what it carried until then.

use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use dataplane::packet::FlowKey;
use dataplane::record::{Count, EndReason, FlowEvent, FlowRecord, Traffic};
use dataplane::types::{Address, Direction, Protocol, ScopeId, Tick};

use super::rules::{Key, Model};
use crate::encode::{Image, TCP};

/// As the data path numbers them: they come round.
fn tick(ticks: u64) -> Tick {
    Tick(u32::try_from(ticks % (1 << 32)).unwrap_or_default())
}

impl Model {
    pub(super) fn tell_begin(&mut self, key: &Key) {
        self.tell(key, FlowEvent::Began);
    }

    /// Nothing more is told of a flow that is being reset.
    pub(super) fn tell_end(&mut self, key: &Key, why: EndReason) {
        if !self.flows[key].state.is_resetting() {
            self.tell(key, FlowEvent::Ended(why));
        }
    }

    fn tell(&mut self, key: &Key, event: FlowEvent) {
        let flow = &self.flows[key];
        let (scope, protocol, client, endpoint) = *key;
        let [forward, back] = flow.carried.map(|[packets, bytes]| Count { packets, bytes });
        let at = |(ip, port): (IpAddr, u16)| (Address::from(ip), port);
        let record = FlowRecord {
            event,
            at: tick(self.now),
            began: tick(flow.began),
            last_seen: tick(flow.last_seen),
            key: FlowKey {
                client: client.0.into(),
                endpoint: endpoint.0.into(),
                client_port: client.1,
                endpoint_port: endpoint.1,
                scope: ScopeId(scope),
                protocol: if protocol == TCP { Protocol::Tcp } else { Protocol::Udp },
            },
            link: flow.link,
            nat: at(flow.choice.nat),
            backend: flow.choice.backend.into(),
            target: at(flow.choice.target),
            traffic: Traffic { forward, back },
        };
        let worker = &mut self.workers[flow.worker];
        worker.told.push(record);
        worker.counters.records += 1;
    }

    /// A packet of the flow has passed, or waits for its next hop.
    pub(super) fn carry(&mut self, key: &Key, direction: Direction, input: &Image) {
        let flow = self.flows.get_mut(key).expect("a flow that carries lives");
        let [packets, bytes] = &mut flow.carried[direction as usize];
        let said =
            |at: usize| u64::from(u16::from_be_bytes([input.bytes[at], input.bytes[at + 1]]));
        let length = if input.bytes[14] >> 4 == 6 { 40 + said(18) } else { said(16) };
        *packets += 1;
        *bytes += length;
        self.account(key, direction, length);
    }

    /// Why a flow is over that time ends, or in whose place another begins.
    pub(super) fn silence(&self, key: &Key) -> EndReason {
        let state = self.flows[key].state;
        match state {
            _ if state.is_closed() => EndReason::Closed,
            _ if state.is_reset() => EndReason::Reset,
            _ if key.1 == TCP && state.is_unanswered() => EndReason::HandshakeTimeout,
            _ => EndReason::Idle,
        }
    }
}

/// Why a flow is over that the configuration does not want.
pub(super) fn unwanted(reason: DropReason) -> EndReason {
    use DropReason as R;
    match reason {
        R::ConnectionPending | R::ConnectionRejected | R::ConnectionDisconnected => {
            EndReason::Rejected
        }
        R::SourceSpoofed | R::PeeringNotTransitive => EndReason::ClientRemoved,
        R::PeeringNotConnected => EndReason::PeeringRemoved,
        R::EndpointRemoved => EndReason::EndpointRemoved,
        R::BackendRemoved => EndReason::BackendRemoved,
        R::NatIpRemoved => EndReason::NatIpRemoved,
        R::NatIpDrained | R::BackendDrained => EndReason::Drained,
        other => panic!("{other:?} ends no flow"),
    }
}
