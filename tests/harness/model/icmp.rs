//! ICMP errors: which packets they may be about, and what they become, written anew from byte one.

use std::net::IpAddr;

use dataplane::device::Checksum;
use dataplane::drop_reason::DropReason;
use dataplane::engine::{Arrival, Verdict};
use dataplane::snapshot::{IcmpErrors, Plan, ServicePlan};
use dataplane::types::{DeviceIndex, Direction, WorkerId};
use pnet_base::MacAddr;

use super::choices::{SQUATTER, Seen};
use super::echo::{Echo, answers_echo, is_echo_request};
use super::expect::Socket;
use super::form::{header_bytes, upper};
use super::insertion::Lead;
use super::peering::reached;
use super::rules::{Expected, Key, Model};
use super::wanted::{Local, has_nat_ip, is_pool, judge_source};
use crate::address::octets;
use crate::encode::{ICMP, Image, TCP, UDP};
use crate::icmp::{Carried, IcmpShape};
use crate::ndp::ICMPV6;
use crate::sum::{add, pseudo_header, sum};

/// Bytes of a quote that are kept.
const KEPT: usize = 128;

/// An error of right form.
struct Message {
    source: IpAddr,
    destination: IpAddr,
    hops: u8,
    /// Type, code and second word.
    said: (u8, u8, u32),
    quote: Quote,
}

/// The packet that it is about, as far as it is quoted.
struct Quote {
    protocol: u8,
    source: Socket,
    destination: Socket,
    /// Its header, with whatever is between that and its transport header.
    header: Vec<u8>,
    transport: Vec<u8>,
    /// Bytes that it says it has.
    bytes: usize,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn ends(ip: &[u8]) -> (IpAddr, IpAddr) {
    let four = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&ip[at..at + 4]).unwrap());
    let sixteen = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&ip[at..at + 16]).unwrap());
    if ip[0] >> 4 == 6 { (sixteen(8), sixteen(24)) } else { (four(12), four(16)) }
}

/// A message that adit may have to do something about.
enum Heard {
    Echo(Echo),
    Error(Message),
}

/// The ICMP message of a frame whose IP header holds.
fn read(bytes: &[u8]) -> Result<Heard, DropReason> {
    let ip = &bytes[14..];
    let is_ipv6 = ip[0] >> 4 == 6;
    let (header, total) = match is_ipv6 {
        true => {
            let total = 40 + usize::from(word(ip, 4));
            (upper(&ip[..total])?.at, total)
        }
        false => (usize::from(ip[0] & 15) * 4, usize::from(word(ip, 2))),
    };
    let message = &ip[header..total];
    let (source, destination) = ends(ip);
    let number = if is_ipv6 { ICMPV6 } else { ICMP };
    let pseudo = match is_ipv6 {
        true => pseudo_header(source, destination, number, u16::try_from(message.len()).unwrap()),
        false => 0,
    };
    if message.len() < 8 || add(pseudo, sum(message)) != 0xffff {
        return Err(DropReason::IcmpInvalid);
    }
    let said = (message[0], message[1], u32::from_be_bytes(message[4..8].try_into().unwrap()));
    let is_error = if is_ipv6 { (1..=4).contains(&said.0) } else { [3, 11, 12].contains(&said.0) };
    if is_echo_request(said.0, is_ipv6) && header == header_bytes(is_ipv6) {
        let (message, padding) = (message.to_vec(), ip[total..].to_vec());
        return Ok(Heard::Echo(Echo { source, destination, message, padding }));
    }
    if !is_error {
        return Err(DropReason::IcmpUnsupported);
    }
    if is_ipv6 && said.0 == 2 && said.2 < 1_280 {
        return Err(DropReason::IcmpInvalid);
    }
    let announced = match (is_ipv6, said.0) {
        (false, _) => usize::from(message[5]) * 4,
        (true, 1 | 3) => usize::from(message[4]) * 8,
        (true, _) => 0,
    };
    let announced = if announced == 0 { usize::MAX } else { announced };
    let quote = quote(&message[8..], is_ipv6, announced)?;
    let mut message =
        Message { source, destination, hops: ip[if is_ipv6 { 7 } else { 8 }], said, quote };
    if is_ipv6 && said.0 == 4 {
        let (pointer, behind) = (said.2, u32::try_from(message.quote.header.len()).unwrap());
        message.said.2 = match pointer {
            ..40 => pointer,
            _ if pointer < behind => return Err(DropReason::IcmpUntranslatable),
            _ => pointer - (behind - 40),
        };
    }
    Ok(Heard::Error(message))
}

