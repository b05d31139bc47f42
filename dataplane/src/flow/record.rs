//! The record of a flow: everything that its packets need, in one cache line.
//!
//! Addresses and ports are kept as they lie in packets, so that they are compared and stored as
//! whole words. What packets to the backend are addressed from and to, all flows of a pool have in
//! common: it lies beside the records, by pool ([`Outsides`]). Client and endpoint of IPv6 do not
//! fit: a flow with an address of IPv6 on either side is *wide*, has these two beside its record,
//! and is never taken for one whose record says it all. Nor does the backend's own address fit
//! where its packets are addressed to a frontend that *floats*: it lies beside the record too, and
//! no packet needs it.

use core::fmt;
use core::ops::Deref;

use super::State;
use super::beside::{Beside, Outsides};
use super::tally::Recent;
use crate::packet::proxy::{HEADER_BYTES_MAX, HEADER_BYTES_MIN};
use crate::packet::{Change, FlowKey, PlainRewrite, PlainTuple, Rewrite, Tuple};
use crate::prefetch::prefetch_near;
use crate::types::{
    AccountIndex, Address, Direction, Family, FlowIndex, GenerationNumber, Hop, HopWord, Lease,
    LinkId, NeighborIndex, PoolIndex, Protocol, ScopeId, Tick,
};

/// A two-way conversation between a client and a backend.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Flow {
    /// What its forward packets arrive with; of IPv6 the ports alone.
    inside: PlainTuple,
    /// Scope and protocol of the forward key, as [`FlowKey::domain`] has them.
    domain: u32,
    /// What it carried in either direction that its tally lacks.
    recent: [Recent; 2],
    /// The pool that its lease goes back to. A slot of `Pools`, which outlives generations.
    pub pool: PoolIndex,
    /// Where its packets are counted. A slot of `Accounts`, which outlives generations.
    pub account: AccountIndex,
    /// The ports that its forward packets leave with, as [`PlainTuple::ports`] has them.
    outside_ports: u32,
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
    /// What its forward packets change in sums.
    change: Change,
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

/// An [`Insert`] in the lower six bits; whether the frontend floats and whether the flow is wide in
/// the upper two; or that the record is no flow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark(u8);

impl Mark {
    const NOTHING: Mark = Mark(0);
    const OWED: u8 = 1;
    /// Stands for a header of [`HEADER_BYTES_MIN`]; those above it for longer ones.
    const SENT: u8 = 2;
    const VACANT: Mark = Mark(255);
    const FLOATS: u8 = 64;
    const WIDE: u8 = 128;

    const fn insert(self) -> u8 {
        self.0 & !(Mark::WIDE | Mark::FLOATS)
    }
}

/// Bytes of headers, as a record has them.
#[expect(clippy::cast_possible_truncation, reason = "headers are short")]
const BYTES_MIN: u8 = HEADER_BYTES_MIN as u8;
#[expect(clippy::cast_possible_truncation, reason = "headers are short")]
const BYTES_MAX: u8 = HEADER_BYTES_MAX as u8;

const _: () = assert!(size_of::<Flow>() == 64);
const _: () = assert!(HEADER_BYTES_MAX - HEADER_BYTES_MIN + (Mark::SENT as usize) < 63);

/// What a flow is opened with.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// Who talks to which endpoint.
    pub key: &'a FlowKey,
    /// Under which lease.
    pub lease: Lease,
    /// Who serves it.
    pub serving: &'a Serving,
}

/// Who serves a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serving {
    /// The backend's own address.
    pub backend: Address,
    /// What its packets are addressed to: the same, or the address of a frontend that floats.
    pub target: Address,
    /// The port there.
    pub port: u16,
}

impl Flow {
    /// No flow's record, of which none was vacant before it.
    pub(super) const NONE: Flow = Flow {
        inside: PlainTuple::NONE,
        domain: 0,
        recent: [Recent::NOTHING; 2],
        pool: PoolIndex(0),
        account: AccountIndex::OTHERS,
        outside_ports: 0,
        generation: GenerationNumber(0),
        last_seen: Tick(0),
        client: HopWord::NONE,
        timeout_ticks: u32::MAX,
        link: LinkId(0),
        change: Change::NONE,
        neighbor: 0,
        state: State::Resting,
        insert: Mark::VACANT,
    };

