//! Answers: plain data for programs, from which the command line also makes its tables.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Explanation, Owner, Packet, Plan, Protocol, Session, TracePacket, VERSION};
use crate::arm::Access;
use crate::config::{ConfigError, ConfigErrors};
use crate::state::ConnectionState;

/// One line of answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Version of the protocol.
    pub version: u32,
    /// What became of the request.
    #[serde(flatten)]
    pub result: AnswerResult,
}

/// Either side of an [`Answer`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerResult {
    /// It was done.
    Ok(Response),
    /// It was not.
    Error(Failure),
}

impl Answer {
    /// An answer in this version of the protocol.
    #[must_use]
    pub fn new(result: Result<Response, Failure>) -> Answer {
        let result = match result {
            Ok(response) => AnswerResult::Ok(response),
            Err(failure) => AnswerResult::Error(failure),
        };
        Answer { version: VERSION, result }
    }

    /// What became of the request.
    ///
    /// # Errors
    /// What the daemon refused.
    pub fn into_result(self) -> Result<Response, Failure> {
        match self.result {
            AnswerResult::Ok(response) => Ok(response),
            AnswerResult::Error(failure) => Err(failure),
        }
    }
}

/// Why a request failed, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is malformed.
    BadRequest,
    /// The request is of another version of the protocol.
    UnsupportedVersion,
    /// There is no such request.
    UnknownRequest,
    /// What the request names does not exist.
    NotFound,
    /// What the request asks is not possible in the present state.
    Refused,
    /// The configuration file is faulty or unreadable; nothing changed.
    InvalidConfiguration,
    /// The configuration changes what only a restart can; nothing changed.
    RestartNeeded,
    /// Workers did not answer in time.
    Timeout,
    /// It was done, but it could not be written down who did it.
    NotRecorded,
    /// Too many clients.
    Busy,
    /// A bug of adit.
    Internal,
}

/// Why a request failed, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs.
    pub code: ErrorCode,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub cure: String,
    /// Of a faulty configuration: every fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ConfigError>,
}

impl Failure {
    /// A failure without faults of a file.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, cure: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), cure: cure.into(), faults: Vec::new() }
    }

    /// The failure to take a configuration.
    #[must_use]
    pub fn of_configuration(errors: &ConfigErrors) -> Failure {
        let faults = errors.list().to_vec();
        let message = match faults.len() {
            1 => "the configuration has a fault; nothing was changed".to_owned(),
            count => format!("the configuration has {count} faults; nothing was changed"),
        };
        let cure = "mend the file, look at it with `adit check`, and reload again".to_owned();
        Failure { code: ErrorCode::InvalidConfiguration, message, cure, faults }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for fault in &self.faults {
            write!(f, "\n{fault}")?;
        }
        write!(f, "\n  {}", self.cure)
    }
}

impl std::error::Error for Failure {}

/// What a request was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    /// To `status`.
    Status(Box<Status>),
    /// To `endpoints`.
    Endpoints {
        /// In the order of the configuration.
        endpoints: Vec<Endpoint>,
    },
    /// To `services`.
    Services {
        /// In the order of the configuration.
        services: Vec<Service>,
    },
    /// To `sessions`; one line of several.
    Sessions {
        /// A part of the sessions.
        sessions: Vec<Session>,
        /// Whether this is the last line.
        last: bool,
        /// On the last line: how many more matched than the limit let through.
        more: u64,
    },
    /// To `explain`.
    Explained {
        /// The packet.
        packet: Packet,
        /// What would become of it.
        explanation: Box<Explanation>,
    },
    /// To `kill`.
    Killed {
        /// The flow as it was.
        session: Box<Session>,
        /// Whether both sides are told so with resets, as its rule wants.
        is_reset: bool,
    },
    /// To `whois`.
    Owners {
        /// Whose it is or was, the latest first: live flows, then those that have ended.
        owners: Vec<Owner>,
    },
    /// To `drops`.
    Drops {
        /// By reason, in the order of the table of reasons.
        drops: Vec<Drop>,
        /// All reasons together.
        total: u64,
    },
    /// To `approve` and `reject`.
    Decided {
        /// The endpoint.
        endpoint: String,
        /// Its state now.
        state: ConnectionState,
        /// Whether it was in another state before.
        changed: bool,
        /// The generation that every worker works with now.
        generation: u32,
    },
    /// To `access`.
    Access(Access),
    /// To `trace`; one line of several.
    Traced {
        /// Packets that were seen since the last line.
        packets: Vec<TracePacket>,
        /// Packets that passed unseen since the beginning, because they came too fast.
        lost: u64,
        /// Whether every packet that is asked for is seen now: at first the kernel may still carry
        /// some.
        is_ready: bool,
        /// Whether this is the last line.
        last: bool,
    },
    /// To `plan`.
    Planned(Box<Plan>),
    /// To `reload`.
    Reloaded {
        /// The generation that every worker works with now.
        generation: u32,
        /// What is legal in the file but hardly meant.
        warnings: Vec<ConfigError>,
    },
}

