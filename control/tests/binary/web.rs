//! The page and the metrics over HTTP: who gets what, and what a browser makes of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

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

/// A page that is shown these views, one after the other, each drawn once.
fn draw(browser: &mut Browser, views: &[&Value]) {
    for view in views {
        let script = format!(
            "window.fetch = async () => ({{ ok: true, json: async () => ({view}) }}), \
            look().then(() => {{ document.body.dataset.drawn = '{}'; }}), 'asked'",
            view["at_ms"]
        );
        browser.text(&script);
        browser.wait_for(&format!("document.body.dataset.drawn === '{}'", view["at_ms"]));
    }
}

/// The rows of a table, the cells of each with bars between them.
fn rows(browser: &mut Browser, table: &str) -> Vec<String> {
    let script = format!(
        "[...document.querySelectorAll('{table} tbody tr')]\
        .map(row => [...row.children].map(cell => cell.textContent).join('|')).join('\\n')"
    );
    browser.text(&script).lines().map(str::to_owned).collect()
}

/// What a daemon would say, `view` apart, had it carried something: known counts, 2 s apart. In the
/// third view a backend is gone.
fn views(view: &Value) -> [Value; 3] {
    let traffic = |[packets_in, bytes_in, packets_out, bytes_out]: [u64; 4]| {
        json!({ "packets_in": packets_in, "bytes_in": bytes_in, "packets_out": packets_out,
            "bytes_out": bytes_out })
    };
    let account = |backend: Option<&str>, counts| {
        let mut account = traffic(counts);
        account["backend"] = json!(backend);
        account["protocol"] = json!(backend.map(|_| "tcp"));
        account
    };
    let (near, far) = (Some("10.1.0.10"), Some("10.1.0.11"));
    let mut views = [view.clone(), view.clone(), view.clone()];
    let at = view["at_ms"].as_u64().unwrap();
    for (view, later) in views.iter_mut().zip([0, 2_000, 3_000]) {
        view["at_ms"] = json!(at + later);
    }
    let [first, second, third] = &mut views;
    first["endpoints"][0]["traffic"] = traffic([10, 1_000, 20, 2_000]);
    first["endpoints"][0]["accounts"] = json!([account(near, [10, 1_000, 20, 2_000])]);
    for view in [second, &mut *third] {
        view["endpoints"][0]["traffic"] = traffic([2_014, 4_005_000, 22, 2_200]);
        let nearest = account(near, [2_010, 4_001_000, 20, 2_000]);
        view["endpoints"][0]["accounts"] = json!([nearest, account(far, [4, 4_000, 2, 200])]);
        view["endpoints"][1]["traffic"] = traffic([6, 600, 0, 0]);
        view["endpoints"][1]["accounts"] = json!([account(far, [6, 600, 0, 0])]);
    }
    third["endpoints"][0]["accounts"][1] = account(None, [4, 4_000, 2, 200]);
    views
}

#[test]
fn a_browser_shows_traffic_by_endpoint_backend_and_protocol() {
    let Some(mut browser) = Browser::start() else {
        eprintln!("SKIPPED: no chromium on this machine: apt-get install chromium");
        return;
    };
    let home = Home::new();
    let (_daemon, address) = start(&home);
    browser.open(&format!("http://{address}/"));
    browser.wait_for("document.body.dataset.ready === 'yes'");
    let shown = |browser: &mut Browser, at: u32| {
        rows(browser, &format!("#traffic table:nth-of-type({at})"))
    };
    for table in 1..=3 {
        assert_eq!(shown(&mut browser, table), ["No packet was translated yet."]);
    }

    // From now on it looks only when it is told to.
    browser.text("for (let one = 0; one < 1000; one += 1) clearInterval(one); 'stopped'");
    let (_, view) = get(&address, "/api/view");
    let [first, second, third] = views(&serde_json::from_str(&view).unwrap());
    draw(&mut browser, &[&first, &first, &second]);
    let of_endpoints = [
        "pe-a|web|2.0 MB|1,002|100 B|1|4,005,000|2,014|2,200|22",
        "pe-b|web|300 B|3|0 B|0|600|6|0|0",
    ];
    assert_eq!(shown(&mut browser, 1), of_endpoints);
    let of_backends = [
        "10.1.0.10|p|2.0 MB|1,000|0 B|0|4,001,000|2,010|2,000|20",
        "10.1.0.11|p|2.3 kB|5|100 B|1|4,600|10|200|2",
    ];
    assert_eq!(shown(&mut browser, 2), of_backends);
    let of_paths = [
        "pe-a|10.1.0.10|tcp|2.0 MB|1,000|0 B|0|4,001,000|2,010|2,000|20",
        "pe-a|10.1.0.11|tcp|2.0 kB|2|100 B|1|4,000|4|200|2",
        "pe-b|10.1.0.11|tcp|300 B|3|0 B|0|600|6|0|0",
    ];
    assert_eq!(shown(&mut browser, 3), of_paths);
    let boxes = browser.text("document.querySelector('#topology').textContent");
    assert!(boxes.contains("in 2.0 MB/s, out 100 B/s"), "{boxes}");

    // A backend that goes leaves its sum to the others: that is no traffic of now.
    browser.text("window.kept = document.querySelector('#traffic tbody th'), 'kept'");
    draw(&mut browser, &[&third]);
    let of_paths = [
        "pe-a|10.1.0.10|tcp|0 B|0|0 B|0|4,001,000|2,010|2,000|20",
        "pe-a|others||0 B|0|0 B|0|4,000|4|200|2",
        "pe-b|10.1.0.11|tcp|0 B|0|0 B|0|600|6|0|0",
    ];
    assert_eq!(shown(&mut browser, 3), of_paths);
    // Who reads a table keeps the place: what did not change is the element that it was.
    assert_eq!(
        browser.text("String(window.kept === document.querySelector('#traffic tbody th'))"),
        "true"
    );
    assert_traffic_is_accessible(&mut browser);
}

/// By keyboard alone one gets to all that scrolls, and hears what it is.
#[track_caller]
fn assert_traffic_is_accessible(browser: &mut Browser) {
    let unreachable = "String([...document.querySelectorAll('.wide')].filter(one => \
        one.tabIndex !== 0 || \
        !document.getElementById(one.getAttribute('aria-labelledby'))).length)";
    assert_eq!(browser.text(unreachable), "0");
    let nameless = "String(document.querySelectorAll('#traffic table:not(:has(caption))').length)";
    assert_eq!(browser.text(nameless), "0");
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
