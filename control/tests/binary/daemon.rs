//! A daemon's life: start, questions, decisions, reloads, hostile clients, end. Its devices do not
//! exist, so it needs no privilege.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::thread;

use crate::support::{Daemon, Home, PATIENCE, endpoint};
use rustix::process::Signal;
use serde_json::Value;

const SMALL: &str = "workers = 2\nflows_max = 1000";

fn ends_well(daemon: Daemon, home: &Home) -> Vec<String> {
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.wait();
    assert_eq!(status.code(), Some(0), "{log:?}");
    let leftovers: Vec<_> = fs::read_dir(home.path("")).unwrap().flatten().collect();
    assert_eq!(leftovers.len(), 1, "only the configuration is left: {leftovers:?}");
    log
}

fn endpoint_of(daemon: &Daemon, name: &str) -> Value {
    let answer = daemon.json(&["endpoints"]);
    let endpoints = answer["endpoints"].as_array().unwrap();
    endpoints.iter().find(|endpoint| endpoint["name"] == name).cloned().unwrap_or_default()
}

#[test]
fn whoever_starts_it_is_told_how_it_is() {
    let home = Home::new();
    let listener = UnixDatagram::bind(home.path("notify")).unwrap();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut words = [0; 256];
        let length = listener.recv(&mut words).unwrap();
        String::from_utf8_lossy(&words[..length]).into_owned()
    };
    let config = home.configure(SMALL, &endpoint("pe-a", "10.0.0.5", ""));
    let path = home.path("notify");
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "600000")];
    let mut daemon = Daemon::spawn_with(&home, &config, &environment);
    assert_eq!(hear(), "READY=1\nSTATUS=forwarding");
    daemon.wait_for("ready");
    assert_eq!(hear(), "WATCHDOG=1");
    let after_life = || std::iter::repeat_with(hear).find(|words| words != "WATCHDOG=1").unwrap();
    daemon.signal(Signal::HUP);
    assert!(after_life().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(after_life(), "READY=1\nSTATUS=forwarding");
    home.write("adit.toml", "no configuration");
    daemon.signal(Signal::HUP);
    assert!(after_life().starts_with("RELOADING=1"));
    assert!(after_life().contains("READY=1\nSTATUS=forwarding; the last reload was refused"));
    drop(fs::remove_file(home.path("notify")));
    // The file of the socket is gone: nobody is told, and that stops nothing.
    ends_well(daemon, &home);
}

#[test]
fn it_answers_every_question() {
    let home = Home::new();
    let config = home.configure(SMALL, &endpoint("pe-a", "10.0.0.5", "request_message = \"hi\""));
    let mut daemon = Daemon::start(&home, &config);
    let mode = fs::metadata(home.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    daemon.wait_for("adit-no-such-a: down");

    let status = daemon.json(&["status"]);
    assert_eq!(status["generation"], 1);
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(2));
    assert_eq!(status["workers"][1]["generation"], 1);
    assert_eq!(status["devices"][0]["state"], "down");
    assert_eq!(status["next_hops"].as_array().map(Vec::len), Some(2));
    assert_eq!(status["received"], 0);
    let words = ["generation     1", "adit-no-such-p", "down: ", "10.1.0.10", "not resolved"];
    daemon.ask(&["status"]).expect(0, &words);

    daemon.ask(&["endpoints"]).expect(0, &["pe-a", "10.0.0.5", "Pending", "536870913", "hi"]);
    let words = ["10.1.0.4", "http", "8080", "10.1.0.11", "64512", "0.0%", "pe-a"];
    daemon.ask(&["services"]).expect(0, &words);
    daemon.ask(&["sessions"]).expect(0, &["no such session"]);
    daemon.ask(&["sessions", "--endpoint", "pe-a", "--protocol", "udp"]).expect(0, &[]);
    daemon.ask(&["sessions", "--endpoint", "pe-x"]).expect(1, &["did you mean \"pe-a\"?"]);
    let sessions = daemon.json(&["sessions"]);
    assert_eq!((&sessions["last"], &sessions["more"]), (&true.into(), &0.into()));
    let ask = |vnet, to| daemon.ask(&["explain", "tcp", vnet, "10.0.0.9:40000", to]);
    ask("a", "10.0.0.5:80").expect(0, &["x device", "device_down", "It is dropped", "picks it up"]);
    ask("aa", "10.0.0.5:80").expect(1, &["no virtual network \"aa\"", "did you mean \"a\"?"]);
    ask("a", "nowhere").expect(2, &["DESTINATION:PORT"]);
    daemon.ask(&["kill", "0-0-00000000"]).expect(1, &["no session 0-0-00000000", "adit sessions"]);
    daemon.ask(&["kill", "9-0-00000000"]).expect(1, &["no session"]);
    daemon.ask(&["kill", "all"]).expect(2, &["not the id of a session"]);
    daemon.ask(&["drops"]).expect(0, &["No packet was dropped"]);
    daemon.ask(&["drops", "--all"]).expect(0, &["nat_ports_exhausted", "0 in all"]);
    let log = ends_well(daemon, &home);
    assert!(log.iter().any(|line| line.contains("stopped after")), "{log:?}");
}

