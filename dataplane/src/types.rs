//! Plain data that every room shares: addresses, indices and instants. No logic but arithmetic.
//!
//! An index names a slot of one table and is meaningless for any other; the newtypes keep them
//! apart. Bounds on how many of each exist are in [`crate::limits`].

mod address;
mod addresses;

use core::fmt;
use core::time::Duration;

pub use address::{Address, Family, Prefix, ScopedAddress};
pub use addresses::Addresses;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// All hosts of the segment.
    pub const BROADCAST: MacAddress = MacAddress([0xff; 6]);
    /// No address: what an ARP request asks for.
    pub const ZERO: MacAddress = MacAddress([0; 6]);

    /// Broadcast or multicast: the group bit of the first octet (IEEE 802.3, 3.2.3).
    #[inline]
    #[must_use]
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// The address as the lower 48 bits of a word, in the order in which it lies in memory.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// From [`MacAddress::word`].
    #[inline(always)]
    #[must_use]
    pub const fn of_word(word: u64) -> MacAddress {
        let [a, b, c, d, e, f, ..] = word.to_le_bytes();
        MacAddress([a, b, c, d, e, f])
    }

    /// As [`MacAddress::is_unicast`], of [`MacAddress::word`].
    #[inline(always)]
    #[must_use]
    pub const fn is_unicast_word(word: u64) -> bool {
        word & 1 == 0 && word != 0
    }

    /// May stand as somebody's own address: neither a group nor zero.
    #[inline]
    #[must_use]
    pub fn is_unicast(self) -> bool {
        !self.is_group() && self != Self::ZERO
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The transport protocols that Private Link carries: TCP and UDP, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293; IP protocol number 6.
    Tcp = 6,
    /// RFC 768; IP protocol number 17.
    Udp = 17,
}

impl Protocol {
    /// Both, in the order of their numbers.
    pub const ALL: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

    /// Lower-case name, as in configuration and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// Which way a packet of a flow travels, always from the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client through the endpoint to the backend.
    Forward,
    /// From the backend to the NAT IP and back to the client.
    Return,
}

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub $repr);

        impl $name {
            /// The slot of a table that this index names.
            #[inline]
            #[must_use]
            pub const fn slot(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index!(
    /// A device among those of a snapshot.
    DeviceIndex(u16)
);
index!(
    /// A virtual network. No key exists without one (I1), so tenants with equal addresses stay
    /// apart.
    ScopeId(u16)
);
index!(
    /// A private endpoint among those of a snapshot.
    EndpointIndex(u32)
);
index!(
    /// A private link service among those of a snapshot.
    ServiceIndex(u32)
);
index!(
    /// A network security group among those of a snapshot.
    SecurityGroupIndex(u32)
);
index!(
    /// A backend among those of a snapshot.
    BackendIndex(u32)
);
index!(
    /// A port pool: one (NAT IP, backend, protocol).
    PoolIndex(u16)
);
index!(
    /// A row of port pools among those of a snapshot: all that a new flow may lease from.
    RowIndex(u16)
);
index!(
    /// The flows of a connection among those that a generation counts.
    UsageIndex(u32)
);
index!(
    /// An account: what a connection carried to and from one backend with one protocol.
    AccountIndex(u16)
);
impl AccountIndex {
    /// The account of flows that have no other: there are more connections than accounts.
    pub const OTHERS: AccountIndex = AccountIndex(0);
}

index!(
    /// A next hop in the neighbor table.
    NeighborIndex(u32)
);
index!(
    /// A flow in the table of the worker that owns it.
    FlowIndex(u32)
);
index!(
    /// A worker thread; 0 is the first.
    WorkerId(u8)
);

/// What a client's mixed address and port are multiplied by to tell the worker that owns its flow
/// (`FlowKey::owner`). Here, because the kernel is given it too.
pub const OWNER_MULTIPLIER: u32 = 0x9e37_79b1;

/// The 32-bit id of a connection between an endpoint and a service: nonzero, unique within a run,
/// never given to another connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LinkId(pub u32);

/// The serial number of a published configuration. A flow stores the one that last judged it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct GenerationNumber(pub u32);

/// A point in time, in nanoseconds since an origin that the caller chose (and never moves back).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Instant = Instant(0);

    /// `nanos` after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant `duration` later; the last representable one if that is beyond it.
    #[must_use]
    pub fn after(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The tick that this instant lies in.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "ticks wrap by design; see `Tick`")]
    pub const fn tick(self) -> Tick {
        Tick((self.0 / Tick::NANOS) as u32)
    }
}

/// Time in steps of 10 ms, as the tables store it: four bytes, wrapping after 497 days.
///
/// Two ticks compare through [`Tick::since`], which is right while they lie less than 248 days
/// apart; no timeout comes near.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tick(pub u32);

impl Tick {
    /// Length of a tick in nanoseconds.
    pub const NANOS: u64 = 10_000_000;

