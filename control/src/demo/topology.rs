//! The demo's network: two consumers with the same addresses, a provider with three backends, and
//! between them a namespace in which nothing runs yet but adit soon will.
//!
//! Every host hangs on a cable (veth pair) of its own, so adit has three devices in the provider's
//! network and no bridge stands between: a kernel's bridge joins a multicast group and says so, and
//! nothing here shall send a packet that the tour does not explain.
//!
//! Addresses and names here are those of `adit.toml` beside this file; the tour's first step
//! compares the two. Everything is gone when the value is dropped, see [`lab`].

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use lab::backend::{HttpServer, UdpEcho};
use lab::{Host, HostPlan, LabError, Link, Namespace};

/// The client of each consumer: one address for both.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
/// The private endpoint of each consumer: one address for both.
pub(super) const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// The endpoint of consumer-b that begins as Pending.
pub(super) const NEW_ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 6);
/// Its name.
pub(super) const NEW_ENDPOINT_NAME: &str = "pe-new";
/// The service's NAT IPs.
pub(super) const NAT_IPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 4), Ipv4Addr::new(10, 1, 0, 5)];
/// The backends.
pub(super) const BACKENDS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 1, 0, 10), Ipv4Addr::new(10, 1, 0, 11), Ipv4Addr::new(10, 1, 0, 12)];
/// Where HTTP is dialled, and where it is served.
pub(super) const HTTP: (u16, u16) = (80, 8080);
/// Where the UDP echo is dialled, and where it is served.
pub(super) const ECHO: (u16, u16) = (7, 7007);

/// Of every virtual network; all of a network is on one segment.
const PREFIX_LENGTH: u8 = 16;

/// A consumer's virtual network: its name, and its one client.
pub(super) struct Consumer {
    pub(super) name: &'static str,
    pub(super) host: Host,
}

/// A backend and what it serves.
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) host: Host,
    pub(super) http: HttpServer,
    pub(super) echo: UdpEcho,
}

/// The whole network.
pub(super) struct Topology {
    pub(super) consumers: [Consumer; 2],
    pub(super) backends: Vec<Backend>,
    /// Where adit runs; its devices have no addresses there.
    pub(super) adit: Namespace,
}

impl Topology {
    /// Builds it, with the backends serving.
    pub(super) fn build() -> Result<Topology, LabError> {
        let adit = Namespace::create("adit")?;
        let consumers = [consumer("consumer-a", &adit)?, consumer("consumer-b", &adit)?];
        let backends = BACKENDS.iter().enumerate();
        let backends = backends.map(|(at, &address)| backend(at + 1, address, &adit));
        let backends = backends.collect::<Result<_, _>>()?;
        Ok(Topology { consumers, backends, adit })
    }

    /// adit's ends of the cables.
    pub(super) fn devices(&self) -> impl Iterator<Item = &Link> {
        let consumers = self.consumers.iter().map(|consumer| &consumer.host);
        consumers.chain(self.backends.iter().map(|backend| &backend.host)).map(Host::peer)
    }

    /// The name of the backend with this address.
    pub(super) fn backend_name(&self, address: IpAddr) -> String {
        let backend = self.backends.iter().find(|backend| address == backend.host.address());
        backend.map_or_else(|| address.to_string(), |backend| backend.name.clone())
    }
}

fn consumer(name: &'static str, adit: &Namespace) -> Result<Consumer, LabError> {
    let host = Host::create(&HostPlan::new(name, CLIENT, PREFIX_LENGTH), adit, name)?;
    Ok(Consumer { name, host })
}

fn backend(number: usize, address: Ipv4Addr, adit: &Namespace) -> Result<Backend, LabError> {
    let name = format!("backend-{number}");
    let host = Host::create(&HostPlan::new(&name, address, PREFIX_LENGTH), adit, &name)?;
    let at = |port| SocketAddrV4::new(address, port);
    let http = HttpServer::start(host.namespace(), at(HTTP.1), &name)?;
    let echo = UdpEcho::start(host.namespace(), at(ECHO.1), &name)?;
    Ok(Backend { name, host, http, echo })
}
