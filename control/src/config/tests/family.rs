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

/// An endpoint with an address of each family is one, with one connection.
#[test]
fn an_endpoint_may_have_an_address_of_each_family() {
    let dual = |addresses: &str, more: &str| {
        let space = "address_space = [\"10.0.0.0/16\"]\n";
        let both = format!("address_space = [\"10.0.0.0/16\", \"fd00::/48\"]\n{more}");
        let text = GOOD.replacen(space, &both, 1);
        let one = "private_ip_address = \"10.0.0.5\"";
        assert!(text.contains(one), "{text}");
        text.replacen(one, &format!("private_ip_address = {addresses}"), 1)
    };
    let subnet = |prefixes: &str| {
        format!("[[virtual_network.subnet]]\nname = \"s\"\naddress_prefix = {prefixes}\n")
    };
    let both = "[\"fd00::5\", \"10.0.0.5\"]";
    for more in [String::new(), subnet("[\"10.0.0.0/24\", \"fd00::/64\"]")] {
        let config = check(&dual(both, &more)).unwrap_or_else(|errors| panic!("{errors}")).config;
        let endpoint = &config.endpoints()[0];
        assert_eq!(endpoint.addresses.to_string(), "10.0.0.5, fd00::5");
        let (snapshot, registry) = crate::compile::compile(&config, &Registry::default()).unwrap();
        let link = registry.connection(&endpoint.name).unwrap().link;
        let compiled = *snapshot.endpoint_of_link(link).unwrap();
        let locals = endpoint.addresses.ips().map(|it| snapshot.local(compiled.scope, it));
        let locals: Vec<_> = locals.collect();
        assert!(locals[0].is_some() && locals[0] == locals[1], "{locals:?}");
    }
    let path = |at: usize| format!("private_endpoint[0].private_ip_address[{at}]");
    let refused = |text: &str, at: usize, words: &[&str]| {
        let errors = check(text).unwrap_err();
        let [fault] = errors.list() else { panic!("{errors}") };
        assert_eq!(fault.path, path(at));
        let said = fault.to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    };
    refused(&dual("[\"10.0.0.5\", \"10.0.0.7\"]", ""), 1, &["one more of IPv4", "one address"]);
    refused(&dual("[\"10.0.0.5\", \"fd09::5\"]", ""), 1, &["outside the address space"]);
    let one_sided = dual(both, &subnet("\"10.0.0.0/24\""));
    refused(&one_sided, 1, &["not in one subnet", "a prefix of each family"]);
}

#[test]
fn a_subnet_has_a_prefix_of_each_family_at_most() {
    let with = |prefixes: &str| {
        let space = "address_space = [\"10.0.0.0/16\"]\n";
        let both = "address_space = [\"10.0.0.0/16\", \"fd00::/48\"]\n\
            [[virtual_network.subnet]]\nname = \"s\"\naddress_prefix = ";
        GOOD.replacen(space, &format!("{both}{prefixes}\n"), 1)
    };
    check(&with("[\"10.0.0.0/24\", \"fd00::/64\"]")).unwrap();
    for (prefixes, words) in [
        ("[\"10.0.0.0/24\", \"10.0.1.0/24\"]", "one more of IPv4"),
        ("[\"10.0.0.0/24\", \"fd09::/64\"]", "not within the network's address space"),
    ] {
        let said = check(&with(prefixes)).unwrap_err().to_string();
        assert!(said.contains(words), "{said}");
    }
}
