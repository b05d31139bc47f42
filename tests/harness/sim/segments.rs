//! What a kernel does with the segments of a TCP connection before adit sees them and after adit
//! has sent them: puts several together to a super-packet, and takes it apart again.
//!
//! Together go segments that follow each other, say the same but for their bytes, and came whole:
//! the rules are those of Linux' generic receive offload. Checksums are summed from scratch.

use std::net::IpAddr;

use dataplane::device::{Checksum, Offload, Segmentation, SegmentationKind};

use crate::encode::{Image, TCP, flags};
use crate::observe::{Observed, Transport, observe};
use crate::sum::{add, pseudo_header, sum};

/// Bytes of an Ethernet header, and of the IP headers without options or extensions.
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;

/// Bytes of an IP packet at most, as Linux puts it together.
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
        let holds = match seen.source {
            IpAddr::V4(_) => {
                seen.transport_at == ETHERNET + IPV4
                    && sum(&bytes[ETHERNET..seen.transport_at]) == u16::MAX
            }
            IpAddr::V6(_) => seen.transport_at == ETHERNET + IPV6,
        };
        let is_plain =
            seen.protocol == TCP && holds && seen.end == bytes.len() && !seen.payload.is_empty();
        let headers = bytes.len() - seen.payload.len();
        is_plain.then_some(Segment { bytes, seen, headers })
    }

    fn sequence(&self) -> u32 {
        let at = self.seen.transport_at + 4;
        let bytes = &self.bytes[at..at + 4];
        u32::from_be_bytes(bytes.try_into().expect("four bytes"))
    }

    fn is_right(&self) -> bool {
        let segment = &self.bytes[self.seen.transport_at..];
        add(pseudo(&self.seen, segment.len()), sum(segment)) == u16::MAX
    }

    fn kind(&self) -> SegmentationKind {
        match self.seen.source {
            IpAddr::V4(_) => SegmentationKind::TcpIpv4,
            IpAddr::V6(_) => SegmentationKind::TcpIpv6,
        }
    }

    /// Where the kernel is to put the checksum of a segment that it cuts.
    fn unfinished(&self) -> Checksum {
        let start = u16::try_from(self.seen.transport_at).expect("it follows two headers");
        Checksum::Partial { start, offset: 16 }
    }

    /// Whether another's headers say the same but for lengths, checksums, identification, place in
    /// the stream and flags.
    fn agrees(&self, other: &Segment<'_>) -> bool {
        let may_differ = |at: usize| match (at.checked_sub(self.seen.transport_at), self.kind()) {
            (Some(at), _) => matches!(at, 4..8 | 13 | 16..18),
            (None, SegmentationKind::TcpIpv4) => matches!(at, 16..20 | 24..26),
            (None, _) => matches!(at, 18..20),
        };
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
    let transport = first.seen.transport_at;
    bytes[transport + 13] = next.seen.flags;
    set_length(&mut bytes, &first.seen);
    let unfinished = pseudo(&first.seen, bytes.len() - transport);
    bytes[transport + 16..transport + 18].copy_from_slice(&unfinished.to_be_bytes());
    let segmentation = Segmentation {
        kind: first.kind(),
        segment_bytes: u16::try_from(cut).ok()?,
        header_bytes: u16::try_from(first.headers).ok()?,
        ecn: false,
    };
    Some(Image {
        bytes,
        offload: Offload { checksum: first.unfinished(), segmentation: Some(segmentation) },
        fault: None,
    })
}

/// The frames that go on a cable: a super-packet's segments, or what there was.
pub(super) fn cut(image: Image) -> Vec<Vec<u8>> {
    let Some(segmentation) = image.offload.segmentation else { return vec![image.bytes] };
    let whole = Segment::of(&image.bytes).expect("what adit sends on is a segment");
    assert_eq!(segmentation.kind, whole.kind(), "a super-packet is of the family that it says");
    assert_eq!(image.offload.checksum, whole.unfinished(), "its checksum is TCP's");
    let transport = whole.seen.transport_at;
    let size = usize::from(segmentation.segment_bytes);
    let segments = whole.seen.payload.chunks(size).enumerate();
    let last = whole.seen.payload.len().div_ceil(size) - 1;
    let segment = |(number, payload): (usize, &[u8])| {
        let mut bytes = whole.bytes[..whole.headers].to_vec();
        bytes.extend(payload);
        let place = u32::try_from(number * size).expect("within a packet");
        let sequence = whole.sequence().wrapping_add(place);
        bytes[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
        if number < last {
            bytes[transport + 13] &= !(flags::PSH | flags::FIN);
        }
        set_length(&mut bytes, &whole.seen);
        bytes[transport + 16..transport + 18].fill(0);
        let segment = &bytes[transport..];
        let complete = !add(pseudo(&whole.seen, segment.len()), sum(segment));
        bytes[transport + 16..transport + 18].copy_from_slice(&complete.to_be_bytes());
        bytes
    };
    segments.map(segment).collect()
}

/// Writes the length of the packet that a frame ends with, and the checksum that IPv4 has of it.
fn set_length(bytes: &mut [u8], seen: &Transport) {
    let length = |from: usize| u16::try_from(bytes.len() - from).expect("no packet is longer");
    match seen.source {
        IpAddr::V4(_) => {
            let total = length(ETHERNET);
            bytes[16..18].copy_from_slice(&total.to_be_bytes());
            bytes[24..26].fill(0);
            let complete = !sum(&bytes[ETHERNET..seen.transport_at]);
            bytes[24..26].copy_from_slice(&complete.to_be_bytes());
        }
        IpAddr::V6(_) => {
            let payload = length(ETHERNET + IPV6);
            bytes[18..20].copy_from_slice(&payload.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use dataplane::types::Family;

    use super::super::intent::{client, endpoint};
    use super::*;
    use crate::encode::Shape;

    fn segment(family: Family, sequence: u32, length: u8, control: u8) -> Vec<u8> {
        let (client, endpoint) = (client(family, 0), endpoint(family, 0));
        let mut shape = Shape::tcp((client, 4_000), (endpoint, 443), control);
        shape.sequence = sequence;
        shape.payload = (0..length).collect();
        shape.encode().bytes
    }

    #[test]
    fn what_is_put_together_comes_apart_as_it_was() {
        let push = flags::ACK | flags::PSH;
        for family in Family::ALL {
            let parts = [(u32::MAX - 9, 40, flags::ACK), (30, 40, flags::ACK), (70, 7, push)];
            let parts =
                parts.map(|(sequence, length, control)| segment(family, sequence, length, control));
            let [first, rest @ ..] = &parts;
            let whole = rest.iter().fold(Image::from(first.clone()), |whole, next| {
                merge(&whole, next).expect("it goes on")
            });
            assert_eq!(whole.bytes.len(), first.len() + 47);
            assert!(merge(&whole, &segment(family, 77, 7, push)).is_none(), "after a push");
            assert_eq!(cut(whole), parts);
        }
    }

    #[test]
    fn what_does_not_follow_or_is_wrong_stays_alone() {
        for (family, hops) in [(Family::V4, 22), (Family::V6, 21)] {
            let segment = |sequence, length, control| segment(family, sequence, length, control);
            let first = Image::from(segment(0, 40, flags::ACK));
            let mut wrong = segment(40, 40, flags::ACK);
            wrong[80] ^= 1;
            let mut older = segment(40, 40, flags::ACK);
            older[hops] -= 1;
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
}
