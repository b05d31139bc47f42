//! Packets written as the words that [`super::packet`] reads: only what differs from the plainest
//! packet between the same two ends.

use std::fmt::{Display, Write};
use std::net::SocketAddr;

use dataplane::device::FrameFault;
use pnet_base::MacAddr;

use super::packet::{Described, Side, parse_packet};
use crate::encode::{ArpShape, Shape, Sum, TCP, UDP, flags};
use crate::ndp::NdpShape;

/// The words of a packet.
///
/// # Panics
/// It is one that no words describe.
#[must_use]
pub fn describe(packet: &Described, side: &Side) -> String {
    let words = match packet {
        Described::Ipv4(shape, fault) => ipv4(shape, *fault, side),
        Described::Arp(shape) => arp(shape, side),
        Described::Ndp(shape) => ndp(shape, side),
        Described::Raw(bytes) => format!("raw {}", hex(bytes)),
    };
    debug_assert_eq!(read(&words, side), *packet, "what is written can be read");
    words
}

fn read(words: &str, side: &Side) -> Described {
    let words: Vec<&str> = words.split_whitespace().collect();
    parse_packet(&words, side).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes ` NAME=VALUE` for what is not as it would be without.
struct Options(String);

impl Options {
    fn add<T: PartialEq>(&mut self, name: &str, (value, plain): (&T, &T), text: impl Display) {
        if value != plain {
            let _ = write!(self.0, " {name}={text}");
        }
    }

    fn maybe<T: Display>(&mut self, name: &str, value: Option<T>) {
        if let Some(value) = value {
            let _ = write!(self.0, " {name}={value}");
        }
    }
}

fn control_bits(bits: u8) -> String {
    let letters = [
        (flags::SYN, 'S'),
        (flags::FIN, 'F'),
        (flags::RST, 'R'),
        (flags::PSH, 'P'),
        (flags::ACK, 'A'),
        (flags::URG, 'U'),
        (flags::ECE, 'E'),
        (flags::CWR, 'C'),
    ];
    let set: String =
        letters.iter().filter(|(bit, _)| bits & bit != 0).map(|pair| pair.1).collect();
    if set.is_empty() { "none".to_owned() } else { set }
}

fn ipv4(shape: &Shape, fault: Option<FrameFault>, side: &Side) -> String {
    let ends = (shape.source, shape.destination);
    let from = SocketAddr::new(ends.0, shape.source_port);
    let to = SocketAddr::new(ends.1, shape.destination_port);
    let start = match shape.protocol {
        TCP => {
            format!("tcp {from} > {to} {}", control_bits(shape.flags))
        }
        UDP => format!("udp {from} > {to}"),
        1 if shape.payload == Shape::ping(ends.0, ends.1).payload => {
            format!("icmp {} > {}", ends.0, ends.1)
        }
        protocol => format!("ip {protocol} {} > {}", ends.0, ends.1),
    };
    let Described::Ipv4(plain, _) = read(&start, side) else {
        panic!("{start} is IPv4");
    };
    let mut options = Options(start);
    ip_options(&mut options, shape, &plain);
    transport_options(&mut options, shape, &plain);
    options.maybe(
        "fault",
        fault.map(|fault| match fault {
            FrameFault::OffloadInvalid => "offload",
            FrameFault::Truncated => "truncated",
            FrameFault::VlanTagged => "vlan",
        }),
    );
    options.0
}

fn ip_options(options: &mut Options, shape: &Shape, plain: &Shape) {
    options.add("ttl", (&shape.ttl, &plain.ttl), shape.ttl);
    options.add("tos", (&shape.tos, &plain.tos), shape.tos);
    options.add("id", (&shape.id, &plain.id), shape.id);
    options.add("ip-flags", (&shape.fragment_flags, &0), shape.fragment_flags);
    options.add("offset", (&shape.fragment_offset, &0), shape.fragment_offset);
    options.add("version", (&shape.version, &plain.version), shape.version);
    options.maybe("ihl", shape.header_words);
    options.maybe("total", shape.total_length);
    options.add("ip-sum", (&shape.header_error, &0), shape.header_error);
    options.add("ip-options", (&shape.ip_options, &Vec::new()), hex(&shape.ip_options));
    options.add("label", (&shape.flow_label, &0), shape.flow_label);
    let (first, extensions) = &shape.extensions;
    let text = format!("{first}:{}", hex(extensions));
    options.add("ext", (&shape.extensions, &plain.extensions), text);
    options.add("from", (&shape.from_mac, &plain.from_mac), shape.from_mac);
    options.add("to", (&shape.to_mac, &plain.to_mac), shape.to_mac);
    options.maybe("vlan", shape.vlan);
    options.maybe("ethertype", shape.ethertype);
}

fn transport_options(options: &mut Options, shape: &Shape, plain: &Shape) {
    options.add("seq", (&shape.sequence, &plain.sequence), shape.sequence);
    options.add("ack", (&shape.acknowledgement, &plain.acknowledgement), shape.acknowledgement);
    options.add("window", (&shape.window, &plain.window), shape.window);
    options.add("tcp-options", (&shape.tcp_options, &Vec::new()), hex(&shape.tcp_options));
    options.maybe("doff", shape.data_offset);
    options.maybe("udp-length", shape.udp_length);
    options.add("hex", (&shape.payload, &plain.payload), hex(&shape.payload));
    let sum = match shape.sum {
        Sum::Right | Sum::Absent => "none".to_owned(),
        Sum::Off(error) => error.to_string(),
        Sum::Partial => "partial".to_owned(),
    };
    options.add("sum", (&shape.sum, &Sum::Right), sum);
    options.add("pad", (&shape.padding.len(), &0), shape.padding.len());
    options.maybe("cut", shape.cut);
    options.maybe("gso", shape.segment_bytes);
    options.maybe("partial-start", shape.partial_start);
    options.maybe("flip", shape.flip);
}

fn ndp(shape: &NdpShape, side: &Side) -> String {
    let start = match shape.asks {
        true => format!("ndp who-has {} tell {}", shape.target, shape.from.1),
        false => format!("ndp {} is-at for {}", shape.target, shape.to.1),
    };
    let Described::Ndp(plain) = read(&start, side) else {
        panic!("{start} is NDP");
    };
    let mut options = Options(start);
    match shape.station {
        Some(station) => options.add("station", (&shape.station, &plain.station), station),
        None => options.add("no-station", (&shape.station, &plain.station), "yes"),
    }
    options.add("from", (&shape.from.0, &plain.from.0), shape.from.0);
    options.add("to", (&shape.to.0, &plain.to.0), shape.to.0);
    options.add("to-ip", (&shape.to.1, &plain.to.1), shape.to.1);
    options.add("hops", (&shape.hops, &plain.hops), shape.hops);
    options.add("code", (&shape.code, &plain.code), shape.code);
    options.add("flags", (&shape.flags, &plain.flags), shape.flags);
    options.add("sum", (&shape.error, &plain.error), shape.error);
    options.maybe("cut", shape.cut);
    options.0
}

fn arp(shape: &ArpShape, side: &Side) -> String {
    let start = match shape.target_mac == MacAddr::zero() {
        true => format!("arp who-has {} tell {}", shape.target, shape.sender),
        false => format!("arp {} is-at for {}", shape.sender, shape.target),
    };
    let Described::Arp(plain) = read(&start, side) else {
        panic!("{start} is ARP");
    };
    let mut options = Options(start);
    options.add("sender-mac", (&shape.sender_mac, &plain.sender_mac), shape.sender_mac);
    options.add("from", (&shape.from_mac, &plain.from_mac), shape.from_mac);
    options.add("to", (&shape.to_mac, &plain.to_mac), shape.to_mac);
    options.add("operation", (&shape.operation, &plain.operation), shape.operation);
    options.add("hardware", (&shape.hardware, &plain.hardware), shape.hardware);
    options.maybe("cut", shape.cut);
    options.0
}
