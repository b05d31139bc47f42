//! A hundred reloads a second, under load.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use lab::client::Session;

use super::{PACKET_2, at_rest, leaks_nothing, under_load};
use crate::case::{Case, Failure, Outcome, PATIENCE};
use crate::cases::reload::vary;
use crate::world::{Vitals, World, dial, port};

const INTERVAL: Duration = Duration::from_millis(10);
const WARM_UP: usize = 100;
const RELOADS: usize = 300;

pub(super) const CASES: &[Case] = &[Case::new("chaos::reloads_100_a_second", PACKET_2, reloads)];

fn reloads(world: &mut World) -> Outcome {
    let mut kept = world.b().namespace().run(|| Session::open(&dial(port::ECHO)))??;
    let at_rest_before = world.adit.vitals()?;
    let chaos = |world: &mut World| -> Result<(Vitals, Duration), Failure> {
        reload_often(world, &mut kept, WARM_UP)?;
        let resident_kib = world.adit.vitals()?.resident_kib;
        let before = Vitals { resident_kib, ..at_rest_before };
        let begin = Instant::now();
        reload_often(world, &mut kept, RELOADS)?;
        Ok((before, begin.elapsed()))
    };
    let ((before, time), bytes) = under_load(world, chaos)?;
    print!("[{:.0} a second, {} MB] ", RELOADS as f64 / time.as_secs_f64(), bytes / 1_000_000);
    world.wait_until_served()?;
    at_rest(world)?;
    leaks_nothing(world, before)
}

/// By the control socket itself: a process for each would be what is measured.
fn reload_often(world: &mut World, kept: &mut Session, count: usize) -> Outcome {
    let stream = UnixStream::connect(world.adit.socket())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answers = BufReader::new(&stream).lines();
    let mut due = Instant::now();
    // The last configuration is that of the first round.
    for number in (0..count).chain([1]) {
        vary(world, number);
        world.adit.configure(&world.config.text())?;
        (&stream).write_all(b"{\"version\":1,\"request\":\"reload\"}\n")?;
        let answer = answers.next().ok_or("the control socket was closed")??;
        ensure!(answer.contains("\"reloaded\""), "reload {number}: {answer}");
        kept.exchange("still there")?;
        due += INTERVAL;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}
