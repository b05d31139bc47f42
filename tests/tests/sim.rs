//! A few simulated worlds with every checker; `cargo xtask sim` plays as many as one likes.

use dataplane::drop_reason::DropReason;
use harness::sim::{Lines, Report, run};

/// Worlds that every run of the tests plays.
const WORLDS: u64 = 60;

fn play(seed: u64) -> Report {
    run(seed, Lines::Off).map_err(|failure| println!("{failure}")).expect("every checker holds")
}

/// Nothing is wrong in any world, and together they show what they are there to show.
#[test]
fn every_checker_holds_in_the_fixed_worlds() {
    let mut all = Report::default();
    (1..=WORLDS).for_each(|seed| all.add(&play(seed)));
    println!("{all}");
    assert!(all.mild > WORLDS / 6 && all.mild < WORLDS / 2, "{all}");
    assert!(all.ways.iter().all(|&worlds| worlds > WORLDS / 20), "{all}");
    assert!(all.floating > WORLDS / 10 && all.floating < WORLDS / 2, "{all}");
    assert!(all.completed > 10 * WORLDS / 2 && all.generations > 5 * WORLDS, "{all}");
    assert!(all.merged > 10 * WORLDS, "{all}");
    assert!(all.paused > 0 && all.outlived > 0, "some flows idle for minutes: {all:?}");
    let wanted = [
        DropReason::FlowTableFull,
        DropReason::ConnectionRejected,
        DropReason::NoBackend,
        DropReason::NoEndpoint,
        DropReason::SourceSpoofed,
        DropReason::UnsolicitedFromProvider,
        DropReason::TcpNotSyn,
        DropReason::Ipv4Checksum,
        DropReason::Ipv4TotalLength,
        DropReason::Ipv6PayloadLength,
        DropReason::NdpInvalid,
        DropReason::NeighborUnreachable,
        DropReason::DeviceDown,
        DropReason::TransmitFull,
        DropReason::TransmitRejected,
    ];
    for reason in wanted {
        assert!(all.dropped[reason.slot()] > 0, "no world drops a packet as {reason:?}");
    }
}

/// The seed decides everything, so that it repeats a failure.
#[test]
fn a_seed_decides_everything() {
    for seed in [1, 2, 3, 1 << 40] {
        let (once, again) = (play(seed), play(seed));
        assert_eq!(once, again, "seed {seed}");
        assert_ne!(once.hash, play(seed + 1).hash, "another seed is another world");
    }
}
