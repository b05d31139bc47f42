//! Runs packet scripts: what arrives, what leaves, byte for byte, and what is dropped why.
//!
//! A script is lines of words; `#` starts a comment. Until the first line that is not a setting,
//! the lines change the standard topology (see [`crate::topology`]); later they reload it.
//! Everything that happens must be said: after `in`, each frame that leaves by an `out` line, in
//! order, and any other verdict by `drop`, `held`, `consumed` or `handed-over`.
//!
//! Settings: `backends IP…`, `nat IP…`, `drain IP`, `close IP`, `quota NET RESERVED MAX|-`,
//! `guard NET PRIORITY allow|deny tcp|udp|any PREFIX PORT-PORT`,
//! `timeouts OPENING ESTABLISHED CLOSING UDP` (seconds), `gate NET
//! approved|pending|rejected|disconnected`, `remove-endpoint NET`, `add-endpoint NET LINK [IP]`,
//! `floating IP|none` (what backends see as the destination),
//! `space NET PREFIX` (one more), `peer NET NET PREFIX…` (of the latter; without any it is over),
//! `remove-rule PORT`, `remove-device NET`, `add-device NET NAME`, `route PREFIX ROUTER`, `mtu NET
//! BYTES`, `resets`, `hold-down TIME`, `refuse reset|silent`, `echo NET on|off`, `mss
//! auto|off|BYTES`, `icmp-errors drop|translate`, `fragments drop|reassemble`, `weights N…` (of the
//! backends), `drained IP…`, `untracked-udp`, `persistence source-ip|source-ip-protocol`,
//! `fair-share PERCENT` (of what is scarce, kept for endpoints that have less),
//! `ha-ports`, `proxy-protocol none|azure|aws|gcp`, `icmp-answers [too_big] [time_exceeded]
//! [prohibited]`. Before the start only: `workers N`, `flows-max N`, `arp manual`, `silent IP…`.
//!
//! Events: `in[@WORKER] NET PACKET`, `out NET PACKET`, `drop REASON`, `held`, `consumed`,
//! `handed-over`, `wait TIME`, `leap TIME`, `down NET`, `up NET`, `answer IP`.
//! Facts: `flows N`, `state NAME`, `count COUNTER N`. Packets are described in [`packet`].

mod balance;
pub mod describe;
pub mod packet;
mod security;
mod treatment;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::snapshot::{EndpointPlan, Gate, Quota, Refusal, RoutePlan};
use dataplane::stats::Counters;
use dataplane::types::{Addresses, DeviceIndex, LinkId, Prefix, ScopeId, Tick};

use crate::encode::Image;
use crate::observe::piece;
use crate::topology::{A, B, P, Topology};
use crate::world::{Left, World, WorldConfig};
use packet::{Side, parse_packet};

/// Every script of `tests/scripts`, sorted.
///
/// # Panics
/// A folder cannot be read.
#[must_use]
pub fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts"), &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "pkt") {
            found.push(path);
        }
    }
}

/// What a script showed.
#[derive(Debug, Default)]
pub struct Shown {
    /// The reasons for which packets were dropped, as verdicts or in counters.
    pub reasons: BTreeSet<&'static str>,
    /// Lines that were carried out.
    pub lines: usize,
    /// The frames that arrived, and by which device.
    pub arrived: Vec<(DeviceIndex, Image)>,
}

/// Carries a script out.
///
/// # Panics
/// Something else happened than it says; the message names the line.
#[must_use]
pub fn run(name: &str, text: &str) -> Shown {
    let mut runner = Runner {
        name: name.to_owned(),
        line: String::new(),
        topology: Topology::standard(),
        config: WorldConfig::default(),
        silent: Vec::new(),
        answers_arp: true,
        world: None,
        pending: None,
        bindings: BTreeMap::new(),
        shown: Shown::default(),
    };
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.split('#').next().unwrap_or_default().trim();
        if code.is_empty() {
            continue;
        }
        runner.line = format!("{name}:{number}: {code}");
        runner.shown.lines += 1;
        let words: Vec<&str> = code.split_whitespace().collect();
        runner.statement(words[0], &words[1..]);
    }
    runner.line = format!("{name}: at the end");
    runner.expect_quiet();
    runner.shown
}

