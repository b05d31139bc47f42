//! Steps: many connections at once, where they went, and the ports that they lease.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddrV4};
use std::panic::resume_unwind;
use std::thread;
use std::time::Instant;

use lab::Answer;
use lab::client::{Dial, http_get};

use super::super::report::{Count, Table, bar};
use super::super::topology::{BACKENDS, Consumer, ENDPOINT, HTTP, NAT_IPS};
use super::super::trouble::Trouble;
use super::{PATIENCE, Tour, list};
use crate::api::{NatPorts, SESSIONS_LIMIT_MAX, SessionFilter};
use crate::stop::Stop;

/// Connections of each consumer.
const CONNECTIONS: usize = 150;
/// Connections of both.
const TOTAL: usize = 2 * CONNECTIONS;

/// A share within which a fair choice falls but for about one run in a billion: six standard
/// deviations around its mean, for all connections together.
const BACKEND_SHARE: std::ops::RangeInclusive<u64> = 51..=149;
const NAT_IP_SHARE: std::ops::RangeInclusive<u64> = 98..=202;

const BAR_CHARACTERS: u64 = 30;

pub(super) fn show(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    let began = Instant::now();
    let answers = call_all(tour)?;
    let milliseconds = began.elapsed().as_secs_f64() * 1e3;
    tour.report.say(&format!(
        "{TOTAL} connections, {CONNECTIONS} from each consumer, in {milliseconds:.0} ms."
    ));
    let backends = tour.topology.backends.iter().map(|backend| backend.name.clone());
    let backends = tally(backends, answers.iter().map(|answer| answer.backend.clone()));
    let nat_ips = NAT_IPS.iter().map(ToString::to_string);
    let nat_ips = tally(nat_ips, answers.iter().map(|answer| answer.peer.ip().to_string()));
    tour.report.table(&chart(&[&backends, &nat_ips]));
    tour.report.equal("Every connection was answered", TOTAL, answers.len());
    let claim = "Every backend took its share";
    shares(tour, claim, &backends, BACKENDS.len(), &BACKEND_SHARE);
    let claim = "Both NAT IPs were used, evenly";
    shares(tour, claim, &nat_ips, NAT_IPS.len(), &NAT_IP_SHARE);
    let leases: HashSet<_> =
        answers.iter().map(|answer| (answer.peer, answer.backend.clone())).collect();
    let claim = "No two of them held the same NAT IP and port towards one backend";
    tour.report.equal(claim, format!("{TOTAL} leases"), format!("{} leases", leases.len()));
    let backends = tour.topology.backends.iter();
    let accepted: Vec<_> = backends.flat_map(|backend| backend.http.peers()).collect();
    let translated = accepted.iter().filter(|peer| NAT_IPS.contains(peer.ip())).count();
    let claim = "Whoever has connected to a backend since it started was a NAT IP";
    tour.report.equal(claim, accepted.len(), translated);
    Ok(())
}

