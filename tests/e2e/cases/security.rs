//! A network security group keeps out whom it shall, and no other: new connections only, in the one
//! subnet that it guards. `adit explain` names the rule.

use std::time::Duration;

use lab::client::{ConnectOutcome, Session, tcp_connect};

use super::{FAST_2, PACKET_2};
use crate::case::{Case, Outcome};
use crate::world::{World, dial, port};

/// A SYN and one more, after a second.
const SILENCE: Duration = Duration::from_millis(1_700);

pub(super) const CASES: &[Case] = &[
    Case::new("security::packet_2_workers", PACKET_2, security),
    Case::new("security::fast_path_2_workers", FAST_2, security),
];

fn security(world: &mut World) -> Outcome {
    let open = |world: &World| world.a().namespace().run(|| Session::open(&dial(port::ECHO)));
    let mut before = open(world)??;
    before.exchange("before")?;
    guard(world, "Deny")?;
    // Open connections stay, as in Azure.
    before.exchange("while it is denied")?;
    let refused =
        world.a().namespace().run(|| tcp_connect(&dial(port::ECHO).within(SILENCE)))??;
    ensure!(refused == ConnectOutcome::TimedOut, "{refused:?}");
    world.adit.wait_for_drops("security_rule_denied", 2)?;
    // Another port, and the other tenant's endpoint of the same address, are not meant.
    world.a().namespace().run(|| Session::open(&dial(port::HTTP)))??;
    world.b().namespace().run(|| Session::open(&dial(port::ECHO)))??.exchange("b")?;
    explained(world)?;
    guard(world, "Allow")?;
    open(world)??.exchange("after")?;
    before.exchange("after, on the old one")?;
    drop(before);
    world.wait_for_balance()
}

/// Puts a group in force that does this to who dials the echo service from tenant a.
fn guard(world: &mut World, access: &str) -> Outcome {
    world.config.more_of_network_a = "subnet = [{ name = \"endpoints\", \
         address_prefix = \"10.0.0.0/24\", network_security_group = \"guard\", \
         private_endpoint_network_policies = \"NetworkSecurityGroupEnabled\" }]\n"
        .into();
    world.config.more = format!(
        "[[network_security_group]]\nname = \"guard\"\nsecurity_rule = [{{ name = \"echo\", \
         priority = 100, access = {access:?}, protocol = \"Tcp\", \
         destination_port_ranges = [\"{}\"] }}]\n",
        port::ECHO.0
    );
    world.reload().map(|_| ())
}

fn explained(world: &World) -> Outcome {
    let (from, to) = ("10.0.0.4:40000", format!("10.0.0.5:{}", port::ECHO.0));
    let output = world.adit.command(&["explain", "tcp", "a", from, &to])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rule = "rule echo (priority 100) of network security group guard keeps it out";
    ensure!(said.contains(rule), "adit explain says: {said}");
    Ok(())
}
