//! How flows live and end by default: as with the private link of Azure, AWS or Google Cloud.
//!
//! A service names a profile and may set each value by itself. Where the values come from, and what
//! a profile does not cover, is in docs/decisions/0005-how-flows-end.md.

use std::time::Duration;

use dataplane::snapshot::{Ending, Refusal, Timeouts};
use dataplane::types::{ProxyDialect, Tick};

use super::balance::Lifetime;

/// Whose behaviour a service has where it does not say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Azure Private Link.
    #[default]
    Azure,
    /// AWS PrivateLink in front of a network load balancer.
    Aws,
    /// Google Cloud Private Service Connect.
    Gcp,
}

/// How flows of a service live and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSettings {
    /// Silence after which a TCP flow ends after its handshake.
    pub established: Duration,
    /// The same before its handshake is done.
    pub half_open: Duration,
    /// The same after both FINs or a reset.
    pub closing: Duration,
    /// Silence after which a UDP flow ends.
    pub udp: Duration,
    /// How long a port rests after its flow.
    pub hold_down: Duration,
    /// Whether both sides of an established TCP flow that adit ends are reset.
    pub tcp_reset: bool,
    /// What clients are told whose TCP segments are refused.
    pub refusal: Refusal,
}

impl Profile {
    /// Profiles by name.
    pub(super) const WORDS: &'static [(&'static str, Profile)] =
        &[("azure", Profile::Azure), ("aws", Profile::Aws), ("gcp", Profile::Gcp)];

    /// What a service of this profile has unless it says otherwise.
    #[must_use]
    pub fn settings(self) -> FlowSettings {
        let seconds = Duration::from_secs;
        let azure = FlowSettings {
            established: seconds(300),
            half_open: seconds(30),
            closing: seconds(30),
            udp: seconds(240),
            hold_down: Duration::ZERO,
            tcp_reset: true,
            refusal: Refusal::Silence,
        };
        match self {
            Profile::Azure => azure,
            Profile::Aws => FlowSettings {
                established: seconds(350),
                udp: seconds(120),
                tcp_reset: false,
                refusal: Refusal::Reset,
                ..azure
            },
            Profile::Gcp => FlowSettings {
                established: seconds(1200),
                udp: seconds(30),
                hold_down: seconds(120),
                tcp_reset: false,
                ..azure
            },
        }
    }
}

impl Profile {
    /// Whose PROXY headers backends get if a service wants those of its profile.
    #[must_use]
    pub fn dialect(self) -> ProxyDialect {
        match self {
            Profile::Azure => ProxyDialect::Azure,
            Profile::Aws => ProxyDialect::Aws,
            Profile::Gcp => ProxyDialect::Gcp,
        }
    }
}

impl FlowSettings {
    /// How long flows of a rule live; its own idle timeout goes before the service's.
    #[must_use]
    pub fn timeouts(&self, rule: &Lifetime) -> Timeouts {
        let established = rule.idle_timeout.unwrap_or(self.established);
        Timeouts::new(self.half_open, established, self.closing, self.udp)
    }

    /// What becomes of flows of a rule when they end; its own word on resets goes before the
    /// service's.
    #[must_use]
    pub fn ending(&self, rule: &Lifetime) -> Ending {
        let hold_down_ticks = match self.hold_down {
            Duration::ZERO => 0,
            duration => Tick::count(duration),
        };
        Ending { resets: rule.tcp_reset.unwrap_or(self.tcp_reset), hold_down_ticks }
    }
}

impl Default for FlowSettings {
    fn default() -> Self {
        Profile::default().settings()
    }
}
