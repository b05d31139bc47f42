//! What makes small packets: UDP of so many flows in random order, 64 bytes on the wire, sent from
//! the client's own interface as fast as goes.
//!
//! Where the process may, the kernel makes them: a program of a few instructions, assembled here,
//! writes the headers into a fresh frame and sends it to the interface (`BPF_PROG_TEST_RUN` with
//! live frames, Linux 5.18). That takes a small part of what a packet socket takes, so that more of
//! the processors is left to the contender. Elsewhere packets leave by a packet socket.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use dataplane::device::{Device, Frame};
use dataplane::io::LinuxPlatform;
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::snapshot::DeviceKind;
use etherparse::PacketBuilder;
use lab::LabError;

use super::contender::open_device;
use super::sys;
use super::topology::{CLIENT, ENDPOINT, SINK_PORT, Topology};

/// Flows differ by their source ports, from this one on.
const FIRST_PORT: u16 = 1024;
/// Flows that one source address can have.
const FLOWS_MAX: u32 = 64_000;
/// Words of four bytes of a frame without the checksum of Ethernet, and its bytes.
const FRAME_WORDS: u8 = 15;
const FRAME_BYTES: usize = 4 * FRAME_WORDS as usize;
/// Where a frame has the source port.
const SOURCE_PORT_AT: u8 = 34;
/// Frames that the kernel makes in one call.
const FRAMES_PER_CALL: u32 = 4096;

/// See the module's documentation.
pub(super) enum Generator {
    /// The kernel, by a program.
    Live { program: OwnedFd, frame: [u8; FRAME_BYTES] },
    /// This process, by a packet socket.
    Socket { frame: [u8; FRAME_BYTES], flows: u32 },
}

impl Generator {
    /// The best that this process may use.
    ///
    /// # Errors
    /// When the endpoint does not answer ARP requests.
    pub(super) fn new(topology: &Topology, flows: u32) -> Result<Generator, LabError> {
        let (frame, flows) = (frame(topology)?, flows.clamp(1, FLOWS_MAX));
        let program = program(&frame, flows, topology.client.device()?.index());
        // Whoever may not load it sends by a socket.
        Ok(match sys::load(&program) {
            Ok(program) => Generator::Live { program, frame },
            Err(_) => Generator::Socket { frame, flows },
        })
    }

    /// Sends for so long.
    ///
    /// # Errors
    /// What the kernel says to it.
    pub(super) fn run(&self, topology: &Topology, duration: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + duration;
        let device = topology.client.device()?.name();
        let sent = topology.client.run(|| match self {
            Generator::Live { program, frame } => loop {
                sys::run_live(program.as_fd(), frame, FRAMES_PER_CALL)?;
                if Instant::now() >= deadline {
                    return Ok(());
                }
            },
            Generator::Socket { frame, flows } => send(frame, *flows, device, deadline),
        })?;
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
            let (port, at) = ((FIRST_PORT + flow).to_be_bytes(), usize::from(SOURCE_PORT_AT));
            frame.bytes_mut()[at..at + 2].copy_from_slice(&port);
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

/// `write the frame; source port = FIRST_PORT + random % flows; return bpf_redirect(device)`.
///
/// The whole frame is written each time: frames come back from those who received them, as these
/// left them.
fn program(frame: &[u8; FRAME_BYTES], flows: u32, device: u32) -> Vec<u64> {
    const MOVE: u8 = 0xbf;
    const MOVE_NUMBER: u8 = 0xb7;
    const ADD_NUMBER: u8 = 0x07;
    const MODULO_NUMBER: u8 = 0x97;
    const TO_NETWORK_ORDER: u8 = 0xdc;
    const LOAD_WORD: u8 = 0x61;
    const STORE_NUMBER: u8 = 0x62;
    const STORE_HALF: u8 = 0x6b;
    const JUMP_IF_GREATER: u8 = 0x2d;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    const RANDOM: i32 = 7;
    const REDIRECT: i32 = 23;
    let words = frame.chunks_exact(4).zip((0..).step_by(4));
    let words = words.map(|(word, at)| {
        let word = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        instruction(STORE_NUMBER, 2, 0, at, word)
    });
    let mut program = vec![
        instruction(MOVE, 6, 1, 0, 0),
        instruction(CALL, 0, 0, 0, RANDOM),
        instruction(MODULO_NUMBER, 0, 0, 0, flows.cast_signed()),
        instruction(ADD_NUMBER, 0, 0, 0, FIRST_PORT.into()),
        instruction(TO_NETWORK_ORDER, 0, 0, 0, 16),
        // `struct xdp_md` has the frame's begin at 0 and its end at 4.
        instruction(LOAD_WORD, 2, 6, 0, 0),
        instruction(LOAD_WORD, 3, 6, 4, 0),
        instruction(MOVE, 4, 2, 0, 0),
        instruction(ADD_NUMBER, 4, 0, 0, 4 * i32::from(FRAME_WORDS)),
        // Over the words, the port and the call, to the last two.
        instruction(JUMP_IF_GREATER, 4, 3, u16::from(FRAME_WORDS) + 5, 0),
    ];
    program.extend(words);
    program.extend([
        instruction(STORE_HALF, 2, 0, SOURCE_PORT_AT.into(), 0),
        instruction(MOVE_NUMBER, 1, 0, 0, device.cast_signed()),
        instruction(MOVE_NUMBER, 2, 0, 0, 0),
        instruction(CALL, 0, 0, 0, REDIRECT),
        instruction(EXIT, 0, 0, 0, 0),
        // XDP_ABORTED.
        instruction(MOVE_NUMBER, 0, 0, 0, 0),
        instruction(EXIT, 0, 0, 0, 0),
    ]);
    program
}

/// `struct bpf_insn`: operation, two registers of four bits, offset, number.
fn instruction(operation: u8, to: u8, from: u8, offset: u16, number: i32) -> u64 {
    let registers = if cfg!(target_endian = "little") { to | from << 4 } else { to << 4 | from };
    let ([a, b], [c, d, e, f]) = (offset.to_ne_bytes(), number.to_ne_bytes());
    u64::from_ne_bytes([operation, registers, a, b, c, d, e, f])
}
