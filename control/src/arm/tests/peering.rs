//! Peerings: each side a part of its own network.

use dataplane::snapshot::PeeringState;
use serde_json::{Value, json};

use super::support::{Office, at, code_of, network};

/// One side of a peering with a network of the group `rg`.
pub(super) fn side(remote: &str) -> Value {
    json!({ "properties": {
        "remoteVirtualNetwork": { "id": at(&format!("virtualNetworks/{remote}")) },
        "allowVirtualNetworkAccess": true, "allowForwardedTraffic": false,
    }})
}

fn path(of: &str, with: &str) -> String {
    format!("virtualNetworks/{of}/virtualNetworkPeerings/to-{with}")
}

#[track_caller]
fn is(office: &Office, of: &str, with: &str, state: &str) {
    let seen = office.get(&path(of, with));
    assert_eq!(seen["properties"]["peeringState"], state, "{seen}");
}

/// How far a peering is in the data path.
fn carried(office: &Office, of: &str, with: &str) -> Option<PeeringState> {
    let kept = office.kept.0.lock();
    let scope = |name: &str| {
        let mut networks = kept.config.virtual_networks().iter();
        let network = networks.find(|one| one.name.as_str().ends_with(&format!("/{name}")));
        kept.registry.scope(&network.unwrap().name).unwrap()
    };
    kept.snapshot.peering(scope(of), scope(with))
}

fn furnished() -> Office {
    let office = Office::new();
    for (name, second) in [("hub", 0), ("one", 1), ("two", 2), ("twin", 1)] {
        let prefix = |length| format!("10.{second}.0.0/{length}");
        office.made(
            &format!("virtualNetworks/{name}"),
            &network(&prefix(16), &prefix(24), "Enabled"),
        );
    }
    office
}

#[test]
fn a_peering_is_connected_when_both_sides_are_there() {
    let office = furnished();
    let first = office.put(&path("hub", "one"), &side("one"));
    assert_eq!(first.status, 201);
    is(&office, "hub", "one", "Initiated");
    assert_eq!(carried(&office, "hub", "one"), Some(PeeringState::Initiated));
    assert_eq!(office.made(&path("one", "hub"), &side("hub"))["name"], "to-hub");
    for (of, with) in [("hub", "one"), ("one", "hub")] {
        is(&office, of, with, "Connected");
        assert_eq!(carried(&office, of, with), Some(PeeringState::Connected));
    }
    let seen = office.get(&path("one", "hub"));
    assert_eq!(seen["properties"]["remoteAddressSpace"]["addressPrefixes"], json!(["10.0.0.0/16"]));
    assert_eq!(seen["type"], "Microsoft.Network/virtualNetworks/virtualNetworkPeerings");
    let list = office.get("virtualNetworks/hub/virtualNetworkPeerings");
    assert_eq!(list["value"].as_array().map(Vec::len), Some(1));
    // What clients send back with the network changes nothing, and a new one is put by itself.
    let whole = office.get("virtualNetworks/hub");
    office.made("virtualNetworks/hub", &whole);
    is(&office, "hub", "one", "Connected");
    let mut more = whole.clone();
    more["properties"]["virtualNetworkPeerings"][0]["name"] = "another".into();
    office.refused("virtualNetworks/hub", &more, "NotImplemented");
    // A side without access carries nothing, and is connected all the same.
    let mut closed = side("one");
    closed["properties"]["allowVirtualNetworkAccess"] = false.into();
    office.made(&path("hub", "one"), &closed);
    is(&office, "hub", "one", "Connected");
    assert_eq!(carried(&office, "hub", "one"), None);
    assert_eq!(carried(&office, "one", "hub"), Some(PeeringState::Initiated));
}

