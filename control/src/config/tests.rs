//! The configuration language, rule by rule: a good file, and every way to spoil it.

use std::time::Duration;

use dataplane::limits::{BACKENDS_PER_RULE_MAX, DEVICES_MAX};
use dataplane::snapshot::{
    DeviceKind, Ending, Fragments, IcmpAnswers, IcmpErrors, MssClamp, Refusal, Treatment,
};
use dataplane::types::{Protocol, ProxyDialect};

use super::*;
use crate::state::ConnectionState;

mod balancer;
mod family;
mod peering;
mod probe;
mod recording;
mod security;

/// Every kind of resource once or twice, one key a line.
const GOOD: &str = r#"[adit]
control_socket = "/tmp/adit.sock"
workers = 2
flows_max = 1000
[[virtual_network]]
name = "consumer-a"
address_space = ["10.0.0.0/16"]
[[virtual_network]]
name = "provider"
address_space = ["10.1.0.0/16", "10.2.0.0/31"]
routes = [{ address_prefix = "10.1.9.0/24", next_hop_ip_address = "10.1.0.1" }]
[[device]]
name = "veth-a"
kind = "af_packet"
virtual_network = "consumer-a"
[[device]]
name = "tap-p"
kind = "TAP"
virtual_network = "provider"
network_namespace = "/run/netns/p"
[[load_balancer]]
name = "lb"
virtual_network = "provider"
sku = "standard"
backend_address_pool = [{ name = "pool", backend_addresses = ["10.1.0.10", "10.1.9.11"] }]
[[load_balancer.load_balancing_rule]]
name = "http"
protocol = "tcp"
frontend_port = 80
backend_port = 8080
backend_address_pool = "pool"
idle_timeout_minutes = 5
[[load_balancer.load_balancing_rule]]
name = "dns"
protocol = "Udp"
frontend_port = 53
backend_port = 53
backend_address_pool = "pool"
[[private_link_service]]
name = "web"
load_balancer = "lb"
nat_ip_configurations = [{ name = "nat1", private_ip_address = "10.1.0.4" }]
auto_approve = true
tcp_established_timeout = "7440s"
tcp_half_open_timeout = "240s"
udp_timeout = "2m"
[[private_endpoint]]
name = "pe-a"
virtual_network = "consumer-a"
private_ip_address = "10.0.0.5"
private_link_service = "web"
[[private_endpoint]]
name = "pe-b"
virtual_network = "consumer-a"
private_ip_address = "10.0.0.6"
private_link_service = "web"
request_message = "please"
connection_state = "pending"
"#;

