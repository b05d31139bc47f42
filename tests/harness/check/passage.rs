//! I1, I4 and I11: where a packet may go is decided by its endpoint or by its flow, and by nothing
//! else.

use std::collections::HashMap;
use std::net::IpAddr;

use dataplane::engine::Session;
use dataplane::snapshot::{Gate, RulePlan};
use dataplane::types::{DeviceIndex, ScopeId};
use pnet_base::MacAddr;

use crate::encode::{Image, TCP, mac_of};
use crate::observe::{Transport, observe};
use crate::topology::Topology;

/// Marks a payload as a tenant's.
pub const CANARY: &[u8] = b"canary of tenant ";

/// A payload that may be seen by one tenant and its providers only.
#[must_use]
pub fn canary(tenant: DeviceIndex) -> Vec<u8> {
    let mut payload = CANARY.to_vec();
    payload.extend(tenant.0.to_be_bytes());
    payload
}

/// A packet that passed.
pub struct Passage<'a> {
    /// What was in force when it did.
    pub topology: &'a Topology,
    /// Where it came in.
    pub ingress: DeviceIndex,
    /// As it came.
    pub input: &'a Image,
    /// Where it left.
    pub egress: DeviceIndex,
    /// As it left.
    pub output: &'a Image,
}

/// What a backend sees of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outside {
    pub(super) scope: ScopeId,
    pub(super) nat: (IpAddr, u16),
    pub(super) backend: (IpAddr, u16),
    pub(super) protocol: u8,
}

/// What a client sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inside {
    pub(super) scope: ScopeId,
    pub(super) client: (IpAddr, u16),
    pub(super) endpoint: (IpAddr, u16),
    pub(super) station: MacAddr,
}

/// The translations that were seen.
#[derive(Default)]
pub(super) struct Ledger {
    translations: HashMap<Outside, Inside>,
}

impl Ledger {
    /// What a client sees of a flow that a backend sees so.
    pub(super) fn translation(&self, outside: &Outside) -> Option<&Inside> {
        self.translations.get(outside)
    }

    /// All of them.
    pub(super) fn translations(&self) -> impl Iterator<Item = (&Outside, &Inside)> {
        self.translations.iter()
    }

    pub(super) fn check(&mut self, passage: &Passage<'_>) {
        let input = observe(&passage.input.bytes).transport();
        let output = observe(&passage.output.bytes).transport();
        let scope = passage.topology.scope(passage.ingress);
        let scope = scope.expect("I1: it came in by a device of a network");
        let egress = passage.topology.scope(passage.egress);
        let egress = egress.expect("I1: it left by a device of a network");
        let station = passage.topology.station(passage.egress);
        assert_eq!(output.from_mac, station, "it left in the name of its device");
        check_canary(passage.topology, &output, egress);
        if passage.topology.endpoint(scope, input.destination).is_some() {
            self.forward(passage.topology, &input, &output, (scope, egress));
        } else {
            self.back(passage.topology, &input, &output, (scope, egress));
        }
    }

    fn forward(
        &mut self,
        topology: &Topology,
        input: &Transport,
        output: &Transport,
        (scope, egress): (ScopeId, ScopeId),
    ) {
        let endpoint = topology.endpoint(scope, input.destination);
        let endpoint = endpoint.expect("its endpoint exists");
        assert_eq!(endpoint.gate, Gate::Approved, "I11: {input:?} passed");
        let service = &topology.plan.services[endpoint.service.slot()];
        assert_eq!(egress, service.scope, "I1: it left to its service's provider");
        let nat_ip = output.source;
        let owner = topology.service_of_nat_ip(egress, nat_ip);
        let is_its = owner.is_some_and(|owner| std::ptr::eq(owner, service));
        assert!(is_its, "{nat_ip} is a NAT IP of its service");
        assert!(output.source_port >= 1024, "a leased port is not well known");
        let of_packet =
            |protocol: u8, port| (protocol, port) == (input.protocol, input.destination_port);
        let mut rules = service.rules.iter();
        let rule = rules.find(|rule| of_packet(rule.protocol as u8, rule.port));
        let all_ports = |rule: &&RulePlan| (rule.protocol as u8, rule.port) == (input.protocol, 0);
        let rule = rule.or_else(|| service.rules.iter().find(all_ports));
        let rule = rule.expect("I1: a rule covers it");
        match rule.floating {
            None => assert!(rule.backends.contains(&output.destination), "I1: its backend"),
            Some(frontend) => assert_eq!(output.destination, frontend, "I1: its frontend"),
        }
        let port_behind = if rule.port == 0 { input.destination_port } else { rule.backend_port };
        assert_eq!(output.destination_port, port_behind);
        let mut stations = match rule.floating {
            None => vec![output.destination],
            Some(_) => rule.backends.clone(),
        }
        .into_iter()
        .map(|backend| mac_of(topology.next_hop(egress, backend)));
        assert!(stations.any(|station| station == output.to_mac), "it went to its next hop");
        self.learn(input, output, (scope, egress));
    }

