//! Events of the flow log as IPFIX messages: framing of RFC 7011, NAT events of RFC 8158, and the
//! other direction's counts as RFC 5103 has them. Pure: bytes out, no socket, no clock.
//!
//! Bounds: a message has at most [`MESSAGE_BYTES_MAX`] bytes, so that it is one datagram on any
//! path of a usual MTU.

use std::net::IpAddr;

use dataplane::record::{EndReason, Traffic};
use dataplane::types::Family;

use super::event::{Event, FlowEvent, Refused, Want};
use crate::api::Protocol;
use crate::moment::Moment;

/// Bytes of a message at most.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1_400;

const VERSION: u16 = 10;
const TEMPLATES: u16 = 2;

/// The enterprise whose elements are those of the other direction (RFC 5103 6.1).
const REVERSE: u32 = 29_305;

/// An information element and its length.
#[derive(Clone, Copy)]
struct Field {
    id: u16,
    length: u16,
    enterprise: Option<u32>,
}

const fn field(id: u16, length: u16) -> Field {
    Field { id, length, enterprise: None }
}

const fn reverse(id: u16, length: u16) -> Field {
    Field { id, length, enterprise: Some(REVERSE) }
}

/// The length of a field that says its own (RFC 7011 7).
const VARIABLE: u16 = u16::MAX;

const OBSERVATION_TIME: Field = field(323, 8);
const NAT_EVENT: Field = field(230, 1);
const INGRESS_VRF: Field = field(234, 4);
/// A connection's link id.
const COMMON_PROPERTIES: Field = field(137, 4);
const PROTOCOL: Field = field(4, 1);
const SOURCE_PORT: Field = field(7, 2);
const DESTINATION_PORT: Field = field(11, 2);
const POST_SOURCE_PORT: Field = field(227, 2);
const POST_DESTINATION_PORT: Field = field(228, 2);
/// Source and destination address, by family.
const ADDRESSES: [[Field; 2]; 2] = [[field(8, 4), field(12, 4)], [field(27, 16), field(28, 16)]];
/// The same behind the translation (RFC 8158 5, RFC 7012).
const POST_ADDRESSES: [[Field; 2]; 2] =
    [[field(225, 4), field(226, 4)], [field(281, 16), field(282, 16)]];
/// An endpoint's name.
const USER_NAME: Field = field(371, VARIABLE);
const FLOW_START: Field = field(152, 8);
const FLOW_END: Field = field(153, 8);
const FLOW_END_REASON: Field = field(136, 1);
const PACKETS: Field = field(86, 8);
const BYTES: Field = field(85, 8);
const REVERSE_PACKETS: Field = reverse(86, 8);
const REVERSE_BYTES: Field = reverse(85, 8);
const QUOTA_EVENT: Field = field(466, 4);
const ENTRIES_PER_USER_MAX: Field = field(473, 4);

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    SessionCreate,
    /// The same, and how the flow was.
    SessionDelete,
    PortsExhausted,
    QuotaExceeded,
}

/// The layout of records about a subject, by the families of the two sides.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Template {
    subject: Subject,
    inside: Family,
    outside: Family,
}

impl Template {
    /// Those of IPv4 on both sides have the four numbers that they always had.
    fn all() -> impl Iterator<Item = Template> {
        use Family::{V4, V6};
        use Subject::{PortsExhausted, QuotaExceeded, SessionCreate, SessionDelete};
        [
            (SessionCreate, V4, V4),
            (SessionDelete, V4, V4),
            (PortsExhausted, V4, V4),
            (QuotaExceeded, V4, V4),
            (SessionCreate, V6, V6),
            (SessionDelete, V6, V6),
            (SessionCreate, V6, V4),
            (SessionDelete, V6, V4),
            (SessionCreate, V4, V6),
            (SessionDelete, V4, V6),
            (PortsExhausted, V6, V6),
        ]
        .into_iter()
        .map(|(subject, inside, outside)| Template { subject, inside, outside })
    }

    fn id(self) -> u16 {
        let position = Template::all().position(|template| template == self).unwrap_or(0);
        256 + u16_of(position)
    }

    fn fields(self) -> Vec<Field> {
        let [source, destination] = ADDRESSES[self.inside as usize];
        let [post_source, post_destination] = POST_ADDRESSES[self.outside as usize];
        let mut fields = vec![OBSERVATION_TIME, NAT_EVENT];
        match self.subject {
            Subject::PortsExhausted => fields.extend([post_source, post_destination, PROTOCOL]),
            Subject::QuotaExceeded => {
                fields.extend([QUOTA_EVENT, ENTRIES_PER_USER_MAX, COMMON_PROPERTIES, USER_NAME]);
            }
            Subject::SessionCreate | Subject::SessionDelete => {
                fields.extend([INGRESS_VRF, COMMON_PROPERTIES, PROTOCOL]);
                fields.extend([source, SOURCE_PORT, destination, DESTINATION_PORT]);
                fields.extend([post_source, POST_SOURCE_PORT]);
                fields.extend([post_destination, POST_DESTINATION_PORT, USER_NAME]);
            }
        }
        if self.subject == Subject::SessionDelete {
            fields.extend([FLOW_START, FLOW_END, FLOW_END_REASON]);
            fields.extend([PACKETS, BYTES, REVERSE_PACKETS, REVERSE_BYTES]);
        }
        fields
    }
}