#[test]
fn decisions_take_effect_and_repeat_without_one() {
    let home = Home::new();
    let config = home.configure(SMALL, &endpoint("pe-a", "10.0.0.5", ""));
    let daemon = Daemon::start(&home, &config);
    daemon.ask(&["approve", "pe-a"]).expect(0, &["is now Approved", "generation 2"]);
    daemon.ask(&["approve", "pe-a"]).expect(0, &["was already Approved", "generation 2"]);
    assert_eq!(endpoint_of(&daemon, "pe-a")["connection_state"], "Approved");
    daemon.ask(&["reject", "pe-a", "--message", "by Ann"]).expect(0, &["Rejected"]);
    assert_eq!(endpoint_of(&daemon, "pe-a")["description"], "by Ann");
    daemon.ask(&["approve", "pe-a"]).expect(0, &["generation 4"]);
    daemon.ask(&["approve", "pe-b"]).expect(1, &["no private endpoint", "\"pe-a\""]);
    let words = ["control characters", "140"];
    daemon.ask(&["approve", "pe-a", "-m", "\x1b[2J"]).expect(1, &words);
    let workers = &daemon.json(&["status"])["workers"];
    assert_eq!((&workers[0]["generation"], &workers[1]["generation"]), (&4.into(), &4.into()));
    ends_well(daemon, &home);
}

#[test]
fn decisions_outlast_a_restart_where_state_is_kept() {
    let home = Home::new();
    let config = home.configure(SMALL, &endpoint("pe-a", "10.0.0.5", ""));
    let state = home.path("state");
    let kept = ["--state", state.to_str().unwrap()];
    for (more, after) in [(&[][..], "Pending"), (&kept[..], "Approved")] {
        let daemon = Daemon::start_with(&home, &config, more);
        daemon.ask(&["approve", "pe-a"]).expect(0, &["is now Approved"]);
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait().0.code(), Some(0));
        let daemon = Daemon::start_with(&home, &config, more);
        assert_eq!(endpoint_of(&daemon, "pe-a")["connection_state"], after, "{more:?}");
    }
}

