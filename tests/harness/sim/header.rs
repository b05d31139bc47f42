//! PROXY headers as backends read them: an independent decoder of the three layouts.

use std::net::IpAddr;

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
    let is_header = start.get(..14)? == b"\r\n\r\n\0\r\nQUIT\n\x21\x11";
    is_header.then_some(START + usize::from(u16::from_be_bytes([start[14], start[15]])))
}

/// The header that these bytes are.
pub(super) fn decode(bytes: &[u8]) -> Option<Header> {
    if length(bytes)? != bytes.len() || bytes.len() < START + 15 {
        return None;
    }
    let address =
        |at: usize| IpAddr::from([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let link = &bytes[START + 12..];
    let is_known = match link[0] {
        0xee => link.len() == 8 && link[3] == 1,
        0xea => link.len() == 26 && link[3..].starts_with(b"\x01vpce-"),
        0xe0 => link.len() == 11,
        _ => false,
    };
    let fits = usize::from(u16::from_be_bytes([link[1], link[2]])) + 3 == link.len();
    (is_known && fits).then(|| Header {
        client: (address(16), port(24)),
        endpoint: (address(20), port(26)),
        link: link.to_vec(),
    })
}
