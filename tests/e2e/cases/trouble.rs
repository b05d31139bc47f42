//! Backends that make trouble on purpose, seen through adit: what they do reaches the client as it
//! is, and leaves nothing behind.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use lab::backend::trouble::{
    First, FlappingHealth, HalfClose, LossyUdpEcho, ProxyStrict, ResetAt, SlowAccept,
};
use lab::client::{Session, http_get, udp_exchange};
use serde_json::Value;

use super::{PACKET_2, TAP};
use crate::case::{Case, Failure, Outcome, PATIENCE, wait_until};
use crate::world::{NAT_IPS, World, dial, rule, text};

pub(super) const CASES: &[Case] = &[
    Case::new("trouble::slow_accept", PACKET_2, slow_accept),
    Case::new("trouble::reset_at_byte", PACKET_2, reset),
    Case::new("trouble::half_close", PACKET_2, half_close),
    Case::new("trouble::half_close_tap", TAP, half_close),
    Case::new("trouble::proxy_strict", PACKET_2, proxy_strict),
    Case::new("trouble::lossy_udp", PACKET_2, lossy_udp),
    Case::new("trouble::flapping_health", PACKET_2, flapping_health),
];

/// Where consumers dial, and where the trouble listens.
const PORT: (u16, u16) = (9_100, 9_101);

/// Lets the first backend serve the trouble's port too; where it is to listen.
fn publish(world: &mut World, protocol: &str) -> Result<SocketAddrV4, Failure> {
    world.config.more_rules = rule("trouble", protocol, PORT, "first");
    world.reload()?;
    Ok(SocketAddrV4::new(world.backends[0].station.address(), PORT.1))
}

