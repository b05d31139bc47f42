//! Any bytes become a list of operations on engines: packets both ways, garbage, time, reloads
//! that workers adopt one after the other, devices that come and go, hosts that fall silent.
//!
//! Every byte is a choice; where they end, so does the list. After each operation the checkers of
//! [`crate::check`] have looked at every frame that left and at every table (I1 to I6, I9, I11).

use std::net::IpAddr;
use std::time::Duration;

use dataplane::device::FrameFault;
use dataplane::drop_reason::DropReason;
use dataplane::nat::Pool;
use dataplane::snapshot::Gate;
use dataplane::types::{DeviceIndex, LinkId};

use crate::address::plus;
use crate::check::canary;
use crate::encode::{ArpShape, Image, Shape, Sum, TCP, UDP, flags, mac_of};
use crate::observe::{Observed, Transport, observe};
use crate::topology::{A, B, CLIENT, ENDPOINT, NAT_IP, P, Topology, backend};
use crate::world::{World, WorldConfig};

/// Operations at most, so that no input takes long.
const OPERATIONS_MAX: usize = 200;

/// What backends remember of what they were asked.
const ASKED_MAX: usize = 32;

/// See the module's documentation.
///
/// # Panics
/// An invariant broke.
pub fn operations(bytes: &[u8]) {
    let mut play = Play::new(Choices(bytes));
    for _ in 0..OPERATIONS_MAX {
        if play.choices.0.is_empty() {
            break;
        }
        play.step();
    }
    assert_eq!(play.world.dropped(DropReason::Internal), 0, "tables contradict themselves");
    play.end();
}

/// Bytes, each of which is a choice.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    /// The next byte; 0 behind the end.
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[usize::from(self.byte()) % among.len()]
    }

    /// True for one byte in `times`.
    fn one_in(&mut self, times: u8) -> bool {
        self.below(times) == 1
    }
}

struct Play<'a> {
    choices: Choices<'a>,
    world: World,
    asked: Vec<Transport>,
    next_link: u32,
}

