//! How next hops are asked for, doubted, forgotten and carried into the next configuration: on
//! networks of many devices, with devices that close, and with workers that are late.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use dataplane::device::Link;
use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::generation::Generation;
use dataplane::neighbor::{FORGOTTEN_TICKS, Neighbors, REQUEST_INTERVAL_TICKS};
use dataplane::snapshot::{DeviceKind, DevicePlan, Gate};
use dataplane::types::{DeviceIndex, Hop, MacAddress, NeighborIndex, ScopeId, Tick};
use harness::encode::{ArpShape, flags};
use harness::topology::{A, B, CLIENT, ENDPOINT, NAT_IP, P, backend};
use harness::{Observed, Shape, Topology, World, WorldConfig, mac_of, observe};

/// The provider's network.
const PROVIDER: ScopeId = ScopeId(2);
/// The provider's second device, where there is one.
const Q: DeviceIndex = DeviceIndex(3);
/// The request interval, and a little for the engine to notice.
const ABOUT_A_SECOND: Duration = Duration::from_millis(1_100);

/// The standard topology with so many devices in the provider's network.
fn topology_of(devices: usize, backends: &[IpAddr]) -> Topology {
    let mut topology = Topology::with_backends(backends);
    for number in 1..u16::try_from(devices).expect("few devices") {
        let [high, low] = number.to_be_bytes();
        let mac = MacAddress([0x0e, 0xad, 0x18, 0, high, low]);
        topology.links.push(Link { mac, mtu: 1500 });
        topology.plan.devices.push(Some(DevicePlan {
            name: format!("p{number}"),
            kind: DeviceKind::AfPacket,
            namespace: None,
            scope: PROVIDER,
        }));
    }
    topology
}

/// For whom adit asked, and on which devices; everything else that left is left out.
fn asked(world: &mut World) -> BTreeMap<IpAddr, BTreeSet<DeviceIndex>> {
    let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for left in world.left.drain(..) {
        if let Observed::Arp { operation: 1, target, .. } = observe(&left.image.bytes) {
            all.entry(target).or_default().insert(left.device);
        }
    }
    all
}

/// The first backend answers on a device of the provider's.
fn answer(world: &mut World, device: DeviceIndex) {
    let adit = (NAT_IP, world.topology.station(device));
    let answer = ArpShape::is_at((backend(0), mac_of(backend(0))), adit).encode();
    assert_eq!(world.arrive(device, &answer), Verdict::Consume);
}

/// A client's datagram arrives.
fn knock(world: &mut World) -> Verdict {
    knock_of(world, A)
}

/// That of a tenant's.
fn knock_of(world: &mut World, tenant: DeviceIndex) -> Verdict {
    let shape = Shape::udp((CLIENT, 5000), (ENDPOINT, 53), b"x");
    let station = world.topology.station(tenant);
    world.arrive(tenant, &shape.to_station(station).encode())
}

/// The first backend's slot.
fn slot(neighbors: &Neighbors) -> NeighborIndex {
    neighbors.find(PROVIDER, backend(0)).expect("the backend is a next hop")
}

fn hop(device: DeviceIndex, station: u8) -> Hop {
    Hop { device, mac: MacAddress([2, 0, 0, 0, 0, station]) }
}

/// More devices than requests can wait: none of them is left out, and no backend either.
#[test]
fn every_device_of_a_network_is_asked_for_every_backend() {
    for (devices, backends) in [(100, 1), (40, 2), (100, 2), (100, 3)] {
        let backends: Vec<IpAddr> = (0..backends).map(backend).collect();
        let topology = topology_of(devices, &backends);
        let mut world = World::with_manual_arp(topology, WorldConfig::default());
        world.pass(Duration::from_secs(3));
        let asked = asked(&mut world);
        assert!(asked.keys().eq(&backends), "of {backends:?}: {asked:?}");
        let counts: Vec<usize> = asked.values().map(BTreeSet::len).collect();
        assert!(counts.iter().all(|&count| count == devices), "{counts:?} of {devices} devices");
        assert!(asked.values().all(|all| !all.contains(&A)), "a consumer's network is not asked");
    }
}