/// The good file with one text in place of another, which must be in it.
fn spoiled(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn faults(text: &str) -> Vec<ConfigError> {
    check(text).expect_err(text).list().to_vec()
}

/// Asserts that a file has exactly one fault, on that path and line and in those words.
fn assert_fault(text: &str, path: &str, line: usize, words: &[&str]) {
    let found = faults(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    let fault = &found[0];
    assert_eq!((fault.path.as_str(), fault.line), (path, line), "{fault}");
    let said = format!("{} {}", fault.problem, fault.cure);
    for word in words {
        assert!(said.contains(word), "{word:?} is missing from: {said}");
    }
}

#[test]
fn a_good_file_is_what_it_says() {
    let Checked { config, warnings } = check(GOOD).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let settings = config.settings();
    assert_eq!((settings.workers.value, settings.flows_max.value), (2, 1000));
    assert_eq!(settings.fair_share_percent, 0, "unless it says otherwise");
    assert_eq!(config.virtual_networks()[1].address_space_text(), "10.1.0.0/16, 10.2.0.0/31");
    assert_eq!(config.devices()[1].kind, DeviceKind::Tap);
    let balancer = &config.load_balancers()[0];
    assert_eq!(balancer.rules[0].lifetime.idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(balancer.rules[1].protocol, RuleProtocol::Udp);
    let service = &config.services()[0];
    let timeouts = service.flows.timeouts(&balancer.rules[1].lifetime);
    assert_eq!(timeouts.established_ticks, 744_000);
    assert_eq!((timeouts.opening_ticks, timeouts.udp_ticks), (24_000, 12_000));
    let [a, b] = config.endpoints() else { panic!("two endpoints") };
    assert_eq!(config.initial_state(a), ConnectionState::Approved);
    assert_eq!(config.initial_state(b), ConnectionState::Pending);
    assert_eq!(b.request_message.as_deref(), Some("please"));
}

#[test]
fn the_example_file_and_the_empty_file_are_valid() {
    let Checked { config, warnings } = check(include_str!("../../adit.example.toml")).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(config.endpoints().len(), 2);
    let Checked { config, .. } = check("").unwrap();
    assert_eq!(config.settings().control_socket.value.to_str(), Some(CONTROL_SOCKET));
    assert_eq!((config.settings().workers.value, config.settings().flows_max.value), (1, 262_144));
}

/// A key that would end the line and clear the screen of whoever reads the fault.
#[test]
fn control_characters_of_a_file_are_shown_escaped() {
    let key = r#""x\nadit: ok\u001B[2J" = 1"#;
    let (path, word) = (r"adit.x\nadit: ok\u{1b}[2J", r#"unknown key "x\nadit: ok\u{1b}[2J""#);
    assert_fault(&spoiled("workers = 2", key), path, 3, &[word]);
}

/// The parser gives up on a key of so many parts without saying where.
#[test]
fn a_key_nested_too_deeply_has_a_line_too() {
    let key = "a.".repeat(200);
    for text in [format!("x = 1\n\n{key}a = 1\nz = 2\n"), format!("\n\n[{key}a]")] {
        let found = faults(&text);
        let deep = found.iter().find(|fault| fault.problem.contains("recursion"));
        assert_eq!(deep.map(|fault| fault.line), Some(3), "{found:#?}");
    }
}

#[test]
fn every_rule_of_the_process_and_its_networks() {
    let cases: &[(&str, &str, &str, usize, &[&str])] = &[
        ("workers = 2", "workers = 0", "adit.workers", 3, &["0", "1 to 64"]),
        ("workers = 2", "workers = 65", "adit.workers", 3, &["1 to 64"]),
        ("workers = 2", "workers = \"2\"", "adit.workers", 3, &["type", "whole number"]),
        ("flows_max = 1000", "flows_max = 99999999999", "adit.flows_max", 4, &["67108863"]),
        ("flows_max = 1000", "fair_share_percent = 51", "adit.fair_share_percent", 4, &["0 to 50"]),
        ("\"/tmp/adit.sock\"", "\"adit.sock\"", "adit.control_socket", 2, &["absolute"]),
        ("workers = 2", "wokers = 2", "adit.wokers", 3, &["unknown key", "\"workers\""]),
        ("[adit]", "[adti]", "adti", 1, &["unknown key", "\"adit\""]),
        ("[adit]", "[[adit]]", "adit", 1, &["single brackets"]),
        (
            "10.0.0.0/16",
            "10.0.0.1/16",
            "virtual_network[0].address_space[0]",
            7,
            &["first address", "\"10.0.0.0/16\""],
        ),
        ("10.0.0.0/16", "fe80::/10", "virtual_network[0].address_space[0]", 7, &["link-local"]),
        ("10.0.0.0/16", "10.0.0.0", "virtual_network[0].address_space[0]", 7, &["prefix"]),
        ("10.0.0.0/16", "10.0.0.0/33", "virtual_network[0].address_space[0]", 7, &["prefix"]),
        ("10.0.0.0/16", "0.0.0.0/0", "virtual_network[0].address_space[0]", 7, &["0.0.0.0/8"]),
        ("10.0.0.0/16", "224.0.0.0/8", "virtual_network[0].address_space[0]", 7, &["multicast"]),
        (
            "10.2.0.0/31",
            "10.1.4.0/24",
            "virtual_network[1].address_space[1]",
            10,
            &["10.1.4.0/24 overlaps 10.1.0.0/16", "other virtual networks may"],
        ),
        ("[\"10.0.0.0/16\"]", "[]", "virtual_network[0].address_space", 5, &["empty"]),
        (
            "address_space = [\"10.0.0.0/16\"]",
            "address_space = [\"10.0.0.0/16\"]\nremote_address_space = [\"10.0.9.0/24\"]",
            "virtual_network[0].remote_address_space[0]",
            8,
            &["10.0.9.0/24 overlaps 10.0.0.0/16", "leave it out"],
        ),
        ("[\"10.0.0.0/16\"]", "\"10.0.0.0/16\"", "virtual_network[0].address_space", 7, &["list"]),
        (
            "10.1.9.0/24",
            "10.3.0.0/24",
            "virtual_network[1].routes[0].address_prefix",
            11,
            &["not within"],
        ),
        (
            "\"10.1.0.1\"",
            "\"9.9.9.9\"",
            "virtual_network[1].routes[0].next_hop_ip_address",
            11,
            &["outside", "10.1.0.0/16"],
        ),
        (
            "\"10.1.0.1\"",
            "\"10.1.0.4\"",
            "virtual_network[1].routes[0].next_hop_ip_address",
            11,
            &["NAT IP", "router"],
        ),
        ("\"veth-a\"", "\"much-too-long-name\"", "device[0].name", 13, &["1 to 15"]),
        ("\"af_packet\"", "\"veth\"", "device[0].kind", 14, &["af_packet"]),
        ("\"af_packet\"", "\"xdp\"", "device[0].kind", 14, &["af_xdp"]),
        ("\"af_packet\"", "\"afpacket\"", "device[0].kind", 14, &["did you mean \"af_packet\"?"]),
        ("kind = \"TAP\"\n", "", "device[1].kind", 16, &["missing", "af_packet"]),
        ("\"/run/netns/p\"", "\"p\"", "device[1].network_namespace", 20, &["absolute"]),
    ];
    for &(from, to, path, line, words) in cases {
        assert_fault(&spoiled(from, to), path, line, words);
    }
}

#[test]
fn every_rule_of_the_provider() {
    let rule = |key: &str| format!("load_balancer[0].load_balancing_rule[0].{key}");
    let (protocol, port) = (rule("protocol"), rule("frontend_port"));
    let (idle, pool) = (rule("idle_timeout_minutes"), rule("backend_address_pool"));
    let backend = "load_balancer[0].backend_address_pool[0].backend_addresses[0]";
    let nat = "private_link_service[0].nat_ip_configurations[0].private_ip_address";
    let cases: &[(&str, &str, &str, usize, &[&str])] = &[
        ("\"standard\"", "\"Basic\"", "load_balancer[0].sku", 24, &["Basic", "Standard"]),
        ("\"10.1.0.10\"", "\"10.0.0.10\"", backend, 25, &["outside", "\"provider\""]),
        ("\"10.1.0.10\"", "\"10.1.0.0\"", backend, 25, &["network address"]),
        ("\"10.1.0.10\"", "\"10.1.255.255\"", backend, 25, &["broadcast address"]),
        ("\"10.1.0.10\"", "\"fd00::1\"", backend, 25, &["outside the address space"]),
        ("\"10.1.0.10\"", "\"web01\"", backend, 25, &["not an IP address"]),
        ("\"http\"", "\"-http\"", &rule("name"), 27, &["1 to 80"]),
        ("\"tcp\"", "\"Icmp\"", &protocol, 28, &["TCP and UDP only"]),
        ("\"tcp\"", "\"tpc\"", &protocol, 28, &["did you mean \"Tcp\"?"]),
        ("frontend_port = 80", "frontend_port = 0", &port, 29, &["1 to 65535"]),
        ("frontend_port = 80", "frontend_port = 65536", &port, 29, &["1 to 65535"]),
        ("frontend_port = 80", "frontend_port = 0x1_0000", &port, 29, &["65536"]),
        ("minutes = 5", "minutes = 3", &idle, 32, &["4 to 30"]),
        ("\"pool\"\nidle", "\"poool\"\nidle", &pool, 31, &["did you mean \"pool\"?"]),
        ("\"http\"", "\"dns\"", "load_balancer[0].load_balancing_rule[1].name", 34, &["line 27"]),
        (
            "load_balancer = \"lb\"",
            "load_balancer = \"bl\"",
            "private_link_service[0].load_balancer",
            41,
            &["did you mean \"lb\"?"],
        ),
        ("\"10.1.0.4\"", "\"10.0.0.4\"", nat, 42, &["outside"]),
        ("\"10.1.0.4\"", "\"10.1.0.10\"", nat, 42, &["a backend", "line 25"]),
        (
            "[{ name = \"nat1\", private_ip_address = \"10.1.0.4\" }]",
            "[]",
            "private_link_service[0].nat_ip_configurations",
            39,
            &["1 to 8"],
        ),
        ("\"7440s\"", "\"7440\"", "private_link_service[0].tcp_established_timeout", 44, &["30s"]),
        ("\"2m\"", "\"25h\"", "private_link_service[0].udp_timeout", 46, &["24h"]),
        (
            "auto_approve = true",
            "auto_approve = \"yes\"",
            "private_link_service[0].auto_approve",
            43,
            &["true or false"],
        ),
    ];
    for &(from, to, path, line, words) in cases {
        assert_fault(&spoiled(from, to), path, line, words);
    }
    // A line put in front of line 46.
    let added = [
        ("profile = \"azur\"", "profile", "did you mean \"azure\"?"),
        ("port_hold_down = \"11m\"", "port_hold_down", "10m"),
        ("port_hold_down = \"long\"", "port_hold_down", "not a duration"),
        ("tcp_refusals = \"drop\"", "tcp_refusals", "silent"),
    ];
    for (line, key, word) in added {
        let text = spoiled("udp_timeout", &format!("{line}\nudp_timeout"));
        assert_fault(&text, &format!("private_link_service[0].{key}"), 46, &[word]);
    }
    let twice =
        spoiled("protocol = \"Udp\"\nfrontend_port = 53", "protocol = \"Tcp\"\nfrontend_port = 80");
    assert_fault(&twice, "load_balancer[0].load_balancing_rule[1].frontend_port", 36, &["line 29"]);
    let twice = spoiled("\"10.1.9.11\"", "\"10.1.0.10\"");
    let second = "load_balancer[0].backend_address_pool[0].backend_addresses[1]";
    assert_fault(&twice, second, 25, &["twice"]);
}

#[test]
fn a_service_has_its_profile_and_what_it_says_itself() {
    let with = |lines: &str| {
        let text = spoiled("udp_timeout", &format!("{lines}\nudp_timeout"));
        let config = check(&text).unwrap().config;
        (config.services()[0].flows, config.load_balancers()[0].rules[0].clone())
    };
    let (flows, rule) = with("profile = \"GCP\"\ntcp_refusals = \"reset\"");
    let expected = FlowSettings {
        established: Duration::from_secs(7440),
        half_open: Duration::from_secs(240),
        udp: Duration::from_secs(120),
        refusal: Refusal::Reset,
        ..Profile::Gcp.settings()
    };
    assert_eq!(flows, expected);
    assert_eq!(flows.ending(&rule.lifetime), Ending { resets: false, hold_down_ticks: 12_000 });
    let (flows, rule) = with("profile = \"gcp\"\nport_hold_down = \"0s\"");
    assert_eq!(flows.ending(&rule.lifetime), Ending { resets: false, hold_down_ticks: 0 });
    let text = spoiled("minutes = 5", "minutes = 5\nenable_tcp_reset = false");
    let config = check(&text).unwrap().config;
    let ending = config.services()[0].flows.ending(&config.load_balancers()[0].rules[0].lifetime);
    assert!(!ending.resets, "the rule goes before the profile");
}

#[test]
fn every_rule_of_the_consumer() {
    let address = "private_endpoint[0].private_ip_address";
    let long = format!("\"{}\"", "x".repeat(141));
    let cases: &[(&str, &str, &str, usize, &[&str])] = &[
        ("\"10.0.0.5\"", "\"10.2.0.5\"", address, 50, &["outside", "10.0.0.0/16"]),
        ("\"10.0.0.5\"", "\"10.0.0\"", address, 50, &["not an IP address"]),
        (
            "\"10.0.0.6\"",
            "\"10.0.0.5\"",
            "private_endpoint[1].private_ip_address",
            55,
            &["private endpoint", "line 50"],
        ),
        (
            "service = \"web\"",
            "service = \"wbe\"",
            "private_endpoint[0].private_link_service",
            51,
            &["no private link service \"wbe\"", "did you mean \"web\"?"],
        ),
        ("\"pe-b\"", "\"pe-a\"", "private_endpoint[1].name", 53, &["line 48"]),
        ("\"please\"", &long, "private_endpoint[1].request_message", 57, &["141", "140"]),
        ("\"please\"", "\"a\\u001bb\"", "private_endpoint[1].request_message", 57, &["control"]),
        (
            "\"pending\"",
            "\"Disconnected\"",
            "private_endpoint[1].connection_state",
            58,
            &["cannot begin"],
        ),
        (
            "\"pending\"",
            "\"Aproved\"",
            "private_endpoint[1].connection_state",
            58,
            &["did you mean \"Approved\"?"],
        ),
        ("private_ip_address = \"10.0.0.5\"\n", "", address, 47, &["missing"]),
    ];
    for &(from, to, path, line, words) in cases {
        assert_fault(&spoiled(from, to), path, line, words);
    }
}

#[test]
fn every_rule_of_what_is_not_plain_traffic() {
    let service =
        |line: &str| spoiled("auto_approve = true", &format!("{line}\nauto_approve = true"));
    let path = |key: &str| format!("private_link_service[0].{key}");
    let cases: &[(&str, &str, &[&str])] = &[
        ("mss_clamp = \"on\"", "mss_clamp", &["\"on\"", "auto", "off", "536 to 65495"]),
        ("mss_clamp = 535", "mss_clamp", &["535", "out of range", "536"]),
        ("mss_clamp = 65496", "mss_clamp", &["65496", "65495"]),
        ("mss_clamp = true", "mss_clamp", &["wrong type", "a whole number, or a word"]),
        ("icmp_answers = [\"to_big\"]", "icmp_answers[0]", &["did you mean \"too_big\"?"]),
        (
            "icmp_answers = [\"prohibited\", \"Prohibited\"]",
            "icmp_answers[1]",
            &["in the list twice", "remove"],
        ),
        ("icmp_answers = \"too_big\"", "icmp_answers", &["a list"]),
        ("icmp_errors = \"pass\"", "icmp_errors", &["translate", "drop"]),
        ("fragments = \"keep\"", "fragments", &["reassemble", "drop"]),
        ("proxy_protocol = \"v1\"", "proxy_protocol", &["none", "profile", "azure", "gcp"]),
        ("proxy_protocol = true", "proxy_protocol", &["wrong type"]),
    ];
    for &(line, key, words) in cases {
        assert_fault(&service(line), &path(key), 43, words);
    }
    let echo = spoiled("\"pending\"", "\"pending\"\nicmp_echo = 1");
    assert_fault(&echo, "private_endpoint[1].icmp_echo", 59, &["true or false"]);

    let treatment = |text: &str| check(text).unwrap().config.services()[0].treatment;
    assert_eq!(treatment(GOOD), Treatment::default());
    let good = "mss_clamp = 1360\nicmp_errors = \"Translate\"\nfragments = \"reassemble\"\n\
        icmp_answers = [\"time_exceeded\"]";
    let answers = IcmpAnswers { time_exceeded: true, ..IcmpAnswers::default() };
    assert_eq!(
        treatment(&service(good)),
        Treatment {
            mss_clamp: MssClamp::Bytes(1360),
            icmp_answers: answers,
            icmp_errors: IcmpErrors::Translate,
            fragments: Fragments::Reassemble,
            proxy_protocol: None,
        }
    );
    let proxied = |line: &str| treatment(&service(line)).proxy_protocol;
    assert_eq!(proxied("proxy_protocol = \"AWS\""), Some(ProxyDialect::Aws));
    assert_eq!(proxied("proxy_protocol = \"none\""), None);
    assert_eq!(proxied("proxy_protocol = \"profile\""), Some(ProxyDialect::Azure));
    let of_profile = "profile = \"gcp\"\nproxy_protocol = \"profile\"";
    assert_eq!(proxied(of_profile), Some(ProxyDialect::Gcp));
    let udp = service("proxy_protocol = \"azure\"").replace("\"tcp\"", "\"udp\"");
    let Checked { warnings, .. } = check(&udp).unwrap();
    let warned = warnings.iter().any(|warning| warning.problem.contains("no TCP rule"));
    assert!(warned, "{warnings:?}");
    assert_eq!(treatment(&service("mss_clamp = \"OFF\"")).mss_clamp, MssClamp::Off);
}

#[test]
fn a_virtual_network_in_use_needs_a_device() {
    let device =
        "[[device]]\nname = \"veth-a\"\nkind = \"af_packet\"\nvirtual_network = \"consumer-a\"\n";
    assert_fault(&spoiled(device, ""), "virtual_network[0].name", 6, &["no device"]);
    let spare = "[[virtual_network]]\nname = \"spare\"\naddress_space = [\"10.9.0.0/16\"]\n";
    let Checked { warnings, .. } = check(&format!("{GOOD}{spare}")).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].problem.contains("no device"));
}

#[test]
fn limits_hold() {
    let services = (0..8).map(|at| {
        let nat_ip = format!("{{ name = \"n\", private_ip_address = \"10.1.1.{}\" }}", at + 1);
        let name = format!("name = \"s{at}\"\nload_balancer = \"lb\"");
        format!("[[private_link_service]]\n{name}\nnat_ip_configurations = [{nat_ip}]\n")
    });
    let text = GOOD.to_owned() + &services.collect::<String>();
    let found = faults(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, "private_link_service[8].load_balancer");
    assert!(found[0].cure.contains('8'));

    let one = "{ name = \"nat1\", private_ip_address = \"10.1.0.4\" }";
    let nine: Vec<String> = (1..=9)
        .map(|at| one.replace("nat1", &format!("n{at}")).replace("0.4", &format!("2.{at}")))
        .collect();
    let text = spoiled(one, &nine.join(", "));
    assert_fault(&text, "private_link_service[0].nat_ip_configurations", 39, &["9 NAT IPs"]);

    let backends = (0..=BACKENDS_PER_RULE_MAX)
        .map(|at| format!("\"10.1.{}.{}\"", 100 + at / 250, 1 + at % 250));
    let text = spoiled("\"10.1.0.10\", \"10.1.9.11\"", &backends.collect::<Vec<_>>().join(", "));
    let path = format!(
        "load_balancer[0].backend_address_pool[0].backend_addresses[{BACKENDS_PER_RULE_MAX}]"
    );
    assert_fault(&text, &path, 25, &["at most 1024"]);

    let devices = (0..DEVICES_MAX).map(|at| {
        format!("[[device]]\nname = \"d{at}\"\nkind = \"tap\"\nvirtual_network = \"provider\"\n")
    });
    let found = faults(&(GOOD.to_owned() + &devices.collect::<String>()));
    assert_eq!(found.len(), 1);
    assert!(found[0].cure.contains("1024"));
}

#[test]
fn what_may_overlap_overlaps() {
    let other = "[[virtual_network]]\nname = \"consumer-b\"\naddress_space = [\"10.0.0.0/16\"]\n\
        [[device]]\nname = \"veth-a\"\nkind = \"tap\"\nvirtual_network = \"consumer-b\"\n\
        network_namespace = \"/run/netns/b\"\n\
        [[private_endpoint]]\nname = \"pe-c\"\nvirtual_network = \"consumer-b\"\n\
        private_ip_address = \"10.0.0.5\"\nprivate_link_service = \"web\"\n\
        [[load_balancer]]\nname = \"lb2\"\nvirtual_network = \"provider\"\n\
        backend_address_pool = [{ name = \"pool\", backend_addresses = [\"10.1.0.10\"] }]\n";
    let Checked { warnings, .. } = check(&format!("{GOOD}{other}")).unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].problem.contains("no rule"));
    let same = "[[device]]\nname = \"veth-a\"\nkind = \"tap\"\nvirtual_network = \"provider\"\n";
    assert_fault(&format!("{GOOD}{same}"), "device[2].name", 60, &["line 13"]);
}

