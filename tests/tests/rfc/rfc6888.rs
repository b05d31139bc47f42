//! RFC 6888: what a NAT does that many subscribers share.
//!
//! Does not apply:
//! - REQ-7, filtering is independent of the endpoint: it serves clients that want to be called by
//!   strangers. A private endpoint's clients call; nobody calls them.
//! - REQ-9, a port control protocol is offered: there is nothing that a client could want to have
//!   mapped towards itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::nat::Pool;
use dataplane::snapshot::{IcmpAnswers, Quota};
use dataplane::types::Protocol;
use harness::encode::{TCP, UDP, flags};
use harness::topology::{A, B, CLIENT, ENDPOINT, NAT_IP, P, backend};
use harness::world::{Flood, Reach, clients};
use harness::{Shape, Topology, World, WorldConfig};

use crate::icmp::{error, send_error, told_kinds, translating_world};
use crate::same;
use crate::talk::{Flow, large_world, send, sockets, world};

const CLIENT_SOCKET: (IpAddr, u16) = (CLIENT, 5000);

/// The requirements of each protocol's own RFC are met.
/// Applies: as it stands
/// Answer: As this page says of each, side by side: TCP, UDP and errors about either.
/// Deviation: Wherever one of them has one.
#[test]
fn rfc6888_req1_each_protocol_is_served_beside_the_others() {
    let mut world = translating_world();
    let flows = [TCP, UDP].map(|protocol| Flow::open(&mut world, protocol, A, CLIENT_SOCKET));
    for flow in flows {
        flow.assert_alive(&mut world);
        let about = error(flow.backend.0, (3, 3), &flow.outgoing(flags::ACK));
        let (device, seen) = send_error(&mut world, P, about).expect("it is about a live flow");
        assert_eq!((device, seen.quoted), (A, (flow.protocol, flow.client, flow.endpoint)));
    }
    assert_eq!(world.sessions().len(), 2);
}

/// A subscriber's mappings all have the same external address ("paired").
/// Applies: adapted
/// Answer: A flow keeps its NAT IP; with one NAT IP there is nothing to choose.
/// Deviation: As of RFC 4787 REQ-2: the flows of a client spread over all NAT IPs.
#[test]
fn rfc6888_req2_a_clients_flows_spread_over_the_nat_ips() {
    same::a_clients_flows_spread_over_the_nat_ips(TCP);
}

/// Any set of external addresses can be used.
/// Applies: as it stands
/// Answer: One to eight addresses of the provider's network for each service, in any order and
/// with any gaps.
#[test]
fn rfc6888_req3_nat_ips_need_not_be_neighbors() {
    let nat_ips = [[10, 1, 200, 1], [10, 1, 0, 4], [10, 1, 3, 9], [10, 1, 255, 254]];
    let nat_ips = nat_ips.map(IpAddr::from);
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.set_nat_ips(&nat_ips);
    let mut world = World::new(topology);
    let flows: Vec<_> =
        sockets(CLIENT, 100).map(|socket| Flow::open(&mut world, UDP, A, socket)).collect();
    let used: BTreeSet<_> = flows.iter().map(|flow| flow.nat.0).collect();
    assert_eq!(used, BTreeSet::from(nat_ips));
    flows.iter().for_each(|flow| flow.assert_alive(&mut world));
}

