//! Packets of health probes: what the engine takes up, what it refuses, and where it sends what
//! whoever probes has made. No flow and no lease is touched by any of it.

use std::net::{IpAddr, Ipv6Addr};

use dataplane::device::Frame;
use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::snapshot::{PlanError, ProbeSourcePlan, Snapshot};
use dataplane::types::{Prefix, ScopeId, ScopedAddress};
use harness::encode::{ArpShape, flags};
use harness::ndp::{NdpSeen, NdpShape};
use harness::topology::{A, CLIENT, ENDPOINT, NAT_IP, P, backend};
use harness::{Observed, Shape, Topology, World, WorldConfig, mac_of, observe};

const PROVIDER: ScopeId = ScopeId(2);
/// An address of the provider's network that is nothing else.
const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 200));
/// Azure's, which lies in no virtual network.
const FOREIGN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(168, 63, 129, 16));
/// The same of IPv6: backends, a NAT IP, an address of the network, and Azure's.
const BACKEND_6: IpAddr = six(0x10);
const NAT_IP_6: IpAddr = six(4);
const OWN_6: IpAddr = six(0x200);
const FOREIGN_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x1234, 0x5678, 0x9abc));
const UNSOLICITED: Verdict = Verdict::Drop(DropReason::UnsolicitedFromProvider);

const fn six(last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, last))
}

/// With a backend and a NAT IP of IPv6 beside those of IPv4.
fn of_both_families(sources: &[IpAddr]) -> Topology {
    let mut topology = topology(sources);
    let prefix = Prefix::new(six(0), 64).expect("a prefix");
    topology.plan.scopes[PROVIDER.slot()].address_space.push(prefix);
    topology.set_backends(&[backend(0), BACKEND_6]);
    topology.set_nat_ips(&[NAT_IP, NAT_IP_6]);
    topology
}

fn topology(sources: &[IpAddr]) -> Topology {
    let mut topology = Topology::standard();
    let source = |&address| ProbeSourcePlan { scope: PROVIDER, address };
    topology.plan.probe_sources = sources.iter().map(source).collect();
    topology
}

/// What becomes of a backend's SYN-ACK.
fn answer(world: &mut World, from: IpAddr, to: (IpAddr, u16)) -> Verdict {
    let shape = Shape::tcp((from, 8080), to, flags::SYN | flags::ACK);
    let station = world.topology.station(P);
    world.arrive(P, &shape.to_station(station).encode())
}

#[test]
fn answers_of_backends_to_probes_are_taken_up_and_nothing_else() {
    let config = WorldConfig { workers: 2, ..WorldConfig::default() };
    let sources = [NAT_IP, OWN, FOREIGN, NAT_IP_6, OWN_6, FOREIGN_6];
    let mut world = World::with(of_both_families(&sources), config);
    for source in sources {
        let (backend, nobody) = match source {
            IpAddr::V4(_) => (backend(0), IpAddr::from([10, 1, 0, 99])),
            IpAddr::V6(_) => (BACKEND_6, six(0x99)),
        };
        for port in [1, 512, 1023] {
            assert_eq!(answer(&mut world, backend, (source, port)), Verdict::TakeUp);
        }
        // No backend, and ports that leases have.
        assert_eq!(answer(&mut world, nobody, (source, 512)), UNSOLICITED);
        assert_eq!(answer(&mut world, backend, (source, 1024)), UNSOLICITED);
        let datagram = Shape::udp((backend, 53), (source, 512), b"x");
        let station = world.topology.station(P);
        assert_eq!(world.arrive(P, &datagram.to_station(station).encode()), UNSOLICITED);
    }
    // Under the same address of another network adit is nothing.
    let elsewhere = Shape::tcp((CLIENT, 8080), (OWN, 512), flags::SYN | flags::ACK);
    let station = world.topology.station(A);
    let verdict = world.arrive(A, &elsewhere.to_station(station).encode());
    assert_eq!(verdict, Verdict::Drop(DropReason::NoEndpoint));
    assert!(world.sessions().is_empty());
}

