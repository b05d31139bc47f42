//! Internet checksums from scratch, word by word as RFC 1071 defines them.
//!
//! Slow on purpose: nothing is updated by difference here, so that it cannot err as the code under
//! test may.

use std::net::IpAddr;

use crate::address::octets;

/// The one's complement sum of big-endian words; a last odd byte is the upper half of one.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    bytes
        .chunks(2)
        .fold(0, |sum, pair| add(sum, u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
}

/// One's complement addition.
#[must_use]
pub fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// The sum of the pseudo-header (RFC 9293 3.1, RFC 768, RFC 8200 8.1).
#[must_use]
pub fn pseudo_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    transport_bytes: u16,
) -> u16 {
    let mut header = [octets(source), octets(destination)].concat();
    match source {
        IpAddr::V4(_) => {
            header.extend([0, protocol]);
            header.extend(transport_bytes.to_be_bytes());
        }
        IpAddr::V6(_) => {
            header.extend(u32::from(transport_bytes).to_be_bytes());
            header.extend([0, 0, 0, protocol]);
        }
    }
    sum(&header)
}

/// Whether two sums are the same number; 0 and 0xFFFF are both zero.
#[must_use]
pub fn same(a: u16, b: u16) -> bool {
    let canonical = |sum| if sum == u16::MAX { 0 } else { sum };
    canonical(a) == canonical(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::v4;

    #[test]
    fn rfc1071_section_3_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes), 0xddf2);
        assert_eq!(sum(&[0x12]), 0x1200);
    }

    #[test]
    fn agrees_with_pnet() {
        let (from, to) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([192, 168, 255, 254]));
        for length in 8..70_u16 {
            let bytes: Vec<u8> =
                (0..length).map(|at| (at.wrapping_mul(151) >> 1).to_le_bytes()[0]).collect();
            let segment = pnet_packet::udp::UdpPacket::new(&bytes).unwrap();
            // pnet leaves the field itself out.
            let mut without = bytes.clone();
            without[6..8].fill(0);
            let mine = !add(pseudo_header(from, to, 17, length), sum(&without));
            let theirs = pnet_packet::udp::ipv4_checksum(&segment, &v4(from), &v4(to));
            assert!(same(mine, theirs), "{length}: {mine:x} {theirs:x}");
        }
    }
}
