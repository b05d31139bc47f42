//! Virtual networks that are peered, each with devices of its own: `spoke` with tenant a, and `far`
//! with `spoke` alone. Tenant b has tenant a's addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lab::client::{Session, SessionState, http_get, udp_exchange};

use super::web::curl_at;
use super::{FAST_2, PACKET_2, TAP_2, XDP};
use crate::case::{Case, Failure, Outcome};
use crate::world::{ENDPOINT, Kind, Station, World, dial, port};

pub(super) const CASES: &[Case] = &[
    Case::new("peering::packet_2_workers", PACKET_2, peering).with(&["curl"]),
    Case::new("peering::fast_path_2_workers", FAST_2, peering).with(&["curl"]),
    Case::new("peering::xdp_1_worker", XDP, peering).with(&["curl"]),
    Case::new("peering::tap_2_workers", TAP_2, peering).with(&["curl"]),
];

/// How long an answer is waited for that shall not come.
const BRIEFLY: Duration = Duration::from_millis(300);
const REQUESTS: usize = 20;

const SPOKE: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 10);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 10);

/// Both networks, and whom each names as its peers.
fn networks([spoke, far]: [&str; 2]) -> String {
    let network = |name: &str, second: u8, peers: &str| {
        format!(
            "[[virtual_network]]\nname = {name:?}\naddress_space = [\"10.{second}.0.0/16\"]\n\
             peered_with = [{peers}]\n"
        )
    };
    network("spoke", 8, spoke) + &network("far", 7, far)
}

const ALL: [&str; 2] = ["\"a\", \"far\"", "\"spoke\""];

fn peering(world: &mut World) -> Outcome {
    let [spoke, far] = attach(world)?;
    // The peer of a peer does not even learn whom to ask.
    refused(world, &far, "arp_not_for_us")?;
    reached(world, &spoke)?;
    explained(world)?;
    one_sided(world, &spoke)?;
    cut(world, &spoke)?;
    overlapping(world)?;
    world.both(|_| Ok(http_get(&dial(port::HTTP), "/").map(drop)?))?;
    world.wait_for_balance()
}

/// A host of either network, with tenant a's prefix on its own segment.
fn attach(world: &mut World) -> Result<[Station; 2], Failure> {
    let create = |name, address| Station::create(name, name, address, &world.middle, None);
    let mut both = [create("spoke", SPOKE)?, create("far", FAR)?];
    let is_tap = world.config.kind == Kind::Tap;
    for station in both.iter_mut().filter(|_| !is_tap) {
        station.lay_cable(1500, 1500)?;
    }
    world.config.devices.extend(both.iter().map(|station| station.device_of(world.config.kind)));
    world.config.more = networks(ALL);
    world.config.more_of_network_a = "peered_with = [\"spoke\"]\n".into();
    world.reload()?;
    for station in &mut both {
        if is_tap {
            station.find_tap()?;
        }
        station.near()?.add_route(Ipv4Addr::new(10, 0, 0, 0), 16, None)?;
    }
    world.wait_until_ready()?;
    Ok(both)
}

fn refused(world: &World, station: &Station, reason: &str) -> Outcome {
    let before = world.adit.drops(reason)?;
    let brief = dial(port::ECHO).within(BRIEFLY);
    let met = station.namespace().run(|| udp_exchange(&brief, "datagram").is_ok())?;
    ensure!(!met, "a client of {} was served", station.name());
    world.adit.wait_for_drops(reason, before + 1).map(drop)
}

/// By ARP like any other; what backends see is the service's NAT IPs.
fn reached(world: &World, station: &Station) -> Outcome {
    let page = curl_at(station, SocketAddr::new(ENDPOINT.into(), port::HTTP.0), "")?;
    ensure!(!page.is_empty(), "curl got an empty page");
    station.namespace().run(|| -> Outcome {
        for _ in 0..REQUESTS {
            http_get(&dial(port::HTTP), "/")?.answer()?;
            udp_exchange(&dial(port::ECHO), "datagram")?;
        }
        Ok(())
    })??;
    // The endpoint's own clients have the same tuples in their own network.
    world.both(|_| Ok(udp_exchange(&dial(port::ECHO), "datagram").map(drop)?)).map(drop)
}

fn explained(world: &World) -> Outcome {
    let (from, to) = (format!("{SPOKE}:40000"), format!("{ENDPOINT}:{}", port::HTTP.0));
    let output = world.adit.command(&["explain", "tcp", "spoke", &from, &to])?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(said.contains("pe-a of a, which spoke is peered with"), "adit explain says: {said}");
    let from = format!("{FAR}:40000");
    let said = world.adit.ask(&["explain", "tcp", "far", &from, &to])?;
    let metric = &said["explanation"]["refusal"]["metric"];
    ensure!(metric == "no_endpoint", "the peer of a peer: {said}");
    Ok(())
}

/// Tenant a takes its side away: the connection that came by the peering ends at once, tenant a's
/// own goes on.
fn one_sided(world: &mut World, station: &Station) -> Outcome {
    let open = |station: &Station| station.namespace().run(|| Session::open(&dial(port::ECHO)));
    let (mut by_peering, mut own) = (open(station)??, open(world.a())??);
    by_peering.exchange("before")?;
    own.exchange("before")?;
    let sessions = world.adit.sessions()?;
    let networks = sessions.iter().filter_map(|session| session["virtual_network"].as_str());
    let networks: Vec<&str> = networks.collect();
    ensure!(networks.contains(&"spoke") && networks.contains(&"a"), "sessions are {networks:?}");
    world.config.more_of_network_a = String::new();
    world.reload()?;
    let end = by_peering.wait_for_end(Duration::from_secs(10))?;
    ensure!(end == SessionState::Reset, "the peer's client sees {end:?}");
    own.exchange("after")?;
    refused(world, station, "peering_not_connected")?;
    world.config.more_of_network_a = "peered_with = [\"spoke\"]\n".into();
    world.reload()?;
    reached(world, station)
}

/// With neither side there is nothing to be reached.
fn cut(world: &mut World, station: &Station) -> Outcome {
    world.config.more_of_network_a = String::new();
    world.config.more = networks(["\"far\"", "\"spoke\""]);
    world.reload()?;
    refused(world, station, "no_endpoint")
}

fn overlapping(world: &mut World) -> Outcome {
    world.config.more = networks(["\"a\", \"b\"", ""]);
    let refused = world.reload().err().ok_or("overlapping peers were accepted")?.to_string();
    let words = "10.0.0.0/16 of \"b\" overlaps 10.0.0.0/16 of \"a\"";
    ensure!(refused.contains(words), "{refused}");
    Ok(())
}
