//! What RFC 4787 asks of UDP and RFC 5382 of TCP in nearly the same words, asserted for either.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::snapshot::{EndpointPlan, Gate, IcmpErrors};
use dataplane::types::{LinkId, Protocol, ScopeId, ServiceIndex};
use harness::encode::{TCP, UDP, flags};
use harness::icmp::{ECHO_REPLY, ECHO_REQUEST, IcmpShape};
use harness::topology::{A, B, CLIENT, ENDPOINT, NAT_IP, P, backend};
use harness::world::{Flood, Socket, clients};
use harness::{Shape, Topology, World, WorldConfig};

use crate::icmp::{answering_world, error, ping, send_error, translating_world};
use crate::talk::{Flow, add_rule, large_world, pass, send, service_port, sockets, world};

/// A client's socket keeps its mapping towards one endpoint's port, and has another for another.
pub(crate) fn mappings_are_of_socket_and_endpoint(protocol: u8) {
    let mut topology = Topology::with_backends(&[backend(0)]);
    add_rule(&mut topology, protocol, 7000);
    let mut world = World::new(topology);
    let client = (CLIENT, 5000);
    let one = Flow::open(&mut world, protocol, A, client);
    let other = Flow::begin(&mut world, protocol, (A, client), (ENDPOINT, 7000)).unwrap();
    other.establish(&mut world);
    assert_ne!(one.nat, other.nat, "each endpoint's port has its own mapping");
    for _ in 0..3 {
        one.assert_alive(&mut world);
        other.assert_alive(&mut world);
    }
    assert_eq!(world.sessions().len(), 2);
}

/// No two live flows share a mapping towards a backend, and no lease is of a well-known port.
pub(crate) fn ports_are_never_shared(protocol: u8) {
    let mut world = large_world(Topology::with_backends(&[backend(0)]));
    let mut mappings = BTreeSet::new();
    for tenant in [A, B] {
        for port in [1, 1023, 1024, 65_535] {
            let flow = Flow::open(&mut world, protocol, tenant, (CLIENT, port));
            assert!(flow.nat.1 >= 1024, "{} of {port}", flow.nat.1);
            assert!(mappings.insert(flow.nat), "{:?} is shared", flow.nat);
        }
    }
    // The last port is lent, and then the next flow is refused instead of sharing one.
    let kind = if protocol == TCP { Protocol::Tcp } else { Protocol::Udp };
    let tally = world.pour(Flood::new(A, kind), clients(0, 64_604), |_, _| {});
    let refused = tally.dropped.get(&DropReason::NatPortsExhausted);
    assert_eq!((tally.forwarded, refused), (64_504, Some(&100)));
    let held: BTreeSet<_> = world.sessions().iter().map(|f| (f.nat_ip, f.nat_port)).collect();
    assert_eq!(held.len(), 64_512);
    world.check_tables();
}

/// Only the backend that was chosen may answer, from the port that was asked.
pub(crate) fn only_the_chosen_backend_answers(protocol: u8) {
    let mut world = World::new(Topology::standard());
    let flow = Flow::open(&mut world, protocol, A, (CLIENT, 5000));
    let (address, port) = flow.backend;
    let stranger = (0..3).map(backend).find(|other| *other != address).unwrap();
    let mut from = |source| {
        let shape = Shape::new(protocol, source, flow.nat);
        send(&mut world, P, Shape { flags: flow.answer(flags::ACK).flags, ..shape }).map(drop)
    };
    assert_eq!(from((address, port + 1)), Err(DropReason::BackendMismatch));
    assert_eq!(from((stranger, port)), Err(DropReason::UnsolicitedFromProvider));
    assert_eq!(from((IpAddr::from([10, 1, 7, 7]), port)), Err(DropReason::UnsolicitedFromProvider));
    flow.assert_alive(&mut world);
}

/// A client in the provider's own network, and where it finds an endpoint.
const NEIGHBOR: Socket = (IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 77)), 5000);
const NEIGHBORS_ENDPOINT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 5));

