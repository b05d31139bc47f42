//! Packets that are watched while they pass: those that were asked for and no others, as they came
//! and as they left, in a file that another program reads; also flows that the kernel carried.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use lab::client::{udp_exchange, udp_send};

use super::{FAST, FAST_2, PACKET, PACKET_2, TAP_2, XDP_2};
use crate::case::{Case, Failure, Outcome, wait_until};
use crate::pcapng::{Block, read};
use crate::role;
use crate::world::{BACKENDS, CLIENT, ENDPOINT, NAT_IPS, World, dial, port};

pub(super) const CASES: &[Case] = &[
    Case::new("trace::packet_1_worker", PACKET, trace),
    Case::new("trace::packet_2_workers", PACKET_2, trace),
    Case::new("trace::xdp_2_workers", XDP_2, trace),
    Case::new("trace::tap_2_workers", TAP_2, trace),
    Case::new("trace::fast_path_1_worker", FAST, trace),
    Case::new("trace::fast_path_2_workers", FAST_2, trace),
];

/// Conversations, from as many ports, and exchanges of each.
const TALKS: u16 = 6;
const EXCHANGES: usize = 10;
/// Nobody else takes ports from here on.
const FIRST_PORT: u16 = 20_000;
/// A port of the endpoint that no rule covers.
const NOWHERE: u16 = 9;

fn trace(world: &mut World) -> Outcome {
    // What the kernel may carry, it carries from here on.
    world.both(|_| talk())?;
    let is_fast = world.adit.ask(&["status"])?["fast_path"]["state"] == "on";
    let shortcut = || world.adit.status("shortcut");
    ensure!(!is_fast || shortcut()? > 0, "the kernel carries packets");
    let file = world.adit.directory().join("trace.pcapng");
    let name = file.to_str().ok_or("a path")?;
    let expected = 2 * usize::from(TALKS) * EXCHANGES;
    let words = ["--vnet", "a", "--client", "10.0.0.10", "--protocol", "udp"];
    let count = expected.to_string();
    let watcher = Watcher::start(world, &[&words[..], &["-c", &count, "--write", name]].concat())?;
    world.both(|_| talk())?;
    let text = watcher.end()?;
    let lines: Vec<&str> = text.lines().collect();
    ensure!(lines.len() == expected, "a line for each packet: {text}");
    let is_line = |line: &&&str| line.contains(" forwarded ") && line.contains(" => udp ");
    ensure!(lines.iter().filter(is_line).count() == expected, "both sides on each: {text}");
    pairs(&read(&fs::read(&file)?)?, expected)?;
    drops(world)?;
    mistakes(world)?;
    // Nobody watches any more: what was taken back is lent again.
    let before = shortcut()?;
    world.both(|_| talk())?;
    wait_until("the kernel carries packets again", || Ok(!is_fast || shortcut()? > before))?;
    world.wait_for_balance()
}

fn talk() -> Outcome {
    for port in (FIRST_PORT..).take(usize::from(TALKS)) {
        for at in 0..EXCHANGES {
            let source = SocketAddrV4::new(CLIENT, port);
            udp_exchange(&dial(port::ECHO).from(source), &"x".repeat(at * 20))?;
        }
    }
    Ok(())
}

/// `adit trace`, under way.
struct Watcher {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
}

impl Watcher {
    /// Starts it, and waits until it sees everything.
    fn start(world: &World, words: &[&str]) -> Result<Watcher, Failure> {
        let mut command = role::adit();
        command.arg("trace").args(words).arg("--socket").arg(world.adit.socket());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let said = child.stderr.take().ok_or("it has an error output")?;
        let mut watcher = Watcher { child, said: BufReader::new(said) };
        let mut line = String::new();
        watcher.said.read_line(&mut line)?;
        ensure!(line.contains("every worker shows its packets now"), "{line}");
        Ok(watcher)
    }

    /// Waits for its end; what it wrote.
    fn end(mut self) -> Result<String, Failure> {
        let mut text = String::new();
        self.child.stdout.take().ok_or("it has an output")?.read_to_string(&mut text)?;
        let mut said = String::new();
        self.said.read_to_string(&mut said)?;
        let status = self.child.wait()?;
        ensure!(status.success() && !said.contains("unseen"), "{status}: {said}");
        Ok(text)
    }
}

/// Source and destination of a frame with a UDP datagram in it, and what it brings.
fn datagram(frame: &[u8]) -> Result<([SocketAddrV4; 2], &[u8]), Failure> {
    ensure!(frame.len() >= 42 && frame[12..15] == [8, 0, 0x45], "IPv4: {frame:x?}");
    ensure!(frame[23] == 17, "UDP: {frame:x?}");
    let socket = |address: usize, port: usize| {
        let octets = [frame[address], frame[address + 1], frame[address + 2], frame[address + 3]];
        let port = u16::from_be_bytes([frame[port], frame[port + 1]]);
        SocketAddrV4::new(Ipv4Addr::from(octets), port)
    };
    Ok(([socket(26, 34), socket(30, 36)], &frame[42..]))
}

