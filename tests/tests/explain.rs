//! What the engine says would become of a packet is what becomes of it, and asking changes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::engine::{Explanation, FlowKey, Verdict};
use dataplane::flow::State;
use dataplane::nat::Pool;
use dataplane::snapshot::Gate;
use dataplane::types::{DeviceIndex, Protocol, ScopeId};
use harness::encode::flags;
use harness::observe;
use harness::random::Random;
use harness::topology::{A, B, CLIENT, ENDPOINT, NAT_IP, P, backend};
use harness::world::{Flood, Socket, clients};
use harness::{Shape, Topology, World, WorldConfig};

fn key(device: DeviceIndex, protocol: Protocol, from: Socket, to: Socket) -> FlowKey {
    FlowKey {
        client: from.0.into(),
        endpoint: to.0.into(),
        client_port: from.1,
        endpoint_port: to.1,
        scope: ScopeId(device.0),
        protocol,
    }
}

fn explain(world: &World, key: &FlowKey) -> Explanation {
    let before = world.engines[0].counters().clone();
    let explanation = world.engines[0].explain(world.now, key);
    assert_eq!(explanation, world.engines[0].explain(world.now, key));
    assert_eq!(before, *world.engines[0].counters(), "asking counts as nothing");
    explanation
}

/// The packet itself.
fn play(world: &mut World, key: &FlowKey) -> Verdict {
    let from = (key.client.ip(), key.client_port);
    let to = (key.endpoint.ip(), key.endpoint_port);
    let shape = match key.protocol {
        Protocol::Tcp => Shape::tcp(from, to, flags::SYN),
        Protocol::Udp => Shape::udp(from, to, b"?"),
    };
    let device = DeviceIndex(key.scope.0);
    let shape = shape.to_station(world.topology.station(device));
    world.arrive(device, &shape.encode())
}

fn leased(world: &World) -> u32 {
    world.generation.pools.iter().map(Pool::leased).sum()
}

/// Explains a packet, plays it and compares; the reason if it was dropped.
fn compare(world: &mut World, key: &FlowKey) -> Option<DropReason> {
    let said = explain(world, key);
    let (sessions, ports) = (world.sessions().len(), leased(world));
    match play(world, key) {
        Verdict::Drop(reason) => {
            assert_eq!(said.outcome, Err(reason), "{said:?}");
            return Some(reason);
        }
        Verdict::Forward(device) => {
            assert_eq!(said.outcome, Ok(()), "{said:?}");
            if let Some(next) = said.next_hop {
                assert_eq!(next.hop.map(|hop| hop.device), Some(device));
            }
        }
        Verdict::Hold => {
            assert_eq!(said.outcome, Ok(()), "{said:?}");
            assert_eq!(said.next_hop.map(|next| next.hop), Some(None));
        }
        other => unreachable!("{other:?} of {key:?}"),
    }
    let flow = world.sessions().into_iter().find(|flow| flow.key == *key);
    let flow = flow?;
    assert_eq!(said.backend.map(|backend| backend.address.ip()), Some(flow.backend));
    if leased(world) == ports + 1 {
        // A flow that makes room may change which NAT IP has more of it.
        assert_eq!(said.nat.map(|nat| nat.nat_ip), Some(flow.nat_ip));
    }
    let is_new = said.flow.is_none();
    let gives_way = usize::from(is_new && said.displaces);
    assert_eq!(world.sessions().len(), sessions + usize::from(is_new) - gives_way, "{said:?}");
    None
}

#[test]
fn what_is_explained_is_what_happens() {
    let mut reasons = BTreeSet::new();
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut topology = Topology::standard();
        topology.set_nat_ips(&[NAT_IP, IpAddr::from([10, 1, 0, 6])]);
        let config = WorldConfig { flows_max: 150, seed, ..WorldConfig::default() };
        let mut world = World::with_silent(topology, config, &[backend(1)]);
        for _ in 0..60 {
            match random.below(12) {
                0 => {
                    let gates = [Gate::Approved, Gate::Pending, Gate::Rejected, Gate::Disconnected];
                    world.topology.set_gate(A, *random.pick(&gates));
                    world.reload();
                }
                1 => {
                    let count = *random.pick(&[0, 1, 2, 3]);
                    world.topology.set_backends(&(0..count).map(backend).collect::<Vec<_>>());
                    world.reload();
                }
                2 => {
                    world.topology.set_gate(A, Gate::Approved);
                    world.topology.set_backends(&[backend(0), backend(1), backend(2)]);
                    world.reload();
                }
                3 => world.detach(*random.pick(&[A, P])),
                4 | 5 => [A, P].into_iter().for_each(|device| world.attach(device)),
                6 => world.pass(Duration::from_secs(*random.pick(&[1, 5, 20, 40]))),
                _ => {}
            }
            let sources = [CLIENT, CLIENT, CLIENT, ENDPOINT, IpAddr::from([192, 0, 2, 1])];
            let targets = [ENDPOINT, ENDPOINT, ENDPOINT, ENDPOINT, IpAddr::from([10, 0, 0, 6])];
            let from = (*random.pick(&sources), *random.pick(&[1_000, 1_001, 1_002, 1_003]));
            let to = *random.pick(&targets);
            let protocol = *random.pick(&[Protocol::Tcp, Protocol::Udp]);
            let port = *random.pick(&[443, 53]);
            let device = *random.pick(&[A, B]);
            reasons.extend(compare(&mut world, &key(device, protocol, from, (to, port))));
        }
    }
    for reason in [
        DropReason::ConnectionPending,
        DropReason::ConnectionRejected,
        DropReason::ConnectionDisconnected,
        DropReason::NoRule,
        DropReason::NoBackend,
        DropReason::NoEndpoint,
        DropReason::SourceSpoofed,
        DropReason::DeviceDown,
        DropReason::Land,
    ] {
        assert!(reasons.contains(&reason), "{reason:?} was not reached: {reasons:?}");
    }
}

