//! Recognizes a plain packet in few instructions.
//!
//! What a glance recognizes, `parse` would accept, except for what only the tuple can get wrong
//! (addresses that nobody has, ports of zero), senseless TCP flags and a source station that is
//! nobody's: a packet that is found to belong to a live flow has a tuple that was judged when the
//! flow opened; flags are judged with the flow's state, the station with its direction. What it
//! does not recognize is not wrong, only unusual, and `parse` judges it (I6 and the drop reasons
//! are its business).

use super::{Fragmentation, Packet};
use crate::device::{Checksum, Frame};
use crate::types::{MacAddress, Protocol};
use crate::wire::ethernet;
use crate::wire::ipv4;
use crate::wire::plain::{Plain, TRANSPORT_OFFSET};
use crate::wire::tcp::{self, TcpFlags};
use crate::wire::udp;

/// What is told of a packet in a frame whose form is plain ([`Plain::is_plain`]), given its
/// protocol. Single answers instead of one description: to put that together and take it apart
/// again costs as much as the look.
pub struct Glance;

impl Glance {
    /// Whether nothing about the packet is unusual. Else the other answers mean nothing.
    #[inline(always)]
    #[must_use]
    pub fn is_usual(frame: &Frame, protocol: Protocol) -> bool {
        let plain = Plain::of(frame.head());
        let total = usize::from(plain.total_length());
        let is_whole = ethernet::HEADER_BYTES + total <= frame.length();
        if !is_whole || plain.ttl() <= 1 || !plain.has_right_sum() || frame.fault.is_some() {
            return false;
        }
        let (least, transport_bytes, checksum_at) = match protocol {
            Protocol::Tcp => {
                (tcp::HEADER_BYTES_MIN, plain.tcp_header_bytes(), tcp::CHECKSUM_OFFSET)
            }
            Protocol::Udp => (udp::HEADER_BYTES, plain.udp_length(), udp::CHECKSUM_OFFSET),
        };
        let transport_bytes = usize::from(transport_bytes);
        if transport_bytes < least || ipv4::HEADER_BYTES_MIN + transport_bytes > total {
            return false;
        }
        let is_known_sum = match frame.offload.checksum {
            Checksum::Complete => true,
            Checksum::Partial { start, offset } => {
                start == TRANSPORT_OFFSET && usize::from(offset) == checksum_at
            }
        };
        is_known_sum && frame.offload.segmentation.is_none()
    }

    /// The description that `parse` gives of the packet.
    #[must_use]
    pub fn packet(frame: &Frame, protocol: Protocol) -> Packet {
        let plain = Plain::of(frame.head());
        Packet {
            tuple: plain.tuple().into(),
            protocol,
            flags: Glance::flags(plain, protocol),
            partial_checksum: frame.offload.checksum != Checksum::Complete,
            fragmentation: match plain.dont_fragment() {
                true => Fragmentation::Atomic,
                false => Fragmentation::Allowed,
            },
            transport_offset: TRANSPORT_OFFSET,
            wire_bytes: plain.total_length().into(),
            station: MacAddress::of_word(plain.source_station()),
        }
    }