/// Values of natEvent (RFC 8158 4.3).
mod nat_event {
    pub(super) const SESSION_CREATE: u8 = 4;
    pub(super) const SESSION_DELETE: u8 = 5;
    /// For a flow with an IPv6 address on either side.
    pub(super) const WIDE_SESSION_CREATE: u8 = 6;
    /// See there.
    pub(super) const WIDE_SESSION_DELETE: u8 = 7;
    pub(super) const PORTS_EXHAUSTED: u8 = 12;
    pub(super) const QUOTA_EXCEEDED: u8 = 13;
}

/// The value of natQuotaExceededEvent for a user's entries.
const ENTRIES_PER_USER: u32 = 3;

/// Makes the messages of one session with a collector, or of one file.
#[derive(Clone, Debug)]
pub(crate) struct Exporter {
    domain: u32,
    /// Data records so far, modulo 2^32 (RFC 7011 3.1).
    sequence: u32,
}

/// A message, and how many data records it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: u32,
}

impl Exporter {
    /// For an observation domain; nothing has been sent.
    pub(crate) fn new(domain: u32) -> Exporter {
        Exporter { domain, sequence: 0 }
    }

    /// The templates of all records. To be sent before any, and over UDP again every so often.
    pub(crate) fn templates(&self, now: Moment) -> Message {
        let mut set = Vec::new();
        for template in Template::all() {
            let fields = template.fields();
            set.extend(template.id().to_be_bytes());
            set.extend(u16_of(fields.len()).to_be_bytes());
            for Field { id, length, enterprise } in fields {
                let bit = if enterprise.is_some() { 0x8000 } else { 0 };
                set.extend((id | bit).to_be_bytes());
                set.extend(length.to_be_bytes());
                set.extend(enterprise.into_iter().flat_map(u32::to_be_bytes));
            }
        }
        let mut message = self.begin(now);
        push_set(&mut message, TEMPLATES, &set);
        finish(message, 0)
    }

    /// All events, in as few messages as they fit in.
    pub(crate) fn messages<'e>(
        &mut self,
        now: Moment,
        events: impl IntoIterator<Item = &'e Event>,
    ) -> Vec<Message> {
        let mut done = Vec::new();
        let (mut message, mut records) = (self.begin(now), 0);
        for (template, record) in events.into_iter().flat_map(records_of) {
            if message.len() + SET_HEADER_BYTES + record.len() > MESSAGE_BYTES_MAX {
                self.sequence = self.sequence.wrapping_add(records);
                done.push(finish(message, records));
                (message, records) = (self.begin(now), 0);
            }
            push_record(&mut message, template, &record);
            records += 1;
        }
        if records > 0 {
            self.sequence = self.sequence.wrapping_add(records);
            done.push(finish(message, records));
        }
        done
    }

    /// A header without its length.
    fn begin(&self, now: Moment) -> Vec<u8> {
        let seconds = u32::try_from(now.0 / 1000 % (1 << 32)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(MESSAGE_BYTES_MAX);
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(seconds.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.domain.to_be_bytes());
        bytes
    }
}

const HEADER_BYTES: usize = 16;
const SET_HEADER_BYTES: usize = 4;

