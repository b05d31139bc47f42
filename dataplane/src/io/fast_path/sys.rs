//! What the maps of the program hold, vouched for as plain bytes.

use aya::Pod;

use super::entry::{Entry, Inbox, Key, Passed};

// SAFETY: integers and arrays of them, without padding.
unsafe impl Pod for Inbox {}

// SAFETY: arrays of bytes and a u32 at a multiple of four, without padding.
unsafe impl Pod for Key {}

// SAFETY: integers and arrays of them; its fields add up to its size, which `entry` asserts.
unsafe impl Pod for Entry {}

// SAFETY: two u64.
unsafe impl Pod for Passed {}
