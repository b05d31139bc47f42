//! Azure's own client manages adit, and after each step packets show what it did: nothing passes
//! before a provider has approved, all is cut when it rejects, and a crash forgets nothing.

mod az;
mod families;
mod resources;
mod sdk;

use std::time::Duration;

use lab::client::{ConnectOutcome, Session, tcp_connect};
use rustix::process::Signal;
use serde_json::Value;

use self::sdk::Sdk;
use super::PACKET;
use crate::case::{Case, Failure, Outcome, PATIENCE, wait_until};
use crate::world::{BACKENDS, ENDPOINT, NAT_IPS, Station, World, dial, list, port, text};

/// Waited for in full where no answer may come; longer than one retransmission.
const SILENCE: Duration = Duration::from_millis(1200);

/// The audit log, in the case's directory.
const AUDIT: &str = "audit.jsonl";

const CURRENT: &str = "python-azure-current";
const OLDER: &str = "python-azure-28.1.0";

pub(super) const CASES: &[Case] = &[
    Case::new("arm::sdk_current", PACKET, current).with(&[CURRENT]),
    Case::new("arm::sdk_28_1_0", PACKET, older).with(&[OLDER]),
    Case::new("arm::resources_current", PACKET, |world| resources::all(world, CURRENT))
        .with(&[CURRENT]),
    Case::new("arm::resources_28_1_0", PACKET, |world| resources::all(world, OLDER)).with(&[OLDER]),
    Case::new("arm::families_current", PACKET, |world| families::all(world, CURRENT))
        .with(&[CURRENT, "curl", "nginx"]),
    Case::new("arm::az", PACKET, az::all).with(&[az::PROGRAM]),
];

fn current(world: &mut World) -> Outcome {
    lifecycle(world, CURRENT)
}

fn older(world: &mut World) -> Outcome {
    lifecycle(world, OLDER)
}

fn lifecycle(world: &mut World, python: &str) -> Outcome {
    restart(world)?;
    let mut sdk = Sdk::start(world, python)?;
    let made = sdk.ok("networks")?;
    ensure!(made == serde_json::json!(["a", "b", "provider"]), "networks: {made}");
    silent(world.a(), "before there is an endpoint")?;
    provide(world, &mut sdk)?;
    consume(world, &mut sdk)?;
    let link = decide(world, &mut sdk)?;
    audit(world)?;
    crash(world, &mut sdk, python, &link)?;
    end(world, &mut sdk)?;
    world.wait_for_balance()
}

/// adit anew, with a file of nothing but devices, whose networks only the API makes.
fn restart(world: &mut World) -> Outcome {
    restart_with(world, "net/", &[])
}

/// The same, with what stands before the names of networks, and more arguments.
fn restart_with(world: &mut World, networks: &str, more: &[&str]) -> Outcome {
    world.adit.signal(Signal::TERM)?;
    world.adit.wait(PATIENCE)?;
    let (config, audit) = (&world.config, world.adit.directory().join(AUDIT));
    let mut file = format!(
        "[audit_log]\nfile = {audit:?}\n[adit]\ncontrol_socket = {:?}\nflows_max = 4096\n",
        config.socket
    );
    for device in &config.devices {
        file.push_str(&format!(
            "[[device]]\nname = {:?}\nkind = \"af_packet\"\nvirtual_network = \"{networks}{}\"\n",
            device.name, device.virtual_network
        ));
    }
    world.adit.configure(&file)?;
    world.adit.start_with(&[&["--arm", "127.0.0.1:0"], more].concat())
}

fn provide(world: &World, sdk: &mut Sdk) -> Outcome {
    let backends = BACKENDS.map(|backend| backend.to_string()).join(" ");
    let front = sdk.ok(&format!("balancer {backends}"))?;
    ensure!(front == "10.1.1.4", "the first address of the frontend's subnet is {front}");
    sdk.refused("service - - front", "NetworkPoliciesEnabled")?;
    let made = sdk.ok("service")?;
    let nat_ips = NAT_IPS.map(|nat_ip| nat_ip.to_string());
    ensure!(made["nat_ips"] == serde_json::json!(nat_ips), "the service has {made}");
    ensure!(text(&made, "alias")?.ends_with(".eastus.azure.privatelinkservice"), "{made}");
    wait_until("every backend has answered ARP", || {
        let status = world.adit.ask(&["status"])?;
        let hops = list(&status, "next_hops")?;
        Ok(hops.len() == BACKENDS.len() && hops.iter().all(|hop| hop["mac"].is_string()))
    })
}

fn consume(world: &World, sdk: &mut Sdk) -> Outcome {
    let made = sdk.ok(&format!("endpoint pe-a a {ENDPOINT}"))?;
    ensure!(made["address"] == ENDPOINT.to_string(), "the endpoint is {made}");
    ensure!(made["state"] == "Pending", "the endpoint is {made}");
    sdk.refused(&format!("endpoint pe-2 a {ENDPOINT}"), "PrivateIPAddressInUse")?;
    sdk.refused("endpoint pe-2 a 10.0.0.3", "PrivateIPAddressInReservedRange")?;
    // The host may still wait for the answer to an ARP request from before there was an endpoint.
    wait_until("a connection that is pending is refused", || {
        silent(world.a(), "while the connection is pending")?;
        Ok(world.adit.drops("connection_pending")? > 0)
    })
}

