//! adit beside its peers: the same topology, the same load, in turn, in one run.
//!
//! Every contender gets a client and a server of its own, each in a namespace, and stands between
//! them in a third. All are up at the same time and measured in turn (A B A B), so that what the
//! machine does meanwhile hits them alike. Generator and servers run on the same processors as what
//! they measure. Whoever calls [`run`] must also play [`ADIT`].

mod contender;
mod generator;
mod load;
mod report;
mod serve;
mod topology;

use std::time::Duration;

use lab::LabError;

use contender::Contender;
pub use contender::{ADIT, Kind};
pub use report::{files, line, table};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Times that each contender is measured.
    pub rounds: usize,
    /// How long each measurement lasts.
    pub duration: Duration,
    /// Numbers of flows that small packets belong to, at most 64,000.
    pub flows: Vec<u32>,
}

/// The percentiles of latencies that are kept: their names, and the shares that they are.
pub const PERCENTILES: [(&str, f64); 6] =
    [("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p100", 1.0)];

/// What one contender did; each list has a value for each round.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Bits of TCP payload per second, one connection, offloads on.
    pub tcp_bits: Vec<f64>,
    /// For each number of flows: UDP datagrams of 18 bytes (64 bytes on the wire) per second that
    /// reached the server.
    pub packets: Vec<Vec<f64>>,
    /// For each number of flows: processor seconds for a million of them.
    pub costs: Vec<Vec<f64>>,
    /// TCP connections per second that were opened, answered and closed.
    pub connections: Vec<f64>,
    /// For each of [`PERCENTILES`]: seconds that a ping of 64 bytes over TCP took.
    pub latencies: [Vec<f64>; PERCENTILES.len()],
}

/// A contender and what came of it: without a score if it could not be started, with the reason.
pub type Outcome = (Kind, Result<Score, String>);

/// Measures the contenders in turn. To be called in a process that has entered the lab's sandbox.
/// `progress` is told what is done next.
pub fn run(kinds: &[Kind], effort: &Effort, progress: impl Fn(&str)) -> Vec<Outcome> {
    let mut running: Vec<(Kind, Running)> = Vec::new();
    for &kind in kinds {
        progress(&format!("starting {}", kind.name()));
        let none = vec![Vec::new(); effort.flows.len()];
        let score = Score { packets: none.clone(), costs: none, ..Score::default() };
        let started = Contender::start(kind).map(|contender| (contender, score));
        running.push((kind, started.map_err(|error| error.to_string())));
    }
    let steps: [(&str, Step); 4] =
        [("TCP", tcp), ("packets", packets), ("connections", connections), ("latency", latency)];
    for round in 1..=effort.rounds {
        for (name, step) in steps {
            for (kind, running) in &mut running {
                let Ok((contender, score)) = running else { continue };
                progress(&format!("round {round} of {}: {name} of {}", effort.rounds, kind.name()));
                if let Err(error) = step(*kind, contender, effort, score) {
                    *running = Err(error.to_string());
                }
            }
        }
    }
    let outcome = |(kind, running): (Kind, Running)| (kind, running.map(|(_, score)| score));
    running.into_iter().map(outcome).collect()
}

/// A contender and its score so far, or why there is none.
type Running = Result<(Contender, Score), String>;

type Step = fn(Kind, &mut Contender, &Effort, &mut Score) -> Result<(), LabError>;

fn tcp(_: Kind, by: &mut Contender, effort: &Effort, score: &mut Score) -> Result<(), LabError> {
    score.tcp_bits.push(load::tcp(by.topology(), effort.duration)?);
    Ok(())
}

fn packets(
    kind: Kind,
    by: &mut Contender,
    effort: &Effort,
    score: &mut Score,
) -> Result<(), LabError> {
    if !kind.knows_udp() {
        return Ok(());
    }
    let lists = score.packets.iter_mut().zip(&mut score.costs);
    for (&flows, (packets, costs)) in effort.flows.iter().zip(lists) {
        let flood = load::small_packets(by, effort.duration, flows)?;
        packets.push(flood.arrived);
        costs.push(flood.cost);
    }
    Ok(())
}

fn connections(
    _: Kind,
    by: &mut Contender,
    effort: &Effort,
    score: &mut Score,
) -> Result<(), LabError> {
    score.connections.push(load::connections(by.topology(), effort.duration)?);
    Ok(())
}

fn latency(
    _: Kind,
    by: &mut Contender,
    effort: &Effort,
    score: &mut Score,
) -> Result<(), LabError> {
    let times = load::latencies(by.topology(), effort.duration)?;
    for ((_, share), list) in PERCENTILES.iter().zip(&mut score.latencies) {
        list.extend(times.quantile(*share).map(|time| time.as_secs_f64()));
    }
    Ok(())
}

/// The middle value; `None` if there is none.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
