//! Addresses of both IP families in one type, prefixes, and addresses of virtual networks.

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
    /// Both.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

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

/// An address of either family in two words, so that it is copied and compared as a number is.
///
/// One of IPv4 is as IPv6 has it, `::ffff:a.b.c.d` (RFC 4291 2.5.5.2). Whoever makes one of what a
/// packet of IPv6 brings has to refuse those: they would else be taken for one of IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    high: u64,
    low: u64,
}

/// What an address of IPv4 has above its 32 bits.
const MAPPED: u64 = 0xffff << 32;

impl Address {
    /// From the standard library's type.
    #[inline(always)]
    #[must_use]
    pub const fn of(ip: IpAddr) -> Address {
        match ip {
            IpAddr::V4(address) => Address { high: 0, low: MAPPED | address.to_bits() as u64 },
            IpAddr::V6(address) => Address::of_bits(address.to_bits()),
        }
    }

    /// The family.
    #[inline(always)]
    #[must_use]
    pub const fn family(self) -> Family {
        if self.high == 0 && self.low >> 32 == MAPPED >> 32 { Family::V4 } else { Family::V6 }
    }

    /// Its last 32 bits: all of it, if it is of IPv4.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
    pub const fn last_word(self) -> u32 {
        self.low as u32
    }

    /// The address with these halves.
    #[inline(always)]
    #[must_use]
    pub const fn of_halves([high, low]: [u64; 2]) -> Address {
        Address { high, low }
    }

    /// Its two halves, most significant first.
    #[inline(always)]
    #[must_use]
    pub const fn halves(self) -> [u64; 2] {
        [self.high, self.low]
    }

    /// As the standard library has it.
    #[inline]
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        match self.family() {
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(self.last_word())),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(self.bits())),
        }
    }

    const fn bits(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
    const fn of_bits(bits: u128) -> Address {
        Address { high: (bits >> 64) as u64, low: bits as u64 }
    }

    #[inline(always)]
    const fn and(self, mask: Address) -> Address {
        Address { high: self.high & mask.high, low: self.low & mask.low }
    }

    /// In one word, which a kernel filter can compute as well: of IPv4 as it is, of IPv6 the xor of
    /// its words. Many addresses have the same one.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "words are what is wanted")]
    pub const fn folded(self) -> u32 {
        match self.family() {
            Family::V4 => self.last_word(),
            Family::V6 => {
                let mixed = self.high ^ self.low;
                (mixed >> 32) as u32 ^ mixed as u32
            }
        }
    }

    /// Whether it can be no host's: for IPv4 RFC 1812 5.3.7, for IPv6 RFC 4291 2.4 to 2.7.
    #[inline(always)]
    #[must_use]
    pub const fn is_nobodys(self) -> bool {
        match self.family() {
            Family::V4 => {
                let first = self.last_word() >> 24;
                // 224/4 is multicast, 240/4 reserved and 255.255.255.255 in it.
                first == 0 || first == 127 || first >= 224
            }
            // Unspecified, loopback, and others in the first 2^64 addresses, of which none is given
            // to hosts (0000::/8, RFC 4291 2.4); multicast.
            Family::V6 => self.high == 0 || self.high >> 56 == 0xff,
        }
    }
}

impl From<Ipv4Addr> for Address {
    #[inline(always)]
    fn from(address: Ipv4Addr) -> Address {
        Address::of(IpAddr::V4(address))
    }
}

impl From<Ipv6Addr> for Address {
    #[inline(always)]
    fn from(address: Ipv6Addr) -> Address {
        Address::of(IpAddr::V6(address))
    }
}

impl From<IpAddr> for Address {
    #[inline(always)]
    fn from(address: IpAddr) -> Address {
        Address::of(address)
    }
}

impl From<Address> for IpAddr {
    #[inline]
    fn from(address: Address) -> IpAddr {
        address.ip()
    }
}

impl From<[u8; 4]> for Address {
    #[inline]
    fn from(octets: [u8; 4]) -> Address {
        Ipv4Addr::from(octets).into()
    }
}

impl PartialEq<IpAddr> for Address {
    #[inline]
    fn eq(&self, other: &IpAddr) -> bool {
        *self == Address::from(*other)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.ip(), f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A prefix in canonical form: no address bit is set beyond its length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: Address,
    /// Which bits of an address are fixed.
    mask: Address,
    length: u8,
}

impl Prefix {
    /// The prefix, or `None` if `length` is over the address's bits or the address has bits beyond
    /// it.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        let address = Address::from(address);
        let fixed = match address.family() {
            Family::V4 => 96 + u32::from(length),
            Family::V6 => length.into(),
        };
        let free = 128_u32.checked_sub(fixed)?;
        let mask = Address::of_bits(u128::MAX.checked_shl(free).unwrap_or(0));
        let is_canonical = address.and(mask) == address;
        is_canonical.then_some(Prefix { address, mask, length })
    }

    /// Whether `address` lies within. None of another family does.
    #[inline]
    #[must_use]
    pub fn contains(self, address: impl Into<Address>) -> bool {
        let address = address.into();
        address.and(self.mask) == self.address && address.family() == self.family()
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(self, other: Prefix) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address.ip()
    }

    /// The last address; the broadcast address of an IPv4 subnet.
    #[must_use]
    pub fn last(self) -> IpAddr {
        Address::of_bits(self.address.bits() | !self.mask.bits()).ip()
    }

    /// The family of its addresses.
    #[inline]
    #[must_use]
    pub const fn family(self) -> Family {
        self.address.family()
    }

    /// How many leading bits are fixed.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }
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
    pub address: Address,
}

impl ScopedAddress {
    /// Of an address of either family.
    #[inline(always)]
    #[must_use]
    pub fn new(scope: ScopeId, address: impl Into<Address>) -> ScopedAddress {
        ScopedAddress { scope, address: address.into() }
    }
}

impl Hash for ScopedAddress {
    /// Two words, instead of a slice of bytes with its length: a tenth of the instructions.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [high, low] = self.address.halves();
        // No bit of the scope meets the 32 that addresses of IPv4 differ in.
        state.write_u64(high);
        state.write_u64(low ^ u64::from(self.scope.0) << 48);
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
    fn an_address_is_the_same_afterwards() {
        for text in ["0.0.0.0", "10.0.0.5", "255.255.255.255", "::", "::1", "fd00::1", "ff02::1"] {
            let packed = Address::from(address(text));
            assert_eq!((packed.ip(), packed.to_string()), (address(text), text.to_owned()));
            assert_eq!(packed.family(), Family::of(address(text)));
        }
    }

    #[test]
    fn addresses_that_no_host_has() {
        for nobody in ["0.0.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
            assert!(Address::from(address(nobody)).is_nobodys(), "{nobody}");
        }
        for nobody in ["::", "::1", "::10.0.0.1", "ff02::1"] {
            assert!(Address::from(address(nobody)).is_nobodys(), "{nobody}");
        }
        for somebody in ["10.0.0.1", "fd00::1", "fe80::1", "64:ff9b::10.0.0.1", "2001:db8::5"] {
            assert!(!Address::from(address(somebody)).is_nobodys(), "{somebody}");
        }
    }
}
