//! TAP devices: made, joined, used, set down, deleted.

use std::net::UdpSocket;
use std::time::Duration;

use dataplane::device::{Batch, Checksum, Device, Offload, Transmitted};
use dataplane::io::LinuxPlatform;
use dataplane::types::WorkerId;
use dataplane::worker::{Platform, Queue};
use lab::{Link, LinkEnd, MacAddr, Namespace};

use crate::Test;
use crate::packet_socket::libc_errno::{EBADFD, EBUSY, EINVAL};
use crate::packet_socket::owner_of_client;
use crate::world::{
    CLIENT, CLIENT_MAC, FAR, ONLY, alone, be16, frame, judge_tags_kept, packet_plan,
    pseudo_header_sum, receive_error, receive_ipv4, receive_rest, tap_plan, udp_frame,
};

pub(crate) const TESTS: &[Test] = &[
    ("tap_is_created_and_vanishes", is_created_and_vanishes),
    ("tap_adit_is_a_stable_station_of_its_own", adit_is_a_stable_station_of_its_own),
    ("tap_partial_checksums_pass_both_ways", partial_checksums_pass_both_ways),
    ("tap_vlan_tag_is_kept", vlan_tag_is_kept),
    ("tap_bad_frames_are_rejected_alone", bad_frames_are_rejected_alone),
    ("tap_queues_are_shared_by_workers", queues_are_shared_by_workers),
    ("tap_flows_follow_their_owners", flows_follow_their_owners),
    ("tap_joining_says_why_it_cannot", joining_says_why_it_cannot),
    ("tap_down_is_silent_until_up", down_is_silent_until_up),
    ("tap_new_mtu_is_seen_under_any_name", new_mtu_is_seen_under_any_name),
    ("tap_deleted_is_an_error_and_is_made_anew", deleted_is_an_error_and_is_made_anew),
];

/// The driver's device file.
pub(crate) const DRIVER: &str = "/dev/net/tun";

/// Why TAP devices cannot be tried here, if so: ordinary users may not open the file everywhere.
pub(crate) fn unavailable() -> Option<std::io::Error> {
    std::fs::OpenOptions::new().read(true).write(true).open(DRIVER).err()
}

/// Gives the kernel's end an address, and adit's a name.
fn configure(namespace: &Namespace, station: [u8; 6]) -> Link {
    let link = Link::find(namespace, "tap0").unwrap();
    link.set_mac(CLIENT_MAC).unwrap();
    link.add_address(CLIENT, 24).unwrap();
    link.add_neighbour(FAR, MacAddr(station)).unwrap();
    link
}

fn send(namespace: &Namespace, source_port: u16, payload: &[u8]) {
    let send = || {
        let socket = UdpSocket::bind((CLIENT, source_port)).unwrap();
        socket.send_to(payload, (FAR, 9)).unwrap();
    };
    namespace.run(send).unwrap();
}

fn is_created_and_vanishes() {
    let namespace = Namespace::create("tap").unwrap();
    assert!(Link::find(&namespace, "tap0").is_err());
    let device = alone().open(&tap_plan("tap0", &namespace), ONLY).unwrap();
    let link = Link::find(&namespace, "tap0").unwrap();
    let state = link.state().unwrap();
    assert!(state.up);
    assert_eq!(device.link().mtu, state.mtu);
    drop(device);
    assert!(Link::find(&namespace, "tap0").is_err());
}

fn adit_is_a_stable_station_of_its_own() {
    let namespace = Namespace::create("tap").unwrap();
    let plan = tap_plan("tap0", &namespace);
    let device = alone().open(&plan, ONLY).unwrap();
    let first = device.link().mac;
    assert!(first.is_unicast());
    assert_ne!(first.0, Link::find(&namespace, "tap0").unwrap().mac().unwrap().0);
    drop(device);
    assert_eq!(alone().open(&plan, ONLY).unwrap().link().mac, first);
    let other = alone().open(&tap_plan("tap1", &namespace), ONLY).unwrap();
    assert_ne!(other.link().mac, first);
}

fn partial_checksums_pass_both_ways() {
    let namespace = Namespace::create("tap").unwrap();
    let mut device = alone().open(&tap_plan("tap0", &namespace), ONLY).unwrap();
    let station = device.link().mac.0;
    let _link = configure(&namespace, station);
    let bind = || UdpSocket::bind((CLIENT, 4000)).unwrap();
    let socket = namespace.run(bind).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(b"partial", (FAR, 9)).unwrap();
    let seen = receive_ipv4(&mut device, 1).remove(0);
    assert_eq!(seen.fault, None);
    assert_eq!(seen.bytes[..12], [station, CLIENT_MAC.0].concat());
    let checksum = Checksum::Partial { start: 34, offset: 6 };
    assert_eq!(seen.offload, Offload { checksum, segmentation: None });
    assert_eq!(be16(&seen.bytes, 40), pseudo_header_sum(CLIENT, FAR, 17, 15));
    let sum = pseudo_header_sum(FAR, CLIENT, 17, 14);
    let answer = frame(&udp_frame(4000, b"answer", sum), seen.offload);
    let done = device.transmit(&[&answer]);
    assert_eq!(done, Transmitted { sent: 1, ..Transmitted::default() });
    let mut payload = [0; 100];
    assert_eq!(socket.recv(&mut payload).unwrap(), 6);
    assert_eq!(payload[..6], *b"answer");
}