/// The worker whose turn it is has not opened the device yet: another one asks.
#[test]
fn a_worker_without_the_device_leaves_the_question_to_the_others() {
    let config = WorldConfig { workers: 2, ..WorldConfig::default() };
    for without in 0..2 {
        let topology = topology_of(1, &[backend(0)]);
        let mut world = World::with_manual_arp(topology, config);
        world.engines[without].detach(P);
        world.pass(ABOUT_A_SECOND);
        let asked = asked(&mut world);
        assert_eq!(asked, BTreeMap::from([(backend(0), BTreeSet::from([P]))]));
        assert_eq!(world.engines[without].counters().originated, 0);
    }
}

/// A backend moves to another device of its network, and its first one closes.
#[test]
fn a_closed_device_puts_its_next_hops_in_doubt() {
    let topology = topology_of(2, &[backend(0)]);
    let mut world = World::with_manual_arp(topology, WorldConfig::default());
    answer(&mut world, P);
    world.pass(Duration::from_secs(5));
    asked(&mut world);
    world.pass(Duration::from_secs(5));
    assert!(asked(&mut world).is_empty(), "who answered is not asked again for a while");
    assert_eq!(knock(&mut world), Verdict::Forward(P));
    world.detach(P);
    world.pass(ABOUT_A_SECOND);
    let asked_again = asked(&mut world);
    assert_eq!(asked_again, BTreeMap::from([(backend(0), BTreeSet::from([Q]))]));
    answer(&mut world, Q);
    assert_eq!(knock(&mut world), Verdict::Forward(Q));
    world.pass(Duration::from_secs(5));
    assert!(asked(&mut world).is_empty(), "the answer removed the doubt");
}

/// A backend gets another station and tells nobody: the client's second SYN has it asked for.
#[test]
fn a_backend_that_does_not_answer_a_handshake_is_asked_for_again() {
    let topology = topology_of(1, &[backend(0)]);
    let mut world = World::with_manual_arp(topology, WorldConfig::default());
    answer(&mut world, P);
    world.pass(Duration::from_secs(5));
    asked(&mut world);
    let syn = |world: &mut World, port| {
        let shape = Shape::tcp((CLIENT, port), (ENDPOINT, 443), flags::SYN);
        let station = world.topology.station(A);
        assert_eq!(world.arrive(A, &shape.to_station(station).encode()), Verdict::Forward(P));
        world.pass(Duration::from_millis(100));
        asked(world).into_keys().collect::<Vec<_>>()
    };
    assert!(syn(&mut world, 5001).is_empty(), "a first SYN says nothing");
    world.pass(ABOUT_A_SECOND);
    assert_eq!(syn(&mut world, 5001), [backend(0)], "a second one says that nobody answered");
    assert!(syn(&mut world, 5001).is_empty(), "one request in a second");
    world.pass(ABOUT_A_SECOND);
    asked(&mut world);
    answer(&mut world, P);
    world.pass(ABOUT_A_SECOND);
    assert!(asked(&mut world).is_empty(), "the answer removed the doubt");
    assert!(syn(&mut world, 5002).is_empty());
}

/// A device closes after the next configuration was built and before the worker adopts it.
#[test]
fn a_doubt_between_publishing_and_adopting_is_not_lost() {
    let topology = topology_of(2, &[backend(0)]);
    let mut world = World::with_manual_arp(topology, WorldConfig::default());
    answer(&mut world, P);
    world.pass(Duration::from_secs(2));
    asked(&mut world);
    world.publish();
    world.detach(P);
    world.adopt(0);
    world.pass(ABOUT_A_SECOND);
    let asked_again = asked(&mut world);
    assert_eq!(asked_again, BTreeMap::from([(backend(0), BTreeSet::from([Q]))]));
}

/// Somebody else's connection is decided on while packets wait for a backend's station: they go on
/// waiting, and only those leave whose connections are approved by then (I11).
#[test]
fn who_waits_while_another_is_decided_on_loses_nothing() {
    let topology = topology_of(1, &[backend(0)]);
    let mut world = World::with_manual_arp(topology, WorldConfig::default());
    assert_eq!([knock_of(&mut world, A), knock_of(&mut world, B)], [Verdict::Hold; 2]);
    world.left.clear();
    world.decide(B, Gate::Rejected);
    assert_eq!(world.engines[0].counters().held, 2);
    answer(&mut world, P);
    let left = world.left.iter().filter(|left| left.device == P);
    assert_eq!(left.count(), 1, "of the two, that of the approved connection");
    assert_eq!(world.dropped(DropReason::ConnectionRejected), 1);
    assert_eq!(world.engines[0].counters().dropped.iter().sum::<u64>(), 1);
    assert_eq!(knock(&mut world), Verdict::Forward(P), "its flow goes on");
}

