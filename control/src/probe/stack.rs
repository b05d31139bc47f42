//! TCP below the attempts: smoltcp, with packets that somebody else carries and a clock that
//! somebody else reads.
//!
//! Every address that probes come from, in its virtual network, has an interface of its own, so
//! that overlapping networks do not meet (I1). Ports are those that no lease can have, and a
//! backend meets each of them again only after all others. Windows are smaller than a frame: no
//! answer comes in super-packets, and a backend that sends without end fills one window and is
//! reset.
//!
//! Bounds: so many attempts as are begun, each with a few KiB, until its time is over.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dataplane::limits::PORT_FIRST;
use dataplane::types::{Address, Family, ScopeId};
use dataplane::wire::ip::Ip;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint};
use tokio_rustls::rustls::ClientConfig;

use super::dialogue::{Dialogue, Outcome, Question};
use super::tls;

/// Bytes of a packet at most.
const PACKET_BYTES_MAX: usize = 1_440;

/// Bytes that a backend may send before they are read: with headers of either family no more than
/// a packet.
const WINDOW_BYTES: usize = PACKET_BYTES_MAX - 60;

/// Bytes that wait to be sent to a backend.
const SEND_BYTES: usize = 4_096;

/// How long a connection whose attempt is over may take to close in peace.
const LINGER: Duration = Duration::from_millis(500);

/// The lowest port of a probe: from here on to the first that is leased they were always the
/// system's own.
const PROBE_PORT_FIRST: u16 = 512;

/// Ports of probes.
const PROBE_PORTS: u16 = PORT_FIRST - PROBE_PORT_FIRST;

/// As many ports are used in a second at most, as a rule: a backend is asked every half second.
const PORTS_PER_SECOND: u64 = 2;

/// Backends whose last port is remembered.
const PORTS_KNOWN_MAX: usize = 16_384;

/// Where probes come from: an address of the family of the backends that they ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) scope: ScopeId,
    pub(crate) source: IpAddr,
}

/// What an attempt needs.
#[derive(Clone, Debug)]
pub(crate) struct Call<K> {
    pub(crate) key: K,
    pub(crate) route: Route,
    pub(crate) backend: SocketAddr,
    pub(crate) question: Question,
    pub(crate) timeout: Duration,
}

/// A packet for a backend.
pub(crate) struct Outgoing {
    pub(crate) scope: ScopeId,
    pub(crate) backend: Address,
    pub(crate) packet: Vec<u8>,
}

/// See the module's documentation. `K` names the attempts.
pub(crate) struct Stack<K> {
    lines: Vec<Line<K>>,
    settings: Arc<ClientConfig>,
    /// The next port towards each backend.
    ports: BTreeMap<SocketAddr, u16>,
    /// That towards one that was not asked yet.
    first_port: u16,
    seed: u64,
}

impl<K> Stack<K> {
    /// Nothing is under way. `seed` makes sequence numbers unpredictable. `today` is the time since
    /// some moment that is the same for every run of adit: by it ports go on about where those of
    /// an earlier run ended. A backend remembers those for a while (TIME-WAIT, RFC 9293 3.6.1), and
    /// does not take a new connection from them for one.
    pub(crate) fn new(seed: u64, today: Duration) -> Result<Stack<K>, String> {
        let settings = tls::settings().map_err(|error| error.to_string())?;
        let passed = today.as_secs() * PORTS_PER_SECOND % u64::from(PROBE_PORTS);
        let passed = u16::try_from(passed).unwrap_or(0);
        let first_port = PROBE_PORT_FIRST + passed;
        Ok(Stack { lines: Vec::new(), settings, ports: BTreeMap::new(), first_port, seed })
    }