/// Every packet is there on both sides of the translation, which one answer undoes.
fn pairs(blocks: &[Block], expected: usize) -> Outcome {
    let mut by_id: BTreeMap<u64, Vec<&Block>> = BTreeMap::new();
    blocks.iter().for_each(|block| by_id.entry(block.id).or_default().push(block));
    ensure!(by_id.len() == expected, "{} packets of {expected}", by_id.len());
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    let mut flows = BTreeMap::new();
    let (mut forward, mut back) = (0, 0);
    for (id, sides) in &by_id {
        let [before, after] = sides.as_slice() else {
            return Err(format!("packet {id} has two sides: {sides:?}").into());
        };
        ensure!((before.way, after.way) == (1, 2), "in, and out: {before:?} {after:?}");
        let said = format!("adit packet {id}: forwarded, leaves by {}", after.interface);
        ensure!(before.comment == said, "{}", before.comment);
        let said = format!("adit packet {id}: forwarded, came by {}", before.interface);
        ensure!(after.comment == said, "{}", after.comment);
        ensure!(before.at_ns == after.at_ns && now.abs_diff(before.at_ns) < 60_000_000_000, "now");
        let ([source, destination], payload) = datagram(&before.bytes)?;
        let ([new_source, new_destination], new_payload) = datagram(&after.bytes)?;
        ensure!(payload == new_payload, "what it brings stays what it is");
        ensure!(before.length == after.length && before.length >= before.bytes.len(), "lengths");
        if destination == SocketAddrV4::new(ENDPOINT, port::ECHO.0) {
            forward += 1;
            ensure!(*source.ip() == CLIENT, "from the client: {source}");
            ensure!(NAT_IPS.contains(new_source.ip()), "by a NAT IP: {new_source}");
            ensure!(BACKENDS.contains(new_destination.ip()), "to a backend: {new_destination}");
            let known = flows.insert((new_destination, new_source), (destination, source));
            ensure!(known.is_none_or(|known| known == (destination, source)), "one flow, one port");
        } else {
            back += 1;
            let undone = flows.get(&(source, destination));
            ensure!(undone == Some(&(new_source, new_destination)), "{source} > {destination}");
        }
    }
    ensure!(forward == expected / 2 && back == expected / 2, "{forward} there, {back} back");
    ensure!(flows.len() == usize::from(TALKS), "{} conversations", flows.len());
    Ok(())
}

/// Drops come with their reason, and nothing else does.
fn drops(world: &World) -> Outcome {
    let file = world.adit.directory().join("drops.pcapng");
    let name = file.to_str().ok_or("a path")?;
    let words = ["--reason", "no_rule", "--vnet", "b", "-c", "3", "--write", name];
    let watcher = Watcher::start(world, &words)?;
    world.both(|_| {
        for _ in 0..3 {
            udp_send(&dial((NOWHERE, 0)), b"nobody hears this")?;
            udp_exchange(&dial(port::ECHO), "somebody hears this")?;
        }
        Ok(())
    })?;
    let text = watcher.end()?;
    ensure!(text.lines().count() == 3 && text.contains(" dropped no_rule -"), "{text}");
    let blocks = read(&fs::read(&file)?)?;
    ensure!(blocks.len() == 3, "one side each: {blocks:?}");
    for block in blocks {
        let ([_, destination], payload) = datagram(&block.bytes)?;
        ensure!(destination == SocketAddrV4::new(ENDPOINT, NOWHERE), "{destination}");
        ensure!(payload == b"nobody hears this", "its bytes");
        let said = format!("adit packet {}: dropped (no_rule): ", block.id);
        ensure!(block.comment.starts_with(&said), "{}", block.comment);
        ensure!(block.comment.len() > said.len(), "in words: {}", block.comment);
    }
    Ok(())
}

/// A name that nobody has is an error that names the nearest.
fn mistakes(world: &World) -> Outcome {
    for (words, near) in [
        (["--vnet", "provder"], "did you mean \"provider\"?"),
        (["--endpoint", "pe-"], "did you mean \"pe-"),
        (["--nat-ip", "10.1.0.40"], "did you mean \"10.1.0.4\"?"),
        (["--backend", "10.1.0.100"], "did you mean \"10.1.0.10\"?"),
        (["--reason", "no_rul"], "did you mean \"no_rule\"?"),
        (["--snap", "20"], "ask for 64 to 9216"),
    ] {
        let output = world.adit.command(&[&["trace", "-c", "1"], &words[..]].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_refused = output.status.code() == Some(1) && said.contains(near);
        ensure!(is_refused, "{words:?}: {}, {said}", output.status);
    }
    Ok(())
}