fn quote(quote: &[u8], is_ipv6: bool, announced: usize) -> Result<Quote, DropReason> {
    let least = if is_ipv6 { 40 } else { 20 };
    let version = if is_ipv6 { 6 } else { 4 };
    if quote.len() < least || quote[0] >> 4 != version {
        return Err(DropReason::IcmpInvalid);
    }
    let (source, destination) = ends(quote);
    let is_mapped = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    if is_mapped(destination) {
        return Err(DropReason::IcmpInvalid);
    }
    let said = usize::from(word(quote, if is_ipv6 { 4 } else { 2 }));
    let bytes = if is_ipv6 { 40 + said } else { said };
    let kept = &quote[..quote.len().min(bytes).min(announced).min(KEPT)];
    let (protocol, at) = if is_ipv6 {
        if kept.len() < 40 {
            return Err(DropReason::IcmpInvalid);
        }
        let upper = upper(kept).map_err(|reason| match reason {
            DropReason::Ipv6RoutingHeader => DropReason::IcmpUnmatched,
            _ => DropReason::IcmpInvalid,
        })?;
        if upper.piece.is_some_and(|piece| piece.start > 0) {
            return Err(DropReason::IcmpUnmatched);
        }
        (upper.number, upper.at)
    } else {
        let header = usize::from(quote[0] & 15) * 4;
        if header < 20 || header > quote.len() || sum(&quote[..header]) != 0xffff {
            return Err(DropReason::IcmpInvalid);
        }
        if header > 20 || word(quote, 6) & 0x1fff != 0 {
            return Err(DropReason::IcmpUnmatched);
        }
        (quote[9], 20)
    };
    if protocol != TCP && protocol != UDP {
        return Err(DropReason::IcmpUnmatched);
    }
    let transport = kept.get(at..).filter(|transport| transport.len() >= 8);
    let transport = transport.ok_or(DropReason::IcmpInvalid)?.to_vec();
    Ok(Quote {
        protocol,
        source: (source, word(&transport, 0)),
        destination: (destination, word(&transport, 2)),
        header: quote[..at].to_vec(),
        transport,
        bytes,
    })
}

