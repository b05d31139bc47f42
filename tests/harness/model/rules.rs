//! The model: what adit must do with a frame, by the configuration and what was before.
//!
//! Maps in plain order, times in ticks, no hash, no budget, no batch. Where adit is free to choose
//! (which worker owns a key, which backend, which NAT IP and port, which expired flow makes room),
//! [`super::choices`] judges and follows; what a configuration wants is in [`super::wanted`].
//!
//! To add a rule, put its line where a packet meets it: `forward`, `grant` and `back` read from top
//! to bottom, and the first that objects gives the reason.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use dataplane::device::Link;
use dataplane::drop_reason::DropReason;
use dataplane::engine::{Arrival, Outcome, Verdict};
use dataplane::limits::{HELD_FRAME_BYTES_MAX, HELD_FRAMES_MAX, HELD_FRAMES_PER_NEIGHBOR_MAX};
use dataplane::record::{EndReason, FlowRecord};
use dataplane::snapshot::{EndpointPlan, Fragments, Plan, RulePlan};
use dataplane::stats::Counters;
use dataplane::types::{DeviceIndex, Direction, LinkId, Timeouts, WorkerId};

use super::accounts::Carrier;
use super::announce::Announcements;
use super::choices::{Choice, SQUATTER, Seen};
use super::echo::Budgets;
use super::ending::{Rest, data};
use super::expect::{Socket, Translated, translate};
use super::form::{self, Form, Mac, Packet};
use super::fragment::{DatagramKey, Datagrams, opening};
use super::hops::{Held, Hops};
use super::insertion::{Fate, Lead};
use super::peering::reached;
use super::state::State;
use super::told::unwanted;
use super::unanswered::Note;
use super::wanted::{
    Local, Takers, answers_probe, grant, is_pool, rule_for, scope_of, speaks_ipv6, wants,
};
use crate::encode::{Image, TCP, UDP, flags};

/// Scope, protocol, client and endpoint: what a flow is known by on its client's side.
pub(super) type Key = (u16, u8, Socket, Socket);
/// Scope, NAT IP, target and protocol: whose ports are leased.
pub(super) type PoolKey = (u16, IpAddr, IpAddr, u8);

/// Expired flows are collected when the next boundary of this many ticks has passed, or before.
pub(super) const COLLECT_TICKS: u64 = 8;

#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) link: LinkId,
    pub(super) provider: u16,
    pub(super) protocol: u8,
    pub(super) choice: Choice,
    pub(super) state: State,
    pub(super) last_seen: u64,
    pub(super) timeout: u64,
    /// Of its record: adit chose it.
    pub(super) number: u32,
    pub(super) worker: usize,
    pub(super) client: Option<(DeviceIndex, Mac)>,
    /// 0 if adit has ended it.
    pub(super) judged: u32,
    pub(super) lead: Lead,
    pub(super) began: u64,
    /// Packets and bytes, by direction.
    pub(super) carried: [[u64; 2]; 2],
}

impl Flow {
    pub(super) fn is_expired(&self, now: u64) -> bool {
        now >= self.deadline()
    }

    pub(super) fn deadline(&self) -> u64 {
        self.last_seen + self.timeout
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        now >= self.deadline().next_multiple_of(COLLECT_TICKS)
    }
}

/// One worker's part.
pub(super) struct Worker {
    pub(super) generation: u32,
    pub(super) links: BTreeMap<DeviceIndex, Link>,
    pub(super) held: Vec<Held>,
    /// Requests that it owes, in no order.
    pub(super) requests: Vec<(DeviceIndex, Image)>,
    pub(super) counters: Counters,
    /// Records of flows whose sides are to be asked.
    pub(super) probes: Vec<u32>,
    /// Flows whose headers are to be sent.
    pub(super) headers: Vec<Key>,
    /// Flows that nobody had answered when they were opened.
    pub(super) notes: VecDeque<Note>,
    /// When expired flows were last collected.
    pub(super) collected: u64,
    /// What was told of flows.
    pub(super) told: Vec<FlowRecord>,
    /// Whether a new configuration has yet to judge the flows that no packet brings before it.
    pub(super) sweeps: bool,
    /// Echo requests that it may still answer, by network.
    pub(super) echoes: Budgets,
    /// Errors of its own that it may still send, by network.
    pub(super) problems: Budgets,
    pub(super) datagrams: Datagrams,
}

