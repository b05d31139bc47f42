//! What the tests are made of: a client wired to adit, devices opened on it, frames written by hand
//! and judged by hand. Nothing here calls code of the dataplane to make or judge bytes.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use dataplane::device::{Batch, Device, DeviceError, Frame, Offload};
use dataplane::io::{LinuxDevice, LinuxPlatform};
use dataplane::snapshot::{DeviceKind, DevicePlan};
use dataplane::types::{ScopeId, WorkerId};
use dataplane::worker::{Platform, Queue};
use lab::{Link, LinkEnd, MacAddr, Namespace};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
pub(crate) const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const ADIT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);

/// A client's namespace and adit's, with a veth between them.
pub(crate) struct Wire {
    pub(crate) client: Namespace,
    pub(crate) adit: Namespace,
    /// The client's end, `eth0`, which has an address.
    pub(crate) near: Link,
    /// adit's end, `a0`, which has none.
    pub(crate) far: Link,
}

impl Wire {
    pub(crate) fn new() -> Wire {
        let client = Namespace::create("client").unwrap();
        let adit = Namespace::create("adit").unwrap();
        let (near, far) = wire(&client, &adit, "a0");
        Wire { client, adit, near, far }
    }

    /// Opens adit's end, alone.
    pub(crate) fn open(&self) -> LinuxDevice {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<LinuxDevice, DeviceError> {
        alone().open(&packet_plan("a0", &self.adit), ONLY)
    }

    /// Sends UDP datagrams of these payloads to the far address from the client's kernel.
    pub(crate) fn send_udp(&self, source_port: u16, payloads: &[&[u8]]) {
        let send = || {
            let socket = std::net::UdpSocket::bind((CLIENT, source_port)).unwrap();
            for payload in payloads {
                socket.send_to(payload, (FAR, 9)).unwrap();
            }
        };
        self.client.run(send).unwrap();
    }
}

/// Wires a client, which has [`CLIENT`] as its address, to a new interface of adit.
pub(crate) fn wire(client: &Namespace, adit: &Namespace, name: &str) -> (Link, Link) {
    let (near, far) = Link::veth(
        &LinkEnd::new(client, "eth0").mac(CLIENT_MAC),
        &LinkEnd::new(adit, name).mac(ADIT_MAC),
    )
    .unwrap();
    near.add_address(CLIENT, 24).unwrap();
    near.up().unwrap();
    far.up().unwrap();
    // Until then the kernel throws away what is sent.
    near.wait_until_running(Duration::from_secs(5)).unwrap();
    near.add_neighbour(FAR, ADIT_MAC).unwrap();
    (near, far)
}

pub(crate) fn packet_plan(name: &str, namespace: &Namespace) -> DevicePlan {
    plan(name, DeviceKind::AfPacket, Some(namespace))
}

pub(crate) fn tap_plan(name: &str, namespace: &Namespace) -> DevicePlan {
    plan(name, DeviceKind::Tap, Some(namespace))
}

pub(crate) fn plan(name: &str, kind: DeviceKind, namespace: Option<&Namespace>) -> DevicePlan {
    let namespace = namespace.map(|namespace| namespace.path().display().to_string());
    DevicePlan { name: name.into(), kind, namespace, scope: ScopeId(0) }
}

pub(crate) const ONLY: Queue = Queue { worker: WorkerId(0), workers: 1 };

/// The platform of a process with one worker.
pub(crate) fn alone() -> LinuxPlatform {
    LinuxPlatform::for_workers(1).unwrap().pop().unwrap()
}

/// What of a frame outlives its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offload: Offload,
    pub(crate) fault: Option<dataplane::device::FrameFault>,
}

impl Seen {
    fn of(frame: &Frame) -> Seen {
        Seen { bytes: frame.bytes().to_vec(), offload: frame.offload, fault: frame.fault }
    }

    pub(crate) fn ethertype(&self) -> u16 {
        be16(&self.bytes, 12)
    }
}

/// Receives until `count` IPv4 frames have come, and fails after some seconds. Other frames are
/// kernels talking to each other.
pub(crate) fn receive_ipv4(device: &mut LinuxDevice, count: usize) -> Vec<Seen> {
    receive_of(device, 0x0800, count)
}

