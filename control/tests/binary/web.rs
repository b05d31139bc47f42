//! The page and the metrics over HTTP: who gets what, and what a browser makes of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use crate::browser::Browser;
use crate::support::{Daemon, Home, PATIENCE, endpoint};

/// A daemon with a page, and where that is.
fn start(home: &Home) -> (Daemon, String) {
    let settings = "workers = 2\nflows_max = 1000\nhttp = \"127.0.0.1:0\"";
    let endpoints = endpoint("pe-a", "10.0.0.5", "request_message = \"<b>please</b>\"")
        + &endpoint("pe-b", "10.0.0.6", "");
    let mut daemon = Daemon::start(home, &home.configure(settings, &endpoints));
    let line = daemon.log.iter().find(|line| line.contains("http://")).cloned();
    let line = line.unwrap_or_else(|| daemon.wait_for("http://"));
    let address = line.split("http://").nth(1).unwrap().trim_end_matches('/').to_owned();
    (daemon, address)
}

/// Sends bytes; the status and the body of what comes back.
fn exchange(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, body.to_owned())
}

fn get(address: &str, path: &str) -> (u16, String) {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

fn decide(address: &str, headers: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!("POST /api/decide HTTP/1.1\r\nContent-Length: {length}\r\n{headers}\r\n");
    exchange(address, &(head + body))
}

fn state(daemon: &Daemon) -> String {
    let answer = daemon.json(&["endpoints"]);
    answer["endpoints"][0]["connection_state"].as_str().unwrap().to_owned()
}

#[test]
fn metrics_and_page_are_served_and_only_the_page_decides() {
    let home = Home::new();
    let (daemon, address) = start(&home);
    let (status, metrics) = get(&address, "/metrics");
    assert_eq!(status, 200);
    for line in ["adit_flows 0", "adit_drops_total{reason=\"no_rule\"} 0", "adit_generation 1"] {
        assert!(metrics.lines().any(|there| there == line), "{line} is missing: {metrics}");
    }
    assert!(metrics.contains("adit_pe_pending{endpoint=\"pe-a\""));
    let (status, view) = get(&address, "/api/view");
    let view: Value = serde_json::from_str(&view).unwrap();
    assert_eq!((status, &view["endpoints"][0]["name"]), (200, &"pe-a".into()));
    let (_, page) = get(&address, "/");
    let token = page.split("adit-token\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(token.len() >= 32);
    assert_eq!(get(&address, "/nothing").0, 404);
    let strange = "GET /api/view HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    assert_eq!(exchange(&address, strange).0, 403, "a name that was made to point here");
    assert_eq!(exchange(&address, "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n").0, 405);
    assert_eq!(exchange(&address, "\u{1}\r\n\r\n").0, 400);

    let approve = "{\"endpoint\":\"pe-a\",\"decision\":\"approve\"}";
    let own = format!("Host: {address}\r\nOrigin: http://{address}\r\n");
    let foreign = format!("Host: {address}\r\nOrigin: http://evil.example\r\n");
    let with_token = |headers: &str| format!("{headers}X-Adit-Token: {token}\r\n");
    for headers in [own.as_str(), &format!("{own}X-Adit-Token: guess\r\n"), &with_token(&foreign)] {
        let (status, said) = decide(&address, headers, approve);
        assert_eq!((status, state(&daemon).as_str()), (403, "Pending"), "{headers}: {said}");
    }
    for nonsense in ["", "{}", "{\"endpoint\":\"pe-a\",\"decision\":\"delete\"}"] {
        assert_eq!(decide(&address, &with_token(&own), nonsense).0, 400, "{nonsense}");
    }
    let unknown = approve.replace("pe-a", "pe-aa");
    let (status, said) = decide(&address, &with_token(&own), &unknown);
    assert!(status == 409 && said.contains("did you mean"), "{said}");
    let (status, said) = decide(&address, &with_token(&own), approve);
    assert_eq!((status, state(&daemon).as_str()), (200, "Approved"), "{said}");
}

#[test]
fn an_address_that_is_taken_is_said_at_the_start() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = home.configure(&format!("http = \"{address}\""), "");
    let (status, log) = Daemon::spawn(&home, &config).wait();
    assert_eq!(status.code(), Some(1));
    let line = log.iter().find(|line| line.contains(&address.to_string()));
    assert!(line.is_some_and(|line| line.contains("cannot be served")), "{log:?}");
}

/// What a person does: looks, clicks, sees that it took effect.
#[test]
fn a_browser_shows_the_topology_and_approves_with_a_click() {
    let Some(mut browser) = Browser::start() else {
        eprintln!("SKIPPED: no chromium on this machine: apt-get install chromium");
        return;
    };
    let home = Home::new();
    let (daemon, address) = start(&home);
    browser.open(&format!("http://{address}/"));
    browser.wait_for("document.body.dataset.ready === 'yes'");
    let drawn = "document.querySelectorAll('#topology rect.box').length >= 7";
    browser.wait_for(drawn);
    let label = browser.text("document.querySelector('#topology title').textContent");
    assert!(label.contains("a reaches web by pe-a, Pending"), "{label}");
    // What a consumer writes is shown, and is never markup.
    let why = browser.text("document.querySelector('#connections tr').textContent");
    assert!(why.contains("<b>please</b>"), "{why}");
    assert_eq!(browser.text("String(document.querySelectorAll('#connections b').length)"), "0");
    // Every control has a name, every cell of data a heading, and nothing went wrong.
    let nameless =
        "String([...document.querySelectorAll('button')].filter(b => !b.ariaLabel).length)";
    assert_eq!(browser.text(nameless), "0");
    let headless = "String(document.querySelectorAll('table:not(:has(th[scope=col]))').length)";
    assert_eq!(browser.text(headless), "0");
    browser.text("document.querySelector('[data-decide=\"approve pe-a\"]').click(), 'clicked'");
    browser.wait_for("document.querySelector('#answer').textContent === 'pe-a is now Approved.'");
    assert_eq!(state(&daemon), "Approved");
    browser.wait_for("document.querySelector('#connections td.Approved') !== null");
    drop(daemon);
    browser.wait_for("!document.querySelector('#lost').hidden");
}
