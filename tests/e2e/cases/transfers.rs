//! 100 MB whose every byte is checked, down and up, from both tenants at once, with all offloads of
//! the hosts on (super-packets, partial checksums) and off (as on a wire).

use std::time::Duration;

use lab::client::{Transfer, download, upload};

use super::{FAST, FAST_2, PACKET, PACKET_2, TAP, TAP_2, XDP, XDP_2, XDP_HANDED};
use crate::case::{Case, Outcome};
use crate::world::{World, dial, number, port};

const LARGE: u64 = 100_000_000;
/// For the kinds and directions that the large ones leave out.
const SMALL: u64 = 20_000_000;
const TRANSFER_TIME: Duration = Duration::from_secs(40);

pub(super) const CASES: &[Case] = &[
    Case::new("transfers::packet_1_worker_100_mb", PACKET, |world| transfers(world, LARGE)),
    Case::new("transfers::packet_2_workers", PACKET_2, |world| transfers(world, SMALL)),
    Case::new("transfers::fast_path_1_worker_100_mb", FAST, |world| fast_transfers(world, LARGE)),
    Case::new("transfers::fast_path_2_workers", FAST_2, |world| fast_transfers(world, SMALL)),
    Case::new("transfers::xdp_1_worker", XDP, |world| transfers(world, SMALL)),
    Case::new("transfers::xdp_2_workers", XDP_2, |world| transfers(world, SMALL)),
    Case::new("transfers::xdp_2_workers_1_queue", XDP_HANDED, |world| transfers(world, SMALL)),
    Case::new("transfers::tap_1_worker", TAP, |world| transfers(world, SMALL)),
    Case::new("transfers::tap_2_workers_100_mb", TAP_2, |world| transfers(world, LARGE)),
];

fn transfers(world: &mut World, bytes: u64) -> Outcome {
    for offloads in [true, false] {
        world.set_offloads(offloads)?;
        let dial = dial(port::HTTP).within(TRANSFER_TIME);
        let down = world.both(|_| Ok(download(&dial, bytes)?))?;
        let up = world.both(|_| Ok(upload(&dial, bytes)?))?;
        let word = if offloads { "on" } else { "off" };
        print!("[offloads {word}: down {}, up {} Gb/s] ", speed(&down), speed(&up));
    }
    world.wait_for_balance()
}

/// The same, and nearly every packet goes by the kernel where it can.
fn fast_transfers(world: &mut World, bytes: u64) -> Outcome {
    transfers(world, bytes)?;
    let status = world.adit.ask(&["status"])?;
    if status["fast_path"]["state"] != "on" {
        let why = status["fast_path"].to_string();
        ensure!(!why.contains("Verifier"), "the kernel refuses the program: {why}");
        print!("[NOT SHOWN, {why}] ");
        return Ok(());
    }
    let (shortcut, forwarded) = (number(&status, "shortcut")?, number(&status, "forwarded")?);
    print!("[{shortcut} of {forwarded} packets by the kernel] ");
    ensure!(shortcut * 10 > forwarded * 9, "the kernel carried {shortcut} of {forwarded}");
    Ok(())
}

/// Of both tenants together.
fn speed(transfers: &[Transfer; 2]) -> String {
    let speed = |transfer: &Transfer| transfer.bytes as f64 * 8e-9 / transfer.elapsed.as_secs_f64();
    format!("{:.1}", transfers.iter().map(speed).sum::<f64>())
}
