//! What a header in front of a client's bytes does to the numbers of its segments.
//!
//! adit inserts `length` bytes where the client's stream begins. From there on the backend counts
//! so many more than the client: forward sequence numbers grow by that, return acknowledgements and
//! the blocks of selective ones (RFC 2018, RFC 2883) shrink. Segments with SYN come before it and
//! stay as they are. A return segment never speaks of what the client has not sent: its
//! acknowledgement is no lower than where the client began, blocks of the header alone are left
//! out.
//! A list of options that contradicts itself is left alone from there on. Bounds: one pass over at
//! most 40 bytes of options.

use super::proxy::Numbers;
use super::segment::SegmentMut;
use super::{Fragmentation, Packet, TcpFlags};
use crate::wire::checksum::{self, Delta};
use crate::wire::ethernet;
use crate::wire::ip::{self, Ip};
use crate::wire::tcp::{self, Tcp, TcpOption};

const MULTIPATH: u8 = 30;
const SELECTIVE_ACKNOWLEDGEMENT: u8 = 5;
const TIMESTAMPS: u8 = 8;
const FAST_OPEN: u8 = 34;
/// Fast Open before it had a number of its own (RFC 7413 4.1.1, RFC 6994).
const EXPERIMENTAL: u8 = 254;
const FAST_OPEN_MAGIC: [u8; 2] = [0xf9, 0x89];

/// What a segment says, and how many bytes of data it has; `None` if the frame is no segment.
#[must_use]
pub fn read(frame: &[u8], packet: &Packet) -> Option<(Numbers, usize)> {
    let (_, segment) = parts(frame, packet)?;
    let header = Tcp::of(segment)?;
    let mut options = tcp::options(segment);
    let timestamps = options.find(|option| option.kind == TIMESTAMPS);
    let timestamps = timestamps.and_then(|option| segment.get(option.value)?.try_into().ok());
    let numbers = Numbers {
        sequence: header.sequence(),
        acknowledgement: header.acknowledgement(),
        window: header.window(),
        timestamps,
    };
    // What follows in other fragments is data too.
    let unseen = usize::from(packet.fragmentation == Fragmentation::First);
    Some((numbers, segment.len().checked_sub(header.header_bytes())? + unseen))
}

/// The IP header and the segment without the padding behind it.
fn parts<'a>(frame: &'a [u8], packet: &Packet) -> Option<(Ip<'a>, &'a [u8])> {
    let ip = Ip::of(frame.get(ethernet::HEADER_BYTES..)?)?;
    let end = ethernet::HEADER_BYTES + ip.total_bytes();
    Some((ip, frame.get(usize::from(packet.transport_offset)..end)?))
}

/// Whether what a segment says arrived as it was sent: its checksum is right, or is yet to be
/// computed.
#[must_use]
pub fn is_intact(frame: &[u8], packet: &Packet) -> bool {
    let Some((ip, segment)) = parts(frame, packet) else { return false };
    // Of a fragment nobody can tell.
    if packet.partial_checksum || packet.fragmentation == Fragmentation::First {
        return true;
    }
    let sum = |bytes: &[u8]| Delta::of_u16(u16::MAX, checksum::sum(bytes));
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    let parts = [
        Delta::of_u16(u16::MAX, ip.address_sum()),
        Delta::of_u16(u16::MAX, length),
        Delta::of_u16(u16::MAX, u16::from(ip::TCP)),
        sum(segment),
    ];
    let whole = parts.into_iter().fold(Delta::NONE, Delta::and);
    whole == Delta::of_u16(0, u16::MAX)
}

/// Moves a client's segment behind the header.
pub fn move_forward(frame: &mut [u8], packet: &Packet, length: u8) {
    if packet.flags.any(TcpFlags::SYN) {
        return;
    }
    let Some(mut segment) = SegmentMut::of(frame, packet) else { return };
    let Some(sequence) = Tcp::of(segment.bytes()).map(Tcp::sequence) else { return };
    let moved = sequence.wrapping_add(u32::from(length));
    segment.put(tcp::SEQUENCE_OFFSET, &moved.to_be_bytes());
}

/// Lets a backend's segment speak of what the client has sent. `first` is the number of the
/// header's first byte while the backend is not known to have all of the header.
pub fn move_back(frame: &mut [u8], packet: &Packet, length: u8, first: Option<u32>) {
    if packet.flags.any(TcpFlags::SYN) || !packet.flags.any(TcpFlags::ACK) {
        return;
    }
    let Some(mut segment) = SegmentMut::of(frame, packet) else { return };
    let Some(header) = Tcp::of(segment.bytes()) else { return };
    let (acknowledgement, window) = (header.acknowledgement(), header.window());
    let moved = moved_back(acknowledgement, length, first);
    segment.put(tcp::ACKNOWLEDGEMENT_OFFSET, &moved.to_be_bytes());
    // The rest of the header, too, has to fit the window.
    narrow(&mut segment, window, missing(acknowledgement, length, first));
    let block = tcp::options(segment.bytes()).find(|it| it.kind == SELECTIVE_ACKNOWLEDGEMENT);
    if let Some(option) = block {
        move_blocks(&mut segment, &option, length, first);
    }
}