#[test]
fn a_plan_says_what_would_change_and_changes_nothing() {
    let home = Home::new();
    let config = home.configure(SMALL, &endpoint("pe-a", "10.0.0.5", ""));
    let daemon = Daemon::start(&home, &config);
    daemon.ask(&["plan"]).expect(0, &["nothing was changed", "It changes nothing", "leaves 0"]);
    let now = fs::read_to_string(&config).unwrap();
    let next = now.replace("10.0.0.5", "10.0.0.6") + &endpoint("pe-b", "10.0.0.7", "");
    let next = home.write("next.toml", &next);
    let words = [
        "+ private_endpoint pe-b",
        "~ private_endpoint pe-a",
        "private_ip_address 10.0.0.5 -> 10.0.0.6",
        "resets no flow",
    ];
    daemon.ask(&["plan", next.to_str().unwrap()]).expect(0, &words);
    let said = daemon.json(&["plan", next.to_str().unwrap()]);
    assert_eq!((&said["generation"], &said["flows"]["stay"]), (&1.into(), &0.into()));
    assert_eq!(said["differences"].as_array().map(Vec::len), Some(2));
    home.write("next.toml", &now.replace("workers = 2", "workers = 1"));
    let words = ["fixed while adit runs", "restart adit"];
    daemon.ask(&["plan", next.to_str().unwrap()]).expect(1, &words);
    home.write("next.toml", "no configuration");
    daemon.ask(&["plan", next.to_str().unwrap()]).expect(1, &["not TOML"]);
    daemon.ask(&["plan", "/no/such/file"]).expect(1, &["cannot be read"]);
    assert_eq!(endpoint_of(&daemon, "pe-a")["private_ip_addresses"][0], "10.0.0.5");
    assert_eq!(daemon.json(&["status"])["generation"], 1);
    home.configure(SMALL, &endpoint("pe-c", "10.0.0.5", ""));
    daemon
        .ask(&["reload", "--plan"])
        .expect(0, &["- private_endpoint pe-a", "+ private_endpoint pe-c"]);
    assert_eq!(endpoint_of(&daemon, "pe-a")["private_ip_addresses"][0], "10.0.0.5");
}