/// A configuration and the next hops that are known under it.
pub(super) struct Generation {
    pub(super) plan: Plan,
    pub(super) hops: Hops,
}

/// What a frame must become.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) verdict: Verdict,
    /// As it must be afterwards, if that matters.
    pub(super) image: Option<Image>,
    /// Where a zero checksum may be spelled either way.
    pub(super) zero_at: Option<usize>,
    /// Free, see [`super::expect::Translated`].
    pub(super) has_new_id: bool,
    /// The datagram that it is the first fragment of, if others will follow it.
    pub(super) begins: Option<DatagramKey>,
}

impl From<Verdict> for Expected {
    fn from(verdict: Verdict) -> Expected {
        Expected { verdict, image: None, zero_at: None, has_new_id: false, begins: None }
    }
}

/// See the module's documentation.
pub(super) struct Model {
    /// In ticks.
    pub(super) now: u64,
    pub(super) flows_max: usize,
    pub(super) workers: Vec<Worker>,
    pub(super) generations: BTreeMap<u32, Generation>,
    pub(super) flows: BTreeMap<Key, Flow>,
    pub(super) leases: BTreeMap<(PoolKey, u16), Key>,
    /// Ports whose flow is over.
    pub(super) resting: BTreeMap<(PoolKey, u16), Rest>,
    /// Pools that somebody else holds but for these ports.
    pub(super) squatted: BTreeMap<PoolKey, BTreeSet<u16>>,
    /// What was chosen before, to be chosen again.
    pub(super) owners: BTreeMap<Key, usize>,
    pub(super) backends: BTreeMap<(LinkId, Key), (Takers, IpAddr)>,
    /// The last choice for each key, and the provider's network: where answers come from.
    pub(super) translations: BTreeMap<Key, (u16, Choice)>,
    /// What connections carried: packets and bytes, by direction.
    pub(super) carried: BTreeMap<Carrier, [[u64; 2]; 2]>,
    pub(super) announcements: Announcements,
    /// When each identification was last chosen between two addresses.
    pub(super) under_way: BTreeMap<((IpAddr, IpAddr), u32), u64>,
    /// Flows that were opened, by whether their clients' and their backends' addresses are of IPv6.
    pub(super) opened: [[u64; 2]; 2],
    /// ICMP errors that were carried on, by whether they came and left over IPv6.
    pub(super) reported: [[u64; 2]; 2],
    /// Later fragments that followed their first one, by whether they came and left over IPv6.
    pub(super) followed: [[u64; 2]; 2],
    /// Echo requests that were answered, over IPv4 and IPv6.
    pub(super) echoed: [u64; 2],
    /// ICMP errors of adit's own: too big, time exceeded, prohibited; over IPv4 and IPv6.
    pub(super) problems: [[u64; 2]; 3],
    /// Choices that were not allowed.
    pub(super) complaints: Vec<String>,
}

impl Flow {
    pub(super) fn pool(&self) -> PoolKey {
        (self.provider, self.choice.nat.0, self.choice.target.0, self.protocol)
    }
}

impl Model {
    pub(super) fn new(workers: usize, flows_max: usize, now: u64, plan: Plan) -> Model {
        let worker = |_| Worker {
            generation: 1,
            links: BTreeMap::new(),
            held: Vec::new(),
            requests: Vec::new(),
            probes: Vec::new(),
            headers: Vec::new(),
            notes: VecDeque::new(),
            counters: Counters { generation: 1, ..Counters::default() },
            collected: now,
            told: Vec::new(),
            sweeps: false,
            echoes: Budgets::default(),
            problems: Budgets::default(),
            datagrams: Datagrams::default(),
        };
        let first = Generation { hops: Hops::of(&plan), plan };
        Model {
            now,
            flows_max,
            workers: (0..workers).map(worker).collect(),
            generations: BTreeMap::from([(1, first)]),
            flows: BTreeMap::new(),
            leases: BTreeMap::new(),
            resting: BTreeMap::new(),
            squatted: BTreeMap::new(),
            owners: BTreeMap::new(),
            backends: BTreeMap::new(),
            translations: BTreeMap::new(),
            carried: BTreeMap::new(),
            announcements: Announcements::default(),
            under_way: BTreeMap::new(),
            opened: [[0; 2]; 2],
            reported: [[0; 2]; 2],
            followed: [[0; 2]; 2],
            problems: [[0; 2]; 3],
            echoed: [0; 2],
            complaints: Vec::new(),
        }
    }

