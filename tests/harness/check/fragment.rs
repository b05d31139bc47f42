//! I1, I5 and I6 for fragments that are not the first of their datagram: they have no ports, so
//! only addresses can be judged.

use dataplane::snapshot::Gate;

use super::passage::{Ledger, Passage};
use crate::observe::{Observed, SeenFragment, observe};

/// Judges a later fragment that was forwarded; `false` if the frame is none.
pub(super) fn check(ledger: &Ledger, passage: &Passage<'_>) -> bool {
    let Observed::Fragment(input) = observe(&passage.input.bytes) else {
        return false;
    };
    let Observed::Fragment(output) = observe(&passage.output.bytes) else {
        panic!("a later fragment became {:?}", observe(&passage.output.bytes));
    };
    let topology = passage.topology;
    let scope = topology.scope(passage.ingress).expect("I1: it came in by a device of a network");
    let egress = topology.scope(passage.egress).expect("I1: it left by a device of a network");
    assert_eq!(output.from_mac, topology.station(passage.egress), "its device's name");
    assert!(output.holds, "I6: header checksum");
    assert_eq!(output.ttl, input.ttl - 1, "I5: time to live");
    assert_eq!(output.payload, input.payload, "I5: its part of the datagram");
    let place = |seen: &SeenFragment| (seen.piece.offset, seen.piece.more);
    assert_eq!(place(&output), place(&input), "I5: which part that is");
    let crosses = input.source.is_ipv6() != output.source.is_ipv6();
    let id = input.piece.id.1;
    let bytes = passage.input.bytes.iter().zip(&passage.output.bytes).enumerate();
    for (at, (old, new)) in bytes.filter(|_| !crosses) {
        let may_change = match input.source.is_ipv6() {
            true => matches!(at, 0..12 | 21..54) || (id..id + 4).contains(&at),
            false => matches!(at, 0..12 | 18..20 | 22 | 24..34),
        };
        assert!(may_change || old == new, "I5: byte {at} was {old:#x} and is {new:#x}");
    }
    let is_forward = topology.endpoint(scope, input.destination).is_some();
    let (client, provider) = if is_forward { (&input, &output) } else { (&output, &input) };
    let (client_scope, provider_scope) = if is_forward { (scope, egress) } else { (egress, scope) };
    let (host, endpoint) = match is_forward {
        true => (client.source, client.destination),
        false => (client.destination, client.source),
    };
    let (nat_ip, backend) = match is_forward {
        true => (provider.source, provider.destination),
        false => (provider.destination, provider.source),
    };
    let is_known = ledger.translations().any(|(outside, inside)| {
        // What a later fragment of IPv6 says of its protocol means nothing (RFC 8200 4.5).
        let is_its = input.source.is_ipv6() || outside.protocol == input.protocol;
        is_its
            && (outside.scope, outside.nat.0, outside.backend.0)
                == (provider_scope, nat_ip, backend)
            && (inside.scope, inside.client.0, inside.endpoint.0) == (client_scope, host, endpoint)
    });
    assert!(is_known, "I1: {input:?} became {output:?}, which is no flow's");
    let gate = topology.endpoint(client_scope, endpoint).map(|endpoint| endpoint.gate);
    assert_eq!(gate, Some(Gate::Approved), "I11: {output:?} passed");
    true
}
