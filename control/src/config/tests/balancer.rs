//! What rules say of how flows spread: backends and their weights, HA ports, inbound NAT.

use super::*;
use crate::state::Health;
use dataplane::snapshot::{Persistence, UdpTracking};

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
