//! Step: the provider's word decides: pending, approved while clients knock, rejected under a live
//! session.

use std::io;
use std::net::SocketAddrV4;
use std::time::Instant;

use dataplane::drop_reason::DropReason;
use lab::client::{ConnectOutcome, Dial, Session, http_get, tcp_connect};

use super::super::topology::{Consumer, HTTP, NEW_ENDPOINT, NEW_ENDPOINT_NAME};
use super::super::trouble::Trouble;
use super::{PATIENCE, SILENCE, Tour, milliseconds};
use crate::api::{Request, Response, SessionFilter};
use crate::state::ConnectionState;

pub(super) fn show(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    let topology = tour.topology;
    let [_, consumer] = &topology.consumers;
    let dial = Dial::to(SocketAddrV4::new(NEW_ENDPOINT, HTTP.0)).within(PATIENCE);
    pending(tour, consumer, &dial)?;
    approved(tour, consumer, &dial)?;
    rejected(tour, consumer, &dial)?;
    neighbour(tour);
    Ok(())
}

/// What was decided about one endpoint concerns no other.
fn neighbour(tour: &mut Tour<'_>) {
    let claim = "The other endpoint of the same consumer is untouched: its old session lives";
    let answer = tour.twins.get_mut(1).map(|twin| twin.http_get("/"));
    match answer {
        Some(Ok(response)) => tour.report.equal(claim, 200, response.status),
        Some(Err(error)) => tour.report.claim(claim, false, "an answer", error),
        None => tour.report.claim(claim, false, "the session of step 3", "it was never opened"),
    }
}

fn pending(tour: &mut Tour<'_>, consumer: &Consumer, dial: &Dial) -> Result<(), Trouble> {
    let metric = DropReason::ConnectionPending.metric();
    let endpoints = tour.daemon.endpoints()?;
    let endpoint = endpoints.iter().find(|endpoint| endpoint.name == NEW_ENDPOINT_NAME);
    let message = endpoint.and_then(|endpoint| endpoint.request_message.clone());
    tour.report.say(&format!(
        "{NEW_ENDPOINT_NAME}, {NEW_ENDPOINT} in {}, says: \"{}\". Nobody has answered yet.",
        consumer.name,
        message.unwrap_or_default(),
    ));
    tour.report.line("");
    let before = tour.daemon.drop_of(metric)?.count;
    let outcome = consumer.host.run(|| tcp_connect(&dial.within(SILENCE)))??;
    let timed_out = outcome == ConnectOutcome::TimedOut;
    let claim = "Pending: connecting to it times out";
    tour.report.claim(claim, timed_out, "TimedOut", format!("{outcome:?}"));
    let drop = tour.daemon.drop_of(metric)?;
    let claim = format!("{metric} went up: \"{}\"", drop.sentence);
    let seen = format!("{before}, then {}", drop.count);
    tour.report.claim(&claim, drop.count > before, "more than before", seen);
    Ok(())
}

fn approved(tour: &mut Tour<'_>, consumer: &Consumer, dial: &Dial) -> Result<(), Trouble> {
    tour.report.line("");
    let began = Instant::now();
    let endpoint = NEW_ENDPOINT_NAME.to_owned();
    let state = decide(tour, &Request::Approve { endpoint, message: None })?;
    let time = milliseconds(began.elapsed());
    let claim = format!("Asked to approve {NEW_ENDPOINT_NAME}, adit has done so {time}");
    tour.report.equal(&claim, ConnectionState::Approved, state);
    let response = consumer.host.run(|| http_get(dial, "/"))?;
    let claim = "Approved: connecting to it works, and the backend answers";
    match response {
        Ok(response) => tour.report.equal(claim, 200, response.status),
        Err(error) => tour.report.claim(claim, false, "an answer", error),
    }
    Ok(())
}

fn rejected(tour: &mut Tour<'_>, consumer: &Consumer, dial: &Dial) -> Result<(), Trouble> {
    let metric = DropReason::ConnectionRejected.metric();
    let before = tour.daemon.drop_of(metric)?.count;
    let mut session = consumer.host.run(|| Session::open(&dial.within(SILENCE)))??;
    let alive = session.http_get("/")?.status;
    tour.report.equal("A session is opened and kept, and answers", 200, alive);
    tour.report.line("");
    let began = Instant::now();
    let endpoint = NEW_ENDPOINT_NAME.to_owned();
    let state = decide(tour, &Request::Reject { endpoint, message: None })?;
    let time = milliseconds(began.elapsed());
    let claim = format!("Asked to reject {NEW_ENDPOINT_NAME}, adit has done so {time}");
    tour.report.equal(&claim, ConnectionState::Rejected, state);
    let outcome = session.http_get("/").map(|response| response.status);
    let is_reset = outcome.as_ref().is_err_and(|error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    });
    let seen = outcome.map_or_else(|error| error.to_string(), |status| format!("status {status}"));
    let claim = "Rejected: the open session was reset, its next request fails at once";
    tour.report.claim(claim, is_reset, "a reset", seen);
    let outcome = consumer.host.run(|| tcp_connect(&dial.within(SILENCE)))??;
    let timed_out = outcome == ConnectOutcome::TimedOut;
    let claim = "Connecting anew times out, as before the approval";
    tour.report.claim(claim, timed_out, "TimedOut", format!("{outcome:?}"));
    let drop = tour.daemon.drop_of(metric)?;
    let claim = format!("{metric} went up: \"{}\"", drop.sentence);
    let seen = format!("{before}, then {}", drop.count);
    tour.report.claim(&claim, drop.count > before, "more than before", seen);
    let of_endpoint = || SessionFilter {
        endpoint: Some(NEW_ENDPOINT_NAME.to_owned()),
        ..SessionFilter::default()
    };
    let look = |tour: &Tour<'_>| tour.daemon.sessions(of_endpoint()).map(|found| found.len());
    let left = tour.settle(look, |left| *left == 0)?;
    tour.report.equal("Its sessions are gone, their ports given back", 0, left);
    Ok(session.abort()?)
}

fn decide(tour: &Tour<'_>, request: &Request) -> Result<ConnectionState, Trouble> {
    match tour.daemon.ask(request)? {
        Response::Decided { state, .. } => Ok(state),
        other => Err(Trouble::Adit(format!("adit answered something else: {other:?}"))),
    }
}
