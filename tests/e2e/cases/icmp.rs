//! ICMP as real kernels speak it: ping of an endpoint, and errors that reach a client's socket.

use std::net::Ipv4Addr;
use std::time::Duration;

use lab::LabError;
use lab::client::{PingOutcome, ping, ping_sized, udp_exchange};

use super::{FAST, PACKET, PACKET_2, TAP};
use crate::case::{Case, Failure, Outcome};
use crate::world::{ENDPOINT, PENDING_ENDPOINT, World, dial, rule};

/// A port of the endpoint behind which no backend listens, and one without a rule.
const CLOSED: (u16, u16) = (9, 9999);
const NO_RULE: (u16, u16) = (10, 0);
const SHORT: Duration = Duration::from_millis(300);
/// Error number of "no route to host", which prohibition becomes.
const HOST_UNREACHABLE: i32 = 113;

pub(super) const CASES: &[Case] = &[
    Case::new("icmp::ping_packet_1_worker", PACKET, echo),
    Case::new("icmp::ping_packet_2_workers", PACKET_2, echo),
    Case::new("icmp::ping_tap_1_worker", TAP, echo),
    Case::new("icmp::errors_packet_1_worker", PACKET, errors),
    Case::new("icmp::errors_fast_path_1_worker", FAST, errors),
    Case::new("icmp::errors_packet_2_workers", PACKET_2, errors),
];

/// An endpoint answers if it is told to, and only while its connection is approved.
fn echo(world: &mut World) -> Outcome {
    let ask = |world: &World, address: Ipv4Addr, timeout: Duration| {
        world.both(|_| Ok(ping(address, timeout)?))
    };
    let before = world.adit.drops("icmp_unsupported")?;
    let silent = ask(world, ENDPOINT, SHORT)?;
    ensure!(silent == [PingOutcome::TimedOut; 2], "nobody asked for answers: {silent:?}");
    world.adit.wait_for_drops("icmp_unsupported", before + 2)?;
    world.config.more_of_endpoints = "icmp_echo = true\n".to_owned();
    world.reload()?;
    let answered = ask(world, ENDPOINT, Duration::from_secs(5))?;
    ensure!(answered.into_iter().all(PingOutcome::answered), "{answered:?}");
    for bytes in [0, 1, 1400, 1472] {
        let answered = world.both(|_| Ok(ping_sized(ENDPOINT, bytes, Duration::from_secs(5))?))?;
        ensure!(answered.into_iter().all(PingOutcome::answered), "{bytes} bytes: {answered:?}");
    }
    let pending = world.a().namespace().run(|| ping(PENDING_ENDPOINT, SHORT))??;
    ensure!(pending == PingOutcome::TimedOut, "the connection is pending: {pending:?}");
    world.adit.ask(&["reject", "pe-a"])?;
    let rejected = world.a().namespace().run(|| ping(ENDPOINT, SHORT))??;
    ensure!(rejected == PingOutcome::TimedOut, "the connection is rejected: {rejected:?}");
    world.wait_for_balance()
}

/// A backend's "port unreachable" refuses the client's socket; a datagram without a rule or without
/// approval is refused by adit.
fn errors(world: &mut World) -> Outcome {
    world.config.more_rules = rule("closed", "Udp", CLOSED, "all");
    world.reload()?;
    let silent = exchange(world, CLOSED, SHORT)?;
    ensure!(silent.iter().all(is_timeout), "ICMP is off: {silent:?}");
    world.config.service_settings =
        "icmp_errors = \"translate\"\nicmp_answers = [\"prohibited\"]\n".to_owned();
    world.reload()?;
    let refused = exchange(world, CLOSED, Duration::from_secs(5))?;
    let is_refused = |error: &LabError| error.kind() == std::io::ErrorKind::ConnectionRefused;
    ensure!(refused.iter().all(is_refused), "nobody listens: {refused:?}");
    let prohibited = exchange(world, NO_RULE, Duration::from_secs(5))?;
    let is_prohibited = |error: &LabError| error.source.raw_os_error() == Some(HOST_UNREACHABLE);
    ensure!(prohibited.iter().all(is_prohibited), "there is no rule: {prohibited:?}");
    world.wait_for_balance()
}

fn is_timeout(error: &LabError) -> bool {
    error.kind() == std::io::ErrorKind::TimedOut
}

/// The errors of both tenants' sockets.
fn exchange(world: &World, port: (u16, u16), timeout: Duration) -> Result<[LabError; 2], Failure> {
    world.both(|_| match udp_exchange(&dial(port).within(timeout), "hello") {
        Err(error) => Ok(error),
        Ok(answer) => Err(format!("an answer: {answer:?}").into()),
    })
}
