//! Packet sockets on veth pairs.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataplane::device::{
    Batch, Checksum, Device, Frame, FrameFault, Offload, Segmentation, SegmentationKind,
    Transmitted,
};
use dataplane::io::{LinuxDevice, LinuxPlatform};
use dataplane::packet::FlowKey;
use dataplane::types::{MacAddress, Protocol, ScopeId, WorkerId};
use dataplane::worker::{Platform, Queue};
use lab::{Link, LinkEnd, MacAddr, Namespace, Offload as Switch};

use crate::Test;
use crate::world::{
    ADIT_MAC, CLIENT, CLIENT_MAC, FAR, ONLY, Wire, alone, be16, fold, frame, packet_plan,
    pseudo_header_sum, receive_error, receive_ipv4, receive_rest, sum, tagged, tcp_frame,
    udp_frame, wire,
};

pub(crate) const TESTS: &[Test] = &[
    ("packet_link_is_the_interface_s", link_is_the_interface_s),
    ("packet_partial_checksum_arrives_as_such", partial_checksum_arrives_as_such),
    ("packet_complete_checksum_arrives_as_such", complete_checksum_arrives_as_such),
    ("packet_transmit_reaches_the_kernel_s_sockets", transmit_reaches_the_kernel_s_sockets),
    ("packet_udp_super_packet_passes_whole", udp_super_packet_passes_whole),
    ("packet_tcp_super_packet_is_cut_where_tso_is_off", super_packet_is_cut_where_tso_is_off),
    ("packet_vlan_tag_is_flagged", vlan_tag_is_flagged),
    ("packet_frames_for_other_stations_are_seen", frames_for_other_stations_are_seen),
    ("packet_bad_frames_are_rejected_alone", bad_frames_are_rejected_alone),
    ("packet_what_the_host_sends_is_not_seen", what_the_host_sends_is_not_seen),
    ("packet_two_workers_lose_and_double_nothing", two_workers_lose_and_double_nothing),
    ("packet_frames_arrive_where_their_flows_are_owned", frames_arrive_where_flows_are_owned),
    ("packet_groups_of_two_devices_stay_apart", groups_of_two_devices_stay_apart),
    ("packet_down_is_an_error_until_up", down_is_an_error_until_up),
    ("packet_down_seen_by_transmit_is_still_reported", down_seen_by_transmit_is_still_reported),
    ("packet_deleted_and_recreated", deleted_and_recreated),
    ("packet_new_mtu_and_address_are_seen", new_mtu_and_address_are_seen),
    ("packet_another_interface_of_its_name_is_an_error", another_of_its_name_is_an_error),
    ("packet_joining_under_traffic_doubles_nothing", joining_under_traffic_doubles_nothing),
];

fn link_is_the_interface_s() {
    let wire = Wire::new();
    wire.far.set_mtu(1400).unwrap();
    let link = wire.open().link();
    assert_eq!(link.mac, MacAddress(ADIT_MAC.0));
    assert_eq!(link.mtu, 1400);
}

fn partial_checksum_arrives_as_such() {
    let wire = Wire::new();
    let mut device = wire.open();
    wire.send_udp(4000, &[b"partial"]);
    let seen = receive_ipv4(&mut device, 1).remove(0);
    assert_eq!(seen.fault, None);
    assert_eq!(seen.bytes[..12], [ADIT_MAC.0, CLIENT_MAC.0].concat());
    assert_eq!(seen.bytes[42..49], *b"partial");
    assert_eq!(seen.offload.checksum, Checksum::Partial { start: 34, offset: 6 });
    assert_eq!(seen.offload.segmentation, None);
    assert_eq!(be16(&seen.bytes, 40), pseudo_header_sum(CLIENT, FAR, 17, 15));
}

fn complete_checksum_arrives_as_such() {
    let wire = Wire::new();
    wire.near.set_offload(Switch::TxChecksum, false).unwrap();
    let mut device = wire.open();
    wire.send_udp(4000, &[b"complete"]);
    let seen = receive_ipv4(&mut device, 1).remove(0);
    assert_eq!((seen.fault, seen.offload), (None, Offload::default()));
    // A right checksum sums up to all ones with what it covers (RFC 1071).
    let all = sum(&seen.bytes[34..50]) + u32::from(pseudo_header_sum(CLIENT, FAR, 17, 16));
    assert_eq!(fold(all), 0xffff);
}

