//! A host: a real TCP/IP stack (smoltcp) on one end of a cable, and the application on top of it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};

use pnet_base::MacAddr;
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::Socket;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, IpEndpoint};

use super::agenda::{MICRO, Nanos};
use super::client::Client;
use super::dial::Dials;
use super::intent::prefix_bits;
use super::server::Server;
use crate::encode::{ArpShape, flags};
use crate::ndp::NdpShape;
use crate::{Observed, observe};

/// The end of a cable as smoltcp sees it.
struct Plug {
    arrived: VecDeque<Vec<u8>>,
    leaving: Vec<Vec<u8>>,
    mtu: usize,
}

struct Arrived(Vec<u8>);

struct Leaving<'a>(&'a mut Vec<Vec<u8>>);

impl phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut bytes = vec![0; length];
        let result = write(&mut bytes);
        self.0.push(bytes);
        result
    }
}

impl phy::Device for Plug {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Leaving<'_>)> {
        let bytes = self.arrived.pop_front()?;
        Some((Arrived(bytes), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + 14;
        capabilities
    }
}

/// What runs on a host.
pub(super) enum App {
    Client(Client),
    Server(Server),
}

/// See the module's documentation.
pub(super) struct Host {
    pub(super) network: usize,
    pub(super) address: IpAddr,
    pub(super) mac: MacAddr,
    /// Switched off: hears and says nothing.
    pub(super) is_off: bool,
    /// Says nothing in ARP and Neighbor Discovery.
    pub(super) is_mute: bool,
    /// When it next wants to be polled, as noted in the agenda.
    pub(super) due: Nanos,
    app: App,
    interface: Interface,
    sockets: SocketSet<'static>,
    plug: Plug,
}

pub(super) fn smol(now: Nanos) -> Instant {
    Instant::from_micros(i64::try_from(now / MICRO).unwrap())
}

impl Host {
    pub(super) fn new(
        (network, address): (usize, IpAddr),
        (mac, mtu): (MacAddr, usize),
        app: App,
        seed: u64,
    ) -> Host {
        let mut plug = Plug { arrived: VecDeque::new(), leaving: Vec::new(), mtu };
        let mut config = Config::new(hardware(mac));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut plug, smol(0));
        interface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(address.into(), prefix_bits(address)))
                .expect("room for one address");
        });
        let sockets = SocketSet::new(Vec::new());
        let (is_off, is_mute, due) = (false, false, Nanos::MAX);
        Host { network, address, mac, is_off, is_mute, due, app, interface, sockets, plug }
    }

    /// Gets an address that others have, too: nobody asks for its station.
    pub(super) fn share(&mut self, address: IpAddr) {
        self.interface.update_ip_addrs(|addresses| {
            let shared = IpCidr::new(address.into(), prefix_bits(address));
            addresses.push(shared).expect("room for a second address");
        });
    }

    /// A frame arrives.
    pub(super) fn hear(&mut self, bytes: Vec<u8>) {
        if !self.is_off && !self.repeats_syn(&bytes) {
            self.plug.arrived.push_back(bytes);
        }
    }

    /// A late copy of a connection's SYN. smoltcp would give it to any socket that listens, as if
    /// it were another connection.
    fn repeats_syn(&self, bytes: &[u8]) -> bool {
        let Observed::Transport(seen) = observe(bytes) else { return false };
        let opens = seen.flags & (flags::SYN | flags::ACK) == flags::SYN;
        let from = IpEndpoint::new(seen.source.into(), seen.source_port);
        opens
            && self.sockets.iter().any(|(_, socket)| match socket {
                Socket::Tcp(socket) => socket.remote_endpoint() == Some(from),
                Socket::Udp(_) => false,
            })
    }

    /// Works until there is nothing to do; the frames that it sends.
    pub(super) fn poll(&mut self, now: Nanos, dials: &mut Dials) -> Vec<Vec<u8>> {
        loop {
            let polled = self.interface.poll(smol(now), &mut self.plug, &mut self.sockets);
            let worked = match &mut self.app {
                App::Client(client) => {
                    client.work(now, &mut self.sockets, self.interface.context(), dials)
                }
                App::Server(server) => server.work(&mut self.sockets, dials),
            };
            if !worked && polled == PollResult::None {
                break;
            }
        }
        let mut leaving = std::mem::take(&mut self.plug.leaving);
        if self.is_mute {
            leaving.retain(|bytes| observe(bytes).teller().is_none());
        }
        if self.is_off {
            leaving.clear();
        }
        leaving
    }

    /// When it wants to be polled next.
    pub(super) fn deadline(&mut self, now: Nanos, dials: &Dials) -> Option<Nanos> {
        let stack = self.interface.poll_at(smol(now), &self.sockets);
        let stack = stack.map(|at| u64::try_from(at.total_micros()).unwrap_or(0) * MICRO);
        let app = match &self.app {
            App::Client(client) => client.deadline(now, dials),
            App::Server(_) => None,
        };
        [stack, app].into_iter().flatten().min()
    }

    /// Gets another network card; the frame with which it tells its neighbors.
    pub(super) fn change_mac(&mut self, mac: MacAddr) -> Vec<u8> {
        self.mac = mac;
        self.interface.set_hardware_addr(hardware(mac));
        self.announcement()
    }

    /// A gratuitous ARP request, or an advertisement that nobody asked for.
    fn announcement(&self) -> Vec<u8> {
        let own = (self.address, self.mac);
        let nobody = (Ipv6Addr::UNSPECIFIED.into(), self.mac);
        match self.address {
            IpAddr::V4(_) => ArpShape::who_has(self.address, own).encode().bytes,
            IpAddr::V6(_) => NdpShape::is_at(own, nobody).encode().bytes,
        }
    }
}

fn hardware(mac: MacAddr) -> HardwareAddress {
    HardwareAddress::Ethernet(EthernetAddress(mac.octets()))
}
