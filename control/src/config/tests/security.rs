//! Subnets and network security groups.

use super::*;
use crate::config::EndpointPolicies;

/// The good file with a subnet of the consumer's network from line 8 on, and a group with one rule
/// of these keys at the end.
fn with(subnet: &str, rule: &str) -> String {
    let space = "address_space = [\"10.0.0.0/16\"]\n";
    let text = GOOD.replacen(space, &format!("{space}[[virtual_network.subnet]]\n{subnet}\n"), 1);
    text + "[[network_security_group]]\nname = \"web-only\"\n\
            [[network_security_group.security_rule]]\n"
        + rule
}

const SUBNET: &str = "name = \"endpoints\"\naddress_prefix = \"10.0.0.0/24\"\n\
    network_security_group = \"web-only\"\nprivate_endpoint_network_policies = \"enabled\"";
const RULE: &str = "name = \"web\"\npriority = 100\naccess = \"Allow\"\n";

#[test]
fn a_group_guards_the_endpoints_of_a_subnet_that_says_so() {
    let rule = format!(
        "{RULE}protocol = \"Tcp\"\nsource_address_prefixes = [\"10.0.1.0/24\", \"10.0.2.9\"]\n\
         destination_address_prefixes = [\"VirtualNetwork\"]\n\
         destination_port_ranges = [\"443\", \"8000-8100\"]\n"
    );
    let Checked { config, warnings } = check(&with(SUBNET, &rule)).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let [guarded, _] = config.endpoints() else { panic!("two endpoints") };
    let group = config.guard(guarded).expect("its subnet has a group in force");
    assert_eq!(group.rule(100), ("web", "web-only"));
    assert_eq!(group.rule(65_500), ("DenyAllInBound", "web-only"));
    let rule = &group.rules[0];
    assert_eq!((rule.sources.len(), rule.ports.len()), (2, 2));
    // Not those of other subnets.
    let elsewhere = SUBNET.replace("10.0.0.0/24", "10.0.8.0/24");
    let Checked { config, .. } = check(&with(&elsewhere, RULE)).unwrap();
    assert!(config.endpoints().iter().all(|endpoint| config.guard(endpoint).is_none()));
    // Nor where the policies are Azure's default: that is said.
    let disabled = SUBNET.replace("\"enabled\"", "\"Disabled\"");
    let Checked { config, warnings } = check(&with(&disabled, RULE)).unwrap();
    assert!(config.guard(&config.endpoints()[0]).is_none());
    assert_eq!(config.virtual_networks()[0].subnets[0].policies, EndpointPolicies::Disabled);
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.problem.contains("not in force"), "{warning}");
}

#[test]
fn what_a_subnet_may_not_be() {
    let subnet = |from: &str, to: &str| with(&SUBNET.replace(from, to), RULE);
    let path = |key: &str| format!("virtual_network[0].subnet[0]{key}");
    let cases: [(&str, &str, &str, usize, &[&str]); 4] = [
        ("10.0.0.0/24", "10.9.0.0/24", ".address_prefix", 10, &["not within", "address_space"]),
        ("web-only", "web-onyl", ".network_security_group", 11, &["there is no", "web-only"]),
        ("enabled", "on", ".private_endpoint_network_policies", 12, &["possible", "Enabled"]),
        ("name = \"endpoints\"", "nam = \"x\"", ".nam", 9, &["unknown key"]),
    ];
    for (from, to, key, line, words) in cases {
        let found = faults(&subnet(from, to));
        let fault = found.iter().find(|fault| fault.path == path(key));
        let fault = fault.unwrap_or_else(|| panic!("{found:#?}"));
        assert_eq!(fault.line, line, "{fault}");
        let said = format!("{} {}", fault.problem, fault.cure);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    let two = format!(
        "{SUBNET}\n[[virtual_network.subnet]]\nname = \"two\"\naddress_prefix = \"10.0.0.128/25\""
    );
    let (path, line) = ("virtual_network[0].subnet[1]", 13);
    assert_fault(&with(&two, RULE), path, line, &["10.0.0.128/25 overlaps 10.0.0.0/24"]);
}

#[test]
fn what_a_security_rule_may_not_be() {
    let first = with(SUBNET, "").lines().count() + 1;
    let bad = |rule: &str, key: &str, line: usize, words: &[&str]| {
        let path = format!("network_security_group[0].security_rule[0]{key}");
        assert_fault(&with(SUBNET, rule), &path, first + line, words);
    };
    let rule = |line: &str| format!("{RULE}{line}\n");
    bad(&RULE.replace("100", "99"), ".priority", 1, &["99", "100 to 4096"]);
    bad(&RULE.replace("Allow", "Permit"), ".access", 2, &["Permit", "Allow"]);
    bad(&rule("protocol = \"Icmp\""), ".protocol", 3, &["Icmp", "Tcp"]);
    bad(&rule("direction = \"Outbound\""), ".direction", 3, &["outbound", "leave the rule out"]);
    let ports = |ports: &str| rule(&format!("destination_port_ranges = [\"{ports}\"]"));
    for range in ["80-79", "http", "65536", "1-2-3", ""] {
        bad(&ports(range), ".destination_port_ranges[0]", 3, &["no range of ports", "8000-8100"]);
    }
    let source = |source: &str| rule(&format!("source_address_prefixes = [\"{source}\"]"));
    bad(&source("10.0.1.1/24"), ".source_address_prefixes[0]", 3, &["first address"]);
    bad(&source("10.0.1"), ".source_address_prefixes[0]", 3, &["IP address"]);
    bad(&source("VirtualNetwrk"), ".source_address_prefixes[0]", 3, &["VirtualNetwork"]);
    let twice = format!(
        "{RULE}[[network_security_group.security_rule]]\n{}",
        RULE.replace("\"web\"", "\"again\"")
    );
    let path = "network_security_group[0].security_rule[1].priority";
    assert_fault(&with(SUBNET, &twice), path, first + 5, &["priority 100 is taken on line"]);
}