fn transmit_reaches_the_kernel_s_sockets() {
    let wire = Wire::new();
    let mut device = wire.open();
    let bind = || UdpSocket::bind((CLIENT, 4000)).unwrap();
    let socket = wire.client.run(bind).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let partial =
        Offload { checksum: Checksum::Partial { start: 34, offset: 6 }, segmentation: None };
    let frames: Vec<_> = (0..64u8)
        .map(|number| {
            // Half with an unfinished checksum, half with none.
            let payload = [number; 33];
            if number % 2 == 0 {
                let sum = pseudo_header_sum(FAR, CLIENT, 17, 41);
                frame(&udp_frame(4000, &payload, sum), partial)
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
        assert_eq!(payload[..length], [number; 33]);
        assert_eq!(from, (FAR, 9).into());
    }
}

fn udp_super_packet_passes_whole() {
    let wire = Wire::new();
    let mut device = wire.open();
    let mut far = alone().open(&packet_plan("eth0", &wire.client), ONLY).unwrap();
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(5 * 100 + 37).collect();
    let sum = pseudo_header_sum(FAR, CLIENT, 17, 8 + payload.len());
    let kind = SegmentationKind::Udp;
    let segmentation = Segmentation { kind, segment_bytes: 100, header_bytes: 42, ecn: false };
    let offload = Offload {
        checksum: Checksum::Partial { start: 34, offset: 6 },
        segmentation: Some(segmentation),
    };
    let bytes = udp_frame(4000, &payload, sum);
    assert_eq!(device.transmit(&[&frame(&bytes, offload)]).sent, 1);
    let seen = receive_ipv4(&mut far, 1).remove(0);
    assert_eq!(seen.bytes, bytes);
    assert_eq!(seen.fault, None);
    assert_eq!(seen.offload.checksum, offload.checksum);
    let arrived = seen.offload.segmentation.unwrap();
    assert_eq!((arrived.kind, arrived.segment_bytes), (kind, 100));
}

/// The reason not to go past the queueing discipline, see `BYPASS_QUEUEING`.
fn super_packet_is_cut_where_tso_is_off() {
    let wire = Wire::new();
    wire.far.set_offload(Switch::Tso, false).unwrap();
    let mut device = wire.open();
    let mut far = alone().open(&packet_plan("eth0", &wire.client), ONLY).unwrap();
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(3 * 1000).collect();
    let kind = SegmentationKind::TcpIpv4;
    let segmentation = Segmentation { kind, segment_bytes: 1000, header_bytes: 54, ecn: false };
    let offload = Offload {
        checksum: Checksum::Partial { start: 34, offset: 16 },
        segmentation: Some(segmentation),
    };
    let sent = device.transmit(&[&frame(&tcp_frame(&payload), offload)]);
    assert_eq!(sent, Transmitted { sent: 1, ..Transmitted::default() });
    let seen = receive_ipv4(&mut far, 3);
    for (at, segment) in seen.iter().enumerate() {
        assert_eq!(segment.bytes[54..], payload[at * 1000..(at + 1) * 1000]);
        assert_eq!(segment.offload.segmentation, None);
    }
}

fn vlan_tag_is_flagged() {
    let wire = Wire::new();
    let mut device = wire.open();
    let mut near = alone().open(&packet_plan("eth0", &wire.client), ONLY).unwrap();
    let untagged = udp_frame(4000, b"tagged or not", 0);
    let all = [untagged.clone(), tagged(&untagged, [0x81, 0]), tagged(&untagged, [0x88, 0xa8])];
    let frames = all.map(|bytes| frame(&bytes, Offload::default()));
    assert_eq!(near.transmit(&[&frames[0], &frames[1], &frames[2]]).sent, 3);
    let seen = receive_ipv4(&mut device, 3);
    assert_eq!(seen[0].fault, None);
    for seen in &seen[1..] {
        assert_eq!(seen.fault, Some(FrameFault::VlanTagged));
        // The kernel took the tag off: without the fault it would look like any other frame.
        assert_eq!(seen.bytes, untagged);
    }
}

fn frames_for_other_stations_are_seen() {
    let wire = Wire::new();
    let mut device = wire.open();
    let stranger = MacAddr([2, 0, 0, 0, 0, 0x77]);
    wire.near.add_neighbour(FAR, stranger).unwrap();
    wire.send_udp(4000, &[b"not for you"]);
    let seen = receive_ipv4(&mut device, 1).remove(0);
    assert_eq!(seen.bytes[..6], stranger.0);
}

fn bad_frames_are_rejected_alone() {
    let wire = Wire::new();
    let mut device = wire.open();
    let mut far = alone().open(&packet_plan("eth0", &wire.client), ONLY).unwrap();
    let complete = Offload::default();
    let outside =
        Offload { checksum: Checksum::Partial { start: 5000, offset: 6 }, segmentation: None };
    let frames = [
        frame(&udp_frame(1, b"good", 0), complete),
        frame(&udp_frame(2, &[0; 3000], 0), complete), // longer than the MTU
        frame(&udp_frame(3, b"good", 0), complete),
        frame(&udp_frame(4, b"bad", 0), outside),
        frame(&[1, 2, 3], complete), // shorter than an Ethernet header
        frame(&[], complete),
        frame(&udp_frame(5, b"good", 0), complete),
    ];
    let done = device.transmit(&frames.iter().collect::<Vec<_>>());
    assert_eq!(done, Transmitted { sent: 3, rejected: 4, ..Transmitted::default() });
    let ports: Vec<u16> = receive_ipv4(&mut far, 3).iter().map(|it| be16(&it.bytes, 36)).collect();
    assert_eq!(ports, [1, 3, 5]);
}

fn what_the_host_sends_is_not_seen() {
    let wire = Wire::new();
    wire.far.add_address(FAR, 24).unwrap();
    wire.far.add_neighbour(CLIENT, CLIENT_MAC).unwrap();
    let mut alone = wire.open();
    let mut platforms = LinuxPlatform::for_workers(2).unwrap();
    let mut shared =
        [0, 1].map(|worker| open_shared(&wire, &mut platforms[usize::from(worker)], worker));
    let send = || UdpSocket::bind((FAR, 0)).unwrap().send_to(b"host", (CLIENT, 9)).unwrap();
    wire.adit.run(send).unwrap();
    // What one socket of adit sends, no other of them may take for a frame that arrived.
    let own = frame(&udp_frame(9, b"adit", 0), Offload::default());
    assert_eq!(shared[0].transmit(&[&own]).sent, 1);
    assert_eq!(alone.transmit(&[&own]).sent, 1);
    for device in std::iter::once(&mut alone).chain(&mut shared) {
        let seen = receive_rest(device);
        // The client answers that nothing listens on its port 9: that is all there is to see.
        let from_client = seen.iter().all(|it| it.bytes[6..12] == CLIENT_MAC.0);
        assert!(from_client, "{seen:?}");
    }
}

/// Opens adit's end for a worker of two.
fn open_shared(wire: &Wire, platform: &mut LinuxPlatform, worker: u8) -> LinuxDevice {
    let queue = Queue { worker: WorkerId(worker), workers: 2 };
    platform.open(&packet_plan("a0", &wire.adit), queue).unwrap()
}

/// Source port and payload of the UDP datagrams that have arrived.
fn take_datagrams(device: &mut LinuxDevice, batch: &mut Batch) -> Vec<(u16, Vec<u8>)> {
    device.receive(batch).unwrap();
    let udp = batch.frames().iter().map(Frame::bytes).filter(|bytes| bytes.get(23) == Some(&17));
    udp.map(|bytes| (be16(bytes, 34), bytes[42..].to_vec())).collect()
}

fn two_workers_lose_and_double_nothing() {
    const FLOWS: u16 = 200;
    const ROUNDS: u8 = 10;
    let wire = Wire::new();
    let mut platforms = LinuxPlatform::for_workers(2).unwrap();
    let mut devices =
        [0, 1].map(|worker| open_shared(&wire, &mut platforms[usize::from(worker)], worker));
    let mut seen = [Vec::new(), Vec::new()];
    let mut batch = Batch::new();
    let mut drain = |devices: &mut [LinuxDevice; 2]| {
        for (device, seen) in devices.iter_mut().zip(&mut seen) {
            seen.extend(take_datagrams(device, &mut batch));
        }
    };
    let payloads: Vec<[u8; 1]> = (0..ROUNDS).map(|round| [round]).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(|payload| &payload[..]).collect();
    for flow in 0..FLOWS {
        wire.send_udp(4000 + flow, &payloads);
        drain(&mut devices);
    }
    std::thread::sleep(Duration::from_millis(50));
    (0..100).for_each(|_| drain(&mut devices));
    let flows = seen.each_ref().map(|seen| seen.iter().map(|it| it.0).collect::<BTreeSet<_>>());
    assert!(flows[0].is_disjoint(&flows[1]), "a flow stays with its worker");
    assert!(flows.iter().all(|flows| flows.len() > 50), "a fair share for each");
    let mut all = seen.concat();
    all.sort_unstable();
    let expected: Vec<_> = (0..FLOWS)
        .flat_map(|flow| (0..ROUNDS).map(move |round| (4000 + flow, vec![round])))
        .collect();
    assert!(all == expected, "{} frames of {}", all.len(), expected.len());
}

/// The worker that owns a flow of the client from this port.
pub(crate) fn owner_of_client(client_port: u16) -> usize {
    let (client, endpoint) = (CLIENT.into(), FAR.into());
    let (endpoint_port, scope) = (9, ScopeId(0));
    let protocol = Protocol::Udp;
    let key = FlowKey { client, endpoint, client_port, endpoint_port, scope, protocol };
    usize::from(key.owner(2).0)
}

/// The worker that leases this port first.
fn home_of_port(port: u16) -> usize {
    usize::from((port - 1024) / 64 % 2)
}

/// The ports of the datagrams that arrived at each worker, source and destination.
fn take_ports(devices: &mut [Option<LinuxDevice>; 2]) -> [Vec<[u16; 2]>; 2] {
    devices.each_mut().map(|device| {
        let seen = receive_rest(device.as_mut().unwrap());
        let udp = seen.iter().filter(|it| it.bytes.get(23) == Some(&17));
        udp.map(|it| [be16(&it.bytes, 34), be16(&it.bytes, 36)]).collect()
    })
}

/// In whatever order workers come and go.
fn frames_arrive_where_flows_are_owned() {
    let wire = Wire::new();
    let mut platforms = LinuxPlatform::for_workers(2).unwrap();
    let mut second = open_shared(&wire, &mut platforms[1], 1);
    second.steer(&[]);
    let first = open_shared(&wire, &mut platforms[0], 0);
    let mut devices = [Some(first), Some(second)];
    let (client_ports, nat_ports) = (4000..4100_u16, (1024..u16::MAX).step_by(997));
    let send = |ports: Vec<[u16; 2]>| {
        let send = || {
            for [from, to] in ports {
                UdpSocket::bind((CLIENT, from)).unwrap().send_to(b"it", (FAR, to)).unwrap();
            }
        };
        wire.client.run(send).unwrap();
    };
    for turn in 0..3 {
        send(client_ports.clone().map(|port| [port, 9]).collect());
        for (worker, seen) in take_ports(&mut devices).iter().enumerate() {
            let own = client_ports.clone().filter(|port| owner_of_client(*port) == worker);
            let seen: BTreeSet<u16> = seen.iter().map(|ports| ports[0]).collect();
            assert_eq!(seen, own.collect(), "turn {turn}, worker {worker}");
        }
        // Now the far address is one that answers come to, among others.
        devices[turn % 2].as_mut().unwrap().steer(&[CLIENT.into(), FAR.into()]);
        send(nat_ports.clone().map(|port| [4000, port]).collect());
        for (worker, seen) in take_ports(&mut devices).iter().enumerate() {
            let own = nat_ports.clone().filter(|port| home_of_port(*port) == worker);
            let seen: BTreeSet<u16> = seen.iter().map(|ports| ports[1]).collect();
            assert_eq!(seen, own.collect(), "turn {turn}, worker {worker}");
        }
        let worker = u8::try_from(turn % 2).unwrap();
        devices[turn % 2] = None;
        devices[turn % 2] = Some(open_shared(&wire, &mut platforms[turn % 2], worker));
        devices.iter_mut().flatten().for_each(|device| device.steer(&[CLIENT.into()]));
    }
}

/// While datagrams keep coming, as fast as can be, one worker after the other opens the device,
/// again and again.
fn joining_under_traffic_doubles_nothing() {
    let wire = Wire::new();
    let stop = AtomicBool::new(false);
    let send = || {
        let sockets: Vec<_> =
            (4000..4016).map(|port| UdpSocket::bind((CLIENT, port)).unwrap()).collect();
        // Another flow each time, so that both workers have a share.
        for (number, socket) in (0_u32..).zip(sockets.iter().cycle()) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let port = u16::try_from(1000 + number % 1000).unwrap();
            socket.send_to(&number.to_be_bytes(), (FAR, port)).unwrap();
        }
    };
    let turns = || {
        let mut platforms = LinuxPlatform::for_workers(2).unwrap();
        let mut batch = Batch::new();
        let (mut seen, mut doubled) = (0, 0);
        for _ in 0..80 {
            let mut first = open_shared(&wire, &mut platforms[0], 0);
            let mut second = open_shared(&wire, &mut platforms[1], 1);
            let mut datagrams = Vec::new();
            for _ in 0..8 {
                datagrams.extend(take_datagrams(&mut first, &mut batch));
                datagrams.extend(take_datagrams(&mut second, &mut batch));
            }
            let distinct: BTreeSet<_> = datagrams.iter().collect();
            seen += datagrams.len();
            doubled += datagrams.len() - distinct.len();
        }
        (seen, doubled)
    };
    let (seen, doubled) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| wire.client.run(send).unwrap());
        let turns = scope.spawn(turns).join();
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        turns.unwrap()
    });
    assert!(seen > 1000, "{seen}");
    // One that was being delivered when a socket joined may arrive twice: see `FanoutGroups::join`.
    assert!(doubled < 10, "{doubled} of {seen}");
}

