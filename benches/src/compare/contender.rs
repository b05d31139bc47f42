//! Who is measured: adit as its users run it, and the kernel's nftables with the same translation.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::client::{ConnectOutcome, Dial, tcp_connect};
use lab::{LabError, Process};

use super::topology::{
    CLIENT_SIDE, ENDPOINT, NAT_IP, PORT, SERVER, SERVER_PORT, SERVER_SIDE, Topology,
};

/// A contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// adit over packet sockets, one worker.
    Adit,
    /// nftables, destination and source NAT.
    Nftables,
}

impl Kind {
    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Adit => "adit (af_packet)",
            Kind::Nftables => "nftables",
        }
    }
}

/// A contender at work.
pub(super) struct Contender {
    topology: Topology,
    // Ends with the contender.
    _process: Option<Process>,
    _directory: Option<Directory>,
}

impl Contender {
    pub(super) fn start(kind: Kind) -> Result<Contender, LabError> {
        let contender = match kind {
            Kind::Adit => start_adit(Topology::build("adit")?)?,
            Kind::Nftables => start_nftables(Topology::build("nft")?)?,
        };
        wait_until_it_works(kind, &contender.topology)?;
        Ok(contender)
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }
}

fn start_adit(topology: Topology) -> Result<Contender, LabError> {
    let directory = Directory::create()?;
    let file = directory.0.join("adit.toml");
    let socket = directory.0.join("adit.sock");
    let error = |source| LabError::new("write", file.display().to_string(), source);
    fs::write(&file, configuration(&socket.display().to_string())).map_err(error)?;
    let mut command = topology.middle.command(program("adit"))?;
    command.arg("run").arg("--config").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process::start(command)?;
    Ok(Contender { topology, _process: Some(process), _directory: Some(directory) })
}

fn configuration(socket: &str) -> String {
    let pool = "backend_address_pool = \"pool\"";
    let ports = format!("frontend_port = {PORT}, backend_port = {SERVER_PORT}, {pool}");
    format!(
        r#"
[adit]
control_socket = "{socket}"

[[virtual_network]]
name = "consumer"
address_space = ["10.0.0.0/16"]

[[virtual_network]]
name = "provider"
address_space = ["10.1.0.0/16"]

[[device]]
name = "{CLIENT_SIDE}"
kind = "af_packet"
virtual_network = "consumer"

[[device]]
name = "{SERVER_SIDE}"
kind = "af_packet"
virtual_network = "provider"

[[load_balancer]]
name = "lb"
virtual_network = "provider"
backend_address_pool = [{{ name = "pool", backend_addresses = ["{SERVER}"] }}]
load_balancing_rule = [
  {{ name = "tcp", protocol = "Tcp", {ports} }},
  {{ name = "udp", protocol = "Udp", {ports} }},
]

[[private_link_service]]
name = "service"
load_balancer = "lb"
nat_ip_configurations = [{{ name = "nat", private_ip_address = "{NAT_IP}" }}]

[[private_endpoint]]
name = "endpoint"
virtual_network = "consumer"
private_ip_address = "{ENDPOINT}"
private_link_service = "service"
connection_state = "Approved"
"#
    )
}

fn start_nftables(topology: Topology) -> Result<Contender, LabError> {
    topology.client.peer().add_address(ENDPOINT, 16)?;
    topology.server.peer().add_address(NAT_IP, 16)?;
    topology.middle.set_sysctl("ipv4/ip_forward", "1")?;
    let rules = format!(
        "table ip nat {{
            chain pre {{
                type nat hook prerouting priority -100;
                ip daddr {ENDPOINT} tcp dport {PORT} dnat to {SERVER}:{SERVER_PORT}
                ip daddr {ENDPOINT} udp dport {PORT} dnat to {SERVER}:{SERVER_PORT}
            }}
            chain post {{
                type nat hook postrouting priority 100;
                oifname {SERVER_SIDE} snat to {NAT_IP}
            }}
        }}\n"
    );
    let mut command = topology.middle.command("nft")?;
    command.args(["-f", "-"]).stdin(Stdio::piped());
    feed(command, &rules).map_err(|source| LabError::new("run", "nft", source))?;
    Ok(Contender { topology, _process: None, _directory: None })
}

fn feed(mut command: Command, input: &str) -> io::Result<()> {
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

fn wait_until_it_works(kind: Kind, topology: &Topology) -> Result<(), LabError> {
    let deadline = Instant::now() + Duration::from_secs(15);
    let dial = Dial::to(std::net::SocketAddrV4::new(ENDPOINT, PORT));
    let dial = dial.within(Duration::from_millis(500));
    while Instant::now() < deadline {
        if topology.client.run(|| tcp_connect(&dial))?? == ConnectOutcome::Connected {
            return Ok(());
        }
    }
    let source = io::Error::new(io::ErrorKind::TimedOut, "no connection in 15 s");
    Err(LabError::new("connect through", kind.name(), source))
}

/// A program that was built beside this one.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(name)
}

/// A temporary directory that is removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn create() -> Result<Directory, LabError> {
        let path = std::env::temp_dir().join(format!("adit-compare-{}", std::process::id()));
        let error = |source| LabError::new("create", path.display().to_string(), source);
        fs::create_dir_all(&path).map_err(error)?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left in the temporary directory does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}
