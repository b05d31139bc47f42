//! When nothing happens adit does next to nothing, whether flows are open or not.

use std::fs;
use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use lab::client::{Session, udp_exchange};

use super::{FAST_2, PACKET, TAP_2, XDP};
use crate::case::{Case, Failure, Outcome};
use crate::world::{CLIENT, World, dial, port};

/// Measured for so long.
const WINDOW: Duration = Duration::from_secs(2);
/// Of one core.
const SHARE_MAX: f64 = 0.01;
const FLOWS: usize = 50;
/// The ports of the datagrams from here on.
const FIRST_PORT: u16 = 20_000;

pub(super) const CASES: &[Case] = &[
    Case::new("idle::packet_1_worker", PACKET, idle),
    Case::new("idle::fast_path_2_workers", FAST_2, idle),
    Case::new("idle::xdp_1_worker", XDP, idle),
    Case::new("idle::tap_2_workers", TAP_2, idle),
];

fn idle(world: &mut World) -> Outcome {
    let alone = share(world)?;
    let mut sessions = world.both(|_| {
        let open = |_| Ok(Session::open(&dial(port::ECHO))?);
        let mut sessions = (0..FLOWS).map(open).collect::<Result<Vec<Session>, Failure>>()?;
        for (session, port) in sessions.iter_mut().zip(FIRST_PORT..) {
            session.exchange("hello")?;
            // A socket that ended may lend its port to the next, which would be the same flow.
            let source = SocketAddrV4::new(CLIENT, port);
            udp_exchange(&dial(port::ECHO).from(source), "hello")?;
        }
        Ok(sessions)
    })?;
    let open = world.adit.status("flows")?;
    ensure!(open == 4 * FLOWS as u64, "{open} flows are open");
    let with_flows = share(world)?;
    print!("[{:.1} %, with {open} flows {:.1} % of a core] ", alone * 100.0, with_flows * 100.0);
    ensure!(alone < SHARE_MAX, "idle it takes {alone} of a core");
    ensure!(with_flows < SHARE_MAX, "idle with flows open it takes {with_flows} of a core");
    for session in sessions.iter_mut().flatten() {
        session.exchange("still here")?;
    }
    world.wait_for_balance()
}

/// The share of a core that adit takes while the tests look away.
fn share(world: &mut World) -> Result<f64, Failure> {
    let id = world.adit.id()?;
    let (begin, before) = (Instant::now(), processor_time(id)?);
    thread::sleep(WINDOW);
    let used = processor_time(id)?.saturating_sub(before);
    Ok(used.as_secs_f64() / begin.elapsed().as_secs_f64())
}

/// What all threads of a process have run, to the nanosecond: a clock tick of /proc/PID/stat is
/// half of what is allowed.
fn processor_time(id: u32) -> Result<Duration, Failure> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread that answered a question may have ended meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let first = text.split_whitespace().next().ok_or("schedstat is empty")?;
        nanoseconds += first.parse::<u64>()?;
    }
    ensure!(nanoseconds > 0, "the kernel does not say how long the threads of {id} ran");
    Ok(Duration::from_nanos(nanoseconds))
}
