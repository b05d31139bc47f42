//! The model's next hops: who is asked for, who has answered, and what waits for them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dataplane::device::Link;
use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::snapshot::Plan;
use dataplane::types::DeviceIndex;
use pnet_base::MacAddr;

use super::expect::with_id_of;
use super::form::{Mac, Resolution};
use super::peering::is_told;
use super::rules::{Expected, Generation, Key, Model, Worker};
use super::wanted::scope_of;
use crate::encode::{ArpShape, Image};
use crate::ndp::NdpShape;

/// Ticks after which a known next hop is asked for again.
const FRESH: u64 = 3_000;
/// Ticks between two requests for the same next hop.
const PATIENCE: u64 = 100;
/// Ticks after which a next hop that does not answer is forgotten.
const FORGOTTEN: u64 = 4_000;
/// Ticks that a packet waits, for a next hop or for its datagram's first fragment.
const WAIT: u64 = 200;

/// A packet of a flow that waits.
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) next_hop: (u16, IpAddr),
    pub(super) since: u64,
    pub(super) image: Image,
    /// Free, see [`super::expect::Translated`].
    pub(super) has_new_id: bool,
}

#[derive(Clone, Debug)]
struct Hop {
    asker: IpAddr,
    known: Option<(DeviceIndex, Mac)>,
    confirmed: u64,
    requested: Option<u64>,
    doubtful: bool,
}

/// Every next hop of a configuration, by network and address.
#[derive(Clone, Debug, Default)]
pub(super) struct Hops(BTreeMap<(u16, IpAddr), Hop>);

impl Hops {
    /// All unknown. Each is asked for in the name of the first service that needs it.
    pub(super) fn of(plan: &Plan) -> Hops {
        let mut hops = BTreeMap::new();
        for service in &plan.services {
            for backend in service.rules.iter().flat_map(|rule| &rule.backends) {
                let at = (service.scope.0, next_hop(plan, service.scope.0, *backend));
                let of_family = |nat_ip: &&IpAddr| nat_ip.is_ipv6() == backend.is_ipv6();
                let asker = *service.nat_ips.iter().find(of_family).expect("there is one");
                let unknown =
                    Hop { asker, known: None, confirmed: 0, requested: None, doubtful: false };
                hops.entry(at).or_insert(unknown);
            }
        }
        Hops(hops)
    }

    /// Those of a new configuration, with what is known of those whose device is the same.
    pub(super) fn next(&self, old: &Plan, plan: &Plan) -> Hops {
        let mut next = Hops::of(plan);
        let device = |plan: &Plan, at: DeviceIndex| plan.devices[at.slot()].clone();
        for (at, hop) in &mut next.0 {
            let Some(before) = self.0.get(at) else { continue };
            let same = |at| device(old, at).is_some() && device(old, at) == device(plan, at);
            if before.known.is_none_or(|(at, _)| same(at)) {
                *hop = Hop { asker: hop.asker, ..before.clone() };
            }
        }
        next
    }

    pub(super) fn lookup(&self, next_hop: (u16, IpAddr)) -> Option<(DeviceIndex, Mac)> {
        self.0.get(&next_hop)?.known
    }

    /// A device was opened or closed: who answered behind it is asked for again.
    pub(super) fn doubt(&mut self, changed: impl Fn(DeviceIndex) -> bool) {
        for hop in self.0.values_mut() {
            hop.doubtful |= hop.known.is_some_and(|(device, _)| changed(device));
        }
    }
}

/// A backend is its own next hop unless a route covers it; the longest prefix wins.
fn next_hop(plan: &Plan, scope: u16, backend: IpAddr) -> IpAddr {
    let routes = plan.scopes[usize::from(scope)].routes.iter();
    let covering = routes.filter(|route| route.prefix.contains(backend));
    let best = covering.max_by_key(|route| route.prefix.length());
    best.map_or(backend, |route| route.next_hop)
}