struct Runner {
    name: String,
    line: String,
    topology: Topology,
    config: WorldConfig,
    silent: Vec<IpAddr>,
    answers_arp: bool,
    world: Option<World>,
    /// The last verdict, until it is claimed.
    pending: Option<Verdict>,
    bindings: BTreeMap<String, String>,
    shown: Shown,
}

impl Runner {
    fn fail(&self, why: &str) -> ! {
        panic!("{}\n    {why}", self.line)
    }

    fn number<T: std::str::FromStr>(&self, word: &str) -> T {
        match word.parse() {
            Ok(value) => value,
            Err(_) => self.fail(&format!("cannot read `{word}`")),
        }
    }

    fn statement(&mut self, verb: &str, words: &[&str]) {
        match verb {
            "workers" => self.config.workers = self.number(words[0]),
            "flows-max" => self.config.flows_max = self.number(words[0]),
            "silent" => self.silent = words.iter().map(|word| self.number(word)).collect(),
            "arp" => self.answers_arp = words != ["manual"],
            "out" => self.expect_out(words),
            "drop" | "held" | "consumed" | "handed-over" => self.expect_verdict(verb, words),
            "flows" | "state" | "count" => self.expect_fact(verb, words),
            _ if verb == "in" || verb.starts_with("in@") => self.arrive(verb, words),
            "wait" | "leap" | "down" | "up" | "answer" => self.event(verb, words),
            _ => self.change(verb, words),
        }
    }

    /// The world, started at the first event.
    fn world(&mut self) -> &mut World {
        let start = || {
            let topology = self.topology.clone();
            let silent: &[IpAddr] = &self.silent;
            if self.answers_arp {
                World::with_silent(topology, self.config, silent)
            } else {
                World::with_manual_arp(topology, self.config)
            }
        };
        self.world.get_or_insert_with(start)
    }

    fn device(&self, word: &str) -> DeviceIndex {
        match word {
            "a" => A,
            "b" => B,
            "p" => P,
            _ => self.fail("a network is a, b or p"),
        }
    }

    fn duration(&self, word: &str) -> Duration {
        let (millis, rest) = match word.strip_suffix("ms") {
            Some(rest) => (1, rest),
            None => (1000, word.trim_end_matches('s')),
        };
        Duration::from_millis(self.number::<u64>(rest) * millis)
    }

    fn prefix(&self, word: &str) -> Prefix {
        let (address, length) = word.split_once('/').unwrap_or((word, "32"));
        let prefix = Prefix::new(self.number(address), self.number(length));
        prefix.unwrap_or_else(|| self.fail("a prefix has no host bits"))
    }

    /// One more prefix, one more endpoint, or who is a peer.
    fn change_network(&self, topology: &mut Topology, net: DeviceIndex, words: &[&str]) {
        match words {
            [prefix] if prefix.contains('/') => {
                topology.plan.scopes[net.slot()].address_space.push(self.prefix(prefix));
            }
            [with @ ("a" | "b" | "p"), prefixes @ ..] => {
                let prefixes: Vec<Prefix> = prefixes.iter().map(|it| self.prefix(it)).collect();
                topology.set_peering(ScopeId(net.0), ScopeId(self.device(with).0), &prefixes);
            }
            [link] => topology.add_endpoint(net, LinkId(self.number(link))),
            [link, first, more @ ..] => {
                topology.add_endpoint(net, LinkId(self.number(link)));
                let first = Addresses::from(self.number::<IpAddr>(first));
                let and = |known: Addresses, more: &&str| known.and(self.number::<IpAddr>(more));
                let all = more.iter().try_fold(first, and);
                let new = topology.plan.endpoints.iter_mut().last().expect("it is new");
                new.addresses = all.expect("one address of each family");
            }
            _ => self.fail("no such statement"),
        }
    }