fn groups_of_two_devices_stay_apart() {
    let adit = Namespace::create("adit").unwrap();
    let clients: Vec<_> =
        (0..2).map(|n| Namespace::create(&format!("client{n}")).unwrap()).collect();
    let _links: Vec<_> =
        clients.iter().zip(["a0", "a1"]).map(|(client, name)| wire(client, &adit, name)).collect();
    // Two processes, as it were, each with two workers, on two devices.
    let mut devices = Vec::new();
    for _ in 0..2 {
        for (worker, platform) in (0..).zip(&mut LinuxPlatform::for_workers(2).unwrap()) {
            for name in ["a0", "a1"] {
                let queue = Queue { worker: WorkerId(worker), workers: 2 };
                devices.push((name, platform.open(&packet_plan(name, &adit), queue).unwrap()));
            }
        }
    }
    let send = || UdpSocket::bind((CLIENT, 0)).unwrap().send_to(b"to a1", (FAR, 9)).unwrap();
    clients[1].run(send).unwrap();
    let mut counts = [0, 0];
    for (name, device) in &mut devices {
        let seen = receive_rest(device);
        let count = seen.iter().filter(|it| it.ethertype() == 0x0800).count();
        counts[usize::from(*name == "a1")] += count;
    }
    assert_eq!(counts, [0, 2], "once for each process, on that device only");
}

