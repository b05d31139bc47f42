//! Prints the clocks that the engine takes for a packet, by the number of flows:
//! `cargo run --release -p adit-benches --bin engine-clocks [FLOWS ...]`.

use std::process::ExitCode;

use benches::clocks::measure;

fn main() -> ExitCode {
    let mut sizes = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.parse() {
            Ok(flows @ 1..=16_777_216) => sizes.push(flows),
            _ => {
                eprintln!(
                    "engine-clocks: '{argument}' is not a number of flows from 1 to 16777216"
                );
                return ExitCode::from(2);
            }
        }
    }
    if sizes.is_empty() {
        sizes = vec![1, 1_000, 65_536, 1_048_576];
    }
    println!(
        "{:>10} {:>8} {:>8} {:>8} {:>8} {:>10}",
        "flows", "forward", "return", "miss", "new", "bytes/flow"
    );
    for flows in sizes {
        let f = measure(flows);
        println!(
            "{:>10} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>10.1}",
            f.flows, f.forward, f.back, f.miss, f.new, f.bytes_per_flow
        );
    }
    ExitCode::SUCCESS
}
