//! Checksum updates of a word (RFC 1624), for every word, every new word and every rest of the sum.
//!
//! That is 2^48 cases: the rest `c` of what the checksum covers, the old word and the new one. Two
//! spaces of 2^32 stand for them. One's complement addition is addition modulo 65,535 in which 0
//! has two forms, 0 and 0xFFFF. So if
//!
//! 1. the delta of every (old, new) is `new - old` modulo 65,535, and
//! 2. every delta `d`, applied to the field of every sum `s` but 0, gives the field of a sum that
//!    is `s + d` modulo 65,535, and never 0,
//!
//! then with `s = c + old` the new sum is `c + new` modulo 65,535, and in the same form, because
//! neither is 0: a sum from scratch is 0 only if every word is. Both are checked in full, against
//! differences and sums of wider numbers. No packet has a sum of 0: its version or its protocol is
//! not.

use std::thread;

use dataplane::packet::Delta;
use harness::Random;
use harness::sum::{add, same};

const MODULUS: u32 = 65_535;

/// Runs a check for every first word, on both halves of the space at once; each says whether it
/// holds for all second words.
fn for_every_word(check: impl Fn(u16) -> bool + Sync) {
    let half = |mut words: std::ops::RangeInclusive<u16>| words.find(|word| !check(*word));
    let wrong = thread::scope(|scope| {
        let other = scope.spawn(|| half(0x8000..=0xffff));
        half(0..=0x7fff).or(other.join().unwrap())
    });
    assert_eq!(wrong, None, "the first word with which a second one goes wrong");
}

/// The change that adds `value` to a sum: 0xFFFF is zero, so this is its difference from zero.
fn delta(value: u16) -> Delta {
    Delta::of_u16(0xffff, value)
}

/// Whether `sum`, one's complement, is `number` modulo 65,535; `number` is at most twice that.
/// Without a branch, like the loops around it: they run four billion times.
fn is(sum: u16, number: u32) -> bool {
    let difference = number.wrapping_sub(u32::from(sum));
    (difference == 0) | (difference == MODULUS) | (difference == MODULUS.wrapping_neg())
}

#[test]
fn the_delta_of_every_pair_of_words_is_their_difference() {
    for_every_word(|old| {
        (0..=u16::MAX).fold(true, |right, new| {
            // A partial field of 0 shows the delta itself.
            let shown = Delta::of_u16(old, new).update_partial(0);
            right & is(shown, u32::from(new) + (MODULUS - u32::from(old)))
        })
    });
}

#[test]
fn every_delta_moves_every_sum_by_itself_and_never_to_zero() {
    for_every_word(|change| {
        let delta = delta(change);
        assert_eq!(delta.update_partial(0), change, "the delta is the one that is meant");
        (1..=u16::MAX).fold(true, |right, sum| {
            let complete = !delta.update(!sum);
            let partial = delta.update_partial(sum);
            let number = u32::from(sum) + u32::from(change);
            right & is(complete, number) & (complete != 0) & (partial == complete)
        })
    });
}

#[test]
fn every_delta_has_its_inverse() {
    for value in 0..=u16::MAX {
        let (there, back) = (delta(value), delta(value).inverse());
        // The fields of right sums: all but 0xFFFF.
        for field in [0, 1, 0x1234, 0x7fff, 0x8000, 0xbaad, 0xfffe, value & 0xfffe] {
            assert_eq!(back.update(there.update(field)), field, "{value:#x} {field:#x}");
        }
    }
}

/// Wider words and several changes are sums of the above; here against sums from scratch.
#[test]
fn deltas_of_wide_words_and_of_several_changes_add_up() {
    let halves = |word: u32| {
        let [a, b, c, d] = word.to_be_bytes();
        [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
    };
    let edges = [0, 1, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_0000, u32::MAX];
    let mut random = Random::new(1);
    let drawn = (0..1_000_000).map(|_| (random.word(), random.word()));
    let pairs = edges.iter().flat_map(|&old| edges.map(|new| (old, new)));
    for (old, new) in pairs.chain(drawn) {
        let rest = 0x4500;
        let field = |word| !halves(word).into_iter().fold(rest, add);
        assert_eq!(Delta::of_u32(old, new).update(field(old)), field(new), "{old:#x} {new:#x}");
        let [first, second] = [0, 1].map(|at| Delta::of_u16(halves(old)[at], halves(new)[at]));
        let both = first.and(second).update_partial(0);
        assert!(same(both, Delta::of_u32(old, new).update_partial(0)), "{old:#x} {new:#x}");
    }
}
