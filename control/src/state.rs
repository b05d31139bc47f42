//! What lives longer than one configuration: the connections of endpoints, and the numbers that the
//! data path knows virtual networks and devices by.
//!
//! A connection keeps its link id and its state for as long as endpoint, virtual network, address
//! and service stay what they are; a link id is never given out twice (I11 rests on that). A
//! virtual network keeps its number for the whole run, even while it is absent, so that no flow, no
//! lease and no learned neighbor of one can be taken for another's (I1). A device keeps its slot;
//! slots of removed devices are used again only when all others are. Everything here is a value: a
//! reload makes the next [`Registry`] beside the old one and may throw it away.

mod departure;
mod drain;
mod health;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::limits::DEVICES_MAX;
use dataplane::snapshot::{DevicePlan, Gate};
use dataplane::types::{LinkId, ScopeId};
use serde::{Deserialize, Serialize};

pub use departure::{Departure, Departures, Stage};
pub use drain::{Drain, Drains};
pub use health::{Health, Probed};

use crate::config::{Config, Name, PrivateEndpoint};

/// The first link id of a run; Azure's have this form.
const LINK_FIRST: u32 = 0x2000_0001;

/// State of a connection between an endpoint and a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionState {
    /// Traffic passes.
    Approved,
    /// Waits for the provider.
    Pending,
    /// The provider said no.
    Rejected,
    /// The provider removed the connection.
    Disconnected,
}

/// What a provider can decide about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Let traffic pass.
    Approve,
    /// Let none pass.
    Reject,
}

/// A decision that is not possible in the connection's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impossible;

impl ConnectionState {
    /// All of them.
    pub const ALL: [ConnectionState; 4] = [
        ConnectionState::Approved,
        ConnectionState::Pending,
        ConnectionState::Rejected,
        ConnectionState::Disconnected,
    ];

    /// The state after a decision; the same state if it is already as decided.
    ///
    /// # Errors
    /// The connection was removed; only its endpoint's owner can act, by making a new endpoint.
    pub fn decide(self, decision: Decision) -> Result<ConnectionState, Impossible> {
        match (self, decision) {
            (ConnectionState::Disconnected, _) => Err(Impossible),
            (_, Decision::Approve) => Ok(ConnectionState::Approved),
            (_, Decision::Reject) => Ok(ConnectionState::Rejected),
        }
    }

    /// Its name, as in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ConnectionState::Approved => "Approved",
            ConnectionState::Pending => "Pending",
            ConnectionState::Rejected => "Rejected",
            ConnectionState::Disconnected => "Disconnected",
        }
    }

    /// As the data path has it.
    #[must_use]
    pub fn gate(self) -> Gate {
        match self {
            ConnectionState::Approved => Gate::Approved,
            ConnectionState::Pending => Gate::Pending,
            ConnectionState::Rejected => Gate::Rejected,
            ConnectionState::Disconnected => Gate::Disconnected,
        }
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What makes a connection the one it is. If any of it changes, it is another connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    virtual_network: Name,
    address: IpAddr,
    /// Of an endpoint of both families, that of IPv6.
    #[serde(default)]
    second_address: Option<IpAddr>,
    service: Name,
}

/// A connection between an endpoint and a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its id.
    #[serde(with = "link")]
    pub link: LinkId,
    /// Its state.
    pub state: ConnectionState,
    /// Why it is in that state, in the words of whoever decided.
    pub description: String,
    /// What the consumer should do, in the same words.
    pub actions_required: String,
    identity: Identity,
    configured: Option<ConnectionState>,
}

impl Connection {
    /// The service that it leads to.
    #[must_use]
    pub fn service(&self) -> &Name {
        &self.identity.service
    }

    /// The same in a state, for a reason.
    #[must_use]
    pub fn with(&self, state: ConnectionState, description: String) -> Connection {
        Connection { state, description, ..self.clone() }
    }
}

/// Link ids as numbers.
mod link {
    use dataplane::types::LinkId;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(link: &LinkId, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(link.0)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<LinkId, D::Error> {
        u32::deserialize(from).map(LinkId)
    }
}

/// Something that a run has no more numbers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted(pub &'static str);

/// Everything of one run that outlives a configuration.
#[derive(Clone, Debug)]
pub struct Registry {
    networks: Vec<Name>,
    network_numbers: HashMap<Name, u16>,
    devices: Vec<Option<DevicePlan>>,
    /// Shared with the registries before and after, until one is decided about.
    connections: BTreeMap<Name, Arc<Connection>>,
    departures: Departures,
    health: Arc<Health>,
    drains: Drains,
    /// The next link id, or 0 when all are used.
    next_link: u32,
}

impl Default for Registry {
    fn default() -> Self {
        Registry {
            networks: Vec::new(),
            network_numbers: HashMap::new(),
            devices: Vec::new(),
            connections: BTreeMap::new(),
            departures: Departures::default(),
            health: Arc::default(),
            drains: Drains::default(),
            next_link: LINK_FIRST,
        }
    }
}

impl Registry {
    /// The registry that goes with `config`, given what this one knows.
    ///
    /// # Errors
    /// The run has used up its numbers for something.
    pub fn next(&self, config: &Config) -> Result<Registry, Exhausted> {
        let mut next = self.clone();
        for network in &config.virtual_networks {
            next.number_network(&network.name)?;
        }
        next.place_devices(config)?;
        next.connections.clear();
        for endpoint in &config.endpoints {
            let connection = self.connect(config, endpoint, &mut next.next_link)?;
            next.connections.insert(endpoint.name.clone(), connection);
        }
        Ok(next)
    }

