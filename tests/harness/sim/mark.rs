//! Numbers of frames that arrive at adit, so that what leaves names what it was.
//!
//! A number stands behind the IP packet, where nothing may change (I5). What crosses families
//! leaves that behind, so the number stands in the packet, too: in its traffic class and hop limit,
//! which crossing keeps (RFC 7915 4.1, 5.1). A header's checksum stays as right or wrong as it was.

use std::net::IpAddr;

use crate::observe::{Observed, Transport, observe};
use crate::sum::{add, sum};

/// Bytes of a number behind a packet.
const BYTES: usize = 8;

/// Traffic classes that stand for something: 0 is that of adit's own packets.
const CLASSES: u64 = 255;

/// Hop limits with which a packet may be forwarded begin with this one.
const HOPS_MIN: u64 = 2;

/// Numbers that packets tell apart.
const NUMBERS: u64 = CLASSES * (256 - HOPS_MIN);

/// Gives a frame its number.
pub(super) fn write(bytes: &mut Vec<u8>, number: u64) {
    // First: a packet that is wrong about its length may take it for its own.
    bytes.extend(number.to_be_bytes());
    if let Observed::Transport(seen) = observe(bytes) {
        let (class, hops) = (1 + number % CLASSES, HOPS_MIN + number % NUMBERS / CLASSES);
        let [class, hops] = [class, hops].map(|part| u8::try_from(part).expect("it is a byte"));
        write_header(bytes, &seen, (class, hops));
    }
}

fn write_header(bytes: &mut [u8], seen: &Transport, (class, hops): (u8, u8)) {
    match seen.source {
        IpAddr::V4(_) => {
            let error = sum(&bytes[14..seen.transport_at]);
            (bytes[15], bytes[22]) = (class, hops);
            bytes[24..26].fill(0);
            let checksum = add(error, !sum(&bytes[14..seen.transport_at]));
            bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        IpAddr::V6(_) => {
            bytes[14] = bytes[14] & 0xf0 | class >> 4;
            bytes[15] = class << 4 | bytes[15] & 0x0f;
            bytes[21] = hops;
        }
    }
}

/// The number behind a frame: of all that has just arrived, and of what did not cross since.
pub(super) fn behind(bytes: &[u8]) -> u64 {
    let (_, number) = bytes.split_last_chunk::<BYTES>().expect("I5: a number is behind it");
    u64::from_be_bytes(*number)
}

/// The number within a packet that adit forwards, not below `first`; `None` if adit made it itself.
pub(super) fn within(bytes: &[u8], seen: &Transport, first: u64) -> Option<u64> {
    let class = match seen.source {
        IpAddr::V4(_) => bytes[15],
        IpAddr::V6(_) => bytes[14] << 4 | bytes[15] >> 4,
    };
    let class = u64::from(class).checked_sub(1)?;
    // It has made a hop since.
    let hops = (u64::from(seen.ttl) + 1).checked_sub(HOPS_MIN).expect("I5: it could make a hop");
    let low = hops * CLASSES + class;
    Some(first + (low + NUMBERS - first % NUMBERS) % NUMBERS)
}

#[cfg(test)]
mod tests {
    use dataplane::types::Family;

    use super::super::intent::{client, endpoint};
    use super::*;
    use crate::encode::Shape;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for family in Family::ALL {
            let (client, endpoint) = (client(family, 0), endpoint(family, 0));
            for (number, error) in [(0, 0), (254, 1), (255, 0xfffe), (NUMBERS - 1, 0), (1 << 40, 7)]
            {
                let mut shape = Shape::udp((client, 1), (endpoint, 2), b"data");
                shape.header_error = error;
                let mut bytes = shape.encode().bytes;
                let before = sum(&bytes[14..34]);
                write(&mut bytes, number);
                assert!(family == Family::V6 || sum(&bytes[14..34]) == before, "{number}");
                assert_eq!(behind(&bytes), number);
                let mut seen = observe(&bytes).transport();
                seen.ttl -= 1;
                let first = number.saturating_sub(NUMBERS - 1);
                assert_eq!(within(&bytes, &seen, first), Some(number));
                assert_eq!(within(&bytes, &seen, number), Some(number));
            }
            let own = Shape::udp((client, 1), (endpoint, 2), b"data").encode().bytes;
            assert_eq!(within(&own, &observe(&own).transport(), 0), None);
        }
    }
}
