//! Test networks inside Linux network namespaces, and sample backends and clients to run in them.
//!
//! Promise: what this crate builds is seen by nobody else and is gone when its handles are
//! dropped or the process ends, however it ends. Nothing is written to disk, no program is
//! started, no interface of the machine is touched. It works as root and, where the kernel allows
//! user namespaces, as an ordinary user.
//!
//! The order of use is: [`sandbox::enter`] first thing in `main`, then [`Namespace::create`],
//! then [`Link::veth`] or [`Host::create`] for devices, then servers of [`backend`] and functions
//! of [`client`] inside [`Namespace::run`].
//!
//! Bounds: every call that waits for a peer takes a timeout; every server bounds its connections.
//! It does not measure, judge or retry: that is for the tests, demos and benches that use it. It
//! depends on no other crate of this workspace, so it can bear witness against them.

#![cfg(target_os = "linux")]

pub mod answer;
pub mod backend;
pub mod client;
pub mod error;
pub mod host;
pub mod link;
pub mod mac;
pub mod namespace;
mod netlink;
pub mod offload;
pub mod pattern;
pub mod process;
pub mod sandbox;
// The only file with unsafe code: thin, checked wrappers of system calls.
#[allow(unsafe_code)]
mod sys;

pub use answer::Answer;
pub use error::LabError;
pub use host::{Host, HostPlan};
pub use link::{Counters, Link, LinkEnd, LinkState};
pub use mac::MacAddr;
pub use namespace::Namespace;
pub use offload::Offload;
pub use process::Process;
