//! Sends the metrics to an OpenTelemetry receiver, every so often, on a thread of its own.
//!
//! Nothing waits for it. Metrics are made only when the receiver has taken a connection, so that
//! one that is dead costs an attempt. What could not be sent is not sent later: the next metrics
//! say everything that it would have said. Bounds: one exchange at a time, [`PATIENCE`] for each
//! step of it, [`ANSWER_BYTES_MAX`] of an answer.

use std::fmt;
use std::fs;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::server::Daemon;
use super::{DaemonError, facts, log};
use crate::api;
use crate::config::{MetricsPush, Receiver};
use crate::web::metrics::open_telemetry::{Sender, rejected, render};

/// How long the receiver may take to take a connection, and to answer a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where metrics are sent, and what became of them.
#[derive(Debug)]
pub(super) struct Push {
    settings: MetricsPush,
    sent: AtomicU64,
    lost: AtomicU64,
    rejected_samples: AtomicU64,
    trouble: Mutex<Option<String>>,
}

/// Why metrics could not be sent.
type Trouble = String;

impl Push {
    pub(super) fn new(settings: &MetricsPush) -> Push {
        let settings = settings.clone();
        let (sent, lost, rejected_samples) = Default::default();
        Push { settings, sent, lost, rejected_samples, trouble: Mutex::default() }
    }

    /// How it is.
    pub(super) fn status(&self) -> api::MetricsPush {
        api::MetricsPush {
            to: self.settings.to.to_string(),
            sent: self.sent.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            rejected_samples: self.rejected_samples.load(Ordering::Relaxed),
            trouble: self.trouble.lock().clone(),
        }
    }

    /// Counts what became of a sending, and says so when that is news.
    fn settle(&self, result: Result<u64, Trouble>) {
        let trouble = match result {
            Ok(rejected) => {
                self.sent.fetch_add(1, Ordering::Relaxed);
                self.rejected_samples.fetch_add(rejected, Ordering::Relaxed);
                None
            }
            Err(why) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                Some(why)
            }
        };
        let mut known = self.trouble.lock();
        let to = &self.settings.to;
        match (&*known, &trouble) {
            (None, Some(why)) => log(format_args!("metrics to {to}: {why}; tried again and again")),
            (Some(_), None) => log(format_args!("metrics to {to}: sent again")),
            _ => {}
        }
        *known = trouble;
    }
}

/// Sends from now on, as long as the process lives.
pub(super) fn start(push: &Arc<Push>, daemon: &Arc<Daemon>) -> Result<(), DaemonError> {
    let failed = |error: io::Error| {
        DaemonError::new(format!("metrics cannot be sent: {error}"), "try again")
    };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (push, daemon) = (Arc::clone(push), Arc::clone(daemon));
    let sender = sender(&daemon);
    let run = move || run(&push, &daemon, &runtime, &sender);
    thread::Builder::new().name("metrics".to_owned()).spawn(run).map_err(failed)?;
    Ok(())
}

fn sender(daemon: &Daemon) -> Sender {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_owned();
    let (socket, uptime) = {
        let controller = daemon.controller.lock();
        (controller.settings().control_socket.value.display().to_string(), controller.uptime())
    };
    let now_ns = nanoseconds();
    let uptime = u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX);
    let started_ns = now_ns.saturating_sub(uptime);
    Sender { instance: format!("{host}:{socket}"), host, started_ns, now_ns }
}

fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn run(push: &Push, daemon: &Daemon, runtime: &Runtime, sender: &Sender) {
    loop {
        let began = Instant::now();
        push.settle(send(&push.settings.to, daemon, runtime, sender));
        thread::sleep(push.settings.interval.saturating_sub(began.elapsed()));
    }
}

/// Sends all metrics of now; how many samples the receiver has left out.
fn send(
    to: &Receiver,
    daemon: &Daemon,
    runtime: &Runtime,
    sender: &Sender,
) -> Result<u64, Trouble> {
    let stream = connect(to)?;
    let sender = Sender { now_ns: nanoseconds(), ..sender.clone() };
    let bodies = facts::gather(daemon, |facts| render(facts, &sender));
    let bodies = bodies.ok_or("adit is not ready")?;
    runtime.block_on(exchange(to, stream, bodies))
}

fn connect(to: &Receiver) -> Result<TcpStream, Trouble> {
    let addresses = (to.host.as_str(), to.port).to_socket_addrs();
    let addresses = addresses.map_err(|error| format!("{} is not found: {error}", to.host))?;
    let mut trouble = format!("{} has no address", to.host);
    for address in addresses {
        let connected = TcpStream::connect_timeout(&address, PATIENCE);
        match connected.and_then(|stream| stream.set_nonblocking(true).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => trouble = format!("{address} cannot be reached: {error}"),
        }
    }
    Err(trouble)
}

/// One request after the other, on one connection.
async fn exchange(to: &Receiver, stream: TcpStream, bodies: Vec<String>) -> Result<u64, Trouble> {
    let stream = tokio::net::TcpStream::from_std(stream).map_err(said)?;
    let (mut requests, connection) = handshake(TokioIo::new(stream)).await.map_err(said)?;
    let connection = tokio::spawn(connection);
    let mut rejected = 0;
    for body in bodies {
        let answered = timeout(PATIENCE, ask(to, &mut requests, body)).await;
        rejected += answered.map_err(|_| "no answer in time")??;
    }
    connection.abort();
    Ok(rejected)
}

async fn ask(
    to: &Receiver,
    requests: &mut SendRequest<String>,
    body: String,
) -> Result<u64, Trouble> {
    let request = Request::post(&to.path)
        .header(HOST, to.authority())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("adit/", env!("CARGO_PKG_VERSION")))
        .body(body)
        .map_err(said)?;
    requests.ready().await.map_err(said)?;
    let answer = requests.send_request(request).await.map_err(said)?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
    if status != StatusCode::OK {
        return Err(format!("refused with {status}"));
    }
    Ok(rejected(&body.map_err(said)?).map_or(0, |(samples, _)| samples))
}

fn said(error: impl fmt::Display) -> Trouble {
    error.to_string()
}
