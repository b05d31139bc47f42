//! What Azure's client says of load balancers and security groups, packets feel: a probe takes a
//! backend out and its administrator puts it back, a port leads to one backend, a group keeps
//! clients out, backends are told who asks. After a crash all of it is as it was.

use std::net::SocketAddrV4;
use std::time::Duration;

use lab::backend::trouble::ProxyStrict;
use lab::client::{ConnectOutcome, Dial, Session, http_get, tcp_connect};
use rustix::process::Signal;
use serde_json::json;

use super::sdk::Sdk;
use super::{passes, restart};
use crate::case::{Failure, Outcome, PATIENCE, wait_until};
use crate::world::{BACKENDS, Backend, CLIENT, ENDPOINT, World, dial, port, text};

/// A SYN and one more, after a second.
const SILENCE: Duration = Duration::from_millis(1_700);
/// Connections that none of three backends gets none of by chance.
const CONNECTIONS: usize = 24;
/// The first of the ports that lead to one backend each.
const DIRECT: u16 = 5000;
/// Where consumers dial servers that want a PROXY header, and where those listen.
const STRICT: (u16, u16) = (9_200, 9_201);

pub(super) fn all(world: &mut World, python: &str) -> Outcome {
    restart(world)?;
    let mut sdk = Sdk::start(world, python)?;
    sdk.ok("networks")?;
    sdk.ok(&format!("rich {}", backends([""; 3])))?;
    sdk.ok("service")?;
    sdk.ok(&format!("endpoint pe-a a {ENDPOINT}"))?;
    sdk.ok("decide pe-a Approved")?;
    probed(world, &mut sdk)?;
    direct(world)?;
    guarded(world, &mut sdk)?;
    crash(world, &mut sdk, python)?;
    told(world, &mut sdk)?;
    end(world, &mut sdk)?;
    world.wait_for_balance()
}

/// The backends with a state behind each.
fn backends(states: [&str; 3]) -> String {
    let all = BACKENDS.iter().zip(states).map(|(address, state)| format!("{address}{state}"));
    all.collect::<Vec<_>>().join(" ")
}

fn wait_for_healthy(world: &World, count: u64) -> Outcome {
    wait_until(&format!("{count} backends are healthy"), || {
        Ok(world.adit.status("backends_healthy")? == count)
    })
}

/// Which backends serve new connections.
fn serving(world: &World) -> Result<[bool; 3], Failure> {
    let served = world.a().namespace().run(|| -> Result<Vec<String>, Failure> {
        let get = || Ok(http_get(&dial(port::HTTP), "/")?.answer()?.backend);
        (0..CONNECTIONS).map(|_| get()).collect()
    })??;
    let mut serving = [false; 3];
    for (backend, serves) in world.backends.iter().zip(&mut serving) {
        *serves = served.iter().any(|name| name == backend.station.name());
    }
    Ok(serving)
}

/// A probe takes a backend out; its administrator's word goes before that.
fn probed(world: &World, sdk: &mut Sdk) -> Outcome {
    wait_for_healthy(world, 3)?;
    wait_until("every healthy backend serves", || Ok(serving(world)? == [true; 3]))?;
    world.backends[0].http.set_healthy(false);
    wait_for_healthy(world, 2)?;
    wait_until("one is down", || Ok(serving(world)? == [false, true, true]))?;
    let seen = sdk.ok(&format!("pool 60 {}", backends(["=Up", "=Down", ""])))?;
    ensure!(seen["states"] == json!(["Up", "Down", "None"]) && seen["drain"] == 60, "{seen}");
    let serving = serving(world)?;
    ensure!(
        serving == [true, false, true],
        "their administrator's word is not obeyed: {serving:?}"
    );
    world.backends[0].http.set_healthy(true);
    sdk.ok(&format!("pool 60 {}", backends([""; 3])))?;
    wait_for_healthy(world, 3)
}

/// Each backend has a port of its own.
fn direct(world: &World) -> Outcome {
    for (at, backend) in (0..).zip(&world.backends) {
        let dial = Dial::to(SocketAddrV4::new(ENDPOINT, DIRECT + at)).within(SILENCE);
        for _ in 0..3 {
            let answer = world.a().namespace().run(|| http_get(&dial, "/"))??.answer()?;
            let wanted = backend.station.name();
            ensure!(answer.backend == wanted, "port {} led to {}", DIRECT + at, answer.backend);
        }
    }
    Ok(())
}

fn echo(world: &World) -> Result<bool, Failure> {
    let dial = dial(port::ECHO).within(SILENCE);
    let outcome = world.a().namespace().run(|| tcp_connect(&dial))??;
    Ok(outcome == ConnectOutcome::Connected)
}

