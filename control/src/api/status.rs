//! How the daemon, its workers, logs and devices are, and what was dropped.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Traffic;

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
    /// Why it is not available, if it is not; or which devices it was refused for, and why.
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
