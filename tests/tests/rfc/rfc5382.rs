//! RFC 5382: what a NAT does with TCP.

use std::net::IpAddr;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use harness::encode::TCP;
use harness::encode::flags::{ACK, FIN, PSH, SYN};
use harness::topology::{A, CLIENT, ENDPOINT, NAT_IP, P, backend};
use harness::{Shape, Topology, World};

use crate::icmp::{error, send_error, translating_world};
use crate::same;
use crate::talk::{Flow, send, world};

const CLIENT_SOCKET: (IpAddr, u16) = (CLIENT, 5000);

/// A client's socket has one mapping, whatever the destination.
/// Applies: adapted
/// Answer: One mapping for each (client's socket, endpoint and port), for as long as the flow
/// lives.
/// Deviation: As of RFC 4787 REQ-1: each endpoint and port has its own.
#[test]
fn rfc5382_req1_a_socket_keeps_its_mapping_towards_an_endpoint() {
    same::mappings_are_of_socket_and_endpoint(TCP);
}

/// All valid sequences of TCP packets pass, simultaneous open among them.
/// Applies: as it stands
/// Answer: They do: adit follows the flags, not the sequence numbers, and only as deep as it needs
/// to choose a timeout.
#[test]
fn rfc5382_req2_every_valid_sequence_passes() {
    use Way::{Back, Forward};
    let handshake = [(Forward, SYN), (Back, SYN | ACK), (Forward, ACK)];
    let repeated = [
        (Forward, SYN),
        (Forward, SYN),
        (Back, SYN | ACK),
        (Back, SYN | ACK),
        (Forward, ACK),
        (Back, SYN | ACK),
        (Forward, ACK),
    ];
    let simultaneous = [
        (Forward, SYN),
        (Back, SYN),
        (Forward, SYN | ACK),
        (Back, SYN | ACK),
        (Forward, ACK),
        (Back, ACK),
    ];
    let client_closes = [
        (Forward, FIN | ACK),
        (Back, ACK),
        // Half closed: the backend goes on.
        (Back, ACK | PSH),
        (Forward, ACK),
        (Back, FIN | ACK),
        (Forward, ACK),
    ];
    let backend_closes =
        [(Back, FIN | ACK), (Forward, ACK | PSH), (Back, ACK), (Forward, FIN | ACK), (Back, ACK)];
    let both_close = [(Forward, FIN | ACK), (Back, FIN | ACK), (Forward, ACK), (Back, ACK)];
    let openings: [&[_]; 3] = [&handshake, &repeated, &simultaneous];
    let closings: [&[_]; 3] = [&client_closes, &backend_closes, &both_close];
    for opening in openings {
        for closing in closings {
            play(opening, closing);
        }
    }
}

/// From whom a packet comes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Forward,
    Back,
}

/// Plays a connection: every packet passes, all with one mapping.
fn play(opening: &[(Way, u8)], closing: &[(Way, u8)]) {
    let mut world = world();
    let to = (ENDPOINT, 443);
    let flow = Flow::begin(&mut world, TCP, (A, CLIENT_SOCKET), to).expect("the first SYN passes");
    let data = [(Way::Forward, ACK | PSH), (Way::Back, ACK | PSH)];
    for (step, (way, flags)) in [&opening[1..], &data, closing].concat().into_iter().enumerate() {
        let outcome = match way {
            Way::Forward => flow.forward(&mut world, flags),
            Way::Back => flow.back(&mut world, flags),
        };
        let out = outcome.unwrap_or_else(|reason| panic!("step {step}, {way:?}: {reason:?}"));
        let (from, to) = match way {
            Way::Forward => (flow.nat, flow.backend),
            Way::Back => (flow.endpoint, flow.client),
        };
        assert_eq!((out.packet.source, out.packet.source_port), from);
        assert_eq!((out.packet.destination, out.packet.destination_port), to);
        assert_eq!(out.packet.flags, flags);
    }
    assert_eq!(world.engines[0].counters().flows_opened, 1);
    assert_eq!(world.sessions()[0].state.name(), "closed");
}

/// Whoever may send to a mapping is filtered independently of the endpoint, or by address.
/// Applies: adapted
/// Answer: Only the backend that was chosen may answer, and only from the port that was asked.
/// Deviation: As of RFC 4787 REQ-8: filtering is by address and port.
#[test]
fn rfc5382_req3_only_the_chosen_backend_answers() {
    same::only_the_chosen_backend_answers(TCP);
}

/// An unsolicited SYN from outside is not answered for six seconds, for the inside may be about to
/// open the same connection; or never, if that is the policy (REQ-4a).
/// Applies: adapted
/// Answer: Never: only consumers open connections. It is dropped and counted, leaves nothing
/// behind, and does not stand in the way of a client.
#[test]
fn rfc5382_req4_an_unsolicited_syn_is_never_answered() {
    let mut world = world();
    for port in [1024, 40_000] {
        let shape = Shape::tcp((backend(0), 8080), (NAT_IP, port), SYN);
        let outcome = send(&mut world, P, shape).map(drop);
        assert_eq!(outcome, Err(DropReason::UnsolicitedFromProvider));
    }
    world.pass(Duration::from_secs(10));
    assert!(world.left.is_empty() && world.sessions().is_empty());
    Flow::open(&mut world, TCP, A, CLIENT_SOCKET).assert_alive(&mut world);
    assert_eq!(world.dropped(DropReason::UnsolicitedFromProvider), 2);
}

