//! `cargo xtask reference`: writes the reference of the configuration file, as adit has it.
//!
//! That it is current is a test of `control`.

use std::fs;
use std::process::ExitCode;

use crate::ci::cargo;
use crate::tree;

/// Where the page is.
const PAGE: &str = "docs/configuration.md";

/// Writes the page.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        eprintln!("reference: takes no arguments");
        return ExitCode::from(2);
    }
    let root = tree::workspace_root();
    let words = ["run", "--quiet", "--locked", "-p", "control", "--", "reference"];
    let said =
        cargo().args(words).current_dir(&root).stderr(std::process::Stdio::inherit()).output();
    let written = match said {
        Ok(output) if output.status.success() => fs::write(root.join(PAGE), output.stdout),
        Ok(output) => Err(std::io::Error::other(format!("adit reference: {}", output.status))),
        Err(error) => Err(error),
    };
    match written {
        Ok(()) => {
            println!("reference: wrote {PAGE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("reference: cannot write {PAGE}: {error}");
            ExitCode::FAILURE
        }
    }
}
