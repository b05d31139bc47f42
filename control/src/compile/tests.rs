//! What a configuration becomes in the data path.

use std::net::IpAddr;

use dataplane::snapshot::{Access, Dialling, Gate, Local, Patch};
use dataplane::types::{LinkId, Protocol, ServiceIndex};

use super::*;
use crate::config::{Name, check};
use crate::state::ConnectionState;

fn example() -> Config {
    check(include_str!("../../adit.example.toml")).unwrap().config
}

#[test]
fn the_example_becomes_what_it_says() {
    let (snapshot, registry) = compile(&example(), &Registry::default()).unwrap();
    let scope = |name: &str| registry.scope(&Name::new(name).unwrap()).unwrap();
    let address = IpAddr::from([10, 0, 0, 5]);
    let (a, b) = (scope("consumer-a"), scope("consumer-b"));
    let endpoint = |scope| match snapshot.local(scope, address) {
        Some(Local::Endpoint(index)) => *snapshot.endpoint(index).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!((endpoint(a).gate, endpoint(b).gate), (Gate::Approved, Gate::Pending));
    assert_eq!(endpoint(a).link, LinkId(0x2000_0001));
    let service = snapshot.service(endpoint(a).service).unwrap();
    assert_eq!(service.nat_ips.len(), 2);
    assert_eq!(service.scope, scope("provider"));
    let rule = service.rule(Protocol::Tcp, 80).unwrap();
    assert_eq!((rule.backend_port, rule.backends.len()), (8080, 3));
    assert_eq!(rule.timeouts.established_ticks, 30_000);
    assert!(service.rule(Protocol::Udp, 80).is_none());
    // Two NAT IPs, three backends, two protocols; one backend is behind the router.
    assert_eq!(snapshot.pool_keys().len(), 12);
    let hops: Vec<IpAddr> = snapshot.next_hops().iter().map(|hop| hop.address).collect();
    assert!(hops.contains(&IpAddr::from([10, 1, 0, 1])), "{hops:?}");
    assert!(!hops.contains(&IpAddr::from([10, 1, 9, 12])), "{hops:?}");
    assert_eq!(snapshot.scope_devices(scope("provider")).len(), 1);
}

#[test]
fn a_decision_changes_the_gate_and_nothing_else() {
    let config = example();
    let (before, mut registry) = compile(&config, &Registry::default()).unwrap();
    let name = Name::new("pe-b").unwrap();
    registry.set_state(&name, ConnectionState::Approved, String::new());
    let after = snapshot(&config, &registry).unwrap();
    let gates = |snapshot: &Snapshot| -> Vec<(LinkId, Gate)> {
        snapshot.endpoints().iter().map(|endpoint| (endpoint.link, endpoint.gate)).collect()
    };
    let (before_gates, after_gates) = (gates(&before), gates(&after));
    assert_eq!(before_gates[0], after_gates[0]);
    assert_eq!(before_gates[1].0, after_gates[1].0);
    assert_eq!((before_gates[1].1, after_gates[1].1), (Gate::Pending, Gate::Approved));
    assert_eq!(before.devices(), after.devices());
    assert_eq!(before.pool_keys(), after.pool_keys());
}

#[test]
fn networks_that_are_gone_leave_an_empty_place() {
    let (_, registry) = compile(&example(), &Registry::default()).unwrap();
    let other = "[[virtual_network]]\nname = \"other\"\naddress_space = [\"10.0.0.0/16\"]\n";
    let (snapshot, registry) = compile(&check(other).unwrap().config, &registry).unwrap();
    assert_eq!(registry.scope(&Name::new("other").unwrap()), Some(ScopeId(3)));
    assert!(snapshot.in_address_space(ScopeId(3), IpAddr::from([10, 0, 0, 9])));
    assert!(!snapshot.in_address_space(ScopeId(0), IpAddr::from([10, 0, 0, 9])));
    assert!(snapshot.devices().iter().all(Option::is_none));
}

#[test]
fn a_gate_changed_in_a_copy_is_what_would_be_compiled_anew() {
    // The second endpoint's quota is reserved from the moment that it is approved.
    let config = example();
    let (snapshot, mut registry) = compile(&config, &Registry::default()).unwrap();
    let name = Name::new("pe-b").unwrap();
    let link = registry.connection(&name).unwrap().link;
    for state in [ConnectionState::Approved, ConnectionState::Rejected, ConnectionState::Pending] {
        registry.set_state(&name, state, String::new());
        let anew = super::snapshot(&config, &registry).unwrap();
        let copied = snapshot.with(&Patch::gate(&snapshot, link, state.gate())).unwrap();
        assert_eq!(copied.endpoints(), anew.endpoints(), "{state}");
        assert_eq!(format!("{:?}", copied.reserves()), format!("{:?}", anew.reserves()));
        let service = |of: &Snapshot| format!("{:?}", of.service(ServiceIndex(0)));
        assert_eq!(service(&copied), service(&anew), "{state}");
        assert_eq!(copied.pool_keys(), anew.pool_keys());
    }
    let nobody = snapshot.with(&Patch::gate(&snapshot, LinkId(7), Gate::Approved)).unwrap();
    assert_eq!(nobody.endpoints(), snapshot.endpoints(), "there is no such connection");
}

#[test]
fn a_guarded_endpoint_lets_in_whom_its_group_does_and_then_whom_azure_does() {
    let text = include_str!("../../adit.example.toml");
    let space = "name = \"consumer-b\"\naddress_space = [\"10.0.0.0/16\"]\n";
    assert!(text.contains(space));
    // Clients from there are of the virtual network, too.
    let remote = "remote_address_space = [\"192.168.0.0/16\"]\n";
    let subnet = "[[virtual_network.subnet]]\nname = \"endpoints\"\n\
        address_prefix = \"10.0.0.0/24\"\n\
        network_security_group = \"group\"\n\
        private_endpoint_network_policies = \"NetworkSecurityGroupEnabled\"\n";
    let group = "[[network_security_group]]\nname = \"group\"\n\
        security_rule = [{ name = \"no\", priority = 200, access = \"Deny\", \
        source_address_prefixes = [\"10.0.7.0/24\", \"Internet\"] }]\n";
    let text = text.replace(space, &format!("{space}{remote}{subnet}")) + group;
    let (snapshot, _) = compile(&check(&text).unwrap().config, &Registry::default()).unwrap();
    let decisions = snapshot.endpoints().iter().map(|endpoint| {
        let group = snapshot.security_group(endpoint)?;
        let priority = |source: [u8; 4]| {
            let (source, destination) = (source.into(), endpoint.addresses.first());
            let dialling = Dialling { protocol: Protocol::Udp, source, destination, port: 7 };
            group.decide(&dialling).map(|rule| (rule.priority, rule.access))
        };
        let sources = [[10, 0, 7, 1], [10, 0, 8, 1], [192, 168, 0, 1], [10, 1, 0, 1]];
        Some(sources.map(priority))
    });
    let inside = Some((65_000, Access::Allow));
    let guarded = [Some((200, Access::Deny)), inside, inside, Some((65_500, Access::Deny))];
    assert_eq!(decisions.collect::<Vec<_>>(), [None, Some(guarded)]);
}
