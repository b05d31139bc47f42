//! The records that the program `shortcut.bpf.c` and adit share, byte for byte, and the hash by
//! which both find them. Fields that hold what packets hold have the byte order of packets.

use crate::fast_path::{Carried, Course, Shortcut, ShortcutKey};
use crate::limits::ACCOUNTS_MAX;
use crate::types::{AccountIndex, Direction, MacAddress};

/// Places of interfaces.
const INBOXES: u32 = 4_096;

/// The place of an interface among those of the program: that of other interfaces, too.
pub(super) fn place(interface: u32) -> u16 {
    let [low, high, ..] = (interface % INBOXES).to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// An interface under the program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inbox {
    /// The interface's number.
    pub(super) of: u32,
    pub(super) scope: u32,
    /// The interface at which adit reads what arrives here.
    pub(super) interface: u32,
    pub(super) station: [u8; 6],
    /// Whether what leaves here goes straight to the other end of a veth.
    pub(super) by_peer: u16,
}

/// Source and destination, as they lie in a packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

impl From<&Course> for Ends {
    fn from(Course { source, destination }: &Course) -> Ends {
        Ends {
            source: source.ip().octets(),
            destination: destination.ip().octets(),
            source_port: source.port().to_be_bytes(),
            destination_port: destination.port().to_be_bytes(),
        }
    }
}

/// Which packets a slot is for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    arrives: Ends,
    domain: u32,
}

impl Key {
    pub(super) fn of(key: &ShortcutKey) -> Key {
        let domain = u32::from(key.scope.0) << 8 | key.protocol as u32;
        Key { arrives: Ends::from(&key.arrives), domain }
    }

    /// The two buckets that it may be in. Nobody outside knows the seeds, so that nobody can fill
    /// the buckets of another's flows.
    pub(super) fn buckets(&self, seeds: &[u64; 2]) -> [u32; 2] {
        let word = |bytes: [u8; 4]| u64::from(u32::from_ne_bytes(bytes));
        let half = |bytes: [u8; 2]| u64::from(u16::from_ne_bytes(bytes));
        let Ends { source, destination, source_port, destination_port } = self.arrives;
        let addresses = word(source) << 32 | word(destination);
        let ports = half(source_port) << 48 | half(destination_port) << 32;
        let mut hash = (addresses ^ seeds[0]).wrapping_mul(0x9fb2_1c65_1e98_df25);
        hash ^= hash >> 32;
        hash ^= ports | u64::from(self.domain);
        hash = (hash ^ seeds[1]).wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0x9fb2_1c65_1e98_df25);
        let [.., a, b, c, d] = hash.to_le_bytes();
        [u16::from_le_bytes([c, d]), u16::from_le_bytes([a, b])].map(u32::from)
    }
}

/// Slots that a key may be in, of each of its two buckets.
pub(super) const SLOTS_PER_BUCKET: usize = 4;

/// All buckets: as many as two bytes can name.
pub(super) const BUCKETS: usize = 1 << 16;

/// What becomes of the packets of one direction of a flow. One cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Another one whenever the slot was written; odd meanwhile.
    pub(super) serial: u32,
    /// 0: the slot is free.
    pub(super) epoch: u32,
    pub(super) key: Key,
    becomes: Ends,
    from: [u8; 6],
    to: [u8; 6],
    account: u16,
    leaves: u16,
    arrives: u16,
    mtu: u16,
    pub(super) last_used_nanos: u64,
}

/// Flags of `leaves`, above the place of the interface: counted as the direction of answers; also
/// counted for the slot; and whichever interface of the scope it came by.
const RETURNS: u16 = 1 << 12;
const COUNTS: u16 = 1 << 13;
const ANYWHERE: u16 = 1 << 14;

const _: () = assert!(size_of::<Slot>() == 64 && INBOXES == RETURNS as u32);

impl Slot {
    /// Of a shortcut, before it has been written anywhere.
    pub(super) fn of(shortcut: &Shortcut, epoch: u32) -> Slot {
        let Shortcut { key, from, leaves, by, account, way, counts, .. } = shortcut;
        let flag = |is_set: bool, flag: u16| if is_set { flag } else { 0 };
        let flags = flag(*way == Direction::Return, RETURNS)
            | flag(*counts, COUNTS)
            | flag(from.is_none(), ANYWHERE);
        Slot {
            serial: 0,
            epoch,
            key: Key::of(key),
            becomes: Ends::from(leaves),
            from: from.map_or(MacAddress::ZERO, |(_, station)| station).0,
            to: shortcut.to.0,
            account: account.0,
            leaves: place(by.0) | flags,
            arrives: from.map_or(0, |(interface, _)| place(interface.0)),
            mtu: u16::try_from(shortcut.mtu).unwrap_or(u16::MAX),
            last_used_nanos: 0,
        }
    }
}

/// What the program goes by, as words: the epoch in force, and the seeds of the hash.
pub(super) type Settings = [u64; 3];

/// What one processor has carried, or one slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl From<Passed> for Carried {
    fn from(Passed { packets, bytes }: Passed) -> Carried {
        Carried { packets, bytes }
    }
}

/// Where an account is counted, among the cells of one processor.
pub(super) fn cell(account: AccountIndex, way: Direction) -> u32 {
    u32::from(account.0) << 1 | way as u32
}

/// Cells of one processor.
pub(super) const CELLS: u32 = 2 << 16;

const _: () = assert!(CELLS as usize == 2 * ACCOUNTS_MAX || cfg!(loom));
const _: () = assert!(Direction::Forward as u32 == 0 && Direction::Return as u32 == 1);
