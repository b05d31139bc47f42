//! Replays the fuzz targets' seeds and committed corpora through the targets' own files; see
//! `fuzz/README.md` for fuzzing itself.

// What those files name is this crate, so that the project's own toolchain compiles and runs them,
// though fuzzing needs another.
extern crate self as libfuzzer_sys;

/// A target as libFuzzer would call it.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:expr) => {
        pub(crate) fn run($bytes: &[u8]) {
            $body
        }
    };
}

macro_rules! targets {
    ($($name:ident $file:literal)+) => {
        $(
            #[path = $file]
            #[allow(unused_attributes, reason = "it has no main of its own as a target only")]
            mod $name;

            #[test]
            fn $name() {
                replay(stringify!($name), $name::run);
            }
        )+

        const NAMES: &[&str] = &[$(stringify!($name)),+];
    };
}

targets! {
    config "../fuzz/fuzz_targets/config.rs"
    frame "../fuzz/fuzz_targets/frame.rs"
    operations "../fuzz/fuzz_targets/operations.rs"
    protocol "../fuzz/fuzz_targets/protocol.rs"
    virtio "../fuzz/fuzz_targets/virtio.rs"
}

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use harness::fuzz::{TARGETS, seeds::seeds};

/// The inputs of a target: seeds made from the tree, and the files of its corpus.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).expect("every target has a corpus");
    let mut inputs: Vec<(String, Vec<u8>)> = files
        .map(|entry| {
            let entry = entry.expect("the corpus can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("an input can be read"))
        })
        .collect();
    inputs.extend(seeds(target));
    inputs.sort();
    inputs
}

fn replay(target: &str, body: fn(&[u8])) {
    let inputs = inputs(target);
    assert!(inputs.len() > 10, "only {} inputs of {target} are found", inputs.len());
    let failed: Vec<&str> = inputs
        .iter()
        .filter(|(_, bytes)| catch_unwind(|| body(bytes)).is_err())
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(failed.is_empty(), "inputs of {target} fail: {failed:#?}");
}

#[test]
fn every_target_has_a_file() {
    assert_eq!(TARGETS.map(|(name, _)| name), NAMES);
}
