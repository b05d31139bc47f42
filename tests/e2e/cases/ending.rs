//! What real kernels make of connections that adit ends: idle ones are reset on both sides at their
//! time, refused ones at once, and in silence where the service says so.

use std::fs;
use std::time::{Duration, Instant};

use lab::client::{ConnectOutcome, Session, SessionState, tcp_connect};

use super::{FAST, PACKET, TAP_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{World, dial, port};

/// The shortest time that a flow may idle in these cases.
const IDLE: Duration = Duration::from_secs(2);
/// As much later a busy machine may come to it; adit's timers are precise to 100 ms.
const LATE: Duration = Duration::from_secs(2);
const PRECISION: Duration = Duration::from_millis(100);

pub(super) const CASES: &[Case] = &[
    Case::new("ending::packet_1_worker", PACKET, ending),
    Case::new("ending::fast_path_1_worker", FAST, ending),
    Case::new("ending::tap_2_workers", TAP_2, ending),
];

fn ending(world: &mut World) -> Outcome {
    reload_with(world, "tcp_established_timeout = \"2s\"\ntcp_refusals = \"reset\"\n")?;
    let after = idle_is_reset(world)?;
    refused_is_reset(world)?;
    reload_with(world, "tcp_established_timeout = \"2s\"\nprofile = \"gcp\"\n")?;
    idle_in_silence(world)?;
    print!("[reset after {} ms] ", after.as_millis());
    world.wait_for_balance()
}

/// Adds lines to the service.
fn reload_with(world: &mut World, lines: &str) -> Outcome {
    world.config.service_settings = lines.to_owned();
    world.reload().map(|_| ())
}

fn idle_is_reset(world: &World) -> Result<Duration, Failure> {
    let before = world.adit.status("flows_reset")?;
    let mut sessions = world.both(|_| {
        let mut session = Session::open(&dial(port::ECHO))?;
        let since = Instant::now();
        session.exchange("hello")?;
        Ok((session, since))
    })?;
    let mut longest = Duration::ZERO;
    for (session, since) in &mut sessions {
        let end = session.wait_for_end(IDLE + LATE)?;
        let after = since.elapsed();
        ensure!(end == SessionState::Reset, "an idle connection is {end:?} after {after:?}");
        ensure!(after + PRECISION >= IDLE, "reset after {after:?}");
        longest = longest.max(after);
    }
    // A worker counts after it has sent, and the client may be quicker than that.
    wait_until("two flows were reset", || Ok(world.adit.status("flows_reset")? == before + 2))?;
    wait_until("no backend believes in a connection", || Ok(established(world)? == 0))?;
    Ok(longest)
}

/// TCP connections that the backends' kernels hold to be established.
fn established(world: &World) -> Result<usize, Failure> {
    let mut count = 0;
    for backend in &world.backends {
        let table = backend
            .station
            .namespace()
            .run(|| fs::read_to_string("/proc/thread-self/net/tcp"))??;
        let states = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3));
        // The number of TCP_ESTABLISHED in proc_net_tcp.
        count += states.filter(|state| *state == "01").count();
    }
    Ok(count)
}

fn refused_is_reset(world: &World) -> Outcome {
    let outcomes = world.both(|_| Ok(tcp_connect(&dial((81, 81)))?))?;
    let refused = outcomes.iter().all(|outcome| matches!(outcome, ConnectOutcome::Refused));
    ensure!(refused, "a port without a rule: {outcomes:?}");
    Ok(())
}

fn idle_in_silence(world: &World) -> Outcome {
    let mut session = world.a().namespace().run(|| {
        let mut session = Session::open(&dial(port::ECHO))?;
        session.exchange("hello").map(|_| session)
    })??;
    let end = session.wait_for_end(IDLE * 2)?;
    ensure!(end == SessionState::Open, "with profile gcp an idle connection is {end:?}");
    let resting = world.adit.status("ports_resting")?;
    ensure!(resting >= 1, "its port does not rest");
    Ok(())
}
