//! Runs every script of `scripts/`, and checks that together they and the other tests show every
//! reason for which a packet can be dropped.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use dataplane::drop_reason::DropReason;
use harness::script::{all, run};

/// Reasons that no script can show, and the test that does.
const SHOWN_ELSEWHERE: &[(&str, &str)] = &[
    ("nat_ports_exhausted", "fill.rs"),
    ("transmit_full", "worker.rs"),
    ("transmit_rejected", "worker.rs"),
    ("handover_full", "worker.rs"),
    // A contradiction within adit; a test that could show it would have found a bug.
    ("internal", "model.rs and random.rs, which show that it does not happen"),
];

#[test]
fn every_script_holds_and_every_reason_is_shown() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let paths = all();
    assert!(paths.len() > 60, "the scripts are found");
    let mut reasons = BTreeSet::new();
    let mut failed = Vec::new();
    for path in &paths {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let text = fs::read_to_string(path).unwrap();
        let opens = text.starts_with("# ");
        assert!(opens, "{name} says in its first line what it shows");
        match catch_unwind(|| run(&name, &text)) {
            Ok(shown) => reasons.extend(shown.reasons),
            Err(_) => failed.push(name),
        }
    }
    assert!(failed.is_empty(), "{} of {} scripts failed: {failed:#?}", failed.len(), paths.len());
    let elsewhere = SHOWN_ELSEWHERE.iter().map(|(reason, _)| *reason);
    reasons.extend(elsewhere);
    let all: BTreeSet<&str> = DropReason::ALL.iter().map(|reason| reason.metric()).collect();
    let missing: Vec<_> = all.difference(&reasons).collect();
    assert!(missing.is_empty(), "no script shows {missing:?}");
}
