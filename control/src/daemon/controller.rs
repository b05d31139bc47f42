//! The one place where things change: reloads and decisions, each checked as a whole and then put
//! in force as a whole.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::generation::Generation;
use dataplane::publish::Cell;
use dataplane::snapshot::Snapshot;
use dataplane::types::GenerationNumber;
use rustix::thread::CapabilitySet;

use super::audit::{Audit, Changed};
use super::crew::Crew;
use super::directory::Directory;
use super::exhaustion::Exhaustion;
use super::ledger::Books;
use super::prober::Probing;
use super::publisher::{Lag, Publisher, Step};
use super::push::Push;
use super::recorder::{Recorder, now};
use super::{log, privileges, view};
use crate::api::{Device, ErrorCode, Failure, Request, Response};
use crate::compile;
use crate::config::{self, Config, ConfigError, ConfigErrors, Name, Setting, Settings, suggest};
use crate::edit::Edit;
use crate::recording::event::Refused;
use crate::resource::Estate;
use crate::resource::compose::compose;
use crate::resource::connection::Wish;
use crate::state::{Decision, Departure, Departures, Drain, Registry};
use crate::store::{Batch, Store};

mod resources;

pub(super) use resources::Memory;
use resources::{Difference, Next, of_clash};

/// Bytes of a configuration file at most.
const CONFIGURATION_BYTES_MAX: u64 = 64 << 20;

/// What a reload cannot be, with its cure.
type Unreadable = (String, String);

/// Reads a configuration file; the second value is its length.
pub(crate) fn read_configuration(path: &Path) -> Result<(String, usize), Unreadable> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        let cure = match error.kind() {
            std::io::ErrorKind::NotFound => "name an existing file",
            std::io::ErrorKind::PermissionDenied => "allow adit to read it",
            std::io::ErrorKind::InvalidData => "write the file in UTF-8",
            _ => "name a readable file",
        };
        (format!("{shown} cannot be read: {error}"), cure.to_owned())
    };
    let file = File::open(path).map_err(failed)?;
    let mut text = String::new();
    let read = file.take(CONFIGURATION_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if read as u64 > CONFIGURATION_BYTES_MAX {
        let cure = format!("a configuration has at most {} MiB", CONFIGURATION_BYTES_MAX >> 20);
        return Err((format!("{shown} is too large"), cure));
    }
    Ok((text, read))
}

/// Everything that a file would put in force.
pub(super) struct Draft {
    /// What the file says.
    file: Config,
    estate: Estate,
    /// What file and API say together.
    pub(super) config: Config,
    pub(super) registry: Registry,
    pub(super) snapshot: Snapshot,
    pub(super) warnings: Vec<ConfigError>,
}

/// What is in force, and how to change it.
pub(super) struct Controller {
    path: PathBuf,
    /// The configuration of the file.
    file: Config,
    /// The resources of the file, and those made through the API.
    estate: Estate,
    /// Where state is kept, if it is.
    store: Option<Store>,
    /// The configuration of file and API together.
    config: Config,
    registry: Registry,
    publisher: Publisher,
    crew: Option<Arc<Crew>>,
    started: Instant,
    exhaustion: Exhaustion,
    probing: Arc<Probing>,
    /// Privileges that adit had and has dropped.
    lacking: CapabilitySet,
    directory: Arc<Directory>,
    recorder: Option<Arc<Recorder>>,
    audit: Arc<Audit>,
    push: Option<Arc<Push>>,
    /// What has changed since somebody took note of it.
    changes: Vec<Changed>,
}

impl Controller {
    /// With the first configuration in force, for workers that are still to start.
    #[cfg(test)]
    pub(super) fn new(path: &Path, config: Config, seed: u64) -> Result<Controller, ConfigErrors> {
        Controller::with_memory(path, config, seed, Memory::default())
    }

