//! What load balancers say of health probes, and what verdicts make of a pool.

use dataplane::types::Family;

use super::*;
use crate::config::{NoHealthyBackends, Probe, ProbeProtocol};
use crate::state::{Health, Probed};

/// The good file with a probe of these keys on line 40, which both rules name.
fn with_probe(keys: &str) -> String {
    let service = "[[private_link_service]]";
    let text = GOOD.replace(
        "backend_address_pool = \"pool\"\n",
        "backend_address_pool = \"pool\"\nprobe = \"p\"\n",
    );
    text.replacen(service, &format!("[[load_balancer.probe]]\nname = \"p\"\n{keys}\n{service}"), 1)
}

fn good(keys: &str) -> Probe {
    let checked = check(&with_probe(keys)).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(checked.warnings.is_empty(), "{:?}", checked.warnings);
    checked.config.load_balancers()[0].probes[0].clone()
}

/// A fault of the probe, whose keys begin on line 43.
fn bad(keys: &str, key: &str, line: usize, words: &[&str]) {
    assert_fault(&with_probe(keys), &format!("load_balancer[0].probe[0]{key}"), line, words);
}

#[test]
fn a_probe_is_azures_unless_it_says_otherwise() {
    let plain = good("protocol = \"tcp\"\nport = 8080");
    assert_eq!((plain.protocol, plain.port, plain.threshold), (ProbeProtocol::Tcp, 8080, 1));
    assert_eq!(plain.interval, Duration::from_secs(15));
    assert_eq!(plain.no_healthy_backends, NoHealthyBackends::AllProbedDown);
    assert_eq!((plain.timeout(), plain.send_proxy_protocol), (Duration::from_secs(15), None));
    let full = good(
        "protocol = \"Https\"\nport = 443\nrequest_path = \"/health?deep=1\"\n\
         interval_in_seconds = 60\nprobe_threshold = 3\nsend_proxy_protocol = false\n\
         no_healthy_backends_behavior = \"allprobedup\"",
    );
    assert_eq!(
        (full.protocol, full.request_path.as_str()),
        (ProbeProtocol::Https, "/health?deep=1")
    );
    assert_eq!((full.interval, full.threshold), (Duration::from_secs(60), 3));
    assert_eq!(full.timeout(), Duration::from_secs(30), "never longer");
    assert_eq!(full.no_healthy_backends, NoHealthyBackends::AllProbedUp);
    assert_eq!(full.send_proxy_protocol, Some(false));
    let fast = good("protocol = \"Tcp\"\nport = 1\ninterval = \"250ms\"");
    assert_eq!(fast.interval, Duration::from_millis(250));
}

#[test]
fn a_probe_that_cannot_be_is_refused() {
    let tcp = "protocol = \"Tcp\"\nport = 80";
    let http = "protocol = \"Http\"\nport = 80";
    bad("protocol = \"Udp\"\nport = 80", ".protocol", 43, &["\"Udp\"", "Tcp"]);
    bad("protocol = \"Tcp\"\nport = 0", ".port", 44, &["1 to 65535"]);
    bad("protocol = \"Tcp\"", ".port", 41, &["missing"]);
    bad("protocol = \"Http\"\nport = 25\nrequest_path = \"/\"", ".port", 44, &["as in Azure"]);
    bad(http, "", 41, &["request_path is missing"]);
    bad(&format!("{tcp}\nrequest_path = \"/\""), ".request_path", 45, &["leave it out"]);
    for path in ["healthz", "/a b", "/\u{e9}", "/#x"] {
        bad(&format!("{http}\nrequest_path = \"{path}\""), ".request_path", 45, &["/healthz"]);
    }
    for seconds in ["4", "-1", "86401"] {
        let keys = format!("{tcp}\ninterval_in_seconds = {seconds}");
        bad(&keys, ".interval_in_seconds", 45, &["5 to 86400", "interval = \"500ms\""]);
    }
    bad(&format!("{tcp}\ninterval = \"50ms\""), ".interval", 45, &["100ms"]);
    let both = format!("{tcp}\ninterval_in_seconds = 5\ninterval = \"5s\"");
    bad(&both, ".interval", 46, &["twice"]);
    bad(&format!("{tcp}\nprobe_threshold = 0"), ".probe_threshold", 45, &["1 to 100"]);
    let word = "no_healthy_backends_behavior";
    bad(&format!("{tcp}\n{word} = \"AllUp\""), &format!(".{word}"), 45, &["AllProbedUp"]);
}

#[test]
fn a_rule_names_a_probe_that_exists_and_a_probe_is_named() {
    let nobody = spoiled("backend_port = 8080", "probe = \"p\"\nbackend_port = 8080");
    let path = "load_balancer[0].load_balancing_rule[0].probe";
    assert_fault(&nobody, path, 30, &["there is no probe \"p\""]);
    let text = with_probe("protocol = \"Tcp\"\nport = 80").replace("probe = \"p\"\n", "");
    let warned = check(&text).unwrap().warnings;
    assert!(warned[0].problem.contains("asks nobody"), "{warned:?}");
    let text = with_probe("protocol = \"Tcp\"\nport = 80\nnumber_of_probes = 2");
    let warned = check(&text).unwrap().warnings;
    assert!(warned[0].cure.contains("probe_threshold"), "{warned:?}");
}

