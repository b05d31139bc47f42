//! Rules on resources, each with Azure's code.

use serde_json::{Value, json};

use super::support::{
    AUTOMATIC, MANUAL, Office, SUB, VERSION, at, balancer, code_of, endpoint, network, service,
};
use crate::arm::Call;

#[test]
fn addresses_are_given_out_as_azure_does() {
    let office = Office::new();
    office.furnish();
    let web = office.get("privateLinkServices/web");
    let nat = &web["properties"]["ipConfigurations"][0]["properties"];
    // The frontends came first.
    assert_eq!(nat["privateIPAddress"], "10.1.0.6");
    let alias = web["properties"]["alias"].as_str().unwrap();
    assert!(alias.starts_with("web.") && alias.ends_with(".eastus.azure.privatelinkservice"));

    let target = at("privateLinkServices/web");
    let with = |address: &str| {
        let mut body = endpoint(AUTOMATIC, &target);
        body["properties"]["ipConfigurations"] =
            json!([{ "name": "ip", "properties": { "privateIPAddress": address } }]);
        body
    };
    for (address, code) in [
        ("10.0.0.3", "PrivateIPAddressInReservedRange"),
        ("10.0.0.255", "PrivateIPAddressInReservedRange"),
        ("10.0.1.9", "PrivateIPAddressNotInSubnet"),
        ("10.0.0", "InvalidIPAddressFormat"),
    ] {
        office.refused("privateEndpoints/pe", &with(address), code);
    }
    office.made("privateEndpoints/static", &with("10.0.0.4"));
    office.refused("privateEndpoints/pe", &with("10.0.0.4"), "PrivateIPAddressInUse");
    let made = office.made("privateEndpoints/pe", &endpoint(AUTOMATIC, &target));
    let nic = made["properties"]["networkInterfaces"][0]["id"].as_str().unwrap();
    let nic = office.send("GET", nic, b"").body.unwrap();
    let address = &nic["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"];
    assert_eq!(address, "10.0.0.5", "the first four are reserved, and .4 is taken");
    let nic = nic["id"].as_str().unwrap();
    assert_eq!(code_of(&office.send("PUT", nic, b"{}")), "NetworkInterfaceIsReadOnly");
    assert_eq!(office.send("DELETE", nic, b"").status, 409);
    let code = "PrivateEndpointPropertyCannotBeChanged";
    office.refused("privateEndpoints/pe", &with("10.0.0.77"), code);

    let strict = Office::with("", "", true);
    let reply = strict.put("virtualNetworks/c", &network("10.0.0.0/16", "10.0.0.0/24", "Enabled"));
    assert_eq!(code_of(&reply), "ResourceGroupNotFound");
}

/// A change of the usual body of a kind, and the code that it is refused with.
type Spoil = (&'static str, fn(&mut Value), &'static str);

#[test]
fn what_breaks_a_rule_is_refused_by_its_code() {
    let office = Office::new();
    office.furnish();
    let target = at("privateLinkServices/web");
    let table: &[Spoil] = &[
        (
            "virtualNetworks/v",
            |b| b["properties"]["addressSpace"] = json!({}),
            "InvalidRequestFormat",
        ),
        (
            "virtualNetworks/v",
            |b| b["properties"]["subnets"] = json!([]),
            "InUseSubnetCannotBeDeleted",
        ),
        ("virtualNetworks/v", |b| b["location"] = "west".into(), "InvalidResourceLocation"),
        ("virtualNetworks/n", |b| b["location"] = Value::Null, "LocationRequired"),
        ("virtualNetworks/n.", |_| {}, "InvalidResourceName"),
        (
            "virtualNetworks/n",
            |b| b["properties"]["subnets"][0]["properties"]["addressPrefix"] = "10.9.0.0/24".into(),
            "NetcfgInvalidSubnet",
        ),
        ("loadBalancers/lb", |b| b["sku"]["name"] = "basic".into(), "LoadBalancerSkuNotSupported"),
        (
            "loadBalancers/lb",
            |b| b["properties"]["frontendIPConfigurations"][0]["name"] = "else".into(),
            "InvalidResourceReference",
        ),
        ("privateLinkServices/two", |_| {}, "FrontendIPConfigurationInUse"),
        (
            "privateLinkServices/web",
            |b| b["properties"]["loadBalancerFrontendIpConfigurations"] = json!([]),
            "InvalidNumberOfFrontendIpConfigurations",
        ),
        (
            "privateLinkServices/web",
            |b| b["properties"]["ipConfigurations"] = (0..9).map(|_| json!({})).collect(),
            "PrivateLinkServiceIpConfigurationsLimitReached",
        ),
        (
            "privateEndpoints/pe",
            |b| b["properties"][AUTOMATIC] = json!([]),
            "PrivateEndpointNeedsOneConnection",
        ),
        (
            "privateEndpoints/pe",
            |b| b["properties"][MANUAL] = b["properties"][AUTOMATIC].clone(),
            "PrivateEndpointNeedsOneConnection",
        ),
        (
            "privateEndpoints/pe",
            |b| {
                let inner = &mut b["properties"][AUTOMATIC][0]["properties"];
                inner["requestMessage"] = "ä".repeat(141).into();
            },
            "PrivateEndpointRequestMessageTooLong",
        ),
        (
            "privateEndpoints/pe",
            |b| {
                let inner = &mut b["properties"][AUTOMATIC][0]["properties"];
                inner["privateLinkServiceId"] = at("privateLinkServices/none").into();
            },
            "InvalidResourceReference",
        ),
        ("privateEndpoints/pe", |b| b["location"] = "westus".into(), "InvalidResourceLocation"),
    ];
    for (path, spoil, code) in table {
        let mut body = match path.split('/').next().unwrap() {
            "virtualNetworks" => network("10.1.0.0/16", "10.1.0.0/24", "Disabled"),
            "loadBalancers" => balancer(),
            "privateLinkServices" => service("lb", "front"),
            _ => endpoint(AUTOMATIC, &target),
        };
        spoil(&mut body);
        let message = office.refused(path, &body, code);
        assert!(message.contains(';'), "{code}: no cure in {message:?}");
    }
}

