//! Weighted rendezvous hashing: which backend of a list a hash falls on (Thaler and Ravishankar,
//! 1998; weights as by Schindelhauer and Schomaker, 2005).
//!
//! Every backend draws a number for every hash, from its address alone, and the best number wins.
//! So each backend gets its share exactly, up to the chance of the hashes themselves, and when one
//! leaves only the hashes that it had fall elsewhere, evenly; when it comes back it gets them back.
//! The order of the list does not matter, and nothing has to be remembered. Bounds: one
//! multiplication for each of at most [`crate::limits::BACKENDS_PER_RULE_MAX`] backends, paid once
//! a flow. Why this and not Maglev's table: docs/decisions/0015-load-balancing.md.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint::select_unpredictable;
use core::net::IpAddr;

use crate::hash::Keys;
use crate::types::{Address, Family};

/// Steps of [`LOGARITHMS`].
const STEPS: usize = 256;

/// Bits behind the point of a logarithm.
const POINT: u32 = 57;

/// The logarithms to base 2 of 1, 1 + 1/256 and so on up to 2.
const LOGARITHMS: [u64; STEPS + 1] = logarithms();

/// A backend that takes new flows.
#[derive(Clone, Debug)]
struct Member {
    /// What its draws come from.
    keys: Keys,
    weight: u64,
    /// Where it stands in the list that the spread was built from.
    position: usize,
}

impl Member {
    #[inline]
    fn draw(&self, hash: u64) -> u64 {
        self.keys.hash_once(hash, 0)
    }

    /// Exponentially distributed, with the weight as its rate: the least of several falls on each
    /// as often as its weight says. Compared crosswise, because a quotient would lose digits.
    fn is_less(&self, cost: u64, (other, other_cost): (&Member, u64)) -> bool {
        u128::from(cost) * u128::from(other.weight)
            < u128::from(other_cost) * u128::from(self.weight)
    }
}

/// Spreads hashes over the backends of a list, as their weights say.
#[derive(Clone, Debug)]
pub struct Spread {
    /// In the order of their addresses, so that a draw that is equal is no question of the list.
    members: Box<[Member]>,
    /// Whether all weights are equal: then the draws can be compared as they are.
    is_even: bool,
}

impl Spread {
    /// Over a list of backends, which must differ, and their weights; 0 takes no hash.
    #[must_use]
    pub fn build(backends: impl IntoIterator<Item = (IpAddr, u16)>) -> Spread {
        let numbered = backends.into_iter().enumerate().filter(|(_, (_, weight))| *weight > 0);
        let mut numbered: Vec<_> = numbered.collect();
        numbered.sort_unstable_by_key(|(_, (address, _))| *address);
        let first = numbered.first().map(|(_, (_, weight))| *weight);
        let is_even = numbered.iter().all(|(_, (_, weight))| Some(*weight) == first);
        let member = |(position, (address, weight)): (usize, (IpAddr, u16))| Member {
            keys: Keys::new(seed_of(address)),
            weight: u64::from(weight),
            position,
        };
        Spread { members: numbered.into_iter().map(member).collect(), is_even }
    }

    /// The position in the list of the backend that `hash` falls on; `None` if none takes any.
    #[inline]
    #[must_use]
    pub fn position(&self, hash: u64) -> Option<usize> {
        if self.is_even { self.best_draw(hash) } else { self.least_cost(hash) }
    }

    #[inline]
    fn best_draw(&self, hash: u64) -> Option<usize> {
        let (first, rest) = self.members.split_first()?;
        let mut best = (first.draw(hash), first.position);
        for member in rest {
            let draw = member.draw(hash);
            // Which is better is nothing that a processor could learn.
            let is_better = draw > best.0;
            best.0 = select_unpredictable(is_better, draw, best.0);
            best.1 = select_unpredictable(is_better, member.position, best.1);
        }
        Some(best.1)
    }

    fn least_cost(&self, hash: u64) -> Option<usize> {
        let (first, rest) = self.members.split_first()?;
        let mut best = (first, cost(first.draw(hash)));
        for member in rest {
            let cost = cost(member.draw(hash));
            if member.is_less(cost, best) {
                best = (member, cost);
            }
        }
        Some(best.0.position)
    }
}

/// The number that a backend draws by: its address, if that fits.
fn seed_of(address: IpAddr) -> u64 {
    let address = Address::from(address);
    match address.family() {
        Family::V4 => address.last_word().into(),
        Family::V6 => {
            let [high, low] = address.halves();
            Keys::new(high).hash(high, low)
        }
    }
}

/// Minus the logarithm of a draw, taken as a fraction of 2^64: less than a thousandth off.
fn cost(draw: u64) -> u64 {
    let draw = draw | 1;
    let zeros = draw.leading_zeros();
    // Behind the leading one: a fraction of 2^64, whose first eight bits name a step.
    let fraction = draw << zeros << 1;
    let step = usize::from(fraction.to_be_bytes()[0]);
    let (below, above) = (LOGARITHMS[step], LOGARITHMS[step + 1]);
    let within = (u128::from(above - below) * u128::from(fraction << 8)) >> 64;
    let logarithm = u128::from(below) + within;
    let cost = (u128::from(zeros + 1) << POINT) - logarithm;
    u64::try_from(cost).unwrap_or(u64::MAX)
}

