//! The records that the program `shortcut.bpf.c` and adit share, byte for byte, and the sums that
//! they hold. Fields that hold what packets hold have the byte order of packets.

use std::net::SocketAddrV4;

use crate::fast_path::{Carried, Course, Shortcut, ShortcutKey};
use crate::limits::ACCOUNTS_MAX;
use crate::types::{AccountIndex, Direction, MacAddress, ScopeId};

/// An interface under the program.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbox {
    scope: u32,
    /// The interface at which adit reads what arrives here.
    interface: u32,
    station: [u8; 6],
    unused: [u8; 2],
}

impl Inbox {
    pub(super) fn new(scope: ScopeId, interface: u32, station: MacAddress) -> Inbox {
        Inbox { scope: u32::from(scope.0), interface, station: station.0, unused: [0; 2] }
    }
}

/// Which packets an entry is for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
    domain: u32,
}

impl Key {
    pub(super) fn of(key: &ShortcutKey) -> Key {
        let Course { source, destination } = key.arrives;
        Key {
            source: source.ip().octets(),
            destination: destination.ip().octets(),
            source_port: source.port().to_be_bytes(),
            destination_port: destination.port().to_be_bytes(),
            domain: u32::from(key.scope.0) << 8 | key.protocol as u32,
        }
    }
}

/// What becomes of them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    serial: u32,
    epoch: u32,
    key: Key,
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
    stations: [u8; 12],
    from: [u8; 6],
    leaves_by_peer: u16,
    arrives_by: u32,
    leaves_by: u32,
    mtu: u32,
    addresses: u32,
    ports: u32,
    counts: u32,
    cell: u32,
    serial_again: u32,
    pub(super) last_used_nanos: u64,
    pub(super) carried: Passed,
}

const _: () = assert!(size_of::<Entry>() == 112);

/// What one processor has carried, or one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl From<Passed> for Carried {
    fn from(Passed { packets, bytes }: Passed) -> Carried {
        Carried { packets, bytes }
    }
}

impl Entry {
    pub(super) fn of(shortcut: &Shortcut, by_peer: bool, epoch: u32, serial: u32) -> Entry {
        let (arrives, leaves) = (&shortcut.key.arrives, &shortcut.leaves);
        let [a, b, c, d, e, f] = shortcut.to.0;
        let [g, h, i, j, k, l] = shortcut.own.0;
        Entry {
            serial,
            epoch,
            key: Key::of(&shortcut.key),
            source: leaves.source.ip().octets(),
            destination: leaves.destination.ip().octets(),
            source_port: leaves.source.port().to_be_bytes(),
            destination_port: leaves.destination.port().to_be_bytes(),
            stations: [a, b, c, d, e, f, g, h, i, j, k, l],
            from: shortcut.from.map_or([0; 6], |(_, station)| station.0),
            leaves_by_peer: u16::from(by_peer),
            arrives_by: shortcut.from.map_or(0, |(interface, _)| interface.0),
            leaves_by: shortcut.by.0,
            mtu: shortcut.mtu,
            addresses: difference(&addresses(arrives), &addresses(leaves)),
            ports: difference(&[ports(arrives)], &[ports(leaves)]),
            counts: u32::from(shortcut.counts),
            cell: cell(shortcut.account, shortcut.way),
            serial_again: serial,
            last_used_nanos: 0,
            carried: Passed { packets: 0, bytes: 0 },
        }
    }
}

/// Where it is counted, among the cells of one processor.
pub(super) fn cell(account: AccountIndex, way: Direction) -> u32 {
    u32::from(account.0) << 1 | way as u32
}

/// Cells of one processor.
pub(super) const CELLS: u32 = 2 << 16;

const _: () = assert!(CELLS as usize == 2 * ACCOUNTS_MAX || cfg!(loom));

fn addresses(course: &Course) -> [u32; 2] {
    [&course.source, &course.destination].map(|at| u32::from_ne_bytes(at.ip().octets()))
}

fn ports(course: &Course) -> u32 {
    let port = |at: &SocketAddrV4| at.port().to_be_bytes();
    let ([a, b], [c, d]) = (port(&course.source), port(&course.destination));
    u32::from_ne_bytes([a, b, c, d])
}

/// What changes in a sum when words of a packet are replaced: the one's complement sum of the new
/// ones and of the inverted old ones, of 32 bits, as `bpf_csum_diff` gives it (RFC 1624).
fn difference(old: &[u32], new: &[u32]) -> u32 {
    let words = old.iter().map(|word| !word).chain(new.iter().copied());
    words.fold(0, |sum: u32, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u32::from(carry)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_added_to_a_sum_gives_the_sum_of_what_is_new() {
        let sum = |words: &[u32]| difference(&[], words);
        let add = |a: u32, b: u32| sum(&[a, b]);
        let (old, new) = ([0x0a00_0005, 0xffff_0001], [0xc0a8_0001, 0x0a01_00ff]);
        let fold = |mut sum: u32| {
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            sum
        };
        assert_eq!(fold(add(sum(&old), difference(&old, &new))), fold(sum(&new)));
        assert_eq!(difference(&old, &old), u32::MAX, "minus zero: nothing changes");
    }
}
