//! Waiting and waking, the clock, CPUs, and the errors of opening.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use dataplane::io::{LinuxPlatform, pin_to_cpu, usable_cpus};
use dataplane::snapshot::DeviceKind;
use dataplane::types::WorkerId;
use dataplane::worker::Platform;
use lab::Namespace;

use crate::Test;
use crate::packet_socket::libc_errno::{EACCES, EINVAL, ENODEV, ENOENT, EPERM};
use crate::world::{ONLY, Wire, alone, packet_plan, plan, receive_rest};

pub(crate) const TESTS: &[Test] = &[
    ("platform_a_frame_ends_the_wait", a_frame_ends_the_wait),
    ("platform_a_waker_ends_the_wait_once", a_waker_ends_the_wait_once),
    ("platform_clocks_of_workers_agree", clocks_of_workers_agree),
    ("platform_threads_are_bound_to_cpus", threads_are_bound_to_cpus),
    ("platform_missing_interfaces_are_named", missing_interfaces_are_named),
    ("platform_wrong_namespaces_are_named", wrong_namespaces_are_named),
    ("platform_missing_permission_is_named", missing_permission_is_named),
];

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn a_frame_ends_the_wait() {
    let wire = Wire::new();
    let mut device = wire.open();
    let mut platform = alone();
    let _ = receive_rest(&mut device);
    let begin = Instant::now();
    platform.wait(&mut std::iter::once(&device), SHORT);
    assert!(begin.elapsed() >= SHORT, "nothing had come");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SHORT);
            wire.send_udp(4000, &[b"wake up"]);
        });
        platform.wait(&mut std::iter::once(&device), LONG);
    });
    assert!(begin.elapsed() < LONG / 2);
    assert!(!receive_rest(&mut device).is_empty());
    // A device that goes down ends it as well.
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SHORT);
            wire.far.down().unwrap();
        });
        platform.wait(&mut std::iter::once(&device), LONG);
    });
    assert!(begin.elapsed() < LONG / 2);
}

fn a_waker_ends_the_wait_once() {
    let mut platforms = LinuxPlatform::for_workers(2).unwrap();
    let wakers = platforms[0].wakers();
    let mut second = platforms.pop().unwrap();
    let mut first = platforms.pop().unwrap();
    let wait = |platform: &mut LinuxPlatform, timeout| {
        let begin = Instant::now();
        platform.wait(&mut std::iter::empty(), timeout);
        begin.elapsed()
    };
    assert!(wait(&mut first, SHORT) >= SHORT);
    // Before the wait, several times, by the other worker and from outside.
    second.wake(WorkerId(0));
    second.wake(WorkerId(0));
    wakers[0].wake();
    assert!(wait(&mut first, LONG) < LONG / 2);
    assert!(wait(&mut first, SHORT) >= SHORT, "once is enough");
    assert!(wait(&mut second, SHORT) >= SHORT, "the other was not meant");
    // While it waits.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(SHORT);
            wakers[1].clone().wake();
        });
        assert!(wait(&mut second, LONG) < LONG / 2);
    });
    second.wake(WorkerId(7)); // nobody
}

fn clocks_of_workers_agree() {
    let mut platforms = LinuxPlatform::for_workers(2).unwrap();
    let mut last = platforms[0].now();
    for turn in 1..1000 {
        let now = platforms[turn % 2].now();
        assert!(now >= last);
        assert!(now.since(last) < Duration::from_secs(10));
        last = now;
    }
    let before = platforms[0].now();
    std::thread::sleep(SHORT);
    assert!(platforms[1].now().since(before) >= SHORT);
}

fn threads_are_bound_to_cpus() {
    let cpus = usable_cpus();
    assert!(!cpus.is_empty());
    let &cpu = cpus.last().unwrap();
    let bound = move || pin_to_cpu(cpu).map(|()| usable_cpus());
    assert_eq!(std::thread::spawn(bound).join().unwrap(), Ok(vec![cpu]));
    for missing in [1023, 1024, usize::MAX] {
        assert_eq!(pin_to_cpu(missing).unwrap_err().errno, EINVAL);
    }
}

fn missing_interfaces_are_named() {
    let namespace = Namespace::create("empty").unwrap();
    let error = alone().open(&packet_plan("a0", &namespace), ONLY).err().unwrap();
    assert_eq!((error.operation, error.errno), ("find the interface", ENODEV));
    assert_eq!(error.to_string(), "could not find the interface (error 19)");
    let error = alone().open(&packet_plan("lo", &namespace), ONLY).err().unwrap();
    assert_eq!((error.operation, error.errno), ("use an interface that is not Ethernet", EINVAL));
}

fn wrong_namespaces_are_named() {
    for kind in [DeviceKind::AfPacket, DeviceKind::Tap] {
        let mut plan = plan("a0", kind, None);
        plan.namespace = Some("/nowhere/at/all".into());
        let error = alone().open(&plan, ONLY).err().unwrap();
        assert_eq!((error.operation, error.errno), ("open the network namespace", ENOENT));
        for no_network in ["/proc/self/status", "/proc/self/ns/mnt"] {
            plan.namespace = Some(no_network.into());
            let error = alone().open(&plan, ONLY).err().unwrap();
            assert_eq!((error.operation, error.errno), ("enter the network namespace", EINVAL));
        }
    }
}

/// The argument by which this program starts itself as an ordinary user.
pub(crate) const UNPRIVILEGED: &str = "--unprivileged-child";

fn missing_permission_is_named() {
    const NOBODY: u32 = 65_534;
    // By this name the program can be run even if its directory is closed to others.
    let mut child = Command::new("/proc/self/exe");
    child.arg(UNPRIVILEGED).uid(NOBODY).gid(NOBODY);
    match child.status() {
        Ok(status) => assert!(status.success(), "{status}"),
        // A user namespace of one id has no other user to become.
        Err(error) => print!("(not tried: {error}) "),
    }
}

/// What the child does: it fails to open devices, for the right reason.
pub(crate) fn open_without_permission() -> ExitCode {
    let packet = alone().open(&plan("lo", DeviceKind::AfPacket, None), ONLY).err().unwrap();
    let tap = alone().open(&plan("tap0", DeviceKind::Tap, None), ONLY).err().unwrap();
    let packet = (packet.operation, packet.errno) == ("open a packet socket", EPERM);
    // Where everybody may open the device file, attaching is refused instead.
    let tap = match tap.operation {
        "open the TAP driver's device file" => tap.errno == EACCES,
        "attach to the TAP device" => tap.errno == EPERM,
        _ => false,
    };
    if packet && tap { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