/// Digit by digit: squaring a number doubles its logarithm, and above 2 that has a one in front.
const fn logarithms() -> [u64; STEPS + 1] {
    let mut table = [1 << POINT; STEPS + 1];
    let mut step = 0;
    while step < STEPS {
        let (mut value, mut digits, mut bit) =
            ((STEPS + step) as u128 * (1 << 62) / STEPS as u128, 0, 0);
        while bit < POINT {
            value = (value * value) >> 62;
            digits <<= 1;
            if value >> 63 == 1 {
                value >>= 1;
                digits |= 1;
            }
            bit += 1;
        }
        table[step] = digits;
        step += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BACKENDS_PER_RULE_MAX;
    use alloc::vec;

    const SECRET: Keys = Keys::new(0x5eed);

    fn backends(count: usize) -> Vec<(IpAddr, u16)> {
        (0..u32::try_from(count).unwrap())
            .map(|i| (core::net::Ipv4Addr::from_bits(0x0a01_0004 + i).into(), 1))
            .collect()
    }

    /// Where each of so many flows falls.
    fn falls(spread: &Spread, flows: u64) -> Vec<usize> {
        (0..flows).map(|flow| spread.position(SECRET.hash(flow, 1)).unwrap()).collect()
    }

    fn shares(falls: &[usize], backends: usize) -> Vec<f64> {
        let mut shares = vec![0_u32; backends];
        falls.iter().for_each(|&position| shares[position] += 1);
        shares.into_iter().map(|share| f64::from(share) / falls.len() as f64).collect()
    }

    /// The spread of shares that chance explains: chi square, as multiples of its deviation.
    fn surprise(shares: &[f64], flows: f64) -> f64 {
        let fair = 1.0 / shares.len() as f64;
        let square: f64 = shares.iter().map(|share| (share - fair).powi(2) / fair * flows).sum();
        let freedom = shares.len() as f64 - 1.0;
        (square - freedom) / (2.0 * freedom).sqrt()
    }

    #[test]
    fn no_backend_is_off_its_share_by_more_than_one_percent() {
        for count in [2, 3, 7] {
            let falls = falls(&Spread::build(backends(count)), 2_000_000);
            for share in shares(&falls, count) {
                let off = (share * count as f64 - 1.0).abs();
                assert!(off <= 0.01, "{count} backends: a share is off by {off}");
            }
        }
        for count in [64, BACKENDS_PER_RULE_MAX] {
            let flows = 100_000;
            let shares = shares(&falls(&Spread::build(backends(count)), flows), count);
            let surprise = surprise(&shares, flows as f64);
            assert!(surprise.abs() < 5.0, "{count} backends: {surprise}");
        }
    }

    #[test]
    fn shares_are_as_the_weights_say() {
        let weights = [1_u16, 2, 5, 100, 0, 42];
        let list: Vec<_> =
            backends(6).into_iter().zip(weights).map(|((ip, _), w)| (ip, w)).collect();
        let total: f64 = weights.into_iter().map(f64::from).sum();
        let flows = 2_000_000_u32;
        let falls = falls(&Spread::build(list), flows.into());
        for (share, weight) in shares(&falls, 6).into_iter().zip(weights.map(f64::from)) {
            let fair = weight / total;
            let chance = 4.0 * (fair * (1.0 - fair) / f64::from(flows)).sqrt();
            let off = (share - fair).abs();
            assert!(off <= chance + fair * 0.002, "weight {weight}: {share} instead of {fair}");
        }
    }

    /// Of N backends one leaves: exactly the hashes that it had fall elsewhere, no more than 1.1/N
    /// of all, and they are spread over the others.
    #[test]
    fn a_leaving_backend_moves_its_own_hashes_and_no_other() {
        for count in [2_usize, 3, 10, 64, BACKENDS_PER_RULE_MAX] {
            let before = backends(count);
            for gone in [0, count / 2, count - 1] {
                let mut after = before.clone();
                after[gone].1 = 0;
                let flows = 200_000 / count as u64 * 2 + 20_000;
                let old = falls(&Spread::build(before.clone()), flows);
                let new = falls(&Spread::build(after), flows);
                let moved: Vec<_> = old.iter().zip(&new).filter(|(a, b)| a != b).collect();
                assert!(moved.iter().all(|(from, _)| **from == gone), "another's hash moved");
                let share = moved.len() as f64 / flows as f64;
                let fair = 1.0 / count as f64;
                let chance = 4.0 * (fair / flows as f64).sqrt();
                assert!(share <= 1.1 * fair + chance, "{count} backends: {share} moved");
                assert!(new.iter().all(|position| *position != gone));
            }
        }
    }

    #[test]
    fn a_heavier_backend_takes_hashes_and_nobody_else_moves() {
        let mut list = backends(5);
        list[2].1 = 3;
        let old = falls(&Spread::build(list.clone()), 50_000);
        list[4].1 = 2;
        let new = falls(&Spread::build(list), 50_000);
        assert!(old.iter().zip(&new).all(|(from, to)| from == to || *to == 4));
        assert_ne!(old, new);
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let mut list = backends(5);
        list[3].1 = 4;
        let straight = Spread::build(list.clone());
        list.reverse();
        let reversed = Spread::build(list);
        for hash in (0..1_000).map(|flow| SECRET.hash(flow, 2)) {
            assert_eq!(straight.position(hash).unwrap(), 4 - reversed.position(hash).unwrap());
        }
    }

    #[test]
    fn costs_are_logarithms() {
        for draw in (0..100_000).map(|flow| SECRET.hash(flow, 3)).chain([0, 1, u64::MAX, 1 << 63]) {
            let exact = -((draw | 1) as f64 / 2_f64.powi(64)).log2();
            let cost = cost(draw) as f64 / 2_f64.powi(POINT.try_into().unwrap());
            assert!((cost - exact).abs() <= 0.0015 * exact + 1e-15, "{draw:x}: {cost}, {exact}");
        }
    }

    #[test]
    fn nobody_takes_a_hash_where_nobody_is() {
        assert_eq!(Spread::build([]).position(1), None);
        assert_eq!(Spread::build([(IpAddr::from([10, 1, 0, 4]), 0)]).position(1), None);
    }
}
