//! Draws what hosts say in conversations that live: handshakes that go on, data both ways, and at
//! the edges of what a plain packet may be.

use dataplane::types::DeviceIndex;
use pnet_base::MacAddr;

use super::draw::{Draw, station};
use super::form::header_bytes;
use super::insertion::Lead;
use super::op::Op;
use super::rules::{Flow, Key, Model};
use crate::encode::{Shape, Sum, TCP, UDP, flags};
use crate::random::Random;
use crate::script::packet::{Described, pattern};

/// The MTUs that small devices have, and the size from which on a packet that becomes one of IPv4
/// may not be fragmented (RFC 7915 5.1: 1,260 bytes there).
const SIZES: [usize; 3] = [576, 1_500, 1_280];

impl Draw {
    /// The next packet of a flow that lives, mostly what its hosts would say next.
    pub(super) fn talk(&mut self, model: &Model) -> Option<Op> {
        let at = self.random.below(model.flows.len().max(1));
        let (key, flow) = model.flows.iter().nth(at)?;
        let (scope, protocol, from, to) = *key;
        let mut shape = Shape::new(protocol, from, to);
        let returns = self.say(flow, &mut shape);
        if self.random.one_in(4) {
            self.edge(flow, returns, &mut shape);
        }
        if shape.flags & flags::SYN != 0 && self.random.one_in(2) {
            self.hurry(&mut shape);
        }
        let mut device = match (returns, flow.client) {
            (true, _) if flow.provider == 2 && self.random.one_in(2) => DeviceIndex(3),
            (true, _) => DeviceIndex(flow.provider),
            (false, Some((device, _))) => device,
            (false, None) => DeviceIndex(scope),
        };
        if self.random.one_in(40) {
            device = self.device();
        }
        if !returns && self.random.one_in(30) {
            shape.from_mac = MacAddr::new(2, 7, 7, 7, 7, self.random.word().to_le_bytes()[0]);
        }
        let packet = Described::Ipv4(shape.to_station(station(model, device)), None);
        let mut op = self.arrive(device, returns.then_some(scope), packet);
        if let Op::Arrive(arrive) = &mut op
            && !self.random.one_in(8)
        {
            arrive.worker = u8::try_from(flow.worker).unwrap();
        }
        Some(op)
    }

    /// Flags and data; says whether it is the backend who speaks.
    fn say(&mut self, flow: &Flow, shape: &mut Shape) -> bool {
        let random = &mut self.random;
        shape.payload = pattern(random.below(12));
        if shape.protocol == UDP {
            return random.one_in(2);
        }
        let odd = [flags::SYN, flags::RST, flags::FIN | flags::ACK, flags::SYN | flags::ACK];
        let (says, returns) = match flow.state.name() {
            // Sometimes the rest of an earlier connection.
            "opening" if random.one_in(12) => (flags::ACK, true),
            "opening" => (flags::SYN | flags::ACK, true),
            "answered" => (flags::ACK, false),
            _ => (*random.pick(&[flags::ACK, flags::ACK | flags::PSH]), random.one_in(2)),
        };
        (shape.sequence, shape.acknowledgement) = (random.word(), random.word());
        shape.flags = if random.one_in(25) { *random.pick(&odd) } else { says };
        self.near(flow, returns, shape);
        returns
    }