/// An established connection lives for at least 2 h 4 min without a packet, one that opens or
/// closes for 4 min.
/// Applies: adapted
/// Answer: As configured, to the tick: `tcp_established_timeout`, `tcp_half_open_timeout` and
/// `tcp_closing_timeout`; 7440 s and 240 s are allowed.
/// Deviation: The defaults are Azure's, 300 s and 30 s.
#[test]
fn rfc5382_req5_connections_live_as_long_as_configured() {
    for (seconds, [open_ms, established_ms, closed_ms]) in [
        (Some([240, 7440, 240, 300]), [240_000, 7_440_000, 240_000]),
        (None, [30_000, 300_000, 30_000]),
    ] {
        let world = || {
            let mut topology = Topology::with_backends(&[backend(0)]);
            if let Some(seconds) = seconds {
                topology.set_timeouts(seconds);
            }
            World::new(topology)
        };
        let mut opening = world();
        Flow::begin(&mut opening, TCP, (A, CLIENT_SOCKET), (ENDPOINT, 443)).unwrap();
        assert_lives_for(&mut opening, open_ms);
        let mut established = world();
        Flow::open(&mut established, TCP, A, CLIENT_SOCKET);
        assert_lives_for(&mut established, established_ms);
        let mut closed = world();
        let flow = Flow::open(&mut closed, TCP, A, CLIENT_SOCKET);
        flow.forward(&mut closed, FIN | ACK).unwrap();
        flow.back(&mut closed, FIN | ACK).unwrap();
        flow.forward(&mut closed, ACK).unwrap();
        assert_lives_for(&mut closed, closed_ms);
    }
}

fn assert_lives_for(world: &mut World, milliseconds: u64) {
    world.leap(Duration::from_millis(milliseconds - 50));
    assert_eq!(world.sessions().len(), 1, "{milliseconds} ms are not over");
    world.leap(Duration::from_millis(100));
    assert_eq!(world.sessions().len(), 0, "{milliseconds} ms are over");
}

/// Application level gateways are off.
/// Applies: as it stands
/// Answer: There are none: payload passes as it is, and nothing is opened that it announces.
#[test]
fn rfc5382_req6_payload_is_never_looked_at() {
    same::payload_is_never_looked_at(TCP, 21, |address| {
        format!("PORT {},19,136\r\n", address.to_string().replace('.', ","))
    });
}

/// No two sockets share a port ("overloading").
/// Applies: adapted
/// Answer: A live flow's (NAT IP, port, backend, protocol) is nobody else's; when all 64,512 are
/// lent the next flow is refused.
/// Deviation: The same port of a NAT IP may be lent towards each backend, as RFC 7857 section 3
/// allows.
#[test]
fn rfc5382_req7_no_port_is_shared() {
    same::ports_are_never_shared(TCP);
}

/// Two hosts inside reach each other through their external addresses ("hairpinning").
/// Applies: adapted
/// Answer: A client in the network of the backends reaches them through an endpoint there, and
/// the answers come back through adit.
/// Deviation: As of RFC 4787 REQ-9: a mapping is no address that others could send to.
#[test]
fn rfc5382_req8_a_client_beside_the_backend_is_served() {
    same::a_client_beside_the_backend_is_served(TCP);
}

/// ICMP "destination unreachable" is translated.
/// Applies: as it stands
/// Answer: With `icmp_errors = "translate"`, from either side: the packet that the error quotes
/// becomes the one that its receiver has sent.
/// Deviation: Off by default, as Private Link carries TCP and UDP only: errors are then dropped,
/// and counted as `icmp_unsupported`.
#[test]
fn rfc5382_req9_unreachable_is_translated_on_request() {
    for translates in [false, true] {
        let mut world = if translates { translating_world() } else { world() };
        let flow = Flow::open(&mut world, TCP, A, CLIENT_SOCKET);
        for code in [0, 1, 3, 4, 13] {
            let to_client = error(flow.backend.0, (3, code), &flow.outgoing(ACK));
            let to_backend = error(CLIENT, (3, code), &flow.incoming(ACK));
            let (client, server) =
                ((A, (TCP, flow.client, flow.endpoint)), (P, (TCP, flow.backend, flow.nat)));
            for (device, error, wanted) in [(P, to_client, client), (A, to_backend, server)] {
                let outcome = send_error(&mut world, device, error);
                let outcome = outcome.map(|(device, seen)| {
                    assert_eq!((seen.message.kind, seen.message.code), (3, code));
                    (device, seen.quoted)
                });
                let dropped = Err(DropReason::IcmpUnsupported);
                assert_eq!(outcome, if translates { Ok(wanted) } else { dropped });
            }
        }
    }
}

/// No ICMP message ends a connection.
/// Applies: as it stands
/// Answer: None does, of any type, from either side.
#[test]
fn rfc5382_req10_icmp_ends_no_connection() {
    same::icmp_ends_no_flow(TCP);
}