impl Play<'_> {
    fn new(mut choices: Choices<'_>) -> Play<'_> {
        let config = WorldConfig {
            workers: choices.pick(&[1, 2, 3]),
            flows_max: choices.pick(&[4, 24, 200]),
            ..WorldConfig::default()
        };
        let mut topology = Topology::standard();
        topology.set_timeouts([5, 60, 5, 20]);
        let world = World::with(topology, config);
        Play { choices, world, asked: Vec::new(), next_link: 5_000 }
    }

    fn step(&mut self) {
        match self.choices.below(16) {
            0..=3 => self.ask(),
            4..=6 => self.answer(),
            7 => self.garbage(),
            8 => self.pass_time(),
            9 => self.change_provider(),
            10 => self.change_tenant(),
            11 => self.publish(),
            12 => self.move_device(),
            13 => self.change_hosts(),
            14 => self.refuse(),
            _ => self.speak_arp(),
        }
        self.collect();
    }

    /// A worker that has not noticed yet adopts what is in force; all time passes; flows end.
    fn end(&mut self) {
        for worker in 0..self.world.engines.len() {
            self.world.adopt(worker);
        }
        for _ in 0..3 {
            self.world.leap(Duration::from_secs(1_000));
        }
        assert_eq!(self.world.sessions().len(), 0, "every flow ends");
        let leased = self.world.generation.pools.iter().map(Pool::count_leases);
        assert_eq!(leased.sum::<u32>(), 0, "every lease comes back");
    }

    fn send(&mut self, device: DeviceIndex, images: &[Image]) {
        let workers = u8::try_from(self.world.engines.len()).unwrap();
        let worker = usize::from(self.choices.below(workers));
        self.world.arrive_at(worker, device, images);
    }

    fn client_frame(&mut self, tenant: DeviceIndex, payload: &[u8]) -> Image {
        let choices = &mut self.choices;
        let what = choices.byte();
        let host = plus(CLIENT, u32::from(what & 3));
        let from = (host, 4_000 + u16::from(what >> 2 & 7));
        let protocol = if what & 0x20 == 0 { TCP } else { UDP };
        let to = (ENDPOINT, if protocol == TCP { 443 } else { 53 });
        let mut shape = Shape::new(protocol, from, to);
        if protocol == TCP {
            shape.flags = self.flags();
        }
        shape.payload = payload.to_vec();
        if what & 0x40 != 0 {
            self.decorate(&mut shape);
        }
        shape.to_station(self.world.topology.station(tenant)).encode()
    }

    fn flags(&mut self) -> u8 {
        self.choices.pick(&[
            flags::SYN,
            flags::ACK,
            flags::SYN | flags::ACK,
            flags::ACK | flags::PSH,
            flags::ACK | flags::FIN,
            flags::RST,
            flags::RST | flags::ACK,
            flags::FIN,
        ])
    }

    /// Options, padding, sizes and checksums of all kinds.
    fn decorate(&mut self, shape: &mut Shape) {
        let choices = &mut self.choices;
        shape.ttl = choices.pick(&[64, 255, 2, 1]);
        shape.ip_options = vec![1; 4 * usize::from(choices.below(12).saturating_sub(1))];
        shape.tcp_options = vec![1; 4 * usize::from(choices.below(11))];
        shape.padding = vec![0xa5; usize::from(choices.below(8))];
        shape.sum = match choices.below(4) {
            0 => Sum::Partial,
            1 => Sum::Off(u16::from(choices.byte()) << 8),
            2 if shape.protocol == UDP => Sum::Absent,
            _ => Sum::Right,
        };
        shape.segment_bytes =
            (shape.sum == Sum::Partial).then_some(1_000).filter(|_| choices.one_in(2));
        if choices.one_in(8) {
            shape.payload.resize(2_000, 0);
        }
    }

    fn ask(&mut self) {
        let tenant = self.choices.pick(&[A, B]);
        let count = 1 + self.choices.below(8) / 6;
        let images: Vec<Image> =
            (0..count).map(|_| self.client_frame(tenant, &canary(tenant))).collect();
        self.send(tenant, &images);
    }

    fn answer(&mut self) {
        if self.asked.is_empty() {
            return;
        }
        let at = usize::from(self.choices.byte()) % self.asked.len();
        let asked = self.asked[at].clone();
        let from = (asked.destination, asked.destination_port);
        let mut shape = Shape::new(asked.protocol, from, (asked.source, asked.source_port));
        shape.payload = asked.payload;
        shape.flags = self.flags();
        match self.choices.below(16) {
            0 => shape.source_port ^= 1,
            // Far from what is leased: a port nearby may be another tenant's, and of a flow whose
            // first packet was dropped, of which the checkers do not know.
            1 => shape.destination_port ^= 0x8000,
            2 => shape.source = backend(3),
            3..=6 => self.decorate(&mut shape),
            _ => {}
        }
        let image = shape.to_station(self.world.topology.station(P)).encode();
        self.send(P, &[image]);
    }

    /// A good frame with bad bytes, or none that was ever good.
    fn garbage(&mut self) {
        let device = self.choices.pick(&[A, B, P]);
        // No canary: a flipped bit would make it another tenant's.
        let mut image = self.client_frame(device, b"garbage");
        let at = usize::from(self.choices.byte()) % (image.bytes.len() - 12);
        match self.choices.below(4) {
            0 => image.bytes.truncate(12 + at),
            1 => image.fault = Some(FrameFault::Truncated),
            // Not the sending station: the checker takes that for the client's.
            _ => image.bytes[12 + at] ^= self.choices.byte(),
        }
        self.send(device, &[image]);
    }

    fn pass_time(&mut self) {
        let much = self.choices.byte();
        match much {
            0..=239 => self.world.pass(Duration::from_millis(u64::from(much) * 5)),
            _ => self.world.leap(Duration::from_secs(u64::from(much - 239) * 6)),
        }
    }

    fn change_provider(&mut self) {
        let set = self.choices.byte();
        let has = |number: u8| set >> number & 1 == 1;
        let topology = &mut self.world.topology;
        let backends: Vec<_> = (0..4).filter(|number| has(*number)).map(backend).collect();
        topology.set_backends(&backends);
        let more = IpAddr::from([10, 1, 0, 5]);
        let nat_ips = [[NAT_IP].as_slice(), &[more], &[more, NAT_IP], &[NAT_IP, more]];
        topology.set_nat_ips(nat_ips[usize::from(set >> 4 & 3)]);
        if has(6) {
            topology.set_timeouts([5, 20, 5, 10]);
        } else {
            topology.set_timeouts([5, 60, 5, 20]);
        }
        if !has(7) {
            self.world.reload();
        }
    }

    fn change_tenant(&mut self) {
        let tenant = self.choices.pick(&[A, B]);
        let what = self.choices.byte();
        let topology = &mut self.world.topology;
        match what & 0x7f {
            0..=3 => topology.set_gate(tenant, Gate::Approved),
            4 => topology.set_gate(tenant, Gate::Pending),
            5 => topology.set_gate(tenant, Gate::Rejected),
            6 => topology.set_gate(tenant, Gate::Disconnected),
            7 => topology.remove_endpoint(tenant),
            8..=11 => {
                topology.remove_endpoint(tenant);
                self.next_link += 1;
                topology.add_endpoint(tenant, LinkId(self.next_link));
            }
            number => {
                let name = ["a", "b"][tenant.slot()];
                topology.set_device(tenant, name, number % 3 != 0);
            }
        }
        if what & 0x80 == 0 {
            self.world.reload();
        }
    }

    /// What was changed comes to be in force with some of the workers.
    fn publish(&mut self) {
        let who = self.choices.byte();
        self.world.publish();
        for worker in 0..self.world.engines.len() {
            if who >> worker & 1 == 1 {
                self.world.adopt(worker);
            }
        }
    }

    fn move_device(&mut self) {
        let device = self.choices.pick(&[A, B, P]);
        if self.choices.one_in(3) {
            self.world.detach(device);
        } else {
            self.world.attach(device);
        }
    }

    fn change_hosts(&mut self) {
        let host = backend(self.choices.below(4));
        if !self.world.silent.remove(&host) {
            self.world.silent.insert(host);
        }
    }

    fn refuse(&mut self) {
        let device = self.choices.pick(&[A, B, P]);
        let refuses = self.choices.one_in(3);
        self.world.refusing = refuses.then_some((device, DropReason::TransmitFull));
    }

    /// Questions about adit's addresses, and answers that nobody asked for.
    fn speak_arp(&mut self) {
        let (device, target) = self.choices.pick(&[(A, ENDPOINT), (P, NAT_IP), (B, NAT_IP)]);
        let host = if device == P { backend(self.choices.below(4)) } else { CLIENT };
        let station = self.world.topology.station(device);
        let shape = match self.choices.below(3) {
            0 => ArpShape::who_has(host, (host, mac_of(host))),
            1 => ArpShape::is_at((host, mac_of(host)), (target, station)),
            _ => ArpShape::who_has(target, (host, mac_of(host))),
        };
        self.send(device, &[shape.encode()]);
    }

    /// Takes what left: backends remember what they were asked.
    fn collect(&mut self) {
        for left in std::mem::take(&mut self.world.left) {
            if let (P, Observed::Transport(seen)) = (left.device, observe(&left.image.bytes)) {
                if self.asked.len() == ASKED_MAX {
                    self.asked.remove(0);
                }
                self.asked.push(seen);
            }
        }
    }
}
