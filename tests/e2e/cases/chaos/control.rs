//! A thousand malformed requests on the control socket, and good ones among them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{PACKET, at_rest, leaks_nothing, under_load};
use crate::case::{Case, Failure, Outcome};
use crate::world::{Probe, World};

const REQUESTS: usize = 1_000;
/// Connections that are kept open; there is a limit to descriptors.
const KEPT_MAX: usize = 200;
/// A good question is answered within this time, whatever else is asked.
const ANSWER_TIME: Duration = Duration::from_secs(5);

pub(super) const CASES: &[Case] =
    &[Case::new("chaos::control_requests_malformed", PACKET, malformed)];

fn malformed(world: &mut World) -> Outcome {
    world.wait_until_served()?;
    let before = world.adit.vitals()?;
    let chaos = |world: &mut World| {
        let (socket, probe) = (world.adit.socket(), world.adit.probe());
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&probe, &done));
            let result = annoy(&socket);
            done.store(true, Ordering::Relaxed);
            let asked = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.and(asked)
        })
    };
    let ((asked, slowest), _) = under_load(world, chaos)?;
    print!("[{asked} good ones among them, the slowest took {} ms] ", slowest.as_millis());
    ensure!(asked >= 3, "only {asked} good questions were asked");
    ensure!(slowest < ANSWER_TIME, "a good question was answered after {slowest:?}");
    world.wait_until_served()?;
    at_rest(world)?;
    leaks_nothing(world, before)
}

/// Asks good questions; how many, and how long the slowest answer took.
fn ask(probe: &Probe, done: &AtomicBool) -> Result<(usize, Duration), Failure> {
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    while !done.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let output = probe.command(&["status", "--json"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "a good question failed: {said}");
        slowest = slowest.max(begin.elapsed());
        asked += 1;
    }
    Ok((asked, slowest))
}

fn annoy(socket: &Path) -> Outcome {
    let mut kept = Vec::new();
    for number in 0..REQUESTS {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_write_timeout(Some(ANSWER_TIME))?;
        let (bytes, end) = nuisance(number);
        // Who is too much of a nuisance is cut off while it writes.
        let _ = stream.write_all(&bytes);
        match end {
            End::Leave => {}
            End::Stay if kept.len() < KEPT_MAX => kept.push(stream),
            End::Stay => kept[number % KEPT_MAX] = stream,
            End::Listen => {
                stream.set_read_timeout(Some(ANSWER_TIME))?;
                let _ = stream.read(&mut [0; 64]);
            }
        }
    }
    Ok(())
}

/// What a client does after what it wrote.
enum End {
    /// It goes, whatever is being said to it.
    Leave,
    /// It stays and says nothing more.
    Stay,
    /// It waits for the beginning of an answer.
    Listen,
}

fn nuisance(number: usize) -> (Vec<u8>, End) {
    const STATUS: &[u8] = b"{\"version\":1,\"request\":\"status\"}\n";
    match number % 10 {
        0 => (b"GET / HTTP/1.1\r\nHost: adit\r\n\r\n".to_vec(), End::Listen),
        1 => (Vec::new(), End::Stay),
        2 => (b"{\"version\":1,".to_vec(), End::Stay),
        3 => (vec![b'x'; 200_000], End::Leave),
        4 => (STATUS.to_vec(), End::Leave),
        5 => ([b"[".repeat(60_000), b"\n".to_vec()].concat(), End::Listen),
        6 => (vec![0; 5_000], End::Stay),
        7 => ([STATUS.repeat(200), b"\xff\xfe\n".to_vec()].concat(), End::Leave),
        8 => (b"{\"version\":1,\"request\":\"sessions\",\"limit\":-1}\n".to_vec(), End::Listen),
        _ => (b"\n\n\n\n{\"version\":1,\"request\":\"no such\"}\n{".to_vec(), End::Stay),
    }
}
