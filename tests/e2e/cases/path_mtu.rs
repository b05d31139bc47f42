//! A router behind adit with a narrower cable: over IPv6, and from IPv4 to it, its "packet too big"
//! has to reach the client, or nothing large arrives. And datagrams in fragments of IPv6.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Link, LinkEnd, Namespace};

use super::{FAST, PACKET, PACKET_2};
use crate::case::{Case, Failure, Outcome, PATIENCE};
use crate::world::{BACKENDS, Station, World, endpoint, rule, service};

const NARROW: u32 = 1_300;
const BYTES: usize = 1_000_000;
/// Longer than the kernel takes to give up on one way; what is stuck is stuck.
const SHORT: Duration = Duration::from_secs(2);

/// Dialled, and behind.
const TCP: (u16, u16) = (90, 9090);
const UDP: (u16, u16) = (91, 9091);

const fn wide(network: u16, subnet: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(network, 0, 0, subnet, 0, 0, 0, host)
}

const CLIENT: Ipv6Addr = wide(0xfd00, 0, 0x10);
const ROUTER: Ipv6Addr = wide(0xfd01, 0, 0x10);
/// Of the backends' network, though behind a router, who answers for it.
const FAR: Ipv6Addr = wide(0xfd01, 0, 0x20);
/// The narrow cable's own network.
const GATEWAY: Ipv6Addr = wide(0xfd02, 1, 1);
const NAT_IP: Ipv6Addr = wide(0xfd01, 0, 4);

/// Endpoints of tenant a: over IPv6 and over IPv4 to the host behind the router, over IPv6 to one
/// that speaks IPv4.
const TO_FAR: [IpAddr; 2] =
    [IpAddr::V6(wide(0xfd00, 0, 5)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 46))];
const TO_IPV4: IpAddr = IpAddr::V6(wide(0xfd00, 0, 6));

pub(super) const CASES: &[Case] = &[
    Case::new("path_mtu::packet_1_worker", PACKET, path_mtu).with(&["ip"]),
    Case::new("path_mtu::packet_2_workers", PACKET_2, path_mtu).with(&["ip"]),
    Case::new("path_mtu::fast_path_1_worker", FAST, path_mtu).with(&["ip"]),
];

fn path_mtu(world: &mut World) -> Outcome {
    let far = behind_a_router(world)?;
    let second = world.backends[1].station.namespace().clone();
    let listener = far.run(|| TcpListener::bind((FAR, TCP.1)))??;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let hosts = [(&far, IpAddr::from(FAR)), (&second, IpAddr::from(BACKENDS[1]))];
        let mut running: Vec<_> = hosts
            .map(|(host, address)| {
                let stop = &stop;
                scope.spawn(move || host.run(|| answer_datagrams(address, stop))?)
            })
            .into();
        running.push(scope.spawn(|| swallow(&listener, &stop)));
        let outcome = discover(world).and_then(|()| fragments(world));
        stop.store(true, Ordering::Relaxed);
        for host in running {
            host.join().map_err(|_| "a host panicked")??;
        }
        outcome
    })?;
    world.wait_for_balance()
}

/// Makes the first backend's host a router in front of another, and gives adit a service there.
fn behind_a_router(world: &mut World) -> Result<Namespace, Failure> {
    let far = Namespace::create("far")?;
    let router = world.backends[0].station.namespace().clone();
    for namespace in [&far, &router, world.a().namespace()] {
        namespace.enable_ipv6()?;
    }
    world.a().near()?.add_address(CLIENT, 64)?;
    // Its answers grow by 28 bytes a fragment on their way to IPv6, and adit does not cut.
    let narrower = &world.backends[1].station;
    narrower.near()?.set_mtu(1_400)?;
    narrower.far()?.set_mtu(1_400)?;
    world.backends[0].station.near()?.add_address(ROUTER, 64)?;
    router.set_sysctl("ipv6/conf/all/forwarding", "1")?;
    router.set_sysctl("ipv6/conf/eth0/proxy_ndp", "1")?;
    let near = LinkEnd::new(&router, "narrow").mtu(NARROW);
    let (near, behind) = Link::veth(&near, &LinkEnd::new(&far, "eth0").mtu(NARROW))?;
    near.up()?;
    behind.up()?;
    near.wait_until_running(PATIENCE)?;
    near.add_address(GATEWAY, 64)?;
    // A router asks in its name for the neighbors of what it forwards.
    for link in [&near, world.backends[0].station.near()?] {
        link.add_address(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), 64)?;
    }
    behind.add_address(wide(0xfd02, 1, 2), 64)?;
    behind.add_address(FAR, 128)?;
    let (far_text, gateway) = (FAR.to_string(), GATEWAY.to_string());
    ip(&router, &["route", "add", &far_text, "via", "fd02:0:0:1::2", "dev", "narrow"])?;
    ip(&router, &["neigh", "add", "proxy", &far_text, "dev", "eth0"])?;
    // It says that it takes more than the cable does, so that TCP finds out by itself.
    let way = ["via", &gateway, "dev", "eth0", "src", &far_text, "advmss", "1440"];
    ip(&far, &[&["route", "add", "default"][..], &way].concat())?;
    configure(world)?;
    Ok(far)
}

