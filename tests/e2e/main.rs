//! The whole product: the program `adit`, real kernels' TCP and UDP on both sides of it, over veth
//! pairs and TAP devices, with one worker and with two.
//!
//! It has its own main (`harness = false`), since the sandbox must be entered before any thread
//! starts, and speaks like cargo's runner: `--list`, and words of a name to choose cases. What a
//! machine does not allow or does not have is reported loudly as `NOT RUN` and fails nothing.
//!
//! adit is this very file under another name: a child that finds itself called `adit` does what
//! the program's `main` does, see `role`. So what is tested is never stale and never built twice.

#[macro_use]
mod case;
mod cases;
mod pcapng;
mod role;
mod runner;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    role::play().unwrap_or_else(runner::main)
}
