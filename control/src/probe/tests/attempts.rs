//! Attempts over TCP: what comes of them, told by a host of smoltcp's at the other end.

use dataplane::types::{Family, ScopeId};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State as TcpState};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::super::stack::Wire;
use super::*;
use crate::config::ProbeProtocol;

const SCOPE: ScopeId = ScopeId(2);
const PORT: u16 = 8080;
const TIMEOUT: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

/// The stack, and a host that serves one connection after the other.
struct World {
    route: Route,
    backend: SocketAddr,
    stack: Stack<&'static str>,
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    server: SocketHandle,
    now: Duration,
    /// Ports that the host was called from, in order.
    ports: Vec<u16>,
}

/// A hundred seconds after the moment whose first port is the first of all.
const TODAY: Duration = Duration::from_secs(100 + 512 * 1_000_000);

impl World {
    fn new(family: Family) -> World {
        let ends: [IpAddr; 2] = match family {
            Family::V4 => [[10, 1, 0, 4], [10, 1, 0, 10]].map(IpAddr::from),
            Family::V6 => [4, 0x10].map(|last| [0xfd01, 0, 0, 0, 0, 0, 0, last].into()),
        };
        let [source, backend] = ends;
        let (route, backend) = (Route { scope: SCOPE, source }, SocketAddr::new(backend, PORT));
        let mut wire = Wire::default();
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|all| all.push(IpCidr::new(backend.ip().into(), 16)).unwrap());
        let buffer = || SocketBuffer::new(vec![0; 65_536]);
        let mut sockets = SocketSet::new(Vec::new());
        let server = sockets.add(Socket::new(buffer(), buffer()));
        let stack = Stack::new(1, TODAY).unwrap();
        let (now, ports) = (Duration::ZERO, Vec::new());
        World { route, backend, stack, interface, wire, sockets, server, now, ports }
    }

    fn call(&mut self, protocol: ProbeProtocol, proxy_header: bool) {
        let question = Question { protocol, path: "/healthz".to_owned(), proxy_header };
        let (route, backend) = (self.route, self.backend);
        let call = Call { key: "it", route, backend, question, timeout: TIMEOUT };
        self.stack.call(self.now, call);
    }

    /// Lets 10 ms pass; says what the attempt came to, if it ended.
    fn step(&mut self, serve: &mut dyn FnMut(&mut Socket<'_>)) -> Option<Result<(), String>> {
        self.now += STEP;
        let now = Instant::from_micros(i64::try_from(self.now.as_micros()).unwrap());
        let mut ended = self.stack.turn(self.now);
        for sent in self.stack.outgoing() {
            assert_eq!((sent.scope, sent.backend.ip()), (SCOPE, self.backend.ip()));
            let header = usize::from(Family::of(self.backend.ip()).header_bytes());
            self.ports.push(u16::from_be_bytes([sent.packet[header], sent.packet[header + 1]]));
            self.wire.incoming.push_back(sent.packet);
        }
        let socket = self.sockets.get_mut::<Socket<'_>>(self.server);
        serve(socket);
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        for sent in self.wire.outgoing.drain(..) {
            assert!(sent.len() <= 1_500, "no answer is larger than a frame");
            // Under the same addresses of another network it is nobody's.
            self.stack.deliver(ScopeId(9), &sent);
            self.stack.deliver(SCOPE, &sent);
        }
        assert!(ended.len() <= 1);
        ended.pop().map(|(key, outcome)| {
            assert_eq!(key, "it");
            outcome
        })
    }

    /// What the attempt comes to, and how long that took.
    fn outcome(
        &mut self,
        serve: &mut dyn FnMut(&mut Socket<'_>),
    ) -> (Result<(), String>, Duration) {
        let began = self.now;
        loop {
            if let Some(outcome) = self.step(serve) {
                return (outcome, self.now - began);
            }
            assert!(self.now - began < TIMEOUT * 2, "the attempt does not end");
        }
    }

    /// Waits until nothing is left of the attempt.
    fn settle(&mut self, serve: &mut dyn FnMut(&mut Socket<'_>)) -> Duration {
        let began = self.now;
        while !self.stack.is_idle() {
            assert_eq!(self.step(serve), None, "an attempt ends once");
            assert!(self.now - began < TIMEOUT, "something is left");
        }
        self.now - began
    }
}

/// A server that listens, and says this once it was asked.
fn says(answer: &'static [u8]) -> impl FnMut(&mut Socket<'_>) {
    let mut said = 0;
    move |socket: &mut Socket<'_>| {
        listen(socket);
        if socket.state() == TcpState::Listen {
            said = 0;
        }
        let asked = socket.recv_queue() > 0;
        if asked && socket.can_send() {
            said += socket.send_slice(&answer[said..]).unwrap();
        }
    }
}

fn listen(socket: &mut Socket<'_>) {
    if socket.state() == TcpState::Closed {
        socket.listen(PORT).unwrap();
    } else if socket.state() == TcpState::CloseWait {
        socket.close();
    }
}

#[test]
fn a_connection_that_opens_is_enough_for_tcp_and_closes_in_peace() {
    for family in Family::ALL {
        let mut world = World::new(family);
        let mut resets = 0;
        let mut serve = |socket: &mut Socket<'_>| {
            resets += u32::from(socket.state() == TcpState::Closed);
            listen(socket);
        };
        for _ in 0..3 {
            world.call(ProbeProtocol::Tcp, false);
            let (outcome, took) = world.outcome(&mut serve);
            assert_eq!(outcome, Ok(()));
            assert!(took <= STEP * 4, "{took:?}");
            assert!(world.settle(&mut serve) <= STEP * 10, "by FIN, not by running out of time");
        }
        assert!(world.ports.iter().all(|port| (512..1024).contains(port)), "{:?}", world.ports);
        let mut different = world.ports.clone();
        different.dedup();
        assert_eq!(different, [712, 713, 714], "each attempt has a port of its own");
    }
}