    /// Whether no connection is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.lines.is_empty()
    }

    /// Begins an attempt.
    pub(crate) fn call(&mut self, now: Duration, call: Call<K>) {
        let port = self.next_port(call.backend);
        let at = self.lines.iter().position(|line| line.route == call.route);
        let at = at.unwrap_or_else(|| {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.lines.push(Line::new(call.route, self.seed, now));
            self.lines.len() - 1
        });
        self.lines[at].call(now, call, port, &self.settings);
    }

    fn next_port(&mut self, backend: SocketAddr) -> u16 {
        if self.ports.len() >= PORTS_KNOWN_MAX {
            self.ports.clear();
        }
        let next = self.ports.entry(backend).or_insert(self.first_port);
        let port = *next;
        *next = if port + 1 < PORT_FIRST { port + 1 } else { PROBE_PORT_FIRST };
        port
    }

    /// Takes a packet of a backend.
    pub(crate) fn deliver(&mut self, scope: ScopeId, packet: &[u8]) {
        let Some(destination) = destination(packet) else { return };
        let route = Route { scope, source: destination.ip() };
        if let Some(line) = self.lines.iter_mut().find(|line| line.route == route) {
            line.wire.incoming.push_back(packet.to_vec());
        }
    }

    /// Goes on with everything; returns the attempts that ended. Packets to be sent are in
    /// [`Stack::outgoing`] afterwards.
    pub(crate) fn turn(&mut self, now: Duration) -> Vec<(K, Outcome)> {
        let mut ended = Vec::new();
        for line in &mut self.lines {
            line.turn(now, &mut ended);
        }
        ended
    }

    /// Packets to be sent.
    pub(crate) fn outgoing(&mut self) -> Vec<Outgoing> {
        let mut all = Vec::new();
        for line in &mut self.lines {
            let scope = line.route.scope;
            all.extend(line.wire.outgoing.drain(..).filter_map(|packet| {
                Some(Outgoing { scope, backend: destination(&packet)?, packet })
            }));
        }
        self.lines.retain(|line| !line.connections.is_empty());
        all
    }
}

/// Where a packet of either family goes.
fn destination(packet: &[u8]) -> Option<Address> {
    Some(Ip::of(packet)?.addresses().1)
}

/// All attempts from one address.
struct Line<K> {
    route: Route,
    interface: Interface,
    sockets: SocketSet<'static>,
    wire: Wire,
    connections: Vec<Connection<K>>,
}

struct Connection<K> {
    /// Whose attempt it is; `None` once that has ended.
    key: Option<K>,
    handle: SocketHandle,
    dialogue: Dialogue,
    has_opened: bool,
    timeout: Duration,
    /// When the attempt, or what is left of it, is given up.
    until: Duration,
}

impl<K> Line<K> {
    fn new(route: Route, seed: u64, now: Duration) -> Line<K> {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, instant(now));
        // Tables of one entry have room for one.
        interface.update_ip_addrs(|addresses| {
            let bits = Family::of(route.source).bits();
            let _ = addresses.push(IpCidr::new(route.source.into(), bits));
        });
        let routes = interface.routes_mut();
        let _ = match route.source {
            IpAddr::V4(source) => routes.add_default_ipv4_route(source),
            IpAddr::V6(source) => routes.add_default_ipv6_route(source),
        };
        Line {
            route,
            interface,
            sockets: SocketSet::new(Vec::new()),
            wire,
            connections: Vec::new(),
        }
    }

    fn call(&mut self, now: Duration, call: Call<K>, port: u16, settings: &Arc<ClientConfig>) {
        let buffer = |bytes| tcp::SocketBuffer::new(vec![0; bytes]);
        let mut socket = tcp::Socket::new(buffer(WINDOW_BYTES), buffer(SEND_BYTES));
        socket.set_nagle_enabled(false);
        let local = IpEndpoint::new(self.route.source.into(), port);
        let remote = IpEndpoint::new(call.backend.ip().into(), call.backend.port());
        // Refused for port 0 or an unspecified address only, which no probe has: then it times out.
        let _ = socket.connect(self.interface.context(), remote, local);
        let handle = self.sockets.add(socket);
        self.connections.push(Connection {
            key: Some(call.key),
            handle,
            dialogue: Dialogue::new(&call.question, call.backend, settings),
            has_opened: false,
            timeout: call.timeout,
            until: now + call.timeout,
        });
    }

    fn turn(&mut self, now: Duration, ended: &mut Vec<(K, Outcome)>) {
        let Line { interface, sockets, wire, connections, .. } = self;
        interface.poll(instant(now), wire, sockets);
        connections.retain_mut(|connection| {
            let socket = sockets.get_mut(connection.handle);
            ended.extend(connection.turn(socket, now));
            let is_over = connection.is_over(socket, now);
            if is_over {
                socket.abort();
            }
            !is_over
        });
        // What was said, closed or given up just now leaves at once.
        interface.poll(instant(now), wire, sockets);
        let known = |handle| connections.iter().any(|connection| connection.handle == handle);
        let gone: Vec<SocketHandle> =
            sockets.iter().map(|(handle, _)| handle).filter(|&handle| !known(handle)).collect();
        gone.into_iter().for_each(|handle| drop(sockets.remove(handle)));
    }
}