    /// NAT IPs that leave, and quotas.
    fn change_room(&self, topology: &mut Topology, verb: &str, words: &[&str]) {
        match words {
            [percent] if verb == "fair-share" => {
                topology.plan.fair_share_percent = self.number(percent);
            }
            [address] => topology.drain_nat_ip(self.number(address), verb == "close"),
            [net, reserved, most] => {
                let most = if *most == "-" { u32::MAX } else { self.number(most) };
                let quota = Quota { reserved: self.number(reserved), most };
                topology.set_quota(self.device(net), quota);
            }
            _ => self.fail("no such statement"),
        }
    }

    fn change(&mut self, verb: &str, words: &[&str]) {
        let mut topology = self.topology.clone();
        match (verb, words) {
            ("backends", _) => {
                let all: Vec<IpAddr> = words.iter().map(|word| self.number(word)).collect();
                topology.set_backends(&all);
            }
            ("nat", _) => {
                let all: Vec<IpAddr> = words.iter().map(|word| self.number(word)).collect();
                topology.set_nat_ips(&all);
            }
            ("guard", [net, rule @ ..]) => {
                let scope = ScopeId(self.device(net).0);
                let guarded = security::guard(&mut topology.plan, scope, rule);
                guarded.unwrap_or_else(|why| self.fail(why));
            }
            ("drain" | "close" | "quota" | "fair-share", _) => {
                self.change_room(&mut topology, verb, words);
            }
            ("timeouts", [a, b, c, d]) => {
                topology.set_timeouts([*a, *b, *c, *d].map(|word| self.number(word)));
            }
            ("resets", []) => topology.change_ending(|ending| ending.resets = true),
            ("hold-down", [time]) => {
                let ticks = Tick::count(self.duration(time));
                topology.change_ending(|ending| ending.hold_down_ticks = ticks);
            }
            ("refuse", ["reset"]) => topology.set_refusal(Refusal::Reset),
            ("refuse", ["silent"]) => topology.set_refusal(Refusal::Silence),
            ("gate", [net, gate]) => topology.set_gate(self.device(net), self.gate(gate)),
            ("remove-endpoint", [net]) => topology.remove_endpoint(self.device(net)),
            ("space" | "add-endpoint" | "peer", [net, rest @ ..]) => {
                self.change_network(&mut topology, self.device(net), rest);
            }
            ("remove-rule", [port]) => {
                let port: u16 = self.number(port);
                topology.plan.services[0].rules.retain(|rule| rule.port != port);
            }
            ("remove-device", [net]) => topology.set_device(self.device(net), "", false),
            ("add-device", [net, name]) => topology.set_device(self.device(net), name, true),
            ("route", [prefix, router]) => {
                topology.plan.scopes[2]
                    .routes
                    .push(RoutePlan { prefix: self.prefix(prefix), next_hop: self.number(router) });
            }
            ("mss" | "icmp-answers" | "icmp-errors" | "fragments" | "proxy-protocol", _) => {
                let treatment = topology.plan.services[0].treatment;
                let treatment = treatment::change(treatment, verb, words);
                topology.plan.services[0].treatment =
                    treatment.unwrap_or_else(|why| self.fail(why));
            }
            (verb, _) if balance::VERBS.contains(&verb) => {
                let rules = &mut topology.plan.services[0].rules;
                balance::change(rules, verb, words).unwrap_or_else(|why| self.fail(why));
            }
            ("echo", [net, switch]) => {
                let tenant = self.device(net);
                let of_tenant = |endpoint: &&mut EndpointPlan| endpoint.scope.0 == tenant.0;
                let endpoints = topology.plan.endpoints.iter_mut().filter(of_tenant);
                endpoints.for_each(|endpoint| endpoint.answers_echo = *switch == "on");
            }
            ("mtu", [net, bytes]) => {
                topology.links[self.device(net).slot()].mtu = self.number(bytes);
            }
            _ => self.fail("no such statement"),
        }
        self.topology = topology;
        self.apply(verb == "mtu");
    }

