//! Tests of backends, clients and offloads, between a client and a server on one veth pair.

use std::io;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::thread;

use lab::backend::{HttpServer, TcpEcho, TcpSink, UdpEcho, UdpSink};
use lab::client::{
    ConnectOutcome, Dial, PingOutcome, Session, SessionState, download, http_get, ping, ping_sized,
    tcp_connect, udp_exchange, udp_send, upload,
};
use lab::{MacAddr, Offload};

use crate::world::{BRIEFLY, CLIENT, HTTP, SERVER, SOON, World, eventually};
use crate::{Outcome, Test};

pub(crate) const CASES: &[Test] = &[
    ("offload::off_means_frames_as_on_a_wire", offloads),
    ("http::answers_name_backend_and_peer", http_answers),
    ("http::ten_megabytes_each_way", ten_megabytes),
    ("http::survives_nonsense", survives_nonsense),
    ("tcp::outcomes_are_told_apart", tcp_outcomes),
    ("tcp::a_session_lives_until_it_is_ended", session_lives),
    ("udp::datagrams_are_echoed", udp_echo),
    ("sink::everything_is_counted", sinks_count),
    ("ping::outcomes_are_told_apart", pings),
];

fn offloads() -> Outcome {
    const BYTES: u64 = 2_000_000;
    let world = World::create()?;
    let lan = world.client.peer();
    for offload in Offload::ALL {
        let before = lan.offload(offload)?;
        for on in [!before, before] {
            lan.set_offload(offload, on)?;
            assert_eq!(lan.offload(offload)?, on, "{offload:?}");
        }
    }
    let _server = HttpServer::start(&world.server, HTTP, "server")?;
    for on in [false, true] {
        lan.set_all_offloads(on)?;
        let before = lan.counters()?;
        world.client.run(|| download(&Dial::to(HTTP), BYTES))??;
        let after = lan.counters()?;
        let sent = after.tx_bytes - before.tx_bytes;
        let average = sent / (after.tx_packets - before.tx_packets);
        assert!(sent >= BYTES);
        assert_eq!(average > 1514, on, "{average} bytes a frame with offloads {on}");
    }
    lan.set_offload(Offload::TxChecksum, false)?;
    // Segmentation offload needs checksums, and the error says whose it is.
    let refused = lan.set_offload(Offload::Tso, true).map_err(|error| error.to_string());
    assert!(refused.is_err_and(|text| text.contains("lan in server (Tso to true)")));
    Ok(())
}

fn http_answers() -> Outcome {
    let world = World::create()?;
    let server = HttpServer::start(&world.server, HTTP, "blue")?;
    let source = SocketAddrV4::new(CLIENT, 40_001);
    let dial = Dial::to(HTTP).from(source);
    for _ in 0..3 {
        // The same source port each time.
        let response = world.client.run(|| http_get(&dial, "/"))??;
        assert_eq!(response.body, format!("backend=blue\npeer={source}\n"));
    }
    assert_eq!((server.peers(), server.connections()), (vec![source; 3], 3));
    let status = |path: &str| world.client.run(|| http_get(&Dial::to(HTTP), path));
    assert_eq!(status("/absent")??.status, 404);
    assert_eq!(status("/bytes/many")??.status, 400);
    assert_eq!(status("/health")??.status, 200);
    server.set_healthy(false);
    assert_eq!(status("/health")??.status, 503);
    let mut session = world.client.run(|| Session::open(&Dial::to(HTTP)))??;
    for path in ["/", "/health", "/"] {
        session.http_get(path)?;
    }
    assert_eq!(server.connections(), 8, "one more for three requests");
    server.stop();
    assert_eq!(session.wait_for_end(SOON)?, SessionState::Closed);
    let gone = status("/")?.map_err(|error| error.kind());
    assert_eq!(gone, Err(io::ErrorKind::ConnectionRefused));
    // The port is free again.
    HttpServer::start(&world.server, HTTP, "blue")?.stop();
    Ok(())
}