impl Generation {
    pub(super) fn next_hop(&self, scope: u16, backend: IpAddr) -> IpAddr {
        next_hop(&self.plan, scope, backend)
    }
}

impl Model {
    /// ARP and Neighbor Discovery: who tells where he is, is believed; whoever asks for adit is
    /// answered.
    pub(super) fn hear_resolution(
        &mut self,
        worker: usize,
        (ingress, scope, me): (DeviceIndex, u16, Mac),
        said: Resolution,
        not_for_us: DropReason,
    ) -> Result<Expected, DropReason> {
        let (now, generation) = (self.now, self.workers[worker].generation);
        let view = self.generations.get_mut(&generation).expect("it is in force");
        let told = said.told.and_then(|told| Some((view.hops.0.get_mut(&(scope, told.0))?, told)));
        let is_hop = told.is_some();
        if let Some((hop, (_, mac))) = told {
            hop.known = Some((ingress, mac));
            (hop.confirmed, hop.doubtful) = (now, false);
        }
        let question = said.question.filter(|(target, _)| is_told(&view.plan, scope, *target));
        if let Some((target, (asker, mac))) = question {
            let (own, asker) = ((target, MacAddr::from(me)), (asker, MacAddr::from(mac)));
            let image = match target.is_ipv6() {
                true => NdpShape::is_at(own, asker).encode(),
                false => ArpShape::is_at(own, asker).encode(),
            };
            return Ok(Expected { image: Some(image), ..Verdict::Reply(ingress).into() });
        }
        if is_hop { Ok(Verdict::Consume.into()) } else { Err(not_for_us) }
    }

    /// The devices of a network that a worker has open.
    pub(super) fn scope_links(&self, worker: usize, scope: u16) -> Vec<(DeviceIndex, Link)> {
        let plan = &self.view(worker).plan;
        let links = self.workers[worker].links.iter();
        let links = links.filter(|(device, _)| scope_of(plan, **device) == Some(scope));
        links.map(|(device, link)| (*device, *link)).collect()
    }

    /// Asks for a next hop on every device of its network, unless it is known well enough, was
    /// asked for just now, or cannot be asked for.
    pub(super) fn ask(&mut self, worker: usize, next_hop: (u16, IpAddr)) {
        let links = self.scope_links(worker, next_hop.0);
        let (now, generation) = (self.now, self.workers[worker].generation);
        let view = self.generations.get_mut(&generation).expect("it is in force");
        let Some(hop) = view.hops.0.get_mut(&next_hop) else { return };
        let silent = now - hop.confirmed;
        let is_fresh = hop.known.is_some() && silent < FRESH && !hop.doubtful;
        if links.is_empty() || is_fresh || hop.requested.is_some_and(|at| now - at < PATIENCE) {
            return;
        }
        // Only who was asked in vain is forgotten.
        if silent >= FORGOTTEN && hop.requested.is_some_and(|at| at > hop.confirmed) {
            hop.known = None;
        }
        hop.requested = Some(now);
        let asker = hop.asker;
        let request = |(device, link): (DeviceIndex, Link)| {
            let asker = (asker, MacAddr::from(link.mac.0));
            let question = match next_hop.1.is_ipv6() {
                true => NdpShape::who_has(next_hop.1, asker).encode(),
                false => ArpShape::who_has(next_hop.1, asker).encode(),
            };
            (device, question)
        };
        self.workers[worker].requests.extend(links.into_iter().map(request));
    }

    /// A client repeats its SYN: if the backend has not answered, it may be elsewhere by now.
    pub(super) fn suspect_backend(&mut self, worker: usize, key: &Key) {
        let flow = &self.flows[key];
        let (scope, backend) = (flow.provider, flow.choice.backend);
        if !flow.state.is_opening() {
            return;
        }
        let generation = self.workers[worker].generation;
        let view = self.generations.get_mut(&generation).expect("it is in force");
        let next_hop = (scope, view.next_hop(scope, backend));
        if let Some(hop) = view.hops.0.get_mut(&next_hop) {
            hop.doubtful = true;
        }
        self.ask(worker, next_hop);
    }