    /// The connection of an endpoint that `config` has: the one that it has already, if it is the
    /// same; else a new one, which takes a link id.
    ///
    /// # Errors
    /// As [`Registry::next`].
    pub fn connect(
        &self,
        config: &Config,
        endpoint: &PrivateEndpoint,
        link_counter: &mut u32,
    ) -> Result<Arc<Connection>, Exhausted> {
        let network = config.virtual_networks.get(endpoint.virtual_network);
        let service = config.services.get(endpoint.service);
        let (Some(network), Some(service)) = (network, service) else {
            return Err(Exhausted("names"));
        };
        let mut addresses = endpoint.addresses.ips();
        let identity = Identity {
            virtual_network: network.name.clone(),
            address: addresses.next().ok_or(Exhausted("names"))?,
            second_address: addresses.next(),
            service: service.name.clone(),
        };
        let old = self.shared(&endpoint.name).filter(|old| old.identity == identity);
        if let Some(old) = old.filter(|old| old.configured == endpoint.connection_state) {
            return Ok(Arc::clone(old));
        }
        let link = match old {
            Some(old) => old.link,
            None => next_link(link_counter)?,
        };
        let description = match endpoint.connection_state {
            Some(_) => "Set by the configuration",
            None if service.auto_approve => "Auto-approved",
            None => "Waits for approval",
        };
        Ok(Arc::new(Connection {
            link,
            state: config.initial_state(endpoint),
            description: description.to_owned(),
            actions_required: "None".to_owned(),
            identity,
            configured: endpoint.connection_state,
        }))
    }

    /// The connection of an endpoint is this from now on, or there is none; and link ids are given
    /// out from here on.
    pub fn put(&mut self, endpoint: &Name, connection: Option<Arc<Connection>>, link_counter: u32) {
        match connection {
            Some(connection) => drop(self.connections.insert(endpoint.clone(), connection)),
            None => drop(self.connections.remove(endpoint)),
        }
        self.next_link = link_counter;
    }

    /// The same with the NAT IPs that leave, the backends that drain and those that are healthy,
    /// when `new` takes the place of `old`; the time is that since the start of the run.
    #[must_use]
    pub fn replace(&self, old: &Config, new: &Config, now: Duration) -> Registry {
        let departures = self.departures.next(old, new, now);
        let health = Arc::new(self.health.next(old, new));
        let drains = self.drains.next(old, new, now);
        Registry { departures, health, drains, ..self.clone() }
    }

    /// The same with other NAT IPs that leave.
    #[must_use]
    pub fn with_departures(&self, departures: Departures) -> Registry {
        Registry { departures, ..self.clone() }
    }

    /// The NAT IPs that leave.
    #[must_use]
    pub fn departures(&self) -> &Departures {
        &self.departures
    }

    /// The same with other backends that drain.
    #[must_use]
    pub fn with_drains(&self, drains: Drains) -> Registry {
        Registry { drains, ..self.clone() }
    }

    /// The backends that drain.
    #[must_use]
    pub fn drains(&self) -> &Drains {
        &self.drains
    }

    /// The same with other verdicts of probes.
    #[must_use]
    pub fn with_health(&self, health: Health) -> Registry {
        Registry { health: Arc::new(health), ..self.clone() }
    }

    /// What probes say of backends.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The number of a virtual network, if it was ever configured.
    #[must_use]
    pub fn scope(&self, network: &Name) -> Option<ScopeId> {
        self.network_numbers.get(network).map(|&number| ScopeId(number))
    }

    /// The name behind a number.
    #[must_use]
    pub fn network(&self, scope: ScopeId) -> Option<&Name> {
        self.networks.get(scope.slot())
    }

    /// How many virtual networks have a number.
    #[must_use]
    pub fn scope_count(&self) -> usize {
        self.networks.len()
    }

    /// The device slots.
    #[must_use]
    pub fn devices(&self) -> &[Option<DevicePlan>] {
        &self.devices
    }

    /// The connection of an endpoint.
    #[must_use]
    pub fn connection(&self, endpoint: &Name) -> Option<&Connection> {
        self.connections.get(endpoint).map(|connection| &**connection)
    }

