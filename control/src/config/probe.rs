//! What health probes ask, how often, and what their verdicts mean for a pool.

use std::time::Duration;

use super::name::Name;

/// A health probe of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name, unique among these in the load balancer.
    pub name: Name,
    /// What it asks.
    pub protocol: ProbeProtocol,
    /// The port of the backends that it asks, not 0.
    pub port: u16,
    /// The path that it asks for; `/` for TCP, which asks for none.
    pub request_path: String,
    /// Time between two attempts at one backend, 100 ms to a day.
    pub interval: Duration,
    /// Attempts in a row that change a verdict, 1 to 100.
    pub threshold: u32,
    /// What becomes of new flows when no backend is healthy.
    pub no_healthy_backends: NoHealthyBackends,
    /// Whether attempts begin with a PROXY header, if it is said.
    pub send_proxy_protocol: Option<bool>,
}

impl Probe {
    /// How long an attempt may take: as long as Azure's.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.interval.min(Duration::from_secs(30))
    }
}

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeProtocol {
    /// Whether a connection opens.
    Tcp,
    /// Whether a request is answered with 200.
    Http,
    /// The same over TLS, whatever the certificate.
    Https,
}

impl ProbeProtocol {
    /// Protocols by name.
    pub const WORDS: &'static [(&'static str, ProbeProtocol)] = &[
        ("Tcp", ProbeProtocol::Tcp),
        ("Http", ProbeProtocol::Http),
        ("Https", ProbeProtocol::Https),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let word = Self::WORDS.iter().find(|(_, protocol)| *protocol == self);
        word.map_or("Tcp", |(name, _)| name)
    }
}

/// What becomes of new flows when no backend of a pool is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoHealthyBackends {
    /// They are refused.
    #[default]
    AllProbedDown,
    /// They are spread as if all were healthy.
    AllProbedUp,
}

impl NoHealthyBackends {
    /// Behaviours by name.
    pub const WORDS: &'static [(&'static str, NoHealthyBackends)] = &[
        ("AllProbedDown", NoHealthyBackends::AllProbedDown),
        ("AllProbedUp", NoHealthyBackends::AllProbedUp),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let word = Self::WORDS.iter().find(|(_, behaviour)| *behaviour == self);
        word.map_or("AllProbedDown", |(name, _)| name)
    }
}
