//! AF_XDP sockets on veth pairs.

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use dataplane::device::{Checksum, Device, Offload, Segmentation, SegmentationKind, Transmitted};
use dataplane::io::{LinuxDevice, LinuxPlatform};
use dataplane::snapshot::{DeviceKind, DevicePlan};
use dataplane::types::{MacAddress, WorkerId};
use dataplane::worker::{Platform, Queue};
use lab::sandbox::{self, Privilege};
use lab::{Link, LinkEnd, Namespace, Offload as Switch};

use crate::Test;
use crate::world::{
    ADIT_MAC, CLIENT, CLIENT_MAC, FAR, ONLY, Wire, alone, be16, fold, frame, judge_tags_kept,
    packet_plan, plan, pseudo_header_sum, receive_error, receive_ipv4, receive_rest, sum,
    tcp_frame, udp_frame,
};

pub(crate) const TESTS: &[Test] = &[
    ("xdp_link_is_the_interface_s", link_is_the_interface_s),
    ("xdp_partial_checksum_is_recognized", partial_checksum_is_recognized),
    ("xdp_complete_checksum_stays_so", complete_checksum_stays_so),
    ("xdp_transmit_reaches_the_kernel_s_sockets", transmit_reaches_the_kernel_s_sockets),
    ("xdp_super_packet_is_cut", super_packet_is_cut),
    ("xdp_large_frames_come_and_go_in_pieces", large_frames_come_and_go_in_pieces),
    ("xdp_vlan_tag_is_kept", vlan_tag_is_kept),
    ("xdp_bad_frames_are_rejected_alone", bad_frames_are_rejected_alone),
    ("xdp_more_than_the_rings_hold_is_missed", more_than_the_rings_hold_is_missed),
    ("xdp_a_worker_takes_every_queue", a_worker_takes_every_queue),
    ("xdp_a_worker_without_a_queue_sends", a_worker_without_a_queue_sends),
    ("xdp_closing_gives_the_interface_back", closing_gives_the_interface_back),
    ("xdp_a_second_program_is_refused", a_second_program_is_refused),
    ("xdp_down_is_an_error_until_up", down_is_an_error_until_up),
    ("xdp_deleted_is_an_error", deleted_is_an_error),
    ("xdp_new_mtu_and_address_are_seen", new_mtu_and_address_are_seen),
];

/// Why these tests cannot be run.
pub(crate) fn unavailable() -> Option<&'static str> {
    (sandbox::entered() != Some(Privilege::Root)).then_some("bpf(2) needs root of the system")
}

fn xdp_plan(wire: &Wire) -> DevicePlan {
    plan("a0", DeviceKind::AfXdp, Some(&wire.adit))
}

fn open(wire: &Wire) -> LinuxDevice {
    alone().open(&xdp_plan(wire), ONLY).unwrap()
}

/// Opens as soon as the kernel has put away what was there before.
fn reopen(wire: &Wire) -> LinuxDevice {
    let begin = Instant::now();
    loop {
        match alone().open(&xdp_plan(wire), ONLY) {
            Ok(device) => return device,
            Err(error) => assert!(begin.elapsed().as_secs() < 5, "{error}"),
        }
        std::thread::yield_now();
    }
}