    /// The same, with what an earlier run has left.
    pub(super) fn with_memory(
        path: &Path,
        file: Config,
        seed: u64,
        memory: Memory,
    ) -> Result<Controller, ConfigErrors> {
        let estate = memory.estate(&file);
        let config = compose(&estate, &file).map_err(of_clash)?;
        let (snapshot, registry) = compile::compile(&config, memory.registry())?;
        let store = memory.into_store(&registry)?;
        let started = Instant::now();
        let probing = Probing::new(seed, started);
        probing.follow(&config, &registry);
        let push = config.settings().metrics_push.value.as_ref();
        let push = push.map(|settings| Arc::new(Push::new(settings)));
        let directory = Arc::new(Directory::default());
        directory.learn(&registry);
        let publisher = Publisher::new(snapshot, seed, &directory.read());
        Ok(Controller {
            path: path.to_owned(),
            file,
            estate,
            store,
            config,
            registry,
            publisher,
            crew: None,
            started,
            exhaustion: Exhaustion::default(),
            probing: Arc::new(probing),
            lacking: CapabilitySet::empty(),
            directory,
            recorder: None,
            audit: Arc::new(Audit::default()),
            push,
            changes: Vec::new(),
        })
    }

    /// The workers have started.
    pub(super) fn attach(&mut self, crew: Arc<Crew>, recorder: Arc<Recorder>) {
        (self.crew, self.recorder) = (Some(crew), Some(recorder));
    }

    /// Where it is written down who changed what.
    pub(super) fn keep_audit(&mut self, audit: Audit) {
        self.audit = Arc::new(audit);
    }

    /// The audit log.
    pub(super) fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Where metrics are sent, if anywhere.
    pub(super) fn metrics_push(&self) -> Option<&Arc<Push>> {
        self.push.as_ref()
    }

