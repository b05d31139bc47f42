//! The program `adit`; everything that it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    control::cli::main()
}
