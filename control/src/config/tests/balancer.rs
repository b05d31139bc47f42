//! What rules say of how flows spread: backends and their weights, HA ports, inbound NAT.

use super::*;
use crate::state::Health;
use dataplane::snapshot::{Persistence, UdpTracking};
use std::net::IpAddr;

/// The good file with keys added to its first rule.
fn with_rule(keys: &str) -> String {
    spoiled("idle_timeout_minutes = 5", &format!("idle_timeout_minutes = 5\n{keys}"))
}

/// The good file with a rule added, or an inbound NAT rule.
fn with_added(table: &str, keys: &str) -> String {
    let service = "[[private_link_service]]";
    spoiled(service, &format!("[[load_balancer.{table}]]\n{keys}\n{service}"))
}

fn first_balancer(text: &str) -> LoadBalancer {
    let checked = check(text).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    checked.config.load_balancers()[0].clone()
}

#[test]
fn a_rule_says_what_decides_and_whether_udp_is_tracked() {
    let balancer = first_balancer(GOOD);
    assert_eq!(balancer.rules[0].persistence, Persistence::None);
    assert_eq!(balancer.rules[1].udp_tracking, UdpTracking::Off);
    let words = [
        ("Default", Persistence::None),
        ("sourceip", Persistence::SourceIp),
        ("SourceIPProtocol", Persistence::SourceIpProtocol),
    ];
    for (word, persistence) in words {
        let balancer = first_balancer(&with_rule(&format!("load_distribution = \"{word}\"")));
        assert_eq!(balancer.rules[0].persistence, persistence);
    }
    let tracked =
        spoiled("frontend_port = 53", "enable_connection_tracking = true\nfrontend_port = 53");
    assert_eq!(first_balancer(&tracked).rules[1].udp_tracking, UdpTracking::On);
    let path = "load_balancer[0].load_balancing_rule[0].load_distribution";
    let words = &["did you mean \"SourceIP\"?"];
    assert_fault(&with_rule("load_distribution = \"SourceIPs\""), path, 33, words);
    let warned = check(&with_rule("enable_connection_tracking = true")).unwrap().warnings;
    assert_eq!((warned.len(), warned[0].line), (1, 33), "TCP is always tracked");
}

#[test]
fn backends_have_a_weight_and_a_state() {
    let with = |entry: &str| spoiled("\"10.1.9.11\"", entry);
    let text = with("{ ip_address = \"10.1.9.11\", weight = 7, admin_state = \"down\" }");
    let balancer = first_balancer(&text);
    let pool = &balancer.pools[0];
    let [plain, other] = pool.backends[..] else { panic!("two backends") };
    assert_eq!((plain.weight, plain.admin_state), (1, AdminState::None));
    assert_eq!((other.weight, other.admin_state), (7, AdminState::Down));
    let balance = balancer.balance(&balancer.rules[0], pool, &Health::default());
    assert_eq!(balance.weights, [1, 0], "nobody asks them");
    let at =
        |key: &str| format!("load_balancer[0].backend_address_pool[0].backend_addresses[1]{key}");
    let faults: [(&str, &str, &[&str]); 6] = [
        ("{ ip_address = \"10.1.9.11\", weight = 0 }", ".weight", &["1 to 100"]),
        ("{ ip_address = \"10.1.9.11\", weight = 101 }", ".weight", &["1 to 100"]),
        ("{ ip_address = \"10.1.9.11\", admin_state = \"Off\" }", ".admin_state", &["Down"]),
        ("{ ip_address = \"10.1.0.10\" }", "", &["twice"]),
        ("{ weight = 2 }", ".ip_address", &["missing"]),
        ("7", "", &["a string in quotes, or a table"]),
    ];
    for (entry, key, words) in faults {
        assert_fault(&with(entry), &at(key), 25, words);
    }
}

#[test]
fn ha_ports_take_all_ports_and_both_protocols() {
    let rule = |protocol: &str, port: u16| {
        let keys = format!(
            "name = \"ha\"\nprotocol = \"{protocol}\"\nfrontend_port = {port}\nbackend_port = 0\n\
             backend_address_pool = \"pool\""
        );
        with_added("load_balancing_rule", &keys)
    };
    let rules = first_balancer(&rule("all", 0)).rules;
    assert_eq!((rules[2].protocol, rules[2].frontend_port), (RuleProtocol::All, 0));
    assert_eq!(rules[2].protocol.each(), Protocol::ALL);
    assert_eq!(rules[2].lifetime.tcp_reset, Some(false), "as in Azure, unless it says otherwise");
    let path = "load_balancer[0].load_balancing_rule[2].frontend_port";
    assert_fault(&rule("All", 443), path, 42, &["all ports, not 443", "write 0"]);
    let path = "load_balancer[0].load_balancing_rule[2].backend_port";
    assert_fault(&rule("Tcp", 443), path, 43, &["1 to 65535"]);
    let second = rule("All", 0).replacen(
        "[[private_link_service]]",
        "[[load_balancer.load_balancing_rule]]\nname = \"ha2\"\nprotocol = \"All\"\n\
         frontend_port = 0\nbackend_port = 0\nbackend_address_pool = \"pool\"\n\
         [[private_link_service]]",
        1,
    );
    let path = "load_balancer[0].load_balancing_rule[3].frontend_port";
    assert_fault(&second, path, 48, &["line 42", "all ports"]);
}

