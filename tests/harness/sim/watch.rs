//! The checkers of the simulated world: each frame that adit takes or sends is judged by what the
//! people who configured it wanted at that moment, and each counter by what really happened.
//!
//! Every frame that arrives gets a number, so that what leaves names what it was (`mark`). I1, I3,
//! I4 and I11 are judged in [`Watch::forward`] and [`Watch::back`], I5 and I6 by [`crate::check`],
//! I8 and I9 in [`Watch::account`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use control::state::ConnectionState;
use dataplane::drop_reason::DropReason;
use dataplane::engine::{ADVANCE_STEPS, Engine};
use dataplane::limits::{BATCH_FRAMES_MAX, HELD_FRAMES_MAX};
use dataplane::record::{Count, Traffic};
use dataplane::types::AccountIndex;
use pnet_base::MacAddr;

use super::agenda::{Nanos, SECOND};
use super::intent::{Intent, Service, TCP_PORTS, UDP_PORTS};
use super::nic::{Deed, Fate};
use super::pattern::tenant_of;
use super::{header, mark};
use crate::check::Checker;
use crate::encode::{Image, TCP, flags};
use crate::observe::{Observed, Transport, observe};

/// Bytes of an Ethernet header.
const ETHERNET: u64 = 14;

/// Frames that are remembered: more than can be on their way inside adit.
const ARRIVALS: usize = 16_384;

/// Stations that an address may have been heard from, lately.
const STATIONS: usize = 3;

type Socket = (IpAddr, u16);

/// A frame that arrived at adit.
struct Arrival {
    network: usize,
    /// As it was before it got its number.
    image: Image,
    is_intact: bool,
    /// Whether a frame left that names it.
    has_left: bool,
}

/// A flow as the backend sees it: network, NAT IP, backend, protocol.
type Outside = (usize, Socket, Socket, u8);

/// A flow as the client sees it: network, client, endpoint, protocol.
type Inside = (usize, Socket, Socket, u8);

/// What a worker did, as its devices know it.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    received: u64,
    sent: u64,
    full: u64,
    rejected: u64,
    closed: u64,
    /// Packets that were translated, whatever their device said, by direction.
    carried: [Count; 2],
    /// The highest slot of an account so far.
    slots: u16,
}

/// When a flow was last used, and under which configuration.
struct Use {
    outside: Outside,
    /// Whether an answer passed since: a flow without may have given way to others, and be another
    /// that found the same port.
    is_answered: bool,
    at: Nanos,
    generation: u32,
}

impl Use {
    /// Whether a flow of datagrams was used so lately that its time cannot be over.
    fn lives(&self, moment: &Moment<'_>, service: &Service) -> bool {
        // It may have been sent a little later than the flow heard of it.
        let timeout = service.timeouts[3].saturating_sub(3) * SECOND;
        moment.now - self.at < timeout
    }
}

/// See the module's documentation.
pub(super) struct Watch {
    checker: Checker,
    arrivals: VecDeque<Arrival>,
    /// The number of the first of them.
    first: u64,
    insides: BTreeMap<Outside, Inside>,
    /// Who had a lease earlier in this instant. Packets are seen device by device, not in the order
    /// in which the engine decided about them.
    earlier: BTreeSet<(Nanos, Outside, Inside)>,
    outsides: BTreeMap<Inside, Use>,
    /// Flows for which a SYN came, whether or not it passed.
    opened: BTreeSet<Inside>,
    /// Where hosts were heard of: in ARP and NDP under protocol and port 0, clients by each of
    /// their ports.
    stations: BTreeMap<(usize, u8, Socket), Vec<MacAddr>>,
    /// adit's own, by network.
    own: Vec<MacAddr>,
    tallies: Vec<Tally>,
    /// Packets and bytes that adit forwarded.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Super-packets among them.
    pub(super) merged: u64,
}

/// What is in force while a worker turns.
pub(super) struct Moment<'a> {
    pub(super) now: Nanos,
    pub(super) worker: usize,
    pub(super) intent: &'a Intent,
    pub(super) generation: u32,
}

