//! Serves the control socket: a thread for each client, a line for each request.
//!
//! Bounds: so many clients at once, so many bytes a line, so much time for it. Whatever a client
//! sends or fails to send, only its own connection ends.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::controller::Controller;
use super::crew::Crew;
use super::sessions::{Found, Lens, Walker};
use super::socket::ControlSocket;
use super::{DaemonError, log};
use crate::api::{
    Answer, ErrorCode, Failure, Line, Lines, REQUEST_BYTES_MAX, Request, Response, SessionFilter,
};

/// Clients at once at most.
const CLIENTS_MAX: usize = 64;

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
    walker: Walker,
    clients: AtomicUsize,
}

impl Daemon {
    pub(super) fn new(controller: Controller, crew: Arc<Crew>) -> Daemon {
        let walker = Walker::new(Arc::clone(&crew));
        let (controller, clients) = (Mutex::new(controller), AtomicUsize::new(0));
        Daemon { controller, crew, walker, clients }
    }

    fn answer(&self, request: &Request, client: &mut UnixStream) -> io::Result<()> {
        match request {
            Request::Sessions(filter) => match self.find_sessions(filter) {
                Ok(found) => write_sessions(client, found),
                Err(failure) => write(client, Err(failure)),
            },
            other => {
                let result = self.controller.lock().answer(other);
                write(client, result)
            }
        }
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

fn greet(mut client: UnixStream, daemon: &Arc<Daemon>) {
    let place = Place::take(daemon);
    let ready = client.set_write_timeout(Some(WRITE_TIME));
    let (Some(place), Ok(())) = (place, ready) else {
        let message = format!("{CLIENTS_MAX} clients are connected already");
        let failure = Failure::new(ErrorCode::Busy, message, "try again in a moment");
        drop(write(&mut client, Err(failure)));
        return;
    };
    // What ends a conversation concerns only its client, and a thread that cannot start gives its
    // place back.
    let talk = move || drop(converse(&mut client, &place.0));
    drop(thread::Builder::new().name("client".to_owned()).spawn(talk));
}

/// One of [`CLIENTS_MAX`].
struct Place(Arc<Daemon>);

impl Place {
    fn take(daemon: &Arc<Daemon>) -> Option<Place> {
        let place = Place(Arc::clone(daemon));
        (daemon.clients.fetch_add(1, Ordering::Relaxed) < CLIENTS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers a client's requests until it leaves.
fn converse(client: &mut UnixStream, daemon: &Daemon) -> io::Result<()> {
    let mut lines = Lines::default();
    while let Some(line) = next_line(&mut lines, client)? {
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
    }
    Ok(())
}

/// The next line that a client sends within the time for it; `None` when it has left.
fn next_line(lines: &mut Lines, client: &mut UnixStream) -> io::Result<Option<Line>> {
    let deadline = Instant::now() + REQUEST_TIME;
    let mut chunk = [0; 4096];
    loop {
        if let Some(line) = lines.take() {
            return Ok(Some(line));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        client.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let room = chunk.len().min(lines.room());
        match client.read(&mut chunk[..room]) {
            Ok(0) => return Ok(std::mem::take(lines).finish().map(Line::Request)),
            Ok(length) => lines.push(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn write(client: &mut UnixStream, result: Result<Response, Failure>) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Answer::new(result))?;
    line.push(b'\n');
    client.write_all(&line)
}

fn write_sessions(client: &mut UnixStream, found: Found) -> io::Result<()> {
    let Found { mut sessions, more } = found;
    while sessions.len() > LINE_SESSIONS {
        let rest = sessions.split_off(LINE_SESSIONS);
        let part = std::mem::replace(&mut sessions, rest);
        write(client, Ok(Response::Sessions { sessions: part, last: false, more: 0 }))?;
    }
    write(client, Ok(Response::Sessions { sessions, last: true, more }))
}
