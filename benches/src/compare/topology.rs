//! A client, a server, and the namespace in between that a contender works in.

use std::net::{Ipv4Addr, SocketAddrV4};

use lab::backend::TcpSink;
use lab::{Host, HostPlan, LabError, Namespace};

/// The address that the client talks to.
pub(super) const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// The source that the server sees.
pub(super) const NAT_IP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 4);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
/// Port of the endpoint, for TCP and UDP.
pub(super) const PORT: u16 = 5001;
/// Port of the server.
pub(super) const SERVER_PORT: u16 = 6001;
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
}

impl Topology {
    pub(super) fn build(name: &str) -> Result<Topology, LabError> {
        let middle = Namespace::create(&format!("{name}-middle"))?;
        let client = HostPlan::new(&format!("{name}-client"), CLIENT, 16);
        let client = Host::create(&client, &middle, CLIENT_SIDE)?;
        let server = HostPlan::new(&format!("{name}-server"), SERVER, 16);
        let server = Host::create(&server, &middle, SERVER_SIDE)?;
        let address = SocketAddrV4::new(SERVER, SERVER_PORT);
        let sink = TcpSink::start(server.namespace(), address, "sink")?;
        Ok(Topology { middle, client, server, sink })
    }
}
