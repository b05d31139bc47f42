//! Draws operations: mostly conversations as hosts have them, some that nobody should have.
//!
//! Every world draws its own weights, so that some are calm, some lose all their devices, and some
//! reload between any two packets.

use std::net::IpAddr;

use dataplane::device::FrameFault;
use dataplane::drop_reason::DropReason;
use dataplane::types::{DeviceIndex, Protocol};
use pnet_base::MacAddr;

use super::op::{Arrive, Op, Rings, WorldShape};
use super::rules::{Key, Model};
use super::setup::{
    ENDPOINTS, KNOBS, Knob, RULES, TARGETS, backend, in_ipv6, link, nat_ip, of_family,
    probe_source, router,
};
use crate::address::plus;
use crate::encode::{ArpShape, Shape, Sum, TCP, UDP, flags, mac_of};
use crate::ndp::NdpShape;
use crate::random::Random;
use crate::script::packet::Described;

/// Kinds of operations, and the most that each may weigh.
const WEIGHTS: [u16; 16] = [400, 400, 50, 120, 100, 12, 8, 6, 8, 4, 4, 1_200, 120, 40, 100, 20];

/// Draws the operations of one world.
pub(super) struct Draw {
    pub(super) random: Random,
    weights: [usize; WEIGHTS.len()],
    /// One packet in so many is decorated, and one in so many ends its batch.
    plain: usize,
    batch: usize,
    next_link: u32,
    /// How services begin to end flows.
    endings: Vec<u32>,
    /// Whose headers services begin with.
    proxies: Vec<u32>,
    /// Knobs of families and peerings that the world begins with.
    beginnings: Vec<(Knob, u32, u32)>,
    /// Of so many new clients one speaks IPv6.
    narrow: usize,
    /// What comes next.
    pub(super) next: Vec<Op>,
    /// Fragments that come among what else does, the next one last.
    pub(super) pieces: Vec<Op>,
}

/// Where adit has no address of IPv6 at first, clients speak it as rarely as this.
const NARROW: usize = 40;

impl Draw {
    pub(super) fn new(seed: u64) -> (WorldShape, Draw) {
        let mut random = Random::new(seed);
        let weights = WEIGHTS.map(|most| {
            let most = usize::from(most);
            random.below(most + 1) + most / 8
        });
        let shape = WorldShape {
            workers: if random.one_in(3) { 2 } else { 1 },
            flows_max: *random.pick(&[3, 12, 24, 40, 200]),
            seed: random.draw(),
            // Some worlds live through the wrap of 32 bits of ticks.
            start_ms: if random.one_in(4) {
                (u64::from(u32::MAX) + 1) * 10 - 20_000
            } else {
                1_000
            },
        };
        let endings = if random.one_in(2) { 2 } else { 0 };
        let endings = (0..endings).map(|_| random.word() % 8).collect();
        let proxies = if random.one_in(2) { 2 } else { 0 };
        let proxies = (0..proxies).map(|_| random.word() % 4).collect();
        let (plain, batch) = (*random.pick(&[2, 8, 50]), *random.pick(&[1, 2, 5, 30]));
        let (mut beginnings, mut narrow) = (Vec::new(), NARROW);
        if random.one_in(2) {
            narrow = *random.pick(&[1, 2, 4]);
            beginnings.extend((0..4).map(|at| (Knob::Family, at, random.word() % 3)));
            beginnings.extend((0..2).map(|at| (Knob::Families, at, random.word() % 16)));
        }
        if random.one_in(2) {
            beginnings.extend((0..2).map(|at| (Knob::Fragments, at, 1)));
        }
        if random.one_in(2) {
            beginnings.extend((0..2).map(|at| (Knob::Answers, at, 7)));
        }
        if random.one_in(3) {
            let value = *random.pick(&[3, 3, 7, 1]);
            beginnings.push((Knob::Peering, random.word() % 2, value));
        }
        let (next_link, next, pieces) = (1_000, Vec::new(), Vec::new());
        let draw = Draw {
            random,
            weights,
            plain,
            batch,
            next_link,
            endings,
            proxies,
            beginnings,
            narrow,
            next,
            pieces,
        };
        (shape, draw)
    }

