//! Whether the other end of an interface can be reached without going through it: asked of the
//! kernel by rtnetlink (rtnetlink(7)).

use std::fs::File;
use std::io::{Read, Write};

use super::super::{Fail, sys};
use crate::device::DeviceError;

const GET_LINK: u16 = libc::RTM_GETLINK;
const NEW_LINK: u16 = libc::RTM_NEWLINK;
const REQUEST: u16 = 1;
/// Bytes of the headers of a message and of what it says about one interface.
const HEADERS: u8 = 32;

/// Attributes, from linux/if_link.h.
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const LINK_NAMESPACE: u16 = 37;

/// Whether the interface is a veth whose other end lives in another namespace: only then may a
/// packet be put there straight away.
///
/// # Errors
/// The kernel does not answer.
pub(super) fn is_elsewhere(interface: u32) -> Result<bool, DeviceError> {
    let socket = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE);
    let mut socket = File::from(socket.fail("open a socket to ask about the interface's peer")?);
    let errno = |error: std::io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    socket.write_all(&question(interface)).map_err(errno).fail("ask about the interface's peer")?;
    let mut answer = vec![0; 32 << 10];
    let bytes = socket.read(&mut answer).map_err(errno).fail("hear about the interface's peer")?;
    Ok(has_peer_elsewhere(answer.get(..bytes).unwrap_or_default()))
}

fn question(interface: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADERS.into());
    message.extend(u32::from(HEADERS).to_ne_bytes());
    message.extend(GET_LINK.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 12]);
    message.extend(interface.to_ne_bytes());
    message.extend([0; 8]);
    message
}

fn has_peer_elsewhere(answer: &[u8]) -> bool {
    let is_link = answer.get(4..6) == Some(&NEW_LINK.to_ne_bytes());
    let attributes = || Attributes(answer.get(usize::from(HEADERS)..).unwrap_or_default());
    let is_veth = attributes()
        .filter(|(kind, _)| *kind == LINK_INFO)
        .flat_map(|(_, nested)| Attributes(nested))
        .any(|(kind, value)| kind == INFO_KIND && value.starts_with(b"veth"));
    is_link && is_veth && attributes().any(|(kind, _)| kind == LINK_NAMESPACE)
}

/// Attributes one after the other: length, kind, value, each begun at a multiple of four.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [length0, length1, kind0, kind1] = *self.0.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([length0, length1]));
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The upper two bits are flags.
        Some((u16::from_ne_bytes([kind0, kind1]) & 0x3fff, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn answer(attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; HEADERS.into()];
        bytes[4..6].copy_from_slice(&NEW_LINK.to_ne_bytes());
        bytes.extend(attributes.concat());
        bytes
    }

    #[test]
    fn only_a_veth_with_its_other_end_elsewhere_has_one() {
        let kind = |name: &[u8]| attribute(LINK_INFO | 0x8000, &attribute(INFO_KIND, name));
        let namespace = attribute(LINK_NAMESPACE, &[0; 4]);
        let name = attribute(3, b"veth-p\0");
        let is = |attributes: &[Vec<u8>]| has_peer_elsewhere(&answer(attributes));
        assert!(is(&[name.clone(), kind(b"veth\0"), namespace.clone()]));
        assert!(!is(&[name.clone(), kind(b"veth\0")]), "both ends here");
        assert!(!is(&[kind(b"vlan\0"), namespace.clone()]), "its lower device is elsewhere");
        let whole = answer(&[name, kind(b"veth\0"), namespace]);
        for length in 0..whole.len() - 4 {
            assert!(!has_peer_elsewhere(&whole[..length]), "cut to {length} bytes");
        }
    }
}
