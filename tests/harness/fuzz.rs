//! Fuzz targets as plain functions: any bytes in, a panic if adit breaks a promise on them.
//!
//! They build with the project's own toolchain, so that `tests/fuzz.rs` replays the seeds and the
//! committed corpus on every run; the package `tests/fuzz` wraps each in a libFuzzer target. A
//! body depends on its bytes alone: no chance, no clock, nothing kept from the call before.

mod config;
mod frame;
mod operations;
mod protocol;
pub mod seeds;
mod virtio;

pub use config::config;
pub use frame::frame;
pub use operations::operations;
pub use protocol::protocol;
pub use virtio::virtio;

/// A target: its name, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target. The names are those of the folders in `tests/fuzz/corpus`.
pub const TARGETS: [Target; 5] = [
    ("config", config),
    ("frame", frame),
    ("operations", operations),
    ("protocol", protocol),
    ("virtio", virtio),
];