    /// The next operation of a world whose model is this.
    pub(super) fn next(&mut self, model: &Model) -> Op {
        if let Some(value) = self.endings.pop() {
            let of = u32::try_from(self.endings.len()).unwrap();
            return Op::Set { knob: Knob::Endings, of, value, late: false };
        }
        if let Some(value) = self.proxies.pop() {
            let of = u32::try_from(self.proxies.len()).unwrap();
            return Op::Set { knob: Knob::Proxy, of, value, late: false };
        }
        if let Some((knob, of, value)) = self.beginnings.pop() {
            return Op::Set { knob, of, value, late: false };
        }
        if let Some(next) = self.next.pop() {
            return next;
        }
        if let Some(piece) = self.pieces.pop_if(|_| self.random.one_in(2)) {
            return piece;
        }
        let mut at = self.random.below(self.weights.iter().sum());
        let mut kind = 0;
        while at >= self.weights[kind] {
            at -= self.weights[kind];
            kind += 1;
        }
        match kind {
            0 => self.ask(model),
            1 => self.answer(model),
            2 => self.spoil(model),
            3 => self.arp(model),
            4 => self.time(model),
            5 => self.set(),
            6 => self.link(),
            7 => self.refuse(),
            8 => Op::Adopt,
            9 => Op::Rings(*self.random.pick(&[Rings::Free, Rings::Slow, Rings::Full])),
            10 => self.squat(),
            11 => self.talk(model).unwrap_or_else(|| self.ask(model)),
            12 => self.report(model).unwrap_or_else(|| self.ask(model)),
            13 => self.ping(model),
            14 => self.cut(model).unwrap_or_else(|| self.ask(model)),
            _ => Op::Deliver,
        }
    }

    pub(super) fn device(&mut self) -> DeviceIndex {
        DeviceIndex(self.random.half() % 4)
    }

    pub(super) fn arrive(
        &mut self,
        device: DeviceIndex,
        answers: Option<u16>,
        packet: Described,
    ) -> Op {
        let worker = u8::from(self.random.one_in(2));
        let more = !self.random.one_in(self.batch);
        Op::Arrive(Box::new(Arrive { worker, device, more, answers, packet }))
    }

    /// A key near a random one, if there is any: one that was translated before.
    pub(super) fn known(&mut self, model: &Model) -> Option<Key> {
        let (device, shape) = self.new_client();
        let scope = device.0.min(2);
        let from = (shape.source, shape.source_port);
        let to = (shape.destination, shape.destination_port);
        let near = (scope, shape.protocol, from, to);
        let mut known = model.translations.range(near..).chain(&model.translations);
        known.next().map(|(key, _)| *key)
    }

    /// A packet of a client, known or not.
    pub(super) fn new_client(&mut self) -> (DeviceIndex, Shape) {
        let random = &mut self.random;
        let (scope, address, _) = *random.pick(&ENDPOINTS);
        let (protocol, port, _) = *random.pick(&RULES);
        let port = if port == 0 { 79 + random.half() % 3 } else { port };
        // Some dial from a network that may be a peer.
        let network = match (random.one_in(6), scope) {
            (true, 2) => random.half() % 2,
            (true, _) => 2,
            (false, _) => scope,
        };
        let second = if network == 2 { 1 } else { 0 };
        let number = random.word();
        let host = match random.below(40) {
            0 if network == 2 => backend(number % 4),
            _ => plus(IpAddr::from([10, second, 2, 0]), number % 4),
        };
        let is_ipv6 = random.one_in(self.narrow);
        let (host, address) = (of_family(host, is_ipv6), of_family(address, is_ipv6));
        let from = (host, 4_000 + random.half() % 8);
        let shape = Shape::new(protocol as u8, from, (address, port));
        (DeviceIndex(network), shape)
    }

    fn ask(&mut self, model: &Model) -> Op {
        let (mut device, mut shape) = self.client(model);
        self.dress(&mut shape);
        if device.0 == 2 && self.random.one_in(2) {
            device.0 = 3;
        }
        if self.random.one_in(60) {
            device = self.device();
        }
        let shape = self.wrong_place(shape);
        self.from(model, device, shape)
    }

    /// A client's packet: of a flow that is known, or perhaps new.
    fn client(&mut self, model: &Model) -> (DeviceIndex, Shape) {
        let known = if self.random.one_in(2) { self.known(model) } else { None };
        let (device, mut shape) = match known {
            Some((scope, protocol, from, to)) => {
                (DeviceIndex(scope), Shape::new(protocol, from, to))
            }
            None => self.new_client(),
        };
        self.set_flags(&mut shape, known.is_none());
        (device, shape)
    }