/// A flow between a client and a backend of one network, through an endpoint there.
pub(crate) fn flow_beside_the_backend(protocol: u8) -> (World, Flow) {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.plan.services[0].treatment.icmp_errors = IcmpErrors::Translate;
    topology.plan.endpoints.push(EndpointPlan {
        link: LinkId(900),
        scope: ScopeId(P.0),
        addresses: NEIGHBORS_ENDPOINT.into(),
        service: ServiceIndex(0),
        gate: Gate::Approved,
        answers_echo: false,
    });
    let mut world = World::new(topology);
    let to = (NEIGHBORS_ENDPOINT, service_port(protocol));
    let flow = Flow::begin(&mut world, protocol, (P, NEIGHBOR), to).expect("it may open");
    flow.establish(&mut world);
    (world, flow)
}

/// A client in the provider's own network reaches a backend there through an endpoint there; no
/// client reaches another's mapping.
pub(crate) fn a_client_beside_the_backend_is_served(protocol: u8) {
    let (mut world, flow) = flow_beside_the_backend(protocol);
    flow.assert_alive(&mut world);
    assert_ne!(flow.nat.0, NEIGHBOR.0, "the backend sees a NAT IP, not its neighbor");
    // From inside, and from beside the backend, another's mapping is out of reach.
    let to_mapping =
        |host| Shape { flags: flags::SYN, ..Shape::new(protocol, (host, 6000), flow.nat) };
    assert_eq!(send(&mut world, A, to_mapping(CLIENT)).map(drop), Err(DropReason::NoEndpoint));
    let outcome = send(&mut world, P, to_mapping(NEIGHBOR.0)).map(drop);
    assert_eq!(outcome, Err(DropReason::UnsolicitedFromProvider));
}

/// Errors about a flow between a client and a backend of one network are translated both ways.
pub(crate) fn errors_beside_the_backend_are_translated() {
    let (mut world, flow) = flow_beside_the_backend(UDP);
    let of_backend = error(flow.backend.0, (3, 3), &flow.outgoing(0));
    let (device, seen) = send_error(&mut world, P, of_backend).expect("it passes");
    assert_eq!((device, seen.source, seen.destination), (P, NEIGHBORS_ENDPOINT, NEIGHBOR.0));
    assert_eq!(seen.quoted, (UDP, flow.client, flow.endpoint));
    let of_client = error(NEIGHBOR.0, (3, 3), &flow.incoming(0));
    let (device, seen) = send_error(&mut world, P, of_client).expect("it passes");
    assert_eq!((device, seen.source, seen.destination), (P, flow.nat.0, flow.backend.0));
    assert_eq!(seen.quoted, (UDP, flow.backend, flow.nat));
}

/// An echo request is answered, now and much later, and leaves nothing behind that could time out.
pub(crate) fn echo_needs_no_mapping() {
    let mut world = answering_world();
    for id in [7, 8, 7] {
        assert_eq!(ping(&mut world, id), Ok(()));
        assert!(world.sessions().is_empty());
        assert!(world.generation.pools.iter().all(|pool| pool.leased() == 0));
        world.leap(Duration::from_secs(3600));
    }
    // There is no mapping by which a backend's reply, or request, could reach a client.
    for kind in [ECHO_REPLY, ECHO_REQUEST] {
        let echo = IcmpShape::echo(kind, 7, 3, b"ping").between(backend(0), NAT_IP);
        assert_eq!(pass(&mut world, P, echo).map(drop), Err(DropReason::IcmpUnsupported));
    }
}

/// Flows of one client spread over all NAT IPs.
pub(crate) fn a_clients_flows_spread_over_the_nat_ips(protocol: u8) {
    let mut topology = Topology::with_backends(&[backend(0)]);
    let nat_ips: Vec<_> = (0..8).map(|at| IpAddr::from([10, 1, 1, at])).collect();
    topology.set_nat_ips(&nat_ips);
    let mut world = World::new(topology);
    let flows: Vec<_> =
        sockets(CLIENT, 200).map(|socket| Flow::open(&mut world, protocol, A, socket)).collect();
    let used: BTreeSet<_> = flows.iter().map(|flow| flow.nat.0).collect();
    assert_eq!(used.into_iter().collect::<Vec<_>>(), nat_ips, "one client, every NAT IP");
    flows.iter().for_each(|flow| flow.assert_alive(&mut world));
}

