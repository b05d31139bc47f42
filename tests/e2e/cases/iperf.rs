//! iperf3 through adit: TCP and UDP, both ways, with the hosts' offloads on and off.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use lab::Process;
use serde_json::Value;

use super::{PACKET, TAP_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::role;
use crate::runner::find;
use crate::world::{ENDPOINT, World, list, number, port};

/// Where others keep the processors from adit, a second of datagrams may not do: one of so many
/// must.
const ATTEMPTS: usize = 4;
/// Percent of datagrams that adit may drop or come too late for.
const LOSS_MAX: f64 = 3.0;
/// iperf3 sends 200 Mbit/s for a second, in datagrams of an Ethernet's MTU.
const UDP: [&str; 3] = ["-u", "-b", "200M"];

pub(super) const CASES: &[Case] = &[
    Case::new("iperf::packet_1_worker", PACKET, iperf).with(&["iperf3"]),
    Case::new("iperf::tap_2_workers", TAP_2, iperf).with(&["iperf3"]),
];

fn iperf(world: &mut World) -> Outcome {
    let directory = world.adit.directory().to_owned();
    let _server = start_server(world, &directory)?;
    for offloads in [true, false] {
        world.set_offloads(offloads)?;
        let mut figures = Vec::new();
        for words in [&[][..], &["-R"]] {
            let result = client(world, words)?;
            let bits = result["end"]["sum_received"]["bits_per_second"].as_f64();
            let bits = bits.ok_or("iperf3 said no speed")?;
            ensure!(bits > 10e6, "{bits} bits/s with {words:?}");
            figures.push(format!("{:.1}", bits * 1e-9));
        }
        for words in [&[][..], &["-R"]] {
            let mut attempts = (1..ATTEMPTS).map(|_| datagrams(world, words));
            let good = attempts.find(Result::is_ok);
            let lost = good.unwrap_or_else(|| datagrams(world, words))?;
            figures.push(format!("{lost:.2}"));
        }
        let word = if offloads { "on" } else { "off" };
        let [up, down, lost_up, lost_down] = figures.as_slice() else { continue };
        print!("[offloads {word}: {up}/{down} Gb/s, lost {lost_up}/{lost_down} %] ");
    }
    world.wait_for_balance()
}

/// Percent of a second's datagrams that iperf3 did not read. How many is not adit's: on a busy
/// machine the kernel's buffer before it overflows. adit must have sent them all.
fn datagrams(world: &World, words: &[&str]) -> Result<f64, Failure> {
    let (before, sent_before) = (lost_by_adit(world)?, world.adit.status("forwarded")?);
    let result = client(world, &[&UDP, words].concat())?;
    let sum = &result["end"]["sum"];
    let (packets, lost) = (sum["packets"].as_f64(), sum["lost_percent"].as_f64());
    let (packets, lost) = packets.zip(lost).ok_or("iperf3 said no loss")?;
    let by_adit = lost_by_adit(world)? - before;
    let sent = world.adit.status("forwarded")? - sent_before;
    let share = by_adit as f64 * 100.0 / packets;
    ensure!(packets > 5000.0, "iperf3 sent only {packets} datagrams with {words:?}");
    ensure!(share < LOSS_MAX, "{by_adit} of {packets} lost by adit with {words:?}");
    let least = packets * (1.0 - LOSS_MAX / 100.0);
    ensure!(sent as f64 > least, "of {packets} datagrams adit sent on {sent} with {words:?}");
    ensure!(lost < 100.0, "nothing arrived with {words:?}");
    Ok(lost)
}

/// Packets that adit dropped, and that the kernel dropped because adit did not come for them.
fn lost_by_adit(world: &World) -> Result<u64, Failure> {
    let status = world.adit.ask(&["status"])?;
    let missed = list(&status, "devices")?.iter().map(|device| number(device, "missed"));
    let missed: u64 = missed.sum::<Result<u64, Failure>>()?;
    Ok(number(&status, "dropped")? + missed)
}

fn start_server(world: &World, directory: &Path) -> Result<Process, Failure> {
    let log = directory.join("iperf3");
    let station = &world.backends[0].station;
    let program = find("iperf3").ok_or("iperf3 is gone")?;
    let mut command = role::program_in(station.namespace(), program)?;
    command.args(["--server", "--forceflush", "--port", &port::IPERF.1.to_string()]);
    let output = File::create(&log)?;
    command.stderr(output.try_clone()?).stdout(output);
    let process = Process::start(command)?;
    wait_until("iperf3 listens", || Ok(fs::read_to_string(&log)?.contains("listening")))?;
    Ok(process)
}

fn client(world: &World, words: &[&str]) -> Result<Value, Failure> {
    let program = find("iperf3").ok_or("iperf3 is gone")?;
    let mut command = role::program_in(world.a().namespace(), program)?;
    command.args(["--client", &ENDPOINT.to_string(), "--port", &port::IPERF.0.to_string()]);
    command.args(["--json", "--time", "1", "--connect-timeout", "5000"]).args(words);
    let output = command.stderr(Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "iperf3 {words:?}: {}: {said}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
