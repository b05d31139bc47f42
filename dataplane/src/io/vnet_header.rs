//! The virtio network header, ten bytes before each frame that cross the kernel's edge with it:
//! which checksum is unfinished, and how a super-packet is to be cut.
//!
//! [`parse`] believes nothing: the header may have been written by whoever owns the other end (a
//! guest behind a TAP device, a process with a packet socket). What it lets through, the kernel
//! takes back on transmit: the rules are those of Linux' own `virtio_net_hdr_to_skb`, so that a
//! frame is refused here, under its reason, and not later by an anonymous `EINVAL`.
//!
//! Numbers are in the byte order of the host, as packet sockets and TAP devices have it unless told
//! otherwise. The layout is that of virtio 1.2, 5.1.6, without `num_buffers`. Total functions over
//! ten bytes; they do not look at the frame itself.

use crate::device::{Checksum, FrameFault, Offload, Segmentation, SegmentationKind};

/// Bytes of the header. The longer form of twelve bytes adds nothing for single buffers.
pub const VNET_HEADER_BYTES: usize = 10;

/// The checksum from `csum_start` on is unfinished.
const FLAG_NEEDS_CHECKSUM: u8 = 1;
/// The kernel has verified the checksum. Nothing follows from it here: adit changes sums, it does
/// not judge them.
const FLAG_DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCP_IPV4: u8 = 1;
const GSO_TCP_IPV6: u8 = 4;
/// 3 was UFO, fragmentation of one large datagram; no kernel since 4.14 asks for it.
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Where the checksum field lies in the transport header.
const TCP_CHECKSUM_OFFSET: u16 = 16;
const UDP_CHECKSUM_OFFSET: u16 = 6;

/// What the header says about a frame of `frame_bytes` bytes.
///
/// # Errors
/// [`FrameFault::OffloadInvalid`] if it contradicts the frame or itself, or asks for something that
/// is not known here.
pub fn parse(header: &[u8; VNET_HEADER_BYTES], frame_bytes: usize) -> Result<Offload, FrameFault> {
    let [flags, gso_type, ..] = *header;
    let [header_bytes, segment_bytes, start, offset] = fields(header);
    if flags & !(FLAG_NEEDS_CHECKSUM | FLAG_DATA_VALID) != 0
        || usize::from(header_bytes) > frame_bytes
    {
        return Err(FrameFault::OffloadInvalid);
    }
    let checksum = if flags & FLAG_NEEDS_CHECKSUM == 0 {
        Checksum::Complete
    } else if usize::from(start) + usize::from(offset) + 2 <= frame_bytes {
        Checksum::Partial { start, offset }
    } else {
        return Err(FrameFault::OffloadInvalid);
    };
    if gso_type == GSO_NONE {
        return Ok(Offload { checksum, segmentation: None });
    }
    let ecn = gso_type & GSO_ECN != 0;
    let kind = kind(gso_type & !GSO_ECN).ok_or(FrameFault::OffloadInvalid)?;
    if segment_bytes == 0 || !fits(kind, ecn, checksum) {
        return Err(FrameFault::OffloadInvalid);
    }
    let segmentation = Some(Segmentation { kind, segment_bytes, header_bytes, ecn });
    Ok(Offload { checksum, segmentation })
}

