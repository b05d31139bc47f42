//! Next hops that one worker hears of while another asks for them or gives them up.

use std::sync::Arc;

use dataplane::neighbor::{FORGOTTEN_TICKS, Neighbors, REQUEST_INTERVAL_TICKS};
use dataplane::types::{DeviceIndex, Hop, MacAddress, NeighborIndex, Tick};
use loom::thread;

use crate::check;
use crate::plan::snapshot;

const NEIGHBOR: NeighborIndex = NeighborIndex(0);

fn hop(station: u8) -> Hop {
    Hop { device: DeviceIndex(1), mac: MacAddress([2, 0, 0, 0, 0, station]) }
}

#[test]
fn one_of_two_workers_asks() {
    check(4, || {
        let neighbors = Arc::new(Neighbors::first(&snapshot(true)));
        let ask = |neighbors: &Neighbors| neighbors.claim_request(NEIGHBOR, Tick(7));
        let other = {
            let neighbors = Arc::clone(&neighbors);
            thread::spawn(move || ask(&neighbors))
        };
        let asked = [ask(&neighbors), other.join().unwrap()];
        assert_eq!(asked.iter().filter(|asked| **asked).count(), 1);
    });
}

/// A neighbor that was asked and stayed silent for so long that the next look forgets it.
fn silent() -> (Arc<Neighbors>, Tick) {
    let neighbors = Arc::new(Neighbors::first(&snapshot(true)));
    neighbors.confirm(NEIGHBOR, hop(1), Tick(1));
    let asked = Tick(1 + FORGOTTEN_TICKS - REQUEST_INTERVAL_TICKS);
    assert!(neighbors.claim_request(NEIGHBOR, asked));
    (neighbors, Tick(1 + FORGOTTEN_TICKS))
}

#[test]
fn a_silent_neighbor_is_forgotten() {
    check(1, || {
        let (neighbors, now) = silent();
        assert!(neighbors.claim_request(NEIGHBOR, now));
        assert_eq!(neighbors.lookup(NEIGHBOR), None);
    });
}

#[test]
fn an_answer_in_the_last_moment_is_not_forgotten() {
    for station in [1, 2] {
        check(4, move || {
            let (neighbors, now) = silent();
            let hearer = {
                let neighbors = Arc::clone(&neighbors);
                thread::spawn(move || neighbors.confirm(NEIGHBOR, hop(station), now))
            };
            let _ = neighbors.claim_request(NEIGHBOR, now);
            let seen = neighbors.lookup(NEIGHBOR);
            assert!([None, Some(hop(1)), Some(hop(2))].contains(&seen), "torn: {seen:?}");
            hearer.join().unwrap();
            assert_eq!(neighbors.lookup(NEIGHBOR), Some(hop(station)));
        });
    }
}
