//! What a device leaves undone, done in software: against the harness's own encoder and sums.

use std::net::IpAddr;

use dataplane::device::{Checksum, Frame, Offload};
use dataplane::offload::{cut::Cut, finish, unfinished};
use harness::encode::flags;
use harness::sum::{add, pseudo_header, same, sum};
use harness::{Image, Random, Shape, Sum, encode, observe};

const FROM: (IpAddr, u16) = (IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 10)), 40_000);
const TO: (IpAddr, u16) = (IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 5)), 443);

/// Bytes of which no piece looks like its neighbour.
fn payload(length: usize) -> Vec<u8> {
    (0..=250_u8).map(|byte| byte.wrapping_mul(37)).cycle().take(length).collect()
}

/// Packets of both protocols, with and without options, payload and padding.
fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for protocol in [encode::TCP, encode::UDP] {
        for length in [0, 1, 2, 18, 19, 1400] {
            for ip_options in [vec![], vec![1; 8]] {
                for padding in [vec![], vec![0; 6], vec![0xee; 7]] {
                    let payload = payload(length);
                    let mut shape = Shape::new(protocol, FROM, TO).with_payload(&payload);
                    shape.flags = flags::ACK | flags::PSH;
                    shape.ip_options.clone_from(&ip_options);
                    shape.padding = padding;
                    shapes.push(shape);
                }
            }
        }
    }
    shapes
}

fn with_sum(shape: &Shape, sum: Sum) -> Image {
    let mut shape = shape.clone();
    shape.sum = sum;
    shape.encode()
}

fn frame(image: &Image) -> Frame {
    let mut frame = Frame::new();
    frame.fill(&image.bytes);
    frame.offload = image.offload;
    frame
}

/// The frame as it is sent when its checksum is finished on the way out.
fn sent(bytes: &[u8]) -> Vec<u8> {
    let image = Image::from(bytes.to_vec());
    let mut frame = frame(&image);
    frame.offload = Offload { checksum: unfinished(bytes), segmentation: None };
    let mut bytes = bytes.to_vec();
    if let Some((at, field)) = finish(&frame) {
        bytes[at..at + 2].copy_from_slice(&field);
    }
    bytes
}

#[test]
fn unfinished_checksums_are_recognized_and_finished() {
    for shape in shapes() {
        let partial = with_sum(&shape, Sum::Partial);
        assert_eq!(unfinished(&partial.bytes), partial.offload.checksum, "{shape:?}");
        let right = with_sum(&shape, Sum::Right);
        assert_eq!(sent(&partial.bytes), right.bytes, "{shape:?}");
    }
}

/// Each value that the field can have: what is right or absent leaves as it came, and so does what
/// is wrong, but for the one value that says that it is unfinished.
#[test]
fn every_other_value_leaves_as_it_came() {
    for protocol in [encode::TCP, encode::UDP] {
        let shape = Shape::new(protocol, FROM, TO).with_payload(b"every value");
        let right = with_sum(&shape, Sum::Right).bytes;
        let seen = observe(&right).transport();
        let at = seen.transport_at + if protocol == encode::UDP { 6 } else { 16 };
        let bytes = u16::try_from(seen.end - seen.transport_at).unwrap();
        let pseudo = pseudo_header(FROM.0, TO.0, protocol, bytes);
        for value in 0..=u16::MAX {
            let mut bytes = right.clone();
            bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
            let left = sent(&bytes);
            let expected = if value == pseudo { &right } else { &bytes };
            assert!(left == *expected, "{protocol}: {value:#06x}");
        }
    }
}

/// Packets whose right checksum happens to be the sum of the pseudo-header: it is computed anew,
/// and is the same.
#[test]
fn a_right_checksum_that_looks_unfinished_stays_right() {
    for protocol in [encode::TCP, encode::UDP] {
        let mut shape = Shape::new(protocol, FROM, TO).with_payload(&[0; 4]);
        let mut found = 0;
        for value in 0..=u16::MAX {
            shape.payload[..2].copy_from_slice(&value.to_be_bytes());
            let right = with_sum(&shape, Sum::Right).bytes;
            if unfinished(&right) != Checksum::Complete {
                assert_eq!(sent(&right), right);
                found += 1;
            }
        }
        assert_eq!(found, 1, "one value of a word gives any wanted sum");
    }
}