fn u16_of(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn finish(mut bytes: Vec<u8>, records: u32) -> Message {
    let length = u16_of(bytes.len()).to_be_bytes();
    bytes[2..4].copy_from_slice(&length);
    Message { bytes, records }
}

fn push_set(message: &mut Vec<u8>, id: u16, content: &[u8]) {
    message.extend(id.to_be_bytes());
    message.extend(u16_of(SET_HEADER_BYTES + content.len()).to_be_bytes());
    message.extend(content);
}

/// Adds a record, to the last set if that is of the same template.
fn push_record(message: &mut Vec<u8>, template: u16, record: &[u8]) {
    let mut at = HEADER_BYTES;
    let mut last = None;
    while let Some(&[a, b, c, d]) = message.get(at..at + SET_HEADER_BYTES).and_then(as_four) {
        last = Some((at, u16::from_be_bytes([a, b])));
        at += usize::from(u16::from_be_bytes([c, d])).max(SET_HEADER_BYTES);
    }
    match last {
        Some((start, id)) if id == template => {
            message.extend(record);
            let length = u16_of(message.len() - start).to_be_bytes();
            message[start + 2..start + 4].copy_from_slice(&length);
        }
        _ => push_set(message, template, record),
    }
}

fn as_four(bytes: &[u8]) -> Option<&[u8; 4]> {
    bytes.try_into().ok()
}

/// The data records of an event, each with its template.
fn records_of(event: &Event) -> Vec<(u16, Vec<u8>)> {
    match event {
        Event::Flow(flow) => {
            let is_end = flow.why.is_some();
            let subject = if is_end { Subject::SessionDelete } else { Subject::SessionCreate };
            let (inside, outside) = (Family::of(flow.client.0), Family::of(flow.target.0));
            vec![(Template { subject, inside, outside }.id(), flow_record(flow))]
        }
        Event::Refused(refused) => refused_records(refused),
    }
}

fn flow_record(flow: &FlowEvent) -> Vec<u8> {
    let is_wide = flow.client.0.is_ipv6() || flow.target.0.is_ipv6();
    let event = match (flow.why.is_some(), is_wide) {
        (false, false) => nat_event::SESSION_CREATE,
        (true, false) => nat_event::SESSION_DELETE,
        (false, true) => nat_event::WIDE_SESSION_CREATE,
        (true, true) => nat_event::WIDE_SESSION_DELETE,
    };
    let mut record = Vec::new();
    record.extend(flow.at.0.to_be_bytes());
    record.push(event);
    record.extend(u32::from(flow.scope).to_be_bytes());
    record.extend(flow.link_id.to_be_bytes());
    record.push(number_of(flow.protocol));
    for (address, port) in [flow.client, flow.endpoint_address, flow.nat, flow.target] {
        push_address(&mut record, address);
        record.extend(port.to_be_bytes());
    }
    push_text(&mut record, flow.endpoint.as_deref().unwrap_or_default());
    if let Some(why) = flow.why {
        let Traffic { forward, back } = flow.traffic;
        record.extend(flow.began.0.to_be_bytes());
        record.extend(flow.last_seen.0.to_be_bytes());
        record.push(end_reason(why));
        for count in [forward.packets, forward.bytes, back.packets, back.bytes] {
            record.extend(count.to_be_bytes());
        }
    }
    record
}

fn push_address(record: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => record.extend(address.octets()),
        IpAddr::V6(address) => record.extend(address.octets()),
    }
}

fn refused_records(refused: &Refused) -> Vec<(u16, Vec<u8>)> {
    let begin = |event: u8| {
        let mut record = refused.at.0.to_be_bytes().to_vec();
        record.push(event);
        record
    };
    match &refused.want {
        Want::Port { nat_ips, backend, protocol } => {
            let of = |nat_ip: &IpAddr| {
                let mut record = begin(nat_event::PORTS_EXHAUSTED);
                push_address(&mut record, *nat_ip);
                push_address(&mut record, *backend);
                record.push(number_of(*protocol));
                let family = Family::of(*backend);
                let subject = Subject::PortsExhausted;
                (Template { subject, inside: family, outside: family }.id(), record)
            };
            let family = Family::of(*backend);
            nat_ips.iter().filter(|nat_ip| Family::of(**nat_ip) == family).map(of).collect()
        }
        Want::Quota { endpoint, link_id, flows_max } => {
            let mut record = begin(nat_event::QUOTA_EXCEEDED);
            record.extend(ENTRIES_PER_USER.to_be_bytes());
            record.extend(flows_max.unwrap_or(u32::MAX).to_be_bytes());
            record.extend(link_id.to_be_bytes());
            push_text(&mut record, endpoint);
            let (subject, family) = (Subject::QuotaExceeded, Family::V4);
            vec![(Template { subject, inside: family, outside: family }.id(), record)]
        }
    }
}

/// Text of a length of its own, in its shorter form: what does not fit is cut at a character.
fn push_text(record: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(254);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    record.push(u8::try_from(end).unwrap_or(0));
    record.extend(&text.as_bytes()[..end]);
}

fn number_of(protocol: Protocol) -> u8 {
    dataplane::types::Protocol::from(protocol) as u8
}

/// As flowEndReason has it: idle, end of the flow, forced end, or want of room.
fn end_reason(why: EndReason) -> u8 {
    match why {
        EndReason::Idle | EndReason::HandshakeTimeout => 1,
        EndReason::Closed | EndReason::Reset => 3,
        EndReason::Displaced => 5,
        EndReason::Killed
        | EndReason::Rejected
        | EndReason::EndpointRemoved
        | EndReason::ClientRemoved
        | EndReason::PeeringRemoved
        | EndReason::BackendRemoved
        | EndReason::NatIpRemoved
        | EndReason::Drained
        | EndReason::Moved
        | EndReason::Internal => 4,
    }
}

#[cfg(test)]
mod tests;
