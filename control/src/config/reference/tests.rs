//! What the page says is tried: every default, every end of a range, every word, every example.

use super::*;
use crate::config::check;

/// A file with every table once, and in each only what must be there; `mark` stands where keys of
/// the table of that name go.
const FILE_WITH_MARKS: &str = r#"
[adit]
#[adit]
[whois]
#[whois]
[flow_log]
file = "/f"
#[flow_log]
[audit_log]
file = "/a"
#[audit_log]
[open_telemetry]
url = "http://127.0.0.1:4318"
#[open_telemetry]
[[virtual_network]]
name = "a"
address_space = ["10.0.0.0/16"]
#[[virtual_network]]
[[virtual_network]]
name = "provider"
address_space = ["10.1.0.0/16"]
[[virtual_network.routes]]
address_prefix = "10.1.9.0/24"
next_hop_ip_address = "10.1.0.1"
#virtual_network.routes
[[virtual_network.subnet]]
name = "endpoints"
address_prefix = "10.1.64.0/24"
#virtual_network.subnet
[[device]]
name = "veth-a"
kind = "af_packet"
virtual_network = "a"
#[[device]]
[[device]]
name = "veth-p"
kind = "af_packet"
virtual_network = "provider"
[[load_balancer]]
name = "lb"
virtual_network = "provider"
#[[load_balancer]]
[[load_balancer.backend_address_pool]]
name = "pool"
#load_balancer.backend_address_pool
[[load_balancer.backend_address_pool.backend_addresses]]
ip_address = "10.1.0.10"
#load_balancer.backend_address_pool.backend_addresses
[[load_balancer.load_balancing_rule]]
name = "dns"
protocol = "Udp"
frontend_port = 53
backend_port = 53
backend_address_pool = "pool"
#load_balancer.load_balancing_rule
[[load_balancer.inbound_nat_rule]]
name = "in"
protocol = "Tcp"
frontend_port = 2201
backend_ip_address = "10.1.0.10"
backend_port = 22
#load_balancer.inbound_nat_rule
[[load_balancer.probe]]
name = "healthz"
protocol = "Tcp"
port = 8080
#load_balancer.probe
[[private_link_service]]
name = "web"
load_balancer = "lb"
#[[private_link_service]]
[[private_link_service.nat_ip_configurations]]
name = "nat1"
private_ip_address = "10.1.0.4"
#private_link_service.nat_ip_configurations
[[private_endpoint]]
name = "pe"
virtual_network = "a"
private_ip_address = "10.0.0.5"
private_link_service = "web"
#[[private_endpoint]]
[[network_security_group]]
name = "web-only"
#[[network_security_group]]
[[network_security_group.security_rule]]
name = "web"
priority = 100
access = "Allow"
#network_security_group.security_rule
"#;

/// The file with `key = value` in the table, instead of what it has there.
fn with(keys: &Keys, key: &Key, value: &str) -> String {
    let mark = format!("#{}\n", keys.title);
    let at = FILE_WITH_MARKS.find(&mark).unwrap_or_else(|| panic!("no mark {mark}"));
    let begin = FILE_WITH_MARKS[..at].rfind("\n[").map_or(0, |begin| begin + 1);
    let own = &FILE_WITH_MARKS[begin..at];
    let other = |line: &&str| !line.starts_with(&format!("{} = ", key.name));
    let kept: Vec<&str> = own.lines().filter(other).collect();
    let line = format!("{} = {value}", key.name);
    let (before, after) = (&FILE_WITH_MARKS[..begin], &FILE_WITH_MARKS[at..]);
    format!("{before}{}\n{line}\n{after}", kept.join("\n"))
}

fn every_key(mut visit: impl FnMut(&'static Keys, &'static Key)) {
    fn walk(keys: &'static Keys, visit: &mut dyn FnMut(&'static Keys, &'static Key)) {
        for key in keys.list {
            visit(keys, key);
            if let Some(keys) = inner(key) {
                walk(keys, visit);
            }
        }
    }
    for key in FILE.list {
        if let Some(keys) = inner(key) {
            walk(keys, &mut visit);
        }
    }
}

