//! What people, hosts and strangers do to a world while connections are under way.

use control::state::{ConnectionState, Decision};
use dataplane::limits::PORTS_PER_POOL;
use dataplane::nat::Home;
use pnet_base::MacAddr;

use super::agenda::{MICRO, MILLI, Nanos, SECOND};
use super::intent::{TCP_PORTS, address, backend, endpoint, nat_ip};
use super::pattern::{CELL, Stream};
use super::world::{Event, NOBODY, World, link};
use crate::address::octets;
use crate::encode::{Shape, TCP, UDP, flags};
use crate::mac_of;

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The same configuration again.
    Reload,
    /// A configuration with a fault in it.
    Garble,
    AddBackend,
    RemoveBackend,
    AddNatIp,
    RemoveNatIp,
    /// A provider approves or rejects.
    Decide,
    AddEndpoint,
    RemoveEndpoint,
    SetTimeouts,
    /// A device goes down for a while.
    Unplug,
    /// A device rejects some of the frames that it is to send, for a while.
    Reject,
    /// A device is taken out of the configuration for a while.
    Detach,
    /// A backend is switched off for a while.
    Silence,
    /// A backend answers nobody who asks for its station, for a while.
    Mute,
    /// A backend gets another network card.
    MoveBackend,
    MoveClient,
    /// All clocks jump.
    Leap,
    /// A worker gets no processor for a while.
    Stall,
    /// SYNs of clients that do not exist.
    Flood,
    /// Nearly all ports of a pool are taken.
    Exhaust,
    /// Packets that must not pass.
    Trespass,
    /// Packets that look like those of a connection.
    Forge,
}

/// What ends something that was to last for a while.
#[derive(Clone, Copy, Debug)]
pub(super) enum Undo {
    Plug(usize),
    Reject(usize),
    Attach(usize),
    Wake(usize),
    Voice(usize),
    Release,
}

impl World {
    pub(super) fn schedule_act(&mut self) {
        if self.acts_left > 0 {
            let wait = self.random.below(2 * self.swarm.pace) as Nanos * MILLI;
            self.agenda.note(self.now + wait, Event::Act);
        }
    }

