//! RFC 4787: what a NAT does with UDP.
//!
//! Does not apply:
//! - REQ-4, ports keep their parity: RFC 7857 takes it back, and ports that keep a parity are
//!   easier to guess.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::snapshot::Fragments;
use dataplane::types::{DeviceIndex, Protocol};
use harness::encode::UDP;
use harness::sum::add;
use harness::topology::{A, B, CLIENT, ENDPOINT, P, backend};
use harness::world::{Flood, clients};
use harness::{Image, Left, Shape, Topology, World};

use crate::icmp::told;
use crate::same;
use crate::talk::{Flow, large_world, send, world};

const CLIENT_SOCKET: (IpAddr, u16) = (CLIENT, 5000);

/// A client's socket has one mapping, whatever the destination.
/// Applies: adapted
/// Answer: One mapping for each (client's socket, endpoint and port), for as long as the flow
/// lives.
/// Deviation: Another endpoint, or another port of it, gets another mapping: it leads to other
/// backends, and what is behind an endpoint is reached through nothing else.
#[test]
fn rfc4787_req1_a_socket_keeps_its_mapping_towards_an_endpoint() {
    same::mappings_are_of_socket_and_endpoint(UDP);
}

/// A client's mappings all have the same external address ("paired").
/// Applies: adapted
/// Answer: A flow keeps its NAT IP; with one NAT IP there is nothing to choose.
/// Deviation: With more, each flow takes the emptier of two that its hash picks: all NAT IPs fill
/// evenly, and every port of all is of use to a single client. Backends could not tell clients
/// apart by a NAT IP in any case: many share it.
#[test]
fn rfc4787_req2_a_clients_flows_spread_over_the_nat_ips() {
    same::a_clients_flows_spread_over_the_nat_ips(UDP);
}

/// No two sockets share a port ("overloading"), and a port stays in its class, well-known or not.
/// Applies: adapted
/// Answer: A live flow's (NAT IP, port, backend, protocol) is nobody else's; when all 64,512 are
/// lent the next flow is refused.
/// Deviation: Ports are 1024 to 65535 also for clients that use a well-known port: backends are
/// not to take a NAT IP's low port for a privileged program.
#[test]
fn rfc4787_req3_no_port_is_shared() {
    same::ports_are_never_shared(UDP);
}

/// A mapping lives for at least two minutes without a packet, five by default, and it can be set.
/// Applies: as it stands
/// Answer: 240 s by default, which is Azure's; `udp_timeout` of the service sets it.
/// Deviation: The default is below the five minutes that are recommended, and the setting may be
/// below two minutes, as the profile `gcp` (30 s) needs.
#[test]
fn rfc4787_req5_a_mapping_lives_for_240_s_or_as_set() {
    for (set, lives_ms) in [(None, 240_000), (Some(300), 300_000), (Some(30), 30_000)] {
        let mut topology = Topology::with_backends(&[backend(0)]);
        if let Some(seconds) = set {
            topology.set_timeouts([1, 1, 1, seconds]);
        }
        let mut world = World::new(topology);
        let flow = Flow::open(&mut world, UDP, A, CLIENT_SOCKET);
        world.leap(Duration::from_millis(lives_ms - 50));
        flow.assert_alive(&mut world);
        world.leap(Duration::from_millis(lives_ms + 50));
        assert_eq!(flow.back(&mut world, 0).map(drop), Err(DropReason::UnsolicitedFromProvider));
        assert!(world.sessions().is_empty());
    }
}

/// Outbound packets keep a mapping alive.
/// Applies: as it stands
/// Answer: Packets of either side do; those of the backend only if they are the flow's own.
#[test]
fn rfc4787_req6_packets_of_either_side_refresh() {
    let mut world = world();
    let [asks, hears, rests] =
        [5000, 5001, 5002].map(|port| Flow::open(&mut world, UDP, A, (CLIENT, port)));
    let strange = Shape::udp((rests.backend.0, 9), rests.nat, b"x");
    for _ in 0..4 {
        world.leap(Duration::from_secs(200));
        asks.forward(&mut world, 0).unwrap();
        hears.back(&mut world, 0).unwrap();
        assert!(send(&mut world, P, strange.clone()).is_err(), "not of the flow");
    }
    asks.assert_alive(&mut world);
    hears.assert_alive(&mut world);
    assert_eq!(rests.back(&mut world, 0).map(drop), Err(DropReason::UnsolicitedFromProvider));
}

