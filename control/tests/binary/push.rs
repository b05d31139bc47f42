//! Metrics that are sent to OpenTelemetry receivers: one that takes them strictly by their
//! definition, and such that are dead or refuse.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Daemon, Home, PATIENCE, endpoint};

/// A Python that has OpenTelemetry's definitions; `.ci/run` installs it.
const PYTHON: &str = "python-opentelemetry";

/// A daemon that sends its metrics to this port ten times a second.
fn start(home: &Home, port: u16) -> Daemon {
    let push = format!(
        "[open_telemetry]\nurl = \"http://127.0.0.1:{port}\"\ninterval = \"100ms\"\n{}",
        endpoint("pe-a", "10.0.0.5", "")
    );
    Daemon::start(home, &home.configure("workers = 1\nflows_max = 1000", &push))
}

/// The receiver that is not ours.
struct Receiver {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Receiver {
    /// Starts it; `None` if there is none on this machine.
    fn start() -> Option<(Receiver, u16)> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/binary/receiver.py");
        let mut command = Command::new(PYTHON);
        let child = command.arg(script).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.ok()?;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut receiver = Receiver { child, lines };
        let port = receiver.lines.next().unwrap().unwrap().parse().unwrap();
        Some((receiver, port))
    }

    /// What it makes of the next request.
    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_receiver_that_is_strict_takes_every_metric() {
    let Some((mut receiver, port)) = Receiver::start() else {
        eprintln!("SKIPPED: no {PYTHON} on this machine: .ci/run installs it");
        return;
    };
    let home = Home::new();
    let daemon = start(&home, port);
    let (first, second) = (receiver.next(), receiver.next());
    assert_eq!((&first["error"], &second["error"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&first["path"], &first["type"]),
        (&"/v1/metrics".into(), &"application/json".into())
    );
    assert_eq!(first["resource"]["service.name"], "adit");
    let socket = home.socket().display().to_string();
    assert!(first["resource"]["service.instance.id"].as_str().unwrap().ends_with(&socket));
    let points = second["points"].as_array().unwrap();
    for point in [
        json!(["adit_flows", "gauge", {}, 0]),
        json!(["adit_drops_total", "sum", { "reason": "no_rule" }, 0]),
        json!(["adit_pe_pending", "gauge", { "endpoint": "pe-a", "virtual_network": "a",
            "service": "web", "link_id": "536870913" }, 1]),
        json!(["adit_pls_nat_ports_usage_percent", "gauge",
            { "service": "web", "nat_ip": "10.1.0.4" }, 0.0]),
        json!(["adit_metrics_push_total", "sum",
            { "to": format!("http://127.0.0.1:{port}/v1/metrics") }, 1]),
    ] {
        assert!(points.contains(&point), "{point} is missing from {points:?}");
    }
    let status = daemon.json(&["status"]);
    assert_eq!(status["metrics_push"]["lost"], 0, "{status}");
}

/// Waits until the daemon says this of where its metrics go.
#[track_caller]
fn wait_until(daemon: &Daemon, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let push = daemon.json(&["status"])["metrics_push"].clone();
        if is_so(&push) {
            return push;
        }
        assert!(Instant::now() < deadline, "never {what}: {push}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Reads a whole request and answers it; its head and its body.
fn answer(stream: &mut TcpStream, answer: &str) -> (String, Value) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    let (head, body) = loop {
        let length = stream.read(&mut chunk).unwrap();
        assert!(length > 0, "the request is whole");
        bytes.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == length.unwrap().parse::<usize>().unwrap() {
            break (head.to_owned(), body.to_owned());
        }
    };
    stream.write_all(answer.as_bytes()).unwrap();
    (head, serde_json::from_str(&body).unwrap())
}

#[test]
fn what_is_not_taken_is_counted_and_said_once() {
    let home = Home::new();
    // A port that is nobody's, for now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut daemon = start(&home, address.port());
    let push = wait_until(&daemon, "lost thrice", |push| push["lost"].as_u64() >= Some(3));
    assert_eq!(push["sent"], 0);
    assert!(push["trouble"].as_str().unwrap().contains("cannot be reached"), "{push}");

    let receiver = TcpListener::bind(address).unwrap();
    let (mut stream, _) = receiver.accept().unwrap();
    let (head, body) = answer(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: {address}")), "{head}");
    assert!(body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].is_array());
    wait_until(&daemon, "sent", |push| push["sent"] == 1);
    daemon.wait_for("sent again");
    let said = daemon.log.iter().filter(|line| line.contains("cannot be reached"));
    assert_eq!(said.count(), 1, "{:#?}", daemon.log);

    let left_out = "{\"partialSuccess\":{\"rejectedDataPoints\":\"7\",\"errorMessage\":\"old\"}}";
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{left_out}\r\n0\r\n\r\n",
        left_out.len()
    );
    answer(&mut receiver.accept().unwrap().0, &chunked);
    wait_until(&daemon, "left out", |push| push["rejected_samples"] == 7);
    let refused = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    answer(&mut receiver.accept().unwrap().0, refused);
    let push = wait_until(&daemon, "refused", |push| !push["trouble"].is_null());
    assert_eq!((&push["sent"], &push["rejected_samples"]), (&json!(2), &json!(7)));
    assert!(push["trouble"].as_str().unwrap().contains("503"), "{push}");
}
