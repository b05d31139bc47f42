//! ICMP as hosts and routers send it, and what adit makes of it.

use std::net::IpAddr;

use harness::address::octets;

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::snapshot::{IcmpErrors, Treatment};
use dataplane::types::{DeviceIndex, Prefix};
use harness::encode::UDP;
use harness::icmp::{ECHO_REPLY, ECHO_REQUEST, IcmpShape};
use harness::observe::SeenError;
use harness::topology::{A, CLIENT, ENDPOINT, P, backend};
use harness::world::Kind;
use harness::{Observed, Shape, Topology, World, observe};

use crate::talk::pass;

/// A world with one backend, whose services translate ICMP errors.
pub(crate) fn translating_world() -> World {
    treating_world(Treatment { icmp_errors: IcmpErrors::Translate, ..Treatment::default() })
}

/// A world with one backend, whose service treats packets so.
pub(crate) fn treating_world(treatment: Treatment) -> World {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.plan.services[0].treatment = treatment;
    World::new(topology)
}

/// A world in which the first tenant's endpoint answers echo requests.
pub(crate) fn answering_world() -> World {
    let mut topology = Topology::with_backends(&[backend(0)]);
    topology.plan.endpoints[0].answers_echo = true;
    World::new(topology)
}

/// Whether client and backend speak IPv6.
pub(crate) const FAMILIES: [(bool, bool); 4] =
    [(false, false), (false, true), (true, false), (true, true)];

/// Who sends an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Backend,
}

/// What becomes of "no route" or "host unreachable" from a side, about a datagram of the other,
/// where client and backend speak IPv6 or not: type and code, and whether it is about the datagram
/// as its sender knows it.
pub(crate) fn error_across(
    (client_is_ipv6, backend_is_ipv6): (bool, bool),
    from: Side,
) -> ((u8, u8), Result<(), SeenError>) {
    let pick = |is_ipv6, texts: [&str; 2]| -> IpAddr {
        texts[usize::from(is_ipv6)].parse().expect("an address")
    };
    let client = (pick(client_is_ipv6, ["10.0.1.1", "fd00::11"]), 5_000);
    let endpoint = (pick(client_is_ipv6, ["10.0.0.5", "fd00::5"]), 53);
    let target = (pick(backend_is_ipv6, ["10.1.0.10", "fd01::10"]), 5_353);
    let mut topology = Topology::with_backends(&[target.0]);
    for (scope, prefix) in [(0, "fd00::"), (2, "fd01::")] {
        let prefix = Prefix::new(prefix.parse().expect("an address"), 48).expect("a prefix");
        topology.plan.scopes[scope].address_space.push(prefix);
    }
    topology.plan.endpoints[0].addresses = endpoint.0.into();
    topology.set_nat_ips(&[pick(false, ["10.1.0.4"; 2]), pick(true, ["fd01::4"; 2])]);
    topology.plan.services[0].treatment.icmp_errors = IcmpErrors::Translate;
    let mut world = World::new(topology);
    let asked = pass(&mut world, A, Shape::udp(client, endpoint, b"asked")).expect("it passes");
    let nat = {
        let seen = observe(&asked.image.bytes).transport();
        (seen.source, seen.source_port)
    };
    pass(&mut world, P, Shape::udp(target, nat, b"said")).expect("the answer passes");
    // As the one who complains has got it, and as the other has sent it.
    let (device, got, sent) = match from {
        Side::Backend => (P, (nat, target), (client, endpoint)),
        Side::Client => (A, (endpoint, client), (target, nat)),
    };
    let about = Shape::udp(got.0, got.1, b"asked");
    let kind = if got.0.0.is_ipv6() { (1, 0) } else { (3, 1) };
    let quoted = if got.0.0.is_ipv6() { 48 } else { 28 };
    let packet = about.encode().bytes[14..].to_vec();
    let error = IcmpShape::about(kind.0, kind.1, &packet, quoted).between(got.1.0, got.0.0);
    let (_, seen) = send_error(&mut world, device, error).expect("it is about a live flow");
    let is_right = seen.quoted == (UDP, sent.0, sent.1) && seen.holds && seen.message.holds;
    let told = (seen.message.kind, seen.message.code);
    (told, if is_right { Ok(()) } else { Err(seen) })
}

/// An error of this type and code about a packet: it goes to that packet's sender and quotes its
/// IPv4 header and eight bytes (RFC 792).
pub(crate) fn error(from: IpAddr, kind: (u8, u8), about: &Shape) -> Shape {
    message(kind, about).between(from, about.source)
}

/// The message in it.
pub(crate) fn message((kind, code): (u8, u8), about: &Shape) -> IcmpShape {
    let message = IcmpShape::about(kind, code, &about.encode().bytes[14..], 28);
    let word = if (kind, code) == (3, 4) { [0, 0, 5, 0] } else { [0; 4] };
    IcmpShape { word, ..message }
}

/// An error arrives: what left of it, and by which device, or why nothing did.
pub(crate) fn send_error(
    world: &mut World,
    device: DeviceIndex,
    error: Shape,
) -> Result<(DeviceIndex, SeenError), DropReason> {
    let left = pass(world, device, error)?;
    match observe(&left.image.bytes) {
        Observed::Error(seen) => Ok((left.device, seen)),
        other => panic!("an error became {other:?}"),
    }
}

/// The errors that adit has sent of its own since the last look, each with its device and the
/// lower half of the word behind its checksum: the MTU, if it tells one.
pub(crate) fn told(world: &mut World) -> Vec<(DeviceIndex, SeenError, u16)> {
    let told = world.left.drain(..).filter(|left| left.kind == Kind::Told);
    told.filter_map(|left| match observe(&left.image.bytes) {
        Observed::Error(seen) => {
            let mtu = u16::from_be_bytes([left.image.bytes[40], left.image.bytes[41]]);
            Some((left.device, seen, mtu))
        }
        _ => None,
    })
    .collect()
}

/// Type and code of what was told.
pub(crate) fn told_kinds(world: &mut World) -> Vec<(u8, u8)> {
    told(world).into_iter().map(|(_, seen, _)| (seen.message.kind, seen.message.code)).collect()
}

/// The first tenant's client asks its endpoint for an echo, which comes back as it should; or why
/// it does not.
pub(crate) fn ping(world: &mut World, id: u16) -> Result<(), DropReason> {
    let ask = IcmpShape::echo(ECHO_REQUEST, id, 3, b"ping").between(CLIENT, ENDPOINT);
    let ask = ask.to_station(world.topology.station(A));
    match world.arrive(A, &ask.encode()) {
        Verdict::Reply(A) => {
            let reply = world.left.pop_back().expect("the reply leaves").image.bytes;
            let wanted = IcmpShape::echo(ECHO_REPLY, id, 3, b"ping").encode();
            assert_eq!(reply[34..], wanted);
            assert_eq!(
                (reply[26..30].to_vec(), reply[30..34].to_vec()),
                (octets(ENDPOINT), octets(CLIENT))
            );
            Ok(())
        }
        Verdict::Drop(reason) => Err(reason),
        other => panic!("neither answered nor dropped: {other:?}"),
    }
}