    /// A flow whose first packet arrived now from `client`.
    ///
    /// What does not fit into the record comes beside it when it is entered.
    #[inline(always)]
    #[must_use]
    pub(super) fn open(terms: &Terms<'_>, outsides: &Outsides, client: Hop) -> Flow {
        let Terms { key, lease, serving } = *terms;
        let Serving { backend, target, port } = *serving;
        let inside = key.plain();
        let ports = PlainTuple::join_ports(lease.port, port);
        let (wide, change) = match (key.family(), target.family()) {
            (Family::V4, Family::V4) => {
                let outside = PlainTuple::of_words(outsides.plain(lease.pool), ports);
                (0, Change::of_plain(&inside, &outside))
            }
            _ => (Mark::WIDE, change_of_wide(key, outsides.of(lease.pool), (lease.port, port))),
        };
        let floats = if backend == target { 0 } else { Mark::FLOATS };
        Flow {
            inside,
            domain: key.domain(),
            recent: [Recent::NOTHING; 2],
            pool: lease.pool,
            account: AccountIndex::OTHERS,
            outside_ports: ports,
            generation: GenerationNumber(0),
            last_seen: Tick(0),
            client: client.into(),
            timeout_ticks: 1,
            link: LinkId(0),
            change,
            neighbor: 0,
            state: State::opened(key.protocol),
            insert: Mark(wide | floats),
        }
    }

    /// Starts loading it, for one of the next packets.
    #[inline(always)]
    pub fn prefetch_near(&self) {
        prefetch_near(self);
    }

    /// Its protocol.
    #[inline(always)]
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        let [protocol, ..] = self.domain.to_le_bytes();
        if protocol == Protocol::Tcp as u8 { Protocol::Tcp } else { Protocol::Udp }
    }

    /// The virtual network of its client.
    #[must_use]
    pub fn scope(&self) -> ScopeId {
        let [_, low, high, _] = self.domain.to_le_bytes();
        ScopeId(u16::from_le_bytes([low, high]))
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
        self.outside_ports == tuple.inverse().ports() && self.pool == pool
    }

    /// What packets in a direction of a flow that is not wide become. One is the inverse of the
    /// other (I4).
    #[inline(always)]
    #[must_use]
    pub fn rewrite(&self, direction: Direction, outsides: &Outsides) -> PlainRewrite {
        match direction {
            Direction::Forward => {
                let to = PlainTuple::of_words(outsides.plain(self.pool), self.outside_ports);
                PlainRewrite { to, change: self.change }
            }
            Direction::Return => {
                PlainRewrite { to: self.inside.inverse(), change: self.change.inverse() }
            }
        }
    }

    /// The port of the endpoint that its client talks to.
    #[inline]
    #[must_use]
    pub fn endpoint_port(&self) -> u16 {
        self.inside.destination().1
    }

    /// The leased port.
    #[inline]
    #[must_use]
    pub fn nat_port(&self) -> u16 {
        self.outside_port_pair().0
    }

    /// The leased port and that of the backend.
    fn outside_port_pair(&self) -> (u16, u16) {
        let [a, b, c, d] = self.outside_ports.to_ne_bytes();
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    /// What it carried in a direction that its tally lacks.
    #[inline(always)]
    pub(super) fn recent(&self, direction: Direction) -> Recent {
        self.recent[direction as usize]
    }

    /// What it carried in a direction that its tally lacks, to be changed.
    #[inline(always)]
    pub fn recent_mut(&mut self, direction: Direction) -> &mut Recent {
        &mut self.recent[direction as usize]
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

    /// Whether its packets differ on both sides in their tuples alone, which are of IPv4. Not that
    /// of a vacant record.
    #[inline(always)]
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.insert.0 & !Mark::FLOATS == Mark::NOTHING.0
    }

    /// Whether its addresses lie beside its record.
    #[inline]
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.insert.0 & Mark::WIDE != 0
    }

    /// Whether its backend's packets are addressed to a frontend, and its own address lies beside
    /// its record.
    #[inline]
    #[must_use]
    pub fn floats(&self) -> bool {
        self.insert.0 & Mark::FLOATS != 0
    }

    /// Whether adit puts nothing in front of the bytes that the client sends.
    #[inline(always)]
    #[must_use]
    pub fn inserts_nothing(&self) -> bool {
        self.insert.insert() == 0
    }

    /// What adit puts in front of the bytes that the client sends.
    #[must_use]
    pub fn insert(&self) -> Insert {
        match self.insert {
            Mark::VACANT => Insert::Nothing,
            mark => match mark.insert() {
                0 => Insert::Nothing,
                Mark::OWED => Insert::Owed,
                sent => Insert::Bytes(sent - Mark::SENT + BYTES_MIN),
            },
        }
    }

    /// Sets that.
    pub fn set_insert(&mut self, insert: Insert) {
        let insert = match insert {
            Insert::Nothing => 0,
            Insert::Owed => Mark::OWED,
            Insert::Bytes(bytes) => bytes.clamp(BYTES_MIN, BYTES_MAX) - BYTES_MIN + Mark::SENT,
        };
        self.insert = Mark(self.insert.0 & (Mark::WIDE | Mark::FLOATS) | insert);
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

#[cold]
fn change_of_wide(
    key: &FlowKey,
    [source, destination]: [Address; 2],
    (source_port, destination_port): (u16, u16),
) -> Change {
    let to = Tuple { source, destination, source_port, destination_port };
    Change::between(&Tuple::from(key), &to)
}

/// A live flow to be read: its record, and its addresses wherever they lie.
#[derive(Clone, Copy)]
pub struct FlowView<'a> {
    record: &'a Flow,
    number: FlowIndex,
    beside: &'a Beside,
}

