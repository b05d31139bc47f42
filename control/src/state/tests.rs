//! Connections, link ids and numbers across reloads.

use super::*;
use crate::config::check;

/// A provider, two consumers, and the endpoints that the test adds.
const BASE: &str = r#"
[[virtual_network]]
name = "a"
address_space = ["10.0.0.0/16"]
[[virtual_network]]
name = "b"
address_space = ["10.0.0.0/16"]
[[virtual_network]]
name = "p"
address_space = ["10.1.0.0/16"]
[[device]]
name = "a0"
kind = "tap"
virtual_network = "a"
[[device]]
name = "b0"
kind = "tap"
virtual_network = "b"
[[device]]
name = "p0"
kind = "tap"
virtual_network = "p"
[[load_balancer]]
name = "lb"
virtual_network = "p"
backend_address_pool = [{ name = "pool", backend_addresses = ["10.1.0.10"] }]
[[load_balancer.load_balancing_rule]]
name = "http"
protocol = "Tcp"
frontend_port = 80
backend_port = 8080
backend_address_pool = "pool"
[[private_link_service]]
name = "s"
load_balancer = "lb"
nat_ip_configurations = [{ name = "n", private_ip_address = "10.1.0.4" }]
[[private_link_service]]
name = "auto"
load_balancer = "lb"
nat_ip_configurations = [{ name = "n", private_ip_address = "10.1.0.5" }]
auto_approve = true
"#;

fn endpoint(name: &str, network: &str, address: &str, service: &str, state: &str) -> String {
    let state = match state {
        "" => String::new(),
        state => format!("connection_state = \"{state}\"\n"),
    };
    format!(
        "[[private_endpoint]]\nname = \"{name}\"\nvirtual_network = \"{network}\"\n\
        private_ip_address = \"{address}\"\nprivate_link_service = \"{service}\"\n{state}"
    )
}

fn config(text: &str) -> Config {
    check(text).unwrap_or_else(|errors| panic!("{errors}")).config
}

fn with(endpoints: &[String]) -> Config {
    config(&(BASE.to_owned() + &endpoints.concat()))
}

fn connection(registry: &Registry, name: &str) -> Connection {
    registry.connection(&Name::new(name).unwrap()).unwrap().clone()
}

#[test]
fn decisions_follow_the_table() {
    use ConnectionState::{Approved, Disconnected, Pending, Rejected};
    use Decision::{Approve, Reject};
    let table = [
        (Pending, Approve, Ok(Approved)),
        (Pending, Reject, Ok(Rejected)),
        (Approved, Approve, Ok(Approved)),
        (Approved, Reject, Ok(Rejected)),
        (Rejected, Approve, Ok(Approved)),
        (Rejected, Reject, Ok(Rejected)),
        (Disconnected, Approve, Err(Impossible)),
        (Disconnected, Reject, Err(Impossible)),
    ];
    assert_eq!(table.len(), ConnectionState::ALL.len() * 2);
    for (state, decision, expected) in table {
        assert_eq!(state.decide(decision), expected, "{state} {decision:?}");
    }
}

#[test]
fn a_connection_begins_as_the_file_or_the_service_says() {
    let registry = Registry::default();
    let registry = registry
        .next(&with(&[
            endpoint("manual", "a", "10.0.0.5", "s", ""),
            endpoint("auto", "a", "10.0.0.6", "auto", ""),
            endpoint("refused", "a", "10.0.0.7", "auto", "Rejected"),
        ]))
        .unwrap();
    assert_eq!(connection(&registry, "manual").state, ConnectionState::Pending);
    assert_eq!(connection(&registry, "auto").state, ConnectionState::Approved);
    assert_eq!(connection(&registry, "auto").description, "Auto-approved");
    assert_eq!(connection(&registry, "refused").state, ConnectionState::Rejected);
    assert_eq!(connection(&registry, "manual").link, LinkId(LINK_FIRST));
}

#[test]
fn link_ids_stay_with_a_connection_and_are_never_reused() {
    let pe = |name: &str, network: &str, address: &str, service: &str| {
        endpoint(name, network, address, service, "")
    };
    let first = Registry::default()
        .next(&with(&[pe("x", "a", "10.0.0.5", "s"), pe("y", "a", "10.0.0.6", "s")]))
        .unwrap();
    let (x, y) = (connection(&first, "x").link, connection(&first, "y").link);
    assert_ne!(x, y);
    // The order in the file does not matter.
    let swapped =
        first.next(&with(&[pe("y", "a", "10.0.0.6", "s"), pe("x", "a", "10.0.0.5", "s")])).unwrap();
    assert_eq!((connection(&swapped, "x").link, connection(&swapped, "y").link), (x, y));
    // Another address, virtual network or service is another connection.
    let mut seen = vec![x, y];
    let mut registry = swapped;
    for changed in [
        pe("x", "a", "10.0.0.9", "s"),
        pe("x", "b", "10.0.0.9", "s"),
        pe("x", "b", "10.0.0.9", "auto"),
    ] {
        registry = registry.next(&with(&[changed, pe("y", "a", "10.0.0.6", "s")])).unwrap();
        let link = connection(&registry, "x").link;
        assert!(!seen.contains(&link));
        seen.push(link);
        assert_eq!(connection(&registry, "y").link, y);
    }
    // An endpoint that was away is another one when it returns.
    registry = registry.next(&with(&[])).unwrap();
    registry = registry.next(&with(&[pe("y", "a", "10.0.0.6", "s")])).unwrap();
    assert!(!seen.contains(&connection(&registry, "y").link));
    assert_eq!(registry.connections().count(), 1);
}

