//! The project's own commands, run as `cargo xtask <command>`.
//!
//! Each command is a module with a `run` function and one row in [`COMMANDS`]; that row is all that
//! it takes to add one. Nothing here is needed to build adit.

mod bpf;
mod change_bench;
mod ci;
mod compare;
mod deb;
mod engine_bench;
mod fuzz;
mod lexer;
mod manifest;
mod miri;
mod model;
mod picture;
mod reference;
mod rfc;
mod rooms;
mod sim;
mod source;
mod tidy;
mod tree;

use std::env;
use std::process::ExitCode;

/// A command: how it is called, what it does, and the function that does it.
struct Command {
    name: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> ExitCode,
}

const COMMANDS: &[Command] = &[
    Command { name: "ci", summary: "run what CI runs, step by step", run: ci::run },
    Command {
        name: "model",
        summary: "play random operations on the engine and its model",
        run: model::run,
    },
    Command { name: "fuzz", summary: "run a fuzz target for some seconds", run: fuzz::run },
    Command { name: "sim", summary: "play simulated worlds, by their seeds", run: sim::run },
    Command { name: "tidy", summary: "check the rules of the house", run: tidy::run },
    Command { name: "miri", summary: "look for undefined behaviour", run: miri::run },
    Command {
        name: "engine-bench",
        summary: "measure the engine in clocks for a packet",
        run: engine_bench::run,
    },
    Command {
        name: "change-bench",
        summary: "measure changes among many endpoints",
        run: change_bench::run,
    },
    Command {
        name: "bpf",
        summary: "build the fast path's program and compare it with the committed object",
        run: bpf::run,
    },
    Command {
        name: "compare",
        summary: "measure adit beside its peers, in turn",
        run: compare::run,
    },
    Command {
        name: "reference",
        summary: "write docs/configuration.md from the keys that the parser reads",
        run: reference::run,
    },
    Command { name: "deb", summary: "build a Debian package", run: deb::run },
    Command { name: "rfc", summary: "write docs/rfc-compliance.md from the tests", run: rfc::run },
    Command { name: "picture", summary: "draw what a terminal showed as SVG", run: picture::run },
    Command { name: "help", summary: "list these commands", run: help },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        return help(&[]);
    };
    if let Some(command) = COMMANDS.iter().find(|command| command.name == name) {
        return (command.run)(rest);
    }
    if ["-h", "--help"].contains(&name.as_str()) {
        return help(&[]);
    }
    eprintln!("xtask: there is no command `{name}`; `cargo xtask help` lists them");
    ExitCode::from(2)
}

fn help(_arguments: &[String]) -> ExitCode {
    println!("cargo xtask <command>\n");
    for command in COMMANDS {
        println!("  {:<12} {}", command.name, command.summary);
    }
    ExitCode::SUCCESS
}