impl Quote {
    /// The same packet between these ends instead, with other numbers, as many bytes as are quoted;
    /// and where in it the transport checksum is, if that is quoted.
    fn between(
        &self,
        from: Socket,
        to: Socket,
        (sequence, acknowledgement): (u32, u32),
    ) -> (Vec<u8>, Option<usize>) {
        let (was_ipv6, is_ipv6) = (self.source.0.is_ipv6(), from.0.is_ipv6());
        let body = self.bytes - self.header.len();
        let addresses = [octets(from.0), octets(to.0)].concat();
        let (class, hops) = match was_ipv6 {
            true => (self.header[0] << 4 | self.header[1] >> 4, self.header[7]),
            false => (self.header[1], self.header[8]),
        };
        let mut header = match (was_ipv6, is_ipv6) {
            (false, false) => self.header.clone(),
            (true, true) => self.header[..40].to_vec(),
            (false, true) => {
                let mut header = vec![0x60 | class >> 4, class << 4, 0, 0, 0, 0, 0, hops];
                header.resize(40, 0);
                header
            }
            (true, false) => {
                let mut header = vec![0x45, class, 0, 0, 0, 0, 0x40, 0, hops, self.protocol];
                header.resize(20, 0);
                header
            }
        };
        if is_ipv6 {
            header[4..6].copy_from_slice(&u16::try_from(body).unwrap().to_be_bytes());
            header[6] = self.protocol;
            header[8..].copy_from_slice(&addresses);
        } else {
            let total = u16::try_from(20 + body).unwrap_or(u16::MAX);
            header[2..4].copy_from_slice(&total.to_be_bytes());
            header[12..].copy_from_slice(&addresses);
            header[10..12].fill(0);
            let checksum = !sum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        let mut transport = self.transport.clone();
        transport.truncate(KEPT - header.len());
        let before = add(self.address_sum(), sum(&transport[..transport.len().min(12)]));
        transport[..2].copy_from_slice(&from.1.to_be_bytes());
        transport[2..4].copy_from_slice(&to.1.to_be_bytes());
        if self.protocol == TCP {
            for (at, moved) in [(4, sequence), (8, acknowledgement)] {
                if let Some(field) = transport.get_mut(at..at + 4) {
                    let number = u32::from_be_bytes(field[..].try_into().unwrap());
                    field.copy_from_slice(&number.wrapping_add(moved).to_be_bytes());
                }
            }
        }
        let after = add(sum(&addresses), sum(&transport[..transport.len().min(12)]));
        let at = if self.protocol == TCP { 16 } else { 6 };
        let zero_at = self.write_sum(&mut transport, at, (before, after));
        let length = header.len();
        ([header, transport].concat(), zero_at.map(|at| length + at))
    }

    fn address_sum(&self) -> u16 {
        add(sum(&octets(self.source.0)), sum(&octets(self.destination.0)))
    }

    fn write_sum(
        &self,
        transport: &mut [u8],
        at: usize,
        (before, after): (u16, u16),
    ) -> Option<usize> {
        let field = transport.get_mut(at..at + 2)?;
        let was = u16::from_be_bytes([field[0], field[1]]);
        if self.protocol == UDP && was == 0 {
            return None;
        }
        let mut now = !add(add(!was, !before), after);
        if self.protocol == UDP && now == 0 {
            now = 0xffff;
        }
        field.copy_from_slice(&now.to_be_bytes());
        Some(at).filter(|_| self.protocol == TCP)
    }
}

/// The service of an address of adit's.
pub(super) fn service_at(plan: &Plan, scope: u16, address: IpAddr) -> Option<&ServicePlan> {
    match reached(plan, scope, address).ok()? {
        Local::Endpoint(endpoint) => plan.services.get(endpoint.service.slot()),
        Local::NatIp => {
            let services = plan.services.iter().enumerate();
            let mut services = services.filter(|(_, service)| service.scope.0 == scope);
            let found = services.find(|(at, _)| has_nat_ip(plan, *at, address).is_some());
            found.map(|(_, service)| service)
        }
        Local::ProbeSource => None,
    }
}

impl Model {
    /// An ICMP message.
    pub(super) fn hear_icmp(
        &mut self,
        (worker, arrival): (usize, Arrival),
        (ingress, scope): (DeviceIndex, u16),
        input: &Image,
        seen: &dyn Seen,
    ) -> Result<Expected, DropReason> {
        let (plan, destination) = (self.plan(worker), ends(&input.bytes[14..]).1);
        let service = service_at(plan, scope, destination);
        let errors = service.map_or(IcmpErrors::Drop, |service| service.treatment.icmp_errors);
        let echoes = answers_echo(plan, scope, destination);
        if errors == IcmpErrors::Drop && !echoes {
            return Err(DropReason::IcmpUnsupported);
        }
        if input.offload.checksum != Checksum::Complete || input.offload.segmentation.is_some() {
            return Err(DropReason::OffloadInvalid);
        }
        let message = match read(&input.bytes)? {
            Heard::Echo(echo) if echoes => {
                return self.answer_echo(worker, (ingress, scope), &echo, input);
            }
            Heard::Error(message) if errors == IcmpErrors::Translate => message,
            Heard::Echo(_) | Heard::Error(_) => return Err(DropReason::IcmpUnsupported),
        };
        judge_source(plan, scope, message.source)?;
        if message.hops <= 1 {
            let of = [DropReason::Ipv4TtlExpired, DropReason::Ipv6HopLimit];
            return Err(of[usize::from(message.source.is_ipv6())]);
        }
        if message.quote.source.0 != message.destination {
            return Err(DropReason::IcmpUnmatched);
        }
        let sender = self.sender((worker, arrival), scope, &message.quote, seen)?;
        let (key, sent) = match sender {
            Sender::Peer(owner) if arrival == Arrival::Device => {
                return Ok(Verdict::HandOver(WorkerId(owner)).into());
            }
            Sender::Peer(_) => return Err(DropReason::IcmpUnmatched),
            Sender::Flow(key, sent) => (key, sent),
        };
        self.revalidate(&key, seen)?;
        let message = (&message, sent);
        self.carry_error((worker, ingress), &key, message)
    }

