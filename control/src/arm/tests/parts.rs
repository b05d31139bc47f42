//! Parts of load balancers, and network security groups: what the data path is told of them, and
//! the codes with which they are refused.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{AUTOMATIC, Office, at, balancer, code_of, endpoint, network, service};
use crate::config::{AdminState, Config, NoHealthyBackends, ProbeProtocol};

/// The usual load balancer with a probe, three backends, an inbound NAT rule.
pub(super) fn rich() -> Value {
    let part = |part: &str| json!({ "id": at(&format!("loadBalancers/lb/{part}")) });
    let mut body = balancer();
    let properties = &mut body["properties"];
    let backend = |at: u8, state: &str| {
        json!({ "name": format!("b{at}"), "properties": {
            "ipAddress": format!("10.1.0.{}", 100 + at), "adminState": state,
        }})
    };
    properties["backendAddressPools"][0]["properties"] = json!({
        "drainPeriodInSeconds": 30,
        "loadBalancerBackendAddresses": [backend(0, "None"), backend(1, "up"), backend(2, "Down")],
    });
    properties["probes"] = json!([{ "name": "Health", "properties": {
        "protocol": "http", "port": 8080, "requestPath": "/health", "intervalInSeconds": 5,
        "numberOfProbes": 2, "probeThreshold": 3, "noHealthyBackendsBehavior": "allprobedup",
    }}]);
    let rule = &mut properties["loadBalancingRules"][0]["properties"];
    rule["probe"] = part("probes/health");
    rule["loadDistribution"] = "sourceip".into();
    rule["disableOutboundSnat"] = true.into();
    rule["idleTimeoutInMinutes"] = 7.into();
    properties["inboundNatRules"] = json!([{ "name": "ssh", "properties": nat_rule(5000, 5009) }]);
    body
}

pub(super) fn nat_rule(first: u16, last: u16) -> Value {
    let part = |part: &str| json!({ "id": at(&format!("loadBalancers/lb/{part}")) });
    json!({
        "protocol": "Tcp", "backendPort": 22,
        "frontendPortRangeStart": first, "frontendPortRangeEnd": last,
        "frontendIPConfiguration": part("frontendIPConfigurations/front"),
        "backendAddressPool": part("backendAddressPools/pool"),
    })
}

fn furnished() -> Office {
    let office = Office::new();
    office.furnish();
    office.made("loadBalancers/lb", &rich());
    office
}

fn config(office: &Office) -> Config {
    office.kept.0.lock().config.clone()
}

#[test]
fn the_data_path_is_told_of_every_part() {
    let office = furnished();
    let config = config(&office);
    let [balancer] = config.load_balancers() else { panic!("{config:?}") };
    let [rule] = &balancer.rules[..] else { panic!("{balancer:?}") };
    let probe = balancer.probe_of(rule).unwrap();
    assert_eq!((probe.protocol, probe.port, probe.threshold), (ProbeProtocol::Http, 8080, 3));
    assert_eq!((probe.request_path.as_str(), probe.interval.as_secs()), ("/health", 5));
    assert_eq!(probe.no_healthy_backends, NoHealthyBackends::AllProbedUp);
    assert_eq!(rule.lifetime.idle_timeout, Some(Duration::from_secs(420)));
    let [pool] = &balancer.pools[..] else { panic!("{balancer:?}") };
    let states = pool.backends.iter().map(|backend| backend.admin_state);
    assert!(states.eq([AdminState::None, AdminState::Up, AdminState::Down]));
    assert_eq!(pool.drain, Some(Duration::from_secs(30)));
    let ports = balancer.inbound_nat_rules.iter();
    let ports = ports.map(|rule| (rule.backend_address.to_string(), rule.frontend_port));
    let expected = [(100, 5000), (101, 5001), (102, 5002)];
    assert!(ports.eq(expected.map(|(last, port)| (format!("10.1.0.{last}"), port))));

    // What is shown can be sent back, and says the same.
    let shown = office.get("loadBalancers/lb");
    let again = office.made("loadBalancers/lb", &shown);
    assert_eq!(shown["properties"], {
        let mut again = again["properties"].clone();
        take_etags(&shown["properties"], &mut again);
        again
    });
    let probe = office.get("loadBalancers/lb/probes/HEALTH");
    assert_eq!(probe["properties"]["numberOfProbes"], 2);
    let user = probe["properties"]["loadBalancingRules"][0]["id"].as_str().unwrap();
    assert!(user.ends_with("/loadBalancingRules/http"), "{user}");
    for part in ["frontendIPConfigurations", "loadBalancingRules", "outboundRules"] {
        let list = office.get(&format!("loadBalancers/lb/{part}"));
        assert!(list["value"].is_array(), "{part}");
    }
}

