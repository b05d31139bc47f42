//! A flow log that goes to a collector, over UDP and over TCP: every event arrives, and a collector
//! that is gone stops no packet; what it did not get is counted, and the next one gets the rest.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use lab::client::http_get;
use rustix::process::Signal;
use serde_json::Value;

use super::{PACKET, PACKET_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{World, dial, list, number, port};

pub(super) const CASES: &[Case] = &[
    Case::new("collector::udp_packet_1_worker", PACKET, |world| collect(world, Kind::Udp)),
    Case::new("collector::udp_packet_2_workers", PACKET_2, |world| collect(world, Kind::Udp)),
    Case::new("collector::tcp_packet_1_worker", PACKET, |world| collect(world, Kind::Tcp)),
    Case::new("collector::tcp_packet_2_workers", PACKET_2, |world| collect(world, Kind::Tcp)),
];

/// Connections of each consumer at a time.
const CONNECTIONS: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Udp,
    Tcp,
}

/// A collector in adit's namespace, and all it has heard in its present session.
enum Collector {
    Udp(UdpSocket, Vec<u8>),
    Tcp(TcpListener, Option<TcpStream>, Vec<u8>),
}

impl Collector {
    /// At this port of adit's own machine; 0: one that is free.
    fn start(world: &World, kind: Kind, port: u16) -> Result<Collector, Failure> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let start = || -> io::Result<Collector> {
            Ok(match kind {
                Kind::Udp => {
                    let socket = UdpSocket::bind(at)?;
                    socket.set_nonblocking(true)?;
                    Collector::Udp(socket, Vec::new())
                }
                Kind::Tcp => {
                    let listener = TcpListener::bind(at)?;
                    listener.set_nonblocking(true)?;
                    Collector::Tcp(listener, None, Vec::new())
                }
            })
        };
        Ok(world.middle.run(start)??)
    }

    fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Collector::Udp(socket, _) => socket.local_addr(),
            Collector::Tcp(listener, ..) => listener.local_addr(),
        }
    }

    /// Takes what has come since.
    fn listen(&mut self) -> Result<&[u8], Failure> {
        let mut buffer = vec![0; 1 << 16];
        let is_quiet = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        match self {
            Collector::Udp(socket, heard) => loop {
                match socket.recv(&mut buffer) {
                    Ok(length) => heard.extend(&buffer[..length]),
                    Err(error) if is_quiet(&error) => return Ok(heard),
                    Err(error) => return Err(error.into()),
                }
            },
            Collector::Tcp(listener, stream, heard) => {
                if stream.is_none() {
                    match listener.accept() {
                        Ok((accepted, _)) => {
                            accepted.set_nonblocking(true)?;
                            *stream = Some(accepted);
                        }
                        Err(error) if is_quiet(&error) => return Ok(heard),
                        Err(error) => return Err(error.into()),
                    }
                }
                let Some(stream) = stream else { return Ok(heard) };
                loop {
                    match stream.read(&mut buffer) {
                        Ok(0) => return Ok(heard),
                        Ok(length) => heard.extend(&buffer[..length]),
                        Err(error) if is_quiet(&error) => return Ok(heard),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
}

/// Data records in a session: templates stand first, messages count those before them, and each
/// record has the name of an endpoint.
fn records(mut heard: &[u8]) -> Result<u64, Failure> {
    let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let (mut count, mut is_first) = (0, true);
    while heard.len() >= 20 {
        ensure!(word(heard, 0) == 10, "the version of IPFIX (RFC 7011 3.1)");
        let length = usize::from(word(heard, 2));
        ensure!(length >= 20, "the length of a message: {length}");
        let Some(message) = heard.get(..length) else { break };
        let before = u64::from(word(message, 8)) << 16 | u64::from(word(message, 10));
        ensure!(before == count, "{before} records came before, {count} were heard");
        ensure!(!is_first || word(message, 16) == 2, "templates come first");
        is_first = false;
        count += message.windows(4).filter(|window| window == b"\x04pe-").count() as u64;
        heard = &heard[length..];
    }
    Ok(count)
}

fn collect(world: &mut World, kind: Kind) -> Outcome {
    let mut collector = Collector::start(world, kind, 0)?;
    let address = collector.address()?;
    let way = if kind == Kind::Udp { "udp" } else { "tcp" };
    world.config.more = format!("[flow_log]\nipfix = \"{way}://{address}\"\n");
    world.adit.signal(Signal::TERM)?;
    world.adit.wait(Duration::from_secs(10))?;
    world.adit.configure(&world.config.text())?;
    world.restart()?;

    connect(world)?;
    let opened = world.adit.status("flows_opened")?;
    ensure!(opened >= 2 * CONNECTIONS as u64, "{opened} flows");
    wait_until("every event has arrived", || Ok(records(collector.listen()?)? == 2 * opened))?;
    let log = log_of(world)?;
    ensure!(number(&log, "written")? == 2 * opened, "as many were written: {log}");
    ensure!(number(&log, "lost")? == 0 && log["trouble"].is_null(), "nothing is lost: {log}");

    // Nobody is there any more, and no connection feels it.
    drop(collector);
    wait_until("what is lost is counted", || {
        connect(world)?;
        let log = log_of(world)?;
        Ok(number(&log, "lost")? > 0 && log["trouble"].is_string())
    })?;
    wait_until("every event is written or lost", || {
        let opened = world.adit.status("flows_opened")?;
        let log = log_of(world)?;
        Ok(number(&log, "written")? + number(&log, "lost")? == 2 * opened)
    })?;
    world.wait_for_balance()?;

    // Another one takes its place.
    let mut collector = Collector::start(world, kind, address.port())?;
    wait_until("the next collector hears of flows", || {
        connect(world)?;
        let heard = collector.listen()?;
        // Over UDP it has missed the beginning of the session: templates come every minute.
        Ok(if kind == Kind::Tcp { records(heard)? > 0 } else { !heard.is_empty() })
    })?;
    wait_until("and the trouble is over", || Ok(log_of(world)?["trouble"].is_null()))?;
    world.wait_for_balance()
}

/// Connections of both tenants, to their end.
fn connect(world: &World) -> Outcome {
    world.both(|_| {
        for _ in 0..CONNECTIONS {
            let status = http_get(&dial(port::HTTP), "/")?.status;
            ensure!(status == 200, "the answer is {status}");
        }
        Ok(())
    })?;
    wait_until("all flows have ended", || Ok(world.adit.status("flows")? == 0))
}

fn log_of(world: &World) -> Result<Value, Failure> {
    let status = world.adit.ask(&["status"])?;
    let logs = list(&status["recording"], "flow_logs")?;
    let [log] = logs.as_slice() else { return Err(format!("one log: {logs:?}").into()) };
    Ok(log.clone())
}