#[test]
fn all_faults_are_reported_together_and_in_order() {
    let text = GOOD
        .replace("workers = 2", "workers = -1\ncolour = \"red\"")
        .replace("10.0.0.0/16", "10.0.0.0/160")
        .replace("name = \"veth-a\"", "name = 7")
        .replace("frontend_port = 80", "frontend_port = \"http\"")
        .replace("private_link_service = \"web\"", "private_link_service = \"wbe\"");
    let found = faults(&text);
    let paths: Vec<&str> = found.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "adit.workers",
            "adit.colour",
            "virtual_network[0].address_space[0]",
            "device[0].name",
            "load_balancer[0].load_balancing_rule[0].frontend_port",
            "private_endpoint[0].private_link_service",
            "private_endpoint[1].private_link_service",
        ]
    );
    assert!(found.is_sorted_by_key(|fault| fault.line));
    let shown = ConfigErrors::new(found).to_string();
    assert!(shown.starts_with("line 3: adit.workers: -1 is out of range\n  write"), "{shown}");
}

#[test]
fn what_is_not_toml_is_said_with_its_line() {
    let found = faults("[adit]\nworkers = = 2\n");
    assert_eq!(found[0].line, 2);
    assert!(found[0].problem.contains("not TOML"), "{}", found[0]);
    assert!(check("[adit]\nworkers = 1\nworkers = 2\n").is_err());
    assert!(check(&"[".repeat(10_000)).is_err());
    assert!(check(&format!("x = {}1{}", "[".repeat(5_000), "]".repeat(5_000))).is_err());
}

