//! IPv6 headers (RFC 8200, 3): the 40 fixed bytes, and the extension headers behind them (4).

use core::net::Ipv6Addr;

use super::ip::Piece;

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 40;

/// The smallest MTU that a link can have (RFC 8200 5).
pub const MTU_MIN: u32 = 1_280;

/// Next header: hop-by-hop options.
const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
const ROUTING: u8 = 43;
/// Next header: fragment.
pub const FRAGMENT: u8 = 44;
/// Next header: destination options.
pub const DESTINATION_OPTIONS: u8 = 60;
/// Next header: ICMPv6.
pub const ICMP: u8 = 58;

/// Bytes of a fragment header.
pub const FRAGMENT_BYTES: usize = 8;

/// Extension headers that a packet may have (RFC 8504 5.3 lets a host have such a limit).
pub const EXTENSIONS_MAX: usize = 8;

/// Bytes that they may have together.
pub const EXTENSION_BYTES_MAX: usize = 256;

/// The fixed part of a header, to read.
#[derive(Clone, Copy)]
pub struct Ipv6<'a>(&'a [u8; HEADER_BYTES]);

impl<'a> Ipv6<'a> {
    /// The header at the start of a packet; `None` if the packet is too short.
    #[inline]
    #[must_use]
    pub fn of(packet: &'a [u8]) -> Option<Self> {
        packet.first_chunk().map(Ipv6)
    }

    /// Version; 6 in a valid header.
    #[must_use]
    pub fn version(self) -> u8 {
        self.0[0] >> 4
    }

    /// How the packet is to be treated; what IPv4 calls type of service.
    #[must_use]
    pub fn traffic_class(self) -> u8 {
        self.0[0] << 4 | self.0[1] >> 4
    }

    /// Bytes behind the fixed header.
    #[inline]
    #[must_use]
    pub fn payload_length(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// What follows the fixed header.
    #[must_use]
    pub fn next_header(self) -> u8 {
        self.0[6]
    }

    /// How many hops it may still go.
    #[must_use]
    pub fn hop_limit(self) -> u8 {
        self.0[7]
    }

    /// Source address.
    #[must_use]
    pub fn source(self) -> Ipv6Addr {
        address(&self.0[8..24])
    }

    /// Destination address.
    #[must_use]
    pub fn destination(self) -> Ipv6Addr {
        address(&self.0[24..])
    }

    /// Both addresses as they lie in the header.
    #[must_use]
    pub fn addresses(self) -> &'a [u8] {
        &self.0[8..]
    }
}

fn address(bytes: &[u8]) -> Ipv6Addr {
    Ipv6Addr::from(bytes.first_chunk().copied().unwrap_or([0; 16]))
}

/// The fixed part of a header, to write.
pub struct Ipv6Mut<'a>(&'a mut [u8; HEADER_BYTES]);

impl<'a> Ipv6Mut<'a> {
    /// The header at the start of a packet; `None` if the packet is too short.
    #[must_use]
    pub fn of(packet: &'a mut [u8]) -> Option<Self> {
        packet.first_chunk_mut().map(Ipv6Mut)
    }

    /// Sets version and traffic class, and a flow label of zero.
    pub fn set_class(&mut self, traffic_class: u8) {
        self.0[..4].copy_from_slice(&[0x60 | traffic_class >> 4, traffic_class << 4, 0, 0]);
    }

    /// Sets the bytes behind the fixed header.
    pub fn set_payload_length(&mut self, bytes: u16) {
        self.0[4..6].copy_from_slice(&bytes.to_be_bytes());
    }

    /// Sets what follows the fixed header.
    pub fn set_next_header(&mut self, number: u8) {
        self.0[6] = number;
    }

    /// Sets how many hops it may still go.
    pub fn set_hop_limit(&mut self, hops: u8) {
        self.0[7] = hops;
    }

    /// Sets both addresses.
    pub fn set_addresses(&mut self, source: Ipv6Addr, destination: Ipv6Addr) {
        self.0[8..24].copy_from_slice(&source.octets());
        self.0[24..].copy_from_slice(&destination.octets());
    }
}

/// What lies behind the fixed header and its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upper {
    /// Number of the protocol.
    pub protocol: u8,
    /// Byte of the packet where it begins; at most [`HEADER_BYTES`] + [`EXTENSION_BYTES_MAX`].
    pub offset: usize,
    /// Byte of the packet where what may be fragmented begins: behind the fragment header, if there
    /// is one.
    pub body: usize,
    /// Which piece of its datagram the packet has, if it has not all of it (RFC 6946).
    pub piece: Option<Piece>,
}

/// Why a chain of extension headers leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// Cut off, too long, or hop-by-hop options that are not the first (RFC 8200 4.1).
    Malformed,
    /// A routing header that still wants something: nodes to visit, or of type 0 (RFC 5095).
    Routing,
}

/// Follows the extension headers of a packet, which ends with its payload. Bounds:
/// [`EXTENSIONS_MAX`] headers, [`EXTENSION_BYTES_MAX`] bytes.
///
/// A fragment that is its whole datagram is no fragment (RFC 6946). Of one that is not the first of
/// its datagram, protocol and offset are what its header says: no headers are to be found in it.
///
/// # Errors
/// They lead nowhere, or where adit does not follow.
pub fn upper(packet: &[u8]) -> Result<Upper, ChainFault> {
    let header = Ipv6::of(packet).ok_or(ChainFault::Malformed)?;
    let (mut protocol, mut offset) = (header.next_header(), HEADER_BYTES);
    let (mut body, mut piece) = (HEADER_BYTES, None);
    for number in 0..=EXTENSIONS_MAX {
        let is_later = piece.is_some_and(|piece: Piece| piece.start > 0);
        let is_extension =
            matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS);
        if is_later || !is_extension {
            return Ok(Upper { protocol, offset, body, piece });
        }
        let start = packet.get(offset..).and_then(<[u8]>::first_chunk::<8>);
        let start = start.ok_or(ChainFault::Malformed)?;
        let bytes = match protocol {
            HOP_BY_HOP if number > 0 => return Err(ChainFault::Malformed),
            // Type, and segments left.
            ROUTING if start[2] == 0 || start[3] != 0 => return Err(ChainFault::Routing),
            FRAGMENT if body > HEADER_BYTES => return Err(ChainFault::Malformed),
            FRAGMENT => {
                (body, piece) = (offset + FRAGMENT_BYTES, piece_of(start));
                FRAGMENT_BYTES
            }
            _ => usize::from(start[1]) * 8 + start.len(),
        };
        (protocol, offset) = (start[0], offset + bytes);
        if offset > packet.len().min(HEADER_BYTES + EXTENSION_BYTES_MAX) {
            return Err(ChainFault::Malformed);
        }
    }
    Err(ChainFault::Malformed)
}

/// What a fragment header says, unless nothing came before and nothing follows.
fn piece_of(header: &[u8; FRAGMENT_BYTES]) -> Option<Piece> {
    let [_, _, a, b, id @ ..] = *header;
    let place = u16::from_be_bytes([a, b]);
    let piece = Piece { start: place & !7, more: place & 1 != 0, id: u32::from_be_bytes(id) };
    (piece.start > 0 || piece.more).then_some(piece)
}

/// The header of a fragment of what `next_header` names.
#[must_use]
pub fn fragment_header(next_header: u8, piece: Piece) -> [u8; FRAGMENT_BYTES] {
    let [a, b] = (piece.start & !7 | u16::from(piece.more)).to_be_bytes();
    let [c, d, e, f] = piece.id.to_be_bytes();
    [next_header, 0, a, b, c, d, e, f]
}
