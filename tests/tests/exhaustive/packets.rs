//! Whole packets through the engine, with every value that a checksum field can have.
//!
//! For both protocols and both directions: every right sum, every field whether right or wrong
//! (UDP's 0, which means none, and 0xFFFF among them), every field of a partial sum, and every
//! header checksum. Every packet that leaves is judged by the checkers, from scratch (I5, I6).

use dataplane::engine::Verdict;
use dataplane::types::DeviceIndex;
use harness::sum::{add, pseudo_header, sum};
use harness::topology::{A, CLIENT, ENDPOINT, P, backend};
use harness::{Image, Shape, Sum, Topology, World, WorldConfig, encode, observe};

/// Which word of a packet takes every value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// The first of the payload; the checksum follows, complete and right.
    Payload,
    /// The transport checksum, complete.
    Checksum,
    /// The transport checksum, partial.
    Partial,
    /// The identification; the header checksum follows.
    Id,
}

/// A flow and a packet of each direction.
fn flow(protocol: u8) -> (World, [(DeviceIndex, Shape); 2]) {
    let config = WorldConfig { check_tables: false, ..WorldConfig::default() };
    let mut world = World::with(Topology::with_backends(&[backend(0)]), config);
    let port = if protocol == encode::TCP { 443 } else { 53 };
    let mut there = Shape::new(protocol, (CLIENT, 4000), (ENDPOINT, port));
    there.flags = encode::flags::SYN;
    there.payload = vec![0; 4];
    there.to_mac = world.topology.station(A);
    assert_eq!(world.arrive(A, &there.encode()), Verdict::Forward(P));
    let seen = observe(&world.take().image.bytes).transport();
    let from = (seen.destination, seen.destination_port);
    let mut back = Shape::new(protocol, from, (seen.source, seen.source_port));
    back.flags = encode::flags::SYN | encode::flags::ACK;
    back.payload = vec![0; 4];
    back.to_mac = world.topology.station(P);
    (world, [(A, there), (P, back)])
}

/// The packet in which the word has this value.
fn packet(template: &Image, word: Word, value: u16) -> Image {
    let mut image = template.clone();
    let seen = observe(&template.bytes).transport();
    let (start, end) = (seen.transport_at, seen.end);
    let field = start + if seen.protocol == encode::UDP { 6 } else { 16 };
    let at = match word {
        Word::Payload => end - 4,
        Word::Checksum | Word::Partial => field,
        Word::Id => 18,
    };
    let mut put = |at: usize, value: u16| {
        image.bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
    };
    put(at, value);
    match word {
        Word::Payload => {
            put(field, 0);
            let length = u16::try_from(end - start).unwrap();
            let pseudo = pseudo_header(seen.source, seen.destination, seen.protocol, length);
            let right = !add(pseudo, sum(&image.bytes[start..end]));
            let absent = seen.protocol == encode::UDP && right == 0;
            let right = if absent { u16::MAX } else { right };
            image.bytes[field..field + 2].copy_from_slice(&right.to_be_bytes());
        }
        Word::Id => {
            put(24, 0);
            let right = !sum(&image.bytes[14..34]);
            image.bytes[24..26].copy_from_slice(&right.to_be_bytes());
        }
        Word::Checksum | Word::Partial => {}
    }
    image
}

/// Every value of the word, both ways; the values that the checksum field left with, by number of
/// packets.
fn walk(protocol: u8, word: Word) -> Vec<u32> {
    let (mut world, directions) = flow(protocol);
    let mut fields = vec![0; 65_536];
    for (device, mut shape) in directions {
        shape.sum = if word == Word::Partial { Sum::Partial } else { Sum::Right };
        let template = shape.encode();
        for first in (0..=u16::MAX).step_by(64) {
            let images: Vec<Image> =
                (first..=first + 63).map(|value| packet(&template, word, value)).collect();
            for verdict in world.arrive_at(0, device, &images) {
                assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
            }
            for left in world.left.drain(..) {
                fields[usize::from(observe(&left.image.bytes).transport().checksum)] += 1;
            }
        }
    }
    assert_eq!(fields.iter().sum::<u32>(), 2 * 65_536, "every packet left");
    fields
}

#[test]
fn every_udp_checksum() {
    let right = walk(encode::UDP, Word::Payload);
    assert_eq!(right[0], 0, "a computed 0 is not sent");
    // The sums of payload words 0 and 0xFFFF are one, and that of 0 is sent as 0xFFFF.
    assert!(right[1..].iter().all(|&count| count >= 2), "every right sum is seen, both ways");
    let any = walk(encode::UDP, Word::Checksum);
    assert_eq!(any[0], 2, "an absent checksum stays absent, both ways");
    assert!(any[0xffff] >= 2, "0xFFFF stands for 0");
    walk(encode::UDP, Word::Partial);
    walk(encode::UDP, Word::Id);
}

#[test]
fn every_tcp_checksum() {
    let right = walk(encode::TCP, Word::Payload);
    assert!(right[0] > 0, "0 is a checksum like any other");
    walk(encode::TCP, Word::Checksum);
    walk(encode::TCP, Word::Partial);
    walk(encode::TCP, Word::Id);
}
