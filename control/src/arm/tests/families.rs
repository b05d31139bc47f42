//! Addresses of both families: what requests may ask for, what they are given, and how it is shown.

use serde_json::{Value, json};

use super::support::{AUTOMATIC, Office, SUB, at, balancer, code_of, endpoint, service};

/// A network whose subnet `s` has both families.
fn dual(second: u8, service_policies: &str) -> Value {
    json!({ "location": "eastus", "properties": {
        "addressSpace": { "addressPrefixes": [
            format!("10.{second}.0.0/16"), format!("fd0{second}::/48"),
        ]},
        "subnets": [{ "name": "s", "properties": {
            // As Azure keeps them, that of IPv4 first.
            "addressPrefixes": [format!("fd0{second}::/64"), format!("10.{second}.0.0/24")],
            "privateLinkServiceNetworkPolicies": service_policies,
        }}],
    }})
}

/// A NAT IP configuration of the provider's subnet.
fn nat_ip(name: &str, version: &str) -> Value {
    let subnet = json!({ "id": at("virtualNetworks/v/subnets/s") });
    json!({ "name": name, "properties": { "subnet": subnet, "privateIPAddressVersion": version } })
}

/// The usual load balancer with a frontend of IPv6 and backends of both families.
fn mixed() -> Value {
    let mut body = balancer();
    let properties = &mut body["properties"];
    properties["frontendIPConfigurations"][0]["properties"]["privateIPAddressVersion"] =
        "ipv6".into();
    properties["backendAddressPools"][0]["properties"]["loadBalancerBackendAddresses"] = json!([
        { "name": "b", "properties": { "ipAddress": "10.1.0.100" } },
        { "name": "c", "properties": { "ipAddress": "fd01::100" } },
    ]);
    body
}

fn furnished() -> Office {
    let office = Office::new();
    office.made("virtualNetworks/v", &dual(1, "Disabled"));
    office.made("virtualNetworks/c", &dual(0, "Enabled"));
    office.made("loadBalancers/lb", &mixed());
    let mut web = service("lb", "front");
    web["properties"]["ipConfigurations"] = json!([nat_ip("n", "IPv4"), nat_ip("m", "IPv6")]);
    office.made("privateLinkServices/web", &web);
    office
}

fn of_version(version: &str, addresses: &[&str]) -> Value {
    let mut body = endpoint(AUTOMATIC, &at("privateLinkServices/web"));
    body["properties"]["ipVersionType"] = version.into();
    let configurations = addresses.iter().enumerate().map(|(at, address)| {
        json!({ "name": format!("ip-{at}"), "properties": {
            "groupId": "", "memberName": "", "privateIPAddress": address,
        }})
    });
    body["properties"]["ipConfigurations"] = configurations.collect();
    body
}

