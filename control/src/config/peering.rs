//! Peerings of virtual networks: who says what of whom, and what does not go together.

use dataplane::types::Prefix;

use super::valid::{Config, VirtualNetwork};

/// Peerings of a virtual network at most, as Azure has it.
pub(crate) const PEERINGS_MAX: usize = 500;

/// Two prefixes that may not overlap and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overlap {
    /// The peer's.
    pub(crate) peer: Prefix,
    /// The other, and the network that has it: the first one itself or another peer of it.
    pub(crate) other: (Prefix, usize),
}

/// What of a network's peer overlaps the network's clients or a peer that it names before: then an
/// address would not say whose it is.
pub(crate) fn overlap<'n>(
    network: usize,
    peers: &[usize],
    at: impl Fn(usize) -> Option<&'n VirtualNetwork>,
) -> Option<(usize, Overlap)> {
    let own = at(network)?.client_prefixes().map(|prefix| (prefix, network));
    let mut taken: Vec<(Prefix, usize)> = own.collect();
    for &peer in peers {
        let Some(space) = at(peer).map(|peer| &peer.address_space) else { continue };
        for &prefix in space {
            if let Some(&other) = taken.iter().find(|(other, _)| other.overlaps(prefix)) {
                return Some((peer, Overlap { peer: prefix, other }));
            }
        }
        taken.extend(space.iter().map(|prefix| (*prefix, peer)));
    }
    None
}

impl Config {
    /// The networks that a network is peered with, on both sides.
    pub fn connected_peers(&self, network: usize) -> impl Iterator<Item = usize> + '_ {
        let peers = self.virtual_networks.get(network).map_or(&[][..], |one| &one.peers);
        let is_mutual = move |peer: &usize| {
            self.virtual_networks.get(*peer).is_some_and(|one| one.peers.contains(&network))
        };
        peers.iter().copied().filter(is_mutual)
    }

    /// Where clients of a network's endpoints may come from: its own, those behind its routers, and
    /// those of its peers.
    pub fn client_prefixes(&self, network: usize) -> impl Iterator<Item = Prefix> + '_ {
        let own = self.virtual_networks.get(network).into_iter();
        let peers = self.connected_peers(network);
        let peers = peers.filter_map(|peer| self.virtual_networks.get(peer));
        let of_peers = peers.flat_map(|peer| peer.address_space.iter().copied());
        own.flat_map(VirtualNetwork::client_prefixes).chain(of_peers)
    }
}
