//! Draws datagrams in fragments: in order, out of it, among others, repeated, overlapping, tiny,
//! without some of them, and too late.

use std::ops::Range;

use dataplane::types::DeviceIndex;

use super::choices::Choice;
use super::draw::{Draw, extensions, station};
use super::form::header_bytes;
use super::op::Op;
use super::rules::{Key, Model};
use crate::encode::{Shape, Sum, TCP, UDP};
use crate::script::packet::{Described, fragment, pattern};

/// Bytes of data, and of the part of a datagram in each fragment: for small devices, for usual
/// ones, and for those whose headers become larger.
const LENGTHS: [usize; 5] = [20, 90, 300, 1_600, 3_000];
const PARTS: [usize; 7] = [8, 16, 24, 72, 536, 1_400, 1_480];

/// Fragments that are kept to come later, at most.
const PIECES_MAX: usize = 200;

impl Draw {
    /// A datagram of either side of a flow, or of a new one; its first fragment to come.
    pub(super) fn cut(&mut self, model: &Model) -> Option<Op> {
        if self.pieces.len() > PIECES_MAX {
            return None;
        }
        let (device, shape) = self.datagram(model)?;
        let header = 14 + header_bytes(shape.source.is_ipv6());
        let frame = shape.to_station(station(model, device)).encode().bytes;
        let length = frame.len() - header;
        let part = *self.random.pick(&PARTS);
        // Many small ones take the room of others.
        let part = if length / part > 40 && !self.random.one_in(10) { 536 } else { part };
        let parts = (0..length).step_by(part).map(|at| at..(at + part).min(length)).collect();
        let id = self.random.word() % 16;
        let (mut ops, others) = (Vec::new(), std::mem::take(&mut self.pieces));
        for range in self.mix(parts, length) {
            let more = (range.end < length) != self.random.one_in(100);
            let bytes = fragment(frame.clone(), range, (more, Some(id))).ok()?;
            ops.push(self.arrive(device, None, Described::Raw(bytes)));
        }
        if self.random.one_in(10) {
            let ms = *self.random.pick(&[90, 1_000, 1_990, 2_000, 2_010]);
            let at = self.random.below(ops.len());
            ops.insert(at, Op::Time { ms, noticed: !self.random.one_in(5) });
        }
        self.pieces = self.merge(ops.into_iter().rev().collect(), others);
        self.pieces.pop()
    }

    /// A packet that is large enough to be cut, from a client or a backend.
    fn datagram(&mut self, model: &Model) -> Option<(DeviceIndex, Shape)> {
        let mut live = model.flows.keys().filter(|key| key.1 == UDP);
        let at = self.random.below(live.clone().count().max(1));
        let live = live.nth(at).copied().filter(|_| !self.random.one_in(3));
        let key: Option<Key> =
            live.or_else(|| self.known(model)).filter(|_| !self.random.one_in(6));
        let (mut device, mut shape) = match key {
            Some((scope, protocol, from, to)) => {
                (DeviceIndex(scope), Shape::new(protocol, from, to))
            }
            None => self.new_client(),
        };
        if key.is_none() && self.random.one_in(2) {
            let port = shape.source_port;
            shape = Shape::new(UDP, (shape.source, port), (shape.destination, 53));
        }
        let sent = key.and_then(|key| model.translations.get(&key));
        if let Some((provider, Choice { nat, target, .. })) = sent.filter(|_| self.random.one_in(2))
        {
            shape = Shape::new(shape.protocol, *target, *nat);
            device.0 = *provider;
        }
        if device.0 == 2 && self.random.one_in(2) {
            device.0 = 3;
        }
        self.set_flags(&mut shape, key.is_none());
        let random = &mut self.random;
        shape.payload = pattern(*random.pick(&LENGTHS) + random.below(9));
        match random.below(30) {
            0 => shape.ttl = 1,
            1 if shape.protocol == UDP => shape.sum = Sum::Absent,
            2 => shape.sum = Sum::Off(random.half()),
            3 => shape.source_port = 0,
            4 => shape.udp_length = Some(8),
            5 if shape.protocol == TCP => shape.tcp_options = vec![1; 4],
            6 if shape.source.is_ipv6() => shape.extensions = extensions(random, shape.protocol),
            _ => {}
        }
        Some((device, shape))
    }

    /// The parts of a datagram as they come.
    fn mix(&mut self, mut parts: Vec<Range<usize>>, length: usize) -> Vec<Range<usize>> {
        let random = &mut self.random;
        match random.below(4) {
            0 => parts.reverse(),
            1 => (1..parts.len()).for_each(|at| parts.swap(at, random.below(at + 1))),
            _ => {}
        }
        let at = random.below(parts.len());
        let Range { start, end } = parts[at];
        match random.below(12) {
            0 if parts.len() > 1 => drop(parts.remove(at)),
            1 => parts.insert(random.below(parts.len()), start..end),
            2 => parts.insert(random.below(parts.len()), start.saturating_sub(8)..end),
            3 => parts[at].end = (end + 8).min(length),
            4 => parts[at].end = end.saturating_sub(1).max(start + 1),
            5 => parts[at].end = start,
            _ => {}
        }
        parts
    }

    /// Two sequences as one, each in its order.
    fn merge(&mut self, mut one: Vec<Op>, mut other: Vec<Op>) -> Vec<Op> {
        let mut all = Vec::new();
        while !one.is_empty() && !other.is_empty() {
            let next = if self.random.one_in(2) { &mut one } else { &mut other };
            all.extend(next.pop());
        }
        all.reverse();
        [one, other, all].concat()
    }
}