/// The ports of one subscriber can be limited.
/// Applies: as it stands
/// Answer: With `flows_max` an endpoint never has more, and with `flows_reserved` so many ports are
/// there for it whatever others hold. Flows that nobody answered give way to anybody's, so that a
/// flood keeps no port.
/// Deviation: The subscriber is the endpoint, not the client behind it. Neither is set by default:
/// one endpoint with answered flows can then use up all ports of the NAT IPs towards a backend.
#[test]
fn rfc6888_req4_the_ports_of_an_endpoint_can_be_limited() {
    let mut world = large_world(Topology::with_backends(&[backend(0)]));
    let flood = Flood { reach: Reach::First, ..Flood::new(A, Protocol::Udp) };
    assert_eq!(world.pour(flood, clients(0, 64_512), |_, _| {}).forwarded, 64_512);
    Flow::open(&mut world, UDP, B, CLIENT_SOCKET).assert_alive(&mut world);
    world.pour(Flood::new(A, Protocol::Udp), clients(70_000, 64_600), |_, _| {});
    assert_eq!(flows_by_network(&world), [64_511, 1]);
    let next = Flow::begin(&mut world, UDP, (B, (CLIENT, 5001)), (ENDPOINT, 53));
    assert_eq!(next, Err(DropReason::NatPortsExhausted));
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.set_quota(A, Quota { reserved: 0, most: 300 });
    topology.set_quota(B, Quota { reserved: 64_000, most: u32::MAX });
    let mut world = large_world(topology);
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 1_000), |_, _| {});
    world.pour(Flood::new(B, Protocol::Udp), clients(0, 64_000), |_, _| {});
    assert_eq!(flows_by_network(&world), [300, 64_000]);
}

/// How many flows each tenant has.
fn flows_by_network(world: &World) -> [usize; 2] {
    let sessions = world.sessions();
    [A, B].map(|tenant| sessions.iter().filter(|flow| flow.key.scope.0 == tenant.0).count())
}

/// The state of one subscriber can be limited.
/// Applies: as it stands
/// Answer: `flows_max` and `flows_reserved` of an endpoint bound records as they bound ports. A
/// worker's table is bounded, and flows that nobody answered give way in it.
/// Deviation: As of REQ-4: by default one endpoint with answered flows can fill the table.
#[test]
fn rfc6888_req5_the_flows_of_an_endpoint_can_be_limited() {
    let config = WorldConfig { flows_max: 1_000, ..WorldConfig::default() };
    let mut world = World::with(Topology::with_backends(&[backend(0)]), config);
    let flood = Flood { reach: Reach::First, ..Flood::new(A, Protocol::Tcp) };
    assert_eq!(world.pour(flood, clients(0, 5_000), |_, _| {}).forwarded, 5_000);
    Flow::open(&mut world, TCP, B, CLIENT_SOCKET).assert_alive(&mut world);
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 2_000), |_, _| {});
    assert_eq!(flows_by_network(&world), [999, 1]);
    let next = Flow::begin(&mut world, UDP, (B, CLIENT_SOCKET), (ENDPOINT, 53));
    assert_eq!(next, Err(DropReason::FlowTableFull));
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.set_quota(B, Quota { reserved: 600, most: 700 });
    let mut world = World::with(topology, config);
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 2_000), |_, _| {});
    world.pour(Flood::new(B, Protocol::Udp), clients(0, 2_000), |_, _| {});
    assert_eq!(flows_by_network(&world), [400, 600]);
}

/// Destinations can be excluded from translation.
/// Applies: adapted
/// Answer: All are but the endpoints: adit forwards nothing else, translated or not.
#[test]
fn rfc6888_req6_nothing_but_endpoints_is_translated() {
    let mut world = world();
    for host in [[10, 0, 0, 6], [10, 1, 0, 10], [10, 1, 0, 4], [192, 0, 2, 1]] {
        for protocol in [TCP, UDP] {
            let to = (IpAddr::from(host), 443);
            let shape = Shape { flags: flags::SYN, ..Shape::new(protocol, CLIENT_SOCKET, to) };
            assert_eq!(send(&mut world, A, shape).map(drop), Err(DropReason::NoEndpoint));
        }
    }
    Flow::open(&mut world, TCP, A, CLIENT_SOCKET).assert_alive(&mut world);
}

