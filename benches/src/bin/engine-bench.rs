//! Prints the clocks that the engine takes for a packet, by the number of flows, from received
//! frame to rewritten frame:
//! `cargo xtask engine-bench [--json] [--batches N] [--batch FRAMES] [--small-pages] [--record]
//! [--flow-log] [--workers N] [--reader] [--output FOLDER] [FLOWS ...]`.
//!
//! 64-byte UDP packets of uniformly random flows, in batches of 64, both directions in turn; and
//! packets that open flows. The engine is used through its public door and has every check and
//! table of the product. With `--workers` it shows instead what packets take with one to so many
//! workers at the same time. With `--record` the engine tells of flows and counts what they carry,
//! as for a flow log; with `--flow-log` it shows what packets of open flows take without and with
//! that, batch by batch in turn. With `--reader` it shows what a worker's whole turn takes without
//! and with somebody who lists all sessions meanwhile, over and over. With `--json` standard output
//! is one object for programs and nothing else. With `--output` the figures go to a folder as well,
//! with a plot.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use benches::clocks::{Clocks, Figures, measure, measure_flow_log, measure_workers};
use benches::reader::{self, Turns};
use benches::rig::Setup;
use control::plot::{Curve, Plot, Scale};
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::record::Recording;

/// What is measured unless sizes are given.
const SIZES: [usize; 4] = [1_000, 65_536, 1_048_576, 10_485_760];

/// From this size on new flows are reported.
const LARGE: usize = 65_536;

/// From this size on memory is reported to programs: a pool of ports is 64,512 flows large or none.
const HUGE: usize = 1_000_000;

/// Memory that is needed for a flow: tables, what the rig remembers of it, and some.
const BYTES_PER_FLOW: usize = 128;

struct Options {
    json: bool,
    setup: Setup,
    batches: usize,
    workers: Option<u8>,
    reader: bool,
    flow_log: bool,
    output: Option<PathBuf>,
    sizes: Vec<usize>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("engine-bench: {problem}");
            return ExitCode::from(2);
        }
    };
    if let Some(problem) = missing_memory(&options.sizes) {
        eprintln!("engine-bench: {problem}");
        return ExitCode::FAILURE;
    }
    if let Some(workers) = options.workers {
        print_workers(&options, workers);
        return ExitCode::SUCCESS;
    }
    if options.reader {
        print_reader(&options);
        return ExitCode::SUCCESS;
    }
    if options.flow_log {
        print_flow_log(&options);
        return ExitCode::SUCCESS;
    }
    if !options.json {
        print!("{}", heading());
    }
    let mut all = Vec::new();
    for &flows in &options.sizes {
        let figures = measure(flows, options.batches, options.setup);
        if !options.json {
            print!("{}", row(&figures));
        }
        all.push(figures);
    }
    if options.json {
        println!("{}", json(&all));
    }
    match options.output.as_deref().map_or(Ok(()), |folder| write(folder, &all)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("engine-bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// A table and a plot.
fn write(folder: &Path, all: &[Figures]) -> Result<(), String> {
    let table = all.iter().fold(heading(), |text, figures| text + &row(figures));
    for (name, content) in [("engine-bench.txt", table), ("engine-bench.svg", plot(all).draw())] {
        let file = folder.join(name);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&file, content))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn plot(all: &[Figures]) -> Plot {
    let curve = |name: &str, least: usize, clocks: fn(&Figures) -> f64| {
        let points = all.iter().filter(|of| of.flows >= least);
        let points = points.map(|of| (of.flows as f64, clocks(of))).collect();
        Curve { name: name.to_owned(), points }
    };
    let marks = all.iter().map(|of| (of.flows as f64, of.flows.to_string()));
    Plot {
        title: "Engine, from received to rewritten frame, median".to_owned(),
        x: Scale::new("flows", true).marked(marks.collect()),
        y: Scale::new("clocks for a packet", true),
        curves: vec![
            curve("established", 0, |of| of.hit.median),
            curve("forward", 0, |of| of.forward.median),
            curve("return", 0, |of| of.back.median),
            curve("refused", 0, |of| of.refused.median),
            curve("new flow", LARGE, |of| of.new.median),
        ],
    }
}

fn options(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let (setup, sizes) = (Setup::default(), Vec::new());
    let (workers, output) = (None, None);
    let (json, reader, flow_log) = (false, false, false);
    let mut options =
        Options { json, setup, batches: 10_000, workers, reader, flow_log, output, sizes };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), argument.parse()) {
            ("--json", _) => options.json = true,
            ("--reader", _) => options.reader = true,
            ("--flow-log", _) => options.flow_log = true,
            ("--small-pages", _) => options.setup.huge_pages = false,
            ("--record", _) => options.setup.recording = Recording::Traffic,
            ("--batch", _) => {
                let frames = arguments.next().and_then(|frames| frames.parse().ok());
                let fits = |frames: &usize| (1..=BATCH_FRAMES_MAX).contains(frames);
                options.setup.batch = frames.filter(fits).ok_or("--batch FRAMES, 1 to 64")?;
            }
            ("--workers", _) => {
                let count = arguments.next().and_then(|count| count.parse().ok());
                let fits = |count: &u8| (2..=64).contains(count);
                options.workers = Some(count.filter(fits).ok_or("--workers N, 2 to 64")?);
            }
            ("--output", _) => {
                options.output = Some(arguments.next().ok_or("--output FOLDER")?.into());
            }
            ("--batches", _) => {
                let count = arguments.next().and_then(|count| count.parse().ok());
                options.batches = count.filter(|count| *count > 0).ok_or("--batches N")?;
            }
            (_, Ok(flows @ 1..=16_777_216)) => options.sizes.push(flows),
            _ => return Err(format!("'{argument}' is not a number of flows, 1 to 16777216")),
        }
    }
    if options.sizes.is_empty() {
        options.sizes = SIZES.to_vec();
    }
    Ok(options)
}

