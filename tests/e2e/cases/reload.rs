//! Reloads under load: what they do not concern goes on, and a faulty file changes nothing.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab::client::{Session, http_get};
use lab::pattern;
use rustix::process::Signal;

use super::{FAST_2, PACKET, PACKET_2};
use crate::case::{Case, Failure, Outcome, PATIENCE, wait_until};
use crate::world::{World, dial, endpoint, list, port, rule, service};

/// At least so many reloads, and for so long.
const RELOADS: usize = 50;
const LOAD_TIME: Duration = Duration::from_secs(3);

pub(super) const CASES: &[Case] = &[
    Case::new("reload::packet_2_workers_under_load", PACKET_2, reloads),
    Case::new("reload::fast_path_2_workers_under_load", FAST_2, reloads),
    Case::new("reload::packet_1_worker_refuses_faults", PACKET, faults),
];

fn reloads(world: &mut World) -> Outcome {
    let mut kept = world.a().namespace().run(|| Session::open(&dial(port::HTTP)))??;
    let loaded = world.a().namespace().run(|| Session::open(&dial(port::HTTP)))??;
    let flows_before = world.adit.status("flows_opened")?;
    let stop = AtomicBool::new(false);
    let (count, bytes) = thread::scope(|scope| {
        let loading = scope.spawn(|| load(&loaded, &stop));
        let result = reload_often(world, &mut kept);
        stop.store(true, Ordering::Relaxed);
        let bytes = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.and_then(|count| Ok((count, bytes?)))
    })?;
    print!("[{count} reloads during {} MB] ", bytes / 1_000_000);
    let opened = world.adit.status("flows_opened")?;
    ensure!(opened == flows_before, "{} flows opened meanwhile", opened - flows_before);
    for metric in ["endpoint_removed", "backend_removed", "nat_ip_removed", "tcp_not_syn"] {
        let count = world.adit.drops(metric)?;
        ensure!(count == 0, "{count} packets were dropped as {metric}");
    }
    world.wait_for_balance()
}

fn reload_often(world: &mut World, kept: &mut Session) -> Result<usize, Failure> {
    let begin = Instant::now();
    let mut count = 0;
    while count < RELOADS || begin.elapsed() < LOAD_TIME {
        vary(world, count);
        let generation = world.reload()?;
        ensure!(generation == count as u64 + 2, "reload {count} made generation {generation}");
        let status = kept.http_get("/")?.status;
        ensure!(status == 200, "the kept session answers {status} after reload {count}");
        count += 1;
    }
    Ok(count)
}

/// Adds and removes an endpoint, a service, rules and pools of backends.
pub(super) fn vary(world: &mut World, count: usize) {
    let config = &mut world.config;
    (config.more_pools, config.more_rules, config.more) = Default::default();
    if count.is_multiple_of(2) {
        config.more_pools =
            "  { name = \"more\", backend_addresses = [\"10.1.0.12\", \"10.1.0.77\"] },\n".into();
        config.more_rules = rule("more", "Tcp", (9000, 9000), "more");
    }
    if count.is_multiple_of(3) {
        config.more = endpoint("pe-c", "b", "10.0.0.7", "web", "Approved");
    }
    if count.is_multiple_of(5) {
        config.more.push_str(&service("second", &["10.1.0.9".into()]));
    }
}

/// Downloads and checks bytes until told to stop.
pub(super) fn load(session: &Session, stop: &AtomicBool) -> Result<u64, Failure> {
    let mut stream = session.stream();
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /bytes/1000000000000 HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    while !stop.load(Ordering::Relaxed) {
        let bytes = stream.read(&mut buffer)?;
        ensure!(bytes > 0, "the connection ended after {received} bytes");
        ensure!(pattern::matches(received, &buffer[..bytes]), "a wrong byte after {received}");
        received += bytes as u64;
    }
    Ok(received)
}

fn faults(world: &mut World) -> Outcome {
    let mut kept = world.a().namespace().run(|| Session::open(&dial(port::HTTP)))??;
    let before = world.adit.status("generation")?;
    let sound = world.config.text();
    let missing_pool =
        sound.replace("backend_address_pool = \"first\"", "backend_address_pool = \"frist\"");
    let workers = sound.replace("workers = 1", "workers = 2");
    for (text, word) in [
        (missing_pool.as_str(), "first"),
        (workers.as_str(), "restart adit"),
        ("[adit\n", "not TOML"),
        ("", "control_socket"),
    ] {
        world.adit.configure(text)?;
        let output = world.adit.command(&["reload"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{text}: {:?}: {said}", output.status);
        ensure!(said.contains(word), "{word:?} is missing from: {said}");
        ensure!(said.contains("nothing was changed"), "it was not said: {said}");
        let generation = world.adit.status("generation")?;
        ensure!(generation == before, "generation {generation} after a faulty file");
        ensure!(kept.http_get("/")?.status == 200, "the kept session is gone");
    }
    let status = world.a().namespace().run(|| http_get(&dial(port::HTTP), "/"))??.status;
    ensure!(status == 200, "a new connection answers {status}");
    by_signal(world)?;
    world.wait_for_balance()
}

/// SIGHUP reloads, too.
fn by_signal(world: &mut World) -> Outcome {
    world.config.more = endpoint("pe-c", "b", "10.0.0.7", "web", "Approved");
    world.adit.configure(&world.config.text())?;
    world.adit.signal(Signal::HUP)?;
    wait_until("the endpoint c is there", || {
        let answer = world.adit.ask(&["endpoints"])?;
        Ok(list(&answer, "endpoints")?.iter().any(|endpoint| endpoint["name"] == "pe-c"))
    })
}