    /// What has changed since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<Changed> {
        std::mem::take(&mut self.changes)
    }

    /// Names for the numbers in records of flows.
    pub(super) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// These privileges are gone for good.
    pub(super) fn lacks(&mut self, gone: CapabilitySet) {
        self.lacking = gone;
    }

    pub(super) fn settings(&self) -> &Settings {
        self.config.settings()
    }

    pub(super) fn cell(&self) -> &Arc<Cell> {
        self.publisher.cell()
    }

    /// The generation in force.
    pub(super) fn number(&self) -> GenerationNumber {
        self.publisher.current().number
    }

    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn device_count(&self) -> usize {
        self.config.devices().len()
    }

    /// What is known of probed backends.
    pub(super) fn probing(&self) -> &Arc<Probing> {
        &self.probing
    }

    /// Puts in force what probes say, if that is not in force yet. Flows of TCP stay where they
    /// are.
    pub(super) fn follow_health(&mut self) {
        let health = self.probing.health();
        if *self.registry.health() == health {
            return;
        }
        let registry = self.registry.with_health(health);
        let Ok(snapshot) = compile::snapshot(&self.config, &registry) else { return };
        // Refused while a worker is behind; then the next look tries again.
        drop(self.put_in_force(Step::To(Box::new(snapshot)), Next::of(registry, None)));
    }

    /// Everything that is looked at.
    pub(super) fn scene(&self) -> view::Scene<'_> {
        view::Scene {
            config: &self.config,
            registry: &self.registry,
            generation: self.publisher.current(),
            probing: &self.probing,
            books: self.books(),
            now: self.uptime(),
        }
    }

    /// What everybody has carried.
    fn books(&self) -> Books {
        let crew = self.crew.as_ref();
        crew.map(|crew| self.publisher.books(crew, &self.directory.read())).unwrap_or_default()
    }

    /// Frees what workers have let go of.
    pub(super) fn reap(&mut self) {
        self.publisher.reap();
    }

    /// How every device is.
    pub(super) fn devices(&self) -> Vec<Device> {
        self.crew.as_ref().map_or_else(Vec::new, |crew| view::devices(&self.registry, crew))
    }

    /// What the file says.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// What file and API say together.
    pub(super) fn in_force(&self) -> &Config {
        &self.config
    }

    /// What is in force.
    pub(super) fn generation(&self) -> &Generation {
        self.publisher.current()
    }

    /// What is known of links and virtual networks, to name what workers only number.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The error for an endpoint that does not exist.
    pub(super) fn find_endpoint(&self, endpoint: &str) -> Result<Name, Failure> {
        let endpoints = self.config.endpoints();
        let found = endpoints.iter().find(|candidate| candidate.name.as_str() == endpoint);
        found.map(|found| found.name.clone()).ok_or_else(|| {
            let names = endpoints.iter().map(|endpoint| endpoint.name.as_str());
            let cure = suggest::cure(endpoint, names);
            let message = format!("there is no private endpoint {endpoint:?}");
            Failure::new(ErrorCode::NotFound, message, cure)
        })
    }

    /// Answers everything but what workers are asked, which needs no lock for most of its time.
    pub(super) fn answer(&mut self, request: &Request) -> Result<Response, Failure> {
        let crew = self.crew()?;
        let generation = self.publisher.current();
        match request {
            Request::Status {} => {
                let status = view::Facts {
                    registry: &self.registry,
                    generation,
                    crew: &crew,
                    configuration: &self.path,
                    uptime: self.uptime(),
                    flows_max: self.config.settings().flows_max.value,
                    probed: self.probing.count(),
                    recorder: self.recorder.as_deref(),
                    audit: &self.audit,
                    push: self.push.as_deref(),
                    books: &self.books(),
                };
                Ok(Response::Status(Box::new(status.status())))
            }
            Request::Endpoints {} => {
                let endpoints =
                    view::endpoints(&self.config, &self.registry, generation, &self.books());
                Ok(Response::Endpoints { endpoints })
            }
            Request::Services {} => Ok(Response::Services { services: self.scene().services() }),
            Request::Drops { all } => Ok(view::drops(&crew.counters(), *all)),
            Request::Approve { endpoint, message } => {
                self.decide(endpoint, Decision::Approve, message.as_deref())
            }
            Request::Reject { endpoint, message } => {
                self.decide(endpoint, Decision::Reject, message.as_deref())
            }
            Request::Reload {} => self.reload(),
            Request::Sessions(_)
            | Request::Explain(_)
            | Request::Plan { .. }
            | Request::Kill { .. }
            | Request::Whois(_)
            | Request::Trace(_)
            | Request::Access { .. } => Err(internal("this is answered elsewhere")),
        }
    }

    /// Reads the file again and puts it in force, whole or not at all.
    pub(super) fn reload(&mut self) -> Result<Response, Failure> {
        let Draft { file, estate, config, registry, snapshot, warnings } =
            self.draft(&self.path)?;
        let step = Step::To(Box::new(snapshot));
        let generation = self.put_in_force(step, Next::of(registry, Some(config)))?;
        self.estate = estate;
        self.file = file;
        log(format_args!("reloaded: generation {generation}"));
        for leaving in self.registry.departures().iter() {
            let Departure { service, address, .. } = leaving;
            let left = leaving.until.saturating_sub(self.uptime()).as_secs();
            log(format_args!("service {service}: NAT IP {address} drains for at most {left} s"));
        }
        for drain in self.registry.drains().iter().filter(|drain| !drain.is_over) {
            let left = drain.until.saturating_sub(self.uptime()).as_secs_f64();
            let Drain { load_balancer, address, .. } = drain;
            log(format_args!(
                "backend {address} of {load_balancer} drains for at most {left:.0} s"
            ));
        }
        Ok(Response::Reloaded { generation, warnings })
    }

    /// Everything that a file would put in force; nothing changes.
    pub(super) fn draft(&self, path: &Path) -> Result<Draft, Failure> {
        let invalid = |errors: ConfigErrors| Failure::of_configuration(&errors);
        let (text, _) = read_configuration(path).map_err(|(message, cure)| {
            Failure::new(ErrorCode::InvalidConfiguration, message, cure)
        })?;
        let checked = config::check(&text).map_err(invalid)?;
        self.refuse_fixed(checked.config.settings())?;
        self.refuse_unprivileged(&checked.config)?;
        let own = self.estate.own.clone();
        let estate = Estate { own, ..Estate::new(self.estate.home.clone(), &checked.config) };
        let config = compose(&estate, &checked.config).map_err(of_clash).map_err(invalid)?;
        let registry = self.registry.replace(&self.config, &config, self.uptime());
        let (snapshot, registry) = compile::compile(&config, &registry).map_err(invalid)?;
        let (file, warnings) = (checked.config, checked.warnings);
        Ok(Draft { file, estate, config, registry, snapshot, warnings })
    }

    /// The generation that a snapshot would be, if it were put in force.
    pub(super) fn next_generation(&self, snapshot: Snapshot) -> Generation {
        self.publisher.next(snapshot)
    }

    /// The configuration file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets go of NAT IPs that were taken away and have drained, closes those whose time is over,
    /// puts in force what probes say, and says what is to be said of ports that ran out, which it
    /// returns.
    pub(super) fn tend(&mut self) -> Vec<Refused> {
        self.follow_health();
        let uptime = self.started.elapsed();
        let news = self.exhaustion.look(self.publisher.current(), &self.registry, uptime);
        news.iter().for_each(log);
        self.end_drains();
        self.tend_departures();
        news.into_iter().map(|news| news.refused(now())).collect()
    }

    fn tend_departures(&mut self) {
        let before = self.registry.departures();
        let current = self.publisher.current();
        let leased = |departure: &Departure| view::leased_by(departure, &self.registry, current);
        let Some(departures) = before.tend(self.uptime(), leased) else { return };
        let lines: Vec<String> =
            before.iter().filter_map(|one| farewell(one, &departures)).collect();
        let registry = self.registry.with_departures(departures);
        let Ok(snapshot) = compile::snapshot(&self.config, &registry) else { return };
        // Refused while a worker is behind; then the next look tries again.
        if self.put_in_force(Step::To(Box::new(snapshot)), Next::of(registry, None)).is_ok() {
            lines.iter().for_each(log);
        }
    }

    /// Closes the flows of backends that had their time to drain.
    fn end_drains(&mut self) {
        let before = self.registry.drains();
        let Some(drains) = before.tend(self.uptime()) else { return };
        let ended: Vec<Drain> = before.iter().filter(|drain| !drain.is_over).cloned().collect();
        let registry = self.registry.with_drains(drains);
        let Ok(snapshot) = compile::snapshot(&self.config, &registry) else { return };
        // Refused while a worker is behind; then the next look tries again.
        if self.put_in_force(Step::To(Box::new(snapshot)), Next::of(registry, None)).is_err() {
            return;
        }
        let drains = self.registry.drains();
        let is_over = |drain: &&Drain| {
            let now = drains.find(&drain.load_balancer, &drain.pool, drain.address);
            now.is_some_and(|now| now.is_over)
        };
        for Drain { load_balancer, address, .. } in ended.iter().filter(is_over) {
            log(format_args!(
                "backend {address} of {load_balancer} had its time to drain: its flows are closed"
            ));
        }
    }

    /// Settings that only a restart changes.
    fn refuse_fixed(&self, new: &Settings) -> Result<(), Failure> {
        fn changed<T: PartialEq>(
            path: &str,
            old: &Setting<T>,
            new: &Setting<T>,
        ) -> Option<ConfigError> {
            let name = path.trim_start_matches("adit.");
            (old.value != new.value).then(|| ConfigError {
                path: path.to_owned(),
                line: new.line.unwrap_or(0),
                problem: format!("{name} is not what it was when adit started"),
                cure: "restart adit to change it".to_owned(),
            })
        }
        let old = self.config.settings();
        let faults = [
            changed("adit.control_socket", &old.control_socket, &new.control_socket),
            changed("adit.http", &old.http, &new.http),
            changed("adit.workers", &old.workers, &new.workers),
            changed("adit.flows_max", &old.flows_max, &new.flows_max),
            changed("adit.fast_path", &old.fast_path, &new.fast_path),
            changed("adit.privileges", &old.privileges, &new.privileges),
            changed("whois", &old.whois, &new.whois),
            changed("flow_log", &old.flow_log, &new.flow_log),
            changed("audit_log", &old.audit_log, &new.audit_log),
            changed("open_telemetry", &old.metrics_push, &new.metrics_push),
        ];
        let faults: Vec<ConfigError> = faults.into_iter().flatten().collect();
        if faults.is_empty() {
            return Ok(());
        }
        let message = "the file changes what is fixed while adit runs; nothing was changed";
        let cure = "restart adit, or take these changes back and reload again";
        let failure = Failure::new(ErrorCode::RestartNeeded, message, cure);
        Err(Failure { faults, ..failure })
    }

    /// What needs a privilege that was dropped can only be had by a restart.
    fn refuse_unprivileged(&self, new: &Config) -> Result<(), Failure> {
        let missing = privileges::missing(new, self.lacking);
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the file's devices need the privilege {}, which adit has dropped; nothing was changed",
            missing.join(", ")
        );
        let cure =
            "restart adit; with privileges = \"keep\" in [adit] it keeps all for such changes";
        Err(Failure::new(ErrorCode::RestartNeeded, message, cure))
    }

    fn decide(
        &mut self,
        endpoint: &str,
        decision: Decision,
        message: Option<&str>,
    ) -> Result<Response, Failure> {
        let name = self.find_endpoint(endpoint)?;
        let connection = self.registry.connection(&name);
        let connection = connection.ok_or_else(|| internal("an endpoint has no connection"))?;
        let before = connection.state;
        let state = before.decide(decision).map_err(|_| {
            let message = format!("the connection of {name} was removed by its provider");
            let cure = "remove the endpoint from the configuration and add it anew";
            Failure::new(ErrorCode::Refused, message, cure)
        })?;
        let changed = state != before;
        if changed || message.is_some() {
            let default = match decision {
                Decision::Approve => "Approved by command",
                Decision::Reject => "Rejected by command",
            };
            let wish = Wish {
                state,
                description: message.unwrap_or(default).to_owned(),
                actions_required: connection.actions_required.clone(),
            };
            let now = (&self.publisher.current().snapshot, &self.registry);
            let edit = Edit::of_decision(now, &name, &wish);
            let edit = edit.ok_or_else(|| internal("an endpoint has no connection"))?;
            let (patch, next) = (*edit.patch(), Next::one(edit));
            if changed {
                let generation = self.put_in_force(Step::Patch(patch), next)?;
                log(format_args!("endpoint {name}: {state}, generation {generation}"));
            } else {
                self.write_down(&next)?;
                self.make(next);
            }
        }
        let generation = self.number().0;
        Ok(Response::Decided { endpoint: endpoint.to_owned(), state, changed, generation })
    }

    /// Writes down what is about to come into force.
    fn write_down(&self, next: &Next) -> Result<(), Failure> {
        self.keep(&Batch {
            steps: &next.steps,
            connections: next.connections(&self.registry),
            next_link: next.link_counter(),
        })
    }

    /// Takes back what was written down.
    fn take_back(&self, next: &Next) -> Result<(), Failure> {
        let changed = next.connections(&self.registry).into_iter();
        let connections = changed.map(|(name, _)| (name, self.registry.connection(name)));
        let (steps, next_link) = (&next.undo, self.registry.link_counter());
        self.keep(&Batch { steps, connections: connections.collect(), next_link })
    }

    /// Follows what has come into force, and takes note of what is different now.
    fn make(&mut self, next: Next) {
        let resources = next.steps.iter().map(|step| Changed::resource(step, &next.undo));
        self.changes.extend(resources);
        let connections = next.connections(&self.registry);
        self.changes.extend(Changed::connections(&self.registry, &connections));
        match next.difference {
            Difference::One(edit) => edit.make(&mut self.config, &mut self.registry),
            Difference::Whole(registry, config) => {
                self.registry = *registry;
                if let Some(config) = config {
                    self.config = *config;
                    self.probing.follow(&self.config, &self.registry);
                }
            }
        }
    }

    /// Names what is about to come into force.
    fn learn(&self, next: &Next) {
        match &next.difference {
            Difference::Whole(registry, _) => self.directory.learn(registry),
            Difference::One(edit) => {
                if let (name, Some(connection)) = edit.connection() {
                    self.directory.learn_one(&self.registry, name, connection);
                }
            }
        }
    }

    fn crew(&self) -> Result<Arc<Crew>, Failure> {
        self.crew.clone().ok_or_else(|| internal("no worker has started"))
    }

    /// Keeps what is to come into force, and puts it in force, unless workers are behind already or
    /// it cannot be kept: then nothing changes.
    fn put_in_force(&mut self, step: Step, next: Next) -> Result<u32, Failure> {
        let crew = self.crew()?;
        // What is kept must come into force: who would not adopt it is found out before.
        let mut published = self.publisher.settle(&crew).map(|()| self.number());
        if published.is_ok() {
            let generation = self.publisher.following(step).map_err(|error| {
                internal(&format!("the data path cannot take this change: {error}"))
            })?;
            self.write_down(&next)?;
            self.learn(&next);
            published = self.publisher.publish(generation, &crew, &self.directory.read());
            if matches!(published, Err(Lag::Before(_))) {
                // A worker ended in between.
                self.take_back(&next)?;
            } else {
                self.make(next);
            }
        }
        let number = self.number().0;
        let (code, message) = match published {
            Ok(_) => return Ok(number),
            Err(Lag::Before(laggards)) => (
                ErrorCode::Refused,
                format!("nothing was changed: {laggards} has not adopted generation {number} yet"),
            ),
            Err(Lag::After(laggards)) => (
                ErrorCode::Timeout,
                format!("generation {number} is in force, but {laggards} has not adopted it yet"),
            ),
        };
        log(&message);
        let cure = "wait a moment and try again; if it stays so, the worker hangs, which is a bug \
                    of adit: restart adit, and report it";
        Err(Failure::new(code, message, cure))
    }
}

