//! Backends that make trouble on purpose, in the ways that real ones do: for testing what stands
//! before them.
//!
//! | type | what it does |
//! |---|---|
//! | [`SlowAccept`] | takes its time before it accepts, one connection after the other |
//! | [`ResetAt`] | resets the connection at the n-th byte |
//! | [`HalfClose`] | says FIN first and goes on reading, or answers only after the client's FIN |
//! | [`ProxyStrict`] | serves nobody without a well-formed PROXY protocol v2 header |
//! | [`LossyUdpEcho`] | loses some of the datagrams |
//! | [`FlappingHealth`] | is healthy and unhealthy by turns |
//!
//! A backend that is blind to the PROXY protocol is [`super::HttpServer`]: to it a header is a
//! malformed request.

mod half_close;
mod health;
mod lossy;
mod proxy;
mod reset;
mod slow;

pub use half_close::{First, HalfClose};
pub use health::FlappingHealth;
pub use lossy::LossyUdpEcho;
pub use proxy::{ProxyHeader, ProxyStrict};
pub use reset::ResetAt;
pub use slow::SlowAccept;