    fn apply(&mut self, links: bool) {
        if self.world.is_none() {
            return;
        }
        self.expect_quiet();
        let topology = self.topology.clone();
        let world = self.world();
        world.topology = topology;
        if links {
            [A, B, P].into_iter().for_each(|device| world.attach(device));
        } else {
            world.reload();
        }
    }

    fn gate(&self, word: &str) -> Gate {
        match word {
            "approved" => Gate::Approved,
            "pending" => Gate::Pending,
            "rejected" => Gate::Rejected,
            "disconnected" => Gate::Disconnected,
            _ => self.fail("no such gate"),
        }
    }

    fn event(&mut self, verb: &str, words: &[&str]) {
        self.expect_quiet();
        match (verb, words) {
            ("wait", [time]) => {
                let duration = self.duration(time);
                self.world().pass(duration);
            }
            ("leap", [time]) => {
                let duration = self.duration(time);
                self.world().leap(duration);
            }
            ("down", [net]) => {
                let device = self.device(net);
                self.world().detach(device);
            }
            ("up", [net]) => {
                let device = self.device(net);
                self.world().attach(device);
            }
            ("answer", [host]) => {
                let host = self.number(host);
                self.world().silent.remove(&host);
            }
            _ => self.fail("no such event"),
        }
    }

    fn arrive(&mut self, verb: &str, words: &[&str]) {
        self.expect_quiet();
        let worker = match verb.split_once('@') {
            Some((_, worker)) => self.number(worker),
            None => 0,
        };
        let device = self.device(words[0]);
        let words = self.substitute(&words[1..]);
        let side = Side::arriving(self.topology.station(device));
        let image = self.encode(&words, &side);
        let verdicts = self.world().arrive_at(worker, device, std::slice::from_ref(&image));
        self.shown.arrived.push((device, image));
        self.pending = Some(verdicts[0]);
    }

    fn encode(&self, words: &[String], side: &Side) -> Image {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let described = parse_packet(&words, side);
        described.unwrap_or_else(|why| self.fail(&why)).encode()
    }

    /// Words with their variables replaced.
    fn substitute(&self, words: &[&str]) -> Vec<String> {
        let value = |name: &str| match self.bindings.get(name) {
            Some(value) => value.clone(),
            None => self.fail(&format!("${name} was not seen yet")),
        };
        let part = |part: &str| match (part.strip_prefix('$'), part.strip_prefix("id=$")) {
            (Some(name), _) => value(name),
            (None, Some(name)) => format!("id={}", value(name)),
            (None, None) => part.to_owned(),
        };
        let word = |word: &&str| {
            let parts: Vec<String> = word.split(':').map(part).collect();
            parts.join(":")
        };
        words.iter().map(word).collect()
    }

    fn expect_out(&mut self, words: &[&str]) {
        if self.pending.is_some_and(|verdict| sends(&verdict)) {
            self.pending = None;
        }
        let device = self.device(words[0]);
        let Some(left) = self.world().left.pop_front() else {
            let pending = self.pending;
            self.fail(&format!("nothing left; the verdict is {pending:?}"))
        };
        self.bind(&words[1..], &left);
        let words = self.substitute(&words[1..]);
        let side = Side::leaving(self.topology.station(device));
        let expected = self.encode(&words, &side);
        if left.device != device || left.image != expected {
            let expected = (device, crate::observe(&expected.bytes), &expected);
            let seen = (left.device, crate::observe(&left.image.bytes), &left.image);
            self.fail(&format!("expected {expected:x?}\n    but it is {seen:x?}"));
        }
    }