    pub(super) fn view(&self, worker: usize) -> &Generation {
        &self.generations[&self.workers[worker].generation]
    }

    pub(super) fn plan(&self, worker: usize) -> &Plan {
        &self.view(worker).plan
    }

    pub(super) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// A frame arrives at a worker.
    pub(super) fn arrive(
        &mut self,
        worker: usize,
        arrival: Arrival,
        (ingress, input): (DeviceIndex, &Image),
        seen: &dyn Seen,
    ) -> Expected {
        let expected = self
            .judge(worker, arrival, (ingress, input), seen)
            .unwrap_or_else(|reason| Verdict::Drop(reason).into());
        if let Verdict::Drop(reason) = expected.verdict {
            self.tell_refused(worker, reason, (ingress, input));
            self.tell_problem(worker, reason, (ingress, input));
        }
        let counters = &mut self.workers[worker].counters;
        match arrival {
            Arrival::Peer => counters.taken_over += 1,
            Arrival::Device => {
                counters.received += 1;
                counters.received_bytes += input.bytes.len() as u64;
            }
        }
        match expected.verdict {
            Verdict::Consume | Verdict::TakeUp | Verdict::Reply(_) => counters.consumed += 1,
            Verdict::Drop(reason) => counters.dropped[reason.slot()] += 1,
            Verdict::Forward(_) | Verdict::Hold | Verdict::HandOver(_) => {}
        }
        expected
    }

    fn judge(
        &mut self,
        worker: usize,
        arrival: Arrival,
        (ingress, input): (DeviceIndex, &Image),
        seen: &dyn Seen,
    ) -> Result<Expected, DropReason> {
        let scope = scope_of(self.plan(worker), ingress).ok_or(DropReason::DeviceDown)?;
        let me = self.workers[worker].links.get(&ingress).ok_or(DropReason::DeviceDown)?.mac.0;
        let place = (ingress, scope, me);
        let form = form::judge(input, me, speaks_ipv6(self.plan(worker), scope));
        if matches!(form, Err(DropReason::IcmpUnsupported)) {
            return self.hear_icmp((worker, arrival), (ingress, scope), input, seen);
        }
        if let Err(unwanted @ (DropReason::Ipv4Fragment | DropReason::Ipv6Fragment)) = form {
            let place = (ingress, scope);
            return self.hear_fragment((worker, arrival), place, (input, unwanted), seen);
        }
        let packet = match form? {
            Form::Arp => {
                let said = form::arp(&input.bytes)?;
                return self.hear_resolution(worker, place, said, DropReason::ArpNotForUs);
            }
            Form::Ndp => {
                let said = form::ndp(&input.bytes)?;
                return self.hear_resolution(worker, place, said, DropReason::NdpNotForUs);
            }
            Form::Packet(packet) => packet,
        };
        match reached(self.plan(worker), scope, packet.destination.0)? {
            Local::Endpoint(&endpoint) => {
                let key = (scope, packet.protocol, packet.source, packet.destination);
                let owner = self.owner(worker, key, seen.verdict());
                if owner != worker {
                    return Ok(hand_over(owner));
                }
                self.forward((worker, ingress), key, (&packet, input), (&endpoint, seen))
            }
            Local::ProbeSource | Local::NatIp
                if answers_probe(self.plan(worker), scope, &packet) =>
            {
                Ok(Verdict::TakeUp.into())
            }
            Local::ProbeSource => Err(DropReason::UnsolicitedFromProvider),
            Local::NatIp => self.back((worker, arrival), scope, (&packet, input), seen),
        }
    }