/// The same with frames of another EtherType.
pub(crate) fn receive_of(device: &mut LinuxDevice, ethertype: u16, count: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut batch = Batch::new();
    let mut platform = alone();
    let begin = Instant::now();
    while seen.len() < count {
        assert!(begin.elapsed() < Duration::from_secs(5), "{} of {count}", seen.len());
        platform.wait(&mut std::iter::once(&*device), Duration::from_millis(100));
        device.receive(&mut batch).unwrap();
        let frames = batch.frames().iter().map(Seen::of);
        seen.extend(
            frames.filter(|frame| frame.bytes.len() < 14 || frame.ethertype() == ethertype),
        );
    }
    seen
}

/// What arrives within a tenth of a second.
pub(crate) fn receive_rest(device: &mut LinuxDevice) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut batch = Batch::new();
    let end = Instant::now() + Duration::from_millis(100);
    while Instant::now() < end {
        device.receive(&mut batch).unwrap();
        seen.extend(batch.frames().iter().map(Seen::of));
        std::thread::sleep(Duration::from_millis(5));
    }
    seen
}

/// Receives until there is an error, and fails after some seconds.
pub(crate) fn receive_error(device: &mut LinuxDevice) -> DeviceError {
    let mut batch = Batch::new();
    let mut platform = alone();
    for _ in 0..50 {
        platform.wait(&mut std::iter::once(&*device), Duration::from_millis(100));
        if let Err(error) = device.receive(&mut batch) {
            assert!(batch.is_empty());
            return error;
        }
    }
    panic!("no error");
}

/// A frame with a VLAN tag of this type among its bytes.
pub(crate) fn tagged(frame: &[u8], [high, low]: [u8; 2]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.splice(12..12, [high, low, 0, 42]);
    frame
}

/// Whoever reads a frame that `near` sends sees its tag.
pub(crate) fn judge_tags_kept(near: &mut LinuxDevice, device: &mut LinuxDevice) {
    let untagged = udp_frame(4000, b"tagged", 0);
    for tag in [[0x81, 0], [0x88, 0xa8]] {
        let bytes = tagged(&untagged, tag);
        assert_eq!(near.transmit(&[&frame(&bytes, Offload::default())]).sent, 1);
        let seen = receive_of(device, u16::from_be_bytes(tag), 1).remove(0);
        assert_eq!(seen.bytes, bytes);
    }
}

/// A frame to send.
pub(crate) fn frame(bytes: &[u8], offload: Offload) -> Frame {
    let mut frame = Frame::new();
    frame.fill(bytes);
    frame.offload = offload;
    frame
}

/// A frame from adit to the client: UDP from port 9 to `port`, its checksum `sum`.
pub(crate) fn udp_frame(port: u16, payload: &[u8], sum: u16) -> Vec<u8> {
    let mut bytes = headers(17, 8 + payload.len());
    bytes.extend([0, 9]);
    bytes.extend(port.to_be_bytes());
    bytes.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    bytes.extend(sum.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A frame from adit to the client: TCP with ACK and PSH set and a partial checksum.
pub(crate) fn tcp_frame(payload: &[u8]) -> Vec<u8> {
    let length = 20 + payload.len();
    let mut bytes = headers(6, length);
    bytes.extend([0, 9, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff]);
    bytes.extend(pseudo_header_sum(FAR, CLIENT, 6, length).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

/// Ethernet and IPv4 headers from adit to the client, for a transport of so many bytes.
fn headers(protocol: u8, transport_bytes: usize) -> Vec<u8> {
    let mut bytes = [CLIENT_MAC.0, ADIT_MAC.0].concat();
    bytes.extend([8, 0, 0x45, 0]);
    bytes.extend(u16::try_from(20 + transport_bytes).unwrap().to_be_bytes());
    bytes.extend([0, 7, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(FAR.octets());
    bytes.extend(CLIENT.octets());
    let sum = !fold(sum(&bytes[14..34]));
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The folded sum of an IPv4 pseudo-header, not inverted (RFC 793, 3.1).
pub(crate) fn pseudo_header_sum(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize) -> u16 {
    let addresses = [from.octets(), to.octets()].concat();
    fold(sum(&addresses) + u32::from(protocol) + u32::try_from(length).unwrap())
}

pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2);
    words.map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum()
}

pub(crate) fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
