//! I1, I5 and I6 for fragments that are not the first of their datagram: they have no ports, so
//! only addresses can be judged.

use dataplane::snapshot::Gate;

use super::passage::{Ledger, Passage};
use crate::observe::{Observed, observe};

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
    let bytes = passage.input.bytes.iter().zip(&passage.output.bytes).enumerate();
    for (at, (old, new)) in bytes {
        let may_change = matches!(at, 0..12 | 18..20 | 22 | 24..34);
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
        (outside.scope, outside.nat.0, outside.backend.0, outside.protocol)
            == (provider_scope, nat_ip, backend, input.protocol)
            && (inside.scope, inside.client.0, inside.endpoint.0) == (client_scope, host, endpoint)
    });
    assert!(is_known, "I1: {input:?} became {output:?}, which is no flow's");
    let gate = topology.endpoint(client_scope, endpoint).map(|endpoint| endpoint.gate);
    assert_eq!(gate, Some(Gate::Approved), "I11: {output:?} passed");
    true
}