fn connect(world: &World) -> Result<TcpStream, Failure> {
    let stream = world.a().namespace().run(|| Session::open(&dial(PORT)))??.stream().try_clone()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The flow to the trouble, of which there is one.
fn flow(world: &World) -> Result<Option<Value>, Failure> {
    let flows = world.adit.sessions()?;
    Ok(flows.into_iter().find(|flow| flow["endpoint_port"] == PORT.0))
}

/// The flow ends soon, and with it its lease.
fn leaves_nothing(world: &World) -> Outcome {
    wait_until("the flow has ended", || Ok(flow(world)?.is_none()))?;
    wait_until("no port is leased without a flow", || {
        let status = world.adit.ask(&["status"])?;
        Ok(status["nat_ports_leased"] == status["flows"])
    })?;
    world.wait_for_balance()
}

/// The flow waits with its client.
fn slow_accept(world: &mut World) -> Outcome {
    const DELAY: Duration = Duration::from_secs(2);
    let place = publish(world, "Tcp")?;
    let namespace = world.backends[0].station.namespace();
    let _server = SlowAccept::start(namespace, place, "slow", DELAY, 8)?;
    let begin = Instant::now();
    let mut session = world.a().namespace().run(|| Session::open(&dial(PORT)))??;
    ensure!(begin.elapsed() < DELAY, "the handshake took {:?}", begin.elapsed());
    let answer = session.exchange("hello")?;
    ensure!(begin.elapsed() >= DELAY, "answered after {:?}", begin.elapsed());
    ensure!(NAT_IPS.contains(answer.peer.ip()), "{answer}");
    let opened = session.exchange("again")?.peer;
    ensure!(opened == answer.peer, "the flow moved from {} to {opened}", answer.peer);
    session.close();
    leaves_nothing(world)
}

fn reset(world: &mut World) -> Outcome {
    const AT: usize = 100_000;
    let place = publish(world, "Tcp")?;
    let _server = ResetAt::start(world.backends[0].station.namespace(), place, "reset", AT as u64)?;
    let mut stream = connect(world)?;
    let mut echo = vec![0; 10_000];
    for _ in 0..AT / echo.len() - 1 {
        stream.write_all(&vec![7; echo.len()])?;
        stream.read_exact(&mut echo)?;
    }
    ensure!(flow(world)?.is_some_and(|flow| flow["state"] == "established"), "no flow");
    stream.write_all(&vec![7; echo.len()])?;
    let end = loop {
        match stream.read(&mut echo) {
            Ok(1..) => {}
            Ok(0) => return Err("the connection ended by FIN".into()),
            Err(error) => break error.kind(),
        }
    };
    ensure!(end == ErrorKind::ConnectionReset, "it ended by {end:?}");
    leaves_nothing(world)
}

/// Each half stays open for as long as its owner wants.
fn half_close(world: &mut World) -> Outcome {
    const BYTES: usize = 3_000_000;
    let place = publish(world, "Tcp")?;
    for (first, state) in [(First::Server, "backend_closed"), (First::Client, "client_closed")] {
        let namespace = world.backends[0].station.namespace();
        let server = HalfClose::start(namespace, place, "half", first)?;
        let mut stream = connect(world)?;
        let mut said = String::new();
        if first == First::Server {
            stream.read_to_string(&mut said)?;
            let flow = flow(world)?.ok_or("no flow")?;
            ensure!(text(&flow, "state")? == state, "the server's FIN leaves {flow}");
        }
        stream.write_all(&vec![7; BYTES])?;
        stream.shutdown(Shutdown::Write)?;
        if first == First::Client {
            stream.read_to_string(&mut said)?;
            ensure!(said.ends_with(&format!(" received={BYTES}\n")), "it said {said:?}");
        }
        ensure!(said.starts_with("backend=half peer="), "it said {said:?}");
        wait_until("all bytes arrive", || Ok(server.received() == BYTES as u64))?;
        drop(stream);
        leaves_nothing(world)?;
    }
    Ok(())
}

/// A client that writes the header itself: adit carries it as it carries every byte.
fn proxy_strict(world: &mut World) -> Outcome {
    // PROXY, TCP over IPv4, from 203.0.113.7:0x1234 to 10.0.0.5:443, with Azure's link id 7.
    const HEADER: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14\xcb\0\x71\x07\x0a\0\0\x05\x12\x34\x01\xbb\
        \xee\0\x05\x01\x07\0\0\0";
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let place = publish(world, "Tcp")?;
    let server = ProxyStrict::start(world.backends[0].station.namespace(), place, "strict")?;
    let mut stream = connect(world)?;
    // In pieces, as segments may come.
    for piece in [&HEADER[..5], &HEADER[5..20], &HEADER[20..], GET] {
        stream.write_all(piece)?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    drop(stream);
    ensure!(answer.contains("peer=203.0.113.7:4660"), "it answered {answer}");
    let headers = server.headers();
    ensure!(headers.len() == 1 && headers[0].tlvs == [(0xee, vec![1, 7, 0, 0, 0])], "{headers:?}");
    let mut stream = connect(world)?;
    stream.write_all(GET)?;
    let refused = stream.read(&mut [0]).map_err(|error| error.kind());
    ensure!(refused == Err(ErrorKind::ConnectionReset), "without a header: {refused:?}");
    leaves_nothing(world)
}

/// Every datagram arrives, and those that are answered are answered through the same flow.
fn lossy_udp(world: &mut World) -> Outcome {
    const COUNT: u64 = 100;
    let place = publish(world, "Udp")?;
    let namespace = world.backends[0].station.namespace();
    let server = LossyUdpEcho::start(namespace, place, "lossy", 20, 1)?;
    let brief = dial(PORT).within(Duration::from_millis(50));
    let work = || (0..COUNT).filter(|_| udp_exchange(&brief, "datagram").is_ok()).count() as u64;
    let answered = world.a().namespace().run(work)?;
    wait_until("every datagram arrives", || Ok(server.datagrams() == COUNT))?;
    let lost = server.lost();
    ensure!(lost > 0 && answered > 0, "{lost} were lost, {answered} answered");
    // An answer may come too late; one that was lost never comes.
    ensure!(answered <= COUNT - lost, "{lost} were lost, {answered} answered");
    world.wait_for_balance()
}

fn flapping_health(world: &mut World) -> Outcome {
    const HALF: Duration = Duration::from_millis(150);
    let place = publish(world, "Tcp")?;
    let namespace = world.backends[0].station.namespace();
    let _server = FlappingHealth::start(namespace, place, "flapping", HALF, HALF)?;
    let status = |path: &str| -> Result<u16, Failure> {
        Ok(world.a().namespace().run(|| http_get(&dial(PORT), path))??.status)
    };
    for wanted in [503, 200, 503, 200] {
        wait_until("the health changes", || Ok(status("/health")? == wanted))?;
        ensure!(status("/")? == 200, "the rest is not served");
    }
    leaves_nothing(world)
}