    /// Binds the variables of an expected packet that were not seen before.
    fn bind(&mut self, words: &[&str], left: &Left) {
        if let Some(id) = words.iter().find_map(|word| word.strip_prefix("id=$")) {
            let whole = || u16::from_be_bytes([left.image.bytes[18], left.image.bytes[19]]).into();
            let seen: u32 = piece(&left.image.bytes).map_or_else(whole, |piece| piece.id.0);
            self.bindings.entry(id.to_owned()).or_insert(seen.to_string());
        }
        let of = words.iter().position(|word| *word == "of");
        let words = &words[of.map_or(0, |of| of + 1)..];
        let crate::Observed::Transport(seen) = crate::observe(&left.image.bytes) else {
            return;
        };
        let ends = [
            (words.get(1), seen.source, seen.source_port),
            (words.get(3), seen.destination, seen.destination_port),
        ];
        for (word, address, port) in ends {
            let Some((host, service)) = word.and_then(|word| word.rsplit_once(':')) else {
                continue;
            };
            for (part, value) in [(host, address.to_string()), (service, port.to_string())] {
                if let Some(name) = part.strip_prefix('$') {
                    self.bindings.entry(name.to_owned()).or_insert(value);
                }
            }
        }
    }

    fn expect_verdict(&mut self, verb: &str, words: &[&str]) {
        let Some(verdict) = self.pending.take() else {
            self.fail("there is no verdict to claim");
        };
        let claimed = match (verb, verdict) {
            ("drop", Verdict::Drop(reason)) => {
                self.shown.reasons.insert(reason.metric());
                words == [reason.metric()]
            }
            ("held", Verdict::Hold) | ("consumed", Verdict::Consume) => true,
            ("handed-over", Verdict::HandOver(_)) => true,
            _ => false,
        };
        if !claimed {
            self.fail(&format!("the verdict is {verdict:?}"));
        }
    }

    fn expect_fact(&mut self, verb: &str, words: &[&str]) {
        self.expect_quiet();
        match (verb, words) {
            ("flows", [count]) => {
                let count: usize = self.number(count);
                let sessions = self.world().sessions();
                if sessions.len() != count {
                    self.fail(&format!("the flows are {sessions:?}"));
                }
            }
            ("state", [name]) => {
                let sessions = self.world().sessions();
                let states: Vec<&str> = sessions.iter().map(|flow| flow.state.name()).collect();
                if states != [*name] {
                    self.fail(&format!("the states are {states:?}"));
                }
            }
            ("count", [name, count]) => {
                let count: u64 = self.number(count);
                let seen = self.counted(name);
                if seen != count {
                    self.fail(&format!("it is {seen}"));
                }
            }
            _ => self.fail("no such fact"),
        }
    }

    fn counted(&mut self, name: &str) -> u64 {
        let mut reasons = DropReason::ALL.iter();
        if let Some(reason) = reasons.find(|reason| reason.metric() == name) {
            let count = self.world().dropped(*reason);
            if count > 0 {
                self.shown.reasons.insert(reason.metric());
            }
            return count;
        }
        let at = Counters::NAMES.iter().position(|counter| *counter == name);
        let Some(at) = at else {
            self.fail("no such counter");
        };
        let engines = &self.world().engines;
        engines.iter().map(|engine| engine.counters().values()[at]).sum()
    }

    fn expect_quiet(&mut self) {
        if let Some(verdict) = self.pending.take() {
            self.fail(&format!("nobody said before that the verdict is {verdict:?}"));
        }
        if let Some(left) = self.world.as_mut().and_then(|world| world.left.pop_front()) {
            let seen = crate::observe(&left.image.bytes);
            let (device, kind) = (left.device, left.kind);
            self.fail(&format!("before it, a frame left by {device:?}, {kind:?}: {seen:x?}"));
        }
        debug_assert!(!self.name.is_empty());
    }
}

/// Whether a verdict is claimed by the frame that leaves.
fn sends(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Forward(_) | Verdict::Reply(_))
}
