//! `cargo xtask rfc`: writes the page of requirements on NATs from the tests that answer them.
//!
//! What a row is, and what must hold of it, is in `tidy::requirements`.

use std::fs;
use std::process::ExitCode;

use crate::tidy::requirements::{PAGE, page};
use crate::tree::{self, Tree};

/// Writes the page.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        eprintln!("rfc: takes no arguments");
        return ExitCode::from(2);
    }
    let root = tree::workspace_root();
    let written = Tree::read(&root).and_then(|tree| fs::write(root.join(PAGE), page(&tree)));
    match written {
        Ok(()) => {
            println!("rfc: wrote {PAGE}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rfc: cannot write {PAGE}: {error}");
            ExitCode::FAILURE
        }
    }
}
