//! What health probes ask, how often, and what their verdicts mean for a pool.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::name::Name;

/// Azure's least interval, in seconds, and the longest that makes sense.
pub(crate) const INTERVAL_MIN: u64 = 5;
pub(crate) const INTERVAL_MAX: u64 = 24 * 3600;

/// Azure's interval unless somebody says otherwise.
pub(crate) const INTERVAL_DEFAULT: Duration = Duration::from_secs(15);

/// The most attempts in a row that change a verdict.
pub(crate) const THRESHOLD_MAX: u32 = 100;

/// Bytes of a path at most.
const PATH_BYTES_MAX: usize = 2_048;

/// Ports that Azure's HTTP and HTTPS probes refuse.
pub(crate) const HTTP_PORTS_REFUSED: [u16; 9] = [19, 21, 25, 70, 110, 119, 143, 220, 993];

/// What is wrong with the path of a request, if anything.
pub(crate) fn wrong_path(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return Some(format!("{path:?} does not begin with /"));
    }
    if path.len() > PATH_BYTES_MAX {
        return Some(format!("the path has more than {PATH_BYTES_MAX} bytes"));
    }
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    (!is_plain).then(|| format!("{path:?} has a character that must be percent-encoded"))
}

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
