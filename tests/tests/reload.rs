//! Reloads at awkward moments: a worker that is late, and keeps opening flows under the
//! configuration that it still has.

use dataplane::engine::Verdict;
use dataplane::generation::Generation;
use dataplane::nat::{Holder, Home};
use dataplane::snapshot::{Gate, PoolKey};
use dataplane::types::{FlowIndex, Protocol, ScopeId, WorkerId};
use harness::encode::{TCP, flags};

use harness::topology::{A, B, CLIENT, ENDPOINT, NAT_IP, P, backend};
use harness::world::{Flood, clients};
use harness::{Observed, Shape, Topology, World, observe};

/// A backend is removed while nothing of it is leased; a worker that has not adopted that yet opens
/// a flow to it; the backend comes back before the worker looks at the flow. The flow's lease must
/// be one of the pool in force, or the flow must end: else another flow gets the same tuple (I2).
#[test]
fn a_backend_that_comes_back_knows_its_leases() {
    let mut world = World::new(Topology::with_backends(&[backend(0)]));
    world.topology.set_backends(&[backend(1)]);
    world.publish();
    let ask = |client, station| {
        let shape = Shape::udp((CLIENT, client), (ENDPOINT, 53), b"x");
        shape.to_station(station).encode()
    };
    let (of_a, of_b) = (world.topology.station(A), world.topology.station(B));
    assert_eq!(world.arrive(A, &ask(5000, of_a)), Verdict::Forward(P));
    let one = observe(&world.take().image.bytes).transport();
    world.topology.set_backends(&[backend(0)]);
    world.publish();
    world.adopt(0);
    // The backend's station is asked for anew: packets may wait a moment, and then leave.
    world.arrive(A, &ask(5000, of_a));
    world.left.clear();
    world.arrive(B, &ask(5000, of_b));
    let other = observe(&world.take().image.bytes).transport();
    let ports = (one.source_port, other.source_port);
    assert!(world.sessions().len() == 1 || ports.0 != ports.1, "two flows share {ports:?}");
    world.check_tables();
}

#[test]
fn two_workers_may_adopt_at_different_times() {
    let config = harness::WorldConfig { workers: 2, ..harness::WorldConfig::default() };
    let mut world = World::with(Topology::standard(), config);
    for round in 0..40_u8 {
        let mut backends = vec![backend(0), backend(1), backend(2)];
        backends.remove(usize::from(round % 3));
        world.topology.set_backends(&backends);
        world.publish();
        for (worker, tenant) in [(0, A), (1, B)] {
            let station = world.topology.station(tenant);
            for (address, port) in clients(u32::from(round) * 5, 5) {
                let shape = Shape::udp((address, port), (ENDPOINT, 53), b"x");
                world.arrive_at(worker, tenant, &[shape.to_station(station).encode()]);
            }
            world.adopt(worker);
        }
        world.leap(std::time::Duration::from_millis(30));
        world.left.clear();
    }
    let tally = world.engines.iter().map(|engine| engine.counters().flows_opened);
    assert!(tally.sum::<u64>() > 300);
    world.check_tables();
}

#[test]
fn a_pool_that_drains_leases_no_more_and_comes_back_whole() {
    let mut world = World::new(Topology::with_backends(&[backend(0)]));
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 1_000), |_, _| {});
    world.topology.set_backends(&[backend(1)]);
    world.reload();
    // Both backends' pools exist until the sweep has closed the old flows.
    world.topology.set_backends(&[backend(0)]);
    world.reload();
    assert_eq!(world.sessions().len(), 1_000, "nobody looked at them in between");
    world.check_tables();
    world.pass(std::time::Duration::from_millis(20));
    assert_eq!(world.sessions().len(), 1_000, "looked at now, they live on");
    world.pour(Flood::new(B, Protocol::Udp), clients(0, 1_000), |_, _| {});
    world.check_tables();
}

