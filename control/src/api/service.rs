//! Private endpoints and services, what they carry, and the backends and ports behind them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Protocol;
use crate::state::ConnectionState;

/// A private endpoint and its connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// The consumer's virtual network.
    pub virtual_network: String,
    /// Its address there.
    pub private_ip_addresses: Vec<IpAddr>,
    /// The service that it leads to.
    pub private_link_service: String,
    /// State of the connection.
    pub connection_state: ConnectionState,
    /// Why the connection is in that state.
    pub description: String,
    /// What the consumer tells the provider.
    pub request_message: Option<String>,
    /// Id of the connection.
    pub link_id: u32,
    /// Flows that it has, those that only keep a port that rests included.
    pub flows: u32,
    /// How many it shall get whatever others have.
    pub flows_reserved: u32,
    /// How many it may have, if that is limited.
    pub flows_max: Option<u32>,
    /// Newcomers that were refused for want of room.
    pub refused: Refusals,
    /// What it carried since adit started (Azure's `PEBytesIn` and `PEBytesOut`).
    #[serde(default)]
    pub traffic: Traffic,
    /// The same by backend and protocol, where there was any.
    #[serde(default)]
    pub accounts: Vec<Account>,
}

/// Why newcomers of an endpoint were refused for want of room, and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusals {
    /// It had as many flows as it may have.
    pub endpoint_flows_max: u64,
    /// No NAT IP had a port left towards the backend.
    pub nat_ports_exhausted: u64,
    /// The worker's table was full.
    pub flow_table_full: u64,
    /// What was left is reserved for others.
    pub room_reserved: u64,
}

impl Refusals {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Refusals { endpoint_flows_max, nat_ports_exhausted, flow_table_full, room_reserved } =
            self;
        endpoint_flows_max + nat_ports_exhausted + flow_table_full + room_reserved
    }
}

/// A private link service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its load balancer.
    pub load_balancer: String,
    /// The provider's virtual network.
    pub virtual_network: String,
    /// Its NAT IPs.
    pub nat_ips: Vec<IpAddr>,
    /// NAT IPs that were taken away and still have flows.
    pub leaving_nat_ips: Vec<LeavingNatIp>,
    /// Names of the endpoints that lead to it.
    pub private_endpoints: Vec<String>,
    /// The largest segment that TCP connections may agree on: `auto`, `off` or a number.
    pub mss_clamp: String,
    /// Refusals of which the sender is told by ICMP.
    pub icmp_answers: Vec<String>,
    /// What becomes of ICMP errors: `drop` or `translate`.
    pub icmp_errors: String,
    /// What becomes of fragments: `drop` or `reassemble`.
    pub fragments: String,
    /// Whose PROXY header backends of TCP rules get: `none`, `azure`, `aws` or `gcp`.
    pub proxy_protocol: String,
    /// The load balancer's rules.
    pub rules: Vec<Rule>,
    /// Port leases for each NAT IP, backend and protocol.
    pub nat_ports: Vec<NatPorts>,
    /// What it carried since adit started, for all of its endpoints, also those that are gone
    /// (Azure's `PLSBytesIn` and `PLSBytesOut`).
    #[serde(default)]
    pub traffic: Traffic,
}

/// A NAT IP that was taken away from its service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeavingNatIp {
    /// The address.
    pub address: IpAddr,
    /// `draining` while its flows go on, `closing` when they are closed.
    pub state: String,
    /// How long that lasts at most.
    pub seconds_left: f64,
    /// Ports that its flows hold.
    pub leased: u32,
}

/// What kind of rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Spreads flows over a pool.
    LoadBalancing,
    /// Leads to one backend.
    InboundNat,
}

/// A rule of a load balancer. One for all ports stands here once for each protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: RuleKind,
    /// Its protocol.
    pub protocol: Protocol,
    /// The port that consumers dial; 0: every port that no other rule has.
    pub frontend_port: u16,
    /// The port that backends listen on; 0: the one that was dialled.
    pub backend_port: u16,
    /// What packets to backends are addressed to, if the frontend floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floating_ip: Option<IpAddr>,
    /// What decides about the backend: `Default`, `SourceIP` or `SourceIPProtocol`.
    pub load_distribution: String,
    /// Whether UDP flows stay with their backend when the pool changes.
    pub enable_connection_tracking: bool,
    /// The backends.
    pub backends: Vec<Backend>,
    /// What asks them how they are.
    pub probe: Option<RuleProbe>,
    /// Seconds that an established TCP flow, or a UDP flow, may idle.
    pub idle_timeout_seconds: f64,
}

/// A backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Whether the station that its frames go to has answered.
    pub resolved: bool,
    /// Its share of new flows, compared with the others'.
    pub weight: u16,
    /// What its administrator says: `None`, `Up` or `Down`.
    pub admin_state: String,
    /// Whether it takes new flows.
    pub takes_flows: bool,
    /// What the rule's probe says of it.
    pub probe: Option<BackendProbe>,
    /// Of one that its administrator takes down: how long its flows may still go on.
    pub drain_seconds_left: Option<f64>,
}

/// What a health probe asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleProbe {
    /// Its name.
    pub name: String,
    /// `Tcp`, `Http` or `Https`.
    pub protocol: String,
    /// The port that it asks.
    pub port: u16,
    /// The path that it asks for, if it asks for one.
    pub request_path: Option<String>,
    /// Seconds between two attempts at a backend.
    pub interval_seconds: f64,
    /// Attempts in a row that change a verdict.
    pub probe_threshold: u32,
    /// `AllProbedDown` or `AllProbedUp`.
    pub no_healthy_backends_behavior: String,
}

/// What a health probe says of a backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendProbe {
    /// `up`, `down`, `unknown` before the first attempt, or `presumed` to be up because it took
    /// flows before it was probed.
    pub state: String,
    /// For how long.
    pub seconds: f64,
    /// Attempts in a row that would change it; more than the threshold after flapping.
    pub missing: u32,
    /// Attempts that it answered.
    pub successes: u64,
    /// Attempts that it did not.
    pub failures: u64,
    /// How often the verdict changed.
    pub changes: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// How long ago.
    pub last_error_seconds_ago: Option<f64>,
}

/// Leases of one port pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NatPorts {
    /// Whose ports.
    pub nat_ip: IpAddr,
    /// Towards whom.
    pub backend: IpAddr,
    /// Of which protocol.
    pub protocol: Protocol,
    /// How many are leased.
    pub leased: u32,
    /// How many there are.
    pub ports: u32,
    /// Newcomers that were refused because no NAT IP had a port left towards this backend.
    pub refused: u64,
}

/// Packets that were translated, and the bytes of their IP packets. *In* is from the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets from clients.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Packets from backends.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}

impl From<dataplane::record::Traffic> for Traffic {
    fn from(traffic: dataplane::record::Traffic) -> Traffic {
        let dataplane::record::Traffic { forward, back } = traffic;
        Traffic {
            packets_in: forward.packets,
            bytes_in: forward.bytes,
            packets_out: back.packets,
            bytes_out: back.bytes,
        }
    }
}

/// What an endpoint carried to and from a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The backend; `None`: all that have no account of their own, or not any more.
    pub backend: Option<IpAddr>,
    /// The protocol; `None` with no backend.
    pub protocol: Option<Protocol>,
    /// What was carried.
    #[serde(flatten)]
    pub traffic: Traffic,
}
