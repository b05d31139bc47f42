//! Fragments: the first one of a datagram finds its flow, the others follow it.
//!
//! Fragments of one datagram may arrive at several workers: a TAP device follows whoever wrote last
//! between the same two addresses, in the middle of a datagram too. So all fragments between two
//! addresses of a network meet at one worker, their meeting place, which follows their datagram; if
//! their flow is another worker's, that one is given all of them, in order, and knows the datagram
//! too. A fragment is handed over twice at most. It opens, refreshes and ends a flow only if it is
//! the first.
//!
//! Fragments, and packets that may still become some, leave with an identification of adit's own,
//! because senders who do not know of each other share an address behind adit (RFC 6864 5.3): a
//! worker's do not repeat before it has sent 65,536 such datagrams over IPv4, or four billion over
//! IPv6, divided by the number of workers.

use super::path::{Forward, Return};
use super::problem::Owner;
use super::record::packet_bytes;
use super::{Arrival, Engine, Verdict};
use crate::classify::classify;
use crate::device::Frame;
use crate::drop_reason::DropReason;
use crate::flow::State;
use crate::fragment::{DatagramIndex, DatagramKey, Datagrams, Part};
use crate::packet::fragment::{Fragment, identification, set_identification};
use crate::packet::{FlowKey, Packet};
use crate::snapshot::{Fragments, Local, PoolKey, Service};
use crate::types::{Address, DeviceIndex, Direction, Family, FlowIndex, ScopeId, Tick, WorkerId};

/// What becomes of the fragments of a datagram.
#[derive(Clone, Copy)]
pub(super) enum Course {
    /// They belong to this flow and leave with this identification.
    Flow { followed: Followed, sent: Direction, id: u32 },
    /// They are another worker's.
    Peer(WorkerId),
    /// They are dropped.
    Refused(DropReason),
}

/// The flow of a datagram, as it was when the first fragment passed. Since then its record may be
/// that of a later flow, even of the same client, which another backend answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Followed {
    number: FlowIndex,
    key: FlowKey,
    nat: (Address, u16),
    target: (Address, u16),
}

/// Identifications of adit's own: those of one worker.
pub(super) struct Identifications {
    next: u32,
    step: u32,
}

impl Identifications {
    /// Those of `worker`, from one that `seed` chooses.
    pub(super) fn new(worker: WorkerId, workers: u8, seed: u64) -> Identifications {
        // A power of two, so that they wrap without meeting another worker's, and so do their lower
        // halves.
        let step = u32::from(workers.max(1)).next_power_of_two();
        let [a, b, c, d, ..] = seed.to_le_bytes();
        let start = u32::from_le_bytes([a, b, c, d]) & !(step - 1);
        Identifications { next: start | u32::from(worker.0), step }
    }

    fn take(&mut self) -> u32 {
        let id = self.next;
        self.next = id.wrapping_add(self.step);
        id
    }
}

impl Engine {
    /// A fragment; its IP header held.
    pub(super) fn hear_fragment(
        &mut self,
        arrival: Arrival,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let scope = self.generation.snapshot.device_scope(frame.ingress);
        let scope = scope.ok_or(DropReason::DeviceDown)?;
        let destination = super::icmp::ip_destination(frame).ok_or(DropReason::Internal)?;
        let fragments = match self.owner(scope, destination) {
            Some(Owner::Endpoint(_, service) | Owner::NatIp(service)) => {
                service.treatment.fragments
            }
            None => Fragments::Drop,
        };
        if fragments == Fragments::Drop {
            return Err(match destination.family() {
                Family::V4 => DropReason::Ipv4Fragment,
                Family::V6 => DropReason::Ipv6Fragment,
            });
        }
        let fragment = Fragment::parse(frame)?;
        let key = DatagramKey {
            scope,
            source: fragment.source,
            destination: fragment.destination,
            id: fragment.id,
            protocol: fragment.protocol(),
        };
        let meeting = key.meeting_worker(&self.table_keys, self.workers);
        let arrival = match arrival {
            Arrival::Device if meeting != self.worker => return Ok(Verdict::HandOver(meeting)),
            // Whoever brought it here, it may go on to the worker of its flow.
            _ if meeting == self.worker => Arrival::Device,
            arrival => arrival,
        };
        let part = Part { bytes: fragment.bytes.clone(), is_last: fragment.is_last };
        let overlap = Course::Refused(DropReason::FragmentOverlap);
        let datagram = self.datagrams.see(key, &part, now, overlap)?;
        let verdict = self.follow_datagram(datagram, &fragment, arrival, frame, now);
        self.datagrams.forget_whole(datagram);
        verdict
    }

