//! Port pools filled to the last port, emptied, and filled again: the capacity that is promised is
//! the capacity that is there, whatever the number of workers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::hash::Keys;
use dataplane::lb;
use dataplane::packet::FlowKey;
use dataplane::types::{Persistence, Protocol, ScopeId, ServiceIndex, WorkerId};
use harness::encode::flags;
use harness::topology::{A, B, ENDPOINT, NAT_IP, P, backend};
use harness::world::{Flood, Reach, Socket, Tally, clients};
use harness::{Shape, Topology, World, WorldConfig, observe};

const PORTS: usize = 64_512;

fn config(workers: u8, flows_max: usize) -> WorldConfig {
    WorldConfig { workers, flows_max, check_tables: false, ..WorldConfig::default() }
}

fn exhausted(count: usize) -> BTreeMap<DropReason, usize> {
    BTreeMap::from([(DropReason::NatPortsExhausted, count)])
}

fn leased(world: &World) -> usize {
    let pools = world.generation.pools.iter();
    pools.map(|pool| usize::try_from(pool.leased()).unwrap_or(0)).sum()
}

fn nat_ips(count: u8) -> Vec<IpAddr> {
    (0..count).map(|number| IpAddr::from([10, 1, 1, number])).collect()
}

#[test]
fn one_nat_ip_and_one_backend_give_64512_flows_for_each_protocol() {
    let mut world = World::with(Topology::with_backends(&[backend(0)]), config(1, 200_000));
    for protocol in Protocol::ALL {
        let tally = world.pour(Flood::new(A, protocol), clients(0, 64_512), |_, _| {});
        assert_eq!(tally, Tally { forwarded: PORTS, ..Tally::default() }, "{protocol:?}");
        // Refusals are exact and leave nothing behind, from any tenant.
        for tenant in [A, B] {
            let late = world.pour(Flood::new(tenant, protocol), clients(100_000, 77), |_, _| {});
            assert_eq!(late, Tally { forwarded: 0, dropped: exhausted(77) });
        }
        // Those who are in stay in.
        let again = world.pour(Flood::new(A, protocol), clients(0, 64_512), |_, _| {});
        assert_eq!(again.forwarded, PORTS);
    }
    assert_eq!(world.dropped(DropReason::NatPortsExhausted), 4 * 77);
    // The NAT IP knows towards whom it had none left.
    let refused = world.generation.pools.iter().map(|pool| (pool.key().protocol, pool.refused()));
    let refused: BTreeMap<Protocol, u64> = refused.collect();
    assert_eq!(refused, BTreeMap::from(Protocol::ALL.map(|protocol| (protocol, 2 * 77))));
    assert_eq!(leased(&world), 2 * PORTS);
    world.check_tables();
}

/// The backend that the engine's hash chooses for a client, by the public choice function.
fn chosen(world: &World, protocol: Protocol, seed: u64, client: Socket) -> IpAddr {
    let snapshot = &world.generation.snapshot;
    let link = world.topology.plan.endpoints[0].link;
    let port = if protocol == Protocol::Tcp { 443 } else { 53 };
    let key = FlowKey {
        client: client.0.into(),
        client_port: client.1,
        endpoint: ENDPOINT.into(),
        endpoint_port: port,
        scope: ScopeId(0),
        protocol,
    };
    let hash = key.balance_hash(&Keys::new(!seed), link, Persistence::None);
    let service = snapshot.service(ServiceIndex(0)).expect("there is a service");
    let rule = service.rule(protocol, port).expect("there is a rule");
    lb::choose(snapshot, rule, hash).expect("there are backends").0.address.ip()
}

fn fill_eight_by_two(protocol: Protocol) {
    const FLOWS: usize = 8 * 2 * PORTS;
    let mut topology = Topology::with_backends(&[backend(0), backend(1)]);
    topology.set_nat_ips(&nat_ips(8));
    let mut world = World::with(topology, config(1, FLOWS + 10));
    let generation = Arc::clone(&world.generation);
    let left_of = |address: IpAddr| -> usize {
        let mine = |pool: &&dataplane::nat::Pool| {
            pool.key().target == address && pool.key().protocol == protocol
        };
        let pools = generation.pools.iter().filter(mine);
        pools.map(|pool| PORTS - pool.leased() as usize).sum()
    };
    let (mut tried, mut admitted, mut refused) = (0, 0, Vec::new());
    while leased(&world) < FLOWS {
        assert!(tried < 1_200_000, "pools fill without wasting clients");
        let step = if tried < 1_000_000 { 100_000 } else { 1_000 };
        let mut late = Vec::new();
        let tally = world.pour(Flood::new(A, protocol), clients(tried, step), |client, verdict| {
            if verdict == Verdict::Drop(DropReason::NatPortsExhausted) {
                late.push(client);
            }
        });
        tried += step;
        admitted += tally.forwarded;
        assert_eq!(tally.dropped.values().sum::<usize>(), late.len(), "no other reason");
        refused.push(late);
        // A refusal is explained by its backend being full, and by nothing else.
        for &client in refused.last().into_iter().flatten() {
            let address = chosen(&world, protocol, 1, client);
            assert_eq!(left_of(address), 0, "{client:?} was refused while {address} had ports");
        }
    }
    // Of a batch in which ports ran out, some gave way to others before anybody answered them.
    let displaced = usize::try_from(world.engines[0].counters().flows_displaced).unwrap_or(0);
    assert_eq!(admitted, FLOWS + displaced);
    let refusals: usize = refused.iter().map(Vec::len).sum();
    assert_eq!(refusals + admitted, usize::try_from(tried).unwrap_or(0));
    assert_eq!(world.dropped(DropReason::NatPortsExhausted), refusals as u64);
    assert_eq!(leased(&world), FLOWS);
    world.check_tables();
}