#[test]
fn reloads_are_whole_or_not_at_all() {
    let home = Home::new();
    let (a, b) = (endpoint("pe-a", "10.0.0.5", ""), endpoint("pe-b", "10.0.0.6", ""));
    let config = home.configure(SMALL, &a);
    let mut daemon = Daemon::start(&home, &config);
    daemon.ask(&["approve", "pe-a"]).expect(0, &[]);
    let link = endpoint_of(&daemon, "pe-a")["link_id"].clone();

    home.configure(SMALL, &format!("{b}{a}"));
    daemon.ask(&["reload"]).expect(0, &["generation 3"]);
    let kept = endpoint_of(&daemon, "pe-a");
    assert_eq!((&kept["link_id"], &kept["connection_state"]), (&link, &"Approved".into()));
    assert_eq!(endpoint_of(&daemon, "pe-b")["connection_state"], "Pending");

    home.configure(SMALL, &format!("{b}{}", a.replace("\"web\"", "\"wbe\"")));
    let words = ["has a fault", "nothing was changed", "private_endpoint[1]", "did you mean"];
    daemon.ask(&["reload"]).expect(1, &words);
    home.configure("workers = 1\nflows_max = 2000", &a);
    let words = ["adit.workers", "adit.flows_max", "restart adit", "nothing was changed"];
    daemon.ask(&["reload"]).expect(1, &words);
    fs::remove_file(&config).unwrap();
    daemon.ask(&["reload"]).expect(1, &["cannot be read"]);
    assert_eq!(daemon.json(&["status"])["generation"], 3);
    assert_eq!(endpoint_of(&daemon, "pe-b")["name"], "pe-b");

    home.configure(SMALL, &endpoint("pe-a", "10.0.0.5", "connection_state = \"Rejected\""));
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded: generation 4");
    let changed = endpoint_of(&daemon, "pe-a");
    assert_eq!((&changed["link_id"], &changed["connection_state"]), (&link, &"Rejected".into()));
    home.write("adit.toml", "[adit\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for("not TOML");
    assert_eq!(daemon.json(&["status"])["generation"], 4);
    ends_well(daemon, &home);
}

/// Sends bytes and reads one line of answer.
fn exchange(stream: &mut UnixStream, bytes: &[u8]) -> Value {
    stream.write_all(bytes).unwrap();
    let mut line = String::new();
    BufReader::new(&*stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

#[test]
fn whatever_a_client_sends_the_daemon_lives() {
    let home = Home::new();
    let daemon = Daemon::start(&home, &home.configure(SMALL, ""));
    let mut stream = daemon.connect();
    let lines: [&[u8]; 6] = [
        b"hello\n",
        b"\xff\xfe\0\n",
        b"{\"version\":1}\n",
        b"{\"version\":9,\"request\":\"status\"}\n",
        b"{\"version\":1,\"request\":\"approve\"}\n",
        b"\n \r\n[[[[[[[[[\n",
    ];
    for line in lines {
        let answer = exchange(&mut stream, line);
        assert_eq!(answer["version"], 1);
        let error = &answer["error"];
        assert!(error["code"].is_string() && error["cure"].is_string(), "{answer}");
    }
    let answer = exchange(&mut stream, b"{\"version\":1,\"request\":\"status\"}\n");
    assert_eq!(answer["ok"]["response"], "status");

    // Too long a line is answered, and ends the conversation. Of a flood the daemon reads no more
    // than that, so that writing or reading may break off.
    let mut flood = daemon.connect();
    drop(flood.write_all(&vec![b'x'; 70_000]));
    let mut rest = String::new();
    drop(flood.read_to_string(&mut rest));
    assert!(rest.is_empty() || rest.contains("bad_request"), "{rest}");

    // A request without an end of line is one when the client has no more to say.
    let mut brief = daemon.connect();
    brief.write_all(b"{\"version\":1,\"request\":\"drops\"}").unwrap();
    brief.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    brief.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"drops\""), "{answer}");

    // Clients that say nothing keep nobody from asking, and are sent away as others come.
    let idle: Vec<UnixStream> = (0..70).map(|_| daemon.connect()).collect();
    daemon.ask(&["status"]).expect(0, &[]);
    let mut first = &idle[0];
    assert_eq!(first.read(&mut [0]).unwrap(), 0, "the first of them has been sent away");
    ends_well(daemon, &home);
}

#[test]
fn several_clients_are_served_at_once() {
    let home = Home::new();
    let config = home.configure(SMALL, &endpoint("pe-a", "10.0.0.5", ""));
    let daemon = Daemon::start(&home, &config);
    // One that has not finished its request keeps nobody waiting.
    let mut slow = daemon.connect();
    slow.write_all(b"{\"version\":1,").unwrap();
    thread::scope(|scope| {
        for client in 0..8 {
            let mut stream = daemon.connect();
            scope.spawn(move || {
                for round in 0..25 {
                    let request = match (client + round) % 4 {
                        0 => "{\"version\":1,\"request\":\"approve\",\"endpoint\":\"pe-a\"}\n",
                        1 => "{\"version\":1,\"request\":\"reject\",\"endpoint\":\"pe-a\"}\n",
                        2 => "{\"version\":1,\"request\":\"sessions\"}\n",
                        _ => "{\"version\":1,\"request\":\"status\"}\n",
                    };
                    let answer = exchange(&mut stream, request.as_bytes());
                    assert!(answer["ok"].is_object(), "{answer}");
                }
            });
        }
    });
    let answer = exchange(&mut slow, b"\"request\":\"endpoints\"}\n");
    assert_eq!(answer["ok"]["endpoints"][0]["name"], "pe-a");
    ends_well(daemon, &home);
}

#[test]
fn a_socket_has_one_daemon_and_outlives_none() {
    let home = Home::new();
    let config = home.configure(SMALL, "");
    // What a dead process left is replaced.
    drop(UnixListener::bind(home.socket()).unwrap());
    let first = Daemon::start(&home, &config);
    let (status, log) = Daemon::spawn(&home, &config).wait();
    assert_eq!(status.code(), Some(1));
    assert!(log.iter().any(|line| line.contains("already")), "{log:?}");
    first.ask(&["status"]).expect(0, &[]);
    first.signal(Signal::KILL);
    assert_eq!(first.wait().0.code(), None);
    assert!(home.socket().exists());
    let second = Daemon::start(&home, &config);
    ends_well(second, &home);

    // What is not adit's is left alone.
    let listener = UnixListener::bind(home.socket()).unwrap();
    let (status, log) = Daemon::spawn(&home, &config).wait();
    assert_eq!(status.code(), Some(1));
    assert!(log.iter().any(|line| line.contains("another program")), "{log:?}");
    drop(listener);
    fs::remove_file(home.socket()).unwrap();
    fs::write(home.socket(), "precious").unwrap();
    let (status, _) = Daemon::spawn(&home, &config).wait();
    assert_eq!(status.code(), Some(1));
    assert_eq!(fs::read_to_string(home.socket()).unwrap(), "precious");
}
