//! PROXY headers in front of what clients send, by an encoder of the model's own: what becomes of
//! segments because of them, and when they are sent.

use dataplane::drop_reason::DropReason;
use dataplane::limits::{HEADERS_MIN, HEADERS_SHARE};
use dataplane::types::{Direction, LinkId, ProxyDialect};

use super::ending::own;
use super::expect::{Edit, is_right};
use super::form::Packet;
use super::rules::{Key, Model};
use crate::address::octets;
use crate::encode::{Image, Shape, TCP, flags};

/// Ticks until a header is sent again for the first time, and how often that is doubled.
const PATIENCE: u64 = 20;
const DOUBLINGS: u32 = 7;

/// What adit puts in front of a client's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    Nothing,
    /// The number at which it will begin, if the backend has said it.
    Owed(Option<u32>),
    /// So many bytes, and the rest while they are not acknowledged.
    Sent(u32, Option<Underway>),
}

/// A header that is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Underway {
    pub(super) first: u32,
    header: Vec<u8>,
    said: Said,
    due: u64,
    times_due: u32,
    was_sent: bool,
    was_hurried: bool,
}

/// What a segment says, read from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    sequence: u32,
    acknowledgement: u32,
    window: u16,
    /// The whole option, with what aligns it.
    timestamps: Vec<u8>,
}

/// What becomes of a client's segment.
#[derive(Debug)]
pub(super) enum Fate {
    Replaced,
    Passes(Vec<Edit>),
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Kind, place and length of each option, up to one that cannot be.
fn options(input: &Image, packet: &Packet) -> Vec<(u8, usize, usize)> {
    let segment = &input.bytes[packet.transport_at..];
    let end = usize::from(segment[12] >> 4) * 4;
    let (mut found, mut at) = (Vec::new(), 20);
    while at < end && segment[at] != 0 {
        if segment[at] == 1 {
            at += 1;
            continue;
        }
        let length = if at + 1 < end { usize::from(segment[at + 1]) } else { 0 };
        if length < 2 || at + length > end {
            break;
        }
        found.push((segment[at], at, length));
        at += length;
    }
    found
}

fn said(input: &Image, packet: &Packet) -> Said {
    let segment = &input.bytes[packet.transport_at..];
    let all = options(input, packet);
    let stamps = all.iter().find(|option| option.0 == 8).filter(|option| option.2 == 10);
    let stamps = stamps.map(|&(_, at, _)| [&[1, 1], &segment[at..at + 10]].concat());
    Said {
        sequence: word(segment, 4),
        acknowledgement: word(segment, 8),
        window: u16::from_be_bytes([segment[14], segment[15]]),
        timestamps: stamps.unwrap_or_default(),
    }
}

/// Whether the checksum is right, as far as anybody can tell.
fn is_intact(input: &Image, packet: &Packet) -> bool {
    // Of a fragment nobody can tell.
    packet.partial || packet.piece.is_some() || is_right(&input.bytes, packet)
}

fn data_bytes(input: &Image, packet: &Packet) -> usize {
    let header = usize::from(input.bytes[packet.transport_at + 12] >> 4) * 4;
    packet.covered_end - packet.transport_at - header
}

/// Whether a number comes before another.
fn is_before(number: u32, other: u32) -> bool {
    (number.wrapping_sub(other) as i32) < 0
}

fn encode(dialect: ProxyDialect, link: LinkId, key: &Key) -> Vec<u8> {
    let tlv = match dialect {
        ProxyDialect::Azure => [&[0xee, 0, 5, 1][..], &link.0.to_le_bytes()].concat(),
        ProxyDialect::Aws => {
            [&[0xea, 0, 23, 1][..], format!("vpce-{:017x}", link.0).as_bytes()].concat()
        }
        ProxyDialect::Gcp => [&[0xe0, 0, 8, 0, 0, 0, 0][..], &link.0.to_be_bytes()].concat(),
    };
    let (_, _, client, endpoint) = key;
    let addresses = [octets(client.0), octets(endpoint.0)].concat();
    let family = if client.0.is_ipv6() { 0x21 } else { 0x11 };
    let mut header = vec![13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21, family, 0];
    header.push(u8::try_from(addresses.len() + 4 + tlv.len()).unwrap());
    header.extend(addresses);
    header.extend(client.1.to_be_bytes());
    header.extend(endpoint.1.to_be_bytes());
    header.extend(tlv);
    header
}

impl Model {
    fn dialect(&self, worker: usize, link: LinkId) -> Option<ProxyDialect> {
        let plan = &self.view(worker).plan;
        let endpoint = plan.endpoints.iter().find(|endpoint| endpoint.link == link)?;
        plan.services[endpoint.service.slot()].treatment.proxy_protocol
    }