    /// TCP's control bits, not judged yet; none for UDP.
    #[inline(always)]
    #[must_use]
    pub fn flags(plain: Plain<'_>, protocol: Protocol) -> TcpFlags {
        match protocol {
            Protocol::Tcp => plain.tcp_flags(),
            Protocol::Udp => TcpFlags(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drop_reason::DropReason::{
        EthernetSourceInvalid, Land, MartianDestination, MartianSource, PortZero, TcpFlagsInvalid,
    };
    use crate::packet::{Parsed, Receiver, parse};
    use crate::wire::checksum;
    use crate::wire::plain::Form;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const RECEIVER: Receiver = Receiver { mac: MAC, speaks_ipv6: false };

    /// All looks, as the short ways take them; `false`: packets that may be fragmented, too.
    fn look(frame: &Frame, atomic_only: bool) -> Option<Packet> {
        let plain = Plain::of(frame.head());
        let number = plain.protocol_number();
        let protocol = Protocol::ALL.into_iter().find(|known| *known as u8 == number)?;
        let is_plain = plain.is_plain(&Form::new(MAC.word(), atomic_only));
        let is_usual = Glance::is_usual(frame, protocol);
        (is_plain && is_usual).then(|| Glance::packet(frame, protocol))
    }

    fn frame(protocol: u8, payload: usize) -> Frame {
        let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 9, 9, 8, 0];
        let transport = if protocol == ipv4::TCP { 20 } else { 8 };
        let total = u16::try_from(20 + transport + payload).unwrap();
        let [high, low] = total.to_be_bytes();
        bytes.extend([0x45, 0, high, low, 0, 7, 0x40, 0, 64, protocol, 0, 0]);
        bytes.extend([10, 0, 0, 9, 10, 0, 0, 5]);
        let sum = !checksum::sum(&bytes[14..34]);
        bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        bytes.extend([0x12, 0x34, 0, 53]);
        let [high, low] = (total - 20).to_be_bytes();
        match protocol {
            ipv4::TCP => bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 1, 1, 7, 7, 0, 0]),
            _ => bytes.extend([high, low, 7, 7]),
        }
        bytes.extend(core::iter::repeat_n(0xaa, payload));
        let mut frame = Frame::new();
        frame.fill(&bytes);
        frame
    }

    #[test]
    fn plain_packets_are_recognized() {
        for protocol in [ipv4::TCP, ipv4::UDP] {
            for payload in [0, 1, 12, 1000] {
                let frame = frame(protocol, payload);
                let seen = look(&frame, false).unwrap();
                assert_eq!(parse(&frame, RECEIVER), Ok(Parsed::Packet(seen)));
            }
        }
    }

    #[test]
    fn packets_that_may_be_fragmented_are_told_apart() {
        let mut frame = frame(ipv4::UDP, 12);
        for (flags, is_atomic) in [(0x40, true), (0, false)] {
            frame.bytes_mut()[20] = flags;
            frame.bytes_mut()[24..26].fill(0);
            let sum = !checksum::sum(&frame.bytes()[14..34]);
            frame.bytes_mut()[24..26].copy_from_slice(&sum.to_be_bytes());
            assert!(look(&frame, false).is_some());
            assert_eq!(look(&frame, true).is_some(), is_atomic);
        }
        assert!(!Plain::of(frame.head()).is_plain(&Form::NONE));
    }

    /// One frame after another with up to three bytes changed, the header checksum mended in half
    /// of them, cut, or with another offload: whatever a glance recognizes, `parse` accepts and
    /// says the same of.
    #[test]
    fn what_a_glance_recognizes_parses_and_means_the_same() {
        let mut state = 1_u64;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % limit
        };
        let mut recognized = 0;
        for _ in 0..200_000 {
            let mut frame = frame([ipv4::TCP, ipv4::UDP][below(2)], below(14));
            for _ in 0..below(4) {
                let at = below(54.min(frame.length()));
                frame.bytes_mut()[at] = [0, 1, 5, 0x40, 0x45, 0x50, 0xff][below(7)];
            }
            if below(2) == 0 {
                frame.bytes_mut()[24..26].fill(0);
                let sum = !checksum::sum(&frame.bytes()[14..34]);
                frame.bytes_mut()[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            if below(4) == 0 {
                let cut = below(frame.length());
                frame.set_length(cut);
            }
            if below(4) == 0 {
                let offset = [6, 16][below(2)];
                frame.offload.checksum = Checksum::Partial { start: 34, offset };
            }
            let Some(seen) = look(&frame, false) else { continue };
            recognized += 1;
            match parse(&frame, RECEIVER) {
                Ok(Parsed::Packet(packet)) => assert_eq!(seen, packet),
                Err(EthernetSourceInvalid | TcpFlagsInvalid) => {}
                Err(MartianSource | MartianDestination | Land | PortZero) => {}
                other => unreachable!("{other:?}: {:x?}", frame.bytes()),
            }
        }
        assert!(recognized > 30_000, "{recognized}");
    }
}
