//! The network namespace of a host is deleted under adit, and another takes its place.

use lab::Link;
use lab::client::Session;

use super::{FAST_2, PACKET_2, TAP_2, XDP_2, at_rest, leaks_nothing};
use crate::case::{Case, Outcome, wait_until};
use crate::world::{CLIENT, Kind, Station, World, dial, port};

const ROUNDS: usize = 4;

pub(super) const CASES: &[Case] = &[
    Case::new("chaos::namespace_deleted_packet", PACKET_2, deleted),
    Case::new("chaos::namespace_deleted_fast_path", FAST_2, deleted),
    Case::new("chaos::namespace_deleted_xdp", XDP_2, deleted),
    Case::new("chaos::namespace_deleted_tap", TAP_2, deleted),
];

fn deleted(world: &mut World) -> Outcome {
    let mut kept = world.a().namespace().run(|| Session::open(&dial(port::ECHO)))??;
    world.wait_until_served()?;
    replace(world)?;
    world.wait_until_served()?;
    let before = world.adit.vitals()?;
    for _ in 0..ROUNDS {
        // The flows of its datagrams outlive it.
        replace(world)?;
        kept.exchange("not concerned")?;
        world.wait_until_served()?;
    }
    at_rest(world)?;
    leaks_nothing(world, before)
}

/// The second tenant's host goes, with all that is in its namespace, and comes back elsewhere.
fn replace(world: &mut World) -> Outcome {
    let kind = world.config.kind;
    let name = world.b().name();
    // The last handle on the namespace, in which nobody has a socket.
    let queues = world.a().queues();
    world.consumers[1] = Station::create(name, "b", CLIENT, &world.middle, queues)?;
    let at = 1;
    world.config.devices[at] = world.consumers[at].device_of(kind);
    if kind != Kind::Tap {
        return lay_cable_when_free(world);
    }
    world.reload()?;
    world.consumers[at].find_tap()?;
    world.wait_until_ready()
}

/// adit's end of the old cable goes a little after the namespace.
fn lay_cable_when_free(world: &mut World) -> Outcome {
    let name = world.b().device_of(Kind::Packet).name;
    wait_until("the cable's end has gone with the other", || {
        Ok(Link::find(&world.middle, &name).is_err())
    })?;
    world.consumers[1].lay_cable(1500, 1500)?;
    world.wait_until_ready()
}
