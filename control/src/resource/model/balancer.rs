//! Load balancers and their parts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Head, SubnetKey};
use crate::config::{AdminState, NoHealthyBackends, ProbeProtocol};

/// A Standard load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balancer {
    /// What all have.
    pub head: Head,
    /// Its frontends, all in one virtual network.
    pub frontends: Vec<Frontend>,
    /// Its backend pools.
    pub pools: Vec<Pool>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// Its health probes.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// Its inbound NAT rules.
    #[serde(default)]
    pub nat_rules: Vec<NatRule>,
}

impl Balancer {
    /// The frontend of a name.
    #[must_use]
    pub fn frontend(&self, name: &str) -> Option<&Frontend> {
        self.frontends.iter().find(|frontend| frontend.name.eq_ignore_ascii_case(name))
    }

    /// The address of a frontend, if a rule of it floats.
    #[must_use]
    pub fn floating(&self, frontend: &str) -> Option<IpAddr> {
        let here = |name: &String| name.eq_ignore_ascii_case(frontend);
        let floats = self.rules.iter().any(|rule| rule.floats && here(&rule.frontend))
            || self.nat_rules.iter().any(|rule| rule.floats && here(&rule.frontend));
        self.frontend(frontend).filter(|_| floats)?.address
    }

    /// The pool of a name.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name.eq_ignore_ascii_case(name))
    }

    /// The inbound NAT rule of a name.
    #[must_use]
    pub fn nat_rule(&self, name: &str) -> Option<&NatRule> {
        self.nat_rules.iter().find(|rule| rule.name.eq_ignore_ascii_case(name))
    }
}

/// A frontend of a load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frontend {
    /// Its name.
    pub name: String,
    /// Its subnet and address; the file's have no address of their own.
    pub subnet: SubnetKey,
    /// Its address, if it has one.
    pub address: Option<IpAddr>,
    /// Whether the request named it.
    pub is_static: bool,
}

/// A backend pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its backends; no two have the same address.
    pub backends: Vec<Backend>,
    /// How many seconds flows go on of a backend that is taken down; `None`: until they end.
    #[serde(default)]
    pub drain_seconds: Option<u32>,
}

/// A backend of a pool. It was once kept as a pair of name and address, which is still read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// What its administrator says.
    #[serde(default)]
    pub admin_state: AdminState,
}

/// A load-balancing rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Name of its frontend.
    pub frontend: String,
    /// Name of its pool.
    pub pool: String,
    /// Which packets it takes.
    pub protocol: Transport,
    /// What of a client's packet decides which backend serves it.
    pub distribution: Distribution,
    /// The port that consumers dial.
    pub frontend_port: u16,
    /// The port that backends listen on.
    pub backend_port: u16,
    /// 4 to 30.
    pub idle_minutes: Option<u8>,
    /// Whether both sides are reset when adit ends a flow.
    pub tcp_reset: Option<bool>,
    /// Name of its probe.
    #[serde(default)]
    pub probe: Option<String>,
    /// Whether UDP flows stay with their backend.
    #[serde(default)]
    pub udp_tracking: bool,
    /// Whether its frontend floats: packets to backends are addressed to it.
    #[serde(default)]
    pub floats: bool,
    /// Shown as it was said: backends of adit open no connections through a load balancer.
    #[serde(default)]
    pub outbound_snat_disabled: bool,
}

/// Protocols of a rule, by Azure's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// TCP to one port.
    Tcp,
    /// UDP to one port.
    Udp,
    /// Both, to all ports that no other rule has.
    All,
}

impl Transport {
    /// All of them, by name.
    pub const WORDS: &[(&str, Transport)] =
        &[("Tcp", Transport::Tcp), ("Udp", Transport::Udp), ("All", Transport::All)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "Tcp",
            Transport::Udp => "Udp",
            Transport::All => "All",
        }
    }
}

/// How flows spread, by Azure's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distribution {
    /// Each by itself.
    Default,
    /// All of a client together.
    SourceIP,
    /// All of a client and protocol together.
    SourceIPProtocol,
}

impl Distribution {
    /// All of them, by name.
    pub const WORDS: &[(&str, Distribution)] = &[
        ("Default", Distribution::Default),
        ("SourceIP", Distribution::SourceIP),
        ("SourceIPProtocol", Distribution::SourceIPProtocol),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Distribution::Default => "Default",
            Distribution::SourceIP => "SourceIP",
            Distribution::SourceIPProtocol => "SourceIPProtocol",
        }
    }
}

/// A health probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Its name.
    pub name: String,
    /// What it asks.
    pub protocol: ProbeProtocol,
    /// The port of the backends that it asks, not 0.
    pub port: u16,
    /// Time between two attempts, in thousandths of a second: the file's may be short.
    pub interval_ms: u64,
    /// `numberOfProbes`, which has no effect, as in Azure.
    pub number_of_probes: Option<u32>,
    /// Attempts in a row that change a verdict.
    pub threshold: u32,
    /// The path that it asks for; none of TCP.
    pub request_path: Option<String>,
    /// What becomes of new flows when no backend is healthy.
    pub no_healthy_backends: NoHealthyBackends,
}

/// An inbound NAT rule: a port of a range for each backend of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NatRule {
    /// Its name.
    pub name: String,
    /// Name of its frontend.
    pub frontend: String,
    /// Name of its pool; the file's rules have none, but one backend.
    pub pool: Option<String>,
    /// Which packets it takes: never all.
    pub protocol: Transport,
    /// The lowest port that consumers dial.
    pub first_port: u16,
    /// The highest.
    pub last_port: u16,
    /// The port that backends listen on.
    pub backend_port: u16,
    /// Whether its frontend floats.
    #[serde(default)]
    pub floats: bool,
    /// Which backend has which port. One keeps its own for as long as it is in the pool.
    pub mapping: Vec<(IpAddr, u16)>,
    /// 4 to 30.
    pub idle_minutes: Option<u8>,
    /// Whether both sides are reset when adit ends a flow.
    pub tcp_reset: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_kept_is_read() {
        let kept = r#"{"name":"p","backends":[["b","10.1.0.9"]]}"#;
        let pool: Pool = serde_json::from_str(kept).unwrap();
        let address = IpAddr::from([10, 1, 0, 9]);
        let backend = Backend { name: "b".to_owned(), address, admin_state: AdminState::None };
        assert_eq!((pool.backends, pool.drain_seconds), (vec![backend], None));
        let rule = r#"{"name":"r","frontend":"f","pool":"p","protocol":"Tcp",
            "distribution":"Default","frontend_port":1,"backend_port":2,"idle_minutes":null,
            "tcp_reset":null}"#;
        let rule: Rule = serde_json::from_str(rule).unwrap();
        assert_eq!((rule.probe, rule.udp_tracking), (None, false));
    }
}
