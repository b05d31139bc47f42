//! Addresses of both families in one file.

use super::{GOOD, assert_fault, check};
use crate::state::Registry;

/// The good file with an IPv6 prefix in the provider's network.
fn wide(from: &str, to: &str) -> String {
    let good = GOOD.replace("\"10.2.0.0/31\"", "\"10.2.0.0/31\", \"fd01::/64\"");
    assert!(good.contains(from), "{from}");
    good.replacen(from, to, 1)
}

const BACKENDS: &str = "[\"10.1.0.10\", \"10.1.9.11\"]";
const NAT_IP: &str = "private_ip_address = \"10.1.0.4\" }";

#[test]
fn both_families_side_by_side() {
    let both = "private_ip_address = \"10.1.0.4\" }, { name = \"six\", \
        private_ip_address = \"fd01::4\" }";
    let text = wide(BACKENDS, "[\"10.1.0.10\", \"fd01::10\"]").replacen(NAT_IP, both, 1);
    let config = check(&text).unwrap().config;
    assert_eq!(config.services()[0].nat_ips[1].address.to_string(), "fd01::4");
    let (snapshot, _) = crate::compile::compile(&config, &Registry::default()).unwrap();
    // Two protocols towards two backends, each from the NAT IP of its family.
    assert_eq!(snapshot.pool_keys().len(), 4);
}

#[test]
fn backends_of_a_family_need_a_nat_ip_of_it() {
    let text = wide(BACKENDS, "[\"10.1.0.10\", \"fd01::10\"]");
    let words = ["no IPv6 NAT IP", "add a NAT IP with an IPv6 address of \"provider\""];
    assert_fault(&text, "private_link_service[0]", 39, &words);
    let text = wide(NAT_IP, "private_ip_address = \"fd01::4\" }");
    assert_fault(&text, "private_link_service[0]", 39, &["no IPv4 NAT IP"]);
}

/// Both families are probed, each from the first NAT IP of its own.
#[test]
fn backends_of_both_families_are_probed() {
    let both = "private_ip_address = \"fd01::4\" }, { name = \"four\", \
        private_ip_address = \"10.1.0.4\" }";
    let text = wide(BACKENDS, "[\"10.1.0.10\", \"fd01::10\"]").replacen(NAT_IP, both, 1);
    let probed = text.replacen(
        "idle_timeout_minutes = 5",
        "idle_timeout_minutes = 5\nprobe = \"tcp\"\n[[load_balancer.probe]]\nname = \"tcp\"\n\
         protocol = \"Tcp\"\nport = 8080",
        1,
    );
    let config = check(&probed).unwrap().config;
    let (snapshot, registry) = crate::compile::compile(&config, &Registry::default()).unwrap();
    let asked = crate::probe::targets(&config, &registry);
    let asked = asked.values().map(|(target, _)| (target.route.source, target.backend));
    let asked: Vec<_> = asked.map(|(from, to)| (from.to_string(), to.to_string())).collect();
    let pairs = [("10.1.0.4", "10.1.0.10:8080"), ("fd01::4", "[fd01::10]:8080")];
    assert_eq!(asked, pairs.map(|(from, to)| (from.to_owned(), to.to_owned())));
    let sources = snapshot.probe_sources().iter().map(|source| source.address.to_string());
    assert_eq!(sources.collect::<Vec<_>>(), ["10.1.0.4", "fd01::4"]);
}

#[test]
fn what_an_ipv6_address_may_not_be() {
    let nat_ip = "private_link_service[0].nat_ip_configurations[0].private_ip_address";
    for (address, words) in [
        ("fd01::", "subnet-router anycast"),
        ("fd02::4", "outside the address space"),
        ("fd01:::4", "not an IP address"),
        ("::ffff:10.1.0.4", "not an IP address of a host"),
    ] {
        let text = wide("10.1.0.4", address);
        assert_fault(&text, nat_ip, 42, &[words]);
    }
    for (prefix, words) in [
        ("fd01::1/64", "write \"fd01::/64\""),
        ("ff00::/8", "multicast"),
        ("fe80::/64", "link-local"),
        ("fd01::/129", "not a prefix"),
    ] {
        let path = "virtual_network[1].address_space[2]";
        assert_fault(&wide("fd01::/64", prefix), path, 10, &[words]);
    }
}
