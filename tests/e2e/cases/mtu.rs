//! A path that is narrower behind adit than before it: segments are clamped, and without that real
//! kernels find out by path MTU discovery, with the settings that Linux comes with.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use lab::LabError;
use lab::client::{Transfer, download, upload};

use super::{FAST, PACKET, PACKET_2};
use crate::case::{Case, Failure, Outcome};
use crate::world::{ENDPOINT, Plan, World, dial, port};

const NARROW: u32 = 1300;
const BYTES: u64 = 3_000_000;
/// Error number of "message too long".
const MESSAGE_TOO_LONG: i32 = 90;

const TO_BACKENDS: Plan = Plan { far_mtus: [None, Some(NARROW)], ..PACKET };
const TO_BACKENDS_2: Plan = Plan { far_mtus: [None, Some(NARROW)], ..PACKET_2 };
const TO_BACKENDS_FAST: Plan = Plan { far_mtus: [None, Some(NARROW)], ..FAST };
const TO_CONSUMERS: Plan = Plan { far_mtus: [Some(NARROW), None], ..PACKET };

pub(super) const CASES: &[Case] = &[
    Case::new("mtu::narrow_backends_1_worker", TO_BACKENDS, up),
    Case::new("mtu::narrow_backends_2_workers", TO_BACKENDS_2, up_without_offloads),
    Case::new("mtu::narrow_backends_fast_path", TO_BACKENDS_FAST, up),
    Case::new("mtu::narrow_consumers_1_worker", TO_CONSUMERS, down),
    Case::new("mtu::datagrams_1_worker", TO_BACKENDS, datagrams),
];

fn up(world: &mut World) -> Outcome {
    transfers(world, true, |time| upload(&dial(port::HTTP).within(time), BYTES))
}

fn up_without_offloads(world: &mut World) -> Outcome {
    transfers(world, false, |time| upload(&dial(port::HTTP).within(time), BYTES))
}

fn down(world: &mut World) -> Outcome {
    transfers(world, true, |time| download(&dial(port::HTTP).within(time), BYTES))
}

fn transfers(
    world: &mut World,
    offloads: bool,
    transfer: impl Fn(Duration) -> Result<Transfer, LabError> + Sync,
) -> Outcome {
    let run = |world: &World, time| world.both(|_| Ok(transfer(Duration::from_secs(time))));
    world.set_offloads(offloads)?;
    // As adit is unless told otherwise: nothing is ever too big.
    for clamped in run(world, 20)? {
        clamped?;
    }
    let dropped = world.adit.drops("too_big")?;
    ensure!(dropped == 0, "{dropped} packets were too big for clamped connections");
    // Without either, the path is a black hole for all but the smallest packets.
    set(world, "mss_clamp = \"off\"\n")?;
    for stuck in run(world, 2)? {
        let kind = stuck.as_ref().map_err(LabError::kind);
        ensure!(kind.is_err_and(|kind| kind == ErrorKind::TimedOut), "{stuck:?}");
    }
    // Kernels send again for the connections that stuck, and may learn from what is said to those.
    let before = world.adit.drops("too_big")?;
    set(world, "mss_clamp = \"off\"\nicmp_answers = [\"too_big\"]\n")?;
    for discovered in run(world, 20)? {
        discovered?;
    }
    let dropped = world.adit.drops("too_big")? - before;
    print!("[{dropped} too big before the kernels knew] ");
    ensure!((1..200).contains(&dropped), "{dropped} packets were too big");
    world.wait_for_balance()
}

/// A datagram's sender is told, too.
fn datagrams(world: &mut World) -> Outcome {
    set(world, "icmp_answers = [\"too_big\"]\n")?;
    let errors = world.both(|_| -> Result<Option<i32>, Failure> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((ENDPOINT, port::ECHO.0))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.send(&[b'x'; 1400])?;
        Ok(socket.recv(&mut [0; 2000]).err().and_then(|error| error.raw_os_error()))
    })?;
    ensure!(errors == [Some(MESSAGE_TOO_LONG); 2], "the sockets said {errors:?}");
    world.wait_for_balance()
}

fn set(world: &mut World, keys: &str) -> Outcome {
    world.config.service_settings = keys.to_owned();
    world.reload()?;
    Ok(())
}
