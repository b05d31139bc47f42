//! Chaos: what happens to machines, done to adit on real interfaces and on purpose.
//!
//! After each kind of it the same is asked: is every leased port that of a live flow, are no file
//! descriptors and no threads left behind, has memory stopped growing, is every packet accounted
//! for, and did connections go on that were not concerned?

mod control;
mod devices;
mod flood;
mod namespaces;
mod process;
mod reloads;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lab::client::Session;

use super::reload::load;
use super::{FAST_2, PACKET, PACKET_2, TAP_2, XDP_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{Vitals, World, dial, port};

/// What memory may differ by between two measurements that should be equal. Tables and buffers are
/// touched as they are used, so that a process grows for a while without a leak.
const SLACK_KIB: usize = 16 << 10;

pub(super) fn cases() -> Vec<Case> {
    [
        process::CASES,
        devices::CASES,
        namespaces::CASES,
        reloads::CASES,
        flood::CASES,
        control::CASES,
    ]
    .concat()
}

/// A tenant's download and its bytes, while something else happens.
fn under_load<T>(
    world: &mut World,
    chaos: impl FnOnce(&mut World) -> Result<T, Failure>,
) -> Result<(T, u64), Failure> {
    let session = world.a().namespace().run(|| Session::open(&dial(port::HTTP)))??;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let loading = scope.spawn(|| load(&session, &stop));
        let result = chaos(world);
        stop.store(true, Ordering::Relaxed);
        let bytes = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.and_then(|result| Ok((result, bytes?)))
    })
}

/// Every lease is that of a live flow, and every packet is accounted for.
fn at_rest(world: &World) -> Outcome {
    let mut seen = String::new();
    wait_until("leased ports and live flows are as many", || {
        let status = world.adit.ask(&["status"])?;
        seen = format!("{} ports, {} flows", status["nat_ports_leased"], status["flows"]);
        let listed = world.adit.sessions()?.len() as u64;
        let flows = status["flows"].as_u64();
        Ok(flows == status["nat_ports_leased"].as_u64() && flows == Some(listed))
    })
    .map_err(|failure| Failure::from(format!("{failure}: {seen}")))?;
    world.wait_for_balance()
}

/// Nothing is left behind: no more descriptors and threads than before, and no more memory. (The
/// first measurement may have met the thread of a question that was just answered.)
fn leaks_nothing(world: &mut World, before: Vitals) -> Outcome {
    let mut now = before;
    let outcome = wait_until("all descriptors and threads are given back", || {
        now = world.adit.vitals()?;
        Ok(now.descriptors <= before.descriptors && now.threads <= before.threads)
    });
    outcome.map_err(|failure| Failure::from(format!("{failure}: {before:?}, then {now:?}")))?;
    let grown = now.resident_kib.saturating_sub(before.resident_kib);
    print!("[+{} KiB] ", grown);
    ensure!(grown <= SLACK_KIB, "memory has grown by {grown} KiB: {before:?}, then {now:?}");
    Ok(())
}