/// What is to be said of a NAT IP that leaves, given what they are after it.
fn farewell(before: &Departure, after: &Departures) -> Option<String> {
    let Departure { service, address, .. } = before;
    let is_it = |one: &&Departure| (&one.service, one.address) == (service, *address);
    match after.iter().find(is_it) {
        None => Some(format!("service {service}: NAT IP {address} is gone")),
        Some(now) if now.stage != before.stage => Some(format!(
            "service {service}: NAT IP {address} had its time to drain: its flows are closed"
        )),
        Some(_) => None,
    }
}

fn internal(message: &str) -> Failure {
    Failure::new(ErrorCode::Internal, message, "this is a bug of adit: please report it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ConnectionState;

    /// The demo's configuration, in a file, with endpoints under this address.
    fn configuration(dir: &Path, endpoints: &str) -> PathBuf {
        let path = dir.join("adit.toml");
        let text = include_str!("../demo/adit.toml").replace("@CONTROL_SOCKET@", "/tmp/socket");
        std::fs::write(&path, text.replace("10.0.0.5", endpoints)).unwrap();
        path
    }

    #[test]
    fn while_a_worker_is_behind_nothing_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = configuration(dir.path(), "10.0.0.5");
        let (text, _) = read_configuration(&path).unwrap();
        let config = config::check(&text).unwrap().config;
        let mut controller = Controller::new(&path, config, 1).unwrap();
        controller.publisher = controller.publisher.impatient();
        let crew = Arc::new(Crew::played(2, controller.cell()));
        let recorder = Recorder::start(controller.settings(), &crew, controller.directory());
        controller.attach(Arc::clone(&crew), recorder.unwrap());
        (0..2).for_each(|worker| crew.play_adoption(worker, 1));

        let late = controller.reload().unwrap_err();
        assert_eq!((late.code, controller.number().0), (ErrorCode::Timeout, 2));
        crew.play_adoption(0, 2);
        configuration(dir.path(), "10.0.0.77");
        let name = controller.config.endpoints()[0].name.clone();
        let before = controller.config.endpoints()[0].addresses;
        let reject = Request::Reject { endpoint: name.to_string(), message: None };
        for request in [Request::Reload {}, reject.clone()] {
            let refused = controller.answer(&request).unwrap_err();
            assert_eq!((refused.code, controller.number().0), (ErrorCode::Refused, 2));
            assert!(refused.message.contains("worker 1 has not adopted generation 2"));
            assert!(refused.cure.contains("restart adit"));
            assert_eq!(controller.config.endpoints()[0].addresses, before);
            let state = controller.registry.connection(&name).map(|connection| connection.state);
            assert_eq!(state, Some(ConnectionState::Approved));
        }
        crew.play_adoption(1, 2);
        let late = controller.answer(&reject).unwrap_err();
        assert_eq!((late.code, controller.number().0), (ErrorCode::Timeout, 3));
        let state = controller.registry.connection(&name).map(|connection| connection.state);
        assert_eq!(state, Some(ConnectionState::Rejected), "it is in force");
    }
}
