//! What would become of a packet: each decision in the order in which it is made, up to the first
//! refusal.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Session;

/// See the module's documentation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// Whether the packet passes.
    pub passes: bool,
    /// The decisions, in order; the last one is the refusal if there is one.
    pub decisions: Vec<Decision>,
    /// Why it does not pass.
    pub refusal: Option<Refusal>,
    /// The private endpoint.
    pub endpoint: Option<String>,
    /// The private link service.
    pub service: Option<String>,
    /// The load-balancing rule.
    pub rule: Option<String>,
    /// The backend.
    pub backend: Option<IpAddr>,
    /// The NAT IP that stands for the client.
    pub nat_ip: Option<IpAddr>,
    /// Ports of it that are free towards the backend.
    pub free_ports: Option<u32>,
    /// The live flow that the packet belongs to.
    pub session: Option<Session>,
    /// The generation that judged.
    pub generation: u32,
    /// The worker that was asked: the one that owns the flow.
    pub worker: u8,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What about: `device`, `destination`, `flow`, `source`, `peering`, `approval`, `security`,
    /// `rule`, `backend`, `probe`, `room`, `nat_ip` or `next_hop`.
    pub about: String,
    /// How it turned out.
    pub judgement: Judgement,
    /// In a sentence.
    pub sentence: String,
}

/// How a decision turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// In favor of the packet.
    Passes,
    /// It must wait.
    Waits,
    /// Against it.
    Refused,
}

/// Why a packet does not pass, as the table of reasons has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Name of the counter under which it would be dropped.
    pub metric: String,
    /// What happens.
    pub sentence: String,
    /// What to do about it.
    pub cure: String,
    /// The document that asks for it.
    pub source: String,
}
