//! What a change costs among many endpoints: one is created, approved, rejected and deleted through
//! the API, and others are decided on through the control socket, while a daemon has as many as
//! wanted.
//!
//! The daemon is this very program under adit's name, with TAP devices in a sandbox. Its processor
//! time says what a change costs it; the clock says what a client waits, which on a machine that
//! does other things is mostly waiting for a processor, and on a disk waiting for the disk. So a
//! request that only looks is measured beside them, and what the disk takes by itself.

mod configuration;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use control::api::{Answer, Request, Response};
use lab::client::Https;
use serde_json::{Value, json};

use configuration::{GROUPS, configuration};

/// A program that finds itself under this name does what adit does.
pub const ADIT: &str = "adit";

/// How long the daemon may take to start, among very many endpoints.
const START_TIME: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Endpoints that the file has.
    pub endpoints: usize,
    /// Endpoints that the API makes before.
    pub by_api: usize,
    /// How often each change is made.
    pub rounds: usize,
    /// Where state is kept.
    pub state: PathBuf,
}

/// What one kind of change took.
#[derive(Clone, Debug)]
pub struct Score {
    /// Which.
    pub change: &'static str,
    /// Processor time of the daemon for each, if it was measured.
    pub processor: Option<Duration>,
    /// How long the client waited, shortest first.
    pub waits: Vec<Duration>,
}

impl Score {
    /// What so many of a hundred waited at most.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let at = (self.waits.len() * percent / 100).min(self.waits.len().saturating_sub(1));
        self.waits.get(at).copied().unwrap_or_default()
    }
}

/// Measures every change.
///
/// # Errors
/// The daemon does not start, or refuses something.
pub fn run(setup: &Setup, progress: impl Fn(&str)) -> io::Result<Vec<Score>> {
    let mut scores = vec![disk(setup)?];
    progress(&format!("starting with {} endpoints of the file", setup.endpoints));
    let daemon = Daemon::start(setup)?;
    let mut bench = Bench::new(&daemon, setup)?;
    bench.furnish()?;
    progress(&format!("making {} endpoints by the API", setup.by_api));
    for at in 0..setup.by_api {
        bench.create(&format!("own-{at}"), at)?;
    }
    progress("measuring");
    scores.push(bench.measure("look", Bench::look)?);
    scores.push(bench.measure("create", |bench, at| bench.create(&format!("new-{at}"), at))?);
    scores.push(bench.measure("approve", |bench, at| bench.decide(at, "Approved"))?);
    scores.push(bench.measure("reject", |bench, at| bench.decide(at, "Rejected"))?);
    scores.push(bench.measure("delete", Bench::delete)?);
    if setup.endpoints >= setup.rounds {
        let decide = |request: fn(String) -> Request| {
            move |bench: &mut Bench, at: usize| bench.command(&request(format!("pe-{at}")))
        };
        let reject = |endpoint| Request::Reject { endpoint, message: None };
        let approve = |endpoint| Request::Approve { endpoint, message: None };
        scores.push(bench.measure("reject, by command", decide(reject))?);
        scores.push(bench.measure("approve, by command", decide(approve))?);
    }
    Ok(scores)
}

/// What a small write takes that is on the disk when it returns.
fn disk(setup: &Setup) -> io::Result<Score> {
    fs::create_dir_all(&setup.state)?;
    let path = setup.state.join("probe");
    let file = File::create(&path)?;
    let write = |at: u64| {
        let began = Instant::now();
        file.write_all_at(&[7; 4096], at * 4096)?;
        file.sync_data()?;
        Ok(began.elapsed())
    };
    let mut waits = (0..100).map(write).collect::<io::Result<Vec<Duration>>>()?;
    waits.sort_unstable();
    fs::remove_file(path)?;
    Ok(Score { change: "the disk alone", processor: None, waits })
}

