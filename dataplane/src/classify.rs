//! Which side of adit a packet is for, by the virtual network that it came from and its destination
//! address, and by nothing else (I1).

use crate::drop_reason::DropReason;
use crate::snapshot::{Local, Snapshot};
use crate::types::{Address, ScopeId};

/// What adit is under the packet's destination address.
///
/// # Errors
/// Nothing: the packet never leaves.
#[inline(always)]
pub fn classify(
    snapshot: &Snapshot,
    scope: ScopeId,
    destination: Address,
) -> Result<Local, DropReason> {
    snapshot.local(scope, destination).ok_or(DropReason::NoEndpoint)
}

/// Whether a client may have this source address: inside the address space of its virtual network,
/// and not one of adit's own there (RFC 2827).
///
/// # Errors
/// It may not.
pub fn judge_source(
    snapshot: &Snapshot,
    scope: ScopeId,
    source: Address,
) -> Result<(), DropReason> {
    let legitimate =
        snapshot.in_address_space(scope, source) && snapshot.local(scope, source).is_none();
    if legitimate { Ok(()) } else { Err(DropReason::SourceSpoofed) }
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
            address: ENDPOINT,
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
