//! What is written down of real connections: whose a backend's peer is and was, and that flows
//! which ended have carried every packet that left adit, also what the kernel carried alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::client::{Session, http_get};
use rustix::process::Signal;
use serde_json::Value;

use super::{FAST, FAST_2, PACKET, PACKET_2, TAP_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::world::{CLIENT, Station, World, dial, list, number, port, text};

pub(super) const CASES: &[Case] = &[
    Case::new("record::packet_1_worker", PACKET, record),
    Case::new("record::packet_2_workers", PACKET_2, record),
    Case::new("record::tap_2_workers", TAP_2, record),
    Case::new("record::fast_path_1_worker", FAST, record),
    Case::new("record::fast_path_2_workers", FAST_2, record),
];

/// Exchanges of one connection.
const EXCHANGES: usize = 200;

struct Logs {
    lines: PathBuf,
    messages: PathBuf,
}

fn record(world: &mut World) -> Outcome {
    let directory = world.adit.directory().to_owned();
    let at = |name: &str| directory.join(name);
    let logs = Logs { lines: at("flows.jsonl"), messages: at("flows.ipfix") };
    world.config.more = format!(
        "[flow_log]\nfile = {:?}\nipfix = {:?}\n[audit_log]\nfile = {:?}\n",
        logs.lines,
        logs.messages,
        at("audit.jsonl")
    );
    world.adit.signal(Signal::TERM)?;
    world.adit.wait(Duration::from_secs(10))?;
    world.adit.configure(&world.config.text())?;
    world.restart()?;

    let mut session = world.a().namespace().run(|| Session::open(&dial(port::ECHO)))??;
    for at in 0..EXCHANGES {
        session.exchange(&format!("message {at}"))?;
    }
    let (nat, backend) = sides(world)?;
    let live = owner(world, &["whois", &nat, &backend, "tcp"])?;
    ensure!(text(&live, "virtual_network")? == "a", "the right tenant: {live}");
    ensure!(text(&live, "client")? == CLIENT.to_string(), "its client: {live}");
    ensure!(live["session"].is_string() && live["ended"].is_null(), "it lives: {live}");
    drop(session);
    world.both(fetch)?;
    wait_until("all flows have ended", || Ok(world.adit.status("flows")? == 0))?;

    let ended = owner(world, &["whois", &nat, &backend])?;
    ensure!(text(&ended, "state")? == "closed", "both sides have closed it: {ended}");
    ensure!(ended["client_port"] == live["client_port"], "the same: {ended}");
    let began = text(&ended, "began")?;
    owner(world, &["whois", &nat, &backend, "--at", began])?;
    let early = world.adit.command(&["whois", &nat, &backend, "--at", "5m"])?;
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    ensure!(!early.status.success() && said.contains("had it from"), "{said}");
    let future = world.adit.command(&["whois", &nat, &backend, "--at", "2999-01-01T00:00:00Z"])?;
    let said = String::from_utf8_lossy(&future.stderr).into_owned();
    ensure!(!future.status.success() && said.contains("is yet to come"), "{said}");
    let strange = world.adit.command(&["whois", "10.1.0.40:5000", "10.1.0.10"])?;
    let said = String::from_utf8_lossy(&strange.stderr).into_owned();
    ensure!(said.contains("did you mean \"10.1.0.4\"?"), "{said}");
    account(world, &logs)?;
    audit(world, &at("audit.jsonl"))
}

/// Who decided stands there when the answer comes.
fn audit(world: &World, file: &Path) -> Outcome {
    world.adit.ask(&["approve", "pe-pending", "--message", "by a test"])?;
    let refused = world.adit.command(&["reject", "nobody"])?;
    ensure!(!refused.status.success(), "there is no such endpoint");
    let text = fs::read_to_string(file)?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let [approved, refused] = lines.as_slice() else {
        return Err(format!("two lines: {text}").into());
    };
    let change = &approved["changes"][0];
    let (before, after) = (&change["before"]["state"], &change["after"]["state"]);
    ensure!(before == "Pending" && after == "Approved", "before and after: {approved}");
    ensure!(approved["who"]["unix_uid"] == 0, "the sandbox's root: {approved}");
    ensure!(approved["message"] == "by a test", "the words: {approved}");
    ensure!(refused["outcome"] == "refused" && refused["target"] == "nobody", "{refused}");
    Ok(())
}

fn fetch(_: &Station) -> Outcome {
    for _ in 0..20 {
        http_get(&dial(port::HTTP), "/")?;
    }
    Ok(())
}

/// Both sides of the only connection, as its backend sees it.
fn sides(world: &World) -> Result<(String, String), Failure> {
    let sessions = world.adit.sessions()?;
    let [live] = sessions.as_slice() else {
        return Err(format!("one session: {sessions:?}").into());
    };
    let nat = format!("{}:{}", text(live, "nat_ip")?, live["nat_port"]);
    Ok((nat, text(live, "backend")?.to_owned()))
}

fn owner(world: &World, words: &[&str]) -> Result<Value, Failure> {
    let answer = world.adit.ask(words)?;
    let owners = list(&answer, "owners")?;
    ensure!(owners.len() == 1, "{}: {owners:?}", words.join(" "));
    Ok(owners[0].clone())
}

/// Every flow began and ended, and all together have carried what adit has forwarded.
fn account(world: &World, logs: &Logs) -> Outcome {
    let status = world.adit.ask(&["status"])?;
    let opened = number(&status, "flows_opened")?;
    let recording = &status["recording"];
    ensure!(number(recording, "records_lost")? == 0, "nothing is lost: {recording}");
    let written = |log: &Value| number(log, "written");
    wait_until("all events are written", || {
        let status = world.adit.ask(&["status"])?;
        let logs = list(&status["recording"], "flow_logs")?;
        Ok(logs.len() == 2 && logs.iter().all(|log| written(log).is_ok_and(|n| n == 2 * opened)))
    })?;
    let (mut packets, mut bytes, mut ends) = (0, 0, 0);
    for line in fs::read_to_string(&logs.lines)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["event"] == "flow_ended" {
            ends += 1;
            packets += number(&event, "packets_in")? + number(&event, "packets_out")?;
            bytes += number(&event, "bytes_in")? + number(&event, "bytes_out")?;
            ensure!(event["reason"] == "closed" && event["service"] == "web", "{event}");
        }
    }
    let forwarded = number(&status, "forwarded")?;
    let frames = number(&status, "forwarded_bytes")?;
    ensure!(ends == opened, "{ends} of {opened} flows have ended");
    ensure!(packets == forwarded, "{packets} packets of flows, {forwarded} were forwarded");
    // Frames have Ethernet headers of 14 bytes, too.
    let expected = bytes + 14 * packets;
    ensure!(expected == frames, "{bytes} bytes of {packets} packets, {frames} were forwarded");
    let shortcut = number(&status, "shortcut")?;
    let is_fast = status["fast_path"]["state"] == "on";
    ensure!(!is_fast || shortcut > EXCHANGES as u64, "the kernel carried {shortcut}");
    let messages = fs::read(&logs.messages)?;
    let records = records(&messages)?;
    ensure!(records == 2 * opened, "{records} records of IPFIX for {opened} flows");
    Ok(())
}

/// Data records in a file of IPFIX messages: as many as came before the last message, which its
/// header says, and those in it, each of which has the name of an endpoint. (That every field is
/// where it belongs, a decoder says beside the encoder.)
fn records(mut file: &[u8]) -> Result<u64, Failure> {
    let word = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    while file.len() >= 16 {
        ensure!(word(file, 0) == 10, "the version of IPFIX");
        let length = usize::from(word(file, 2));
        ensure!((16..=file.len()).contains(&length), "the length of a message: {length}");
        let (message, rest) = file.split_at(length);
        if rest.is_empty() {
            let before = u64::from(word(message, 8)) << 16 | u64::from(word(message, 10));
            let names = message.windows(4).filter(|window| window == b"\x04pe-").count();
            return Ok(before + names as u64);
        }
        file = rest;
    }
    Err("a file of messages ends with a whole one".into())
}
