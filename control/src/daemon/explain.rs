//! What a worker's engine says of a packet, in the names of the configuration.

use dataplane::drop_reason::DropReason;
use dataplane::engine::{self, FlowKey};
use dataplane::limits::PORTS_PER_POOL;
use dataplane::snapshot::{Local, PoolKey, Snapshot};
use dataplane::types::{Persistence, ScopeId};

use super::controller::Controller;
use super::sessions::Names;
use crate::api::{Decision, ErrorCode, Explanation, Failure, Judgement, Packet, Refusal, Rule};
use crate::config::{AdminState, Name, NetworkSecurityGroup, PrivateLinkService, suggest};

/// A packet that is asked about, and the worker that knows its flow.
pub(super) struct Asked {
    pub(super) key: FlowKey,
    pub(super) worker: u8,
}

impl Controller {
    /// The number of a virtual network.
    pub(super) fn find_network(&self, name: &str) -> Result<ScopeId, Failure> {
        let networks = self.config().virtual_networks();
        let found = networks.iter().find(|network| network.name.as_str() == name);
        let scope = found.and_then(|network| self.registry().scope(&network.name));
        scope.ok_or_else(|| {
            let cure = suggest::cure(name, networks.iter().map(|network| network.name.as_str()));
            let message = format!("there is no virtual network {name:?}");
            Failure::new(ErrorCode::NotFound, message, cure)
        })
    }

    /// Whom to ask about a packet.
    pub(super) fn asked(&self, packet: &Packet, workers: u8) -> Result<Asked, Failure> {
        if packet.source.is_ipv4() != packet.destination.is_ipv4() {
            let (from, to) = (packet.source.ip(), packet.destination.ip());
            let message = format!("no packet goes from {from} to {to}: they are of two families");
            let cure = "name the client's own address and the endpoint's, both IPv4 or both IPv6";
            return Err(Failure::new(ErrorCode::BadRequest, message, cure));
        }
        let key = FlowKey {
            client: packet.source.ip().into(),
            endpoint: packet.destination.ip().into(),
            client_port: packet.source.port(),
            endpoint_port: packet.destination.port(),
            scope: self.find_network(&packet.virtual_network)?,
            protocol: packet.protocol.into(),
        };
        // Who holds the port knows the flow of a backend's packet.
        let generation = self.generation();
        let FlowKey { scope, client: backend, endpoint: nat_ip, protocol, .. } = key;
        let pools = &generation.pools;
        let pool = pools.find(&PoolKey { scope, nat_ip, target: backend, protocol });
        let pool = pool.and_then(|pool| pools.pool(pool));
        let holder = pool.and_then(|pool| pool.holder(key.endpoint_port));
        let worker = holder.map_or_else(|| key.owner(workers), |holder| holder.worker).0;
        Ok(Asked { key, worker })
    }

    /// The rules of a service.
    fn rules_of(&self, service: &Name) -> Vec<Rule> {
        let services = self.scene().services();
        let own = services.into_iter().find(|candidate| candidate.name == service.as_str());
        own.map_or_else(Vec::new, |own| own.rules)
    }

    /// An engine's explanation in words.
    pub(super) fn explanation(&self, of: &engine::Explanation) -> Explanation {
        let names = Names::of(self.registry());
        let snapshot = &self.generation().snapshot;
        let service = of.endpoint.and_then(|e| self.config().services().get(e.service.slot()));
        let rules = service.map_or_else(Vec::new, |service| self.rules_of(&service.name));
        let name = of.endpoint.and_then(|endpoint| names.endpoint(endpoint.link));
        let mut endpoints = self.config().endpoints().iter();
        let endpoint = endpoints.find(|it| Some(it.name.as_str()) == name.as_deref());
        let guard = endpoint.and_then(|endpoint| self.config().guard(endpoint));
        let scribe = Scribe { snapshot, names: &names, of, service, rules: &rules, guard };
        let decisions = scribe.decisions();
        let refusal = of.outcome.err().map(|reason| scribe.refusal(reason));
        Explanation {
            passes: refusal.is_none(),
            decisions,
            refusal,
            endpoint: of.endpoint.and_then(|endpoint| names.endpoint(endpoint.link)),
            service: service.map(|service| service.name.to_string()),
            rule: scribe.rule_name(),
            backend: of.backend.map(|backend| backend.address.ip()),
            nat_ip: of.nat.map(|nat| nat.nat_ip),
            free_ports: of.nat.map(|nat| nat.free),
            session: of.flow.map(|session| names.view(&session, of.worker.0)),
            generation: of.generation.0,
            worker: of.worker.0,
        }
    }
}

