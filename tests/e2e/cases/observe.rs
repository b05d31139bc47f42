//! What adit says of live traffic: explanations before and while a flow lives, filters, ends.

use lab::client::{Session, SessionState};

use super::{PACKET, PACKET_2};
use crate::case::{Case, Outcome};
use crate::world::{World, dial, list, port, text};

pub(super) const CASES: &[Case] = &[
    Case::new("observe::packet_1_worker", PACKET, observe),
    Case::new("observe::packet_2_workers", PACKET_2, observe),
];

fn observe(world: &mut World) -> Outcome {
    let mut session = world.a().namespace().run(|| Session::open(&dial(port::ECHO)))??;
    session.exchange("hello")?;
    let all = world.adit.sessions()?;
    ensure!(all.len() == 1, "one session: {all:?}");
    let live = &all[0];
    let socket = |address: &str, port: &str| {
        format!("{}:{}", live[address].as_str().unwrap_or("?"), live[port])
    };
    let (client, endpoint) =
        (socket("client", "client_port"), socket("endpoint_address", "endpoint_port"));
    let (nat, backend) = (socket("nat_ip", "nat_port"), socket("backend", "backend_port"));
    let network = text(live, "virtual_network")?;
    let id = text(live, "id")?;

    let said = world.adit.ask(&["explain", "tcp", network, &client, &endpoint])?;
    let said = &said["explanation"];
    ensure!(said["passes"] == true && said["session"]["id"] == *id, "the live flow: {said}");
    let other = format!("{}:1", live["client"].as_str().unwrap_or("?"));
    let said = world.adit.ask(&["explain", "tcp", network, &other, &endpoint])?;
    let said = &said["explanation"];
    ensure!(said["passes"] == true && said["session"].is_null(), "a new flow: {said}");
    ensure!(said["nat_ip"].is_string() && said["free_ports"].is_u64(), "a NAT IP: {said}");
    let closed = format!("{}:9", live["endpoint_address"].as_str().unwrap_or("?"));
    let said = world.adit.ask(&["explain", "tcp", network, &other, &closed])?;
    ensure!(said["explanation"]["refusal"]["metric"] == "no_rule", "a port without a rule: {said}");

    for (option, value, count) in [
        ("--nat-ip", nat.as_str(), 1),
        ("--backend", &backend, 1),
        ("--client", &client, 1),
        ("--client", &other, 0),
    ] {
        let found = world.adit.ask(&["sessions", option, value])?;
        let found = list(&found, "sessions")?.len();
        ensure!(found == count, "{option} {value}: {found} sessions");
    }
    let ended = world.adit.ask(&["kill", id])?;
    ensure!(ended["is_reset"] == true, "killed with resets: {ended}");
    let end = session.wait_for_end(std::time::Duration::from_secs(10))?;
    ensure!(end == SessionState::Reset, "the client sees {end:?}");
    let again = world.adit.command(&["kill", id])?;
    ensure!(!again.status.success(), "a session is killed once");
    world.wait_for_balance()
}
