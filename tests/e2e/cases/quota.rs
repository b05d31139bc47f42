//! An endpoint gets what is reserved for it and no more than its maximum, with real clients.

use std::net::UdpSocket;
use std::time::Duration;

use lab::client::{ConnectOutcome, Session, tcp_connect};
use serde_json::Value;

use super::{PACKET, PACKET_2, TAP};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{CLIENT, World, dial, list, number, port};

const MOST: usize = 20;

pub(super) const CASES: &[Case] = &[
    Case::new("quota::packet_2_workers", PACKET_2, quota),
    Case::new("quota::tap_1_worker", TAP, quota),
    Case::new("quota::fair_share_packet_1_worker", PACKET, fair_share),
];

/// Records of the worker, what is kept of them, and the datagrams with which a client wants all.
const RECORDS: u64 = 32_768;
const KEPT_PERCENT: u64 = 50;
const GREEDY: u16 = 17_000;

/// Sockets that are open at a time.
const SOCKETS: usize = 250;

/// One client fills all but what is kept; the other's connections find room nevertheless.
fn fair_share(world: &mut World) -> Outcome {
    let text = world.config.text();
    let kept = format!("[adit]\nfair_share_percent = {KEPT_PERCENT}\n");
    world.adit.configure(&text.replacen("[adit]\n", &kept, 1))?;
    world.adit.ask(&["reload"])?;
    let sources: Vec<u16> = (2_000..2_000 + GREEDY).collect();
    world.a().namespace().run(|| sources.chunks(SOCKETS).try_for_each(ask))??;
    let of_a = endpoint(world, "pe-a")?;
    let most = RECORDS - RECORDS * KEPT_PERCENT / 100;
    let flows = number(&of_a, "flows")?;
    ensure!(flows <= most && flows + 200 > most, "a has {flows} of {most} flows");
    let refused = number(&of_a["refused"], "room_reserved")?;
    ensure!(refused > 0, "nothing was refused: {of_a}");
    let mut sessions = world.b().namespace().run(|| {
        let open = |_| Ok(Session::open(&dial(port::ECHO))?);
        (0..200).map(open).collect::<Result<Vec<Session>, Failure>>()
    })??;
    exchange(&mut sessions)?;
    let of_b = endpoint(world, "pe-b")?;
    ensure!(number(&of_b["refused"], "room_reserved")? == 0, "endpoint b is {of_b}");
    drop(sessions);
    world.wait_for_balance()
}

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

/// One datagram from each of these ports; those that are refused hear nothing.
fn ask(sources: &[u16]) -> Outcome {
    let open = |source: &u16| -> Result<UdpSocket, Failure> {
        let socket = UdpSocket::bind((CLIENT, *source))?;
        socket.connect(dial(port::ECHO).destination)?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        socket.send(b"more")?;
        Ok(socket)
    };
    let sockets = sources.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    for socket in sockets {
        let _ = socket.recv(&mut [0; 256]);
    }
    Ok(())
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