/// A small generator: the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// Whatever is done to a file's text, checking and compiling it answers and never panics.
#[test]
fn no_mutation_of_a_file_panics() {
    let pieces = [
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        "=",
        ",",
        "\n",
        "#",
        "-1",
        "0",
        "65536",
        "true",
        "1e9",
        "é",
        "\0",
        "10.0.0.5",
        "0.0.0.0/0",
        "255.255.255.255/32",
        "::1",
        "[[device]]",
        "name",
        "1979-05-27",
        "9223372036854775808",
        "\\u0000",
        "10.1.0.4",
    ];
    let sources = [GOOD, include_str!("../../adit.example.toml")];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut valid = 0;
    for round in 0..4_000 {
        let mut text: Vec<char> = sources[round % 2].chars().collect();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len());
            let end = (at + random.below(12)).min(text.len());
            let piece = match random.below(3) {
                0 => Vec::new(),
                1 => pieces[random.below(pieces.len())].chars().collect(),
                _ => {
                    let from = random.below(text.len());
                    text[from..(from + 20).min(text.len())].to_vec()
                }
            };
            text.splice(at..end, piece);
        }
        let text: String = text.into_iter().collect();
        if let Ok(Checked { config, .. }) = check(&text) {
            valid += 1;
            crate::compile::compile(&config, &crate::state::Registry::default()).expect(&text);
        }
    }
    assert!(valid > 100, "only {valid} mutations left a valid file");
}