#[test]
fn eight_nat_ips_and_two_backends_give_1032192_tcp_flows() {
    fill_eight_by_two(Protocol::Tcp);
}

#[test]
fn eight_nat_ips_and_two_backends_give_1032192_udp_flows() {
    fill_eight_by_two(Protocol::Udp);
}

#[test]
fn a_flood_that_nobody_answers_takes_no_port_from_anybody() {
    for protocol in Protocol::ALL {
        let mut world = World::with(Topology::with_backends(&[backend(0)]), config(1, 200_000));
        let kept = world.pour(Flood::new(B, protocol), clients(0, 40_000), |_, _| {});
        let flood = Flood { reach: Reach::First, ..Flood::new(A, protocol) };
        let flooded = world.pour(flood, clients(0, 100_000), |_, _| {});
        assert_eq!(kept.forwarded, 40_000);
        // A handshake that nobody answers gives way at once. The port of a datagram is no other
        // client's while its answer may be under way (I1).
        let taken = if protocol == Protocol::Tcp { 100_000 } else { PORTS - 40_000 };
        assert_eq!(flooded.forwarded, taken, "{protocol:?}");
        if protocol == Protocol::Udp {
            let early = world.pour(Flood::new(B, protocol), clients(40_000, 10), |_, _| {});
            assert_eq!(early.dropped, exhausted(10));
        }
        // Those who came before stay, and those who come now get in, until no port is left.
        world.pass(Duration::from_secs(1));
        let again = world.pour(Flood::new(B, protocol), clients(0, 64_512), |_, _| {});
        assert_eq!(again.forwarded, 64_512);
        assert_eq!(leased(&world), PORTS);
        let displaced = usize::try_from(world.engines[0].counters().flows_displaced);
        assert_eq!(displaced, Ok(taken));
        assert!(world.sessions().iter().all(|flow| flow.key.scope == ScopeId(1)));
        world.check_tables();
    }
}

#[test]
fn expired_flows_give_every_port_back() {
    let mut world = World::with(Topology::with_backends(&[backend(0)]), config(1, 70_000));
    for round in 0..2 {
        let tally = world.pour(Flood::new(A, Protocol::Udp), clients(0, 64_512), |_, _| {});
        assert_eq!(tally.forwarded, PORTS, "round {round}");
        world.pass(Duration::from_millis(239_900));
        assert_eq!(leased(&world), PORTS);
        world.pass(Duration::from_millis(200));
        assert_eq!(leased(&world), 0);
        world.check_tables();
    }
}

#[test]
fn reset_connections_give_every_port_back_after_the_closing_timeout() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.set_timeouts([3000, 3000, 30, 3000]);
    let mut world = World::with(topology, config(1, 70_000));
    world.pour(Flood::new(A, Protocol::Tcp), clients(0, 64_512), |_, _| {});
    for session in world.sessions() {
        let from = (session.key.client.ip(), session.key.client_port);
        let reset = Shape::tcp(from, (ENDPOINT, 443), flags::RST);
        world.arrive(A, &reset.to_station(world.topology.station(A)).encode());
    }
    assert_eq!(world.left.len(), PORTS);
    world.pass(Duration::from_millis(29_900));
    assert_eq!(leased(&world), PORTS);
    world.pass(Duration::from_millis(200));
    assert_eq!(leased(&world), 0);
    let tally = world.pour(Flood::new(B, Protocol::Tcp), clients(0, 64_512), |_, _| {});
    assert_eq!(tally.forwarded, PORTS);
    world.check_tables();
}

