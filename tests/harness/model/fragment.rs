//! Fragments: which datagram each is of, what becomes of that, and of those that come too early.

use std::net::IpAddr;
use std::ops::Range;

use dataplane::device::Offload;
use dataplane::drop_reason::DropReason;
use dataplane::engine::{Arrival, Verdict};
use dataplane::limits::{
    DATAGRAMS_MAX, FRAGMENT_TICKS, FRAGMENTS_MAX, HELD_FRAGMENTS_MAX, HELD_FRAME_BYTES_MAX,
};
use dataplane::snapshot::Fragments;
use dataplane::types::{DeviceIndex, Direction, WorkerId};

use super::choices::{Choice, Seen};
use super::expect::{id_of, translate_later, with_id};
use super::form::{Packet, Piece, judge_tcp, mac, upper};
use super::icmp::{ends, service_at};
use super::peering::reached;
use super::rules::{Expected, Flow, Key, Model, hand_over, judge_crossing};
use super::wanted::Local;
use crate::encode::{ICMP, Image, TCP, UDP};
use crate::ndp::ICMPV6;

/// One network has a quarter of all room.
const NETWORKS: usize = 4;

/// What names a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DatagramKey {
    pub(super) scope: u16,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) id: u32,
    /// 0 for IPv6.
    pub(super) protocol: u8,
}

/// A fragment of right form.
struct Fragment {
    datagram: DatagramKey,
    /// Which bytes of its datagram.
    bytes: Range<usize>,
    is_last: bool,
    /// Without ports if it is not the first.
    packet: Packet,
}

impl Fragment {
    fn is_first(&self) -> bool {
        self.bytes.start == 0
    }
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug)]
enum Course {
    /// It is sent under this identification.
    Flow(Followed, u32),
    Peer(usize),
    Refused(DropReason),
}

/// A flow, the number of its record, what was chosen for it, and which way.
#[derive(Clone, Copy, Debug)]
struct Followed {
    key: Key,
    number: u32,
    choice: Choice,
    sent: Direction,
}

struct Datagram {
    key: DatagramKey,
    since: u64,
    seen: Vec<Range<usize>>,
    total: Option<usize>,
    course: Option<Course>,
}

struct Waiting {
    key: DatagramKey,
    since: u64,
    ingress: DeviceIndex,
    image: Image,
}

/// What one worker knows.
#[derive(Default)]
pub(super) struct Datagrams {
    known: Vec<Datagram>,
    waiting: Vec<Waiting>,
}

impl Datagrams {
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn get(&mut self, key: &DatagramKey) -> Option<&mut Datagram> {
        self.known.iter_mut().find(|datagram| datagram.key == *key)
    }

    fn see(&mut self, fragment: &Fragment, now: u64) -> Result<Option<Course>, DropReason> {
        let key = fragment.datagram;
        if self.get(&key).is_none() {
            let same = self.known.iter().filter(|known| known.key.scope == key.scope).count();
            if same >= DATAGRAMS_MAX / NETWORKS || self.known.len() >= DATAGRAMS_MAX {
                return Err(DropReason::FragmentLimit);
            }
            let (seen, total, course) = (Vec::new(), None, None);
            self.known.push(Datagram { key, since: now, seen, total, course });
        }
        let datagram = self.get(&key).expect("it was entered above");
        let Range { start, end } = fragment.bytes;
        if datagram.seen.contains(&fragment.bytes) {
            return Err(DropReason::FragmentOverlap);
        }
        let overlaps = datagram.seen.iter().any(|seen| seen.start < end && start < seen.end);
        let is_beyond = datagram.total.is_some_and(|total| fragment.is_last || end > total);
        let ends_before = fragment.is_last && datagram.seen.iter().any(|seen| seen.end > end);
        let refused = match () {
            () if overlaps || is_beyond || ends_before => Some(DropReason::FragmentOverlap),
            () if datagram.seen.len() == FRAGMENTS_MAX => Some(DropReason::FragmentLimit),
            () => None,
        };
        if let Some(reason) = refused {
            datagram.course = Some(Course::Refused(DropReason::FragmentOverlap));
            return Err(reason);
        }
        datagram.seen.push(fragment.bytes.clone());
        datagram.total = datagram.total.or(fragment.is_last.then_some(end));
        Ok(datagram.course)
    }