fn bind(wire: &Wire) -> UdpSocket {
    let socket = wire.client.run(|| UdpSocket::bind((CLIENT, 4000)).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

const PARTIAL_UDP: Offload =
    Offload { checksum: Checksum::Partial { start: 34, offset: 6 }, segmentation: None };

fn link_is_the_interface_s() {
    let wire = Wire::new();
    wire.far.set_mtu(1400).unwrap();
    let link = open(&wire).link();
    assert_eq!((link.mac, link.mtu), (MacAddress(ADIT_MAC.0), 1400));
}

fn partial_checksum_is_recognized() {
    let wire = Wire::new();
    let mut device = open(&wire);
    wire.send_udp(4000, &[b"partial"]);
    let seen = receive_ipv4(&mut device, 1).remove(0);
    assert_eq!((seen.fault, seen.offload), (None, PARTIAL_UDP));
    assert_eq!(seen.bytes[42..], *b"partial");
    assert_eq!(be16(&seen.bytes, 40), pseudo_header_sum(CLIENT, FAR, 17, 15));
}

fn complete_checksum_stays_so() {
    let wire = Wire::new();
    wire.near.set_offload(Switch::TxChecksum, false).unwrap();
    let mut device = open(&wire);
    wire.send_udp(4000, &[b"complete"]);
    let seen = receive_ipv4(&mut device, 1).remove(0);
    assert_eq!((seen.fault, seen.offload), (None, Offload::default()));
    let all = sum(&seen.bytes[34..50]) + u32::from(pseudo_header_sum(CLIENT, FAR, 17, 16));
    assert_eq!(fold(all), 0xffff);
}

fn transmit_reaches_the_kernel_s_sockets() {
    let wire = Wire::new();
    let mut device = open(&wire);
    let socket = bind(&wire);
    // The rings are gone round more than once.
    for round in 0..20_u8 {
        let frames: Vec<_> = (0..64u8)
            .map(|number| {
                let payload = [number ^ round; 33];
                if number % 2 == 0 {
                    let sum = pseudo_header_sum(FAR, CLIENT, 17, 41);
                    frame(&udp_frame(4000, &payload, sum), PARTIAL_UDP)
                } else {
                    frame(&udp_frame(4000, &payload, 0), Offload::default())
                }
            })
            .collect();
        let sent = device.transmit(&frames.iter().collect::<Vec<_>>());
        assert_eq!(sent, Transmitted { sent: 64, ..Transmitted::default() });
        for number in 0..64 {
            let mut payload = [0; 100];
            let (length, from) = socket.recv_from(&mut payload).unwrap();
            assert_eq!(payload[..length], [number ^ round; 33]);
            assert_eq!(from, (FAR, 9).into());
        }
    }
}

/// A TCP super-packet to a port that listens is cut, and each segment passes the kernel's check.
fn super_packet_is_cut() {
    let wire = Wire::new();
    let mut device = open(&wire);
    let _listener = wire.client.run(|| TcpListener::bind((CLIENT, 0x2000)).unwrap()).unwrap();
    let socket = bind(&wire);
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(5 * 100 + 37).collect();
    let sum = pseudo_header_sum(FAR, CLIENT, 17, 8 + payload.len());
    let kind = SegmentationKind::Udp;
    let cut = Segmentation { kind, segment_bytes: 100, header_bytes: 42, ecn: false };
    let udp = Offload { segmentation: Some(cut), ..PARTIAL_UDP };
    let kind = SegmentationKind::TcpIpv4;
    let cut = Segmentation { kind, segment_bytes: 1000, header_bytes: 54, ecn: false };
    let checksum = Checksum::Partial { start: 34, offset: 16 };
    let tcp = Offload { checksum, segmentation: Some(cut) };
    let frames = [
        frame(&udp_frame(4000, &payload, sum), udp),
        // An ACK out of nowhere: the kernel resets each segment whose checksum is right.
        frame(&tcp_frame(&[7; 2500]), tcp),
    ];
    let sent = device.transmit(&frames.iter().collect::<Vec<_>>());
    assert_eq!(sent, Transmitted { sent: 2, ..Transmitted::default() });
    let mut received: Vec<u8> = Vec::new();
    for length in [100, 100, 100, 100, 100, 37] {
        let mut bytes = [0; 200];
        let datagram = socket.recv(&mut bytes).unwrap();
        assert_eq!(datagram, length);
        received.extend_from_slice(&bytes[..datagram]);
    }
    assert_eq!(received, payload);
    let resets = receive_ipv4(&mut device, 3);
    assert!(resets.iter().all(|seen| seen.bytes[23] == 6 && seen.bytes[47] == 4), "{resets:?}");
}

fn large_frames_come_and_go_in_pieces() {
    let wire = Wire::new();
    wire.near.set_mtu(9000).unwrap();
    wire.far.set_mtu(9000).unwrap();
    let mut device = open(&wire);
    let socket = bind(&wire);
    let payload: Vec<u8> = (0..=250_u8).cycle().take(8900).collect();
    wire.client.run(|| socket.send_to(&payload, (FAR, 9)).unwrap()).unwrap();
    let seen = receive_ipv4(&mut device, 1).remove(0);
    assert_eq!((seen.fault, seen.offload), (None, PARTIAL_UDP));
    assert_eq!(seen.bytes[42..], payload);
    let sum = pseudo_header_sum(FAR, CLIENT, 17, 8 + payload.len());
    let sent = device.transmit(&[&frame(&udp_frame(4000, &payload, sum), PARTIAL_UDP)]);
    assert_eq!(sent, Transmitted { sent: 1, ..Transmitted::default() });
    let mut bytes = [0; 9000];
    let length = socket.recv(&mut bytes).unwrap();
    assert!(bytes[..length] == payload, "{length} bytes arrived");
}

fn vlan_tag_is_kept() {
    let wire = Wire::new();
    let mut device = open(&wire);
    let mut near = alone().open(&packet_plan("eth0", &wire.client), ONLY).unwrap();
    judge_tags_kept(&mut near, &mut device);
}

fn bad_frames_are_rejected_alone() {
    let wire = Wire::new();
    let mut device = open(&wire);
    let socket = bind(&wire);
    let good = frame(&udp_frame(4000, b"good", 0), Offload::default());
    let kind = SegmentationKind::TcpIpv6;
    let cut = Segmentation { kind, segment_bytes: 100, header_bytes: 54, ecn: false };
    let unknown = Offload { segmentation: Some(cut), ..PARTIAL_UDP };
    let bad = [
        frame(&[], Offload::default()),
        frame(&udp_frame(4000, &[0; 500], 0), unknown),
        frame(&vec![0; 65_000], Offload::default()),
    ];
    let sent = device.transmit(&[&good, &bad[0], &bad[1], &bad[2], &good]);
    assert_eq!(sent, Transmitted { sent: 2, rejected: 3, ..Transmitted::default() });
    for _ in 0..2 {
        assert_eq!(socket.recv(&mut [0; 10]).unwrap(), 4);
    }
}

/// What finds no place is counted, and what did is intact.
fn more_than_the_rings_hold_is_missed() {
    let wire = Wire::new();
    let mut device = open(&wire);
    let payloads: Vec<[u8; 4]> = (0..3000_u32).map(u32::to_be_bytes).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(<[u8; 4]>::as_slice).collect();
    wire.send_udp(4000, &payloads);
    // A batch every few milliseconds, until nothing comes.
    let mut seen = receive_rest(&mut device);
    while seen.last().is_some_and(|last| last.bytes.len() == 46) {
        let more = receive_rest(&mut device);
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    let numbers = seen.iter().filter(|frame| frame.bytes.len() == 46 && frame.fault.is_none());
    let numbers: Vec<u32> = numbers
        .map(|frame| u32::from(be16(&frame.bytes, 42)) << 16 | u32::from(be16(&frame.bytes, 44)))
        .collect();
    assert_eq!(numbers.len(), seen.len());
    assert!(numbers.is_sorted() && (2000..=2048).contains(&numbers.len()), "{}", numbers.len());
    assert_eq!(device.missed(), 3000 - numbers.len() as u64);
    assert_eq!(device.missed(), 0);
    wire.send_udp(4000, &[b"again"]);
    assert_eq!(receive_ipv4(&mut device, 1)[0].bytes[42..], *b"again");
}

/// A wire whose ends have so many queues.
fn wire_with_queues(queues: u32) -> Wire {
    let (client, adit) = (Namespace::create("client").unwrap(), Namespace::create("adit").unwrap());
    let (near, far) = Link::veth(
        &LinkEnd::new(&client, "eth0").mac(CLIENT_MAC).queues(queues),
        &LinkEnd::new(&adit, "a0").mac(ADIT_MAC).queues(queues),
    )
    .unwrap();
    near.add_address(CLIENT, 24).unwrap();
    near.up().unwrap();
    far.up().unwrap();
    near.wait_until_running(Duration::from_secs(5)).unwrap();
    near.add_neighbour(FAR, ADIT_MAC).unwrap();
    Wire { client, adit, near, far }
}

/// Sends a datagram from each of many ports, which the kernel spreads over its queues.
fn from_many_ports(wire: &Wire) {
    (0..64).for_each(|port| wire.send_udp(5000 + port, &[b"spread"]));
}

fn a_worker_takes_every_queue() {
    let wire = wire_with_queues(4);
    let mut device = open(&wire);
    from_many_ports(&wire);
    assert_eq!(receive_ipv4(&mut device, 64).len(), 64);
    drop(device);
    let wire = wire_with_queues(3);
    let mut platforms = LinuxPlatform::for_workers(2).unwrap();
    let mut devices: Vec<LinuxDevice> = (0..2)
        .map(|at| {
            let queue = Queue { worker: WorkerId(at), workers: 2 };
            platforms[usize::from(at)].open(&xdp_plan(&wire), queue).unwrap()
        })
        .collect();
    from_many_ports(&wire);
    let counts = devices.iter_mut().map(|device| receive_rest(device).len()).collect::<Vec<_>>();
    assert_eq!(counts.iter().sum::<usize>(), 64, "{counts:?}");
    // Two queues and one.
    assert!(counts.iter().all(|&count| count > 5), "{counts:?}");
}

fn a_worker_without_a_queue_sends() {
    let wire = wire_with_queues(1);
    let socket = bind(&wire);
    let mut platforms = LinuxPlatform::for_workers(2).unwrap();
    let mut devices: Vec<LinuxDevice> = (0..2)
        .map(|at| {
            let queue = Queue { worker: WorkerId(at), workers: 2 };
            platforms[usize::from(at)].open(&xdp_plan(&wire), queue).unwrap()
        })
        .collect();
    from_many_ports(&wire);
    assert_eq!(receive_ipv4(&mut devices[0], 64).len(), 64);
    assert!(receive_rest(&mut devices[1]).is_empty());
    let sum = pseudo_header_sum(FAR, CLIENT, 17, 13);
    let reply = frame(&udp_frame(4000, b"reply", sum), PARTIAL_UDP);
    assert_eq!(devices[1].transmit(&[&reply]).sent, 1);
    assert_eq!(socket.recv(&mut [0; 10]).unwrap(), 5);
}

/// XDP makes the other end cut its super-packets, and only as long as it is there.
fn closing_gives_the_interface_back() {
    let wire = Wire::new();
    assert!(wire.near.offload(Switch::Tso).unwrap());
    let device = open(&wire);
    assert!(!wire.near.offload(Switch::Tso).unwrap());
    assert!(wire.near.offload(Switch::TxChecksum).unwrap());
    drop(device);
    assert!(wire.near.offload(Switch::Tso).unwrap());
    let mut device = reopen(&wire);
    wire.send_udp(4000, &[b"after"]);
    assert_eq!(receive_ipv4(&mut device, 1).len(), 1);
}

fn a_second_program_is_refused() {
    const BUSY: i32 = 16;
    let wire = Wire::new();
    let _device = open(&wire);
    let error = alone().open(&xdp_plan(&wire), ONLY).err().unwrap();
    assert_eq!(error.errno, BUSY, "{error}");
}

fn down_is_an_error_until_up() {
    const DOWN: i32 = 100;
    let wire = Wire::new();
    let mut device = open(&wire);
    wire.far.down().unwrap();
    assert_eq!(device.refresh().unwrap_err().errno, DOWN);
    let sent = device.transmit(&[&frame(&udp_frame(4000, b"lost", 0), Offload::default())]);
    assert_eq!(sent, Transmitted { gone: 1, ..Transmitted::default() });
    assert_eq!(receive_error(&mut device).errno, DOWN);
    drop(device);
    let error = alone().open(&xdp_plan(&wire), ONLY).err().unwrap();
    assert_eq!(error.errno, DOWN, "{error}");
    wire.far.up().unwrap();
    let mut device = reopen(&wire);
    wire.send_udp(4000, &[b"back"]);
    assert_eq!(receive_ipv4(&mut device, 1).len(), 1);
}

fn deleted_is_an_error() {
    let Wire { near, adit, client, far } = Wire::new();
    let mut device = alone().open(&plan("a0", DeviceKind::AfXdp, Some(&adit)), ONLY).unwrap();
    near.delete().unwrap();
    receive_error(&mut device);
    assert!(device.refresh().is_err());
    drop((far, client));
}

fn new_mtu_and_address_are_seen() {
    let wire = Wire::new();
    let mut device = open(&wire);
    wire.far.set_mtu(1450).unwrap();
    assert_eq!(device.refresh().unwrap().mtu, 1450);
    // Larger chunks take a new device.
    wire.far.set_mtu(9000).unwrap();
    assert!(device.refresh().is_err());
    drop(device);
    assert_eq!(reopen(&wire).link().mtu, 9000);
}