impl Watch {
    pub(super) fn new(seed: u64, own: Vec<MacAddr>, workers: u8) -> Watch {
        Watch {
            checker: Checker::new(seed),
            arrivals: VecDeque::new(),
            first: 0,
            insides: BTreeMap::new(),
            earlier: BTreeSet::new(),
            outsides: BTreeMap::new(),
            opened: BTreeSet::new(),
            stations: BTreeMap::new(),
            own,
            tallies: vec![Tally::default(); usize::from(workers)],
            packets: 0,
            bytes: 0,
            merged: 0,
        }
    }

    /// A frame is about to arrive at adit: it gets its number.
    pub(super) fn number(&mut self, network: usize, mut image: Image, is_intact: bool) -> Image {
        let number = self.first + self.arrivals.len() as u64;
        let arrival = Arrival { network, image: image.clone(), is_intact, has_left: false };
        self.arrivals.push_back(arrival);
        mark::write(&mut image.bytes, number);
        if self.arrivals.len() > ARRIVALS {
            self.arrivals.pop_front();
            self.first += 1;
        }
        image
    }

    /// A frame that arrived and has its number, as it was before, if nothing happened to it on the
    /// way.
    pub(super) fn intact(&mut self, numbered: &Image) -> Option<Image> {
        let arrival = self.arrival(mark::behind(&numbered.bytes));
        arrival.is_intact.then(|| arrival.image.clone())
    }

    /// A frame leaves the last checker: packets lose their numbers.
    pub(super) fn strip(bytes: &mut Vec<u8>) {
        if let Observed::Transport(seen) = observe(bytes) {
            bytes.truncate(seen.end);
        }
    }

    fn arrival(&mut self, number: u64) -> &mut Arrival {
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let arrival = at.and_then(|at| self.arrivals.get_mut(at));
        arrival.expect("I5: what leaves once came, and kept its number")
    }

    /// A worker took a frame from a device or wanted one sent.
    pub(super) fn deed(&mut self, moment: &Moment<'_>, network: usize, deed: &Deed) {
        match deed {
            Deed::Received(image) => {
                self.tallies[moment.worker].received += 1;
                self.hear(moment, network, &image.bytes);
            }
            Deed::Sent(image, fate) => {
                let observed = observe(&image.bytes);
                let number = match &observed {
                    Observed::Transport(seen) => mark::within(&image.bytes, seen, self.first),
                    _ => None,
                };
                let is_packet = number.is_some();
                let tally = &mut self.tallies[moment.worker];
                tally.sent += u64::from(*fate == Fate::Taken);
                tally.full += u64::from(*fate == Fate::Full && is_packet);
                tally.rejected += u64::from(*fate == Fate::Rejected && is_packet);
                match (observed, number) {
                    (Observed::Transport(output), Some(number)) => {
                        self.passage(moment, network, (image, number), &output);
                    }
                    (Observed::Transport(said), None) => self.tell(moment, network, &said),
                    (other, _) => self.resolution(moment, network, &other),
                }
            }
        }
    }

    /// Where an address was heard of: what adit may have learned.
    fn hear(&mut self, moment: &Moment<'_>, network: usize, bytes: &[u8]) {
        let is_intact = self.arrival(mark::behind(bytes)).is_intact;
        let observed = observe(bytes);
        let (protocol, socket, mac) = match (observed.teller(), observed) {
            (Some((address, mac)), _) => (0, (address, 0), mac),
            (None, Observed::Transport(input)) if moment.intent.is_tenant(network) => {
                if opens(&input) {
                    // It may begin another flow, even if it is never seen to pass.
                    let inside = inside(network, &input);
                    self.outsides.remove(&inside);
                    self.opened.insert(inside);
                }
                (input.protocol, (input.source, input.source_port), input.from_mac)
            }
            _ => return,
        };
        let known = self.stations.entry((network, protocol, socket)).or_default();
        known.retain(|&other| other != mac);
        known.push(mac);
        if is_intact && known.len() > STATIONS {
            known.remove(0);
        }
    }

