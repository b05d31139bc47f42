//! Lists live flows: asks each worker for its table page by page, keeps what the filter lets
//! through, and counts the rest.
//!
//! A worker visits a few flows for its page in each turn, so a list of a million flows costs
//! packets nothing that they feel. One list is made at a time; others wait for it. Flows that open
//! or close during the walk may or may not be listed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dataplane::engine;
use dataplane::generation::Generation;
use dataplane::types::{LinkId, ScopeId};
use dataplane::worker::{SessionPage, Shared, Ticket};
use parking_lot::Mutex;

use super::crew::Crew;
use super::view;
use crate::api::{ErrorCode, Failure, Session, SessionFilter, SessionId};
use crate::state::Registry;

/// Flows of a page at most. A busy worker takes a page up once a tick, so that a small one would
/// make a long list of a large table.
const PAGE_SESSIONS: usize = 4096;

/// How long a worker may take for a page.
const PAGE_TIME: Duration = Duration::from_secs(2);

/// Time between two looks for a page.
const LOOK: Duration = Duration::from_micros(200);

/// The names behind the numbers of sessions.
pub(super) struct Names {
    endpoints: HashMap<LinkId, String>,
    networks: HashMap<ScopeId, String>,
}

impl Names {
    pub(super) fn of(registry: &Registry) -> Names {
        let scopes = (0..registry.scope_count()).filter_map(|at| u16::try_from(at).ok());
        let scopes = scopes.map(ScopeId);
        let connections = registry.connections();
        Names {
            endpoints: connections.map(|(name, link)| (link, name.to_string())).collect(),
            networks: scopes.map(|scope| (scope, view::network_name(registry, scope))).collect(),
        }
    }

    /// The endpoint of a connection; `None` if it is gone.
    pub(super) fn endpoint(&self, link: LinkId) -> Option<String> {
        self.endpoints.get(&link).cloned()
    }

    /// A virtual network.
    pub(super) fn network(&self, scope: ScopeId) -> String {
        self.networks.get(&scope).cloned().unwrap_or_default()
    }

    /// A worker's session as clients see it.
    pub(super) fn view(&self, session: &engine::Session, worker: u8) -> Session {
        let key = &session.key;
        Session {
            id: SessionId::of(worker, session),
            protocol: key.protocol.into(),
            virtual_network: self.network(key.scope),
            client: key.client.ip(),
            client_port: key.client_port,
            endpoint: self.endpoint(session.link),
            endpoint_address: key.endpoint.ip(),
            endpoint_port: key.endpoint_port,
            link_id: session.link.0,
            nat_ip: session.nat_ip,
            nat_port: session.nat_port,
            backend: session.backend,
            floating_ip: floating(session),
            backend_port: session.backend_port,
            state: session.state.name().to_owned(),
            idle_seconds: session.idle.as_secs_f64(),
            expires_in_seconds: session.expires_in.as_secs_f64(),
            worker,
        }
    }
}

/// What packets to a session's backend are addressed to, if that is a frontend.
pub(super) fn floating(session: &engine::Session) -> Option<IpAddr> {
    (session.target != session.backend).then_some(session.target)
}

/// What to let through, and the names for it.
pub(super) struct Lens {
    filter: SessionFilter,
    link: Option<LinkId>,
    names: Names,
}

impl Lens {
    /// For a filter whose endpoint, if any, has the connection `link`.
    pub(super) fn new(registry: &Registry, filter: &SessionFilter, link: Option<LinkId>) -> Lens {
        Lens { filter: filter.clone(), link, names: Names::of(registry) }
    }

    fn lets_through(&self, session: &engine::Session) -> bool {
        let (filter, key) = (&self.filter, &session.key);
        let protocol = key.protocol.into();
        self.link.is_none_or(|link| session.link == link)
            && filter.client.is_none_or(|client| key.client == client)
            && filter.client_port.is_none_or(|port| key.client_port == port)
            && filter.endpoint_port.is_none_or(|port| key.endpoint_port == port)
            && filter
                .backend
                .is_none_or(|backend| [session.backend, session.target].contains(&backend))
            && filter.backend_port.is_none_or(|port| session.backend_port == port)
            && filter.nat_ip.is_none_or(|nat_ip| session.nat_ip == nat_ip)
            && filter.nat_port.is_none_or(|port| session.nat_port == port)
            && filter.protocol.is_none_or(|wanted| wanted == protocol)
    }
}

/// What a walk found.
#[derive(Default)]
pub(super) struct Found {
    /// Up to the limit.
    pub(super) sessions: Vec<Session>,
    /// How many more there are.
    pub(super) more: u64,
}

/// Walks the tables of all workers.
pub(super) struct Walker {
    crew: Arc<Crew>,
    turn: Mutex<()>,
}

impl Walker {
    pub(super) fn new(crew: Arc<Crew>) -> Walker {
        Walker { crew, turn: Mutex::default() }
    }

    /// Every session that the lens lets through.
    pub(super) fn walk(&self, lens: &Lens) -> Result<Found, Failure> {
        let mut found = Found::default();
        self.visit(None, &mut |session, worker| {
            if !lens.lets_through(session) {
                return;
            }
            if found.sessions.len() < lens.filter.limit {
                found.sessions.push(lens.names.view(session, worker));
            } else {
                found.more += 1;
            }
        })?;
        Ok(found)
    }

    /// Every session, with what a configuration that is not in force would make of it.
    pub(super) fn judge(
        &self,
        under: &Arc<Generation>,
        visit: &mut dyn FnMut(&engine::Session),
    ) -> Result<(), Failure> {
        self.visit(Some(under), &mut |session, _| visit(session))
    }

    fn visit(
        &self,
        under: Option<&Arc<Generation>>,
        visit: &mut dyn FnMut(&engine::Session, u8),
    ) -> Result<(), Failure> {
        let _turn = self.turn.lock();
        for (at, shared) in self.crew.shared().iter().enumerate() {
            let worker = u8::try_from(at).unwrap_or(u8::MAX);
            let mut page = SessionPage::new(PAGE_SESSIONS);
            page.under = under.cloned();
            while !page.done {
                page.sessions.clear();
                // Refused if an earlier request was given up before the worker saw it.
                let ticket = shared.request_sessions(page).map_err(|_| late(at))?;
                self.crew.wake();
                page = wait(at, shared, ticket)?;
                page.sessions.iter().for_each(|session| visit(session, worker));
            }
        }
        Ok(())
    }
}

fn wait(worker: usize, shared: &Shared, ticket: Ticket) -> Result<SessionPage, Failure> {
    let deadline = Instant::now() + PAGE_TIME;
    loop {
        if let Some(page) = shared.take_sessions(ticket) {
            return Ok(page);
        }
        if Instant::now() >= deadline {
            return Err(late(worker));
        }
        thread::sleep(LOOK);
    }
}

fn late(worker: usize) -> Failure {
    let message = format!("worker {worker} did not list its sessions in time");
    Failure::new(ErrorCode::Timeout, message, "try again; if it stays so, look at `adit status`")
}
