//! Changes among thousands of endpoints: how long until every worker works with them, and that
//! nobody else's packets or flows are touched meanwhile.
//!
//! Ten thousand of the file are decided on by the control socket. Beside two thousand of the file
//! others come, are approved, rejected and go by the API. The time is printed; what a shared
//! machine and a debug build may take is bounded loosely. What it took where is in
//! docs/operations.md.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use control::api::Request;
use lab::client::{Https, Session, udp_exchange};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::reload::load;
use super::{FAST_2, PACKET_2};
use crate::case::{Case, Failure, Outcome, PATIENCE};
use crate::world::{CLIENT, World, dial, endpoint, number, port, service, text};

const ENDPOINTS: usize = 10_000;
const DECISIONS: usize = 200;

/// What the slowest but two of them may take on a machine that does other things as well.
const BOUND: Duration = Duration::from_millis(250);

/// Endpoints of the file while others come and go, and how many of those.
const FEWER: usize = 2_000;
const COMINGS: usize = 60;

/// Where datagrams come from meanwhile.
const SOURCE_PORT: u16 = 5_353;

/// The service that they lead to, which has no others: Azure's limit is 1,000.
const SERVICE: &str = "other";

pub(super) const CASES: &[Case] = &[
    Case::new("decisions::among_10000_endpoints", PACKET_2, decisions),
    Case::new("decisions::endpoints_come_and_go", PACKET_2, comings_and_goings),
    Case::new("decisions::endpoints_come_and_go_fast", FAST_2, comings_and_goings),
];

fn decisions(world: &mut World) -> Outcome {
    world.config.more = endpoints(ENDPOINTS);
    world.reload()?;
    let session = world.a().namespace().run(|| Session::open(&dial(port::HTTP)))??;
    let (flows, stop) = (world.adit.status("flows_opened")?, AtomicBool::new(false));
    let (times, bytes) = thread::scope(|scope| {
        let loading = scope.spawn(|| load(&session, &stop));
        let times = decide_often(world);
        stop.store(true, Ordering::Relaxed);
        let bytes = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, Failure>((times?, bytes?))
    })?;
    let share = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    print!(
        "[p50 {:.1} ms, p99 {:.1} ms, during {} MB] ",
        share(50).as_secs_f64() * 1e3,
        share(99).as_secs_f64() * 1e3,
        bytes / 1_000_000
    );
    ensure!(share(99) < BOUND, "99 of 100 decisions took up to {:?}", share(99));
    let dropped = world.adit.status("dropped")?;
    ensure!(dropped == 0, "{dropped} packets were dropped meanwhile");
    for field in ["flows_moved", "flows_revoked", "flows_reset"] {
        let count = world.adit.status(field)?;
        ensure!(count == 0, "{count} {field}");
    }
    ensure!(world.adit.status("flows_opened")? == flows, "the flow went on");
    world.wait_for_balance()
}

/// Endpoints of the second consumer's, approved.
fn endpoints(count: usize) -> String {
    let mut many = String::new();
    for at in 0..count {
        let address = format!("10.0.{}.{}", 1 + at / 250, 1 + at % 250);
        // Writing to a string does not fail.
        let _ = many.write_str(&endpoint(&format!("pe-{at}"), "b", &address, "web", "Approved"));
    }
    many
}

/// A download and an exchange of datagrams go on, counted at both ends and by adit, while
/// endpoints come, are decided on and go, of the same network and towards the same backends.
fn comings_and_goings(world: &mut World) -> Outcome {
    world.config.more = endpoints(FEWER) + &service(SERVICE, &["10.1.0.6".to_owned()]);
    world.adit.configure(&world.config.text())?;
    world.adit.signal(Signal::TERM)?;
    world.adit.wait(PATIENCE)?;
    world.adit.start_with(&["--arm", "127.0.0.1:0"])?;
    world.wait_until_ready()?;
    world.wait_until_served()?;
    let session = world.a().namespace().run(|| Session::open(&dial(port::HTTP)))??;
    let before = Seen::of(world, &session)?;
    let stop = AtomicBool::new(false);
    let (times, bytes, datagrams) = thread::scope(|scope| {
        let loading = scope.spawn(|| load(&session, &stop));
        let asking = scope.spawn(|| world.a().namespace().run(|| exchange(&stop)));
        let times = world.middle.run(|| come_and_go(world));
        stop.store(true, Ordering::Relaxed);
        let bytes = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let datagrams = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, Failure>((times??, bytes?, datagrams??))
    })?;
    let slow = times[times.len() * 99 / 100];
    print!("[{} changes, p99 {:.1} ms, ", times.len(), slow.as_secs_f64() * 1e3);
    print!("during {} MB and {datagrams} datagrams] ", bytes / 1_000_000);
    ensure!(datagrams > 0 && bytes > 0, "nothing was carried meanwhile");
    let after = Seen::of(world, &session)?;
    ensure!(after.session == before.session, "the flow is {after:?} and was {before:?}");
    ensure!(after.dropped == before.dropped, "dropped: {after:?}, and before {before:?}");
    ensure!(after.touched == before.touched, "flows: {after:?}, and before {before:?}");
    world.wait_for_balance()
}

