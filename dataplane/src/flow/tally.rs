//! What flows carried, and since when they are there, for whoever wants to know. Off until it is
//! asked for, and then of a fixed size (I8).
//!
//! What a flow carried lately is counted in its record, whose line its packets need anyhow
//! ([`Recent`]); when that is full it is added to the flow's tally, beside the records. So one
//! packet of five hundred needs the line of the tally, too.
//!
//! Memory: 4 bytes a flow for its beginning, and 32 if its traffic is counted; used as flows are.

use alloc::boxed::Box;
use alloc::vec;

use super::Flow;
use crate::record::{Count, Recording, Traffic};
use crate::types::{Area, Direction, FlowIndex, Tick};

/// Packets and bytes, by [`Direction`].
type Tally = [[u64; 2]; 2];

/// What a flow carried in one direction since that was last added to its tally, and whether its
/// tally is its own: one that it never was added to is what the place's last flow left.
///
/// 21 bits of bytes, ten of packets, one of whether. Full when the upper bit of either count is
/// set: what then is there leaves room for one more packet of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recent(u32);

impl Recent {
    /// A flow that begins.
    pub(super) const NOTHING: Recent = Recent(0);

    const PACKET: u32 = 1 << 21;
    /// More than a packet of either family can have.
    const PACKET_BYTES_MAX: u32 = 1 << 17;
    const BYTES: u32 = Recent::PACKET - 1;
    const PACKETS: u32 = 0x3ff << 21;
    const FULL: u32 = 1 << 30 | 1 << 20;
    const HAS_TALLY: u32 = 1 << 31;

    /// Adds a packet, and says whether that made it full: then it has to be emptied
    /// ([`Tallies::empty`]) before the next one.
    #[inline(always)]
    pub fn add(&mut self, bytes: u32) -> bool {
        self.0 += Recent::PACKET + bytes.min(Recent::PACKET_BYTES_MAX);
        self.0 & Recent::FULL != 0
    }

    fn count(self) -> Count {
        let packets = (self.0 & Recent::PACKETS) >> 21;
        Count { packets: packets.into(), bytes: (self.0 & Recent::BYTES).into() }
    }

    fn has_tally(self) -> bool {
        self.0 & Recent::HAS_TALLY != 0
    }
}

/// See the module's documentation.
#[derive(Default)]
pub struct Tallies {
    tallies: Box<[Tally]>,
    began: Box<[Tick]>,
}

impl Tallies {
    /// For a table of `capacity` flows.
    #[must_use]
    pub fn new(capacity: usize, recording: Recording) -> Tallies {
        let room = |is_wanted: bool| if is_wanted { capacity } else { 0 };
        Tallies {
            tallies: vec![[[0; 2]; 2]; room(recording == Recording::Traffic)].into_boxed_slice(),
            began: vec![Tick(0); room(recording != Recording::Nothing)].into_boxed_slice(),
        }
    }

