//! What the contenders are put under: one TCP connection at full speed, and small UDP packets from
//! a packet socket, as many as go.

use std::io::{self, Write};
use std::net::{SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use dataplane::device::{Device, Frame};
use dataplane::io::LinuxPlatform;
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::snapshot::{DeviceKind, DevicePlan};
use dataplane::types::{ScopeId, WorkerId};
use dataplane::worker::{Platform, Queue};
use etherparse::PacketBuilder;
use lab::LabError;
use lab::client::{Dial, Session};

use super::topology::{CLIENT, ENDPOINT, PORT, SERVER, SERVER_PORT, Topology};

/// The first source port of small packets.
const FIRST_PORT: u16 = 20_000;

/// Bits per second that a connection moves from the client to the server's application.
pub(super) fn tcp(topology: &Topology, duration: Duration) -> Result<f64, LabError> {
    let dial = Dial::to(SocketAddrV4::new(ENDPOINT, PORT)).within(Duration::from_secs(5));
    let before = topology.sink.received().bytes;
    let started = Instant::now();
    let sent = topology.client.run(|| -> Result<io::Result<()>, LabError> {
        let session = Session::open(&dial)?;
        Ok(send_until(&session, started + duration))
    })??;
    sent.map_err(|source| LabError::new("send to", ENDPOINT.to_string(), source))?;
    let bytes = topology.sink.received().bytes - before;
    Ok(bytes as f64 * 8.0 / started.elapsed().as_secs_f64())
}

fn send_until(session: &Session, deadline: Instant) -> io::Result<()> {
    let block = vec![0x5a; 256 * 1024];
    let mut stream = session.stream();
    while Instant::now() < deadline {
        stream.write_all(&block)?;
    }
    Ok(())
}

/// Packets per second that reach the server's interface.
pub(super) fn small_packets(
    topology: &Topology,
    duration: Duration,
    flows: u16,
) -> Result<f64, LabError> {
    // A socket that nobody reads: the server's kernel drops at once, without an ICMP answer.
    let bind = || UdpSocket::bind(SocketAddrV4::new(SERVER, SERVER_PORT));
    let bound = topology.server.run(bind)?;
    let _unread = bound.map_err(|source| LabError::new("bind", SERVER.to_string(), source))?;
    let frames = frames(topology, flows)?;
    // The flows open, and everybody's caches are warm.
    flood(topology, &frames, duration / 4)?;
    let before = topology.server.device().counters()?.rx_packets;
    let started = Instant::now();
    flood(topology, &frames, duration)?;
    let elapsed = started.elapsed().as_secs_f64();
    let after = topology.server.device().counters()?.rx_packets;
    Ok((after - before) as f64 / elapsed)
}

fn frames(topology: &Topology, flows: u16) -> Result<Vec<Frame>, LabError> {
    let (from, to) = (topology.client.device().mac()?, topology.client.peer().mac()?);
    let frame = |flow: u16| {
        let builder = PacketBuilder::ethernet2(from.0, to.0)
            .ipv4(CLIENT.octets(), ENDPOINT.octets(), 64)
            .udp(FIRST_PORT + flow, PORT);
        let mut bytes = Vec::new();
        builder.write(&mut bytes, &[0; 18]).expect("a vector takes all bytes");
        let mut frame = Frame::new();
        frame.fill(&bytes);
        frame
    };
    Ok((0..flows).map(frame).collect())
}

/// Sends the frames again and again, in batches, from the client's own interface.
fn flood(topology: &Topology, frames: &[Frame], duration: Duration) -> Result<(), LabError> {
    let plan = DevicePlan {
        name: topology.client.device().name().to_owned(),
        kind: DeviceKind::AfPacket,
        namespace: None,
        scope: ScopeId(0),
    };
    let error = |source| LabError::new("flood from", CLIENT.to_string(), source);
    topology
        .client
        .run(|| -> io::Result<()> {
            let io_error = |error| io::Error::other(format!("{error}"));
            let mut platform = LinuxPlatform::for_workers(1).map_err(io_error)?.remove(0);
            let queue = Queue { worker: WorkerId(0), workers: 1 };
            let mut device = platform.open(&plan, queue).map_err(io_error)?;
            let batches: Vec<Vec<&Frame>> =
                frames.chunks(BATCH_FRAMES_MAX).map(|chunk| chunk.iter().collect()).collect();
            let deadline = Instant::now() + duration;
            while Instant::now() < deadline {
                for batch in &batches {
                    device.transmit(batch);
                }
            }
            Ok(())
        })?
        .map_err(error)
}
