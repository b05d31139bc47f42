//! What must not pass does not, and is counted under its name: ping, a port without a rule, and
//! connections that are not approved. Approving and rejecting work at once, under load too.

use std::io::Read;
use std::net::SocketAddrV4;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use lab::client::PingOutcome;
use lab::client::{ConnectOutcome, Dial, Session, http_get, ping, tcp_connect, udp_send};

use super::{FAST_2, PACKET, TAP_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{ENDPOINT, PENDING_ENDPOINT, World, dial, list, port, text};

/// Waited for in full where no answer may come; long enough for a SYN to be sent again, after 1 s.
const SILENCE: Duration = Duration::from_millis(1700);
/// After a rejection the transfer may run on for so long at most: the time of a command on a busy
/// machine, and that of the client to read what was there.
const STOP_TIME: Duration = Duration::from_secs(3);

pub(super) const CASES: &[Case] = &[
    Case::new("gate::packet_1_worker", PACKET, gate),
    Case::new("gate::fast_path_2_workers", FAST_2, gate),
    Case::new("gate::tap_2_workers", TAP_2, gate),
];

fn gate(world: &mut World) -> Outcome {
    not_carried(world)?;
    pending(world)?;
    approved(world)?;
    rejected_while_transferring(world)?;
    world.wait_for_balance()
}

fn not_carried(world: &World) -> Outcome {
    let outcomes = world.both(|_| Ok(ping(ENDPOINT, Duration::from_millis(200))?))?;
    ensure!(outcomes == [PingOutcome::TimedOut; 2], "ping ended as {outcomes:?}");
    world.adit.wait_for_drops("icmp_unsupported", 2)?;
    let port = (81, 81);
    let outcome = world.a().namespace().run(|| tcp_connect(&dial(port).within(SILENCE)))??;
    ensure!(outcome == ConnectOutcome::TimedOut, "a port without a rule: {outcome:?}");
    // The first SYN, and one that was sent again.
    world.adit.wait_for_drops("no_rule", 2)?;
    world.b().namespace().run(|| udp_send(&dial(port), b"x"))??;
    world.adit.wait_for_drops("no_rule", 3)?;
    Ok(())
}

fn to_pending((port, _): (u16, u16)) -> Dial {
    Dial::to(SocketAddrV4::new(PENDING_ENDPOINT, port))
}

fn pending(world: &World) -> Outcome {
    let forwarded = world.adit.status("forwarded")?;
    let outcome = world.a().namespace().run(|| {
        udp_send(&to_pending(port::ECHO), b"x")?;
        tcp_connect(&to_pending(port::HTTP).within(SILENCE))
    })??;
    ensure!(outcome == ConnectOutcome::TimedOut, "a pending endpoint: {outcome:?}");
    world.adit.wait_for_drops("connection_pending", 3)?;
    let after = world.adit.status("forwarded")?;
    ensure!(after == forwarded, "{} packets of a pending connection passed", after - forwarded);
    let seen = world.peers();
    ensure!(seen.is_empty(), "backends were reached from {seen:?}");
    let datagrams: u64 = world.backends.iter().map(|backend| backend.udp.datagrams()).sum();
    ensure!(datagrams == 0, "{datagrams} datagrams reached a backend");
    Ok(())
}

fn decide(world: &World, verb: &str, state: &str) -> Outcome {
    let answer = world.adit.ask(&[verb, "pe-pending"])?;
    ensure!(text(&answer, "state")? == state, "{verb} was answered {answer}");
    let answer = world.adit.ask(&["endpoints"])?;
    let is_so = list(&answer, "endpoints")?
        .iter()
        .any(|endpoint| endpoint["name"] == "pe-pending" && endpoint["connection_state"] == state);
    ensure!(is_so, "after {verb}: {answer}");
    Ok(())
}

fn approved(world: &World) -> Outcome {
    decide(world, "approve", "Approved")?;
    let status = world.a().namespace().run(|| http_get(&to_pending(port::HTTP), "/"))??.status;
    ensure!(status == 200, "an approved endpoint answers {status}");
    Ok(())
}

/// When bytes came last, and how many by then.
type Progress = Mutex<(Instant, u64)>;

fn rejected_while_transferring(world: &World) -> Outcome {
    let session = world.a().namespace().run(|| Session::open(&to_pending(port::HTTP)))??;
    let progress = Mutex::new((Instant::now(), 0));
    let read = || *progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let resets = world.adit.status("flows_reset")?;
    let stopped = thread::scope(|scope| {
        let reader = scope.spawn(|| endless(&session, &progress));
        let steps = || -> Result<Duration, Failure> {
            wait_until("the transfer runs", || Ok(read().1 > 10_000_000))?;
            let began = Instant::now();
            decide(world, "reject", "Rejected")?;
            wait_until("the client hears of it", || Ok(reader.is_finished()))?;
            Ok(read().0.saturating_duration_since(began))
        };
        let result = steps();
        // Ends the reader, whatever happened.
        let _ = session.stream().shutdown(std::net::Shutdown::Both);
        let ended = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let is_reset = ended.as_ref().is_err_and(|why| why.to_string().contains("reset"));
        ensure!(is_reset, "the transfer ended as {ended:?}");
        result
    })?;
    ensure!(stopped < STOP_TIME, "bytes came until {stopped:?} after the rejection");
    // A worker counts after it has sent, and the client may be quicker than that.
    wait_until("one flow was reset", || Ok(world.adit.status("flows_reset")? == resets + 1))?;
    print!("[stopped after {} ms] ", stopped.as_millis());
    let still = world
        .a()
        .namespace()
        .run(|| tcp_connect(&to_pending(port::HTTP).within(Duration::from_millis(300))))??;
    ensure!(still == ConnectOutcome::TimedOut, "a rejected endpoint: {still:?}");
    let other = world.a().namespace().run(|| http_get(&dial(port::HTTP), "/"))??.status;
    ensure!(other == 200, "the other endpoint answers {other}");
    approved(world)?;
    Ok(session.abort()?)
}

/// Downloads until the connection is shut down or reset.
fn endless(session: &Session, progress: &Progress) -> Result<(), Failure> {
    let mut stream = session.stream();
    stream.set_read_timeout(None)?;
    std::io::Write::write_all(
        &mut stream,
        b"GET /bytes/1000000000000 HTTP/1.1\r\nHost: x\r\n\r\n",
    )?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let bytes = stream.read(&mut buffer)?;
        if bytes == 0 {
            return Ok(());
        }
        let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *progress = (Instant::now(), progress.1 + bytes as u64);
    }
}