    /// What a flow begins with.
    pub(super) fn lead(&self, worker: usize, link: LinkId, protocol: u8) -> Lead {
        let owes = protocol == TCP && self.dialect(worker, link).is_some();
        if owes { Lead::Owed(None) } else { Lead::Nothing }
    }

    /// Headers of a worker's flows that are not acknowledged.
    pub(super) fn count_headers(&self, worker: usize) -> usize {
        let mut flows =
            self.flows.values().filter(|flow| flow.worker == worker).collect::<Vec<_>>();
        flows.retain(|flow| matches!(flow.lead, Lead::Sent(_, Some(_))));
        flows.len()
    }

    /// What becomes of a client's segment.
    pub(super) fn lead_forward(
        &mut self,
        key: &Key,
        packet: &Packet,
        input: &Image,
    ) -> Result<Fate, DropReason> {
        let flow = &self.flows[key];
        if flow.lead == Lead::Nothing {
            return Ok(Fate::Passes(Vec::new()));
        }
        if packet.has(flags::SYN) {
            // What a fragment leaves out nobody can look into.
            return match packet.piece {
                Some(_) => Err(DropReason::ProxyHeaderEarly),
                None => Ok(Fate::Passes(stripped(input, packet))),
            };
        }
        let (resets, heard) = (packet.has(flags::RST), said(input, packet));
        let has_no_data = data_bytes(input, packet) == 0 && packet.piece.is_none();
        let is_bare = has_no_data && !packet.has(flags::FIN);
        let forges = |first| !is_bare && is_before(heard.sequence, first);
        match &flow.lead {
            Lead::Owed(_) if resets => return Ok(Fate::Passes(Vec::new())),
            Lead::Owed(first) => {
                let connects = flow.state.after(Direction::Forward, packet).is_connected();
                let first = first.filter(|_| connects).ok_or(DropReason::ProxyHeaderEarly)?;
                if !is_intact(input, packet) {
                    return Err(DropReason::TcpChecksum);
                }
                if forges(first) {
                    return Err(DropReason::ProxyHeaderOverlap);
                }
                self.begin(key, first, heard.clone())?;
                if is_bare && self.flows[key].lead != Lead::Nothing {
                    return Ok(Fate::Replaced);
                }
            }
            Lead::Sent(_, Some(underway)) if !resets => {
                if forges(underway.first) {
                    return Err(DropReason::ProxyHeaderOverlap);
                }
                let flow = self.flows.get_mut(key).unwrap();
                let Lead::Sent(_, Some(underway)) = &mut flow.lead else { unreachable!() };
                let is_newer = !is_before(heard.acknowledgement, underway.said.acknowledgement);
                if is_newer && is_intact(input, packet) {
                    underway.said = heard.clone();
                }
            }
            _ => {}
        }
        let Lead::Sent(length, _) = self.flows[key].lead else {
            return Ok(Fate::Passes(Vec::new()));
        };
        let sequence = heard.sequence.wrapping_add(length);
        Ok(Fate::Passes(vec![Edit::Put(4, sequence.to_be_bytes().to_vec())]))
    }

