//! HAProxy, as a proxy of TCP with one thread.

use std::process::Stdio;

use lab::{LabError, Process};

use super::super::topology::{ANSWER_PORT, ENDPOINT, NAT_IP, SERVER, SINK_PORT, Topology};
use super::{Contender, Directory};

pub(super) fn start(topology: Topology) -> Result<Contender, LabError> {
    topology.client.cable()?.add_address(ENDPOINT, 16)?;
    topology.server.cable()?.add_address(NAT_IP, 16)?;
    topology.middle.set_sysctl("ipv4/ip_local_port_range", "1024 65535")?;
    topology.middle.set_sysctl("ipv4/tcp_tw_reuse", "1")?;
    let directory = Directory::create("haproxy")?;
    let mut text = "global\n  nbthread 1\n  maxconn 4000\n\
                    defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  \
                    timeout server 30s\n"
        .to_owned();
    for port in [SINK_PORT, ANSWER_PORT] {
        text += &format!(
            "listen port-{port}\n  bind {ENDPOINT}:{port}\n  server backend {SERVER}:{port} \
             source {NAT_IP}\n"
        );
    }
    let file = directory.write("haproxy.cfg", &text)?;
    let mut command = topology.middle.command("haproxy")?;
    command.args(["-db", "-f"]).arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = Some(Process::start(command)?);
    Ok(Contender { process, _directory: Some(directory), ..Contender::of(topology) })
}