fn vlan_tag_is_kept() {
    let namespace = Namespace::create("tap").unwrap();
    let mut device = alone().open(&tap_plan("tap0", &namespace), ONLY).unwrap();
    configure(&namespace, device.link().mac.0);
    let mut near = alone().open(&packet_plan("tap0", &namespace), ONLY).unwrap();
    judge_tags_kept(&mut near, &mut device);
}

fn bad_frames_are_rejected_alone() {
    let namespace = Namespace::create("tap").unwrap();
    let mut device = alone().open(&tap_plan("tap0", &namespace), ONLY).unwrap();
    let outside =
        Offload { checksum: Checksum::Partial { start: 5000, offset: 6 }, segmentation: None };
    let frames = [
        frame(&udp_frame(1, b"good", 0), Offload::default()),
        frame(&udp_frame(2, b"bad", 0), outside),
        frame(&[1, 2, 3], Offload::default()),
        frame(&udp_frame(3, b"good", 0), Offload::default()),
    ];
    let done = device.transmit(&frames.iter().collect::<Vec<_>>());
    assert_eq!(done, Transmitted { sent: 2, rejected: 2, ..Transmitted::default() });
}

fn queues_are_shared_by_workers() {
    const FLOWS: u16 = 200;
    let namespace = Namespace::create("tap").unwrap();
    let plan = tap_plan("tap0", &namespace);
    let mut platforms = LinuxPlatform::for_workers(2).unwrap();
    let mut devices: Vec<_> = platforms
        .iter_mut()
        .zip(0..)
        .map(|(platform, worker)| {
            platform.open(&plan, Queue { worker: WorkerId(worker), workers: 2 }).unwrap()
        })
        .collect();
    assert_eq!(devices[0].link(), devices[1].link());
    let _link = configure(&namespace, devices[0].link().mac.0);
    for flow in 0..FLOWS {
        send(&namespace, 4000 + flow, b"shared");
    }
    let mut ports = Vec::new();
    for device in &mut devices {
        let seen = receive_rest(device);
        let udp = seen.iter().filter(|it| it.ethertype() == 0x0800);
        let own: Vec<u16> = udp.map(|it| be16(&it.bytes, 34)).collect();
        assert!(own.len() > 20, "a share of {}", own.len());
        ports.extend(own);
    }
    ports.sort_unstable();
    assert_eq!(ports, (4000..4000 + FLOWS).collect::<Vec<_>>());
}

/// The driver learns from what a worker sends which queue a flow belongs to.
fn flows_follow_their_owners() {
    const PORTS: std::ops::Range<u16> = 4000..4064;
    let namespace = Namespace::create("tap").unwrap();
    let plan = tap_plan("tap0", &namespace);
    let mut platforms = LinuxPlatform::for_workers(2).unwrap();
    let mut devices = [0, 1].map(|worker| {
        let queue = Queue { worker: WorkerId(worker), workers: 2 };
        platforms[usize::from(worker)].open(&plan, queue).unwrap()
    });
    configure(&namespace, devices[0].link().mac.0);
    let mut arrived = |is_answered: bool| {
        PORTS.for_each(|port| send(&namespace, port, b"it"));
        let mut astray = 0;
        for worker in [0, 1] {
            let seen = receive_rest(&mut devices[worker]);
            let ports = seen.iter().filter(|it| it.bytes.get(23) == Some(&17));
            let ports: Vec<u16> = ports.map(|it| be16(&it.bytes, 34)).collect();
            astray += ports.iter().filter(|port| owner_of_client(**port) != worker).count();
        }
        for port in PORTS.filter(|_| is_answered) {
            let answer = frame(&udp_frame(port, b"it", 0), Offload::default());
            assert_eq!(devices[owner_of_client(port)].transmit(&[&answer]).sent, 1);
        }
        astray
    };
    let at_first = arrived(true);
    assert!(at_first > 10, "{at_first}: the driver knows no owner before it sends");
    assert_eq!(arrived(false), 0);
}

