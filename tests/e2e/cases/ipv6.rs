//! IPv6 on either side, or on both: curl and nginx, datagrams, the kernels' own Neighbor Discovery,
//! and what adit tells of such flows.

mod probes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::web::{Site, curl_at, download_at, start_nginx_at, write_pattern};
use super::{FAST_2, PACKET_2, TAP_2, XDP};
use crate::case::{Case, Outcome, wait_until};
use crate::world::{BACKENDS, Station, World, endpoint, list, port, rule, service, text};

const BYTES: u64 = 20_000_000;

/// Where datagrams are answered as they come: dialled, and behind.
const UDP: (u16, u16) = (9, 7009);

const CLIENT: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10);
const BACKEND: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0x10);
const NAT_IP: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 4);

/// The address of IPv4 of the endpoint that has one of each family.
const DUAL: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 47);

const OTHER_NAT_IP: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 5);

pub(super) const CASES: &[Case] = &[
    Case::new("ipv6::packet_2_workers", PACKET_2, ipv6).with(&["curl", "nginx"]),
    Case::new("ipv6::tap_2_workers", TAP_2, ipv6).with(&["curl", "nginx"]),
    Case::new("ipv6::xdp", XDP, ipv6).with(&["curl", "nginx"]),
    Case::new("ipv6::fast_path_2_workers", FAST_2, ipv6).with(&["curl", "nginx"]),
    Case::new("ipv6::refused_configuration", PACKET_2, refused),
    Case::new("ipv6::probes_packet_2_workers", PACKET_2, probes::probes).with(PROBED),
    Case::new("ipv6::probes_tap_2_workers", TAP_2, probes::probes).with(PROBED),
    Case::new("ipv6::probes_xdp", XDP, probes::probes).with(PROBED),
];

const PROBED: &[&str] = &["curl", "nginx", "openssl"];

/// A way through adit: the endpoint, and what the backend sees.
struct Way {
    endpoint: IpAddr,
    sees: Vec<IpAddr>,
}

fn ways() -> [Way; 5] {
    let narrow: IpAddr = [10, 1, 0, 6].into();
    let six = |last| IpAddr::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
    [
        Way { endpoint: six(5), sees: vec![NAT_IP.into()] },
        Way { endpoint: six(0x64), sees: vec![narrow] },
        Way { endpoint: [10, 0, 0, 46].into(), sees: vec![NAT_IP.into()] },
        // Two backends, of two families.
        Way { endpoint: six(0x66), sees: vec![[10, 1, 0, 7].into(), OTHER_NAT_IP.into()] },
        // The same endpoint, by its other address.
        Way { endpoint: DUAL.into(), sees: vec![[10, 1, 0, 7].into(), OTHER_NAT_IP.into()] },
    ]
}

fn ipv6(world: &mut World) -> Outcome {
    prepare(world)?;
    let directory = world.adit.directory().to_owned();
    write_pattern(&directory.join("large"), BYTES)?;
    let [first, second, ..] = &world.backends[..] else { return Err("two backends".into()) };
    let wide = SocketAddr::new(BACKEND.into(), port::NGINX.1);
    let narrow = SocketAddr::new(BACKENDS[1].into(), port::NGINX.1);
    let _wide = start_nginx_at(&directory, first, wide, Site::Plain)?;
    let _narrow = start_nginx_at(&directory, second, narrow, Site::Plain)?;
    for offloads in [true, false] {
        world.set_offloads(offloads)?;
        for way in ways() {
            browse(world, &way)?;
        }
    }
    datagrams(world)?;
    told(world)?;
    world.wait_for_balance()
}

/// Gives hosts addresses, and adit the configuration.
fn prepare(world: &mut World) -> Outcome {
    let hosts = [(world.a(), CLIENT), (&world.backends[0].station, BACKEND)];
    for (station, address) in hosts {
        station.namespace().enable_ipv6()?;
        station.near()?.add_address(address, 64)?;
    }
    let balancer = |name: &str, backends: &[String]| {
        let list = backends.iter().map(|it| format!("{it:?}")).collect::<Vec<_>>().join(", ");
        let rules = rule("nginx", "Tcp", port::NGINX, "all") + &rule("u", "Udp", UDP, "all");
        format!(
            "[[load_balancer]]\nname = \"lb-{name}\"\nvirtual_network = \"provider\"\n\
             backend_address_pool = [ {{ name = \"all\", backend_addresses = [{list}] }} ]\n\
             load_balancing_rule = [\n{rules}]\n"
        )
    };
    let (wide, narrow) = (BACKEND.to_string(), BACKENDS[1].to_string());
    let pools =
        [("six", vec![wide.clone()]), ("four", vec![narrow.clone()]), ("both", vec![wide, narrow])];
    let nat_ips = [
        vec![NAT_IP.to_string()],
        vec!["10.1.0.6".to_owned()],
        vec![OTHER_NAT_IP.to_string(), "10.1.0.7".to_owned()],
    ];
    for ((name, backends), nat_ips) in pools.iter().zip(&nat_ips) {
        world.config.more += &balancer(name, backends);
        let service = service(name, nat_ips);
        world.config.more += &service.replace("\"lb\"", &format!("\"lb-{name}\""));
    }
    for (at, (way, to)) in ways().iter().zip(["six", "four", "six", "both"]).enumerate() {
        let (name, address) = (format!("pe-{at}"), way.endpoint.to_string());
        let text = endpoint(&name, "a", &address, to, "Approved");
        // The last one has an address of the other family, too.
        let both = format!("[\"{DUAL}\", {address:?}]");
        world.config.more += &match to {
            "both" => text.replace(&format!("{address:?}"), &both),
            _ => text,
        };
    }
    world.config.speaks_ipv6 = true;
    world.adit.configure(&world.config.text())?;
    world.adit.ask(&["reload"])?;
    world.wait_until_ready()
}