    /// Numbers near the header in front of a stream, and options that it matters to.
    fn near(&mut self, flow: &Flow, returns: bool, shape: &mut Shape) {
        let random = &mut self.random;
        let (first, length) = match &flow.lead {
            Lead::Owed(Some(first)) => (*first, 0),
            Lead::Sent(length, Some(underway)) => (underway.first, *length),
            Lead::Sent(length, None) => (0, *length),
            Lead::Nothing | Lead::Owed(None) => return,
        };
        if random.one_in(5) {
            return;
        }
        let near = |random: &mut Random| match random.below(6) {
            0 => first.wrapping_sub(1 + random.word() % 60),
            1 => first.wrapping_add(random.word() % (length + 1)),
            2 => first.wrapping_add(length),
            3 => first.wrapping_add(length + random.word() % 90),
            _ => first,
        };
        match returns {
            true => shape.acknowledgement = near(random),
            false => shape.sequence = near(random),
        }
        if !returns && random.one_in(2) {
            shape.payload.clear();
        }
        shape.window = *random.pick(&[0, 30, 60, 40_000]);
        let mut option = match random.below(6) {
            0 => vec![1; random.below(4)],
            1 => [&[1, 1, 8, 10][..], &random.word().to_be_bytes(), &[0, 0, 0, 9]].concat(),
            _ => return,
        };
        if returns {
            let count = random.below(3);
            option.extend([5, u8::try_from(2 + 8 * count).unwrap()]);
            (0..2 * count).for_each(|_| option.extend(near(random).to_be_bytes()));
        }
        option.resize(option.len().next_multiple_of(4), u8::from(random.one_in(2)));
        shape.tcp_options = option;
    }

    /// Options of a SYN that give bytes another place, or the first ones another time.
    fn hurry(&mut self, shape: &mut Shape) {
        let options = [
            vec![34, 6, 1, 2, 3, 4, 1, 1],
            vec![1, 1, 254, 6, 0xf9, 0x89, 7, 7],
            vec![30, 4, 0, 0x81, 254, 4, 1, 1],
            vec![34, 2, 34, 9],
        ];
        shape.tcp_options = self.random.pick(&options).clone();
    }

    /// One thing that is at the edge of the usual, or a little beyond.
    fn edge(&mut self, flow: &Flow, returns: bool, shape: &mut Shape) {
        let random = &mut self.random;
        let transport = if shape.protocol == TCP { 20 } else { 8 };
        let header = header_bytes(shape.source.is_ipv6()) + transport;
        match random.below(9) {
            0 => shape.ttl = *random.pick(&[1, 2, 3, 255]),
            1 => shape.ip_options = vec![1; 4],
            2 => shape.sum = Sum::Partial,
            3 => {
                let mtu = *random.pick(&SIZES);
                shape.payload = pattern(mtu - header + random.below(2));
                if shape.source.is_ipv4() && random.one_in(2) {
                    shape.fragment_flags = 2;
                }
            }
            4 if shape.protocol == UDP => shape.sum = Sum::Absent,
            4 => shape.sum = Sum::Off(random.half()),
            5 => end_in_zero(flow, returns, shape),
            6 => shape.padding = pattern(1 + random.below(8)),
            7 if shape.protocol == TCP => shape.tcp_options = vec![1; 4 * (1 + random.below(10))],
            7 => shape.udp_length = Some(8),
            _ => (shape.id, shape.tos) = (random.half(), random.half().to_le_bytes()[0]),
        }
    }

    /// How long it takes until a flow expires, or a tick less, in milliseconds.
    pub(super) fn until_expiry(&mut self, model: &Model) -> Option<u64> {
        let at = self.random.below(model.flows.len().max(1));
        let left = |(_, flow): (&Key, &Flow)| flow.deadline().saturating_sub(model.now);
        let next = model.flows.iter().map(left).filter(|left| *left > 0).min();
        let drawn = model.flows.iter().nth(at).map(left);
        let ticks = if self.random.one_in(4) { drawn } else { next }?;
        let ticks = ticks.saturating_sub(u64::from(self.random.one_in(2)));
        (ticks > 0).then_some(ticks * 10)
    }
}

/// Chooses the payload so that the checksum of the translated packet comes out as zero.
fn end_in_zero(flow: &Flow, returns: bool, shape: &mut Shape) {
    let (nat, backend) = (flow.choice.nat, flow.choice.target);
    let mut after = shape.clone();
    if !returns {
        (after.source, after.source_port) = nat;
        (after.destination, after.destination_port) = backend;
    } else {
        (after.source, after.source_port) = (shape.destination, shape.destination_port);
        (after.destination, after.destination_port) = (shape.source, shape.source_port);
    }
    after.payload = vec![0; 2];
    let field = if shape.protocol == TCP { 16 } else { 6 };
    let at = 14 + header_bytes(after.source.is_ipv6()) + field;
    shape.payload = after.encode().bytes[at..at + 2].to_vec();
}