/// A group keeps out whom it shall, and no other.
fn guarded(world: &World, sdk: &mut Sdk) -> Outcome {
    let mut before = world.a().namespace().run(|| Session::open(&dial(port::ECHO)))??;
    before.exchange("before")?;
    let seen = sdk.ok("guard Deny 7 Disabled")?;
    ensure!(seen["rules"] == json!(["port"]) && seen["subnets"] == json!(["endpoints"]), "{seen}");
    ensure!(echo(world)?, "the group is in force, though the subnet's policies are Disabled");
    sdk.ok("guard Deny 7")?;
    ensure!(!echo(world)?, "the rule keeps nobody out");
    before.exchange("an open connection stays")?;
    passes(world.a(), "to another port")?;
    let (from, to) = ("10.0.0.10:40000", format!("{ENDPOINT}:{}", port::ECHO.0));
    let output = world.adit.command(&["explain", "tcp", "net/a", from, &to])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rule = "rule port (priority 100) of network security group net/guard keeps it out";
    ensure!(said.contains(rule), "adit explain says: {said}");
    sdk.refused("security_rule other Allow 100 7", "SecurityRuleConflict")?;
    sdk.refused("security_rule other Allow 99 7", "InvalidRequestFormat")?;
    sdk.refused("security_rule other Allow 101 7,8", "SecurityRuleInvalidPortRange")?;
    sdk.ok("security_rule port Allow 110 7")?;
    ensure!(echo(world)?, "the rule that was replaced keeps clients out");
    let seen = sdk.ok("members pe-a Deny 105 7")?;
    ensure!(seen["groups"] == 1 && seen["tags"]["a"] == "b", "{seen}");
    ensure!(!echo(world)?, "the rule about members keeps nobody out");
    before.exchange("an open connection stays").map(drop).map_err(Into::into)
}

/// What was answered is there after a crash, and in force.
fn crash(world: &mut World, sdk: &mut Sdk, python: &str) -> Outcome {
    let before = sdk.ok("parts")?;
    world.adit.signal(Signal::KILL)?;
    world.adit.wait(PATIENCE)?;
    world.adit.start_with(&["--arm", "127.0.0.1:0"])?;
    *sdk = Sdk::start(world, python)?;
    let after = sdk.ok("parts")?;
    ensure!(before == after, "before the crash {before}, after it {after}");
    wait_for_healthy(world, 3)?;
    wait_until("a port leads to its backend again", || Ok(direct(world).is_ok()))?;
    ensure!(!echo(world)?, "the group is not in force after the crash");
    sdk.ok("delete_part security_rules guard members")?;
    ensure!(echo(world)?, "the rule is gone and keeps clients out");
    Ok(())
}

/// Backends are told who asks.
fn told(world: &World, sdk: &mut Sdk) -> Outcome {
    let start = |backend: &Backend| {
        let station = &backend.station;
        let at = SocketAddrV4::new(station.address(), STRICT.1);
        Ok(ProxyStrict::start(station.namespace(), at, station.name())?)
    };
    let servers = world.backends.iter().map(start).collect::<Result<Vec<_>, Failure>>()?;
    ensure!(sdk.ok("proxy on")? == true, "the service says that it sends no headers");
    let seen = sdk.ok("provider pe-a")?;
    let link: u32 = text(&seen, "link")?.parse()?;
    world.a().namespace().run(|| http_get(&dial(STRICT), "/"))??.answer()?;
    let headers: Vec<_> = servers.iter().flat_map(ProxyStrict::headers).collect();
    let [header] = headers.as_slice() else { return Err(format!("{headers:?}").into()) };
    let (client, dialled) = header.addresses.ok_or("a header without addresses")?;
    let is_right = *client.ip() == CLIENT && dialled == SocketAddrV4::new(ENDPOINT, STRICT.0);
    ensure!(is_right, "{header:?}");
    let tlv = (0xee, [&[1][..], &link.to_le_bytes()].concat());
    ensure!(header.tlvs == [tlv], "{header:?} is not of link {link}");
    ensure!(sdk.ok("proxy off")? == false, "the service says that it sends headers");
    Ok(())
}

fn end(world: &World, sdk: &mut Sdk) -> Outcome {
    for (step, code) in [
        ("delete network_security_groups guard", "InUseNetworkSecurityGroupCannotBeDeleted"),
        (
            "delete_part load_balancer_backend_address_pools lb all",
            "InUseBackendAddressPoolCannotBeDeleted",
        ),
        ("delete application_security_groups web", "InUseApplicationSecurityGroupCannotBeDeleted"),
    ] {
        sdk.refused(step, code)?;
    }
    let left = sdk.ok("delete_part inbound_nat_rules lb direct")?;
    ensure!(left == json!([]), "{left}");
    let dial = Dial::to(SocketAddrV4::new(ENDPOINT, DIRECT)).within(SILENCE);
    let outcome = world.a().namespace().run(|| tcp_connect(&dial))??;
    ensure!(outcome != ConnectOutcome::Connected, "the port of a rule that is gone leads on");
    passes(world.a(), "at the end")
}
