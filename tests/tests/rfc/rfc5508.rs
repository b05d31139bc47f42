//! RFC 5508: what a NAT does with ICMP.

use std::net::IpAddr;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::snapshot::{IcmpAnswers, IcmpErrors, Refusal, Treatment};
use dataplane::types::Protocol;
use harness::encode::{TCP, UDP, flags};
use harness::icmp::{ECHO_REQUEST, IcmpShape};
use harness::topology::{A, B, CLIENT, ENDPOINT, NAT_IP, P, backend};
use harness::world::{Flood, Kind, clients};
use harness::{Shape, Topology, World};

use crate::icmp::{
    FAMILIES, Side, answering_world, error, error_across, message, ping, send_error, told,
    told_kinds, translating_world, treating_world,
};
use crate::same;
use crate::talk::{Flow, large_world, pass, send, world};

const CLIENT_SOCKET: (IpAddr, u16) = (CLIENT, 5000);

/// ICMP queries (echo) of the inside reach the outside, and the replies come back.
/// Applies: adapted
/// Answer: With `icmp_echo` of an endpoint adit answers itself, while the connection is approved.
/// Deviation: Off by default, as Private Link carries TCP and UDP only. No query is forwarded: an
/// endpoint leads to many backends, and none of them is the one that a query means.
#[test]
fn rfc5508_req1_the_endpoint_answers_echo_on_request() {
    assert_eq!(ping(&mut world(), 7), Err(DropReason::IcmpUnsupported));
    let mut world = answering_world();
    assert_eq!(ping(&mut world, 7), Ok(()));
    let of_other = IcmpShape::echo(ECHO_REQUEST, 7, 3, b"ping").between(CLIENT, ENDPOINT);
    assert_eq!(pass(&mut world, B, of_other).map(drop), Err(DropReason::IcmpUnsupported));
    world.topology.set_gate(A, dataplane::snapshot::Gate::Pending);
    world.reload();
    assert_eq!(ping(&mut world, 7), Err(DropReason::ConnectionPending));
    assert!(world.left.is_empty(), "nothing was forwarded");
}

/// The mapping of a query lives for at least 60 s.
/// Applies: adapted
/// Answer: A query needs no mapping: adit answers at once, or never.
#[test]
fn rfc5508_req2_echo_needs_no_mapping() {
    same::echo_needs_no_mapping();
}

/// An error with a wrong checksum, or whose quoted IP header has one, is dropped; the quoted
/// transport checksum is not looked at.
/// Applies: as it stands
/// Answer: So it is, and counted as `icmp_invalid`; echo requests with a wrong checksum too.
#[test]
fn rfc5508_req3_wrong_checksums_are_dropped() {
    let mut world = translating_world();
    let flow = Flow::open(&mut world, UDP, A, CLIENT_SOCKET);
    let about = flow.outgoing(0).with_payload(b"asked");
    let router = IpAddr::from([10, 1, 0, 99]);
    let outcome = |world: &mut World, message: IcmpShape| {
        send_error(world, P, message.between(router, NAT_IP)).map(drop)
    };
    let right = message((3, 3), &about);
    assert_eq!(outcome(&mut world, right.clone()), Ok(()));
    let wrong = IcmpShape { error: 1, ..right };
    assert_eq!(outcome(&mut world, wrong), Err(DropReason::IcmpInvalid));
    let wrong = message((3, 3), &Shape { header_error: 1, ..about.clone() });
    assert_eq!(outcome(&mut world, wrong), Err(DropReason::IcmpInvalid));
    let quoted_wrong = message((3, 3), &Shape { sum: harness::Sum::Off(1), ..about });
    assert_eq!(outcome(&mut world, quoted_wrong), Ok(()));
    let mut world = answering_world();
    let wrong = IcmpShape { error: 1, ..IcmpShape::echo(ECHO_REQUEST, 7, 3, b"ping") };
    let outcome = pass(&mut world, A, wrong.between(CLIENT, ENDPOINT)).map(drop);
    assert_eq!(outcome, Err(DropReason::IcmpInvalid));
}

