//! The application of a backend's host: accepts, checks what is asked, answers, and ends
//! connections the way that was planned.

use std::net::IpAddr;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};

use super::client::{BUFFER, datagrams, stream};
use super::dial::{Dials, Ending};
use super::header;
use super::intent::{Service, TCP_PORTS, UDP_PORTS};
use super::pattern::{CELL, Stream, first_dial};

/// Sockets that listen, as long as there is room.
const LISTENERS: usize = 4;

/// Sockets at most.
const SOCKETS: usize = 160;

/// A socket that serves one connection after the other.
struct Desk {
    handle: SocketHandle,
    dial: Option<usize>,
    sent: usize,
    /// How many it served before.
    turn: u64,
    /// Bytes of the header before the stream; `None` if it wants none.
    header: Option<Vec<u8>>,
}

/// See the module's documentation.
pub(super) struct Server {
    address: IpAddr,
    desks: Vec<Desk>,
    datagrams: Option<SocketHandle>,
    wants_header: bool,
    /// Of TCP and UDP.
    ports: (u16, u16),
}

impl Server {
    pub(super) fn new(address: IpAddr, service: &Service) -> Server {
        let ports = (service.ports(TCP_PORTS).1, service.ports(UDP_PORTS).1);
        let wants_header = service.proxy.is_some();
        Server { address, desks: Vec::new(), datagrams: None, wants_header, ports }
    }

    /// Does what can be done now; says whether it did anything.
    pub(super) fn work(&mut self, sockets: &mut SocketSet<'static>, dials: &mut Dials) -> bool {
        let mut worked = self.listen(sockets);
        for (number, desk) in self.desks.iter_mut().enumerate() {
            let socket = sockets.get_mut::<tcp::Socket>(desk.handle);
            worked |= desk.serve((self.address, number), socket, dials);
        }
        let handle = *self.datagrams.get_or_insert_with(|| {
            let mut socket = datagrams();
            socket.bind(self.ports.1).expect("a fresh socket binds");
            sockets.add(socket)
        });
        worked | answer(sockets.get_mut(handle), dials)
    }

    fn listen(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let mut listening = 0;
        for desk in &mut self.desks {
            let socket = sockets.get_mut::<tcp::Socket>(desk.handle);
            if socket.state() == tcp::State::Closed {
                (desk.dial, desk.sent, desk.turn) = (None, 0, desk.turn + 1);
                desk.header = self.wants_header.then(Vec::new);
                socket.listen(self.ports.0).expect("a closed socket can listen");
            }
            listening += usize::from(socket.state() == tcp::State::Listen);
        }
        let count = LISTENERS.saturating_sub(listening).min(SOCKETS - self.desks.len());
        for _ in 0..count {
            let mut socket = stream();
            socket.listen(self.ports.0).expect("a fresh socket can listen");
            let handle = sockets.add(socket);
            let header = self.wants_header.then(Vec::new);
            self.desks.push(Desk { handle, dial: None, sent: 0, turn: 0, header });
        }
        count > 0
    }
}

impl Desk {
    fn has_header(&self) -> bool {
        let length = |header: &Vec<u8>| header::length(header) == Some(header.len());
        self.header.as_ref().is_none_or(length)
    }

    /// Takes the header off the stream, if there is to be one and it is there.
    fn read_header(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        if self.has_header() || socket.recv_queue() < header::START {
            return false;
        }
        let start = socket.peek(header::START).expect("so much waits");
        let length = header::length(start).expect("header: the stream begins with one");
        if socket.recv_queue() < length {
            return false;
        }
        let mut header = vec![0; length];
        let count = socket.recv_slice(&mut header).expect("so much waits");
        assert_eq!(count, length, "it waited");
        self.header = Some(header);
        true
    }

    fn serve(
        &mut self,
        (address, number): (IpAddr, usize),
        socket: &mut tcp::Socket<'_>,
        dials: &mut Dials,
    ) -> bool {
        let mut worked = self.read_header(socket);
        if self.dial.is_none() && self.has_header() && socket.recv_queue() >= CELL {
            let bytes = socket.peek(CELL).expect("so much waits");
            let dial = first_dial(bytes).map(|dial| dial as usize);
            let dial = dial.filter(|&dial| dial < dials.all.len());
            let dial = dial.expect("stream: it begins as some client's does");
            let place = (address, number, self.turn);
            let known = dials.all[dial].served_by.replace(place);
            let is_first = known.is_none_or(|known| known == place);
            assert!(is_first, "stream: two servers serve one client");
            if let Some(bytes) = &self.header {
                let header = header::decode(bytes).expect("header: it is one");
                dials.judge_header(dial, &header);
            }
            self.dial = Some(dial);
        }
        let Some(dial) = self.dial else { return false };
        while socket.can_recv() {
            let mut bytes = [0; BUFFER];
            let count = socket.recv_slice(&mut bytes).expect("it can receive");
            dials.arrived(dial, false, &bytes[..count]);
            worked = true;
        }
        let plan = &dials.all[dial];
        let has_all = plan.asked == plan.request;
        // Every other one answers while it is still being asked.
        let limit = if has_all || dial % 2 == 0 { plan.response } else { 0 };
        while socket.can_send() && self.sent < limit {
            let mut bytes = vec![0; (limit - self.sent).min(BUFFER)];
            dials.stream(dial, true).write(self.sent, &mut bytes);
            self.sent += socket.send_slice(&bytes).expect("it can send");
            worked = true;
        }
        // As at the client's side, no FIN before all is acknowledged.
        let is_done = has_all && self.sent == plan.response && socket.send_queue() == 0;
        let is_asked = plan.ending == Ending::Server || !socket.may_recv();
        if is_done && is_asked && socket.may_send() {
            socket.close();
            worked = true;
        }
        worked
    }
}

/// Gives every datagram back as the other side's, from where it was sent to.
fn answer(socket: &mut udp::Socket<'_>, dials: &mut Dials) -> bool {
    let mut worked = false;
    while socket.can_send() {
        let Ok((bytes, meta)) = socket.recv() else { break };
        worked = true;
        let dial = first_dial(bytes).map(|dial| dial as usize);
        let dial = dial.filter(|&dial| dial < dials.all.len());
        let dial = dial.expect("stream: it is some client's datagram");
        let number = u32::from_be_bytes(bytes[12..CELL].try_into().expect("four bytes"));
        let (offset, stream) = (number as usize * CELL, dials.stream(dial, false));
        assert!(stream.matches(offset, bytes), "stream: not what the client asked");
        dials.all[dial].asked = dials.all[dial].asked.max(offset + bytes.len());
        let mut answer = vec![0; bytes.len()];
        Stream { answers: true, ..stream }.write(offset, &mut answer);
        let _ = socket.send_slice(&answer, meta);
    }
    worked
}
