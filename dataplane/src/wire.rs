//! Views over bytes: named fields of Ethernet, IPv4, TCP and UDP headers, and Internet checksums.
//!
//! A view borrows exactly the fixed part of a header, so that every access is in bounds by its type
//! and costs one load. Views are total functions without policy: what a field may say is for
//! `packet`.

pub mod checksum;
pub mod ethernet;
pub mod ipv4;
pub mod tcp;
pub mod udp;