/// Approves and rejects, by the API and by adit's own command; returns the link id.
fn decide(world: &World, sdk: &mut Sdk) -> Result<String, Failure> {
    sdk.refused("invent", "PrivateEndpointConnectionCannotBeCreatedByServiceProvider")?;
    let approved = sdk.ok("decide pe-a Approved")?;
    ensure!(approved["state"] == "Approved", "{approved}");
    passes(world.a(), "after the approval")?;
    let mut session = world.a().namespace().run(|| Session::open(&dial(port::ECHO)))??;
    session.exchange("before")?;
    let rejected = sdk.ok("decide pe-a Rejected")?;
    ensure!(rejected["state"] == "Rejected", "{rejected}");
    ensure!(session.exchange("after").is_err(), "a session outlived the rejection");
    silent(world.a(), "after the rejection")?;
    // The same object, by the operator's command.
    world.adit.ask(&["approve", "net/pe-a", "--message", "by hand"])?;
    let seen = sdk.ok("consumer pe-a")?;
    ensure!(seen["state"] == "Approved" && seen["description"] == "by hand", "{seen}");
    passes(world.a(), "after the command")?;
    Ok(text(&sdk.ok("provider pe-a")?, "link")?.to_owned())
}

/// Who made what, and who let whom in, is written down: each decision with its subject, what was
/// before and what after.
fn audit(world: &World) -> Outcome {
    let text = std::fs::read_to_string(world.adit.directory().join(AUDIT))?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let by_api = lines.iter().filter(|line| line["who"]["identity"].is_string());
    ensure!(by_api.clone().count() > 5, "what the API made: {text}");
    let states = lines.iter().flat_map(|line| line["changes"].as_array().into_iter().flatten());
    let states: Vec<(&Value, &Value)> = states
        .filter(|change| change["after"]["state"].is_string())
        .map(|change| (&change["before"]["state"], &change["after"]["state"]))
        .filter(|(before, after)| before.is_string() && before != after)
        .collect();
    for decided in [("Pending", "Approved"), ("Approved", "Rejected"), ("Rejected", "Approved")] {
        let is_it = |(before, after): &&(&Value, &Value)| {
            (*before, *after) == (&decided.0.into(), &decided.1.into())
        };
        ensure!(states.iter().filter(is_it).count() == 1, "{decided:?} once: {text}");
    }
    let last = lines.iter().rfind(|line| line["action"] == "approve");
    let last = last.ok_or_else(|| format!("the operator's command: {text}"))?;
    ensure!(last["who"]["unix_uid"] == 0 && last["message"] == "by hand", "{last}");
    ensure!(lines.iter().any(|line| line["outcome"] == "refused"), "what was refused: {text}");
    Ok(())
}

/// What was answered is there after a crash.
fn crash(world: &mut World, sdk: &mut Sdk, python: &str, link: &str) -> Outcome {
    world.adit.signal(Signal::KILL)?;
    world.adit.wait(PATIENCE)?;
    world.adit.start_with(&["--arm", "127.0.0.1:0"])?;
    *sdk = Sdk::start(world, python)?;
    let seen = sdk.ok("provider pe-a")?;
    ensure!(seen["state"] == "Approved" && seen["link"] == link, "after a crash: {seen}");
    wait_until("traffic passes again after the crash", || Ok(reach(world.a())?.is_some()))?;
    // Another subscription list: the second consumer needs nobody's word.
    let made = sdk.ok("service * *")?;
    ensure!(made["nat_ips"][1] == "10.1.0.5", "a replaced service keeps its addresses: {made}");
    let made = sdk.ok("endpoint pe-b b")?;
    ensure!(made["state"] == "Approved" && made["address"] == "10.0.0.4", "{made}");
    let around = sdk.ok("around")?;
    ensure!(around["visible"] == true && list(&around, "auto_approved")?.len() == 1, "{around}");
    ensure!(around["all_endpoints"] == serde_json::json!(["pe-a", "pe-b"]), "{around}");
    passes(world.a(), "while another endpoint came")
}

fn end(world: &World, sdk: &mut Sdk) -> Outcome {
    sdk.refused(
        "delete private_link_services web",
        "PrivateLinkServiceWithPrivateEndpointConnectionsCannotBeDeleted",
    )?;
    sdk.refused("delete load_balancers lb", "CannotDeleteLoadBalancerWithPrivateLinkService")?;
    sdk.refused("delete virtual_networks a", "InUseSubnetCannotBeDeleted")?;
    ensure!(sdk.ok("remove pe-a")?.is_null(), "the provider still sees what it removed");
    let seen = sdk.ok("consumer pe-a")?;
    ensure!(seen["state"] == "Disconnected", "the consumer sees {seen}");
    silent(world.a(), "after the provider removed the connection")?;
    sdk.refused(&format!("endpoint pe-a a {ENDPOINT}"), "PrivateEndpointConnectionIsDisconnected")?;
    for (kind, name) in [
        ("private_endpoints", "pe-a"),
        ("private_endpoints", "pe-b"),
        ("private_link_services", "web"),
        ("load_balancers", "lb"),
        ("virtual_networks", "a"),
    ] {
        let left = sdk.ok(&format!("delete {kind} {name}"))?;
        let left = left.as_array().ok_or("a list")?;
        ensure!(!left.iter().any(|left| left == name), "{name} is still there: {left:?}");
    }
    silent(world.b(), "after everything is gone")
}

/// The backend that a consumer reaches, if it reaches one.
fn reach(station: &Station) -> Result<Option<()>, Failure> {
    let outcome = station.namespace().run(|| tcp_connect(&dial(port::HTTP).within(SILENCE)))??;
    Ok(matches!(outcome, ConnectOutcome::Connected).then_some(()))
}

fn passes(station: &Station, when: &str) -> Outcome {
    ensure!(reach(station)?.is_some(), "no traffic passes {when}");
    Ok(())
}

fn silent(station: &Station, when: &str) -> Outcome {
    ensure!(reach(station)?.is_none(), "traffic passes {when}");
    Ok(())
}