/// An error from outside is translated if it is about a packet of a mapping, else dropped.
/// Applies: as it stands
/// Answer: With `icmp_errors = "translate"`: it reaches the client in the name of the endpoint,
/// about the packet that the client has sent, in the words of its family (RFC 7915). One about no
/// such packet is dropped as `icmp_unmatched`.
/// Deviation: Off by default. The source is the endpoint, not the router that speaks: a consumer
/// learns no address of the provider.
#[test]
fn rfc5508_req4_an_error_from_outside_reaches_the_client() {
    let mut world = translating_world();
    let flow = Flow::open(&mut world, UDP, A, CLIENT_SOCKET);
    let router = IpAddr::from([10, 1, 0, 99]);
    let (device, seen) = send_error(&mut world, P, error(router, (3, 1), &flow.outgoing(0)))
        .expect("an error about a live flow passes");
    assert_eq!((device, seen.source, seen.destination), (A, ENDPOINT, CLIENT));
    assert_eq!(seen.quoted, (UDP, flow.client, flow.endpoint));
    assert!(seen.holds && seen.message.holds, "all checksums are right: {seen:?}");
    let mut about =
        |shape: Shape| send_error(&mut world, P, error(router, (3, 1), &shape)).map(drop);
    let other_port = flow.nat.1 ^ 1;
    let unmatched = Err(DropReason::IcmpUnmatched);
    assert_eq!(about(Shape { source_port: other_port, ..flow.outgoing(0) }), unmatched);
    assert_eq!(about(Shape { destination: router, ..flow.outgoing(0) }), unmatched);
    assert_eq!(about(Shape { destination_port: 9, ..flow.outgoing(0) }), unmatched);
    let outcome = send_error(&mut self::world(), P, error(router, (3, 1), &flow.outgoing(0)));
    assert_eq!(outcome.map(drop), Err(DropReason::IcmpUnsupported), "off by default");
    for ends in FAMILIES {
        let (kind, client) = error_across(ends, Side::Backend);
        let unreachable = if ends.0 { (1, 0) } else { (3, 1) };
        assert_eq!((kind, client), (unreachable, Ok(())), "IPv6 at client and backend: {ends:?}");
    }
}

/// An error from inside is translated likewise.
/// Applies: as it stands
/// Answer: With `icmp_errors = "translate"`: it reaches the backend in the name of the NAT IP,
/// about the packet that the backend has sent, in the words of its family.
/// Deviation: Off by default. Errors of the other consumers' networks, or about what the flow has
/// not been sent, are dropped.
#[test]
fn rfc5508_req5_an_error_from_inside_reaches_the_backend() {
    let mut world = translating_world();
    let flow = Flow::open(&mut world, TCP, A, CLIENT_SOCKET);
    let about = flow.incoming(flags::ACK);
    let (device, seen) =
        send_error(&mut world, A, error(CLIENT, (3, 3), &about)).expect("it is of the client");
    assert_eq!((device, seen.source, seen.destination), (P, flow.nat.0, flow.backend.0));
    assert_eq!(seen.quoted, (TCP, flow.backend, flow.nat));
    assert!(seen.holds && seen.message.holds, "all checksums are right: {seen:?}");
    let outcome = send_error(&mut world, B, error(CLIENT, (3, 3), &about)).map(drop);
    assert_eq!(outcome, Err(DropReason::IcmpUnmatched), "the same words in another network");
    let outcome = send_error(&mut self::world(), A, error(CLIENT, (3, 3), &about)).map(drop);
    assert_eq!(outcome, Err(DropReason::IcmpUnsupported), "off by default");
    for ends in FAMILIES {
        let (kind, backend) = error_across(ends, Side::Client);
        let unreachable = if ends.1 { (1, 0) } else { (3, 1) };
        assert_eq!((kind, backend), (unreachable, Ok(())), "IPv6 at client and backend: {ends:?}");
    }
}

