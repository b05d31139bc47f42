//! The control protocol: one JSON object a line over a Unix stream socket.
//!
//! A request is `{"version":1,"request":"status"}` with the request's own fields beside it. An
//! answer is `{"version":1,"ok":{"response":...}}` or
//! `{"version":1,"error":{"code":...,"message":...,"cure":...}}`. A request has one line of answer,
//! but `sessions` has as many as it needs, the last of which says so. A connection carries any
//! number of requests, one after the other.
//!
//! Bounds: a request line has at most [`REQUEST_BYTES_MAX`] bytes. Whatever arrives is answered,
//! and no request can end the process.

mod explanation;
mod flow;
mod lines;
mod plan;
mod request;
mod response;
mod service;
mod session_id;
mod status;
mod trace;

pub use explanation::{Decision, Explanation, Judgement, Refusal};
pub use flow::{Owner, Session};
pub use lines::{Line, Lines};
pub use plan::{EndpointFlows, FlowsPlan, Plan, Reason};
pub use request::{
    Packet, Protocol, Request, SESSIONS_LIMIT, SESSIONS_LIMIT_MAX, SessionFilter, Suspect,
};
pub use response::{Answer, AnswerResult, ErrorCode, Failure, Response};
pub use service::{
    Account, Backend, BackendProbe, Endpoint, LeavingNatIp, NatPorts, Refusals, Rule, RuleKind,
    RuleProbe, Service, Traffic,
};
pub use session_id::SessionId;
pub use status::{
    AuditLog, Device, DeviceState, Drop, FastPath, FastPathState, FlowLog, MetricsPush, NextHop,
    Privileges, Recording, Status, Worker,
};
pub use trace::{
    SNAP_BYTES, SNAP_BYTES_MAX, SNAP_BYTES_MIN, TraceEvent, TraceFilter, TracePacket, TraceSide,
};

/// The version of the protocol that this adit speaks.
pub const VERSION: u32 = 1;

/// Bytes of a request line at most, its end included.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
