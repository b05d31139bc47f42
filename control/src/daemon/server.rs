//! Serves the control socket: a thread for each client, a line for each request.
//!
//! Bounds: so many clients at once (see `clients`), so many bytes a line, so much time for it.
//! Whatever a client sends or fails to send, only its own connection ends.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::audit::{Audit, Changed, Entry, Who};
use super::clients::{CLIENTS_MAX, Clients, Place};
use super::controller::Controller;
use super::crew::Crew;
use super::directory::Directory;
use super::inquiry::Inquirer;
use super::recorder::Recorder;
use super::sessions::{Found, Lens, Names, Walker};
use super::socket::ControlSocket;
use super::{DaemonError, log};
use crate::api::{
    Answer, ErrorCode, Failure, Line, Lines, Packet, REQUEST_BYTES_MAX, Request, Response,
    SessionFilter, SessionId,
};
use crate::arm::Access;

/// How long a client may take to send a request, from the answer before it.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// How long a client may refuse to read.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// Sessions on a line of answer at most.
const LINE_SESSIONS: usize = 500;

/// Everything that clients can reach.
pub(super) struct Daemon {
    pub(super) controller: Mutex<Controller>,
    pub(super) crew: Arc<Crew>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) directory: Arc<Directory>,
    pub(super) audit: Arc<Audit>,
    pub(super) walker: Walker,
    pub(super) inquirer: Inquirer,
    /// Held by whoever watches packets.
    pub(super) tracing: Mutex<()>,
    clients: Arc<Clients>,
    /// Gives out tokens of the API, if it is served.
    door: OnceLock<Door>,
}

/// Gives an identity, or the operator, what it needs to reach the API.
pub(super) type Door = Box<dyn Fn(Option<&str>) -> Result<Access, Failure> + Send + Sync>;

impl Daemon {
    pub(super) fn new(controller: Controller, crew: Arc<Crew>, recorder: Arc<Recorder>) -> Daemon {
        let directory = Arc::clone(controller.directory());
        let audit = Arc::clone(controller.audit());
        let walker = Walker::new(Arc::clone(&crew));
        let inquirer = Inquirer::new(Arc::clone(&crew));
        let (controller, clients) = (Mutex::new(controller), Arc::default());
        let door = OnceLock::new();
        let tracing = Mutex::default();
        Daemon {
            controller,
            crew,
            recorder,
            directory,
            audit,
            walker,
            inquirer,
            tracing,
            clients,
            door,
        }
    }

    /// From now on the API's tokens are given out; the first word stands.
    pub(super) fn let_in(&self, door: Door) {
        drop(self.door.set(door));
    }

    fn access(&self, identity: Option<&str>) -> Result<Response, Failure> {
        let door = self.door.get().ok_or_else(|| {
            let cure = "start adit with --arm 127.0.0.1:8443";
            Failure::new(ErrorCode::Refused, "this adit does not serve the API", cure)
        })?;
        door(identity).map(Response::Access)
    }

    fn answer(&self, request: &Request, client: &UnixStream) -> io::Result<()> {
        match request {
            Request::Sessions(filter) => match self.find_sessions(filter) {
                Ok(found) => write_sessions(client, found),
                Err(failure) => write(client, Err(failure)),
            },
            Request::Explain(packet) => write(client, self.explain(packet)),
            Request::Plan { file } => write(client, self.plan(file.as_deref())),
            Request::Whois(suspect) => write(client, self.whois(suspect)),
            Request::Kill { session } => write(client, self.kill(*session, who(client))),
            Request::Trace(filter) => self.trace(filter, client),
            Request::Access { identity } => write(client, self.access(identity.as_deref())),
            Request::Approve { .. } | Request::Reject { .. } | Request::Reload {} => {
                write(client, self.decide(request, who(client)))
            }
            other => {
                let result = self.controller.lock().answer(other);
                write(client, result)
            }
        }
    }

    /// What the worker that owns the packet's flow says of it. The lock is free while it is asked.
    fn explain(&self, packet: &Packet) -> Result<Response, Failure> {
        let asked = self.controller.lock().asked(packet, self.inquirer.workers())?;
        let explanation = self.inquirer.explain(asked.worker, asked.key)?;
        let explanation = Box::new(self.controller.lock().explanation(&explanation));
        Ok(Response::Explained { packet: packet.clone(), explanation })
    }

    /// A decision or a reload: answered when it is written down who made it.
    pub(super) fn decide(&self, request: &Request, who: Who) -> Result<Response, Failure> {
        let (result, changes, generation) = {
            let mut controller = self.controller.lock();
            let result = controller.answer(request);
            (result, controller.take_changes(), controller.number().0)
        };
        let (action, target, message) = match request {
            Request::Approve { endpoint, message } => ("approve", Some(endpoint), message.clone()),
            Request::Reject { endpoint, message } => ("reject", Some(endpoint), message.clone()),
            _ => ("reload", None, None),
        };
        let entry = Entry::new(who, action, generation).about(target.cloned(), message);
        self.conclude(entry.with(changes), result)
    }

    /// Writes down what became of a request, and answers it.
    fn conclude(
        &self,
        entry: Entry,
        result: Result<Response, Failure>,
    ) -> Result<Response, Failure> {
        let error = result.as_ref().err().map(|failure| failure.message.clone());
        let written = self.audit.write(&entry.failed(error));
        let response = result?;
        written.map(|()| response)
    }

