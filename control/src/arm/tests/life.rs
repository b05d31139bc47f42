//! The life of a connection: one object with two views.

use serde_json::{Value, json};

use super::support::{AUTOMATIC, MANUAL, Office, at, code_of, endpoint, service};

fn state(office: &Office, list: &str) -> Value {
    let seen = office.get("privateEndpoints/pe");
    seen["properties"][list][0]["properties"]["privateLinkServiceConnectionState"].clone()
}

fn decide(office: &Office, name: &str, status: &str) -> super::super::Reply {
    let path = format!("privateLinkServices/web/privateEndpointConnections/{name}");
    office.put(
        &path,
        &json!({ "properties": { "privateLinkServiceConnectionState": {
            "status": status, "description": "because", "actionsRequired": "Call us",
        }}}),
    )
}

#[test]
fn a_connection_is_one_object_with_two_views() {
    let office = Office::new();
    office.furnish();
    let target = at("privateLinkServices/web");
    office.made("privateEndpoints/pe", &endpoint(MANUAL, &target));
    assert_eq!(state(&office, MANUAL)["status"], "Pending");
    let seen = office.get("privateEndpoints/PE");
    assert_eq!(seen["name"], "pe", "names are compared without case and shown as first written");
    assert_eq!(seen["properties"][AUTOMATIC], json!([]), "both lists are always there");
    let list = office.get("privateLinkServices/web/privateEndpointConnections");
    let connection = &list["value"][0];
    let name = connection["name"].as_str().unwrap();
    assert!(name.starts_with("pe."));
    assert_eq!(connection["properties"]["linkIdentifier"], "536870913");

    for (wanted, passes) in [("Approved", true), ("rejected", false), ("APPROVED", true)] {
        let reply = decide(&office, name, wanted);
        assert_eq!(reply.status, 200, "{reply:?}");
        let consumer = state(&office, MANUAL);
        assert!(consumer["status"].as_str().unwrap().eq_ignore_ascii_case(wanted));
        assert_eq!(consumer["actionsRequired"], "Call us");
        let kept = office.kept.0.lock();
        let (_, connection) = kept.registry.all().next().unwrap();
        assert_eq!(connection.state == crate::state::ConnectionState::Approved, passes);
    }
    // A replacement that says the same keeps state, address and link.
    let before = office.get("privateEndpoints/pe");
    let after = office.made("privateEndpoints/pe", &endpoint(MANUAL, &target));
    assert_eq!(before["properties"], after["properties"]);
    assert_eq!(
        code_of(&decide(&office, name, "Pending")),
        "PrivateEndpointConnectionStatusInvalid"
    );

    let path = format!("privateLinkServices/web/privateEndpointConnections/{name}");
    assert_eq!(office.delete(&path).status, 202);
    assert_eq!(office.delete(&path).status, 204);
    assert_eq!(state(&office, MANUAL)["status"], "Disconnected");
    let code = "PrivateEndpointConnectionCannotBeCreatedByServiceProvider";
    assert_eq!(code_of(&decide(&office, name, "Approved")), code, "it is gone for the provider");
    let code = "PrivateEndpointConnectionIsDisconnected";
    office.refused("privateEndpoints/pe", &endpoint(MANUAL, &target), code);

    // Its service may go and come back: what was removed stays removed.
    assert_eq!(office.delete("privateLinkServices/web").status, 202);
    office.made("privateLinkServices/web", &service("lb", "front"));
    assert_eq!(state(&office, MANUAL)["status"], "Disconnected");
    assert_eq!(office.delete("privateEndpoints/pe").status, 202);
    office.made("privateEndpoints/pe", &endpoint(MANUAL, &target));
    let list = office.get("privateLinkServices/web/privateEndpointConnections");
    let link = &list["value"][0]["properties"]["linkIdentifier"];
    assert_ne!(link, "536870913", "link ids are never used again");
}

