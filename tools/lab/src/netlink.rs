//! The few rtnetlink messages the lab needs, by hand: one request, its answers, its verdict.
//!
//! A socket belongs to the namespace of the thread that opened it and keeps it, so one socket per
//! namespace serves every later request from any thread. Layouts are those of linux/netlink.h and
//! linux/rtnetlink.h: native byte order, attributes padded to four bytes.
//!
//! Bounds: a request waits at most [`REPLY_TIMEOUT`]. It does not dump tables or listen to events.

use std::fmt;
use std::io;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// The kernel answers at once; this only keeps a mistake from hanging the caller.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_BYTES: usize = 16;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NETLINK_ROUTE: i32 = 0;

/// A request under construction.
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of `kind` (RTM_*) with the fixed header that the kind demands.
    pub(crate) fn new(kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK).unwrap_or(0);
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        Self { bytes }
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.open(kind, |message| message.bytes.extend_from_slice(value));
        self
    }

    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// An attribute that holds a fixed header, possibly empty, and further attributes.
    pub(crate) fn nested(
        mut self,
        kind: u16,
        fixed: &[u8],
        fill: impl FnOnce(Self) -> Self,
    ) -> Self {
        self.open(kind, |message| {
            message.bytes.extend_from_slice(fixed);
            let inner = fill(Self { bytes: std::mem::take(&mut message.bytes) });
            message.bytes = inner.bytes;
        });
        self
    }

    fn open(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        // An attribute past 64 KiB cannot be expressed; the kernel refuses a length of zero.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(0);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn seal(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(0);
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

/// A refusal in the kernel's own words, which tell more than its number.
#[derive(Debug)]
struct Refusal {
    errno: io::Error,
    words: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.errno, self.words)
    }
}

impl std::error::Error for Refusal {}

/// An rtnetlink socket of one namespace.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket in the namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let protocol = Some(Protocol::from(NETLINK_ROUTE));
        let socket =
            Socket::new(Domain::from(libc::AF_NETLINK), Type::from(libc::SOCK_RAW), protocol)?;
        socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
        // Kernels before 4.12 lack it, and only lose the words.
        let _ = sys::ask_extended_ack(socket.as_fd());
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends a request and returns the bodies of the answers that came before its verdict.
    pub(crate) fn request(&mut self, message: Message) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.write_all(&message.seal(self.sequence))?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = match self.socket.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let mut rest = &buffer[..length];
            while let Some((header, body, after)) = split_message(rest) {
                rest = after;
                // An answer to an earlier request that ran into its timeout.
                if header.sequence != self.sequence {
                    continue;
                }
                if i32::from(header.kind) == libc::NLMSG_ERROR {
                    return verdict(header.flags, body).map(|()| answers);
                }
                answers.push(body.to_vec());
            }
        }
    }
}

struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

fn split_message(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let length = read_u32(bytes, 0)? as usize;
    let header = Header {
        kind: read_u16(bytes, 4)?,
        flags: read_u16(bytes, 6)?,
        sequence: read_u32(bytes, 8)?,
    };
    let body = bytes.get(HEADER_BYTES..length)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((header, body, rest))
}

/// Reads an NLMSG_ERROR: zero is an acknowledgement.
fn verdict(flags: u16, body: &[u8]) -> io::Result<()> {
    let errno = read_u32(body, 0).map_or(0, u32::cast_signed);
    if errno == 0 {
        return Ok(());
    }
    let source = io::Error::from_raw_os_error(-errno);
    // After the number come the request's header, its body unless capped, then attributes.
    let request = read_u32(body, 4).unwrap_or(0) as usize;
    let skip = 4 + if flags & NLM_F_CAPPED == 0 { request.next_multiple_of(4) } else { 16 };
    let words = (flags & NLM_F_ACK_TLVS != 0)
        .then(|| attribute(body.get(skip..).unwrap_or(&[]), NLMSGERR_ATTR_MSG))
        .flatten()
        .map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_string());
    Err(match words {
        Some(words) => io::Error::new(source.kind(), Refusal { errno: source, words }),
        None => source,
    })
}

/// The value of the first attribute of `kind` in a run of attributes.
pub(crate) fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    // The two high bits mark nesting and byte order.
    const KIND_MASK: u16 = 0x3fff;
    loop {
        let length = usize::from(read_u16(bytes, 0)?);
        let value = bytes.get(4..length)?;
        if read_u16(bytes, 2)? & KIND_MASK == kind {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_again() {
        let message = Message::new(16, 0, &[0; 16])
            .text(3, "eth0")
            .nested(18, &[], |inner| inner.text(1, "veth").number(2, 7))
            .number(4, 1500);
        let bytes = message.seal(9);
        assert_eq!(bytes.len() % 4, 0);
        let (header, body, rest) = split_message(&bytes).unwrap();
        assert_eq!((header.kind, header.sequence, rest.len()), (16, 9, 0));
        let attributes = &body[16..];
        assert_eq!(attribute(attributes, 3), Some(&b"eth0\0"[..]));
        let nested = attribute(attributes, 18).unwrap();
        assert_eq!(attribute(nested, 2).and_then(|value| read_u32(value, 0)), Some(7));
        assert_eq!(attribute(attributes, 4).and_then(|value| read_u32(value, 0)), Some(1500));
        assert_eq!(attribute(attributes, 99), None);
    }

    #[test]
    fn truncated_answers_end_the_reading() {
        let bytes = Message::new(16, 0, &[0; 16]).text(3, "eth0").seal(1);
        for length in 0..bytes.len() {
            assert!(split_message(&bytes[..length]).is_none(), "{length}");
            let _ = attribute(&bytes[..length], 3);
        }
    }
}