#[test]
fn a_port_is_used_again_only_after_all_others() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.set_timeouts([30, 300, 30, 2]);
    let mut world = World::with(topology, config(1, 70_000));
    let mut used = BTreeSet::new();
    for (first, count) in [(0, 30_000), (30_000, 30_000), (0, 4_512)] {
        world.pour(Flood::new(A, Protocol::Udp), clients(first, count), |_, _| {});
        for session in world.sessions() {
            assert!(used.insert(session.nat_port), "{} came back early", session.nat_port);
        }
        world.pass(Duration::from_millis(2_200));
        assert_eq!(leased(&world), 0);
    }
    assert_eq!(used.len(), PORTS);
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 1), |_, _| {});
    assert_eq!(world.sessions().len(), 1);
}

fn owner((client, client_port): Socket, workers: u8) -> usize {
    let key = FlowKey {
        client: client.into(),
        client_port,
        endpoint: ENDPOINT.into(),
        endpoint_port: 53,
        scope: ScopeId(0),
        protocol: Protocol::Udp,
    };
    usize::from(key.owner(workers).0)
}

#[test]
fn two_workers_lose_no_capacity_whoever_owns_the_clients() {
    // All clients are worker 0's; all are worker 1's; seven of eight are worker 0's.
    for share in [8, 0, 7] {
        let mut world = World::with(Topology::with_backends(&[backend(0)]), config(2, 70_000));
        let of_worker =
            |wanted: usize| clients(0, 400_000).filter(move |client| owner(*client, 2) == wanted);
        let at_first = PORTS / 8 * share;
        let mut admitted = 0;
        for (worker, count) in [(0, at_first), (1, PORTS - at_first)] {
            let flood = Flood { worker, ..Flood::new(A, Protocol::Udp) };
            let tally = world.pour(flood, of_worker(worker).take(count), |_, _| {});
            assert_eq!(tally.forwarded, count, "worker {worker}, share {share}");
            admitted += tally.forwarded;
        }
        assert_eq!(admitted, PORTS);
        for worker in [0, 1] {
            let flood = Flood { worker, ..Flood::new(A, Protocol::Udp) };
            let late = world.pour(flood, of_worker(worker).skip(PORTS).take(10), |_, _| {});
            assert_eq!(late.dropped, exhausted(10));
        }
        world.check_tables();
    }
}

#[test]
fn answers_that_arrive_at_the_wrong_worker_are_handed_over_and_delivered() {
    let mut world = World::with(Topology::with_backends(&[backend(0)]), config(2, 4_000));
    for worker in [0, 1] {
        let mine = clients(0, 4_000).filter(|client| owner(*client, 2) == worker);
        world.pour(Flood { worker, ..Flood::new(A, Protocol::Udp) }, mine.take(1_000), |_, _| {});
    }
    // The checker compares passing packets with those it saw: let it see these flows.
    let sessions = world.sessions();
    for session in &sessions {
        let from = (session.key.client.ip(), session.key.client_port);
        let ask = Shape::udp(from, (ENDPOINT, 53), b"ask").to_station(world.topology.station(A));
        world.arrive_at(owner(from, 2), A, &[ask.encode()]);
    }
    world.left.clear();
    for session in &sessions {
        let client = (session.key.client.ip(), session.key.client_port);
        let from = (session.backend, session.backend_port);
        let answer = Shape::udp(from, (session.nat_ip, session.nat_port), b"answer");
        let answer = answer.to_station(world.topology.station(P)).encode();
        let right = owner(client, 2);
        let verdicts = world.arrive_at(1 - right, P, &[answer]);
        let peer = WorkerId(u8::from(right == 1));
        assert_eq!(verdicts, [Verdict::HandOver(peer)]);
        let left = world.take();
        let packet = observe(&left.image.bytes).transport();
        assert_eq!(left.device, A);
        assert_eq!((packet.destination, packet.destination_port), client);
    }
    assert_eq!(sessions.len(), 2_000);
}

#[test]
fn sixty_thousand_flows_towards_one_backend_share_no_return_tuple() {
    let mut world = World::with(Topology::with_backends(&[backend(0)]), config(1, 70_000));
    let tally = world.pour(Flood::new(A, Protocol::Tcp), clients(0, 60_000), |_, _| {});
    assert_eq!(tally.forwarded, 60_000);
    let tuples: BTreeSet<u16> = world.sessions().iter().map(|flow| flow.nat_port).collect();
    assert_eq!(tuples.len(), 60_000);
    assert!(world.sessions().iter().all(|flow| flow.nat_ip == NAT_IP));
    world.check_tables();
}

#[test]
fn a_million_flows_over_64_backends_share_no_return_tuple() {
    let backends: Vec<IpAddr> = (0..64).map(|number| IpAddr::from([10, 1, 2, number])).collect();
    let mut world = World::with(Topology::with_backends(&backends), config(1, 1_000_000));
    let tally = world.pour(Flood::new(A, Protocol::Tcp), clients(0, 1_000_000), |_, _| {});
    assert_eq!(tally, Tally { forwarded: 1_000_000, ..Tally::default() });
    assert_eq!(leased(&world), 1_000_000);
    world.check_tables();
}
