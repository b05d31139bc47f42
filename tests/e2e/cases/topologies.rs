//! Where hosts, devices and services may stand: a backend that is a client too, both sides on one
//! device, several devices of one network, several endpoints of one service, as many services as a
//! load balancer may have, and clients behind a router.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lab::backend::HttpServer;
use lab::client::{Dial, Session, http_get, udp_exchange};
use lab::{Host, HostPlan};

use super::{FAST_2, PACKET_2, XDP};
use crate::case::{Case, Failure, Outcome};
use crate::world::{
    CLIENT, ENDPOINT, Kind, NAT_IPS, Station, World, dial, endpoint, port, rule, service,
};

pub(super) const CASES: &[Case] = &[
    Case::new("topologies::hairpin_packet_2_workers", PACKET_2, hairpin),
    Case::new("topologies::hairpin_fast_path_2_workers", FAST_2, hairpin),
    Case::new("topologies::hairpin_xdp_1_worker", XDP, hairpin),
    Case::new("topologies::one_armed_packet_2_workers", PACKET_2, one_armed),
    Case::new("topologies::one_armed_fast_path_2_workers", FAST_2, one_armed),
    Case::new("topologies::devices_of_one_network_packet_2_workers", PACKET_2, devices),
    Case::new("topologies::devices_of_one_network_fast_path_2_workers", FAST_2, devices),
    Case::new("topologies::a_device_left_out_fast_path_2_workers", FAST_2, left_out),
    Case::new("topologies::endpoints_and_services", PACKET_2, endpoints_and_services),
    Case::new("topologies::clients_behind_a_router_packet_2_workers", PACKET_2, behind_a_router),
    Case::new("topologies::clients_behind_a_router_fast_path_2_workers", FAST_2, behind_a_router),
];

/// How long an answer is waited for that shall not come.
const BRIEFLY: Duration = Duration::from_millis(300);
/// Requests of each kind of client.
const REQUESTS: usize = 20;

/// Asks through an endpoint again and again; what the backends saw must be one of these.
fn ask(address: Ipv4Addr, port: u16, sources: &[Ipv4Addr]) -> Outcome {
    let dial = Dial::to(SocketAddrV4::new(address, port));
    for _ in 0..REQUESTS {
        let answer = http_get(&dial, "/")?.answer()?;
        ensure!(sources.contains(answer.peer.ip()), "the backend saw {}", answer.peer);
    }
    Ok(())
}

/// Backends dial the service that they are the backends of, by an endpoint in their own network;
/// some of them get themselves.
fn hairpin(world: &mut World) -> Outcome {
    let address = Ipv4Addr::new(10, 1, 0, 200);
    world.config.more =
        endpoint("pe-provider", "provider", &address.to_string(), "web", "Approved");
    world.reload()?;
    let mut own = 0;
    for backend in &world.backends {
        own += backend.station.namespace().run(|| -> Result<usize, Failure> {
            let mut own = 0;
            ask(address, port::HTTP.0, &NAT_IPS)?;
            for _ in 0..REQUESTS {
                let mut session =
                    Session::open(&Dial::to(SocketAddrV4::new(address, port::ECHO.0)))?;
                own += usize::from(session.exchange("hello")?.backend == backend.station.name());
                udp_exchange(&Dial::to(SocketAddrV4::new(address, port::ECHO.0)), "datagram")?;
            }
            Ok(own)
        })??;
    }
    ensure!(own > 0, "with {} sessions none has come to who opened it", 3 * REQUESTS);
    world.both(|_| ask(ENDPOINT, port::HTTP.0, &NAT_IPS))?;
    world.wait_for_balance()
}