#[test]
fn who_is_listed_or_entitled_is_approved_and_other_tenants_never_are() {
    let roles = format!(
        "[[subscription]]\nid = \"{}\"\ntenant = \"t1\"\n\
        [[subscription]]\nid = \"other\"\ntenant = \"t1\"\n\
        [[subscription]]\nid = \"abroad\"\ntenant = \"t2\"\n",
        super::support::SUB
    );
    let office = Office::with("", &roles, false);
    office.furnish();
    let target = at("privateLinkServices/web");
    office.made("privateEndpoints/pe", &endpoint(AUTOMATIC, &target));
    assert_eq!(state(&office, AUTOMATIC)["status"], "Approved", "the operator may approve");
    assert_eq!(state(&office, AUTOMATIC)["description"], "Auto-approved");

    let mut listed = service("lb", "front");
    listed["properties"]["autoApproval"] = json!({ "subscriptions": ["abroad", "other"] });
    let code = "PrivateLinkServiceAutoApprovalNotInVisibility";
    office.refused("privateLinkServices/web", &listed, code);
    listed["properties"]["visibility"] = json!({ "subscriptions": ["*"] });
    let alias = office.made("privateLinkServices/web", &listed)["properties"]["alias"].clone();
    let alias = alias.as_str().unwrap();
    for (subscription, expected) in [("other", "Approved"), ("abroad", "Pending")] {
        let there = |text: &str| text.replace(super::support::SUB, subscription);
        let send = |path: &str, body: &Value| {
            office.send("PUT", &there(&at(path)), there(&body.to_string()).as_bytes())
        };
        let network = super::support::network("10.0.0.0/16", "10.0.0.0/24", "Enabled");
        assert_eq!(send("virtualNetworks/c", &network).status, 201);
        let reply = send("privateEndpoints/pe", &endpoint(MANUAL, &alias.to_uppercase()));
        assert_eq!(reply.status, 201, "{reply:?}");
        let body = reply.body.unwrap();
        let connection = &body["properties"][MANUAL][0]["properties"];
        let seen = &connection["privateLinkServiceConnectionState"]["status"];
        assert_eq!(seen, expected, "{subscription}");
    }
    // The id would be turned into one of the same subscription by the replacement above.
    let abroad = at("privateEndpoints/pe-2").replace(super::support::SUB, "abroad");
    let mut body = endpoint(AUTOMATIC, &target);
    let subnet = at("virtualNetworks/c/subnets/s").replace(super::support::SUB, "abroad");
    body["properties"]["subnet"]["id"] = subnet.into();
    let reply = office.send("PUT", &abroad, body.to_string().as_bytes());
    assert_eq!(code_of(&reply), "LinkedAuthorizationFailed");
}

#[test]
fn resources_of_the_file_are_seen_and_not_changed() {
    let file = include_str!("../../../adit.example.toml");
    let office = Office::with(file, "", false);
    let home = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/adit\
        /providers/Microsoft.Network";
    let list = office.send("GET", &format!("{home}/privateEndpoints"), b"").body.unwrap();
    let first = &list["value"][0];
    let name = first["name"].as_str().unwrap();
    let path = format!("{home}/privateEndpoints/{name}");
    let reply = office.send("PUT", &path, first.to_string().as_bytes());
    assert_eq!(code_of(&reply), "ResourceDefinedByFile");
    assert_eq!(code_of(&office.send("DELETE", &path, b"")), "ResourceDefinedByFile");
    // Its connections are decided on all the same.
    let web = format!("{home}/privateLinkServices/web/privateEndpointConnections");
    let list = office.send("GET", &web, b"").body.unwrap();
    let mut connection = list["value"][0].clone();
    connection["properties"]["privateLinkServiceConnectionState"]["status"] = "Rejected".into();
    let path = format!("{web}/{}", connection["name"].as_str().unwrap());
    let reply = office.send("PUT", &path, connection.to_string().as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
}
