//! Rules of peerings: each side is a part of its own network, and both sides together are one
//! peering, which is `Connected`. Peers do not overlap, as in Azure.

use std::sync::Arc;

use super::body::{self, Object};
use super::estate::{Estate, Rights};
use super::limits::PEERINGS_PER_NETWORK;
use super::model::{Network, Origin, Peering, Resource};
use super::{Fault, Id, Key, Kind, Step};

/// What Azure has and adit has not, with words for it.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("allowForwardedTraffic", "traffic that a peer only forwards"),
    ("allowGatewayTransit", "gateways in peered networks"),
    ("useRemoteGateways", "gateways in peered networks"),
];

const OVERLAPS_WITH_PEER: &str = "VnetAddressSpaceOverlapsWithAlreadyPeeredVnet";

/// How far a peering is, in Azure's words.
#[must_use]
pub fn state(estate: &Estate, network: &Key, peering: &Peering) -> &'static str {
    match estate.network(&peering.remote) {
        _ if peering.is_cut => "Disconnected",
        None => "Disconnected",
        Some(remote) if side(remote, network).is_some_and(|side| !side.is_cut) => "Connected",
        Some(_) => "Initiated",
    }
}

/// What a network says of another.
fn side<'n>(network: &'n Network, of: &Key) -> Option<&'n Peering> {
    network.peerings.iter().find(|peering| peering.remote == *of)
}

/// Creates a side of a peering, or replaces one.
///
/// # Errors
/// The request breaks a rule.
pub fn put(
    estate: &Estate,
    network: &Network,
    name: &str,
    body: &Object<'_>,
    rights: &dyn Rights,
) -> Result<Vec<Step>, Fault> {
    let name = body::name("name", name)?;
    let properties = body.object("properties")?;
    for (property, what) in UNSUPPORTED {
        if properties.truth(property)?.unwrap_or(false) {
            return Err(Fault::unsupported(&properties.path(property), what));
        }
    }
    let field = properties.path("remoteVirtualNetwork");
    let named = properties.reference("remoteVirtualNetwork", Kind::Network)?;
    let Some(named) = named else {
        let cure = "name the other network: {\"id\": ...}";
        return Err(Fault::value(&field, "the remote network is missing", cure));
    };
    let (own, remote) = (network.head.key(), named.id.key);
    let other = remote_network(estate, &field, &own, &remote, rights)?;
    let mut network = network.clone();
    let same = |old: &Peering| old.name.eq_ignore_ascii_case(&name);
    let at = network.peerings.iter().position(same);
    judge(&network, at, &field, &remote)?;
    if side(other, &own).is_some_and(|side| side.is_cut) {
        let rule = format!("the peering of {} with this network is disconnected", remote.name);
        let cure = "delete that one, or put it again, before this one";
        return Err(Fault::rule("RemotePeeringIsDisconnected", &field, rule, cure));
    }
    let carries = properties.truth("allowVirtualNetworkAccess")?.unwrap_or(true);
    let remote_id = other.head.id(Kind::Network);
    let peering = Peering { name, remote, remote_id, carries, is_cut: false };
    match at {
        Some(at) => {
            let name = network.peerings[at].name.clone();
            network.peerings[at] = Peering { name, ..peering };
        }
        None => network.peerings.push(peering),
    }
    PEERINGS_PER_NETWORK.check(&field, network.peerings.len())?;
    overlaps(estate, &network, &field)?;
    Ok(vec![step(estate, network)])
}

fn remote_network<'e>(
    estate: &'e Estate,
    field: &str,
    own: &Key,
    remote: &Key,
    rights: &dyn Rights,
) -> Result<&'e Network, Fault> {
    if own == remote {
        let rule = "a virtual network cannot be its own peer";
        return Err(Fault::rule("InvalidRequestFormat", field, rule, "name another"));
    }
    let id = Id::new(Kind::Network, remote);
    let found = estate.network(remote).filter(|_| rights.may_read(&id));
    let found = found.ok_or_else(|| Fault::reference(field, &id.to_string()))?;
    if found.head.origin == Origin::File {
        let rule = format!("{} is a network of the configuration file", found.head.name);
        let cure = "its peers are those that the file names in peered_with";
        return Err(Fault::rule("ResourceDefinedByFile", field, rule, cure));
    }
    Ok(found)
}

