//! A web server that serves nobody without a PROXY protocol v2 header.
//!
//! The header is judged as the specification (haproxy.org, proxy-protocol.txt 2.2) has it, and
//! strictly: signature, version, command, family, lengths, the TLVs to the last byte, and CRC32c
//! where there is one (2.2.3). A connection without such a header is reset. Behind it the server is
//! an ordinary [`crate::backend::HttpServer`] that takes the client for who the header says.
//!
//! Bounds: [`HEADER_BYTES_MAX`]. IPv4 over TCP, and LOCAL; other families are refused, since the
//! lab knows IPv4 only.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::http::Visit;
use crate::backend::service::TcpService;
use crate::client::reset_on_close;
use crate::error::LabError;
use crate::namespace::Namespace;

/// The longest header that is taken, without its first 16 bytes. TLVs of clouds have some dozens.
const HEADER_BYTES_MAX: usize = 2048;
/// Headers that are remembered.
const HEADERS_KEPT_MAX: usize = 1024;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const TCP_OVER_IPV4: u8 = 0x11;
const ADDRESS_BYTES: usize = 12;
const TLV_CRC32C: u8 = 0x03;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Client and address that it dialled; `None` of a LOCAL connection, such as a health probe.
    pub addresses: Option<(SocketAddrV4, SocketAddrV4)>,
    /// Type and value of everything else, in order: link ids of clouds, for example.
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

/// See the module's documentation.
pub struct ProxyStrict {
    service: TcpService,
    seen: Arc<Mutex<Vec<ProxyHeader>>>,
}

impl ProxyStrict {
    /// Binds to `address` inside `namespace` and serves until dropped.
    ///
    /// # Errors
    /// When the address is not there or the port is taken.
    pub fn start(
        namespace: &Namespace,
        address: SocketAddrV4,
        name: &str,
    ) -> Result<Self, LabError> {
        let (backend, seen) = (name.to_string(), Arc::new(Mutex::default()));
        let kept: Arc<Mutex<Vec<ProxyHeader>>> = Arc::clone(&seen);
        let service = TcpService::start(namespace, address, name, move |mut stream, peer| {
            let Ok(header) = ProxyHeader::read(&mut stream) else {
                // It fails only if the connection is gone already.
                let _ = reset_on_close(stream);
                return;
            };
            let peer = header.addresses.map_or(peer, |(client, _)| client);
            let mut all = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() < HEADERS_KEPT_MAX {
                all.push(header);
            }
            drop(all);
            // A client that goes away or talks nonsense is no error of ours.
            let _ = Visit { backend: &backend, peer, healthy: &|| true, stream }.serve();
        })?;
        Ok(Self { service, seen })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.service.address()
    }

    /// Connections so far, refused ones included.
    pub fn connections(&self) -> u64 {
        self.service.peers().count()
    }

    /// The headers that were taken, in order.
    pub fn headers(&self) -> Vec<ProxyHeader> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProxyHeader {
    /// Reads a header and not a byte more.
    ///
    /// # Errors
    /// Of kind `InvalidData` when it is none or is malformed, `UnexpectedEof` when it is cut off.
    pub fn read(stream: &mut impl Read) -> io::Result<ProxyHeader> {
        let mut fixed = [0; 16];
        stream.read_exact(&mut fixed)?;
        let [.., high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if fixed[..12] != SIGNATURE || length > HEADER_BYTES_MAX {
            return Err(wrong("not a header"));
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest)?;
        let (local, family) = match (fixed[12], fixed[13]) {
            (0x20, family) => (true, family),
            (0x21, family) => (false, family),
            _ => return Err(wrong("neither LOCAL nor PROXY of version 2")),
        };
        // Of a LOCAL header the addresses are passed over (2.2), and so may be missing.
        if local && (family != TCP_OVER_IPV4 || length < ADDRESS_BYTES) {
            return Ok(ProxyHeader { addresses: None, tlvs: Vec::new() });
        }
        if family != TCP_OVER_IPV4 {
            return Err(wrong("neither TCP nor IPv4"));
        }
        let (addresses, tlvs) = rest.split_first_chunk().ok_or_else(|| wrong("no addresses"))?;
        let addresses = (!local).then(|| parse_addresses(addresses));
        let tlvs = parse_tlvs(tlvs)?;
        judge_checksum(&fixed, &rest)?;
        Ok(ProxyHeader { addresses, tlvs })
    }
}

fn parse_addresses(bytes: &[u8; ADDRESS_BYTES]) -> (SocketAddrV4, SocketAddrV4) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
    let client = SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([i, j]));
    let dialled = SocketAddrV4::new(Ipv4Addr::new(e, f, g, h), u16::from_be_bytes([k, l]));
    (client, dialled)
}

fn parse_tlvs(bytes: &[u8]) -> io::Result<Vec<(u8, Vec<u8>)>> {
    let mut tlvs = Vec::new();
    let mut rest = bytes;
    while let Some((&[kind, high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) =
            after.split_at_checked(length).ok_or_else(|| wrong("a TLV is cut off"))?;
        tlvs.push((kind, value.to_vec()));
        rest = after;
    }
    if rest.is_empty() { Ok(tlvs) } else { Err(wrong("bytes behind the last TLV")) }
}

/// The checksum covers the whole header, with its own value taken as zero (2.2.3).
fn judge_checksum(fixed: &[u8], rest: &[u8]) -> io::Result<()> {
    let mut whole = [fixed, rest].concat();
    let mut at = 16 + ADDRESS_BYTES;
    while let Some(&[kind, high, low]) = whole.get(at..).and_then(<[u8]>::first_chunk) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = at + 3..at + 3 + length;
        if kind == TLV_CRC32C {
            let said = whole.get(value.clone()).map(<[u8]>::to_vec).unwrap_or_default();
            whole[value].fill(0);
            let right = said == crc32c(&whole).to_be_bytes();
            return if right { Ok(()) } else { Err(wrong("the checksum is wrong")) };
        }
        at = value.end;
    }
    Ok(())
}

/// CRC32c (RFC 4960 appendix B), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(u32::MAX, byte)
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        // From RFC 3720 appendix B.4, and the check value of the CRC catalogues.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