    /// Bytes of memory when full.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.tallies) + size_of_val(&*self.began)
    }

    /// What packets read and write at random places.
    #[must_use]
    pub fn areas(&self) -> [Area; 2] {
        let Tallies { tallies, began } = self;
        [Area::of(tallies.as_ptr(), tallies.len()), Area::of(began.as_ptr(), began.len())]
    }

    /// A flow begins.
    pub fn begin(&mut self, flow: FlowIndex, now: Tick) {
        if let Some(began) = self.began.get_mut(flow.slot()) {
            *began = now;
        }
    }

    /// Whether traffic is counted at all.
    #[inline(always)]
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.tallies.is_empty()
    }

    /// What a flow's record counts in a direction is full, and goes to the flow's tally.
    #[cold]
    pub fn empty(&mut self, number: FlowIndex, direction: Direction, flow: &mut Flow) {
        self.add(number, direction, flow, Count::default());
    }

    /// A flow has carried this, beside what its record counts, which goes to its tally, too.
    #[cold]
    pub fn add(&mut self, number: FlowIndex, direction: Direction, flow: &mut Flow, count: Count) {
        let Some(tally) = self.tallies.get_mut(number.slot()) else { return };
        let recent = flow.recent_mut(direction);
        let [packets, bytes] = &mut tally[direction as usize];
        if !recent.has_tally() {
            (*packets, *bytes) = (0, 0);
        }
        let lately = recent.count();
        *packets += lately.packets + count.packets;
        *bytes += lately.bytes + count.bytes;
        *recent = Recent(Recent::HAS_TALLY);
    }

    /// When a flow began; zero if that is not recorded.
    #[must_use]
    pub fn began(&self, flow: FlowIndex) -> Tick {
        self.began.get(flow.slot()).copied().unwrap_or(Tick(0))
    }

    /// What a flow has carried so far; nothing if that is not recorded.
    #[must_use]
    pub fn traffic(&self, number: FlowIndex, flow: &Flow) -> Traffic {
        let of = |direction: Direction| {
            let recent = flow.recent(direction);
            let mut count = recent.count();
            // Its line is left alone if there is nothing in it.
            if recent.has_tally()
                && let Some(tally) = self.tallies.get(number.slot())
            {
                let [packets, bytes] = tally[direction as usize];
                count += Count { packets, bytes };
            }
            count
        };
        Traffic { forward: of(Direction::Forward), back: of(Direction::Return) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Outsides, Serving, Terms};
    use crate::packet::FlowKey;
    use crate::types::{
        Address, DeviceIndex, Hop, Lease, MacAddress, PoolIndex, Protocol, ScopeId,
    };

    fn flow() -> Flow {
        let address = |last: u8| Address::from(core::net::Ipv4Addr::new(10, 0, 0, last));
        let key = FlowKey {
            client: address(1),
            endpoint: address(2),
            client_port: 40_000,
            endpoint_port: 443,
            scope: ScopeId(1),
            protocol: Protocol::Udp,
        };
        let lease = Lease { pool: PoolIndex(0), port: 1_024 };
        let serving = Serving { backend: address(4), target: address(4), port: 443 };
        let client = Hop { device: DeviceIndex(0), mac: MacAddress::ZERO };
        let terms = Terms { key: &key, lease, serving: &serving };
        Flow::open(&terms, &Outsides::new(), client)
    }

    const fn count(packets: u64, bytes: u64) -> Count {
        Count { packets, bytes }
    }

    /// Tallies, the number of a flow, and its record.
    fn begun(recording: Recording) -> (Tallies, FlowIndex, Flow) {
        let mut tallies = Tallies::new(2, recording);
        tallies.begin(FlowIndex(1), Tick(7));
        (tallies, FlowIndex(1), flow())
    }

    fn carry(
        tallies: &mut Tallies,
        number: FlowIndex,
        flow: &mut Flow,
        (way, bytes): (Direction, u32),
    ) {
        if flow.recent_mut(way).add(bytes) {
            tallies.empty(number, way, flow);
        }
    }

    #[test]
    fn flows_are_counted_by_direction_and_to_the_last_byte() {
        for (packets, bytes) in [(1, 60), (511, 60), (512, 60), (5_000, 1_500), (1_000, 65_575)] {
            let (mut tallies, number, mut flow) = begun(Recording::Traffic);
            for _ in 0..packets {
                let way = Direction::Forward;
                carry(&mut tallies, number, &mut flow, (way, bytes));
            }
            let way = Direction::Return;
            carry(&mut tallies, number, &mut flow, (way, 40));
            let forward = count(packets, packets * u64::from(bytes));
            let expected = Traffic { forward, back: count(1, 40) };
            assert_eq!(tallies.traffic(number, &flow), expected, "{packets} of {bytes}");
            assert_eq!(tallies.began(number), Tick(7));
        }
    }

    #[test]
    fn a_flow_has_nothing_of_what_the_last_one_left_in_its_place() {
        let (mut tallies, number, mut flow) = begun(Recording::Traffic);
        let way = Direction::Forward;
        tallies.add(number, way, &mut flow, count(1 << 40, 1 << 50));
        assert_eq!(tallies.traffic(number, &flow).forward, count(1 << 40, 1 << 50));
        flow = self::flow();
        tallies.begin(number, Tick(9));
        assert_eq!(tallies.traffic(number, &flow), Traffic::default());
        carry(&mut tallies, number, &mut flow, (way, 60));
        tallies.add(number, way, &mut flow, count(2, 90));
        assert_eq!(tallies.traffic(number, &flow).forward, count(3, 150));
        assert_eq!(tallies.bytes(), 2 * 36);
    }

    #[test]
    fn what_is_not_recorded_takes_no_memory() {
        for (recording, bytes) in [(Recording::Nothing, 0), (Recording::Flows, 8)] {
            let (mut tallies, number, mut flow) = begun(recording);
            assert_eq!((tallies.bytes(), tallies.counts()), (bytes, false));
            let way = Direction::Return;
            tallies.add(number, way, &mut flow, count(1, 1));
            assert_eq!(tallies.traffic(number, &flow), Traffic::default());
        }
    }
}
