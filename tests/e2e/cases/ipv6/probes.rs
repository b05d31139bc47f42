//! Health probes of backends of both families: nginx that ends and comes back, that has no good
//! word for anyone, a listener that sees where probes come from and how they begin, and OpenSSL.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lab::Process;
use serde_json::Value;

use super::super::probes::{certificate, tls_server};
use super::super::web::{Site, curl_at, start_nginx_at};
use super::{BACKEND, CLIENT, NAT_IP, UDP};
use crate::case::{Failure, Outcome, wait_until};
use crate::world::{Adit, BACKENDS, Station, World, endpoint, list, port, rule, service, text};

const SECOND: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0x11);
const ENDPOINT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 5);
/// Where Azure's probes of IPv6 come from.
const AZURE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x1234, 0x5678, 0x9abc);
const TLS: u16 = 8_443;
const LISTENER: u16 = 9_300;
/// Connections: that one of three backends serves none is no chance.
const CALLS: usize = 24;
const LOCAL: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Where the backends of the pool are, in its order.
fn backends() -> [IpAddr; 3] {
    [BACKEND.into(), SECOND.into(), BACKENDS[2].into()]
}

pub(super) fn probes(world: &mut World) -> Outcome {
    let hosts = [(world.a(), CLIENT), (&world.backends[0].station, BACKEND)];
    let second = (&world.backends[1].station, SECOND);
    for (station, address) in hosts.into_iter().chain([second]) {
        station.namespace().enable_ipv6()?;
        station.near()?.add_address(address, 64)?;
    }
    // Cables have no link-local addresses of their own, without which nobody answers one.
    for (backend, last) in world.backends[..2].iter().zip([0x10, 0x11]) {
        let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
        backend.station.near()?.add_address(address, 64)?;
    }
    world.config.speaks_ipv6 = true;
    web(world)?;
    sources(world)?;
    https(world)?;
    world.wait_for_balance()
}

/// Puts a probe in force, and where it comes from.
fn probe(world: &mut World, keys: &str, more: &str) -> Outcome {
    let pool = backends().map(|backend| format!("\"{backend}\"")).join(", ");
    let rules = [rule("nginx", "Tcp", port::NGINX, "all"), rule("u", "Udp", UDP, "all")];
    let rules = rules.concat().replace(" },", ", probe = \"health\" },");
    let nat_ips = [NAT_IP.to_string(), "10.1.0.6".to_owned()];
    world.config.more = [
        format!(
            "[[load_balancer]]\nname = \"lb-6\"\nvirtual_network = \"provider\"\n\
             backend_address_pool = [ {{ name = \"all\", backend_addresses = [{pool}] }} ]\n\
             load_balancing_rule = [\n{rules}]\n\
             probe = [{{ name = \"health\", interval = \"400ms\", {keys} }}]\n{more}"
        ),
        service("six", &nat_ips).replace("\"lb\"", "\"lb-6\""),
        endpoint("pe-6", "a", &ENDPOINT.to_string(), "six", "Approved"),
    ]
    .concat();
    world.reload()?;
    world.wait_until_ready()
}

fn nginx(world: &World, files: &Path, backend: usize) -> Result<Process, Failure> {
    let at = SocketAddr::new(backends()[backend], port::NGINX.1);
    start_nginx_at(files, &world.backends[backend], at, Site::Plain)
}

/// A server that ends and comes back, and all of them unwell.
fn web(world: &mut World) -> Outcome {
    let files = world.adit.directory().to_owned();
    let (health, again) = (files.join("health"), files.join("again"));
    fs::write(&health, "well")?;
    fs::create_dir(&again)?;
    fs::write(again.join("health"), "well")?;
    let [first, second, third] = [0, 1, 2].map(|backend| nginx(world, &files, backend));
    let (first, _running) = (first?, [second?, third?]);
    let keys = format!("protocol = \"Http\", port = {}, request_path = \"/health\"", port::NGINX.1);
    probe(world, &keys, "")?;
    wait_for_states(world, ["up"; 3])?;
    ensure!(served(world)?.iter().all(|count| *count > 0), "all serve while all are up");

    drop(first);
    wait_for_states(world, ["down", "up", "up"])?;
    let why = reports(&world.adit)?[0]["last_error"].clone();
    ensure!(why == "the connection was refused", "{why}");
    let line = format!("backend {BACKEND} of lb-6: down by probe health: ");
    ensure!(world.adit.log().contains(&line), "{}", world.adit.log());
    ensure!(served(world)?[0] == 0, "a server that is gone serves");
    let _first = nginx(world, &again, 0)?;
    wait_for_states(world, ["up"; 3])?;
    ensure!(served(world)?[0] > 0, "the server that is back serves nobody");

    fs::remove_file(&health)?;
    fs::remove_file(again.join("health"))?;
    wait_for_states(world, ["down"; 3])?;
    let why = reports(&world.adit)?.map(|report| report["last_error"].clone());
    ensure!(why.iter().all(|why| why == "status 404, not 200"), "{why:?}");
    let before = world.adit.drops("no_healthy_backend")?;
    let ends = [format!("[{CLIENT}]:4000"), format!("[{ENDPOINT}]:{}", port::NGINX.0)];
    let said = world.adit.ask(&["explain", "tcp", "a", &ends[0], &ends[1]])?;
    ensure!(text(&said["explanation"]["refusal"], "cure")?.contains("AllProbedUp"), "{said}");
    let dialled = SocketAddr::new(ENDPOINT.into(), port::NGINX.0);
    let briefly = Duration::from_millis(300);
    let call = || std::net::TcpStream::connect_timeout(&dialled, briefly).is_err();
    ensure!(world.a().namespace().run(call)?, "somebody serves although all are down");
    world.adit.wait_for_drops("no_healthy_backend", before + 1)?;
    probe(world, &format!("no_healthy_backends_behavior = \"AllProbedUp\", {keys}"), "")?;
    ensure!(served(world)?.iter().all(|count| *count > 0), "AllProbedUp: not all serve");
    Ok(())
}