/// Both consumers call at the same time.
fn call_all(tour: &Tour<'_>) -> Result<Vec<Answer>, Trouble> {
    let [a, b] = &tour.topology.consumers;
    let (a, b) = thread::scope(|scope| {
        let b = scope.spawn(|| call(b, tour.stop));
        (call(a, tour.stop), b.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    Ok([a?, b?].concat())
}

fn call(consumer: &Consumer, stop: &Stop) -> Result<Vec<Answer>, Trouble> {
    let dial = Dial::to(SocketAddrV4::new(ENDPOINT, HTTP.0)).within(PATIENCE);
    let one = || {
        if stop.is_requested() {
            return Err(Trouble::Stopped);
        }
        Ok(http_get(&dial, "/")?.answer()?)
    };
    consumer.host.run(|| (0..CONNECTIONS).map(|_| one()).collect())?
}

/// How often each name came, those included that never did.
fn tally(
    names: impl Iterator<Item = String>,
    came: impl Iterator<Item = String>,
) -> BTreeMap<String, u64> {
    let mut tally: BTreeMap<String, u64> = names.map(|name| (name, 0)).collect();
    came.for_each(|name| *tally.entry(name).or_default() += 1);
    tally
}

fn chart(tallies: &[&BTreeMap<String, u64>]) -> Table {
    let mut table = Table::new(["", "connections", ""]).right(&[1]);
    for tally in tallies {
        for (name, &count) in *tally {
            let full = tally.values().sum();
            table.row([name.clone(), Count(count).to_string(), bar(count, full, BAR_CHARACTERS)]);
        }
    }
    table
}

fn shares(
    tour: &mut Tour<'_>,
    claim: &str,
    tally: &BTreeMap<String, u64>,
    expected: usize,
    share: &std::ops::RangeInclusive<u64>,
) {
    let fair = tally.len() == expected && tally.values().all(|count| share.contains(count));
    let words = format!("{expected} of {} to {} each", share.start(), share.end());
    let seen = list(tally.iter().map(|(name, count)| format!("{name}: {count}")));
    tour.report.claim(claim, fair, words, seen);
}

/// Leases or flows by protocol, NAT IP and backend.
type Cells = BTreeMap<(&'static str, IpAddr, IpAddr), u64>;

pub(super) fn ports(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    // Flows come and go while two questions are asked: ask until the answers are of one moment.
    let look = |tour: &Tour<'_>| Ok((nat_ports(tour)?, flows(tour)?));
    let (pools, flows) = tour.settle(look, |(pools, flows)| leases(pools) == *flows)?;
    let held = leases(&pools);
    tour.report.say(
        "A port belongs to a NAT IP and a backend, so each pair has all of them: capacity grows \
         with either. Closed connections keep theirs for a while.",
    );
    tour.report.table(&use_of_ports(&pools, &held));
    let total: u64 = held.values().sum();
    let claim = format!("{total} leases and {total} sessions, pair by pair");
    tour.report.equal(&claim, describe(&flows), describe(&held));
    let claim = "All connections of the step before are among them";
    let enough = usize::try_from(total).is_ok_and(|total| total >= TOTAL);
    tour.report.claim(claim, enough, format!("at least {TOTAL}"), total);
    Ok(())
}

fn use_of_ports(pools: &[NatPorts], held: &Cells) -> Table {
    let headings = ["leased", "backend-1", "backend-2", "backend-3", "of"];
    let mut table = Table::new(headings).right(&[1, 2, 3, 4]);
    for nat_ip in NAT_IPS {
        let leased = |backend| {
            held.get(&("tcp", IpAddr::V4(nat_ip), IpAddr::V4(backend))).copied().unwrap_or(0)
        };
        let [one, two, three] = BACKENDS.map(|backend| Count(leased(backend)).to_string());
        let ports = pools.iter().find(|pool| pool.nat_ip == nat_ip).map_or(0, |pool| pool.ports);
        table.row([nat_ip.to_string(), one, two, three, Count(ports.into()).to_string()]);
    }
    table
}

fn describe(cells: &Cells) -> String {
    list(cells.iter().map(|((protocol, nat_ip, backend), count)| {
        format!("{protocol} {nat_ip} to {backend}: {count}")
    }))
}

fn nat_ports(tour: &Tour<'_>) -> Result<Vec<NatPorts>, Trouble> {
    let services = tour.daemon.services()?;
    Ok(services.into_iter().flat_map(|service| service.nat_ports).collect())
}

fn leases(pools: &[NatPorts]) -> Cells {
    let used = pools.iter().filter(|pool| pool.leased > 0);
    used.map(|pool| ((pool.protocol.name(), pool.nat_ip, pool.backend), pool.leased.into()))
        .collect()
}

fn flows(tour: &Tour<'_>) -> Result<Cells, Trouble> {
    let filter = SessionFilter { limit: SESSIONS_LIMIT_MAX, ..SessionFilter::default() };
    let mut cells = Cells::new();
    for session in tour.daemon.sessions(filter)? {
        *cells.entry((session.protocol.name(), session.nat_ip, session.backend)).or_default() += 1;
    }
    Ok(cells)
}
