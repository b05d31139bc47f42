//! The ports of a pool: all 65,536 numbers, block by block and port by port, against a plain set.

use std::collections::BTreeSet;

use dataplane::limits::{BLOCKS_PER_POOL, PORT_FIRST, PORTS_PER_BLOCK, PORTS_PER_POOL};
use dataplane::nat::{Holder, Home, Pool};
use dataplane::snapshot::PoolKey;
use dataplane::types::{Address, FlowIndex, Protocol, ScopeId, WorkerId};

/// A pool with the set of what is free in it.
struct Watched {
    pool: Pool,
    free: BTreeSet<u16>,
    homes: Vec<Home>,
}

impl Watched {
    fn new(seed: u64, workers: u8) -> Watched {
        let key = PoolKey {
            scope: ScopeId(0),
            nat_ip: Address::from([10, 1, 0, 4]),
            target: Address::from([10, 1, 0, 10]),
            protocol: Protocol::Udp,
        };
        Watched {
            pool: Pool::new(key, seed),
            free: (PORT_FIRST..=u16::MAX).collect(),
            homes: (0..workers).map(|worker| Home::new(WorkerId(worker), workers)).collect(),
        }
    }

    /// A flow for each port, so that its number tells who holds it.
    fn holder(&self, port: u16) -> Holder {
        let worker = WorkerId(block(port).to_le_bytes()[0] % self.workers());
        Holder { worker, flow: FlowIndex(u32::from(port)) }
    }

    fn workers(&self) -> u8 {
        u8::try_from(self.homes.len()).unwrap()
    }

    /// Leases as a worker, and checks that the port was free.
    fn lease(&mut self, worker: usize, flow: FlowIndex) -> Option<u16> {
        let port = self.pool.lease(&self.homes[worker], flow);
        match port {
            Some(port) => assert!(self.free.remove(&port), "{port} was leased already"),
            None => assert!(self.free.is_empty(), "{} ports are free", self.free.len()),
        }
        port
    }

    /// Leases everything, so that every port is held by the flow of its number: what a first round
    /// leased is given back and leased again under that number, which is the only one free.
    fn fill(&mut self) {
        while self.lease(0, FlowIndex(0)).is_some() {}
        for port in PORT_FIRST..=u16::MAX {
            let before = Holder { worker: WorkerId(0), flow: FlowIndex(0) };
            assert!(self.pool.release(port, before));
            self.free.insert(port);
            let holder = self.holder(port);
            assert_eq!(self.lease(usize::from(holder.worker.0), holder.flow), Some(port));
        }
        self.check();
    }

    fn release(&mut self, port: u16) {
        assert!(self.pool.release(port, self.holder(port)), "{port}");
        assert!(!self.pool.release(port, self.holder(port)), "{port} is released once");
        assert!(self.free.insert(port));
    }

    fn check(&self) {
        let leased = u32::try_from(PORTS_PER_POOL - self.free.len()).unwrap();
        assert_eq!((self.pool.leased(), self.pool.count_leases()), (leased, leased));
    }
}

fn block(port: u16) -> usize {
    usize::from(port - PORT_FIRST) / PORTS_PER_BLOCK
}

fn ports_of(block: usize) -> impl Iterator<Item = u16> {
    let first = PORT_FIRST + u16::try_from(block * PORTS_PER_BLOCK).unwrap();
    (0..64).map(move |at| first + at)
}

#[test]
fn every_port_is_leased_once_and_well_known_ones_never() {
    for (seed, workers) in [(1, 1), (2, 2), (3, 3), (4, 64)] {
        let mut watched = Watched::new(seed, workers);
        watched.fill();
        for port in 0..PORT_FIRST {
            let nobody = Holder { worker: WorkerId(0), flow: FlowIndex(u32::from(port)) };
            assert_eq!(watched.pool.holder(port), None);
            assert!(!watched.pool.release(port, nobody));
        }
        for port in PORT_FIRST..=u16::MAX {
            assert_eq!(watched.pool.holder(port), Some(watched.holder(port)));
        }
        watched.check();
    }
}

