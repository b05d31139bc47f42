//! Backends that make trouble, met directly: each does what it says, and the program starts them.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::Process;
use lab::backend::HttpServer;
use lab::backend::trouble::{
    First, FlappingHealth, HalfClose, LossyUdpEcho, ProxyStrict, ResetAt, SlowAccept,
};
use lab::client::{Dial, Session, http_get, udp_exchange};

use crate::world::{HTTP, SOON, World, eventually};
use crate::{Outcome, Test};

pub(crate) const CASES: &[Test] = &[
    ("trouble::a_slow_accept_is_late", slow_accept),
    ("trouble::a_reset_comes_at_its_byte", reset),
    ("trouble::either_half_can_close_first", half_close),
    ("trouble::proxy_headers_are_wanted_and_believed", proxy_strict),
    ("trouble::malformed_proxy_headers_are_reset", proxy_malformed),
    ("trouble::a_blind_server_takes_a_header_for_a_bad_request", proxy_blind),
    ("trouble::some_datagrams_are_lost", lossy_udp),
    ("trouble::health_comes_and_goes", flapping_health),
    ("trouble::the_program_starts_each", program),
];

fn connect(world: &World) -> Result<TcpStream, Box<dyn std::error::Error + Send + Sync>> {
    let stream = world.client.run(|| TcpStream::connect(HTTP))??;
    stream.set_read_timeout(Some(SOON))?;
    Ok(stream)
}

fn slow_accept() -> Outcome {
    const DELAY: Duration = Duration::from_millis(300);
    let world = World::create()?;
    let server = SlowAccept::start(&world.server, HTTP, "slow", DELAY, 8)?;
    let begin = Instant::now();
    let mut sessions =
        world.client.run(|| [(); 2].map(|()| Session::open(&Dial::to(HTTP).within(SOON))))?;
    assert!(begin.elapsed() < DELAY, "the kernel completes handshakes at once");
    for (number, session) in (1..).zip(&mut sessions) {
        let session = session.as_mut().map_err(|error| error.to_string())?;
        assert_eq!(session.exchange("hello")?.backend, "slow");
        assert!(begin.elapsed() >= DELAY * number, "one after the other");
    }
    assert_eq!(server.connections(), 2);
    Ok(())
}

fn reset() -> Outcome {
    let world = World::create()?;
    let _server = ResetAt::start(&world.server, HTTP, "reset", 10)?;
    let mut stream = connect(&world)?;
    stream.write_all(b"123456789")?;
    let mut echo = [0; 9];
    stream.read_exact(&mut echo)?;
    assert_eq!(echo, *b"123456789");
    stream.write_all(b"0")?;
    assert_eq!(
        stream.read(&mut echo).map_err(|error| error.kind()),
        Err(ErrorKind::ConnectionReset)
    );
    Ok(())
}