fn down_is_an_error_until_up() {
    let wire = Wire::new();
    let mut device = wire.open();
    wire.far.down().unwrap();
    let error = receive_error(&mut device);
    assert_eq!(error.errno, libc_errno::ENETDOWN, "{error}");
    assert_eq!(device.receive(&mut Batch::new()), Err(error), "it stays an error");
    let lost = device.transmit(&[&frame(&udp_frame(1, b"lost", 0), Offload::default())]);
    assert_eq!(lost, Transmitted { gone: 1, ..Transmitted::default() });
    let error = wire.try_open().err().unwrap();
    assert_eq!(error.errno, libc_errno::ENETDOWN, "{error}");
    wire.far.up().unwrap();
    let mut device = wire.open();
    wire.near.add_neighbour(FAR, ADIT_MAC).unwrap();
    wire.send_udp(4000, &[b"again"]);
    assert_eq!(receive_ipv4(&mut device, 1)[0].bytes[42..47], *b"again");
}

/// Sending takes the socket's pending error away, and an interface that is up again shows nothing:
/// but its address and MTU may not be what they were, so the device must be opened anew.
fn down_seen_by_transmit_is_still_reported() {
    let wire = Wire::new();
    let mut device = wire.open();
    wire.far.down().unwrap();
    wire.far.up().unwrap();
    let frames: Vec<_> =
        (0..3).map(|port| frame(&udp_frame(port, b"lost", 0), Offload::default())).collect();
    let lost = device.transmit(&frames.iter().collect::<Vec<_>>());
    assert_eq!(lost, Transmitted { gone: 3, ..Transmitted::default() });
    let begin = Instant::now();
    alone().wait(&mut std::iter::once(&device), Duration::from_secs(20));
    assert!(begin.elapsed() < Duration::from_secs(10), "there is nothing to wait for");
    let error = device.receive(&mut Batch::new()).unwrap_err();
    assert_eq!(error.errno, libc_errno::ENETDOWN, "{error}");
}

