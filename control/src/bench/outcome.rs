//! What a step came to: figures, whether it was good, and what they are worth.
//!
//! A step is good if no more failed than allowed and, where there was a rate, nearly all of it was
//! begun. Whatever makes figures doubtful is said beside them: a generator that was late or busy, a
//! machine without idle time, ports or descriptors that ran out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::fault::Fault;
use super::histogram::Histogram;
use super::ladder::Rung;
use super::plan::Transport;
use super::series::Second;
use super::tally::Tally;
use super::work::Mode;

/// The percentiles that are reported, as shares, with their names.
pub(super) const PERCENTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];
/// Slots that may be late or unsent before it is said, and before a step is bad.
const MISSED: f64 = 0.01;
/// How busy a thread of the generator or the machine may be before it is said.
const BUSY: f64 = 0.9;
const STOLEN: f64 = 0.02;
/// Standard deviations beyond which a share is no chance.
const CHANCE: f64 = 3.5;

/// What was counted, before anything is made of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) measured: Tally,
    pub(super) warm_up: Tally,
    pub(super) seconds: Vec<Second>,
    /// How long was measured.
    pub(super) time: Duration,
    /// How long it took to open what is held.
    pub(super) opening_time: Option<Duration>,
    /// The most flows that were open, of each worker at its time.
    pub(super) open: usize,
    /// Shares of time that each worker's thread was on a processor.
    pub(super) threads: Vec<f64>,
    /// Shares of time that all processors were busy, and were somebody else's.
    pub(super) machine: Option<(f64, f64)>,
    /// Whether it was ended before its time.
    pub(super) is_cut: bool,
}

/// How a step was judged, and by what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) transport: Transport,
    pub(super) mode: Mode,
    pub(super) time: Duration,
    pub(super) count: Option<u64>,
    pub(super) max_loss: f64,
}

/// A step of the report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Step {
    pub(super) flows: usize,
    /// Things that were to begin in a second.
    pub(super) offered_per_second: Option<f64>,
    pub(super) seconds: f64,
    pub(super) started: u64,
    pub(super) completed: u64,
    pub(super) completed_per_second: f64,
    /// Started and never completed, for whatever reason but an early end.
    pub(super) lost: u64,
    /// Still under way when the bench was ended early.
    pub(super) abandoned: u64,
    pub(super) loss_percent: f64,
    pub(super) errors: BTreeMap<&'static str, u64>,
    pub(super) warm_up: WarmUp,
    pub(super) connections_opened: u64,
    pub(super) connections_reopened: u64,
    pub(super) flows_open_max: usize,
    pub(super) reordered: u64,
    pub(super) duplicated: u64,
    pub(super) latency_us: Option<BTreeMap<&'static str, f64>>,
    pub(super) connect_us: Option<BTreeMap<&'static str, f64>>,
    pub(super) backends: BTreeMap<String, u64>,
    /// The largest share of a backend, in even shares.
    pub(super) imbalance: Option<f64>,
    /// Whether chance alone makes such shares of even ones.
    pub(super) is_even: Option<bool>,
    pub(super) generator: Generator,
    pub(super) is_good: bool,
    /// Why it is not good, or what its figures suffer from.
    pub(super) remarks: Vec<String>,
    pub(super) series: Vec<Second>,
    /// For curves: share and microseconds.
    #[serde(skip)]
    pub(super) curve: Vec<(f64, f64)>,
    #[serde(skip)]
    pub(super) faults: Vec<(Fault, u64)>,
}

/// What happened before it was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WarmUp {
    pub(super) started: u64,
    pub(super) completed: u64,
    pub(super) errors: u64,
    pub(super) connections_opened: u64,
}

/// How the generator itself was.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Generator {
    pub(super) threads: usize,
    /// Processors that it used.
    pub(super) processors_used: f64,
    pub(super) busiest_thread_percent: f64,
    pub(super) machine_busy_percent: Option<f64>,
    pub(super) machine_stolen_percent: Option<f64>,
    /// Slots that it began more than a millisecond late, by its own fault.
    pub(super) slots_late: u64,
    /// Slots that came to nothing, since all flows were busy.
    pub(super) slots_unsent: u64,
}

