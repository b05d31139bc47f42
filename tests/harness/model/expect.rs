//! The bytes that a translated packet must have: headers written anew, checksums summed from
//! scratch.

use std::net::IpAddr;

use dataplane::device::{Checksum, Frame, Offload, Segmentation, SegmentationKind};

use super::form::{Mac, Packet, upper};
use crate::address::octets;
use crate::encode::{Image, TCP, UDP};
use crate::sum::{add, pseudo_header, sum};

/// An address and a port.
pub(super) type Socket = (IpAddr, u16);

/// A change of a segment beside that of its addresses and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// These bytes, at this place of the segment.
    Put(usize, Vec<u8>),
    /// Nothing behind its header.
    CutData,
}

/// A translated frame.
pub(super) struct Translated {
    pub(super) image: Image,
    /// Byte where its transport header begins.
    pub(super) transport_at: usize,
    /// Free: its identification, which it did not come with.
    pub(super) has_new_id: bool,
}

/// The frame that `packet` must become on its way from one station of adit's to another.
pub(super) fn translate(
    input: &Image,
    packet: &Packet,
    (source, destination): (Socket, Socket),
    (from, to): (Mac, Mac),
    edits: &[Edit],
) -> Translated {
    let (segment, is_cut) = edited(input, packet, edits);
    let (header, has_new_id) = header(input, packet, (source.0, destination.0), segment.len());
    let mut bytes = [&to[..], &from[..], &header].concat();
    let at = bytes.len();
    bytes.extend(&segment);
    // What lies behind a packet that fills its place stays there.
    if !is_cut && packet.is_ipv6() == source.0.is_ipv6() {
        bytes.extend(&input.bytes[packet.end..]);
    }
    let covered = if is_cut { segment.len() } else { packet.covered_end - packet.transport_at };
    bytes[at..at + 2].copy_from_slice(&source.1.to_be_bytes());
    bytes[at + 2..at + 4].copy_from_slice(&destination.1.to_be_bytes());
    let after = Covered { source: source.0, destination: destination.0, at, end: at + covered };
    let field_at = if packet.protocol == TCP { 16 } else { 6 };
    let field = transport_sum((input, packet), (&bytes, &after), field_at);
    bytes[at + field_at..at + field_at + 2].copy_from_slice(&field.to_be_bytes());
    let crosses = packet.is_ipv6() != source.0.is_ipv6();
    let mut offload = moved(input.offload, (packet.transport_at, at), crosses);
    offload.segmentation = offload.segmentation.filter(|_| !is_cut);
    let image = Image { bytes, offload, fault: input.fault };
    Translated { image, transport_at: at, has_new_id }
}

/// The frame that a fragment without ports must become, but for its identification.
pub(super) fn translate_later(
    input: &Image,
    packet: &Packet,
    addresses: (IpAddr, IpAddr),
    (from, to): (Mac, Mac),
) -> Translated {
    let body = &input.bytes[packet.transport_at..packet.end];
    let (header, has_new_id) = header(input, packet, addresses, body.len());
    let mut bytes = [&to[..], &from[..], &header, body].concat();
    let transport_at = bytes.len() - body.len();
    if packet.is_ipv6() == addresses.0.is_ipv6() {
        bytes.extend(&input.bytes[packet.end..]);
    }
    let image = Image { bytes, offload: input.offload, fault: input.fault };
    Translated { image, transport_at, has_new_id }
}

/// The segment with its changes, and whether its data was cut off.
fn edited(input: &Image, packet: &Packet, edits: &[Edit]) -> (Vec<u8>, bool) {
    let mut segment = input.bytes[packet.transport_at..packet.end].to_vec();
    let mut is_cut = false;
    for edit in edits {
        match edit {
            Edit::Put(at, new) => segment[*at..at + new.len()].copy_from_slice(new),
            Edit::CutData => {
                segment.truncate(usize::from(segment[12] >> 4) * 4);
                is_cut = true;
            }
        }
    }
    (segment, is_cut)
}

