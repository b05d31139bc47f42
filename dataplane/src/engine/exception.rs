//! What is not a client's or a backend's packet: ARP and Neighbor Discovery in both directions, and
//! packets that wait for them.
//!
//! adit answers for its endpoint and NAT IP addresses on the devices of the network where they
//! live, for endpoints also in networks that are peered with it. It learns the stations of the
//! next hops that it needs, of nobody else (RFC 826, RFC 4861 7.2). All next hops are asked for
//! ahead of need and again every so often, so that packets rarely wait.

use super::{Engine, Verdict};
use crate::classify::answers_for;
use crate::device::Frame;
use crate::drop_reason::DropReason;
use crate::flow::State;
use crate::packet::resolution::{self, Resolution};
use crate::snapshot::NextHop;
use crate::types::{DeviceIndex, Family, FlowIndex, Hop, NeighborIndex, Tick};

/// Requests that wait to be sent, at most; more are made again later.
pub(super) const REQUESTS_MAX: usize = 64;

/// Next hops that one advance looks after.
const NEIGHBORS_PER_ADVANCE: u32 = 16;

/// A question to be sent on every device of the next hop's network.
#[derive(Clone, Copy)]
pub(super) struct Request {
    next_hop: NextHop,
    /// How many of the network's devices it was sent on.
    done: usize,
}

impl Engine {
    /// An answer of a next hop, or a question for an address of adit's.
    pub(super) fn hear_resolution(
        &mut self,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let heard = Resolution::parse(frame.bytes())?;
        let device = frame.ingress;
        let snapshot = &self.generation.snapshot;
        let scope = snapshot.device_scope(device).ok_or(DropReason::DeviceDown)?;
        // Whoever asks tells where he is himself (RFC 826: merge before the operation is looked
        // at).
        let neighbors = &self.generation.neighbors;
        let told = heard.teller.and_then(|(who, mac)| Some((neighbors.find(scope, who)?, mac)));
        if let Some((neighbor, mac)) = told {
            let hop = Hop { device, mac };
            let known = self.generation.neighbors.lookup(neighbor);
            self.generation.neighbors.confirm(neighbor, hop, now);
            if known.is_some_and(|known| known != hop) {
                self.renew_shortcuts();
            }
        }
        let snapshot = &self.generation.snapshot;
        if heard.question().is_some_and(|target| answers_for(snapshot, scope, target.into())) {
            let link = self.link(device).ok_or(DropReason::DeviceDown)?;
            frame.fill(&heard.answer(link.mac).ok_or(DropReason::Internal)?);
            return Ok(Verdict::Reply(device));
        }
        told.map(|_| Verdict::Consume).ok_or(match heard.family() {
            Family::V4 => DropReason::ArpNotForUs,
            Family::V6 => DropReason::NdpNotForUs,
        })
    }

    /// Keeps a flow's rewritten packet until its next hop is known, and asks for that.
    pub(super) fn wait_for(
        &mut self,
        (flow, neighbor): (FlowIndex, NeighborIndex),
        frame: &Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        self.request(neighbor, now);
        match self.hold.push((flow, neighbor), frame, now) {
            true => Ok(Verdict::Hold),
            false => Err(DropReason::NeighborPending),
        }
    }

    /// A client sends its SYN once more: if the backend has not answered the first, it may have
    /// come to have another station without telling anybody. Until that is found out by itself
    /// takes half a minute, and the client's patience may be shorter. The old station is used until
    /// the answer comes.
    pub(super) fn suspect_backend(&mut self, number: FlowIndex, now: Tick) {
        let Some(flow) = self.flows.get(number) else { return };
        if flow.state == State::Opening {
            let neighbor = flow.neighbor();
            self.generation.neighbors.suspect(neighbor);
            self.request(neighbor, now);
        }
    }

    /// Asks for next hops that are unresolved or have not been heard of for long, in turn.
    pub(super) fn look_after_neighbors(&mut self, now: Tick) {
        let count = u32::try_from(self.generation.neighbors.len()).unwrap_or(u32::MAX);
        for _ in 0..count.min(NEIGHBORS_PER_ADVANCE) {
            self.neighbor_turn = (self.neighbor_turn + 1) % count;
            self.request(NeighborIndex(self.neighbor_turn), now);
        }
    }

    /// Queues a request for a next hop, unless it was asked for just now or this worker has no
    /// device of its network: another may.
    fn request(&mut self, neighbor: NeighborIndex, now: Tick) {
        let generation = &self.generation;
        let Some(next_hop) = generation.neighbors.next_hop(neighbor) else {
            return;
        };
        let mut devices = generation.snapshot.scope_devices(next_hop.scope).iter();
        let can_ask = devices.any(|device| self.link(*device).is_some());
        let has_room = self.requests.len() < REQUESTS_MAX;
        if can_ask && has_room && generation.neighbors.claim_request(neighbor, now) {
            self.requests.push_back(Request { next_hop, done: 0 });
        }
    }

    /// Writes the next request into `frame`.
    pub(super) fn emit_request(&mut self, frame: &mut Frame) -> Option<DeviceIndex> {
        while let Some(request) = self.requests.front_mut() {
            let next_hop = request.next_hop;
            let devices = self.generation.snapshot.scope_devices(next_hop.scope);
            let Some(&device) = devices.get(request.done) else {
                self.requests.pop_front();
                continue;
            };
            request.done += 1;
            let Some(link) = self.link(device) else { continue };
            if let Some(question) = resolution::ask(link.mac, next_hop.asker, next_hop.address) {
                frame.fill(&question);
                return Some(device);
            }
        }
        None
    }

    /// Writes the next packet whose wait is over into `frame`.
    pub(super) fn release_held(&mut self, frame: &mut Frame) -> Option<DeviceIndex> {
        while self.hold.len() > 0 {
            let generation = &self.generation;
            let links = &self.links;
            let ready = |neighbor| {
                let hop = generation.neighbors.lookup(neighbor)?;
                let link = links.get(hop.device.slot()).copied().flatten()?;
                Some((hop, link))
            };
            let (flow, (hop, link)) = self.hold.pop(frame, ready)?;
            self.count_held();
            // The configuration may be another than when it came (I11).
            if let Err(reason) = self.revalidate(flow, self.latest) {
                self.settle(super::Outcome::Dropped(reason, 1));
                continue;
            }
            crate::wire::ethernet::set_stations(frame.bytes_mut(), hop.mac, link.mac);
            return Some(hop.device);
        }
        None
    }
}