    /// The same, to be shared.
    #[must_use]
    pub fn shared(&self, endpoint: &Name) -> Option<&Arc<Connection>> {
        self.connections.get(endpoint)
    }

    /// Every endpoint with the id of its connection.
    pub fn connections(&self) -> impl Iterator<Item = (&Name, LinkId)> {
        self.connections.iter().map(|(name, connection)| (name, connection.link))
    }

    /// Every endpoint with its connection.
    pub fn all(&self) -> impl Iterator<Item = (&Name, &Connection)> {
        self.connections.iter().map(|(name, connection)| (name, &**connection))
    }

    /// Connections that are not as `old` has them, in the order of their names; `None` for those
    /// that are gone. One that both share is not looked into, so that this is quick among many.
    #[must_use]
    pub fn changes<'r>(&'r self, old: &'r Registry) -> Vec<(&'r Name, Option<&'r Connection>)> {
        let mut before = old.connections.iter().peekable();
        let mut changes = Vec::new();
        for (name, now) in &self.connections {
            while let Some((gone, _)) = before.next_if(|(known, _)| *known < name) {
                changes.push((gone, None));
            }
            let then = before.next_if(|(known, _)| *known == name);
            if then.is_none_or(|(_, then)| !Arc::ptr_eq(then, now) && then != now) {
                changes.push((name, Some(&**now)));
            }
        }
        changes.extend(before.map(|(gone, _)| (gone, None)));
        changes
    }

    /// The next link id, or 0 when all are used.
    #[must_use]
    pub fn link_counter(&self) -> u32 {
        self.next_link
    }

    /// What an earlier run knew: connections, and from where on link ids were not given out.
    #[must_use]
    pub fn restored(connections: Vec<(Name, Connection)>, next_link: u32) -> Registry {
        let connections = connections.into_iter();
        let connections = connections.map(|(name, one)| (name, Arc::new(one))).collect();
        Registry { connections, next_link, ..Registry::default() }
    }

    /// Says what the consumer should do; does nothing if there is no such endpoint.
    pub fn set_actions(&mut self, endpoint: &Name, actions_required: String) {
        if let Some(connection) = self.connections.get_mut(endpoint).map(Arc::make_mut) {
            connection.actions_required = actions_required;
        }
    }

    /// Puts a connection in a state; does nothing if there is no such endpoint.
    pub fn set_state(&mut self, endpoint: &Name, state: ConnectionState, description: String) {
        if let Some(connection) = self.connections.get_mut(endpoint).map(Arc::make_mut) {
            connection.state = state;
            connection.description = description;
        }
    }

    fn number_network(&mut self, name: &Name) -> Result<(), Exhausted> {
        if self.network_numbers.contains_key(name) {
            return Ok(());
        }
        let number = u16::try_from(self.networks.len()).ok().filter(|&number| number < u16::MAX);
        let number = number.ok_or(Exhausted("virtual networks"))?;
        self.networks.push(name.clone());
        self.network_numbers.insert(name.clone(), number);
        Ok(())
    }

    fn place_devices(&mut self, config: &Config) -> Result<(), Exhausted> {
        let mut wanted = Vec::new();
        for device in &config.devices {
            let network = config.virtual_networks.get(device.virtual_network);
            let scope = network.and_then(|network| self.scope(&network.name));
            wanted.push(DevicePlan {
                name: device.name.as_str().to_owned(),
                kind: device.kind,
                namespace: device.network_namespace.clone(),
                scope: scope.ok_or(Exhausted("virtual networks"))?,
            });
        }
        // A slot that becomes free now is not used again by this change: frames that are on their
        // way between workers still carry its number.
        let holes = self.devices.iter().enumerate().filter(|(_, slot)| slot.is_none());
        let mut holes = holes.map(|(at, _)| at).collect::<Vec<_>>().into_iter();
        for slot in &mut self.devices {
            match wanted.iter().position(|plan| slot.as_ref() == Some(plan)) {
                Some(at) => drop(wanted.swap_remove(at)),
                None => *slot = None,
            }
        }
        // In the order of the file, however they were kept above.
        wanted.sort_by_key(|plan| {
            config.devices.iter().position(|device| {
                device.name.as_str() == plan.name && device.network_namespace == plan.namespace
            })
        });
        for plan in wanted {
            let free = if self.devices.len() < DEVICES_MAX {
                self.devices.push(None);
                self.devices.last_mut()
            } else {
                holes.next().and_then(|at| self.devices.get_mut(at))
            };
            *free.ok_or(Exhausted("devices"))? = Some(plan);
        }
        Ok(())
    }
}

fn next_link(counter: &mut u32) -> Result<LinkId, Exhausted> {
    if *counter == 0 {
        return Err(Exhausted("link ids"));
    }
    let link = LinkId(*counter);
    *counter = counter.wrapping_add(1);
    Ok(link)
}

#[cfg(test)]
mod tests;
