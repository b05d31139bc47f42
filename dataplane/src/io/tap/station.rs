//! The Ethernet address that adit has on a TAP device. A pure function.
//!
//! The kernel's interface is one end of the wire, and adit is the other: a station of its own. Its
//! address must not change when adit restarts, or hosts would send to the old one until their ARP
//! caches expire. So it is derived from what the configuration calls the device: the 64-bit FNV-1a
//! hash of the namespace's path, a zero byte and the interface's name, of which the first six
//! bytes, in big-endian order, become the address, with the first octet made that of a locally
//! administered unicast address (IEEE 802, 8.4).
//!
//! Two TAP devices of equal names are equal stations; whoever bridges both must rename one.

use crate::types::MacAddress;

/// The address of adit on the device `name` in the namespace at this path, whose other end is
/// `theirs`; never equal to that.
pub(super) fn address(namespace: Option<&str>, name: &str, theirs: MacAddress) -> MacAddress {
    let path = namespace.unwrap_or("").bytes();
    let hash = fnv1a(path.chain([0]).chain(name.bytes()));
    let [first, b, c, d, e, last, ..] = hash.to_be_bytes();
    let mac = [(first & !GROUP) | LOCAL, b, c, d, e, last];
    if mac == theirs.0 {
        return MacAddress([mac[0], b, c, d, e, last ^ 1]);
    }
    MacAddress(mac)
}

/// Bits of the first octet.
const GROUP: u8 = 1;
const LOCAL: u8 = 2;

fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        // From the reference test suite of the hash's authors.
        assert_eq!(fnv1a("".bytes()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a".bytes()), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar".bytes()), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn stations_are_stable_local_unicast_and_apart() {
        let at = |namespace, name| address(namespace, name, MacAddress::ZERO);
        let tap0 = at(None, "tap0");
        assert_eq!(tap0, at(None, "tap0"));
        let others =
            [at(None, "tap1"), at(Some("/run/netns/a"), "tap0"), at(Some("/run/netns/b"), "tap0")];
        for (index, mac) in others.iter().enumerate() {
            assert!(mac.is_unicast() && mac.0[0] & LOCAL != 0, "{mac}");
            assert_ne!(*mac, tap0);
            assert!(!others[..index].contains(mac));
        }
    }

    #[test]
    fn a_station_never_has_the_interface_s_address() {
        let free = address(None, "tap0", MacAddress::ZERO);
        let evading = address(None, "tap0", free);
        assert_ne!(evading, free);
        assert!(evading.is_unicast());
    }
}
