//! Health probes against real servers: who is found down gets no new connections, keeps those that
//! it has, and loses its UDP flows; who comes back serves again, later each time if it flaps.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Stdio;
use std::time::Duration;

use lab::Process;
use lab::backend::HttpServer;
use lab::backend::trouble::{ProxyStrict, ResetAt};
use lab::client::{Session, http_get, udp_exchange};
use serde_json::Value;

use super::{PACKET, PACKET_2, TAP, XDP};
use crate::case::{Case, Failure, Outcome, wait_for, wait_until};
use crate::role;
use crate::world::{Adit, BACKENDS, CLIENT, NAT_IPS, World, dial, list, number, port, rule, text};

/// Where consumers dial what is probed.
const WEB: (u16, u16) = (90, port::HTTP.1);
const ECHO: (u16, u16) = (92, port::ECHO.1);
/// Where OpenSSL and a server that wants PROXY headers listen.
const TLS: u16 = 8_443;
const STRICT: u16 = 9_201;

/// Connections, or UDP flows, of a client: that one of three backends serves none is no chance.
const FLOWS: u16 = 24;

pub(super) const CASES: &[Case] = &[
    Case::new("probes::verdicts_packet_2_workers", PACKET_2, verdicts),
    Case::new("probes::verdicts_tap_1_worker", TAP, verdicts),
    Case::new("probes::verdicts_xdp_1_worker", XDP, verdicts),
    Case::new("probes::all_down", PACKET, all_down),
    Case::new("probes::killed", PACKET, killed),
    Case::new("probes::https", PACKET, https).with(&["openssl"]),
    Case::new("probes::proxy_header", PACKET, proxy_header),
    Case::new("probes::flapping", PACKET, flapping),
    Case::new("probes::reloads", PACKET, reloads),
];

/// Puts a probe in force, with rules for TCP and UDP that it decides about.
fn probe(world: &mut World, keys: &str, more: &str) -> Outcome {
    let with_probe = |text: String| text.replace(" },", ", probe = \"health\" },");
    world.config.more_rules = [
        with_probe(rule("probed-web", "Tcp", WEB, "all")),
        with_probe(rule("probed-echo", "Tcp", ECHO, "all")),
        with_probe(rule("probed-udp", "Udp", ECHO, "all")),
    ]
    .concat();
    world.config.more_of_balancer =
        format!("probe = [{{ name = \"health\", interval = \"400ms\", {keys} }}]\n{more}");
    world.reload().map(drop)
}

fn probe_web(world: &mut World, more: &str) -> Outcome {
    let keys = format!(
        "protocol = \"Http\", port = {}, request_path = \"/health\", probe_threshold = 2",
        port::HTTP.1
    );
    probe(world, &keys, more)?;
    wait_for_states(world, ["up"; 3])
}

/// What the probe says of each backend.
fn reports(adit: &Adit) -> Result<[Value; 3], Failure> {
    let answer = adit.ask(&["services"])?;
    let service = list(&answer, "services")?.first().ok_or("no service")?.clone();
    let rule = list(&service, "rules")?.iter().find(|rule| rule["name"] == "probed-web").cloned();
    let rule = rule.ok_or("no probed rule")?;
    let backends = list(&rule, "backends")?.iter().map(|backend| backend["probe"].clone());
    backends.collect::<Vec<_>>().try_into().map_err(|_| "three backends".into())
}

fn wait_for_states(world: &World, wanted: [&str; 3]) -> Outcome {
    let mut seen = None;
    wait_until(&format!("the backends are {wanted:?}"), || {
        let reports = reports(&world.adit)?;
        let are = reports.iter().map(|report| report["state"].as_str()).eq(wanted.map(Some));
        seen = Some(reports);
        // What is said is in force a moment later.
        Ok(are && in_force(world, wanted)?)
    })
    .map_err(|failure| format!("{failure}: {seen:?}\n{}", world.adit.log()).into())
}

fn in_force(world: &World, wanted: [&str; 3]) -> Result<bool, Failure> {
    let healthy = wanted.iter().filter(|state| **state == "up").count();
    Ok(world.adit.status("backends_healthy")? == healthy as u64)
}

/// Connections of a to the probed rule, and how many each backend served.
fn connect(world: &World) -> Result<[u64; 3], Failure> {
    let mut served = [0; 3];
    let backends = world.a().namespace().run(|| -> Result<Vec<String>, Failure> {
        let get = || Ok(http_get(&dial(WEB), "/")?.answer()?.backend);
        (0..FLOWS).map(|_| get()).collect()
    })??;
    backends.iter().try_for_each(|name| -> Outcome {
        served[number_of(world, name)?] += 1;
        Ok(())
    })?;
    Ok(served)
}

