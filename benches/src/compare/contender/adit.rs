//! adit: this very program under its name, so that what is measured is never stale.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use dataplane::snapshot::DeviceKind;
use lab::{LabError, Process};

use super::super::topology::{
    ANSWER_PORT, CLIENT_SIDE, ENDPOINT, NAT_IP, SERVER, SERVER_SIDE, SINK_PORT, Site, Topology,
};
use super::{Contender, Directory};

/// A program that finds itself under this name does what adit does.
pub const NAME: &str = "adit";

pub(super) fn start(
    mut topology: Topology,
    device: DeviceKind,
    fast_path: bool,
) -> Result<Contender, LabError> {
    let kind = match device {
        DeviceKind::AfPacket => "af_packet",
        DeviceKind::AfXdp => "af_xdp",
        DeviceKind::Tap => "tap",
    };
    let directory = Directory::create(if fast_path { "fast_path" } else { kind })?;
    let socket = directory.0.join("adit.sock").display().to_string();
    let file = directory.write("adit.toml", &configuration(&topology, &socket, kind, fast_path))?;
    let mut command = topology.middle.command("/proc/self/exe")?;
    command.arg0(NAME).arg("run").arg("--config").arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Some(Process::start(command)?);
    if device == DeviceKind::Tap {
        topology.find_taps()?;
    }
    Ok(Contender { process, _directory: Some(directory), ..Contender::of(topology) })
}

fn configuration(topology: &Topology, socket: &str, kind: &str, fast_path: bool) -> String {
    let inside = |site: &Site| match kind {
        "tap" => format!("network_namespace = {:?}", site.namespace.path().display().to_string()),
        _ => String::new(),
    };
    let (client, server) = (inside(&topology.client), inside(&topology.server));
    let fast_path = if fast_path { "auto" } else { "off" };
    let rule = |name: &str, protocol: &str, port: u16| {
        format!(
            "  {{ name = {name:?}, protocol = {protocol:?}, frontend_port = {port}, \
             backend_port = {port}, backend_address_pool = \"pool\" }},\n"
        )
    };
    let rules = rule("sink", "Tcp", SINK_PORT)
        + &rule("answer", "Tcp", ANSWER_PORT)
        + &rule("packets", "Udp", SINK_PORT);
    format!(
        r#"
[adit]
control_socket = "{socket}"
workers = 1
flows_max = 262144
fast_path = "{fast_path}"

[[virtual_network]]
name = "consumer"
address_space = ["10.0.0.0/16"]

[[virtual_network]]
name = "provider"
address_space = ["10.1.0.0/16"]

[[device]]
name = "{CLIENT_SIDE}"
kind = "{kind}"
virtual_network = "consumer"
{client}

[[device]]
name = "{SERVER_SIDE}"
kind = "{kind}"
virtual_network = "provider"
{server}

[[load_balancer]]
name = "lb"
virtual_network = "provider"
backend_address_pool = [{{ name = "pool", backend_addresses = ["{SERVER}"] }}]
load_balancing_rule = [
{rules}]

[[private_link_service]]
name = "service"
load_balancer = "lb"
nat_ip_configurations = [{{ name = "nat", private_ip_address = "{NAT_IP}" }}]
tcp_closing_timeout = "1s"

[[private_endpoint]]
name = "endpoint"
virtual_network = "consumer"
private_ip_address = "{ENDPOINT}"
private_link_service = "service"
connection_state = "Approved"
"#
    )
}
