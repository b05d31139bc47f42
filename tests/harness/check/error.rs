//! I1 for ICMP errors: one that passes is about a packet that was translated, as its sender knows
//! it, and names no host of the other network.

use dataplane::snapshot::Gate;

use super::passage::{Inside, Ledger, Outside, Passage};
use crate::icmp::{Carried, IcmpSeen};
use crate::observe::{Observed, observe};

/// Judges an error that was forwarded; `false` if the frame is none.
pub(super) fn check(ledger: &Ledger, passage: &Passage<'_>) -> bool {
    let Observed::Error(input) = observe(&passage.input.bytes) else {
        return false;
    };
    let Observed::Error(output) = observe(&passage.output.bytes) else {
        panic!("an error became {:?}", observe(&passage.output.bytes));
    };
    let topology = passage.topology;
    let scope = topology.scope(passage.ingress).expect("I1: it came in by a device of a network");
    let egress = topology.scope(passage.egress).expect("I1: it left by a device of a network");
    let carried = Carried {
        from_ipv6: input.source.is_ipv6(),
        to_ipv6: output.source.is_ipv6(),
        mtus: (
            topology.links[passage.ingress.slot()].mtu,
            topology.links[passage.egress.slot()].mtu,
        ),
        quoted_bytes: u32::try_from(input.quoted_bytes).unwrap(),
    };
    let told = |seen: &IcmpSeen| (seen.kind, seen.code, seen.word);
    let has_extensions = input.quoted_bytes != output.quoted_bytes && !carried.crosses();
    if !has_extensions {
        assert_eq!(carried.said(told(&input.message)), Some(told(&output.message)), "what it says");
    }
    assert!(output.message.body.len() <= 128, "no extension is quoted (RFC 4884 5.5)");
    assert!(output.holds && output.message.holds, "I6: {output:?}");
    assert_eq!(output.ttl, input.ttl - 1, "I5: time to live");
    assert_eq!(output.from_mac, topology.station(passage.egress), "its device's name");
    let is_for_client = topology.endpoint(scope, input.destination).is_none();
    // The flow as the provider's side and as the client's side name it.
    let (provider, client) = if is_for_client { (&input, &output) } else { (&output, &input) };
    let (provider_scope, client_scope) =
        if is_for_client { (scope, egress) } else { (egress, scope) };
    let (protocol, first, second) = provider.quoted;
    let (nat, backend) = if is_for_client { (first, second) } else { (second, first) };
    let outside = Outside { scope: provider_scope, nat, backend, protocol };
    let known = ledger.translation(&outside);
    let known = known.unwrap_or_else(|| panic!("I1: {outside:?} is no flow"));
    let (same, first, second) = client.quoted;
    let (at_client, endpoint) = if is_for_client { (first, second) } else { (second, first) };
    let Inside { station, .. } = *known;
    let seen = Inside { scope: client_scope, client: at_client, endpoint, station };
    assert_eq!((seen, same), (*known, protocol), "I4: the packet as its sender knows it");
    let gate = topology.endpoint(client_scope, endpoint.0).map(|endpoint| endpoint.gate);
    assert_eq!(gate, Some(Gate::Approved), "I11: {output:?} passed");
    let outer = (output.source, output.destination);
    if is_for_client {
        assert_eq!(outer, (endpoint.0, at_client.0), "I1: in the endpoint's name");
        assert_eq!(output.to_mac, station);
    } else {
        assert_eq!(outer, (nat.0, backend.0), "I1: in the NAT IP's name");
        assert!(topology.stations_of(egress, backend.0).contains(&output.to_mac));
    }
    true
}
