//! Decisions among ten thousand endpoints, by the control socket: how long until every worker works
//! with them, and that nobody else's packets or flows are touched meanwhile.
//!
//! The time is printed; what a shared machine and a debug build may take is bounded loosely.
//! What it took where is in docs/operations.md.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control::api::Request;
use lab::client::Session;

use super::PACKET_2;
use super::reload::load;
use crate::case::{Case, Failure, Outcome};
use crate::world::{World, dial, endpoint, port};

const ENDPOINTS: usize = 10_000;
const DECISIONS: usize = 200;

/// What the slowest but two of them may take on a machine that does other things as well.
const BOUND: Duration = Duration::from_millis(250);

pub(super) const CASES: &[Case] =
    &[Case::new("decisions::among_10000_endpoints", PACKET_2, decisions)];

fn decisions(world: &mut World) -> Outcome {
    let mut many = String::new();
    for at in 0..ENDPOINTS {
        let address = format!("10.0.{}.{}", 1 + at / 250, 1 + at % 250);
        // Writing to a string does not fail.
        let _ = many.write_str(&endpoint(&format!("pe-{at}"), "b", &address, "web", "Approved"));
    }
    world.config.more = many;
    world.reload()?;
    let session = world.a().namespace().run(|| Session::open(&dial(port::HTTP)))??;
    let (flows, stop) = (world.adit.status("flows_opened")?, AtomicBool::new(false));
    let (times, bytes) = thread::scope(|scope| {
        let loading = scope.spawn(|| load(&session, &stop));
        let times = decide_often(world);
        stop.store(true, Ordering::Relaxed);
        let bytes = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, Failure>((times?, bytes?))
    })?;
    let share = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    print!(
        "[p50 {:.1} ms, p99 {:.1} ms, during {} MB] ",
        share(50).as_secs_f64() * 1e3,
        share(99).as_secs_f64() * 1e3,
        bytes / 1_000_000
    );
    ensure!(share(99) < BOUND, "99 of 100 decisions took up to {:?}", share(99));
    let dropped = world.adit.status("dropped")?;
    ensure!(dropped == 0, "{dropped} packets were dropped meanwhile");
    for field in ["flows_moved", "flows_revoked", "flows_reset"] {
        let count = world.adit.status(field)?;
        ensure!(count == 0, "{count} {field}");
    }
    ensure!(world.adit.status("flows_opened")? == flows, "the flow went on");
    world.wait_for_balance()
}

/// How long each decision took, from the request to the answer, shortest first.
fn decide_often(world: &World) -> Result<Vec<Duration>, Failure> {
    let stream = UnixStream::connect(world.adit.socket())?;
    let mut answers = BufReader::new(&stream);
    let mut times = Vec::new();
    for at in 0..DECISIONS {
        let endpoint = format!("pe-{}", 5_000 + at / 2);
        let request = match at.is_multiple_of(2) {
            true => Request::Reject { endpoint, message: None },
            false => Request::Approve { endpoint, message: None },
        };
        let began = Instant::now();
        (&stream).write_all(request.line().as_bytes())?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        times.push(began.elapsed());
        ensure!(answer.contains("\"changed\":true"), "{answer}");
    }
    times.sort_unstable();
    Ok(times)
}
