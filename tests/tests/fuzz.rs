//! Replays the fuzz targets' seeds and committed corpora through their bodies; see `fuzz/README.md`
//! for fuzzing itself.

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

fn replay(target: &str) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).expect("it is a target");
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
fn config() {
    replay("config");
}

#[test]
fn frame() {
    replay("frame");
}

#[test]
fn operations() {
    replay("operations");
}

#[test]
fn protocol() {
    replay("protocol");
}

#[test]
fn virtio() {
    replay("virtio");
}
