//! The process is killed, and stopped and continued, under load.

use std::thread;
use std::time::Duration;

use lab::client::Session;
use rustix::process::Signal;

use super::{FAST_2, PACKET_2, TAP_2, at_rest, leaks_nothing, under_load};
use crate::case::{Case, Failure, Outcome, PATIENCE};
use crate::world::{World, dial, port};

const KILLS: usize = 3;
/// Longer than any round trip, shorter than any patience.
const STOP_TIME: Duration = Duration::from_millis(700);
const STOPS: usize = 3;

pub(super) const CASES: &[Case] = &[
    Case::new("chaos::process_killed_packet", PACKET_2, killed),
    Case::new("chaos::process_killed_fast_path", FAST_2, killed),
    Case::new("chaos::process_killed_tap", TAP_2, killed),
    Case::new("chaos::process_stopped_packet", PACKET_2, stopped),
    Case::new("chaos::process_stopped_tap", TAP_2, stopped),
];

/// Every incarnation is like the first, whatever the last one held when it died.
fn killed(world: &mut World) -> Outcome {
    world.wait_until_served()?;
    let first = world.adit.vitals()?;
    for _ in 0..KILLS {
        let mut session = world.a().namespace().run(|| Session::open(&dial(port::ECHO)))??;
        session.exchange("before")?;
        world.adit.signal(Signal::KILL)?;
        let status = world.adit.wait(PATIENCE)?;
        ensure!(!status.success(), "it ended with {status}");
        world.restart()?;
        let flows = world.adit.status("nat_ports_leased")?;
        ensure!(flows == 0, "{flows} ports are leased after a new start");
        world.wait_until_served()?;
        at_rest(world)?;
        leaks_nothing(world, first)?;
    }
    Ok(())
}

/// What arrives meanwhile waits or is lost; connections go on.
fn stopped(world: &mut World) -> Outcome {
    let mut sessions = world.both(|_| Ok(Session::open(&dial(port::ECHO))?))?;
    world.wait_until_served()?;
    let before = world.adit.vitals()?;
    let stops = |world: &mut World| -> Result<(), Failure> {
        for _ in 0..STOPS {
            world.adit.signal(Signal::STOP)?;
            thread::sleep(STOP_TIME);
            world.adit.signal(Signal::CONT)?;
            for session in &mut sessions {
                session.exchange("after it was stopped")?;
            }
            world.wait_until_served()?;
        }
        Ok(())
    };
    let ((), bytes) = under_load(world, stops)?;
    print!("[{} MB] ", bytes / 1_000_000);
    at_rest(world)?;
    leaks_nothing(world, before)
}
