//! Whose an address and port on the provider's side is: now, by the port's own entry and the worker
//! that holds it; or was, by what is remembered of flows that have ended.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;

use dataplane::engine;
use dataplane::nat::Holder;
use dataplane::snapshot::{PoolKey, Snapshot};

use super::controller::Controller;
use super::directory::Known;
use super::recorder::{LOOK, now};
use super::server::Daemon;
use super::sessions::floating;
use crate::api::{ErrorCode, Failure, Owner, Response, SessionId, Suspect};
use crate::config::suggest;
use crate::moment::Moment;
use crate::recording::ended::Sighting;
use crate::recording::event::FlowEvent;

/// Owners in an answer at most.
const OWNERS_MAX: usize = 100;

/// What is known of the addresses that somebody asks about.
struct Facts {
    /// Who holds the port: once for each protocol and provider's network at most.
    holders: Vec<Holder>,
    nat_ips: BTreeSet<IpAddr>,
    /// Those behind the NAT IP.
    backends: BTreeSet<IpAddr>,
}

/// Who may be meant by the target of a pool: itself, and if that is a frontend that floats, any
/// backend of the NAT IP's service.
fn behind(snapshot: &Snapshot, key: PoolKey) -> Vec<IpAddr> {
    let is_backend = snapshot.backend_at(key.scope, key.target).is_some();
    let service = snapshot.service_of_nat_ip(key.scope, key.nat_ip).filter(|_| !is_backend);
    let backends = service.into_iter().flat_map(|service| service.serving().iter());
    let mut all = vec![key.target.ip()];
    all.extend(backends.map(|&(backend, _)| backend.ip()));
    all
}

impl Controller {
    fn facts(&self, sighting: &Sighting) -> Facts {
        let (nat_ip, nat_port) = sighting.nat;
        let pools = || self.generation().pools.iter().map(|pool| (pool, pool.key()));
        let snapshot = &self.generation().snapshot;
        let of_nat_ip = || pools().filter(|(_, key)| key.nat_ip == nat_ip);
        let wanted = of_nat_ip().filter(|(_, key)| {
            let is_protocol = sighting.protocol.is_none_or(|wanted| wanted == key.protocol.into());
            is_protocol && behind(snapshot, *key).contains(&sighting.backend)
        });
        Facts {
            holders: wanted.filter_map(|(pool, _)| pool.holder(nat_port)).collect(),
            nat_ips: pools().map(|(_, key)| key.nat_ip.ip()).collect(),
            backends: of_nat_ip().flat_map(|(_, key)| behind(snapshot, key)).collect(),
        }
    }
}

impl Daemon {
    /// Answers whose it is or was; the lock is free while workers are asked.
    pub(super) fn whois(&self, suspect: &Suspect) -> Result<Response, Failure> {
        let now = now();
        let sighting = sighting(suspect, now)?;
        let facts = self.controller.lock().facts(&sighting);
        let names = self.directory.read();
        let mut owners = Vec::new();
        for holder in &facts.holders {
            // Beyond the workers stands who plays no part in this run.
            let shown = self.inquirer.show(holder.worker.0, holder.flow)?;
            let session = shown.filter(|session| is_seen(session, &sighting, now));
            owners.extend(session.map(|session| live(&session, holder.worker.0, &names, now)));
        }
        let mut remembered = self.recorder.find(&sighting, OWNERS_MAX);
        if owners.is_empty() && remembered.0.is_empty() {
            // One that has just ended may not have been told of yet.
            thread::sleep(2 * LOOK);
            remembered = self.recorder.find(&sighting, OWNERS_MAX);
        }
        let (ended, nearest) = remembered;
        owners.extend(ended.iter().map(Owner::from));
        if owners.is_empty() {
            return Err(self.unknown(&sighting, &facts, nearest.as_ref()));
        }
        Ok(Response::Owners { owners })
    }

