//! The engine against the independent model, on random operations: every verdict, every byte, every
//! counter and every flow as predicted. `cargo xtask model` plays millions of them.

use harness::model::{Campaign, OPS_PER_WORLD, replay};

const WORLDS: u64 = 256;

/// A failure prints the operations that lead to it, as few as were found to.
#[test]
fn the_engine_does_what_the_model_says_and_everything_is_reached() {
    let mut campaign = Campaign::default();
    for seed in 0..WORLDS {
        if let Err(disagreement) = campaign.world(seed, OPS_PER_WORLD) {
            panic!("{disagreement}");
        }
    }
    let missing = campaign.coverage.missing();
    assert!(missing.is_empty(), "never reached: {missing:?}\n{}", campaign.coverage);
}

/// What a failure prints can be played again, and what cannot be read is said with its line.
#[test]
fn a_list_of_operations_is_played_again() {
    let world = "world workers=2 flows-max=24 seed=7 start-ms=1000 # two workers\n";
    let packets = "in@0+ a tcp 10.0.2.1:4000 > 10.0.0.5:443 S hex=00ff\n\
                   answer@1 p 0 tcp 10.0.2.1:4000 > 10.0.0.5:443 SA\n\
                   in@1 p arp 10.1.0.10 is-at for 10.1.1.4\n\
                   set-late backends 0 1\nadopt\ntime 300\ndown q\nrefuse p transmit_full\n";
    assert_eq!(replay(&format!("{world}{packets}")), Ok(()));
    let error = replay(&format!("{world}set backends 0 99")).unwrap_err();
    assert_eq!(error, "line 2: the knob has no such position");
}