/// EtherType and IP header in front of so many bytes, with one hop less, and whether it has an
/// identification that nobody can know. A header stays the one that it was if both addresses are of
/// its family, with its options or extensions; else it is made anew (RFC 7915 4.1, 5.1).
fn header(
    input: &Image,
    packet: &Packet,
    (source, destination): (IpAddr, IpAddr),
    body: usize,
) -> (Vec<u8>, bool) {
    let was = &input.bytes[14..packet.transport_at];
    let addresses = [octets(source), octets(destination)].concat();
    let (to_ipv6, mut has_new_id) = (source.is_ipv6(), packet.piece.is_some());
    let mut header = match (packet.is_ipv6(), to_ipv6) {
        (false, false) | (true, true) => was.to_vec(),
        (false, true) => {
            let class = was[1];
            let mut header =
                vec![0x60 | class >> 4, class << 4, 0, 0, 0, 0, packet.protocol, was[8]];
            header.resize(40, 0);
            if let Some(piece) = packet.piece {
                header[6] = 44;
                let place = u16::try_from(piece.start).unwrap() | u16::from(piece.more);
                header.extend([packet.protocol, 0]);
                header.extend(place.to_be_bytes());
                header.extend([0; 4]);
            }
            header
        }
        (true, false) => {
            // What may be too large for somebody behind may not be cut, or RFC 7915 5.1.
            let is_large = packet.piece.is_none() && packet.wire_bytes_as(false) > 1_260;
            has_new_id |= !is_large;
            let (class, dont_fragment) = (was[0] << 4 | was[1] >> 4, u8::from(is_large) << 6);
            let mut header =
                vec![0x45, class, 0, 0, 0, 0, dont_fragment, 0, was[7], packet.protocol];
            header.resize(20, 0);
            if let Some(piece) = packet.piece {
                let place = u16::try_from(piece.start / 8).unwrap() | u16::from(piece.more) << 13;
                header[6..8].copy_from_slice(&place.to_be_bytes());
            }
            header
        }
    };
    if to_ipv6 {
        let behind = u16::try_from(header.len() - 40 + body).unwrap();
        header[4..6].copy_from_slice(&behind.to_be_bytes());
        header[7] -= 1;
        header[8..40].copy_from_slice(&addresses);
    } else {
        let total = u16::try_from(header.len() + body).unwrap();
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[8] -= 1;
        header[12..20].copy_from_slice(&addresses);
        write_header_sum(&mut header);
    }
    let ethertype: [u8; 2] = if to_ipv6 { [0x86, 0xdd] } else { [8, 0] };
    ([&ethertype[..], &header].concat(), has_new_id)
}

