//! Addresses of both IP families: prefixes, and addresses of virtual networks.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ScopeId;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

impl Family {
    /// That of an address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    /// Bits of an address.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// Bytes of a header without options or extensions.
    #[inline(always)]
    #[must_use]
    pub const fn header_bytes(self) -> u16 {
        match self {
            Family::V4 => 20,
            Family::V6 => 40,
        }
    }
}

/// The two halves of an address, most significant first. One of IPv4 is a number below 2^32, which
/// no IPv6 address that anybody may have is (see [`is_nobodys`]).
#[inline]
#[must_use]
pub fn halves(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(address) => [0, u64::from(address.to_bits())],
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, rest @ ..] = address.octets();
            [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(rest)]
        }
    }
}

/// An address in one word, which a kernel filter can compute as well: one of IPv4 as it is, of IPv6
/// the xor of its words. Many addresses have the same one.
#[inline(always)]
#[must_use]
pub fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let words = octets.as_chunks::<4>().0.iter();
            words.fold(0, |mixed, word| mixed ^ u32::from_be_bytes(*word))
        }
    }
}

/// Whether an address can be no host's: for IPv4 RFC 1812 5.3.7, for IPv6 RFC 4291 2.4 to 2.7.
#[inline(always)]
#[must_use]
pub fn is_nobodys(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            // 224/4 is multicast, 240/4 reserved and 255.255.255.255 in it.
            first == 0 || first == 127 || first >= 224
        }
        // Unspecified, loopback, and IPv4 addresses in the clothes of IPv6 ones are in the first
        // 2^64 addresses, of which none is given to hosts (0000::/8, RFC 4291 2.4).
        IpAddr::V6(address) => address.is_multicast() || halves(IpAddr::V6(address))[0] == 0,
    }
}

/// A prefix in canonical form: no address bit is set beyond its length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix, or `None` if `length` is over the address's bits or the address has bits beyond
    /// it.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        let is_canonical = match address {
            IpAddr::V4(address) => length <= 32 && address.to_bits() & !mask_v4(length) == 0,
            IpAddr::V6(address) => length <= 128 && address.to_bits() & !mask_v6(length) == 0,
        };
        is_canonical.then_some(Prefix { address, length })
    }

    /// Whether `address` lies within. None of another family does.
    #[inline]
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(address)) => {
                address.to_bits() & mask_v4(self.length) == own.to_bits()
            }
            (IpAddr::V6(own), IpAddr::V6(address)) => {
                address.to_bits() & mask_v6(self.length) == own.to_bits()
            }
            _ => false,
        }
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(self, other: Prefix) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The last address; the broadcast address of an IPv4 subnet.
    #[must_use]
    pub fn last(self) -> IpAddr {
        match self.address {
            IpAddr::V4(own) => Ipv4Addr::from_bits(own.to_bits() | !mask_v4(self.length)).into(),
            IpAddr::V6(own) => Ipv6Addr::from_bits(own.to_bits() | !mask_v6(self.length)).into(),
        }
    }

    /// The family of its addresses.
    #[must_use]
    pub fn family(self) -> Family {
        Family::of(self.address)
    }

    /// How many leading bits are fixed.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }
}

#[inline]
fn mask_v4(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

#[inline]
fn mask_v6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address of a virtual network: what an address alone never is, because address spaces overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScopedAddress {
    /// The virtual network.
    pub scope: ScopeId,
    /// The address in it.
    pub address: IpAddr,
}

impl Hash for ScopedAddress {
    /// One word for IPv4, instead of a slice of bytes with its length: a tenth of the instructions.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let scope = u64::from(self.scope.0) << 32;
        match self.address {
            IpAddr::V4(address) => state.write_u64(scope | u64::from(address.to_bits())),
            IpAddr::V6(address) => {
                state.write_u64(scope);
                state.write_u128(address.to_bits());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn prefix_is_canonical_and_contains_its_addresses_only() {
        for (base, length, inside, outside, beyond) in [
            ("10.0.0.0", 16, "10.0.255.255", "10.1.0.0", 33),
            ("2001:db8::", 32, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", 129),
        ] {
            assert_eq!(Prefix::new(address(inside), length), None);
            assert_eq!(Prefix::new(address(base), beyond), None);
            let prefix = Prefix::new(address(base), length).unwrap();
            assert!(prefix.contains(address(inside)));
            assert!(!prefix.contains(address(outside)));
            assert_eq!(prefix.last(), address(inside));
        }
    }

    #[test]
    fn everything_of_one_family_is_nothing_of_the_other() {
        let all = |base| Prefix::new(address(base), 0).unwrap();
        assert!(all("0.0.0.0").contains(address("255.255.255.255")));
        assert!(all("::").contains(address("ff02::1")));
        assert!(!all("0.0.0.0").contains(address("::1")));
        assert!(!all("::").contains(address("10.0.0.1")) && !all("::").overlaps(all("0.0.0.0")));
    }

    #[test]
    fn addresses_that_no_host_has() {
        for nobody in ["0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
            assert!(is_nobodys(address(nobody)), "{nobody}");
        }
        for nobody in ["::", "::1", "::ffff:10.0.0.1", "ff02::1"] {
            assert!(is_nobodys(address(nobody)), "{nobody}");
        }
        for somebody in ["10.0.0.1", "fd00::1", "fe80::1", "64:ff9b::10.0.0.1", "2001:db8::5"] {
            assert!(!is_nobodys(address(somebody)), "{somebody}");
        }
    }
}
