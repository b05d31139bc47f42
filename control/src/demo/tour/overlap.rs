//! Step: two consumers with byte-identical 5-tuples, on live sessions, at the same time.

use std::net::SocketAddrV4;

use lab::client::{Dial, Session};

use super::super::report::Table;
use super::super::topology::{CLIENT, ENDPOINT, HTTP};
use super::super::trouble::Trouble;
use super::{PATIENCE, Tour, list};
use crate::api::{Protocol, SessionFilter};

/// The port that both clients call from.
const CLIENT_PORT: u16 = 40_000;

/// Requests on each session, by turns.
const ROUNDS: usize = 5;

pub(super) fn show(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    let client = SocketAddrV4::new(CLIENT, CLIENT_PORT);
    let endpoint = SocketAddrV4::new(ENDPOINT, HTTP.0);
    tour.report.say(&format!(
        "Both clients open a connection from {client} to {endpoint} and keep it. To anything \
         without tenants these are one connection."
    ));
    let dial = Dial::to(endpoint).from(client).within(PATIENCE);
    for consumer in &tour.topology.consumers {
        tour.twins.push(consumer.host.run(|| Session::open(&dial))??);
    }
    let networks = list_twins(tour)?;
    let locals = tour.twins.iter().map(Session::local);
    let claim = "Both clients use that address and port, both sessions are open";
    tour.report.equal(claim, list([client; 2]), list(locals));
    let claim = "adit lists two sessions, one in each virtual network";
    tour.report.equal(claim, list(["consumer-a", "consumer-b"]), list(networks));
    let mut seen: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (twin, seen) in tour.twins.iter_mut().zip(&mut seen) {
            let answer = twin.http_get("/")?.answer()?;
            seen.push(format!("{} to {}", answer.peer, answer.backend));
        }
    }
    let [mut a, mut b] = seen;
    a.dedup();
    b.dedup();
    let claim = format!("{ROUNDS} requests on each by turns: each keeps one lease and one backend");
    let steady = a.len() == 1 && b.len() == 1;
    tour.report.claim(&claim, steady, "one for each", format!("{} and {}", list(&a), list(&b)));
    let apart = a.iter().all(|lease| !b.contains(lease));
    let seen = format!("{} and {}", list(&a), list(&b));
    tour.report.claim("No request was served under the other's lease", apart, "two leases", seen);
    Ok(())
}

/// Shows the two rows of adit's own list, and returns their virtual networks.
fn list_twins(tour: &mut Tour<'_>) -> Result<Vec<String>, Trouble> {
    let filter = SessionFilter {
        client: Some(CLIENT.into()),
        protocol: Some(Protocol::Tcp),
        ..SessionFilter::default()
    };
    let mut sessions = tour.daemon.sessions(filter)?;
    sessions.retain(|session| session.client_port == CLIENT_PORT);
    sessions.sort_by(|a, b| a.virtual_network.cmp(&b.virtual_network));
    let mut table = Table::new(["virtual network", "client", "lease", "backend", "state"]);
    for session in &sessions {
        table.row([
            session.virtual_network.clone(),
            format!("{}:{}", session.client, session.client_port),
            format!("{}:{}", session.nat_ip, session.nat_port),
            format!("{}:{}", session.backend, session.backend_port),
            session.state.clone(),
        ]);
    }
    tour.report.table(&table);
    Ok(sessions.into_iter().map(|session| session.virtual_network).collect())
}
