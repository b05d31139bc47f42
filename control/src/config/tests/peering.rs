//! Virtual networks that are peered.

use dataplane::snapshot::PeeringState;
use dataplane::types::{Address, ScopeId};
use std::net::IpAddr;

use super::{GOOD, assert_fault, check};
use crate::state::Registry;

/// The good file with two networks more: `spoke`, and `twin`, which has the consumer's addresses;
/// the consumer and both name these peers.
fn peered([consumer, spoke, twin]: [&str; 3]) -> String {
    let space = "address_space = [\"10.0.0.0/16\"]\n";
    let good = GOOD.replacen(space, &format!("{space}peered_with = [{consumer}]\n"), 1);
    good + &format!(
        "[[virtual_network]]\nname = \"spoke\"\naddress_space = [\"10.8.0.0/16\", \"fd08::/64\"]\n\
         peered_with = [{spoke}]\n\
         [[virtual_network]]\nname = \"twin\"\naddress_space = [\"10.0.128.0/17\"]\n\
         peered_with = [{twin}]\n"
    )
}

#[test]
fn a_peering_is_connected_when_each_names_the_other() {
    let checked = check(&peered(["\"spoke\"", "\"consumer-a\", \"provider\"", ""])).unwrap();
    let said: Vec<String> = checked.warnings.iter().map(|said| said.problem.clone()).collect();
    let one_sided = "the peering with \"provider\" is not connected";
    assert!(said.iter().any(|said| said == one_sided), "{said:?}");
    let config = checked.config;
    assert_eq!(config.connected_peers(0).collect::<Vec<_>>(), [2]);
    assert_eq!(config.connected_peers(2).collect::<Vec<_>>(), [0]);
    assert_eq!(config.connected_peers(1).count(), 0);
    let (snapshot, _) = crate::compile::compile(&config, &Registry::default()).unwrap();
    let state = |scope, with| snapshot.peering(ScopeId(scope), ScopeId(with));
    assert_eq!(state(0, 2), Some(PeeringState::Connected));
    assert_eq!(state(2, 0), Some(PeeringState::Connected));
    assert_eq!(state(2, 1), Some(PeeringState::Initiated));
    assert_eq!(state(1, 2), None);
    let at = |scope, address: &str| {
        let address: IpAddr = address.parse().unwrap();
        snapshot.peer_at(ScopeId(scope), Address::from(address)).map(|peer| peer.scope)
    };
    assert_eq!(at(0, "10.8.255.255"), Some(ScopeId(2)));
    assert_eq!(at(0, "fd08::1"), Some(ScopeId(2)));
    assert_eq!(at(2, "10.0.0.0"), Some(ScopeId(0)));
    assert_eq!(at(2, "10.2.0.1"), Some(ScopeId(1)), "a network has several prefixes");
    for (scope, nobodys) in [(0, "10.7.255.255"), (0, "10.9.0.0"), (0, "fd09::"), (3, "10.8.0.1")] {
        assert_eq!(at(scope, nobodys), None, "{nobodys}");
    }
    assert!(snapshot.speaks_ipv6(ScopeId(0)), "its peer may have endpoints of IPv6");
    assert!(!snapshot.speaks_ipv6(ScopeId(2)) && !snapshot.speaks_ipv6(ScopeId(1)));
}

#[test]
fn peers_do_not_overlap() {
    let overlaps = "10.0.128.0/17 of \"twin\" overlaps 10.0.0.0/16 of \"consumer-a\"";
    let text = peered(["\"twin\"", "", ""]);
    assert_fault(&text, "virtual_network[0].peered_with[0]", 8, &[overlaps, "do not overlap"]);
    // Nor do two peers of one network.
    let text = peered(["", "\"consumer-a\", \"twin\"", ""]);
    assert_fault(&text, "virtual_network[2].peered_with[1]", 63, &[overlaps]);
    // Nor a peer and what is behind a network's routers.
    let remote = "peered_with = [\"spoke\"]\nremote_address_space = [\"10.8.1.0/24\"]\n";
    let text = peered(["\"spoke\"", "", ""]).replacen("peered_with = [\"spoke\"]\n", remote, 1);
    let overlaps = "10.8.0.0/16 of \"spoke\" overlaps 10.8.1.0/24 of \"consumer-a\"";
    assert_fault(&text, "virtual_network[0].peered_with[0]", 8, &[overlaps]);
}

#[test]
fn a_peer_is_another_network_named_once() {
    for (peers, at, words) in [
        ("\"nobody\"", 0, ["no virtual network \"nobody\"", ""]),
        ("\"consumer-a\"", 0, ["its own peer", "leave it out"]),
        ("\"spoke\", \"spoke\"", 1, ["named twice", "once"]),
    ] {
        let path = format!("virtual_network[0].peered_with[{at}]");
        assert_fault(&peered([peers, "", ""]), &path, 8, &words);
    }
}

#[test]
fn a_network_of_endpoints_alone_needs_no_device_if_a_peer_has_one() {
    let device = "[[device]]\nname = \"veth-a\"\nkind = \"af_packet\"\n";
    let mine = format!("{device}virtual_network = \"consumer-a\"\n");
    let theirs = format!("{device}virtual_network = \"spoke\"\n");
    let both = ["\"spoke\"", "\"consumer-a\"", ""];
    let [connected, one_sided] = [both, ["\"spoke\"", "", ""]].map(|peers| {
        let text = peered(peers);
        assert!(text.contains(&mine));
        text.replacen(&mine, &theirs, 1)
    });
    check(&connected).unwrap();
    assert_fault(&one_sided, "virtual_network[0].name", 6, &["has no device"]);
}
