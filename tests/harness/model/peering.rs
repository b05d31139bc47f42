//! What networks that are peered reach of each other.

use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use dataplane::snapshot::{PeeringPlan, Plan};

use super::wanted::{Local, judge_source, local};

/// What adit is under an address for the hosts of a network.
pub(super) fn reached(plan: &Plan, scope: u16, address: IpAddr) -> Result<Local<'_>, DropReason> {
    if let Some(own) = local(plan, scope, address) {
        return Ok(own);
    }
    let mut said = plan.peerings.iter().filter(|said| said.scope.0 == scope);
    let of_peer = said.find(|said| holds(said, address)).ok_or(DropReason::NoEndpoint)?;
    match local(plan, of_peer.with.0, address) {
        Some(Local::Endpoint(endpoint)) => Ok(Local::Endpoint(endpoint)),
        _ => Err(DropReason::NoEndpoint),
    }
}

/// Whether hosts of a network are told whose an address of adit's is.
pub(super) fn is_told(plan: &Plan, scope: u16, address: IpAddr) -> bool {
    match reached(plan, scope, address) {
        Ok(Local::Endpoint(endpoint)) => {
            endpoint.scope.0 == scope || is_connected(plan, scope, endpoint.scope.0)
        }
        found => found.is_ok(),
    }
}

/// Whether hosts of a network may be clients of endpoints of another, or of the same.
pub(super) fn judge_client(
    plan: &Plan,
    (scope, client): (u16, IpAddr),
    home: u16,
) -> Result<(), DropReason> {
    judge_source(plan, scope, client)?;
    if scope == home {
        return Ok(());
    }
    if !is_connected(plan, scope, home) {
        return Err(DropReason::PeeringNotConnected);
    }
    let said = said(plan, home, scope).is_some_and(|said| holds(said, client));
    if said { Ok(()) } else { Err(DropReason::PeeringNotTransitive) }
}

/// Whether a network may have peers with endpoints of IPv6.
pub(super) fn may_reach_ipv6(plan: &Plan, scope: u16) -> bool {
    plan.peerings.iter().any(|said| {
        let is_wide = said.prefixes.iter().any(|prefix| prefix.address().is_ipv6());
        said.scope.0 == scope && is_wide && is_connected(plan, scope, said.with.0)
    })
}

fn is_connected(plan: &Plan, one: u16, other: u16) -> bool {
    said(plan, one, other).is_some() && said(plan, other, one).is_some()
}

fn said(plan: &Plan, by: u16, of: u16) -> Option<&PeeringPlan> {
    plan.peerings.iter().find(|said| (said.scope.0, said.with.0) == (by, of))
}

fn holds(said: &PeeringPlan, address: IpAddr) -> bool {
    said.prefixes.iter().any(|prefix| prefix.contains(address))
}
