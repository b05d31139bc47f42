//! ICMP as hosts and routers send it, and what adit makes of it.

use std::net::IpAddr;

use harness::address::octets;

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::snapshot::{IcmpErrors, Treatment};
use dataplane::types::DeviceIndex;
use harness::icmp::{ECHO_REPLY, ECHO_REQUEST, IcmpShape};
use harness::observe::SeenError;
use harness::topology::{A, CLIENT, ENDPOINT, backend};
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
