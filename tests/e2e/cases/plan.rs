//! What `adit plan` says that a reload would do is what the reload then does: the same numbers, of
//! flows of every fate, on live traffic.

use lab::client::{Session, udp_exchange};

use super::{FAST_2, PACKET, PACKET_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{World, dial, list, number, port, text};

/// Flows of each tenant.
const CONNECTIONS: usize = 24;
const DATAGRAMS: usize = 40;

pub(super) const CASES: &[Case] = &[
    Case::new("plan::packet_1_worker", PACKET, plan),
    Case::new("plan::packet_2_workers", PACKET_2, plan),
    Case::new("plan::fast_path_2_workers", FAST_2, plan),
];

/// What was counted of flows that adit ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    reset: u64,
    moved: u64,
    revoked: u64,
}

impl Ended {
    fn read(world: &World) -> Result<Ended, Failure> {
        let status = world.adit.ask(&["status"])?;
        let of = |field| number(&status, field);
        Ok(Ended {
            reset: of("flows_reset")?,
            moved: of("flows_moved")?,
            revoked: of("flows_revoked")?,
        })
    }
}

fn plan(world: &mut World) -> Outcome {
    let held = world.both(|_| {
        for _ in 0..DATAGRAMS {
            udp_exchange(&dial(port::ECHO), "datagram")?;
        }
        let open = || -> Result<Session, Failure> {
            let mut session = Session::open(&dial(port::ECHO))?;
            session.exchange("hello")?;
            Ok(session)
        };
        (0..CONNECTIONS).map(|_| open()).collect::<Result<Vec<_>, _>>()
    })?;
    let now = world.config.text();
    let nothing = world.adit.ask(&["plan"])?;
    ensure!(list(&nothing, "differences")?.is_empty(), "the same file changes nothing: {nothing}");
    // The kernel may give two datagrams one port: they are one flow.
    let all = world.adit.status("flows")?;
    ensure!(all >= 2 * CONNECTIONS as u64, "every connection is a flow: {all}");
    ensure!(number(&nothing["flows"], "stay")? == all, "all flows stay: {nothing}");

    let next = changed(&now)?;
    let path = world.adit.directory().join("next.toml");
    std::fs::write(&path, &next)?;
    let before = Ended::read(world)?;
    let generation = world.adit.status("generation")?;
    let path = path.to_str().ok_or("a path in UTF-8")?;
    let said = world.adit.ask(&["plan", path])?;
    let shown = world.adit.command(&["plan", path])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(
        world.adit.status("generation")? == generation && Ended::read(world)? == before,
        "a plan changes nothing"
    );
    let flows = &said["flows"];
    let of = |fate| number(flows, fate);
    let (stay, drain, moved) = (of("stay")?, of("drain")?, of("moved")?);
    let (reset, ended) = (of("reset")?, of("ended")?);
    print!("[{stay} stay, {drain} drain, {moved} move, {reset} reset, {ended} end] ");
    ensure!(stay + drain + moved + reset + ended == all, "every flow has a fate: {flows}");
    ensure!(
        [stay, drain, moved, reset, ended].iter().all(|&count| count > 0),
        "flows of every fate: {flows}"
    );
    check_words(&said, &shown, reset)?;

    world.adit.configure(&next)?;
    world.adit.ask(&["reload"])?;
    let expected = Ended {
        reset: before.reset + reset,
        moved: before.moved + moved,
        revoked: before.revoked + reset + ended,
    };
    let mut seen = String::new();
    wait_until("what was planned has happened", || {
        let (now, left) = (Ended::read(world)?, leaving(world)?);
        seen = format!("{now:?} and {left} drain instead of {expected:?} and {drain}");
        Ok(now == expected && left == drain)
    })
    .map_err(|failure| Failure::from(format!("{failure}: {seen}")))?;
    let live = world.adit.status("flows")?;
    // Those that are being reset live a moment longer.
    ensure!(live <= stay + drain + reset, "{live} flows are left of {stay} and {drain}");
    drop(held);
    world.wait_for_balance()
}

/// One backend makes room for another, one NAT IP is taken away, one tenant's endpoint goes.
fn changed(now: &str) -> Result<String, Failure> {
    let mut text = now.to_owned();
    for (from, to) in [
        ("[\"10.1.0.10\", \"10.1.0.11\"", "[\"10.1.0.77\", \"10.1.0.11\""),
        (", { name = \"nat-1\", private_ip_address = \"10.1.0.5\" }", ""),
        ("10.0.0.6", "10.0.0.8"),
    ] {
        ensure!(text.contains(from), "{from} is not in {text}");
        text = text.replacen(from, to, 1);
    }
    Ok(text)
}

fn check_words(said: &serde_json::Value, shown: &str, reset: u64) -> Outcome {
    let differences = list(said, "differences")?;
    let is_there = |kind: &str, name: &str, action: &str| {
        differences.iter().any(|one| {
            (&one["kind"], &one["name"], &one["action"])
                == (&kind.into(), &name.into(), &action.into())
        })
    };
    for (kind, name, action) in [
        ("backend", "lb/all/10.1.0.10", "removed"),
        ("backend", "lb/all/10.1.0.77", "added"),
        ("nat_ip", "web/10.1.0.5", "removed"),
        ("private_endpoint", "pe-pending", "changed"),
    ] {
        ensure!(is_there(kind, name, action), "{action} {kind} {name} in {differences:?}");
    }
    ensure!(differences.len() == 4, "and nothing else: {differences:?}");
    let endpoints = list(said, "endpoints")?;
    ensure!(endpoints.len() == 2, "both tenants are concerned: {endpoints:?}");
    let why = endpoints[0]["reasons"].to_string();
    ensure!(why.contains("backend_removed"), "why: {why}");
    ensure!(!text(said, "file")?.is_empty(), "which file: {said}");
    for words in [
        &format!("resets {reset} flows of 2 endpoints"),
        "- nat_ip web/10.1.0.5",
        "private_ip_address 10.0.0.6 -> 10.0.0.8",
        "nothing was changed",
    ] {
        ensure!(shown.contains(words), "{words:?} in {shown}");
    }
    Ok(())
}

/// Ports that NAT IPs hold which were taken away.
fn leaving(world: &World) -> Result<u64, Failure> {
    let services = world.adit.ask(&["services"])?;
    let mut sum = 0;
    for service in list(&services, "services")? {
        for one in list(service, "leaving_nat_ips")? {
            sum += number(one, "leased")?;
        }
    }
    Ok(sum)
}
