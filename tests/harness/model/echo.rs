//! Echo: who is answered, how often, with what; and requests for it, drawn.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::limits::ICMP_BURST_MAX;
use dataplane::snapshot::Plan;
use dataplane::types::DeviceIndex;
use pnet_base::MacAddr;

use super::draw::{Draw, extensions, station};
use super::op::Op;
use super::peering::{judge_client, reached};
use super::rules::{Expected, Model};
use super::setup::{nat_ip, of_family};
use super::wanted::{Local, judge_gate};
use crate::encode::{Image, Shape};
use crate::icmp::{ECHO_REPLY, ECHO_REQUEST, IcmpShape};
use crate::ndp::ICMPV6;
use crate::random::Random;
use crate::script::packet::{Described, pattern};

/// Types of requests and replies of ICMPv6 (RFC 4443 4).
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// How many messages each network may still be sent: a burst, and one more with each tick.
#[derive(Default)]
pub(super) struct Budgets(BTreeMap<u16, (u64, u64)>);

impl Budgets {
    /// Whether there is one more, which is then used.
    pub(super) fn spend(&mut self, scope: u16, now: u64) -> bool {
        let most = u64::from(ICMP_BURST_MAX);
        let (left, since) = self.0.entry(scope).or_insert((most, now));
        (*left, *since) = (most.min(*left + now - *since), now);
        let may = *left > 0;
        *left -= u64::from(may);
        may
    }
}

/// A request of right form.
pub(super) struct Echo {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// From its type on.
    pub(super) message: Vec<u8>,
    /// What lies behind its packet.
    pub(super) padding: Vec<u8>,
}

pub(super) fn is_echo_request(kind: u8, is_ipv6: bool) -> bool {
    kind == if is_ipv6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST }
}

/// Whether an address is that of an endpoint that answers.
pub(super) fn answers_echo(plan: &Plan, scope: u16, address: IpAddr) -> bool {
    matches!(reached(plan, scope, address), Ok(Local::Endpoint(endpoint)) if endpoint.answers_echo)
}

impl Model {
    /// A request to an endpoint that answers.
    pub(super) fn answer_echo(
        &mut self,
        worker: usize,
        (ingress, scope): (DeviceIndex, u16),
        echo: &Echo,
        input: &Image,
    ) -> Result<Expected, DropReason> {
        let plan = self.plan(worker);
        let Local::Endpoint(endpoint) = reached(plan, scope, echo.destination)? else {
            return Err(DropReason::IcmpUnsupported);
        };
        judge_client(plan, (scope, echo.source), endpoint.scope.0)?;
        judge_gate(endpoint.gate)?;
        let (now, asker) = (self.now, &mut self.workers[worker]);
        if !asker.echoes.spend(scope, now) {
            return Err(DropReason::IcmpRate);
        }
        let is_ipv6 = echo.source.is_ipv6();
        let reply = IcmpShape {
            kind: if is_ipv6 { ECHO_REPLY_V6 } else { ECHO_REPLY },
            word: echo.message[4..8].try_into().expect("a message has eight bytes"),
            body: echo.message[8..].to_vec(),
            ..IcmpShape::default()
        };
        let mut shape = reply.between(echo.destination, echo.source);
        let asked_by = <[u8; 6]>::try_from(&input.bytes[6..12]).expect("a frame has a header");
        shape.to_mac = MacAddr::from(asked_by);
        shape.from_mac = MacAddr::from(asker.links[&ingress].mac.0);
        shape.fragment_flags = 2;
        shape.padding.clone_from(&echo.padding);
        self.echoed[usize::from(is_ipv6)] += 1;
        let sum_at = 14 + if is_ipv6 { 42 } else { 22 };
        let (verdict, image) = (Verdict::Reply(ingress), Some(shape.encode()));
        Ok(Expected { image, zero_at: Some(sum_at), ..verdict.into() })
    }
}

impl Draw {
    /// An echo request of a client, sometimes a flood of them.
    pub(super) fn ping(&mut self, model: &Model) -> Op {
        let (mut device, asker) = self.new_client();
        let (from, mut to) = (asker.source, asker.destination);
        if self.random.one_in(20) {
            to = of_family(nat_ip(0, 0), to.is_ipv6());
        }
        if self.random.one_in(40) {
            device = self.device();
        }
        let shape = request(&mut self.random, (from, to));
        let packet = Described::Ipv4(shape.to_station(station(model, device)), None);
        let op = self.arrive(device, None, packet);
        if self.random.one_in(50) {
            self.next = vec![op.clone(); ICMP_BURST_MAX as usize];
        }
        op
    }
}

/// A request, sometimes with one thing that is wrong or odd.
fn request(random: &mut Random, (from, to): (IpAddr, IpAddr)) -> Shape {
    let mut asked = IcmpShape::echo(ECHO_REQUEST, random.half(), random.half(), &[]);
    if from.is_ipv6() {
        asked.kind = ECHO_REQUEST_V6;
    }
    asked.body = pattern(random.below(64));
    match random.below(20) {
        0 => asked.error = 1,
        1 => asked.kind = asked.kind.wrapping_add(1),
        2 => asked.code = 1,
        _ => {}
    }
    let mut shape = asked.between(from, to);
    shape.ttl = *random.pick(&[64, 255, 1]);
    match random.below(20) {
        0 if from.is_ipv6() => shape.extensions = extensions(random, ICMPV6),
        0 => shape.ip_options = vec![1; 4],
        1 => shape.padding = pattern(1 + random.below(8)),
        2 => shape.payload.truncate(random.below(12)),
        3 => (shape.tos, shape.flow_label) = (random.half().to_le_bytes()[0], 7),
        _ => {}
    }
    shape
}
