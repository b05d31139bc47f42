//! The network that every case happens in: two consumers whose virtual networks overlap, a
//! provider with three backends, and adit between them.
//!
//! ```text
//!   a: 10.0.0.10 --+                    +-- 10.1.0.10
//!                  |-- adit, 10.0.0.5   |-- 10.1.0.11
//!   b: 10.0.0.10 --+   10.1.0.4, .5   --+-- 10.1.0.12
//! ```
//! Every host has a cable of its own to adit: a veth pair whose far end is in adit's namespace, or
//! a TAP device that adit makes inside the host's namespace.

mod adit;
mod config;
mod station;
mod vitals;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use lab::Namespace;
use lab::backend::{HttpServer, TcpEcho, UdpEcho};
use lab::client::{Dial, http_get, udp_exchange};

pub(crate) use adit::{Adit, Probe, list, number, text};
pub(crate) use config::{Config, endpoint, rule, service};
pub(crate) use station::Station;
pub(crate) use vitals::Vitals;

use crate::case::{Failure, wait_until};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
pub(crate) const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// An endpoint of a whose connection begins as Pending.
pub(crate) const PENDING_ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 6);
pub(crate) const NAT_IPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 4), Ipv4Addr::new(10, 1, 0, 5)];
pub(crate) const BACKENDS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 1, 0, 10), Ipv4Addr::new(10, 1, 0, 11), Ipv4Addr::new(10, 1, 0, 12)];

/// Ports: where consumers dial, and where backends listen.
pub(crate) mod port {
    pub(crate) const HTTP: (u16, u16) = (80, 8080);
    pub(crate) const ECHO: (u16, u16) = (7, 7007);
    pub(crate) const NGINX: (u16, u16) = (8000, 8081);
    pub(crate) const IPERF: (u16, u16) = (5201, 5202);
}

/// What adit's devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Packet sockets on veth pairs.
    Packet,
    /// AF_XDP sockets on veth pairs.
    Xdp,
    /// TAP devices.
    Tap,
}

/// What a world shall be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) workers: u8,
    /// Whether the kernel may carry the usual packets.
    pub(crate) fast_path: bool,
    /// MTU of all cables.
    pub(crate) mtu: u32,
    /// Queues of both ends of all cables, if not the kernel's choice.
    pub(crate) queues: Option<u32>,
    /// MTU of adit's ends towards consumers and towards backends, if it is another.
    pub(crate) far_mtus: [Option<u32>; 2],
}

impl Plan {
    pub(crate) const fn new(kind: Kind, workers: u8) -> Plan {
        Plan { kind, workers, fast_path: false, mtu: 1500, queues: None, far_mtus: [None; 2] }
    }

    /// Whether the machine must allow programs in the kernel.
    pub(crate) fn needs_xdp(self) -> bool {
        self.kind == Kind::Xdp
    }

    /// Whether the machine must allow TAP devices.
    pub(crate) fn needs_tap(self) -> bool {
        self.kind == Kind::Tap
    }
}

/// A backend and what it serves.
pub(crate) struct Backend {
    pub(crate) http: HttpServer,
    pub(crate) echo: TcpEcho,
    pub(crate) udp: UdpEcho,
    pub(crate) station: Station,
}

/// Everything of a case; ends with it.
pub(crate) struct World {
    // First, so that it ends first.
    pub(crate) adit: Adit,
    pub(crate) config: Config,
    pub(crate) consumers: [Station; 2],
    pub(crate) backends: Vec<Backend>,
    pub(crate) middle: Namespace,
}

impl World {
    /// Builds it and waits until everything is connected.
    pub(crate) fn build(plan: Plan) -> Result<World, Failure> {
        let middle = Namespace::create("adit")?;
        let create =
            |name, network, address| Station::create(name, network, address, &middle, plan.queues);
        let mut consumers = [create("a", "a", CLIENT)?, create("b", "b", CLIENT)?];
        let names = ["backend-1", "backend-2", "backend-3"].into_iter().zip(BACKENDS);
        let hosts = names.map(|(name, address)| create(name, "provider", address));
        let mut hosts = hosts.collect::<Result<Vec<Station>, Failure>>()?;
        let mut adit = Adit::prepare(&middle)?;
        let stations = || consumers.iter().chain(&hosts);
        let config = Config {
            kind: plan.kind,
            workers: plan.workers,
            fast_path: plan.fast_path,
            socket: adit.socket(),
            devices: stations().map(|station| station.device_of(plan.kind)).collect(),
            speaks_ipv6: false,
            service_settings: String::new(),
            more_of_network_a: String::new(),
            more_pools: String::new(),
            more_rules: String::new(),
            more_of_balancer: String::new(),
            more_of_endpoints: String::new(),
            more: String::new(),
        };
        adit.configure(&config.text())?;
        if plan.kind != Kind::Tap {
            let [far_consumers, far_hosts] = plan.far_mtus.map(|mtu| mtu.unwrap_or(plan.mtu));
            for station in &mut consumers {
                station.lay_cable(plan.mtu, far_consumers)?;
            }
            for station in &mut hosts {
                station.lay_cable(plan.mtu, far_hosts)?;
            }
        }
        adit.start()?;
        if plan.kind == Kind::Tap {
            for station in consumers.iter_mut().chain(&mut hosts) {
                station.find_tap()?;
            }
        }
        let backends = hosts.into_iter().map(Backend::start).collect::<Result<_, _>>()?;
        let world = World { adit, config, consumers, backends, middle };
        world.wait_until_ready()?;
        Ok(world)
    }

