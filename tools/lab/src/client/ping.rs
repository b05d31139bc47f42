//! ICMP echo (RFC 792) over a raw socket.

use std::io;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{Deadline, name_timeout};
use crate::error::{Context, LabError};

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const HEADER_BYTES: usize = 8;
const DEFAULT_PAYLOAD_BYTES: usize = 56;

/// Tells apart the echoes of all pings of this process: identifier and sequence number.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// How a ping ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingOutcome {
    /// The reply came, after this time, with the payload unchanged.
    Answered(Duration),
    /// A router or our own host said that there is no way.
    Unreachable,
    /// Nothing came in time.
    TimedOut,
}

impl PingOutcome {
    /// Whether the reply came.
    pub fn answered(self) -> bool {
        matches!(self, Self::Answered(_))
    }
}

/// Sends one echo request of 56 bytes and waits for its reply.
///
/// # Errors
/// Only for what is no outcome, such as the lack of the right to open a raw socket.
pub fn ping(destination: Ipv4Addr, timeout: Duration) -> Result<PingOutcome, LabError> {
    ping_sized(destination, DEFAULT_PAYLOAD_BYTES, timeout)
}

/// Sends one echo request with a payload of so many bytes and waits for its reply.
///
/// # Errors
/// As [`ping`]; also when the payload is too large for an IP packet.
pub fn ping_sized(
    destination: Ipv4Addr,
    payload_bytes: usize,
    timeout: Duration,
) -> Result<PingOutcome, LabError> {
    try_ping(destination, payload_bytes, timeout).context("ping", || destination.to_string())
}

fn try_ping(
    destination: Ipv4Addr,
    payload_bytes: usize,
    timeout: Duration,
) -> io::Result<PingOutcome> {
    let mut socket = Socket::new(Domain::IPV4, Type::from(libc::SOCK_RAW), Some(Protocol::ICMPV4))?;
    let request = echo_request(NEXT.fetch_add(1, Ordering::Relaxed), payload_bytes);
    let begin = Instant::now();
    let deadline = Deadline(begin + timeout);
    match socket.send_to(&request, &SockAddr::from(SocketAddrV4::new(destination, 0))) {
        Err(error) if is_unreachable(&error) => return Ok(PingOutcome::Unreachable),
        sent => sent?,
    };
    let mut packet = vec![0; 1 << 16];
    loop {
        let Ok(left) = deadline.remaining() else {
            return Ok(PingOutcome::TimedOut);
        };
        socket.set_read_timeout(Some(left))?;
        let length = match socket.read(&mut packet).map_err(name_timeout) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_unreachable(&error) => return Ok(PingOutcome::Unreachable),
            Err(error) => return Err(error),
        };
        match judge(&packet[..length], destination, &request) {
            Some(Verdict::Reply) => return Ok(PingOutcome::Answered(begin.elapsed())),
            Some(Verdict::Unreachable) => return Ok(PingOutcome::Unreachable),
            None => {}
        }
    }
}

fn is_unreachable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
}

fn echo_request(number: u32, payload_bytes: usize) -> Vec<u8> {
    let mut request = vec![0; HEADER_BYTES + payload_bytes];
    request[0] = ECHO_REQUEST;
    request[4..8].copy_from_slice(&number.to_be_bytes());
    crate::pattern::fill(0, &mut request[HEADER_BYTES..]);
    let sum = checksum(&request).to_be_bytes();
    request[2..4].copy_from_slice(&sum);
    request
}

/// What a received packet says about a request; most packets say nothing.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Reply,
    Unreachable,
}

fn judge(packet: &[u8], destination: Ipv4Addr, request: &[u8]) -> Option<Verdict> {
    let source = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
    let message = packet.get(ip_header_bytes(packet)?..)?;
    match *message.first()? {
        // Type and checksum differ from the request's, all else must have come back.
        ECHO_REPLY if source == destination => {
            (message.get(4..)? == &request[4..]).then_some(Verdict::Reply)
        }
        UNREACHABLE => {
            let original = message.get(HEADER_BYTES..)?;
            let to = Ipv4Addr::from(<[u8; 4]>::try_from(original.get(16..20)?).ok()?);
            let echo = original.get(ip_header_bytes(original)?..)?;
            let ours = to == destination && echo.get(4..8)? == &request[4..8];
            ours.then_some(Verdict::Unreachable)
        }
        _ => None,
    }
}

fn ip_header_bytes(packet: &[u8]) -> Option<usize> {
    Some(usize::from(packet.first()? & 0x0f) * 4)
}

/// The internet checksum (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    let mut sum: u32 = words.map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Folded above, so it fits.
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn packet(source: [u8; 4], message: &[u8]) -> Vec<u8> {
        let mut packet = [0; 20];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&source);
        packet[16..20].copy_from_slice(&DESTINATION.octets());
        [&packet[..], message].concat()
    }

    #[test]
    fn a_request_sums_to_zero() {
        assert_eq!(checksum(&echo_request(7, 57)), 0);
    }

    #[test]
    fn only_our_own_reply_is_taken() {
        let request = echo_request(7, 8);
        let mut reply = request.clone();
        reply[0] = ECHO_REPLY;
        let from = DESTINATION.octets();
        assert_eq!(judge(&packet(from, &reply), DESTINATION, &request), Some(Verdict::Reply));
        assert_eq!(judge(&packet([10, 0, 0, 9], &reply), DESTINATION, &request), None);
        assert_eq!(judge(&packet(from, &request), DESTINATION, &request), None);
        reply[7] ^= 1;
        assert_eq!(judge(&packet(from, &reply), DESTINATION, &request), None);
        let error = [&[UNREACHABLE, 1, 0, 0, 0, 0, 0, 0], &packet(from, &request)[..]].concat();
        let verdict = judge(&packet([10, 0, 0, 1], &error), DESTINATION, &request);
        assert_eq!(verdict, Some(Verdict::Unreachable));
        for length in 0..28 {
            assert_eq!(judge(&packet(from, &error)[..length], DESTINATION, &request), None);
        }
    }
}
