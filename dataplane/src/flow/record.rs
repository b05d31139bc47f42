//! The record of a flow: everything that its packets need, in one cache line.
//!
//! Addresses and ports are kept as they lie in packets, so that they are compared and stored as
//! whole words.

use core::net::Ipv4Addr;

use super::State;
use crate::packet::{Delta, FlowKey, PlainTuple, Rewrite};
use crate::types::{
    AccountIndex, Direction, FlowIndex, GenerationNumber, Hop, HopWord, Lease, LinkId,
    NeighborIndex, PoolIndex, Protocol, Tick,
};

/// A two-way conversation between a client and a backend.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Flow {
    /// What its forward packets arrive with.
    inside: PlainTuple,
    /// Scope and protocol of the forward key, as [`FlowKey::domain`] has them.
    domain: u32,
    /// The pool that its lease goes back to. A slot of `Pools`, which outlives generations.
    pub pool: PoolIndex,
    /// Where its packets are counted. A slot of `Accounts`, which outlives generations.
    pub account: AccountIndex,
    /// What its forward packets leave with.
    outside: PlainTuple,
    /// The configuration that last judged it.
    pub generation: GenerationNumber,
    /// When its last packet came.
    pub last_seen: Tick,
    /// Where the client was heard last.
    client: HopWord,
    /// How long it may be silent in its present state, in ticks.
    pub timeout_ticks: u32,
    /// The connection that it belongs to.
    pub link: LinkId,
    /// What its forward packets change in the sum over addresses.
    addresses: Delta,
    /// The same over addresses and ports.
    tuple: Delta,
    neighbor: u16,
    /// What it is doing.
    pub state: State,
    insert: Mark,
}

/// What adit puts in front of the bytes that the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// Nothing.
    Nothing,
    /// A header, when the handshake is done.
    Owed,
    /// A header of so many bytes, which has been sent: numbers differ by that much.
    Bytes(u8),
}

/// An [`Insert`] in one byte, or that the record is no flow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark(u8);

impl Mark {
    const NOTHING: Mark = Mark(0);
    const OWED: Mark = Mark(254);
    const VACANT: Mark = Mark(255);
}

const _: () = assert!(size_of::<Flow>() == 64);

impl Flow {
    /// A flow whose first packet arrived now from `client`.
    #[must_use]
    pub fn open(key: FlowKey, lease: Lease, backend: (Ipv4Addr, u16), client: Hop) -> Flow {
        let inside = key.plain();
        let outside = PlainTuple::new((lease.nat_ip, lease.port), backend);
        let rewrite = Rewrite::new(&inside, &outside);
        Flow {
            inside,
            domain: key.domain(),
            pool: lease.pool,
            account: AccountIndex::OTHERS,
            outside,
            generation: GenerationNumber(0),
            last_seen: Tick(0),
            client: client.into(),
            timeout_ticks: 1,
            link: LinkId(0),
            addresses: rewrite.addresses,
            tuple: rewrite.tuple,
            neighbor: 0,
            state: State::opened(key.protocol),
            insert: Mark::NOTHING,
        }
    }

