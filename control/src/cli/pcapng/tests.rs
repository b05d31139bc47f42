//! What a trace has written, read by a reader that is not ours.

use pcap_parser::pcapng::{EnhancedPacketBlock, PcapNGOption, parse_block_le};
use pcap_parser::{Block, Linktype, OptionCode};

use super::*;

const PACKET_ID: OptionCode = OptionCode(5);
const FLAGS: OptionCode = OptionCode(2);

fn side(device: &str, bytes: &str, length: u64) -> TraceSide {
    let (protocol, source, destination) = (None, None, None);
    let (device, bytes) = (device.to_owned(), bytes.to_owned());
    TraceSide { device, length, protocol, source, destination, bytes }
}

fn packet(number: u64, before: Option<TraceSide>, after: Option<TraceSide>) -> TracePacket {
    TracePacket {
        number,
        at_ns: 1_764_428_645_250_113_007 + number,
        worker: 0,
        event: TraceEvent::Forwarded,
        reason: None,
        sentence: None,
        before,
        after,
    }
}

fn dropped(number: u64, before: TraceSide) -> TracePacket {
    TracePacket {
        event: TraceEvent::Dropped,
        reason: Some("no_rule".to_owned()),
        sentence: Some("Nobody listens: ü.".to_owned()),
        ..packet(number, Some(before), None)
    }
}

/// Everything that a trace of these packets writes.
fn written(packets: &[TracePacket]) -> Vec<u8> {
    let (mut section, mut bytes) = Section::begin(96);
    packets.iter().for_each(|packet| bytes.extend(section.append(packet)));
    bytes
}

/// All blocks; nothing may be left over.
fn blocks(mut bytes: &[u8]) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    while !bytes.is_empty() {
        let (rest, block) = parse_block_le(bytes).unwrap();
        assert_eq!(bytes.len() % 4, 0, "blocks begin at words");
        blocks.push(block);
        bytes = rest;
    }
    blocks
}

#[track_caller]
fn option<'b>(options: &'b [PcapNGOption<'_>], code: OptionCode) -> &'b [u8] {
    let found: Vec<_> = options.iter().filter(|option| option.code == code).collect();
    let [option] = found.as_slice() else { panic!("{} options {code:?}", found.len()) };
    assert!(option.value()[usize::from(option.len)..].iter().all(|byte| *byte == 0), "padding");
    assert_eq!(options.last().map(|last| (last.code, last.len)), Some((OptionCode(0), 0)));
    option.as_bytes().unwrap()
}

fn text<'b>(options: &'b [PcapNGOption<'_>], code: OptionCode) -> &'b str {
    std::str::from_utf8(option(options, code)).unwrap()
}

/// Interface, time, frame, its whole length, way, id and comment of a block.
#[derive(Debug, PartialEq)]
struct Seen<'b>(u32, u64, &'b [u8], u32, u32, u64, String);

fn seen<'b>(block: &'b EnhancedPacketBlock<'b>) -> Seen<'b> {
    let at = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
    let (frame, padding) = block.data.split_at(block.caplen as usize);
    assert!(padding.len() < 4 && padding.iter().all(|byte| *byte == 0));
    let way = u32::from_le_bytes(option(&block.options, FLAGS).try_into().unwrap());
    let id = u64::from_le_bytes(option(&block.options, PACKET_ID).try_into().unwrap());
    let comment = text(&block.options, OptionCode::Comment).to_owned();
    Seen(block.if_id, at, frame, block.origlen, way, id, comment)
}

#[test]
fn both_sides_of_a_packet_are_there_and_name_each_other() {
    let (a, b) = ("veth-a", "veth-backend-1");
    let bytes = written(&[
        packet(7, Some(side(a, "0102030405", 1_500)), Some(side(b, "aabbccddeeff", 1_488))),
        dropped(8, side(b, "00", 1)),
        packet(9, None, Some(side(a, "", 0))),
    ]);
    let blocks = blocks(&bytes);
    let packets = blocks.iter().filter_map(|block| match block {
        Block::EnhancedPacket(block) => Some(seen(block)),
        _ => None,
    });
    let packets: Vec<Seen<'_>> = packets.collect();
    let at = |number| packet(number, None, None).at_ns;
    let expected = [
        Seen(
            0,
            at(7),
            &[1, 2, 3, 4, 5],
            1_500,
            1,
            7,
            "adit packet 7: forwarded, leaves by veth-backend-1".to_owned(),
        ),
        Seen(
            1,
            at(7),
            &[0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff],
            1_488,
            2,
            7,
            "adit packet 7: forwarded, came by veth-a".to_owned(),
        ),
        Seen(
            1,
            at(8),
            &[0],
            1,
            1,
            8,
            "adit packet 8: dropped (no_rule): Nobody listens: ü.".to_owned(),
        ),
        Seen(0, at(9), &[], 0, 2, 9, "adit packet 9: forwarded".to_owned()),
    ];
    assert_eq!(packets, expected);
}

#[test]
fn the_section_and_its_interfaces_say_how_to_read_it() {
    let (a, b) = ("veth-a", "b");
    let there = |number| packet(number, Some(side(a, "01", 1)), Some(side(b, "02", 1)));
    let bytes = written(&[there(1), there(2)]);
    let blocks = blocks(&bytes);
    let Block::SectionHeader(section) = &blocks[0] else { panic!("{:?}", blocks[0]) };
    assert!(!section.big_endian());
    assert_eq!((section.major_version, section.minor_version, section.section_len), (1, 0, -1));
    let application = text(&section.options, OptionCode(4));
    assert!(application.starts_with("adit "), "{application}");
    let mut names = Vec::new();
    for block in &blocks[1..] {
        match block {
            Block::InterfaceDescription(of) => {
                assert_eq!((of.linktype, of.snaplen, of.if_tsresol), (Linktype::ETHERNET, 96, 9));
                assert_eq!(of.ts_resolution(), Some(1_000_000_000));
                names.push(text(&of.options, OptionCode(2)));
            }
            Block::EnhancedPacket(of) => {
                assert!((of.if_id as usize) < names.len(), "an interface is described before");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names, [a, b], "each device once");
}