/// Client and backend are one host, on one device; the leased ports are not those that it serves.
fn one_armed(world: &mut World) -> Outcome {
    let (address, nat_ip) = (Ipv4Addr::new(10, 0, 0, 200), Ipv4Addr::new(10, 0, 0, 201));
    world.config.more = format!(
        "[[load_balancer]]\nname = \"arm\"\nvirtual_network = \"a\"\n\
         backend_address_pool = [{{ name = \"arm\", backend_addresses = [\"{CLIENT}\"] }}]\n\
         load_balancing_rule = [\n{}]\n",
        rule("arm", "Tcp", (80, port::HTTP.1), "arm")
    ) + &service("arm", &[nat_ip.to_string()])
        .replace("load_balancer = \"lb\"", "load_balancer = \"arm\"")
        + &endpoint("pe-arm", "a", &address.to_string(), "arm", "Approved");
    let at = SocketAddrV4::new(CLIENT, port::HTTP.1);
    let _server = HttpServer::start(world.a().namespace(), at, "arm")?;
    world.reload()?;
    world.wait_until_ready()?;
    world.a().namespace().run(|| ask(address, 80, &[nat_ip]))??;
    // The other tenant has the same addresses and no such endpoint.
    let stranger = Dial::to(SocketAddrV4::new(address, 80)).within(BRIEFLY);
    let met = world.b().namespace().run(|| http_get(&stranger, "/").is_ok())?;
    ensure!(!met, "another tenant has reached the endpoint");
    world.both(|_| ask(ENDPOINT, port::HTTP.0, &NAT_IPS))?;
    world.wait_for_balance()
}

/// Interfaces whose indices differ by so much have one place in the kernel's fast path.
const FAST_PATH_PLACES: u32 = 4096;

/// Gives tenant a a second host, by a cable of its own.
fn join(world: &mut World, index: Option<u32>) -> Result<Station, Failure> {
    let address = Ipv4Addr::new(10, 0, 0, 11);
    let mut second = Station::create("a-2", "a", address, &world.middle, None)?;
    second.lay_cable_at(index, 1500, 1500)?;
    world.config.devices.push(second.device_of(Kind::Packet));
    world.reload()?;
    world.wait_until_ready()?;
    Ok(second)
}

/// A device that the fast path cannot take goes by packet sockets, of all workers, and adit says
/// so; the others stay there, and no packet is judged twice.
fn left_out(world: &mut World) -> Outcome {
    let taken = world.a().far_index().ok_or("the station has no cable")?;
    let second = join(world, Some(taken + FAST_PATH_PLACES))?;
    let name = second.device_of(Kind::Packet).name;
    let status = world.adit.ask(&["status"])?;
    if status["fast_path"]["state"] == "on" {
        let detail = status["fast_path"]["detail"].as_str().unwrap_or_default();
        ensure!(detail.contains(&name) && detail.contains("4096"), "it says {detail:?}");
    }
    for station in [world.a(), &second] {
        station.namespace().run(|| ask(ENDPOINT, port::HTTP.0, &NAT_IPS))??;
        let mut session = station.namespace().run(|| Session::open(&dial(port::ECHO)))??;
        (0..REQUESTS).try_for_each(|_| session.exchange("once").map(drop))?;
    }
    world.wait_for_balance()
}

/// A second host of tenant a, by a cable of its own.
fn devices(world: &mut World) -> Outcome {
    let mut second = join(world, None)?;
    for station in [world.a(), &second, world.a(), &second] {
        station.namespace().run(|| ask(ENDPOINT, port::HTTP.0, &NAT_IPS))??;
    }
    let open = |station: &Station| station.namespace().run(|| Session::open(&dial(port::ECHO)));
    let (mut first, mut other) = (open(world.a())??, open(&second)??);
    for _ in 0..REQUESTS {
        first.exchange("of the first")?;
        other.exchange("of the second")?;
    }
    // One cable is cut: the other's connections go on.
    second.cut_cable()?;
    first.exchange("still there")?;
    world.wait_for_balance()
}