#[test]
fn what_is_cut_on_one_side_is_put_again_on_the_other() {
    let office = furnished();
    office.made(&path("hub", "one"), &side("one"));
    office.made(&path("one", "hub"), &side("hub"));
    assert_eq!(office.delete(&path("one", "hub")).status, 202);
    assert_eq!(office.delete(&path("one", "hub")).status, 204);
    is(&office, "hub", "one", "Disconnected");
    assert_eq!(carried(&office, "hub", "one"), None);
    // Who was left behind has to agree again.
    office.refused(&path("one", "hub"), &side("hub"), "RemotePeeringIsDisconnected");
    office.made(&path("hub", "one"), &side("one"));
    is(&office, "hub", "one", "Initiated");
    office.made(&path("one", "hub"), &side("hub"));
    is(&office, "hub", "one", "Connected");
    // A network that goes leaves its peers, and one of the same name is another.
    assert_eq!(office.delete("virtualNetworks/one").status, 202);
    is(&office, "hub", "one", "Disconnected");
    office.made("virtualNetworks/one", &network("10.1.0.0/16", "10.1.0.0/24", "Enabled"));
    is(&office, "hub", "one", "Disconnected");
    assert_eq!(office.delete(&path("hub", "one")).status, 202);
    office.made(&path("one", "hub"), &side("hub"));
    office.made(&path("hub", "one"), &side("one"));
    is(&office, "one", "hub", "Connected");
}

#[test]
fn what_cannot_be_a_peering_is_refused() {
    let office = furnished();
    office.made(&path("hub", "one"), &side("one"));
    let overlap = "VnetAddressSpaceOverlapsWithAlreadyPeeredVnet";
    let said = office.refused(&path("hub", "twin"), &side("twin"), overlap);
    assert!(said.contains("10.1.0.0/16 of"), "{said}");
    office.refused(&path("one", "twin"), &side("twin"), "VnetAddressSpacesOverlap");
    // A network that is a peer stays apart from its peers, whichever side said so.
    let wider = network("10.0.0.0/8", "10.1.0.0/24", "Enabled");
    office.refused("virtualNetworks/one", &wider, "VnetAddressSpacesOverlap");
    office.refused("virtualNetworks/hub", &wider, "VnetAddressSpacesOverlap");
    office.refused(&path("hub", "hub"), &side("hub"), "InvalidRequestFormat");
    office.refused(&path("hub", "nobody"), &side("nobody"), "InvalidResourceReference");
    office.refused(&path("hub", "none"), &json!({ "properties": {} }), "InvalidRequestFormat");
    office.refused(&path("hub", "again"), &side("one"), "PeeringAlreadyExists");
    let code = "ChangingRemoteVirtualNetworkNotAllowed";
    office.refused(&path("hub", "one"), &side("two"), code);
    for property in ["allowForwardedTraffic", "allowGatewayTransit", "useRemoteGateways"] {
        let mut body = side("two");
        body["properties"][property] = true.into();
        let said = office.refused(&path("hub", "two"), &body, "NotImplemented");
        assert!(said.contains(property), "{said}");
    }
}

#[test]
fn the_files_networks_are_peered_by_the_file() {
    let network = |name: &str, second: u8, peer: &str| {
        format!(
            "[[virtual_network]]\nname = {name:?}\naddress_space = [\"10.{second}.0.0/16\"]\n\
             peered_with = [{peer:?}]\n"
        )
    };
    let file = network("hub", 0, "spoke") + &network("spoke", 1, "hub");
    let office = Office::with(&file, "", false);
    let home = crate::resource::Home::default();
    let of_file = |path: &str| {
        let (subscription, group) = (&home.subscription, &home.group);
        let start = format!("/subscriptions/{subscription}/resourceGroups/{group}/providers");
        format!("{start}/Microsoft.Network/virtualNetworks/{path}")
    };
    let path = of_file("hub/virtualNetworkPeerings/spoke");
    let seen = office.send("GET", &path, b"").body.unwrap();
    assert_eq!(seen["properties"]["peeringState"], "Connected");
    assert_eq!(seen["properties"]["remoteVirtualNetwork"]["id"], of_file("spoke"));
    assert_eq!(code_of(&office.send("DELETE", &path, b"")), "ResourceDefinedByFile");
    office.made(
        "virtualNetworks/own",
        &super::support::network("10.2.0.0/16", "10.2.0.0/24", "Enabled"),
    );
    let body = json!({ "properties": { "remoteVirtualNetwork": { "id": of_file("hub") } } });
    let own = "virtualNetworks/own/virtualNetworkPeerings/hub";
    office.refused(own, &body, "ResourceDefinedByFile");
}
