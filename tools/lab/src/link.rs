//! Devices of a namespace, changed by rtnetlink: veth pairs, bridges, addresses, routes.
//!
//! Promise: each operation is one request that the kernel acknowledged before the call returns,
//! or a [`LabError`] that names the device. A [`Link`] is a name and an index, not an owner: a
//! device lives until [`Link::delete`], or until its namespace is gone, or its veth peer is.
//!
//! IPv4 only; the lab turns IPv6 off.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use libc::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, RTM_NEWLINK};

use crate::error::{Context, LabError};
use crate::mac::MacAddr;
use crate::namespace::Namespace;
use crate::netlink::{Message, attribute, read_u32, read_u64};

/// Attributes that libc does not name: linux/if_link.h, linux/veth.h.
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;

const AF_INET: u8 = 2;
const AF_INET6: u16 = 10;
/// An address of IPv6 is used at once (`IFA_F_NODAD`); IPv4 has no such flag.
const NO_DUPLICATE_DETECTION: u8 = 2;
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 1 << 6;
const IFF_LOWER_UP: u32 = 1 << 16;

/// One end of a veth pair to be made.
#[derive(Clone, Debug)]
pub struct LinkEnd<'a> {
    /// Where it will live.
    pub namespace: &'a Namespace,
    /// Its name there, at most 15 bytes.
    pub name: &'a str,
    /// Its Ethernet address; the kernel draws one if there is none.
    pub mac: Option<MacAddr>,
    /// Its largest IP packet in bytes; the kernel's 1500 if there is none.
    pub mtu: Option<u32>,
    /// Its receive and its transmit queues; the kernel's choice if there is none.
    pub queues: Option<u32>,
    /// Its interface index; the kernel's choice if there is none. Of a second end it counts only if
    /// the first one has one, too.
    pub index: Option<u32>,
}

impl<'a> LinkEnd<'a> {
    /// An end with the kernel's choice of everything else.
    pub fn new(namespace: &'a Namespace, name: &'a str) -> Self {
        Self { namespace, name, mac: None, mtu: None, queues: None, index: None }
    }

    /// With this Ethernet address.
    #[must_use]
    pub fn mac(mut self, mac: MacAddr) -> Self {
        self.mac = Some(mac);
        self
    }

    /// With this MTU in bytes.
    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// With so many receive and as many transmit queues.
    #[must_use]
    pub fn queues(mut self, queues: u32) -> Self {
        self.queues = Some(queues);
        self
    }

    fn header(&self) -> [u8; 16] {
        ifinfo(self.index.unwrap_or(0), 0, 0)
    }

    fn describe(&self, mut message: Message) -> Message {
        message = message.text(libc::IFLA_IFNAME, self.name);
        if let Some(mac) = self.mac {
            message = message.attribute(libc::IFLA_ADDRESS, &mac.0);
        }
        if let Some(mtu) = self.mtu {
            message = message.number(libc::IFLA_MTU, mtu);
        }
        if let Some(queues) = self.queues {
            message = message.number(libc::IFLA_NUM_TX_QUEUES, queues);
            message = message.number(libc::IFLA_NUM_RX_QUEUES, queues);
        }
        message
    }
}

/// What a device has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bad frames received.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Frames dropped on receive.
    pub rx_dropped: u64,
    /// Frames dropped on transmit.
    pub tx_dropped: u64,
}

/// The state of a device at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Set up by its owner.
    pub up: bool,
    /// Able to carry frames: both ends of a veth pair are up, and the kernel has taken note.
    pub running: bool,
    /// Largest IP packet, in bytes.
    pub mtu: u32,
    /// Ethernet address; zero for a device that has none.
    pub mac: MacAddr,
    /// Frames and bytes so far.
    pub counters: Counters,
}

/// A device of a namespace.
#[derive(Clone, Debug)]
pub struct Link {
    namespace: Namespace,
    name: String,
    index: u32,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.name, self.namespace.name())
    }
}

