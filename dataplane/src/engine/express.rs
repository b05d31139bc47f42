//! The short way, which nearly every packet takes: a plain packet of an established flow.
//!
//! Three passes over a batch, so that memory is asked for before it is needed. `survey` looks at
//! the form of every frame and asks for the line where its flow will be looked up: the index bucket
//! of a client's packet, the port's entry of a backend's. `locate` reads that line and asks for the
//! record. `express` checks that the packet is what the flow's packets usually are and rewrites it.
//! What costs instructions is left to the last pass, where it need not be written down for another.
//!
//! Any doubt, in any pass, sends the packet the long way (`path`), which judges it from its first
//! byte and alone changes and closes flows; those that may open one are looked at by `opening`
//! before. So this file grants nothing that `path` would not, and names no drop reason; features
//! that only some packets need belong there. Changes nothing but the frame and the flow's time
//! stamp and counts.

use alloc::boxed::Box;
use alloc::vec;
use core::net::Ipv4Addr;

use super::{Engine, Verdict};
use crate::account::Cells;
use crate::device::{Checksum, Frame, Link};
use crate::flow::{Flow, Outsides, Tallies};
use crate::generation::Generation;
use crate::limits::DEVICES_MAX;
use crate::packet::{Glance, hash_plain};
use crate::snapshot::PoolKey;
use crate::types::{DeviceIndex, Direction, FlowIndex, HopWord, MacAddress, PoolIndex, Tick};
use crate::wire::plain::{Form, Plain, PlainMut, SourceStation};

/// What is known of a frame between two passes.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Of a client's packet: the hash of its key. Of a backend's: the pool that it comes to.
    place: u64,
    /// Perhaps its flow; [`NOBODY`] if none was found.
    candidate: FlowIndex,
    /// Scope and protocol, as [`crate::packet::FlowKey::domain`] has them. The protocol may be any.
    domain: u32,
    way: Way,
}

/// Which way a packet travels, as far as is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The long way, whichever.
    Long,
    /// Forward, if that opens a flow, and else the long one.
    Opening,
    Forward,
    Return,
}

/// How far ahead of the packet under way the last pass asks for records again.
const PACKETS_AHEAD: usize = 2;

const NOBODY: FlowIndex = FlowIndex(u32::MAX);

impl Step {
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "made from 16 bits")]
    fn pool(&self) -> PoolIndex {
        PoolIndex(self.place as u16)
    }

    /// Of a client's packet: the hash of its key.
    #[inline(always)]
    pub(super) fn hash(&self) -> u64 {
        self.place
    }

    /// Scope and protocol, as [`crate::packet::FlowKey::domain`] has them. The protocol may be any.
    #[inline(always)]
    pub(super) fn domain(&self) -> u32 {
        self.domain
    }

    /// Whether it is a plain packet of a client for which no flow was found.
    #[inline(always)]
    pub(super) fn may_open(&self) -> bool {
        matches!(self.way, Way::Opening | Way::Forward) && !self.has_candidate()
    }

    /// Whether it is worth to ask a record.
    pub(super) fn has_candidate(&self) -> bool {
        self.candidate != NOBODY
    }

    /// Before anything is known.
    pub(super) const NEW: Step = Step { place: 0, candidate: NOBODY, domain: 0, way: Way::Long };
}

/// What frames of one device have in common, as those of a batch nearly always are.
#[derive(Clone, Copy)]
struct Lane {
    device: DeviceIndex,
    /// What plain frames look like; none does if the device is not open.
    form: Form,
    /// The scope, as a domain without a protocol.
    domain: u32,
    /// The way of a client's plain packets.
    forward: Way,
    /// That of plain packets to a NAT IP.
    back: Way,
}

impl Lane {
    /// A lane in which every packet goes the long way.
    const CLOSED: Lane = Lane {
        device: DeviceIndex(u16::MAX),
        form: Form::NONE,
        domain: 0,
        forward: Way::Long,
        back: Way::Long,
    };
}

/// What a packet that leaves by a device needs to know of it.
#[derive(Clone, Copy)]
pub(super) struct Exit {
    pub(super) station: SourceStation,
    /// 0 if the device is not open.
    pub(super) mtu: u32,
}