    fn follow_datagram(
        &mut self,
        datagram: DatagramIndex,
        fragment: &Fragment,
        arrival: Arrival,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        match (self.datagrams.course(datagram), &fragment.first) {
            (Some(Course::Refused(reason)), _) => Err(reason),
            (_, Some(packet)) => self.begin_datagram(datagram, packet, arrival, frame, now),
            (Some(Course::Peer(worker)), None) => Ok(Verdict::HandOver(worker)),
            (Some(course), None) => self.follow_flow(&course, fragment, frame, now),
            (None, None) => {
                let ingress = frame.ingress;
                match self.datagrams.hold(datagram, frame.bytes(), ingress, now) {
                    true => Ok(Verdict::Hold),
                    false => Err(DropReason::FragmentLimit),
                }
            }
        }
    }

    /// The first fragment: it goes the way of any packet, and the others go after it.
    fn begin_datagram(
        &mut self,
        datagram: DatagramIndex,
        packet: &Packet,
        arrival: Arrival,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let scope = self.generation.snapshot.device_scope(frame.ingress);
        let scope = scope.ok_or(DropReason::DeviceDown)?;
        let course = self.send_first(scope, packet, arrival, frame, now);
        let (course, verdict) = match course {
            Ok((course, verdict)) => (course, Ok(verdict)),
            Err(reason) => (Course::Refused(reason), Err(reason)),
        };
        self.datagrams.set_course(datagram, course);
        verdict
    }

