//! Which step comes next: a list until one is bad, or a search for the highest good rate.
//!
//! The search is that of RFC 2544, 24: double until a step is bad, then halve the difference until
//! it is at most a twentieth. Bounds: [`STEPS_MAX`] steps.

/// The numbers of sessions of CSIT's NAT44 tests: 1, 16, 64 and 256 times the ports of a NAT IP.
const CSIT: [usize; 4] = [64_512, 1_032_192, 4_128_768, 16_515_072];
const RAMP: [f64; 14] =
    [100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6];
/// Where a search begins.
const SEARCH_FROM: f64 = 250.0;
const SEARCH_TO: f64 = 4e6;
/// How near the last good and the first bad rate come.
const PRECISION: f64 = 1.05;
const STEPS_MAX: usize = 40;

/// Ready-made ladders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Profile {
    /// Flows as in CSIT: 64,512, then 16, 64 and 256 times as many
    Csit,
    /// Rates from 100 a second up, until one is bad
    Ramp,
    /// The highest rate that is good, within 5 %
    Search,
}

/// What is set for a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rung {
    pub(super) flows: usize,
    /// Things a second; without it, as many as go.
    pub(super) rate: Option<f64>,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    kind: Kind,
    taken: usize,
    last: Option<Rung>,
}

#[derive(Clone, Debug)]
enum Kind {
    /// In this order, the next one last.
    List(Vec<Rung>),
    Search {
        flows: usize,
        good: Option<f64>,
        bad: Option<f64>,
    },
}

impl Ladder {
    /// A single step.
    pub(super) fn one(rung: Rung) -> Ladder {
        Ladder::list(vec![rung])
    }

    /// Rates, with so many flows.
    pub(super) fn rates(rates: &[f64], flows: usize) -> Ladder {
        let rung = |rate: &f64| Rung { flows, rate: Some(*rate) };
        Ladder::list(rates.iter().map(rung).collect())
    }

    pub(super) fn profile(profile: Profile, single: Rung) -> Ladder {
        match profile {
            Profile::Csit => {
                let rung = |flows: usize| Rung { flows, rate: single.rate };
                Ladder::list(CSIT.map(rung).to_vec())
            }
            Profile::Ramp => Ladder::rates(&RAMP, single.flows),
            Profile::Search => {
                let kind = Kind::Search { flows: single.flows, good: None, bad: None };
                Ladder { kind, taken: 0, last: None }
            }
        }
    }

    fn list(mut rungs: Vec<Rung>) -> Ladder {
        rungs.reverse();
        Ladder { kind: Kind::List(rungs), taken: 0, last: None }
    }

    /// Whether every step has a rate.
    pub(super) fn is_paced(&self) -> bool {
        match &self.kind {
            Kind::List(rungs) => rungs.iter().all(|rung| rung.rate.is_some()),
            Kind::Search { .. } => true,
        }
    }

    /// The next step, if there is one, after the last one was good or not.
    pub(super) fn next(&mut self, was_good: bool) -> Option<Rung> {
        if self.taken >= STEPS_MAX {
            return None;
        }
        let last = self.last;
        let next = match &mut self.kind {
            Kind::List(_) if last.is_some() && !was_good => None,
            Kind::List(rungs) => rungs.pop(),
            Kind::Search { flows, good, bad } => {
                if let Some(rate) = last.and_then(|rung| rung.rate) {
                    let bound = if was_good { &mut *good } else { &mut *bad };
                    *bound = Some(rate);
                }
                let rate = probe(*good, *bad);
                rate.map(|rate| Rung { flows: *flows, rate: Some(rate) })
            }
        };
        self.taken += 1;
        self.last = next;
        next
    }
}

/// The rate to try next.
fn probe(good: Option<f64>, bad: Option<f64>) -> Option<f64> {
    let rate = match (good, bad) {
        (None, None) => SEARCH_FROM,
        (Some(good), None) => good * 2.0,
        // Below where it began.
        (None, Some(bad)) if bad > 1.0 => bad / 4.0,
        (None, Some(_)) => return None,
        (Some(good), Some(bad)) if bad / good > PRECISION => f64::midpoint(good, bad),
        (Some(_), Some(_)) => return None,
    };
    let rate = rate.round().max(1.0);
    // Whole numbers leave nothing between two that are next to each other.
    let is_new = good != Some(rate) && bad != Some(rate);
    (is_new && rate <= SEARCH_TO).then_some(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Rung = Rung { flows: 8, rate: Some(10.0) };

    fn climb(mut ladder: Ladder, is_good: impl Fn(Rung) -> bool) -> Vec<Rung> {
        let mut rungs = Vec::new();
        let mut was_good = true;
        while let Some(rung) = ladder.next(was_good) {
            was_good = is_good(rung);
            rungs.push(rung);
        }
        rungs
    }

    #[test]
    fn a_list_ends_with_its_first_bad_step() {
        assert_eq!(climb(Ladder::one(ONE), |_| false), [ONE]);
        let rates =
            |rungs: Vec<Rung>| rungs.iter().filter_map(|rung| rung.rate).collect::<Vec<_>>();
        let ladder = Ladder::rates(&[10.0, 20.0, 30.0, 40.0], 8);
        let climbed = climb(ladder, |rung| rung.rate < Some(25.0));
        assert_eq!(rates(climbed), [10.0, 20.0, 30.0]);
        assert_eq!(climb(Ladder::profile(Profile::Ramp, ONE), |_| true).len(), RAMP.len());
    }

    #[test]
    fn csit_counts_the_ports_of_nat_ips() {
        let climbed = climb(Ladder::profile(Profile::Csit, ONE), |_| true);
        let flows: Vec<usize> = climbed.iter().map(|rung| rung.flows / 64_512).collect();
        assert_eq!(flows, [1, 16, 64, 256]);
        assert!(climbed.iter().all(|rung| rung.rate == ONE.rate && rung.flows % 64_512 == 0));
    }

    #[test]
    fn a_search_comes_near_the_limit_from_both_sides() {
        for limit in [3.0, 260.0, 12_345.0, 1e6] {
            let climbed =
                climb(Ladder::profile(Profile::Search, ONE), |rung| rung.rate <= Some(limit));
            let rates = || climbed.iter().filter_map(|rung| rung.rate);
            let good = rates().filter(|rate| *rate <= limit).fold(0.0, f64::max);
            let bad = rates().filter(|rate| *rate > limit).fold(f64::INFINITY, f64::min);
            assert!(bad / good <= 1.34 && climbed.len() < 20, "{limit}: {climbed:?}");
            assert!(limit < 100.0 || bad / good <= PRECISION, "{limit}: {climbed:?}");
        }
        assert!(climb(Ladder::profile(Profile::Search, ONE), |_| false).len() < 10);
        assert!(climb(Ladder::profile(Profile::Search, ONE), |_| true).len() < 20);
    }
}