fn deleted_and_recreated() {
    let Wire { client, adit, near, far } = Wire::new();
    let open = || alone().open(&packet_plan("a0", &adit), ONLY);
    let mut device = open().unwrap();
    near.delete().unwrap();
    drop(far);
    let error = receive_error(&mut device);
    assert!([libc_errno::ENETDOWN, libc_errno::ENODEV].contains(&error.errno), "{error}");
    let lost = device.transmit(&[&frame(&udp_frame(1, b"lost", 0), Offload::default())]);
    assert_eq!(lost.gone, 1);
    let error = open().err().unwrap();
    assert_eq!((error.errno, error.operation), (libc_errno::ENODEV, "find the interface"));
    let _links = wire(&client, &adit, "a0");
    let mut device = open().unwrap();
    let send = || UdpSocket::bind((CLIENT, 0)).unwrap().send_to(b"again", (FAR, 9)).unwrap();
    client.run(send).unwrap();
    assert_eq!(receive_ipv4(&mut device, 1)[0].bytes[42..47], *b"again");
}

fn new_mtu_and_address_are_seen() {
    let wire = Wire::new();
    let mut device = wire.open();
    let before = device.link();
    assert_eq!(device.refresh(), Ok(before));
    let mac = MacAddr([2, 0, 0, 0, 0, 0xb]);
    wire.far.set_mtu(1300).unwrap();
    wire.far.set_mac(mac).unwrap();
    assert_eq!(device.link(), before, "nobody has looked yet");
    let link = device.refresh().unwrap();
    assert_eq!((link.mtu, link.mac), (1300, MacAddress(mac.0)));
    assert_eq!(device.link(), link);
}

fn another_of_its_name_is_an_error() {
    let wire = Wire::new();
    let mut device = wire.open();
    wire.far.rename("a1").unwrap();
    let error = device.refresh().unwrap_err();
    assert_eq!(error.errno, libc_errno::ENODEV);
    let _links =
        Link::veth(&LinkEnd::new(&wire.client, "eth1"), &LinkEnd::new(&wire.adit, "a0")).unwrap();
    let error = device.refresh().unwrap_err();
    assert_eq!(error.operation, "find the interface under its name");
}

/// Error numbers of Linux, by hand: these tests name no crate of system calls.
pub(crate) mod libc_errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const EBUSY: i32 = 16;
    pub(crate) const ENODEV: i32 = 19;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const EBADFD: i32 = 77;
    pub(crate) const ENETDOWN: i32 = 100;
}