#[test]
fn ports_come_round_and_never_reach_those_that_are_leased() {
    for family in Family::ALL {
        let mut world = World::new(family);
        let mut first = Vec::new();
        for _ in 0..600 {
            world.call(ProbeProtocol::Tcp, false);
            world.outcome(&mut listen).0.unwrap();
            world.settle(&mut listen);
            first.push(*world.ports.last().unwrap());
        }
        let order = [first[0], first[311], first[312], first[511], first[512]];
        assert_eq!(order, [712, 1023, 512, 711, 712], "those of an earlier run come last");
    }
}

#[test]
fn who_does_not_listen_refuses_and_who_is_silent_runs_out_of_time() {
    for family in Family::ALL {
        let mut world = World::new(family);
        world.call(ProbeProtocol::Tcp, false);
        let (outcome, took) = world.outcome(&mut |_| {});
        assert_eq!(outcome, Err("the connection was refused".to_owned()));
        assert!(took < SECOND);
        world.settle(&mut |_| {});

        world.call(ProbeProtocol::Http, false);
        let began = world.now;
        let mut sent = 0;
        let outcome = loop {
            world.now += STEP;
            let ended = world.stack.turn(world.now).pop();
            sent += world.stack.outgoing().len();
            if let Some((_, outcome)) = ended {
                break outcome;
            }
        };
        assert_eq!(outcome, Err("the connection did not open within 5s".to_owned()));
        assert_eq!((world.now - began), TIMEOUT);
        assert!((2..10).contains(&sent), "its SYN was sent {sent} times");
    }
}

#[test]
fn only_200_is_healthy() {
    for family in Family::ALL {
        for (answer, outcome) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], Ok(())),
            (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", Err("status 500, not 200")),
            (b"HTTP/1.1 204 No Content\r\n\r\n", Err("status 204, not 200")),
            (b"HTTP/1.1 301 Moved\r\n\r\n", Err("status 301, not 200")),
            (b"SSH-2.0-x\r\n", Err("the answer is not HTTP/1: \"SSH-2.0-x\\r\\n\"")),
        ] {
            let mut world = World::new(family);
            world.call(ProbeProtocol::Http, false);
            let said = world.outcome(&mut says(answer)).0;
            assert_eq!(said, outcome.map_err(str::to_owned));
        }
    }
}