#[test]
fn what_is_used_is_not_deleted_and_the_rest_goes_in_order() {
    let office = Office::new();
    office.furnish();
    office.made("privateEndpoints/pe", &endpoint(MANUAL, &at("privateLinkServices/web")));
    for (path, code) in [
        (
            "privateLinkServices/web",
            "PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted",
        ),
        ("loadBalancers/lb", "CannotDeleteLoadBalancerWithPrivateLinkService"),
        ("virtualNetworks/c", "InUseSubnetCannotBeDeleted"),
        ("virtualNetworks/v/subnets/s", "InUseSubnetCannotBeDeleted"),
    ] {
        assert_eq!(code_of(&office.delete(path)), code);
    }
    let all = ["privateEndpoints/pe", "privateLinkServices/web", "loadBalancers/lb"];
    for path in all.into_iter().chain(["virtualNetworks/c", "virtualNetworks/v"]) {
        let reply = office.delete(path);
        assert_eq!(reply.status, 202, "{path}: {reply:?}");
        let location = reply.headers.iter().find(|(name, _)| *name == "Location");
        let location = &location.unwrap().1["https://127.0.0.1:1".len()..];
        let (location, _) = location.split_once('?').unwrap();
        assert_eq!(office.send("GET", location, b"").status, 204);
        assert_eq!(office.delete(path).status, 204, "it is gone already");
    }
    let group = format!("/subscriptions/{SUB}/resourcegroups/RG");
    assert_eq!(office.send("HEAD", &group, b"").status, 204);
    office.furnish();
    assert_eq!(office.send("DELETE", &group, b"").status, 202, "with all that is in it");
    assert!(office.kept.0.lock().estate.own.is_empty());
}

#[test]
fn nobody_gets_in_without_a_token_or_beyond_a_role() {
    let roles = format!(
        "[[subscription]]\nid = \"{SUB}\"\ntenant = \"t\"\n\
        [[identity]]\nname = \"eye\"\ntenant = \"t\"\nsecret = \"s3\"\n\
        [[role_assignment]]\nidentity = \"eye\"\nrole = \"Reader\"\n\
        scope = \"/subscriptions/{SUB}\"\n"
    );
    let mut office = Office::with("", &roles, false);
    office.furnish();
    let call = |authorization: Option<&str>, query: &str| Call {
        method: "GET".to_owned(),
        path: at("privateLinkServices/web"),
        query: query.to_owned(),
        authorization: authorization.map(str::to_owned),
        ..Call::default()
    };
    for bad in [None, Some(""), Some("Bearer"), Some("Bearer x.y.z"), Some("Basic YTpi")] {
        assert_eq!(office.desk.answer(&call(bad, VERSION)).status, 401, "{bad:?}");
    }
    let good = format!("bearer {}", office.token);
    for (query, code) in [
        ("", "MissingApiVersionParameter"),
        ("api-version=latest", "InvalidApiVersionParameter"),
        ("API-Version=2019-04-01", ""),
    ] {
        assert_eq!(code_of(&office.desk.answer(&call(Some(&good), query))), code);
    }
    let form = |secret: &str| {
        format!("grant_type=client_credentials&client_id=eye&client_secret={secret}")
    };
    let ask = |secret: &str| office.send("POST", "/t/oauth2/v2.0/token", form(secret).as_bytes());
    assert_eq!(ask("s4").status, 401);
    let token = ask("s3").body.unwrap()["access_token"].as_str().unwrap().to_owned();
    office.token = token;
    assert_eq!(office.send("GET", &at("privateLinkServices/web"), b"").status, 200);
    assert_eq!(code_of(&office.delete("privateLinkServices/web")), "AuthorizationFailed");
    let elsewhere = at("privateLinkServices").replace(SUB, "other");
    assert_eq!(code_of(&office.send("GET", &elsewhere, b"")), "SubscriptionNotFound");
}