    /// One of the seed's acts happens.
    pub(super) fn act(&mut self) {
        let total = self.swarm.acts.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.below(total);
        let mut acts = self.swarm.acts.iter();
        let act = acts.find(|(_, weight)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        let act = act.expect("weights add up").0;
        self.trace.event(self.now, "act", format!("{act:?}"));
        self.acts_left -= 1;
        self.perform(act);
        self.schedule_act();
    }

    fn perform(&mut self, act: Act) {
        let service = self.random.below(self.intent.services.len());
        let family = self.intent.way.providers;
        let some_backend = backend(family, self.small(self.swarm.backends));
        match act {
            Act::Reload => self.reload(),
            Act::Garble => self.garble(),
            Act::AddBackend => {
                self.intent.services[service].backends.insert(some_backend);
                self.reload();
            }
            Act::RemoveBackend => {
                self.intent.services[service].backends.remove(&some_backend);
                self.reload();
            }
            Act::AddNatIp => {
                let added = nat_ip(family, self.small(3));
                self.intent.services[service].nat_ips.insert(added);
                self.reload();
            }
            Act::RemoveNatIp => {
                if self.intent.services[service].nat_ips.len() > 1 {
                    self.intent.services[service].nat_ips.pop_first();
                }
                self.reload();
            }
            Act::SetTimeouts => {
                let timeouts = *self.random.pick(&[[300, 30, 30, 240], [60, 5, 3, 20]]);
                self.intent.services[service].timeouts = timeouts;
                self.reload();
            }
            Act::Decide | Act::AddEndpoint | Act::RemoveEndpoint => self.change_endpoint(act),
            Act::Unplug | Act::Detach | Act::Reject => self.change_device(act),
            Act::Silence | Act::Mute | Act::MoveBackend | Act::MoveClient => self.change_host(act),
            Act::Leap => {
                let most = *self.random.pick(&[10 * MILLI, 10 * SECOND, 100 * SECOND]);
                self.now += self.random.draw() % most;
            }
            Act::Stall => {
                let worker = self.random.below(self.stalled.len());
                let most = *self.random.pick(&[MILLI, 100 * MILLI, 3 * SECOND]);
                self.stalled[worker] = self.now + self.random.draw() % most;
            }
            Act::Flood => self.flood(),
            Act::Exhaust => self.exhaust(),
            Act::Trespass => self.trespass(),
            Act::Forge => self.forge(),
        }
    }

    /// A number below `bound`.
    fn small(&mut self, bound: u8) -> u8 {
        u8::try_from(self.random.below(bound.into())).expect("below a byte")
    }

    /// Puts the configuration that is wanted in force, as `adit reload` does.
    fn reload(&mut self) {
        self.intent.remark += 1;
        let text = self.intent.text();
        let outcome = self.program.reload(&text);
        outcome.unwrap_or_else(|errors| panic!("control refuses {text}\n{errors}"));
        self.published();
    }

    /// Puts endpoints in force as they are wanted: by patches, or with all the rest.
    fn put_endpoints(&mut self, is_patch: bool) {
        if !is_patch {
            return self.reload();
        }
        let text = self.intent.text();
        let outcome = self.program.patch(&text);
        outcome.unwrap_or_else(|errors| panic!("control refuses {text}\n{errors}"));
        self.published();
    }

    /// Workers are woken, and what they let go of is freed.
    fn published(&mut self) {
        self.program.reap();
        let number = self.program.current.number.0;
        self.trace.event(self.now, "published", number);
        for worker in 0..self.stalled.len() {
            self.schedule_turn(worker, MICRO);
        }
    }

    fn garble(&mut self) {
        let text = self.intent.text();
        let mut lines: Vec<&str> = text.lines().collect();
        let at = self.random.below(lines.len());
        lines.insert(at, "]]what[[");
        let before = self.program.current.number;
        assert!(self.program.reload(&lines.join("\n")).is_err(), "control takes anything");
        assert_eq!(before, self.program.current.number, "a faulty file changed something");
    }

    fn change_endpoint(&mut self, act: Act) {
        let at = self.random.below(self.intent.endpoints.len());
        let is_patch = self.random.one_in(2);
        let endpoint = &mut self.intent.endpoints[at];
        match act {
            Act::Decide if endpoint.is_configured => {
                let approves = endpoint.state != ConnectionState::Approved;
                let decision = if approves { Decision::Approve } else { Decision::Reject };
                let state = match approves {
                    true => ConnectionState::Approved,
                    false => ConnectionState::Rejected,
                };
                endpoint.state = state;
                let name = endpoint.name.clone();
                self.program.decide(&name, decision, is_patch);
                self.published();
            }
            Act::AddEndpoint if !endpoint.is_configured => {
                // It is another connection than the one before, and approved by itself.
                (endpoint.is_configured, endpoint.state) = (true, ConnectionState::Approved);
                self.put_endpoints(is_patch);
            }
            Act::RemoveEndpoint => {
                endpoint.is_configured = false;
                self.put_endpoints(is_patch);
            }
            _ => {}
        }
    }

    fn change_device(&mut self, act: Act) {
        let network = self.random.below(self.intent.networks());
        let undo = match act {
            Act::Detach => {
                self.intent.detached.insert(network);
                self.reload();
                Undo::Attach(network)
            }
            Act::Reject => {
                let one_in = *self.random.pick(&[1, 2, 5, 20]);
                self.bench.0.borrow_mut().set_picky(network, Some(one_in));
                Undo::Reject(network)
            }
            _ => {
                self.bench.0.borrow_mut().set_down(network, true);
                Undo::Plug(network)
            }
        };
        self.later(undo);
    }

    fn change_host(&mut self, act: Act) {
        let clients = self.swarm.tenants * usize::from(self.swarm.clients);
        let at = if act == Act::MoveClient {
            self.random.below(clients)
        } else {
            clients + self.random.below(self.hosts.len() - clients)
        };
        let fifth = self.small(250);
        let host = &mut self.hosts[at];
        match act {
            Act::Silence => {
                host.is_off = true;
                self.later(Undo::Wake(at));
            }
            Act::Mute => {
                host.is_mute = true;
                self.later(Undo::Voice(at));
            }
            _ => {
                let octets = octets(host.address);
                let [.., b, c, d] = octets[..] else { unreachable!("an address has three bytes") };
                let last = u8::try_from(at).expect("few hosts");
                let announcement = host.change_mac(MacAddr::new(0x06, fifth, b, c, d, last));
                let network = host.network;
                for _ in 0..2 {
                    self.send_inward(network, &announcement);
                }
            }
        }
    }

    fn later(&mut self, undo: Undo) {
        let most = *self.random.pick(&[10 * MILLI, SECOND, 20 * SECOND]);
        let wait = self.random.draw() % most;
        self.agenda.note(self.now + wait, Event::Undo(undo));
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Reject(network) => self.bench.0.borrow_mut().set_picky(network, None),
            Undo::Plug(network) => self.bench.0.borrow_mut().set_down(network, false),
            Undo::Attach(network) => {
                self.intent.detached.remove(&network);
                self.reload();
            }
            Undo::Wake(host) => {
                self.hosts[host].is_off = false;
                self.poll_host(host);
            }
            Undo::Voice(host) => self.hosts[host].is_mute = false,
            Undo::Release => self.release_reserved(),
        }
    }

