//! `cargo xtask bpf [--write]`: builds the program of the kernel's fast path from its source and
//! compares it with the object that is committed beside it and loaded by adit.
//!
//! So that adit needs no clang, the object is in the tree; so that it is not taken on trust, CI
//! builds it again. Other versions of clang give other bytes: with another one than
//! [`CLANG`] nothing is compared, and that is said.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::tree;

/// The version that the committed object was built with: Debian 12's.
const CLANG: &str = "14.";

/// Where source and object are.
const FOLDER: &str = "dataplane/src/io/fast_path";
const SOURCE: &str = "shortcut.bpf.c";
const OBJECT: &str = "shortcut.bpf.o";

/// Builds, and compares or writes.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let write = match arguments {
        [] => false,
        [flag] if flag == "--write" => true,
        _ => {
            eprintln!("bpf: takes --write and nothing else");
            return ExitCode::from(2);
        }
    };
    match check(write) {
        Ok(said) => {
            println!("bpf: {said}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("bpf: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn check(write: bool) -> Result<String, String> {
    let folder = tree::workspace_root().join(FOLDER);
    let Some(version) = version() else {
        let said = "clang or llvm-strip is not installed (apt-get install clang llvm)";
        return if write { Err(said.to_owned()) } else { Ok(format!("NOT COMPARED: {said}")) };
    };
    if !write && !version.starts_with(CLANG) {
        return Ok(format!("NOT COMPARED: clang is {version}, the object is of clang {CLANG}x"));
    }
    let built = build(&folder)?;
    let object = folder.join(OBJECT);
    if write {
        let failed = |error| format!("cannot write {}: {error}", object.display());
        std::fs::write(&object, built).map_err(failed)?;
        return Ok(format!("wrote {FOLDER}/{OBJECT}"));
    }
    let committed = std::fs::read(&object);
    let committed = committed.map_err(|error| format!("cannot read {OBJECT}: {error}"))?;
    if built == committed {
        return Ok(format!("{OBJECT} is what {SOURCE} says"));
    }
    Err(format!(
        "{FOLDER}/{OBJECT} is not what {SOURCE} says: run `cargo xtask bpf --write` and commit both"
    ))
}

/// The version of clang, if all that is needed is there.
fn version() -> Option<String> {
    let said = Command::new("clang").arg("--version").output().ok()?;
    Command::new("llvm-strip").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let (_, rest) = text.split_once("version ")?;
    Some(rest.split_whitespace().next()?.to_owned())
}

/// The object's bytes. Without debug information but for types, which describe its maps.
fn build(folder: &Path) -> Result<Vec<u8>, String> {
    let object = std::env::temp_dir().join(format!("adit-{}-{OBJECT}", std::process::id()));
    let result = compile(folder, &object).and_then(|()| {
        std::fs::read(&object).map_err(|error| format!("cannot read what was built: {error}"))
    });
    // What cannot be removed is in the directory for temporary files.
    let _ = std::fs::remove_file(&object);
    result
}

fn compile(folder: &Path, object: &PathBuf) -> Result<(), String> {
    let mut clang = Command::new("clang");
    clang.args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3"]);
    // Where Debian has the kernel's headers for this processor.
    clang.arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH));
    clang.args(["-fdebug-compilation-dir=.", "-c", SOURCE, "-o"]).arg(object);
    let mut strip = Command::new("llvm-strip");
    strip.arg("-g").arg(object);
    for command in [&mut clang, &mut strip] {
        let status = command.current_dir(folder).status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("{command:?}: {status}")),
            Err(error) => return Err(format!("{command:?}: {error}")),
        }
    }
    Ok(())
}