    fn from(&mut self, model: &Model, device: DeviceIndex, shape: Shape) -> Op {
        let station = station(model, device);
        let fault = None;
        self.arrive(device, None, Described::Ipv4(shape.to_station(station), fault))
    }

    /// Sometimes an address or a port that leads nowhere.
    fn wrong_place(&mut self, mut shape: Shape) -> Shape {
        let random = &mut self.random;
        let of = |address| of_family(address, shape.source.is_ipv6());
        match random.below(150) {
            0 => shape.destination_port += 1,
            1 => shape.destination = of(IpAddr::from([10, 0, 0, 9])),
            2 => shape.source = of(IpAddr::from([192, 168, 0, 1])),
            3 => shape.source = of(random.pick(&ENDPOINTS).1),
            4 => shape.destination = of(nat_ip(0, 0)),
            _ => {}
        }
        shape
    }

    pub(super) fn set_flags(&mut self, shape: &mut Shape, is_new: bool) {
        let random = &mut self.random;
        if shape.protocol != TCP {
            return;
        }
        shape.flags = match random.below(12) {
            0 => random.half().to_le_bytes()[0],
            1 => flags::RST,
            2 => flags::RST | flags::ACK,
            3 | 4 => flags::FIN | flags::ACK,
            5..=8 if is_new => flags::SYN,
            5 => flags::SYN,
            _ => *random.pick(&[flags::ACK, flags::ACK | flags::PSH]),
        };
    }

    /// Options, padding, payload and checksums of all kinds.
    pub(super) fn dress(&mut self, shape: &mut Shape) {
        let random = &mut self.random;
        if !random.one_in(self.plain) {
            return;
        }
        shape.id = random.half();
        shape.tos = random.half().to_le_bytes()[0];
        shape.ttl = *random.pick(&[64, 255, 128, 2]);
        (shape.sequence, shape.acknowledgement) = (random.word(), random.word());
        shape.ip_options = vec![1; 4 * random.below(14).saturating_sub(6).min(10)];
        shape.tcp_options = vec![1; 4 * random.below(5) * usize::from(shape.protocol == TCP)];
        let length = match random.below(60) {
            0 => 1_380 + random.below(120),
            1 => 65_000 + random.below(400),
            _ => random.below(24),
        };
        shape.payload = (0..length).map(|_| random.half().to_le_bytes()[0]).collect();
        let padding = random.below(8);
        // What can be written as `pad=`.
        shape.padding = crate::script::packet::pattern(padding);
        shape.sum = match random.below(8) {
            0 | 1 => Sum::Partial,
            2 => Sum::Off(random.half()),
            3 if shape.protocol == UDP => Sum::Absent,
            _ => Sum::Right,
        };
        match random.one_in(3) {
            true if shape.source.is_ipv6() => {
                shape.extensions = extensions(random, shape.protocol);
            }
            true => shape.fragment_flags = 2,
            false => {}
        }
        let cut = *random.pick(&[1, 536, 1_400, 1_448, 1_460]);
        let large = length > 1_500 && shape.sum == Sum::Partial;
        shape.segment_bytes =
            (large || shape.sum == Sum::Partial && random.one_in(4)).then_some(cut);
    }

    fn answer(&mut self, model: &Model) -> Op {
        let Some((scope, protocol, from, to)) = self.known(model) else {
            return self.ask(model);
        };
        let mut shape = Shape::new(protocol, from, to);
        self.set_flags(&mut shape, false);
        if protocol == TCP && self.random.one_in(3) {
            shape.flags = flags::SYN | flags::ACK;
        }
        self.dress(&mut shape);
        self.answered(model, (scope, shape))
    }

    fn answered(&mut self, model: &Model, (scope, shape): (u16, Shape)) -> Op {
        let key = (
            scope,
            shape.protocol,
            (shape.source, shape.source_port),
            (shape.destination, shape.destination_port),
        );
        let choice = model.translations.get(&key);
        let provider = choice.map_or(2, |(provider, _)| *provider);
        let mut device = DeviceIndex(provider);
        if provider == 2 && self.random.one_in(2) {
            device.0 = 3;
        }
        match (self.random.below(100), choice) {
            (0, _) => device = self.device(),
            // From where nobody was asked: another port of the backend, another host. Or to where
            // health probes come from.
            (at @ (1..=3), Some((_, choice))) => {
                let mut from = choice.target;
                match at {
                    1 => from.1 ^= 1,
                    3 => {}
                    _ => {
                        let other = backend(self.random.word() % 4);
                        from.0 = of_family(other, from.0.is_ipv6());
                    }
                }
                let mut stray = shape;
                (stray.source, stray.source_port) = from;
                (stray.destination, stray.destination_port) = choice.nat;
                match self.random.below(4) {
                    _ if at == 3 => {
                        stray.destination_port = 1 + self.random.half() % 1_023;
                        if self.random.one_in(2) {
                            let source = probe_source(self.random.word() % 2);
                            stray.destination = of_family(source, from.0.is_ipv6());
                        }
                    }
                    0 | 1 => stray.destination_port = self.random.half(),
                    _ => {}
                }
                return self.from(model, device, stray);
            }
            _ => {}
        }
        let station = station(model, device);
        self.arrive(device, Some(scope), Described::Ipv4(shape.to_station(station), None))
    }

