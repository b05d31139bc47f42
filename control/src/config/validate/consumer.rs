//! The consumer's side: private endpoints.

use dataplane::types::Addresses;

use super::super::raw::{RawEndpoint, Text};
use super::super::valid::{PrivateEndpoint, VirtualNetwork};
use super::address::{Use, claimed_host, of_each_family};
use super::{Context, Names, quota, value};
use crate::state::ConnectionState;

/// Characters of a request message at most, as Azure has it.
const MESSAGE_CHARACTERS_MAX: usize = 140;

pub(super) fn endpoints(
    context: &mut Context,
    names: &Names<'_>,
    networks: &[Option<VirtualNetwork>],
    raw: &[RawEndpoint],
) -> Vec<Option<PrivateEndpoint>> {
    context.positions(raw.iter().map(|endpoint| endpoint.name.as_ref()), "private endpoint");
    raw.iter().map(|raw| endpoint(context, names, networks, raw)).collect()
}

fn endpoint(
    context: &mut Context,
    names: &Names<'_>,
    networks: &[Option<VirtualNetwork>],
    raw: &RawEndpoint,
) -> Option<PrivateEndpoint> {
    let name = context.name(raw.name.as_ref());
    let network = context.resolve(&names.networks, raw.virtual_network.as_ref());
    let service = context.resolve(&names.services, raw.private_link_service.as_ref());
    let texts = raw.private_ip_address.as_deref();
    let addresses = texts.and_then(|texts| {
        let host = |context: &mut Context, text: &Text| {
            claimed_host(context, Some(text), network, networks, Use::Endpoint)
        };
        let addresses = of_each_family(context, texts, host)?;
        let network = networks.get(network?)?.as_ref()?;
        in_one_subnet(context, texts, network, addresses).then_some(addresses)
    });
    let request_message = raw.request_message.as_ref().and_then(|text| message(context, text));
    let connection_state = raw.connection_state.as_ref().and_then(|text| state(context, text));
    let flows_reserved = quota::flows(context, raw.flows_reserved.as_ref(), 0)?;
    let flows_max = quota::flows(context, raw.flows_max.as_ref(), 1)?;
    Some(PrivateEndpoint {
        name: name?,
        virtual_network: network?,
        addresses: addresses?,
        service: service?,
        request_message,
        connection_state,
        icmp_echo: raw.icmp_echo.as_ref().is_some_and(|echo| echo.value),
        flows_reserved,
        flows_max,
    })
}

/// Both addresses of an endpoint are in the same subnet, or neither is in one: its policies are
/// those of one subnet.
fn in_one_subnet(
    context: &mut Context,
    texts: &[Text],
    network: &VirtualNetwork,
    addresses: Addresses,
) -> bool {
    let subnet = |address| network.subnets.iter().position(|subnet| subnet.contains(address));
    let mut subnets = addresses.iter().map(subnet);
    let first = subnets.next();
    let agrees = subnets.all(|other| Some(other) == first);
    if let Some(text) = texts.last().filter(|_| !agrees) {
        let problem = format!("{addresses} are not in one subnet of \"{}\"", network.name);
        let cure = "give a subnet a prefix of each family, address_prefix = [\"10.0.0.0/24\", \
            \"fd00:1::/64\"], and choose both addresses there";
        context.error(&text.place, problem, cure);
    }
    agrees
}

fn message(context: &mut Context, text: &Text) -> Option<String> {
    let characters = text.value.chars().count();
    if characters > MESSAGE_CHARACTERS_MAX {
        let problem = format!("the message has {characters} characters");
        let cure = format!("as in Azure, {MESSAGE_CHARACTERS_MAX} is the most: shorten it");
        context.error(&text.place, problem, cure);
        return None;
    }
    if text.value.chars().any(char::is_control) {
        let problem = "the message has a control character or a line break";
        context.error(&text.place, problem, "write it on one line");
        return None;
    }
    Some(text.value.clone())
}

fn state(context: &mut Context, text: &Text) -> Option<ConnectionState> {
    use ConnectionState::{Approved, Pending, Rejected};
    if text.value.eq_ignore_ascii_case("disconnected") {
        let problem = "a connection cannot begin as Disconnected";
        context.error(&text.place, problem, "remove the endpoint, or write \"Rejected\"");
        return None;
    }
    let words = [("Approved", Approved), ("Pending", Pending), ("Rejected", Rejected)];
    value::word(context, text, &words)
}