/// Percentiles in microseconds, to three digits; those beyond which there is at least one time.
pub(super) fn percentiles(times: &Histogram) -> Option<BTreeMap<&'static str, f64>> {
    let micros = |time: Duration| (time.as_secs_f64() * 1e9).round() / 1e3;
    let is_backed = |share: f64| share == 1.0 || (1.0 - share) * times.total() as f64 > 0.999;
    let mut map: BTreeMap<&'static str, f64> = PERCENTILES
        .iter()
        .filter(|(_, share)| is_backed(*share))
        .filter_map(|(name, share)| Some((*name, micros(times.quantile(*share)?))))
        .collect();
    map.insert("mean", micros(times.mean()?));
    Some(map)
}

impl Step {
    /// Makes a step of what was counted.
    pub(super) fn of(counts: Counts, rung: Rung, terms: Terms) -> Step {
        let Counts { measured, warm_up, .. } = &counts;
        let lost = measured.lost();
        let faults: Vec<(Fault, u64)> = Fault::all()
            .map(|fault| (fault, measured.faults(fault)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let seconds = measured_seconds(&counts, terms);
        let answered: u64 = measured.backends.values().sum();
        let (imbalance, is_even) = evenness(&measured.backends).unzip();
        let (remarks, is_good) = judge(&counts, rung, terms, lost);
        let rate_of = if terms.mode == Mode::Hold && terms.transport == Transport::Tcp {
            measured.opened
        } else {
            measured.completed
        };
        Step {
            flows: rung.flows,
            offered_per_second: rung.rate,
            seconds: round(seconds),
            started: measured.started,
            completed: measured.completed,
            completed_per_second: round(rate_of as f64 / seconds.max(1e-9)),
            lost,
            abandoned: measured.abandoned,
            loss_percent: percent(lost as f64 / measured.started.max(1) as f64),
            errors: faults.iter().map(|(fault, count)| (fault.name(), *count)).collect(),
            warm_up: WarmUp {
                started: warm_up.started,
                completed: warm_up.completed,
                errors: warm_up.failed(),
                connections_opened: warm_up.opened,
            },
            connections_opened: measured.opened,
            connections_reopened: measured.reopened,
            flows_open_max: counts.open,
            reordered: measured.reordered,
            duplicated: measured.duplicated,
            latency_us: percentiles(&measured.latencies),
            connect_us: percentiles(&measured.openings),
            imbalance: imbalance.filter(|_| answered > 0).map(round),
            is_even: is_even.filter(|_| answered > 0),
            backends: measured.backends.clone(),
            generator: generator(&counts),
            is_good,
            remarks,
            curve: curve(&measured.latencies),
            faults,
            series: counts.seconds,
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn percent(share: f64) -> f64 {
    (share * 1e5).round() / 1e3
}

fn measured_seconds(counts: &Counts, terms: Terms) -> f64 {
    let time = match counts.opening_time {
        Some(opening) => opening,
        None if terms.count.is_some() || counts.is_cut => counts.time,
        None => terms.time,
    };
    time.as_secs_f64()
}

fn generator(counts: &Counts) -> Generator {
    Generator {
        threads: counts.threads.len(),
        processors_used: round(counts.threads.iter().sum()),
        busiest_thread_percent: percent(busiest(counts)),
        machine_busy_percent: counts.machine.map(|machine| percent(machine.0)),
        machine_stolen_percent: counts.machine.map(|machine| percent(machine.1)),
        slots_late: counts.measured.late,
        slots_unsent: counts.measured.unsent,
    }
}

fn busiest(counts: &Counts) -> f64 {
    counts.threads.iter().copied().fold(0.0, f64::max)
}

/// Shares from the middle towards the end, where curves are read.
fn curve(times: &Histogram) -> Vec<(f64, f64)> {
    let shares = (0..=60).map(|at| 1.0 - 10_f64.powf(-f64::from(at) / 12.0));
    let enough = move |share: &f64| (1.0 - share) * times.total() as f64 >= 1.0;
    let place = |share| Some((share, times.quantile(share)?.as_secs_f64() * 1e6));
    shares.filter(enough).filter_map(place).collect()
}

/// The largest share in even ones, and whether chance makes such shares.
pub(super) fn evenness(backends: &BTreeMap<String, u64>) -> Option<(f64, bool)> {
    let total: u64 = backends.values().sum();
    let most = *backends.values().max()? as f64;
    let even = total as f64 / backends.len() as f64;
    let chance = |count: &u64| (*count as f64 - even).abs() <= CHANCE * deviation(backends, total);
    Some((most / even, backends.values().all(chance)))
}

/// Of the count of one backend among even ones, each choice for itself.
pub(super) fn deviation(backends: &BTreeMap<String, u64>, total: u64) -> f64 {
    let share = 1.0 / backends.len().max(1) as f64;
    (total as f64 * share * (1.0 - share)).sqrt()
}

fn judge(counts: &Counts, rung: Rung, terms: Terms, lost: u64) -> (Vec<String>, bool) {
    let tally = &counts.measured;
    let (mut remarks, mut is_good) = (Vec::new(), true);
    let slots = (tally.started + tally.unsent).max(1) as f64;
    if tally.started == 0 && tally.failed() == 0 {
        is_good = false;
        remarks.push("nothing was measured: it ended before the warm-up did".to_owned());
    }
    let failed = match terms.transport {
        Transport::Udp => lost,
        Transport::Tcp => lost.max(tally.failed()),
    };
    let share = failed as f64 / tally.started.max(1) as f64;
    if share > terms.max_loss {
        is_good = false;
        let (loss, most) = (percent(share), percent(terms.max_loss));
        remarks.push(format!("bad: {loss} % failed, more than --max-loss {most}"));
    }
    let unsent = tally.unsent as f64 / slots;
    if unsent > MISSED && !counts.is_cut {
        is_good = false;
        let rate = rung.rate.unwrap_or_default();
        remarks.push(format!(
            "bad: {} % of {rate} a second was never begun, since all {} flows were busy: the \
             target or this machine is too slow for it, or give more --flows",
            percent(unsent),
            rung.flows
        ));
    }
    remarks.extend(doubts(counts, slots));
    if counts.is_cut {
        is_good = false;
        remarks.push("ended early: the figures are those until then".to_owned());
    }
    (remarks, is_good)
}

/// What makes the figures say less than they seem to.
fn doubts(counts: &Counts, slots: f64) -> Vec<String> {
    let tally = &counts.measured;
    let mut doubts = Vec::new();
    let late = tally.late as f64 / slots;
    if late > MISSED {
        doubts.push(format!(
            "the generator itself was late for {} % of its slots (more than 1 ms), and latencies \
             contain that: lower the rate or use an idle machine",
            percent(late)
        ));
    }
    if busiest(counts) > BUSY {
        doubts.push(format!(
            "the generator was probably the limit: a thread of it used {} % of a processor; use \
             more --threads or another machine",
            percent(busiest(counts)).round()
        ));
    }
    if let Some((busy, stolen)) = counts.machine {
        if busy > BUSY {
            doubts.push(format!(
                "all processors of this machine were busy ({:.0} %): if the target runs here too, \
                 both share them",
                busy * 100.0
            ));
        }
        if stolen > STOLEN {
            doubts.push(format!(
                "{:.1} % of processor time was stolen: this virtual machine has to share",
                stolen * 100.0
            ));
        }
    }
    let own: u64 = Fault::all().filter(|fault| fault.is_own()).map(|own| tally.faults(own)).sum();
    if own > 0 {
        doubts.push(format!("{own} faults are limits of this machine, not of the target"));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        transport: Transport::Tcp,
        mode: Mode::Open,
        time: Duration::from_secs(10),
        count: None,
        max_loss: 0.0,
    };
    const RUNG: Rung = Rung { flows: 4, rate: Some(100.0) };

    fn counts(completed: u64, failed: u64) -> Counts {
        let mut measured = Tally { started: completed + failed, ..Tally::default() };
        for at in 0..completed {
            let name = if at % 2 == 0 { "a" } else { "b" };
            measured.complete(Duration::from_micros(at + 1), Some(name));
        }
        (0..failed).for_each(|_| measured.fail(Fault::Reset));
        Counts { measured, threads: vec![0.2, 0.3], ..Counts::default() }
    }

    #[test]
    fn a_good_step_has_its_figures() {
        let step = Step::of(counts(1000, 0), RUNG, TERMS);
        assert!(step.is_good && step.remarks.is_empty(), "{:?}", step.remarks);
        assert_eq!((step.completed_per_second, step.lost), (100.0, 0));
        let latency = step.latency_us.unwrap();
        assert!((500.0..504.0).contains(&latency["p50"]) && latency["max"] == 1000.0);
        assert!(latency.contains_key("p99.9") && !latency.contains_key("p99.99"));
        assert_eq!((step.imbalance, step.is_even), (Some(1.0), Some(true)));
        assert_eq!(step.generator.processors_used, 0.5);
        assert!(step.connect_us.is_none() && step.errors.is_empty());
        // The last percentile of a curve has at least one time beyond it.
        assert!(step.curve.last().is_some_and(|last| last.0 <= 0.9991), "{:?}", step.curve.last());
    }

    #[test]
    fn failures_beyond_the_bound_are_bad() {
        let step = Step::of(counts(999, 1), RUNG, TERMS);
        assert!(!step.is_good && step.remarks[0].contains("0.1 % failed"), "{:?}", step.remarks);
        assert_eq!(step.errors["reset"], 1);
        let step = Step::of(counts(999, 1), RUNG, Terms { max_loss: 0.001, ..TERMS });
        assert!(step.is_good);
        let nothing = Step::of(Counts::default(), RUNG, TERMS);
        assert!(!nothing.is_good);
    }

    #[test]
    fn an_icmp_error_about_a_lost_datagram_counts_once() {
        let udp = Terms { transport: Transport::Udp, max_loss: 0.1, ..TERMS };
        let mut counts = counts(90, 10);
        counts.measured.fail(Fault::Refused);
        let step = Step::of(counts, RUNG, udp);
        assert!(step.is_good, "{:?}", step.remarks);
        assert_eq!((step.lost, step.loss_percent), (10, 10.0));
    }

    #[test]
    fn a_generator_that_was_the_limit_is_named() {
        let mut slow = counts(1000, 0);
        (slow.measured.late, slow.threads, slow.machine) = (50, vec![0.97], Some((0.99, 0.1)));
        let step = Step::of(slow, RUNG, TERMS);
        assert!(step.is_good);
        for word in ["late for 5 %", "97 % of a processor", "busy (99 %)", "10.0 % of processor"] {
            assert!(step.remarks.iter().any(|remark| remark.contains(word)), "{word}");
        }
        let mut unsent = counts(900, 0);
        unsent.measured.unsent = 100;
        let step = Step::of(unsent, RUNG, TERMS);
        assert!(!step.is_good && step.remarks[0].contains("10 % of 100"), "{:?}", step.remarks);
        let mut dry = counts(10, 0);
        dry.measured.fail(Fault::NoPort);
        let step = Step::of(dry, RUNG, Terms { max_loss: 0.5, ..TERMS });
        assert!(step.remarks[0].contains("limits of this machine"), "{:?}", step.remarks);
    }

    #[test]
    fn shares_are_even_as_far_as_chance_goes() {
        let of = |counts: &[u64]| {
            let names = counts.iter().enumerate().map(|(at, count)| (at.to_string(), *count));
            evenness(&names.collect())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7]), Some((1.0, true)));
        assert_eq!(of(&[520, 480]).map(|found| found.1), Some(true));
        assert_eq!(of(&[600, 400]), Some((1.2, false)));
        assert_eq!(of(&[52_000, 48_000]).map(|found| found.1), Some(false));
    }
}
