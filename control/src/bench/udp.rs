//! UDP: a socket for each of a worker's flows.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use super::answer::name_in;
use super::clock::{Clock, Poller};
use super::crew::{Aim, Worker};
use super::datagram::Stamp;
use super::datagrams::Datagrams;
use super::fault::Fault;
use super::places::Places;
use super::sockets::open_udp;
use super::tally::Tally;

/// Datagrams in a row, after which sockets are looked at.
const BURST: usize = 32;
/// Datagrams of one flow in a row.
const RECEIVED: usize = 4096;
const READ_BYTES: usize = 64 * 1024;

/// See the module's documentation.
pub(super) struct Udp<'a> {
    decisions: Datagrams,
    aim: &'a Aim,
    sockets: Vec<UdpSocket>,
    datagram: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a> Udp<'a> {
    /// Opens all sockets.
    pub(super) fn sockets(
        flows: usize,
        aim: &Aim,
        places: &mut Places,
        poller: &Poller,
    ) -> io::Result<Vec<UdpSocket>> {
        let open = |flow| {
            let socket = open_udp(aim.target, places)?;
            poller.watch(&socket, flow as u64, false)?;
            Ok(UdpSocket::from(socket))
        };
        (0..flows).map(open).collect()
    }

    pub(super) fn new(decisions: Datagrams, sockets: Vec<UdpSocket>, aim: &'a Aim) -> Self {
        Udp { decisions, aim, sockets, datagram: Vec::new(), buffer: vec![0; READ_BYTES] }
    }

    fn send(&mut self, clock: Clock, stamp: Stamp) {
        stamp.write(self.aim.size, &mut self.datagram);
        let socket = usize::try_from(stamp.flow).ok().and_then(|flow| self.sockets.get(flow));
        let Some(socket) = socket else { return };
        // The first error may be that of an earlier datagram, of which it tells.
        for _ in 0..2 {
            match socket.send(&self.datagram) {
                Ok(_) => return,
                // A full buffer loses it, as networks do.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.decisions.failed(clock.now(), Fault::of(&error)),
            }
        }
    }
}

impl Worker for Udp<'_> {
    fn act(&mut self, clock: Clock, _: &Poller) -> bool {
        for _ in 0..BURST {
            match self.decisions.next(clock.now()) {
                Some(stamp) => self.send(clock, stamp),
                None => return false,
            }
        }
        true
    }

    fn happened(&mut self, clock: Clock, number: u64) {
        let socket = usize::try_from(number).ok().and_then(|flow| self.sockets.get(flow));
        let Some(socket) = socket else { return };
        for _ in 0..RECEIVED {
            match socket.recv(&mut self.buffer) {
                Ok(bytes) => {
                    let answer = &self.buffer[..bytes];
                    if let Some(stamp) = Stamp::read(answer) {
                        let name = name_in(answer);
                        self.decisions.heard(clock.now(), stamp, name.as_deref());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.decisions.failed(clock.now(), Fault::of(&error)),
            }
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        self.decisions.wake_at()
    }

    fn measured_from(&self) -> Option<Duration> {
        Some(self.decisions.measured_from())
    }

    fn opening_time(&self) -> Option<Duration> {
        None
    }

    fn open(&self) -> (usize, usize) {
        (self.sockets.len(), self.sockets.len())
    }

    fn take_tallies(&mut self) -> (Tally, Tally) {
        self.decisions.take_tallies()
    }

    fn stop(&mut self, now: Duration) {
        self.decisions.stop(now);
    }

    fn is_done(&self) -> bool {
        self.decisions.is_done()
    }
}
