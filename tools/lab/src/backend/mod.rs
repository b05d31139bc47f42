//! Sample backends: small servers that tell who they are and whom they see.
//!
//! Promise: a server is bound when its constructor returns, serves on threads of its own, never
//! panics on what a client does, and when it is stopped or dropped its port is free, its
//! connections are closed and its threads have ended.
//!
//! Bounds: [`MAX_CONNECTIONS`] at once for each TCP server, more are closed at once;
//! [`MAX_PEERS_KEPT`] peer addresses remembered. Not meant for the open internet.

mod echo;
mod http;
mod service;
mod sink;
pub mod trouble;

pub use echo::{MAX_LINE_BYTES, TcpEcho, UdpEcho};
pub use http::{HttpServer, MAX_HEAD_BYTES};
pub use service::{MAX_CONNECTIONS, MAX_PEERS_KEPT};
pub use sink::{Received, TcpSink, UdpSink};
