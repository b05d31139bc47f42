//! PROXY protocol v2 headers (haproxy.org, proxy-protocol.txt 2.2): who a connection comes from, in
//! front of its first byte, with the link id as each cloud writes it.
//!
//! Pure: adit puts them in front of streams, and control sends them on probes. A header is all of
//! addresses and one TLV, so its length depends on the dialect and the client's family alone.
//! Bounds: [`HEADER_BYTES_MAX`].

use core::net::IpAddr;

use super::Tuple;
use crate::types::{Address, Family, LinkId, MacAddress, ProxyDialect};
use crate::wire::{ethernet, ipv6, tcp};
use arrayvec::ArrayVec;

/// Bytes of the longest header.
pub const HEADER_BYTES_MAX: usize = 78;

/// No header has fewer bytes: signature, command, length, and addresses of IPv4.
pub const HEADER_BYTES_MIN: usize = 28;

/// A header.
pub type Header = ArrayVec<u8, HEADER_BYTES_MAX>;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_LOCAL: u8 = 0x20;
const VERSION_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Of a connection that is nobody's: a health probe.
pub const LOCAL: [u8; 16] = {
    let mut header = [0; 16];
    let mut at = 0;
    while at < SIGNATURE.len() {
        header[at] = SIGNATURE[at];
        at += 1;
    }
    header[12] = VERSION_LOCAL;
    header
};

/// The header of a client's connection to an endpoint, which has an address of the same family.
#[must_use]
pub fn header(
    dialect: ProxyDialect,
    link: LinkId,
    client: (Address, u16),
    endpoint: (Address, u16),
) -> Header {
    let (kind, value) = tlv(dialect, link);
    let mut header = Header::new();
    header.extend(SIGNATURE);
    let mut addresses = ArrayVec::<u8, 32>::new();
    for address in [client.0, endpoint.0] {
        match address.ip() {
            IpAddr::V4(address) => addresses.extend(address.octets()),
            IpAddr::V6(address) => addresses.extend(address.octets()),
        }
    }
    let kind_of_address = match client.0.family() {
        Family::V4 => TCP_OVER_IPV4,
        Family::V6 => TCP_OVER_IPV6,
    };
    header.extend([VERSION_PROXY, kind_of_address]);
    header.extend(length_bytes(addresses.len() + 4 + 3 + value.len()));
    header.extend(addresses);
    header.extend(client.1.to_be_bytes());
    header.extend(endpoint.1.to_be_bytes());
    header.push(kind);
    header.extend(length_bytes(value.len()));
    header.extend(value);
    header
}

/// Bytes of a dialect's headers about clients of a family.
#[must_use]
pub const fn length(dialect: ProxyDialect, family: Family) -> u8 {
    let addresses = match family {
        Family::V4 => 8,
        Family::V6 => 32,
    };
    addresses
        + match dialect {
            ProxyDialect::Azure => 28,
            ProxyDialect::Aws => 46,
            ProxyDialect::Gcp => 31,
        }
}

/// Longest value of a TLV: subtype and endpoint id of AWS.
const VALUE_BYTES_MAX: usize = 23;

/// Type and value of the TLV that carries the link id.
fn tlv(dialect: ProxyDialect, link: LinkId) -> (u8, ArrayVec<u8, VALUE_BYTES_MAX>) {
    const SUBTYPE: u8 = 1;
    let mut value = ArrayVec::new();
    let kind = match dialect {
        ProxyDialect::Azure => {
            value.push(SUBTYPE);
            value.extend(link.0.to_le_bytes());
            0xee
        }
        ProxyDialect::Aws => {
            value.push(SUBTYPE);
            value.extend(*b"vpce-");
            // As long as Amazon's: 17 digits.
            value
                .extend((0..17).rev().map(|place| digit(u64::from(link.0) >> (4 * place.min(15)))));
            0xea
        }
        ProxyDialect::Gcp => {
            value.extend(u64::from(link.0).to_be_bytes());
            0xe0
        }
    };
    (kind, value)
}

/// The lowest hexadecimal digit.
fn digit(value: u64) -> u8 {
    b"0123456789abcdef"[(value & 15) as usize]
}

fn length_bytes(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// What a segment says beside its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The number of its first byte.
    pub sequence: u32,
    /// What it acknowledges.
    pub acknowledgement: u32,
    /// The window, as its sender scales it.
    pub window: u16,
    /// Value and echo of its timestamps option (RFC 7323 3.2), as they stand there.
    pub timestamps: Option<[u8; 8]>,
}

