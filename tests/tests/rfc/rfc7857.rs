//! RFC 7857: what was learned since the others. Rows are named after its sections.
//!
//! Does not apply:
//! - 5, independence of mapping from the endpoint is the same for all protocols: mappings are of
//!   an endpoint, see RFC 4787 REQ-1; all protocols are treated alike in that.
//! - 6, independence of filtering from the endpoint is the same for all protocols: filtering is
//!   by address and port, see RFC 4787 REQ-8; all protocols are treated alike in that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::snapshot::Fragments;
use dataplane::types::Protocol;
use harness::encode::flags::{ACK, FIN, PSH, RST, SYN};
use harness::encode::{TCP, UDP};
use harness::topology::{A, CLIENT, ENDPOINT, P, backend};
use harness::world::{Flood, clients};
use harness::{Shape, Topology, World};

use crate::same;
use crate::talk::{Flow, large_world, pass, send, sockets, world};

const CLIENT_SOCKET: (IpAddr, u16) = (CLIENT, 5000);

/// TCP is followed by the state machine of RFC 6146; whatever is not established is transitory,
/// for 4 min.
/// Applies: as it stands
/// Answer: A flow is transitory until the handshake is done, after both FINs and after a reset,
/// for as long as `tcp_half_open_timeout` and `tcp_closing_timeout` say; half closed, it counts as
/// established.
/// Deviation: Both are 30 s by default, in every profile.
#[test]
fn rfc7857_2_1_what_is_not_established_is_transitory() {
    use Side::{Backend, Client};
    let handshake = [(Backend, SYN | ACK), (Client, ACK)];
    let closing = [(Client, FIN | ACK), (Backend, FIN | ACK)];
    let walks: [(&str, Vec<_>, bool); 6] = [
        ("opening", vec![], false),
        ("answered", handshake[..1].to_vec(), false),
        ("established", handshake.to_vec(), true),
        ("client_closed", [&handshake[..], &closing[..1]].concat(), true),
        ("closed", [&handshake[..], &closing[..]].concat(), false),
        ("reset", [&handshake[..], &[(Backend, RST)]].concat(), false),
    ];
    for (transitory_s, set) in [(30, None), (240, Some([240, 7440, 240, 300]))] {
        for (state, steps, is_established) in &walks {
            let mut topology = Topology::with_backends(&[backend(0)]);
            set.into_iter().for_each(|seconds| topology.set_timeouts(seconds));
            let mut world = World::new(topology);
            let flow = Flow::begin(&mut world, TCP, (A, CLIENT_SOCKET), (ENDPOINT, 443)).unwrap();
            for (side, flags) in steps {
                match side {
                    Client => flow.forward(&mut world, *flags).unwrap(),
                    Backend => flow.back(&mut world, *flags).unwrap(),
                };
            }
            assert_eq!(world.sessions()[0].state.name(), *state);
            world.leap(Duration::from_millis(transitory_s * 1000 - 50));
            assert_eq!(world.sessions().len(), 1, "{state}");
            world.leap(Duration::from_millis(100));
            assert_eq!(world.sessions().len(), usize::from(*is_established), "{state}");
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Client,
    Backend,
}

/// A reset makes an established connection transitory instead of ending it, and data after it
/// revives it; its sequence number may be checked.
/// Applies: as it stands
/// Answer: So it does, from either side: the flow lives for `tcp_closing_timeout` more, and any
/// further packet that is no reset revives it. A SYN of the client opens a new flow at once.
/// Deviation: Sequence numbers are not checked. A reset before the handshake is done is taken for
/// a refusal, which no packet undoes.
#[test]
fn rfc7857_2_2_a_reset_shortens_and_data_revives() {
    for (resetter, other) in [(A, P), (P, A)] {
        let mut world = world();
        let flow = Flow::open(&mut world, TCP, A, CLIENT_SOCKET);
        let packet =
            |device, flags| if device == A { flow.request(flags) } else { flow.answer(flags) };
        assert!(send(&mut world, resetter, packet(resetter, RST)).is_ok(), "it is passed on");
        world.leap(Duration::from_millis(29_900));
        assert!(send(&mut world, other, packet(other, ACK | PSH)).is_ok(), "it revives");
        world.leap(Duration::from_millis(200_000));
        flow.assert_alive(&mut world);
        assert!(send(&mut world, resetter, packet(resetter, RST)).is_ok());
        world.leap(Duration::from_millis(30_050));
        assert!(world.sessions().is_empty(), "without data it is over");
    }
    let mut world = world();
    let flow = Flow::begin(&mut world, TCP, (A, CLIENT_SOCKET), (ENDPOINT, 443)).unwrap();
    flow.back(&mut world, RST | ACK).unwrap();
    flow.forward(&mut world, ACK).unwrap();
    assert_eq!(world.sessions()[0].state.name(), "closed", "refused, and not revived");
    let again = Flow::begin(&mut world, TCP, (A, CLIENT_SOCKET), (ENDPOINT, 443)).unwrap();
    assert_ne!(again.nat, flow.nat, "a SYN opens a new flow");
}

/// A port may be mapped twice if the destinations differ.
/// Applies: as it stands
/// Answer: A NAT IP's port is lent once towards each backend, so that each backend adds 64,512
/// flows.
#[test]
fn rfc7857_3_a_port_is_lent_towards_each_backend() {
    let mut world = large_world(Topology::with_backends(&[backend(0), backend(1)]));
    let tally = world.pour(Flood::new(A, Protocol::Udp), clients(0, 100_000), |_, _| {});
    assert_eq!(tally.forwarded, 100_000, "more than one NAT IP has ports");
    let mut backends_of = BTreeMap::<_, BTreeSet<_>>::new();
    for session in world.sessions() {
        let towards = backends_of.entry((session.nat_ip, session.nat_port)).or_default();
        assert!(towards.insert(session.backend), "{session:?} shares its port");
    }
    assert!(backends_of.values().filter(|backends| backends.len() == 2).count() > 30_000);
    world.check_tables();
}

/// Pairing of a client with an external address is for each protocol.
/// Applies: adapted
/// Answer: UDP and TCP choose NAT IPs independently of each other.
/// Deviation: As of RFC 4787 REQ-2: neither is paired.
#[test]
fn rfc7857_4_protocols_choose_their_nat_ips_by_themselves() {
    let mut topology = Topology::with_backends(&[backend(0)]);
    let nat_ips: Vec<_> = (0..8).map(|at| IpAddr::from([10, 1, 1, at])).collect();
    topology.set_nat_ips(&nat_ips);
    let mut world = World::new(topology);
    let mut differ = 0;
    for socket in sockets(CLIENT, 64) {
        let [tcp, udp] = [TCP, UDP].map(|protocol| Flow::open(&mut world, protocol, A, socket));
        differ += usize::from(tcp.nat.0 != udp.nat.0);
    }
    assert!((32..64).contains(&differ), "seven of eight by chance: {differ} of 64");
}

/// Inbound packets refresh a mapping only if the filter lets them pass.
/// Applies: adapted
/// Answer: Those of the chosen backend do; what is dropped refreshes nothing.
#[test]
fn rfc7857_7_what_the_filter_drops_refreshes_nothing() {
    for protocol in [UDP, TCP] {
        let mut world = world();
        let [left_alone, answered] =
            [5000, 5001].map(|port| Flow::open(&mut world, protocol, A, (CLIENT, port)));
        for _ in 0..3 {
            world.leap(Duration::from_secs(75));
            let shape = Shape { source_port: 9, ..left_alone.answer(ACK) };
            assert_eq!(send(&mut world, P, shape).map(drop), Err(DropReason::BackendMismatch));
            answered.back(&mut world, ACK).unwrap();
        }
        world.leap(Duration::from_secs(100));
        let outcome = left_alone.back(&mut world, ACK).map(drop);
        assert_eq!(outcome, Err(DropReason::UnsolicitedFromProvider));
        answered.assert_alive(&mut world);
    }
}

/// ICMP errors and resets, of the inside too, refresh no mapping.
/// Applies: as it stands
/// Answer: They do not, from either side.
#[test]
fn rfc7857_7_1_errors_and_resets_refresh_nothing() {
    same::icmp_refreshes_nothing();
    let mut world = world();
    let flow = Flow::open(&mut world, TCP, A, CLIENT_SOCKET);
    flow.forward(&mut world, RST).unwrap();
    for _ in 0..2 {
        world.leap(Duration::from_secs(10));
        flow.forward(&mut world, RST).unwrap();
        flow.back(&mut world, RST).unwrap();
    }
    world.leap(Duration::from_millis(9_950));
    assert_eq!(world.sessions().len(), 1);
    world.leap(Duration::from_millis(100));
    assert_eq!(world.sessions().len(), 0, "30 s after the first reset, not the last");
}

/// Ports need not keep their parity.
/// Applies: as it stands
/// Answer: They do not: the client's port has no say in which is leased.
#[test]
fn rfc7857_8_parity_is_not_kept() {
    let mut world = world();
    let changed = sockets(CLIENT, 100)
        .filter(|socket| socket.1 % 2 == 0)
        .map(|socket| Flow::open(&mut world, UDP, A, socket))
        .filter(|flow| flow.nat.1 % 2 == 1)
        .count();
    assert_eq!(changed, 25, "of 50 even ports every other became odd");
}

/// Ports are chosen at random (RFC 6056).
/// Applies: as it stands
/// Answer: The first port towards each backend depends on a secret, anywhere in the range.
/// Deviation: As of RFC 6888 REQ-15: from there on ports follow one another.
#[test]
fn rfc7857_9_the_first_port_is_random() {
    same::ports_run_from_a_secret_start(UDP);
}

/// The identification of translated packets is unique for source, destination and protocol, or does
/// not matter (RFC 6864).
/// Applies: as it stands
/// Answer: With `fragments = "reassemble"` a packet that may be fragmented leaves with one of
/// adit's own, which is not used again for long. Of one that may not be fragmented it does not
/// matter, and stays.
/// Deviation: By default it always stays: packets of two clients that may be fragmented can leave
/// with the same one, and a host that puts fragments together behind adit mixes them up, which
/// the transport checksum then tells.
#[test]
fn rfc7857_10_the_identification_is_unique_on_request() {
    for follows in [false, true] {
        let mut topology = Topology::with_backends(&[backend(0)]);
        let wanted = if follows { Fragments::Reassemble } else { Fragments::Drop };
        topology.plan.services[0].treatment.fragments = wanted;
        let mut world = World::new(topology);
        let flows = [5000, 5001].map(|port| Flow::open(&mut world, UDP, A, (CLIENT, port)));
        assert_eq!(flows[0].nat.0, flows[1].nat.0, "the backend sees one sender");
        let mut id_of = |flow: Flow, fragment_flags, id| {
            let packet = Shape { id, fragment_flags, ..flow.request(0) };
            let bytes = pass(&mut world, A, packet).expect("it passes").image.bytes;
            u16::from_be_bytes([bytes[18], bytes[19]])
        };
        // "Don't fragment" is 2.
        assert_eq!(flows.map(|flow| id_of(flow, 2, 0x1234)), [0x1234; 2]);
        let mut ids = BTreeSet::new();
        for _ in 0..100 {
            ids.extend(flows.map(|flow| id_of(flow, 0, 0x1234)));
        }
        assert_eq!(ids.len(), if follows { 200 } else { 1 });
    }
}

/// The mapping of an ICMP query lives as long as another's, at least 60 s.
/// Applies: adapted
/// Answer: A query needs no mapping: adit answers at once, or never, see RFC 5508 REQ-1.
#[test]
fn rfc7857_11_echo_needs_no_mapping() {
    same::echo_needs_no_mapping();
}

/// Hairpinning is for ICMP errors too.
/// Applies: adapted
/// Answer: Errors between a client and a backend of one network are translated like others, with
/// `icmp_errors = "translate"`.
/// Deviation: As of RFC 5508 REQ-7: off by default.
#[test]
fn rfc7857_12_errors_beside_the_backend_are_translated() {
    same::errors_beside_the_backend_are_translated();
}