fn number_of(world: &World, name: &str) -> Result<usize, Failure> {
    let mut backends = world.backends.iter();
    let found = backends.position(|backend| backend.station.name() == name);
    found.ok_or_else(|| format!("no backend {name}").into())
}

/// Exchanges a datagram in each UDP flow; says who answered.
fn datagrams(world: &World) -> Result<Vec<usize>, Failure> {
    let answered = world.a().namespace().run(|| -> Result<Vec<String>, Failure> {
        let exchange = |at| {
            let from = SocketAddrV4::new(CLIENT, 41_000 + at);
            Ok(udp_exchange(&dial(ECHO).from(from), "datagram")?.backend)
        };
        (0..FLOWS).map(exchange).collect()
    })??;
    answered.iter().map(|name| number_of(world, name)).collect()
}

/// Sessions of a with the echo server, until each backend has one; by backend.
fn sessions(world: &World) -> Result<[Session; 3], Failure> {
    let mut found = [const { None }; 3];
    for _ in 0..FLOWS * 4 {
        let mut session = world.a().namespace().run(|| Session::open(&dial(ECHO)))??;
        let backend = session.exchange("begin")?.backend;
        found[number_of(world, &backend)?].get_or_insert(session);
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    let found = found.into_iter().collect::<Option<Vec<_>>>();
    let found = found.ok_or("a backend has no session")?;
    found.try_into().map_err(|_| "three sessions".into())
}

/// One of three says that it is not well: new connections go elsewhere, its TCP session goes on,
/// its UDP flows move without a loss, and it serves again once it is well.
fn verdicts(world: &mut World) -> Outcome {
    probe_web(world, "")?;
    ensure!(connect(world)?.iter().all(|count| *count > 0), "all serve while all are up");
    let mut sessions = sessions(world)?;
    let before = datagrams(world)?;
    ensure!((0..3).all(|backend| before.contains(&backend)), "UDP flows go to {before:?}");
    let moved = world.adit.status("flows_moved")?;
    let reset = world.adit.status("flows_reset")?;

    world.backends[1].http.set_healthy(false);
    wait_for_states(world, ["up", "down", "up"])?;
    let [_, served, _] = connect(world)?;
    ensure!(served == 0, "the backend that is down served {served} new connections");
    let after = datagrams(world)?;
    ensure!(!after.contains(&1), "its UDP flows did not move: {after:?}");
    for (before, after) in before.iter().zip(&after) {
        ensure!(*before == 1 || before == after, "a flow moved from {before} to {after}");
    }
    let were_there = before.iter().filter(|backend| **backend == 1).count() as u64;
    let moved = world.adit.status("flows_moved")? - moved;
    ensure!(moved == were_there, "{moved} flows moved, and {were_there} were there");
    for session in &mut sessions {
        session.exchange("still here")?;
    }
    ensure!(world.adit.status("flows_reset")? == reset, "a verdict reset a connection");
    shows(world)?;

    world.backends[1].http.set_healthy(true);
    wait_for_states(world, ["up"; 3])?;
    ensure!(datagrams(world)? == before, "UDP flows came back to where they were");
    ensure!(connect(world)?[1] > 0, "the backend that is back serves nobody");
    for session in &mut sessions {
        session.exchange("and again")?;
    }
    // Where probes came from: a NAT IP, and a port that no flow has.
    let peers = world.backends[1].http.peers();
    let asked = peers.iter().filter(|peer| peer.port() < 1024).count();
    ensure!(asked > 4, "{asked} probes: {peers:?}");
    ensure!(peers.iter().all(|peer| NAT_IPS.contains(peer.ip())), "{peers:?}");
    world.wait_for_balance()
}

/// What people are told while the second backend is down.
fn shows(world: &World) -> Outcome {
    let report = &reports(&world.adit)?[1];
    ensure!(report["last_error"] == "status 503, not 200", "{report}");
    ensure!(number(report, "failures")? >= 2 && number(report, "changes")? == 2, "{report}");
    let output = world.adit.command(&["services"])?.stdout;
    let said = String::from_utf8_lossy(&output).into_owned();
    ensure!(said.contains("probe: down, takes no new flows"), "{said}");
    ensure!(said.contains("Http 8080/health each 0.4 s"), "{said}");
    let output = world.adit.command(&["status"])?.stdout;
    let said = String::from_utf8_lossy(&output).into_owned();
    ensure!(said.contains("2 of 3 backends are healthy"), "{said}");
    let log = world.adit.log();
    let line = format!(
        "backend {} of lb: down by probe health: status 503, not 200 (was up for",
        BACKENDS[1]
    );
    ensure!(log.contains(&line), "{log}");
    Ok(())
}

/// Nobody is well: with AllProbedDown no connection is made and `explain` says why; with
/// AllProbedUp all serve as if they were well.
fn all_down(world: &mut World) -> Outcome {
    probe_web(world, "")?;
    let mut sessions = sessions(world)?;
    datagrams(world)?;
    world.backends.iter().for_each(|backend| backend.http.set_healthy(false));
    wait_for_states(world, ["down"; 3])?;
    let briefly = Duration::from_millis(300);
    let refused = |world: &World| {
        world.a().namespace().run(|| {
            let from = SocketAddrV4::new(CLIENT, 41_000);
            http_get(&dial(WEB).within(briefly), "/").is_err()
                && udp_exchange(&dial(ECHO).from(from).within(briefly), "datagram").is_err()
        })
    };
    let before = world.adit.drops("no_healthy_backend")?;
    ensure!(refused(world)?, "somebody serves although all are down");
    world.adit.wait_for_drops("no_healthy_backend", before + 2)?;
    let client = format!("{CLIENT}:5000");
    let said = world.adit.ask(&["explain", "tcp", "a", &client, "10.0.0.5:90"])?;
    let said = &said["explanation"];
    let probe = list(said, "decisions")?.iter().find(|decision| decision["about"] == "probe");
    let probe = text(probe.ok_or_else(|| format!("no probe in {said}"))?, "sentence")?;
    ensure!(probe.contains("health asks Http 8080"), "{probe}");
    ensure!(probe.contains("10.1.0.11 is down for"), "{probe}");
    ensure!(text(&said["refusal"], "cure")?.contains("AllProbedUp"), "{said}");
    for session in &mut sessions {
        session.exchange("goes on")?;
    }

    let up = "no_healthy_backends_behavior = \"AllProbedUp\"";
    world.config.more_of_balancer = world
        .config
        .more_of_balancer
        .replace("probe_threshold = 2", &format!("{up}, probe_threshold = 2"));
    world.reload()?;
    // What a reload finds down is still down.
    ensure!(reports(&world.adit)?.iter().all(|report| report["state"] == "down"), "forgotten");
    ensure!(connect(world)?.iter().all(|count| *count > 0), "AllProbedUp: not all serve");
    ensure!((0..3).all(|it| datagrams(world).is_ok_and(|all| all.contains(&it))), "nor by UDP");
    for session in &mut sessions {
        session.exchange("still goes on")?;
    }
    world.wait_for_balance()
}

/// A server that ends, one that resets, and a host that is gone, as a TCP probe finds them.
fn killed(world: &mut World) -> Outcome {
    let keys = format!("protocol = \"Tcp\", port = {}", port::HTTP.1);
    probe(world, &keys, "probe_source_ip_address = \"10.1.0.200\"\n")?;
    wait_for_states(world, ["up"; 3])?;
    let own = Ipv4Addr::new(10, 1, 0, 200);
    let peers = world.backends[0].http.peers();
    ensure!(peers.iter().any(|peer| *peer.ip() == own), "no probe from {own}: {peers:?}");

    let mut sessions = sessions(world)?;
    let address = world.backends[0].http.address();
    let elsewhere = SocketAddrV4::new(*address.ip(), 1);
    let other = HttpServer::start(world.backends[0].station.namespace(), elsewhere, "x")?;
    std::mem::replace(&mut world.backends[0].http, other).stop();
    wait_for_states(world, ["down", "up", "up"])?;
    ensure!(reports(&world.adit)?[0]["last_error"] == "the connection was refused", "why");
    ensure!(connect(world)?[0] == 0, "a server that is gone served");
    sessions[0].exchange("its other server goes on")?;

    world.backends[2].station.cut_cable()?;
    wait_for_states(world, ["down", "up", "down"])?;
    let why = reports(&world.adit)?[2]["last_error"].clone();
    ensure!(why == "the connection did not open within 400ms", "{why}");
    ensure!(connect(world)? == [0, u64::from(FLOWS), 0], "only one is left");
    sessions[1].exchange("goes on")?;
    Ok(())
}

/// Makes a certificate that nobody has signed.
pub(super) fn certificate(world: &World) -> Outcome {
    let made = role::program_in(&world.middle, "openssl")?
        .current_dir(world.adit.directory())
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=nobody",
        ])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// OpenSSL's server with that certificate, at a port or an address of a backend.
