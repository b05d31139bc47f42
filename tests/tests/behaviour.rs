//! What the service promises beyond single packets: fair shares, tenants that do not feel each
//! other, reloads that move no flow, checksums at their corner.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::engine::{Session, Verdict};
use dataplane::snapshot::Gate;
use dataplane::types::{DeviceIndex, FlowIndex, Protocol};
use harness::check::canary;
use harness::encode::UDP;
use harness::sum::{add, pseudo_header, sum};
use harness::topology::{A, B, CLIENT, ENDPOINT, P, backend};
use harness::world::{Flood, clients};
use harness::{Shape, Topology, World, WorldConfig, observe};

type Socket = (IpAddr, u16);

fn config(flows_max: usize) -> WorldConfig {
    WorldConfig { flows_max, check_tables: false, ..WorldConfig::default() }
}

fn ask(world: &World, tenant: DeviceIndex, from: Socket, payload: &[u8]) -> harness::Image {
    let shape = Shape::udp(from, (ENDPOINT, 53), payload);
    shape.to_station(world.topology.station(tenant)).encode()
}

/// What identifies a flow on both sides.
fn mappings(world: &World) -> BTreeMap<(u16, Socket), (Socket, Socket)> {
    let mapping = |flow: &Session| {
        let inside = (flow.key.scope.0, (flow.key.client.ip(), flow.key.client_port));
        let outside = ((flow.nat_ip, flow.nat_port), (flow.backend, flow.backend_port));
        (inside, outside)
    };
    world.sessions().iter().map(mapping).collect()
}

/// Flows by what `of` says of them.
fn shares(world: &World, of: impl Fn(&Session) -> IpAddr) -> BTreeMap<IpAddr, f64> {
    let mut shares = BTreeMap::new();
    for session in world.sessions() {
        *shares.entry(of(&session)).or_insert(0.0) += 1.0;
    }
    shares
}

/// Each of equal backends gets its share. Bound: five standard deviations of a binomial count, plus
/// 2 % for the unevenness of the lookup table.
#[test]
fn equal_backends_get_equal_shares() {
    const FLOWS: u32 = 60_000;
    for count in [2_u8, 4, 64] {
        let backends: Vec<_> = (0..count).map(|at| IpAddr::from([10, 1, 2, at])).collect();
        let mut world = World::with(Topology::with_backends(&backends), config(70_000));
        world.pour(Flood::new(A, Protocol::Tcp), clients(0, FLOWS), |_, _| {});
        let fair = f64::from(FLOWS) / f64::from(count);
        let bound = 5.0 * (fair * (1.0 - 1.0 / f64::from(count))).sqrt() + 0.02 * fair;
        let shares = shares(&world, |flow| flow.backend);
        assert_eq!(shares.len(), usize::from(count), "every backend serves");
        for (backend, share) in shares {
            let off = (share - fair).abs();
            assert!(off <= bound, "{backend} of {count} has {share}, fair is {fair} ± {bound}");
        }
    }
}

/// One backend uses all NAT IPs evenly: the emptier of two that the hash picks is taken, so that
/// the counts stay within 1 % of each other.
#[test]
fn one_backend_uses_all_eight_nat_ips_evenly() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    let nat_ips: Vec<_> = (0..8).map(|at| IpAddr::from([10, 1, 1, at])).collect();
    topology.set_nat_ips(&nat_ips);
    let mut world = World::with(topology, config(70_000));
    world.pour(Flood::new(A, Protocol::Tcp), clients(0, 64_000), |_, _| {});
    let shares = shares(&world, |flow| flow.nat_ip);
    assert_eq!(shares.len(), 8);
    assert!(shares.values().all(|share| (7_920.0..=8_080.0).contains(share)), "{shares:?}");
}

