//! Workers that lease from one pool at once (I2): four ports in two blocks, one the home of each
//! of two workers.

use std::collections::BTreeSet;
use std::sync::Arc;

use dataplane::limits::{PORT_FIRST, PORTS_PER_POOL};
use dataplane::nat::{Holder, Home, Pool};
use dataplane::types::{FlowIndex, WorkerId};
use loom::thread;

use crate::check;
use crate::plan::POOL;

const PORTS: u32 = PORTS_PER_POOL as u32;

/// A worker, and what it leased.
struct Party {
    worker: WorkerId,
    home: Home,
    flows: u32,
    held: Vec<(u16, Holder)>,
}

impl Party {
    fn new(worker: u8) -> Party {
        let worker = WorkerId(worker);
        Party { worker, home: Home::new(worker, 2), flows: 0, held: Vec::new() }
    }

    fn lease(&mut self, pool: &Pool) -> bool {
        let holder = Holder { worker: self.worker, flow: FlowIndex(self.flows) };
        self.flows += 1;
        let Some(port) = pool.lease(&self.home, holder.flow) else { return false };
        assert_eq!(pool.holder(port), Some(holder), "the holder is who leased");
        self.held.push((port, holder));
        true
    }

    /// Gives its oldest lease back.
    fn release(&mut self, pool: &Pool) {
        let (port, holder) = self.held.remove(0);
        assert!(pool.release(port, holder), "nobody else released it");
    }
}

/// Nobody runs any more: every port has one holder or is free, the counts say how many, and every
/// free port can be leased.
fn settle(pool: &Pool, mut parties: Vec<Party>) {
    let count = |parties: &[Party]| parties.iter().map(|party| party.held.len()).sum::<usize>();
    let held = u32::try_from(count(&parties)).unwrap();
    assert_eq!((pool.leased(), pool.count_leases()), (held, held));
    while parties[0].lease(pool) {}
    assert_eq!(count(&parties), PORTS_PER_POOL, "a free port cannot be leased");
    let held: BTreeSet<u16> =
        parties.iter().flat_map(|party| &party.held).map(|held| held.0).collect();
    assert_eq!(held.len(), PORTS_PER_POOL, "a port has two holders");
    assert_eq!((pool.leased(), pool.count_leases()), (PORTS, PORTS));
}

fn new_pool() -> Arc<Pool> {
    Arc::new(Pool::new(POOL, 1))
}

/// One thread for each worker; gives back what they hold in the end.
fn meet(pool: &Arc<Pool>, parties: [Party; 2], works: [fn(&mut Party, &Pool); 2]) -> Vec<Party> {
    let [mine, theirs] = parties;
    let run = |mut party: Party, work: fn(&mut Party, &Pool)| {
        let pool = Arc::clone(pool);
        move || {
            work(&mut party, &pool);
            party
        }
    };
    let other = thread::spawn(run(theirs, works[1]));
    let mine = run(mine, works[0])();
    vec![mine, other.join().unwrap()]
}

#[test]
fn the_last_ports_go_to_one_worker_each() {
    check(3, || {
        let pool = new_pool();
        let greedy: fn(&mut Party, &Pool) = |party, pool| {
            for _ in 0..3 {
                party.lease(pool);
            }
        };
        let parties = meet(&pool, [Party::new(0), Party::new(1)], [greedy, greedy]);
        let held: usize = parties.iter().map(|party| party.held.len()).sum();
        assert_eq!(held, PORTS_PER_POOL, "six asked for four, and none was given back");
        settle(&pool, parties);
    });
}

/// A pool in which each worker holds its home.
fn full_pool() -> (Arc<Pool>, [Party; 2]) {
    let (pool, mut parties) = (new_pool(), [Party::new(0), Party::new(1)]);
    for party in &mut parties {
        while party.held.len() < PORTS_PER_POOL / 2 {
            assert!(party.lease(&pool));
        }
    }
    (pool, parties)
}

#[test]
fn a_port_released_while_another_worker_fills_its_block_is_not_lost() {
    check(3, || {
        let (pool, parties) = full_pool();
        let turn_over: fn(&mut Party, &Pool) = |party, pool| {
            party.release(pool);
            party.lease(pool);
        };
        settle(&pool, meet(&pool, parties, [turn_over, turn_over]));
    });
}

#[test]
fn a_worker_takes_what_another_gives_back() {
    check(3, || {
        let (pool, parties) = full_pool();
        let steal: fn(&mut Party, &Pool) = |party, pool| {
            party.lease(pool);
            party.lease(pool);
        };
        let give: fn(&mut Party, &Pool) = |party, pool| {
            party.release(pool);
            party.release(pool);
        };
        settle(&pool, meet(&pool, parties, [steal, give]));
    });
}

#[test]
fn a_reader_sees_holders_in_their_order() {
    check(3, || {
        let pool = new_pool();
        let mut last = Party::new(0);
        while last.lease(&pool) {}
        // The whole pool is one worker's; it gives one port back, which the other takes.
        let (port, before) = last.held[0];
        let giver = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || last.release(&pool))
        };
        let taker = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let mut taker = Party::new(1);
                taker.lease(&pool).then(|| taker.held[0])
            })
        };
        let seen = [pool.holder(port), pool.holder(port)];
        giver.join().unwrap();
        let taken = taker.join().unwrap();
        let after = taken.map(|(taken, holder)| {
            assert_eq!(taken, port, "no other port was free");
            holder
        });
        let order = |seen: Option<Holder>| match seen {
            Some(holder) if holder == before => 0,
            None => 1,
            Some(holder) => {
                assert_eq!(Some(holder), after, "a holder that never was");
                2
            }
        };
        assert!(order(seen[0]) <= order(seen[1]), "{seen:?}");
        assert_eq!(pool.holder(port), after);
        assert!(port >= PORT_FIRST);
    });
}
