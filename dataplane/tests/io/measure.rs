//! Rates of a null forwarder, for a person to read: small frames that a packet socket pours in,
//! and the kernel's own TCP, through two devices of a kind.
//!
//! On two CPUs the generator or the hosts' TCP share them with the forwarder, so a rate is that of
//! the whole machine. It does not judge.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::device::{Device, Frame, Offload};
use dataplane::io::{LinuxDevice, pin_to_cpu, usable_cpus};
use dataplane::worker::Platform;
use lab::{Link, Namespace};

use crate::bridge::{Hosts, Kind, RIGHT, Report, bridge, connect, set_timeouts};
use crate::world::{ONLY, alone, frame, packet_plan, udp_frame};

const TIME: Duration = Duration::from_secs(3);

/// Measures everything and prints it.
pub(crate) fn all() {
    let kinds =
        [("packet sockets", Kind::Packet), ("AF_XDP", Kind::Xdp), ("TAP devices", Kind::Tap)];
    for (name, kind) in kinds {
        for round in 1..=3 {
            println!("{name}, round {round}:");
            small_frames(kind);
            tcp(kind);
        }
    }
}

/// Runs a bridge between two hosts on the last CPU while `load` runs on the others.
fn forward<T>(kind: Kind, load: impl FnOnce(&Namespace, &Namespace) -> T) -> (T, Report) {
    let mut hosts = Hosts::new([kind, kind]);
    let Hosts { left, right, devices, .. } = &mut hosts;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let forwarder = scope.spawn(|| {
            let _ = pin_to_cpu(usable_cpus().pop().unwrap_or(0));
            bridge(devices, &stop)
        });
        let outcome = load(left, right);
        stop.store(true, Ordering::Relaxed);
        (outcome, forwarder.join().unwrap())
    })
}

/// Frames of 60 bytes for a station that is not there, so that the far kernel drops them at once.
fn small_frames(kind: Kind) {
    let interface = if kind == Kind::Tap { "tap0" } else { "eth0" };
    let ((offered, arrived), report) = forward(kind, |left, right| {
        let mut generator = alone().open(&packet_plan(interface, left), ONLY).unwrap();
        let sink = Link::find(right, interface).unwrap();
        let before = sink.counters().unwrap().rx_packets;
        let offered = thread::scope(|scope| scope.spawn(|| pour(&mut generator)).join().unwrap());
        (offered, sink.counters().unwrap().rx_packets - before)
    });
    println!(
        "  small frames: {:.3} Mpps offered, {:.3} Mpps arrived, {:.1} frames a batch, {:?}",
        per_microsecond(offered),
        per_microsecond(arrived as f64),
        report.frames as f64 / report.batches as f64,
        report.transmitted
    );
}

fn pour(generator: &mut LinuxDevice) -> f64 {
    let _ = pin_to_cpu(usable_cpus()[0]);
    let frames: Vec<Frame> = (0..64)
        .map(|port| frame(&udp_frame(4000 + port, &[0; 18], 0), Offload::default()))
        .collect();
    let frames: Vec<&Frame> = frames.iter().collect();
    let (mut sent, begin) = (0, Instant::now());
    while begin.elapsed() < TIME {
        sent += generator.transmit(&frames).sent;
    }
    sent as f64
}

fn tcp(kind: Kind) {
    let (bytes, report) = forward(kind, |left, right| {
        thread::scope(|scope| {
            let server = scope.spawn(|| right.run(swallow).unwrap());
            let client = scope.spawn(|| left.run(spill).unwrap());
            client.join().unwrap();
            server.join().unwrap()
        })
    });
    println!(
        "  TCP: {:.2} Gb/s, {:.0} bytes a frame, {:.1} frames a batch",
        per_microsecond(bytes * 8.0) / 1000.0,
        bytes / report.frames as f64,
        report.frames as f64 / report.batches as f64
    );
}

fn swallow() -> f64 {
    let listener = TcpListener::bind((RIGHT, 7)).unwrap();
    let mut stream = listener.accept().unwrap().0;
    set_timeouts(&stream);
    let (mut total, mut buffer) = (0, vec![0; 1 << 18]);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return total as f64,
            bytes => total += bytes,
        }
    }
}

fn spill() {
    let mut stream = connect();
    let (buffer, begin) = (vec![0; 1 << 18], Instant::now());
    while begin.elapsed() < TIME {
        stream.write_all(&buffer).unwrap();
    }
}

fn per_microsecond(count: f64) -> f64 {
    count / TIME.as_secs_f64() / 1e6
}