/// Two networks have one peering, and it stays theirs.
fn judge(network: &Network, at: Option<usize>, field: &str, remote: &Key) -> Result<(), Fault> {
    let moves = at.is_some_and(|at| network.peerings[at].remote != *remote);
    let twin = network.peerings.iter().position(|known| known.remote == *remote);
    if moves {
        let rule = "a peering cannot lead to another network";
        let code = "ChangingRemoteVirtualNetworkNotAllowed";
        return Err(Fault::rule(code, field, rule, "delete it, and create another"));
    }
    match twin.filter(|twin| Some(*twin) != at).map(|twin| &network.peerings[twin].name) {
        Some(name) => {
            let rule = format!("peering {name} leads there already");
            Err(Fault::rule("PeeringAlreadyExists", field, rule, "put that one"))
        }
        None => Ok(()),
    }
}

/// Refuses a network that overlaps with a peer, or two of whose peers overlap, whichever side says
/// so.
///
/// # Errors
/// It does, or they do.
pub fn overlaps(estate: &Estate, network: &Network, field: &str) -> Result<(), Fault> {
    let own = network.head.key();
    let others = estate.networks().filter(|other| other.head.key() != own);
    for other in others {
        let (says, is_said) = (side(network, &other.head.key()), side(other, &own));
        if says.is_some() || is_said.is_some() {
            apart("VnetAddressSpacesOverlap", field, network, other)?;
        }
        // The other peers of one that names it have to stay apart from it, too.
        let around = other.peerings.iter().filter(|one| is_said.is_some() && one.remote != own);
        for peer in around.filter_map(|peering| estate.network(&peering.remote)) {
            apart(OVERLAPS_WITH_PEER, field, network, peer)?;
        }
    }
    let peers = network.peerings.iter().filter_map(|peering| estate.network(&peering.remote));
    let peers: Vec<_> = peers.collect();
    for (at, peer) in peers.iter().enumerate() {
        for other in &peers[..at] {
            apart(OVERLAPS_WITH_PEER, field, peer, other)?;
        }
    }
    Ok(())
}

fn apart(code: &'static str, field: &str, one: &Network, other: &Network) -> Result<(), Fault> {
    for prefix in &one.address_space {
        if let Some(taken) = other.address_space.iter().find(|taken| taken.overlaps(*prefix)) {
            let (one, other) = (&one.head.name, &other.head.name);
            let rule = format!("{prefix} of {one} overlaps {taken} of {other}");
            return Err(Fault::rule(code, field, rule, "peer networks that do not overlap"));
        }
    }
    Ok(())
}

/// Deletes a side of a peering; the other is disconnected.
#[must_use]
pub fn delete(estate: &Estate, network: &Network, name: &str) -> Vec<Step> {
    let mut network = network.clone();
    let same = |peering: &Peering| peering.name.eq_ignore_ascii_case(name);
    let gone = network.peerings.iter().find(|peering| same(peering)).cloned();
    network.peerings.retain(|peering| !same(peering));
    let own = network.head.key();
    let mut steps = vec![step(estate, network)];
    steps.extend(gone.and_then(|gone| cut(estate, estate.network(&gone.remote)?, &own)));
    steps
}

/// Disconnects all that is peered with networks that go, unless it goes itself.
#[must_use]
pub fn leave(estate: &Estate, goes: impl Fn(&Key) -> bool) -> Vec<Step> {
    let staying = estate.networks().filter(|network| !goes(&network.head.key()));
    let cut = staying.filter_map(|network| {
        let is_left = |peering: &Peering| goes(&peering.remote);
        let mut left: Network = Network::clone(network);
        let all = left.peerings.iter_mut().filter(|peering| is_left(peering));
        let count = all.map(|peering| peering.is_cut = true).count();
        (count > 0).then(|| step(estate, left))
    });
    cut.collect()
}

fn cut(estate: &Estate, network: &Network, from: &Key) -> Option<Step> {
    side(network, from)?;
    let mut network = network.clone();
    let of_it = network.peerings.iter_mut().filter(|peering| peering.remote == *from);
    of_it.for_each(|peering| peering.is_cut = true);
    Some(step(estate, network))
}

fn step(estate: &Estate, mut network: Network) -> Step {
    network.head.revision = estate.own.next_revision();
    Step::put(Resource::Network(Arc::new(network)))
}
