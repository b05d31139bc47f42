//! Measures adit, its peers and null forwarders in turn on the same topology:
//! `cargo xtask compare`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use benches::compare::{ADIT, Effort, Kind, files, line, run, table};

const USAGE: &str = "usage: compare [--rounds N] [--seconds S] [--only NAME,NAME] [--json] \
                     [--output FOLDER]";

struct Options {
    effort: Effort,
    kinds: Vec<Kind>,
    json: bool,
    output: Option<PathBuf>,
}

fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| name == ADIT) {
        return control::cli::main();
    }
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("compare: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = lab::sandbox::enter() {
        eprintln!("compare: {error}");
        return ExitCode::FAILURE;
    }
    // Now rather than after minutes of measuring.
    if let Some(folder) = &options.output
        && let Err(error) = std::fs::create_dir_all(folder)
    {
        eprintln!("compare: {}: {error} (name a folder that can be made)", folder.display());
        return ExitCode::FAILURE;
    }
    let outcomes = run(&options.kinds, &options.effort, |what| eprintln!("compare: {what}"));
    if options.json {
        outcomes.iter().for_each(|outcome| println!("{}", line(outcome, &options.effort)));
    } else {
        print!("{}", table(&outcomes, &options.effort));
    }
    for (name, content) in options.output.iter().flat_map(|_| files(&outcomes, &options.effort)) {
        let file = options.output.clone().unwrap_or_default().join(name);
        if let Err(error) = std::fs::write(&file, content) {
            eprintln!("compare: {}: {error} (name a folder that may be written)", file.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let flows = vec![1, 1000, 10_000, 60_000];
    let effort = Effort { rounds: 5, duration: Duration::from_secs(1), flows };
    let mut options = Options { effort, kinds: Kind::ALL.to_vec(), json: false, output: None };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} takes a value"));
        match word.as_str() {
            "--json" => options.json = true,
            "--output" => options.output = Some(value()?.into()),
            "--rounds" => options.effort.rounds = number(&value()?)?,
            "--seconds" => options.effort.duration = Duration::from_secs(number(&value()?)? as u64),
            "--only" => options.kinds = kinds(&value()?)?,
            _ => return Err(format!("{word:?} is not an option")),
        }
    }
    Ok(options)
}

fn number(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1000).contains(number));
    number.ok_or(format!("{text:?} is no number from 1 to 1000"))
}

fn kinds(text: &str) -> Result<Vec<Kind>, String> {
    let find = |name| {
        let names = || Kind::ALL.map(Kind::name).join(", ");
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| format!("{name:?} is no contender; there are {}", names()))
    };
    text.split(',').map(find).collect()
}