pub(super) fn tls_server(world: &World, backend: usize, at: &str) -> Result<Process, Failure> {
    let mut command = role::program_in(world.backends[backend].station.namespace(), "openssl")?;
    command.current_dir(world.adit.directory()).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.args(["s_server", "-www", "-quiet", "-accept", at]);
    command.args(["-key", "key.pem", "-cert", "certificate.pem"]);
    Ok(Process::start(command)?)
}

/// A server that speaks TLS, two in fact, and one that does not.
fn https(world: &mut World) -> Outcome {
    certificate(world)?;
    let mut servers = Vec::new();
    for backend in 0..2 {
        servers.push(tls_server(world, backend, &TLS.to_string())?);
    }
    let plain = SocketAddrV4::new(BACKENDS[2], TLS);
    let _plain = HttpServer::start(world.backends[2].station.namespace(), plain, "plain")?;
    let keys = format!("protocol = \"Https\", port = {TLS}, request_path = \"/\"");
    probe(world, &keys, "")?;
    wait_for_states(world, ["up", "up", "down"])?;
    ensure!(reports(&world.adit)?[2]["last_error"].is_string(), "no reason");
    drop(servers.pop());
    wait_for_states(world, ["up", "down", "down"])?;
    ensure!(connect(world)? == [u64::from(FLOWS), 0, 0], "only one speaks TLS");
    world.wait_for_balance()
}

