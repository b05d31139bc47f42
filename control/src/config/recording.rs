//! What is written down or sent, where, and for how long: `[whois]`, `[flow_log]`, `[audit_log]`
//! and `[open_telemetry]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::recording::ended::Memory;

/// A file of its own, which is put aside when it is large enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its path.
    pub path: PathBuf,
    /// Bytes from which on another one is begun.
    pub bytes_max: u64,
    /// How many are kept beside it, as `path.1`, the latest, and so on.
    pub files_max: u8,
}

/// Where IPFIX messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collector {
    /// Into a file, as RFC 5655 has it.
    File(LogFile),
    /// To a collector over TCP.
    Tcp(SocketAddr),
    /// To a collector over UDP.
    Udp(SocketAddr),
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Collector::File(file) => write!(f, "{}", file.path.display()),
            Collector::Tcp(address) => write!(f, "tcp://{address}"),
            Collector::Udp(address) => write!(f, "udp://{address}"),
        }
    }
}

/// `[flow_log]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowLog {
    /// Lines of JSON.
    pub file: Option<LogFile>,
    /// IPFIX messages, and the observation domain that they name.
    pub ipfix: Option<(Collector, u32)>,
}

impl FlowLog {
    /// Whether anything is written.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.file.is_some() || self.ipfix.is_some()
    }
}

/// `[open_telemetry]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsPush {
    /// Where metrics go.
    pub to: Receiver,
    /// Time from one sending to the next.
    pub interval: Duration,
}

/// A receiver that is reached over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path that metrics are sent to.
    pub path: String,
}

impl Receiver {
    /// The path where a receiver takes metrics unless it is said otherwise.
    pub const PATH: &str = "/v1/metrics";

    /// Host and port, as a request names them.
    #[must_use]
    pub fn authority(&self) -> String {
        let Receiver { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}