/// Two endpoints of one network to one service, each its own connection; and eight services of one
/// load balancer. A ninth is refused.
fn endpoints_and_services(world: &mut World) -> Outcome {
    let second = Ipv4Addr::new(10, 0, 0, 7);
    let mut more = endpoint("pe-a-2", "a", &second.to_string(), "web", "Approved");
    let extra: Vec<(Ipv4Addr, Ipv4Addr)> =
        (2..9).map(|at| (Ipv4Addr::new(10, 0, 1, at), Ipv4Addr::new(10, 1, 1, at))).collect();
    for (at, (address, nat_ip)) in extra.iter().enumerate() {
        more += &service(&format!("web-{at}"), &[nat_ip.to_string()]);
        more += &endpoint(
            &format!("pe-{at}"),
            "a",
            &address.to_string(),
            &format!("web-{at}"),
            "Approved",
        );
    }
    world.config.more = more.clone();
    world.reload()?;
    world.a().namespace().run(|| -> Outcome {
        ask(second, port::HTTP.0, &NAT_IPS)?;
        extra.iter().try_for_each(|(address, nat_ip)| ask(*address, port::HTTP.0, &[*nat_ip]))
    })??;
    // The one connection's end is not the other's.
    world.adit.ask(&["reject", "pe-a-2"])?;
    let brief = Dial::to(SocketAddrV4::new(second, port::HTTP.0));
    let brief = brief.within(BRIEFLY);
    let met = world.a().namespace().run(|| http_get(&brief, "/").is_ok())?;
    ensure!(!met, "a rejected endpoint has answered");
    world.a().namespace().run(|| ask(ENDPOINT, port::HTTP.0, &NAT_IPS))??;
    world.config.more = more + &service("web-9", &["10.1.1.99".to_owned()]);
    let refused = world.reload().err().ok_or("a ninth service was accepted")?.to_string();
    ensure!(refused.contains("more than 8 services"), "{refused}");
    world.wait_for_balance()
}

/// Clients of a peered network and of a site on premises come by a router of tenant a; those of
/// nowhere are still spoofed.
fn behind_a_router(world: &mut World) -> Outcome {
    let mut router =
        Station::create("router", "a", Ipv4Addr::new(10, 0, 0, 20), &world.middle, None)?;
    router.lay_cable(1500, 1500)?;
    router.namespace().set_sysctl("ipv4/ip_forward", "1")?;
    let site = |name: &str, third: u8| -> Result<Host, Failure> {
        let [host, gateway] = [7, 1].map(|last| Ipv4Addr::new(192, 168, third, last));
        let plan = HostPlan::new(name, host, 24).gateway(gateway);
        let host = Host::create(&plan, router.namespace(), &format!("to-{name}"))?;
        host.peer().add_address(gateway, 24)?;
        Ok(host)
    };
    let (known, unknown) = (site("site", 1)?, site("nowhere", 2)?);
    world.config.devices.push(router.device_of(Kind::Packet));
    world.config.more_of_network_a = "remote_address_space = [\"192.168.1.0/24\"]\n".into();
    world.reload()?;
    world.wait_until_ready()?;
    known.run(|| -> Outcome {
        ask(ENDPOINT, port::HTTP.0, &NAT_IPS)?;
        let mut session = Session::open(&dial(port::ECHO))?;
        for _ in 0..REQUESTS {
            session.exchange("from afar")?;
        }
        Ok(udp_exchange(&dial(port::ECHO), "datagram").map(drop)?)
    })??;
    let before = world.adit.drops("source_spoofed")?;
    let brief = dial(port::HTTP).within(BRIEFLY);
    let met = unknown.run(|| http_get(&brief, "/").is_ok())?;
    ensure!(!met, "a client of nowhere was served");
    world.adit.wait_for_drops("source_spoofed", before + 1)?;
    world.a().namespace().run(|| ask(ENDPOINT, port::HTTP.0, &NAT_IPS))??;
    world.wait_for_balance()
}