/// How the daemon is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of adit.
    pub adit: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// The configuration file.
    pub configuration: String,
    /// The generation in force.
    pub generation: u32,
    /// The workers.
    pub workers: Vec<Worker>,
    /// The devices.
    pub devices: Vec<Device>,
    /// Stations that frames to backends go to.
    pub next_hops: Vec<NextHop>,
    /// Percent of ports and records that are kept, once no more is left, for endpoints with no more
    /// flows than the average.
    #[serde(default)]
    pub fair_share_percent: u8,
    /// Flows that live now.
    pub flows: u64,
    /// Of those: flows that nobody has answered yet.
    pub flows_unanswered: u64,
    /// Flows ever opened.
    pub flows_opened: u64,
    /// UDP flows ever closed because they fell on another backend when their pool changed.
    pub flows_moved: u64,
    /// Flows ever closed because nobody had answered them and newer ones needed the room.
    pub flows_displaced: u64,
    /// Flows ever closed because the configuration no longer wanted them.
    pub flows_revoked: u64,
    /// Flows that adit ended with resets to both sides.
    pub flows_reset: u64,
    /// Connections whose backend got a PROXY header.
    pub proxy_headers_sent: u64,
    /// PROXY headers that were sent once more.
    pub proxy_headers_repeated: u64,
    /// PROXY headers that no backend has acknowledged yet.
    pub proxy_headers_waiting: u64,
    /// Ports that rest now, after their flows (hold-down).
    pub ports_resting: u64,
    /// NAT ports that are leased now, those of NAT IPs and backends that were taken away included:
    /// one for each flow, and those that rest.
    pub nat_ports_leased: u64,
    /// Backends that are probed, once for each probe.
    pub backends_probed: u64,
    /// How many of them may take new flows.
    pub backends_healthy: u64,
    /// What has become of the kernel's fast path.
    pub fast_path: FastPath,
    /// What the process may do.
    pub privileges: Privileges,
    /// What is told of flows and written down.
    #[serde(default)]
    pub recording: Recording,
    /// Where metrics are sent, if anywhere.
    #[serde(default)]
    pub metrics_push: Option<MetricsPush>,
    /// Frames received from devices.
    pub received: u64,
    /// Bytes of those.
    pub received_bytes: u64,
    /// Of the received and forwarded ones: packets that the kernel carried alone.
    pub shortcut: u64,
    /// Packets translated and sent.
    pub forwarded: u64,
    /// Bytes of those.
    pub forwarded_bytes: u64,
    /// Frames for adit itself: ARP.
    pub consumed: u64,
    /// Packets that wait for a next hop now.
    pub held: u64,
    /// Packets dropped, for whatever reason.
    pub dropped: u64,
    /// What flows carried of which adit does not know any more whose they were, because there are
    /// more endpoints than accounts.
    #[serde(default)]
    pub traffic_of_others: Traffic,
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