/// What must not change.
#[derive(Debug, PartialEq)]
struct Seen {
    /// Backend and NAT port of the session, by adit and by the backend.
    session: (String, u64, bool),
    dropped: u64,
    touched: [u64; 3],
}

impl Seen {
    fn of(world: &World, session: &Session) -> Result<Seen, Failure> {
        let port = session.stream().local_addr()?.port();
        let sessions = world.adit.sessions()?;
        let is_it = |one: &&Value| one["client_port"] == port && one["protocol"] == "tcp";
        let own = sessions.iter().find(is_it).ok_or("the session is gone")?;
        let (backend, nat_port) = (text(own, "backend")?.to_owned(), number(own, "nat_port")?);
        let is_peer = world.peers().iter().any(|peer| u64::from(peer.port()) == nat_port);
        let count = |field| world.adit.status(field);
        Ok(Seen {
            session: (backend, nat_port, is_peer),
            dropped: count("dropped")?,
            touched: [count("flows_moved")?, count("flows_revoked")?, count("flows_reset")?],
        })
    }
}

/// Sends datagrams of one flow, one after the other, each of which must be answered.
fn exchange(stop: &AtomicBool) -> Result<u64, Failure> {
    let from = SocketAddrV4::new(CLIENT, SOURCE_PORT);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        udp_exchange(&dial(port::ECHO).from(from), "datagram")?;
        count += 1;
    }
    Ok(count)
}

/// How long each change took, shortest first.
fn come_and_go(world: &World) -> Result<Vec<Duration>, Failure> {
    let access = world.adit.ask(&["arm", "env"])?;
    let server = text(&access, "endpoint")?.trim_start_matches("https://").parse()?;
    let client = Https::connect(server, text(&access, "token")?, Path::new(text(&access, "ca")?))?;
    let group = |name: &str| {
        let subscription = access["subscription"].as_str().unwrap_or_default();
        format!("/subscriptions/{subscription}/resourceGroups/{name}/providers/Microsoft.Network/")
    };
    let home = access["resource_group"].as_str().unwrap_or_default();
    let mut api = Api { client, file: group(home), own: group("made"), times: Vec::new() };
    for at in 0..COMINGS {
        let connection = api.create(at)?;
        for status in ["Approved", "Rejected", "Approved"] {
            api.decide(&connection, status)?;
        }
        // A third of them stays.
        if at % 3 > 0 {
            api.change("DELETE", &format!("{}privateEndpoints/new-{at}", api.own), None)?;
        }
    }
    api.times.sort_unstable();
    Ok(api.times)
}

/// A client of the API.
struct Api {
    client: Https,
    /// Where the resources of the file are, and those that are made.
    file: String,
    own: String,
    times: Vec<Duration>,
}

impl Api {
    fn change(&mut self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let path = format!("{path}?api-version=2024-05-01");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let began = Instant::now();
        let answer = self.client.send(method, &path, &body)?;
        self.times.push(began.elapsed());
        ensure!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        Ok(serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// Creates an endpoint beside the first consumer's; the name of its connection.
    fn create(&mut self, at: usize) -> Result<String, Failure> {
        let service = format!("{}privateLinkServices/{SERVICE}", self.file);
        let address = json!({ "privateIPAddress": format!("10.0.200.{}", 1 + at) });
        let body = json!({ "location": "local", "properties": {
            "subnet": { "id": format!("{}virtualNetworks/a/subnets/default", self.file) },
            "ipConfigurations": [{ "name": "i", "properties": address }],
            "manualPrivateLinkServiceConnections": [
                { "name": "c", "properties": { "privateLinkServiceId": service } },
            ],
        }});
        let path = format!("{}privateEndpoints/new-{at}", self.own);
        let made = self.change("PUT", &path, Some(body))?;
        let nic = text(&made["properties"]["networkInterfaces"][0], "id")?;
        Ok(format!("new-{at}.{}", nic.rsplit('.').next().unwrap_or_default()))
    }

    fn decide(&mut self, connection: &str, status: &str) -> Result<Value, Failure> {
        let service = format!("{}privateLinkServices/{SERVICE}", self.file);
        let path = format!("{service}/privateEndpointConnections/{connection}");
        let state = json!({ "status": status, "description": "measured" });
        let body = json!({ "properties": { "privateLinkServiceConnectionState": state } });
        self.change("PUT", &path, Some(body))
    }
}

/// How long each decision took, from the request to the answer, shortest first.
fn decide_often(world: &World) -> Result<Vec<Duration>, Failure> {
    let stream = UnixStream::connect(world.adit.socket())?;
    let mut answers = BufReader::new(&stream);
    let mut times = Vec::new();
    for at in 0..DECISIONS {
        let endpoint = format!("pe-{}", 5_000 + at / 2);
        let request = match at.is_multiple_of(2) {
            true => Request::Reject { endpoint, message: None },
            false => Request::Approve { endpoint, message: None },
        };
        let began = Instant::now();
        (&stream).write_all(request.line().as_bytes())?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        times.push(began.elapsed());
        ensure!(answer.contains("\"changed\":true"), "{answer}");
    }
    times.sort_unstable();
    Ok(times)
}