#[test]
fn without_probes_a_nat_ip_takes_nothing_up() {
    let mut world = World::new(Topology::standard());
    assert_eq!(answer(&mut world, backend(0), (NAT_IP, 512)), UNSOLICITED);
}

#[test]
fn a_flow_and_a_probe_of_one_backend_do_not_meet() {
    let mut world = World::new(topology(&[NAT_IP]));
    let station = world.topology.station(A);
    let syn = Shape::tcp((CLIENT, 5000), (ENDPOINT, 443), flags::SYN).to_station(station);
    assert_eq!(world.arrive(A, &syn.encode()), Verdict::Forward(P));
    let [session] = world.sessions()[..] else { panic!("one flow") };
    let at = (session.backend, (NAT_IP, 512));
    assert_eq!(answer(&mut world, at.0, at.1), Verdict::TakeUp);
    let back = answer(&mut world, session.backend, (NAT_IP, session.nat_port));
    assert_eq!(back, Verdict::Forward(A));
    assert!(session.nat_port >= 1024, "a lease has no port of a probe");
}

#[test]
fn adit_answers_for_where_probes_come_from() {
    let mut world = World::new(topology(&[OWN, FOREIGN]));
    for source in [OWN, FOREIGN] {
        let who = ArpShape::who_has(source, (backend(0), mac_of(backend(0))));
        assert_eq!(world.arrive(P, &who.encode()), Verdict::Reply(P));
        let left = world.left.pop_back().expect("an answer");
        let answers = matches!(observe(&left.image.bytes), Observed::Arp { operation: 2, .. });
        assert!(answers, "an ARP reply for {source}");
    }
}

#[test]
fn adit_answers_neighbors_for_where_probes_come_from() {
    let mut world = World::new(of_both_families(&[OWN_6, FOREIGN_6]));
    for source in [OWN_6, FOREIGN_6] {
        let who = NdpShape::who_has(source, (BACKEND_6, mac_of(BACKEND_6)));
        assert_eq!(world.arrive(P, &who.encode()), Verdict::Reply(P));
        let left = world.left.pop_back().expect("an answer");
        let Observed::Ndp(NdpSeen { asks, source: from, target, .. }) = observe(&left.image.bytes)
        else {
            panic!("no Neighbor Discovery for {source}")
        };
        assert_eq!((asks, from, target), (false, source, source));
    }
}

#[test]
fn a_probe_leaves_by_the_next_hop_of_its_backend() {
    let topology = || of_both_families(&[OWN, OWN_6]);
    let (world, silent) =
        (World::new(topology()), World::with_manual_arp(topology(), WorldConfig::default()));
    let mut frame = Frame::new();
    let to = |address: IpAddr| ScopedAddress::new(PROVIDER, address);
    for (source, backend, nobody) in
        [(OWN, backend(0), IpAddr::from([10, 1, 0, 99])), (OWN_6, BACKEND_6, six(0x99))]
    {
        let packet = Shape::tcp((source, 512), (backend, 8080), flags::SYN).encode();
        frame.fill(&packet.bytes);
        let engine = &world.engines[0];
        assert_eq!(engine.send_probe(to(backend), &mut frame), Some(P));
        assert_eq!(frame.bytes()[..6], mac_of(backend).octets());
        assert_eq!(frame.bytes()[6..12], world.topology.station(P).octets());
        assert_eq!(frame.bytes()[12..], packet.bytes[12..], "its packet is as it was");
        assert_eq!(engine.send_probe(to(nobody), &mut frame), None);
        assert_eq!(silent.engines[0].send_probe(to(backend), &mut frame), None, "not resolved");
    }
}

#[test]
fn an_address_that_is_something_else_is_no_source() {
    let mut topology = topology(&[IpAddr::from([10, 0, 0, 5])]);
    topology.plan.probe_sources[0].scope = ScopeId(0);
    let refused = Snapshot::build(topology.plan.clone()).unwrap_err();
    assert!(matches!(refused, PlanError::Duplicate("address", _)), "{refused}");
    topology.plan.probe_sources[0].scope = ScopeId(9);
    let refused = Snapshot::build(topology.plan).unwrap_err();
    assert!(matches!(refused, PlanError::Dangling(_, 9)), "{refused}");
}