    /// All of it was seen, and nothing of it waits.
    fn forget_whole(&mut self, key: &DatagramKey) {
        let waits = self.waiting.iter().any(|waiting| waiting.key == *key);
        let is_whole = |datagram: &Datagram| {
            Some(datagram.seen.iter().map(Range::len).sum()) == datagram.total
        };
        self.known.retain(|known| known.key != *key || waits || !is_whole(known));
    }

    /// The oldest that waits for a course that is known now, and this course.
    fn release(&mut self, wanted: impl Fn(&Course) -> bool) -> Option<(Waiting, Course)> {
        let course = |key: &DatagramKey| {
            let datagram = self.known.iter().find(|datagram| datagram.key == *key)?;
            datagram.course.filter(&wanted)
        };
        let mut all = self.waiting.iter().enumerate();
        let (at, course) = all.find_map(|(at, waiting)| Some((at, course(&waiting.key)?)))?;
        let waiting = self.waiting.remove(at);
        self.forget_whole(&waiting.key);
        Some((waiting, course))
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The fragment in a frame whose IP header holds.
fn judge(input: &Image, scope: u16) -> Result<Fragment, DropReason> {
    if input.offload != Offload::default() {
        return Err(DropReason::OffloadInvalid);
    }
    let ip = &input.bytes[14..];
    let (source, destination) = ends(ip);
    let is_ipv6 = source.is_ipv6();
    let total = if is_ipv6 { 40 + usize::from(word(ip, 4)) } else { word(ip, 2).into() };
    let (number, at, body, piece) = match is_ipv6 {
        true => {
            let upper = upper(&ip[..total])?;
            (upper.number, upper.at, upper.body, upper.piece.expect("it is a fragment"))
        }
        false => {
            let (header, place) = (usize::from(ip[0] & 15) * 4, word(ip, 6));
            let (start, more) = (usize::from(place & 0x1fff) * 8, place & 0x2000 != 0);
            (ip[9], header, header, Piece { start, more, id: word(ip, 4).into() })
        }
    };
    let least = match (number, is_ipv6) {
        (TCP, _) => Some(20),
        (UDP, _) => Some(8),
        (ICMP, false) | (ICMPV6, true) => return Err(DropReason::IcmpUnsupported),
        // Whoever cut it need not have said what follows those of the first.
        (60, true) if piece.start > 0 => None,
        _ => return Err(DropReason::ProtocolUnsupported),
    };
    let bytes = piece.start..piece.start + total - body;
    if bytes.is_empty() || piece.more && bytes.len() % 8 != 0 {
        return Err(DropReason::FragmentTiny);
    }
    let beside = if is_ipv6 { body - 48 } else { body };
    if bytes.end + beside > usize::from(u16::MAX) {
        return Err(DropReason::FragmentOverlap);
    }
    let mut packet = Packet {
        station: mac(&input.bytes, 6),
        protocol: number,
        source: (source, 0),
        destination: (destination, 0),
        flags: 0,
        transport_at: 14 + at,
        covered_end: 14 + total,
        end: 14 + total,
        wire_bytes: total,
        partial: false,
        piece: Some(piece),
        stays: None,
    };
    if piece.start == 0 {
        begin(&ip[at..total], &mut packet)?;
        let has_extensions = is_ipv6 && at != body;
        packet.stays = packet.stays.or(has_extensions.then_some(DropReason::Ipv6ExtensionHeaders));
    } else if least.is_some_and(|least| piece.start < least) {
        return Err(DropReason::FragmentTiny);
    }
    if ip[if is_ipv6 { 7 } else { 8 }] <= 1 {
        let of = [DropReason::Ipv4TtlExpired, DropReason::Ipv6HopLimit];
        return Err(of[usize::from(is_ipv6)]);
    }
    let protocol = if is_ipv6 { 0 } else { number };
    let datagram = DatagramKey { scope, source, destination, id: piece.id, protocol };
    Ok(Fragment { datagram, bytes, is_last: !piece.more, packet })
}

/// The transport header that the first fragment must hold.
fn begin(segment: &[u8], packet: &mut Packet) -> Result<(), DropReason> {
    let is_ipv6 = packet.is_ipv6();
    match packet.protocol {
        TCP => {
            let header = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
            match segment.len() {
                ..20 => return Err(DropReason::FragmentTiny),
                length if header >= 20 && header > length => return Err(DropReason::FragmentTiny),
                _ => packet.flags = judge_tcp(segment)?,
            }
        }
        _ if segment.len() < 8 => return Err(DropReason::FragmentTiny),
        // It goes on in other fragments.
        _ if usize::from(word(segment, 4)) <= segment.len() => {
            return Err(DropReason::UdpHeaderInvalid);
        }
        _ => {}
    }
    (packet.source.1, packet.destination.1) = (word(segment, 0), word(segment, 2));
    if packet.source.1 == 0 || packet.destination.1 == 0 {
        return Err(DropReason::PortZero);
    }
    if packet.protocol == UDP && word(segment, 6) == 0 {
        match is_ipv6 {
            true => return Err(DropReason::UdpChecksumMissing),
            false => packet.stays = Some(DropReason::UdpChecksumMissing),
        }
    }
    Ok(())
}

/// The packet of a fragment that may open a flow.
pub(super) fn opening(input: &Image, scope: u16) -> Option<Packet> {
    judge(input, scope).ok().filter(Fragment::is_first).map(|fragment| fragment.packet)
}

impl Model {
    /// A fragment; `unwanted` is what it is where services drop them.
    pub(super) fn hear_fragment(
        &mut self,
        (worker, arrival): (usize, Arrival),
        (ingress, scope): (DeviceIndex, u16),
        (input, unwanted): (&Image, DropReason),
        seen: &dyn Seen,
    ) -> Result<Expected, DropReason> {
        let service = service_at(self.plan(worker), scope, ends(&input.bytes[14..]).1);
        if service.is_none_or(|service| service.treatment.fragments == Fragments::Drop) {
            return Err(unwanted);
        }
        let fragment = judge(input, scope)?;
        let meeting = seen.meeting(&fragment.datagram);
        let arrival = match arrival {
            Arrival::Device if meeting != worker => return Ok(hand_over(meeting)),
            _ if meeting == worker => Arrival::Device,
            arrival => arrival,
        };
        let course = self.workers[worker].datagrams.see(&fragment, self.now)?;
        let expected = match course {
            Some(Course::Refused(reason)) => Err(reason),
            _ if fragment.is_first() => {
                self.begin_datagram((worker, arrival), ingress, (&fragment, input), seen)
            }
            Some(Course::Peer(peer)) => Ok(hand_over(peer)),
            Some(Course::Flow(flow, id)) => {
                self.follow((worker, flow), (&fragment, input), id, seen)
            }
            None => self.keep(worker, ingress, (&fragment, input)),
        };
        self.workers[worker].datagrams.forget_whole(&fragment.datagram);
        expected
    }

    fn begin_datagram(
        &mut self,
        (worker, arrival): (usize, Arrival),
        ingress: DeviceIndex,
        (fragment, input): (&Fragment, &Image),
        seen: &dyn Seen,
    ) -> Result<Expected, DropReason> {
        let sent = self.send_first((worker, arrival), ingress, (fragment, input), seen);
        let (course, expected) = match sent {
            Ok((course, expected)) => (course, Ok(expected)),
            Err(reason) => (Course::Refused(reason), Err(reason)),
        };
        let datagram = self.workers[worker].datagrams.get(&fragment.datagram);
        datagram.expect("it was just seen").course.get_or_insert(course);
        expected
    }

    /// The first fragment goes the way of any packet.
    fn send_first(
        &mut self,
        (worker, arrival): (usize, Arrival),
        ingress: DeviceIndex,
        (fragment, input): (&Fragment, &Image),
        seen: &dyn Seen,
    ) -> Result<(Course, Expected), DropReason> {
        let (packet, scope) = (&fragment.packet, fragment.datagram.scope);
        let (nat, target) = (packet.destination, packet.source);
        let (key, sent, expected) = match reached(self.plan(worker), scope, nat.0)? {
            Local::Endpoint(&endpoint) => {
                let key = (scope, packet.protocol, packet.source, packet.destination);
                let owner = self.owner(worker, key, seen.verdict());
                if owner != worker {
                    return Ok((Course::Peer(owner), hand_over(owner)));
                }
                let way = (worker, ingress);
                let expected = self.forward(way, key, (packet, input), (&endpoint, seen))?;
                (key, Direction::Forward, expected)
            }
            _ => {
                let expected = self.back((worker, arrival), scope, (packet, input), seen)?;
                if let Verdict::HandOver(WorkerId(peer)) = expected.verdict {
                    return Ok((Course::Peer(peer.into()), expected));
                }
                let lease = ((scope, nat.0, target.0, packet.protocol), nat.1);
                let key = self.leases.get(&lease).ok_or(DropReason::Internal)?;
                (*key, Direction::Return, expected)
            }
        };
        let &Flow { number, choice, .. } = &self.flows[&key];
        let flow = Followed { key, number, choice, sent };
        // Its identification is seen when it has left.
        let begins = Some(fragment.datagram);
        Ok((Course::Flow(flow, 0), Expected { begins, ..expected }))
    }

    /// A later one, of a datagram that leaves.
    fn follow(
        &mut self,
        (worker, flow): (usize, Followed),
        (fragment, input): (&Fragment, &Image),
        id: u32,
        seen: &dyn Seen,
    ) -> Result<Expected, DropReason> {
        let Followed { key, number, choice, sent } = flow;
        let flow = self.flows.get(&key).filter(|flow| {
            let is_same = (flow.worker, flow.number, flow.choice) == (worker, number, choice);
            is_same && !flow.is_expired(self.now)
        });
        flow.ok_or(DropReason::FragmentTimeout)?;
        self.revalidate(&key, seen)?;
        if self.flows[&key].state.is_resetting() {
            return Err(DropReason::ConnectionReset);
        }
        let (flow, view) = (&self.flows[&key], self.view(worker));
        let next_hop = (flow.provider, view.next_hop(flow.provider, flow.choice.backend));
        let (hop, addresses) = match sent {
            Direction::Forward => {
                (view.hops.lookup(next_hop), (flow.choice.nat.0, flow.choice.target.0))
            }
            Direction::Return => {
                (Some(flow.client.ok_or(DropReason::ClientUnknown)?), (key.3.0, key.2.0))
            }
        };
        let wire_bytes = judge_crossing(&fragment.packet, addresses.1)?;
        let links = &self.workers[worker].links;
        let mtu = match hop {
            Some((device, _)) => links.get(&device).map(|link| link.mtu),
            None => self.scope_links(worker, next_hop.0).iter().map(|(_, link)| link.mtu).min(),
        };
        if wire_bytes > mtu.ok_or(DropReason::DeviceDown)? as usize {
            return Err(DropReason::TooBig);
        }
        let stations = hop.map_or(([0; 6], [0; 6]), |(device, to)| (links[&device].mac.0, to));
        let mut translated = translate_later(input, &fragment.packet, addresses, stations);
        translated.image = with_id(&translated.image, id);
        translated.has_new_id = false;
        let expected = match hop {
            Some((device, _)) => {
                let image = Some(translated.image);
                Expected { image, ..Verdict::Forward(device).into() }
            }
            None => self.wait_for(&key, next_hop, translated)?,
        };
        self.carry(&key, sent, input);
        let families = [fragment.packet.is_ipv6(), addresses.1.is_ipv6()].map(usize::from);
        self.followed[families[0]][families[1]] += 1;
        Ok(expected)
    }

    /// The first one is still to come.
    fn keep(
        &mut self,
        worker: usize,
        ingress: DeviceIndex,
        (fragment, input): (&Fragment, &Image),
    ) -> Result<Expected, DropReason> {
        let (key, since) = (fragment.datagram, self.now);
        let waiting = &mut self.workers[worker].datagrams.waiting;
        let same = waiting.iter().filter(|waiting| waiting.key.scope == key.scope).count();
        let fits = input.bytes.len() <= HELD_FRAME_BYTES_MAX;
        if !fits || same >= HELD_FRAGMENTS_MAX / NETWORKS {
            return Err(DropReason::FragmentLimit);
        }
        waiting.push(Waiting { key, since, ingress, image: input.clone() });
        Ok(Verdict::Hold.into())
    }

    /// A datagram has begun to leave: the identification that adit has chosen for it, which no
    /// other that is under way between the same two addresses may have.
    pub(super) fn learn_datagram(&mut self, worker: usize, key: DatagramKey, bytes: &[u8]) {
        let (Some(id), between) = (id_of(bytes), ends(&bytes[14..])) else {
            return self.complain(format!("{key:?} did not leave as a fragment"));
        };
        let before = self.under_way.insert((between, id), self.now);
        if before.is_some_and(|before| self.now - before < u64::from(FRAGMENT_TICKS)) {
            self.complain(format!("{key:?} has the identification of another"));
        }
        let datagram = self.workers[worker].datagrams.get(&key);
        if let Some(Course::Flow(_, known)) = datagram.and_then(|it| it.course.as_mut()) {
            *known = id;
        }
    }

    /// Those that waited and leave now, in their order.
    pub(super) fn release_fragments(
        &mut self,
        worker: usize,
        seen: &dyn Seen,
    ) -> Vec<(DeviceIndex, Image)> {
        let mut released = Vec::new();
        let is_decided = |course: &Course| !matches!(course, Course::Peer(_));
        while let Some((waiting, course)) = self.workers[worker].datagrams.release(is_decided) {
            let fragment = judge(&waiting.image, waiting.key.scope).expect("it was judged before");
            let expected = match course {
                Course::Flow(flow, id) => {
                    self.follow((worker, flow), (&fragment, &waiting.image), id, seen)
                }
                Course::Refused(reason) => Err(reason),
                Course::Peer(_) => unreachable!("they are not asked for"),
            };
            match expected {
                Ok(Expected { verdict: Verdict::Forward(device), image, .. }) => {
                    released.extend(image.map(|image| (device, image)));
                }
                Ok(_) => {}
                Err(reason) => self.workers[worker].counters.dropped[reason.slot()] += 1,
            }
        }
        released
    }

    /// Those that waited and are another worker's.
    pub(super) fn release_to_peers(&mut self, worker: usize) -> Vec<(usize, DeviceIndex, Image)> {
        let datagrams = &mut self.workers[worker].datagrams;
        let is_peers = |course: &Course| matches!(course, Course::Peer(_));
        let released = std::iter::from_fn(|| datagrams.release(is_peers));
        let released = released.filter_map(|(waiting, course)| match course {
            Course::Peer(peer) => Some((peer, waiting.ingress, waiting.image)),
            Course::Flow(..) | Course::Refused(_) => None,
        });
        released.collect()
    }

    /// Those that waited for too long go, and what is known of datagrams that nothing waits for.
    pub(super) fn drop_fragments(&mut self, worker: usize, is_over: impl Fn(u64) -> bool) {
        let worker = &mut self.workers[worker];
        let Datagrams { known, waiting } = &mut worker.datagrams;
        let before = waiting.len();
        waiting.retain(|waiting| !is_over(waiting.since));
        let dropped = (before - waiting.len()) as u64;
        worker.counters.dropped[DropReason::FragmentTimeout.slot()] += dropped;
        let waits = |key: &DatagramKey| waiting.iter().any(|waiting| waiting.key == *key);
        known.retain(|known| !is_over(known.since) || waits(&known.key));
    }
}
