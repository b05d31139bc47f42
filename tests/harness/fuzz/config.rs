//! Any text as a configuration: it becomes a value, or faults that each name a place.
//!
//! A value compiles, and the snapshot says of every endpoint, NAT IP and rule what the value says.
//! An empty line in front changes nothing but the lines that are named.

use std::collections::BTreeSet;

use control::compile::compile;
use control::config::{Checked, Config, ConfigError, ConfigErrors, check};
use control::state::Registry;
use dataplane::snapshot::{Local, Snapshot};
use dataplane::types::{EndpointIndex, ServiceIndex};

/// See the module's documentation.
///
/// # Panics
/// The text was judged wrongly, or a value that was accepted did not compile to what it says.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let judged = check(text);
    match &judged {
        Ok(checked) => {
            check_places(text, &checked.warnings);
            check_compiled(&checked.config);
        }
        Err(errors) => {
            assert!(!errors.list().is_empty(), "refused without a fault");
            check_places(text, errors.list());
        }
    }
    // A byte order mark may stand in front of everything, but of nothing else.
    if !text.starts_with('\u{feff}') {
        check_moved(&judged, &check(&format!("\n{text}")));
    }
}

fn check_places(text: &str, remarks: &[ConfigError]) {
    let lines = text.split('\n').count();
    for remark in remarks {
        assert!((1..=lines).contains(&remark.line), "of {lines} lines: {remark:?}");
        assert!(!remark.problem.is_empty() && !remark.cure.is_empty(), "{remark:?}");
        // On one line each, so that nothing in the file can pretend to be adit's words.
        let shown = [&remark.path, &remark.problem, &remark.cure];
        let plain = |text: &&String| !text.chars().any(char::is_control);
        assert!(shown.iter().all(plain), "{remark:?}");
    }
    assert!(remarks.is_sorted_by_key(|remark| remark.line), "{remarks:?}");
}

/// Two judgements of the same text, the second one line further down.
fn check_moved(first: &Result<Checked, ConfigErrors>, second: &Result<Checked, ConfigErrors>) {
    let remarks = |judged: &Result<Checked, ConfigErrors>| match judged {
        Ok(checked) => (true, checked.warnings.clone()),
        Err(errors) => (false, errors.list().to_vec()),
    };
    let ((was_good, first), (is_good, second)) = (remarks(first), remarks(second));
    assert_eq!(was_good, is_good, "{first:?} {second:?}");
    let places = |remarks: &[ConfigError], lines: usize| {
        // What the file itself lacks is said of its first line, wherever anything stands.
        let line = |remark: &ConfigError| match remark.line {
            first if first <= 1 + lines && remark.path.is_empty() => 1,
            line => line - lines,
        };
        remarks.iter().map(|it| (it.path.clone(), line(it))).collect::<BTreeSet<_>>()
    };
    assert_eq!(first.len(), second.len());
    assert_eq!(places(&first, 0), places(&second, 1));
}

fn check_compiled(config: &Config) {
    let compiled = compile(config, &Registry::default());
    let (snapshot, registry) = compiled.expect("what is accepted compiles");
    check_endpoints(config, &snapshot, &registry);
    for (at, service) in (0..).zip(config.services()) {
        let compiled = snapshot.service(ServiceIndex(at)).expect("every service is there");
        let balancer = &config.load_balancers()[service.load_balancer];
        let network = &config.virtual_networks()[balancer.virtual_network];
        assert_eq!(Some(compiled.scope), registry.scope(&network.name));
        for nat_ip in &service.nat_ips {
            assert_eq!(snapshot.local(compiled.scope, nat_ip.address), Some(Local::NatIp));
        }
        let address = |&at| snapshot.backend(at).expect("it is there").address;
        for rule in &balancer.rules {
            for &protocol in rule.protocol.each() {
                let found = compiled.rule(protocol, rule.frontend_port);
                let found = found.expect("every rule is there");
                assert_eq!(found.backend_port, rule.backend_port);
                let expected: Vec<_> = balancer.pools[rule.pool].addresses().collect();
                assert_eq!(found.backends.iter().map(address).collect::<Vec<_>>(), expected);
            }
        }
        for rule in &balancer.inbound_nat_rules {
            let found = compiled.rule(rule.protocol, rule.frontend_port);
            let found = found.expect("every rule is there");
            assert_eq!(found.backend_port, rule.backend_port);
            assert_eq!(address(&found.backends[0]), rule.backend_address);
        }
    }
    check_again(config, &snapshot, &registry);
}

fn check_endpoints(config: &Config, snapshot: &Snapshot, registry: &Registry) {
    assert_eq!(snapshot.endpoints().len(), config.endpoints().len());
    for (at, endpoint) in (0..).zip(config.endpoints()) {
        let network = &config.virtual_networks()[endpoint.virtual_network];
        let scope = registry.scope(&network.name).expect("every network has a number");
        for address in endpoint.addresses.ips() {
            let local = snapshot.local(scope, address);
            assert_eq!(local, Some(Local::Endpoint(EndpointIndex(at))));
        }
        let compiled = snapshot.endpoint(EndpointIndex(at)).expect("every endpoint is there");
        assert_eq!((compiled.scope, compiled.addresses), (scope, endpoint.addresses));
        assert_eq!(compiled.service.slot(), endpoint.service);
        assert_eq!(compiled.gate, config.initial_state(endpoint).gate());
    }
}

/// The same file once more changes nothing.
fn check_again(config: &Config, snapshot: &Snapshot, registry: &Registry) {
    let (again, next) = compile(config, registry).expect("a reload of the same file");
    assert_eq!(snapshot.endpoints(), again.endpoints());
    assert_eq!(snapshot.next_hops(), again.next_hops());
    assert_eq!(snapshot.pool_keys(), again.pool_keys());
    assert_eq!(registry.devices(), next.devices());
}
