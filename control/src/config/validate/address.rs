//! Addresses and prefixes: what they may be, where they must lie, and who already has them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::types::{Addresses, Family, Prefix};

use super::super::raw::Text;
use super::super::valid::VirtualNetwork;
use super::Context;

/// Prefixes whose addresses can be nobody's in a virtual network: first address, length, and what
/// it is.
const UNUSABLE: [(IpAddr, u8, &str); 9] = [
    (ipv4(0, 0, 0, 0), 8, "\"this network\""),
    (ipv4(127, 0, 0, 0), 8, "loopback"),
    (ipv4(169, 254, 0, 0), 16, "link-local"),
    (ipv4(168, 63, 129, 16), 32, "the address that Azure probes from"),
    (ipv4(224, 0, 0, 0), 4, "multicast"),
    (ipv4(240, 0, 0, 0), 4, "reserved"),
    (ipv6(0), 64, "unspecified, loopback or IPv4-mapped"),
    (ipv6(0xfe80), 10, "link-local"),
    (ipv6(0xff00), 8, "multicast"),
];

const fn ipv4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// The first address that begins with these 16 bits.
const fn ipv6(first: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0))
}

/// What an address of a virtual network is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// An endpoint's: nobody else may have it.
    Endpoint,
    /// A NAT IP: nobody else may have it.
    NatIp,
    /// A backend's: other pools may name it too.
    Backend,
    /// A frontend's: nobody else may have it.
    Frontend,
    /// Where probes come from: other load balancers may name it too.
    ProbeSource,
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Use::Endpoint => "the address of a private endpoint",
            Use::NatIp => "a NAT IP",
            Use::Backend => "a backend",
            Use::Frontend => "the address of a frontend",
            Use::ProbeSource => "an address that probes come from",
        }
    }
}

/// Which addresses of which virtual network are used, for what, and on which line.
#[derive(Default)]
pub(super) struct Claims(HashMap<(usize, IpAddr), (Use, usize)>);

impl Claims {
    /// What an address is that no router can have, if anything.
    pub(super) fn owned_by_adit(&self, network: usize, address: IpAddr) -> Option<String> {
        let &(what, line) = self.0.get(&(network, address))?;
        (what != Use::Backend).then(|| format!("{} (line {line})", what.name()))
    }
}

/// An address of either family.
pub(super) fn address(context: &mut Context, text: &Text) -> Option<IpAddr> {
    let address = text.value.parse::<IpAddr>().ok();
    // To adit it would be one of IPv4.
    let is_mapped = |address: &IpAddr| address.to_canonical() != *address;
    let address = address.filter(|address| !is_mapped(address));
    if address.is_none() {
        let problem = format!("{:?} is not an IP address of a host", text.value);
        context.error(&text.place, problem, "write \"10.0.0.5\" or \"fd00:1::5\"");
    }
    address
}

/// A prefix whose addresses hosts may have.
pub(super) fn prefix(context: &mut Context, text: &Text) -> Option<Prefix> {
    let prefix = any_prefix(context, text)?;
    if let Some(what) = unusable(prefix) {
        let problem = format!("{prefix} overlaps {what}");
        context.error(
            &text.place,
            problem,
            "hosts have unicast addresses: \"10.0.0.0/16\" or \"fd00:1::/48\"",
        );
        return None;
    }
    Some(prefix)
}

/// What of a prefix can be nobody's, if anything.
pub(crate) fn unusable(prefix: Prefix) -> Option<String> {
    let overlaps = |&&(first, length, _): &&(IpAddr, u8, &str)| {
        Prefix::new(first, length).is_some_and(|unusable| unusable.overlaps(prefix))
    };
    let (first, length, what) = UNUSABLE.iter().find(overlaps)?;
    Some(format!("{first}/{length}, which is {what}"))
}

