//! A frontend that floats: backends have its address on a loopback interface and serve it there,
//! with curl and nginx, datagrams, and probes that go to the backends' own addresses.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use lab::Link;
use lab::backend::{TcpEcho, UdpEcho};
use lab::client::{Session, udp_exchange};

use super::web::{Site, curl_at, download_at, start_nginx_at, write_pattern};
use super::{FAST, PACKET_2, TAP};
use crate::case::{Case, Outcome, wait_until};
use crate::world::{BACKENDS, ENDPOINT, NAT_IPS, World, dial, list, port, rule, text};

const BYTES: u64 = 20_000_000;

const FRONTEND: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);

/// Ports, which are the same before and behind: nginx's, the echo server's for lines, and that for
/// datagrams.
const WEB: u16 = 8002;
const LINES: u16 = 7003;
const DATAGRAMS: u16 = 9003;

pub(super) const CASES: &[Case] = &[
    Case::new("floating::packet_2_workers", PACKET_2, floating).with(&["curl", "nginx"]),
    Case::new("floating::fast_path_1_worker", FAST, floating).with(&["curl", "nginx"]),
    Case::new("floating::tap_1_worker", TAP, floating).with(&["curl", "nginx"]),
    Case::new("floating::refused_configuration", PACKET_2, refused),
];

fn floating(world: &mut World) -> Outcome {
    let directory = world.adit.directory().to_owned();
    write_pattern(&directory.join("large"), BYTES)?;
    let at = |port| SocketAddrV4::new(FRONTEND, port);
    let (mut lines, mut datagrams, mut webs) = (Vec::new(), Vec::new(), Vec::new());
    for backend in &world.backends {
        let (host, name) = (backend.station.namespace(), backend.station.name());
        // As any server behind direct routing: it has the address, and says so to nobody.
        host.set_sysctl("ipv4/conf/all/arp_ignore", "1")?;
        host.set_sysctl("ipv4/conf/all/arp_announce", "2")?;
        Link::find(host, "lo")?.add_address(FRONTEND, 32)?;
        webs.push(start_nginx_at(&directory, backend, at(WEB).into(), Site::Plain)?);
        lines.push(TcpEcho::start(host, at(LINES), name)?);
        datagrams.push(UdpEcho::start(host, at(DATAGRAMS), name)?);
    }
    put_in_force(world)?;
    browse(world)?;
    for port in [LINES, DATAGRAMS] {
        let endpoint = dial((port, port));
        let of_lines = port == LINES;
        world.both(|_| {
            for _ in 0..8 {
                match of_lines {
                    true => drop(Session::open(&endpoint)?.exchange("to a frontend")?),
                    false => drop(udp_exchange(&endpoint, "to a frontend")?),
                }
            }
            Ok(())
        })?;
    }
    let heard: u64 = datagrams.iter().map(UdpEcho::datagrams).sum();
    ensure!(heard >= 16, "{heard} datagrams came to the frontend's address");
    told(world)?;
    a_backend_leaves(world)?;
    world.wait_for_balance()
}

/// Rules whose frontend floats, with a probe that asks backends under their own addresses.
fn put_in_force(world: &mut World) -> Outcome {
    let float =
        |text: String| text.replace(" },", ", enable_floating_ip = true, probe = \"health\" },");
    for (name, protocol, port) in
        [("web", "Tcp", WEB), ("lines", "Tcp", LINES), ("datagrams", "Udp", DATAGRAMS)]
    {
        world.config.more_rules += &float(rule(name, protocol, (port, port), "all"));
    }
    world.config.more_of_balancer = format!(
        "frontend_ip_address = \"{FRONTEND}\"\nprobe = [{{ name = \"health\", protocol = \"Tcp\", \
         port = {}, interval = \"400ms\" }}]\n",
        port::HTTP.1
    );
    world.reload()?;
    wait_until("probes have asked the backends", || {
        let said = world.adit.ask(&["services"])?;
        let service = &list(&said, "services")?[0];
        let rules = list(service, "rules")?.iter();
        let mut floating = rules.filter(|rule| rule["floating_ip"] == FRONTEND.to_string());
        let takes = |backend: &serde_json::Value| backend["takes_flows"] == true;
        Ok(floating.clone().count() == 3
            && floating.all(|rule| list(rule, "backends").is_ok_and(|all| all.iter().all(takes))))
    })
}