#[test]
fn a_frontend_floats_by_its_own_address() {
    let office = furnished();
    let mut body = rich();
    let properties = &mut body["properties"];
    let rule = &mut properties["loadBalancingRules"][0]["properties"];
    rule["enableFloatingIP"] = true.into();
    rule["backendPort"] = rule["frontendPort"].clone();
    let mut one = nat_rule(22, 22);
    one["enableFloatingIP"] = true.into();
    properties["inboundNatRules"] = json!([{ "name": "ssh", "properties": one }]);
    let list = &mut properties["backendAddressPools"][0]["properties"];
    list["loadBalancerBackendAddresses"].as_array_mut().unwrap().truncate(1);
    let made = office.made("loadBalancers/lb", &body);
    let shown = |part: &str| made["properties"][part][0]["properties"].clone();
    for part in ["loadBalancingRules", "inboundNatRules"] {
        assert_eq!(shown(part)["enableFloatingIP"], true, "{part}");
    }
    let address = shown("frontendIPConfigurations")["privateIPAddress"].clone();
    let config = config(&office);
    let [balancer] = config.load_balancers() else { panic!("{config:?}") };
    let floating = balancer.rules[0].floating.map(|frontend| frontend.to_string());
    assert_eq!(floating.as_deref(), address.as_str());
    assert_eq!(balancer.inbound_nat_rules[0].floating, balancer.rules[0].floating);
}

/// Etags differ by the change in between.
fn take_etags(from: &Value, to: &mut Value) {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => {
            for (name, value) in to {
                match from.get(name) {
                    Some(old) if name == "etag" => value.clone_from(old),
                    Some(old) => take_etags(old, value),
                    None => {}
                }
            }
        }
        (Value::Array(from), Value::Array(to)) => {
            from.iter().zip(to).for_each(|(from, to)| take_etags(from, to));
        }
        _ => {}
    }
}

#[test]
fn pools_and_nat_rules_are_written_by_themselves_and_ports_stay() {
    let office = furnished();
    let path = "loadBalancers/lb/backendAddressPools/POOL";
    let mut pool = office.get(path);
    assert_eq!(pool["name"], "pool");
    let list = pool["properties"]["loadBalancerBackendAddresses"].as_array_mut().unwrap();
    list.remove(0);
    list.push(json!({ "name": "new", "properties": { "ipAddress": "10.1.0.99" } }));
    let reply = office.put(path, &pool);
    assert_eq!(reply.status, 200, "{reply:?}");
    let query = format!("{}/queryInboundNatRulePortMapping", at(path));
    for (address, port) in [("10.1.0.101", 5001), ("10.1.0.102", 5002), ("10.1.0.99", 5000)] {
        let asked = json!({ "ipAddress": address }).to_string();
        let reply = office.send("POST", &query, asked.as_bytes()).body.unwrap();
        let mapping = &reply["inboundNatRulePortMappings"][0];
        assert_eq!((&mapping["frontendPort"], &mapping["backendPort"]), (&json!(port), &json!(22)));
    }
    let rule = json!({ "properties": nat_rule(6000, 6002) });
    assert_eq!(office.put("loadBalancers/lb/inboundNatRules/more", &rule).status, 201);
    assert_eq!(config(&office).load_balancers()[0].inbound_nat_rules.len(), 6);
    let code = "InUseBackendAddressPoolCannotBeDeleted";
    assert_eq!(code_of(&office.delete(path)), code);
    let empty = json!({ "properties": {} });
    assert_eq!(office.put("loadBalancers/lb/backendAddressPools/spare", &empty).status, 201);
    assert_eq!(office.delete("loadBalancers/lb/backendAddressPools/spare").status, 202);
    for name in ["more", "ssh"] {
        let path = format!("loadBalancers/lb/inboundNatRules/{name}");
        assert_eq!(office.delete(&path).status, 202);
        assert_eq!(office.delete(&path).status, 204);
    }
    assert!(config(&office).load_balancers()[0].inbound_nat_rules.is_empty());
    let reply = office.put("loadBalancers/lb/probes/Health", &json!({ "properties": {} }));
    assert_eq!((reply.status, code_of(&reply)), (501, "NotImplemented"));
    let reply = office.send("PATCH", &at("loadBalancers/lb"), b"{\"tags\":{\"a\":\"b\"}}");
    assert_eq!(reply.body.unwrap()["tags"]["a"], "b");
}