#[test]
fn a_request_is_asked_behind_its_header() {
    for family in Family::ALL {
        for proxy_header in [false, true] {
            let mut world = World::new(family);
            let mut heard = Vec::new();
            let mut serve = |socket: &mut Socket<'_>| {
                listen(socket);
                if socket.can_recv() {
                    socket.recv(|bytes| (bytes.len(), heard.extend_from_slice(bytes))).unwrap();
                }
                if heard.ends_with(b"\r\n\r\n") && socket.can_send() {
                    socket.send_slice(b"HTTP/1.1 200 OK\r\n").unwrap();
                }
            };
            world.call(ProbeProtocol::Http, proxy_header);
            assert_eq!(world.outcome(&mut serve).0, Ok(()));
            let request = if proxy_header {
                let header = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
                heard.strip_prefix(header).expect("a LOCAL header of 16 bytes").to_vec()
            } else {
                heard
            };
            let head = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n", world.backend);
            assert!(request.starts_with(head.as_bytes()));
        }
    }
}

#[test]
fn a_head_that_never_ends_runs_out_of_time() {
    for family in Family::ALL {
        let mut world = World::new(family);
        world.call(ProbeProtocol::Http, false);
        let (outcome, took) = world.outcome(&mut says(b"HTTP/1.1 2"));
        assert_eq!(outcome, Err("no answer came within 5s".to_owned()));
        assert_eq!(took, TIMEOUT);
    }
}

#[test]
fn a_body_without_an_end_is_cut_off() {
    for family in Family::ALL {
        let mut world = World::new(family);
        world.call(ProbeProtocol::Http, false);
        let mut head = says(b"HTTP/1.1 200 OK\r\n\r\n");
        let mut sent = 0;
        let mut serve = |socket: &mut Socket<'_>| {
            head(socket);
            if socket.recv_queue() > 0 && socket.can_send() {
                sent += socket.send_slice(&[b'x'; 4_096]).unwrap();
            }
        };
        assert_eq!(world.outcome(&mut serve).0, Ok(()));
        let left = world.settle(&mut serve);
        assert!(left <= Duration::from_millis(520), "reset after {left:?}");
        let socket = world.sockets.get_mut::<Socket<'_>>(world.server);
        let read = sent - socket.send_queue();
        assert!(read <= 3 * 1_440, "{read} bytes of the body were taken");
    }
}

#[test]
fn who_closes_or_resets_without_an_answer_is_not_healthy() {
    for family in Family::ALL {
        let mut world = World::new(family);
        world.call(ProbeProtocol::Http, false);
        let mut closes = |socket: &mut Socket<'_>| {
            listen(socket);
            if socket.recv_queue() > 0 {
                socket.close();
            }
        };
        let said = world.outcome(&mut closes).0;
        assert_eq!(said, Err("the connection was closed before an answer".to_owned()));

        let mut world = World::new(family);
        world.call(ProbeProtocol::Http, false);
        let mut resets = |socket: &mut Socket<'_>| {
            if socket.recv_queue() > 0 {
                socket.abort();
            } else {
                listen(socket);
            }
        };
        let said = world.outcome(&mut resets).0;
        assert_eq!(said, Err("the connection was reset before an answer".to_owned()));
    }
}

#[test]
fn what_is_not_tls_is_said_to_be_none() {
    for family in Family::ALL {
        let mut world = World::new(family);
        world.call(ProbeProtocol::Https, false);
        let said = world.outcome(&mut says(b"HTTP/1.1 400 Bad Request\r\n\r\n")).0;
        let said = said.expect_err("no TLS");
        assert!(said.starts_with("TLS: "), "{said}");
    }
}