    /// Waits until every device is up and every backend has answered adit's ARP request.
    pub(crate) fn wait_until_ready(&self) -> Result<(), Failure> {
        wait_until("all devices are up and all next hops known", || {
            let status = self.adit.ask(&["status"])?;
            let up = list(&status, "devices")?.iter().all(|device| device["state"] == "up");
            let next_hops = list(&status, "next_hops")?;
            Ok(up && next_hops.iter().all(|next_hop| next_hop["mac"].is_string()))
        })
        .map_err(|failure| format!("{failure}\n{}", self.adit.probe().show()).into())
    }

    /// Waits until new connections and datagrams of both tenants are answered, and every backend
    /// has answered one: what was lost meanwhile is no failure.
    pub(crate) fn wait_until_served(&self) -> Result<(), Failure> {
        let served = || self.backends.iter().map(|backend| backend.http.connections());
        let before: Vec<u64> = served().collect();
        let mut said = String::new();
        wait_until("both tenants are served by every backend", || {
            let outcome = self.both(knock);
            said = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
            Ok(outcome.is_ok() && served().zip(&before).all(|(now, before)| now > *before))
        })
        .map_err(|failure| format!("{failure}: {said}").into())
    }

    /// Starts adit again, after its end.
    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        self.adit.start()?;
        if self.config.kind == Kind::Tap {
            // The devices had gone with it.
            let hosts = self.backends.iter_mut().map(|backend| &mut backend.station);
            self.consumers.iter_mut().chain(hosts).try_for_each(Station::find_tap)?;
        }
        self.wait_until_ready()
    }

    pub(crate) fn a(&self) -> &Station {
        &self.consumers[0]
    }

    pub(crate) fn b(&self) -> &Station {
        &self.consumers[1]
    }

    /// All hosts.
    pub(crate) fn stations(&self) -> impl Iterator<Item = &Station> {
        self.consumers.iter().chain(self.backends.iter().map(|backend| &backend.station))
    }

    /// Switches the offloads of all hosts.
    pub(crate) fn set_offloads(&self, on: bool) -> Result<(), Failure> {
        self.stations().try_for_each(|station| station.set_offloads(self.config.kind, on))
    }

    /// Does the same in both consumers at once.
    pub(crate) fn both<T: Send>(
        &self,
        work: impl Fn(&Station) -> Result<T, Failure> + Sync,
    ) -> Result<[T; 2], Failure> {
        let work = &work;
        let [a, b] = thread::scope(|scope| {
            let running = self
                .consumers
                .each_ref()
                .map(|station| scope.spawn(move || station.namespace().run(|| work(station))));
            running.map(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        });
        Ok([a??, b??])
    }

    /// Puts the configuration, as it is now, in force.
    pub(crate) fn reload(&self) -> Result<u64, Failure> {
        self.adit.configure(&self.config.text())?;
        number(&self.adit.ask(&["reload"])?, "generation")
    }

    /// Waits until what came in is accounted for to the last packet (I9).
    pub(crate) fn wait_for_balance(&self) -> Result<(), Failure> {
        let mut seen = String::new();
        wait_until("the account balances", || {
            let status = self.adit.ask(&["status"])?;
            let total = number(&self.adit.ask(&["drops"])?, "total")?;
            let dropped = number(&status, "dropped")?;
            let mut sum = dropped;
            for field in ["forwarded", "consumed", "held"] {
                sum += number(&status, field)?;
            }
            let received = number(&status, "received")?;
            seen = format!("received {received}, accounted {sum}, dropped {dropped} = {total}");
            Ok(received == sum && dropped == total)
        })
        .map_err(|failure| Failure::from(format!("{failure}: {seen}")))?;
        let internal = self.adit.drops("internal")?;
        ensure!(internal == 0, "{internal} packets were dropped for a bug of adit");
        Ok(())
    }

    /// Whom the backends' TCP servers have seen.
    pub(crate) fn peers(&self) -> Vec<SocketAddrV4> {
        let peers = |backend: &Backend| [backend.http.peers(), backend.echo.peers()].concat();
        self.backends.iter().flat_map(peers).collect()
    }
}

impl Backend {
    fn start(station: Station) -> Result<Backend, Failure> {
        let at = |port| SocketAddrV4::new(station.address(), port);
        let (namespace, name) = (station.namespace(), station.name());
        Ok(Backend {
            http: HttpServer::start(namespace, at(port::HTTP.1), name)?,
            echo: TcpEcho::start(namespace, at(port::ECHO.1), name)?,
            udp: UdpEcho::start(namespace, at(port::ECHO.1), name)?,
            station,
        })
    }
}

fn knock(_: &Station) -> Result<(), Failure> {
    // Longer than until a lost SYN is sent again.
    const BRIEFLY: Duration = Duration::from_millis(1_500);
    for _ in 0..3 {
        let status = http_get(&dial(port::HTTP).within(BRIEFLY), "/")?.status;
        ensure!(status == 200, "the answer is {status}");
        udp_exchange(&dial(port::ECHO).within(BRIEFLY), "datagram")?;
    }
    Ok(())
}

/// A call to the endpoint.
pub(crate) fn dial((port, _): (u16, u16)) -> Dial {
    Dial::to(SocketAddrV4::new(ENDPOINT, port))
}
