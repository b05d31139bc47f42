//! Which side of adit a packet is for, by the virtual network that it came from and its destination
//! address, and by nothing else (I1).
//!
//! A network has endpoints of its own and those of its peers: of a peer, nothing else of adit is
//! reached, and from a peer, only hosts of its own prefixes come.

use crate::drop_reason::DropReason;
use crate::snapshot::{Local, PeeringState, Snapshot};
use crate::types::{Address, ScopeId};

/// What adit is under the packet's destination address; an endpoint of a network that its own one
/// names as a peer, whether or not that one agrees ([`judge_client`] asks).
///
/// # Errors
/// Nothing: the packet never leaves.
#[inline(always)]
pub fn classify(
    snapshot: &Snapshot,
    scope: ScopeId,
    destination: Address,
) -> Result<Local, DropReason> {
    let own = snapshot.local(scope, destination);
    own.map_or_else(|| endpoint_of_peer(snapshot, scope, destination), Ok)
}

/// The endpoint that a peer of the network has under an address.
#[cold]
fn endpoint_of_peer(
    snapshot: &Snapshot,
    scope: ScopeId,
    address: Address,
) -> Result<Local, DropReason> {
    let peer = snapshot.peer_at(scope, address).ok_or(DropReason::NoEndpoint)?;
    match snapshot.local(peer.scope, address) {
        Some(local @ Local::Endpoint(_)) => Ok(local),
        _ => Err(DropReason::NoEndpoint),
    }
}

/// Whether adit answers for an address on the devices of a network: it is adit's there, or an
/// endpoint's of a peer that agrees to be one.
#[must_use]
pub fn answers_for(snapshot: &Snapshot, scope: ScopeId, address: Address) -> bool {
    let agrees = || {
        let peer = snapshot.peer_at(scope, address);
        peer.is_some_and(|peer| peer.state == PeeringState::Connected)
    };
    snapshot.local(scope, address).is_some()
        || agrees() && endpoint_of_peer(snapshot, scope, address).is_ok()
}

/// Whether a client may have this source address: inside the address space of its virtual network,
/// and not one of adit's own there (RFC 2827).
///
/// # Errors
/// It may not.
#[inline]
pub fn judge_source(
    snapshot: &Snapshot,
    scope: ScopeId,
    source: Address,
) -> Result<(), DropReason> {
    let legitimate =
        snapshot.in_address_space(scope, source) && snapshot.local(scope, source).is_none();
    if legitimate { Ok(()) } else { Err(DropReason::SourceSpoofed) }
}

/// Whether a client of a network may dial an endpoint that lives in the same network or in another:
/// by its address, and there by the peering of the two.
///
/// # Errors
/// It may not.
pub fn judge_client(
    snapshot: &Snapshot,
    (scope, client): (ScopeId, Address),
    home: ScopeId,
) -> Result<(), DropReason> {
    judge_source(snapshot, scope, client)?;
    if scope == home { Ok(()) } else { judge_peer(snapshot, (scope, client), home) }
}

#[cold]
fn judge_peer(
    snapshot: &Snapshot,
    (scope, client): (ScopeId, Address),
    home: ScopeId,
) -> Result<(), DropReason> {
    if snapshot.peering(home, scope) != Some(PeeringState::Connected) {
        return Err(DropReason::PeeringNotConnected);
    }
    // Whoever comes to the peer by a router is no host of it.
    let comes_from = snapshot.peer_at(home, client).map(|peer| peer.scope);
    if comes_from == Some(scope) { Ok(()) } else { Err(DropReason::PeeringNotTransitive) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{EndpointPlan, Gate, Plan, Refusal, ScopePlan, ServicePlan, Treatment};
    use crate::types::{EndpointIndex, LinkId, Prefix, ServiceIndex};
    use alloc::vec;
    use alloc::vec::Vec;
    use core::net::{IpAddr, Ipv4Addr};

    const ENDPOINT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
    const NAT_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 4));

    /// Network 0 has an endpoint, network 1 a NAT IP; both have the same address space.
    fn snapshot() -> Snapshot {
        let address_space = vec![Prefix::new(IpAddr::from([10, 0, 0, 0]), 16).unwrap()];
        let scope = ScopePlan { address_space, routes: Vec::new() };
        let service = ServicePlan {
            scope: ScopeId(1),
            nat_ips: vec![NAT_IP],
            refusal: Refusal::Silence,
            rules: Vec::new(),
            treatment: Treatment::default(),
        };
        let endpoint = EndpointPlan {
            link: LinkId(1),
            scope: ScopeId(0),
            addresses: ENDPOINT.into(),
            service: ServiceIndex(0),
            gate: Gate::Pending,
            answers_echo: false,
        };
        Snapshot::build(Plan {
            scopes: vec![scope.clone(), scope],
            services: vec![service],
            endpoints: vec![endpoint],
            ..Plan::default()
        })
        .unwrap()
    }

    #[test]
    fn i1_an_address_means_something_in_its_own_network_only() {
        let (snapshot, [a, b]) = (snapshot(), [ScopeId(0), ScopeId(1)]);
        assert_eq!(classify(&snapshot, a, ENDPOINT.into()), Ok(Local::Endpoint(EndpointIndex(0))));
        assert_eq!(classify(&snapshot, b, NAT_IP.into()), Ok(Local::NatIp));
        assert_eq!(classify(&snapshot, b, ENDPOINT.into()), Err(DropReason::NoEndpoint));
        assert_eq!(classify(&snapshot, a, NAT_IP.into()), Err(DropReason::NoEndpoint));
        assert_eq!(classify(&snapshot, ScopeId(9), ENDPOINT.into()), Err(DropReason::NoEndpoint));
    }

    #[test]
    fn rfc2827_a_source_is_of_the_network_and_not_adits_own() {
        let (snapshot, scope) = (snapshot(), ScopeId(0));
        assert_eq!(judge_source(&snapshot, scope, [10, 0, 9, 9].into()), Ok(()));
        for spoofed in [ENDPOINT, IpAddr::from([10, 1, 0, 1]), IpAddr::from([192, 0, 2, 1])] {
            let judged = judge_source(&snapshot, scope, spoofed.into());
            assert_eq!(judged, Err(DropReason::SourceSpoofed), "{spoofed}");
        }
    }
}
