//! One address, or one of each family: what a host of two families has under one name.

use core::fmt;
use core::net::IpAddr;

use super::{Address, Family};

/// One address, or one of each family; that of IPv4 comes first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addresses {
    first: Address,
    second: Option<Address>,
}

impl Addresses {
    /// These and one more, which has to be of the other family: else `None`.
    #[must_use]
    pub fn and(self, address: impl Into<Address>) -> Option<Addresses> {
        let address = address.into();
        if self.second.is_some() {
            return None;
        }
        match (self.first.family(), address.family()) {
            (Family::V4, Family::V6) => Some(Addresses { second: Some(address), ..self }),
            (Family::V6, Family::V4) => {
                Some(Addresses { first: address, second: Some(self.first) })
            }
            (Family::V4, Family::V4) | (Family::V6, Family::V6) => None,
        }
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Address> {
        core::iter::once(self.first).chain(self.second)
    }

    /// As the standard library has them.
    pub fn ips(self) -> impl Iterator<Item = IpAddr> {
        self.iter().map(Address::ip)
    }

    /// The one to show where there is room for one.
    #[must_use]
    pub fn first(self) -> Address {
        self.first
    }

    /// That of a family.
    #[must_use]
    pub fn of(self, family: Family) -> Option<Address> {
        self.iter().find(|address| address.family() == family)
    }

    /// Whether it is one of them.
    #[inline]
    #[must_use]
    pub fn contains(self, address: impl Into<Address>) -> bool {
        let address = address.into();
        self.first == address || self.second == Some(address)
    }
}

impl<A: Into<Address>> From<A> for Addresses {
    fn from(address: A) -> Addresses {
        Addresses { first: address.into(), second: None }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.second.map_or(Ok(()), |second| write!(f, ", {second}"))
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_family_whichever_comes_first() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let [four, other, six] = ["10.0.0.5", "10.0.0.6", "fd00::5"].map(address);
        let both = Addresses::from(six).and(four).unwrap();
        assert_eq!(Some(both), Addresses::from(four).and(six));
        assert_eq!(both.ips().collect::<Vec<_>>(), [four, six]);
        assert_eq!(both.of(Family::V6), Some(six.into()));
        assert_eq!(Addresses::from(four).of(Family::V6), None);
        assert!(both.contains(six) && both.contains(four) && !both.contains(other));
        assert_eq!(Addresses::from(four).and(other), None);
        assert_eq!(both.and(other), None);
        assert_eq!(alloc::format!("{both}"), "10.0.0.5, fd00::5");
    }
}