/// A port that was released is not used again for 120 s.
/// Applies: as it stands
/// Answer: With `port_hold_down = "120s"`, to the tick; for the service or with the profile `gcp`.
/// Deviation: The default is Azure's, 0 s: a port then comes back only after all others of its
/// NAT IP towards the backend.
#[test]
fn rfc6888_req8_a_port_rests_as_long_as_configured() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.set_timeouts([30, 30, 30, 30]);
    let mut resting = topology.clone();
    resting.change_ending(|ending| ending.hold_down_ticks = 12_000);
    let mut world = large_world(resting);
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 64_512), |_, _| {});
    world.pass(Duration::from_millis(30_100));
    assert!(world.sessions().is_empty(), "all flows are over");
    let begin = |world: &mut World| Flow::begin(world, UDP, (B, CLIENT_SOCKET), (ENDPOINT, 53));
    assert_eq!(begin(&mut world), Err(DropReason::NatPortsExhausted));
    world.pass(Duration::from_millis(119_800));
    assert_eq!(begin(&mut world), Err(DropReason::NatPortsExhausted));
    world.pass(Duration::from_millis(300));
    assert!(begin(&mut world).is_ok(), "120 s are over");
    let mut world = large_world(topology);
    let mut used = BTreeSet::new();
    for (first, count) in [(0, 40_000), (0, 24_512)] {
        world.pour(Flood::new(A, Protocol::Udp), clients(first, count), |_, _| {});
        for session in world.sessions() {
            assert!(used.insert(session.nat_port), "{} came back early", session.nat_port);
        }
        world.leap(Duration::from_millis(30_100));
    }
    assert_eq!(used.len(), 64_512, "without a rest, too, each was used once");
    let next = begin(&mut world).expect("all are free");
    assert!(used.contains(&next.nat.1));
}

/// The NAT can be managed.
/// Applies: as it stands
/// Answer: Flows with their mappings, leases and every dropped packet by its reason can be read
/// while adit runs: `adit sessions`, `adit status` and `adit drops`, with `--json` for programs.
/// Deviation: There is no MIB.
#[test]
fn rfc6888_req10_flows_leases_and_drops_can_be_read() {
    let mut world = world();
    let flow = Flow::open(&mut world, TCP, B, CLIENT_SOCKET);
    let [session] = &world.sessions()[..] else { panic!("one flow") };
    assert_eq!((session.key.client.ip(), session.key.client_port), flow.client);
    assert_eq!((session.key.endpoint.ip(), session.key.endpoint_port), flow.endpoint);
    assert_eq!((session.nat_ip, session.nat_port), flow.nat);
    assert_eq!((session.backend, session.backend_port), flow.backend);
    assert_eq!(session.key.scope.0, B.0);
    let leased: u32 = world.generation.pools.iter().map(Pool::leased).sum();
    assert_eq!(leased, 1);
    let stray = Shape::udp((backend(0), 1), (NAT_IP, 2000), b"x");
    assert!(send(&mut world, P, stray).is_err());
    assert_eq!(world.dropped(DropReason::UnsolicitedFromProvider), 1);
    assert_eq!(world.engines[0].counters().flows, 1);
}

/// When a mapping cannot be made, the packet is dropped, the sender told by ICMP (type 3, code 13)
/// and the operator warned; no mapping that is there is taken away.
/// Applies: as it stands
/// Answer: It is dropped, and counted as `nat_ports_exhausted` or `flow_table_full`, with the cure;
/// with `icmp_answers = ["prohibited"]` the sender of a datagram is told.
/// Deviation: Telling is off by default, and TCP is told by reset (`tcp_refusals`). Flows that
/// nobody answered do give way.
#[test]
fn rfc6888_req11_exhaustion_is_counted_and_told_on_request() {
    for prohibited in [false, true] {
        let mut topology = Topology::with_backends(&[backend(0)]);
        let icmp_answers = IcmpAnswers { prohibited, ..IcmpAnswers::default() };
        topology.plan.services[0].treatment.icmp_answers = icmp_answers;
        let config = WorldConfig { flows_max: 100, ..WorldConfig::default() };
        let mut world = World::with(topology, config);
        let flows: Vec<_> =
            sockets(CLIENT, 100).map(|socket| Flow::open(&mut world, UDP, A, socket)).collect();
        let next = Flow::begin(&mut world, UDP, (B, CLIENT_SOCKET), (ENDPOINT, 53));
        assert_eq!(next, Err(DropReason::FlowTableFull));
        assert_eq!(world.dropped(DropReason::FlowTableFull), 1);
        assert_eq!(told_kinds(&mut world), if prohibited { vec![(3, 13)] } else { vec![] });
        flows.iter().for_each(|flow| flow.assert_alive(&mut world));
    }
}