/// Errors neither refresh a mapping nor end it.
/// Applies: as it stands
/// Answer: They do neither, translated or dropped.
#[test]
fn rfc5508_req6_errors_neither_refresh_nor_end() {
    same::icmp_refreshes_nothing();
}

/// Errors about packets between two hosts inside are translated too ("hairpinning").
/// Applies: adapted
/// Answer: With `icmp_errors = "translate"`, between a client and a backend of one network too.
/// Deviation: Off by default; and there is no other way between two hosts of one side.
#[test]
fn rfc5508_req7_errors_beside_the_backend_are_translated() {
    same::errors_beside_the_backend_are_translated();
}

/// A packet that is refused for want of resources or of permission is dropped, and the sender told
/// by ICMP "administratively prohibited" (type 3, code 13).
/// Applies: as it stands
/// Answer: With `icmp_answers = ["prohibited"]` for datagrams, at most 50 at once and one more each
/// 10 ms for a network. TCP is reset instead, with `tcp_refusals = "reset"`.
/// Deviation: Both are off by default, as on Azure; the refusal is counted in any case.
#[test]
fn rfc5508_req8_the_refused_are_told_on_request() {
    for prohibited in [false, true] {
        let icmp_answers = IcmpAnswers { prohibited, ..IcmpAnswers::default() };
        let mut topology = Topology::with_backends(&[backend(0)]);
        topology.plan.services[0].treatment.icmp_answers = icmp_answers;
        topology.set_refusal(if prohibited { Refusal::Reset } else { Refusal::Silence });
        let mut world = large_world(topology);
        let expected: &[_] = if prohibited { &[(3, 13)] } else { &[] };
        // For want of permission: no rule.
        let outcome = send(&mut world, A, Shape::udp(CLIENT_SOCKET, (ENDPOINT, 9), b"x")).map(drop);
        assert_eq!(outcome, Err(DropReason::NoRule));
        assert_eq!(told_kinds(&mut world), expected);
        // TCP.
        let syn = Shape::tcp(CLIENT_SOCKET, (ENDPOINT, 9), flags::SYN);
        assert_eq!(send(&mut world, A, syn).map(drop), Err(DropReason::NoRule));
        let said: Vec<_> = world.left.drain(..).map(|left| left.kind).collect();
        assert_eq!(said, if prohibited { vec![Kind::Told] } else { vec![] });
        // For want of resources: no port is left.
        world.pour(Flood::new(B, Protocol::Udp), clients(0, 64_512), |_, _| {});
        let next = Flow::begin(&mut world, UDP, (A, CLIENT_SOCKET), (ENDPOINT, 53));
        assert_eq!(next, Err(DropReason::NatPortsExhausted));
        assert_eq!(told_kinds(&mut world), expected);
        // Not without a limit.
        world.leap(Duration::from_secs(1));
        for _ in 0..200 {
            assert!(Flow::begin(&mut world, UDP, (A, CLIENT_SOCKET), (ENDPOINT, 53)).is_err());
        }
        assert_eq!(told(&mut world).len(), if prohibited { 50 } else { 0 });
    }
}

/// Each kind of ICMP message of its own can be switched off.
/// Applies: as it stands
/// Answer: Each of `icmp_answers` by itself, for each service; so can `icmp_errors`, and
/// `icmp_echo` for each endpoint. None is on by default.
#[test]
fn rfc5508_req9_each_kind_has_its_switch() {
    for number in 0..8_u8 {
        let [too_big, time_exceeded, prohibited] = [1, 2, 4].map(|bit| number & bit != 0);
        let icmp_answers = IcmpAnswers { too_big, time_exceeded, prohibited };
        let mut world = treating_world(Treatment { icmp_answers, ..Treatment::default() });
        let flow = Flow::open(&mut world, UDP, A, CLIENT_SOCKET);
        let big = flow.request(0).with_payload(&[0; 1473]);
        let provocations = [
            (Shape { fragment_flags: 2, ..big }, too_big, (3, 4)),
            (Shape { ttl: 1, ..flow.request(0) }, time_exceeded, (11, 0)),
            (Shape { destination_port: 9, ..flow.request(0) }, prohibited, (3, 13)),
        ];
        for (shape, is_on, kind) in provocations {
            assert!(send(&mut world, A, shape).is_err());
            assert_eq!(told_kinds(&mut world), if is_on { vec![kind] } else { vec![] });
        }
    }
    let off = Treatment::default();
    assert_eq!((off.icmp_answers, off.icmp_errors), (IcmpAnswers::default(), IcmpErrors::Drop));
}

