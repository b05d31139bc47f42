//! Sockets that never block, from a place of their own to the target.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_linger, set_socket_recv_buffer_size, set_socket_reuseaddr, set_tcp_nodelay,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::places::Places;

/// Places that are tried before it is said that there is none.
const TRIES: usize = 64;
/// Room for what many flows receive while the program does something else.
const DATAGRAM_BUFFER_BYTES: usize = 256 * 1024;

/// Begins a connection.
pub(super) fn open_tcp(target: SocketAddr, places: &mut Places) -> io::Result<OwnedFd> {
    open(target, places, SocketType::STREAM, |socket| {
        // A port whose connection is in TIME_WAIT can be bound again.
        set_socket_reuseaddr(socket, true)?;
        set_tcp_nodelay(socket, true)
    })
}

/// A socket whose datagrams all go to the target.
pub(super) fn open_udp(target: SocketAddr, places: &mut Places) -> io::Result<OwnedFd> {
    open(target, places, SocketType::DGRAM, |socket| {
        set_socket_recv_buffer_size(socket, DATAGRAM_BUFFER_BYTES)
    })
}

fn open(
    target: SocketAddr,
    places: &mut Places,
    kind: SocketType,
    prepare: impl Fn(&OwnedFd) -> Result<(), Errno>,
) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let mut last = Errno::ADDRNOTAVAIL;
    for _ in 0..TRIES {
        let place = places.next().ok_or(Errno::ADDRNOTAVAIL)?;
        let socket = socket_with(family(target), kind, flags, None)?;
        prepare(&socket)?;
        let outcome = bind(&socket, &place).and_then(|()| connect(&socket, &target));
        match outcome {
            Ok(()) | Err(Errno::INPROGRESS) => return Ok(socket),
            // Somebody else has this port, or it is not free again yet.
            Err(error @ (Errno::ADDRINUSE | Errno::ADDRNOTAVAIL)) => last = error,
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.into())
}

fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// Closing it will be a reset, which leaves nothing in TIME_WAIT.
pub(super) fn reset_on_close(socket: impl AsFd) {
    // If that fails it is closed as usual.
    let _ = set_socket_linger(socket, Some(Duration::ZERO));
}

/// The address that the kernel would send from.
pub(super) fn usual_source(target: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    // Nothing is sent.
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

/// Whether things can be sent from an address.
pub(super) fn is_own_address(address: IpAddr) -> io::Result<()> {
    UdpSocket::bind((address, 0)).map(drop)
}