/// Bytes of a frame with a header at most: timestamps take twelve.
const FRAME_BYTES_MAX: usize =
    ethernet::HEADER_BYTES + ipv6::HEADER_BYTES + tcp::HEADER_BYTES_MIN + 12 + HEADER_BYTES_MAX;

/// A frame with a header.
pub type HeaderFrame = ArrayVec<u8, FRAME_BYTES_MAX>;

/// The segment that carries a header: `stations` are the sender's and the receiver's. `None` never
/// happens: it would not fit a frame.
#[must_use]
pub fn segment(
    tuple: &Tuple,
    (from, to): (MacAddress, MacAddress),
    numbers: &Numbers,
    header: &Header,
) -> Option<HeaderFrame> {
    let builder = super::reset::begin(tuple, (from, to))?
        .tcp(tuple.source_port, tuple.destination_port, numbers.sequence, numbers.window)
        .ack(numbers.acknowledgement)
        .psh();
    let mut options = ArrayVec::<u8, 12>::new();
    if let Some(timestamps) = numbers.timestamps {
        options.extend([1, 1, 8, 10]);
        options.extend(timestamps);
    }
    let builder = builder.options_raw(&options).ok()?;
    let mut bytes = [0; FRAME_BYTES_MAX];
    let frame = bytes.get_mut(..builder.size(header.len()))?;
    builder.write_to_slice(frame, header).ok()?;
    HeaderFrame::try_from(&*frame).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a line of hexadecimal digits.
    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn example(dialect: ProxyDialect, link: u32) -> Vec<u8> {
        example_of((dialect, link), [10, 0, 0, 5].into(), [10, 0, 0, 4].into())
    }

    fn example_of(
        (dialect, link): (ProxyDialect, u32),
        client: IpAddr,
        endpoint: IpAddr,
    ) -> Vec<u8> {
        let header =
            header(dialect, LinkId(link), (client.into(), 50_000), (endpoint.into(), 443)).to_vec();
        assert_eq!(header.len(), usize::from(length(dialect, Family::of(client))));
        header
    }

    const START: &str = "0d0a0d0a000d0a515549540a 21 11";

    #[test]
    fn azure_writes_the_link_id_little_endian_behind_a_subtype() {
        let expected =
            hex(&format!("{START} 0014 0a000005 0a000004 c350 01bb ee 0005 01 01000020"));
        assert_eq!(expected.len(), 36);
        assert_eq!(example(ProxyDialect::Azure, 0x2000_0001), expected);
    }

    #[test]
    fn aws_writes_an_endpoint_id_of_22_characters() {
        // vpce-0000000002000000f
        let id = "767063652d 3030303030303030303230303030303066";
        let expected = hex(&format!("{START} 0026 0a000005 0a000004 c350 01bb ea 0017 01 {id}"));
        assert_eq!(expected.len(), 54);
        assert_eq!(example(ProxyDialect::Aws, 0x2000_000f), expected);
    }

    #[test]
    fn gcp_writes_a_wide_big_endian_number_without_subtype() {
        let expected =
            hex(&format!("{START} 0017 0a000005 0a000004 c350 01bb e0 0008 00000000c0a86402"));
        assert_eq!(expected.len(), 39);
        assert_eq!(example(ProxyDialect::Gcp, 0xc0a8_6402), expected);
    }

    #[test]
    fn clients_of_ipv6_are_named_by_ipv6_addresses() {
        let start = "0d0a0d0a000d0a515549540a 21 21";
        let (client, endpoint) =
            ("20010db8000000000000000000000005", "20010db8000000000000000000000004");
        let expected =
            hex(&format!("{start} 002c {client} {endpoint} c350 01bb ee 0005 01 01000020"));
        let address = |text: &str| text.parse().unwrap();
        let (client, endpoint) = (address("2001:db8::5"), address("2001:db8::4"));
        assert_eq!(example_of((ProxyDialect::Azure, 0x2000_0001), client, endpoint), expected);
        let aws = example_of((ProxyDialect::Aws, 0x2000_0001), client, endpoint);
        assert_eq!(aws.len(), HEADER_BYTES_MAX);
    }

    #[test]
    fn a_probe_is_nobodys() {
        assert_eq!(LOCAL.to_vec(), hex("0d0a0d0a000d0a515549540a 20 00 0000"));
    }
}
