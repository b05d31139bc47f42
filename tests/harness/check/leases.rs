//! I2 and I3: flows and leases name each other, one to one, under both keys.

use std::collections::{HashMap, HashSet};

use dataplane::engine::Engine;
use dataplane::flow::State;
use dataplane::generation::Generation;
use dataplane::hash::Keys;
use dataplane::nat::Holder;
use dataplane::snapshot::PoolKey;
use dataplane::types::{FlowIndex, LinkId, PoolIndex, Protocol, WorkerId};

/// `others` says how many ports of a pool are leased by nobody's flow: a test may hold some.
pub(super) fn check(
    engines: &[&Engine],
    generation: &Generation,
    seed: u64,
    others: impl Fn(&PoolKey) -> u32,
) {
    let mut tuples = HashSet::new();
    let mut leased: HashMap<u16, u32> = HashMap::new();
    let mut used: HashMap<LinkId, u32> = HashMap::new();
    let keys = Keys::new(seed);
    for (worker, engine) in (0..).map(WorkerId).zip(engines) {
        let (mut live, mut unanswered) = (0, 0);
        for number in (0..).map(FlowIndex).take(engine.flows().extent()) {
            let Some(flow) = engine.flows().get(number) else {
                continue;
            };
            live += 1;
            unanswered += u64::from(flow.state.is_embryonic());
            let (nat_ip, nat_port) = flow.nat();
            let (target, target_port) = flow.target();
            let protocol: Protocol = flow.key().protocol;
            let holder = Holder { worker, flow: number };
            let pool = engine.generation().pools.pool(flow.pool);
            // A flow that the configuration in force has not judged yet may have lost its lease
            // with its pool; it must not survive that judgement.
            let is_judged = flow.generation == engine.generation().number || flow.state.is_ended();
            // So may it be of a connection that is gone, if its worker was late by two generations.
            if is_judged || generation.usages.find(flow.link).is_some() {
                *used.entry(flow.link).or_default() += 1;
            }
            let holds = pool.is_some_and(|pool| pool.holder(nat_port) == Some(holder));
            if !is_judged && !holds {
                continue;
            }
            let pool = pool.expect("I2: a live flow's pool exists");
            let tuple = (pool.key().scope, nat_ip, nat_port, target, protocol);
            assert!(tuples.insert(tuple), "I2: two live flows share {tuple:?}");
            let of_pool = (pool.key().nat_ip, pool.key().target, pool.key().protocol);
            assert_eq!(of_pool, (nat_ip, target, protocol), "I2: the lease's pool");
            assert_eq!(
                pool.holder(nat_port),
                Some(holder),
                "I3: the return key {tuple:?}:{target_port} names its flow"
            );
            let found = engine.flows().lookup(&flow.key(), flow.key().hash(&keys));
            match flow.state {
                State::Resting => assert_ne!(found, Some(number), "a resting flow is forgotten"),
                _ => assert_eq!(found, Some(number), "I3: the forward key names its flow"),
            }
            *leased.entry(flow.pool.0).or_default() += 1;
        }
        assert_eq!(live, engine.flows().len(), "every record is live or free");
        let counted = engine.counters().flows_unanswered;
        assert_eq!(unanswered, counted, "flows that nobody has answered yet");
    }
    let same_generation = |engine: &&Engine| engine.generation().number == generation.number;
    if engines.iter().all(same_generation) {
        check_pools(generation, &leased, others);
        for usage in generation.usages.iter() {
            let expected = used.remove(&usage.link()).unwrap_or(0);
            assert_eq!(usage.flows(), expected, "the flows of {:?}", usage.link());
        }
        assert!(used.is_empty(), "flows of connections that nobody counts: {used:?}");
    }
}

fn check_pools(
    generation: &Generation,
    flows: &HashMap<u16, u32>,
    others: impl Fn(&PoolKey) -> u32,
) {
    let pools = &generation.pools;
    // Slots between them may be empty.
    let filled = (0..).filter_map(|slot| Some((slot, pools.pool(PoolIndex(slot))?)));
    for (slot, pool) in filled.take(pools.iter().count()) {
        let what = pool.key();
        let expected = flows.get(&slot).copied().unwrap_or(0) + others(&what);
        assert_eq!(pool.leased(), expected, "I2: flows and leases of {what:?}");
        assert_eq!(pool.count_leases(), expected, "I2: ports taken of {what:?}");
    }
}