/// A backend is removed and comes back: its ports are not given again first to the next client, for
/// the old flows' late answers would reach it, whoever's it is (RFC 6888 REQ-8).
#[test]
fn a_backend_that_comes_back_does_not_give_the_same_ports_again_first() {
    let mut world = World::new(Topology::with_backends(&[backend(0)]));
    let mut ports = Vec::new();
    for tenant in [A, B] {
        let shape = Shape::udp((CLIENT, 5000), (ENDPOINT, 53), b"x");
        let station = world.topology.station(tenant);
        world.arrive(tenant, &shape.to_station(station).encode());
        ports.push(observe(&world.take().image.bytes).transport().source_port);
        for number in [1, 2, 0] {
            world.topology.set_backends(&[backend(number)]);
            world.reload();
            world.pass(std::time::Duration::from_millis(100));
        }
        assert!(world.sessions().is_empty(), "nothing of the old flow is left");
    }
    assert_ne!(ports[0], ports[1], "a late answer to `a` would reach `b`");
}

/// A backend is removed while nothing of it is leased: its pools survive that change with their
/// slots, for a worker that is late may still lease; the next change sees whether one did.
#[test]
fn a_pool_that_was_wanted_survives_one_more_change() {
    let (with, without) = ([backend(0), backend(1)], [backend(1)]);
    let [with, without] = [&with[..], &without[..]].map(Topology::with_backends);
    let (home, flow) = (Home::new(WorkerId(0), 1), FlowIndex(7));
    let (scope, protocol) = (ScopeId(P.0), Protocol::Tcp);
    let key = PoolKey { scope, nat_ip: NAT_IP.into(), target: backend(0).into(), protocol };
    let old = Generation::first(with.snapshot(), 1);
    let at = old.pools.find(&key).expect("it may be leased from");
    let leased = |generation: &Generation| {
        let pool = generation.pools.pool(at).filter(|pool| pool.key() == key);
        pool.map(dataplane::nat::Pool::leased)
    };
    let new = old.next(without.snapshot(), 1);
    assert_eq!((new.pools.find(&key), leased(&new)), (None, Some(0)), "kept, but leases no more");
    let late = old.pools.pool(at).expect("the late worker's pool");
    let port = late.lease(&home, flow).expect("it is empty");
    assert_eq!(leased(&new), Some(1), "the late lease is seen");
    // As long as it is leased it stays, through any number of changes, and comes back as it was.
    let third = new.next(without.snapshot(), 1).next(without.snapshot(), 1);
    assert_eq!(leased(&third), Some(1));
    let back = third.next(with.snapshot(), 1);
    assert_eq!((back.pools.find(&key), leased(&back)), (Some(at), Some(1)));
    assert!(late.release(port, Holder { worker: WorkerId(0), flow }));
    let gone = third.next(without.snapshot(), 1);
    assert_eq!(leased(&gone), None, "unwanted before and after, and nothing is leased");
    assert!(gone.pools.iter().all(|pool| pool.key().target == backend(1)));
}

/// A late worker learns at once that a connection is rejected and that its NAT IP is no longer
/// adit's. The client is asked what it expects, to be reset; nobody is in the NAT IP's name, which
/// may be somebody else's by now (I1; simulated world 14086).
#[test]
fn nothing_is_said_in_the_name_of_a_nat_ip_that_is_gone() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.change_ending(|ending| ending.resets = true);
    let mut world = World::new(topology);
    let segment = |from, to, flags, station| {
        Shape { flags, ..Shape::new(TCP, from, to) }.to_station(station).encode()
    };
    let (client, server) = ((CLIENT, 40_000), (ENDPOINT, 443));
    let (of_a, of_p) = (world.topology.station(A), world.topology.station(P));
    world.arrive(A, &segment(client, server, flags::SYN, of_a));
    let opened = observe(&world.take().image.bytes).transport();
    let nat = (NAT_IP, opened.source_port);
    let answer = segment((backend(0), 8080), nat, flags::SYN | flags::ACK, of_p);
    assert_eq!(world.arrive(P, &answer), Verdict::Forward(A));
    world.arrive(A, &segment(client, server, flags::ACK, of_a));
    world.left.clear();
    world.topology.set_nat_ips(&["10.1.0.77".parse().unwrap()]);
    world.topology.set_gate(A, Gate::Rejected);
    world.reload();
    world.pass(std::time::Duration::from_millis(20));
    let said = world.left.iter().filter_map(|left| match observe(&left.image.bytes) {
        Observed::Transport(said) => Some((said.source, said.destination)),
        _ => None,
    });
    let said: Vec<_> = said.collect();
    assert!(!said.is_empty() && said.iter().all(|it| *it == (ENDPOINT, CLIENT)), "{said:?}");
}