/// The header that says this. Inverse of [`parse`] for all that it lets through, but for the hint
/// that a checksum is valid and fields that mean nothing.
#[must_use]
pub fn emit(offload: &Offload) -> [u8; VNET_HEADER_BYTES] {
    let (flags, start, offset) = match offload.checksum {
        Checksum::Complete => (0, 0, 0),
        Checksum::Partial { start, offset } => (FLAG_NEEDS_CHECKSUM, start, offset),
    };
    let (gso_type, header_bytes, segment_bytes) = match offload.segmentation {
        None => (GSO_NONE, 0, 0),
        Some(Segmentation { kind, segment_bytes, header_bytes, ecn }) => {
            let ecn = if ecn { GSO_ECN } else { 0 };
            (gso_type(kind) | ecn, header_bytes, segment_bytes)
        }
    };
    let mut header = [flags, gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
    let fields = [header_bytes, segment_bytes, start, offset];
    for (bytes, field) in header[2..].chunks_exact_mut(2).zip(fields) {
        bytes.copy_from_slice(&field.to_ne_bytes());
    }
    header
}

/// Header length, segment size, checksum start, checksum offset.
fn fields(header: &[u8; VNET_HEADER_BYTES]) -> [u16; 4] {
    let [_, _, a, b, c, d, e, f, g, h] = *header;
    [[a, b], [c, d], [e, f], [g, h]].map(u16::from_ne_bytes)
}

fn kind(gso_type: u8) -> Option<SegmentationKind> {
    match gso_type {
        GSO_TCP_IPV4 => Some(SegmentationKind::TcpIpv4),
        GSO_TCP_IPV6 => Some(SegmentationKind::TcpIpv6),
        GSO_UDP => Some(SegmentationKind::Udp),
        _ => None,
    }
}

fn gso_type(kind: SegmentationKind) -> u8 {
    match kind {
        SegmentationKind::TcpIpv4 => GSO_TCP_IPV4,
        SegmentationKind::TcpIpv6 => GSO_TCP_IPV6,
        SegmentationKind::Udp => GSO_UDP,
    }
}

/// Whether a super-packet of this kind may come with this checksum.
///
/// TCP without a partial checksum is allowed: the kernel hands it over when somebody behind a TAP
/// device or a packet socket made it so, takes it back so, and computes each segment's sum afresh.
/// UDP without one is not: it exists only on devices with fraglist GRO, and Linux since 6.11
/// refuses to take it back. There is no ECN in UDP.
fn fits(kind: SegmentationKind, ecn: bool, checksum: Checksum) -> bool {
    match (kind, checksum) {
        (SegmentationKind::Udp, Checksum::Complete) => false,
        (SegmentationKind::Udp, Checksum::Partial { offset, .. }) => {
            offset == UDP_CHECKSUM_OFFSET && !ecn
        }
        (_, Checksum::Complete) => true,
        (_, Checksum::Partial { offset, .. }) => offset == TCP_CHECKSUM_OFFSET,
    }
}

// The bytes below are written by hand in little-endian order.
#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;

    const NOTHING: Offload = Offload { checksum: Checksum::Complete, segmentation: None };

    fn partial(start: u16, offset: u16) -> Checksum {
        Checksum::Partial { start, offset }
    }

    fn segmentation(kind: SegmentationKind, header_bytes: u16, ecn: bool) -> Option<Segmentation> {
        Some(Segmentation { kind, segment_bytes: 1448, header_bytes, ecn })
    }

    #[test]
    fn headers_that_the_kernel_writes_parse_and_emit() {
        use SegmentationKind::{TcpIpv4, TcpIpv6, Udp};
        let tcp4 = segmentation(TcpIpv4, 66, false);
        let table = [
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0], NOTHING),
            // UDP over IPv4: transport at 34, checksum 6 behind it.
            ([1, 0, 0, 0, 0, 0, 34, 0, 6, 0], Offload { checksum: partial(34, 6), ..NOTHING }),
            // TCP over IPv4, 66 bytes of headers, segments of 1448 (0x05a8) bytes.
            (
                [1, 1, 66, 0, 0xa8, 0x05, 34, 0, 16, 0],
                Offload { checksum: partial(34, 16), segmentation: tcp4 },
            ),
            // The same, with the first segment to carry CWR.
            (
                [1, 0x81, 66, 0, 0xa8, 0x05, 34, 0, 16, 0],
                Offload {
                    checksum: partial(34, 16),
                    segmentation: segmentation(TcpIpv4, 66, true),
                },
            ),
            (
                [1, 4, 86, 0, 0xa8, 0x05, 54, 0, 16, 0],
                Offload {
                    checksum: partial(54, 16),
                    segmentation: segmentation(TcpIpv6, 86, false),
                },
            ),
            (
                [1, 5, 42, 0, 0xa8, 0x05, 34, 0, 6, 0],
                Offload { checksum: partial(34, 6), segmentation: segmentation(Udp, 42, false) },
            ),
            // TCP whose checksum is not partial.
            ([0, 1, 66, 0, 0xa8, 0x05, 0, 0, 0, 0], Offload { segmentation: tcp4, ..NOTHING }),
        ];
        for (bytes, offload) in table {
            assert_eq!(parse(&bytes, 9000), Ok(offload), "{bytes:?}");
            assert_eq!(emit(&offload), bytes, "{offload:?}");
        }
    }

    #[test]
    fn what_means_nothing_is_ignored_and_not_sent_on() {
        // Verified by the kernel; checksum fields without the flag; sizes without segmentation.
        for bytes in [
            [2, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
            [0, 0, 60, 0, 0xa8, 0x05, 0, 0, 0, 0],
        ] {
            assert_eq!(parse(&bytes, 60), Ok(NOTHING), "{bytes:?}");
        }
        let both = [3, 0, 0, 0, 0, 0, 34, 0, 16, 0];
        assert_eq!(parse(&both, 60), Ok(Offload { checksum: partial(34, 16), ..NOTHING }));
    }

    #[test]
    fn headers_that_contradict_the_frame_or_themselves_are_refused() {
        for (bytes, why) in [
            ([4, 0, 0, 0, 0, 0, 0, 0, 0, 0], "receive coalescing information"),
            ([8, 0, 0, 0, 0, 0, 0, 0, 0, 0], "flag of tunnels"),
            ([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0], "all flags"),
            ([0, 0, 101, 0, 0, 0, 0, 0, 0, 0], "headers longer than the frame"),
            ([0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0], "headers of 65,535 bytes"),
            ([1, 0, 0, 0, 0, 0, 83, 0, 16, 0], "checksum field half outside"),
            ([1, 0, 0, 0, 0, 0, 99, 0, 0, 0], "checksum field half outside"),
            ([1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], "checksum field far outside"),
            ([1, 0x80, 54, 0, 16, 0, 34, 0, 16, 0], "ECN of no segmentation"),
            ([1, 2, 54, 0, 16, 0, 34, 0, 16, 0], "unknown segmentation"),
            ([1, 3, 42, 0, 16, 0, 34, 0, 6, 0], "fragmentation of UDP"),
            ([1, 6, 54, 0, 16, 0, 34, 0, 16, 0], "unknown segmentation"),
            ([1, 0x20, 54, 0, 16, 0, 34, 0, 16, 0], "segmentation in a tunnel"),
            ([1, 1, 54, 0, 0, 0, 34, 0, 16, 0], "segments of no bytes"),
            ([1, 1, 54, 0, 16, 0, 34, 0, 6, 0], "TCP with the checksum of UDP"),
            ([1, 5, 42, 0, 16, 0, 34, 0, 16, 0], "UDP with the checksum of TCP"),
            ([1, 0x85, 42, 0, 16, 0, 34, 0, 6, 0], "ECN of UDP"),
            ([0, 5, 42, 0, 16, 0, 0, 0, 0, 0], "UDP without partial checksum"),
            ([2, 5, 42, 0, 16, 0, 0, 0, 0, 0], "UDP without partial checksum"),
        ] {
            assert_eq!(parse(&bytes, 100), Err(FrameFault::OffloadInvalid), "{why}");
        }
        // At the edge: the field ends where the frame does, the headers are all of it.
        let edge = [1, 0, 100, 0, 0, 0, 82, 0, 16, 0];
        assert!(parse(&edge, 100).is_ok());
        assert!(parse(&edge, 99).is_err());
    }

    #[test]
    fn no_header_panics_and_what_passes_survives_a_round_trip() {
        let numbers = [0u16, 1, 6, 14, 16, 34, 58, 60, 1448, 0x7fff, 0xffff];
        let mut passed = 0u32;
        for flags in 0..=u8::MAX {
            for gso_type in 0..=u8::MAX {
                for at in 0..numbers.len() * numbers.len() {
                    let (a, b) = (numbers[at % numbers.len()], numbers[at / numbers.len()]);
                    let ([a0, a1], [b0, b1]) = (a.to_le_bytes(), b.to_le_bytes());
                    let bytes = [flags, gso_type, a0, a1, b0, b1, a0, a1, b0, b1];
                    for frame_bytes in [0, 1, 60, 65_600] {
                        let Ok(offload) = parse(&bytes, frame_bytes) else {
                            continue;
                        };
                        assert_eq!(parse(&emit(&offload), frame_bytes), Ok(offload));
                        passed += 1;
                    }
                }
            }
        }
        assert!(passed > 1000, "the loop reaches what is valid: {passed}");
    }
}