/// Pages from every backend, and a large file, for both tenants.
fn browse(world: &World) -> Outcome {
    let endpoint = SocketAddr::new(ENDPOINT.into(), WEB);
    let pages = world.both(|station| {
        (0..24).map(|_| curl_at(station, endpoint, "hello")).collect::<Result<Vec<_>, _>>()
    })?;
    let mut served = BTreeSet::new();
    for page in pages.iter().flatten() {
        let words = String::from_utf8_lossy(page).into_owned();
        let mut words = words.split_whitespace();
        let (name, peer) = (words.next().unwrap_or_default(), words.last().unwrap_or_default());
        ensure!(NAT_IPS.iter().any(|nat_ip| nat_ip.to_string() == peer), "nginx saw {peer:?}");
        served.insert(name.to_owned());
    }
    ensure!(served.len() == BACKENDS.len(), "only {served:?} answered");
    world.both(|station| download_at(station, endpoint, BYTES)).map(drop)
}

/// Sessions and owners say who serves, and what its packets are addressed to.
fn told(world: &World) -> Outcome {
    let mut open = world.a().namespace().run(|| Session::open(&dial((LINES, LINES))))??;
    let answer = open.exchange("who are you?")?;
    let said = world.adit.ask(&["sessions", "--backend", &format!("{FRONTEND}:{LINES}")])?;
    let mut sessions = list(&said, "sessions")?.iter();
    let session = sessions.find(|session| session["state"] == "established");
    let session = session.ok_or_else(|| format!("no session is established: {said}"))?;
    ensure!(session["floating_ip"] == FRONTEND.to_string(), "the session is {session}");
    let serving = world.backends.iter().find(|backend| backend.station.name() == answer.backend);
    let serving = serving.ok_or("a backend answers")?.station.address();
    ensure!(text(session, "backend")? == serving.to_string(), "{answer:?} is {session}");
    let nat = format!("{}:{}", text(session, "nat_ip")?, session["nat_port"]);
    for backend in [format!("{FRONTEND}:{LINES}"), serving.to_string()] {
        let said = world.adit.ask(&["whois", &nat, &backend])?;
        let owner = &list(&said, "owners")?[0];
        ensure!(owner["backend"] == serving.to_string(), "{nat} towards {backend} is {said}");
    }
    Ok(())
}

/// A backend that leaves the pool takes its flows with it, and only those.
fn a_backend_leaves(world: &mut World) -> Outcome {
    let endpoint = dial((LINES, LINES));
    let mut open: Vec<(String, Session)> = world.a().namespace().run(|| {
        let one = |_| {
            let mut session = Session::open(&endpoint)?;
            Ok((session.exchange("hello")?.backend, session))
        };
        (0..12).map(one).collect::<Result<_, crate::case::Failure>>()
    })??;
    let names: BTreeSet<&str> = open.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(names.len() > 1, "only {names:?} answered");
    let leaves = open[0].0.clone();
    let stays = BACKENDS.iter().zip(&world.backends);
    let stays = stays.filter(|(_, backend)| backend.station.name() != leaves);
    let stays: Vec<String> = stays.map(|(address, _)| format!("\"{address}\"")).collect();
    world.config.more_pools =
        format!("{{ name = \"left\", backend_addresses = [{}] }},\n", stays.join(", "));
    world.config.more_rules = world.config.more_rules.replace("\"all\"", "\"left\"");
    world.reload()?;
    for (name, session) in &mut open {
        let said = session.exchange("still here?");
        ensure!(said.is_ok() == (*name != leaves), "{leaves} left, and {name} said {said:?}");
    }
    Ok(())
}

/// What cannot float is refused, with a cure.
fn refused(world: &mut World) -> Outcome {
    let float = |(front, back)| {
        let rule = rule("web", "Tcp", (front, back), "all");
        rule.replace(" },", ", enable_floating_ip = true },")
    };
    for (rules, more, expected) in [
        (float((WEB, WEB)), "", "write frontend_ip_address in the load balancer"),
        (float((WEB, 80)), "frontend_ip_address = \"10.1.0.100\"\n", "write backend_port = 8002"),
        (float((WEB, WEB)), "frontend_ip_address = \"10.1.0.10\"\n", "10.1.0.10 is already"),
    ] {
        world.config.more_rules = rules;
        world.config.more_of_balancer = more.to_owned();
        world.adit.configure(&world.config.text())?;
        let output = world.adit.command(&["reload"])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{:?}: {said}", output.status);
        ensure!(said.contains(expected), "{expected:?} is missing: {said}");
    }
    world.config.more_rules.clear();
    world.config.more_of_balancer.clear();
    world.reload().map(drop)
}
