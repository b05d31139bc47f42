//! Plays random operations on the engine and on the independent model until they disagree or the
//! number that was asked for is reached. `cargo xtask model` runs it in the release profile.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::model::{Campaign, Coverage, Disagreement, OPS_PER_WORLD, replay};

const USAGE: &str = "usage: model [--ops N] [--seed N|random]… | model --replay FILE
  --ops N        operations for each seed, 10,000,000 if not said
  --seed N       the first world's seed, 1 if not said; `random` draws one and prints it
  --replay FILE  plays a list of operations that a failure printed";

/// So many operations reach everything that can be reached, or the generator is at fault.
const OPS_FOR_COVERAGE: u64 = 1_000_000;

/// How often the progress is told.
const PROGRESS: Duration = Duration::from_secs(5);

struct Request {
    operations: u64,
    seeds: Vec<u64>,
    replay: Option<String>,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Request, String> {
    let mut request = Request { operations: 10_000_000, seeds: Vec::new(), replay: None };
    let mut arguments = arguments;
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} wants a value"));
        let number = |text: String| {
            text.replace('_', "").parse().map_err(|_| format!("`{text}` is no number"))
        };
        match name.as_str() {
            "--ops" => request.operations = number(value()?)?,
            "--seed" => request.seeds.push(match value()?.as_str() {
                "random" => RandomState::new().build_hasher().finish() >> 16,
                text => number(text.to_owned())?,
            }),
            "--replay" => request.replay = Some(value()?),
            _ => return Err(format!("there is no argument `{name}`")),
        }
    }
    if request.seeds.is_empty() {
        request.seeds.push(1);
    }
    Ok(request)
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let request = match parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(why) => {
            eprintln!("model: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(path) = &request.replay {
        return play_again(path);
    }
    // Panics of the engine are reported with the operations that lead there.
    std::panic::set_hook(Box::new(|_| {}));
    let mut coverage = Coverage::default();
    for &seed in &request.seeds {
        match run(seed, request.operations) {
            Ok(reached) => coverage.add(&reached),
            Err(disagreement) => return report(&disagreement),
        }
    }
    print!("{coverage}");
    let missing = coverage.missing();
    if coverage.operations >= OPS_FOR_COVERAGE && !missing.is_empty() {
        eprintln!("model: never reached: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn play_again(path: &str) -> ExitCode {
    let played = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {path}: {error}"))
        .and_then(|text| replay(&text));
    match played {
        Ok(()) => {
            println!("model: the engine and the model agree");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("model: {what}");
            ExitCode::FAILURE
        }
    }
}

fn report(disagreement: &Disagreement) -> ExitCode {
    eprintln!("model: {disagreement}");
    let path = std::env::temp_dir().join(format!("adit-model-{}.txt", disagreement.seed));
    if fs::write(&path, &disagreement.script).is_ok() {
        eprintln!("model: to repeat it: cargo xtask model --replay {}", path.display());
    }
    ExitCode::FAILURE
}

/// Plays the worlds from a seed on, as many at a time as there are processors.
fn run(seed: u64, operations: u64) -> Result<Coverage, Disagreement> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("model: seed {seed}, {operations} operations, {threads} threads");
    let (start, next) = (Instant::now(), AtomicU64::new(0));
    let worlds = operations.div_ceil(OPS_PER_WORLD);
    let play = |tells: bool| {
        let (mut campaign, mut told) = (Campaign::default(), Instant::now());
        loop {
            let world = next.fetch_add(1, Ordering::Relaxed);
            if world >= worlds {
                return Ok(campaign.coverage);
            }
            let left = operations - world * OPS_PER_WORLD;
            let played = campaign.world(seed.wrapping_add(world), left.min(OPS_PER_WORLD));
            played.inspect_err(|_| next.store(worlds, Ordering::Relaxed))?;
            if tells && told.elapsed() > PROGRESS {
                told = Instant::now();
                eprintln!("model: {} of {worlds} worlds", world + 1);
            }
        }
    };
    let results: Vec<Result<Coverage, Disagreement>> = std::thread::scope(|scope| {
        let play = &play;
        let workers: Vec<_> = (0..threads).map(|at| scope.spawn(move || play(at == 0))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a panic is reported")).collect()
    });
    let mut coverage = Coverage::default();
    for result in results {
        coverage.add(&result?);
    }
    let rate = coverage.operations as f64 / start.elapsed().as_secs_f64();
    println!("model: agreed, {rate:.0} operations a second");
    Ok(coverage)
}