/// The faults of a value that are about the value itself.
fn faults(keys: &Keys, key: &Key, value: &str) -> String {
    let text = with(keys, key, value);
    let Err(errors) = check(&text) else { return String::new() };
    let own = errors.list().iter().filter(|fault| {
        let names = ["out of range", "not possible", "wrong type", "unknown key", "not a duration"];
        fault.path.contains(key.name) && names.iter().any(|name| fault.problem.contains(name))
    });
    own.map(|fault| format!("{}: {}\n", fault.path, fault.problem)).collect()
}

/// A configuration, but for the lines on which its settings stand.
fn meaning(text: &str) -> String {
    let checked = check(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let shown = format!("{:?}", checked.config);
    let mut parts = shown.split("line: ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('}').map_or(part, |(_, rest)| rest))
}

#[test]
fn the_page_is_current() {
    let page = include_str!("../../../../docs/configuration.md");
    assert!(page == reference(), "write it anew: cargo xtask reference");
}

#[test]
fn every_example_is_read() {
    let mut count = 0;
    every_key(|keys, key| {
        count += 1;
        if matches!(key.form, Form::Tables(_) | Form::TextsOr(_)) {
            // Its own keys are tried one by one; here the file has it already.
            return;
        }
        assert_eq!(faults(keys, key, key.example), "", "{} {}", keys.title, key.name);
    });
    assert!(count > 60, "{count} keys");
}

#[test]
fn every_default_is_what_a_missing_key_means() {
    let without = meaning(FILE_WITH_MARKS);
    every_key(|keys, key| {
        if let Absent::Same(value) = key.absent {
            assert_eq!(meaning(&with(keys, key, value)), without, "{} {}", keys.title, key.name);
        }
        let is_there = with(keys, key, "0").matches(&format!("\n{} = ", key.name)).count() > 0;
        assert!(is_there, "{}", key.name);
    });
}

#[test]
fn what_must_be_there_is_missed() {
    every_key(|keys, key| {
        let has_tables = matches!(key.form, Form::Tables(_) | Form::TextsOr(_));
        if !matches!(key.absent, Absent::Refused) || has_tables {
            return;
        }
        let text = with(keys, key, "@").replace(&format!("\n{} = @\n", key.name), "\n");
        let errors = check(&text).unwrap_err().to_string();
        assert!(errors.contains(&format!("{} = {}", key.name, key.example)), "{errors}");
    });
}

#[test]
fn ranges_end_where_the_page_says() {
    every_key(|keys, key| {
        let title = format!("{} {}", keys.title, key.name);
        let is_good = |value: &str| assert_eq!(faults(keys, key, value), "", "{title} = {value}");
        let is_bad = |value: &str| assert_ne!(faults(keys, key, value), "", "{title} = {value}");
        let written = |word: &str| match key.form {
            Form::Flag => word.to_owned(),
            Form::Texts => format!("[\"{word}\"]"),
            _ => format!("\"{word}\""),
        };
        match key.range {
            Range::Numbers(from, to) => {
                [from, to].iter().for_each(|number| is_good(&number.to_string()));
                [from - 1, to + 1].iter().for_each(|number| is_bad(&number.to_string()));
            }
            Range::Words(words) => {
                words.iter().for_each(|word| is_good(&written(word)));
                is_bad(&match key.form {
                    Form::Flag => "\"true\"".to_owned(),
                    _ => written("no-such-word"),
                });
            }
            Range::Durations(from, to) => {
                [from, to].iter().for_each(|text| is_good(&written(text)));
                [&*format!("{to}h"), "25h"].iter().for_each(|text| is_bad(&written(text)));
            }
            Range::Said(_) => {}
        }
    });
}
