//! Peerings of virtual networks.

use super::super::peering::{self, PEERINGS_MAX};
use super::super::raw::{RawVirtualNetwork, Text};
use super::super::valid::VirtualNetwork;
use super::{Context, Names};

/// The networks that each network names as its peers; `None` where one is no network, or the
/// network itself.
pub(super) fn resolve(
    context: &mut Context,
    names: &Names<'_>,
    raw: &RawVirtualNetwork,
) -> Option<Vec<usize>> {
    let texts = raw.peered_with.as_deref().unwrap_or_default();
    if let Some(first_over) = texts.get(PEERINGS_MAX) {
        let cure = format!("a virtual network has at most {PEERINGS_MAX}");
        context.error(&first_over.place, "too many peerings", cure);
    }
    let own = raw.name.as_ref().map(|name| name.value.as_str());
    let mut peers = Vec::new();
    let mut faultless = true;
    for text in texts {
        if own == Some(text.value.as_str()) {
            let cure = "leave it out: hosts of a virtual network reach its endpoints anyway";
            context.error(&text.place, "a virtual network cannot be its own peer", cure);
            faultless = false;
            continue;
        }
        match context.resolve(&names.networks, Some(text)) {
            Some(peer) if peers.contains(&peer) => {
                let problem = format!("{:?} is named twice", text.value);
                context.error(&text.place, problem, "name each peer once");
                faultless = false;
            }
            Some(peer) => peers.push(peer),
            None => faultless = false,
        }
    }
    faultless.then_some(peers)
}

/// Peers do not overlap, and each names the other.
pub(super) fn judge(
    context: &mut Context,
    networks: &[Option<VirtualNetwork>],
    raw: &[RawVirtualNetwork],
) {
    let at = |at: usize| networks.get(at)?.as_ref();
    for (number, (network, raw)) in networks.iter().zip(raw).enumerate() {
        let Some(network) = network else { continue };
        let texts = raw.peered_with.as_deref().unwrap_or_default();
        let text = |peer: usize| texts.get(network.peers.iter().position(|of| *of == peer)?);
        if let Some((peer, overlap)) = peering::overlap(number, &network.peers, at) {
            let (prefix, (other, owner)) = (overlap.peer, overlap.other);
            let of = |number| at(number).map_or("", |network| network.name.as_str());
            let problem = format!("{prefix} of {:?} overlaps {other} of {:?}", of(peer), of(owner));
            let cure = "a virtual network and its peers do not overlap: change an address space, \
                or leave the peering out";
            if let Some(text) = text(peer) {
                context.error(&text.place, problem, cure);
            }
        }
        for &peer in &network.peers {
            if let (Some(other), Some(text)) = (at(peer), text(peer)) {
                remind(context, text, (number, network), other);
            }
        }
    }
}

fn remind(
    context: &mut Context,
    text: &Text,
    (number, network): (usize, &VirtualNetwork),
    other: &VirtualNetwork,
) {
    if !other.peers.contains(&number) {
        let problem = format!("the peering with {:?} is not connected", other.name.as_str());
        let cure = format!("add {:?} to peered_with of {}", network.name.as_str(), other.name);
        context.warn(&text.place, problem, cure);
    }
}
