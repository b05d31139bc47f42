//! A SYN flood that takes whatever CPU it gets, beside connections that are established.

use std::net::SocketAddrV4;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use lab::client::{Session, syn_flood};

use super::{PACKET_2, at_rest, leaks_nothing, under_load};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{CLIENT, ENDPOINT, World, dial, port};

const FLOOD_TIME: Duration = Duration::from_secs(2);

pub(super) const CASES: &[Case] = &[Case::new("chaos::syn_flood", PACKET_2, floods)];

fn floods(world: &mut World) -> Outcome {
    let mut sessions = world.both(|_| Ok(Session::open(&dial(port::ECHO))?))?;
    let first = flood(world, &mut sessions)?;
    let before = world.adit.vitals()?;
    let second = flood(world, &mut sessions)?;
    print!("[{} k and {} k SYNs a second] ", first / 1000, second / 1000);
    world.wait_until_served()?;
    at_rest(world)?;
    leaks_nothing(world, before)
}

/// One flood and its aftermath; how many segments a second.
fn flood(world: &mut World, sessions: &mut [Session; 2]) -> Result<u64, Failure> {
    let opened = world.adit.status("flows_opened")?;
    let chaos = |world: &mut World| -> Result<u64, Failure> {
        let end = Instant::now() + FLOOD_TIME;
        let goes_on = move || match Instant::now() < end {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let to = SocketAddrV4::new(ENDPOINT, port::NGINX.0);
        let flooding = world.b().namespace().spawn("flood", move || syn_flood(to, CLIENT, goes_on));
        let flooding = flooding?;
        while Instant::now() < end {
            for session in &mut *sessions {
                session.exchange("during the flood")?;
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(flooding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?)
    };
    let (sent, bytes) = under_load(world, chaos)?;
    // How many depends on the CPU that the flood leaves; none would be a stop.
    ensure!(bytes > 10_000, "the established transfer came to {bytes} bytes");
    let opened = world.adit.status("flows_opened")? - opened;
    ensure!(opened > 1_000, "of {sent} SYNs only {opened} opened a flow");
    // After the half-open timeout of the worlds' services, which is 5 s.
    wait_until("half-open flows end", || Ok(world.adit.status("flows")? < 100))?;
    for session in &mut *sessions {
        session.exchange("after the flood")?;
    }
    at_rest(world)?;
    Ok(sent / FLOOD_TIME.as_secs())
}