impl Link {
    /// Makes a veth pair, each end in its namespace. Both ends are down.
    ///
    /// # Errors
    /// When a name is taken or too long, or the kernel has no veth.
    pub fn veth(first: &LinkEnd<'_>, second: &LinkEnd<'_>) -> Result<(Self, Self), LabError> {
        let target = second.namespace.as_fd().as_raw_fd().to_ne_bytes();
        let message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &first.header());
        let message = first.describe(message).nested(libc::IFLA_LINKINFO, &[], |info| {
            info.text(INFO_KIND, "veth").nested(INFO_DATA, &[], |data| {
                data.nested(VETH_INFO_PEER, &second.header(), |peer| {
                    second.describe(peer).attribute(libc::IFLA_NET_NS_FD, &target)
                })
            })
        });
        first.namespace.request(message).context("create veth pair", || {
            let ends = (first.namespace.name(), second.namespace.name());
            format!("{} in {} and {} in {}", first.name, ends.0, second.name, ends.1)
        })?;
        let pair =
            (Self::find(first.namespace, first.name)?, Self::find(second.namespace, second.name)?);
        pair.0.quiet();
        pair.1.quiet();
        Ok(pair)
    }

    /// Makes a learning bridge, up and without spanning tree.
    ///
    /// # Errors
    /// When the name is taken or too long, or the kernel has no bridge.
    pub fn bridge(namespace: &Namespace, name: &str) -> Result<Self, LabError> {
        let message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifinfo(0, 0, 0))
            .text(libc::IFLA_IFNAME, name)
            .nested(libc::IFLA_LINKINFO, &[], |info| info.text(INFO_KIND, "bridge"));
        namespace
            .request(message)
            .context("create bridge", || format!("{name} in {}", namespace.name()))?;
        let bridge = Self::find(namespace, name)?;
        bridge.quiet();
        bridge.up()?;
        Ok(bridge)
    }

    /// Finds a device by its name.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(namespace: &Namespace, name: &str) -> Result<Self, LabError> {
        let message =
            Message::new(libc::RTM_GETLINK, 0, &ifinfo(0, 0, 0)).text(libc::IFLA_IFNAME, name);
        let index = namespace
            .request(message)
            .and_then(|answers| {
                answers.first().and_then(|body| read_u32(body, 4)).ok_or_else(no_answer)
            })
            .context("find", || format!("{name} in {}", namespace.name()))?;
        Ok(Self { namespace: namespace.clone(), name: name.to_string(), index })
    }

    /// Where it lives.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its name there.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its interface index there.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Sets it up. The end of a veth pair that was set up first carries frames only a little
    /// after the second is up, and drops them till then, see [`Self::wait_until_running`].
    ///
    /// # Errors
    /// When the device is gone.
    pub fn up(&self) -> Result<(), LabError> {
        self.change("set up", &ifinfo(self.index, IFF_UP, IFF_UP), |message| message)
    }

    /// Sets it down; the kernel forgets its routes and keeps its addresses.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn down(&self) -> Result<(), LabError> {
        self.change("set down", &ifinfo(self.index, 0, IFF_UP), |message| message)
    }

    /// Waits until it carries frames.
    ///
    /// # Errors
    /// Of kind `TimedOut`, when the other end is down, for example.
    pub fn wait_until_running(&self, timeout: Duration) -> Result<(), LabError> {
        const STEP: Duration = Duration::from_millis(1);
        let deadline = Instant::now() + timeout;
        while !self.state()?.running {
            if Instant::now() >= deadline {
                let source = io::Error::from(io::ErrorKind::TimedOut);
                return Err(LabError::new("wait for carrier of", self.to_string(), source));
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    /// Sets its MTU, in bytes.
    ///
    /// # Errors
    /// When the device does not allow that size.
    pub fn set_mtu(&self, mtu: u32) -> Result<(), LabError> {
        self.change("set mtu of", &ifinfo(self.index, 0, 0), |message| {
            message.number(libc::IFLA_MTU, mtu)
        })
    }

    /// Sets its Ethernet address.
    ///
    /// # Errors
    /// When the address is a multicast one.
    pub fn set_mac(&self, mac: MacAddr) -> Result<(), LabError> {
        self.change("set mac of", &ifinfo(self.index, 0, 0), |message| {
            message.attribute(libc::IFLA_ADDRESS, &mac.0)
        })
    }

    /// Gives it another name; handles keep the one that they were made with. Older kernels want it
    /// to be down.
    ///
    /// # Errors
    /// When the name is taken or too long.
    pub fn rename(&self, name: &str) -> Result<(), LabError> {
        self.change("rename", &ifinfo(self.index, 0, 0), |message| {
            message.text(libc::IFLA_IFNAME, name)
        })
    }

    /// Makes it a member of a bridge of the same namespace.
    ///
    /// # Errors
    /// When the bridge lives elsewhere or the device cannot be a member.
    pub fn join_bridge(&self, bridge: &Self) -> Result<(), LabError> {
        self.change("join a bridge with", &ifinfo(self.index, 0, 0), |message| {
            message.number(libc::IFLA_MASTER, bridge.index)
        })
    }

    /// Moves it into another namespace, where it is down and has no addresses.
    ///
    /// # Errors
    /// When the name is taken there, or the device is bound to its namespace.
    pub fn move_to(self, namespace: &Namespace) -> Result<Self, LabError> {
        let target = namespace.as_fd().as_raw_fd().to_ne_bytes();
        self.change("move", &ifinfo(self.index, 0, 0), |message| {
            message.attribute(libc::IFLA_NET_NS_FD, &target)
        })?;
        let moved = Self::find(namespace, &self.name)?;
        moved.quiet();
        Ok(moved)
    }

    /// Deletes it, and with one end of a veth pair the other.
    ///
    /// # Errors
    /// When the device is gone already.
    pub fn delete(self) -> Result<(), LabError> {
        let message = Message::new(libc::RTM_DELLINK, 0, &ifinfo(self.index, 0, 0));
        self.namespace.request(message).context("delete", || self.to_string()).map(drop)
    }

    /// Gives it an address, which it has at once; the kernel adds the route of the subnet once the
    /// device is up. One of IPv6 needs [`Namespace::enable_ipv6`].
    ///
    /// # Errors
    /// When it has the address already.
    pub fn add_address(
        &self,
        address: impl Into<IpAddr>,
        prefix_length: u8,
    ) -> Result<(), LabError> {
        let (flags, address) = (NLM_F_CREATE | NLM_F_EXCL, address.into());
        self.change_address(libc::RTM_NEWADDR, flags, address, prefix_length)
            .context("add address to", || format!("{self} ({address}/{prefix_length})"))
    }

    /// Takes an address away, and the routes that hung on it.
    ///
    /// # Errors
    /// When it has no such address.
    pub fn remove_address(&self, address: Ipv4Addr, prefix_length: u8) -> Result<(), LabError> {
        self.change_address(libc::RTM_DELADDR, 0, address.into(), prefix_length)
            .context("remove address from", || format!("{self} ({address}/{prefix_length})"))
    }

    /// Adds or replaces a route through the device: by way of `gateway`, or on-link without one.
    /// The device must be up.
    ///
    /// # Errors
    /// When the gateway cannot be reached on-link, or bits past the prefix are set.
    pub fn add_route(
        &self,
        destination: Ipv4Addr,
        prefix_length: u8,
        gateway: Option<Ipv4Addr>,
    ) -> Result<(), LabError> {
        let scope = if gateway.is_some() { libc::RT_SCOPE_UNIVERSE } else { libc::RT_SCOPE_LINK };
        let (table, protocol, kind) = (libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, libc::RTN_UNICAST);
        let route = [AF_INET, prefix_length, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0];
        let mut message = Message::new(libc::RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &route)
            .attribute(libc::RTA_DST, &destination.octets())
            .number(libc::RTA_OIF, self.index);
        if let Some(gateway) = gateway {
            message = message.attribute(libc::RTA_GATEWAY, &gateway.octets());
        }
        self.namespace
            .request(message)
            .context("add route to", || format!("{self} ({destination}/{prefix_length})"))
            .map(drop)
    }

    /// Adds or replaces the default route.
    ///
    /// # Errors
    /// When the gateway cannot be reached on-link.
    pub fn add_default_route(&self, gateway: Ipv4Addr) -> Result<(), LabError> {
        self.add_route(Ipv4Addr::UNSPECIFIED, 0, Some(gateway))
    }

    /// Adds or replaces a neighbour that is never asked for by ARP.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn add_neighbour(&self, address: Ipv4Addr, mac: MacAddr) -> Result<(), LabError> {
        let mut neighbour = [0; 12];
        neighbour[0] = AF_INET;
        neighbour[4..8].copy_from_slice(&self.index.to_ne_bytes());
        neighbour[8..10].copy_from_slice(&libc::NUD_PERMANENT.to_ne_bytes());
        let message = Message::new(libc::RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &neighbour)
            .attribute(libc::NDA_DST, &address.octets())
            .attribute(libc::NDA_LLADDR, &mac.0);
        self.namespace
            .request(message)
            .context("add neighbour to", || format!("{self} ({address})"))
            .map(drop)
    }

    /// Reads its state and counters.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn state(&self) -> Result<LinkState, LabError> {
        let message = Message::new(libc::RTM_GETLINK, 0, &ifinfo(self.index, 0, 0));
        self.namespace
            .request(message)
            .and_then(|answers| {
                answers.first().and_then(|body| parse_state(body)).ok_or_else(no_answer)
            })
            .context("read state of", || self.to_string())
    }

    /// Reads its Ethernet address.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn mac(&self) -> Result<MacAddr, LabError> {
        self.state().map(|state| state.mac)
    }

    /// Reads its counters.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn counters(&self) -> Result<Counters, LabError> {
        self.state().map(|state| state.counters)
    }

    fn change(
        &self,
        operation: &'static str,
        header: &[u8],
        fill: impl FnOnce(Message) -> Message,
    ) -> Result<(), LabError> {
        let message = fill(Message::new(RTM_NEWLINK, 0, header));
        self.namespace.request(message).context(operation, || self.to_string()).map(drop)
    }

    fn change_address(
        &self,
        kind: u16,
        flags: i32,
        address: IpAddr,
        prefix_length: u8,
    ) -> io::Result<()> {
        let (family, octets) = match address {
            IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
            IpAddr::V6(address) => (AF_INET6.to_le_bytes()[0], address.octets().to_vec()),
        };
        let mut header = [family, prefix_length, NO_DUPLICATE_DETECTION, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&self.index.to_ne_bytes());
        let message = Message::new(kind, flags, &header)
            .attribute(libc::IFA_LOCAL, &octets)
            .attribute(libc::IFA_ADDRESS, &octets);
        self.namespace.request(message).map(drop)
    }

    /// Asks for no IPv6 link-local address, hence no router solicitation and no listener report.
    /// Best effort beside the namespace's own setting: a kernel without IPv6 refuses and is quiet.
    fn quiet(&self) {
        let _ = self.change("quieten", &ifinfo(self.index, 0, 0), |message| {
            message.nested(libc::IFLA_AF_SPEC, &[], |families| {
                families.nested(AF_INET6, &[], |inet6| {
                    inet6.attribute(INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE])
                })
            })
        });
    }
}