impl Exit {
    const CLOSED: Exit = Exit { station: SourceStation::new(0), mtu: 0 };
}

/// The exits of all devices.
pub(super) struct Exits(Box<[Exit]>);

impl Exits {
    pub(super) fn new() -> Exits {
        Exits(vec![Exit::CLOSED; DEVICES_MAX].into_boxed_slice())
    }

    #[inline(always)]
    pub(super) fn get(&self, device: DeviceIndex) -> Option<Exit> {
        self.0.get(device.slot()).copied()
    }

    pub(super) fn set(&mut self, device: DeviceIndex, link: Option<Link>) {
        if let Some(exit) = self.0.get_mut(device.slot()) {
            let of =
                |link: Link| Exit { station: SourceStation::new(link.mac.word()), mtu: link.mtu };
            *exit = link.map_or(Exit::CLOSED, of);
        }
    }
}

impl Engine {
    /// First pass: what form each frame has and where its flow will be looked up. Returns the bytes
    /// of all frames.
    #[inline(never)]
    pub(super) fn survey(&self, frames: &[Frame], steps: &mut [Step]) -> usize {
        let mut bytes = 0;
        let mut lane = Lane::CLOSED;
        let mut endpoint = Ipv4Addr::UNSPECIFIED;
        for (frame, step) in frames.iter().zip(steps) {
            bytes += frame.length();
            if frame.ingress != lane.device {
                lane = self.lane(frame.ingress);
            }
            let plain = Plain::of(frame.head());
            if plain.is_plain(&lane.form) {
                step.domain = lane.domain | u32::from(plain.protocol_number());
                self.place(plain, step, &lane, &mut endpoint);
            } else {
                step.way = Way::Long;
            }
        }
        bytes
    }

    #[cold]
    fn lane(&self, device: DeviceIndex) -> Lane {
        let scope = self.generation.snapshot.device_scope(device);
        match (scope, self.link(device)) {
            (Some(scope), Some(link)) => {
                // Packets that may still be fragmented need the long way where fragments do.
                let form = Form::new(link.mac.word(), self.generation.snapshot.reassembles());
                // Usual packets of flows do not arrive from a lent device; what does is for `path`
                // to see, which may lend its flow.
                let (forward, back) = match self.is_lent(device) {
                    true => (Way::Opening, Way::Long),
                    false => (Way::Forward, Way::Return),
                };
                Lane { device, form, domain: u32::from(scope.0) << 8, forward, back }
            }
            _ => Lane { device, ..Lane::CLOSED },
        }
    }

    /// Where the flow of a plain packet will be looked up. `endpoint` is the address that a packet
    /// was for last that was no NAT IP: likely this one's.
    #[inline(always)]
    fn place(&self, plain: Plain<'_>, step: &mut Step, lane: &Lane, endpoint: &mut Ipv4Addr) {
        let tuple = plain.tuple();
        let (destination, port) = tuple.destination();
        if destination != *endpoint {
            let key = PoolKey::words_of(step.domain, destination, tuple.source().0);
            if let Some(pool) = self.generation.pools.find_words(key) {
                self.generation.pools.prefetch_holder(pool, port);
                step.place = u64::from(pool.0);
                step.way = lane.back;
                return;
            }
            // An endpoint, or nobody: then no flow will be found.
            *endpoint = destination;
        }
        step.way = lane.forward;
        step.place = hash_plain(&self.table_keys, &tuple, step.domain);
        self.flows.prefetch_index(step.place);
    }

    /// Second pass: the flow that each packet probably belongs to.
    #[inline(never)]
    pub(super) fn locate(&self, frames: &[Frame], steps: &mut [Step]) {
        let Engine { generation, flows, worker, .. } = self;
        let pools = &generation.pools;
        for (step, frame) in steps.iter_mut().zip(frames) {
            let flow = match step.way {
                Way::Long | Way::Opening => None,
                Way::Forward => flows.candidate(step.place),
                Way::Return => {
                    let port = Plain::of(frame.head()).destination_port();
                    let holder = pools.pool(step.pool()).and_then(|pool| pool.holder(port));
                    let own = holder.filter(|holder| holder.worker == *worker);
                    own.map(|holder| holder.flow)
                }
            };
            step.candidate = flow.unwrap_or(NOBODY);
            flows.prefetch_flow(step.candidate);
        }
    }