/// A prefix of either family, whoever has its addresses.
pub(super) fn any_prefix(context: &mut Context, text: &Text) -> Option<Prefix> {
    const CURE: &str = "write address and length: \"10.0.0.0/16\" or \"fd00:1::/48\"";
    let parts = text.value.split_once('/');
    let (Some(address), Some(length)) =
        (parts.map(|(address, _)| address), parts.and_then(|(_, length)| length.parse().ok()))
    else {
        context.error(&text.place, format!("{:?} is not a prefix", text.value), CURE);
        return None;
    };
    let address: Option<IpAddr> = address.parse().ok();
    let Some(address) = address.filter(|address| length <= Family::of(*address).bits()) else {
        context.error(&text.place, format!("{:?} is not a prefix", text.value), CURE);
        return None;
    };
    let prefix = Prefix::new(address, length);
    if prefix.is_none() {
        let canonical = first_of(address, length);
        let problem = format!("{address} is not the first address of a /{length}");
        context.error(&text.place, problem, format!("write \"{canonical}/{length}\""));
    }
    prefix
}

/// The first address of the prefix of this length that an address lies in.
fn first_of(address: IpAddr, length: u8) -> IpAddr {
    let kept = u32::from(length);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - kept).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - kept).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// An address that a host of a virtual network may have.
pub(super) fn host_of(
    context: &mut Context,
    text: &Text,
    network: &VirtualNetwork,
) -> Option<IpAddr> {
    let address = address(context, text)?;
    let Some(prefix) = network.address_space.iter().find(|prefix| prefix.contains(address)) else {
        let problem = format!(
            "{address} is outside the address space of virtual network \"{}\"",
            network.name
        );
        let cure = format!("choose an address within {}", network.address_space_text());
        context.error(&text.place, problem, cure);
        return None;
    };
    // RFC 4291 2.6.1: the first one is any router's; IPv6 has no broadcast.
    let edges = match prefix.family() {
        Family::V4 if prefix.length() <= 30 => {
            vec![(prefix.address(), "network"), (prefix.last(), "broadcast")]
        }
        Family::V6 if prefix.length() <= 126 => vec![(prefix.address(), "subnet-router anycast")],
        Family::V4 | Family::V6 => Vec::new(),
    };
    if let Some((_, which)) = edges.iter().find(|(edge, _)| *edge == address) {
        let problem = format!("{address} is the {which} address of {prefix}");
        context.error(&text.place, problem, "no host may have it: choose another");
        return None;
    }
    Some(address)
}

/// Notes what an address is used for; reports it if it is used for something else already.
pub(super) fn claim(
    context: &mut Context,
    text: &Text,
    network: usize,
    address: IpAddr,
    what: Use,
) {
    let known = context.claims.0.get(&(network, address)).copied();
    let Some((other, line)) = known else {
        context.claims.0.insert((network, address), (what, text.place.line));
        return;
    };
    if what == other && matches!(what, Use::Backend | Use::ProbeSource) {
        return;
    }
    let problem = format!("{address} is already {} (line {line})", other.name());
    let cure = "an address of a virtual network has one use: choose another";
    context.error(&text.place, problem, cure);
}

/// One address, or one of each family, as `judge` takes them one by one.
pub(super) fn of_each_family(
    context: &mut Context,
    texts: &[Text],
    mut judge: impl FnMut(&mut Context, &Text) -> Option<IpAddr>,
) -> Option<Addresses> {
    // All are judged before any of them ends the list.
    let judged: Vec<_> = texts.iter().map(|text| judge(context, text)).collect();
    let mut judged = judged.into_iter().zip(texts);
    let mut addresses = Addresses::from(judged.next()?.0?);
    for (address, text) in judged {
        let address = address?;
        let Some(both) = addresses.and(address) else {
            let problem = format!("{address} is one more of {}", Family::of(address).name());
            let cure = "write one address of each family at most: [\"10.0.0.5\", \"fd00:1::5\"]";
            context.error(&text.place, problem, cure);
            return None;
        };
        addresses = both;
    }
    Some(addresses)
}

/// As [`host_of`] with [`claim`], for a network that may not be valid itself.
pub(super) fn claimed_host(
    context: &mut Context,
    text: Option<&Text>,
    network: Option<usize>,
    networks: &[Option<VirtualNetwork>],
    what: Use,
) -> Option<IpAddr> {
    let text = text?;
    let known = network.and_then(|at| Some((at, networks.get(at)?.as_ref()?)));
    let Some((at, network)) = known else {
        // Its form is judged nevertheless.
        address(context, text);
        return None;
    };
    let address = host_of(context, text, network)?;
    claim(context, text, at, address, what);
    Some(address)
}