    /// Ticks from `earlier` to this one; zero if `earlier` lies ahead.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Tick) -> u32 {
        let ticks = self.0.wrapping_sub(earlier.0);
        if ticks > u32::MAX / 2 { 0 } else { ticks }
    }

    /// The tick `ticks` later.
    #[inline]
    #[must_use]
    pub const fn after(self, ticks: u32) -> Tick {
        Tick(self.0.wrapping_add(ticks))
    }

    /// How many ticks cover `duration`, at least one, at most half the range.
    #[must_use]
    pub fn count(duration: Duration) -> u32 {
        let ticks = duration.as_nanos().div_ceil(u128::from(Self::NANOS));
        u32::try_from(ticks).unwrap_or(u32::MAX).clamp(1, u32::MAX / 2)
    }
}

/// Where frames to a station go: out of which device, to which station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The device.
    pub device: DeviceIndex,
    /// The station.
    pub mac: MacAddress,
}

/// A [`Hop`] in one word, or none: the station in the order in which it lies in memory, the device
/// above it. Zero is none, because no hop has the station zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct HopWord(pub u64);

impl HopWord {
    /// No hop.
    pub const NONE: HopWord = HopWord(0);

    /// The hop to a station, which is [`MacAddress::word`], behind a device.
    #[inline(always)]
    #[must_use]
    pub const fn new(device: DeviceIndex, station: u64) -> HopWord {
        HopWord(station | (device.0 as u64) << 48)
    }

    /// The device.
    #[inline(always)]
    #[must_use]
    pub const fn device(self) -> DeviceIndex {
        let [.., low, high] = self.0.to_le_bytes();
        DeviceIndex(u16::from_le_bytes([low, high]))
    }

    /// The hop, if there is one.
    #[inline(always)]
    #[must_use]
    pub fn hop(self) -> Option<Hop> {
        let mac = MacAddress::of_word(self.0);
        mac.is_unicast().then_some(Hop { device: self.device(), mac })
    }
}

impl From<Hop> for HopWord {
    #[inline(always)]
    fn from(hop: Hop) -> HopWord {
        HopWord::new(hop.device, hop.mac.word())
    }
}

/// A borrowed port. The pool knows of which NAT IP it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The pool that it goes back to.
    pub pool: PoolIndex,
    /// The port.
    pub port: u16,
}

/// What becomes of flows when they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Ending {
    /// Whether both sides of an established TCP flow are reset when adit ends it: because it was
    /// idle for too long, or because the configuration no longer wants it.
    pub resets: bool,
    /// How long its port rests before it is leased again (RFC 6888 REQ-8), in ticks of 10 ms; 0:
    /// not at all.
    pub hold_down_ticks: u32,
}

/// What of a client's first packet decides which backend serves its flow, beside the connection
/// that it came by. Flows that agree in it have the same backend while the pool is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Persistence {
    /// Addresses, ports and protocol: each flow by itself.
    #[default]
    None,
    /// The addresses: all flows of a client.
    SourceIp,
    /// Addresses and protocol: all flows of a client of one protocol.
    SourceIpProtocol,
}

/// Whose layout a PROXY protocol v2 header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyDialect {
    /// Azure Private Link: the link id as a little-endian number.
    Azure,
    /// AWS PrivateLink: the endpoint's id as text.
    Aws,
    /// Google Cloud Private Service Connect: the connection's id as a big-endian number.
    Gcp,
}

/// Where a large table lies in memory, for whoever manages memory. Nothing can be read through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Address of the first byte.
    pub start: usize,
    /// How many bytes.
    pub bytes: usize,
}

impl Area {
    /// Where `count` values lie, or will when they are there, from `first` on.
    #[must_use]
    pub fn of<T>(first: *const T, count: usize) -> Area {
        Area { start: first.addr(), bytes: count * size_of::<T>() }
    }
}

/// How long a flow lives without a packet, by what it is doing. In ticks of 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP before the handshake is done (RFC 5382 REQ-5: transitory).
    pub opening_ticks: u32,
    /// TCP after it (RFC 5382 REQ-5: established).
    pub established_ticks: u32,
    /// TCP after both FINs, or after a reset (RFC 7857 2.1, 2.2).
    pub closing_ticks: u32,
    /// UDP (RFC 4787 REQ-5).
    pub udp_ticks: u32,
}

impl Timeouts {
    /// From durations; each is at least one tick.
    #[must_use]
    pub fn new(opening: Duration, established: Duration, closing: Duration, udp: Duration) -> Self {
        Timeouts {
            opening_ticks: Tick::count(opening),
            established_ticks: Tick::count(established),
            closing_ticks: Tick::count(closing),
            udp_ticks: Tick::count(udp),
        }
    }
}

impl Default for Timeouts {
    /// Azure's: 300 s established, 240 s UDP, 30 s otherwise.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self::new(seconds(30), seconds(300), seconds(30), seconds(240))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_compare_across_the_wrap() {
        let before = Tick(u32::MAX - 1);
        assert_eq!(before.after(5).since(before), 5);
        assert_eq!(before.since(before.after(5)), 0);
        assert_eq!(Tick::count(Duration::from_millis(1)), 1);
        assert_eq!(Tick::count(Duration::from_secs(300)), 30_000);
    }
}