#[test]
fn tenants_with_identical_tuples_get_their_own_answers() {
    let mut world = World::with(Topology::standard(), config(40_000));
    let sockets: Vec<Socket> = clients(0, 500).collect();
    for &socket in &sockets {
        for tenant in [A, B] {
            let frame = ask(&world, tenant, socket, &canary(tenant));
            assert_eq!(world.arrive(tenant, &frame), Verdict::Forward(P));
        }
    }
    let asked: Vec<_> = std::mem::take(&mut world.left).into_iter().collect();
    for left in asked.iter().rev() {
        // The backend echoes the canary; the checker sees to it that it flies home and nowhere
        // else.
        let seen = observe(&left.image.bytes).transport();
        let from = (seen.destination, seen.destination_port);
        let echo = Shape::udp(from, (seen.source, seen.source_port), &seen.payload);
        let verdict = world.arrive(P, &echo.to_station(world.topology.station(P)).encode());
        let owner = if seen.payload == canary(A) { A } else { B };
        assert_eq!(verdict, Verdict::Forward(owner));
    }
    assert_eq!(world.left.len(), 1_000);
    world.check_tables();
}

#[test]
fn a_full_table_of_expired_flows_takes_new_ones_at_full_rate() {
    let mut world = World::with(Topology::standard(), config(20_000));
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 20_000), |_, _| {});
    let late = world.pour(Flood::new(A, Protocol::Udp), clients(30_000, 10), |_, _| {});
    assert_eq!(late.dropped, BTreeMap::from([(DropReason::FlowTableFull, 10)]));
    world.pass(Duration::from_millis(239_980));
    assert_eq!(world.engines[0].flows().len(), 20_000);
    // Time to expire passes, and no advance comes before the packets.
    world.now = world.now.after(Duration::from_millis(100));
    let tally = world.pour(Flood::new(B, Protocol::Udp), clients(0, 20_000), |_, _| {});
    assert_eq!(tally.forwarded, 20_000, "{tally:?}");
    world.check_tables();
}

/// Two services of one provider; the second is tenant `b`'s alone.
fn two_services() -> (Topology, Socket) {
    let mut topology = Topology::with_backends(&[backend(0)]);
    let other = IpAddr::from([10, 0, 0, 6]);
    topology.add_service(IpAddr::from([10, 1, 0, 5]), &[backend(0)], (B, other));
    (topology, (other, 53))
}

/// A client may not speak in the name of an endpoint of its own network (RFC 2827).
#[test]
fn an_address_of_adits_own_is_nobodys_source() {
    let (topology, (other, _)) = two_services();
    let mut world = World::new(topology);
    let frame = ask(&world, B, (other, 5000), b"x");
    assert_eq!(world.arrive(B, &frame), Verdict::Drop(DropReason::SourceSpoofed));
    assert!(world.sessions().is_empty());
}

#[test]
fn a_flood_that_fills_one_service_leaves_another_alone() {
    let (topology, to) = two_services();
    let mut world = World::with(topology, config(140_000));
    let other = Flood { to, ..Flood::new(B, Protocol::Udp) };
    world.pour(other, clients(0, 1_000), |_, _| {});
    let before = mappings(&world);
    let flood = world.pour(Flood::new(A, Protocol::Udp), clients(0, 70_000), |_, _| {});
    assert_eq!(flood.forwarded, 64_512);
    // Its flows stay, and it opens as many more as ever.
    let again = world.pour(other, clients(0, 64_512), |_, _| {});
    assert_eq!((again.forwarded, again.dropped), (64_512, BTreeMap::new()));
    let after = mappings(&world);
    assert!(before.iter().all(|(inside, outside)| after.get(inside) == Some(outside)));
    world.check_tables();
}

