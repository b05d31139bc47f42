//! A bridge without a table: what one device receives, the other sends. The kernel's own TCP must
//! not notice it, with all offloads on.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dataplane::device::{Batch, Checksum, Device, Frame, SegmentationKind, Transmitted};
use dataplane::io::LinuxDevice;
use dataplane::snapshot::DeviceKind;
use dataplane::worker::Platform;
use lab::{Link, LinkEnd, Namespace};

use crate::Test;
use crate::world::{ONLY, alone, plan, tap_plan};

pub(crate) const TESTS: &[Test] = &[
    ("bridge_of_packet_sockets_carries_tcp", of_packet_sockets_carries_tcp),
    ("bridge_of_taps_carries_tcp", of_taps_carries_tcp),
    ("bridge_of_both_kinds_carries_tcp", of_both_kinds_carries_tcp),
    ("bridge_of_xdp_carries_tcp", of_xdp_carries_tcp),
    ("bridge_from_packet_to_xdp_carries_tcp", from_packet_to_xdp_carries_tcp),
];

pub(crate) const LEFT: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
pub(crate) const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
const BYTES: usize = 20_000_000;

/// How a host is attached to the bridge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Packet,
    Xdp,
    Tap,
}

/// Two hosts and the devices that a bridge between them needs.
pub(crate) struct Hosts {
    pub(crate) left: Namespace,
    pub(crate) right: Namespace,
    pub(crate) devices: [LinuxDevice; 2],
    _adit: Namespace,
}

impl Hosts {
    pub(crate) fn new(kinds: [Kind; 2]) -> Hosts {
        let adit = Namespace::create("adit").unwrap();
        let (left, right) =
            (Namespace::create("left").unwrap(), Namespace::create("right").unwrap());
        let ends = [(&left, kinds[0], "a0", LEFT), (&right, kinds[1], "a1", RIGHT)];
        let devices =
            ends.map(|(host, kind, name, address)| attach(&adit, host, kind, name, address));
        Hosts { left, right, devices, _adit: adit }
    }
}

fn attach(
    adit: &Namespace,
    host: &Namespace,
    kind: Kind,
    name: &str,
    address: Ipv4Addr,
) -> LinuxDevice {
    if kind == Kind::Tap {
        let device = alone().open(&tap_plan("tap0", host), ONLY).unwrap();
        Link::find(host, "tap0").unwrap().add_address(address, 24).unwrap();
        return device;
    }
    let ends = (LinkEnd::new(host, "eth0"), LinkEnd::new(adit, name));
    let (near, far) = Link::veth(&ends.0, &ends.1).unwrap();
    near.add_address(address, 24).unwrap();
    near.up().unwrap();
    far.up().unwrap();
    let kind = if kind == Kind::Xdp { DeviceKind::AfXdp } else { DeviceKind::AfPacket };
    alone().open(&plan(name, kind, Some(adit)), ONLY).unwrap()
}

/// What a bridge has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) frames: usize,
    pub(crate) batches: usize,
    pub(crate) partial: usize,
    pub(crate) super_packets: usize,
    pub(crate) longest: usize,
    pub(crate) transmitted: Transmitted,
}

impl Report {
    fn see(&mut self, frame: &Frame) {
        assert_eq!(frame.fault, None);
        self.frames += 1;
        self.longest = self.longest.max(frame.bytes().len());
        if frame.offload.checksum != Checksum::Complete {
            self.partial += 1;
        }
        if let Some(segmentation) = frame.offload.segmentation {
            assert_eq!(segmentation.kind, SegmentationKind::TcpIpv4);
            self.super_packets += 1;
        }
    }
}

