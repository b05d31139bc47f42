//! When nothing happens adit does next to nothing, whether flows are open or not.

use std::fs;
use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use lab::client::{Session, udp_exchange};

use super::{PACKET, TAP_2};
use crate::case::{Case, Failure, Outcome};
use crate::world::{CLIENT, World, dial, port};

/// Measured for so long.
const WINDOW: Duration = Duration::from_secs(2);
/// Clock ticks of /proc/PID/stat in a second: USER_HZ, which is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Of one core.
const SHARE_MAX: f64 = 0.01;
const FLOWS: usize = 50;
/// The ports of the datagrams from here on.
const FIRST_PORT: u16 = 20_000;

pub(super) const CASES: &[Case] = &[
    Case::new("idle::packet_1_worker", PACKET, idle),
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
    let (begin, before) = (Instant::now(), processor_ticks(id)?);
    thread::sleep(WINDOW);
    let used = processor_ticks(id)? - before;
    Ok(used / TICKS_PER_SECOND / begin.elapsed().as_secs_f64())
}

/// User and system time of a process: fields 14 and 15 of proc_pid_stat(5).
fn processor_ticks(id: u32) -> Result<f64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The second field is a name in brackets that may hold anything.
    let (_, rest) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| -> Result<f64, Failure> {
        Ok(fields.get(at).ok_or("stat is too short")?.parse()?)
    };
    Ok(field(11)? + field(12)?)
}