fn ten_megabytes() -> Outcome {
    const BYTES: u64 = 10_000_000;
    let world = World::create()?;
    let _server = HttpServer::start(&world.server, HTTP, "server")?;
    let dial = Dial::to(HTTP).within(SOON * 3);
    for bytes in [0, 1, 65_536, BYTES] {
        assert_eq!(world.client.run(|| download(&dial, bytes))??.bytes, bytes);
        assert_eq!(world.client.run(|| upload(&dial, bytes))??.bytes, bytes);
    }
    Ok(())
}

fn survives_nonsense() -> Outcome {
    let world = World::create()?;
    let server = HttpServer::start(&world.server, HTTP, "server")?;
    let send = |bytes: &[u8]| -> io::Result<String> {
        let mut stream = TcpStream::connect(HTTP)?;
        stream.set_read_timeout(Some(SOON))?;
        // The server may have answered and gone before it read all.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    for (request, expected) in [
        (&b""[..], ""),
        (b"\xff\xfe\r\n\r\n", "HTTP/1.1 400 "),
        (b"GET /\r\n\r\n", "HTTP/1.1 400 "),
        (b"PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\nxx", "HTTP/1.1 405 "),
        (b"POST /hash HTTP/1.1\r\n\r\n", "HTTP/1.1 411 "),
        (b"POST /hash HTTP/1.1\r\nContent-Length: 9\r\n\r\ncut", ""),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 501 "),
        (b"GET /bytes/18446744073709551615 HTTP/1.1\r\n", ""),
        (b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 "),
    ] {
        let answer = world.client.run(|| send(request))??;
        let text = String::from_utf8_lossy(request);
        assert!(answer.starts_with(expected), "{text:?} was answered {answer:?}");
        assert!(!expected.is_empty() || answer.is_empty(), "{text:?} was answered {answer:?}");
    }
    world.client.run(|| send(&vec![b'a'; 1 << 20]))??;
    // A client that leaves in the middle of a download, by reset.
    let session = world.client.run(|| Session::open(&Dial::to(HTTP)))??;
    session.stream().write_borrowed(b"GET /bytes/1000000000 HTTP/1.1\r\n\r\n")?;
    session.abort()?;
    assert_eq!(world.client.run(|| http_get(&Dial::to(HTTP), "/"))??.status, 200);
    server.stop();
    Ok(())
}

/// Writes to a stream that is only borrowed.
trait WriteBorrowed {
    fn write_borrowed(&self, bytes: &[u8]) -> io::Result<()>;
}

impl WriteBorrowed for TcpStream {
    fn write_borrowed(&self, bytes: &[u8]) -> io::Result<()> {
        (&mut &*self).write_all(bytes)
    }
}

fn tcp_outcomes() -> Outcome {
    let world = World::create()?;
    let _server = HttpServer::start(&world.server, HTTP, "server")?;
    let connect = |dial: Dial| world.client.run(|| tcp_connect(&dial));
    let source = SocketAddrV4::new(CLIENT, 40_002);
    for _ in 0..3 {
        assert_eq!(connect(Dial::to(HTTP).from(source))??, ConnectOutcome::Connected);
    }
    let closed = SocketAddrV4::new(SERVER, 81);
    assert_eq!(connect(Dial::to(closed))??, ConnectOutcome::Refused);
    let silent = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 80);
    world.client.device().add_neighbour(*silent.ip(), MacAddr([2, 0, 0, 0, 0, 9]))?;
    assert_eq!(connect(Dial::to(silent).within(BRIEFLY))??, ConnectOutcome::TimedOut);
    let unrouted = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);
    assert_eq!(connect(Dial::to(unrouted))??, ConnectOutcome::Unreachable);
    let foreign = connect(Dial::to(HTTP).from(SocketAddrV4::new(SERVER, 0)))?;
    let foreign = foreign.map_err(|error| error.kind());
    assert_eq!(foreign, Err(io::ErrorKind::AddrNotAvailable));
    Ok(())
}

