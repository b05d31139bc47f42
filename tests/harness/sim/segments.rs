//! What a kernel does with the segments of a TCP connection before adit sees them and after adit
//! has sent them: puts several together to a super-packet, and takes it apart again.
//!
//! Together go segments that follow each other, say the same but for their bytes, and came whole:
//! the rules are those of Linux' generic receive offload. Checksums are summed from scratch.

use dataplane::device::{Checksum, Offload, Segmentation, SegmentationKind};

use crate::encode::{Image, TCP, flags};
use crate::observe::{Observed, Transport, observe};
use crate::sum::{add, pseudo_header, sum};

/// Bytes of an Ethernet header, and with an IPv4 header without options.
const ETHERNET: usize = 14;
const HEADERS: usize = 34;

/// Bytes of an IPv4 packet at most.
const PACKET_MAX: usize = 65_535;

/// A segment in a frame, or several of a connection.
struct Segment<'a> {
    bytes: &'a [u8],
    seen: Transport,
    /// Of all headers.
    headers: usize,
}

impl<'a> Segment<'a> {
    /// The segment in a frame, if it has nothing that would keep it from others.
    fn of(bytes: &'a [u8]) -> Option<Segment<'a>> {
        let Observed::Transport(seen) = observe(bytes) else { return None };
        let is_plain = seen.protocol == TCP
            && seen.transport_at == HEADERS
            && seen.end == bytes.len()
            && !seen.payload.is_empty()
            && sum(&bytes[ETHERNET..HEADERS]) == u16::MAX;
        let headers = bytes.len() - seen.payload.len();
        is_plain.then_some(Segment { bytes, seen, headers })
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = &self.bytes[at..at + 4];
        u32::from_be_bytes(bytes.try_into().expect("four bytes"))
    }

    fn sequence(&self) -> u32 {
        self.word(HEADERS + 4)
    }

    fn is_right(&self) -> bool {
        add(self.pseudo_header(), sum(&self.bytes[HEADERS..])) == u16::MAX
    }

    fn pseudo_header(&self) -> u16 {
        pseudo(&self.seen, self.bytes.len() - HEADERS)
    }

    /// Whether another's headers say the same but for lengths, checksums, identification, place in
    /// the stream and flags.
    fn agrees(&self, other: &Segment<'_>) -> bool {
        let may_differ = |at: usize| matches!(at, 16..20 | 24..26 | 38..42 | 47 | 50..52);
        let bytes = self.bytes[..self.headers].iter().zip(other.bytes);
        self.headers == other.headers
            && bytes.enumerate().all(|(at, (mine, theirs))| mine == theirs || may_differ(at))
    }
}

fn pseudo(seen: &Transport, bytes: usize) -> u16 {
    let bytes = u16::try_from(bytes).expect("no packet is longer");
    pseudo_header(seen.source, seen.destination, seen.protocol, bytes)
}

/// The super-packet of what waits and the frame that comes after it, if they go together.
pub(super) fn merge(waits: &Image, comes: &[u8]) -> Option<Image> {
    let (first, next) = (Segment::of(&waits.bytes)?, Segment::of(comes)?);
    let cut = waits.offload.segmentation.map(|cut| usize::from(cut.segment_bytes));
    let (before, more) = (first.seen.payload.len(), next.seen.payload.len());
    let cut = cut.unwrap_or(before);
    let follows = first.sequence().wrapping_add(u32::try_from(before).ok()?) == next.sequence();
    let is_right = waits.offload.checksum != Checksum::Complete || first.is_right();
    let goes_on = first.seen.flags == flags::ACK && before.is_multiple_of(cut) && more <= cut;
    let is_alike = first.agrees(&next) && next.seen.flags & !flags::PSH == flags::ACK;
    let fits = waits.bytes.len() + more - ETHERNET <= PACKET_MAX;
    if !(follows && is_right && goes_on && is_alike && fits && next.is_right()) {
        return None;
    }
    let mut bytes = waits.bytes.clone();
    bytes.extend(&next.seen.payload);
    bytes[HEADERS + 13] = next.seen.flags;
    set_length(&mut bytes);
    let unfinished = pseudo(&first.seen, bytes.len() - HEADERS);
    bytes[HEADERS + 16..HEADERS + 18].copy_from_slice(&unfinished.to_be_bytes());
    let segmentation = Segmentation {
        kind: SegmentationKind::TcpIpv4,
        segment_bytes: u16::try_from(cut).ok()?,
        header_bytes: u16::try_from(first.headers).ok()?,
        ecn: false,
    };
    let checksum = Checksum::Partial { start: 34, offset: 16 };
    Some(Image {
        bytes,
        offload: Offload { checksum, segmentation: Some(segmentation) },
        fault: None,
    })
}

/// The frames that go on a cable: a super-packet's segments, or what there was.
pub(super) fn cut(image: Image) -> Vec<Vec<u8>> {
    let Some(segmentation) = image.offload.segmentation else { return vec![image.bytes] };
    let whole = Segment::of(&image.bytes).expect("what adit sends on is a segment");
    let size = usize::from(segmentation.segment_bytes);
    let segments = whole.seen.payload.chunks(size).enumerate();
    let last = whole.seen.payload.len().div_ceil(size) - 1;
    let segment = |(number, payload): (usize, &[u8])| {
        let mut bytes = whole.bytes[..whole.headers].to_vec();
        bytes.extend(payload);
        let place = u32::try_from(number * size).expect("within a packet");
        let sequence = whole.sequence().wrapping_add(place);
        bytes[HEADERS + 4..HEADERS + 8].copy_from_slice(&sequence.to_be_bytes());
        if number < last {
            bytes[HEADERS + 13] &= !(flags::PSH | flags::FIN);
        }
        set_length(&mut bytes);
        bytes[HEADERS + 16..HEADERS + 18].fill(0);
        let complete = !add(pseudo(&whole.seen, bytes.len() - HEADERS), sum(&bytes[HEADERS..]));
        bytes[HEADERS + 16..HEADERS + 18].copy_from_slice(&complete.to_be_bytes());
        bytes
    };
    segments.map(segment).collect()
}

/// Writes the length of the packet that a frame ends with, and the header's checksum.
fn set_length(bytes: &mut [u8]) {
    let total = u16::try_from(bytes.len() - ETHERNET).expect("no packet is longer");
    bytes[16..18].copy_from_slice(&total.to_be_bytes());
    bytes[24..26].fill(0);
    let complete = !sum(&bytes[ETHERNET..HEADERS]);
    bytes[24..26].copy_from_slice(&complete.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::encode::Shape;

    fn segment(sequence: u32, length: u8, control: u8) -> Vec<u8> {
        let (client, endpoint) = (IpAddr::from([10, 0, 1, 1]), IpAddr::from([10, 0, 0, 5]));
        let mut shape = Shape::tcp((client, 4_000), (endpoint, 443), control);
        shape.sequence = sequence;
        shape.payload = (0..length).collect();
        shape.encode().bytes
    }

    #[test]
    fn what_is_put_together_comes_apart_as_it_was() {
        let push = flags::ACK | flags::PSH;
        let parts = [(u32::MAX - 9, 40, flags::ACK), (30, 40, flags::ACK), (70, 7, push)];
        let parts = parts.map(|(sequence, length, control)| segment(sequence, length, control));
        let [first, rest @ ..] = &parts;
        let whole = rest.iter().fold(Image::from(first.clone()), |whole, next| {
            merge(&whole, next).expect("it goes on")
        });
        assert_eq!(whole.bytes.len(), first.len() + 47);
        assert!(merge(&whole, &segment(77, 7, push)).is_none(), "after a push");
        assert_eq!(cut(whole), parts);
    }

    #[test]
    fn what_does_not_follow_or_is_wrong_stays_alone() {
        let first = Image::from(segment(0, 40, flags::ACK));
        let mut wrong = segment(40, 40, flags::ACK);
        wrong[60] ^= 1;
        let mut older = segment(40, 40, flags::ACK);
        older[22] -= 1;
        let others = [
            segment(41, 40, flags::ACK),
            segment(40, 41, flags::ACK),
            segment(40, 0, flags::ACK),
            segment(40, 40, flags::ACK | flags::FIN),
            wrong,
            older,
        ];
        for other in others {
            assert!(merge(&first, &other).is_none(), "{other:x?}");
        }
        assert!(merge(&first, &segment(40, 40, flags::ACK)).is_some());
    }
}