    /// A good frame with one thing wrong, or none that was ever good.
    fn spoil(&mut self, model: &Model) -> Op {
        let (device, mut shape) = self.client(model);
        self.dress(&mut shape);
        shape = shape.to_station(station(model, device));
        let random = &mut self.random;
        let mut fault = None;
        match random.below(8) {
            0 => shape.cut = Some(random.below(80)),
            1 => shape.flip = Some(random.below(8 * 74)),
            2 => {
                let faults =
                    [FrameFault::OffloadInvalid, FrameFault::Truncated, FrameFault::VlanTagged];
                fault = Some(*random.pick(&faults));
            }
            3 => spoil_ethernet(random, &mut shape),
            4 | 5 if shape.source.is_ipv6() => spoil_ipv6(random, &mut shape),
            4 | 5 => spoil_ip(random, &mut shape),
            6 => spoil_transport(random, &mut shape),
            _ => {
                let length = random.below(90);
                let bytes = (0..length).map(|_| random.half().to_le_bytes()[0]).collect();
                return self.arrive(device, None, Described::Raw(bytes));
            }
        }
        self.arrive(device, None, Described::Ipv4(shape, fault))
    }

    fn arp(&mut self, model: &Model) -> Op {
        let random = &mut self.random;
        let device = DeviceIndex(*random.pick(&[0, 1, 2, 2, 2, 3, 3]));
        let station = station(model, device);
        let number = random.word() % 4;
        let mut host = if random.one_in(4) { router(number % 2) } else { backend(number) };
        if random.one_in(20) {
            host = IpAddr::from([10, 0, 2, 1]);
        }
        let target = *random.pick(&[nat_ip(0, 0), nat_ip(1, 1), ENDPOINTS[0].1, ENDPOINTS[3].1]);
        if random.one_in(3) {
            let shape = ndp(random, (in_ipv6(host), in_ipv6(target)), station);
            return self.arrive(device, None, Described::Ndp(shape));
        }
        let mut shape = match random.below(4) {
            0 => ArpShape::who_has(target, (host, mac_of(host))),
            _ => ArpShape::is_at((host, mac_of(host)), (target, station)),
        };
        match random.below(40) {
            0 => shape.cut = Some(14 + random.below(28)),
            1 => shape.hardware = 6,
            2 => shape.operation = 3,
            3 => shape.sender_mac = MacAddr::broadcast(),
            4 => shape.from_mac = MacAddr::zero(),
            5 => shape.to_mac = mac_of(host),
            6 => shape.sender_mac = MacAddr::new(2, 9, 9, 9, 9, 9),
            _ => {}
        }
        self.arrive(device, None, Described::Arp(shape))
    }

    fn time(&mut self, model: &Model) -> Op {
        let until = if self.random.one_in(8) { self.until_expiry(model) } else { None };
        let random = &mut self.random;
        let drawn = match random.below(200) {
            0 => u64::from(random.word() % 700_000),
            1..=9 => u64::from(random.word() % 5_000),
            _ => *random.pick(&[1, 5, 10, 30, 75, 80, 100, 300]),
        };
        Op::Time { ms: until.unwrap_or(drawn), noticed: !random.one_in(5) }
    }

