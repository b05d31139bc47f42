//! I5 and I6: a forwarded packet differs only where it must, and its checksums are as right or as
//! wrong as they were.

use dataplane::device::Checksum;

use crate::encode::{Image, TCP, UDP, flags};
use crate::observe::{Transport, observe};
use crate::sum::{add, pseudo_header, same, sum};

/// `reassembles`: a service cares for fragments.
pub(super) fn check(input: &Image, output: &Image, reassembles: bool) {
    let before = observe(&input.bytes).transport();
    let after = observe(&output.bytes).transport();
    assert_eq!(input.offload, output.offload, "I5: offload");
    assert_eq!(input.bytes.len(), output.bytes.len(), "I5: length");
    check_untouched(&input.bytes, &output.bytes, &before, reassembles);
    assert_eq!(after.ttl, before.ttl - 1, "I5: time to live");
    assert_eq!(sum(&output.bytes[14..after.transport_at]), u16::MAX, "I6: header checksum");
    if input.offload.checksum == Checksum::Complete {
        check_complete(&input.bytes, &output.bytes, &before, &after);
    } else {
        check_partial(&before, &after);
    }
}

/// Every byte but stations, TTL, header checksum, addresses, ports and the transport checksum.
fn check_untouched(input: &[u8], output: &[u8], before: &Transport, reassembles: bool) {
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
        let may_change = may_change || reassembles && !is_atomic && matches!(at, 18 | 19);
        let may_change = may_change || old != new && is_lowered_mss(input, output, before, at);
        assert!(may_change || old == new, "I5: byte {at} was {old:#x} and is {new:#x}");
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

fn check_partial(before: &Transport, after: &Transport) {
    // How much the field differs from the sum of the pseudo-header must stay; its length cancels
    // out.
    let error = |packet: &Transport| {
        let pseudo = pseudo_header(packet.source, packet.destination, packet.protocol, 0);
        add(packet.checksum, !pseudo)
    };
    assert!(same(error(before), error(after)), "I6: a partial checksum stays a correct partial");
}