    /// Scope and 5-tuple on the client's side: the forward key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> FlowKey {
        FlowKey::from_plain(&self.inside, self.domain)
    }

    /// Its protocol.
    #[inline(always)]
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        let [protocol, ..] = self.domain.to_le_bytes();
        if protocol == Protocol::Tcp as u8 { Protocol::Tcp } else { Protocol::Udp }
    }

    /// Whether a forward packet with this tuple, scope and protocol is one of its own.
    #[inline(always)]
    #[must_use]
    pub fn is_asked_by(&self, tuple: &PlainTuple, domain: u32) -> bool {
        self.inside == *tuple && self.domain == domain
    }

    /// Whether a return packet with this tuple that came to the pool is one of its own. The pool
    /// stands for scope, addresses and protocol.
    #[inline(always)]
    #[must_use]
    pub fn is_answered_by(&self, tuple: &PlainTuple, pool: PoolIndex) -> bool {
        self.outside.inverse().ports() == tuple.ports() && self.pool == pool
    }

    /// What its packets in a direction become. One is the inverse of the other (I4).
    #[inline(always)]
    #[must_use]
    pub fn rewrite(&self, direction: Direction) -> Rewrite {
        match direction {
            Direction::Forward => {
                Rewrite { to: self.outside, addresses: self.addresses, tuple: self.tuple }
            }
            Direction::Return => Rewrite {
                to: self.inside.inverse(),
                addresses: self.addresses.inverse(),
                tuple: self.tuple.inverse(),
            },
        }
    }

    /// The leased NAT IP and port.
    #[inline]
    #[must_use]
    pub fn nat(&self) -> (Ipv4Addr, u16) {
        self.outside.source()
    }

    /// The backend's address and port.
    #[inline]
    #[must_use]
    pub fn backend(&self) -> (Ipv4Addr, u16) {
        self.outside.destination()
    }

    /// The next hop towards the backend, valid under [`Flow::generation`] only.
    #[inline]
    #[must_use]
    pub fn neighbor(&self) -> NeighborIndex {
        NeighborIndex(u32::from(self.neighbor))
    }

    /// Sets the next hop. There are never more than 65,536 (see `snapshot`).
    pub fn set_neighbor(&mut self, neighbor: NeighborIndex) {
        self.neighbor = u16::try_from(neighbor.0).unwrap_or(u16::MAX);
    }

    /// Where the client was heard last, if it still is on a device of its network.
    #[inline]
    #[must_use]
    pub fn client(&self) -> Option<Hop> {
        self.client.hop()
    }

    /// As [`Flow::client`], in one word.
    #[inline(always)]
    #[must_use]
    pub fn client_word(&self) -> HopWord {
        self.client
    }

    /// Notes where the client was heard. Answers go to the neighbor that asked.
    #[inline]
    pub fn hear_client(&mut self, hop: Hop) {
        self.client = hop.into();
    }

    /// Forgets where the client was heard: its device is no longer its network's (I1).
    pub fn forget_client(&mut self) {
        self.client = HopWord::NONE;
    }

    /// Whether the record is a flow's at all.
    #[inline(always)]
    pub(super) fn is_live(&self) -> bool {
        self.insert != Mark::VACANT
    }

    /// Whether its packets differ on both sides in their tuples alone. Not that of a vacant record.
    #[inline(always)]
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.insert == Mark::NOTHING
    }

    /// What adit puts in front of the bytes that the client sends.
    #[must_use]
    pub fn insert(&self) -> Insert {
        match self.insert {
            Mark::NOTHING | Mark::VACANT => Insert::Nothing,
            Mark::OWED => Insert::Owed,
            Mark(bytes) => Insert::Bytes(bytes),
        }
    }

    /// Sets that.
    pub fn set_insert(&mut self, insert: Insert) {
        self.insert = match insert {
            Insert::Nothing => Mark::NOTHING,
            Insert::Owed => Mark::OWED,
            Insert::Bytes(bytes) => Mark(bytes.min(Mark::OWED.0 - 1)),
        };
    }

    /// Ends it; the record is vacant from now on and remembers the one that was vacant before.
    pub(super) fn vacate(&mut self, before: Option<FlowIndex>) {
        self.insert = Mark::VACANT;
        // No generation has this number: whoever asks for a flow of the one in force finds none.
        self.generation = GenerationNumber(0);
        self.timeout_ticks = before.map_or(u32::MAX, |number| number.0);
    }

    /// Of a vacant record: the one that was vacant before it.
    pub(super) fn next_vacant(&self) -> Option<FlowIndex> {
        (self.timeout_ticks != u32::MAX).then_some(FlowIndex(self.timeout_ticks))
    }

    /// Whether it was silent for longer than it may be.
    #[inline]
    #[must_use]
    pub fn is_expired(&self, now: Tick) -> bool {
        now.since(self.last_seen) >= self.timeout_ticks
    }

    /// Whether it is surely not expired. May say no of one that is not, if its stamp lies ahead.
    #[inline(always)]
    #[must_use]
    pub fn is_fresh(&self, now: Tick) -> bool {
        now.0.wrapping_sub(self.last_seen.0) < self.timeout_ticks
    }

    /// The tick from which on it is expired.
    #[must_use]
    pub fn deadline(&self) -> Tick {
        self.last_seen.after(self.timeout_ticks)
    }
}