impl fmt::Debug for FlowView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.record, f)
    }
}

impl Deref for FlowView<'_> {
    type Target = Flow;

    #[inline(always)]
    fn deref(&self) -> &Flow {
        self.record
    }
}

impl<'a> FlowView<'a> {
    /// Of a record, its number, and what lies beside all of them.
    #[inline(always)]
    pub(super) fn new(record: &'a Flow, number: FlowIndex, beside: &'a Beside) -> FlowView<'a> {
        FlowView { record, number, beside }
    }

    /// Scope and 5-tuple on the client's side: the forward key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> FlowKey {
        let key = FlowKey::from_plain(&self.record.inside, self.record.domain);
        if !self.is_wide() {
            return key;
        }
        let [client, endpoint] = self.beside.insides(self.number);
        FlowKey { client, endpoint, ..key }
    }

    /// The leased NAT IP and port.
    #[inline]
    #[must_use]
    pub fn nat(&self) -> (Address, u16) {
        let [nat_ip, _] = self.beside.outsides.of(self.pool);
        (nat_ip, self.outside_port_pair().0)
    }

    /// What packets to the backend are addressed to, and its answers come from: its own address, or
    /// that of a frontend that floats; and the port.
    #[inline]
    #[must_use]
    pub fn target(&self) -> (Address, u16) {
        let [_, target] = self.beside.outsides.of(self.pool);
        (target, self.outside_port_pair().1)
    }

    /// The backend's own address.
    #[inline]
    #[must_use]
    pub fn backend(&self) -> Address {
        if self.floats() { self.beside.backend(self.number) } else { self.target().0 }
    }

    /// What its packets in a direction become if it is not wide.
    #[inline]
    #[must_use]
    pub fn plain_rewrite(&self, direction: Direction) -> PlainRewrite {
        self.record.rewrite(direction, &self.beside.outsides)
    }

    /// What its packets in a direction become. One is the inverse of the other (I4).
    #[inline]
    #[must_use]
    pub fn rewrite(&self, direction: Direction) -> Rewrite {
        match direction {
            Direction::Forward => {
                let ((source, source_port), (destination, destination_port)) =
                    (self.nat(), self.target());
                let to = Tuple { source, destination, source_port, destination_port };
                Rewrite { to, change: self.change }
            }
            Direction::Return => {
                let to = Tuple::from(&self.key()).inverse();
                Rewrite { to, change: self.change.inverse() }
            }
        }
    }
}
