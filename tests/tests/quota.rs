//! What endpoints may have and shall get, to the last port and record, with several workers too.

use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use dataplane::nat::{Lack, Usage};
use dataplane::packet::FlowKey;
use dataplane::snapshot::{Gate, Quota};
use dataplane::types::{DeviceIndex, LinkId, Protocol, ScopeId};
use harness::topology::{A, B, ENDPOINT, backend};
use harness::world::{Flood, Reach, Socket, Tally, clients};
use harness::{Topology, World, WorldConfig};

const PORTS: usize = 64_512;
const OF_A: LinkId = LinkId(101);
const OF_B: LinkId = LinkId(102);

fn quota(reserved: u32, most: u32) -> Quota {
    Quota { reserved, most }
}

fn world(change: impl FnOnce(&mut Topology), flows_max: usize) -> World {
    let mut topology = Topology::with_backends(&[backend(0)]);
    change(&mut topology);
    let config = WorldConfig { flows_max, check_tables: false, ..WorldConfig::default() };
    World::with(topology, config)
}

fn pour(world: &mut World, tenant: DeviceIndex, from: u32, count: u32) -> Tally {
    world.pour(Flood::new(tenant, Protocol::Udp), clients(from, count), |_, _| {})
}

fn tally(forwarded: usize, dropped: &[(DropReason, usize)]) -> Tally {
    Tally { forwarded, dropped: dropped.iter().copied().collect() }
}

fn flows(world: &World, link: LinkId) -> u32 {
    world.generation.usages.find(link).map_or(0, Usage::flows)
}

fn refused(world: &World, link: LinkId) -> [u64; 4] {
    let usage = world.generation.usages.find(link).expect("it is configured");
    Lack::ALL.map(|lack| usage.refused(lack))
}

#[test]
fn ports_that_are_reserved_are_nobody_elses_and_all_others_are_of_use() {
    let mut world = world(|topology| topology.set_quota(B, quota(100, u32::MAX)), 200_000);
    let all_but = u32::try_from(PORTS - 100).unwrap();
    assert_eq!(pour(&mut world, A, 0, all_but), tally(PORTS - 100, &[]));
    assert_eq!(pour(&mut world, A, 65_000, 7), tally(0, &[(DropReason::RoomReserved, 7)]));
    // Whose ports they are gets them, and no more than there are.
    assert_eq!(pour(&mut world, B, 0, 100), tally(100, &[]));
    assert_eq!(pour(&mut world, B, 100, 3), tally(0, &[(DropReason::NatPortsExhausted, 3)]));
    assert_eq!(pour(&mut world, A, 70_000, 2), tally(0, &[(DropReason::NatPortsExhausted, 2)]));
    assert_eq!((refused(&world, OF_A), refused(&world, OF_B)), ([0, 2, 0, 7], [0, 3, 0, 0]));
    world.check_tables();
    // The other protocol has ports of its own, and what `b` has counts wherever it has it.
    let other = world.pour(Flood::new(A, Protocol::Tcp), clients(0, 64_512), |_, _| {});
    assert_eq!(other, tally(PORTS, &[]));
    world.check_tables();
}

#[test]
fn records_that_are_reserved_are_nobody_elses() {
    let mut world = world(|topology| topology.set_quota(B, quota(30, 40)), 1_000);
    assert_eq!(pour(&mut world, A, 0, 970), tally(970, &[]));
    assert_eq!(pour(&mut world, A, 970, 30), tally(0, &[(DropReason::RoomReserved, 30)]));
    assert_eq!(pour(&mut world, B, 0, 30), tally(30, &[]));
    assert_eq!(pour(&mut world, B, 30, 5), tally(0, &[(DropReason::FlowTableFull, 5)]));
    assert_eq!((flows(&world, OF_A), flows(&world, OF_B)), (970, 30));
    assert_eq!(refused(&world, OF_B), [0, 0, 5, 0]);
    world.check_tables();
}

