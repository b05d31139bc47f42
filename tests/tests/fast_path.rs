//! What the engine lends to a fast path, seen from the fast path's side: the harness's, which
//! keeps what it is given and carries nothing by itself.

use std::time::Duration;

use dataplane::engine::Verdict;
use dataplane::fast_path::{Carried, InterfaceNumber};
use dataplane::snapshot::Gate;
use dataplane::trace::{Filter, Verdicts};
use dataplane::types::DeviceIndex;
use harness::encode::flags::{ACK, RST, SYN};
use harness::encode::mac_of;
use harness::fast_path::{Memory, check};
use harness::topology::{A, B, CLIENT, ENDPOINT, P};
use harness::{Image, Shape, Topology, World, observe};

fn interface(device: DeviceIndex) -> InterfaceNumber {
    InterfaceNumber(100 + u32::from(device.0))
}

/// The standard world, all of whose devices take part.
fn world() -> (World, Memory) {
    let mut world = World::new(Topology::standard());
    let memory = Memory::default();
    let engine = &mut world.engines[0];
    engine.accelerate(Box::new(memory.clone()));
    [A, B, P].into_iter().for_each(|device| engine.lend_device(device, Some(interface(device))));
    (world, memory)
}

fn ask(world: &World, tenant: DeviceIndex, port: u16) -> Image {
    let shape = Shape::udp((CLIENT, port), (ENDPOINT, 53), b"question");
    shape.to_station(world.topology.station(tenant)).encode()
}

/// Answers what left last towards the provider, as its backend would.
fn answer(world: &mut World) -> Verdict {
    let seen = observe(&world.take().image.bytes).transport();
    let from = (seen.destination, seen.destination_port);
    let shape = Shape::udp(from, (seen.source, seen.source_port), b"answer");
    let image = shape.to_station(world.topology.station(P)).encode();
    let verdict = world.arrive(P, &image);
    world.left.clear();
    verdict
}

/// Opens a UDP flow that both sides have spoken in.
fn open(world: &mut World, tenant: DeviceIndex, port: u16) {
    let image = ask(world, tenant, port);
    assert_eq!(world.arrive(tenant, &image), Verdict::Forward(P));
    assert_eq!(answer(world), Verdict::Forward(tenant));
}

#[test]
fn a_flow_is_lent_when_both_sides_have_spoken() {
    let (mut world, memory) = world();
    let image = ask(&world, A, 5000);
    world.arrive(A, &image);
    assert!(memory.in_force().is_empty(), "nobody has answered yet");
    answer(&mut world);
    check(&world.engines, &memory).unwrap();
    let mut lent = memory.in_force();
    lent.sort_by_key(|shortcut| shortcut.by.0);
    let [back, forward] = lent.as_slice() else { panic!("{lent:?}") };
    assert_eq!((forward.by, back.by), (interface(P), interface(A)));
    let client = mac_of(CLIENT).octets();
    assert_eq!(forward.from.map(|(by, _)| by), Some(interface(A)), "from where the client is");
    assert_eq!(forward.from.map(|(_, station)| station.0), Some(client));
    assert_eq!((back.from, back.to.0), (None, client));
}

#[test]
fn tcp_is_lent_from_the_handshake_to_the_first_end() {
    let (mut world, memory) = world();
    let (client, endpoint) = ((CLIENT, 5000), (ENDPOINT, 443));
    let say = |world: &mut World, flags| {
        let shape = Shape::tcp(client, endpoint, flags);
        let image = shape.to_station(world.topology.station(A)).encode();
        assert_eq!(world.arrive(A, &image), Verdict::Forward(P));
    };
    say(&mut world, SYN);
    let seen = observe(&world.take().image.bytes).transport();
    let (backend, nat) =
        ((seen.destination, seen.destination_port), (seen.source, seen.source_port));
    let image = Shape::tcp(backend, nat, SYN | ACK).to_station(world.topology.station(P)).encode();
    assert_eq!(world.arrive(P, &image), Verdict::Forward(A));
    assert!(memory.in_force().is_empty(), "half open");
    say(&mut world, ACK);
    assert_eq!(memory.in_force().len(), 2);
    check(&world.engines, &memory).unwrap();
    say(&mut world, RST | ACK);
    assert!(memory.in_force().is_empty(), "whatever revives it must be seen");
}

#[test]
fn nothing_is_lent_to_or_from_a_device_that_takes_no_part() {
    let (mut world, memory) = world();
    world.engines[0].lend_device(B, None);
    open(&mut world, B, 5000);
    assert!(memory.in_force().is_empty());
    open(&mut world, A, 5000);
    assert_eq!(memory.in_force().len(), 2);
}

#[test]
fn a_connection_that_is_rejected_has_no_shortcut_when_that_is_adopted() {
    let (mut world, memory) = world();
    [A, B].into_iter().for_each(|tenant| open(&mut world, tenant, 5000));
    assert_eq!(memory.in_force().len(), 4);
    world.topology.set_gate(A, Gate::Rejected);
    world.publish();
    assert_eq!(memory.in_force().len(), 4, "not adopted yet");
    world.adopt(0);
    assert!(memory.in_force().is_empty());
    let image = ask(&world, A, 5000);
    assert!(matches!(world.arrive(A, &image), Verdict::Drop(_)));
    world.left.clear();
    // The backend's station is asked for anew.
    world.pass(Duration::from_millis(50));
    world.left.clear();
    let image = ask(&world, B, 5000);
    assert_eq!(world.arrive(B, &image), Verdict::Forward(P));
    assert_eq!(memory.in_force().len(), 2, "whoever is still wanted is lent again");
    check(&world.engines, &memory).unwrap();
}