    fn is_station(&self, at: (usize, u8, Socket), mac: MacAddr) -> bool {
        self.stations.get(&at).is_some_and(|known| known.contains(&mac))
    }

    /// What adit says to those whose connections it ends: nothing of anybody's, in its own name.
    /// And the headers that tell backends who asks: of the flow that they go ahead of.
    fn tell(&self, moment: &Moment<'_>, network: usize, said: &Transport) {
        assert_eq!(said.protocol, TCP, "adit has nothing else to say: {said:?}");
        if !said.payload.is_empty() {
            let header = header::decode(&said.payload).expect("adit has no data but headers");
            let inside = self.insides.get(&outside(network, said));
            let inside = inside.expect("I1: a header goes ahead of a flow");
            let (tenant, client, endpoint, _) = *inside;
            assert_eq!((header.client, header.endpoint), (client, endpoint), "I1: whose header");
            let state = moment.intent.endpoint(tenant, endpoint.0).map(|endpoint| endpoint.state);
            assert_eq!(state, Some(ConnectionState::Approved), "I11: {header:?} was sent");
        }
        assert_eq!(said.from_mac, self.own[network], "it left in its device's name");
        assert!(moment.intent.is_local(network, said.source), "I1: {said:?} in {network}");
    }

    /// adit asks for backends in a NAT IP's name, and answers for what is its own.
    fn resolution(&self, moment: &Moment<'_>, network: usize, said: &Observed) {
        let teller = said.teller();
        let (address, mac) =
            teller.unwrap_or_else(|| panic!("adit sends TCP, UDP, ARP and NDP only: {said:?}"));
        assert_eq!(mac, self.own[network], "it is said in adit's own name");
        assert!(moment.intent.is_local(network, address), "I1: {address} is adit's in {network}");
        if let Some(target) = said.question() {
            let mut services = moment.intent.services.iter();
            let is_backend = services
                .any(|service| service.network == network && service.backends.contains(&target));
            assert!(is_backend, "adit asks for backends only, not for {target}");
        }
    }

    fn passage(
        &mut self,
        moment: &Moment<'_>,
        network: usize,
        (image, number): (&Image, u64),
        output: &Transport,
    ) {
        let bytes = &image.bytes;
        let arrival = self.arrival(number);
        assert!(!arrival.has_left, "I9: one packet came and two left");
        arrival.has_left = true;
        let (ingress, is_intact) = (arrival.network, arrival.is_intact);
        let mut input = arrival.image.clone();
        mark::write(&mut input.bytes, number);
        let way = usize::from(!moment.intent.is_tenant(ingress));
        let inserts = moment.intent.services.iter().any(|service| service.proxy.is_some());
        self.checker.rewritten(&input, image, inserts);
        let input = observe(&input.bytes).transport();
        let crosses = input.source.is_ipv4() != output.source.is_ipv4();
        // A flipped bit in a length takes part of it into the packet, where it may be a SYN's data.
        let keeps = crosses || !is_intact || mark::behind(bytes) == number;
        assert!(keeps, "I5: what is behind a packet stays");
        let length = input.end as u64 - ETHERNET;
        self.tallies[moment.worker].carried[way] += Count { packets: 1, bytes: length };
        assert_eq!(output.from_mac, self.own[network], "it left in its device's name");
        // A flipped bit in a port makes it a packet of another flow, with a wrong checksum.
        let tenant = tenant_of(bytes).map(usize::from).filter(|_| is_intact);
        let may_see = tenant.is_none_or(|tenant| moment.intent.may_see(network, tenant));
        assert!(may_see, "I1: tenant {tenant:?}'s canary is in network {network}");
        self.packets += 1;
        self.bytes += bytes.len() as u64;
        self.merged += u64::from(image.offload.segmentation.is_some());
        if moment.intent.is_tenant(ingress) {
            self.forward(moment, (ingress, &input), (network, output));
        } else if is_intact || self.insides.contains_key(&answered(ingress, &input)) {
            // A flipped bit may name a flow whose first packet still waits for its next hop.
            self.back(moment, (ingress, &input), (network, output));
        }
    }