/// Moves frames between two devices until it is told to stop.
pub(crate) fn bridge(devices: &mut [LinuxDevice; 2], stop: &AtomicBool) -> Report {
    let mut report = Report::default();
    let mut platform = alone();
    let mut batch = Batch::new();
    while !stop.load(Ordering::Relaxed) {
        let mut moved = 0;
        for (from, to) in [(0, 1), (1, 0)] {
            devices[from].receive(&mut batch).unwrap();
            if batch.is_empty() {
                continue;
            }
            batch.frames().iter().for_each(|frame| report.see(frame));
            let frames: Vec<&Frame> = batch.frames().iter().collect();
            let done = devices[to].transmit(&frames);
            let total = &mut report.transmitted;
            total.sent += done.sent;
            total.full += done.full;
            total.rejected += done.rejected;
            total.gone += done.gone;
            report.batches += 1;
            moved += frames.len();
        }
        if moved == 0 {
            platform.wait(&mut devices.iter(), Duration::from_millis(20));
        }
    }
    report
}

fn of_packet_sockets_carries_tcp() {
    carries_tcp([Kind::Packet, Kind::Packet]);
}

fn of_taps_carries_tcp() {
    carries_tcp([Kind::Tap, Kind::Tap]);
}

fn of_both_kinds_carries_tcp() {
    carries_tcp([Kind::Packet, Kind::Tap]);
}

/// As many frames as segments, all of them unfinished.
fn of_xdp_carries_tcp() {
    let report = carry_tcp([Kind::Xdp, Kind::Xdp]);
    assert!(report.frames > 20_000 && report.partial > 20_000, "{report:?}");
    assert_eq!(report.super_packets, 0, "{report:?}");
}

/// Super-packets of one side are cut for the other.
fn from_packet_to_xdp_carries_tcp() {
    let report = carry_tcp([Kind::Packet, Kind::Xdp]);
    assert!(report.super_packets > 100 && report.frames > 10_000, "{report:?}");
}

fn carries_tcp(kinds: [Kind; 2]) {
    let report = carry_tcp(kinds);
    // 40 MB are 28,000 segments; offloads make few, large frames of them.
    assert!(report.super_packets > 100, "{report:?}");
    assert!(report.longest > 60_000, "{report:?}");
    assert!(report.partial > report.super_packets / 2, "{report:?}");
    assert!(report.frames < 20_000, "{report:?}");
}

fn carry_tcp(kinds: [Kind; 2]) -> Report {
    let Hosts { left, right, mut devices, _adit } = Hosts::new(kinds);
    let stop = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        let bridge = scope.spawn(|| bridge(&mut devices, &stop));
        let outcome = thread::scope(|inner| {
            let server = inner.spawn(|| right.run(serve).unwrap());
            let client = inner.spawn(|| left.run(call).unwrap());
            client.join().and(server.join())
        });
        stop.store(true, Ordering::Relaxed);
        outcome.unwrap();
        bridge.join().unwrap()
    });
    assert_eq!(report.transmitted.rejected + report.transmitted.gone, 0, "{report:?}");
    report
}

/// Takes the client's bytes, then sends its own.
fn serve() {
    let listener = TcpListener::bind((RIGHT, 7)).unwrap();
    let stream = listener.accept().unwrap().0;
    set_timeouts(&stream);
    take(&stream, 1);
    give(&stream, 2);
}

fn call() {
    let stream = connect();
    give(&stream, 1);
    take(&stream, 2);
}

/// Connects as soon as the server listens.
pub(crate) fn connect() -> TcpStream {
    for _ in 0..100 {
        let timeout = Duration::from_secs(5);
        if let Ok(stream) = TcpStream::connect_timeout(&(RIGHT, 7).into(), timeout) {
            set_timeouts(&stream);
            return stream;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("no connection");
}

pub(crate) fn set_timeouts(stream: &TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
}

/// Bytes that no shifted or repeated piece could stand for.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 16).to_le_bytes()
    });
    words.flatten().take(length).collect()
}

fn give(mut stream: &TcpStream, seed: u64) {
    stream.write_all(&pattern(seed, BYTES)).unwrap();
}

fn take(mut stream: &TcpStream, seed: u64) {
    let mut bytes = vec![0; BYTES];
    stream.read_exact(&mut bytes).unwrap();
    assert!(bytes == pattern(seed, BYTES), "the bytes arrived as they were sent");
}