    /// Why nobody was found: an address is not known at all, or nobody had the port then.
    fn unknown(&self, sighting: &Sighting, facts: &Facts, nearest: Option<&FlowEvent>) -> Failure {
        let not_found =
            |message: String, cure: String| Failure::new(ErrorCode::NotFound, message, cure);
        let near = |address: IpAddr, known: &BTreeSet<IpAddr>| {
            let known: Vec<String> = known.iter().map(IpAddr::to_string).collect();
            suggest::cure(&address.to_string(), known.iter().map(String::as_str))
        };
        let ((nat_ip, nat_port), backend) = (sighting.nat, sighting.backend);
        if !facts.nat_ips.contains(&nat_ip) {
            return not_found(format!("there is no NAT IP {nat_ip}"), near(nat_ip, &facts.nat_ips));
        }
        if !facts.backends.contains(&backend) {
            let message = format!("there is no backend {backend} behind NAT IP {nat_ip}");
            return not_found(message, near(backend, &facts.backends));
        }
        let status = self.recorder.status();
        let when =
            sighting.at.map_or_else(|| "now".to_owned(), |at| format!("at {}", at.rfc3339()));
        let message = format!(
            "no flow has port {nat_port} of {nat_ip} towards {backend} {when}, nor had any of the \
             {} flows that are remembered after their end",
            status.remembered
        );
        if let Some(flow) = nearest {
            let (client, port) = flow.client;
            let (began, ended) = (flow.began.rfc3339(), flow.at.rfc3339());
            let network = &flow.virtual_network;
            let cure = format!("{client}:{port} in {network} had it from {began} to {ended}");
            return not_found(message, cure);
        }
        let cure = match status.remembered_max {
            0 => "let adit remember flows: `flows_max` of [whois]".to_owned(),
            _ => format!(
                "flows are remembered for {} s; for longer, set `age` and `flows_max` of [whois], \
                 or look into the flow log",
                status.remembered_seconds
            ),
        };
        not_found(message, cure)
    }
}

fn sighting(suspect: &Suspect, now: Moment) -> Result<Sighting, Failure> {
    let at = suspect.at.as_deref().map(|text| Moment::parse(text, now)).transpose();
    let at = at.map_err(|forms| {
        let text = suspect.at.as_deref().unwrap_or_default();
        Failure::new(ErrorCode::BadRequest, format!("{text:?} is no time"), forms)
    })?;
    if let Some(at) = at.filter(|at| *at > now) {
        let problem = format!("{} is yet to come", at.rfc3339());
        return Err(Failure::new(ErrorCode::BadRequest, problem, "name a time that has passed"));
    }
    Ok(Sighting {
        nat: (suspect.nat.ip(), suspect.nat.port()),
        backend: suspect.backend,
        backend_port: suspect.backend_port,
        protocol: suspect.protocol,
        at,
    })
}

/// Whether a live flow is what was seen: it may have ended, and another begun, while it was asked.
fn is_seen(session: &engine::Session, sighting: &Sighting, now: Moment) -> bool {
    let began = session.age.map(|age| now.before(age));
    // Moments are cut to ten milliseconds on their way.
    let slack = std::time::Duration::from_millis(20);
    let was_there = match (sighting.at, began) {
        (Some(at), Some(began)) => at >= began.before(slack),
        _ => true,
    };
    let is_its = (session.nat_ip, session.nat_port) == sighting.nat;
    is_its
        && was_there
        && [session.backend, session.target].contains(&sighting.backend)
        && sighting.is_of(session.key.protocol.into(), session.backend_port)
}

fn live(session: &engine::Session, worker: u8, names: &Known, now: Moment) -> Owner {
    let key = &session.key;
    let ends = names.connection(session.link);
    Owner {
        session: Some(SessionId::of(worker, session)),
        state: session.state.name().to_owned(),
        protocol: key.protocol.into(),
        virtual_network: names.network(key.scope).to_string(),
        client: key.client.ip(),
        client_port: key.client_port,
        endpoint: ends.map(|ends| ends.endpoint.to_string()),
        endpoint_address: key.endpoint.ip(),
        endpoint_port: key.endpoint_port,
        link_id: session.link.0,
        private_link_service: ends.map(|ends| ends.service.to_string()),
        nat_ip: session.nat_ip,
        nat_port: session.nat_port,
        backend: session.backend,
        floating_ip: floating(session),
        backend_port: session.backend_port,
        began: session.age.map(|age| now.before(age).rfc3339()),
        ended: None,
    }
}

impl From<&FlowEvent> for Owner {
    fn from(flow: &FlowEvent) -> Owner {
        Owner {
            session: None,
            state: flow.why.map_or("", |why| why.name()).to_owned(),
            protocol: flow.protocol,
            virtual_network: flow.virtual_network.to_string(),
            client: flow.client.0,
            client_port: flow.client.1,
            endpoint: flow.endpoint.as_ref().map(ToString::to_string),
            endpoint_address: flow.endpoint_address.0,
            endpoint_port: flow.endpoint_address.1,
            link_id: flow.link_id,
            private_link_service: flow.service.as_ref().map(ToString::to_string),
            nat_ip: flow.nat.0,
            nat_port: flow.nat.1,
            backend: flow.backend,
            floating_ip: flow.floating_ip(),
            backend_port: flow.target.1,
            began: Some(flow.began.rfc3339()),
            ended: Some(flow.at.rfc3339()),
        }
    }
}