    fn forward(
        &mut self,
        moment: &Moment<'_>,
        (ingress, input): (usize, &Transport),
        (egress, output): (usize, &Transport),
    ) {
        let endpoint = moment.intent.endpoint(ingress, input.destination);
        let endpoint = endpoint.expect("I1: it went to an endpoint of its network");
        assert_eq!(endpoint.state, ConnectionState::Approved, "I11: {input:?} passed");
        let service = &moment.intent.services[endpoint.service];
        assert_eq!(egress, service.network, "I1: it went to its service's provider");
        assert!(service.nat_ips.contains(&output.source), "I1: {} is a NAT IP", output.source);
        assert!(output.source_port >= 1024, "a leased port is not well known");
        let ports = service.ports(if input.protocol == TCP { TCP_PORTS } else { UDP_PORTS });
        let used = (input.destination_port, output.destination_port);
        assert_eq!(used, ports, "I1: a rule covers it");
        assert!(moment.intent.has(ingress, input.source), "its source is of its network");
        let is_sent_to = |backend: &IpAddr| {
            output.destination == service.frontend.unwrap_or(*backend)
                && self.is_station((egress, 0, (*backend, 0)), output.to_mac)
        };
        let is_backend = service.backends.iter().any(is_sent_to);
        assert!(is_backend, "I1: it went to a backend, which answered for {}", output.to_mac);
        let (outside, inside) = (outside(egress, output), inside(ingress, input));
        if opens(input) {
            // It may have waited while the lease of an earlier one went to another flow.
            self.opened.insert(inside);
        }
        let stays = match self.outsides.get(&inside) {
            None if input.protocol == TCP => {
                let known = self.opened.contains(&inside);
                assert!(known, "I3: {inside:?} passed, and no SYN ever came");
                false
            }
            Some(_) if input.protocol == TCP => !opens(input),
            Some(used) => {
                used.is_answered
                    && used.generation == moment.generation
                    && used.lives(moment, service)
            }
            None => false,
        };
        let before = self.outsides.get(&inside).filter(|used| used.outside == outside);
        let is_answered =
            before.is_some_and(|used| used.is_answered && used.lives(moment, service));
        let known = self.outsides.get(&inside).map(|used| used.outside);
        assert!(!stays || known == Some(outside), "I3: {inside:?} was {known:?}, is {outside:?}");
        let used = Use { outside, is_answered, at: moment.now, generation: moment.generation };
        self.outsides.insert(inside, used);
        if let Some(before) = self.insides.insert(outside, inside).filter(|it| *it != inside) {
            self.earlier.retain(|(at, ..)| *at == moment.now);
            self.earlier.insert((moment.now, outside, before));
            // Whoever had the lease before has it no longer.
            if self.outsides.get(&before).is_some_and(|used| used.outside == outside) {
                self.outsides.remove(&before);
                self.opened.remove(&before);
            }
        }
    }

    fn back(
        &mut self,
        moment: &Moment<'_>,
        (ingress, input): (usize, &Transport),
        (egress, output): (usize, &Transport),
    ) {
        let back = answered(ingress, input);
        let inside = self.insides.get(&back).copied();
        let inside = inside.unwrap_or_else(|| panic!("I1: {back:?} answers no flow"));
        let seen = (
            egress,
            (output.destination, output.destination_port),
            (output.source, output.source_port),
            output.protocol,
        );
        // A lease may be of a flow whose SYN found no room at its device. The answer to who had it
        // before is then the first that is seen of it; it brings nothing.
        let is_bare = output.flags & flags::SYN != 0 && output.payload.is_empty();
        let is_unseen = is_bare && self.opened.contains(&seen);
        if !is_unseen && !self.earlier.contains(&(moment.now, back, seen)) {
            assert_eq!(seen, inside, "I4: the answer undoes the translation");
        }
        let state = moment.intent.endpoint(egress, output.source).map(|endpoint| endpoint.state);
        assert_eq!(state, Some(ConnectionState::Approved), "I11: {output:?} passed");
        let known = self.is_station((egress, output.protocol, seen.1), output.to_mac);
        assert!(known, "I1: {} is the client's station", output.to_mac);
        assert_eq!(output.flags, input.flags, "I5: flags");
        if let Some(used) = self.outsides.get_mut(&inside) {
            (used.at, used.generation) = (moment.now, moment.generation);
            used.is_answered = true;
        }
    }

