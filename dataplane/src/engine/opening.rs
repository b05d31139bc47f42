//! The short way of packets that open flows: usual packets of flows that nobody knows, to a port of
//! an endpoint to which a flow was opened before.
//!
//! Much of what is asked then has the same answer for every client: which endpoint it is, that its
//! connection is approved, which rule there is. The long way (`path`) notes these answers as an
//! *offer* when it opens a flow, and they stand until the configuration changes. What depends on
//! the client is asked for each packet; backend, room, lease and entry come from the functions that
//! the long way uses (`admit`, `room`), with their refusals.
//!
//! Any doubt before something changes sends the packet the long way. So this file grants nothing
//! that `path` would not; what only some packets or some endpoints need belongs there.

use alloc::boxed::Box;
use alloc::vec;
use core::net::Ipv4Addr;

use super::admit::Grant;
use super::express::Step;
use super::{Engine, Verdict};
use crate::classify::judge_source;
use crate::device::{Checksum, Frame};
use crate::drop_reason::DropReason;
use crate::generation::Generation;
use crate::hash::Keys;
use crate::packet::{FlowKey, Glance};
use crate::types::{
    Direction, EndpointIndex, Family, FlowIndex, GenerationNumber, HopWord, Protocol, Tick,
    UsageIndex,
};
use crate::wire::plain::{Plain, PlainMut, PlainTuple};

/// Offers that are remembered, 28 bytes each; two that meet in one place take it from each other.
const OFFERS: usize = 4_096;

const _: () = assert!(size_of::<Offer>() == 28);

/// What whoever dials a port of an endpoint is offered, whoever it is.
#[derive(Clone, Copy)]
pub(super) struct Offer {
    /// The configuration under which it stands.
    generation: GenerationNumber,
    dialled: Dialled,
    endpoint: EndpointIndex,
    /// Where the endpoint's flows are counted.
    usage: UsageIndex,
    /// Position of the rule in its service.
    rule: u32,
}

/// What is dialled: scope and protocol ([`FlowKey::domain`]), the endpoint's address and the port.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Dialled {
    domain: u32,
    address: Ipv4Addr,
    port: u16,
}

impl Dialled {
    #[inline(always)]
    fn by(tuple: &PlainTuple, domain: u32) -> Dialled {
        let (address, port) = tuple.destination();
        Dialled { domain, address, port }
    }
}

/// See the module's documentation.
pub(super) struct Offers {
    keys: Keys,
    offers: Box<[Offer]>,
}

impl Offers {
    pub(super) fn new(keys: Keys) -> Offers {
        let dialled = Dialled { domain: 0, address: Ipv4Addr::UNSPECIFIED, port: 0 };
        // No generation has this number.
        let generation = GenerationNumber(0);
        let (endpoint, usage) = (EndpointIndex(0), UsageIndex(0));
        let none = Offer { generation, dialled, endpoint, usage, rule: 0 };
        Offers { keys, offers: vec![none; OFFERS].into_boxed_slice() }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "cut to the number of places")]
    fn place(&self, dialled: &Dialled) -> usize {
        let Dialled { domain, address, port } = *dialled;
        let high = u64::from(address.to_bits()) << 16 | u64::from(port);
        self.keys.hash_once(high, domain.into()) as usize % OFFERS
    }

    #[inline(always)]
    fn find(&self, dialled: &Dialled, generation: GenerationNumber) -> Option<&Offer> {
        let offer = self.offers.get(self.place(dialled))?;
        (offer.dialled == *dialled && offer.generation == generation).then_some(offer)
    }
}

impl Engine {
    /// Notes what the long way found out for a flow that it opens, if others will find the same.
    pub(super) fn note_offer(&mut self, key: &FlowKey, index: EndpointIndex) {
        let dialled = Dialled::by(&key.plain(), key.domain());
        let generation = self.generation.number;
        if key.family() == Family::V6 || self.offers.find(&dialled, generation).is_some() {
            return;
        }
        if let Some((rule, usage)) = self.offered(key, index) {
            let place = self.offers.place(&dialled);
            self.offers.offers[place] = Offer { generation, dialled, endpoint: index, usage, rule };
        }
    }