/// Ports run upwards from a start that only the seed decides, whatever ports the clients use.
pub(crate) fn ports_run_from_a_secret_start(protocol: u8) {
    let first_ports = |seed| {
        let config = WorldConfig { seed, ..WorldConfig::default() };
        let mut world = World::with(Topology::with_backends(&[backend(0)]), config);
        [(A, 5000), (B, 5000), (A, 4000)]
            .map(|(tenant, port)| Flow::open(&mut world, protocol, tenant, (CLIENT, port)).nat.1)
    };
    let mut starts = BTreeSet::new();
    for seed in 0..64 {
        let [one, two, three] = first_ports(seed);
        starts.insert(one);
        let after = |port: u16| port.checked_add(1).unwrap_or(1024);
        assert_eq!([two, three], [after(one), after(after(one))]);
    }
    assert!(starts.len() > 60, "{starts:?}");
    let halves = starts.iter().filter(|start| **start >= 33_280).count();
    assert!((16..=48).contains(&halves), "all over the range: {starts:?}");
}

/// Payload that names addresses and ports passes as it is, both ways.
pub(crate) fn payload_is_never_looked_at(protocol: u8, port: u16, of: impl Fn(IpAddr) -> String) {
    let mut topology = Topology::with_backends(&[backend(0)]);
    add_rule(&mut topology, protocol, port);
    let mut world = World::new(topology);
    let to = (ENDPOINT, port);
    let flow = Flow::begin(&mut world, protocol, (A, (CLIENT, 5000)), to).unwrap();
    flow.establish(&mut world);
    for named in [CLIENT, ENDPOINT, flow.nat.0, flow.backend.0] {
        let text = of(named);
        let asks = flow.request(flags::ACK | flags::PSH).with_payload(text.as_bytes());
        assert_eq!(send(&mut world, A, asks).unwrap().packet.payload, text.as_bytes());
        let tells = flow.answer(flags::ACK | flags::PSH).with_payload(text.as_bytes());
        assert_eq!(send(&mut world, P, tells).unwrap().packet.payload, text.as_bytes());
    }
    assert_eq!(world.sessions().len(), 1, "nothing was opened ahead of a second connection");
}

/// ICMP errors about a flow, from either side, translated or not, leave it as it was: no kind of
/// them ends it.
pub(crate) fn icmp_ends_no_flow(protocol: u8) {
    for mut world in [world(), translating_world()] {
        let flow = Flow::open(&mut world, protocol, A, (CLIENT, 5000));
        let state = world.sessions()[0].state;
        let kinds =
            [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 13), (4, 0), (5, 1), (11, 0), (12, 0)];
        for kind in kinds {
            let errors = [
                (P, error(flow.backend.0, kind, &flow.outgoing(flags::ACK))),
                (A, error(CLIENT, kind, &flow.incoming(flags::ACK))),
            ];
            for (device, error) in errors {
                let error = error.to_station(world.topology.station(device));
                world.arrive(device, &error.encode());
                world.left.clear();
                assert_eq!(world.sessions()[0].state, state, "{kind:?}");
                flow.assert_alive(&mut world);
            }
        }
    }
}

/// ICMP errors and TCP resets about a flow keep it alive no longer.
pub(crate) fn icmp_refreshes_nothing() {
    for mut world in [world(), translating_world()] {
        let flow = Flow::open(&mut world, UDP, A, (CLIENT, 5000));
        for _ in 0..4 {
            world.leap(Duration::from_secs(59));
            let errors = [
                (P, error(flow.backend.0, (3, 3), &flow.outgoing(0))),
                (A, error(CLIENT, (3, 3), &flow.incoming(0))),
            ];
            for (device, error) in errors {
                let error = error.to_station(world.topology.station(device));
                world.arrive(device, &error.encode());
            }
            assert_eq!(world.sessions().len(), 1, "it ended nothing");
        }
        // 240 s after the last packet that counts.
        world.leap(Duration::from_millis(3_950));
        assert_eq!(world.sessions().len(), 1);
        world.leap(Duration::from_millis(100));
        assert_eq!(world.sessions().len(), 0);
    }
}
