//! Which virtual networks reach the endpoints of which others, without a router between them.
//!
//! A peering has two sides, one in each network, and is connected when both are there; what is said
//! on one side only waits for the other. Networks that are peered do not overlap, nor do the peers
//! of one network, so that an address says whose it is. A peering leads to endpoints of the other
//! network and to nothing else of it (I1), and not on to the peers of that one.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{PlanError, Snapshot};
use crate::types::{Address, Family, Prefix, ScopeId};

/// One side of a peering: what a network says of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeeringPlan {
    /// The network that says it.
    pub scope: ScopeId,
    /// The other network.
    pub with: ScopeId,
    /// The other's own prefixes: endpoints are dialled there, and clients may come from there. Not
    /// those behind its routers.
    pub prefixes: Vec<Prefix>,
}

/// How far a peering is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeeringState {
    /// Both sides are there.
    Connected,
    /// The other side is not there.
    Initiated,
}

/// A prefix of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSpace {
    /// The prefix.
    pub prefix: Prefix,
    /// Whose it is.
    pub scope: ScopeId,
    /// How far the peering with it is.
    pub state: PeeringState,
}

/// The prefixes of a network's peers, ascending and apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peers(Box<[PeerSpace]>);

impl Peers {
    /// What each of so many networks says of others.
    ///
    /// # Errors
    /// A network that is not there is named, or what it says contradicts itself.
    pub(super) fn of_all(networks: usize, plans: &[PeeringPlan]) -> Result<Vec<Peers>, PlanError> {
        let mut spaces: Vec<Vec<PeerSpace>> = alloc::vec![Vec::new(); networks];
        let mut sides: Vec<(ScopeId, ScopeId)> =
            plans.iter().map(|plan| (plan.scope, plan.with)).collect();
        sides.sort_unstable();
        if let Some(twice) = sides.windows(2).find(|pair| pair[0] == pair[1]) {
            let which = alloc::format!("with network {}", twice[0].1.0);
            return Err(PlanError::Duplicate("peering", which));
        }
        for plan in plans {
            let missing = |scope: ScopeId| PlanError::Dangling("a peered network", scope.slot());
            if plan.with.slot() >= networks || plan.with == plan.scope {
                return Err(missing(plan.with));
            }
            let own = spaces.get_mut(plan.scope.slot()).ok_or(missing(plan.scope))?;
            let state = match sides.binary_search(&(plan.with, plan.scope)) {
                Ok(_) => PeeringState::Connected,
                Err(_) => PeeringState::Initiated,
            };
            let space = |&prefix| PeerSpace { prefix, scope: plan.with, state };
            own.extend(plan.prefixes.iter().map(space));
        }
        spaces.into_iter().map(Peers::new).collect()
    }

    fn new(mut spaces: Vec<PeerSpace>) -> Result<Peers, PlanError> {
        // By family first, as `IpAddr` orders them.
        spaces.sort_unstable_by_key(|space| space.prefix.address());
        match spaces.windows(2).find(|pair| pair[0].prefix.overlaps(pair[1].prefix)) {
            Some(pair) => {
                let which = alloc::format!("{}", pair[1].prefix);
                Err(PlanError::Duplicate("prefix of a peered network", which))
            }
            None => Ok(Peers(spaces.into_boxed_slice())),
        }
    }

    /// The prefix that an address is in.
    pub(super) fn at(&self, address: Address) -> Option<&PeerSpace> {
        let behind = self.0.partition_point(|space| space.prefix.address() <= address.ip());
        let last = self.0.get(behind.checked_sub(1)?)?;
        last.prefix.contains(address).then_some(last)
    }

    /// Whether a peer may have endpoints of IPv6.
    pub(super) fn speak_ipv6(&self) -> bool {
        let is_wide = |space: &PeerSpace| space.prefix.family() == Family::V6;
        self.0.iter().any(|space| is_wide(space) && space.state == PeeringState::Connected)
    }
}

impl Snapshot {
    /// The peer of a network that an address belongs to, if it belongs to any.
    #[must_use]
    pub fn peer_at(&self, scope: ScopeId, address: Address) -> Option<&PeerSpace> {
        self.scopes.get(scope.slot())?.peers.at(address)
    }

    /// What a network says of another, and how far that is.
    #[must_use]
    pub fn peering(&self, scope: ScopeId, with: ScopeId) -> Option<PeeringState> {
        let mut peers = self.scopes.get(scope.slot())?.peers.0.iter();
        peers.find(|space| space.scope == with).map(|space| space.state)
    }
}
