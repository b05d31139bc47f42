//! The kernel's own NAT: destination and source, as adit does both.

use std::process::Stdio;

use lab::LabError;

use super::super::topology::{
    ANSWER_PORT, ENDPOINT, NAT_IP, SERVER, SERVER_SIDE, SINK_PORT, Topology,
};
use super::{Contender, feed};

pub(super) fn start(topology: Topology) -> Result<Contender, LabError> {
    topology.client.cable()?.add_address(ENDPOINT, 16)?;
    topology.server.cable()?.add_address(NAT_IP, 16)?;
    topology.middle.set_sysctl("ipv4/ip_forward", "1")?;
    let rules = format!(
        "table ip nat {{
            chain pre {{
                type nat hook prerouting priority -100;
                ip daddr {ENDPOINT} tcp dport {{ {SINK_PORT}, {ANSWER_PORT} }} dnat to {SERVER}
                ip daddr {ENDPOINT} udp dport {SINK_PORT} dnat to {SERVER}
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
    // As long as adit remembers closed connections; the kernel's two minutes would exhaust the
    // ports. The setting is there once the rules have loaded connection tracking.
    topology.middle.set_sysctl("netfilter/nf_conntrack_tcp_timeout_time_wait", "1")?;
    Ok(Contender::of(topology))
}