#[test]
fn what_has_no_such_checksum_is_complete() {
    let partial = |change: fn(&mut Shape)| {
        let mut shape = Shape::udp(FROM, TO, b"12345678");
        shape.sum = Sum::Partial;
        change(&mut shape);
        shape.encode().bytes
    };
    assert_ne!(unfinished(&partial(|_| {})), Checksum::Complete);
    for change in [
        |shape: &mut Shape| shape.fragment_flags = 1,
        |shape: &mut Shape| shape.fragment_offset = 1,
        |shape: &mut Shape| shape.version = 6,
        |shape: &mut Shape| shape.header_words = Some(4),
        |shape: &mut Shape| shape.total_length = Some(27),
        |shape: &mut Shape| shape.total_length = Some(60),
        |shape: &mut Shape| shape.protocol = 132,
        |shape: &mut Shape| shape.ethertype = Some(0x86dd),
        |shape: &mut Shape| shape.vlan = Some(5),
    ] {
        assert_eq!(unfinished(&partial(change)), Checksum::Complete);
    }
    assert_eq!(unfinished(&Shape::ping(FROM.0, TO.0).encode().bytes), Checksum::Complete);
    let whole = partial(|_| {});
    for length in 0..whole.len() {
        assert_eq!(unfinished(&whole[..length]), Checksum::Complete, "{length}");
    }
}

/// The segments of a super-packet, each a frame of its own.
fn segments(image: &Image) -> Vec<Vec<u8>> {
    let whole = frame(image);
    let cut = Cut::of(&whole).expect("it can be cut");
    let mut into = Frame::new();
    let segment = |number| {
        into.fill(&[0xaa; 3000]);
        cut.write(number, &mut into);
        assert_eq!((into.offload, into.fault), (Offload::default(), None));
        into.bytes().to_vec()
    };
    (0..cut.count()).map(segment).collect()
}

/// Each segment is what a sender would have made of its share of the payload.
#[test]
fn segments_are_what_a_sender_would_have_made() {
    const CUT: u16 = 100;
    for protocol in [encode::TCP, encode::UDP] {
        for length in [1, 99, 100, 101, 200, 1050] {
            let payload = payload(length);
            let mut shape = Shape::new(protocol, FROM, TO).with_payload(&payload);
            shape.id = 0xfffe;
            shape.ip_options = vec![1; 4];
            shape.sequence = 0xffff_ffd0;
            shape.flags = flags::ACK | flags::PSH | flags::FIN | flags::CWR;
            if protocol == encode::TCP {
                shape.tcp_options = vec![1; 12];
            }
            shape.sum = Sum::Partial;
            shape.segment_bytes = Some(CUT);
            shape.padding = vec![0xee; 5];
            let cut = segments(&shape.encode());
            let pieces: Vec<&[u8]> = payload.chunks(usize::from(CUT)).collect();
            assert_eq!(cut.len(), pieces.len());
            for (number, (segment, piece)) in (0_u16..).zip(cut.iter().zip(&pieces)) {
                let mut expected = shape.clone().with_payload(piece);
                expected.sum = Sum::Right;
                expected.segment_bytes = None;
                expected.padding.clear();
                expected.id = shape.id.wrapping_add(number);
                expected.sequence = shape.sequence.wrapping_add(u32::from(number) * u32::from(CUT));
                if usize::from(number) + 1 < pieces.len() {
                    expected.flags &= !(flags::PSH | flags::FIN);
                }
                if number > 0 {
                    expected.flags &= !flags::CWR;
                }
                assert_eq!(*segment, expected.encode().bytes, "{protocol} {length} {number}");
            }
        }
    }
}

/// A UDP datagram whose sum is zero is sent with 0xFFFF, since 0 says that there is none.
#[test]
fn a_sum_of_zero_is_not_absent() {
    let mut shape = Shape::udp(FROM, TO, &[0; 4]);
    let partial = with_sum(&shape, Sum::Partial).bytes;
    let pseudo = pseudo_header(FROM.0, TO.0, encode::UDP, 12);
    shape.payload[..2].copy_from_slice(&[0, 0]);
    let rest = add(sum(&partial[34..40]), pseudo);
    shape.payload[..2].copy_from_slice(&(!rest).to_be_bytes());
    let left = sent(&with_sum(&shape, Sum::Partial).bytes);
    assert_eq!(left[40..42], [0xff, 0xff]);
    assert!(same(add(sum(&left[34..]), pseudo), u16::MAX));
}

/// Bytes from anywhere, and offloads that contradict them.
#[test]
fn no_bytes_panic() {
    let mut random = Random::new(1);
    let shapes = shapes();
    let mut into = Frame::new();
    for round in 0..200_000_usize {
        let mut image = with_sum(&shapes[round % shapes.len()], Sum::Partial);
        for _ in 0..random.below(4) {
            let at = random.below(image.bytes.len().min(60));
            image.bytes[at] = random.half().to_be_bytes()[0];
        }
        image.bytes.truncate(random.below(120) + 1);
        image.offload.segmentation = Some(dataplane::device::Segmentation {
            kind: if random.below(2) == 0 {
                dataplane::device::SegmentationKind::TcpIpv4
            } else {
                dataplane::device::SegmentationKind::Udp
            },
            segment_bytes: random.half() % 3,
            header_bytes: random.half() % 100,
            ecn: false,
        });
        let _ = unfinished(&image.bytes);
        let frame = frame(&image);
        let _ = finish(&frame);
        if let Some(cut) = Cut::of(&frame) {
            (0..cut.count()).for_each(|number| cut.write(number, &mut into));
        }
    }
}