    /// The position of the rule by which everybody of the endpoint's network gets in who has an
    /// address there, and whose flows begin with nothing but their own packets; and where they are
    /// counted.
    #[cold]
    fn offered(&self, key: &FlowKey, index: EndpointIndex) -> Option<(u32, UsageIndex)> {
        let Generation { snapshot, usages, .. } = &*self.generation;
        let endpoint = snapshot.endpoint(index)?;
        let service = snapshot.service(endpoint.service)?;
        let puts_header =
            key.protocol == Protocol::Tcp && service.treatment.proxy_protocol.is_some();
        let is_for_all = endpoint.scope == key.scope && endpoint.security.is_none() && !puts_header;
        let rule = service.rule_position(key.protocol, key.endpoint_port)?;
        is_for_all.then_some((rule, usages.position(endpoint.link)?))
    }

    /// What a plain frame dials, if that is known. It is then one of the two protocols.
    #[inline(always)]
    pub(super) fn offer(&self, frame: &Frame, step: &Step) -> Option<Offer> {
        let dialled = Dialled::by(&Plain::of(frame.head()).tuple(), step.domain());
        self.offers.find(&dialled, self.generation.number).copied()
    }

    /// Opens the flow of a frame that was found to belong to none, and rewrites it for where it
    /// goes, or refuses it; `None` if there is any doubt, and then nothing is changed.
    #[inline(never)]
    pub(super) fn open(
        &mut self,
        offer: Offer,
        (frame, step): (&mut Frame, &Step),
        now: Tick,
    ) -> Option<Result<Verdict, DropReason>> {
        let plain = Plain::of(frame.head());
        let key = FlowKey::from_plain(&plain.tuple(), step.domain());
        let client = HopWord::new(frame.ingress, plain.source_station()).hop()?;
        let is_usual = self.may_open(frame, &key);
        let grant = if is_usual { self.grant_offered(&offer, &key) } else { None }?;
        let hop = self.generation.neighbors.word(grant.backend.next_hop);
        let exit = self.exits.get(hop.device())?;
        if hop == HopWord::NONE || u32::from(plain.total_length()) > exit.mtu {
            return None;
        }
        let place = (step.hash(), Some(self.flows.fresh_vacancy(step.hash())?));
        let (vacancy, lease) = match self.make_way(&grant, place, now) {
            Ok(way) => way,
            Err(reason) => return Some(Err(reason)),
        };
        let number = self.enter((&key, &grant), (vacancy, lease), client, now);
        if self.rewrite_first(number, key.protocol, frame).is_none() {
            return Some(Err(DropReason::Internal));
        }
        PlainMut::of(frame.head_mut()).set_stations(hop.0, exit.station);
        Some(Ok(Verdict::Forward(hop.device())))
    }

    /// Whether a packet is the usual one to open a flow, and this worker's, and its client may have
    /// its address.
    #[inline(always)]
    fn may_open(&self, frame: &Frame, key: &FlowKey) -> bool {
        let opens = match key.protocol {
            Protocol::Tcp => Glance::flags(Plain::of(frame.head()), Protocol::Tcp).opens(),
            Protocol::Udp => true,
        };
        opens
            && Glance::is_usual(frame, key.protocol)
            && key.client_port != 0
            && !key.client.is_nobodys()
            && (self.workers == 1 || key.owner(self.workers) == self.worker)
            && judge_source(&self.generation.snapshot, key.scope, key.client).is_ok()
    }

    /// What a client gets of an offer, if packets to its backend are of IPv4.
    #[inline(always)]
    fn grant_offered(&self, offer: &Offer, key: &FlowKey) -> Option<Grant> {
        let snapshot = &self.generation.snapshot;
        let endpoint = snapshot.endpoint(offer.endpoint)?;
        let rule = snapshot.service(endpoint.service)?.rule_at(offer.rule)?;
        let grant = self.grant_by((endpoint, offer.usage), rule, key)?;
        (grant.target.family() == Family::V4).then_some(grant)
    }

    /// Rewrites the first packet of a flow, and counts it.
    #[inline(always)]
    fn rewrite_first(
        &mut self,
        number: FlowIndex,
        protocol: Protocol,
        frame: &mut Frame,
    ) -> Option<()> {
        let bytes = Plain::of(frame.head()).total_length();
        let is_partial = frame.offload.checksum != Checksum::Complete;
        let rewrite = self.flows.get(number)?.plain_rewrite(Direction::Forward);
        rewrite.apply(frame.head_mut(), protocol, is_partial);
        if protocol == Protocol::Tcp {
            let packet = Glance::packet(frame, protocol);
            self.clamp_segments(number, frame, &packet);
        }
        self.tally(number, Direction::Forward, bytes.into());
        Some(())
    }
}