/// Writes decisions down.
struct Scribe<'s> {
    snapshot: &'s Snapshot,
    names: &'s Names,
    of: &'s engine::Explanation,
    service: Option<&'s PrivateLinkService>,
    rules: &'s [Rule],
    /// The group that guards the endpoint.
    guard: Option<&'s NetworkSecurityGroup>,
}

impl Scribe<'_> {
    fn refusal(&self, reason: DropReason) -> Refusal {
        let cure = match self.probe() {
            Some(_) => {
                "mend what the backends answer to the probe, or what it asks; admin_state = \"Up\" \
                 lets a backend take flows whatever the probe says, and \
                 no_healthy_backends_behavior = \"AllProbedUp\" all of them when none is healthy"
            }
            None => reason.cure(),
        };
        Refusal {
            metric: reason.metric().to_owned(),
            sentence: reason.sentence().to_owned(),
            cure: cure.to_owned(),
            source: reason.source().to_owned(),
        }
    }

    /// All decisions that were made, in their order.
    fn decisions(&self) -> Vec<Decision> {
        let mut list = Vec::new();
        let mut passes = |about: &str, sentence: Option<String>| {
            let judgement = Judgement::Passes;
            list.extend(sentence.map(|sentence| decision(about, judgement, sentence)));
        };
        let of = self.of;
        passes("destination", self.destination());
        passes("flow", of.flow.map(|session| self.flow(&session)));
        passes("source", self.source());
        passes("approval", of.is_approved.then(|| "the connection is approved".to_owned()));
        let is_let_in = of.outcome != Err(DropReason::SecurityRuleDenied);
        passes("security", self.security().filter(|_| is_let_in).map(|rule| rule + " lets it in"));
        passes("rule", self.rule());
        passes("backend", self.backend());
        let gives_way = "no room is left: the oldest flow that nobody has answered gives way";
        passes("room", of.displaces.then(|| gives_way.to_owned()));
        passes("nat_ip", self.nat_ip());
        list.extend(self.next_hop());
        list.extend(self.probe());
        list.extend(of.outcome.err().map(|reason| {
            let about = about(reason);
            // A decision that a later look overturned stands once, as what it is now.
            let what = match (reason, self.security()) {
                (DropReason::SecurityRuleDenied, Some(rule)) => rule + " keeps it out",
                _ => reason.sentence().to_owned(),
            };
            let sentence = format!("{what} ({})", reason.metric());
            decision(about, Judgement::Refused, sentence)
        }));
        list
    }

    fn destination(&self) -> Option<String> {
        let (address, of) = (self.of.key.endpoint, self.of);
        let network = self.names.network(of.key.scope);
        match of.destination? {
            Local::Endpoint(_) => {
                let name = of.endpoint.and_then(|endpoint| self.names.endpoint(endpoint.link));
                let (name, service) = (name?, self.service?);
                let leads = format!("leads to service {}", service.name);
                let home = of.endpoint.filter(|endpoint| endpoint.scope != of.key.scope);
                let home = home.map(|endpoint| self.names.network(endpoint.scope));
                let peer = home.map_or_else(String::new, |home| {
                    format!(" of {home}, which {network} is peered with")
                });
                Some(format!("{address} in {network} is private endpoint {name}{peer}; it {leads}"))
            }
            Local::NatIp => Some(format!("{address} in {network} is a NAT IP: an answer")),
            Local::ProbeSource => {
                Some(format!("{address} in {network} is where health probes come from"))
            }
        }
    }

    fn flow(&self, session: &engine::Session) -> String {
        let view = self.names.view(session, self.of.worker.0);
        let (state, idle) = (view.state, view.idle_seconds);
        format!("belongs to session {} ({state}, idle for {idle:.1} s)", view.id)
    }

    fn source(&self) -> Option<String> {
        let network = self.names.network(self.of.key.scope);
        let (source, may) = (self.of.key.client, self.of.source_may_send);
        may.then(|| format!("{source} lies in the address space of {network}"))
    }

    /// The security rule that decided.
    fn security(&self) -> Option<String> {
        let priority = self.of.security?;
        let (rule, group) = self.guard.as_ref()?.rule(priority);
        Some(format!("rule {rule} (priority {priority}) of network security group {group}"))
    }

    /// The rule that took the port, as clients see it.
    fn rule_view(&self) -> Option<&Rule> {
        self.of.rule?;
        let key = self.of.flow.map_or(self.of.key, |session| session.key);
        let of_protocol = |rule: &&Rule| rule.protocol == key.protocol.into();
        let rules = || self.rules.iter().filter(of_protocol);
        let named = rules().find(|rule| rule.frontend_port == key.endpoint_port);
        named.or_else(|| rules().find(|rule| rule.frontend_port == 0))
    }

    fn rule_name(&self) -> Option<String> {
        self.rule_view().map(|rule| rule.name.clone())
    }

    fn rule(&self) -> Option<String> {
        let (rule, choice) = (self.rule_view()?, self.of.rule?);
        let port = match rule.frontend_port {
            0 => "every port".to_owned(),
            port => format!("port {port}"),
        };
        let open = rule.backends.iter().filter(|backend| backend.takes_flows).count();
        let (name, protocol, backends) = (&rule.name, rule.protocol, choice.backends);
        let (to, idle) = (choice.backend_port, rule.idle_timeout_seconds);
        Some(format!(
            "rule {name} takes {protocol} {port}, to port {to}; {open} of {backends} backends take \
            new flows; idle for {idle} s at most"
        ))
    }

    /// What a probe says of the backends, where they are why there is none.
    fn probe(&self) -> Option<Decision> {
        let lacks = self.of.outcome == Err(DropReason::NoHealthyBackend);
        let rule = self.rule_view().filter(|_| lacks)?;
        let asks = rule.probe.as_ref()?;
        let backends = rule.backends.iter().map(|backend| {
            let address = backend.address;
            if backend.admin_state == AdminState::Down.name() {
                return format!("{address} is Down by its administrator");
            }
            let Some(probe) = &backend.probe else { return format!("{address} is not known") };
            let (state, seconds) = (&probe.state, probe.seconds);
            let error = probe.last_error.as_ref().filter(|_| state == "down");
            let error = error.map_or_else(String::new, |error| format!(": {error}"));
            format!("{address} is {state} for {seconds:.1} s{error}")
        });
        let backends: Vec<String> = backends.collect();
        let (name, protocol, port) = (&asks.name, &asks.protocol, asks.port);
        let sentence = format!("{name} asks {protocol} {port}; {}", backends.join("; "));
        Some(decision("probe", Judgement::Refused, sentence))
    }

    fn backend(&self) -> Option<String> {
        let address = self.of.backend?.address;
        let by = match self.of.rule?.persistence {
            _ if self.of.flow.is_some() => "as when the flow opened",
            Persistence::None => "chosen by the hash of link id and tuple",
            Persistence::SourceIp => "chosen by the hash of link id and addresses",
            Persistence::SourceIpProtocol => {
                "chosen by the hash of link id, addresses and protocol"
            }
        };
        Some(format!("{address}, {by}"))
    }

    fn nat_ip(&self) -> Option<String> {
        let nat = self.of.nat?;
        let which = match nat.port {
            Some(port) => format!("port {port} of {} is leased", nat.nat_ip),
            None => format!("{} lends the port", nat.nat_ip),
        };
        let backend = self.of.backend?.address;
        Some(format!("{which}; {} of {PORTS_PER_POOL} are free towards {backend}", nat.free))
    }

    fn next_hop(&self) -> Option<Decision> {
        let choice = self.of.next_hop?;
        let address = choice.next_hop.address;
        let Some(hop) = choice.hop else {
            let sentence = format!("{address} has not answered yet: the packet waits, adit asks");
            return Some(decision("next_hop", Judgement::Waits, sentence));
        };
        let plan = self.snapshot.devices().get(hop.device.slot()).and_then(Option::as_ref);
        let device = plan.map_or("a device that is gone", |plan| plan.name.as_str());
        let sentence = format!("{address} answers as {} on {device}", hop.mac);
        Some(decision("next_hop", Judgement::Passes, sentence))
    }
}

fn decision(about: &str, judgement: Judgement, sentence: String) -> Decision {
    Decision { about: about.to_owned(), judgement, sentence }
}

/// Which decision a refusal is.
fn about(reason: DropReason) -> &'static str {
    match reason {
        DropReason::MartianSource | DropReason::Land | DropReason::SourceSpoofed => "source",
        DropReason::PeeringNotConnected | DropReason::PeeringNotTransitive => "peering",
        DropReason::MartianDestination | DropReason::NoEndpoint => "destination",
        DropReason::ConnectionPending
        | DropReason::ConnectionRejected
        | DropReason::ConnectionDisconnected => "approval",
        DropReason::SecurityRuleDenied => "security",
        DropReason::NoRule | DropReason::PortZero => "rule",
        DropReason::NoBackend
        | DropReason::NoHealthyBackend
        | DropReason::BackendRemoved
        | DropReason::BackendDrained
        | DropReason::BackendMismatch => "backend",
        DropReason::FlowTableFull => "room",
        DropReason::NatPortsExhausted | DropReason::NatIpRemoved => "nat_ip",
        DropReason::DeviceDown => "device",
        DropReason::ClientUnknown => "next_hop",
        _ => "flow",
    }
}
