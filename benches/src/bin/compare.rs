//! Measures adit and nftables in turn on the same topology:
//! `cargo build --release && cargo run --release -p adit-benches --bin compare [-- --rounds N]`.

use std::process::ExitCode;
use std::time::Duration;

use benches::compare::{Effort, Kind, Score, median, run};

fn main() -> ExitCode {
    if let Err(error) = lab::sandbox::enter() {
        eprintln!("compare: {error}");
        return ExitCode::FAILURE;
    }
    let rounds = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => 5,
        [flag, number] if flag == "--rounds" => number.parse().unwrap_or(0),
        _ => 0,
    };
    if rounds == 0 {
        eprintln!("compare: usage: compare [--rounds N], with N from 1");
        return ExitCode::from(2);
    }
    let effort = Effort { rounds, duration: Duration::from_secs(2), flows: 1000 };
    let kinds = [Kind::Adit, Kind::Nftables];
    match run(&kinds, effort) {
        Ok(scores) => {
            print(&kinds, &scores);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(kinds: &[Kind], scores: &[Score]) {
    println!("{:<18} {:>24} {:>24}", "median (min - max)", "TCP Gb/s", "64-byte Mpps, 1k flows");
    for (kind, score) in kinds.iter().zip(scores) {
        let tcp = spread(&score.tcp_bits, 1e9);
        println!("{:<18} {tcp:>24} {:>24}", kind.name(), spread(&score.packets, 1e6));
    }
}

fn spread(values: &[f64], unit: f64) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min) / unit;
    let most = values.iter().copied().fold(0.0, f64::max) / unit;
    format!("{:.2} ({least:.2} - {most:.2})", median(values) / unit)
}