/// Inside and outside may use the same addresses.
/// Applies: as it stands
/// Answer: This is what adit is for: networks may all have the same addresses, and the endpoint
/// decides. A client may also have the address of a backend.
#[test]
fn rfc4787_req7_networks_with_the_same_addresses_do_not_meet() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    // The tenants' address space is the provider's.
    let space = topology.plan.scopes[P.slot()].address_space.clone();
    for tenant in [A, B] {
        topology.plan.scopes[tenant.slot()].address_space.extend(space.clone());
    }
    let mut world = World::new(topology);
    for client in [CLIENT_SOCKET, (backend(0), 5353), (IpAddr::from([10, 1, 0, 4]), 5353)] {
        let flows = [A, B].map(|tenant| Flow::open(&mut world, UDP, tenant, client));
        assert_ne!(flows[0].nat, flows[1].nat, "the backend tells them apart");
        flows.iter().rev().for_each(|flow| flow.assert_alive(&mut world));
    }
}

/// Whoever may send to a mapping is filtered independently of the endpoint, or by address.
/// Applies: adapted
/// Answer: Only the backend that was chosen may answer, and only from the port that was asked.
/// Deviation: Filtering is by address and port, stricter than recommended: nobody else has
/// anything to say to a client of a private endpoint.
#[test]
fn rfc4787_req8_only_the_chosen_backend_answers() {
    same::only_the_chosen_backend_answers(UDP);
}

/// Two hosts inside reach each other through their external addresses ("hairpinning").
/// Applies: adapted
/// Answer: A client in the network of the backends reaches them through an endpoint there, and
/// the answers come back through adit.
/// Deviation: A mapping is no address that others could send to, from inside either: clients of
/// private endpoints do not reach one another.
#[test]
fn rfc4787_req9_a_client_beside_the_backend_is_served() {
    same::a_client_beside_the_backend_is_served(UDP);
}

/// Application level gateways are off.
/// Applies: as it stands
/// Answer: There are none: payload passes as it is.
#[test]
fn rfc4787_req10_payload_is_never_looked_at() {
    same::payload_is_never_looked_at(UDP, 5060, |address| {
        format!("INVITE sip:a@{address}:5060 SIP/2.0\r\nContact: <sip:b@{address}:5000>\r\n\r\n")
    });
}

/// Mapping and filtering never change their kind, whatever happens.
/// Applies: as it stands
/// Answer: From the first flow to the last port the rules are the same. At the limit new flows
/// are refused; those that were answered keep what they have.
#[test]
fn rfc4787_req11_a_full_pool_changes_no_rule() {
    let mut world = large_world(Topology::with_backends(&[backend(0)]));
    let flow = Flow::open(&mut world, UDP, B, CLIENT_SOCKET);
    for (first, count) in [(0, 0), (0, 32_000), (32_000, 32_511)] {
        let tally = world.pour(Flood::new(A, Protocol::Udp), clients(first, count), |_, _| {});
        assert_eq!(tally.forwarded, count as usize);
        let strange = Shape::udp((flow.backend.0, 9), flow.nat, b"x");
        assert_eq!(send(&mut world, P, strange).map(drop), Err(DropReason::BackendMismatch));
        flow.assert_alive(&mut world);
    }
    let next = Flow::begin(&mut world, UDP, (A, (CLIENT, 1)), (ENDPOINT, 53));
    assert_eq!(next, Err(DropReason::NatPortsExhausted));
    flow.assert_alive(&mut world);
    // The same flow in another world, alone, has the same mapping: nothing but the seed decides.
    let mut other = large_world(Topology::with_backends(&[backend(0)]));
    assert_eq!(Flow::open(&mut other, UDP, B, CLIENT_SOCKET), flow);
}

/// No ICMP message ends a mapping.
/// Applies: as it stands
/// Answer: None does, of any type, from either side.
#[test]
fn rfc4787_req12_icmp_ends_no_mapping() {
    same::icmp_ends_no_flow(UDP);
}

