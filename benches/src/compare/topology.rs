//! A client, a server, and the namespace in between that a contender works in.

use std::net::{Ipv4Addr, SocketAddrV4};

use lab::backend::TcpSink;
use lab::{Host, HostPlan, LabError, Namespace};

use super::serve::Answers;

/// The address that the client talks to.
pub(super) const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// The source that the server sees.
pub(super) const NAT_IP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 4);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
/// Ports that a contender forwards, for TCP and UDP alike: those of the sink, which swallows, and
/// of what answers. The endpoint's and the server's are the same, so that a bridge will do.
pub(super) const SINK_PORT: u16 = 5001;
pub(super) const ANSWER_PORT: u16 = 5002;
/// Interface of the middle towards the client.
pub(super) const CLIENT_SIDE: &str = "c0";
/// Interface of the middle towards the server.
pub(super) const SERVER_SIDE: &str = "s0";

/// See the module's documentation.
pub(super) struct Topology {
    pub(super) middle: Namespace,
    pub(super) client: Host,
    pub(super) server: Host,
    pub(super) sink: TcpSink,
    // Ends with the topology.
    _answers: Answers,
}

impl Topology {
    pub(super) fn build(name: &str) -> Result<Topology, LabError> {
        let middle = Namespace::create(&format!("{name}-middle"))?;
        let client = HostPlan::new(&format!("{name}-client"), CLIENT, 16);
        let client = Host::create(&client, &middle, CLIENT_SIDE)?;
        let server = HostPlan::new(&format!("{name}-server"), SERVER, 16);
        let server = Host::create(&server, &middle, SERVER_SIDE)?;
        // Many short connections, one after the other.
        client.namespace().set_sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        client.namespace().set_sysctl("ipv4/tcp_tw_reuse", "1")?;
        let anywhere = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let sink = TcpSink::start(server.namespace(), anywhere(SINK_PORT), "sink")?;
        let answers = Answers::start(server.namespace(), anywhere(ANSWER_PORT))?;
        Ok(Topology { middle, client, server, sink, _answers: answers })
    }
}
