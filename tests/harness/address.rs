//! Addresses of either family, as bytes and as numbers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address, of which the test knows that it is IPv4.
///
/// # Panics
/// It is not.
#[must_use]
pub fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} is not IPv4"),
    }
}

/// The address, of which the test knows that it is IPv6.
///
/// # Panics
/// It is not.
#[must_use]
pub fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => panic!("{address} is not IPv6"),
        IpAddr::V6(address) => address,
    }
}

/// Its bytes, as packets have them.
#[must_use]
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address so many further.
#[must_use]
pub fn plus(address: IpAddr, number: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() + number).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() + u128::from(number)).into(),
    }
}
