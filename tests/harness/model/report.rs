//! Draws ICMP errors: mostly about packets that were translated, some that are about nothing, odd
//! or cut off.

use std::net::IpAddr;

use dataplane::types::DeviceIndex;

use super::choices::Choice;
use super::draw::{Draw, extensions, station};
use super::op::Op;
use super::rules::Model;
use super::setup::{backend, of_family, router};
use crate::address::plus;
use crate::encode::Shape;
use crate::icmp::IcmpShape;
use crate::random::Random;
use crate::script::packet::Described;

/// MTUs that are told.
const MTUS: [u32; 9] = [0, 576, 1_279, 1_280, 1_300, 1_400, 1_500, 1_520, 9_000];

impl Draw {
    /// An error about a packet of a flow, from either side.
    pub(super) fn report(&mut self, model: &Model) -> Option<Op> {
        let live = self.random.below(model.flows.len().max(1));
        let live = model.flows.keys().nth(live).copied().filter(|_| !self.random.one_in(6));
        let key = live.or_else(|| self.known(model))?;
        let (scope, protocol, client, endpoint) = key;
        let (provider, Choice { nat, target, .. }) = *model.translations.get(&key)?;
        let about_client = self.random.one_in(2);
        let (network, from, to) =
            if about_client { (provider, nat, target) } else { (scope, endpoint, client) };
        let mut quoted = Shape::new(protocol, from, to);
        self.set_flags(&mut quoted, false);
        self.dress(&mut quoted);
        quoted.segment_bytes = None;
        let random = &mut self.random;
        if !random.one_in(6) {
            quoted.ip_options.clear();
        }
        match random.below(40) {
            0 => quoted.source_port ^= 1,
            1 => quoted.destination_port ^= 1,
            2 => std::mem::swap(&mut quoted.source, &mut quoted.destination),
            3 => quoted.fragment_offset = 1,
            4 => quoted.fragment_flags = 1,
            5 => quoted.header_error = 1,
            6 => quoted.version = 5,
            7 => quoted.protocol = 47,
            _ => {}
        }
        let is_ipv6 = from.0.is_ipv6();
        let mut told = said(random, is_ipv6);
        let packet = &quoted.encode().bytes[14..];
        let most = *random.pick(&[600, 600, 128, 28, 48, 68]);
        let most = if random.one_in(20) { random.below(70) } else { most };
        told.body = packet[..packet.len().min(most)].to_vec();
        let number = random.word();
        let host = match network {
            2 if random.one_in(2) => router(number % 2),
            2 => backend(number % 4),
            _ => plus(IpAddr::from([10, 0, 2, 0]), number % 4),
        };
        let host = if random.one_in(40) { IpAddr::from([192, 168, 0, 1]) } else { host };
        let mut shape = told.between(of_family(host, is_ipv6), from.0);
        shape.ttl = *random.pick(&[64, 255, 64, 2, 64, 1, 64]);
        if random.one_in(10) {
            shape.ip_options = vec![1; 4];
            shape.extensions = extensions(random, shape.protocol);
        }
        let mut device = DeviceIndex(network);
        if network == 2 && random.one_in(2) {
            device.0 = 3;
        }
        if random.one_in(40) {
            device = self.device();
        }
        let packet = Described::Ipv4(shape.to_station(station(model, device)), None);
        Some(self.arrive(device, None, packet))
    }
}

/// What an error says, or a message that is none.
fn said(random: &mut Random, is_ipv6: bool) -> IcmpShape {
    let codes = random.below(17);
    let (kind, code) = match (random.below(12), is_ipv6) {
        (0, _) => (random.half().to_le_bytes()[0], 0),
        (1 | 2, false) => (11, codes % 2),
        (3 | 4, false) => (12, codes % 4),
        (5 | 6, false) => (3, 4),
        (_, false) => (3, codes),
        (1 | 2, true) => (3, codes % 2),
        (3..=5, true) => (4, codes % 4),
        (6 | 7, true) => (2, 0),
        (_, true) => (1, codes % 8),
    };
    let code = u8::try_from(code).unwrap();
    let number = match (kind, is_ipv6) {
        (2, true) | (3, false) => *random.pick(&MTUS),
        (4, true) => random.word() % 72,
        (12, false) => (random.word() % 24) << 24,
        _ => 0,
    };
    let mut word = number.to_be_bytes();
    if random.one_in(20) {
        word[usize::from(!is_ipv6)] = *random.pick(&[3, 5, 16, 32]);
    }
    IcmpShape { kind, code, word, error: u16::from(random.one_in(30)), ..IcmpShape::default() }
}