#[test]
fn in_a_full_pool_every_port_is_found_again_by_every_worker() {
    let mut watched = Watched::new(5, 2);
    watched.fill();
    for port in PORT_FIRST..=u16::MAX {
        for worker in 0..2_u8 {
            let holder = watched.pool.holder(port).unwrap();
            assert!(watched.pool.release(port, holder));
            watched.free.insert(port);
            let flow = FlowIndex(u32::from(port));
            assert_eq!(watched.lease(usize::from(worker), flow), Some(port));
            let holder = Some(Holder { worker: WorkerId(worker), flow });
            assert_eq!(watched.pool.holder(port), holder);
        }
    }
    watched.check();
}

#[test]
fn every_block_is_given_back_whole_and_leased_again_whole() {
    for workers in [1_u8, 2] {
        let mut watched = Watched::new(6, workers);
        watched.fill();
        for block in 0..BLOCKS_PER_POOL {
            ports_of(block).for_each(|port| watched.release(port));
            watched.check();
            // The worker whose home it is not finds it too, when nothing else is free.
            let worker = (block + 1) % usize::from(workers);
            let holders = ports_of(block).map(|port| watched.holder(port)).collect::<Vec<_>>();
            for holder in &holders {
                assert!(watched.lease(worker, holder.flow).is_some());
            }
            assert_eq!(watched.lease(worker, FlowIndex(0)), None);
            // Under their own numbers again.
            for port in ports_of(block) {
                let holder = watched.pool.holder(port).unwrap();
                assert!(watched.pool.release(port, holder));
                watched.free.insert(port);
                let own = watched.holder(port);
                assert_eq!(watched.lease(usize::from(own.worker.0), own.flow), Some(port));
            }
        }
        watched.check();
    }
}

#[test]
fn ports_come_back_in_every_order() {
    let count = u32::try_from(PORTS_PER_POOL).unwrap();
    // Each is a walk over all positions: up, down, in blocks of the last first, and scattered by
    // factors that share no divisor with 64,512 = 2^10 · 3^2 · 7.
    let orders: [&dyn Fn(u32) -> u32; 6] = [
        &|at| at,
        &|at| count - 1 - at,
        &|at| (count / 64 - 1 - at / 64) * 64 + at % 64,
        &|at| at % 1_008 * 64 + at / 1_008,
        &|at| at * 5 % count,
        &|at| u32::try_from(u64::from(at) * 40_507 % u64::from(count)).unwrap(),
    ];
    let mut watched = Watched::new(7, 2);
    watched.fill();
    for order in orders {
        for at in 0..count {
            watched.release(PORT_FIRST + u16::try_from(order(at)).unwrap());
        }
        watched.check();
        assert_eq!(watched.free.len(), PORTS_PER_POOL);
        watched.fill();
    }
}

#[test]
fn two_workers_keep_to_their_homes_until_these_are_full() {
    let mut watched = Watched::new(8, 2);
    let home = |worker: usize| (0..BLOCKS_PER_POOL).filter(move |block| block % 2 == worker);
    let [mine, theirs] = [0, 1].map(|worker| home(worker).count() * PORTS_PER_BLOCK);
    assert_eq!((mine, mine + theirs), (PORTS_PER_POOL / 2, PORTS_PER_POOL));
    for flow in (0..PORTS_PER_POOL / 2).map(|flow| FlowIndex(u32::try_from(flow).unwrap())) {
        for worker in 0..2 {
            let port = watched.lease(worker, flow).unwrap();
            assert_eq!(block(port) % 2, worker, "{port}");
        }
    }
    assert_eq!(watched.lease(0, FlowIndex(0)), None);
    // One worker's home dries up: it takes from the other's, port by port, and only then.
    for port in home(1).flat_map(ports_of).collect::<Vec<_>>() {
        let holder = watched.pool.holder(port).unwrap();
        assert!(watched.pool.release(port, holder));
        watched.free.insert(port);
    }
    for _ in 0..theirs {
        let port = watched.lease(0, FlowIndex(0)).unwrap();
        assert_eq!(block(port) % 2, 1, "{port}");
    }
    assert_eq!(watched.lease(1, FlowIndex(0)), None);
    watched.check();
}