#[test]
fn nobody_has_more_than_the_maximum_and_what_ends_makes_room() {
    let mut world = world(|topology| topology.set_quota(A, quota(0, 250)), 1_000);
    assert_eq!(pour(&mut world, A, 0, 300), tally(250, &[(DropReason::EndpointFlowsMax, 50)]));
    assert_eq!(pour(&mut world, B, 0, 300), tally(300, &[]));
    world.pass(std::time::Duration::from_secs(241));
    assert_eq!((flows(&world, OF_A), flows(&world, OF_B)), (0, 0));
    assert_eq!(pour(&mut world, A, 400, 251).forwarded, 250);
    world.check_tables();
}

#[test]
fn only_an_approved_endpoint_keeps_room_from_others() {
    let pending = |topology: &mut Topology| {
        topology.set_quota(B, quota(900, u32::MAX));
        topology.set_gate(B, Gate::Pending);
    };
    let mut world = world(pending, 1_000);
    assert_eq!(pour(&mut world, A, 0, 600), tally(600, &[]));
    world.topology.set_gate(B, Gate::Approved);
    world.reload();
    // What others have they keep; nothing is added to it.
    assert_eq!(pour(&mut world, A, 600, 10), tally(0, &[(DropReason::RoomReserved, 10)]));
    assert_eq!(pour(&mut world, B, 0, 400), tally(400, &[]));
    assert_eq!(pour(&mut world, B, 400, 50), tally(0, &[(DropReason::FlowTableFull, 50)]));
    world.check_tables();
}

#[test]
fn a_flood_pushes_nobody_out_of_his_reserve() {
    let mut world = world(|topology| topology.set_quota(B, quota(20, u32::MAX)), 1_000);
    let unanswered = Flood { reach: Reach::First, ..Flood::new(B, Protocol::Tcp) };
    assert_eq!(world.pour(unanswered, clients(0, 20), |_, _| {}), tally(20, &[]));
    // Answered ones of the other tenant fill the rest, and its newcomers displace none of those.
    let flood = world.pour(Flood::new(A, Protocol::Tcp), clients(0, 980), |_, _| {});
    assert_eq!(flood, tally(980, &[]));
    let flood = world.pour(Flood::new(A, Protocol::Tcp), clients(980, 120), |_, _| {});
    assert_eq!(flood, tally(0, &[(DropReason::FlowTableFull, 120)]));
    assert_eq!((flows(&world, OF_A), flows(&world, OF_B)), (980, 20));
    world.check_tables();
}

fn owner(device: DeviceIndex, (client, client_port): Socket, workers: u8) -> usize {
    let key = FlowKey {
        client: client.into(),
        client_port,
        endpoint: ENDPOINT.into(),
        endpoint_port: 53,
        scope: ScopeId(device.0),
        protocol: Protocol::Udp,
    };
    usize::from(key.owner(workers).0)
}

#[test]
fn quotas_hold_over_all_workers() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.set_quota(A, quota(0, 3_000));
    topology.set_quota(B, quota(62_000, u32::MAX));
    let config = WorldConfig {
        workers: 2,
        flows_max: 70_000,
        check_tables: false,
        ..WorldConfig::default()
    };
    let mut world = World::with(topology, config);
    for (tenant, count) in [(A, 4_000), (B, 64_000)] {
        for worker in [0, 1] {
            let mine = clients(0, 200_000).filter(|client| owner(tenant, *client, 2) == worker);
            let flood = Flood { worker, ..Flood::new(tenant, Protocol::Udp) };
            world.pour(flood, mine.take(count / 2), |_, _| {});
        }
    }
    // Of 64,512 ports 2,512 were not reserved.
    assert_eq!((flows(&world, OF_A), flows(&world, OF_B)), (2_512, 62_000));
    world.check_tables();
    // A worker that ends takes its own flows with it, and leaves the other's.
    let counters = world.engines[1].counters().clone();
    let lost = world.engines[1].flows().len();
    world.engines[0].generation().usages.release_all(dataplane::types::WorkerId(1));
    let left = flows(&world, OF_A) + flows(&world, OF_B);
    assert_eq!(left as usize, 64_512 - lost);
    assert_eq!(counters.flows, lost as u64);
}