    pub(super) fn forward(
        &mut self,
        (worker, ingress): (usize, DeviceIndex),
        key: Key,
        (packet, input): (&Packet, &Image),
        (endpoint, seen): (&EndpointPlan, &dyn Seen),
    ) -> Result<Expected, DropReason> {
        if let Some(flow) = self.flows.get(&key) {
            let is_expired = flow.is_expired(self.now);
            match (is_expired || flow.state.is_over()) && packet.opens() {
                true => self.close(&key, self.silence(&key)),
                false if is_expired => self.end(&key, self.silence(&key)),
                false => match self.revalidate(&key, seen) {
                    Ok(()) | Err(DropReason::FlowMoved) => {}
                    Err(reason) => return Err(reason),
                },
            }
            if self.flows.get(&key).is_some_and(|flow| flow.state.is_resetting()) {
                return Err(DropReason::ConnectionReset);
            }
        }
        let is_new = !self.flows.contains_key(&key);
        if is_new {
            self.admit(worker, key, packet, (endpoint, seen))?;
        } else if packet.opens() {
            self.suspect_backend(worker, &key);
        }
        let flow = self.flows.get_mut(&key).ok_or(DropReason::Internal)?;
        flow.client = Some((ingress, packet.station));
        let (choice, provider) = (flow.choice, flow.provider);
        let next_hop = (provider, self.view(worker).next_hop(provider, choice.backend));
        let hop = self.view(worker).hops.lookup(next_hop);
        let wire_bytes = judge_crossing(packet, choice.target.0)?;
        match hop {
            Some((device, _)) => {
                self.judge_egress(worker, device, wire_bytes)?;
            }
            // It must fit wherever its next hop may turn out to be.
            None => {
                let links = self.scope_links(worker, provider);
                if links.iter().any(|(_, link)| wire_bytes > link.mtu as usize) {
                    return Err(DropReason::TooBig);
                }
            }
        }
        let fate = self.lead_forward(&key, packet, input)?;
        // The packet that opens a flow says nothing about it that is not known.
        if !is_new {
            self.touch(&key, Direction::Forward, packet);
        }
        let Fate::Passes(edits) = fate else { return Ok(Verdict::Consume.into()) };
        let from = hop.map_or([0; 6], |(device, _)| self.workers[worker].links[&device].mac.0);
        let stations = (from, hop.map_or([0; 6], |(_, mac)| mac));
        let mut translated =
            translate(input, packet, (choice.nat, choice.target), stations, &edits);
        translated.has_new_id |= self.renumbers(&key, &translated.image);
        let expected = match hop {
            Some((device, _)) => sent(device, translated, packet),
            None => self.wait_for(&key, next_hop, translated)?,
        };
        self.carry(&key, Direction::Forward, input);
        Ok(expected)
    }

    /// A client's packet that belongs to no flow opens one, or may not.
    fn admit(
        &mut self,
        worker: usize,
        key: Key,
        packet: &Packet,
        (endpoint, seen): (&EndpointPlan, &dyn Seen),
    ) -> Result<(), DropReason> {
        let (rule, service) = grant(self.plan(worker), &key, packet, endpoint)?;
        let newcomer = self.newcomer(worker, endpoint.link)?;
        self.make_room(worker, newcomer, seen)?;
        let at = endpoint.service.slot();
        let way = (worker, newcomer, at);
        let (chosen, number) = self.choose(way, key, (&rule, &service), seen)?;
        let pool = (service.scope.0, chosen.nat.0, chosen.target.0, key.1);
        self.leases.insert((pool, chosen.nat.1), key);
        self.translations.insert(key, (service.scope.0, chosen));
        let families = [key.2.0, chosen.target.0].map(|address| usize::from(address.is_ipv6()));
        self.opened[families[0]][families[1]] += 1;
        let state = State::opened(key.1);
        let flow = Flow {
            link: endpoint.link,
            provider: service.scope.0,
            protocol: key.1,
            choice: chosen,
            state,
            last_seen: self.now,
            timeout: state.timeout(&rule.timeouts),
            number,
            worker,
            client: None,
            judged: self.workers[worker].generation,
            lead: self.lead(worker, endpoint.link, key.1),
            began: self.now,
            carried: [[0; 2]; 2],
        };
        self.flows.insert(key, flow);
        self.workers[worker].counters.flows += 1;
        self.workers[worker].counters.flows_opened += 1;
        self.tell_begin(&key);
        self.note(worker, &key);
        Ok(())
    }