fn joining_says_why_it_cannot() {
    let namespace = Namespace::create("tap").unwrap();
    let open = |name: &str, workers| {
        let queue = Queue { worker: WorkerId(0), workers };
        alone().open(&tap_plan(name, &namespace), queue)
    };
    let single = open("tap0", 1).unwrap();
    let error = open("tap0", 1).err().unwrap();
    assert_eq!(error.errno, EBUSY, "{error}");
    let error = open("tap0", 2).err().unwrap();
    assert_eq!(error.errno, EINVAL);
    assert!(error.operation.contains("several queues"), "{error}");
    drop(single);
    // One worker is content with a queue of a device that has several.
    let _several = open("tap1", 2).unwrap();
    assert!(open("tap1", 1).is_ok());
    let _veth = Link::veth(&LinkEnd::new(&namespace, "v0"), &LinkEnd::new(&namespace, "v1"));
    for workers in [1, 2] {
        let error = open("v0", workers).err().unwrap();
        assert_eq!(error.errno, EINVAL);
        assert!(error.operation.contains("no TAP device"), "{error}");
    }
    for name in ["", "a/b", "sixteen_bytes_xx"] {
        let error = open(name, 1).err().unwrap();
        assert_eq!(error.operation, "name the interface", "{name}");
    }
}

fn down_is_silent_until_up() {
    let namespace = Namespace::create("tap").unwrap();
    let mut device = alone().open(&tap_plan("tap0", &namespace), ONLY).unwrap();
    let station = MacAddr(device.link().mac.0);
    let link = configure(&namespace, station.0);
    link.down().unwrap();
    let lost = frame(&udp_frame(1, b"lost", 0), Offload::default());
    let done = device.transmit(&[&lost, &lost]);
    assert_eq!(done, Transmitted { gone: 2, ..Transmitted::default() });
    let mut batch = Batch::new();
    assert_eq!(device.receive(&mut batch), Ok(()));
    link.up().unwrap();
    // The device was not closed, so its address is still there.
    link.add_neighbour(FAR, station).unwrap();
    send(&namespace, 4000, b"again");
    assert_eq!(receive_ipv4(&mut device, 1)[0].bytes[42..47], *b"again");
    assert_eq!(device.transmit(&[&lost]).sent, 1);
    // Who joins a device that its owner set down does not set it up.
    drop(device);
    let plan = tap_plan("tap1", &namespace);
    let first = alone().open(&plan, Queue { worker: WorkerId(0), workers: 2 }).unwrap();
    Link::find(&namespace, "tap1").unwrap().down().unwrap();
    let second = alone().open(&plan, Queue { worker: WorkerId(1), workers: 2 });
    let error = second.err().unwrap();
    assert_eq!(error.errno, crate::packet_socket::libc_errno::ENETDOWN, "{error}");
    drop(first);
}

fn deleted_is_an_error_and_is_made_anew() {
    let namespace = Namespace::create("tap").unwrap();
    let plan = tap_plan("tap0", &namespace);
    let mut device = alone().open(&plan, ONLY).unwrap();
    Link::find(&namespace, "tap0").unwrap().delete().unwrap();
    let lost = frame(&udp_frame(1, b"lost", 0), Offload::default());
    let done = device.transmit(&[&lost, &lost]);
    assert_eq!(done, Transmitted { gone: 2, ..Transmitted::default() });
    let error = receive_error(&mut device);
    assert_eq!(error.errno, EBADFD, "{error}");
    assert_eq!(device.receive(&mut Batch::new()), Err(error), "it stays an error");
    let mut device = alone().open(&plan, ONLY).unwrap();
    let _link = configure(&namespace, device.link().mac.0);
    send(&namespace, 4000, b"again");
    assert_eq!(receive_ipv4(&mut device, 1)[0].bytes[42..47], *b"again");
}

fn new_mtu_is_seen_under_any_name() {
    let namespace = Namespace::create("tap").unwrap();
    let mut device = alone().open(&tap_plan("tap0", &namespace), ONLY).unwrap();
    let link = Link::find(&namespace, "tap0").unwrap();
    let before = device.link();
    link.set_mtu(1300).unwrap();
    link.set_mac(CLIENT_MAC).unwrap();
    let seen = device.refresh().unwrap();
    assert_eq!((seen.mtu, seen.mac), (1300, before.mac), "adit's own address is not the owner's");
    link.down().unwrap();
    link.rename("tap1").unwrap();
    link.set_mtu(1200).unwrap();
    assert_eq!(device.refresh().unwrap().mtu, 1200);
    Link::find(&namespace, "tap1").unwrap().delete().unwrap();
    assert_eq!(device.refresh().unwrap().mtu, 1200, "receiving says that it is gone");
    assert_eq!(receive_error(&mut device).errno, EBADFD);
}