    /// The handshake is done.
    fn begin(&mut self, key: &Key, first: u32, said: Said) -> Result<(), DropReason> {
        let (worker, link) = (self.flows[key].worker, self.flows[key].link);
        let lead = match self.dialect(worker, link) {
            None => Lead::Nothing,
            Some(dialect) => {
                if self.count_headers(worker) >= (self.flows_max / HEADERS_SHARE).max(HEADERS_MIN) {
                    return Err(DropReason::ProxyHeadersFull);
                }
                let header = encode(dialect, link, key);
                self.workers[worker].headers.push(*key);
                let length = u32::try_from(header.len()).unwrap();
                let underway = Underway {
                    first,
                    header,
                    said,
                    due: self.now + PATIENCE,
                    times_due: 0,
                    was_sent: false,
                    was_hurried: false,
                };
                Lead::Sent(length, Some(underway))
            }
        };
        self.flows.get_mut(key).expect("it was looked at").lead = lead;
        Ok(())
    }

    /// What changes in a backend's segment that passes.
    pub(super) fn lead_back(&mut self, key: &Key, packet: &Packet, input: &Image) -> Vec<Edit> {
        let (worker, link) = (self.flows[key].worker, self.flows[key].link);
        let (acknowledges, opens) = (packet.has(flags::ACK), packet.has(flags::SYN));
        let wanted = self.dialect(worker, link);
        let flow = self.flows.get_mut(key).expect("it passes");
        if flow.lead == Lead::Nothing {
            return Vec::new();
        }
        let heard = said(input, packet);
        let narrowed = |bytes: u32| {
            let window = u32::from(heard.window).saturating_sub(bytes);
            Edit::Put(14, u16::try_from(window).unwrap().to_be_bytes().to_vec())
        };
        match &mut flow.lead {
            Lead::Owed(first) if opens && acknowledges && is_intact(input, packet) => {
                *first = Some(heard.acknowledgement);
                let length = wanted.map(|dialect| encode(dialect, link, key).len());
                length.map(|length| narrowed(u32::try_from(length).unwrap())).into_iter().collect()
            }
            Lead::Nothing | Lead::Owed(_) => Vec::new(),
            Lead::Sent(length, underway) => {
                let length = *length;
                if acknowledges && !packet.has(flags::RST) && is_intact(input, packet) {
                    let first = underway.as_ref().map(|underway| underway.first);
                    let has = |bytes| {
                        first.is_some_and(|first: u32| {
                            !is_before(heard.acknowledgement, first.wrapping_add(bytes))
                        })
                    };
                    // Numbers go round: what is far ahead of the first is behind it.
                    let is_known = has(0);
                    if is_known && heard.acknowledgement.wrapping_sub(first.unwrap()) >= length {
                        *underway = None;
                    } else if let Some(underway) = underway.as_mut().filter(|_| is_known)
                        && !underway.was_hurried
                    {
                        underway.was_hurried = true;
                        self.workers[worker].headers.push(*key);
                    }
                }
                let first = underway.as_ref().map(|underway| underway.first);
                if opens {
                    return first.map(|_| narrowed(length)).into_iter().collect();
                }
                if !acknowledges {
                    return Vec::new();
                }
                let back = |number: u32| match first {
                    Some(first) if number.wrapping_sub(first) < length => first,
                    _ => number.wrapping_sub(length),
                };
                let acknowledgement = back(heard.acknowledgement);
                let missing = acknowledgement.wrapping_add(length);
                let missing = missing.wrapping_sub(heard.acknowledgement);
                let blocks = blocks(input, packet, back);
                let edit = Edit::Put(8, acknowledgement.to_be_bytes().to_vec());
                [edit, narrowed(missing)].into_iter().chain(blocks).collect()
            }
        }
    }

    /// Time was noticed: headers that have waited for long enough are sent again.
    pub(super) fn repeat_headers(&mut self, worker: usize) {
        let now = self.now;
        for (key, flow) in self.flows.iter_mut().filter(|(_, flow)| flow.worker == worker) {
            let Lead::Sent(_, Some(underway)) = &mut flow.lead else { continue };
            if now >= underway.due {
                underway.times_due = (underway.times_due + 1).min(DOUBLINGS);
                underway.due = now + (PATIENCE << underway.times_due);
                self.workers[worker].headers.push(*key);
            }
        }
    }