    /// Whether a frame may open a flow when its turn comes.
    pub(super) fn may_open(&self, worker: usize, (ingress, input): (DeviceIndex, &Image)) -> bool {
        let plan = self.plan(worker);
        let (scope, link) = (scope_of(plan, ingress), self.workers[worker].links.get(&ingress));
        let (Some(scope), Some(link)) = (scope, link) else { return false };
        let form = form::judge(input, link.mac.0, speaks_ipv6(plan, scope));
        let packet = match form {
            Ok(Form::Packet(packet)) => packet,
            Err(DropReason::Ipv4Fragment | DropReason::Ipv6Fragment) => {
                let Some(packet) = opening(input, scope) else { return false };
                packet
            }
            _ => return false,
        };
        let key = (scope, packet.protocol, packet.source, packet.destination);
        let generation = self.workers[worker].generation;
        let passes = |flow: &Flow| flow.judged == generation && !flow.is_expired(self.now);
        let is_first = || packet.protocol == UDP && !self.flows.get(&key).is_some_and(passes);
        packet.opens() || is_first()
    }

    pub(super) fn back(
        &mut self,
        (worker, arrival): (usize, Arrival),
        scope: u16,
        (packet, input): (&Packet, &Image),
        seen: &dyn Seen,
    ) -> Result<Expected, DropReason> {
        let (nat, target) = (packet.destination, packet.source);
        let pool = (scope, nat.0, target.0, packet.protocol);
        let nobody = DropReason::UnsolicitedFromProvider;
        if !is_pool(self.plan(worker), pool) || nat.1 < 1024 {
            return Err(nobody);
        }
        let key = self.leases.get(&(pool, nat.1)).copied();
        let rest = self.resting.get(&(pool, nat.1)).copied();
        let owner = match key {
            Some(key) => self.flows[&key].worker,
            None if rest.is_some() => rest.map_or(0, |rest| rest.worker),
            None if !self.is_free(pool, nat.1) => usize::from(SQUATTER.0),
            None => return Err(nobody),
        };
        if owner != worker {
            return if arrival == Arrival::Device { Ok(hand_over(owner)) } else { Err(nobody) };
        }
        if rest.is_some_and(|rest| self.now >= rest.until) {
            self.wake(&(pool, nat.1));
            return Err(nobody);
        }
        if let Some(key) = key.filter(|key| self.flows[key].is_expired(self.now)) {
            self.end(&key, self.silence(&key));
        }
        let key = key.filter(|key| self.flows.contains_key(key));
        let rest = self.resting.get(&(pool, nat.1));
        let expected = key.map(|key| self.flows[&key].choice.target);
        let expected = expected.or(rest.map(|rest| rest.target)).ok_or(nobody)?;
        if expected != target {
            return Err(DropReason::BackendMismatch);
        }
        let key = key.ok_or(nobody)?;
        self.revalidate(&key, seen)?;
        let is_plain = !packet.has(flags::SYN) && !packet.has(flags::RST);
        // What follows in other fragments is data too.
        let brings_data = || data(packet, input) > 0 || packet.piece.is_some();
        if self.flows[&key].state.is_opening() && is_plain && brings_data() {
            return Err(DropReason::TcpUnanswered);
        }
        let (device, mac) = self.flows[&key].client.ok_or(DropReason::ClientUnknown)?;
        let wire_bytes = judge_crossing(packet, key.2.0)?;
        let from = self.judge_egress(worker, device, wire_bytes)?;
        self.touch(&key, Direction::Return, packet);
        let edits = self.lead_back(&key, packet, input);
        self.carry(&key, Direction::Return, input);
        let (_, _, client, endpoint) = key;
        let mut translated = translate(input, packet, (endpoint, client), (from, mac), &edits);
        translated.has_new_id |= self.renumbers(&key, &translated.image);
        Ok(sent(device, translated, packet))
    }

    /// Whether what leaves has an identification of adit's own: what may become fragments where a
    /// service cares for those.
    fn renumbers(&self, key: &Key, image: &Image) -> bool {
        let flow = &self.flows[key];
        let plan = self.plan(flow.worker);
        let endpoint = plan.endpoints.iter().find(|endpoint| endpoint.link == flow.link);
        let service = endpoint.and_then(|endpoint| plan.services.get(endpoint.service.slot()));
        let cares = service.is_some_and(|it| it.treatment.fragments == Fragments::Reassemble);
        cares && image.bytes[14] >> 4 == 4 && image.bytes[20] & 0x40 == 0
    }

