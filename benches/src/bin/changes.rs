//! Measures what a change costs among many endpoints: `cargo xtask change-bench`.

use std::path::PathBuf;
use std::process::ExitCode;

use benches::changes::{ADIT, Setup, lines, run, table};

const USAGE: &str = "usage: changes [--endpoints N] [--by-api N] [--rounds N] [--state FOLDER] \
                     [--json]";

fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| name == ADIT) {
        return control::cli::main();
    }
    let (setup, json) = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("changes: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = lab::sandbox::enter() {
        eprintln!("changes: {error}");
        return ExitCode::FAILURE;
    }
    let folder = setup.state.join(format!("adit-changes-{}", std::process::id()));
    let setup = Setup { state: folder.clone(), ..setup };
    let outcome = run(&setup, |what| eprintln!("changes: {what}"));
    match outcome {
        Ok(scores) if json => lines(&scores, &setup).iter().for_each(|line| println!("{line}")),
        Ok(scores) => print!("{}", table(&scores, &setup)),
        Err(error) => {
            eprintln!("changes: {error} (see {})", folder.display());
            return ExitCode::FAILURE;
        }
    }
    // What could not be removed is in the way of nobody.
    drop(std::fs::remove_dir_all(folder));
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Result<(Setup, bool), String> {
    let state = std::env::temp_dir();
    let mut setup = Setup { endpoints: 10_000, by_api: 0, rounds: 300, state };
    let mut json = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} takes a value"));
        match word.as_str() {
            "--json" => json = true,
            "--state" => setup.state = PathBuf::from(value()?),
            "--endpoints" => setup.endpoints = number(&value()?, 0)?,
            "--by-api" => setup.by_api = number(&value()?, 0)?,
            "--rounds" => setup.rounds = number(&value()?, 1)?,
            _ => return Err(format!("{word:?} is not an option")),
        }
    }
    if setup.endpoints + setup.by_api + setup.rounds > 16_000 {
        return Err("there are 16 services, of 1000 endpoints at most: ask for less".to_owned());
    }
    Ok((setup, json))
}

fn number(text: &str, least: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (least..=16_000).contains(number));
    number.ok_or(format!("{text:?} is no number from {least} to 16000"))
}