    fn send_first(
        &mut self,
        scope: ScopeId,
        packet: &Packet,
        arrival: Arrival,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<(Course, Verdict), DropReason> {
        let destination = packet.tuple.destination;
        let (verdict, key, sent) = match classify(&self.generation.snapshot, scope, destination)? {
            Local::Endpoint(endpoint) => {
                let key = FlowKey::of(scope, packet);
                let hash = key.hash(&self.table_keys);
                let forward = Forward { packet: *packet, key, hash, endpoint };
                (self.forward(forward, frame, now)?, Some(key), Direction::Forward)
            }
            // Probes send and want no fragments.
            Local::ProbeSource => return Err(DropReason::UnsolicitedFromProvider),
            Local::NatIp => {
                let key = PoolKey {
                    scope,
                    nat_ip: destination,
                    target: packet.tuple.source,
                    protocol: packet.protocol,
                };
                let pool = self.generation.pools.find(&key);
                let pool = pool.ok_or(DropReason::UnsolicitedFromProvider)?;
                let back = Return { packet: *packet, pool };
                let holder = self.holder(&back);
                let verdict = self.back(back, arrival, frame, now)?;
                let flow = holder.and_then(|holder| self.flows.get(holder.flow));
                (verdict, flow.map(|flow| flow.key()), Direction::Return)
            }
        };
        if let Verdict::HandOver(worker) = verdict {
            return Ok((Course::Peer(worker), verdict));
        }
        let id = identification(frame.bytes()).ok_or(DropReason::Internal)?;
        let followed = key.and_then(|key| self.followed(key)).ok_or(DropReason::Internal)?;
        Ok((Course::Flow { followed, sent, id }, verdict))
    }

    /// The flow of this key, if there is one.
    fn followed(&self, key: FlowKey) -> Option<Followed> {
        let number = self.flows.lookup(&key, key.hash(&self.table_keys))?;
        let flow = self.flows.get(number)?;
        Some(Followed { number, key, nat: flow.nat(), target: flow.target() })
    }

    /// Gives a packet that is a fragment or may become one an identification of adit's own, if its
    /// service cares for fragments, or if it came from IPv6 and has none. The frame has been
    /// rewritten.
    #[cold]
    pub(super) fn identify(&mut self, number: FlowIndex, frame: &mut Frame) {
        let flow = self.flows.get(number);
        let is_wide = flow.is_some_and(|flow| flow.is_wide());
        let endpoint = flow.and_then(|flow| self.generation.snapshot.endpoint_of_link(flow.link));
        let service =
            endpoint.and_then(|endpoint| self.generation.snapshot.service(endpoint.service));
        let cares = |service: &Service| service.treatment.fragments == Fragments::Reassemble;
        if is_wide || service.is_some_and(cares) {
            let id = self.identifications.take();
            // A frame that was rewritten has a header.
            let _ = set_identification(frame.bytes_mut(), id);
        }
    }

    /// A later fragment of a datagram whose flow is known.
    fn follow_flow(
        &mut self,
        course: &Course,
        fragment: &Fragment,
        frame: &mut Frame,
        now: Tick,
    ) -> Result<Verdict, DropReason> {
        let (followed, sent, id) = match *course {
            Course::Flow { followed, sent, id } => (followed, sent, id),
            Course::Refused(reason) => return Err(reason),
            Course::Peer(worker) => return Ok(Verdict::HandOver(worker)),
        };
        let number = followed.number;
        if self.followed(followed.key) != Some(followed) || self.has_expired(number, now) {
            return Err(DropReason::FragmentTimeout);
        }
        self.revalidate(number, now)?;
        let flow = self.flows.get(number).ok_or(DropReason::Internal)?;
        if flow.state == State::Resetting {
            return Err(DropReason::ConnectionReset);
        }
        let rewrite = flow.rewrite(sent);
        let wire_bytes = fragment.judge_crossing(rewrite.to.family())?;
        let neighbor = flow.neighbor();
        let (hop, mtu) = match sent {
            Direction::Forward => {
                (self.generation.neighbors.lookup(neighbor), self.mtu_towards(neighbor))
            }
            Direction::Return => {
                let hop = flow.client().ok_or(DropReason::ClientUnknown)?;
                (Some(hop), self.link(hop.device).map(|link| link.mtu))
            }
        };
        if wire_bytes > mtu.ok_or(DropReason::DeviceDown)? {
            return Err(DropReason::TooBig);
        }
        let bytes = packet_bytes(frame);
        fragment.rewrite(frame, &rewrite, id).ok_or(DropReason::Internal)?;
        let verdict = match hop {
            Some(hop) => self.send(frame, hop),
            None => self.wait_for((number, neighbor), frame, now),
        }?;
        self.tally(number, sent, bytes);
        Ok(verdict)
    }

    /// Writes the next fragment that waited and whose datagram may leave into `frame`.
    pub(super) fn release_fragment(&mut self, frame: &mut Frame) -> Option<DeviceIndex> {
        let is_decided = |course: &Course| !matches!(course, Course::Peer(_));
        while self.datagrams.held() > 0 {
            let now = self.latest;
            let released = self.datagrams.release(is_decided, |bytes| frame.fill(bytes))?;
            frame.ingress = released.ingress;
            let verdict = Fragment::parse(frame)
                .and_then(|fragment| self.follow_flow(&released.course, &fragment, frame, now));
            self.count_held();
            match verdict {
                Ok(Verdict::Forward(device)) => return Some(device),
                // It goes on waiting, for its next hop.
                Ok(_) => {}
                Err(reason) => self.settle(super::Outcome::Dropped(reason, 1)),
            }
        }
        None
    }

    /// The next fragment that waited and that another worker is to be given, written into `frame`;
    /// which one. To be called like [`Engine::poll_transmit`].
    pub fn poll_hand_over(&mut self, frame: &mut Frame) -> Option<WorkerId> {
        if self.datagrams.held() == 0 {
            return None;
        }
        let is_peers = |course: &Course| matches!(course, Course::Peer(_));
        let released = self.datagrams.release(is_peers, |bytes| frame.fill(bytes))?;
        frame.ingress = released.ingress;
        self.count_held();
        match released.course {
            Course::Peer(worker) => Some(worker),
            Course::Flow { .. } | Course::Refused(_) => None,
        }
    }

    /// What waits, for whatever: next hops or first fragments.
    pub(super) fn count_held(&mut self) {
        self.counters.held = (self.hold.len() + self.datagrams.held()) as u64;
    }
}

/// The datagrams that a worker knows.
pub(super) type KnownDatagrams = Datagrams<Course>;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn rfc6864_workers_share_all_identifications_and_none_twice() {
        for workers in [1_u8, 2, 3, 64] {
            let each = 65_536 / u32::from(workers).next_power_of_two();
            let mut all = BTreeSet::new();
            for worker in 0..workers {
                let mut own = Identifications::new(WorkerId(worker), workers, 0x1234_5678_9abc);
                all.extend((0..each).map(|_| own.take() & 0xffff));
            }
            assert_eq!(all.len() as u32, each * u32::from(workers), "{workers} workers");
        }
    }
}