    /// A worker's turn is over: its counters say what its devices saw.
    pub(super) fn account(&mut self, worker: usize, engine: &Engine, flows_max: usize) {
        let (counters, tally) = (engine.counters(), &mut self.tallies[worker]);
        assert_eq!(counters.account_difference(), 0, "I9: {counters:?}");
        assert_eq!(counters.received, tally.received, "I9: frames received");
        let sent = counters.forwarded + counters.replied + counters.originated;
        assert_eq!(sent, tally.sent, "I9: frames sent: {counters:?}");
        let full = counters.dropped[DropReason::TransmitFull.slot()];
        assert_eq!(full, tally.full, "I9: frames that a ring refused");
        let rejected = counters.dropped[DropReason::TransmitRejected.slot()];
        assert_eq!(rejected, tally.rejected, "I9: frames that a device rejected");
        assert_eq!(counters.dropped[DropReason::Internal.slot()], 0, "a table contradicts itself");
        let alive = counters.flows_opened - counters.flows_closed;
        let records = alive + counters.ports_resting;
        assert_eq!(records, engine.flows().len() as u64, "I9: flows opened and closed");
        assert!(engine.flows().len() <= flows_max, "I8: flows");
        assert!(counters.held <= HELD_FRAMES_MAX as u64, "I8: packets that wait");
        self.carried(worker, engine);
    }

    /// What connections carried is what left, or wanted to. Clients' packets may also have waited
    /// for their next hop, in vain too.
    fn carried(&mut self, worker: usize, engine: &Engine) {
        let tally = &mut self.tallies[worker];
        let accounts = engine.generation().accounts.iter();
        let slots = accounts.map(|(slot, _)| slot.0).max().unwrap_or(0);
        tally.slots = tally.slots.max(slots);
        let mut sum = Traffic::default();
        (0..=tally.slots).for_each(|slot| sum += engine.accounts().read(AccountIndex(slot)));
        let [forward, back] = tally.carried;
        assert_eq!(sum.back, back, "I9: what backends sent, by account");
        let counters = engine.counters();
        let waited = counters.held + counters.dropped[DropReason::NeighborUnreachable.slot()];
        let packets = forward.packets + waited;
        assert_eq!(sum.forward.packets, packets, "I9: what clients sent, by account");
        assert!(sum.forward.bytes >= forward.bytes, "I9: bytes of what clients sent");
    }

    /// A turn's work is bounded: what one advance may close, and a flow or two for each frame.
    pub(super) fn bounds(&mut self, worker: usize, engine: &Engine, batches: usize) {
        let closed = engine.counters().flows_closed;
        let before = std::mem::replace(&mut self.tallies[worker].closed, closed);
        let most = u64::from(ADVANCE_STEPS) + (2 * batches * BATCH_FRAMES_MAX) as u64;
        assert!(closed - before <= most, "I8: one turn closed {} flows", closed - before);
    }

    pub(super) fn checker(&self) -> &Checker {
        &self.checker
    }
}

fn opens(input: &Transport) -> bool {
    input.protocol == TCP && input.flags & (flags::SYN | flags::ACK) == flags::SYN
}

fn outside(network: usize, output: &Transport) -> Outside {
    let nat = (output.source, output.source_port);
    (network, nat, (output.destination, output.destination_port), output.protocol)
}

/// The flow that a backend's packet belongs to.
fn answered(network: usize, input: &Transport) -> Outside {
    let nat = (input.destination, input.destination_port);
    (network, nat, (input.source, input.source_port), input.protocol)
}

fn inside(network: usize, input: &Transport) -> Inside {
    let client = (input.source, input.source_port);
    (network, client, (input.destination, input.destination_port), input.protocol)
}
