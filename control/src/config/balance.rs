//! What load-balancing rules say of flows: which they take, how they spread and how long they live.

use std::net::IpAddr;
use std::time::Duration;

use dataplane::snapshot::{Balance, Persistence, UdpTracking};
use dataplane::types::Protocol;
use serde::{Deserialize, Serialize};

use super::name::Name;

/// The heaviest that a backend can weigh.
pub(super) const WEIGHT_MAX: u16 = 100;

/// A backend pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name, unique in the load balancer.
    pub name: Name,
    /// Its backends, all with different addresses.
    pub backends: Vec<PoolBackend>,
    /// How long flows go on of a backend that its administrator takes down; `None`: until they end.
    pub drain: Option<Duration>,
}

impl Pool {
    /// Addresses of the backends, in the order of the file.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.backends.iter().map(|backend| backend.address)
    }
}

/// A backend of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolBackend {
    /// Its address, in the provider's virtual network.
    pub address: IpAddr,
    /// Its share of new flows, 1 to 100.
    pub weight: u16,
    /// What its administrator says.
    pub admin_state: AdminState,
}

/// What an administrator says of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminState {
    /// Nothing: its health decides.
    #[default]
    None,
    /// It takes new flows, whatever its health.
    Up,
    /// It takes no new flows, whatever its health. Those of TCP go on.
    Down,
}

impl AdminState {
    /// States by name.
    pub const WORDS: &'static [(&'static str, AdminState)] =
        &[("None", AdminState::None), ("Up", AdminState::Up), ("Down", AdminState::Down)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let word = Self::WORDS.iter().find(|(_, state)| *state == self);
        word.map_or("None", |(name, _)| name)
    }
}

/// Which packets a rule takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleProtocol {
    /// TCP to one port.
    Tcp,
    /// UDP to one port.
    Udp,
    /// Both, to every port that no other rule has (HA ports).
    All,
}

impl RuleProtocol {
    /// The protocols.
    #[must_use]
    pub fn each(self) -> &'static [Protocol] {
        match self {
            RuleProtocol::Tcp => &[Protocol::Tcp],
            RuleProtocol::Udp => &[Protocol::Udp],
            RuleProtocol::All => &Protocol::ALL,
        }
    }
}

/// A load-balancing rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique in the load balancer.
    pub name: Name,
    /// Which packets it takes.
    pub protocol: RuleProtocol,
    /// The port that consumers dial; 0, which is all of them, exactly if it takes all protocols.
    pub frontend_port: u16,
    /// The port that backends listen on; 0, which is the one that was dialled, as before.
    pub backend_port: u16,
    /// The frontend's address, if it floats: packets to backends are addressed to it, and to the
    /// port that was dialled.
    pub floating: Option<IpAddr>,
    /// Position of its pool in the load balancer.
    pub pool: usize,
    /// Position of its probe in the load balancer.
    pub probe: Option<usize>,
    /// What of a client's packet decides which backend serves it.
    pub persistence: Persistence,
    /// Whether UDP flows stay with their backend.
    pub udp_tracking: UdpTracking,
    /// How long its flows live.
    pub lifetime: Lifetime,
}

impl Rule {
    /// How it spreads flows over those of a pool that are healthy.
    pub(super) fn balance(
        &self,
        pool: &Pool,
        is_healthy: impl Fn(&PoolBackend) -> bool,
    ) -> Balance {
        let weight = |backend: &PoolBackend| match backend.admin_state {
            AdminState::None if is_healthy(backend) => backend.weight,
            AdminState::Up => backend.weight,
            AdminState::None | AdminState::Down => 0,
        };
        Balance {
            persistence: self.persistence,
            udp_tracking: self.udp_tracking,
            weights: pool.backends.iter().map(weight).collect(),
            drained: Vec::new(),
        }
    }
}

/// An inbound NAT rule: a port that leads to one backend.
#[derive(Clone, Debug)]
pub struct InboundNatRule {
    /// Its name, unique among these in the load balancer.
    pub name: Name,
    /// Which packets it takes.
    pub protocol: Protocol,
    /// The port that consumers dial, not 0.
    pub frontend_port: u16,
    /// The backend's address.
    pub backend_address: IpAddr,
    /// The port that it listens on, not 0.
    pub backend_port: u16,
    /// The frontend's address, if it floats.
    pub floating: Option<IpAddr>,
    /// How long its flows live.
    pub lifetime: Lifetime,
}

/// What a rule says of the life of its flows, which goes before what the service says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// How long an established TCP flow may idle: 4 to 30 minutes.
    pub idle_timeout: Option<Duration>,
    /// Whether both sides are reset when adit ends a flow.
    pub tcp_reset: Option<bool>,
}