/// The answer to a SYN: the window that it opens, which is never scaled, is the header's first.
pub fn make_room(frame: &mut [u8], packet: &Packet, length: u8) {
    let Some(mut segment) = SegmentMut::of(frame, packet) else { return };
    let Some(window) = Tcp::of(segment.bytes()).map(Tcp::window) else { return };
    narrow(&mut segment, window, length);
}

fn narrow(segment: &mut SegmentMut<'_>, window: u16, bytes: u8) {
    let narrowed = window.saturating_sub(u16::from(bytes));
    segment.put(tcp::WINDOW_OFFSET, &narrowed.to_be_bytes());
}

/// Bytes of the header from a number of the backend's on, if it lies within the header.
fn missing(number: u32, length: u8, first: Option<u32>) -> u8 {
    let inside = first.and_then(|first| u8::try_from(number.wrapping_sub(first)).ok());
    inside.map_or(0, |inside| length.saturating_sub(inside))
}

/// A number of the backend's as the client has it.
fn moved_back(number: u32, length: u8, first: Option<u32>) -> u32 {
    let missing = missing(number, length, first);
    number.wrapping_sub(u32::from(length)).wrapping_add(u32::from(missing))
}

fn move_blocks(segment: &mut SegmentMut<'_>, option: &TcpOption, length: u8, first: Option<u32>) {
    const BLOCKS_MAX: usize = 4;
    let Some(value) = segment.bytes().get(option.value.clone()) else { return };
    let (edges, []) = value.as_chunks::<4>() else { return };
    let (blocks, []) = edges.as_chunks::<2>() else { return };
    let mut kept = [0; 2 + 8 * BLOCKS_MAX];
    let mut bytes = 2;
    for block in blocks {
        let [left, right] =
            block.map(|edge| moved_back(u32::from_be_bytes(edge), length, first).to_be_bytes());
        let Some(room) = kept.get_mut(bytes..bytes + 8) else { return };
        if left != right || block[0] == block[1] {
            room[..4].copy_from_slice(&left);
            room[4..].copy_from_slice(&right);
            bytes += 8;
        }
    }
    (kept[0], kept[1]) = (option.kind, bytes.to_le_bytes()[0]);
    if bytes == 2 {
        bytes = 0;
    }
    let whole = option.place.len();
    kept[bytes..whole].fill(tcp::NO_OPERATION);
    segment.put(option.place.start, &kept[..whole]);
}

/// Takes everything out of a SYN that would give the client's first bytes to the backend before the
/// handshake is done, or another place than their numbers say: data, TCP Fast Open (RFC 7413) and
/// Multipath TCP (RFC 8684). Both sides then do without, as if the other did not know these.
/// Returns the bytes of the frame, whose packet must be whole.
#[must_use]
pub fn strip_syn(frame: &mut [u8], packet: &Packet) -> Option<usize> {
    let mut segment = SegmentMut::of(frame, packet)?;
    let at = tcp::HEADER_BYTES_MIN;
    let header_bytes = Tcp::of(segment.bytes())?.header_bytes();
    let mut options = [tcp::NO_OPERATION; 40];
    let old = segment.bytes().get(at..header_bytes)?;
    let options = options.get_mut(..old.len())?;
    options.copy_from_slice(old);
    for option in tcp::options(segment.bytes()) {
        let value = segment.bytes().get(option.value.clone()).unwrap_or(&[]);
        let is_magic = value.starts_with(&FAST_OPEN_MAGIC);
        if matches!(option.kind, MULTIPATH | FAST_OPEN) || option.kind == EXPERIMENTAL && is_magic {
            options[option.place.start - at..option.place.end - at].fill(tcp::NO_OPERATION);
        }
    }
    segment.put(at, options);
    cut_data(frame, packet, header_bytes)
}

fn cut_data(frame: &mut [u8], packet: &Packet, header_bytes: usize) -> Option<usize> {
    let end = usize::from(packet.transport_offset) + header_bytes;
    let (ip, segment) = parts(frame, packet)?;
    let data = segment.get(header_bytes..)?;
    if data.is_empty() {
        return Some(frame.len());
    }
    let total = ip.total_bytes().checked_sub(data.len())?;
    let cut = u16::try_from(data.len()).ok()?;
    // Headers have an even number of bytes, so the data begins with a word.
    let change = Delta::of_u16(checksum::sum(data), 0).and(Delta::of_u16(cut, 0));
    ip::set_total_bytes(frame.get_mut(ethernet::HEADER_BYTES..)?, total)?;
    let mut segment = SegmentMut::of(frame, packet)?;
    match packet.partial_checksum {
        // Of what is cut off only the length is in the sum.
        true => segment.change_partial_checksum(Delta::of_u16(cut, 0)),
        false => segment.change_checksum(change),
    }
    Some(end)
}