fn half_close() -> Outcome {
    let world = World::create()?;
    let server = HalfClose::start(&world.server, HTTP, "half", First::Server)?;
    let mut stream = connect(&world)?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    assert_eq!(said, format!("backend=half peer={}\n", stream.local_addr()?));
    stream.write_all(&[7; 50_000])?;
    drop(stream);
    eventually("all bytes arrive", || server.received() == 50_000)?;
    drop(server);
    let _server = HalfClose::start(&world.server, HTTP, "half", First::Client)?;
    let mut stream = connect(&world)?;
    stream.write_all(&[7; 50_000])?;
    stream.shutdown(Shutdown::Write)?;
    said.clear();
    stream.read_to_string(&mut said)?;
    assert!(said.ends_with(" received=50000\n"), "{said}");
    Ok(())
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A header by hand: PROXY, TCP over IPv4, from 203.0.113.7:0x1234 to 10.0.0.2:80, and this behind.
fn header(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
    let length = u16::try_from(12 + behind.len()).unwrap_or(u16::MAX);
    bytes.extend([command, family]);
    bytes.extend(length.to_be_bytes());
    bytes.extend([203, 0, 113, 7, 10, 0, 0, 2, 0x12, 0x34, 0, 80]);
    bytes.extend(behind);
    bytes
}

/// Azure's: the link id 0x01020304, in little-endian order behind its sub-type.
const LINK_ID: [u8; 8] = [0xee, 0, 5, 1, 4, 3, 2, 1];

fn answer_to(world: &World, bytes: &[u8]) -> Result<String, ErrorKind> {
    let mut stream = connect(world).map_err(|_| ErrorKind::Other)?;
    let mut answer = String::new();
    let talk = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let talk = talk.and_then(|()| stream.read_to_string(&mut answer));
    talk.map(|_| answer).map_err(|error| error.kind())
}

fn proxy_strict() -> Outcome {
    let world = World::create()?;
    let server = ProxyStrict::start(&world.server, HTTP, "strict")?;
    let plain = answer_to(&world, &[&header(0x21, 0x11, &[]), GET].concat());
    assert!(plain.is_ok_and(|said| said.contains("peer=203.0.113.7:4660")));
    let linked = answer_to(&world, &[&header(0x21, 0x11, &LINK_ID), GET].concat());
    assert!(linked.is_ok_and(|said| said.starts_with("HTTP/1.1 200")));
    // A probe's header may name nobody, or somebody who is not to be believed.
    for family in [0x00, 0x11] {
        let local = answer_to(&world, &[&header(0x20, family, &[]), GET].concat());
        assert!(local.is_ok_and(|said| said.contains("peer=10.0.0.1:")), "family {family}");
    }
    let headers = server.headers();
    let client: SocketAddrV4 = "203.0.113.7:4660".parse()?;
    assert_eq!(headers.len(), 4);
    assert_eq!(headers[1].addresses, Some((client, HTTP)));
    assert_eq!(headers[1].tlvs, [(0xee, vec![1, 4, 3, 2, 1])]);
    assert_eq!((headers[3].addresses, server.connections()), (None, 4));
    Ok(())
}

fn proxy_malformed() -> Outcome {
    let world = World::create()?;
    let server = ProxyStrict::start(&world.server, HTTP, "strict")?;
    let good = header(0x21, 0x11, &LINK_ID);
    let mut version_1 = good.clone();
    version_1[12] = 0x11;
    let mut cut_tlv = good.clone();
    cut_tlv[15] -= 1;
    let mut signature = good.clone();
    signature[4] = b'\n';
    let checksum = header(0x21, 0x11, &[0x03, 0, 4, 1, 2, 3, 4]);
    let (udp, ipv6) = (header(0x21, 0x12, &[]), header(0x21, 0x21, &[0; 24]));
    let missing = [&good[..14], &[0, 8], &good[16..24]].concat();
    let huge = [&good[..14], &[0xff, 0xff], &good[16..]].concat();
    for (what, bytes) in [
        ("no header", &b""[..]),
        ("version 1", &version_1),
        ("a TLV that is cut off", &cut_tlv),
        ("another signature", &signature),
        ("a wrong checksum", &checksum),
        ("UDP", &udp),
        ("IPv6", &ipv6),
        ("no addresses", &missing),
        ("a huge length", &huge),
    ] {
        let answer = answer_to(&world, &[bytes, GET].concat());
        // A reset that comes before the client is done leaves nobody to say that to.
        let resets = [ErrorKind::ConnectionReset, ErrorKind::NotConnected];
        let is_reset = answer.as_ref().err().is_some_and(|kind| resets.contains(kind));
        assert!(is_reset, "{what}: {answer:?}");
    }
    assert!(server.headers().is_empty());
    // A header that is never finished keeps nobody else waiting.
    let mut slow = connect(&world)?;
    slow.write_all(&good[..20])?;
    assert!(answer_to(&world, &[&good, GET].concat()).is_ok());
    Ok(())
}

fn proxy_blind() -> Outcome {
    let world = World::create()?;
    let _server = HttpServer::start(&world.server, HTTP, "blind")?;
    let answer = answer_to(&world, &[&header(0x21, 0x11, &[]), GET].concat());
    let refused = |said: &str| said.starts_with("HTTP/1.1 400") && !said.contains("200 OK");
    // It closes with unread bytes, which may overtake its answer as a reset.
    assert!(answer.as_deref().map_or_else(|&kind| kind == ErrorKind::ConnectionReset, refused));
    Ok(())
}

fn lossy_udp() -> Outcome {
    const COUNT: u64 = 60;
    let world = World::create()?;
    let lost_by = |seed| -> Result<Vec<u64>, Box<dyn std::error::Error + Send + Sync>> {
        let server = LossyUdpEcho::start(&world.server, HTTP, "lossy", 30, seed)?;
        let brief = Dial::to(HTTP).within(Duration::from_millis(30));
        let mut lost = Vec::new();
        for number in 0..COUNT {
            let before = server.lost();
            let answer = world.client.run(|| udp_exchange(&brief, "x"))?;
            eventually("the datagram arrives", || server.datagrams() == number + 1)?;
            if server.lost() > before {
                assert!(answer.is_err(), "a lost one was answered");
                lost.push(number);
            }
        }
        Ok(lost)
    };
    let first = lost_by(7)?;
    assert!((5..40).contains(&first.len()), "{first:?}");
    assert_eq!(first, lost_by(7)?);
    assert_ne!(first, lost_by(8)?);
    Ok(())
}

fn flapping_health() -> Outcome {
    let world = World::create()?;
    let half = Duration::from_millis(100);
    let _server = FlappingHealth::start(&world.server, HTTP, "flapping", half, half)?;
    let status = |path| world.client.run(|| http_get(&Dial::to(HTTP), path));
    for wanted in [503, 200, 503] {
        eventually("the health changes", || {
            status("/health").is_ok_and(|answer| answer.is_ok_and(|got| got.status == wanted))
        })?;
        assert_eq!(status("/")??.status, 200, "the rest is served all the time");
    }
    Ok(())
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_lab");

fn program() -> Outcome {
    let backends = [
        ("slow-accept", "--delay=10ms"),
        ("reset", "--at=5"),
        ("half-close", "--first=client"),
        ("proxy-strict", "--name=x"),
        ("proxy-blind", "--name=x"),
        ("lossy-udp", "--loss=50"),
        ("flapping-health", "--healthy=1s"),
    ];
    for (backend, option) in backends {
        let world = World::create()?;
        let mut command = world.server.command(PROGRAM)?;
        command.args(["backend", backend, "--listen", "10.0.0.2:80", option]);
        command.stdout(Stdio::piped());
        let mut running = Process::start(command)?;
        let said = running.child().stdout.take().ok_or("its standard output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        assert!(line.starts_with("listening on 10.0.0.2:80;"), "{backend}: {line}");
        if backend != "lossy-udp" {
            drop(connect(&world)?);
        }
        if backend == "slow-accept" {
            let mut second = world.server.command(PROGRAM)?;
            let second = second.args(["backend", backend, "-l", "10.0.0.2:80"]).output()?;
            let said = String::from_utf8_lossy(&second.stderr);
            assert_eq!(second.status.code(), Some(1));
            assert!(said.starts_with("lab: bind") && said.contains("another port"), "{said}");
        }
    }
    for wrong in ["--delay=2", "--listen=80"] {
        let output = Command::new(PROGRAM).args(["backend", "slow-accept", wrong]).output()?;
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
    let help = Command::new(PROGRAM).args(["backend", "--help"]).output()?;
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(
        help.status.success() && backends.iter().all(|(name, _)| text.contains(name)),
        "{text}"
    );
    Ok(())
}