    /// Third pass: gives verdicts up to the first frame that must go the long way, which is not
    /// touched, and says how many it gave. `COUNTS`: whether flows count what they carry, which is
    /// not asked for each packet.
    #[inline(never)]
    pub(super) fn express<const COUNTS: bool>(
        &mut self,
        frames: &mut [Frame],
        steps: &[Step],
        verdicts: &mut [Verdict],
        now: Tick,
    ) -> usize {
        let Engine { generation, flows, exits, records, accounts, .. } = self;
        let (flows, outsides) = flows.records_mut();
        let scene = Scene { generation, outsides, exits, accounts: accounts.cells(), now };
        let tallies = &mut records.tallies;
        let mut done = 0;
        for ((frame, step), verdict) in frames.iter_mut().zip(steps).zip(verdicts) {
            let soon = steps.get(done + PACKETS_AHEAD).map(|step| step.candidate.slot());
            if let Some(flow) = soon.and_then(|slot| flows.get(slot)) {
                flow.prefetch_near();
            }
            // The record may be another flow's by now, or nobody's: it has to agree in everything.
            let Some(flow) = flows.get_mut(step.candidate.slot()) else { break };
            let of = (flow, &mut *tallies);
            // Each call becomes code of its own, in which the direction is no question.
            let carried = match step.way {
                Way::Long | Way::Opening => None,
                Way::Forward => carry::<COUNTS>(Direction::Forward, &scene, of, step, frame),
                Way::Return => carry::<COUNTS>(Direction::Return, &scene, of, step, frame),
            };
            let Some(device) = carried else { break };
            *verdict = Verdict::Forward(device);
            done += 1;
        }
        done
    }
}

/// What packets of a batch have in common.
struct Scene<'e> {
    generation: &'e Generation,
    outsides: &'e Outsides,
    exits: &'e Exits,
    accounts: Cells<'e>,
    now: Tick,
}

/// Rewrites a packet for where it goes, counts it, and returns where that is; `None` if there is
/// any doubt, and then nothing is changed.
#[inline(always)]
fn carry<const COUNTS: bool>(
    direction: Direction,
    scene: &Scene<'_>,
    (flow, tallies): (&mut Flow, &mut Tallies),
    step: &Step,
    frame: &mut Frame,
) -> Option<DeviceIndex> {
    let Scene { generation, outsides, exits, accounts, now } = *scene;
    let plain = Plain::of(frame.head());
    let (tuple, station) = (plain.tuple(), plain.source_station());
    let is_its = match direction {
        Direction::Forward => {
            let from = HopWord::new(frame.ingress, station);
            flow.is_asked_by(&tuple, step.domain) && flow.client_word() == from
        }
        Direction::Return => {
            flow.is_answered_by(&tuple, step.pool()) && MacAddress::is_unicast_word(station)
        }
    };
    if !is_its || flow.generation != generation.number || !flow.is_fresh(now) {
        return None;
    }
    let protocol = flow.protocol();
    if !Glance::is_usual(frame, protocol) {
        return None;
    }
    let hop = match direction {
        Direction::Forward => generation.neighbors.word(flow.neighbor()),
        Direction::Return => flow.client_word(),
    };
    let exit = exits.get(hop.device())?;
    let may_pass = flow.is_plain()
        && flow.state.is_steady(direction, Glance::flags(plain, protocol))
        && hop != HopWord::NONE
        && u32::from(plain.total_length()) <= exit.mtu;
    if !may_pass {
        return None;
    }
    flow.last_seen = now;
    let bytes = plain.total_length();
    accounts.count(flow.account, direction, bytes.into());
    if COUNTS && flow.recent_mut(direction).add(bytes.into()) {
        tallies.empty(step.candidate, direction, flow);
    }
    let rewrite = flow.rewrite(direction, outsides);
    let is_partial = frame.offload.checksum != Checksum::Complete;
    let head = frame.head_mut();
    rewrite.apply(head, protocol, is_partial);
    PlainMut::of(head).set_stations(hop.0, exit.station);
    Some(hop.device())
}