/// adit, ended with its handle.
struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(setup: &Setup) -> io::Result<Daemon> {
        let (socket, file) = (setup.state.join("adit.sock"), setup.state.join("adit.toml"));
        fs::write(&file, configuration(&socket, setup.endpoints))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(ADIT).arg("run").arg("--config").arg(&file);
        command.args(["--arm", "127.0.0.1:0", "--state"]).arg(setup.state.join("state"));
        let log = File::create(setup.state.join("log"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = Daemon { child: command.spawn()?, socket };
        let began = Instant::now();
        while UnixStream::connect(&daemon.socket).is_err() {
            if began.elapsed() > START_TIME {
                return Err(io::Error::other("adit does not start; its log is in the folder"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }

    /// User and system time so far: fields 14 and 15 of proc_pid_stat(5), in hundredths.
    fn processor_time(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let fields = behind_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already, if that fails.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client of the API, and one of the control socket.
struct Bench<'d> {
    daemon: &'d Daemon,
    rounds: usize,
    client: Https,
    /// Where the resources of the file are, and those that are made.
    file: String,
    own: String,
    /// Names of the connections that were made, by number.
    connections: Vec<String>,
}

impl<'d> Bench<'d> {
    fn new(daemon: &'d Daemon, setup: &Setup) -> io::Result<Bench<'d>> {
        let Response::Access(access) = ask(&daemon.socket, &Request::Access { identity: None })?
        else {
            return Err(io::Error::other("adit does not serve its API"));
        };
        let path = |group: &str| {
            let subscription = &access.subscription;
            format!(
                "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/"
            )
        };
        let (file, own) = (path(&access.resource_group), path("made"));
        let (rounds, connections) = (setup.rounds, Vec::new());
        let server = access.endpoint.trim_start_matches("https://").parse();
        let server = server.map_err(io::Error::other)?;
        let client = Https::connect(server, &access.token, Path::new(&access.ca));
        let client = client.map_err(io::Error::other)?;
        Ok(Bench { daemon, rounds, client, file, own, connections })
    }

    fn measure(
        &mut self,
        change: &'static str,
        mut make: impl FnMut(&mut Bench<'d>, usize) -> io::Result<()>,
    ) -> io::Result<Score> {
        let before = self.daemon.processor_time()?;
        let mut waits = Vec::with_capacity(self.rounds);
        for at in 0..self.rounds {
            let began = Instant::now();
            make(self, at)?;
            waits.push(began.elapsed());
        }
        let used = self.daemon.processor_time()?.saturating_sub(before);
        waits.sort_unstable();
        let each = used / u32::try_from(self.rounds.max(1)).unwrap_or(u32::MAX);
        Ok(Score { change, processor: Some(each), waits })
    }

    /// Sends a request that must succeed.
    fn send(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let path = format!("{path}?api-version=2024-05-01");
        let answer = self.client.send(method, &path, &body).map_err(io::Error::other)?;
        if !(200..300).contains(&answer.status) {
            let said = format!("{method} {path}: {} {}", answer.status, answer.body);
            return Err(io::Error::other(said));
        }
        Ok(serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }

    /// Networks for endpoints that are made.
    fn furnish(&mut self) -> io::Result<()> {
        for group in 0..GROUPS {
            let subnet = json!({ "name": "s", "properties": { "addressPrefix": "10.0.0.0/16" } });
            let body = json!({ "location": "local", "properties": {
                "addressSpace": { "addressPrefixes": ["10.0.0.0/16"] }, "subnets": [subnet],
            }});
            let path = format!("{}virtualNetworks/made-{group}", self.own);
            self.send("PUT", &path, Some(&body))?;
        }
        Ok(())
    }

    fn look(&mut self, at: usize) -> io::Result<()> {
        let path = format!("{}virtualNetworks/made-{}", self.own, at % GROUPS);
        self.send("GET", &path, None).map(drop)
    }

    fn create(&mut self, name: &str, at: usize) -> io::Result<()> {
        let (own, group) = (&self.own, at % GROUPS);
        let subnet = format!("{own}virtualNetworks/made-{group}/subnets/s");
        let service = format!("{}privateLinkServices/service-{group}", self.file);
        let body = json!({ "location": "local", "properties": {
            "subnet": { "id": subnet },
            "manualPrivateLinkServiceConnections": [
                { "name": "c", "properties": { "privateLinkServiceId": service } },
            ],
        }});
        let path = format!("{own}privateEndpoints/{name}");
        let made = self.send("PUT", &path, Some(&body))?;
        let nic = made["properties"]["networkInterfaces"][0]["id"].as_str().unwrap_or_default();
        let guid = nic.rsplit('.').next().unwrap_or_default();
        if name.starts_with("new-") {
            self.connections.push(format!("{name}.{guid}"));
        }
        Ok(())
    }

    fn decide(&mut self, at: usize, status: &str) -> io::Result<()> {
        let (file, group, name) = (&self.file, at % GROUPS, &self.connections[at]);
        let service = format!("{file}privateLinkServices/service-{group}");
        let path = format!("{service}/privateEndpointConnections/{name}");
        let state = json!({ "status": status, "description": "measured" });
        let body = json!({ "properties": { "privateLinkServiceConnectionState": state } });
        self.send("PUT", &path, Some(&body)).map(drop)
    }

    fn delete(&mut self, at: usize) -> io::Result<()> {
        let path = format!("{}privateEndpoints/new-{at}", self.own);
        self.send("DELETE", &path, None).map(drop)
    }

    fn command(&mut self, request: &Request) -> io::Result<()> {
        match ask(&self.daemon.socket, request)? {
            Response::Decided { changed: true, .. } => Ok(()),
            other => Err(io::Error::other(format!("{request:?} was answered {other:?}"))),
        }
    }
}

/// The answer of the control socket.
fn ask(socket: &Path, request: &Request) -> io::Result<Response> {
    let stream = UnixStream::connect(socket)?;
    (&stream).write_all(request.line().as_bytes())?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let answer: Answer = serde_json::from_str(&line)?;
    answer.into_result().map_err(|failure| io::Error::other(failure.message))
}

/// The scores for people.
#[must_use]
pub fn table(scores: &[Score], setup: &Setup) -> String {
    let Setup { endpoints, by_api, rounds, state } = setup;
    let all = endpoints + by_api;
    let mut text = format!(
        "{all} endpoints, {by_api} of them made by the API; each change {rounds} times; state in \
         {}\n\n{:<20} {:>13} {:>9} {:>9} {:>9}\n",
        state.display(),
        "change",
        "processor",
        "p50",
        "p99",
        "most"
    );
    for score in scores {
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        let processor = score.processor.map(ms).unwrap_or_default();
        let [middle, high, most] = [50, 99, 100].map(|percent| ms(score.percentile(percent)));
        let change = score.change;
        text += &format!("{change:<20} {processor:>13} {middle:>9} {high:>9} {most:>9}\n");
    }
    text
}

/// The same for programs: an object for each.
#[must_use]
pub fn lines(scores: &[Score], setup: &Setup) -> Vec<Value> {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let line = |score: &Score| {
        json!({
            "change": score.change,
            "endpoints": setup.endpoints,
            "by_api": setup.by_api,
            "rounds": score.waits.len(),
            "processor_ms": score.processor.map(ms),
            "p50_ms": ms(score.percentile(50)),
            "p99_ms": ms(score.percentile(99)),
            "most_ms": ms(score.percentile(100)),
        })
    };
    scores.iter().map(line).collect()
}