/// A page many times, and a large file once.
fn browse(world: &World, way: &Way) -> Outcome {
    let to = SocketAddr::new(way.endpoint, port::NGINX.0);
    let mut seen = Vec::new();
    for _ in 0..16 {
        let body = curl_at(world.a(), to, "hello")?;
        let words = String::from_utf8_lossy(&body);
        let peer = words.trim().rsplit(' ').next().unwrap_or_default();
        let peer: IpAddr = peer.parse().map_err(|_| format!("nginx answered {words:?}"))?;
        seen.push(peer);
    }
    seen.sort_unstable();
    seen.dedup();
    if way.sees.len() == 1 {
        ensure!(seen == way.sees, "{to}: the backend saw {seen:?}");
    } else {
        let all = way.sees.iter().all(|nat_ip| seen.contains(nat_ip));
        ensure!(all && seen.len() == way.sees.len(), "{to}: the backends saw {seen:?}");
    }
    download_at(world.a(), to, BYTES)
}

/// Datagrams of many sizes, on all ways.
fn datagrams(world: &World) -> Outcome {
    let hosts = [
        (&world.backends[0].station, SocketAddr::new(BACKEND.into(), UDP.1)),
        (&world.backends[1].station, SocketAddr::new(BACKENDS[1].into(), UDP.1)),
    ];
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let running: Vec<_> = hosts
            .iter()
            .map(|(station, address)| scope.spawn(|| echo(station, *address, &stop)))
            .collect();
        let outcome = ways().iter().try_for_each(|way| ask(world.a(), way.endpoint));
        stop.store(true, Ordering::Relaxed);
        for host in running {
            host.join().map_err(|_| "an echo host panicked")??;
        }
        outcome
    })
}

fn echo(station: &Station, address: SocketAddr, stop: &AtomicBool) -> Outcome {
    station.namespace().run(|| {
        let socket = UdpSocket::bind(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut buffer = [0; 2048];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
                socket.send_to(&buffer[..bytes], from)?;
            }
        }
        Ok(())
    })?
}

fn ask(station: &Station, endpoint: IpAddr) -> Outcome {
    station.namespace().run(|| {
        let any: IpAddr = match endpoint {
            IpAddr::V4(_) => [0, 0, 0, 0].into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((endpoint, UDP.0))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        for bytes in [0, 1, 2, 511, 1200] {
            let sent: Vec<u8> = (0..bytes).map(|at: usize| at.to_le_bytes()[0]).collect();
            let mut heard = vec![0; 2048];
            wait_until("a datagram is answered", || {
                socket.send(&sent)?;
                let answer = socket.recv(&mut heard);
                Ok(answer.is_ok_and(|length| heard[..length] == sent))
            })
            .map_err(|failure| format!("{endpoint}, {bytes} bytes: {failure}"))?;
        }
        Ok(())
    })?
}

/// The kernels' neighbors, adit's list of flows, and what it explains.
fn told(world: &World) -> Outcome {
    let sessions = world.adit.sessions()?;
    let of = |client: &str, backend: &str| {
        sessions.iter().any(|flow| flow["client"] == client && flow["backend"] == backend)
    };
    let (six, four) = (CLIENT.to_string(), world.a().address().to_string());
    ensure!(of(&six, &BACKEND.to_string()), "no flow from IPv6 to IPv6: {sessions:?}");
    ensure!(of(&four, &BACKEND.to_string()), "no flow from IPv4 to IPv6: {sessions:?}");
    let endpoints = world.adit.ask(&["endpoints"])?;
    let of_both = |one: &&Value| one["name"] == "pe-3";
    let dual = list(&endpoints, "endpoints")?.iter().find(of_both).ok_or("pe-3")?;
    let addresses = json!([DUAL.to_string(), "fd00::66"]);
    ensure!(dual["private_ip_addresses"] == addresses, "{dual}");
    let links: Vec<&Value> = sessions
        .iter()
        .filter(|flow| flow["endpoint"] == "pe-3")
        .map(|flow| &flow["link_id"])
        .collect();
    // One of each family at least, from the datagrams.
    let is_one = links.len() > 1 && links.iter().all(|link| **link == dual["link_id"]);
    ensure!(is_one, "{links:?}, not of {dual}");
    let ends = ["[fd00::10]:4000", "[fd00::64]:8000"];
    let answer = world.adit.ask(&["explain", "tcp", "a", ends[0], ends[1]])?;
    ensure!(text(&answer["explanation"], "backend")? == BACKENDS[1].to_string(), "{answer}");
    Ok(())
}

/// What mixes families without a NAT IP for them is refused, with a cure.
fn refused(world: &mut World) -> Outcome {
    world.config.speaks_ipv6 = true;
    let good = world.config.text();
    let all = BACKENDS.map(|backend| format!("\"{backend}\"")).join(", ");
    let mixed = good.replace(&format!("[{all}]"), &format!("[{all}, \"{BACKEND}\"]"));
    ensure!(mixed != good, "the pool is found");
    world.adit.configure(&mixed)?;
    let output = world.adit.command(&["reload"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{:?}: {said}", output.status);
    ensure!(said.contains("no IPv6 NAT IP"), "{said}");
    ensure!(said.contains("add a NAT IP with an IPv6 address"), "{said}");
    Ok(())
}
