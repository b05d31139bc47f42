//! The short way, which nearly every packet takes: a plain packet of an established flow.
//!
//! Three passes over a batch, so that memory is asked for before it is needed. `survey` glances at
//! every frame and asks for the line where its flow will be looked up: the index bucket of a
//! client's packet, the port's entry of a backend's. `locate` reads that line and asks for the
//! record. `express` checks that the packet is what the flow's packets usually are and rewrites it.
//!
//! Any doubt, in any pass, sends the packet the long way (`path`), which judges it from its first
//! byte and alone opens, changes and closes flows. So this file grants nothing that `path` would
//! not, and names no drop reason; features that only some packets need belong there. Changes
//! nothing but the frame and the flow's time stamp.

use super::{Engine, Verdict};
use crate::device::{Frame, Link};
use crate::limits::DEVICES_MAX;
use crate::packet::{glance, hash_words};
use crate::snapshot::{Local, PoolKey};
use crate::types::{
    DeviceIndex, Direction, FlowIndex, HopWord, PoolIndex, Protocol, ScopeId, Tick,
};
use crate::wire::plain::{Plain, PlainMut};

use alloc::boxed::Box;
use alloc::vec;

/// What is known of a frame between two passes.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Of a client's packet: the hash of its key.
    hash: u64,
    way: Way,
    /// Perhaps its flow; [`NOBODY`] if none was found.
    candidate: FlowIndex,
    scope: ScopeId,
    wire_bytes: u16,
    protocol: Protocol,
    flags: crate::packet::TcpFlags,
    partial_checksum: bool,
}

/// Which way a packet travels, as far as is known.
#[derive(Clone, Copy)]
enum Way {
    /// The long way, whichever.
    Long,
    Forward,
    Return(PoolIndex),
}

const NOBODY: FlowIndex = FlowIndex(u32::MAX);

impl Step {
    const LONG: Step = Step {
        hash: 0,
        way: Way::Long,
        candidate: NOBODY,
        scope: ScopeId(0),
        wire_bytes: 0,
        protocol: Protocol::Tcp,
        flags: crate::packet::TcpFlags(0),
        partial_checksum: false,
    };
}

/// What frames of one device have in common. Frames of a batch nearly always do.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    device: DeviceIndex,
    scope: ScopeId,
    /// adit's station; no frame's if the device is not open.
    station: u64,
}

impl Lane {
    /// A lane in which every packet goes the long way.
    pub(super) const CLOSED: Lane =
        Lane { device: DeviceIndex(u16::MAX), scope: ScopeId(0), station: u64::MAX };
}

/// What a packet that leaves by a device needs to know of it.
#[derive(Clone, Copy)]
struct Exit {
    station: u64,
    /// 0 if the device is not open.
    mtu: u32,
}

/// The exits of all devices.
pub(super) struct Exits(Box<[Exit]>);

impl Exits {
    pub(super) fn new() -> Exits {
        Exits(vec![Exit { station: 0, mtu: 0 }; DEVICES_MAX].into_boxed_slice())
    }

    pub(super) fn set(&mut self, device: DeviceIndex, link: Option<Link>) {
        if let Some(exit) = self.0.get_mut(device.slot()) {
            let (station, mtu) = link.map_or((0, 0), |link| (link.mac.word(), link.mtu));
            *exit = Exit { station, mtu };
        }
    }
}

impl Engine {
    /// The lane of a device.
    #[inline(never)]
    pub(super) fn lane(&self, device: DeviceIndex) -> Lane {
        let scope = self.generation.snapshot.device_scope(device);
        match (scope, self.link(device)) {
            (Some(scope), Some(link)) => Lane { device, scope, station: link.mac.word() },
            _ => Lane { device, ..Lane::CLOSED },
        }
    }

    /// First pass.
    #[inline(always)]
    pub(super) fn survey(&self, lane: &mut Lane, frame: &Frame) -> Step {
        if frame.ingress != lane.device {
            *lane = self.lane(frame.ingress);
        }
        let Some(seen) = glance(frame, lane.station) else { return Step::LONG };
        let plain = Plain::of(frame.head());
        let (scope, protocol) = (lane.scope, seen.protocol);
        let mut step = Step {
            hash: 0,
            way: Way::Forward,
            candidate: NOBODY,
            scope,
            wire_bytes: seen.wire_bytes,
            protocol,
            flags: seen.flags,
            partial_checksum: seen.partial_checksum,
        };
        match self.generation.snapshot.local(scope, plain.destination()) {
            Some(Local::Endpoint(_)) => {
                let (addresses, ports) = (plain.addresses(), plain.ports());
                step.hash = hash_words(&self.table_keys, addresses, ports, scope, protocol);
                self.flows.prefetch_index(step.hash);
            }
            Some(Local::NatIp) => {
                let (backend, nat_ip) = (plain.source(), plain.destination());
                let key = PoolKey { scope, nat_ip, backend, protocol };
                let Some(pool) = self.generation.pools.find(&key) else { return Step::LONG };
                step.way = Way::Return(pool);
                self.generation.pools.prefetch_holder(pool, plain.destination_port());
            }
            None => return Step::LONG,
        }
        step
    }

    /// Second pass.
    #[inline(always)]
    pub(super) fn locate(&self, step: &mut Step, frame: &Frame) {
        let flow = match step.way {
            Way::Long => None,
            Way::Forward => self.flows.candidate(step.hash),
            Way::Return(pool) => {
                let port = Plain::of(frame.head()).destination_port();
                let holder = self.generation.pools.pool(pool).and_then(|pool| pool.holder(port));
                let own = holder.filter(|holder| holder.worker == self.worker);
                own.map(|holder| holder.flow)
            }
        };
        if let Some(flow) = flow {
            self.flows.prefetch_flow(flow);
            step.candidate = flow;
        }
    }

    /// Third pass; `None` sends the packet the long way, the frame untouched.
    #[inline(always)]
    pub(super) fn express(&mut self, step: &Step, frame: &mut Frame, now: Tick) -> Option<Verdict> {
        let plain = Plain::of(frame.head());
        // The record may be another flow's by now, or nobody's: it has to agree in everything.
        let flow = self.flows.record_mut(step.candidate)?;
        let (direction, hop, is_its) = match step.way {
            Way::Long => return None,
            Way::Forward => {
                let key = &flow.key;
                let from = HopWord(plain.source_station() | u64::from(frame.ingress.0) << 48);
                let is_its = key.addresses() == plain.addresses()
                    && key.ports() == plain.ports()
                    && (key.scope, key.protocol) == (step.scope, step.protocol)
                    && flow.client_word() == from;
                (Direction::Forward, self.generation.neighbors.word(flow.neighbor()), is_its)
            }
            Way::Return(pool) => {
                // The pool stands for networks, addresses and protocol.
                let is_its = flow.pool == pool && flow.return_ports() == plain.ports();
                (Direction::Return, flow.client_word(), is_its)
            }
        };
        let exit = self.exits.0.get(hop.device().slot())?;
        let may_pass = is_its
            && flow.generation == self.generation.number
            && !flow.is_expired(now)
            && flow.state.is_steady(direction, step.flags)
            && hop != HopWord::NONE
            && u32::from(step.wire_bytes) <= exit.mtu;
        if !may_pass {
            return None;
        }
        flow.last_seen = now;
        let rewrite = flow.plain_rewrite(direction);
        rewrite.apply(frame.head_mut(), step.protocol, step.partial_checksum);
        PlainMut::of(frame.head_mut()).set_stations(hop.0, exit.station);
        Some(Verdict::Forward(hop.device()))
    }
}