    /// Owes the headers that are to be sent now.
    pub(super) fn send_headers(&mut self, worker: usize) {
        let mut keys = std::mem::take(&mut self.workers[worker].headers);
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let Some((device, shape)) = self.header_segment(worker, &key) else { continue };
            let flow = self.flows.get_mut(&key).expect("it has a header");
            let Lead::Sent(_, Some(underway)) = &mut flow.lead else { unreachable!() };
            let Underway { first, header, said, .. } = underway.clone();
            let counters = &mut self.workers[worker].counters;
            match std::mem::replace(&mut underway.was_sent, true) {
                false => counters.proxy_headers_sent += 1,
                true => counters.proxy_headers_repeated += 1,
            }
            let shape = Shape {
                flags: flags::PSH | flags::ACK,
                sequence: first,
                acknowledgement: said.acknowledgement,
                window: said.window,
                tcp_options: said.timestamps,
                payload: header,
                ..shape
            };
            self.workers[worker].requests.push((device, shape.encode()));
        }
    }

    /// Not to a connection that is reset, nor to a station that is not known.
    fn header_segment(
        &self,
        worker: usize,
        key: &Key,
    ) -> Option<(dataplane::types::DeviceIndex, Shape)> {
        let flow = self.flows.get(key)?;
        let is_underway = matches!(flow.lead, Lead::Sent(_, Some(_)));
        let is_judged = flow.judged == self.workers[worker].generation;
        if flow.worker != worker || flow.state.is_reset() || !is_underway || !is_judged {
            return None;
        }
        let (view, choice) = (self.view(worker), flow.choice);
        let next_hop = (flow.provider, view.next_hop(flow.provider, choice.backend));
        let (device, mac) = view.hops.lookup(next_hop)?;
        let link = self.workers[worker].links.get(&device)?;
        Some((device, own(choice.nat, choice.target, (link.mac.0, mac))))
    }

    /// adit has ended the flow.
    pub(super) fn forget_header(&mut self, key: &Key) {
        let flow = self.flows.get_mut(key).expect("a flow that is ended lives");
        if let Lead::Sent(_, underway) = &mut flow.lead {
            *underway = None;
        }
    }
}

/// The first option with blocks, as the client may hear it.
fn blocks(input: &Image, packet: &Packet, back: impl Fn(u32) -> u32) -> Option<Edit> {
    let segment = &input.bytes[packet.transport_at..];
    let all = options(input, packet);
    let &(_, at, length) = all.iter().find(|option| option.0 == 5)?;
    if !(length - 2).is_multiple_of(8) {
        return None;
    }
    let mut kept = Vec::new();
    for block in (at + 2..at + length).step_by(8) {
        let edges = [word(segment, block), word(segment, block + 4)];
        let moved = edges.map(&back);
        if moved[0] != moved[1] || edges[0] == edges[1] {
            moved.iter().for_each(|edge| kept.extend(edge.to_be_bytes()));
        }
    }
    let mut option = match kept.is_empty() {
        true => Vec::new(),
        false => vec![5, u8::try_from(2 + kept.len()).unwrap()],
    };
    option.extend(kept);
    option.resize(length, 1);
    Some(Edit::Put(at, option))
}

/// A SYN without data, Fast Open and Multipath TCP.
fn stripped(input: &Image, packet: &Packet) -> Vec<Edit> {
    let segment = &input.bytes[packet.transport_at..];
    let refused = options(input, packet).into_iter().filter(|&(kind, at, length)| {
        let is_magic = length >= 4 && segment[at + 2..at + 4] == [0xf9, 0x89];
        matches!(kind, 30 | 34) || kind == 254 && is_magic
    });
    let edits = refused.map(|(_, at, length)| Edit::Put(at, vec![1; length]));
    let cut = (data_bytes(input, packet) > 0).then_some(Edit::CutData);
    edits.chain(cut).collect()
}