#[test]
fn probes_come_from_a_nat_ip_or_from_an_address_that_is_nothing_else() {
    let probe = with_probe("protocol = \"Tcp\"\nport = 80");
    let from = |address: &str| {
        let key = format!("sku = \"standard\"\nprobe_source_ip_address = \"{address}\"");
        probe.replacen("sku = \"standard\"", &key, 1)
    };
    let source = |text: &str, family| {
        let checked = check(text).unwrap_or_else(|errors| panic!("{errors}"));
        checked.config.probe_source(0, family).map(|address| address.to_string())
    };
    let four = Family::V4;
    assert_eq!(source(&probe, four).as_deref(), Some("10.1.0.4"), "the first NAT IP");
    assert_eq!(source(&probe, Family::V6), None, "no NAT IP of that family");
    for address in ["10.1.0.4", "10.1.0.99", "168.63.129.16", "192.0.2.7"] {
        assert_eq!(source(&from(address), four).as_deref(), Some(address));
    }
    for address in ["fe80::1234:5678:9abc", "2001:db8::7"] {
        assert_eq!(source(&from(address), Family::V6).as_deref(), Some(address));
        assert_eq!(source(&from(address), four).as_deref(), Some("10.1.0.4"), "as before");
    }
    let list = |list: &str| from("@").replace("\"@\"", list);
    let both = list("[\"2001:db8::7\", \"10.1.0.99\"]");
    let sources = Family::ALL.map(|family| source(&both, family).unwrap());
    assert_eq!(sources, ["10.1.0.99", "2001:db8::7"]);
    let path = "load_balancer[0].probe_source_ip_address";
    assert_fault(&list("[]"), path, 25, &["empty", "write \"10.1.0.6\""]);
    assert_fault(&list("7"), path, 25, &["a string in quotes, or a list of them"]);
    let two = list("[\"10.1.0.98\", \"10.1.0.99\"]");
    assert_fault(
        &two,
        &format!("{path}[1]"),
        25,
        &["10.1.0.99 is one more of IPv4", "one address"],
    );
    assert_fault(&from("fe80::1"), path, 25, &["link-local"]);
    let path = "load_balancer[0].probe_source_ip_address";
    assert_fault(&from("127.0.0.1"), path, 25, &["loopback", "a NAT IP"]);
    assert_fault(&from("10.1.0.10"), path, 25, &["already a backend"]);
    assert_fault(&from("10.1.255.255"), path, 25, &["broadcast"]);
    assert_fault(&from("x"), path, 25, &["not an IP address"]);
    let router = from("10.1.0.1");
    let path = "virtual_network[1].routes[0].next_hop_ip_address";
    assert_fault(&router, path, 11, &["an address that probes come from"]);
}

#[test]
fn verdicts_and_administrators_decide_who_takes_flows() {
    let keys = "protocol = \"Tcp\"\nport = 80";
    let pool = |states: [&str; 3]| {
        let entry = |(at, state): (usize, &str)| {
            format!("{{ ip_address = \"10.1.0.{}\", admin_state = \"{state}\" }}", 10 + at)
        };
        states.into_iter().enumerate().map(entry).collect::<Vec<_>>().join(", ")
    };
    let weights = |states, up: &[u8], keys: &str| {
        let text = with_probe(keys).replace("\"10.1.0.10\", \"10.1.9.11\"", &pool(states));
        let balancer = check(&text).unwrap().config.load_balancers()[0].clone();
        let probed = |&last: &u8| Probed {
            load_balancer: balancer.name.clone(),
            probe: balancer.probes[0].name.clone(),
            address: [10, 1, 0, last].into(),
        };
        let health: Health = up.iter().map(probed).collect();
        balancer.balance(&balancer.rules[0], &balancer.pools[0], &health).weights
    };
    let none = ["None"; 3];
    assert_eq!(weights(none, &[10, 12], keys), [1, 0, 1]);
    assert_eq!(weights(none, &[], keys), [0, 0, 0]);
    assert_eq!(weights(["Up", "Down", "None"], &[11], keys), [1, 0, 0], "the administrator wins");
    let up = format!("{keys}\nno_healthy_backends_behavior = \"AllProbedUp\"");
    assert_eq!(weights(none, &[], &up), [1, 1, 1]);
    assert_eq!(weights(none, &[11], &up), [0, 1, 0], "one is enough");
    assert_eq!(weights(["None", "Down", "None"], &[], &up), [1, 0, 1]);
    assert_eq!(weights(["Up", "None", "None"], &[], &up), [1, 0, 0], "Up is healthy");
}
