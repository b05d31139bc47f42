//! What the contenders are put under: one TCP connection at full speed, small UDP packets of so
//! many flows, as many as go, short connections, and a ping-pong over one connection.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use control::bench::histogram::Histogram;
use lab::LabError;
use lab::client::{Dial, Session};

use super::contender::Contender;
use super::generator::Generator;
use super::topology::{ANSWER_PORT, ENDPOINT, SERVER, SINK_PORT, Topology};

/// Clients that open and close connections.
const CLIENTS: usize = 4;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a ping.
const PING_BYTES: usize = 64;

/// Bits per second that a connection moves from the client to the server's application.
pub(super) fn tcp(topology: &Topology, duration: Duration) -> Result<f64, LabError> {
    let dial = Dial::to(SocketAddrV4::new(ENDPOINT, SINK_PORT)).within(PATIENCE);
    let before = topology.sink.received().bytes;
    let started = Instant::now();
    let sent = topology.client.run(|| -> Result<io::Result<()>, LabError> {
        let session = Session::open(&dial)?;
        Ok(send_until(&session, started + duration))
    })??;
    sent.map_err(|source| LabError::new("send to", ENDPOINT.to_string(), source))?;
    let bytes = until_some(started, || Ok(topology.sink.received().bytes - before))?;
    Ok(bytes as f64 * 8.0 / started.elapsed().as_secs_f64())
}

/// What has arrived by now; on a machine so busy that nothing has, as soon as something does.
fn until_some(
    started: Instant,
    arrived: impl Fn() -> Result<u64, LabError>,
) -> Result<u64, LabError> {
    loop {
        let count = arrived()?;
        if count > 0 || started.elapsed() > PATIENCE {
            return Ok(count);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn send_until(session: &Session, deadline: Instant) -> io::Result<()> {
    let block = vec![0x5a; 256 * 1024];
    let mut stream = session.stream();
    loop {
        stream.write_all(&block)?;
        if Instant::now() >= deadline {
            return Ok(());
        }
    }
}

/// What a flood of small packets came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flood {
    /// Packets per second that reached the server's interface.
    pub(super) arrived: f64,
    /// Processor seconds of contender, generator and kernel on their behalf, for a million packets
    /// that arrived.
    pub(super) cost: f64,
}

/// Small packets of so many flows, for so long.
pub(super) fn small_packets(
    contender: &mut Contender,
    duration: Duration,
    flows: u32,
) -> Result<Flood, LabError> {
    // A socket that nobody reads: the server's kernel drops at once, without an ICMP answer.
    let bind = || [SERVER, ENDPOINT].map(|at| UdpSocket::bind(SocketAddrV4::new(at, SINK_PORT)));
    // The endpoint's address is the server's where nothing is translated.
    let _unread = contender.topology().server.run(bind)?;
    let generator = Generator::new(contender.topology(), flows)?;
    // The flows open, and everybody's caches are warm.
    generator.run(contender.topology(), duration / 4)?;
    let count = |contender: &Contender| contender.topology().server.device()?.counters();
    let time = |contender: &mut Contender| own_time() + contender.processor_time();
    let (before, used) = (count(contender)?.rx_packets, time(contender));
    let started = Instant::now();
    generator.run(contender.topology(), duration)?;
    let arrived = until_some(started, || Ok(count(contender)?.rx_packets - before))? as f64;
    let elapsed = started.elapsed().as_secs_f64();
    let used = (time(contender).saturating_sub(used)).as_secs_f64();
    Ok(Flood { arrived: arrived / elapsed, cost: used * 1e6 / arrived.max(1.0) })
}

/// Processor time of this process and of all its threads.
fn own_time() -> Duration {
    // Nanoseconds on a processor; the first number of each thread's (Linux, schedstats).
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Connections per second that are opened, answered and closed.
pub(super) fn connections(topology: &Topology, duration: Duration) -> Result<f64, LabError> {
    let done = AtomicU64::new(0);
    let started = Instant::now();
    let client = || {
        loop {
            // One that fails is not counted.
            if exchange_once().is_ok() {
                done.fetch_add(1, Ordering::Relaxed);
            }
            if started.elapsed() >= duration {
                break;
            }
        }
    };
    topology.client.run(|| {
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(client);
            }
        });
    })?;
    Ok(done.into_inner() as f64 / started.elapsed().as_secs_f64())
}

fn connect() -> io::Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&SocketAddrV4::new(ENDPOINT, ANSWER_PORT).into(), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange_once() -> io::Result<()> {
    exchange(&mut connect()?)
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&[0x5a; PING_BYTES])?;
    stream.read_exact(&mut [0; PING_BYTES])
}

/// The times that pings took, there and back, one after the other.
pub(super) fn latencies(topology: &Topology, duration: Duration) -> Result<Histogram, LabError> {
    let error = |source| LabError::new("ping", ENDPOINT.to_string(), source);
    let ping = || -> io::Result<Histogram> {
        let mut stream = connect()?;
        let (started, mut times) = (Instant::now(), Histogram::default());
        while times.total() == 0 || started.elapsed() < duration {
            let begin = Instant::now();
            exchange(&mut stream)?;
            times.add(begin.elapsed());
        }
        Ok(times)
    };
    topology.client.run(ping)?.map_err(error)
}
