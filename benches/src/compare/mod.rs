//! adit beside its peers: the same topology, the same load, in turn, in one run.
//!
//! Every contender gets a client and a server of its own, each in a namespace, and stands between
//! them in a third. All are up at the same time and measured in turn (A B A B), so that what the
//! machine does meanwhile hits them alike. Needs the program `nft`; adit's is built beside this
//! one.

mod contender;
mod load;
mod topology;

use std::time::Duration;

use lab::LabError;

use contender::Contender;
pub use contender::Kind;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Times that each contender is measured.
    pub rounds: usize,
    /// How long each measurement lasts.
    pub duration: Duration,
    /// Flows that small packets belong to.
    pub flows: u16,
}

/// What one contender did, measurement by measurement.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Bits of TCP payload per second, one connection, offloads on.
    pub tcp_bits: Vec<f64>,
    /// UDP datagrams of 18 bytes (64 bytes on the wire) per second that reached the server.
    pub packets: Vec<f64>,
}

/// Measures the contenders in turn. To be called in a process that has entered the lab's sandbox.
///
/// # Errors
/// A namespace, a program or a connection failed; the error names it.
pub fn run(kinds: &[Kind], effort: Effort) -> Result<Vec<Score>, LabError> {
    let contenders: Result<Vec<Contender>, LabError> =
        kinds.iter().map(|&kind| Contender::start(kind)).collect();
    let contenders = contenders?;
    let mut scores = vec![Score::default(); kinds.len()];
    for _ in 0..effort.rounds {
        for (contender, score) in contenders.iter().zip(&mut scores) {
            score.tcp_bits.push(load::tcp(contender.topology(), effort.duration)?);
        }
        for (contender, score) in contenders.iter().zip(&mut scores) {
            let packets = load::small_packets(contender.topology(), effort.duration, effort.flows)?;
            score.packets.push(packets);
        }
    }
    Ok(scores)
}

/// The middle value; 0 if there is none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
