//! Network security groups, and application security groups, which their rules may name.

use serde::{Deserialize, Serialize};

use super::Head;
use crate::resource::Key;

/// A network security group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// What all have.
    pub head: Head,
    /// Its own rules; no two have the same priority and direction.
    pub rules: Vec<SecurityRule>,
}

impl SecurityGroup {
    /// The rule of a name.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&SecurityRule> {
        self.rules.iter().find(|rule| rule.name.eq_ignore_ascii_case(name))
    }
}

/// A rule of a network security group. Its texts are those of the request, and valid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SecurityRule {
    /// Its name.
    pub name: String,
    /// Words for people.
    pub description: Option<String>,
    /// 100 to 4096: lower ones are asked first.
    pub priority: u16,
    /// Which way it looks.
    pub direction: Direction,
    /// Whether it lets in what it matches.
    pub allows: bool,
    /// `Tcp`, `Udp`, `Icmp`, `Esp`, `Ah` or `*`.
    pub protocol: String,
    /// Where clients may be.
    pub sources: Parties,
    /// Where the endpoint may be.
    pub destinations: Parties,
    /// From which ports clients may come: shown, and read as all, as in Azure.
    pub source_ports: Vec<String>,
    /// Which ports may be dialled: `443`, `8000-8100` or `*`.
    pub ports: Vec<String>,
}

/// Which way a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// At who opens connections to endpoints.
    Inbound,
    /// At connections that endpoints open, which are none: it is kept, and has no effect.
    Outbound,
}

impl Direction {
    /// Both, by name.
    pub const WORDS: &[(&str, Direction)] =
        &[("Inbound", Direction::Inbound), ("Outbound", Direction::Outbound)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Direction::Inbound => "Inbound",
            Direction::Outbound => "Outbound",
        }
    }
}

/// One side of a rule: addresses, or application security groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Parties {
    /// Prefixes, addresses and service tags.
    Addresses(Vec<String>),
    /// Members of groups.
    Groups(Vec<Key>),
}

/// An application security group: a name for private endpoints of one virtual network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppGroup {
    /// What all have.
    pub head: Head,
}