    fn flood(&mut self) {
        let tenant = self.random.below(self.swarm.tenants);
        let family = self.intent.way.tenants;
        let mut at = self.now;
        for _ in 0..20 + self.random.below(400) {
            let [third, fourth] = self.random.half().to_be_bytes();
            let port = 2_000 + self.random.half() % 60_000;
            let from = (address(family, [10, 0, 2 + third % 250, fourth]), port);
            let shape = Shape::tcp(from, (endpoint(family, 0), TCP_PORTS.0), flags::SYN);
            self.inject(tenant, shape, at);
            at += self.random.below(20) as Nanos * MICRO;
        }
    }

    /// A frame that no host's stack made reaches adit.
    fn inject(&mut self, network: usize, shape: Shape, at: Nanos) {
        let station = MacAddr::from(link(network, 0).mac.0);
        let bytes = shape.to_station(station).encode().bytes;
        self.agenda.note(at, Event::ToAdit { network, bytes, is_intact: true });
    }

    fn exhaust(&mut self) {
        let generation = &self.program.current;
        let home = Home::new(NOBODY.worker, 64);
        let count = generation.pools.iter().count();
        let (at, rest) = (self.random.below(count), self.random.below(4));
        let Some(pool) = generation.pools.iter().nth(at) else { return };
        let mut ports = Vec::new();
        while (pool.leased() as usize) < PORTS_PER_POOL - rest {
            ports.extend(pool.lease(&home, NOBODY.flow));
        }
        self.reserved.push((pool.key(), ports));
        self.later(Undo::Release);
    }

    pub(super) fn release_reserved(&mut self) {
        for (key, ports) in self.reserved.drain(..) {
            let mut pools = self.program.current.pools.iter();
            let pool = pools.find(|pool| pool.key() == key).expect("I2: a leased pool stays");
            for port in ports {
                assert!(pool.release(port, NOBODY), "I2: a lease was lost");
            }
        }
    }

    /// Somebody tries what must never pass, with a canary in hand.
    fn trespass(&mut self) {
        let network = self.random.below(self.intent.networks());
        let tenant = self.random.below(self.swarm.tenants);
        let of = if self.intent.is_tenant(network) { network } else { tenant };
        let protocol = *self.random.pick(&[TCP, UDP]);
        let port = 1_024 + self.random.half() % 64_000;
        let own = if self.intent.is_tenant(network) { [10, 0, 9, 99] } else { [10, 1, 9, 77] };
        let sources = [own, [10, 9, 9, 9], [10, 0, 0, 5], [10, 1, 0, 4], [127, 0, 0, 1]];
        let targets = [[10, 1, 0, 4], [10, 1, 0, 10], [10, 0, 1, 1], [10, 0, 0, 5], [10, 0, 0, 77]];
        let family = self.intent.family(network);
        let mut from = address(family, *self.random.pick(&sources));
        let to = address(family, *self.random.pick(&targets));
        let port_to = *self.random.pick(&[1, 22, 8_080, port]);
        if self.intent.is_tenant(network) && self.intent.is_local(network, to) {
            from = address(family, [10, 9, 9, 9]);
        }
        let mut shape = Shape::new(protocol, (from, port), (to, port_to));
        shape.from_mac = mac_of(from);
        let kinds = [flags::SYN, flags::ACK, flags::RST, flags::SYN | flags::ACK];
        shape.flags = *self.random.pick(&kinds);
        let mut canary = vec![0; 3 * CELL];
        let tenant = u8::try_from(of).unwrap();
        Stream { tenant, dial: u32::MAX, answers: false }.write(0, &mut canary);
        shape.payload = canary;
        self.inject(network, shape, self.now);
    }

    /// A segment of somebody's connection, but for its sequence numbers.
    fn forge(&mut self) {
        let at = self.random.below(self.dials.all.len());
        let dial = &self.dials.all[at];
        let client = self.hosts[dial.host].address;
        let (tenant, mac) = (dial.tenant, self.hosts[dial.host].mac);
        let mut shape = Shape::new(TCP, (client, dial.port), (dial.endpoint, TCP_PORTS.0));
        let kinds = [flags::RST, flags::FIN | flags::ACK, flags::ACK, flags::SYN];
        shape.flags = *self.random.pick(&kinds);
        shape.from_mac = mac;
        (shape.sequence, shape.acknowledgement) = (self.random.word(), self.random.word());
        self.inject(tenant, shape, self.now);
    }
}