/// What to say if the largest size does not fit into memory.
fn missing_memory(sizes: &[usize]) -> Option<String> {
    let needed = sizes.iter().max()? * BYTES_PER_FLOW;
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available: usize = line.trim().trim_end_matches(" kB").parse().ok()?;
    let (needed, available) = (needed >> 20, available >> 10);
    let fits = needed <= available;
    (!fits).then(|| format!("needs {needed} MiB of memory, and {available} MiB are available"))
}

/// How much more than one worker several carry, by the medians of their batches.
fn print_workers(options: &Options, workers: u8) {
    println!("{:>10} {:>8} {:>22} {:>9}", "flows", "workers", "hit, each", "together");
    for &flows in &options.sizes {
        let all = measure_workers(flows, options.batches, options.setup, workers);
        let alone = all.first().map_or(f64::NAN, |clocks| clocks.median);
        for (count, clocks) in (1_u8..).zip(&all) {
            let Clocks { low, median, high } = *clocks;
            let together = f64::from(count) * alone / median;
            let each = format!("{median:.1} ({low:.1} - {high:.1})");
            println!("{flows:>10} {count:>8} {each:>22} {together:>9.2}");
        }
    }
}

/// What a flow log costs packets of open flows.
fn print_flow_log(options: &Options) {
    println!("clocks for a packet of an open flow: median (of ten batches one is below)");
    println!("{:>10} {:>22} {:>22} {:>8}", "flows", "without a flow log", "with one", "more");
    for &flows in &options.sizes {
        let [without, with] = measure_flow_log(flows, options.batches, options.setup);
        let column = |clocks: &Clocks| format!("{:.1} ({:.1})", clocks.median, clocks.low);
        let more = (with.median / without.median - 1.0) * 100.0;
        println!("{flows:>10} {:>22} {:>22} {more:>6.1} %", column(&without), column(&with));
    }
}

/// What turns take while nobody reads and while somebody does, each in the best of its rounds.
fn print_reader(options: &Options) {
    println!("nanoseconds of a turn, lowest of rounds");
    println!(
        "{:>10} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>14}",
        "flows", "reader", "median", "p99", "p99.9", "p99.99", "max", "sessions a s"
    );
    for &flows in &options.sizes {
        let figures = reader::measure(flows, options.batches, options.setup);
        let pace = figures.sessions as f64 / figures.seconds;
        for (name, rounds, pace) in [("no", &figures.alone, 0.0), ("yes", &figures.read, pace)] {
            let least = |of: fn(&Turns) -> u64| rounds.iter().map(of).min().unwrap_or(0);
            let columns = [
                least(|turns| turns.median),
                least(|turns| turns.p99),
                least(|turns| turns.p999),
                least(|turns| turns.p9999),
                least(|turns| turns.max),
            ];
            let columns = columns.map(|time| format!("{time:>9}")).join(" ");
            println!("{flows:>10} {name:>8} {columns} {pace:>14.0}");
        }
    }
}

fn heading() -> String {
    format!(
        "clocks for a packet: median (of ten batches one is below - one is above)\n\
         {:>10} {:>22} {:>9} {:>9} {:>9} {:>24} {:>11}\n",
        "flows", "hit", "forward", "return", "refused", "new flow", "bytes/flow"
    )
}

fn row(figures: &Figures) -> String {
    let spread =
        |clocks: &Clocks| format!("{:.1} ({:.1} - {:.1})", clocks.median, clocks.low, clocks.high);
    let new = if figures.flows < LARGE { "-".to_owned() } else { spread(&figures.new) };
    format!(
        "{:>10} {:>22} {:>9.1} {:>9.1} {:>9.1} {:>24} {:>11.1}\n",
        figures.flows,
        spread(&figures.hit),
        figures.forward.median,
        figures.back.median,
        figures.refused.median,
        new,
        figures.bytes_per_flow
    )
}

/// One object: medians by number of flows, and the most bytes that a flow takes in a large table.
fn json(all: &[Figures]) -> String {
    let object = |figures: &mut dyn Iterator<Item = (usize, f64)>| {
        let members = figures.map(|(flows, clocks)| format!("\"{flows}\":{clocks:.1}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    };
    let hits = object(&mut all.iter().map(|of| (of.flows, of.hit.median)));
    let large = || all.iter().filter(|of| of.flows >= LARGE);
    let new = object(&mut large().map(|of| (of.flows, of.new.median)));
    let bytes =
        all.iter().filter(|of| of.flows >= HUGE).map(|of| of.bytes_per_flow).fold(0.0, f64::max);
    format!("{{\"hit_clocks\":{hits},\"new_clocks\":{new},\"bytes_per_flow\":{bytes:.1}}}")
}