    /// The station that the packet leaves from, if it may leave.
    fn judge_egress(
        &self,
        worker: usize,
        device: DeviceIndex,
        wire_bytes: usize,
    ) -> Result<Mac, DropReason> {
        let link = self.workers[worker].links.get(&device).ok_or(DropReason::DeviceDown)?;
        let fits = wire_bytes <= link.mtu as usize;
        if fits { Ok(link.mac.0) } else { Err(DropReason::TooBig) }
    }

    /// Resets that change nothing keep nothing alive.
    fn touch(&mut self, key: &Key, direction: Direction, packet: &Packet) {
        let (now, timeouts) = (self.now, self.timeouts(key));
        let flow = self.flows.get_mut(key).expect("a flow that is touched lives");
        let state = flow.state.after(direction, packet);
        if state != flow.state || !packet.has(flags::RST) {
            flow.last_seen = now;
        }
        flow.state = state;
        flow.timeout = state.timeout(&timeouts);
    }

    fn timeouts(&self, key: &Key) -> Timeouts {
        self.rule_of(key).timeouts
    }

    /// The rule of a flow that the configuration wants.
    pub(super) fn rule_of(&self, key: &Key) -> RulePlan {
        let flow = &self.flows[key];
        let plan = self.plan(flow.worker);
        let endpoint = plan.endpoints.iter().find(|endpoint| endpoint.link == flow.link);
        let service = &plan.services[endpoint.expect("it was judged").service.slot()];
        rule_for(service, key).expect("it was judged")
    }

    /// Under a new configuration a flow goes on exactly if it could be opened like this.
    pub(super) fn revalidate(&mut self, key: &Key, seen: &dyn Seen) -> Result<(), DropReason> {
        let flow = &self.flows[key];
        let worker = flow.worker;
        let generation = self.workers[worker].generation;
        if flow.judged == generation {
            return Ok(());
        }
        if flow.state.is_resetting() {
            return Err(DropReason::ConnectionReset);
        }
        if let Err(reason) = wants(self.plan(worker), key, flow) {
            self.workers[worker].counters.flows_revoked += 1;
            match reason {
                DropReason::NatIpRemoved => self.remove(key, unwanted(reason)),
                _ => self.end(key, unwanted(reason)),
            }
            return Err(reason);
        }
        if self.moves(key, seen) {
            self.workers[worker].counters.flows_moved += 1;
            self.close(key, EndReason::Moved);
            return Err(DropReason::FlowMoved);
        }
        let timeouts = self.timeouts(key);
        let device = self.flows[key].client.map(|(device, _)| device);
        let stays = device.and_then(|device| scope_of(self.plan(worker), device)) == Some(key.0);
        let flow = self.flows.get_mut(key).expect("it was looked at above");
        flow.judged = generation;
        flow.timeout = flow.state.timeout(&timeouts);
        flow.client = flow.client.filter(|_| stays);
        Ok(())
    }

    /// A flow goes, and its port is free.
    pub(super) fn remove(&mut self, key: &Key, why: EndReason) {
        self.tell_end(key, why);
        let flow = self.flows.remove(key).expect("a flow that is removed lives");
        self.leases.remove(&(flow.pool(), flow.choice.nat.1));
        self.workers[flow.worker].counters.flows -= 1;
        self.workers[flow.worker].counters.flows_closed += 1;
        // Its packets would leave under a lease that is not its own any more.
        self.drop_held(flow.worker, |held| held.key == *key);
    }