/// Address and version of each IP configuration of a resource.
fn addresses(value: &Value, list: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = value["properties"][list].as_array().cloned().unwrap_or_default();
    let pair = |one: &Value| {
        let properties = &one["properties"];
        (text(&properties["privateIPAddress"]), text(&properties["privateIPAddressVersion"]))
    };
    list.iter().map(pair).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn each_part_has_an_address_of_the_version_that_it_asks_for() {
    let office = furnished();
    let subnet = office.get("virtualNetworks/v/subnets/s");
    let prefixes = json!(["10.1.0.0/24", "fd01::/64"]);
    assert_eq!(subnet["properties"]["addressPrefixes"], prefixes);
    assert_eq!(subnet["properties"]["addressPrefix"], Value::Null);
    let balancer = office.get("loadBalancers/lb");
    let fronts = addresses(&balancer, "frontendIPConfigurations");
    assert_eq!(fronts, pairs(&[("fd01::4", "IPv6"), ("10.1.0.4", "IPv4")]));
    let web = office.get("privateLinkServices/web");
    let nat_ips = pairs(&[("10.1.0.5", "IPv4"), ("fd01::5", "IPv6")]);
    assert_eq!(addresses(&web, "ipConfigurations"), nat_ips);
    let made = office.made("privateEndpoints/six", &of_version("IPv6", &[]));
    assert_eq!(made["properties"]["ipVersionType"], "IPv6");
    let nic = made["properties"]["networkInterfaces"][0]["id"].as_str().unwrap();
    let nic = office.get(nic.split("Microsoft.Network/").nth(1).unwrap());
    assert_eq!(addresses(&nic, "ipConfigurations"), pairs(&[("fd00::4", "IPv6")]));
    // Replaced by what was shown, all keep what they have.
    for path in ["virtualNetworks/v", "loadBalancers/lb", "privateLinkServices/web"] {
        office.made(path, &office.get(path));
    }
    let again = office.get("loadBalancers/lb");
    assert_eq!(addresses(&again, "frontendIPConfigurations"), fronts);
    let again = office.get("privateLinkServices/web");
    assert_eq!(addresses(&again, "ipConfigurations"), nat_ips);
}

#[test]
fn an_endpoint_of_both_families_is_one() {
    let office = furnished();
    let mut web = office.get("privateLinkServices/web");
    web["properties"]["fqdns"] = json!(["web.example"]);
    office.made("privateLinkServices/web", &web);
    let made = office.made("privateEndpoints/both", &of_version("DualStack", &["fd00::9"]));
    let shown = &made["properties"];
    assert_eq!(shown["ipVersionType"], "DualStack");
    let dns = json!([{ "fqdn": "web.example", "ipAddresses": ["10.0.0.4", "fd00::9"] }]);
    assert_eq!(shown["customDnsConfigs"], dns);
    assert_eq!(shown["ipConfigurations"][0]["properties"]["privateIPAddress"], "fd00::9");
    let nic = shown["networkInterfaces"][0]["id"].as_str().unwrap();
    let nic = office.get(nic.split("Microsoft.Network/").nth(1).unwrap());
    let both = pairs(&[("10.0.0.4", "IPv4"), ("fd00::9", "IPv6")]);
    assert_eq!(addresses(&nic, "ipConfigurations"), both);
    {
        let kept = office.kept.0.lock();
        let [endpoint] = kept.snapshot.endpoints() else { panic!("one endpoint") };
        assert_eq!(endpoint.addresses.to_string(), "10.0.0.4, fd00::9");
    }
    // What was shown may be put again, and either address is taken.
    office.made("privateEndpoints/both", &made);
    let path = "privateEndpoints/other";
    for taken in ["10.0.0.4", "fd00::9"] {
        office.refused(path, &of_version("DualStack", &[taken]), "PrivateIPAddressInUse");
    }
    let code = "PrivateEndpointPropertyCannotBeChanged";
    office.refused("privateEndpoints/both", &of_version("IPv4", &[]), code);
    let two = of_version("DualStack", &["10.0.0.8", "10.0.0.9"]);
    office.refused(path, &two, "InvalidIPAddressVersion");
    let three = of_version("DualStack", &["10.0.0.8", "fd00::8", "fd00::7"]);
    office.refused(path, &three, "InvalidRequestFormat");
    assert_eq!(office.delete("privateEndpoints/both").status, 202);
    office.made(path, &of_version("DualStack", &["10.0.0.4", "fd00::9"]));
}

#[test]
fn what_versions_may_not_be() {
    let office = furnished();
    let refused = |path: &str, body: &Value, code: &str, words: &str| {
        let said = office.refused(path, body, code);
        assert!(said.contains(words), "{said}");
    };
    let path = "privateEndpoints/pe";
    refused(path, &of_version("IPv6", &["10.0.0.9"]), "InvalidIPAddressVersion", "no IPv6 address");
    let reserved = "PrivateIPAddressInReservedRange";
    refused(path, &of_version("IPv6", &["fd00::3"]), reserved, "first four");
    refused(path, &of_version("IPv6", &["fd01::9"]), "PrivateIPAddressNotInSubnet", "fd00::/64");
    refused(path, &of_version("IPv5", &[]), "InvalidRequestFormat", "IPv6");
}

/// What else networks and load balancers may not be is refused with a cure.
#[test]
fn what_prefixes_and_families_may_not_be() {
    let office = furnished();
    let with = |prefixes: Value| {
        let mut body = dual(1, "Disabled");
        body["properties"]["subnets"][0]["properties"]["addressPrefixes"] = prefixes;
        body
    };
    for (prefixes, code, words) in [
        (json!(["10.1.0.0/24", "fd01::/56"]), "NetcfgInvalidSubnet", "exactly a /64"),
        (json!(["10.1.0.0/24", "fd02::/64"]), "NetcfgInvalidSubnet", "address space"),
        (json!(["10.1.0.0/24", "10.1.1.0/24"]), "NotImplemented", "two IPv4 prefixes"),
        (json!(["10.1.0.0/24", "::ffff:10.1.0.0/120"]), "InvalidAddressPrefixFormat", "prefix"),
    ] {
        let said = office.refused("virtualNetworks/w", &with(prefixes), code);
        assert!(said.contains(words), "{said}");
    }
    // One that is used does not go; the other may come.
    let only = with(json!(["10.1.0.0/24"]));
    office.refused("virtualNetworks/v", &only, "InUseSubnetCannotBeUpdated");
    let said = {
        let mut web = service("lb", "front");
        web["properties"]["ipConfigurations"] = json!([nat_ip("n", "IPv4")]);
        office.refused("privateLinkServices/web", &web, "ResourceConflict")
    };
    assert!(said.contains("no IPv6 NAT IP") && said.contains("add a NAT IP"), "{said}");
    let mut floats = mixed();
    let rule = &mut floats["properties"]["loadBalancingRules"][0]["properties"];
    rule["enableFloatingIP"] = true.into();
    rule["backendPort"] = 80.into();
    let said = office.refused("loadBalancers/lb", &floats, "ResourceConflict");
    assert!(said.contains("10.1.0.100 is IPv4"), "{said}");
    let mut named = mixed();
    let pool = &mut named["properties"]["backendAddressPools"][0]["properties"];
    pool["loadBalancerBackendAddresses"][0]["properties"]["ipAddress"] = "::ffff:10.1.0.9".into();
    office.refused("loadBalancers/lb", &named, "InvalidIPAddressFormat");
}

#[test]
fn a_subnet_of_one_family_gives_no_address_of_the_other() {
    let office = Office::new();
    office.furnish();
    let mut web = service("lb", "front");
    web["properties"]["ipConfigurations"] = json!([nat_ip("n", "IPv6")]);
    let code = "SubnetDoesNotHaveAddressPrefixOfVersion";
    let said = office.refused("privateLinkServices/web", &web, code);
    assert!(said.contains("addressPrefixes"), "{said}");
    office.refused("privateEndpoints/pe", &of_version("IPv6", &[]), code);
}

/// Azure has no NAT IPs of IPv6.
#[test]
fn strictly_nat_ips_are_ipv4() {
    let office = Office::with("", "", true);
    let group = format!("/subscriptions/{SUB}/resourcegroups/rg");
    assert_eq!(office.send("PUT", &group, b"{\"location\":\"eastus\"}").status, 201);
    office.made("virtualNetworks/v", &dual(1, "Disabled"));
    let mut empty = balancer();
    empty["properties"]["backendAddressPools"][0]["properties"] = json!({});
    office.made("loadBalancers/lb", &empty);
    let mut web = service("lb", "front");
    web["properties"]["ipConfigurations"] = json!([nat_ip("n", "IPv6")]);
    let reply = office.put("privateLinkServices/web", &web);
    assert_eq!(code_of(&reply), "NotImplemented", "{reply:?}");
}