#[test]
fn exhausted_ports_and_a_full_table_are_foreseen() {
    let config = WorldConfig { flows_max: 70_000, check_tables: false, ..WorldConfig::default() };
    let mut world = World::with(Topology::with_backends(&[backend(0)]), config);
    world.pour(Flood::new(A, Protocol::Tcp), clients(0, 64_511), |_, _| {});
    let newcomer = key(A, Protocol::Tcp, (CLIENT, 999), (ENDPOINT, 443));
    let said = explain(&world, &newcomer);
    assert_eq!(said.nat.map(|nat| (nat.nat_ip, nat.free)), Some((NAT_IP, 1)));
    assert_eq!(compare(&mut world, &newcomer), None);
    // Nobody answers it, so it gives way; but those who came before it are looked at first, some
    // with each newcomer.
    let mut ports = 1_000..;
    let mut refused = 0;
    let mut next = || key(A, Protocol::Tcp, (CLIENT, ports.next().unwrap()), (ENDPOINT, 443));
    while let Some(reason) = compare(&mut world, &next()) {
        assert_eq!(reason, DropReason::NatPortsExhausted);
        refused += 1;
        assert!(refused < 20, "the unanswered flow gives way at last");
    }
    assert!(refused > 0 && explain(&world, &next()).displaces);
    assert_eq!(compare(&mut world, &next()), None);

    let config = WorldConfig { flows_max: 100, ..config };
    let mut world = World::with(Topology::standard(), config);
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 100), |_, _| {});
    let newcomer = key(B, Protocol::Udp, (CLIENT, 999), (ENDPOINT, 53));
    assert_eq!(compare(&mut world, &newcomer), Some(DropReason::FlowTableFull));
}

#[test]
fn answers_of_backends_are_explained_by_the_flow_that_they_belong_to() {
    let mut world = World::new(Topology::with_backends(&[backend(0)]));
    let asked = key(A, Protocol::Udp, (CLIENT, 4_000), (ENDPOINT, 53));
    assert_eq!(compare(&mut world, &asked), None);
    let seen = observe(&world.take().image.bytes).transport();
    let answer = |port| {
        let to = (seen.source, seen.source_port);
        key(P, Protocol::Udp, (seen.destination, port), to)
    };
    let said = explain(&world, &answer(5353));
    assert_eq!((said.outcome, said.flow.map(|flow| flow.key)), (Ok(()), Some(asked)));
    assert_eq!(compare(&mut world, &answer(5353)), None);
    let wrong = compare(&mut world, &answer(5354));
    assert_eq!(wrong, Some(DropReason::BackendMismatch));
    let stray = FlowKey { endpoint_port: seen.source_port ^ 1, ..answer(5353) };
    assert_eq!(compare(&mut world, &stray), Some(DropReason::UnsolicitedFromProvider));
}

/// Ended by an operator: as if its time were over.
#[test]
fn a_session_is_ended_by_its_number_and_key() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.change_ending(|ending| ending.resets = true);
    let mut world = World::new(topology);
    world.pour(Flood::new(A, Protocol::Tcp), clients(0, 2), |_, _| {});
    let [first, second] = world.sessions()[..] else { panic!("two flows") };
    let now = world.now;
    let engine = &mut world.engines[0];
    assert!(engine.end_session(now, first.number, &second.key).is_none(), "another's number");
    let ended = engine.end_session(now, first.number, &first.key);
    assert_eq!(ended.map(|session| session.key), Some(first.key));
    assert!(engine.end_session(now, first.number, &first.key).is_none(), "ended already");
    let state = engine.session(now, first.number).map(|session| session.state);
    assert_eq!(state, Some(State::Resetting));
    let said = explain(&world, &first.key);
    assert_eq!(said.outcome, Ok(()), "a SYN opens a new one");
    world.pass(Duration::from_secs(3));
    let left: Vec<_> = world.sessions().into_iter().map(|session| session.key).collect();
    assert_eq!(left, [second.key]);
    world.check_tables();
}