    /// Asks for all next hops, and gives up on packets that waited for too long.
    pub(super) fn look_after_hops(&mut self, worker: usize) {
        let all: Vec<_> = self.view(worker).hops.0.keys().copied().collect();
        for next_hop in all {
            self.ask(worker, next_hop);
        }
        let now = self.now;
        self.drop_held(worker, |held| now - held.since >= WAIT);
        self.drop_fragments(worker, |since| now - since >= WAIT);
    }

    /// How many packets wait, for next hops or first fragments.
    pub(super) fn count_waiting(&self, worker: usize) -> usize {
        let Worker { held, datagrams, .. } = &self.workers[worker];
        held.len() + datagrams.waiting()
    }

    /// Packets that waited in vain.
    pub(super) fn drop_held(&mut self, worker: usize, over: impl Fn(&Held) -> bool) {
        let worker = &mut self.workers[worker];
        let before = worker.held.len();
        worker.held.retain(|held| !over(held));
        let dropped = (before - worker.held.len()) as u64;
        worker.counters.dropped[DropReason::NeighborUnreachable.slot()] += dropped;
    }

    /// A packet has to wait, and can be looked at: adit has chosen its identification by now.
    pub(super) fn learn_id(&mut self, worker: usize, bytes: &[u8]) {
        let last = self.workers[worker].held.last_mut();
        if let Some(held) = last.filter(|held| held.has_new_id) {
            held.image = with_id_of(&held.image, bytes);
        }
    }

    /// The packets whose wait is over, in their order.
    pub(super) fn release(&mut self, worker: usize) -> Vec<(DeviceIndex, Image)> {
        let mut released = Vec::new();
        for held in std::mem::take(&mut self.workers[worker].held) {
            let hop = self.view(worker).hops.lookup(held.next_hop);
            let hop = hop.and_then(|(device, mac)| {
                Some((device, mac, self.workers[worker].links.get(&device)?.mac.0))
            });
            let Some((device, to, from)) = hop else {
                self.workers[worker].held.push(held);
                continue;
            };
            let mut image = held.image;
            image.bytes[..6].copy_from_slice(&to);
            image.bytes[6..12].copy_from_slice(&from);
            released.push((device, image));
        }
        released
    }

    /// A configuration is built from the last one; workers go on with theirs.
    pub(super) fn publish(&mut self, plan: Plan) {
        let (&number, last) = self.generations.last_key_value().expect("there is one");
        let hops = last.hops.next(&last.plan, &plan);
        self.generations.insert(number + 1, Generation { plan, hops });
    }

    /// A worker works with the last configuration from now on.
    pub(super) fn adopt(&mut self, worker: usize) {
        let (&number, last) = self.generations.iter_mut().next_back().expect("there is one");
        let adopter = &mut self.workers[worker];
        adopter.generation = number;
        adopter.sweeps = true;
        adopter.counters.generation = u64::from(number);
        last.hops.doubt(|device| !adopter.links.contains_key(&device));
        if worker == 0 {
            self.announcements.restart();
        }
        self.drop_held(worker, |_| true);
        self.drop_fragments(worker, |_| true);
        let oldest = self.workers.iter().map(|worker| worker.generation).min().unwrap_or(0);
        self.generations.retain(|number, _| *number >= oldest);
    }

    /// A device is open, or not.
    pub(super) fn set_link(&mut self, device: DeviceIndex, link: Option<Link>) {
        if let Some(link) = link {
            self.announcements.open(device, link);
        }
        for worker in &mut self.workers {
            let view = self.generations.get_mut(&worker.generation).expect("it is in force");
            view.hops.doubt(|changed| changed == device);
            match link {
                Some(link) => worker.links.insert(device, link),
                None => worker.links.remove(&device),
            };
        }
    }
}
