//! I5 and I6: a forwarded packet differs only where it must, and its checksums are as right or as
//! wrong as they were.

use dataplane::device::Checksum;

use super::insertion;
use crate::encode::{Image, TCP, UDP, flags};
use crate::observe::{Transport, observe, piece};
use crate::sum::{add, pseudo_header, same, sum};

/// What services do that changes more of a packet.
#[derive(Clone, Copy)]
pub(super) struct Licence {
    /// One cares for fragments.
    pub(super) reassembles: bool,
    /// One puts PROXY headers in front of streams.
    pub(super) inserts: bool,
}

pub(super) fn check(input: &Image, output: &Image, licence: Licence) {
    let before = observe(&input.bytes).transport();
    let after = observe(&output.bytes).transport();
    if before.source.is_ipv6() || after.source.is_ipv6() {
        return check_wide(input, output, (&before, &after), licence);
    }
    let is_cut = licence.inserts && insertion::is_cut(&before, &after);
    if !is_cut {
        assert_eq!(input.offload, output.offload, "I5: offload");
        assert_eq!(input.bytes.len(), output.bytes.len(), "I5: length");
    }
    check_untouched(&input.bytes, &output.bytes, &before, licence);
    assert_eq!(after.ttl, before.ttl - 1, "I5: time to live");
    assert_eq!(sum(&output.bytes[14..after.transport_at]), u16::MAX, "I6: header checksum");
    if input.offload.checksum == Checksum::Complete {
        check_complete(&input.bytes, &output.bytes, &before, &after);
    } else {
        check_partial(&before, &after, is_cut);
    }
}

/// A packet that is of IPv6 before, after or both: what is behind its header stays but for ports,
/// checksum and MSS, and what both families' headers say stays, too (RFC 7915 4.1, 5.1).
fn check_wide(
    input: &Image,
    output: &Image,
    (before, after): (&Transport, &Transport),
    licence: Licence,
) {
    let is_same = before.source.is_ipv6() == after.source.is_ipv6();
    let is_cut = licence.inserts && insertion::is_cut(before, after);
    if is_same && !is_cut {
        assert_eq!(input.offload, output.offload, "I5: offload");
        // Fragments leave with an identification of adit's own.
        let id = piece(&input.bytes).map_or(0..0, |piece| piece.id.1..piece.id.1 + 4);
        let head = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes[id.clone()].fill(0);
            [&bytes[12..21], &bytes[54..before.transport_at]].concat()
        };
        assert_eq!(head(&input.bytes), head(&output.bytes), "I5: header and extensions");
        assert_eq!(input.bytes.len(), output.bytes.len(), "I5: length");
    }
    let class = |bytes: &[u8]| match bytes[14] >> 4 {
        4 => bytes[15],
        _ => bytes[14] << 4 | bytes[15] >> 4,
    };
    assert_eq!(class(&input.bytes), class(&output.bytes), "I5: traffic class");
    assert_eq!(after.ttl, before.ttl - 1, "I5: hop limit");
    assert_eq!(after.protocol, before.protocol, "I5: protocol");
    if after.source.is_ipv4() {
        assert_eq!(after.transport_at, 34, "no options");
        assert_eq!(sum(&output.bytes[14..34]), u16::MAX, "I6: header checksum");
    }
    if licence.inserts {
        return;
    }
    assert_eq!(after.payload, before.payload, "I5: payload");
    let is_partial = input.offload.checksum != Checksum::Complete;
    assert_eq!(is_partial, output.offload.checksum != Checksum::Complete, "I6: partial");
    if is_partial {
        check_partial(before, after, false);
    } else if before.checksum == 0 && before.protocol == UDP && after.source.is_ipv6() {
        assert!(same(error(&output.bytes, after), u16::MAX), "I6: IPv6 has a checksum");
    } else {
        check_complete(&input.bytes, &output.bytes, before, after);
    }
}

/// Every byte but stations, TTL, header checksum, addresses, ports and the transport checksum.
fn check_untouched(input: &[u8], output: &[u8], before: &Transport, licence: Licence) {
    let transport = before.transport_at;
    let checksum = transport + if before.protocol == UDP { 6 } else { 16 };
    for (at, (old, new)) in input.iter().zip(output).enumerate() {
        let may_change = match at {
            0..12 | 22 | 24..34 => true,
            at => {
                (transport..transport + 4).contains(&at) || (checksum..checksum + 2).contains(&at)
            }
        };
        // What is a fragment or may become one leaves with an identification of adit's own.
        let is_atomic = input[20] & 0x40 != 0;
        let may_change = may_change || licence.reassembles && !is_atomic && matches!(at, 18 | 19);
        let may_change = may_change || old != new && is_lowered_mss(input, output, before, at);
        let is_moved = || licence.inserts && insertion::may_change(input, output, before, at);
        let may_change = may_change || old == new || is_moved();
        assert!(may_change, "I5: byte {at} was {old:#x} and is {new:#x}");
    }
}

/// Whether a byte belongs to the MSS option of a SYN, which may leave lower than it came.
fn is_lowered_mss(input: &[u8], output: &[u8], before: &Transport, at: usize) -> bool {
    let opens = before.protocol == TCP && before.flags & flags::SYN != 0;
    let value = |bytes: &[u8], at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let is_lowered = |from: usize| {
        from >= before.transport_at + 22
            && input[from - 2..from] == [2, 4]
            && value(output, from) < value(input, from)
    };
    opens && (is_lowered(at) || is_lowered(at - 1))
}

/// By how much the transport checksum is wrong; 0 or 0xFFFF if it is right.
fn error(bytes: &[u8], packet: &Transport) -> u16 {
    let segment = &bytes[packet.transport_at..packet.end];
    let length = u16::try_from(segment.len()).unwrap();
    let pseudo = pseudo_header(packet.source, packet.destination, packet.protocol, length);
    add(pseudo, sum(segment))
}

fn check_complete(input: &[u8], output: &[u8], before: &Transport, after: &Transport) {
    if before.protocol == UDP && before.checksum == 0 {
        assert_eq!(after.checksum, 0, "I6: an absent checksum stays absent");
        return;
    }
    let (old, new) = (error(input, before), error(output, after));
    assert!(same(old, new), "I6: off by {old:#x} before, {new:#x} after");
    let absent = after.protocol == UDP && after.checksum == 0;
    assert!(!absent, "I6: a computed 0 is sent as 0xFFFF");
}

fn check_partial(before: &Transport, after: &Transport, is_cut: bool) {
    // How much the field differs from the sum of the pseudo-header must stay; its length cancels
    // out, unless it changes.
    let error = |packet: &Transport| {
        let length = if is_cut { packet.end - packet.transport_at } else { 0 };
        let length = u16::try_from(length).unwrap();
        let pseudo = pseudo_header(packet.source, packet.destination, packet.protocol, length);
        add(packet.checksum, !pseudo)
    };
    assert!(same(error(before), error(after)), "I6: a partial checksum stays a correct partial");
}