    /// Whose the quoted packet is.
    fn sender(
        &mut self,
        (worker, arrival): (usize, Arrival),
        scope: u16,
        quote: &Quote,
        seen: &dyn Seen,
    ) -> Result<Sender, DropReason> {
        let nobody = DropReason::IcmpUnmatched;
        let (source, destination, protocol) = (quote.source, quote.destination, quote.protocol);
        let pool = (scope, source.0, destination.0, protocol);
        if !is_pool(self.plan(worker), pool) {
            let key = (scope, protocol, destination, source);
            let owner = match arrival {
                Arrival::Device => self.owner(worker, key, seen.verdict()),
                Arrival::Peer => worker,
            };
            if owner != worker {
                return Ok(Sender::Peer(u8::try_from(owner).unwrap()));
            }
            let flow = self.flows.get(&key).filter(|flow| flow.worker == worker);
            let lives = flow.is_some_and(|flow| !flow.is_expired(self.now));
            return lives.then_some(Sender::Flow(key, Direction::Return)).ok_or(nobody);
        }
        let lease = (pool, source.1);
        let rest = self.resting.get(&lease).copied();
        let key = self.leases.get(&lease).copied();
        let owner = match (key, rest) {
            (Some(key), _) => self.flows[&key].worker,
            (None, Some(rest)) => rest.worker,
            (None, None) if source.1 >= 1024 && !self.is_free(pool, source.1) => {
                usize::from(SQUATTER.0)
            }
            (None, None) => return Err(nobody),
        };
        if owner != worker {
            return Ok(Sender::Peer(u8::try_from(owner).unwrap()));
        }
        if let Some(rest) = rest {
            // The record of a port that rests knows what it sent.
            let is_its = self.now < rest.until && rest.target == destination;
            return Err(if is_its { DropReason::UnsolicitedFromProvider } else { nobody });
        }
        let key = key.ok_or(nobody)?;
        let flow = &self.flows[&key];
        let is_its = !flow.is_expired(self.now) && flow.choice.target == destination;
        is_its.then_some(Sender::Flow(key, Direction::Forward)).ok_or(nobody)
    }

    /// The error as the sender of its packet gets it.
    fn carry_error(
        &mut self,
        (worker, ingress): (usize, DeviceIndex),
        key: &Key,
        (message, sent): (&Message, Direction),
    ) -> Result<Expected, DropReason> {
        let (flow, view) = (&self.flows[key], self.view(worker));
        let (hop, from, to) = match sent {
            Direction::Forward => (flow.client.ok_or(DropReason::ClientUnknown)?, key.2, key.3),
            Direction::Return => {
                let next_hop = (flow.provider, view.next_hop(flow.provider, flow.choice.backend));
                let hop = view.hops.lookup(next_hop).ok_or(DropReason::NeighborPending)?;
                (hop, flow.choice.target, flow.choice.nat)
            }
        };
        let links = &self.workers[worker].links;
        let out = links.get(&hop.0).ok_or(DropReason::DeviceDown)?;
        let ingress = links.get(&ingress).ok_or(DropReason::DeviceDown)?;
        let carried = Carried {
            from_ipv6: message.source.is_ipv6(),
            to_ipv6: from.0.is_ipv6(),
            mtus: (ingress.mtu, out.mtu),
            quoted_bytes: u32::try_from(message.quote.bytes).unwrap(),
        };
        let (kind, code, word) =
            carried.said(message.said).ok_or(DropReason::IcmpUntranslatable)?;
        let inserted = match flow.lead {
            Lead::Sent(bytes, _) => bytes,
            Lead::Nothing | Lead::Owed(_) => 0,
        };
        let moved = match sent {
            Direction::Forward => (inserted.wrapping_neg(), 0),
            Direction::Return => (0, inserted),
        };
        let (body, zero_at) = message.quote.between(from, to, moved);
        let told = IcmpShape { kind, code, word: word.to_be_bytes(), body, error: 0 };
        let mut shape = told.between(to.0, from.0).to_station(MacAddr::from(hop.1));
        shape.from_mac = MacAddr::from(out.mac.0);
        shape.ttl = message.hops - 1;
        shape.fragment_flags = 2;
        let zero_at = zero_at.map(|at| at + 14 + if carried.to_ipv6 { 48 } else { 28 });
        self.reported[usize::from(carried.from_ipv6)][usize::from(carried.to_ipv6)] += 1;
        let image = Some(shape.encode());
        let verdict = Verdict::Forward(hop.0);
        Ok(Expected { image, zero_at, ..verdict.into() })
    }
}

/// Who sent a packet that an error quotes.
enum Sender {
    /// Another worker may know.
    Peer(u8),
    /// A flow, and which way.
    Flow(Key, Direction),
}