#[test]
fn a_decision_survives_reloads_until_the_file_changes_its_mind() {
    let name = Name::new("x").unwrap();
    let pe = |state: &str| [endpoint("x", "a", "10.0.0.5", "s", state)];
    let mut registry = Registry::default().next(&with(&pe("Pending"))).unwrap();
    registry.set_state(&name, ConnectionState::Approved, "by Ann".to_owned());
    registry = registry.next(&with(&pe("Pending"))).unwrap();
    let kept = connection(&registry, "x");
    assert_eq!((kept.state, kept.description.as_str()), (ConnectionState::Approved, "by Ann"));
    // Another endpoint's line does not matter; its own does.
    let other = endpoint("z", "a", "10.0.0.8", "s", "Rejected");
    registry = registry.next(&with(&[pe("Pending")[0].clone(), other])).unwrap();
    assert_eq!(connection(&registry, "x").state, ConnectionState::Approved);
    registry = registry.next(&with(&pe("Rejected"))).unwrap();
    assert_eq!(connection(&registry, "x").state, ConnectionState::Rejected);
    assert_eq!(connection(&registry, "x").link, kept.link, "the connection is the same");
    registry.set_state(&name, ConnectionState::Approved, String::new());
    registry = registry.next(&with(&pe(""))).unwrap();
    assert_eq!(connection(&registry, "x").state, ConnectionState::Pending);
}

#[test]
fn link_ids_end() {
    let registry = Registry { next_link: u32::MAX, ..Registry::default() };
    let pe = |name: &str, address: &str| endpoint(name, "a", address, "s", "");
    let last = registry.next(&with(&[pe("x", "10.0.0.5")])).unwrap();
    assert_eq!(connection(&last, "x").link, LinkId(u32::MAX));
    let more = last.next(&with(&[pe("x", "10.0.0.5"), pe("y", "10.0.0.6")]));
    assert_eq!(more.err(), Some(Exhausted("link ids")));
}

#[test]
fn networks_and_devices_keep_their_numbers() {
    let first = Registry::default().next(&config(BASE)).unwrap();
    let scope = |registry: &Registry, name: &str| registry.scope(&Name::new(name).unwrap());
    let slot = |registry: &Registry, name: &str| {
        let mut slots = registry.devices().iter();
        slots.position(|slot| slot.as_ref().is_some_and(|device| device.name == name))
    };
    assert_eq!(scope(&first, "b"), Some(ScopeId(1)));
    assert_eq!(slot(&first, "b0"), Some(1));
    // Without the first network and its device the others stay where they are.
    let start = BASE.find("[[virtual_network]]\nname = \"b\"").unwrap();
    let device = "[[device]]\nname = \"a0\"\nkind = \"tap\"\nvirtual_network = \"a\"\n";
    let less = BASE[start..].replace(device, "");
    let second = first.next(&config(&less)).unwrap();
    assert_eq!((scope(&second, "b"), scope(&second, "p")), (Some(ScopeId(1)), Some(ScopeId(2))));
    assert_eq!(
        (slot(&second, "a0"), slot(&second, "b0"), slot(&second, "p0")),
        (None, Some(1), Some(2))
    );
    assert!(second.devices()[0].is_none());
    // A returning network has its number again; its device has a fresh slot.
    let third = second.next(&config(BASE)).unwrap();
    assert_eq!(scope(&third, "a"), Some(ScopeId(0)));
    assert_eq!(slot(&third, "a0"), Some(3));
    // A device that changes hands is another device.
    let moved = BASE.replace(
        "name = \"b0\"\nkind = \"tap\"\nvirtual_network = \"b\"",
        "name = \"b0\"\nkind = \"tap\"\nvirtual_network = \"p\"",
    );
    let fourth = third.next(&config(&moved)).unwrap();
    assert_eq!(slot(&fourth, "b0"), Some(4));
}

#[test]
fn slots_are_used_again_when_all_others_are() {
    let mut registry = Registry::default();
    for round in 0..2 * DEVICES_MAX {
        let device =
            format!("[[device]]\nname = \"d{round}\"\nkind = \"tap\"\nvirtual_network = \"a\"\n");
        registry = registry.next(&config(&(BASE.to_owned() + &device))).unwrap();
        let used = registry.devices().iter().flatten().count();
        assert_eq!(used, 4);
        assert!(registry.devices().len() <= DEVICES_MAX);
        assert!(registry.devices()[0].as_ref().is_some_and(|device| device.name == "a0"));
    }
}

#[test]
fn changes_between_registries_are_found_by_name() {
    let of = |endpoints: &[(&str, &str)]| {
        let text: String =
            endpoints.iter().map(|(name, address)| endpoint(name, "a", address, "s", "")).collect();
        check(&(BASE.to_owned() + &text)).unwrap().config
    };
    let before = of(&[("b", "10.0.0.5"), ("d", "10.0.0.6"), ("e", "10.0.0.7")]);
    let old = Registry::default().next(&before).unwrap();
    assert!(
        old.clone().changes(&old).is_empty() && old.next(&before).unwrap().changes(&old).is_empty()
    );
    let after = of(&[("a", "10.0.0.9"), ("b", "10.0.0.5"), ("d", "10.0.0.8"), ("f", "10.0.0.7")]);
    let mut new = old.next(&after).unwrap();
    let changes = |new: &Registry| -> Vec<String> {
        let line = |(name, now): (&Name, Option<&Connection>)| {
            format!("{name}{}", if now.is_some() { "" } else { " gone" })
        };
        new.changes(&old).into_iter().map(line).collect()
    };
    assert_eq!(changes(&new), ["a", "d", "e gone", "f"]);
    new.set_state(&Name::new("b").unwrap(), ConnectionState::Rejected, "no".to_owned());
    assert_eq!(changes(&new), ["a", "b", "d", "e gone", "f"]);
    assert_eq!(Registry::default().changes(&old).len(), 3, "all are gone");
}
