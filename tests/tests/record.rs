//! What is told of flows as they begin and end. The model (`model`) says the same of every flow of
//! its worlds; here is what its operations do not reach.

use std::time::Duration;

use dataplane::engine::Verdict;
use dataplane::fast_path::{Carried, InterfaceNumber};
use dataplane::record::{Count, EndReason, FlowEvent, FlowRecord, Recording, Traffic};
use dataplane::types::{DeviceIndex, Tick};
use harness::encode::flags::{ACK, SYN};
use harness::fast_path::Memory;
use harness::topology::{A, CLIENT, ENDPOINT, P};
use harness::{Shape, Topology, World, observe};

fn world(recording: Recording) -> World {
    let mut world = World::new(Topology::standard());
    world.engines[0].record(recording);
    world
}

fn told(world: &mut World) -> Vec<FlowRecord> {
    std::iter::from_fn(|| world.engines[0].poll_record()).collect()
}

fn ask(world: &mut World, flags: u8) {
    let shape = Shape::tcp((CLIENT, 5000), (ENDPOINT, 443), flags);
    let image = shape.to_station(world.topology.station(A)).encode();
    assert_eq!(world.arrive(A, &image), Verdict::Forward(P));
}

/// Opens a connection, and says how it looks on the provider's side.
fn connect(world: &mut World) {
    ask(world, SYN);
    let seen = observe(&world.take().image.bytes).transport();
    let from = (seen.destination, seen.destination_port);
    let shape = Shape::tcp(from, (seen.source, seen.source_port), SYN | ACK);
    let image = shape.to_station(world.topology.station(P)).encode();
    assert_eq!(world.arrive(P, &image), Verdict::Forward(A));
    ask(world, ACK);
    world.left.clear();
}

const fn count(packets: u64, bytes: u64) -> Count {
    Count { packets, bytes }
}

#[test]
fn a_flow_that_is_killed_has_ended_before_its_sides_are_told_and_only_once() {
    let mut world = world(Recording::Traffic);
    let start = world.now.tick();
    connect(&mut world);
    world.pass(Duration::from_secs(3));
    let session = world.sessions()[0];
    assert_eq!(session.age, Some(Duration::from_secs(3)));
    let killed = world.engines[0].end_session(world.now, session.number, &session.key);
    assert!(killed.is_some());
    let [began, ended] = told(&mut world).try_into().expect("a beginning and an end");
    assert_eq!((began.event, began.traffic), (FlowEvent::Began, Traffic::default()));
    assert_eq!(ended.event, FlowEvent::Ended(EndReason::Killed));
    assert_eq!((ended.began, ended.at), (start, Tick(start.0 + 300)));
    assert_eq!(ended.traffic, Traffic { forward: count(2, 80), back: count(1, 40) });
    let (nat_ip, nat_port) = ended.nat;
    let session_nat = (session.nat_ip, session.nat_port, session.link);
    assert_eq!((nat_ip.ip(), nat_port, ended.link), session_nat);
    world.pass(Duration::from_secs(60));
    assert!(world.sessions().is_empty());
    assert_eq!(told(&mut world), [], "it had ended already");
}

#[test]
fn without_being_asked_nothing_is_told_and_without_traffic_none_is_counted() {
    for (recording, records) in [(Recording::Nothing, 0), (Recording::Flows, 2)] {
        let mut world = world(recording);
        connect(&mut world);
        world.pass(Duration::from_secs(600));
        world.pass(Duration::from_secs(60));
        let told = told(&mut world);
        assert_eq!(told.len(), records);
        assert!(told.iter().all(|record| record.traffic == Traffic::default()));
        assert_eq!(world.engines[0].counters().records, records as u64);
    }
}

/// Also what void shortcuts have carried, when the flow is lent anew.
#[test]
fn what_a_fast_path_carried_is_the_flows() {
    let mut world = world(Recording::Traffic);
    let memory = Memory::default();
    let engine = &mut world.engines[0];
    engine.accelerate(Box::new(memory.clone()));
    let interface = |device: DeviceIndex| InterfaceNumber(u32::from(device.0) + 1);
    [A, P].into_iter().for_each(|device| engine.lend_device(device, Some(interface(device))));
    connect(&mut world);
    let carry = |packets: u64, bytes: u64| {
        for shortcut in memory.in_force() {
            assert!(shortcut.counts);
            let is_forward = shortcut.by == interface(P);
            let packets = if is_forward { packets } else { packets * 10 };
            // With Ethernet headers, as the kernel counts.
            let carried = Carried { packets, bytes: packets * (bytes + 14) };
            memory.carry_by(shortcut.key, carried);
        }
    };
    carry(5, 100);
    world.publish();
    world.adopt(0);
    ask(&mut world, ACK);
    carry(7, 1000);
    world.pass(Duration::from_secs(600));
    let ended = told(&mut world).pop().expect("it ended");
    assert_eq!(ended.event, FlowEvent::Ended(EndReason::Idle));
    let forward = count(3 + 5 + 7, 3 * 40 + 5 * 100 + 7 * 1000);
    assert_eq!(ended.traffic, Traffic { forward, back: count(1 + 120, 40 + 5000 + 70_000) });
    assert_eq!(memory.count(), 0);
}
