//! Writes the seeds of a fuzz target into a folder, one file each: `seeds TARGET FOLDER`.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use harness::fuzz::{TARGETS, seeds::seeds};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, folder] = arguments.as_slice() else {
        eprintln!("seeds: needs a target and a folder");
        return ExitCode::from(2);
    };
    if !TARGETS.iter().any(|(name, _)| name == target) {
        eprintln!("seeds: there is no target {target}");
        return ExitCode::from(2);
    }
    let written = fs::create_dir_all(folder).and_then(|()| {
        let mut seeds = seeds(target).into_iter();
        seeds.try_for_each(|(name, bytes)| fs::write(Path::new(folder).join(name), bytes))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seeds: {folder} cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}