/// A change of the rich load balancer, and the code that it is refused with.
type Spoil = (fn(&mut Value), &'static str);

#[test]
fn a_part_that_breaks_a_rule_is_refused_by_its_code() {
    let office = furnished();
    let table: &[Spoil] = &[
        (|p| p["probes"][0]["properties"]["intervalInSeconds"] = 4.into(), "InvalidRequestFormat"),
        (|p| p["probes"][0]["properties"]["port"] = 25.into(), "InvalidRequestFormat"),
        (|p| p["probes"][0]["properties"]["requestPath"] = "".into(), "InvalidRequestFormat"),
        (|p| p["probes"][0]["properties"]["requestPath"] = "x y".into(), "InvalidRequestFormat"),
        (|p| p["probes"][0]["properties"]["protocol"] = "tcp".into(), "InvalidRequestFormat"),
        (|p| p["probes"][0]["properties"]["probeThreshold"] = 0.into(), "InvalidRequestFormat"),
        (|p| p["probes"] = json!([]), "InvalidResourceReference"),
        (|p| p["probes"] = json!([p["probes"][0], p["probes"][0]]), "DuplicateResourceName"),
        (
            |p| p["inboundNatRules"][0]["properties"]["frontendPortRangeStart"] = 5008.into(),
            "FrontendPortRangeTooSmall",
        ),
        (
            |p| p["inboundNatRules"][0]["properties"]["frontendPortRangeStart"] = 80.into(),
            "RulesUseSameFrontendPortProtocolAndVnet",
        ),
        (
            |p| p["inboundNatRules"][0]["properties"]["frontendPortRangeEnd"] = 4999.into(),
            "InvalidRequestFormat",
        ),
        (
            |p| p["inboundNatRules"][0]["properties"]["backendAddressPool"] = Value::Null,
            "NotImplemented",
        ),
        (
            |p| p["inboundNatRules"][0]["properties"]["protocol"] = "all".into(),
            "InvalidRequestFormat",
        ),
        (
            |p| {
                let rule = &mut p["loadBalancingRules"][0]["properties"];
                rule["enableFloatingIP"] = true.into();
                rule["frontendPort"] = 81.into();
            },
            "InvalidRequestFormat",
        ),
        (
            |p| p["inboundNatRules"][0]["properties"]["enableFloatingIP"] = true.into(),
            "InvalidRequestFormat",
        ),
        (
            |p| {
                let pool = &mut p["backendAddressPools"][0]["properties"];
                pool["loadBalancerBackendAddresses"][0]["properties"]["adminState"] = "off".into();
            },
            "InvalidRequestFormat",
        ),
        (
            |p| {
                let pool = &mut p["backendAddressPools"][0]["properties"];
                pool["virtualNetwork"] = json!({ "id": at("virtualNetworks/c") });
            },
            "InvalidRequestFormat",
        ),
    ];
    for (spoil, code) in table {
        let mut body = rich();
        spoil(&mut body["properties"]);
        let message = office.refused("loadBalancers/lb", &body, code);
        assert!(message.contains(';'), "{code}: no cure in {message:?}");
    }
}

#[test]
fn a_proxy_header_is_sent_if_the_service_says_so() {
    let office = furnished();
    let mut body = service("lb", "front");
    body["properties"]["enableProxyProtocol"] = true.into();
    let made = office.made("privateLinkServices/web", &body);
    assert_eq!(made["properties"]["enableProxyProtocol"], true);
    let dialect = config(&office).services()[0].treatment.proxy_protocol;
    assert_eq!(dialect, Some(dataplane::types::ProxyDialect::Azure));
    body["properties"]["accessMode"] = "Restricted".into();
    office.refused("privateLinkServices/web", &body, "NotImplemented");
}

pub(super) fn security_rule(priority: u16, access: &str) -> Value {
    json!({
        "priority": priority, "direction": "Inbound", "access": access, "protocol": "tcp",
        "sourceAddressPrefix": "*", "sourcePortRange": "*",
        "destinationAddressPrefix": "VirtualNetwork", "destinationPortRanges": ["80", "8000-8100"],
    })
}

fn guarded() -> Office {
    let office = Office::new();
    office.furnish();
    let rule = json!({ "name": "web", "properties": security_rule(100, "Deny") });
    let group = json!({ "location": "eastus", "properties": { "securityRules": [rule] } });
    office.made("networkSecurityGroups/nsg", &group);
    let mut network = network("10.0.0.0/16", "10.0.0.0/24", "Enabled");
    let subnet = &mut network["properties"]["subnets"][0]["properties"];
    subnet["networkSecurityGroup"] = json!({ "id": at("networkSecurityGroups/NSG") });
    subnet["privateEndpointNetworkPolicies"] = "networksecuritygroupenabled".into();
    office.made("virtualNetworks/c", &network);
    office.made("privateEndpoints/pe", &endpoint(AUTOMATIC, &at("privateLinkServices/web")));
    office
}

#[test]
fn a_group_guards_the_subnet_that_names_it_if_its_policies_say_so() {
    let office = guarded();
    let guard = |office: &Office| {
        let config = config(office);
        config.guard(&config.endpoints()[0]).map(|group| group.name.to_string())
    };
    let sub = super::support::SUB;
    assert_eq!(guard(&office), Some(format!("{sub}/rg/nsg")));
    let shown = office.get("networkSecurityGroups/nsg");
    let user = shown["properties"]["subnets"][0]["id"].as_str().unwrap();
    assert!(user.ends_with("/virtualNetworks/c/subnets/s"), "{user}");
    let default = shown["properties"]["defaultSecurityRules"].as_array().unwrap();
    assert_eq!(default.len(), 6, "three for each direction");
    let shown = office.get("networkSecurityGroups/nsg/defaultSecurityRules/DenyAllInBound");
    assert_eq!(shown["properties"]["priority"], 65_500);
    office.refused(
        "networkSecurityGroups/nsg/securityRules/other",
        &json!({ "properties": security_rule(100, "Allow") }),
        "SecurityRuleConflict",
    );
    // Another direction has priorities of its own; such a rule says nothing about endpoints.
    let mut outbound = security_rule(100, "Deny");
    outbound["direction"] = "Outbound".into();
    let body = json!({ "properties": outbound });
    assert_eq!(office.put("networkSecurityGroups/nsg/securityRules/out", &body).status, 201);
    let rules = |office: &Office| config(office).security_groups()[0].rules.len();
    assert_eq!(rules(&office), 1);
    let reply = office.delete("networkSecurityGroups/nsg");
    assert_eq!(code_of(&reply), "InUseNetworkSecurityGroupCannotBeDeleted");
    assert_eq!(office.delete("networkSecurityGroups/nsg/securityRules/web").status, 202);
    assert_eq!(rules(&office), 0);
    for (word, is_guarded) in [
        ("Disabled", false),
        ("RouteTableEnabled", false),
        ("Enabled", true),
        ("NetworkSecurityGroupEnabled", true),
    ] {
        let mut subnet = office.get("virtualNetworks/c/subnets/s");
        subnet["properties"]["privateEndpointNetworkPolicies"] = word.into();
        assert_eq!(office.put("virtualNetworks/c/subnets/s", &subnet).status, 200);
        assert_eq!(guard(&office).is_some(), is_guarded, "{word}");
    }
    let mut subnet = office.get("virtualNetworks/c/subnets/s");
    subnet["properties"]["networkSecurityGroup"] = Value::Null;
    assert_eq!(office.put("virtualNetworks/c/subnets/s", &subnet).status, 200);
    assert_eq!(office.delete("networkSecurityGroups/nsg").status, 202);
}

#[test]
fn a_security_rule_that_says_nothing_possible_is_refused() {
    let office = guarded();
    let table: &[Spoil] = &[
        (|r| r["sourceAddressPrefix"] = "10.0.0.1/24".into(), "SecurityRuleInvalidAddressPrefix"),
        (|r| r["sourceAddressPrefix"] = "Nowhere".into(), "SecurityRuleInvalidAddressPrefix"),
        (|r| r["destinationPortRanges"] = json!(["81,82"]), "SecurityRuleInvalidPortRange"),
        (|r| r["sourcePortRange"] = "9-1".into(), "SecurityRuleInvalidPortRange"),
        (
            |r| r["destinationAddressPrefix"] = Value::Null,
            "SecurityRuleParameterContainsUnsupportedValue",
        ),
        (|r| r["priority"] = 4097.into(), "InvalidRequestFormat"),
        (|r| r["priority"] = Value::Null, "InvalidRequestFormat"),
        (|r| r["access"] = "maybe".into(), "InvalidRequestFormat"),
        (|r| r["description"] = "x".repeat(141).into(), "InvalidRequestFormat"),
        (
            |r| {
                r["destinationAddressPrefix"] = Value::Null;
                let none = json!([{ "id": at("applicationSecurityGroups/none") }]);
                r["destinationApplicationSecurityGroups"] = none;
            },
            "InvalidResourceReference",
        ),
    ];
    let path = "networkSecurityGroups/nsg/securityRules/new";
    for (spoil, code) in table {
        let mut rule = security_rule(200, "Allow");
        spoil(&mut rule);
        let message = office.refused(path, &json!({ "properties": rule }), code);
        assert!(message.contains(';'), "{code}: no cure in {message:?}");
    }
    for tag in ["Storage.WestEurope", "azureloadbalancer", "2001:db8::/32", "10.0.0.7", "Any"] {
        let mut rule = security_rule(200, "Allow");
        rule["sourceAddressPrefix"] = tag.into();
        let reply = office.put(path, &json!({ "properties": rule }));
        assert!(reply.status < 300, "{tag}: {reply:?}");
        assert_eq!(office.get(path)["properties"]["sourceAddressPrefix"], tag);
    }
}

#[test]
fn an_application_security_group_stands_for_its_members() {
    let office = guarded();
    office.made("applicationSecurityGroups/web", &json!({ "location": "eastus" }));
    let asg = json!([{ "id": at("applicationSecurityGroups/web") }]);
    let mut rule = security_rule(150, "Deny");
    rule["destinationAddressPrefix"] = Value::Null;
    rule["destinationApplicationSecurityGroups"] = asg.clone();
    let path = "networkSecurityGroups/nsg/securityRules/members";
    office.put(path, &json!({ "properties": rule }));
    let hosts = |office: &Office| {
        let config = config(office);
        let rules = &config.security_groups()[0].rules;
        rules.iter().find(|rule| rule.name.as_str() == "members").unwrap().destinations.len()
    };
    assert_eq!(hosts(&office), 0);
    let mut body = endpoint(AUTOMATIC, &at("privateLinkServices/web"));
    body["properties"]["applicationSecurityGroups"] = asg.clone();
    let made = office.made("privateEndpoints/pe", &body);
    assert_eq!(made["properties"]["applicationSecurityGroups"], asg);
    assert_eq!(hosts(&office), 1);
    let code = "InUseApplicationSecurityGroupCannotBeDeleted";
    assert_eq!(code_of(&office.delete("applicationSecurityGroups/web")), code);
    office.delete("privateEndpoints/pe");
    assert_eq!(code_of(&office.delete("applicationSecurityGroups/web")), code);
    office.delete(path);
    assert_eq!(office.delete("applicationSecurityGroups/web").status, 202);
}

#[test]
fn groups_and_parts_of_the_file_are_seen() {
    let text = include_str!("../../../adit.example.toml").replace(
        "[[virtual_network]]\nname = \"consumer-a\"",
        "[[network_security_group]]\nname = \"guard\"\nsecurity_rule = [{ name = \"no\", \
         priority = 100, access = \"Deny\", protocol = \"Tcp\", \
         source_address_prefixes = [\"10.0.9.0/24\"] }]\n\
         [[virtual_network]]\nname = \"consumer-a\"",
    );
    let office = Office::with(&text, "", false);
    let home = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/adit\
        /providers/Microsoft.Network";
    let get = |path: &str| office.send("GET", &format!("{home}/{path}"), b"").body.unwrap();
    let rule = get("networkSecurityGroups/guard/securityRules/no");
    assert_eq!(rule["properties"]["sourceAddressPrefix"], "10.0.9.0/24", "{rule}");
    let reply = office.send("DELETE", &format!("{home}/networkSecurityGroups/guard"), b"");
    assert_eq!(code_of(&reply), "ResourceDefinedByFile");
    let rule = format!("{home}/networkSecurityGroups/guard/securityRules/no");
    assert_eq!(code_of(&office.send("DELETE", &rule, b"")), "ResourceDefinedByFile");
    let balancer = get("loadBalancers/lb");
    let config = office.kept.0.lock().config.clone();
    let known = &config.load_balancers()[0];
    let count = |list: &str| balancer["properties"][list].as_array().map(Vec::len);
    assert_eq!(count("probes"), Some(known.probes.len()));
    assert_eq!(count("inboundNatRules"), Some(known.inbound_nat_rules.len()));
}
