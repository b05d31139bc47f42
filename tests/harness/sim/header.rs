//! PROXY headers as backends read them: an independent decoder of the three layouts,
//! for clients of either family.

use std::net::{IpAddr, Ipv6Addr};

/// Bytes before the length is known.
pub(super) const START: usize = 16;

/// Who asks, as a backend is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) client: (IpAddr, u16),
    pub(super) endpoint: (IpAddr, u16),
    /// Type, length and value of all that follows.
    pub(super) link: Vec<u8>,
}

/// Bytes of the header that begins so; `None` if it is none.
pub(super) fn length(start: &[u8]) -> Option<usize> {
    let is_header = start.get(..13)? == b"\r\n\r\n\0\r\nQUIT\n\x21";
    address_bytes(*start.get(13)?).filter(|_| is_header)?;
    Some(START + usize::from(u16::from_be_bytes([*start.get(14)?, *start.get(15)?])))
}

/// Bytes of an address of the family of a header about TCP.
fn address_bytes(family: u8) -> Option<usize> {
    match family {
        0x11 => Some(4),
        0x21 => Some(16),
        _ => None,
    }
}

/// The header that these bytes are.
pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
    let size = address_bytes(*bytes.get(13)?)?;
    let ports = START + 2 * size;
    if length(bytes)? != bytes.len() || bytes.len() < ports + 7 {
        return None;
    }
    let address = |at: usize| match bytes[at..at + size] {
        [a, b, c, d] => IpAddr::from([a, b, c, d]),
        ref wide => Ipv6Addr::from(*wide.first_chunk().expect("16 bytes")).into(),
    };
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let link = &bytes[ports + 4..];
    let is_known = match link[0] {
        0xee => link.len() == 8 && link[3] == 1,
        0xea => link.len() == 26 && link[3..].starts_with(b"\x01vpce-"),
        0xe0 => link.len() == 11,
        _ => false,
    };
    let fits = usize::from(u16::from_be_bytes([link[1], link[2]])) + 3 == link.len();
    (is_known && fits).then(|| Header {
        client: (address(START), port(ports)),
        endpoint: (address(START + size), port(ports + 2)),
        link: link.to_vec(),
    })
}
