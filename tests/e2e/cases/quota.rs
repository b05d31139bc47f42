//! An endpoint gets what is reserved for it and no more than its maximum, with real clients.

use lab::client::{ConnectOutcome, Session, tcp_connect};
use serde_json::Value;

use super::{PACKET_2, TAP};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{World, dial, list, number, port};

const MOST: usize = 20;

pub(super) const CASES: &[Case] = &[
    Case::new("quota::packet_2_workers", PACKET_2, quota),
    Case::new("quota::tap_1_worker", TAP, quota),
];

fn quota(world: &mut World) -> Outcome {
    world.config.service_settings =
        format!("tcp_refusals = \"reset\"\nendpoint_flows_max = {MOST}\n");
    world.reload()?;
    let sessions = world.both(|_| {
        let open = |_| Ok(Session::open(&dial(port::ECHO))?);
        let mut sessions = (0..MOST).map(open).collect::<Result<Vec<Session>, Failure>>()?;
        let outcome = tcp_connect(&dial(port::ECHO))?;
        ensure!(outcome == ConnectOutcome::Refused, "one more than the maximum is {outcome:?}");
        exchange(&mut sessions)?;
        Ok(sessions)
    })?;
    let a = endpoint(world, "pe-a")?;
    let refused = number(&a["refused"], "endpoint_flows_max")?;
    ensure!((number(&a, "flows")?, refused) == (MOST as u64, 1), "endpoint a is {a}");
    let refusals = world.adit.drops("endpoint_flows_max")?;
    ensure!(refusals == 2, "{refusals} SYNs were refused");
    wait_until("the log says so", || {
        Ok(world.adit.log().contains("endpoint pe-a: 1 newcomers were refused"))
    })?;
    // One ends, and when its time to close is over another has room.
    let [mut of_a, of_b] = sessions;
    drop(of_a.pop());
    wait_until("a flow has ended", || {
        Ok(number(&endpoint(world, "pe-a")?, "flows")? < MOST as u64)
    })?;
    world.a().namespace().run(|| Session::open(&dial(port::ECHO)))??.exchange("hello")?;
    exchange(&mut of_a)?;
    drop((of_a, of_b));
    refused_in_words(world)?;
    world.wait_for_balance()
}

fn exchange(sessions: &mut [Session]) -> Outcome {
    for session in sessions {
        session.exchange("still here")?;
    }
    Ok(())
}

fn endpoint(world: &World, name: &str) -> Result<Value, Failure> {
    let answer = world.adit.ask(&["endpoints"])?;
    let found = list(&answer, "endpoints")?.iter().find(|endpoint| endpoint["name"] == name);
    Ok(found.ok_or_else(|| format!("there is no {name}"))?.clone())
}

/// More than there is cannot be promised.
fn refused_in_words(world: &mut World) -> Outcome {
    world.config.service_settings = "endpoint_flows_reserved = 11000\n".into();
    world.adit.configure(&world.config.text())?;
    let output = world.adit.command(&["reload"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{:?}: {said}", output.status);
    ensure!(
        said.contains("33000 flows are reserved, and each worker has room for 32768"),
        "{said}"
    );
    world.config.service_settings.clear();
    world.reload().map(|_| ())
}
