//! A host: a namespace with one device `eth0`, whose other end lives in a namespace of the
//! caller's choice, as a cable runs from a machine to a switch.
//!
//! Hosts reach private endpoints of their own subnet on-link, so they need no gateway as a rule.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::error::LabError;
use crate::link::{Link, LinkEnd};
use crate::mac::MacAddr;
use crate::namespace::Namespace;

/// The name of a host's device.
pub const HOST_DEVICE: &str = "eth0";

/// The kernel takes note of a carrier within milliseconds, on some occasions within a second.
const CARRIER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a host shall be.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Name of its namespace, for error messages.
    pub name: String,
    /// Address of `eth0`.
    pub address: Ipv4Addr,
    /// Prefix length of its subnet.
    pub prefix_length: u8,
    /// Gateway of its default route, if it shall have one.
    pub gateway: Option<Ipv4Addr>,
    /// Ethernet address of `eth0`; the kernel draws one if there is none.
    pub mac: Option<MacAddr>,
    /// MTU of both ends in bytes; the kernel's 1500 if there is none.
    pub mtu: Option<u32>,
    /// Queues of the peer device; the kernel's choice if there is none.
    pub peer_queues: Option<u32>,
}

impl HostPlan {
    /// A host with an address in a subnet and the kernel's choice of everything else.
    pub fn new(name: &str, address: Ipv4Addr, prefix_length: u8) -> Self {
        Self {
            name: name.to_string(),
            address,
            prefix_length,
            gateway: None,
            mac: None,
            mtu: None,
            peer_queues: None,
        }
    }

    /// With this default route.
    #[must_use]
    pub fn gateway(mut self, gateway: Ipv4Addr) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// With this Ethernet address.
    #[must_use]
    pub fn mac(mut self, mac: MacAddr) -> Self {
        self.mac = Some(mac);
        self
    }

    /// With this MTU in bytes, at both ends.
    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// With so many queues on the peer device.
    #[must_use]
    pub fn peer_queues(mut self, queues: u32) -> Self {
        self.peer_queues = Some(queues);
        self
    }
}

/// A running host.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: Namespace,
    device: Link,
    peer: Link,
    address: Ipv4Addr,
}

impl Host {
    /// Makes the namespace and its device, with the peer as `peer_name` in `peer_namespace`.
    /// Both ends are up and carry frames; the peer has no address.
    ///
    /// # Errors
    /// The first operation that failed. What was made until then vanishes with its namespace.
    pub fn create(
        plan: &HostPlan,
        peer_namespace: &Namespace,
        peer_name: &str,
    ) -> Result<Self, LabError> {
        let namespace = Namespace::create(&plan.name)?;
        let mut inside = LinkEnd::new(&namespace, HOST_DEVICE);
        inside.mac = plan.mac;
        inside.mtu = plan.mtu;
        let mut outside = LinkEnd::new(peer_namespace, peer_name);
        outside.mtu = plan.mtu;
        outside.queues = plan.peer_queues;
        let (device, peer) = Link::veth(&inside, &outside)?;
        device.add_address(plan.address, plan.prefix_length)?;
        peer.up()?;
        device.up()?;
        // The end set up last carries frames at once, even while older kernels still call it
        // down; the first one drops them until the kernel has taken note of its carrier.
        peer.wait_until_running(CARRIER_TIMEOUT)?;
        if let Some(gateway) = plan.gateway {
            device.add_default_route(gateway)?;
        }
        Ok(Self { namespace, device, peer, address: plan.address })
    }

    /// Where its programs run.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its `eth0`.
    pub fn device(&self) -> &Link {
        &self.device
    }

    /// The other end of its cable.
    pub fn peer(&self) -> &Link {
        &self.peer
    }

    /// The address of its `eth0`.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Runs `work` on a thread inside the host, see [`Namespace::run`].
    ///
    /// # Errors
    /// When the thread cannot be started or may not enter.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.namespace.run(work)
    }
}
