//! Who asks, told by PROXY headers: 100 MB behind one in both directions, the three layouts, real
//! nginx and HAProxy, and a server that does not know what a header is.

use std::fs::{self, File};
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lab::Process;
use lab::backend::trouble::ProxyStrict;
use lab::client::{ConnectOutcome, Dial, download, http_get, tcp_connect, upload};

use super::web::{self, Site};
use super::{PACKET, PACKET_2, TAP};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::role;
use crate::runner::find;
use crate::world::{
    Backend, CLIENT, ENDPOINT, Station, World, dial, list, number, port, rule, text,
};

const LARGE: u64 = 100_000_000;
const SMALL: u64 = 20_000_000;
const TRANSFER_TIME: Duration = Duration::from_secs(40);
/// Where consumers dial servers that want a header, and where those listen.
const STRICT: (u16, u16) = (9_200, 9_201);

pub(super) const CASES: &[Case] = &[
    Case::new("proxy::packet_100_mb", PACKET_2, |world| transfers(world, LARGE)),
    Case::new("proxy::tap", TAP, |world| transfers(world, SMALL)),
    Case::new("proxy::dialects", PACKET, dialects),
    Case::new("proxy::blind", PACKET, blind),
    Case::new("proxy::packet_nginx_100_mb", PACKET_2, nginx).with(&["curl", "nginx"]),
    Case::new("proxy::tap_nginx_100_mb", TAP, nginx).with(&["curl", "nginx"]),
    Case::new("proxy::packet_haproxy", PACKET_2, haproxy).with(&["curl", "haproxy"]),
    Case::new("proxy::tap_haproxy", TAP, haproxy).with(&["curl", "haproxy"]),
];

/// Backends are told who asks from now on.
fn tell(world: &mut World, dialect: &str) -> Outcome {
    world.config.more_rules = rule("strict", "Tcp", STRICT, "all");
    world.config.service_settings = format!("proxy_protocol = {dialect:?}\n");
    world.reload()?;
    let services = world.adit.ask(&["services"])?;
    let said = list(&services, "services")?.iter().map(|it| text(it, "proxy_protocol"));
    let said = said.collect::<Result<Vec<_>, _>>()?;
    ensure!(said == [dialect], "adit says {said:?}");
    Ok(())
}

/// Servers on all backends that serve nobody without a header.
fn strict(world: &World) -> Result<Vec<ProxyStrict>, Failure> {
    let start = |backend: &Backend| {
        let station = &backend.station;
        let at = SocketAddrV4::new(station.address(), STRICT.1);
        Ok(ProxyStrict::start(station.namespace(), at, station.name())?)
    };
    world.backends.iter().map(start).collect()
}

/// The ids of both tenants' connections.
fn links(world: &World) -> Result<[u64; 2], Failure> {
    let endpoints = world.adit.ask(&["endpoints"])?;
    let link = |name| {
        let mut endpoints = list(&endpoints, "endpoints")?.iter();
        let endpoint = endpoints.find(|endpoint| endpoint["name"] == name);
        number(endpoint.ok_or("no such endpoint")?, "link_id")
    };
    Ok([link("pe-a")?, link("pe-b")?])
}

/// The headers that servers took name a client of each tenant, by the `tlv` of its link id alone:
/// the addresses are the same.
fn judge_headers(
    world: &World,
    servers: &[ProxyStrict],
    tlv: impl Fn(u64) -> (u8, Vec<u8>),
) -> Result<usize, Failure> {
    let headers: Vec<_> = servers.iter().flat_map(ProxyStrict::headers).collect();
    let wanted = links(world)?.map(tlv);
    let mut seen = [0; 2];
    for header in &headers {
        let (client, dialled) = header.addresses.ok_or("a header without addresses")?;
        let is_right = *client.ip() == CLIENT && dialled == SocketAddrV4::new(ENDPOINT, STRICT.0);
        let tenant = wanted.iter().position(|tlv| header.tlvs == [tlv.clone()]);
        ensure!(is_right, "{header:?}");
        seen[tenant.ok_or_else(|| format!("nobody's header: {header:?}, not {wanted:?}"))?] += 1;
    }
    ensure!(seen.iter().all(|count| *count > 0), "headers of both tenants: {seen:?}");
    Ok(headers.len())
}

fn azure(link: u64) -> (u8, Vec<u8>) {
    let link = u32::try_from(link).unwrap_or_default();
    (0xee, [&[1][..], &link.to_le_bytes()].concat())
}

