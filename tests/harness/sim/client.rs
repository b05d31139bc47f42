//! The application of a client's host: dials, asks, checks what is answered, and ends connections
//! the way that was planned.

use smoltcp::iface::{Context, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, IpEndpoint};

use super::agenda::{MILLI, Nanos, SECOND};
use super::dial::{Dials, Ending, Progress};
use super::intent::{TCP_PORTS, UDP_PORTS};
use super::pattern::{CELL, first_dial};

/// Bytes of a socket's transmit buffer.
pub(super) const BUFFER: usize = 8_192;

/// Bytes of its receive buffer: more than anybody sends. smoltcp can wait for ever when a window of
/// zero overtakes the one that followed it.
const ROOM: usize = 65_536;

/// How long a side waits for an acknowledgement before it gives the connection up.
const PATIENCE: Duration = Duration::from_secs(900);

/// Bytes of a datagram.
const DATAGRAM: usize = 25 * CELL;

/// A datagram that is not answered for this long is sent again.
const RETRY: Nanos = 1_500 * MILLI;

/// So many times.
const TRIES: u32 = 25;

/// A connection under way.
struct Call {
    dial: usize,
    handle: SocketHandle,
    sent: usize,
    /// When a pause ends; `None` before it began.
    resume: Option<Nanos>,
    has_closed: bool,
    retry: Nanos,
    tries: u32,
}

/// See the module's documentation.
pub(super) struct Client {
    /// What is still to be dialled, the latest first.
    waiting: Vec<usize>,
    calls: Vec<Call>,
}

impl Client {
    /// A client that will dial these.
    pub(super) fn new(dials: &Dials, host: usize) -> Client {
        let mut waiting: Vec<usize> =
            (0..dials.all.len()).filter(|&dial| dials.all[dial].host == host).collect();
        waiting.sort_by_key(|&dial| std::cmp::Reverse((dials.all[dial].start, dial)));
        Client { waiting, calls: Vec::new() }
    }

    /// Does what can be done now; says whether it did anything.
    pub(super) fn work(
        &mut self,
        now: Nanos,
        sockets: &mut SocketSet<'static>,
        context: &mut Context,
        dials: &mut Dials,
    ) -> bool {
        let mut worked = false;
        while self.waiting.last().is_some_and(|&dial| dials.all[dial].start <= now) {
            let dial = self.waiting.pop().expect("there is a last one");
            self.calls.push(call(dial, sockets, context, dials));
            worked = true;
        }
        for call in &mut self.calls {
            worked |= match dials.all[call.dial].is_tcp {
                true => call.converse(now, sockets.get_mut(call.handle), dials),
                false => call.exchange(now, sockets.get_mut(call.handle), dials),
            };
        }
        self.calls.retain(|call| {
            let is_closed = match dials.all[call.dial].is_tcp {
                true => sockets.get::<tcp::Socket>(call.handle).state() == tcp::State::Closed,
                false => true,
            };
            let is_over = dials.all[call.dial].is_over() && is_closed;
            if is_over {
                sockets.remove(call.handle);
            }
            !is_over
        });
        worked
    }

    /// When it has something to do by itself.
    pub(super) fn deadline(&self, now: Nanos, dials: &Dials) -> Option<Nanos> {
        let start = self.waiting.last().map(|&dial| dials.all[dial].start);
        let calls = self.calls.iter().filter_map(|call| {
            let resume = call.resume.filter(|&at| at > now);
            let is_datagrams = !dials.all[call.dial].is_tcp;
            resume.or_else(|| is_datagrams.then_some(call.retry))
        });
        calls.chain(start).min()
    }
}

fn call(
    dial: usize,
    sockets: &mut SocketSet<'static>,
    context: &mut Context,
    dials: &mut Dials,
) -> Call {
    let plan = &mut dials.all[dial];
    plan.progress = Progress::Open;
    let handle = if plan.is_tcp {
        let mut socket = stream();
        let remote = (IpAddress::from(plan.endpoint), TCP_PORTS.0);
        socket.connect(context, remote, plan.port).expect("a fresh socket connects");
        sockets.add(socket)
    } else {
        let mut socket = datagrams();
        socket.bind(plan.port).expect("a fresh socket binds");
        sockets.add(socket)
    };
    Call { dial, handle, sent: 0, resume: None, has_closed: false, retry: 0, tries: 0 }
}

/// A TCP socket.
///
/// Without Nagle's delay: smoltcp 0.14 rewinds SND.NXT when it sends again, and its bare
/// acknowledgements then begin before what the other end has already received, where RFC 9293
/// 3.10.7.4 has them ignored. Ends that both send again at once, and both hold back a short last
/// segment for Nagle, never hear each other again, with or without adit between them (world 778).
pub(super) fn stream() -> tcp::Socket<'static> {
    let buffer = |bytes| tcp::SocketBuffer::new(vec![0; bytes]);
    let mut socket = tcp::Socket::new(buffer(ROOM), buffer(BUFFER));
    socket.set_timeout(Some(PATIENCE));
    socket.set_nagle_enabled(false);
    socket
}