impl<K> Connection<K> {
    /// Goes on with it; returns what its attempt has come to, once.
    fn turn(&mut self, socket: &mut tcp::Socket<'_>, now: Duration) -> Option<(K, Outcome)> {
        self.key.as_ref()?;
        if socket.may_send() && !self.has_opened {
            self.has_opened = true;
            self.dialogue.open();
        }
        let dialogue = &mut self.dialogue;
        while socket.can_recv() {
            let heard = socket.recv(|bytes| (bytes.len(), dialogue.hear(bytes)));
            if heard.is_err() {
                break;
            }
        }
        let waiting = dialogue.outgoing();
        if let Ok(sent) = socket.send_slice(waiting) {
            waiting.drain(..sent);
        }
        let outcome = dialogue.outcome().cloned().or_else(|| self.failure(socket, now))?;
        socket.close();
        self.until = now + LINGER;
        self.key.take().map(|key| (key, outcome))
    }

    /// Why the attempt has failed, if it has without a word.
    fn failure(&self, socket: &tcp::Socket<'_>, now: Duration) -> Option<Outcome> {
        let within = self.timeout;
        let why = match socket.state() {
            tcp::State::Closed if !self.has_opened => "the connection was refused".to_owned(),
            tcp::State::Closed => "the connection was reset before an answer".to_owned(),
            tcp::State::CloseWait => "the connection was closed before an answer".to_owned(),
            _ if now < self.until => return None,
            _ if !self.has_opened => format!("the connection did not open within {within:?}"),
            _ => format!("no answer came within {within:?}"),
        };
        Some(Err(why))
    }

    /// Whether nothing is left to be done.
    fn is_over(&self, socket: &tcp::Socket<'_>, now: Duration) -> bool {
        let is_closed = matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait);
        self.key.is_none() && (is_closed || now >= self.until)
    }
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// Packets on their way.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) incoming: VecDeque<Vec<u8>>,
    pub(super) outgoing: Vec<Vec<u8>>,
}

impl phy::Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sender<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sender<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Received(packet), Sender(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sender<'_>> {
        Some(Sender(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = PACKET_BYTES_MAX;
        // A backend on a veth leaves checksums to a device that does not exist.
        let mut checksum = ChecksumCapabilities::default();
        (checksum.ipv4, checksum.tcp) = (Checksum::Tx, Checksum::Tx);
        capabilities.checksum = checksum;
        capabilities
    }
}

pub(super) struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, use_it: F) -> R {
        use_it(&self.0)
    }
}

pub(super) struct Sender<'w>(&'w mut Vec<Vec<u8>>);

impl phy::TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut packet = vec![0; length];
        let result = fill(&mut packet);
        self.0.push(packet);
        result
    }
}