/// A packet that may not be fragmented and is too big is answered with ICMP "fragmentation needed".
/// Applies: as it stands
/// Answer: It is dropped, and counted as `too_big`; with `icmp_answers = ["too_big"]` the sender
/// is told the MTU beyond adit, on both sides. The MSS of TCP is lowered to what fits in any case.
/// Deviation: Off by default, as Private Link carries TCP and UDP only. A packet that may be
/// fragmented is dropped as well, and its sender not told: adit does not fragment.
#[test]
fn rfc4787_req13_who_sends_too_much_is_told_on_request() {
    for too_big in [false, true] {
        let mut topology = Topology::with_backends(&[backend(0)]);
        topology.plan.services[0].treatment.icmp_answers.too_big = too_big;
        (topology.links[A.slot()].mtu, topology.links[P.slot()].mtu) = (1300, 1400);
        let mut world = World::new(topology);
        let flow = Flow::open(&mut world, UDP, A, CLIENT_SOCKET);
        let sides = [(A, flow.request(0), 1400, ENDPOINT), (P, flow.answer(0), 1300, flow.nat.0)];
        for (device, packet, mtu, teller) in sides {
            for dont_fragment in [0, 2] {
                let sized = |bytes| {
                    let payload = vec![0; bytes];
                    Shape { fragment_flags: dont_fragment, ..packet.clone().with_payload(&payload) }
                };
                let fits = usize::from(mtu) - 28;
                assert!(send(&mut world, device, sized(fits)).is_ok());
                let outcome = send(&mut world, device, sized(fits + 1)).map(drop);
                assert_eq!(outcome, Err(DropReason::TooBig));
                let told = told(&mut world);
                assert_eq!(told.len(), usize::from(too_big && dont_fragment == 2));
                for (at, error, told_mtu) in told {
                    assert_eq!((at, error.message.kind, error.message.code), (device, 3, 4));
                    assert_eq!((told_mtu, error.source), (mtu, teller));
                    let from = (packet.source, packet.source_port);
                    let to = (packet.destination, packet.destination_port);
                    assert_eq!((error.destination, error.quoted), (from.0, (UDP, from, to)));
                }
            }
        }
    }
}

/// Fragments are translated, in any order, without becoming a way to exhaust the NAT.
/// Applies: as it stands
/// Answer: With `fragments = "reassemble"`: they follow the first one of their datagram, whether
/// they come before or after it, over either family. Each network has room for 32 that wait, for
/// two seconds at most.
/// Deviation: Off by default: they are then dropped, and counted as `ipv4_fragment` or
/// `ipv6_fragment`.
#[test]
fn rfc4787_req14_fragments_pass_in_any_order_on_request() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for follows in [false, true] {
        let mut world = fragment_world(follows);
        let flow = Flow::open(&mut world, UDP, A, CLIENT_SOCKET);
        for (number, order) in (1..).zip(orders) {
            for (device, whole) in [(A, flow.request(0)), (P, flow.answer(0))] {
                let parts = parts(&Shape { id: number, ..whole.with_payload(&[7; 40]) });
                for at in order {
                    world.arrive(device, &frame_of(&world, device, &parts[at]));
                }
                let to = if device == A { P } else { A };
                assert!(world.left.iter().all(|left| left.device == to));
                let left: BTreeSet<_> = world.left.drain(..).map(|left| offset(&left)).collect();
                let all = if follows { vec![0, 2, 4] } else { vec![] };
                assert_eq!(left.into_iter().collect::<Vec<_>>(), all, "{order:?}");
            }
        }
        let dropped = world.dropped(DropReason::Ipv4Fragment);
        assert_eq!(dropped, if follows { 0 } else { 36 });
        flow.assert_alive(&mut world);
        // A flood of fragments whose first one never comes takes a bounded room, for a short time.
        for id in 0..1_000 {
            let last = parts(&Shape { id, ..flow.request(0).with_payload(&[7; 40]) }).remove(2);
            world.arrive(A, &frame_of(&world, A, &last));
        }
        assert_eq!(world.engines[0].counters().held, if follows { 32 } else { 0 });
        flow.assert_alive(&mut world);
        world.pass(Duration::from_millis(2_100));
        assert_eq!(world.engines[0].counters().held, 0);
    }
}

fn fragment_world(follows: bool) -> World {
    let mut topology = Topology::with_backends(&[backend(0)]);
    if follows {
        topology.plan.services[0].treatment.fragments = Fragments::Reassemble;
    }
    World::new(topology)
}

/// The fragments of a datagram, of two units of eight bytes each.
fn parts(whole: &Shape) -> Vec<Shape> {
    let payload = whole.encode().bytes[34..].to_vec();
    let count = payload.len().div_ceil(16);
    let part = |(at, bytes): (usize, &[u8])| Shape {
        fragment_flags: u8::from(at + 1 < count),
        fragment_offset: u16::try_from(at * 2).unwrap_or(u16::MAX),
        payload: bytes.to_vec(),
        ..whole.clone()
    };
    payload.chunks(16).enumerate().map(part).collect()
}

/// The frame of a fragment: its payload is all that follows the IPv4 header.
fn frame_of(world: &World, device: DeviceIndex, part: &Shape) -> Image {
    let shape = Shape { protocol: 0, ..part.clone() }.to_station(world.topology.station(device));
    let mut image = shape.encode();
    image.bytes[23] = UDP;
    let checksum = add(u16::from_be_bytes([image.bytes[24], image.bytes[25]]), !u16::from(UDP));
    image.bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    image
}

fn offset(left: &Left) -> u16 {
    u16::from_be_bytes([left.image.bytes[20], left.image.bytes[21]]) & 0x1fff
}