/// Probes begin with a header where services do, or where the probe says so.
fn proxy_header(world: &mut World) -> Outcome {
    let at = |backend: Ipv4Addr| SocketAddrV4::new(backend, STRICT);
    let start = |backend: usize| {
        let station = &world.backends[backend].station;
        ProxyStrict::start(station.namespace(), at(station.address()), station.name())
    };
    let servers = [start(0)?, start(1)?];
    let resets = world.backends[2].station.namespace();
    let _resets = ResetAt::start(resets, at(BACKENDS[2]), "resets", 1)?;
    let keys = format!("protocol = \"Http\", port = {STRICT}, request_path = \"/\"");
    world.config.service_settings = "proxy_protocol = \"azure\"\n".to_owned();
    probe(world, &keys, "")?;
    wait_for_states(world, ["up", "up", "down"])?;
    let headers = servers[0].headers();
    ensure!(!headers.is_empty(), "no header came");
    ensure!(headers.iter().all(|header| header.addresses.is_none()), "not LOCAL: {headers:?}");
    probe(world, &format!("{keys}, send_proxy_protocol = false"), "")?;
    wait_for_states(world, ["down"; 3])?;
    world.wait_for_balance()
}

/// A backend that falls soon after it rose must answer longer each time.
fn flapping(world: &mut World) -> Outcome {
    let keys = format!("protocol = \"Http\", port = {}, request_path = \"/health\"", port::HTTP.1);
    probe(world, &keys, "")?;
    wait_for_states(world, ["up"; 3])?;
    for needed in [1, 2, 4] {
        world.backends[0].http.set_healthy(false);
        let missing = wait_for("the backend is down", || {
            let report = &reports(&world.adit)?[0];
            Ok((report["state"] == "down").then(|| report["missing"].clone()))
        })?;
        ensure!(missing == needed, "{missing} answers are needed, not {needed}");
        world.backends[0].http.set_healthy(true);
        wait_for_states(world, ["up"; 3])?;
    }
    world.wait_for_balance()
}

/// A probe that is added to a rule interrupts nothing, and a reload forgets no verdict.
fn reloads(world: &mut World) -> Outcome {
    world.config.more_rules = [
        rule("probed-web", "Tcp", WEB, "all"),
        rule("probed-echo", "Tcp", ECHO, "all"),
        rule("probed-udp", "Udp", ECHO, "all"),
    ]
    .concat();
    world.reload()?;
    let before = datagrams(world)?;
    let moved = world.adit.status("flows_moved")?;
    let keys = format!(
        "protocol = \"Http\", port = {}, request_path = \"/health\", probe_threshold = 3",
        port::HTTP.1
    );
    probe(world, &keys, "")?;
    ensure!(datagrams(world)? == before, "the new probe moved flows");
    wait_for_states(world, ["up"; 3])?;
    ensure!(datagrams(world)? == before, "the first verdicts moved flows");
    ensure!(world.adit.status("flows_moved")? == moved, "flows moved");

    world.backends[2].http.set_healthy(false);
    wait_for_states(world, ["up", "up", "down"])?;
    let changes = |world: &World| -> Result<Vec<Value>, Failure> {
        Ok(reports(&world.adit)?.iter().map(|report| report["changes"].clone()).collect())
    };
    let before = changes(world)?;
    world.config.service_settings = "port_hold_down = \"1s\"\n".to_owned();
    world.reload()?;
    wait_for_states(world, ["up", "up", "down"])?;
    ensure!(changes(world)? == before, "verdicts changed by a reload");
    ensure!(connect(world)?[2] == 0, "what was down serves after a reload");
    world.wait_for_balance()
}
