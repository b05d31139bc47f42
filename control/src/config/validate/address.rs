//! Addresses and prefixes: what they may be, where they must lie, and who already has them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::types::Prefix;

use super::super::raw::Text;
use super::super::valid::VirtualNetwork;
use super::Context;

/// Prefixes whose addresses can be nobody's in a virtual network: first address, length, and what
/// it is.
const UNUSABLE: [(Ipv4Addr, u8, &str); 6] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "\"this network\""),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "the address that Azure probes from"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// What an address of a virtual network is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// An endpoint's: nobody else may have it.
    Endpoint,
    /// A NAT IP: nobody else may have it.
    NatIp,
    /// A backend's: other pools may name it too.
    Backend,
    /// Where probes come from: other load balancers may name it too.
    ProbeSource,
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Use::Endpoint => "the address of a private endpoint",
            Use::NatIp => "a NAT IP",
            Use::Backend => "a backend",
            Use::ProbeSource => "an address that probes come from",
        }
    }
}

/// Which addresses of which virtual network are used, for what, and on which line.
#[derive(Default)]
pub(super) struct Claims(HashMap<(usize, Ipv4Addr), (Use, usize)>);

impl Claims {
    /// What adit itself is under an address, if anything.
    pub(super) fn owned_by_adit(&self, network: usize, address: Ipv4Addr) -> Option<String> {
        let &(what, line) = self.0.get(&(network, address))?;
        (what != Use::Backend).then(|| format!("{} (line {line})", what.name()))
    }
}

/// An IPv4 address.
pub(super) fn address(context: &mut Context, text: &Text) -> Option<Ipv4Addr> {
    match text.value.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => return Some(address),
        Ok(IpAddr::V6(_)) => ipv6(context, text),
        Err(_) => {
            let problem = format!("{:?} is not an IPv4 address", text.value);
            context.error(&text.place, problem, "write four numbers: \"10.0.0.5\"");
        }
    }
    None
}

fn ipv6(context: &mut Context, text: &Text) {
    let problem = format!("{} is IPv6, which adit does not support yet", text.value);
    context.error(&text.place, problem, "write an IPv4 address");
}

/// An IPv4 prefix whose addresses hosts may have.
pub(super) fn prefix(context: &mut Context, text: &Text) -> Option<Prefix> {
    let prefix = any_prefix(context, text)?;
    if let Some(what) = unusable(prefix) {
        let problem = format!("{prefix} overlaps {what}");
        context.error(&text.place, problem, "hosts have unicast addresses: \"10.0.0.0/16\"");
        return None;
    }
    Some(prefix)
}

/// What of a prefix can be nobody's, if anything.
pub(crate) fn unusable(prefix: Prefix) -> Option<String> {
    let overlaps = |&&(first, length, _): &&(Ipv4Addr, u8, &str)| {
        Prefix::new(first, length).is_some_and(|unusable| unusable.overlaps(prefix))
    };
    let (first, length, what) = UNUSABLE.iter().find(overlaps)?;
    Some(format!("{first}/{length}, which is {what}"))
}

/// An IPv4 prefix, whoever has its addresses.
pub(super) fn any_prefix(context: &mut Context, text: &Text) -> Option<Prefix> {
    let parts = text.value.split_once('/');
    let (Some(address), Some(length)) =
        (parts.map(|(address, _)| address), parts.and_then(|(_, length)| length.parse().ok()))
    else {
        let problem = format!("{:?} is not a prefix", text.value);
        context.error(&text.place, problem, "write address and length: \"10.0.0.0/16\"");
        return None;
    };
    if address.parse::<Ipv6Addr>().is_ok() {
        ipv6(context, text);
        return None;
    }
    let address: Option<Ipv4Addr> = address.parse().ok();
    let Some(address) = address.filter(|_| length <= 32) else {
        let problem = format!("{:?} is not an IPv4 prefix", text.value);
        context.error(&text.place, problem, "write address and length: \"10.0.0.0/16\"");
        return None;
    };
    let prefix = Prefix::new(address, length);
    if prefix.is_none() {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        let canonical = Ipv4Addr::from_bits(address.to_bits() & mask);
        let problem = format!("{address} is not the first address of a /{length}");
        context.error(&text.place, problem, format!("write \"{canonical}/{length}\""));
    }
    prefix
}

/// An address that a host of a virtual network may have.
pub(super) fn host_of(
    context: &mut Context,
    text: &Text,
    network: &VirtualNetwork,
) -> Option<Ipv4Addr> {
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
    let is_edge = address == prefix.address() || address == prefix.last();
    if prefix.length() <= 30 && is_edge {
        let which = if address == prefix.last() { "broadcast" } else { "network" };
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
    address: Ipv4Addr,
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

/// As [`host_of`] with [`claim`], for a network that may not be valid itself.
pub(super) fn claimed_host(
    context: &mut Context,
    text: Option<&Text>,
    network: Option<usize>,
    networks: &[Option<VirtualNetwork>],
    what: Use,
) -> Option<Ipv4Addr> {
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
