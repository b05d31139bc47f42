//! A pool as large as a scale set: three hundred backends, all probed, thirty of them coming and
//! going. They are the addresses of one host.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use lab::backend::HttpServer;
use lab::client::http_get;

use super::PACKET_2;
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{Station, World, dial, list, rule, text};

pub(super) const CASES: &[Case] =
    &[Case::new("many_probed::packet_2_workers", PACKET_2, many_probed)];

/// Where consumers dial, and where the backends listen.
const WEB: (u16, u16) = (94, 9_094);
const BACKENDS: u16 = 300;
/// Those that come and go, and how often they do.
const FLAPPING: u16 = 30;
const ROUNDS: usize = 2;
const INTERVAL: Duration = Duration::from_millis(800);
/// Rounds of probes whose time is taken.
const PROBES: u16 = 4;
/// Memory that they may take: tables of the ports of two NAT IPs towards each, and its probe.
const MEMORY_KIB: usize = 64 * 300;
/// Memory that going on may take, and coming and going.
const GROWTH_KIB: usize = 4_096;
const FLOWS: usize = 24;

fn backend(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 1, 8 + high, low)
}

/// The numbers of those that come and go: every tenth.
fn flapping() -> impl Iterator<Item = u16> {
    (0..FLAPPING).map(|at| 10 * at + 5)
}

fn many_probed(world: &mut World) -> Outcome {
    let mut farm = Station::create("farm", "provider", backend(1), &world.middle, None)?;
    farm.lay_cable(1500, 1500)?;
    for number in 2..=BACKENDS {
        farm.near()?.add_address(backend(number), 16)?;
    }
    let at = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, WEB.1);
    let server = HttpServer::start(farm.namespace(), at, "farm")?;
    let before = world.adit.vitals()?.resident_kib;
    configure(world, &farm)?;
    wait_for_healthy(world, BACKENDS)?;
    on_time(world, &server)?;
    let full = world.adit.vitals()?.resident_kib;
    ensure!(
        full - before.min(full) < MEMORY_KIB,
        "{BACKENDS} backends take {before} to {full} KiB"
    );
    for _ in 0..ROUNDS {
        flap(world, &farm)?;
    }
    on_time(world, &server)?;
    let after = world.adit.vitals()?.resident_kib;
    ensure!(after.saturating_sub(full) < GROWTH_KIB, "memory went from {full} to {after} KiB");
    world.wait_for_balance()
}

fn configure(world: &mut World, farm: &Station) -> Outcome {
    let all: Vec<String> = (1..=BACKENDS).map(|at| format!("\"{}\"", backend(at))).collect();
    let all = all.join(", ");
    world.config.more_pools = format!("{{ name = \"many\", backend_addresses = [{all}] }},\n");
    world.config.more_rules =
        rule("many", "Tcp", WEB, "many").replace(" },", ", probe = \"many\" },");
    // One host accepts all of them: a lost SYN is no verdict.
    world.config.more_of_balancer = format!(
        "probe = [{{ name = \"many\", protocol = \"Tcp\", port = {}, interval = \"{}ms\", \
         probe_threshold = 2 }}]\n",
        WEB.1,
        INTERVAL.as_millis()
    );
    world.config.devices.push(farm.device_of(world.config.kind));
    world.reload().map(drop)
}

/// Every backend is asked once in an interval: neither less often nor more.
fn on_time(world: &mut World, server: &HttpServer) -> Outcome {
    let (begin, processor) = (Instant::now(), world.adit.processor_time()?);
    let goal = server.connections() + u64::from(BACKENDS * PROBES);
    wait_until("the backends are probed", || Ok(server.connections() >= goal))?;
    let elapsed = begin.elapsed();
    let [least, most] = [INTERVAL * u32::from(PROBES - 1), INTERVAL * u32::from(PROBES + 2)];
    let is_on_time = least <= elapsed && elapsed <= most;
    ensure!(is_on_time, "{PROBES} probes of each backend took {elapsed:?}");
    let processor = world.adit.processor_time()? - processor;
    ensure!(processor < elapsed / 2, "in {elapsed:?} the process ran for {processor:?}");
    Ok(())
}

fn wait_for_healthy(world: &World, count: u16) -> Outcome {
    wait_until(&format!("{count} backends are healthy"), || {
        Ok(world.adit.status("backends_healthy")? == u64::from(count))
    })
}

/// Thirty go: they are the ones that are down, and nobody is sent to them. They come back.
fn flap(world: &World, farm: &Station) -> Outcome {
    for number in flapping() {
        farm.near()?.remove_address(backend(number), 16)?;
    }
    wait_for_healthy(world, BACKENDS - FLAPPING)?;
    let gone: Vec<String> = flapping().map(|number| backend(number).to_string()).collect();
    let down = down(world)?;
    ensure!(down == gone, "down are {down:?}");
    world.a().namespace().run(|| -> Outcome {
        (0..FLOWS).try_for_each(|_| Ok(http_get(&dial(WEB), "/")?.answer().map(drop)?))
    })??;
    for number in flapping() {
        farm.near()?.add_address(backend(number), 16)?;
    }
    wait_for_healthy(world, BACKENDS)
}

/// The backends that the probe finds down, in the order of the file.
fn down(world: &World) -> Result<Vec<String>, Failure> {
    let answer = world.adit.ask(&["services"])?;
    let service = list(&answer, "services")?.first().ok_or("no service")?.clone();
    let rules = list(&service, "rules")?;
    let rule = rules.iter().find(|rule| rule["name"] == "many").ok_or("no such rule")?;
    let backends = list(rule, "backends")?.iter();
    let down = backends.filter(|backend| backend["probe"]["state"] == "down");
    down.map(|backend| Ok(text(backend, "address")?.to_owned())).collect()
}