    fn set(&mut self) -> Op {
        let random = &mut self.random;
        let (knob, _, count, positions) = *random.pick(&KNOBS);
        let of = random.word() % count;
        let usual = !random.one_in(4);
        let value = match knob {
            Knob::Link if random.one_in(4) => 0,
            Knob::Link => {
                self.next_link += 1;
                self.next_link
            }
            Knob::Endings if !random.one_in(4) => 0,
            Knob::Weights if random.one_in(2) => 0,
            // Pools that nobody is in or where nobody takes flows, and a rejection, which chance
            // alone hardly ever draws.
            Knob::Weights if random.one_in(6) => 0b0101_0101,
            Knob::Backends if random.one_in(12) => 0,
            Knob::Gate if random.one_in(10) => 2,
            Knob::Gate | Knob::Space | Knob::Routes | Knob::Drained if usual => 0,
            Knob::Quota if random.one_in(2) => 0,
            Knob::Security if random.one_in(2) => 4,
            Knob::Leaving => *random.pick(&[7, 15, 15, 15]),
            Knob::Family | Knob::Families if self.narrow == NARROW && random.one_in(2) => 0,
            Knob::Device | Knob::Icmp | Knob::Echo if usual => 1,
            Knob::Provider if usual => 2,
            Knob::Peering if random.one_in(2) => 3,
            Knob::Rules | Knob::Backends if usual => 7,
            _ => random.word() % positions,
        };
        let late = random.one_in(3);
        if knob == Knob::Leaving {
            // They leave indeed, which chance alone hardly ever draws while flows have them.
            self.next.push(Op::Set { knob: Knob::NatIps, of, value: 4, late: false });
        }
        Op::Set { knob, of, value, late }
    }

    fn link(&mut self) -> Op {
        let device = self.device();
        let mtu = *self.random.pick(&[1_500, 1_500, 1_500, 576, 9_000]);
        let mtu = (!self.random.one_in(8)).then_some(mtu);
        let station = if self.random.one_in(4) { self.random.word() % 3 } else { 0 };
        let station = u8::try_from(station).unwrap();
        Op::Link { device, mtu, station: mtu.map_or(0, |_| station) }
    }

    fn refuse(&mut self) -> Op {
        let reasons =
            [DropReason::TransmitFull, DropReason::TransmitRejected, DropReason::DeviceDown];
        let refusing = (self.device(), *self.random.pick(&reasons));
        Op::Refuse(self.random.one_in(3).then_some(refusing))
    }

    fn squat(&mut self) -> Op {
        let random = &mut self.random;
        let protocol = *random.pick(&Protocol::ALL);
        Op::Squat {
            service: random.word() % 2,
            nat_ip: random.word() % 3,
            backend: random.word() % TARGETS,
            protocol,
            left: if random.one_in(2) { 0 } else { random.below(4) },
        }
    }
}

/// adit's station on a device now, or what it would usually be.
pub(super) fn station(model: &Model, device: DeviceIndex) -> MacAddr {
    let open = model.workers[0].links.get(&device).copied();
    open.unwrap_or_else(|| link(device, 0)).mac.0.into()
}

fn spoil_ethernet(random: &mut Random, shape: &mut Shape) {
    match random.below(7) {
        0 => shape.from_mac = MacAddr::broadcast(),
        1 => shape.from_mac = MacAddr::zero(),
        2 => shape.to_mac = MacAddr::new(2, 0, 0, 0, 0, 9),
        3 => shape.to_mac = MacAddr::broadcast(),
        4 => shape.vlan = Some(7),
        5 => shape.ethertype = Some(0x86dd),
        _ => shape.ethertype = Some(random.half()),
    }
}

fn spoil_ip(random: &mut Random, shape: &mut Shape) {
    let nobody = [
        IpAddr::from([0, 0, 0, 1]),
        IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::from([224, 0, 0, 1]),
        IpAddr::from([250, 0, 0, 1]),
        IpAddr::V4(std::net::Ipv4Addr::BROADCAST),
    ];
    match random.below(13) {
        0 => shape.version = 6,
        1 => shape.header_words = Some(u8::try_from(random.below(16)).unwrap()),
        2 => shape.total_length = Some(random.half() % 80),
        3 => shape.total_length = Some(random.half()),
        4 => shape.header_error = random.half(),
        5 => shape.fragment_flags = u8::try_from(random.below(8)).unwrap(),
        6 => shape.fragment_offset = random.half() & 0x1fff,
        7 => shape.ttl = u8::try_from(random.below(3)).unwrap(),
        8 => shape.source = *random.pick(&nobody),
        9 => shape.destination = *random.pick(&nobody),
        10 => shape.source = shape.destination,
        11 => *shape = Shape::ping(shape.source, shape.destination).to_station(shape.to_mac),
        _ => {
            let ends = ((shape.source, 0), (shape.destination, 0));
            *shape = Shape::new(47, ends.0, ends.1).to_station(shape.to_mac);
        }
    }
}

