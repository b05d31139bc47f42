//! Interfaces are changed, set down, deleted and made anew, again and again, beside a connection
//! that uses none of them; and a changed MTU or address is noticed.

use std::time::{Duration, Instant};

use lab::MacAddr;
use lab::client::{Session, udp_exchange};

use super::{FAST_2, PACKET_2, TAP_2, XDP_2, at_rest, leaks_nothing};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{Kind, Station, World, dial, port};

const ROUNDS: usize = 6;

pub(super) const CASES: &[Case] = &[
    Case::new("chaos::devices_packet", PACKET_2, again_and_again),
    Case::new("chaos::devices_fast_path", FAST_2, again_and_again),
    Case::new("chaos::devices_tap", TAP_2, again_and_again),
    Case::new("chaos::mtu_packet", PACKET_2, mtu),
    Case::new("chaos::mtu_fast_path", FAST_2, mtu),
    Case::new("chaos::devices_xdp", XDP_2, again_and_again),
    Case::new("chaos::mtu_xdp", XDP_2, mtu),
    Case::new("chaos::mtu_tap", TAP_2, mtu),
    Case::new("chaos::stations_packet", PACKET_2, stations),
    Case::new("chaos::stations_fast_path", FAST_2, stations),
];

fn again_and_again(world: &mut World) -> Outcome {
    let mut session = world.a().namespace().run(|| Session::open(&dial(port::ECHO)))??;
    let backend = session.exchange("hello")?.backend;
    round(world, &backend, 0)?;
    world.wait_until_served()?;
    at_rest(world)?;
    let before = world.adit.vitals()?;
    for number in 1..=ROUNDS {
        round(world, &backend, number)?;
        session.exchange("not concerned")?;
    }
    world.wait_until_served()?;
    at_rest(world)?;
    leaks_nothing(world, before)?;
    let served = session.exchange("to the end")?.backend;
    ensure!(served == backend, "the session moved from {backend} to {served}");
    Ok(())
}

/// Something happens to every interface but those of the first tenant and of one backend.
fn round(world: &mut World, spared: &str, number: usize) -> Outcome {
    let kind = world.config.kind;
    let [_, b] = &mut world.consumers;
    let backends = world.backends.iter_mut().map(|backend| &mut backend.station);
    let concerned = backends.filter(|station| station.name() != spared).chain([b]);
    for (at, station) in concerned.enumerate() {
        happen(station, kind, (number + at) % 3)?;
    }
    world.wait_until_ready()
}

fn happen(station: &mut Station, kind: Kind, what: usize) -> Outcome {
    match what {
        0 => {
            station.cut_cable()?;
            match kind {
                Kind::Packet | Kind::Xdp => station.lay_cable(1500, 1500)?,
                // adit makes it anew by itself.
                Kind::Tap => station.find_tap()?,
            }
        }
        1 => {
            station.far()?.down()?;
            station.far()?.up()?;
        }
        _ => {
            station.far()?.set_mtu(1300)?;
            station.far()?.set_mtu(1500)?;
        }
    }
    Ok(())
}

/// A larger MTU is used and a smaller one heeded, both while the devices stay open.
fn mtu(world: &mut World) -> Outcome {
    let passes = |length: usize| -> Result<bool, Failure> {
        let brief = dial(port::ECHO).within(Duration::from_millis(200));
        let payload = "x".repeat(length);
        Ok(world.a().namespace().run(|| udp_exchange(&brief, &payload))?.is_ok())
    };
    for station in world.stations() {
        set_mtu(station, 9_000)?;
    }
    wait_until("datagrams of 4,000 bytes pass unfragmented", || passes(4_000))?;
    let too_big = world.adit.drops("too_big")?;
    for backend in &world.backends {
        backend.station.far()?.set_mtu(1_300)?;
    }
    wait_until("what does not fit is dropped for that reason", || {
        passes(1_400)?;
        Ok(world.adit.drops("too_big")? > too_big)
    })?;
    for station in world.stations() {
        set_mtu(station, 1_500)?;
    }
    wait_until("datagrams of 1,400 bytes pass again", || passes(1_400))?;
    at_rest(world)
}

fn set_mtu(station: &Station, mtu: u32) -> Outcome {
    station.near()?.set_mtu(mtu)?;
    Ok(station.far()?.set_mtu(mtu)?)
}

/// Ethernet addresses change on either side of the cable, and nobody is told. Established
/// connections and new ones go on within seconds.
fn stations(world: &mut World) -> Outcome {
    let mut sessions = world.both(|_| Ok(Session::open(&dial(port::ECHO))?))?;
    for session in &mut sessions {
        session.exchange("before")?;
    }
    for (number, backend) in (1..).zip(&world.backends) {
        backend.station.near()?.set_mac(MacAddr([2, 0xbe, 0, 0, 0, number]))?;
    }
    world.wait_until_served()?;
    for session in &mut sessions {
        session.exchange("after the backends' addresses changed")?;
    }
    for (number, station) in (1..).zip(world.stations()) {
        station.far()?.set_mac(MacAddr([2, 0xad, 0, 0, 0, number]))?;
    }
    // adit looks at its devices twice a second.
    let noticed = Instant::now() + Duration::from_secs(2);
    while Instant::now() < noticed {
        for session in &mut sessions {
            session.exchange("after adit's addresses changed")?;
        }
    }
    world.wait_until_served()?;
    at_rest(world)
}
