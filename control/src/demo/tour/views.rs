//! Steps: one connection as the client, adit and the backend see it; the same for UDP.

use std::net::{SocketAddr, SocketAddrV4};

use lab::Answer;
use lab::client::{Dial, Session, udp_exchange};

use super::super::report::Table;
use super::super::topology::{CLIENT, Consumer, ECHO, ENDPOINT, HTTP, NAT_IPS};
use super::super::trouble::Trouble;
use super::{PATIENCE, Tour, list};
use crate::api::{self, Protocol, SessionFilter};

/// The port that both consumers send their datagrams from.
const UDP_CLIENT_PORT: u16 = 5353;

/// One exchange, from the outside.
pub(super) struct View {
    pub(super) consumer: &'static str,
    pub(super) client: SocketAddrV4,
    pub(super) dialled: SocketAddrV4,
    pub(super) answer: Answer,
}

pub(super) fn tcp(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    let topology = tour.topology;
    let views = topology.consumers.iter().map(ask_http).collect::<Result<Vec<_>, _>>()?;
    tour.report.say("Each client sends GET / to the endpoint; the backend says whom it saw.");
    tour.report.table(&table(&views));
    judge(tour, &views, Protocol::Tcp, HTTP.1)
}

pub(super) fn udp(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    let topology = tour.topology;
    let views = topology.consumers.iter().map(ask_echo).collect::<Result<Vec<_>, _>>()?;
    tour.report.say("Each client sends a datagram, from the same port, and hears its echo.");
    tour.report.table(&table(&views));
    judge(tour, &views, Protocol::Udp, ECHO.1)?;
    let heard = topology.backends.iter().flat_map(|backend| backend.echo.peers());
    let strangers: Vec<_> = heard.filter(|peer| !NAT_IPS.contains(peer.ip())).collect();
    tour.report.equal("No backend heard from anybody else", String::new(), list(strangers));
    Ok(())
}

fn ask_http(consumer: &Consumer) -> Result<View, Trouble> {
    let dialled = SocketAddrV4::new(ENDPOINT, HTTP.0);
    let dial = Dial::to(dialled).within(PATIENCE);
    let (client, response) = consumer.host.run(|| {
        let mut session = Session::open(&dial)?;
        Ok::<_, Trouble>((session.local(), session.http_get("/")?))
    })??;
    Ok(View { consumer: consumer.name, client, dialled, answer: response.answer()? })
}

fn ask_echo(consumer: &Consumer) -> Result<View, Trouble> {
    let dialled = SocketAddrV4::new(ENDPOINT, ECHO.0);
    let client = SocketAddrV4::new(CLIENT, UDP_CLIENT_PORT);
    let dial = Dial::to(dialled).from(client).within(PATIENCE);
    // It fails unless the payload comes back as it was sent.
    let answer = consumer.host.run(|| udp_exchange(&dial, consumer.name))??;
    Ok(View { consumer: consumer.name, client, dialled, answer })
}

/// Who called whom, who answered, and whom that saw.
pub(super) fn table(views: &[View]) -> Table {
    let mut table = Table::new(["in", "the client", "calls", "is served by", "which saw"]);
    for View { consumer, client, dialled, answer } in views {
        table.row([
            (*consumer).to_owned(),
            client.to_string(),
            dialled.to_string(),
            answer.backend.clone(),
            answer.peer.to_string(),
        ]);
    }
    table
}

/// Compares what the two ends saw with each other and with adit's list of sessions.
fn judge(
    tour: &mut Tour<'_>,
    views: &[View],
    protocol: Protocol,
    backend_port: u16,
) -> Result<(), Trouble> {
    let seen = views.iter().map(|view| *view.answer.peer.ip());
    let translated = seen.clone().all(|address| NAT_IPS.contains(&address));
    let expected = format!("only {}", list(NAT_IPS));
    let claim = "The backend saw a NAT IP, never the client";
    tour.report.claim(claim, translated, expected, list(seen));
    for view in views {
        let filter = SessionFilter {
            client: Some((*view.client.ip()).into()),
            protocol: Some(protocol),
            ..SessionFilter::default()
        };
        let sessions = tour.daemon.sessions(filter)?;
        let session = sessions.iter().find(|session| is_of(session, view));
        let described = session.map_or_else(
            || "no such session".to_owned(),
            |session| {
                let backend = tour.topology.backend_name(session.backend);
                let (ip, port) = (session.nat_ip, session.nat_port);
                format!("{ip}:{port} to {backend}, port {}", session.backend_port)
            },
        );
        let (peer, backend) = (view.answer.peer, &view.answer.backend);
        let expected = format!("{peer} to {backend}, port {backend_port}");
        let claim = format!("adit lists the session of {} with that lease", view.consumer);
        tour.report.equal(&claim, expected, described);
    }
    Ok(())
}

fn is_of(session: &api::Session, view: &View) -> bool {
    let client = SocketAddr::new(session.client, session.client_port);
    let dialled = SocketAddr::new(session.endpoint_address, session.endpoint_port);
    session.virtual_network == view.consumer
        && (client, dialled) == (view.client.into(), view.dialled.into())
}
