//! Any bytes arrive as a virtio header and a frame behind it.
//!
//! The first byte is that of the target `frame`, ten bytes of header follow, then the frame. The
//! header is judged by the rules of Linux' `virtio_net_hdr_to_skb`, written down here once more,
//! and what passes is finished as a kernel would: the checksum completed, segments cut.

use dataplane::device::{Checksum, FrameFault, Offload, Segmentation, SegmentationKind};
use dataplane::engine::Verdict;
use dataplane::io::vnet_header::{VNET_HEADER_BYTES, emit, parse};

use super::frame::{arrival, judge, world};
use crate::encode::{Image, TCP};
use crate::observe::{Transport, observe};
use crate::sum::{add, pseudo_header, same, sum};

/// See the module's documentation.
///
/// # Panics
/// The header was misjudged, or a packet left whose checksum or segments a kernel would get wrong.
pub fn virtio(bytes: &[u8]) {
    let Some((&control, rest)) = bytes.split_first() else {
        return;
    };
    let Some((header, rest)) = rest.split_first_chunk::<VNET_HEADER_BYTES>() else {
        return;
    };
    let parsed = parse(header, rest.len());
    assert_eq!(parsed.ok(), expected(header, rest.len()), "{header:x?} of {} bytes", rest.len());
    let mut world = world();
    let (device, mut image) = arrival(&world, control, rest);
    match parsed {
        Ok(offload) => {
            let again = parse(&emit(&offload), rest.len());
            assert_eq!(again, Ok(offload), "what is sent on means the same");
            image.offload = offload;
        }
        Err(fault) => {
            assert_eq!(fault, FrameFault::OffloadInvalid);
            image.fault = Some(fault);
        }
    }
    if let Verdict::Forward(egress) = judge(&mut world, device, &image) {
        let left = world.left.pop_back().expect("it left");
        let mtu = world.topology.links[egress.slot()].mtu;
        finish(&image, &left.image, mtu);
    }
}

/// What the header says, `None` if the kernel would not take it.
fn expected(header: &[u8; VNET_HEADER_BYTES], frame_bytes: usize) -> Option<Offload> {
    let field = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let (header_bytes, segment_bytes) = (field(2), field(4));
    let (start, offset) = (field(6), field(8));
    let needs_checksum = header[0] & 1 == 1;
    let unknown_flags = header[0] > 3;
    let checksum_end = usize::from(start) + usize::from(offset) + 2;
    let outside = needs_checksum && checksum_end > frame_bytes;
    if unknown_flags || outside || usize::from(header_bytes) > frame_bytes {
        return None;
    }
    let checksum =
        if needs_checksum { Checksum::Partial { start, offset } } else { Checksum::Complete };
    let ecn = header[1] & 0x80 != 0;
    let (kind, field_offset) = match header[1] & 0x7f {
        // Only the whole byte 0 is "no segmentation".
        0 if !ecn => return Some(Offload { checksum, segmentation: None }),
        1 => (SegmentationKind::TcpIpv4, 16),
        4 => (SegmentationKind::TcpIpv6, 16),
        5 if !ecn && needs_checksum => (SegmentationKind::Udp, 6),
        _ => return None,
    };
    if segment_bytes == 0 || needs_checksum && offset != field_offset {
        return None;
    }
    let segmentation = Some(Segmentation { kind, segment_bytes, header_bytes, ecn });
    Some(Offload { checksum, segmentation })
}

/// Does to both frames what a kernel would before it puts them on a wire.
fn finish(input: &Image, output: &Image, mtu: u32) {
    let before = observe(&input.bytes).transport();
    let after = observe(&output.bytes).transport();
    if let Some(cut) = output.offload.segmentation {
        let transport_header =
            if after.protocol == TCP { header_bytes(&output.bytes, &after) } else { 8 };
        let headers = after.transport_at - 14 + transport_header;
        let data = after.end - 14 - headers;
        let largest = headers + data.min(usize::from(cut.segment_bytes));
        assert!(largest <= mtu as usize, "a segment of {largest} bytes does not fit");
    } else {
        assert!(after.end - 14 <= mtu as usize, "it does not fit");
    }
    // A kernel sums to the frame's end, so that padding would be part of the packet.
    if let Checksum::Partial { start, offset } = output.offload.checksum
        && output.bytes.len() == after.end
    {
        let at = (usize::from(start), usize::from(offset));
        let (old, new) = (completed(input, &before, at), completed(output, &after, at));
        assert!(same(old, new), "I6: completed, it is off by {old:#x} before, {new:#x} after");
    }
}

fn header_bytes(bytes: &[u8], packet: &Transport) -> usize {
    usize::from(bytes[packet.transport_at + 12] >> 4) * 4
}

/// By how much the checksum is wrong once the kernel has completed it.
fn completed(image: &Image, packet: &Transport, (start, offset): (usize, usize)) -> u16 {
    let mut segment = image.bytes[start..].to_vec();
    let complete = !sum(&segment);
    segment[offset..offset + 2].copy_from_slice(&complete.to_be_bytes());
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    let pseudo = pseudo_header(packet.source, packet.destination, packet.protocol, length);
    add(pseudo, sum(&segment))
}