#[test]
fn what_the_fast_path_carries_keeps_a_flow_alive() {
    let (mut world, memory) = world();
    open(&mut world, A, 5000);
    // The timeout of UDP is 240 s.
    for _ in 0..3 {
        world.pass(Duration::from_secs(200));
        memory.use_all(world.now);
    }
    assert_eq!(world.sessions().len(), 1);
    check(&world.engines, &memory).unwrap();
    world.pass(Duration::from_secs(239));
    assert_eq!(world.sessions().len(), 1);
    world.pass(Duration::from_secs(2));
    assert!(world.sessions().is_empty(), "then it is silent for long enough");
    assert_eq!(memory.count(), 0, "and nothing of it is left");
    world.check_tables();
}

#[test]
fn a_packet_after_long_silence_does_not_end_what_the_fast_path_kept_alive() {
    let (mut world, memory) = world();
    open(&mut world, A, 5000);
    let before = world.sessions()[0].nat_port;
    world.now = world.now.after(Duration::from_secs(300));
    memory.use_all(world.now);
    let image = ask(&world, A, 5000);
    assert_eq!(world.arrive(A, &image), Verdict::Forward(P));
    assert_eq!(world.sessions()[0].nat_port, before, "it is the same flow");
}

#[test]
fn answers_follow_a_client_that_moves() {
    let (mut world, memory) = world();
    open(&mut world, A, 5000);
    let elsewhere = mac_of(ENDPOINT);
    let shape = Shape::udp((CLIENT, 5000), (ENDPOINT, 53), b"from elsewhere");
    let shape = Shape { from_mac: elsewhere, ..shape.to_station(world.topology.station(A)) };
    assert_eq!(world.arrive(A, &shape.encode()), Verdict::Forward(P));
    let lent = memory.in_force();
    let back = lent.iter().find(|shortcut| shortcut.by == interface(A)).unwrap();
    assert_eq!(back.to.0, elsewhere.octets());
    check(&world.engines, &memory).unwrap();
}

#[test]
fn shortcuts_are_void_when_a_device_goes() {
    let (mut world, memory) = world();
    open(&mut world, A, 5000);
    world.detach(P);
    assert!(memory.in_force().is_empty());
}

#[test]
fn what_was_carried_is_in_the_account() {
    let (mut world, memory) = world();
    open(&mut world, A, 5000);
    let before = world.engines[0].counters().clone();
    memory.carry(Carried { packets: 7, bytes: 700 });
    world.pass(Duration::from_millis(10));
    let after = world.engines[0].counters();
    assert_eq!(after.received, before.received + 7);
    assert_eq!(after.received_bytes, before.received_bytes + 700);
    assert_eq!(after.forwarded, before.forwarded + 7);
    assert_eq!(after.forwarded_bytes, before.forwarded_bytes + 700);
    assert_eq!(after.shortcut, before.shortcut + 7);
}

/// Flows of two tenants come, speak, fall silent and are taken away in many orders; a shortcut
/// that counts is always a live flow's. Ports are few, so that leases change hands at once.
#[test]
fn no_shortcut_outlives_its_flow() {
    let (mut world, memory) = world();
    let mut number: u32 = 1;
    for round in 0..3_000_u32 {
        // Any order that is not the same each time: a linear congruential generator.
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (tenant, port) =
            ([A, B][(number >> 30) as usize & 1], 5000 + (number >> 24 & 15) as u16);
        match number >> 16 & 31 {
            0 => world.leap(Duration::from_secs(239)),
            1 => world.leap(Duration::from_secs(1)),
            2 => {
                let gate = if round % 2 == 0 { Gate::Rejected } else { Gate::Approved };
                world.topology.set_gate(tenant, gate);
                world.reload();
                world.pass(Duration::from_millis(50));
            }
            3 => memory.use_all(world.now),
            _ => {
                let image = ask(&world, tenant, port);
                if world.arrive(tenant, &image) == Verdict::Forward(P) {
                    answer(&mut world);
                }
            }
        }
        world.left.clear();
        check(&world.engines, &memory).unwrap();
    }
    assert!(world.engines[0].counters().flows_closed > 50, "flows came and went");
    world.check_tables();
}

#[test]
fn flows_that_somebody_watches_are_taken_back_and_not_lent_until_nobody_does() {
    let (mut world, memory) = world();
    open(&mut world, A, 5000);
    open(&mut world, B, 5000);
    assert_eq!(memory.in_force().len(), 4);
    let scope = world.topology.scope(A).unwrap();
    let engine = &mut world.engines[0];
    engine.trace(Some(Filter { scope: Some(scope), ..Filter::default() }));
    assert!(!engine.is_traced(), "flows have yet to be asked");
    world.pass(Duration::from_millis(20));
    assert!(world.engines[0].is_traced());
    assert_eq!(memory.count(), 2, "the other tenant's stay");
    let image = ask(&world, A, 5000);
    world.arrive(A, &image);
    answer(&mut world);
    open(&mut world, A, 5001);
    assert_eq!(memory.count(), 2, "neither it nor a new one is lent");
    let dropped = Filter { scope: Some(scope), verdicts: Verdicts::Dropped, ..Filter::default() };
    world.engines[0].trace(Some(dropped));
    world.arrive(A, &image);
    answer(&mut world);
    assert_eq!(memory.count(), 4, "the kernel drops nothing: who watches drops sees them all");
    world.engines[0].trace(None);
    assert!(world.engines[0].is_traced());
    check(&world.engines, &memory).unwrap();
}