#[test]
fn neighbors_of_the_next_generation_are_copies() {
    let topology = topology_of(2, &[backend(0)]);
    let old = Generation::first(topology.snapshot(), 1);
    let at = slot(&old.neighbors);
    let unresolved = old.next(topology.snapshot(), 1);
    old.neighbors.confirm(at, hop(P, 1), Tick(100));
    assert_eq!(unresolved.neighbors.lookup(slot(&unresolved.neighbors)), None);
    let new = old.next(topology.snapshot(), 1);
    let at_new = slot(&new.neighbors);
    assert_eq!(new.neighbors.lookup(at_new), Some(hop(P, 1)), "what was known carries over");
    old.neighbors.confirm(at, hop(Q, 2), Tick(200));
    assert_eq!(new.neighbors.lookup(at_new), Some(hop(P, 1)), "what is heard later does not");
    new.neighbors.confirm(at_new, hop(P, 3), Tick(300));
    assert_eq!(old.neighbors.lookup(at), Some(hop(Q, 2)));
}

/// A device is removed; a worker that has not adopted that hears the backend answer on it. The next
/// configuration must not send anything there, and asks on the device that is left.
#[test]
fn a_late_worker_cannot_bring_back_a_device_that_is_gone() {
    let topology = topology_of(2, &[backend(0)]);
    let mut world = World::with_manual_arp(topology, WorldConfig::default());
    world.topology.set_device(P, "", false);
    world.publish();
    answer(&mut world, P);
    assert_eq!(knock(&mut world), Verdict::Forward(P), "under the old configuration");
    let neighbors = &world.generation.neighbors;
    assert_eq!(neighbors.lookup(slot(neighbors)), None);
    world.left.clear();
    world.adopt(0);
    world.detach(P);
    assert_eq!(knock(&mut world), Verdict::Hold);
    world.pass(ABOUT_A_SECOND);
    assert_eq!(asked(&mut world), BTreeMap::from([(backend(0), BTreeSet::from([Q]))]));
}

/// Nobody asked for long, because there was too much to do: silence then says nothing.
#[test]
fn a_neighbor_is_forgotten_only_if_it_was_asked_and_stayed_silent() {
    let generation = Generation::first(topology_of(1, &[backend(0)]).snapshot(), 1);
    let neighbors = &generation.neighbors;
    let at = slot(neighbors);
    // A request before the answer does not count as one after it.
    assert!(neighbors.claim_request(at, Tick(50)));
    let confirmed = Tick(100);
    neighbors.confirm(at, hop(P, 1), confirmed);
    let late = confirmed.after(FORGOTTEN_TICKS + 1_000);
    assert!(neighbors.claim_request(at, late), "it is asked, for the first time");
    assert_eq!(neighbors.lookup(at), Some(hop(P, 1)), "and used until it had time to answer");
    let soon = late.after(REQUEST_INTERVAL_TICKS - 1);
    assert!(!neighbors.claim_request(at, soon), "one request in a second");
    assert_eq!(neighbors.lookup(at), Some(hop(P, 1)));
    assert!(neighbors.claim_request(at, late.after(REQUEST_INTERVAL_TICKS)));
    assert_eq!(neighbors.lookup(at), None, "it was asked and is silent");
}

#[test]
fn a_neighbor_that_answers_the_late_question_is_not_forgotten() {
    let generation = Generation::first(topology_of(1, &[backend(0)]).snapshot(), 1);
    let neighbors = &generation.neighbors;
    let at = slot(neighbors);
    let mut now = Tick(100);
    neighbors.confirm(at, hop(P, 1), now);
    for _ in 0..10 {
        now = now.after(2 * FORGOTTEN_TICKS);
        assert!(neighbors.claim_request(at, now));
        assert_eq!(neighbors.lookup(at), Some(hop(P, 1)));
        now = now.after(1);
        neighbors.confirm(at, hop(P, 1), now);
        assert!(!neighbors.claim_request(at, now.after(REQUEST_INTERVAL_TICKS)));
    }
}