#[test]
fn an_inbound_nat_rule_leads_to_one_backend() {
    let rule = |protocol: &str, port: u16, backend: &str| {
        let keys = format!(
            "name = \"ssh\"\nprotocol = \"{protocol}\"\nfrontend_port = {port}\n\
             backend_ip_address = \"{backend}\"\nbackend_port = 22\nenable_tcp_reset = false"
        );
        with_added("inbound_nat_rule", &keys)
    };
    let rules = first_balancer(&rule("Tcp", 2201, "10.1.0.10")).inbound_nat_rules;
    assert_eq!((rules[0].frontend_port, rules[0].backend_port), (2201, 22));
    assert_eq!(rules[0].backend_address.to_string(), "10.1.0.10");
    assert_eq!(rules[0].lifetime.tcp_reset, Some(false));
    let at = |key: &str| format!("load_balancer[0].inbound_nat_rule[0].{key}");
    assert_fault(
        &rule("Tcp", 80, "10.1.0.10"),
        &at("frontend_port"),
        42,
        &["line 29", "tcp port 80"],
    );
    assert_fault(&rule("All", 2201, "10.1.0.10"), &at("protocol"), 41, &["one protocol"]);
    assert_fault(&rule("Tcp", 2201, "10.0.0.9"), &at("backend_ip_address"), 43, &["outside"]);
}

#[test]
fn a_pool_says_how_long_backends_that_are_taken_down_may_drain() {
    let with = |seconds: &str| {
        let key = format!("name = \"pool\", drain_period_in_seconds = {seconds}, ");
        spoiled("name = \"pool\", ", &key)
    };
    let drain = |text: &str| first_balancer(text).pools[0].drain;
    assert_eq!(drain(GOOD), None, "until their flows end");
    assert_eq!(drain(&with("90")), Some(Duration::from_secs(90)));
    let path = "load_balancer[0].backend_address_pool[0].drain_period_in_seconds";
    for wrong in ["-1", "86401"] {
        assert_fault(&with(wrong), path, 25, &["0 to 86400"]);
    }
}

/// The good file without its backend behind a router, with more of the balancer and a rule.
fn with_floating(balancer: &str, rule: &str) -> String {
    let text = with_rule(rule).replace(", \"10.1.9.11\"", "");
    text.replacen("sku = \"standard\"", &format!("sku = \"standard\"\n{balancer}"), 1)
}

#[test]
fn a_frontend_floats_with_its_address_and_the_port_that_was_dialled() {
    let frontend = "frontend_ip_address = \"10.1.0.100\"";
    let floats = "enable_floating_ip = true";
    let text = with_floating(frontend, floats).replace("backend_port = 8080", "backend_port = 80");
    let balancer = first_balancer(&text);
    let address = IpAddr::from([10, 1, 0, 100]);
    assert_eq!((balancer.frontend, balancer.rules[0].floating), (Some(address), Some(address)));
    assert_eq!(balancer.rules[1].floating, None, "only the rule that says so");
    let path = "load_balancer[0].load_balancing_rule[0].enable_floating_ip";
    let words = &["10.1.9.11", "behind the router 10.1.0.1", "on the segment"];
    assert_fault(&text.replace("[\"10.1.0.10\"]", "[\"10.1.9.11\"]"), path, 34, words);
    let words = &["80", "8080", "write backend_port = 80"];
    assert_fault(&with_floating(frontend, floats), path, 34, words);
    let words = &["has no address", "frontend_ip_address"];
    assert_fault(&with_floating("", floats), path, 34, words);
    let first_balancer = "load_balancer[0].frontend_ip_address";
    let taken = with_floating("frontend_ip_address = \"10.1.0.10\"", "");
    let path = "load_balancer[0].backend_address_pool[0].backend_addresses[0]";
    assert_fault(&taken, path, 26, &["10.1.0.10 is already the address of a frontend (line 25)"]);
    let elsewhere = with_floating("frontend_ip_address = \"10.0.0.100\"", "");
    assert_fault(&elsewhere, first_balancer, 25, &["outside"]);
}

#[test]
fn a_frontend_floats_before_backends_of_its_family() {
    let text = with_floating("frontend_ip_address = \"fd01::100\"", "enable_floating_ip = true");
    let text = text.replace("backend_port = 8080", "backend_port = 80");
    let text = text.replace("\"10.2.0.0/31\"]", "\"fd01::/64\"]");
    let path = "load_balancer[0].load_balancing_rule[0].enable_floating_ip";
    assert_fault(&text, path, 34, &["10.1.0.10 is IPv4", "fd01::100 IPv6"]);
}

#[test]
fn an_inbound_nat_rule_floats_as_well() {
    let rule = |ports: &str| {
        let keys = format!(
            "name = \"ssh\"\nprotocol = \"Tcp\"\n{ports}\nbackend_ip_address = \"10.1.0.10\"\n\
             enable_floating_ip = true"
        );
        let text = with_added("inbound_nat_rule", &keys);
        let frontend = "sku = \"standard\"\nfrontend_ip_address = \"10.1.0.100\"";
        text.replacen("sku = \"standard\"", frontend, 1)
    };
    let balancer = first_balancer(&rule("frontend_port = 22\nbackend_port = 22"));
    assert_eq!(balancer.inbound_nat_rules[0].floating, balancer.frontend);
    let path = "load_balancer[0].inbound_nat_rule[0].enable_floating_ip";
    assert_fault(&rule("frontend_port = 2201\nbackend_port = 22"), path, 46, &["2201", "22"]);
}