    /// Remembers the translation of a packet that its client sent.
    fn learn(
        &mut self,
        input: &Transport,
        output: &Transport,
        (scope, egress): (ScopeId, ScopeId),
    ) {
        let outside = Outside {
            scope: egress,
            nat: (output.source, output.source_port),
            backend: (output.destination, output.destination_port),
            protocol: output.protocol,
        };
        let inside = Inside {
            scope,
            client: (input.source, input.source_port),
            endpoint: (input.destination, input.destination_port),
            station: input.from_mac,
        };
        self.translations.insert(outside, inside);
    }

    /// A flow lives of which no packet has passed yet: the first one was too big.
    pub(super) fn know(&mut self, topology: &Topology, session: &Session) {
        let key = session.key;
        let Some(endpoint) = topology.endpoint(key.scope, key.endpoint.ip()) else { return };
        let outside = Outside {
            scope: topology.plan.services[endpoint.service.slot()].scope,
            nat: (session.nat_ip, session.nat_port),
            backend: (session.target, session.backend_port),
            protocol: key.protocol as u8,
        };
        let inside = Inside {
            scope: key.scope,
            client: (key.client.ip(), key.client_port),
            endpoint: (key.endpoint.ip(), key.endpoint_port),
            station: mac_of(key.client.ip()),
        };
        self.translations.entry(outside).or_insert(inside);
    }

    /// A packet was translated and waits: perhaps it never passes, but its flow lives.
    pub(super) fn wait(&mut self, topology: &Topology, scope: ScopeId, packets: [&Image; 2]) {
        let [input, output] = packets.map(|image| observe(&image.bytes).transport());
        let endpoint = topology.endpoint(scope, input.destination).expect("its endpoint exists");
        let provider = topology.plan.services[endpoint.service.slot()].scope;
        self.learn(&input, &output, (scope, provider));
    }

    fn back(
        &mut self,
        topology: &Topology,
        input: &Transport,
        output: &Transport,
        (scope, egress): (ScopeId, ScopeId),
    ) {
        let outside = Outside {
            scope,
            nat: (input.destination, input.destination_port),
            backend: (input.source, input.source_port),
            protocol: input.protocol,
        };
        let inside = self.translations.get(&outside);
        let inside = inside.unwrap_or_else(|| panic!("I1: {outside:?} answers no flow"));
        let seen = Inside {
            scope: egress,
            client: (output.destination, output.destination_port),
            endpoint: (output.source, output.source_port),
            station: output.to_mac,
        };
        assert_eq!(seen, *inside, "I4: the answer undoes the translation");
        let endpoint = topology.endpoint(egress, output.source);
        let gate = endpoint.map(|endpoint| endpoint.gate);
        assert_eq!(gate, Some(Gate::Approved), "I11: {output:?} passed");
        if input.protocol == TCP {
            assert_eq!(output.flags, input.flags);
        }
    }
}

fn check_canary(topology: &Topology, output: &Transport, egress: ScopeId) {
    let Some([high, low]) = output.payload.strip_prefix(CANARY) else {
        return;
    };
    let owner = ScopeId(u16::from_be_bytes([*high, *low]));
    let endpoints = topology.plan.endpoints.iter();
    let mut providers = endpoints
        .filter(|entry| {
            let mut dialled = entry.addresses.ips().map(|it| topology.endpoint(owner, it));
            dialled.any(|found| found.is_some_and(|it| it.link == entry.link))
        })
        .map(|endpoint| topology.plan.services[endpoint.service.slot()].scope);
    let allowed = egress == owner || providers.any(|provider| provider == egress);
    assert!(allowed, "I1: the canary of {owner:?} flew to {egress:?}");
}
