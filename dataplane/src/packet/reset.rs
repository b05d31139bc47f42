//! The TCP segments that adit itself makes: resets (RFC 9293 3.10.7.1), and probes that make a peer
//! say what it expects next.
//!
//! A reset is believed only if its sequence number is the one that the receiver expects (RFC 5961
//! section 3). adit follows no sequence numbers, so it asks: a bare acknowledgement from outside
//! the window is answered with one that names the expected number (RFC 9293 3.10.7.4), and that
//! answer is answered with the reset. Off the hot path, so the bytes are etherparse's business.

use core::net::IpAddr;

use arrayvec::ArrayVec;
use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeaderSlice};

use super::{Packet, Tuple};
use crate::types::MacAddress;
use crate::wire::ethernet;
use crate::wire::ip::Ip;
use crate::wire::ipv6;
use crate::wire::tcp;

/// Bytes of a segment without options and data, in its frame, at most.
pub const FRAME_BYTES: usize = ethernet::HEADER_BYTES + ipv6::HEADER_BYTES + tcp::HEADER_BYTES_MIN;

/// A frame with such a segment.
pub type Segment = ArrayVec<u8, FRAME_BYTES>;

/// Time to live of what adit itself sends (RFC 1700).
const TTL: u8 = 64;

/// Window of a probe; any will do.
const PROBE_WINDOW: u16 = 1024;

/// The reset that answers the segment that `packet` was parsed from, sent by the station `from` in
/// the name of whom it was for. `None` if it is a reset itself, or not TCP.
#[must_use]
pub fn answer(frame: &[u8], packet: &Packet, from: MacAddress) -> Option<Segment> {
    let segment = frame.get(usize::from(packet.transport_offset)..)?;
    let header = TcpHeaderSlice::from_slice(segment).ok()?;
    if packet.protocol != crate::types::Protocol::Tcp || header.rst() {
        return None;
    }
    let reversed = packet.tuple.inverse();
    let number = match header.ack() {
        true => Number::Expected(header.acknowledgment_number()),
        false => {
            let length = sequence_length(frame, packet, &header)?;
            Number::Unknown(header.sequence_number().wrapping_add(length))
        }
    };
    emit(&reversed, (from, packet.station), number)
}

/// A bare acknowledgement with this sequence number, which the receiver answers if it lies outside
/// its window: `stations` are the sender's and the receiver's.
#[must_use]
pub fn probe(tuple: &Tuple, stations: (MacAddress, MacAddress), sequence: u32) -> Option<Segment> {
    emit(tuple, stations, Number::Probe(sequence))
}

/// What a segment is to say.
#[derive(Clone, Copy)]
enum Number {
    /// Reset; the receiver said that it expects this number.
    Expected(u32),
    /// Reset; the receiver said nothing, so that this acknowledges what it sent.
    Unknown(u32),
    /// No reset but a question.
    Probe(u32),
}

fn emit(tuple: &Tuple, (from, to): (MacAddress, MacAddress), number: Number) -> Option<Segment> {
    let (source_port, destination_port) = (tuple.source_port, tuple.destination_port);
    let builder = begin(tuple, (from, to))?;
    let tcp = |sequence, window| builder.tcp(source_port, destination_port, sequence, window);
    let builder = match number {
        Number::Expected(sequence) => tcp(sequence, 0).rst(),
        Number::Unknown(acknowledged) => tcp(0, 0).rst().ack(acknowledged),
        Number::Probe(sequence) => tcp(sequence, PROBE_WINDOW).ack(sequence),
    };
    let mut segment = [0; FRAME_BYTES];
    let bytes = segment.get_mut(..builder.size(0))?;
    builder.write_to_slice(bytes, &[]).ok()?;
    Segment::try_from(&*bytes).ok()
}

/// The headers in front of a segment of adit's own; `None` if the addresses are of two families.
pub(super) fn begin(
    tuple: &Tuple,
    (from, to): (MacAddress, MacAddress),
) -> Option<PacketBuilderStep<IpHeaders>> {
    let builder = PacketBuilder::ethernet2(from.0, to.0);
    match tuple.ips() {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Some(builder.ipv4(source.octets(), destination.octets(), TTL))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some(builder.ipv6(source.octets(), destination.octets(), TTL))
        }
        _ => None,
    }
}

/// How many sequence numbers a segment takes up (RFC 9293 3.4): its data, SYN and FIN.
fn sequence_length(frame: &[u8], packet: &Packet, header: &TcpHeaderSlice<'_>) -> Option<u32> {
    let ip = Ip::of(frame.get(ethernet::HEADER_BYTES..)?)?;
    let end = ethernet::HEADER_BYTES + ip.total_bytes();
    let start = usize::from(packet.transport_offset) + header.slice().len();
    let data = u32::try_from(end.checked_sub(start)?).ok()?;
    Some(data + u32::from(header.syn()) + u32::from(header.fin()))
}