    fn kill(&self, id: SessionId, who: Who) -> Result<Response, Failure> {
        let result = self.end(id);
        let generation = self.controller.lock().number().0;
        let entry = Entry::new(who, "kill", generation).about(Some(id.to_string()), None);
        let changes = match &result {
            Ok(Response::Killed { session, .. }) => vec![Changed::session(session)],
            _ => Vec::new(),
        };
        self.conclude(entry.with(changes), result)
    }

    fn end(&self, id: SessionId) -> Result<Response, Failure> {
        let session = self.inquirer.end(id)?;
        let after = self.inquirer.show(id.worker, session.number)?;
        let is_reset = after.is_some_and(|after| {
            after.key == session.key && after.state == dataplane::flow::State::Resetting
        });
        let session = Names::of(self.controller.lock().registry()).view(&session, id.worker);
        log(format_args!(
            "session {id} of {}:{} killed by command",
            session.client, session.client_port
        ));
        Ok(Response::Killed { session: Box::new(session), is_reset })
    }

    fn find_sessions(&self, filter: &SessionFilter) -> Result<Found, Failure> {
        let lens = {
            let controller = self.controller.lock();
            let registry = controller.registry();
            let link = match &filter.endpoint {
                None => None,
                Some(endpoint) => {
                    let name = controller.find_endpoint(endpoint)?;
                    registry.connection(&name).map(|connection| connection.link)
                }
            };
            Lens::new(registry, filter, link)
        };
        self.walker.walk(&lens)
    }
}

/// Accepts clients on a thread that lives as long as the process.
pub(super) fn serve(
    socket: &ControlSocket,
    daemon: &Arc<Daemon>,
) -> Result<JoinHandle<()>, DaemonError> {
    let failed = |error: io::Error| {
        DaemonError::new(format!("the control socket cannot be served: {error}"), "try again")
    };
    let listener = socket.listener().map_err(failed)?;
    let daemon = Arc::clone(daemon);
    let accept = move || accept(&listener, &daemon);
    thread::Builder::new().name("control".to_owned()).spawn(accept).map_err(failed)
}

fn accept(listener: &UnixListener, daemon: &Arc<Daemon>) {
    for client in listener.incoming() {
        match client {
            Ok(client) => greet(client, daemon),
            Err(error) => {
                log(format_args!("a client cannot be accepted: {error}"));
                // Most likely descriptors have run out: no use in trying at once.
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn greet(client: UnixStream, daemon: &Arc<Daemon>) {
    if client.set_write_timeout(Some(WRITE_TIME)).is_err() {
        return;
    }
    let client = Arc::new(client);
    let Some(place) = daemon.clients.admit(&client) else {
        let message = format!("{CLIENTS_MAX} clients are busy already");
        let failure = Failure::new(ErrorCode::Busy, message, "try again in a moment");
        drop(write(&client, Err(failure)));
        return;
    };
    // What ends a conversation concerns only its client, and a thread that cannot start gives its
    // place back.
    let daemon = Arc::clone(daemon);
    let talk = move || drop(converse(&place, &daemon));
    drop(thread::Builder::new().name("client".to_owned()).spawn(talk));
}

/// Who is at the other end.
fn who(client: &UnixStream) -> Who {
    let credentials = rustix::net::sockopt::socket_peercred(client);
    Who::UnixUid(credentials.ok().map(|credentials| credentials.uid.as_raw()))
}

/// Answers a client's requests until it leaves.
fn converse(place: &Place, daemon: &Daemon) -> io::Result<()> {
    let client = place.stream();
    let mut lines = Lines::default();
    while let Some(line) = next_line(&mut lines, client)? {
        place.answer();
        match line {
            Line::Request(line) if line.iter().all(u8::is_ascii_whitespace) => {}
            Line::Request(line) => match Request::parse(&line) {
                Ok(request) => daemon.answer(&request, client)?,
                Err(failure) => write(client, Err(failure))?,
            },
            Line::TooLong => {
                let message = format!("the request has more than {REQUEST_BYTES_MAX} bytes");
                let failure = Failure::new(ErrorCode::BadRequest, message, "send a shorter one");
                return write(client, Err(failure));
            }
        }
        place.listen();
    }
    Ok(())
}

/// The next line that a client sends within the time for it; `None` when it has left.
fn next_line(lines: &mut Lines, client: &UnixStream) -> io::Result<Option<Line>> {
    let deadline = Instant::now() + REQUEST_TIME;
    let mut chunk = [0; 4096];
    loop {
        if let Some(line) = lines.take() {
            return Ok(Some(line));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        client.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let room = chunk.len().min(lines.room());
        match (&mut &*client).read(&mut chunk[..room]) {
            Ok(0) => return Ok(std::mem::take(lines).finish().map(Line::Request)),
            Ok(length) => lines.push(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn write(client: &UnixStream, result: Result<Response, Failure>) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Answer::new(result))?;
    line.push(b'\n');
    (&mut &*client).write_all(&line)
}

fn write_sessions(client: &UnixStream, found: Found) -> io::Result<()> {
    let Found { mut sessions, more } = found;
    while sessions.len() > LINE_SESSIONS {
        let rest = sessions.split_off(LINE_SESSIONS);
        let part = std::mem::replace(&mut sessions, rest);
        write(client, Ok(Response::Sessions { sessions: part, last: false, more: 0 }))?;
    }
    write(client, Ok(Response::Sessions { sessions, last: true, more }))
}
