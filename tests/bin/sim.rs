//! `cargo xtask sim`: plays simulated worlds and says what happened in them.
//!
//! One seed is played twice, to show that it decides everything; many are played once each, until
//! the first failure. A failure shows its seed, its step, the checker's words and what happened
//! last; the seed alone repeats it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use dataplane::drop_reason::DropReason;
use harness::sim::{self, Lines, Report};

const USAGE: &str = "cargo xtask sim [--seed N [--trace] | --seeds A..B | --count N]
  --seed N      play one world twice and compare; with --trace, once, and print what happens
  --seeds A..B  play worlds A to B - 1
  --count N     play N worlds from a random seed on (the default: 100)";

/// Worlds that are played if nobody says how many.
const COUNT: u64 = 100;

enum Plan {
    One(u64, Lines),
    Many(Range<u64>),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(plan) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // What a checker says is printed with the failure.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = match plan {
        Plan::One(seed, lines) => one(seed, lines),
        Plan::Many(seeds) => many(seeds),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Option<Plan> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let fresh = |count: u64| {
        let first = RandomState::new().build_hasher().finish() >> 32;
        Plan::Many(first..first + count)
    };
    match words[..] {
        [] => Some(fresh(COUNT)),
        ["--count", count] => Some(fresh(count.parse().ok()?)),
        ["--seed", seed] => Some(Plan::One(seed.parse().ok()?, Lines::Off)),
        ["--seed", seed, "--trace"] => Some(Plan::One(seed.parse().ok()?, Lines::Print)),
        ["--seeds", range] => {
            let (first, end) = range.split_once("..")?;
            Some(Plan::Many(first.parse().ok()?..end.parse().ok()?))
        }
        _ => None,
    }
}

fn one(seed: u64, lines: Lines) -> Result<(), String> {
    let report = sim::run(seed, lines).map_err(|failure| failure.to_string())?;
    println!("{report}");
    println!("trace hash {:016x}", report.hash);
    if lines == Lines::Off {
        let again = sim::run(seed, lines).map_err(|failure| failure.to_string())?;
        println!("trace hash {:016x}, played again", again.hash);
        if again != report {
            return Err(format!("seed {seed} decides not everything: two runs of it differ"));
        }
    }
    Ok(())
}

fn many(seeds: Range<u64>) -> Result<(), String> {
    println!("seeds {}..{}", seeds.start, seeds.end);
    let (began, mut total) = (Instant::now(), Report::default());
    for seed in seeds {
        total.add(&sim::run(seed, Lines::Off).map_err(|failure| failure.to_string())?);
    }
    println!("{total}");
    let reasons = DropReason::ALL
        .iter()
        .filter(|reason| total.dropped.get(reason.slot()).is_some_and(|count| *count > 0));
    let reasons: Vec<String> = reasons
        .map(|reason| format!("{} {}", reason.metric(), total.dropped[reason.slot()]))
        .collect();
    println!("dropped: {}", reasons.join(", "));
    println!("trace hash {:016x}, {:.1} s", total.hash, began.elapsed().as_secs_f64());
    Ok(())
}