fn session_lives() -> Outcome {
    let world = World::create()?;
    let echo = TcpEcho::start(&world.server, SocketAddrV4::new(SERVER, 7), "echo")?;
    let source = SocketAddrV4::new(CLIENT, 40_003);
    let dial = Dial::to(echo.address()).from(source);
    let mut session = world.client.run(|| Session::open(&dial))??;
    assert_eq!(session.local(), source);
    let long = "x".repeat(50_000);
    for text in ["", "one", "two words", &long] {
        // From a thread outside the namespace: the socket stays inside.
        let answer = session.exchange(text)?;
        assert_eq!((answer.backend.as_str(), answer.peer), ("echo", source));
        assert_eq!(answer.payload, text);
    }
    assert_eq!(session.wait_for_end(BRIEFLY)?, SessionState::Open);
    // A reset leaves no TIME_WAIT, so that the port can be used at once.
    session.abort()?;
    let mut session = world.client.run(|| Session::open(&dial))??;
    // The kernel completes the handshake before the server accepts.
    eventually("both connections are accepted", || echo.peers() == [source, source])?;
    echo.stop();
    assert_eq!(session.wait_for_end(SOON)?, SessionState::Closed);
    assert!(session.exchange("anybody?").is_err());
    Ok(())
}

fn udp_echo() -> Outcome {
    let world = World::create()?;
    let echo = UdpEcho::start(&world.server, SocketAddrV4::new(SERVER, 0), "echo")?;
    let source = SocketAddrV4::new(CLIENT, 40_004);
    // One small, one in fragments.
    for payload in ["hello", &"x".repeat(4000)] {
        let dial = Dial::to(echo.address()).from(source);
        let answer = world.client.run(|| udp_exchange(&dial, payload))??;
        assert_eq!((answer.backend.as_str(), answer.peer), ("echo", source));
        assert_eq!(answer.payload, payload);
    }
    assert_eq!((echo.peers(), echo.datagrams()), (vec![source], 2));
    let address = echo.address();
    echo.stop();
    let refused = world.client.run(|| udp_exchange(&Dial::to(address), "hello"))?;
    let refused = refused.map_err(|error| error.kind());
    assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused));
    let sink = UdpSink::start(&world.server, address, "sink")?;
    let dial = Dial::to(address).within(BRIEFLY);
    let silent = world.client.run(|| udp_exchange(&dial, "hello"))?;
    assert_eq!(silent.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
    sink.stop();
    Ok(())
}

fn sinks_count() -> Outcome {
    let world = World::create()?;
    let at = SocketAddrV4::new(SERVER, 9);
    let udp = UdpSink::start(&world.server, at, "udp")?;
    let tcp = TcpSink::start(&world.server, at, "tcp")?;
    for _ in 0..5 {
        world.client.run(|| udp_send(&Dial::to(at), &[0; 100]))??;
    }
    let session = world.client.run(|| Session::open(&Dial::to(tcp.address())))??;
    session.stream().write_borrowed(&[0; 100_000])?;
    session.close();
    eventually("five datagrams of 100 bytes", || {
        (udp.received().arrivals, udp.received().bytes) == (5, 500)
    })?;
    eventually("a connection of 100 000 bytes", || {
        (tcp.received().arrivals, tcp.received().bytes) == (1, 100_000)
    })?;
    assert_eq!(udp.address(), at);
    Ok(())
}

fn pings() -> Outcome {
    let world = World::create()?;
    let ask = |address| world.client.run(move || ping(address, SOON));
    assert!(ask(SERVER)??.answered());
    assert!(ask(CLIENT)??.answered(), "ourselves, by lo");
    assert!(world.client.run(|| ping_sized(SERVER, 4000, SOON))??.answered(), "in fragments");
    let nobody = Ipv4Addr::new(10, 0, 0, 9);
    let silent = world.client.run(|| ping(nobody, BRIEFLY))??;
    assert_eq!(silent, PingOutcome::TimedOut);
    assert_eq!(ask(Ipv4Addr::new(192, 0, 2, 1))??, PingOutcome::Unreachable);
    // Several at once do not take each other's replies.
    let together = world.client.run(|| {
        thread::scope(|scope| {
            let pings: Vec<_> = (0..8).map(|_| scope.spawn(|| ping(SERVER, SOON))).collect();
            pings.into_iter().filter_map(|ping| ping.join().ok()).filter_map(Result::ok).count()
        })
    })?;
    assert_eq!(together, 8);
    Ok(())
}
