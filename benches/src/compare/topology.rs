//! A client, a server, and the namespace in between that a contender works in.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use lab::backend::TcpSink;
use lab::{Host, HostPlan, LabError, Link, Namespace};

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
/// Interface of the middle towards the client; with TAP devices the client's own.
pub(super) const CLIENT_SIDE: &str = "c0";
/// Interface of the middle towards the server; with TAP devices the server's own.
pub(super) const SERVER_SIDE: &str = "s0";

const PREFIX_LENGTH: u8 = 16;

/// How long a contender may take to make its TAP devices.
const PATIENCE: Duration = Duration::from_secs(10);

/// How client and server are tied to the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ties {
    /// A veth pair each, whose other ends are the contender's.
    Cables,
    /// A TAP device each, which the contender makes in their namespaces.
    Taps,
}

/// See the module's documentation.
pub(super) struct Topology {
    pub(super) middle: Namespace,
    pub(super) client: Site,
    pub(super) server: Site,
    pub(super) sink: TcpSink,
    // Ends with the topology.
    _answers: Answers,
}

impl Topology {
    pub(super) fn build(name: &str, ties: Ties) -> Result<Topology, LabError> {
        let middle = Namespace::create(&format!("{name}-middle"))?;
        let site = |role: &str, address, device| {
            Site::create(&format!("{name}-{role}"), address, (&middle, device), ties)
        };
        let client = site("client", CLIENT, CLIENT_SIDE)?;
        let server = site("server", SERVER, SERVER_SIDE)?;
        // Many short connections, one after the other.
        client.namespace.set_sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        client.namespace.set_sysctl("ipv4/tcp_tw_reuse", "1")?;
        let anywhere = |port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let sink = TcpSink::start(&server.namespace, anywhere(SINK_PORT), "sink")?;
        let answers = Answers::start(&server.namespace, anywhere(ANSWER_PORT))?;
        Ok(Topology { middle, client, server, sink, _answers: answers })
    }

    /// Finds the TAP devices that the contender makes meanwhile.
    ///
    /// # Errors
    /// When it does not make them.
    pub(super) fn find_taps(&mut self) -> Result<(), LabError> {
        self.client.find_tap(CLIENT_SIDE)?;
        self.server.find_tap(SERVER_SIDE)
    }
}

/// A namespace with one device.
pub(super) struct Site {
    pub(super) namespace: Namespace,
    address: Ipv4Addr,
    /// Its device, and the other end of its cable.
    device: Option<(Link, Option<Link>)>,
}

impl Site {
    fn create(
        name: &str,
        address: Ipv4Addr,
        (middle, device): (&Namespace, &str),
        ties: Ties,
    ) -> Result<Site, LabError> {
        if ties == Ties::Taps {
            return Ok(Site { namespace: Namespace::create(name)?, address, device: None });
        }
        let host = Host::create(&HostPlan::new(name, address, PREFIX_LENGTH), middle, device)?;
        let device = Some((host.device().clone(), Some(host.peer().clone())));
        Ok(Site { namespace: host.namespace().clone(), address, device })
    }

    fn find_tap(&mut self, name: &str) -> Result<(), LabError> {
        let deadline = Instant::now() + PATIENCE;
        let device = loop {
            let found = Link::find(&self.namespace, name);
            let up = found.and_then(|link| Ok(link.state()?.up.then_some(link)));
            match up {
                Ok(Some(link)) => break link,
                Err(error) if Instant::now() > deadline => return Err(error),
                _ if Instant::now() > deadline => return Err(self.without("a device that is up")),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        device.add_address(self.address, PREFIX_LENGTH)?;
        self.device = Some((device, None));
        Ok(())
    }

    /// Its device.
    ///
    /// # Errors
    /// It has none yet.
    pub(super) fn device(&self) -> Result<&Link, LabError> {
        self.device.as_ref().map(|(device, _)| device).ok_or_else(|| self.without("a device"))
    }

    /// The other end of its cable, in the middle.
    ///
    /// # Errors
    /// It has no cable.
    pub(super) fn cable(&self) -> Result<&Link, LabError> {
        let cable = self.device.as_ref().and_then(|(_, cable)| cable.as_ref());
        cable.ok_or_else(|| self.without("a cable"))
    }

    fn without(&self, what: &str) -> LabError {
        let source = io::Error::new(io::ErrorKind::NotFound, format!("it has not {what}"));
        LabError::new("find the device of", self.namespace.name(), source)
    }

    /// Runs `work` on a thread inside, see [`Namespace::run`].
    ///
    /// # Errors
    /// When the thread cannot be started or may not enter.
    pub(super) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.namespace.run(work)
    }
}