/// What probes come from, as it is or as the file says, and the header that they begin with.
fn sources(world: &mut World) -> Outcome {
    let keys = format!("protocol = \"Tcp\", port = {LISTENER}, send_proxy_protocol = true");
    let own = |sources: &str| format!("probe_source_ip_address = {sources}\n");
    let [own_6, own_4] = ["fd01::200", "10.1.0.200"];
    let both = own(&format!("[\"{own_4}\", \"{own_6}\"]"));
    for (more, wanted) in [
        (String::new(), [NAT_IP.to_string(), "10.1.0.6".to_owned()]),
        (both, [own_6.to_owned(), own_4.to_owned()]),
        (own(&format!("{:?}", AZURE.to_string())), [AZURE.to_string(), "10.1.0.6".to_owned()]),
    ] {
        let [six, four] = wanted.map(|address| address.parse::<IpAddr>());
        let wanted = [six.clone()?, six?, four?];
        let (stop, seen) = (AtomicBool::new(false), [const { Mutex::new(Vec::new()) }; 3]);
        let hosts = backends().into_iter().zip(&world.backends);
        let listeners = hosts.map(|(backend, host)| listener(&host.station, backend));
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        thread::scope(|scope| {
            let hosts = listeners.iter().zip(&seen);
            let running: Vec<_> = hosts
                .map(|(listener, seen)| scope.spawn(|| listen(listener, seen, &stop)))
                .collect();
            let outcome = probe(world, &keys, &more).and_then(|()| wait_for_callers(&seen, wanted));
            stop.store(true, Ordering::Relaxed);
            let heard = running.into_iter().map(|host| host.join().map_err(|_| "panicked")?);
            heard.collect::<Outcome>().and(outcome)
        })?;
    }
    Ok(())
}

/// Waits until each host was called from where it should be.
fn wait_for_callers(seen: &[Mutex<Vec<IpAddr>>; 3], wanted: [IpAddr; 3]) -> Outcome {
    let callers = || seen.each_ref().map(|seen| seen.lock().map(|seen| seen.clone()));
    wait_until("probes come from where they should", || {
        let mut hosts = callers().into_iter().zip(wanted);
        Ok(hosts.all(|(seen, wanted)| seen.is_ok_and(|seen| seen.contains(&wanted))))
    })
    .map_err(|failure| format!("{failure}: {wanted:?}, but {:?}", callers()).into())
}

fn listener(station: &Station, address: IpAddr) -> Result<TcpListener, Failure> {
    let listener = station.namespace().run(|| TcpListener::bind((address, LISTENER)))??;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Notes who calls; each with a header of nobody's connection.
fn listen(listener: &TcpListener, seen: &Mutex<Vec<IpAddr>>, stop: &AtomicBool) -> Outcome {
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, peer)) = listener.accept() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut header = [0; 16];
        stream.read_exact(&mut header)?;
        ensure!(header == *LOCAL, "a probe began with {header:?}");
        ensure!(peer.port() < 1024, "a probe came from port {}", peer.port());
        seen.lock().map_err(|_| "poisoned")?.push(peer.ip());
    }
    Ok(())
}

/// OpenSSL's server at two of three.
fn https(world: &mut World) -> Outcome {
    certificate(world)?;
    let at = |backend: usize| SocketAddr::new(backends()[backend], TLS);
    let mut servers = Vec::new();
    for backend in [0, 2] {
        servers.push(tls_server(world, backend, &at(backend).to_string())?);
    }
    probe(world, &format!("protocol = \"Https\", port = {TLS}, request_path = \"/\""), "")?;
    wait_for_states(world, ["up", "down", "up"])?;
    drop(servers);
    wait_for_states(world, ["down"; 3])
}

/// What the probe says of each backend.
fn reports(adit: &Adit) -> Result<[Value; 3], Failure> {
    let answer = adit.ask(&["services"])?;
    let mut services = list(&answer, "services")?.iter();
    let service = services.find(|service| service["name"] == "six").ok_or("no service")?;
    let rule = list(service, "rules")?.first().ok_or("no rule")?;
    let backends = list(rule, "backends")?.iter().map(|backend| backend["probe"].clone());
    backends.collect::<Vec<_>>().try_into().map_err(|_| "three backends".into())
}

fn wait_for_states(world: &World, wanted: [&str; 3]) -> Outcome {
    let healthy = wanted.iter().filter(|state| **state == "up").count();
    let mut seen = None;
    wait_until(&format!("the backends are {wanted:?}"), || {
        let reports = reports(&world.adit)?;
        let are = reports.iter().map(|report| report["state"].as_str()).eq(wanted.map(Some));
        seen = Some(reports);
        // What is said is in force a moment later.
        Ok(are && world.adit.status("backends_healthy")? == healthy as u64)
    })
    .map_err(|failure| format!("{failure}: {seen:?}\n{}", world.adit.log()).into())
}

/// How many of some calls each backend answered.
fn served(world: &World) -> Result<[usize; 3], Failure> {
    let to = SocketAddr::new(ENDPOINT.into(), port::NGINX.0);
    let mut served = [0; 3];
    for _ in 0..CALLS {
        let body = curl_at(world.a(), to, "hello")?;
        let words = String::from_utf8_lossy(&body).into_owned();
        let name = words.split(' ').next().unwrap_or_default();
        let at = world.backends.iter().position(|backend| backend.station.name() == name);
        served[at.ok_or_else(|| format!("nginx answered {words:?}"))?] += 1;
    }
    Ok(served)
}
