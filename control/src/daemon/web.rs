//! Serves metrics and the page over HTTP: a thread for each connection, one request each.
//!
//! Everybody who can reach the address may read metrics. The page, and what it asks for, is for
//! this machine alone; only the page itself may decide (see `web::request`). Bounds: so many
//! connections at once, so many bytes a request, so much time for it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::audit::Who;
use super::server::Daemon;
use super::{DaemonError, facts, log};
use crate::api::Request as Asked;
use crate::web::metrics::{Facts, prometheus};
use crate::web::request::{self, Request};
use crate::web::{Answer, file};

/// Connections at once.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take to send its request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What every connection needs.
struct Site {
    daemon: Arc<Daemon>,
    token: String,
    open: AtomicUsize,
}

/// A decision that the page sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    endpoint: String,
    decision: String,
}

/// Binds the address: a low port needs a privilege that is dropped later.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, DaemonError> {
    TcpListener::bind(address).map_err(|error| failed(address, &error))
}

fn failed(address: SocketAddr, error: &io::Error) -> DaemonError {
    let problem = format!("http: {address} cannot be served: {error}");
    DaemonError::new(problem, "name an address of this machine and a free port: `http`")
}

/// Serves it on a thread that lives as long as the process; says the address in full, for a port of
/// 0 becomes one that was free.
pub(super) fn serve(
    listener: TcpListener,
    daemon: &Arc<Daemon>,
) -> Result<SocketAddr, DaemonError> {
    let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let bound = listener.local_addr().map_err(|error| failed(anywhere, &error))?;
    let failed = |error: io::Error| failed(bound, &error);
    let words: Result<Vec<String>, _> =
        (0..2).map(|_| getrandom::u64().map(|word| format!("{word:016x}"))).collect();
    let token = words.map_err(|error| failed(io::Error::other(error.to_string())))?.concat();
    let (daemon, open) = (Arc::clone(daemon), AtomicUsize::new(0));
    let site = Arc::new(Site { daemon, token, open });
    let accept = move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => greet(stream, &site),
                // Most likely descriptors have run out: no use in trying at once.
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    };
    thread::Builder::new().name("http".to_owned()).spawn(accept).map_err(failed)?;
    Ok(bound)
}

fn greet(stream: TcpStream, site: &Arc<Site>) {
    if site.open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
        site.open.fetch_sub(1, Ordering::AcqRel);
        // Whoever is turned away sees a closed connection.
        return;
    }
    let of = Arc::clone(site);
    let talk = move || {
        // What ends a conversation concerns only its client.
        drop(converse(&stream, &of));
        of.open.fetch_sub(1, Ordering::AcqRel);
    };
    if thread::Builder::new().name("http-client".to_owned()).spawn(talk).is_err() {
        site.open.fetch_sub(1, Ordering::AcqRel);
    }
}

fn converse(stream: &TcpStream, site: &Site) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let is_local = stream.peer_addr()?.ip().to_canonical().is_loopback();
    let answer = match read(stream)? {
        Ok(request) => site.answer(&request, is_local),
        Err((status, message)) => Answer::refused(status, message, "send a plain request"),
    };
    (&mut &*stream).write_all(&answer.bytes())?;
    stream.shutdown(std::net::Shutdown::Write)
}

/// The request that a client sends within the time for it.
fn read(stream: &TcpStream) -> io::Result<Result<Request, request::Refused>> {
    let deadline = Instant::now() + PATIENCE;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match request::parse(&bytes) {
            Ok(None) => {}
            Ok(Some(request)) => return Ok(Ok(request)),
            Err(refused) => return Ok(Err(refused)),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match (&mut &*stream).read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Site {
    fn answer(&self, request: &Request, is_local: bool) -> Answer {
        let is_get = request.method == "GET";
        match (request.path.as_str(), is_get) {
            ("/metrics", true) => self.metrics(),
            ("/api/decide", false) if request.method == "POST" => self.decide(request, is_local),
            ("/api/decide", _) | (_, false) => {
                Answer::refused(405, "this method means nothing here", "see `adit help`")
            }
            _ if !(is_local && request.is_for_loopback()) => Answer::refused(
                403,
                "the page is for the machine that adit runs on",
                "open it there, as http://localhost, or through a tunnel; /metrics is for all",
            ),
            ("/api/view", true) => self.view(),
            (path, true) => file(path, &self.token).unwrap_or_else(|| {
                Answer::refused(404, "there is no such page", "look at / or /metrics")
            }),
        }
    }

    /// Everything that the page shows, as of now.
    fn view(&self) -> Answer {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.gather(|facts| {
            let view = serde_json::json!({
                "at_ms": at,
                "status": facts.status,
                "endpoints": facts.endpoints,
                "services": facts.services,
                "drops": facts.drops,
            });
            Answer::ok("application/json", view.to_string())
        })
    }

    fn metrics(&self) -> Answer {
        self.gather(|facts| Answer::ok(prometheus::KIND, prometheus::render(facts)))
    }

    fn gather(&self, with: impl FnOnce(&Facts<'_>) -> Answer) -> Answer {
        let answer = facts::gather(&self.daemon, with);
        answer.unwrap_or_else(|| Answer::refused(503, "adit is not ready", "try again in a moment"))
    }

    /// Approves or rejects, for the page alone.
    fn decide(&self, request: &Request, is_local: bool) -> Answer {
        if !(is_local && request.is_from_own_page(&self.token)) {
            let cure = "reload the page; in scripts, use `adit approve` and `adit reject`";
            return Answer::refused(403, "only adit's own page may decide", cure);
        }
        let Ok(Decided { endpoint, decision }) = serde_json::from_slice(&request.body) else {
            return Answer::refused(400, "this is no decision", "reload the page");
        };
        let message = || Some("By the web page".to_owned());
        let request = match decision.as_str() {
            "approve" => Asked::Approve { endpoint, message: message() },
            "reject" => Asked::Reject { endpoint, message: message() },
            _ => return Answer::refused(400, "this is no decision", "reload the page"),
        };
        match self.daemon.decide(&request, Who::Page) {
            Ok(decided) => match serde_json::to_string(&decided) {
                Ok(text) => Answer::ok("application/json", text),
                Err(error) => Answer::refused(500, &error.to_string(), "please report it"),
            },
            Err(failure) => Answer::refused(409, &failure.message, &failure.cure),
        }
    }
}

/// Says where the page is.
pub(super) fn announce(bound: SocketAddr) {
    log(format_args!("page and metrics at http://{bound}/"));
}