/// A UDP socket.
pub(super) fn datagrams() -> udp::Socket<'static> {
    let buffer =
        || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 2 * BUFFER]);
    udp::Socket::new(buffer(), buffer())
}

impl Call {
    /// How far the request may be sent now: halfway until the pause is over, which begins when all
    /// that was sent is acknowledged.
    fn limit(&mut self, now: Nanos, dials: &Dials, is_quiet: bool) -> usize {
        let plan = &dials.all[self.dial];
        let half = plan.request / 2 / CELL * CELL;
        if plan.pause == 0 {
            return plan.request;
        }
        match self.resume {
            Some(at) if now >= at => plan.request,
            Some(_) => half,
            None => {
                if self.sent >= half && is_quiet {
                    self.resume = Some(now + plan.pause);
                }
                half
            }
        }
    }

    fn converse(&mut self, now: Nanos, socket: &mut tcp::Socket<'_>, dials: &mut Dials) -> bool {
        let mut worked = false;
        let limit = self.limit(now, dials, socket.send_queue() == 0 && socket.may_send());
        while socket.can_send() && self.sent < limit {
            let mut bytes = vec![0; (limit - self.sent).min(BUFFER)];
            dials.stream(self.dial, false).write(self.sent, &mut bytes);
            let count = socket.send_slice(&bytes).expect("it can send");
            self.sent += count;
            worked = true;
        }
        while socket.can_recv() {
            let mut bytes = [0; BUFFER];
            let count = socket.recv_slice(&mut bytes).expect("it can receive");
            dials.arrived(self.dial, true, &bytes[..count]);
            worked = true;
        }
        let plan = &mut dials.all[self.dial];
        let has_all = self.sent == plan.request && plan.answered == plan.response;
        let is_time = match plan.ending {
            Ending::Client => has_all,
            Ending::HalfClose => self.sent == plan.request,
            Ending::Server => has_all && socket.state() == tcp::State::CloseWait,
            Ending::Reset => self.sent + plan.answered >= (plan.request + plan.response) / 2,
        };
        // smoltcp does not always send data again that was lost together with its FIN: close when
        // all is acknowledged.
        let is_quiet = socket.send_queue() == 0 || plan.ending == Ending::Reset;
        if is_time && is_quiet && !self.has_closed && socket.may_send() {
            self.has_closed = true;
            worked = true;
            match plan.ending {
                Ending::Reset => socket.abort(),
                _ => socket.close(),
            }
        }
        let state = socket.state();
        if !plan.is_over() && matches!(state, tcp::State::Closed | tcp::State::TimeWait) {
            let is_reset = plan.ending == Ending::Reset && self.has_closed;
            let is_done = has_all && plan.asked == plan.request || is_reset;
            plan.progress = if is_done { Progress::Done } else { Progress::Broken };
            worked = true;
        }
        worked
    }

    /// One datagram at a time, each sent until it is answered.
    fn exchange(&mut self, now: Nanos, socket: &mut udp::Socket<'_>, dials: &mut Dials) -> bool {
        let mut worked = false;
        let stream = dials.stream(self.dial, true);
        while let Ok((bytes, meta)) = socket.recv() {
            worked = true;
            let plan = &mut dials.all[self.dial];
            let from = IpEndpoint::new(plan.endpoint.into(), UDP_PORTS.0);
            assert_eq!(meta.endpoint, from, "stream: a datagram of somebody else");
            assert_eq!(first_dial(bytes), Some(stream.dial), "stream: another's datagram");
            let number = u32::from_be_bytes(bytes[12..CELL].try_into().expect("four bytes"));
            let offset = number as usize * CELL;
            assert!(stream.matches(offset, bytes), "stream: not what the server answered");
            if offset == plan.answered {
                plan.answered += bytes.len();
                (self.sent, self.retry, self.tries) = (plan.answered, 0, 0);
                dials.bytes += bytes.len() as u64;
            }
        }
        let limit = self.limit(now, dials, true);
        let plan = &mut dials.all[self.dial];
        if plan.answered == plan.request {
            plan.progress = Progress::Done;
        } else if self.tries > TRIES {
            plan.progress = Progress::Broken;
        } else if now >= self.retry && plan.answered < limit {
            let mut bytes = vec![0; (limit - plan.answered).min(DATAGRAM)];
            dials.stream(self.dial, false).write(self.sent, &mut bytes);
            let to = (IpAddress::from(dials.all[self.dial].endpoint), UDP_PORTS.0);
            let _ = socket.send_slice(&bytes, to);
            (self.retry, self.tries) = (now + RETRY, self.tries + 1);
            worked = true;
        } else if now >= self.retry {
            self.retry = self.resume.unwrap_or(now + SECOND);
        }
        worked
    }
}
