//! Interfaces that go down, come up, vanish and return: adit goes on, and so does traffic.

use lab::client::Session;

use super::{FAST_2, PACKET, PACKET_2, TAP, TAP_2, XDP_2};
use crate::case::{Case, Outcome, wait_until};
use crate::world::{Kind, Station, World, dial, list, port};

pub(super) const CASES: &[Case] = &[
    Case::new("outage::packet_1_worker", PACKET, outage),
    Case::new("outage::packet_2_workers", PACKET_2, outage),
    Case::new("outage::fast_path_2_workers", FAST_2, outage),
    Case::new("outage::xdp_2_workers", XDP_2, outage),
    Case::new("outage::tap_1_worker", TAP, outage),
    Case::new("outage::tap_2_workers", TAP_2, outage),
];

fn outage(world: &mut World) -> Outcome {
    down_and_up(world)?;
    replace_consumer(world)?;
    replace_backends(world)?;
    world.adit.check_alive()
}

/// Sessions outlive a short outage of either side.
fn down_and_up(world: &mut World) -> Outcome {
    let mut sessions = world.both(|_| Ok(Session::open(&dial(port::ECHO))?))?;
    for session in &mut sessions {
        session.exchange("before")?;
    }
    world.a().far()?.down()?;
    wait_until_noticed(world, world.a())?;
    // What is sent meanwhile is lost, and sent again by TCP.
    sessions[1].exchange("the other tenant is not concerned")?;
    world.a().far()?.up()?;
    world.wait_until_ready()?;
    for session in &mut sessions {
        session.exchange("after the consumer's interface was down")?;
    }
    for backend in &world.backends {
        backend.station.far()?.down()?;
    }
    for backend in &world.backends {
        wait_until_noticed(world, &backend.station)?;
        backend.station.far()?.up()?;
    }
    for session in &mut sessions {
        session.exchange("after the provider's interfaces were down")?;
    }
    world.wait_until_ready()?;
    world.wait_until_served()
}

/// A consumer's interface is deleted and made anew, with another Ethernet address.
pub(super) fn replace_consumer(world: &mut World) -> Outcome {
    let kind = world.config.kind;
    world.consumers[0].cut_cable()?;
    wait_until_noticed(world, world.a())?;
    give_cable(&mut world.consumers[0], kind)?;
    world.wait_until_ready()?;
    world.wait_until_served()
}

/// All backends' interfaces are.
fn replace_backends(world: &mut World) -> Outcome {
    let kind = world.config.kind;
    world.backends.iter_mut().try_for_each(|backend| backend.station.cut_cable())?;
    for backend in &world.backends {
        wait_until_noticed(world, &backend.station)?;
    }
    for backend in &mut world.backends {
        give_cable(&mut backend.station, kind)?;
    }
    wait_until("adit knows the backends' new addresses", || {
        let status = world.adit.ask(&["status"])?;
        let known = status["next_hops"].to_string();
        for backend in &world.backends {
            if !known.contains(&backend.station.near()?.mac()?.to_string()) {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    world.wait_until_ready()?;
    world.wait_until_served()
}

fn give_cable(station: &mut Station, kind: Kind) -> Outcome {
    match kind {
        Kind::Packet | Kind::Xdp => station.lay_cable(1500, 1500),
        // adit makes it anew by itself.
        Kind::Tap => station.find_tap(),
    }
}

/// Waits until adit knows that an interface is down. A TAP device that is down stays attached, and
/// one that is gone is made anew by adit at once: there is nothing to wait for.
fn wait_until_noticed(world: &World, station: &Station) -> Outcome {
    if world.config.kind == Kind::Tap {
        return Ok(());
    }
    let name = format!("to-{}", station.name());
    wait_until(&format!("{name} is down"), || {
        let status = world.adit.ask(&["status"])?;
        let devices = list(&status, "devices")?;
        Ok(devices.iter().any(|device| device["name"] == *name && device["state"] == "down"))
    })
}
