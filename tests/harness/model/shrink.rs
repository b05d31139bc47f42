//! Makes a failing list of operations as short and as plain as it can be while it still fails.

use super::op::Op;
use crate::encode::{Shape, Sum};
use crate::script::packet::Described;

/// Leaves out halves, then quarters, then single operations; then makes those that remain plainer.
/// `fails` says whether a list still fails.
pub(super) fn shrink(ops: Vec<Op>, mut fails: impl FnMut(&[Op]) -> bool) -> Vec<Op> {
    let mut ops = remove_chunks(ops, &mut fails);
    for at in 0..ops.len() {
        let mut fails_with = |plainer: &Op| {
            let mut tried = ops.clone();
            tried[at] = plainer.clone();
            fails(&tried)
        };
        let mut plainest = ops[at].clone();
        while let Some(found) = plainer(&plainest).into_iter().find(&mut fails_with) {
            plainest = found;
        }
        ops[at] = plainest;
    }
    remove_chunks(ops, &mut fails)
}

fn remove_chunks(mut ops: Vec<Op>, fails: &mut impl FnMut(&[Op]) -> bool) -> Vec<Op> {
    let mut size = ops.len().div_ceil(2);
    while size > 0 {
        let (mut at, before) = (0, ops.len());
        while at < ops.len() {
            let mut tried = ops.clone();
            tried.drain(at..(at + size).min(ops.len()));
            if fails(&tried) {
                ops = tried;
            } else {
                at += size;
            }
        }
        size = if size == 1 && ops.len() < before { 1 } else { size / 2 };
    }
    ops
}

/// The same operation with one thing less, again and again.
fn plainer(op: &Op) -> Vec<Op> {
    match op {
        Op::Set { knob, of, value, late: true } => {
            vec![Op::Set { knob: *knob, of: *of, value: *value, late: false }]
        }
        Op::Time { ms, noticed } => {
            let rounded = [1_000_000, 100_000, 10_000, 1_000, 100, 10].map(|step| ms / step * step);
            let kept = rounded.into_iter().filter(|rounded| *rounded > 0 && rounded < ms);
            kept.map(|ms| Op::Time { ms, noticed: *noticed }).collect()
        }
        Op::Arrive(arrive) => {
            let alone = std::iter::once((false, 0, arrive.packet.clone()));
            let packets = plainer_packets(&arrive.packet).into_iter();
            let packets = packets.map(|packet| (arrive.more, arrive.worker, packet));
            let variant = |(more, worker, packet)| {
                let mut plain = arrive.clone();
                (plain.more, plain.worker, plain.packet) = (more, worker, packet);
                Op::Arrive(plain)
            };
            alone.chain(packets).map(variant).filter(|plain| plain != op).collect()
        }
        _ => Vec::new(),
    }
}

/// From the plainest to those that differ in one thing.
fn plainer_packets(packet: &Described) -> Vec<Described> {
    let Described::Ipv4(shape, fault) = packet else { return Vec::new() };
    let ends = ((shape.source, shape.source_port), (shape.destination, shape.destination_port));
    let mut plain = Shape::new(shape.protocol, ends.0, ends.1).to_station(shape.to_mac);
    plain.flags = shape.flags;
    if *shape == plain {
        return Vec::new();
    }
    let mut all = vec![plain.clone()];
    let without: [fn(&mut Shape, &Shape); 6] = [
        |shape, plain| shape.payload.clone_from(&plain.payload),
        |shape, _| (shape.sum, shape.segment_bytes) = (Sum::Right, None),
        |shape, _| shape.ip_options.clear(),
        |shape, _| shape.tcp_options.clear(),
        |shape, _| shape.padding.clear(),
        |shape, plain| (shape.id, shape.tos, shape.ttl) = (plain.id, plain.tos, plain.ttl),
    ];
    for change in without {
        let mut less = shape.clone();
        change(&mut less, &plain);
        if less != *shape {
            all.push(less);
        }
    }
    all.into_iter().map(|shape| Described::Ipv4(shape, *fault)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_remains() {
        let time = |ms| Op::Time { ms, noticed: true };
        let mut ops = vec![time(7); 100];
        (ops[20], ops[70]) = (Op::Adopt, time(1_234));
        let fails = |ops: &[Op]| {
            let adopt = ops.iter().position(|op| *op == Op::Adopt);
            let long = |op: &Op| matches!(op, Op::Time { ms, .. } if *ms >= 500);
            adopt.is_some_and(|at| ops[at..].iter().any(long))
        };
        assert!(fails(&ops));
        assert_eq!(shrink(ops, fails), [Op::Adopt, time(1_000)]);
    }
}
