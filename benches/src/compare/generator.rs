//! What makes small packets: UDP of so many flows in random order, 64 bytes on the wire, sent from
//! the client's own interface by a packet socket, as fast as goes.
//!
//! Live frames of an XDP program (`BPF_PROG_TEST_RUN`), which cost the sender less, were tried and
//! left: veth's ring of 256 frames let an eighth of them through, whoever was measured.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use dataplane::device::{Device, Frame};
use dataplane::io::LinuxPlatform;
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::snapshot::DeviceKind;
use etherparse::PacketBuilder;
use lab::LabError;

use super::contender::open_device;
use super::topology::{CLIENT, ENDPOINT, SINK_PORT, Topology};

/// Flows differ by their source ports, from this one on.
const FIRST_PORT: u16 = 1024;
/// Flows that one source address can have.
const FLOWS_MAX: u32 = 64_000;
/// Bytes of a frame without the checksum of Ethernet.
const FRAME_BYTES: usize = 60;
/// Where a frame has the source port.
const SOURCE_PORT_AT: usize = 34;
/// See the module's documentation.
pub(super) struct Generator {
    frame: [u8; FRAME_BYTES],
    flows: u32,
}

impl Generator {
    /// One of packets of so many flows.
    ///
    /// # Errors
    /// When the endpoint does not answer ARP requests.
    pub(super) fn new(topology: &Topology, flows: u32) -> Result<Generator, LabError> {
        Ok(Generator { frame: frame(topology)?, flows: flows.clamp(1, FLOWS_MAX) })
    }

    /// Sends for so long.
    ///
    /// # Errors
    /// What the kernel says to it.
    pub(super) fn run(&self, topology: &Topology, duration: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + duration;
        let device = topology.client.device()?.name();
        let sent = topology.client.run(|| send(&self.frame, self.flows, device, deadline))?;
        sent.map_err(|source| LabError::new("flood from", CLIENT.to_string(), source))
    }
}

/// A frame of the client's first flow, without a UDP checksum, so that ports can be changed.
fn frame(topology: &Topology) -> Result<[u8; FRAME_BYTES], LabError> {
    let (from, to) = (topology.client.device()?.mac()?, target_station(topology)?);
    let builder = PacketBuilder::ethernet2(from.0, to.0)
        .ipv4(CLIENT.octets(), ENDPOINT.octets(), 64)
        .udp(FIRST_PORT, SINK_PORT);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &[0; 18]).expect("a vector takes all bytes");
    bytes[40..42].fill(0);
    let mut frame = [0; FRAME_BYTES];
    frame.copy_from_slice(&bytes);
    Ok(frame)
}

/// Whom the client's kernel sends frames for the endpoint to.
fn target_station(topology: &Topology) -> Result<lab::MacAddr, LabError> {
    let text = topology.client.run(|| fs::read_to_string("/proc/thread-self/net/arp"))?;
    let text = text.map_err(|source| LabError::new("read", "/proc/net/arp", source))?;
    let line = text.lines().find(|line| line.starts_with(&format!("{ENDPOINT} ")));
    let mac = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    mac.ok_or_else(|| {
        let source = io::Error::new(io::ErrorKind::NotFound, "it has answered no ARP request");
        LabError::new("find the station of", ENDPOINT.to_string(), source)
    })
}

/// Sends packets of all flows in batches, by a packet socket.
fn send(frame: &[u8], flows: u32, device: &str, deadline: Instant) -> io::Result<()> {
    let failed = |error| io::Error::other(format!("{error}"));
    let mut platform = LinuxPlatform::for_workers(1).map_err(failed)?.remove(0);
    let mut device =
        open_device(&mut platform, device, DeviceKind::AfPacket, None).map_err(failed)?;
    let mut frames: Vec<Frame> = (0..BATCH_FRAMES_MAX).map(|_| Frame::new()).collect();
    frames.iter_mut().for_each(|each| each.fill(frame));
    let mut random = 1;
    loop {
        for frame in &mut frames {
            random = next(random);
            let flow = u16::try_from(random % u64::from(flows)).unwrap_or(0);
            let port = (FIRST_PORT + flow).to_be_bytes();
            frame.bytes_mut()[SOURCE_PORT_AT..SOURCE_PORT_AT + 2].copy_from_slice(&port);
        }
        device.transmit(&frames.iter().collect::<Vec<_>>());
        if Instant::now() >= deadline {
            return Ok(());
        }
    }
}

/// Marsaglia's xorshift64: evenly spread, which is all that is asked of it.
fn next(mut random: u64) -> u64 {
    random ^= random << 13;
    random ^= random >> 7;
    random ^ random << 17
}
