//! The web as people have it: curl against nginx, from both tenants at once, down to the last byte
//! of 100 MB.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use lab::{Process, pattern};

use super::{PACKET_2, TAP};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::role;
use crate::runner::find;
use crate::world::{Backend, ENDPOINT, NAT_IPS, Station, World, dial, port};

const BYTES: u64 = 100_000_000;
const REQUESTS: usize = 10;

pub(super) const CASES: &[Case] = &[
    Case::new("web::packet_curl_and_nginx", PACKET_2, web).with(&["curl", "nginx"]),
    Case::new("web::tap_curl_and_nginx", TAP, web).with(&["curl", "nginx"]),
];

fn web(world: &mut World) -> Outcome {
    let directory = world.adit.directory().to_owned();
    write_pattern(&directory.join("large"), BYTES)?;
    let start = |backend| start_nginx(&directory, backend, Site::Plain);
    let _running = world.backends.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let bodies = world.both(|station| {
        (0..REQUESTS).map(|_| curl(station, "hello", &[])).collect::<Result<Vec<_>, _>>()
    })?;
    for body in bodies.iter().flatten() {
        let words = String::from_utf8_lossy(body);
        let peer = words.trim().rsplit(' ').next().unwrap_or_default();
        let known = NAT_IPS.iter().any(|nat_ip| nat_ip.to_string() == peer);
        ensure!(known && words.starts_with("backend-"), "nginx answered {words:?}");
    }
    for offloads in [true, false] {
        world.set_offloads(offloads)?;
        world.both(download)?;
    }
    world.wait_for_balance()
}

/// How nginx is asked, and whom it names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    /// As any web server; it names the station that it sees.
    Plain,
    /// Behind PROXY headers; it names the client and the address that it dialled.
    Proxied,
}

pub(super) fn write_pattern(file: &Path, bytes: u64) -> std::io::Result<()> {
    let mut writer = BufWriter::new(File::create(file)?);
    let mut chunk = vec![0; 100_000];
    for at in (0..bytes).step_by(chunk.len()) {
        pattern::fill(at, &mut chunk);
        writer.write_all(&chunk)?;
    }
    writer.flush()
}

/// nginx as one process in the foreground, with all its files in a directory of its own. Its user
/// is the sandbox's root, who may be an ordinary user outside, and the only one that is known.
pub(super) fn start_nginx(files: &Path, backend: &Backend, site: Site) -> Result<Process, Failure> {
    let own_address = SocketAddr::new(backend.station.address().into(), port::NGINX.1);
    start_nginx_at(files, backend, own_address, site)
}

/// The same, at another address of the backend.
pub(super) fn start_nginx_at(
    files: &Path,
    backend: &Backend,
    own_address: SocketAddr,
    site: Site,
) -> Result<Process, Failure> {
    let station = &backend.station;
    let own = files.join(format!("nginx-{}", station.name()));
    fs::create_dir(&own)?;
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths.map(|name| format!("{name}_temp_path {}/{name};", own.display())).join(" ");
    let (listen, client) = match site {
        Site::Plain => ("", "$remote_addr"),
        Site::Proxied => (
            " proxy_protocol",
            "$proxy_protocol_addr:$proxy_protocol_port at \
             $proxy_protocol_server_addr:$proxy_protocol_server_port",
        ),
    };
    let text = format!(
        "daemon off; master_process off; user root root;\n\
         pid {own}/pid; error_log {own}/error.log;\n\
         events {{}}\nhttp {{ access_log off; sendfile on; {paths}\nserver {{\n\
         listen {own_address}{listen}; root {};\n\
         location = /hello {{ return 200 \"{} saw {client}\\n\"; }} }} }}\n",
        files.display(),
        station.name(),
        own = own.display(),
    );
    let file = own.join("nginx.conf");
    fs::write(&file, text)?;
    let program = find("nginx").ok_or("nginx is gone")?;
    let mut command = role::program_in(station.namespace(), program)?;
    command.arg("-p").arg(&own).arg("-c").arg(&file).stdout(Stdio::null());
    command.stderr(File::create(own.join("standard-error"))?);
    let mut process = Process::start(command)?;
    let connects = || std::net::TcpStream::connect(own_address).is_ok();
    wait_until("nginx listens", || {
        if let Some(status) = process.child().try_wait()? {
            let said = fs::read_to_string(own.join("standard-error"))?;
            return Err(format!("nginx ended: {status}: {said}").into());
        }
        Ok(station.namespace().run(connects)?)
    })?;
    Ok(process)
}

fn command(station: &Station, path: &str) -> Result<std::process::Command, Failure> {
    let endpoint = SocketAddr::new(ENDPOINT.into(), dial(port::NGINX).destination.port());
    command_to(station, endpoint, path)
}

fn command_to(
    station: &Station,
    endpoint: SocketAddr,
    path: &str,
) -> Result<std::process::Command, Failure> {
    let mut command = role::program_in(station.namespace(), find("curl").ok_or("curl is gone")?)?;
    let url = format!("http://{endpoint}/{path}");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "40", "--noproxy", "*"]);
    command.arg(url);
    Ok(command)
}

/// What curl prints of a page.
pub(super) fn curl(station: &Station, path: &str, more: &[&str]) -> Result<Vec<u8>, Failure> {
    let output = command(station, path)?.args(more).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "curl ended with {}: {said}", output.status);
    Ok(output.stdout)
}

/// What curl prints of a page of another endpoint.
pub(super) fn curl_at(
    station: &Station,
    endpoint: SocketAddr,
    path: &str,
) -> Result<Vec<u8>, Failure> {
    let output = command_to(station, endpoint, path)?.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "curl to {endpoint} ended with {}: {said}", output.status);
    Ok(output.stdout)
}

/// The large file, each byte compared.
pub(super) fn download(station: &Station) -> Result<(), Failure> {
    take(command(station, "large")?, BYTES)
}

/// The same from another endpoint, where it has so many bytes.
pub(super) fn download_at(
    station: &Station,
    endpoint: SocketAddr,
    bytes: u64,
) -> Result<(), Failure> {
    take(command_to(station, endpoint, "large")?, bytes)
}

fn take(mut command: std::process::Command, expected: u64) -> Result<(), Failure> {
    command.stdout(Stdio::piped());
    let mut process = Process::start(command)?;
    let mut body = process.child().stdout.take().ok_or("curl has no output")?;
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0;
    loop {
        let bytes = body.read(&mut buffer)?;
        if bytes == 0 {
            break;
        }
        ensure!(pattern::matches(received, &buffer[..bytes]), "a wrong byte after {received}");
        received += bytes as u64;
    }
    let status = process.wait(crate::case::PATIENCE)?;
    ensure!(status.success() && received == expected, "curl: {status}, {received} bytes");
    Ok(())
}
