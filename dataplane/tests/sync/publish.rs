//! Generations on their way down, the stats page on its way up, and port pools across both.

use std::sync::Arc;

use dataplane::generation::Generation;
use dataplane::nat::{Holder, Home};
use dataplane::publish::Cell;
use dataplane::stats::{Counters, StatsPage};
use dataplane::types::{
    DeviceIndex, FlowIndex, GenerationNumber, Hop, MacAddress, NeighborIndex, Tick, WorkerId,
};
use loom::thread;

use crate::check;
use crate::plan::{POOL, snapshot};

const NEIGHBOR: NeighborIndex = NeighborIndex(0);

fn hop(station: u8) -> Hop {
    Hop { device: DeviceIndex(1), mac: MacAddress([2, 0, 0, 0, 0, station]) }
}

#[test]
fn generations_come_whole_and_never_go_back() {
    check(3, || {
        let first = Arc::new(Generation::first(snapshot(true), 1));
        let cell = Arc::new(Cell::new(Arc::clone(&first)));
        let worker = |looks: usize| {
            let cell = Arc::clone(&cell);
            let mut known = first.number;
            thread::spawn(move || {
                for _ in 0..looks {
                    let Some(next) = cell.moved_from(known) else { continue };
                    assert!(next.number.0 > known.0, "{:?} after {known:?}", next.number);
                    known = next.number;
                    let station = u8::try_from(known.0).unwrap();
                    assert_eq!(next.neighbors.lookup(NEIGHBOR), Some(hop(station)));
                }
                known
            })
        };
        let workers = [worker(3), worker(1)];
        let mut newest = first;
        for number in 2..4 {
            let next = Arc::new(newest.next(snapshot(true), 1));
            next.neighbors.confirm(NEIGHBOR, hop(number), Tick(5));
            assert_eq!(cell.publish(Arc::clone(&next)).number, newest.number);
            newest = next;
        }
        for worker in workers {
            let known = worker.join().unwrap();
            let next = cell.moved_from(known).map(|next| next.number);
            assert_eq!(next, (known != newest.number).then_some(newest.number));
        }
    });
}

// The page's single counters are left alone: sixty cells that are read together have more values
// to try than there is time, and they promise no more than those of a device.
#[test]
fn what_a_worker_counted_is_seen_with_its_generation() {
    check(3, || {
        let (page, device) = (Arc::new(StatsPage::new()), DeviceIndex(1));
        let worker = {
            let page = Arc::clone(&page);
            thread::spawn(move || {
                for generation in 1..=2 {
                    page.count_device(device, 3, 1);
                    page.write(&Counters { generation, ..Counters::default() });
                }
            })
        };
        let mut before = 0;
        for _ in 0..2 {
            let adopted = u64::from(page.adopted().0);
            let received = page.device(device).received;
            assert!(received >= 3 * adopted, "{received} in generation {adopted}");
            assert!(received >= before && received % 3 == 0 && received <= 6);
            before = received;
        }
        worker.join().unwrap();
        assert_eq!((page.device(device).received, page.adopted()), (6, GenerationNumber(2)));
    });
}

/// A worker that leases a port while its generation has the pool, and says what it works with.
fn lease_and_follow(cell: &Cell, page: &StatsPage, mine: Arc<Generation>, to: u32) -> Option<u16> {
    let mut mine = mine;
    let home = Home::new(WorkerId(0), 1);
    let pool = mine.pools.find(&POOL).and_then(|index| mine.pools.pool(index));
    let port = pool.and_then(|pool| pool.lease(&home, FlowIndex(0)));
    while mine.number.0 < to {
        if let Some(next) = cell.moved_from(mine.number) {
            mine = next;
            let generation = u64::from(mine.number.0);
            page.write(&Counters { generation, ..Counters::default() });
        } else {
            thread::yield_now();
        }
    }
    port
}

#[test]
fn a_pool_that_went_and_came_back_knows_the_leases_it_had() {
    check(3, || {
        let first = Arc::new(Generation::first(snapshot(true), 1));
        let cell = Arc::new(Cell::new(Arc::clone(&first)));
        let page = Arc::new(StatsPage::new());
        let worker = {
            let (cell, page, first) = (Arc::clone(&cell), Arc::clone(&page), Arc::clone(&first));
            thread::spawn(move || lease_and_follow(&cell, &page, first, 2))
        };
        // The pool goes, twice, so that nothing but its lease keeps it; then it is wanted again.
        // As control does, each time when the worker has adopted what was before.
        let without = Arc::new(first.next(snapshot(false), 1));
        cell.publish(Arc::clone(&without));
        while page.adopted() != without.number {
            thread::yield_now();
        }
        let without = without.next(snapshot(false), 1);
        let again = without.next(snapshot(true), 1);
        let port = worker.join().unwrap().expect("the pool was empty");
        let pool = again.pools.find(&POOL).and_then(|index| again.pools.pool(index)).unwrap();
        let holder = Holder { worker: WorkerId(0), flow: FlowIndex(0) };
        assert_eq!((pool.holder(port), pool.leased()), (Some(holder), 1));
    });
}
