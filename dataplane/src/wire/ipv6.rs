//! IPv6 headers (RFC 8200, 3): the 40 fixed bytes, and the extension headers behind them (4).

use core::net::Ipv6Addr;

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 40;

/// Next header: hop-by-hop options.
const HOP_BY_HOP: u8 = 0;
/// Next header: routing.
const ROUTING: u8 = 43;
/// Next header: fragment.
const FRAGMENT: u8 = 44;
/// Next header: destination options.
const DESTINATION_OPTIONS: u8 = 60;
/// Next header: ICMPv6.
pub const ICMP: u8 = 58;

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
}

/// Why a chain of extension headers leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// Cut off, too long, or hop-by-hop options that are not the first (RFC 8200 4.1).
    Malformed,
    /// A routing header that still wants something: nodes to visit, or of type 0 (RFC 5095).
    Routing,
    /// One of several fragments.
    Fragment,
}

/// Follows the extension headers of a packet, which ends with its payload. Bounds:
/// [`EXTENSIONS_MAX`] headers, [`EXTENSION_BYTES_MAX`] bytes.
///
/// A fragment that is its whole datagram is no fragment (RFC 6946).
///
/// # Errors
/// They lead nowhere, or where adit does not follow.
pub fn upper(packet: &[u8]) -> Result<Upper, ChainFault> {
    let header = Ipv6::of(packet).ok_or(ChainFault::Malformed)?;
    let (mut protocol, mut offset) = (header.next_header(), HEADER_BYTES);
    for number in 0..=EXTENSIONS_MAX {
        if !matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
            return Ok(Upper { protocol, offset });
        }
        let start = packet.get(offset..).and_then(<[u8]>::first_chunk::<8>);
        let start = start.ok_or(ChainFault::Malformed)?;
        let bytes = match protocol {
            HOP_BY_HOP if number > 0 => return Err(ChainFault::Malformed),
            // Type, and segments left.
            ROUTING if start[2] == 0 || start[3] != 0 => return Err(ChainFault::Routing),
            // Offset, and whether more follow.
            FRAGMENT if start[2] != 0 || start[3] & 0xf9 != 0 => return Err(ChainFault::Fragment),
            FRAGMENT => start.len(),
            _ => usize::from(start[1]) * 8 + start.len(),
        };
        (protocol, offset) = (start[0], offset + bytes);
        if offset > packet.len().min(HEADER_BYTES + EXTENSION_BYTES_MAX) {
            return Err(ChainFault::Malformed);
        }
    }
    Err(ChainFault::Malformed)
}
