//! The record of a flow: everything that its packets need, in one cache line.

use core::net::Ipv4Addr;

use super::State;
use crate::packet::{Delta, FlowKey, PlainRewrite, Rewrite, Tuple, ports_word};
use crate::types::{
    Direction, FlowIndex, GenerationNumber, Hop, HopWord, Lease, LinkId, NeighborIndex, PoolIndex,
    Tick,
};

/// A two-way conversation between a client and a backend.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Flow {
    /// Scope and 5-tuple on the client's side: the forward key.
    pub key: FlowKey,
    nat_ip: Ipv4Addr,
    backend: Ipv4Addr,
    nat_port: u16,
    backend_port: u16,
    addresses: Delta,
    ports: Delta,
    /// Where the client was heard last.
    client: HopWord,
    /// The pool that its lease goes back to. A slot of `Pools`, which outlives generations.
    pub pool: PoolIndex,
    /// The connection that it belongs to.
    pub link: LinkId,
    /// The configuration that last judged it.
    pub generation: GenerationNumber,
    /// When its last packet came.
    pub last_seen: Tick,
    /// How long it may be silent in its present state, in ticks.
    pub timeout_ticks: u32,
    neighbor: u16,
    /// What it is doing.
    pub state: State,
    /// Whether the record is a flow's at all.
    pub(super) live: bool,
}

const _: () = assert!(size_of::<Flow>() == 64);

impl Flow {
    /// A flow whose first packet arrived now from `client`.
    #[must_use]
    pub fn open(key: FlowKey, lease: Lease, backend: (Ipv4Addr, u16), client: Hop) -> Flow {
        let from = Tuple {
            source: key.client,
            destination: key.endpoint,
            source_port: key.client_port,
            destination_port: key.endpoint_port,
        };
        let to = Tuple {
            source: lease.nat_ip,
            destination: backend.0,
            source_port: lease.port,
            destination_port: backend.1,
        };
        let rewrite = Rewrite::new(&from, &to);
        Flow {
            key,
            nat_ip: lease.nat_ip,
            backend: backend.0,
            nat_port: lease.port,
            backend_port: backend.1,
            addresses: rewrite.addresses,
            ports: rewrite.ports,
            client: client.into(),
            pool: lease.pool,
            link: LinkId(0),
            generation: GenerationNumber(0),
            last_seen: Tick(0),
            timeout_ticks: 1,
            neighbor: 0,
            state: State::opened(key.protocol),
            live: true,
        }
    }

    /// What its packets in a direction become. One is the inverse of the other (I4).
    #[inline]
    #[must_use]
    pub fn rewrite(&self, direction: Direction) -> Rewrite {
        match direction {
            Direction::Forward => Rewrite {
                to: Tuple {
                    source: self.nat_ip,
                    destination: self.backend,
                    source_port: self.nat_port,
                    destination_port: self.backend_port,
                },
                addresses: self.addresses,
                ports: self.ports,
            },
            Direction::Return => Rewrite {
                to: Tuple {
                    source: self.key.endpoint,
                    destination: self.key.client,
                    source_port: self.key.endpoint_port,
                    destination_port: self.key.client_port,
                },
                addresses: self.addresses.inverse(),
                ports: self.ports.inverse(),
            },
        }
    }

    /// What its packets in a direction become, in the words of a plain frame.
    #[inline(always)]
    #[must_use]
    pub fn plain_rewrite(&self, direction: Direction) -> PlainRewrite {
        match direction {
            Direction::Forward => PlainRewrite {
                addresses: words(self.nat_ip, self.backend),
                ports: ports_word(self.nat_port, self.backend_port),
                header: self.addresses,
                transport: self.addresses.and(self.ports),
            },
            Direction::Return => PlainRewrite {
                addresses: words(self.key.endpoint, self.key.client),
                ports: ports_word(self.key.endpoint_port, self.key.client_port),
                header: self.addresses.inverse(),
                transport: self.addresses.and(self.ports).inverse(),
            },
        }
    }

    /// The ports of a packet that comes back, as they lie in it.
    #[inline(always)]
    #[must_use]
    pub fn return_ports(&self) -> u32 {
        ports_word(self.backend_port, self.nat_port)
    }

    /// The leased NAT IP and port.
    #[inline]
    #[must_use]
    pub fn nat(&self) -> (Ipv4Addr, u16) {
        (self.nat_ip, self.nat_port)
    }

    /// The backend's address and port.
    #[inline]
    #[must_use]
    pub fn backend(&self) -> (Ipv4Addr, u16) {
        (self.backend, self.backend_port)
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

    /// Ends it; the record is vacant from now on and remembers the one that was vacant before.
    pub(super) fn vacate(&mut self, before: Option<FlowIndex>) {
        self.live = false;
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

    /// The tick from which on it is expired.
    #[must_use]
    pub fn deadline(&self) -> Tick {
        self.last_seen.after(self.timeout_ticks)
    }
}

/// Two addresses as they lie in a packet.
#[inline(always)]
fn words(source: Ipv4Addr, destination: Ipv4Addr) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (source.octets(), destination.octets());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}