#[test]
fn an_address_that_no_quota_names_has_none() {
    let other = IpAddr::from([10, 0, 0, 6]);
    let change = |topology: &mut Topology| {
        topology.add_service(IpAddr::from([10, 1, 0, 5]), &[backend(0)], (B, other));
        topology.set_quota(A, quota(0, 5));
    };
    let mut world = world(change, 1_000);
    let flood = Flood { to: (other, 53), ..Flood::new(B, Protocol::Udp) };
    assert_eq!(world.pour(flood, clients(0, 20), |_, _| {}), tally(20, &[]));
    assert_eq!(pour(&mut world, A, 0, 20).forwarded, 5);
    assert_eq!(refused(&world, OF_A), [15, 0, 0, 0]);
}

/// What is kept of all ports towards a backend, and of 1,000 records, at five percent.
const KEPT_PORTS: usize = PORTS * 5 / 100;
const KEPT_RECORDS: u32 = 50;

fn fair(topology: &mut Topology) {
    topology.plan.fair_share_percent = 5;
}

#[test]
fn whoever_fills_all_ports_leaves_others_what_is_kept() {
    let mut world = world(fair, 200_000);
    let filled = tally(PORTS - KEPT_PORTS, &[(DropReason::RoomReserved, KEPT_PORTS)]);
    assert_eq!(pour(&mut world, A, 0, 64_512), filled);
    let many = u32::try_from(KEPT_PORTS).unwrap() + 5;
    let exhausted = tally(KEPT_PORTS, &[(DropReason::NatPortsExhausted, 5)]);
    assert_eq!(pour(&mut world, B, 0, many), exhausted);
    let usages = (flows(&world, OF_A) as usize, flows(&world, OF_B) as usize);
    assert_eq!(usages, (PORTS - KEPT_PORTS, KEPT_PORTS), "nobody's flows ended for it");
    world.check_tables();
}

#[test]
fn endpoints_that_have_as_many_take_turns_to_the_last_record() {
    let mut world = world(fair, 1_000);
    for tenant in [A, B] {
        assert_eq!(pour(&mut world, tenant, 0, 475), tally(475, &[]));
    }
    for from in (0..KEPT_RECORDS / 2).map(|turn| 1_000 + 10 * turn) {
        // The second of each is more than the average, until the other has as many.
        assert_eq!(pour(&mut world, A, from, 1), tally(1, &[]));
        assert_eq!(pour(&mut world, A, from + 1, 1), tally(0, &[(DropReason::RoomReserved, 1)]));
        assert_eq!(pour(&mut world, B, from, 1), tally(1, &[]));
    }
    assert_eq!((flows(&world, OF_A), flows(&world, OF_B)), (500, 500));
    assert_eq!(pour(&mut world, B, 5_000, 1), tally(0, &[(DropReason::FlowTableFull, 1)]));
    world.check_tables();
}

/// As flows of the one end, the other takes more of their places, until both have as many.
#[test]
fn shares_become_even_as_flows_end() {
    let mut world = world(fair, 1_000);
    let both = |world: &World| (flows(world, OF_A), flows(world, OF_B));
    let seconds = std::time::Duration::from_secs;
    for group in 0..10 {
        pour(&mut world, A, 95 * group, 95);
        world.pass(seconds(10));
    }
    pour(&mut world, B, 0, 95);
    assert_eq!(both(&world), (950, 50), "what is kept");
    world.pass(seconds(135));
    for group in 0..10 {
        // Both want all that has ended, and who has more asks first.
        world.pass(seconds(10));
        pour(&mut world, A, 2_000 + 95 * group, 95);
        pour(&mut world, B, 2_000 + 95 * group, 95);
    }
    let (a, b) = both(&world);
    assert!(a + b >= 950 && a.abs_diff(b) <= 100, "a has {a}, b {b}");
    world.check_tables();
}

#[test]
fn a_lone_endpoint_has_the_use_of_everything() {
    let alone = |topology: &mut Topology| {
        fair(topology);
        topology.set_gate(B, Gate::Rejected);
    };
    let mut world = world(alone, 1_000);
    assert_eq!(pour(&mut world, A, 0, 1_000), tally(1_000, &[]));
    world.check_tables();
}