/// `struct ifinfomsg`: family, padding, type, index, flags, and which flags to change.
fn ifinfo(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer was empty or malformed")
}

fn parse_state(body: &[u8]) -> Option<LinkState> {
    let flags = read_u32(body, 8)?;
    let attributes = body.get(16..)?;
    let mac = attribute(attributes, libc::IFLA_ADDRESS).and_then(|mac| mac.try_into().ok());
    let stats = attribute(attributes, libc::IFLA_STATS64)?;
    // struct rtnl_link_stats64 begins with eight counters in this order.
    let counter = |at: usize| read_u64(stats, at * 8);
    Some(LinkState {
        up: flags & IFF_UP != 0,
        running: flags & (IFF_RUNNING | IFF_LOWER_UP) == IFF_RUNNING | IFF_LOWER_UP,
        mtu: read_u32(attribute(attributes, libc::IFLA_MTU)?, 0)?,
        mac: MacAddr(mac.unwrap_or_default()),
        counters: Counters {
            rx_packets: counter(0)?,
            tx_packets: counter(1)?,
            rx_bytes: counter(2)?,
            tx_bytes: counter(3)?,
            rx_errors: counter(4)?,
            tx_errors: counter(5)?,
            rx_dropped: counter(6)?,
            tx_dropped: counter(7)?,
        },
    })
}