    /// A packet waits until its next hop is known, if there is room.
    pub(super) fn wait_for(
        &mut self,
        key: &Key,
        next_hop: (u16, IpAddr),
        Translated { image, has_new_id, .. }: Translated,
    ) -> Result<Expected, DropReason> {
        let worker = self.flows[key].worker;
        self.ask(worker, next_hop);
        let Worker { held, .. } = &mut self.workers[worker];
        let same = held.iter().filter(|held| held.next_hop == next_hop).count();
        let fits = image.bytes.len() <= HELD_FRAME_BYTES_MAX;
        if !fits || same >= HELD_FRAMES_PER_NEIGHBOR_MAX || held.len() >= HELD_FRAMES_MAX {
            return Err(DropReason::NeighborPending);
        }
        held.push(Held { key: *key, next_hop, since: self.now, image, has_new_id });
        Ok(Expected { has_new_id, ..Verdict::Hold.into() })
    }

    /// Time was noticed: flows and waiting packets whose time is over go, flows that the
    /// configuration has not judged yet are judged, next hops are asked for.
    pub(super) fn advance(&mut self, worker: usize, seen: &dyn Seen) {
        self.collect(worker, seen);
        let is_new = std::mem::take(&mut self.workers[worker].sweeps);
        let keys = self.keys(|flow| is_new && flow.worker == worker);
        for key in keys {
            match self.flows[&key].is_expired(self.now) {
                true => self.end(&key, self.silence(&key)),
                false => drop(self.revalidate(&key, seen)),
            }
        }
        self.collect(worker, seen);
        self.repeat_headers(worker);
        self.look_after_hops(worker);
        if worker == 0 {
            self.announcements.advance();
        }
    }

    /// Free: whether a flow is collected as soon as it has expired, or at the next boundary.
    fn collect(&mut self, worker: usize, seen: &dyn Seen) {
        let now = self.now;
        for key in self.keys(|flow| flow.worker == worker && flow.is_expired(now)) {
            if self.flows[&key].is_due(now) || self.is_gone(&key, seen) {
                self.end(&key, self.silence(&key));
            }
        }
        self.collect_resting(worker, seen);
        self.workers[worker].collected = now;
    }

    fn keys(&self, wanted: impl Fn(&Flow) -> bool) -> Vec<Key> {
        self.flows.iter().filter(|(_, flow)| wanted(flow)).map(|(key, _)| *key).collect()
    }

    /// What became of frames that were to be sent.
    pub(super) fn settle(&mut self, worker: usize, outcome: Outcome) {
        let counters = &mut self.workers[worker].counters;
        match outcome {
            Outcome::Forwarded(frames, bytes) => {
                counters.forwarded += frames as u64;
                counters.forwarded_bytes += bytes as u64;
            }
            Outcome::Replied(frames) => counters.replied += frames as u64,
            Outcome::Originated(frames) => counters.originated += frames as u64,
            Outcome::HandedOver(frames) => counters.handed_over += frames as u64,
            Outcome::RecordsLost(records) => counters.records_lost += records as u64,
            Outcome::Dropped(reason, frames) => counters.dropped[reason.slot()] += frames as u64,
        }
    }
}

pub(super) fn hand_over(owner: usize) -> Expected {
    Verdict::HandOver(WorkerId(u8::try_from(owner).unwrap_or(u8::MAX))).into()
}

fn sent(device: DeviceIndex, translated: Translated, packet: &Packet) -> Expected {
    let Translated { image, transport_at, has_new_id } = translated;
    let field = if packet.protocol == TCP { 16 } else { 6 };
    let loose = packet.protocol == TCP || packet.partial;
    let zero_at = loose.then_some(transport_at + field);
    let verdict = Verdict::Forward(device);
    Expected { image: Some(image), zero_at, has_new_id, ..verdict.into() }
}

/// Bytes of a packet as it leaves towards an address, if it can be of that one's family.
pub(super) fn judge_crossing(packet: &Packet, to: IpAddr) -> Result<usize, DropReason> {
    let crosses = packet.is_ipv6() != to.is_ipv6();
    if let Some(reason) = packet.stays.filter(|_| crosses) {
        return Err(reason);
    }
    // A datagram of IPv4 in fragments has to fit, too, when it is put together.
    let piece = packet.piece.filter(|_| !to.is_ipv6());
    let before = piece.map_or(0, |piece| piece.start);
    let segment = before + packet.end - packet.transport_at;
    if crosses && segment + form::header_bytes(to.is_ipv6()) > usize::from(u16::MAX) {
        return Err(DropReason::TooBig);
    }
    Ok(packet.wire_bytes_as(to.is_ipv6()))
}