fn spoil_transport(random: &mut Random, shape: &mut Shape) {
    match random.below(7) {
        0 => shape.data_offset = Some(u8::try_from(random.below(16)).unwrap()),
        1 if shape.protocol == TCP => shape.flags = random.half().to_le_bytes()[0],
        2 => shape.udp_length = Some(random.half() % 40),
        3 => shape.source_port = 0,
        4 => shape.destination_port = 0,
        5 => {
            shape.sum = Sum::Partial;
            shape.partial_start = Some(random.half() % 64);
        }
        _ => shape.segment_bytes = Some(1 + random.half() % 1_000),
    }
}

/// Headers that lie between an IPv6 packet's own and its transport's: options to be skipped, and a
/// fragment that is the whole (RFC 6946).
pub(super) fn extensions(random: &mut Random, protocol: u8) -> (u8, Vec<u8>) {
    let padding = [1, 4, 0, 0, 0, 0];
    let mut numbers = vec![*random.pick(&[0, 44, 60])];
    if random.one_in(2) {
        numbers.push(*random.pick(&[44, 60]));
    }
    let next = numbers.iter().copied().skip(1).chain([protocol]);
    let headers = numbers.iter().zip(next).map(|(number, next)| match number {
        44 => [next, 0, 0, 0, 1, 2, 3, 4],
        _ => [&[next, 0][..], &padding].concat().try_into().unwrap(),
    });
    (numbers[0], headers.collect::<Vec<[u8; 8]>>().concat())
}

fn spoil_ipv6(random: &mut Random, shape: &mut Shape) {
    let nobody = ["::", "::1", "::ffff:10.0.2.1", "::10.0.0.5", "ff02::1"];
    let nobody = nobody.map(|address| address.parse().unwrap());
    let protocol = shape.protocol;
    match random.below(12) {
        0 => shape.version = 7,
        1 => shape.total_length = Some(random.half() % 80),
        2 => shape.total_length = Some(random.half()),
        3 => shape.ttl = u8::try_from(random.below(3)).unwrap(),
        4 => shape.source = *random.pick(&nobody),
        5 => shape.destination = *random.pick(&nobody),
        6 => shape.source = shape.destination,
        7 => shape.flow_label = random.word() & 0xf_ffff,
        // A way that leads on, and a part of a datagram.
        8 => shape.extensions = (43, vec![protocol, 0, 4, 1, 0, 0, 0, 0]),
        9 => {
            let part = *random.pick(&[1, 8, 9, 2]);
            shape.extensions = (44, vec![protocol, 0, 0, part, 0, 0, 0, 1]);
        }
        10 => {
            let (count, next) = (1 + random.below(10), *random.pick(&[0, 60, 60, 60]));
            let one = [next, 0, 1, 4, 0, 0, 0, 0];
            shape.extensions = (60, one.repeat(count));
        }
        _ => {
            let ends = ((shape.source, 0), (shape.destination, 0));
            let number = *random.pick(&[1, 47, 58]);
            let message = [*random.pick(&[128, 1, 135]), 0, 0, 0];
            let other = Shape::new(number, ends.0, ends.1).with_payload(&message);
            *shape = other.to_station(shape.to_mac);
        }
    }
}

/// Neighbor Discovery of a host, sometimes with one thing wrong.
fn ndp(random: &mut Random, (host, target): (IpAddr, IpAddr), station: MacAddr) -> NdpShape {
    // Sometimes one that looks like an address of IPv4.
    let odd = "::ffff:10.1.0.10".parse().unwrap();
    let host = if random.one_in(40) { odd } else { host };
    let mut shape = match random.below(6) {
        0 => NdpShape::who_has(target, (host, mac_of(host))),
        1 => NdpShape::who_has(target, ("::".parse().unwrap(), mac_of(host))),
        _ => NdpShape::is_at((host, mac_of(host)), (target, station)),
    };
    match random.below(40) {
        0 => shape.cut = Some(14 + random.below(72)),
        1 => shape.hops = 254,
        2 => shape.code = 1,
        3 => shape.error = 1 + random.half() % 0xfffe,
        4 => shape.station = Some(MacAddr::broadcast()),
        5 => shape.station = None,
        6 => shape.station = Some(MacAddr::new(2, 9, 9, 9, 9, 9)),
        7 => shape.to = (station, target),
        _ => {}
    }
    shape
}