/// A NAT passes on errors of types 3 and 11 and echo, sends "time exceeded" and "fragmentation
/// needed" itself, and takes one off the time to live.
/// Applies: as it stands
/// Answer: On request it does, type 12 too; echo it answers instead of passing it on.
/// Deviation: All of it is off by default; packets whose time to live runs out are then dropped in
/// silence, and counted as `ipv4_ttl_expired`. Redirects and source quenches are never passed on.
#[test]
fn rfc5508_req10_the_types_that_matter_are_supported() {
    let icmp_answers = IcmpAnswers { time_exceeded: true, ..IcmpAnswers::default() };
    let icmp_errors = IcmpErrors::Translate;
    let mut world = treating_world(Treatment { icmp_answers, icmp_errors, ..Treatment::default() });
    let flow = Flow::open(&mut world, UDP, A, CLIENT_SOCKET);
    for kind in [(3, 0), (3, 1), (3, 3), (3, 4), (11, 0), (11, 1), (12, 0), (4, 0), (5, 1)] {
        let passes = [3, 11, 12].contains(&kind.0);
        let error = Shape { ttl: 9, ..error(flow.backend.0, kind, &flow.outgoing(0)) };
        let outcome = send_error(&mut world, P, error).map(|(_, seen)| seen.ttl);
        assert_eq!(outcome, if passes { Ok(8) } else { Err(DropReason::IcmpUnsupported) });
    }
    for (device, packet) in [(A, flow.request(0)), (P, flow.answer(0))] {
        for (ttl, leaves_with) in [(64, Some(63)), (2, Some(1)), (1, None), (0, None)] {
            let outcome = send(&mut world, device, Shape { ttl, ..packet.clone() });
            let left_with = outcome.map(|out| out.packet.ttl);
            assert_eq!(left_with, leaves_with.ok_or(DropReason::Ipv4TtlExpired));
            let wanted = if leaves_with.is_none() { vec![(11, 0)] } else { vec![] };
            assert_eq!(told_kinds(&mut world), wanted);
        }
    }
    let mut silent = self::world();
    let expired = Shape { ttl: 1, ..flow.request(0) };
    assert_eq!(send(&mut silent, A, expired).map(drop), Err(DropReason::Ipv4TtlExpired));
    assert!(silent.left.is_empty(), "off by default");
}

/// Other ICMP messages may be dropped.
/// Applies: as it stands
/// Answer: They are, whatever is switched on, and counted as `icmp_unsupported`.
#[test]
fn rfc5508_req11_other_types_are_dropped() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.plan.endpoints[0].answers_echo = true;
    topology.plan.services[0].treatment.icmp_errors = IcmpErrors::Translate;
    let mut world = World::new(topology);
    let flow = Flow::open(&mut world, UDP, A, CLIENT_SOCKET);
    for kind in (0..=u8::MAX).filter(|kind| ![3, 8, 11, 12].contains(kind)) {
        let messages = [
            (A, error(CLIENT, (kind, 0), &flow.incoming(0))),
            (P, error(flow.backend.0, (kind, 0), &flow.outgoing(0))),
        ];
        for (device, message) in messages {
            let outcome = pass(&mut world, device, message).map(drop);
            assert_eq!(outcome, Err(DropReason::IcmpUnsupported), "type {kind}");
        }
    }
    assert!(world.left.is_empty());
}