fn transfers(world: &mut World, bytes: u64) -> Outcome {
    tell(world, "azure")?;
    let servers = strict(world)?;
    for offloads in [true, false] {
        world.set_offloads(offloads)?;
        let dial = dial(STRICT).within(TRANSFER_TIME);
        world.both(|_| Ok(download(&dial, bytes)?))?;
        world.both(|_| Ok(upload(&dial, bytes)?))?;
    }
    let headers = judge_headers(world, &servers, azure)? as u64;
    let connections: u64 = servers.iter().map(ProxyStrict::connections).sum();
    ensure!(headers == connections, "{connections} connections, {headers} headers");
    let sent = world.adit.status("proxy_headers_sent")?;
    ensure!(sent == headers, "adit counts {sent} headers, backends {headers}");
    wait_until("every header is acknowledged", || {
        Ok(world.adit.status("proxy_headers_waiting")? == 0)
    })?;
    world.wait_for_balance()
}

/// A layout, and the TLV that it writes of a link id.
type Layout = (&'static str, fn(u64) -> (u8, Vec<u8>));

fn dialects(world: &mut World) -> Outcome {
    let layouts: [Layout; 3] = [
        ("azure", azure),
        ("aws", |link| (0xea, format!("\u{1}vpce-{link:017x}").into_bytes())),
        ("gcp", |link| (0xe0, link.to_be_bytes().to_vec())),
    ];
    for (name, tlv) in layouts {
        tell(world, name)?;
        let servers = strict(world)?;
        // By header, not by the source address that they see, servers know the client.
        let answers = world.both(|_| Ok(http_get(&dial(STRICT), "/")?))?;
        for answer in &answers {
            ensure!(answer.status == 200, "{answer:?}");
        }
        judge_headers(world, &servers, tlv)?;
    }
    world.wait_for_balance()
}

/// A web server that expects none takes the header for a bad request: it never sees another.
fn blind(world: &mut World) -> Outcome {
    let get = |world: &World| world.a().namespace().run(|| http_get(&dial(port::HTTP), "/"));
    ensure!(get(world)??.status == 200, "without a header it serves");
    tell(world, "azure")?;
    let served = get(world)?.is_ok_and(|answer| answer.status == 200);
    ensure!(!served, "it served a request behind a header that it does not know");
    tell(world, "none")?;
    ensure!(get(world)??.status == 200, "and serves again");
    world.wait_for_balance()
}

fn nginx(world: &mut World) -> Outcome {
    tell(world, "azure")?;
    let directory = world.adit.directory().to_owned();
    web::write_pattern(&directory.join("large"), LARGE)?;
    let start = |backend| web::start_nginx(&directory, backend, Site::Proxied);
    let _running = world.backends.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    world.both(names_client)?;
    for offloads in [true, false] {
        world.set_offloads(offloads)?;
        world.both(web::download)?;
    }
    world.wait_for_balance()
}

fn haproxy(world: &mut World) -> Outcome {
    tell(world, "azure")?;
    let directory = world.adit.directory().to_owned();
    let start = |backend| start_haproxy(&directory, backend);
    let _running = world.backends.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    world.both(names_client)?;
    world.wait_for_balance()
}

/// The server says which client it was told of: the one that asked, at the endpoint that it
/// dialled.
fn names_client(station: &Station) -> Result<(), Failure> {
    for _ in 0..5 {
        let answer = web::curl(station, "hello", &["--write-out", "%{local_port}"])?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (said, client) = answer.rsplit_once('\n').ok_or("an answer of one line")?;
        let wanted =
            format!("saw {CLIENT}:{client} at {ENDPOINT}:{}", dial(port::NGINX).destination.port());
        ensure!(said.trim_end().ends_with(&wanted), "it says {said:?}, not {wanted:?}");
    }
    Ok(())
}

/// HAProxy as one process in the foreground.
fn start_haproxy(files: &Path, backend: &Backend) -> Result<Process, Failure> {
    let station = &backend.station;
    let own = files.join(format!("haproxy-{}", station.name()));
    fs::create_dir(&own)?;
    let text = format!(
        "global\n  maxconn 100\ndefaults\n  mode http\n  timeout client 30s\n  \
         timeout connect 5s\n  timeout server 30s\nfrontend in\n  bind {}:{} accept-proxy\n  \
         http-request return status 200 content-type text/plain \
         lf-string \"{} saw %[src]:%[src_port] at %[dst]:%[dst_port]\\n\"\n",
        station.address(),
        port::NGINX.1,
        station.name(),
    );
    let file = own.join("haproxy.cfg");
    fs::write(&file, text)?;
    let program = find("haproxy").ok_or("haproxy is gone")?;
    let mut command = role::program_in(station.namespace(), program)?;
    command.arg("-db").arg("-f").arg(&file).stdout(Stdio::null());
    command.stderr(File::create(own.join("standard-error"))?);
    let mut process = Process::start(command)?;
    let dial = Dial::to(SocketAddrV4::new(station.address(), port::NGINX.1));
    wait_until("HAProxy listens", || {
        if let Some(status) = process.child().try_wait()? {
            let said = fs::read_to_string(own.join("standard-error"))?;
            return Err(format!("HAProxy ended: {status}: {said}").into());
        }
        Ok(station.namespace().run(|| tcp_connect(&dial))?? == ConnectOutcome::Connected)
    })?;
    Ok(process)
}
