//! The bytes that a translated packet must have: headers written anew, checksums summed from
//! scratch.

use std::net::IpAddr;

use dataplane::device::Frame;

use super::form::{Mac, Packet};
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

/// The frame that `packet` must become on its way from one station of adit's to another.
pub(super) fn translate(
    input: &Image,
    packet: &Packet,
    (source, destination): (Socket, Socket),
    (from, to): (Mac, Mac),
    edits: &[Edit],
) -> Image {
    let mut output = input.clone();
    let mut cut = packet.clone();
    let bytes = &mut output.bytes;
    for edit in edits {
        match edit {
            Edit::Put(at, new) => {
                let at = packet.transport_at + at;
                bytes[at..at + new.len()].copy_from_slice(new);
            }
            Edit::CutData => {
                let header = usize::from(bytes[packet.transport_at + 12] >> 4) * 4;
                cut.covered_end = packet.transport_at + header;
                bytes.truncate(cut.covered_end);
                let total = u16::try_from(bytes.len() - 14).unwrap();
                bytes[16..18].copy_from_slice(&total.to_be_bytes());
                output.offload.segmentation = None;
            }
        }
    }
    bytes[0..6].copy_from_slice(&to);
    bytes[6..12].copy_from_slice(&from);
    bytes[22] -= 1;
    bytes[24..26].fill(0);
    bytes[26..30].copy_from_slice(&octets(source.0));
    bytes[30..34].copy_from_slice(&octets(destination.0));
    let header_sum = !sum(&bytes[14..packet.transport_at]);
    bytes[24..26].copy_from_slice(&header_sum.to_be_bytes());
    let at = packet.transport_at;
    bytes[at..at + 2].copy_from_slice(&source.1.to_be_bytes());
    bytes[at + 2..at + 4].copy_from_slice(&destination.1.to_be_bytes());
    let field_at = at + if packet.protocol == TCP { 16 } else { 6 };
    let field = transport_sum(input, bytes, (packet, &cut), field_at);
    bytes[field_at..field_at + 2].copy_from_slice(&field.to_be_bytes());
    output
}

/// The transport checksum: as right, as wrong or as absent as it was.
fn transport_sum(
    input: &Image,
    output: &[u8],
    (packet, cut): (&Packet, &Packet),
    field_at: usize,
) -> u16 {
    let before = u16::from_be_bytes([input.bytes[field_at], input.bytes[field_at + 1]]);
    if packet.partial {
        // Whoever completes it adds the segment; adit owes the pseudo-header and any error.
        let error = add(before, !pseudo_sum(&input.bytes, packet));
        return add(pseudo_sum(output, cut), error);
    }
    if packet.protocol == UDP && before == 0 {
        return 0;
    }
    let was_right = right_sum(&input.bytes, packet, field_at);
    let is_right = right_sum(output, cut, field_at);
    let field = if before == was_right { is_right } else { add(is_right, add(before, !was_right)) };
    if packet.protocol == UDP && field == 0 { 0xffff } else { field }
}

fn pseudo_sum(bytes: &[u8], packet: &Packet) -> u16 {
    let address = |at: usize| <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap().into();
    let length = u16::try_from(packet.covered_end - packet.transport_at).unwrap();
    pseudo_header(address(26), address(30), packet.protocol, length)
}

/// Whether a segment sums up to what it should.
pub(super) fn is_right(bytes: &[u8], packet: &Packet) -> bool {
    let segment = sum(&bytes[packet.transport_at..packet.covered_end]);
    add(pseudo_sum(bytes, packet), segment) == 0xffff
}

/// What a correct sender would have written.
fn right_sum(bytes: &[u8], packet: &Packet, field_at: usize) -> u16 {
    let before = sum(&bytes[packet.transport_at..field_at]);
    let behind = sum(&bytes[field_at + 2..packet.covered_end]);
    !add(pseudo_sum(bytes, packet), add(before, behind))
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
