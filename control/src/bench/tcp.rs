//! TCP: the sockets of a worker's connections.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::answer::{Reader, Reading};
use super::clock::{Clock, Poller};
use super::connections::{Action, Connections};
use super::crew::{Aim, Worker};
use super::fault::Fault;
use super::places::Places;
use super::sockets::{open_tcp, reset_on_close};
use super::tally::Tally;

/// Actions in a row, after which sockets are looked at.
const ACTIONS: usize = 64;
const READ_BYTES: usize = 64 * 1024;

struct Connection {
    stream: TcpStream,
    is_open: bool,
    /// Whether an answer is waited for.
    is_asked: bool,
    /// Bytes of the request that are sent.
    sent: usize,
    reader: Reader,
}

/// See the module's documentation.
pub(super) struct Tcp<'a> {
    decisions: Connections,
    aim: &'a Aim,
    places: Places,
    sockets: Vec<Option<Connection>>,
    /// Changes with each socket of a flow, so that old events mean nothing.
    rounds: Vec<u32>,
    buffer: Vec<u8>,
}

impl<'a> Tcp<'a> {
    pub(super) fn new(decisions: Connections, flows: usize, aim: &'a Aim, places: Places) -> Self {
        let sockets = std::iter::repeat_with(|| None).take(flows).collect();
        let (rounds, buffer) = (vec![0; flows], vec![0; READ_BYTES]);
        Tcp { decisions, aim, places, sockets, rounds, buffer }
    }

    fn begin(&mut self, now: Duration, flow: usize, poller: &Poller) {
        self.rounds[flow] = self.rounds[flow].wrapping_add(1);
        let number = u64::from(self.rounds[flow]) << 32 | flow as u64;
        let opened = open_tcp(self.aim.target, &mut self.places).and_then(|socket| {
            poller.watch(&socket, number, true)?;
            Ok(TcpStream::from(socket))
        });
        match opened {
            Ok(stream) => {
                let (reader, sent) = (Reader::default(), 0);
                let connection =
                    Connection { stream, is_open: false, is_asked: false, sent, reader };
                self.sockets[flow] = Some(connection);
            }
            Err(error) => self.decisions.failed(now, flow, Fault::of(&error)),
        }
    }

    fn ask(&mut self, now: Duration, flow: usize) {
        if let Some(connection) = &mut self.sockets[flow] {
            (connection.is_asked, connection.sent) = (true, 0);
        }
        self.settle(now, flow, |connection, aim, _| connection.write(aim));
    }

    fn close(&mut self, flow: usize) {
        if let Some(connection) = self.sockets[flow].take()
            && self.aim.close_by_reset
        {
            reset_on_close(&connection.stream);
        }
    }

    /// Does something with a socket; one that fails is gone.
    fn settle(
        &mut self,
        now: Duration,
        flow: usize,
        work: impl Fn(&mut Connection, &Aim, &mut [u8]) -> Result<Outcome, Fault>,
    ) {
        let Some(connection) = &mut self.sockets[flow] else { return };
        match work(connection, self.aim, &mut self.buffer) {
            Ok(Outcome::Nothing) => {}
            Ok(Outcome::Answered) => {
                connection.is_asked = false;
                let name = connection.reader.finish();
                self.decisions.answered(now, flow, name.as_deref());
            }
            Ok(Outcome::Ended { answered }) => {
                if answered {
                    let name = connection.reader.finish();
                    self.decisions.answered(now, flow, name.as_deref());
                }
                self.close(flow);
                self.decisions.ended(now, flow);
            }
            Err(fault) => {
                self.close(flow);
                self.decisions.failed(now, flow, fault);
            }
        }
    }
}

/// What came of looking at a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Nothing,
    Answered,
    /// The backend has closed it, with the answer or without.
    Ended {
        answered: bool,
    },
}

impl Connection {
    /// Whether it is established by now.
    fn look(&mut self) -> Result<bool, Fault> {
        if let Some(error) = self.stream.take_error().map_err(|error| Fault::of(&error))? {
            return Err(Fault::of(&error));
        }
        match self.stream.peer_addr() {
            Ok(_) => self.is_open = true,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => return Err(Fault::of(&error)),
        }
        Ok(self.is_open)
    }

    fn write(&mut self, aim: &Aim) -> Result<Outcome, Fault> {
        while self.is_asked && self.sent < aim.talk.request.len() {
            match self.stream.write(&aim.talk.request[self.sent..]) {
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::of(&error)),
            }
        }
        Ok(Outcome::Nothing)
    }

    /// Reads all that is there.
    fn read(&mut self, aim: &Aim, buffer: &mut [u8]) -> Result<Outcome, Fault> {
        let mut answered = false;
        loop {
            let bytes = match self.stream.read(buffer) {
                Ok(0) => {
                    if self.is_asked && !answered {
                        answered = self.reader.end() == Reading::Done;
                    }
                    return Ok(Outcome::Ended { answered });
                }
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The answer came before the reset.
                Err(_) if answered => return Ok(Outcome::Ended { answered }),
                Err(error) => return Err(Fault::of(&error)),
            };
            if !self.is_asked || answered {
                // Greetings and what follows an answer are nobody's.
                continue;
            }
            match self.reader.feed(&aim.talk, &buffer[..bytes]) {
                Reading::More => {}
                Reading::Done => answered = true,
                Reading::Broken(fault) => return Err(fault),
            }
        }
        Ok(if answered { Outcome::Answered } else { Outcome::Nothing })
    }
}

impl Worker for Tcp<'_> {
    fn act(&mut self, clock: Clock, poller: &Poller) -> bool {
        for _ in 0..ACTIONS {
            let now = clock.now();
            match self.decisions.next(now) {
                Some(Action::Open(flow)) => self.begin(now, flow, poller),
                Some(Action::Ask(flow)) => self.ask(now, flow),
                Some(Action::Close(flow)) => self.close(flow),
                None => return false,
            }
        }
        true
    }

    fn happened(&mut self, clock: Clock, number: u64) {
        let Ok(flow) = usize::try_from(number & u64::from(u32::MAX)) else { return };
        let round = self.rounds.get(flow).map(|round| u64::from(*round));
        let Some(connection) = self.sockets.get_mut(flow).and_then(Option::as_mut) else { return };
        if round != Some(number >> 32) {
            return;
        }
        let now = clock.now();
        if !connection.is_open {
            match connection.look() {
                Ok(true) => self.decisions.opened(now, flow),
                Ok(false) => return,
                Err(fault) => {
                    self.close(flow);
                    self.decisions.failed(now, flow, fault);
                    return;
                }
            }
        }
        self.settle(now, flow, |connection, aim, _| connection.write(aim));
        self.settle(now, flow, Connection::read);
    }

    fn wake_at(&self) -> Option<Duration> {
        self.decisions.wake_at()
    }

    fn measured_from(&self) -> Option<Duration> {
        self.decisions.measured_from()
    }

    fn opening_time(&self) -> Option<Duration> {
        self.decisions.opening_time()
    }

    fn open(&self) -> (usize, usize) {
        self.decisions.open()
    }

    fn take_tallies(&mut self) -> (Tally, Tally) {
        self.decisions.take_tallies()
    }

    fn stop(&mut self, _: Duration) {
        self.decisions.stop();
    }

    fn is_done(&self) -> bool {
        self.decisions.is_done()
    }
}