/// Destinations are not logged unless somebody asks for it.
/// Applies: adapted
/// Answer: adit keeps no log. `adit sessions` shows live flows to whoever runs adit, and a flow
/// that has ended is forgotten.
#[test]
fn rfc6888_req12_an_ended_flow_is_forgotten() {
    let mut world = world();
    let flow = Flow::open(&mut world, TCP, A, CLIENT_SOCKET);
    assert_eq!(world.sessions().len(), 1);
    flow.forward(&mut world, flags::FIN | flags::ACK).unwrap();
    flow.back(&mut world, flags::FIN | flags::ACK).unwrap();
    world.leap(Duration::from_millis(30_100));
    assert!(world.sessions().is_empty());
    let table = world.engines[0].flows();
    let records = (0..table.extent())
        .filter_map(|at| table.get(dataplane::types::FlowIndex(u32::try_from(at).unwrap())));
    assert_eq!(records.count(), 0, "no record of it is left");
}

/// As many ports as possible are of use.
/// Applies: as it stands
/// Answer: All 64,512 ports from 1024 on of each NAT IP, towards each backend, for each protocol,
/// whichever clients and workers want them.
#[test]
fn rfc6888_req13_every_port_is_of_use() {
    let mut world = large_world(Topology::with_backends(&[backend(0)]));
    for protocol in Protocol::ALL {
        let mut one_by_one = BTreeSet::new();
        for (tenant, count) in [(A, 40_000), (B, 24_512)] {
            let tally = world.pour(Flood::new(tenant, protocol), clients(0, count), |_, _| {});
            assert_eq!(tally.forwarded, count as usize);
        }
        let sessions = world.sessions().into_iter();
        let of_protocol = sessions.filter(|session| session.key.protocol == protocol);
        one_by_one.extend(of_protocol.map(|session| session.nat_port));
        assert!(one_by_one.into_iter().eq(1024..=u16::MAX), "every port of {protocol:?}");
        let next = world.pour(Flood::new(B, protocol), clients(30_000, 1), |_, _| {});
        assert_eq!(next.forwarded, 0);
    }
    world.check_tables();
}

/// Logs are kept small.
/// Applies: as it stands
/// Answer: There is none: two counters say how many flows were opened and how many closed.
/// Deviation: Whose a NAT IP and port was cannot be found out afterwards, only while the flow
/// lives.
#[test]
fn rfc6888_req14_flows_are_counted_not_logged() {
    let mut world = large_world(Topology::with_backends(&[backend(0)]));
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 10_000), |_, _| {});
    world.leap(Duration::from_millis(240_100));
    let counters = world.engines[0].counters();
    assert_eq!((counters.flows_opened, counters.flows_closed), (10_000, 10_000));
    assert!(world.sessions().is_empty() && world.left.is_empty(), "nothing else is said of them");
}

/// Ports cannot be guessed.
/// Applies: as it stands
/// Answer: The first port towards each backend depends on a secret: from outside it cannot be
/// guessed, and only the backend itself may answer to it.
/// Deviation: Ports then follow one another, so that each rests as long as possible: a backend that
/// sees one flow can guess the port of the next one to itself.
#[test]
fn rfc6888_req15_the_first_port_is_secret() {
    same::ports_run_from_a_secret_start(TCP);
}
