//! What connections carried, by endpoint, backend and protocol: as clients and backends counted it,
//! whoever carried it.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::Mutex;

use lab::client::{Session, http_get, udp_exchange};
use serde_json::Value;

use super::{FAST, FAST_2, PACKET, PACKET_2, TAP, TAP_2, XDP_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{BACKENDS, CLIENT, ENDPOINT, Station, World, dial, list, number, port, text};

pub(super) const CASES: &[Case] = &[
    Case::new("traffic::packet_1_worker", PACKET, traffic),
    Case::new("traffic::packet_2_workers", PACKET_2, traffic),
    Case::new("traffic::xdp_2_workers", XDP_2, traffic),
    Case::new("traffic::tap_1_worker", TAP, traffic),
    Case::new("traffic::tap_2_workers", TAP_2, traffic),
    Case::new("traffic::fast_path_1_worker", FAST, traffic),
    Case::new("traffic::fast_path_2_workers", FAST_2, traffic),
];

/// Conversations of each consumer, from as many ports, and exchanges of each.
const TALKS: u16 = 12;
const EXCHANGES: usize = 25;
/// Nobody else takes ports from here on.
const FIRST_PORT: u16 = 20_000;
/// Bytes of IPv4 and UDP headers.
const HEADERS: usize = 28;

/// Packets and bytes from clients, and packets and bytes to them.
type Count = [u64; 4];

/// By consumer and backend.
type Counts = BTreeMap<(String, String), Count>;

fn traffic(world: &mut World) -> Outcome {
    let before = datagrams_of_endpoints(world)?;
    let counted = Mutex::new(Counts::new());
    world.both(|station| talk(station, &counted))?;
    let expected = counted.into_inner().map_err(|_| "a thread has panicked")?;
    ensure!(expected.len() > 2, "several backends have answered: {expected:?}");
    let mut seen = Counts::new();
    wait_until("every datagram is in its account", || {
        seen = datagrams_of_endpoints(world)?;
        for (key, count) in &mut seen {
            let before = before.get(key).copied().unwrap_or_default();
            count.iter_mut().zip(before).for_each(|(now, before)| *now -= before);
        }
        seen.retain(|_, count| *count != Count::default());
        Ok(seen == expected)
    })
    .map_err(|failure| format!("{failure}: {expected:?} was sent, {seen:?} counted"))?;
    world.both(|_| connections())?;
    sums(world)?;
    // Totals survive another configuration, and go on.
    let carried = services(world)?;
    world.reload()?;
    ensure!(services(world)? >= carried, "a reload takes nothing away");
    world.both(|_| connections())?;
    sums(world)
}

/// Exchanges datagrams and counts them, by the backend that answered.
fn talk(station: &Station, counted: &Mutex<Counts>) -> Outcome {
    for port in (FIRST_PORT..).take(usize::from(TALKS)) {
        for at in 0..EXCHANGES {
            let source = SocketAddrV4::new(CLIENT, port);
            let payload = format!("{}{}", station.name(), "x".repeat(at * 50));
            let answer = udp_exchange(&dial(port::ECHO).from(source), &payload)?;
            let back = answer.to_string().len();
            let mut counted = counted.lock().map_err(|_| "a thread has panicked")?;
            let key = (station.name().to_owned(), answer.backend);
            let count = counted.entry(key).or_default();
            let more = [1, HEADERS + payload.len(), 1, HEADERS + back];
            count.iter_mut().zip(more).for_each(|(sum, more)| *sum += more as u64);
        }
    }
    Ok(())
}

fn connections() -> Outcome {
    for _ in 0..20 {
        http_get(&dial(port::HTTP), "/")?;
    }
    let mut session = Session::open(&dial(port::ECHO))?;
    for at in 0..200 {
        session.exchange(&format!("message {at}"))?;
    }
    Ok(())
}

fn count(account: &Value) -> Result<Count, Failure> {
    Ok([
        number(account, "packets_in")?,
        number(account, "bytes_in")?,
        number(account, "packets_out")?,
        number(account, "bytes_out")?,
    ])
}

/// What the endpoints carried of UDP, by consumer and backend.
fn datagrams_of_endpoints(world: &World) -> Result<Counts, Failure> {
    let mut counts = Counts::new();
    for endpoint in list(&world.adit.ask(&["endpoints"])?, "endpoints")? {
        let accounts = list(endpoint, "accounts")?.iter();
        for account in accounts.filter(|account| account["protocol"] == "udp") {
            let is_dialled = endpoint["private_ip_addresses"][0] == ENDPOINT.to_string();
            ensure!(is_dialled, "another endpoint carried something: {endpoint}");
            let backend = text(account, "backend")?;
            let at = BACKENDS.iter().position(|address| address.to_string() == backend);
            let name = format!("backend-{}", at.ok_or("a backend of the case")? + 1);
            let key = (text(endpoint, "virtual_network")?.to_owned(), name);
            counts.insert(key, count(account)?);
        }
    }
    Ok(counts)
}

/// What the services carried.
fn services(world: &World) -> Result<Count, Failure> {
    let mut sum = Count::default();
    for service in list(&world.adit.ask(&["services"])?, "services")? {
        let more = count(&service["traffic"])?;
        sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    Ok(sum)
}

/// All accounts together are what adit has forwarded, to the last packet and byte.
fn sums(world: &World) -> Outcome {
    let mut seen = String::new();
    wait_until("accounts and counters agree", || {
        let endpoints = world.adit.ask(&["endpoints"])?;
        let (mut by_endpoint, mut by_account) = (Count::default(), Count::default());
        for endpoint in list(&endpoints, "endpoints")? {
            let more = count(&endpoint["traffic"])?;
            by_endpoint.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            for account in list(endpoint, "accounts")? {
                let more = count(account)?;
                by_account.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            }
        }
        let by_service = services(world)?;
        let status = world.adit.ask(&["status"])?;
        let [packets_in, bytes_in, packets_out, bytes_out] = by_account;
        let (packets, bytes) = (packets_in + packets_out, bytes_in + bytes_out);
        let forwarded = number(&status, "forwarded")?;
        let frames = number(&status, "forwarded_bytes")?;
        seen = format!(
            "accounts {by_account:?}, endpoints {by_endpoint:?}, services {by_service:?}, \
             forwarded {forwarded} packets, {frames} bytes of frames"
        );
        let is_fast = status["fast_path"]["state"] == "on";
        let shortcut = number(&status, "shortcut")?;
        ensure!(!is_fast || shortcut > EXCHANGES as u64, "the kernel carried {shortcut}");
        Ok(by_account == by_endpoint
            && by_account == by_service
            && packets == forwarded
            && bytes + 14 * packets == frames)
    })
    .map_err(|failure| format!("{failure}: {seen}").into())
}
