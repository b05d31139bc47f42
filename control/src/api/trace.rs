//! Packets that somebody watches while they pass.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Protocol;

/// Bytes of a packet that are shown unless the request says otherwise.
pub const SNAP_BYTES: usize = 256;

/// Bytes of a packet that are shown at most, and at least.
pub const SNAP_BYTES_MAX: usize = 9_216;
/// See [`SNAP_BYTES_MAX`]: headers.
pub const SNAP_BYTES_MIN: usize = 64;

/// Which packets a client wants to see; all conditions must hold, on either side of adit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceFilter {
    /// Of this protocol.
    pub protocol: Option<Protocol>,
    /// In this virtual network.
    pub virtual_network: Option<String>,
    /// Through this private endpoint.
    pub endpoint: Option<String>,
    /// From or to this client.
    pub client: Option<IpAddr>,
    /// Through this NAT IP.
    pub nat_ip: Option<IpAddr>,
    /// To or from this backend.
    pub backend: Option<IpAddr>,
    /// From or to this port, of whomever.
    pub port: Option<u16>,
    /// Only what is dropped.
    pub dropped: bool,
    /// Only what is dropped for this reason.
    pub reason: Option<String>,
    /// Bytes of each packet that are shown: [`SNAP_BYTES`], if it is not said.
    pub snap: Option<usize>,
    /// The end after so many packets.
    pub count: Option<u64>,
    /// The end after so many seconds.
    pub seconds: Option<u32>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceEvent {
    /// It was translated and goes on.
    Forwarded,
    /// It was translated and waits: for its next hop, or for the first fragment of its datagram.
    Waits,
    /// One that waited goes on.
    Released,
    /// It was for adit itself, and answered.
    Answered,
    /// It was for adit itself.
    Consumed,
    /// It answers a health probe.
    Probed,
    /// adit itself says this.
    Said,
    /// It was dropped.
    Dropped,
}

impl TraceEvent {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TraceEvent::Forwarded => "forwarded",
            TraceEvent::Waits => "waits",
            TraceEvent::Released => "released",
            TraceEvent::Answered => "answered",
            TraceEvent::Consumed => "consumed",
            TraceEvent::Probed => "probed",
            TraceEvent::Said => "said",
            TraceEvent::Dropped => "dropped",
        }
    }
}

/// A packet on one side of adit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceSide {
    /// The interface.
    pub device: String,
    /// Bytes of the whole frame.
    pub length: u64,
    /// `tcp`, `udp`, or the number of another protocol; `None`: not IP.
    pub protocol: Option<String>,
    /// Address, and port where there is one.
    pub source: Option<String>,
    /// Address, and port where there is one.
    pub destination: Option<String>,
    /// The first bytes of the frame, two digits each.
    pub bytes: String,
}

/// A packet that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePacket {
    /// From 1, in the order in which they are told.
    pub number: u64,
    /// When: nanoseconds since the beginning of 1970, in UTC.
    pub at_ns: u64,
    /// The worker that saw it.
    pub worker: u8,
    /// What became of it.
    pub event: TraceEvent,
    /// Of one that was dropped: the counter of the reason.
    pub reason: Option<String>,
    /// The same in words.
    pub sentence: Option<String>,
    /// As it arrived, if it did.
    pub before: Option<TraceSide>,
    /// As it leaves, if it does.
    pub after: Option<TraceSide>,
}
