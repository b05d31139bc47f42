//! Datagrams: exchanges from both tenants, the largest that fit, those that do not, and both with
//! checksums left to the device and with checksums made by the sender.

use std::net::SocketAddrV4;

use lab::client::{udp_exchange, udp_send};

use super::{FAST, FAST_2, PACKET, PACKET_2, TAP, TAP_2, XDP, XDP_2};
use crate::case::{Case, Outcome, at_once, wait_until};
use crate::world::{CLIENT, NAT_IPS, Plan, Station, World, dial, port};

/// Of each consumer, from as many ports; of each of its talkers, where there are several.
const EXCHANGES: usize = 40;
/// Conversations of a consumer at once.
const TALKERS: usize = 4;
/// Nobody else takes ports from here on.
const FIRST_PORT: u16 = 20_000;
/// Bytes of IPv4 and UDP headers.
const HEADERS: usize = 28;

const PACKET_JUMBO: Plan = Plan { mtu: 9000, ..PACKET };
const XDP_JUMBO: Plan = Plan { mtu: 9000, ..XDP };

pub(super) const CASES: &[Case] = &[
    Case::new("udp::packet_1_worker", PACKET, datagrams),
    Case::new("udp::packet_2_workers", PACKET_2, datagrams),
    Case::new("udp::packet_jumbo_mtu", PACKET_JUMBO, jumbo),
    Case::new("udp::fast_path_1_worker", FAST, datagrams),
    Case::new("udp::fast_path_2_workers", FAST_2, datagrams),
    Case::new("udp::xdp_1_worker", XDP, datagrams),
    Case::new("udp::xdp_2_workers", XDP_2, datagrams),
    Case::new("udp::xdp_jumbo_mtu", XDP_JUMBO, jumbo),
    Case::new("udp::tap_1_worker", TAP, datagrams),
    Case::new("udp::tap_2_workers", TAP_2, datagrams),
    Case::new("udp::fragments_packet_1_worker", PACKET, fragments),
    Case::new("udp::fragments_packet_2_workers", PACKET_2, fragments),
    Case::new("udp::fragments_xdp_2_workers", XDP_2, fragments),
    Case::new("udp::fragments_tap_2_workers", TAP_2, fragments),
];

fn datagrams(world: &mut World) -> Outcome {
    exchanges(world, 1400)?;
    for offloads in [false, true] {
        world.set_offloads(offloads)?;
        exchanges(world, 1400)?;
        largest(world, 1500)?;
    }
    too_large(world)?;
    world.wait_for_balance()
}

fn jumbo(world: &mut World) -> Outcome {
    for offloads in [false, true] {
        world.set_offloads(offloads)?;
        exchanges(world, 8900)?;
        largest(world, 9000)?;
    }
    world.wait_for_balance()
}

/// Same ports on both sides, so that only the virtual network tells the tenants apart.
fn exchanges(world: &World, large: usize) -> Outcome {
    world.both(|station| {
        for (port, at) in (FIRST_PORT..).zip(0..EXCHANGES) {
            let source = SocketAddrV4::new(CLIENT, port);
            let length = if at % 4 == 0 { large } else { at };
            let payload = format!("{}{}", station.name(), "x".repeat(length));
            let answer = udp_exchange(&dial(port::ECHO).from(source), &payload)?;
            ensure!(NAT_IPS.contains(answer.peer.ip()), "the backend saw {}", answer.peer);
        }
        Ok(())
    })?;
    Ok(())
}

/// A datagram that fills the MTU to the last byte arrives; its answer would not fit.
fn largest(world: &World, mtu: usize) -> Outcome {
    let arrived = || world.backends.iter().map(|backend| backend.udp.datagrams()).sum::<u64>();
    let before = arrived();
    world.both(|_| Ok(udp_send(&dial(port::ECHO), &vec![b'x'; mtu - HEADERS])?))?;
    wait_until("two datagrams of the MTU arrive", || Ok(arrived() == before + 2))
}

/// Fragments are dropped and counted.
fn too_large(world: &World) -> Outcome {
    let before = world.adit.drops("ipv4_fragment")?;
    world.both(|_| Ok(udp_send(&dial(port::ECHO), &[b'x'; 4000])?))?;
    world.adit.wait_for_drops("ipv4_fragment", before + 6)?;
    Ok(())
}

/// Datagrams of 4,000 bytes and of the largest size pass in fragments, and so do their answers;
/// those of several conversations between the same addresses, too, whose fragments a TAP device
/// gives now to one worker, now to another.
fn fragments(world: &mut World) -> Outcome {
    world.config.service_settings = "fragments = \"reassemble\"\n".to_owned();
    world.reload()?;
    for offloads in [false, true] {
        world.set_offloads(offloads)?;
        // One at a time: more would not fit the backend's receive buffer.
        for station in &world.consumers {
            station.namespace().run(|| fragmented(station, FIRST_PORT, 60_000))??;
        }
        world.both(|station| {
            at_once(TALKERS, |talker| {
                let mut ports = (FIRST_PORT..).skip(talker).step_by(TALKERS);
                ports.by_ref().take(EXCHANGES).try_for_each(|port| {
                    fragmented(station, port, 4000 - usize::from(port - FIRST_PORT))
                })
            })
        })?;
    }
    for reason in ["ipv4_fragment", "fragment_limit", "fragment_overlap", "fragment_timeout"] {
        let dropped = world.adit.drops(reason)?;
        ensure!(dropped == 0, "{dropped} packets were dropped as {reason}");
    }
    world.wait_for_balance()
}

/// A datagram of so many bytes and more, and its answer.
fn fragmented(station: &Station, port: u16, length: usize) -> Outcome {
    let payload = format!("{}{}", station.name(), "x".repeat(length));
    udp_exchange(&dial(port::ECHO).from(SocketAddrV4::new(CLIENT, port)), &payload)?;
    Ok(())
}