fn ip(namespace: &Namespace, words: &[&str]) -> Outcome {
    let mut command: Command = namespace.command("ip")?;
    let output = command.arg("-6").args(words).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip -6 {}: {said}", words.join(" "));
    Ok(())
}

fn configure(world: &mut World) -> Outcome {
    let backends = [("far", FAR.to_string()), ("narrow", BACKENDS[1].to_string())];
    let nat_ips = [NAT_IP.to_string(), "10.1.0.6".to_owned()];
    for ((name, backend), nat_ip) in backends.iter().zip(nat_ips) {
        let rules = rule("t", "Tcp", TCP, "all") + &rule("u", "Udp", UDP, "all");
        world.config.more += &format!(
            "[[load_balancer]]\nname = \"lb-{name}\"\nvirtual_network = \"provider\"\n\
             backend_address_pool = [ {{ name = \"all\", backend_addresses = [{backend:?}] }} ]\n\
             load_balancing_rule = [\n{rules}]\n"
        );
        let service = service(name, &[nat_ip]);
        world.config.more += &service.replace("\"lb\"", &format!("\"lb-{name}\""));
        world.config.more += "mss_clamp = \"off\"\nicmp_errors = \"drop\"\nfragments = \"drop\"\n\
                              icmp_answers = [\"too_big\"]\n";
    }
    let endpoints = [(TO_FAR[0], "far"), (TO_FAR[1], "far"), (TO_IPV4, "narrow")];
    for (at, (address, to)) in endpoints.iter().enumerate() {
        let name = format!("pe-{at}");
        world.config.more += &endpoint(&name, "a", &address.to_string(), to, "Approved");
    }
    world.config.speaks_ipv6 = true;
    world.reload()?;
    world.wait_until_ready()
}

/// Uploads, first without what the router says, then with it.
fn discover(world: &mut World) -> Outcome {
    for endpoint in TO_FAR {
        let stuck = upload(world.a(), endpoint, SHORT);
        ensure!(stuck.is_err(), "{endpoint}: nobody told, and {stuck:?} arrived");
    }
    world.config.more =
        world.config.more.replace("icmp_errors = \"drop\"", "icmp_errors = \"translate\"");
    world.reload()?;
    for endpoint in TO_FAR {
        let arrived = upload(world.a(), endpoint, PATIENCE);
        ensure!(matches!(arrived, Ok(BYTES)), "{endpoint}: {arrived:?} arrived");
    }
    Ok(())
}

/// Sends, and hears how many bytes have arrived.
fn upload(station: &Station, endpoint: IpAddr, patience: Duration) -> Result<usize, Failure> {
    station.namespace().run(|| {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(endpoint, TCP.0), patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.write_all(&vec![b'x'; BYTES])?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut count = String::new();
        stream.read_to_string(&mut count)?;
        Ok(count.parse()?)
    })?
}

/// Reads each connection to its end and says how much that was.
fn swallow(listener: &TcpListener, stop: &AtomicBool) -> Outcome {
    listener.set_nonblocking(true)?;
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        let (mut count, mut buffer, end) = (0, vec![0; 65_536], Instant::now() + PATIENCE);
        while Instant::now() < end && !stop.load(Ordering::Relaxed) {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => count += bytes,
                // Those that are stuck give up before.
                Err(_) => break,
            }
        }
        let _ = stream.write_all(count.to_string().as_bytes());
    }
    Ok(())
}

/// Datagrams in fragments: to the host behind the router, whose cable they learn of by the way, and
/// to one of IPv4.
fn fragments(world: &mut World) -> Outcome {
    for endpoint in [TO_FAR[0], TO_IPV4] {
        let heard = ask(world.a(), endpoint, 4_000, SHORT);
        ensure!(heard.is_err(), "{endpoint}: fragments are dropped, and {heard:?} was heard");
    }
    let dropped = world.adit.drops("ipv6_fragment")?;
    ensure!(dropped > 0, "fragments were dropped for another reason");
    world.config.more =
        world.config.more.replace("fragments = \"drop\"", "fragments = \"reassemble\"");
    world.reload()?;
    for endpoint in [TO_FAR[0], TO_IPV4] {
        for bytes in [2_000, 4_000, 8_000] {
            let heard = ask(world.a(), endpoint, bytes, PATIENCE)?;
            ensure!(heard == bytes, "{endpoint}: {heard} of {bytes} bytes arrived");
        }
    }
    Ok(())
}

/// Sends a datagram again until its length is told.
fn ask(
    station: &Station,
    endpoint: IpAddr,
    bytes: usize,
    patience: Duration,
) -> Result<usize, Failure> {
    station.namespace().run(|| {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect((endpoint, UDP.0))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let (payload, end) = (vec![b'x'; bytes], Instant::now() + patience);
        let mut answer = vec![0; 65_536];
        while Instant::now() < end {
            // "Too long", where the kernel has just learned of the path.
            let _ = socket.send(&payload);
            if let Ok(length) = socket.recv(&mut answer) {
                return Ok(length);
            }
        }
        Err(format!("{endpoint}: no answer to {bytes} bytes").into())
    })?
}

/// Datagrams come back as they came.
fn answer_datagrams(address: IpAddr, stop: &AtomicBool) -> Outcome {
    let socket = UdpSocket::bind((address, UDP.1))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((bytes, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..bytes], from)?;
        }
    }
    Ok(())
}