fn write_header_sum(header: &mut [u8]) {
    header[10..12].fill(0);
    let checksum = !sum(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// What the kernel is still asked to do when the transport header has moved.
fn moved(was: Offload, (before, after): (usize, usize), crosses: bool) -> Offload {
    let moved = |at: u16| u16::try_from(usize::from(at) + after - before).unwrap();
    let checksum = match was.checksum {
        Checksum::Complete => Checksum::Complete,
        Checksum::Partial { start, offset } => Checksum::Partial { start: moved(start), offset },
    };
    let kind = |was| match (was, crosses) {
        (SegmentationKind::TcpIpv4, true) => SegmentationKind::TcpIpv6,
        (SegmentationKind::TcpIpv6, true) => SegmentationKind::TcpIpv4,
        _ => was,
    };
    let cut = was.segmentation.map(|cut| Segmentation {
        kind: kind(cut.kind),
        header_bytes: moved(cut.header_bytes),
        ..cut
    });
    Offload { checksum, segmentation: cut }
}

/// Between whom a checksum is, and over which bytes of a frame.
struct Covered {
    source: IpAddr,
    destination: IpAddr,
    at: usize,
    end: usize,
}

impl Covered {
    fn of(packet: &Packet) -> Covered {
        let (source, destination) = (packet.source.0, packet.destination.0);
        Covered { source, destination, at: packet.transport_at, end: packet.covered_end }
    }

    fn pseudo_sum(&self, protocol: u8) -> u16 {
        let length = u16::try_from(self.end - self.at).unwrap();
        pseudo_header(self.source, self.destination, protocol, length)
    }

    /// What a correct sender would have written.
    fn right_sum(&self, bytes: &[u8], protocol: u8, field_at: usize) -> u16 {
        let field = self.at + field_at;
        let (before, behind) = (sum(&bytes[self.at..field]), sum(&bytes[field + 2..self.end]));
        !add(self.pseudo_sum(protocol), add(before, behind))
    }
}

/// The transport checksum: as right, as wrong or as absent as it was. An absent one is computed
/// where there is none (RFC 7915 4.5).
fn transport_sum(
    (input, packet): (&Image, &Packet),
    (output, after): (&[u8], &Covered),
    field_at: usize,
) -> u16 {
    let (before, protocol) = (Covered::of(packet), packet.protocol);
    let at = before.at + field_at;
    let field = u16::from_be_bytes([input.bytes[at], input.bytes[at + 1]]);
    if packet.partial {
        // Whoever completes it adds the segment; adit owes the pseudo-header and any error.
        let error = add(field, !before.pseudo_sum(protocol));
        return add(after.pseudo_sum(protocol), error);
    }
    let is_absent = protocol == UDP && field == 0;
    if is_absent && !after.source.is_ipv6() {
        return 0;
    }
    let was_right = before.right_sum(&input.bytes, protocol, field_at);
    let is_right = after.right_sum(output, protocol, field_at);
    let keeps_error = field != was_right && !is_absent;
    let field = if keeps_error { add(is_right, add(field, !was_right)) } else { is_right };
    if protocol == UDP && field == 0 { 0xffff } else { field }
}

/// Whether a segment sums up to what it should.
pub(super) fn is_right(bytes: &[u8], packet: &Packet) -> bool {
    let covered = Covered::of(packet);
    let segment = sum(&bytes[covered.at..covered.end]);
    add(covered.pseudo_sum(packet.protocol), segment) == 0xffff
}

/// A frame with the identification of another, which adit has chosen.
pub(super) fn with_id_of(image: &Image, chosen: &[u8]) -> Image {
    id_of(chosen).map_or(image.clone(), |id| with_id(image, id))
}

/// A frame with another identification.
pub(super) fn with_id(image: &Image, id: u32) -> Image {
    let mut image = image.clone();
    let id = id.to_be_bytes();
    match ipv6_id_at(&image.bytes) {
        Some(at) => image.bytes[at..at + 4].copy_from_slice(&id),
        None => {
            let end = 14 + usize::from(image.bytes[14] & 15) * 4;
            image.bytes[18..20].copy_from_slice(&id[2..]);
            write_header_sum(&mut image.bytes[14..end]);
        }
    }
    image
}

/// The identification of a frame: of IPv6 only fragments have one.
pub(super) fn id_of(bytes: &[u8]) -> Option<u32> {
    if bytes.get(14)? >> 4 == 4 {
        return Some(u16::from_be_bytes([*bytes.get(18)?, *bytes.get(19)?]).into());
    }
    let at = ipv6_id_at(bytes)?;
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn ipv6_id_at(bytes: &[u8]) -> Option<usize> {
    let ip = bytes.get(14..).filter(|ip| ip.first().is_some_and(|first| first >> 4 == 6))?;
    let upper = upper(ip).ok()?;
    upper.piece.map(|_| 14 + upper.body - 4)
}

/// Whether a frame is as expected. A wrong TCP checksum and a partial one may spell zero either
/// way.
pub(super) fn same_frame(expected: &Image, seen: &Frame, zero_at: Option<usize>) -> bool {
    if (expected.offload, expected.fault) != (seen.offload, seen.fault) {
        return false;
    }
    if expected.bytes == seen.bytes() {
        return true;
    }
    let Some(at) = zero_at else { return false };
    let spelled = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        if bytes.get(at..at + 2) == Some(&[0xff, 0xff]) {
            bytes[at..at + 2].fill(0);
        }
        bytes
    };
    spelled(&expected.bytes) == spelled(seen.bytes())
}
