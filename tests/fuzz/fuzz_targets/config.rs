//! The libFuzzer target of this name, all of which is in `harness::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::fuzz::config(bytes));
