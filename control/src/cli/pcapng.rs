//! Packets in the format that Wireshark reads (pcapng, draft-ietf-opsawg-pcapng-02): one section,
//! an interface for each device as it first appears, and a block for each side of a packet. Both
//! sides of one have the same packet id and say so in a comment. Pure.

use std::collections::HashMap;

use crate::api::{TraceEvent, TracePacket, TraceSide};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;

/// Options, by their numbers.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const APPLICATION: u16 = 4;
    pub(super) const INTERFACE_NAME: u16 = 2;
    pub(super) const RESOLUTION: u16 = 9;
    pub(super) const FLAGS: u16 = 2;
    pub(super) const PACKET_ID: u16 = 5;
}

/// Nanoseconds: ten to the power of minus nine of a second.
const NANOSECONDS: u8 = 9;

/// Which way a packet went, as seen from the machine, in the flags of its block.
#[derive(Clone, Copy)]
enum Way {
    In = 1,
    Out = 2,
}

/// A section that grows.
pub(super) struct Section {
    snap: u32,
    interfaces: HashMap<String, u32>,
}

impl Section {
    /// A section of packets that are cut to `snap` bytes; its first bytes.
    pub(super) fn begin(snap: usize) -> (Section, Vec<u8>) {
        let mut body = Vec::new();
        body.extend(BYTE_ORDER.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        body.extend(u64::MAX.to_le_bytes());
        let application = concat!("adit ", env!("CARGO_PKG_VERSION"));
        put_option(&mut body, option::APPLICATION, application.as_bytes());
        put_option(&mut body, option::END, &[]);
        let mut bytes = Vec::new();
        put_block(&mut bytes, SECTION, &body);
        let snap = u32::try_from(snap).unwrap_or(u32::MAX);
        (Section { snap, interfaces: HashMap::new() }, bytes)
    }

    /// The blocks of a packet.
    pub(super) fn append(&mut self, packet: &TracePacket) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(before) = &packet.before {
            self.put(&mut bytes, packet, before, Way::In);
        }
        if let Some(after) = &packet.after {
            self.put(&mut bytes, packet, after, Way::Out);
        }
        bytes
    }

    fn put(&mut self, bytes: &mut Vec<u8>, packet: &TracePacket, side: &TraceSide, way: Way) {
        let interface = self.interface(bytes, &side.device);
        let frame = decoded(&side.bytes);
        let at = packet.at_ns;
        let mut body = Vec::new();
        body.extend(interface.to_le_bytes());
        // The upper half first.
        let [a, b, c, d, e, f, g, h] = at.to_le_bytes();
        body.extend([e, f, g, h, a, b, c, d]);
        body.extend(u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(u32::try_from(side.length).unwrap_or(u32::MAX).to_le_bytes());
        put_padded(&mut body, &frame);
        put_option(&mut body, option::COMMENT, comment(packet, way).as_bytes());
        put_option(&mut body, option::FLAGS, &(way as u32).to_le_bytes());
        put_option(&mut body, option::PACKET_ID, &packet.number.to_le_bytes());
        put_option(&mut body, option::END, &[]);
        put_block(bytes, ENHANCED_PACKET, &body);
    }

    fn interface(&mut self, bytes: &mut Vec<u8>, device: &str) -> u32 {
        if let Some(known) = self.interfaces.get(device) {
            return *known;
        }
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let mut body = Vec::new();
        body.extend(ETHERNET.to_le_bytes());
        body.extend([0; 2]);
        body.extend(self.snap.to_le_bytes());
        put_option(&mut body, option::INTERFACE_NAME, device.as_bytes());
        put_option(&mut body, option::RESOLUTION, &[NANOSECONDS]);
        put_option(&mut body, option::END, &[]);
        put_block(bytes, INTERFACE, &body);
        self.interfaces.insert(device.to_owned(), number);
        number
    }
}

/// What is said of one side of a packet.
fn comment(packet: &TracePacket, way: Way) -> String {
    let TracePacket { number, event, before, after, reason, sentence, .. } = packet;
    let other = match way {
        Way::In => after.as_ref().map(|after| format!(", leaves by {}", after.device)),
        Way::Out => before.as_ref().map(|before| format!(", came by {}", before.device)),
    };
    let why = match (event, reason, sentence) {
        (TraceEvent::Dropped, Some(reason), Some(sentence)) => format!(" ({reason}): {sentence}"),
        _ => String::new(),
    };
    format!("adit packet {number}: {}{}{why}", event.name(), other.unwrap_or_default())
}

/// Bytes from digits; what are none ends them.
fn decoded(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2);
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| match *pair {
        [high, low] => u8::try_from(value(high)? << 4 | value(low)?).ok(),
        _ => None,
    };
    pairs.map_while(byte).collect()
}

fn put_padded(bytes: &mut Vec<u8>, content: &[u8]) {
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn put_option(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    bytes.extend(code.to_le_bytes());
    bytes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    put_padded(bytes, value);
}

/// A body between its kind and its length, which stands on both sides.
fn put_block(bytes: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(length);
    bytes.extend(body);
    bytes.extend(length);
}

#[cfg(test)]
mod tests;