/// What the process may do beyond what any other may.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Privileges {
    /// The number of its user.
    pub user: u32,
    /// Its capabilities, as `capabilities(7)` names them, without `CAP_`, in lower case.
    pub capabilities: Vec<String>,
    /// Whether a program that it starts could have more.
    pub can_gain: bool,
}

/// What is told of flows and written down.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recording {
    /// Records of flows that began or ended, told by workers.
    pub records: u64,
    /// Records that were lost because there were too many at once.
    pub records_lost: u64,
    /// Flows that have ended and are remembered.
    pub remembered: u64,
    /// How many are at most.
    pub remembered_max: u64,
    /// For how long they are.
    pub remembered_seconds: u64,
    /// When the oldest of them ended (RFC 3339).
    pub remembered_since: Option<String>,
    /// Where flows are written down.
    pub flow_logs: Vec<FlowLog>,
    /// Where it is written down who changed what.
    pub audit_log: AuditLog,
}

/// Where it is written down who changed what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AuditLog {
    /// Its file; `None`: with what the daemon says.
    pub file: Option<String>,
    /// Lines that were written.
    pub written: u64,
    /// Lines that could not be.
    pub lost: u64,
}

/// A place where flows are written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlowLog {
    /// `json` or `ipfix`.
    pub form: String,
    /// A path, or the address of a collector.
    pub to: String,
    /// Events that were written, or sent.
    pub written: u64,
    /// Events that could not be.
    pub lost: u64,
    /// Why the last ones could not.
    pub trouble: Option<String>,
}

/// Where metrics are sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MetricsPush {
    /// The receiver's address.
    pub to: String,
    /// How often they were sent.
    pub sent: u64,
    /// How often they could not be, or were refused.
    pub lost: u64,
    /// Samples that the receiver says it has not taken.
    pub rejected_samples: u64,
    /// Why they could not be sent the last time.
    pub trouble: Option<String>,
}

/// The kernel's fast path.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FastPath {
    /// Whether it is used.
    pub state: FastPathState,
    /// Why it is not available, if it is not.
    pub detail: Option<String>,
}

/// Whether the kernel's fast path is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FastPathState {
    /// For the devices that can take part.
    On,
    /// The configuration does not want it.
    Off,
    /// The kernel does not give it.
    Unavailable,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worker {
    /// Its number.
    pub worker: u8,
    /// The generation that it works with.
    pub generation: u32,
    /// Flows that it has now.
    pub flows: u64,
    /// Flows that it has room for.
    pub flows_max: u64,
    /// Packets that it translated and sent.
    pub forwarded: u64,
    /// Packets that it dropped.
    pub dropped: u64,
}

/// State of a device over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// Every worker has it open.
    Up,
    /// No worker has tried to open it yet.
    Unopened,
    /// Some worker could not open it, or lost it; it keeps trying.
    Down,
}

/// A device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Device {
    /// Name of the interface.
    pub name: String,
    /// `af_packet`, `af_xdp` or `tap`.
    pub kind: String,
    /// Path of its network namespace, if it is not adit's.
    pub network_namespace: Option<String>,
    /// The virtual network behind it.
    pub virtual_network: String,
    /// Its state.
    pub state: DeviceState,
    /// Why it is down, in the system's words.
    pub detail: Option<String>,
    /// Frames received.
    pub received: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames that the system dropped before adit could receive them, because it was too slow.
    pub missed: u64,
}

/// A station that frames to backends go to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NextHop {
    /// The virtual network.
    pub virtual_network: String,
    /// Its address.
    pub address: IpAddr,
    /// Its Ethernet address, once it has answered.
    pub mac: Option<String>,
    /// The interface that it answered on.
    pub device: Option<String>,
}

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

/// A reason to drop packets, and how often it happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drop {
    /// Name of the counter.
    pub metric: String,
    /// How many packets.
    pub count: u64,
    /// What happened.
    pub sentence: String,
    /// What to do about it.
    pub cure: String,
    /// The document that asks for it.
    pub source: String,
}
