//! Messages are read by a decoder that knows no template but those it was sent.

use std::collections::BTreeMap;

use super::*;
use crate::recording::event::tests::flow;

/// An element's enterprise (0: none) and number.
type Element = (u32, u16);

type Record = BTreeMap<Element, Vec<u8>>;

/// A collector, as RFC 7011 describes one.
#[derive(Default)]
struct Collector {
    templates: BTreeMap<u16, Vec<(Element, u16)>>,
    /// Data records so far.
    sequence: u32,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

impl Collector {
    fn read(&mut self, message: &[u8]) -> Vec<Record> {
        assert_eq!(word(message, 0), 10, "version");
        assert_eq!(usize::from(word(message, 2)), message.len(), "length");
        assert_eq!(long(message, 4), 1_795_964_650, "export time");
        assert_eq!(long(message, 8), self.sequence, "sequence");
        assert_eq!(long(message, 12), 7, "domain");
        let (mut at, mut records) = (16, Vec::new());
        while at < message.len() {
            let (id, length) = (word(message, at), usize::from(word(message, at + 2)));
            let set = &message[at + 4..at + length];
            match id {
                2 => self.learn(set),
                id => records.extend(self.records(id, set)),
            }
            at += length;
        }
        assert_eq!(at, message.len(), "sets fill the message");
        self.sequence += u32::try_from(records.len()).unwrap();
        records
    }

    fn learn(&mut self, set: &[u8]) {
        let mut at = 0;
        while at < set.len() {
            let (id, count) = (word(set, at), word(set, at + 2));
            assert!(id >= 256);
            at += 4;
            let mut fields = Vec::new();
            for _ in 0..count {
                let (number, length) = (word(set, at), word(set, at + 2));
                at += 4;
                let mut enterprise = 0;
                if number & 0x8000 != 0 {
                    enterprise = long(set, at);
                    at += 4;
                }
                fields.push(((enterprise, number & 0x7fff), length));
            }
            self.templates.insert(id, fields);
        }
    }

    fn records(&self, id: u16, set: &[u8]) -> Vec<Record> {
        let fields = &self.templates[&id];
        let (mut at, mut records) = (0, Vec::new());
        while at < set.len() {
            let mut record = Record::new();
            for &(element, length) in fields {
                let mut length = usize::from(length);
                if length == 65_535 {
                    length = usize::from(set[at]);
                    assert!(length < 255, "the long form is not used");
                    at += 1;
                }
                record.insert(element, set[at..at + length].to_vec());
                at += length;
            }
            records.push(record);
        }
        records
    }
}

const NOW: Moment = Moment(1_795_964_650_999);

fn number(record: &Record, id: u16) -> u64 {
    record[&(0, id)].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[test]
fn a_flow_is_a_session_that_was_created_and_deleted() {
    let (mut exporter, mut collector) = (Exporter::new(7), Collector::default());
    assert!(collector.read(&exporter.templates(NOW).bytes).is_empty());
    let events = [Event::Flow(flow(None)), Event::Flow(flow(Some(EndReason::Idle)))];
    let messages = exporter.messages(NOW, &events);
    assert_eq!(messages.iter().map(|message| message.records).collect::<Vec<_>>(), [2]);
    let [created, deleted] = collector.read(&messages[0].bytes).try_into().unwrap();
    let common = [
        (323, 1_795_964_645_250),
        (234, 3),
        (137, 0x2000_0001),
        (4, 6),
        (8, 0x0a00_0009),
        (7, 40_000),
        (12, 0x0a00_0005),
        (11, 443),
        (225, 0x0a01_0004),
        (227, 1024),
        (226, 0x0a01_000a),
        (228, 8443),
    ];
    for record in [&created, &deleted] {
        common.iter().for_each(|(id, value)| assert_eq!(number(record, *id), *value, "{id}"));
        assert_eq!(record[&(0, 371)], b"pe-a");
    }
    assert_eq!((number(&created, 230), number(&deleted, 230)), (4, 5));
    let more = [(152, 1_795_964_640_000), (153, 1_795_964_645_000), (136, 1), (86, 7), (85, 1234)];
    more.iter().for_each(|(id, value)| assert_eq!(number(&deleted, *id), *value, "{id}"));
    assert_eq!(deleted[&(29_305, 86)], 9_u64.to_be_bytes());
    assert_eq!(deleted[&(29_305, 85)], 5_000_000_000_u64.to_be_bytes());
}

#[test]
fn ports_that_ran_out_and_quotas_are_events_of_their_own() {
    let (mut exporter, mut collector) = (Exporter::new(7), Collector::default());
    collector.read(&exporter.templates(NOW).bytes);
    let nat_ips = vec![IpAddr::from([10, 1, 0, 4]), IpAddr::from([10, 1, 0, 5])];
    let backend = IpAddr::from([10, 1, 0, 10]);
    let refused = |want| {
        let virtual_network = "provider".into();
        Event::Refused(Refused { at: Moment(5), virtual_network, want, count: 3 })
    };
    let events = [
        refused(Want::Port { nat_ips, backend, protocol: Protocol::Udp }),
        refused(Want::Quota { endpoint: "pe-a".into(), link_id: 9, flows_max: Some(100) }),
    ];
    let messages = exporter.messages(NOW, &events);
    let [one, other, quota] = collector.read(&messages[0].bytes).try_into().unwrap();
    assert_eq!((number(&one, 230), number(&one, 225)), (12, 0x0a01_0004));
    assert_eq!((number(&other, 225), number(&other, 226)), (0x0a01_0005, 0x0a01_000a));
    assert_eq!((number(&one, 323), number(&one, 4)), (5, 17));
    assert_eq!((number(&quota, 230), number(&quota, 466)), (13, 3));
    assert_eq!((number(&quota, 473), number(&quota, 137)), (100, 9));
}

/// Names of all lengths; the collector counts on, and no message is too large.
#[test]
fn many_events_go_into_messages_of_a_datagram_each() {
    let (mut exporter, mut collector) = (Exporter::new(7), Collector::default());
    collector.read(&exporter.templates(NOW).bytes);
    let name = |at: usize| "ü".repeat(at % 140);
    let event = |at: usize| {
        let why = (!at.is_multiple_of(3)).then_some(EndReason::ALL[at % EndReason::ALL.len()]);
        Event::Flow(FlowEvent { endpoint: Some(name(at).into()), ..flow(why) })
    };
    let events: Vec<Event> = (0..1_000).map(event).collect();
    let messages = exporter.messages(NOW, &events);
    assert!(messages.iter().all(|message| message.bytes.len() <= MESSAGE_BYTES_MAX));
    let mut at = 0;
    for message in messages {
        for record in collector.read(&message.bytes) {
            let text = String::from_utf8(record[&(0, 371)].clone()).unwrap();
            let (whole, cut) = (name(at), "ü".repeat(127));
            assert!(text == whole || whole.len() > 254 && text == cut, "{at}");
            assert_eq!(record.contains_key(&(0, 136)), at % 3 > 0);
            at += 1;
        }
    }
    assert_eq!(at, 1_000);
    assert!(exporter.messages(NOW, []).is_empty());
}