#[test]
fn reloads_and_session_lists_disturb_no_mapping() {
    let mut world = World::with(Topology::standard(), config(40_000));
    for tenant in [A, B] {
        for socket in clients(0, 1_000) {
            let frame = ask(&world, tenant, socket, b"x");
            world.arrive(tenant, &frame);
        }
    }
    let before = mappings(&world);
    assert_eq!(before.len(), 2_000);
    let mut page = Vec::with_capacity(97);
    let mut from = Some(FlowIndex(0));
    for round in 0..60_u8 {
        world.topology.set_backends(&[backend(0), backend(round % 5 + 3), backend(1), backend(2)]);
        world.reload();
        world.pass(Duration::from_millis(u64::from(round % 3) * 20));
        page.clear();
        let start = from.unwrap_or(FlowIndex(0));
        from = world.engines[0].sessions(world.now, start, 150, &mut page);
        let socket = clients(u32::from(round) * 10, 1).next().unwrap();
        let frame = ask(&world, A, socket, b"y");
        assert_eq!(world.arrive(A, &frame), Verdict::Forward(P), "round {round}");
        let left = world.left.pop_back().unwrap();
        let seen = observe(&left.image.bytes).transport();
        let outside = ((seen.source, seen.source_port), (seen.destination, seen.destination_port));
        assert_eq!(before.get(&(A.0, socket)), Some(&outside));
    }
    assert_eq!(mappings(&world), before);
    world.check_tables();
}

#[test]
fn the_sweep_frees_the_leases_of_rejected_endpoints_without_packets() {
    let mut world = World::with(Topology::standard(), config(30_000));
    world.pour(Flood::new(A, Protocol::Udp), clients(0, 10_000), |_, _| {});
    world.pour(Flood::new(B, Protocol::Udp), clients(0, 10_000), |_, _| {});
    world.topology.set_gate(A, Gate::Rejected);
    world.reload();
    world.pass(Duration::from_millis(20));
    let leased: u32 = world.generation.pools.iter().map(dataplane::nat::Pool::leased).sum();
    assert_eq!(leased, 10_000);
    assert_eq!(world.engines[0].counters().flows_revoked, 10_000);
    assert!(world.sessions().iter().all(|flow| flow.key.scope.0 == B.0));
    world.check_tables();
}

/// A UDP checksum that comes out as 0 is sent as 0xFFFF, for 0 means none (RFC 768, I6).
#[test]
fn a_computed_udp_checksum_of_zero_is_sent_as_ffff_both_ways() {
    let mut world = World::new(Topology::standard());
    let frame = ask(&world, A, (CLIENT, 5000), b"x");
    world.arrive(A, &frame);
    let seen = observe(&world.take().image.bytes).transport();
    let nat = (seen.source, seen.source_port);
    let server = (seen.destination, seen.destination_port);
    // Forward: the payload is what makes the outgoing sum all ones.
    let forward = payload_for_zero(nat, server);
    let frame = ask(&world, A, (CLIENT, 5000), &forward);
    world.arrive(A, &frame);
    let left = observe(&world.take().image.bytes).transport();
    assert_eq!((left.checksum, left.payload), (u16::MAX, forward.to_vec()));
    // Return.
    let back = payload_for_zero((ENDPOINT, 53), (CLIENT, 5000));
    let answer = Shape::udp(server, nat, &back).to_station(world.topology.station(P));
    world.arrive(P, &answer.encode());
    let left = observe(&world.take().image.bytes).transport();
    assert_eq!((left.checksum, left.payload), (u16::MAX, back.to_vec()));
}

/// Two bytes with which a datagram's checksum computes to 0.
fn payload_for_zero(from: Socket, to: Socket) -> [u8; 2] {
    let header = [from.1.to_be_bytes(), to.1.to_be_bytes(), 10_u16.to_be_bytes()].concat();
    let rest = add(pseudo_header(from.0, to.0, UDP, 10), sum(&header));
    (!rest).to_be_bytes()
}

/// Every 16-bit word once as payload: sums of all values pass through both rewrites.
#[test]
fn every_checksum_value_is_carried_right() {
    let mut world = World::with(Topology::standard(), config(10));
    let frame = ask(&world, A, (CLIENT, 5000), b"x");
    world.arrive(A, &frame);
    world.left.clear();
    for word in (0..=u16::MAX).step_by(7) {
        let frame = ask(&world, A, (CLIENT, 5000), &word.to_be_bytes());
        // The checker sums what leaves from scratch.
        assert_eq!(world.arrive(A, &frame), Verdict::Forward(P));
    }
}
