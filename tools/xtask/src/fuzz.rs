//! `cargo xtask fuzz TARGET [--seconds N]`: runs one fuzz target of `tests/fuzz`.
//!
//! Starts from the seeds that the harness makes and from the committed corpus, and keeps what it
//! finds under the build output, so that the next run goes on from there. Needs the nightly
//! toolchain and cargo-fuzz, and says so where one is missing; nothing else of the project does.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::tree;

const USAGE: &str = "fuzz TARGET [--seconds N], N being 60 unless it is said";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    target: String,
    seconds: u32,
}

/// Runs a target.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let targets = targets();
    let request = match parse(arguments, &targets) {
        Ok(request) => request,
        Err(why) => {
            eprintln!("fuzz: {why}\nusage: cargo xtask {USAGE}\ntargets: {}", targets.join(", "));
            return ExitCode::from(2);
        }
    };
    if let Some(missing) = missing() {
        eprintln!("fuzz: {missing}");
        return ExitCode::FAILURE;
    }
    let folder = build_output().join("fuzz");
    match fuzz(&request, &folder) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            let target = &request.target;
            eprintln!(
                "fuzz: {target} failed. If an input broke a promise, give it a name that says \
                 which, put it into tests/fuzz/corpus/{target}, and see it fail in \
                 `cargo test -p adit-tests --test fuzz {target}` before you mend it"
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The targets, by their files.
fn targets() -> Vec<String> {
    let folder = tree::workspace_root().join("tests/fuzz/fuzz_targets");
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |path: PathBuf| Some(path.file_stem()?.to_string_lossy().into_owned());
    let mut targets: Vec<String> = files.filter_map(|file| name(file.path())).collect();
    targets.sort();
    targets
}

fn parse(arguments: &[String], targets: &[String]) -> Result<Request, String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (target, seconds) = match words.as_slice() {
        [target] => (*target, "60"),
        [target, "--seconds", seconds] | ["--seconds", seconds, target] => (*target, *seconds),
        _ => return Err("needs one target".to_owned()),
    };
    if !targets.iter().any(|known| known == target) {
        return Err(format!("there is no target `{target}`"));
    }
    // For libFuzzer, 0 would be without end.
    let seconds = seconds.parse().ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or("seconds are a whole number, at least 1")?;
    Ok(Request { target: target.to_owned(), seconds })
}

/// What this machine lacks, and how to get it.
fn missing() -> Option<&'static str> {
    if !answers(nightly().args(["rustc", "--version"])) {
        return Some(
            "the nightly toolchain is missing: rustup toolchain install nightly --profile minimal",
        );
    }
    if !answers(nightly().args(["cargo", "fuzz", "--version"])) {
        return Some("cargo-fuzz is missing: cargo +stable install cargo-fuzz");
    }
    None
}

fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]);
    command
}

fn answers(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn build_output() -> PathBuf {
    let root = tree::workspace_root();
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |path| root.join(path))
}

/// Whether the target ran for its time without a failure.
fn fuzz(request: &Request, folder: &Path) -> std::io::Result<bool> {
    let root = tree::workspace_root();
    let target = &request.target;
    let own = folder.join(target);
    let (seeds, found, failed) = (own.join("seeds"), own.join("found"), own.join("failed"));
    for folder in [&seeds, &found, &failed] {
        fs::create_dir_all(folder)?;
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--locked", "-p", "adit-tests", "--example", "seeds", "--"]);
    if !cargo.arg(target).arg(&seeds).current_dir(&root).status()?.success() {
        return Ok(false);
    }
    // The bodies hold no unsafe code, and without a sanitizer they run twice as often.
    let mut command = nightly();
    command.args(["cargo", "fuzz", "run", "--fuzz-dir", "tests/fuzz", "--sanitizer", "none"]);
    command.arg("--target-dir").arg(folder.join("build")).arg(target);
    command.args([&found, &root.join("tests/fuzz/corpus").join(target), &seeds]).arg("--");
    command.arg(format!("-max_total_time={}", request.seconds)).arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/", failed.display()));
    Ok(command.current_dir(&root).status()?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Request, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        parse(&words, &["config".to_owned(), "frame".to_owned()])
    }

    #[test]
    fn a_target_is_named_and_seconds_may_be() {
        let request = |seconds| Ok(Request { target: "frame".to_owned(), seconds });
        assert_eq!(parsed(&["frame"]), request(60));
        assert_eq!(parsed(&["frame", "--seconds", "5"]), request(5));
        assert_eq!(parsed(&["--seconds", "5", "frame"]), request(5));
        for wrong in [
            [].as_slice(),
            &["x"],
            &["frame", "config"],
            &["frame", "--seconds"],
            &["frame", "--seconds", "0"],
            &["frame", "--seconds", "-1"],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn every_target_has_a_corpus() {
        let corpus = tree::workspace_root().join("tests/fuzz/corpus");
        let targets = targets();
        assert!(targets.len() >= 5, "{targets:?}");
        for target in targets {
            assert!(corpus.join(&target).is_dir(), "{target}");
        }
    }
}
