//! Cuts a super-packet into the packets that it stands for, for a device that takes only those.
//!
//! As Linux' own software segmentation does it: each segment has the headers of the whole, with
//! lengths, identification, sequence number and checksums of its own; FIN and PSH come with the
//! last one, CWR with the first.

use core::ops::Range;

use super::{Protocol, Transport, field_of};
use crate::device::{Frame, Segmentation, SegmentationKind};
use crate::wire::checksum::{add, sum};
use crate::wire::ethernet;
use crate::wire::tcp::{Tcp, TcpFlags};
use crate::wire::udp;
use crate::wire::{ipv4, ipv6};

/// A super-packet that can be cut.
pub struct Cut<'a> {
    bytes: &'a [u8],
    transport: Transport,
    /// Bytes of all headers.
    header_bytes: usize,
    segment_bytes: usize,
}

impl<'a> Cut<'a> {
    /// The super-packet of a frame; `None` if it is none of TCP or UDP.
    #[must_use]
    pub fn of(frame: &'a Frame) -> Option<Cut<'a>> {
        let Segmentation { kind, segment_bytes, .. } = frame.offload.segmentation?;
        let bytes = frame.bytes();
        let transport = Transport::of(bytes)?;
        let after_start = &bytes[transport.start..transport.end];
        let transport_header_bytes = match (kind, transport.protocol) {
            (SegmentationKind::TcpIpv4 | SegmentationKind::TcpIpv6, Protocol::Tcp) => {
                Tcp::of(after_start)?.header_bytes()
            }
            (SegmentationKind::Udp, Protocol::Udp) => udp::HEADER_BYTES,
            _ => return None,
        };
        let shortest = transport.protocol.header_bytes_min();
        let whole = (shortest..=after_start.len()).contains(&transport_header_bytes);
        (whole && segment_bytes > 0).then(|| Cut {
            bytes,
            transport,
            header_bytes: transport.start + transport_header_bytes,
            segment_bytes: usize::from(segment_bytes),
        })
    }

    /// Into how many packets it is cut; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        (self.transport.end - self.header_bytes).div_ceil(self.segment_bytes).max(1)
    }

    /// Makes `into` the segment of this number, a complete frame.
    pub fn write(&self, number: usize, into: &mut Frame) {
        let payload = self.payload(number);
        let length = self.header_bytes + payload.len();
        let buffer = into.buffer_mut();
        buffer[..self.header_bytes].copy_from_slice(&self.bytes[..self.header_bytes]);
        buffer[self.header_bytes..length].copy_from_slice(&self.bytes[payload.clone()]);
        let segment = &mut buffer[..length];
        self.number_packet(number, segment);
        match self.transport.protocol {
            Protocol::Tcp => self.number_segment(number, payload, segment),
            Protocol::Udp => put(segment, self.transport.start + 4, length - self.transport.start),
        }
        let (start, at) = (self.transport.start, self.transport.checksum_at());
        segment[at..at + 2].fill(0);
        let covered = add(sum(&segment[start..]), self.transport.pseudo_sum(length - start));
        segment[at..at + 2].copy_from_slice(&field_of(covered));
        into.set_length(length);
        into.offload = crate::device::Offload::default();
        into.fault = None;
    }

    /// The bytes of the whole that this segment carries.
    fn payload(&self, number: usize) -> Range<usize> {
        let end = self.transport.end;
        let begin = (self.header_bytes + number * self.segment_bytes).min(end);
        begin..(begin + self.segment_bytes).min(end)
    }

    /// Length of the IP header; identification and checksum of that of IPv4.
    fn number_packet(&self, number: usize, segment: &mut [u8]) {
        const AT: usize = ethernet::HEADER_BYTES;
        if segment[AT] >> 4 == 6 {
            return put(segment, AT + 4, segment.len() - AT - ipv6::HEADER_BYTES);
        }
        put(segment, AT + 2, segment.len() - AT);
        put(segment, AT + 4, usize::from(word(segment, AT + 4)) + number);
        put(segment, AT + 10, 0);
        let header = AT..self.transport.start;
        debug_assert!(header.len() >= ipv4::HEADER_BYTES_MIN);
        put(segment, AT + 10, usize::from(!sum(&segment[header])));
    }

    /// Sequence number and control bits of the TCP header.
    fn number_segment(&self, number: usize, payload: Range<usize>, segment: &mut [u8]) {
        const PSH: TcpFlags = TcpFlags(0x08);
        const CWR: TcpFlags = TcpFlags(0x80);
        let at = self.transport.start;
        let header = &mut segment[at..];
        let Some(sequence) = header.get(4..).and_then(|bytes| bytes.first_chunk::<4>()) else {
            return;
        };
        // A packet has at most 65,535 bytes.
        let before = u32::try_from(payload.start - self.header_bytes).unwrap_or(0);
        let sequence = u32::from_be_bytes(*sequence).wrapping_add(before);
        header[4..8].copy_from_slice(&sequence.to_be_bytes());
        if payload.end < self.transport.end {
            header[13] &= !(TcpFlags::FIN | PSH).0;
        }
        if number > 0 {
            header[13] &= !CWR.0;
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Writes the lower 16 bits of a number.
#[expect(clippy::cast_possible_truncation, reason = "identifications go round, lengths fit")]
fn put(bytes: &mut [u8], at: usize, value: usize) {
    bytes[at..at + 2].copy_from_slice(&(value as u16).to_be_bytes());
}
