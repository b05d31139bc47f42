//! The command line: one command for each thing that an operator does.
//!
//! Commands that ask the daemon send one request to its control socket and show the answer, as a
//! table for people or with `--json` for programs. Errors say what is wrong, and what to do, on
//! standard error; the exit code says which kind of failure it was.

mod args;
mod client;
mod pcapng;
mod rates;
mod render;
mod table;
mod top;
mod trace;
mod watch;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use serde_json::json;

pub use args::{ArmCommand, Cli, Command, Connection};

use crate::api::{Request, Response};
use crate::{bench, config, daemon, demo};
use client::{Client, ClientError};

/// How a command ended, other than well.
enum Ending {
    /// It failed or was refused.
    Failed(String),
    /// The daemon cannot be reached.
    Unreachable(String),
}

impl Ending {
    fn failed(error: impl Display) -> Ending {
        Ending::Failed(error.to_string())
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version arrive here too, and go where they belong.
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ending::Failed(text)) => {
            complain(&text);
            ExitCode::from(1)
        }
        Err(Ending::Unreachable(text)) => {
            complain(&text);
            ExitCode::from(3)
        }
    }
}

/// Says on standard error what is wrong.
fn complain(text: &str) {
    // If nobody listens the exit code still says it.
    let _ = writeln!(io::stderr().lock(), "adit: {text}");
}

fn run(command: Command) -> Result<(), Ending> {
    match command {
        Command::Run { config, arm } => daemon::run(&config, &arm.into()).map_err(Ending::failed),
        Command::Arm(ArmCommand::Env { identity, connection }) => {
            ask(&connection, &Request::Access { identity })
        }
        Command::Check { file, json } => check(&file, json),
        Command::Status { watch: None, connection } => ask(&connection, &Request::Status {}),
        Command::Status { watch: Some(interval), connection } => {
            watch::run(&connection, interval, &mut io::stdout().lock()).map_err(Ending::failed)
        }
        Command::Top { interval, place } => {
            top::run(&place.socket, interval).map_err(Ending::failed)
        }
        Command::Endpoints(connection) => ask(&connection, &Request::Endpoints {}),
        Command::Services(connection) => ask(&connection, &Request::Services {}),
        Command::Sessions { filter, connection } => {
            ask(&connection, &Request::Sessions(filter.into()))
        }
        Command::Explain { packet, connection } => {
            ask(&connection, &Request::Explain(packet.into()))
        }
        Command::Whois { suspect, connection } => ask(&connection, &Request::Whois(suspect.into())),
        Command::Kill { session, connection } => ask(&connection, &Request::Kill { session }),
        Command::Trace { filter, write, connection } => {
            trace::run(&connection, filter.into(), write.as_deref())
        }
        Command::Drops { all, connection } => ask(&connection, &Request::Drops { all }),
        Command::Approve { endpoint, message, connection } => {
            ask(&connection, &Request::Approve { endpoint, message })
        }
        Command::Reject { endpoint, message, connection } => {
            ask(&connection, &Request::Reject { endpoint, message })
        }
        Command::Reload { plan: true, connection } => {
            ask(&connection, &Request::Plan { file: None })
        }
        Command::Reload { plan: false, connection } => ask(&connection, &Request::Reload {}),
        Command::Plan { file, connection } => {
            // The daemon may run elsewhere in the file system's tree.
            let file = file.map(std::path::absolute).transpose().map_err(Ending::failed)?;
            ask(&connection, &Request::Plan { file })
        }
        Command::Reference => write(config::reference().as_bytes()),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "adit", &mut text);
            write(&text)
        }
        Command::Man { directory } => man(directory.as_deref()),
        Command::Bench(options) => bench(&options),
        Command::Demo(options) => demo::run(&options).map_err(Ending::failed),
    }
}

/// Writes to standard output; a reader that has seen enough is no failure.
fn write(bytes: &[u8]) -> Result<(), Ending> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Ending::failed(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn bench(options: &bench::Bench) -> Result<(), Ending> {
    let mut unprinted = None;
    let outcome = bench::run(options, |text| {
        unprinted = write(text.as_bytes()).err();
    });
    unprinted.map_or_else(|| outcome.map_err(Ending::failed), Err)
}

fn ask(connection: &Connection, request: &Request) -> Result<(), Ending> {
    // Columns are as wide as all of a list needs, so its parts are shown together.
    let mut list = Vec::new();
    let mut show = |response: Response, raw: &str| {
        let text = match response {
            _ if connection.json => format!("{raw}\n"),
            Response::Sessions { sessions, last, more } => {
                list.extend(sessions);
                if !last {
                    return Ok(());
                }
                render::sessions(&list, more)
            }
            other => render::response(&other),
        };
        write(text.as_bytes()).map_err(|ending| match ending {
            Ending::Failed(text) | Ending::Unreachable(text) => ClientError::Refused(text),
        })
    };
    let asked = Client::connect(&connection.place.socket)
        .and_then(|mut client| client.ask(request, &mut show));
    asked.map_err(|error| match error {
        ClientError::Unreachable(text) => Ending::Unreachable(text),
        ClientError::Refused(text) => Ending::Failed(text),
    })
}

fn check(file: &Path, json: bool) -> Result<(), Ending> {
    let read = daemon::read_configuration(file);
    let (text, _) =
        read.map_err(|(problem, cure)| Ending::Failed(format!("{problem}\n  {cure}")))?;
    let outcome = config::check(&text).and_then(|checked| {
        crate::compile::compile(&checked.config, &crate::state::Registry::default())?;
        Ok(checked)
    });
    let shown = file.display();
    match outcome {
        Ok(checked) if json => {
            let value = json!({ "valid": true, "warnings": checked.warnings });
            write(format!("{value}\n").as_bytes())
        }
        Ok(checked) => write(render::summary(&shown.to_string(), &checked).as_bytes()),
        Err(errors) => {
            if json {
                let value = json!({ "valid": false, "faults": errors.list() });
                write(format!("{value}\n").as_bytes())?;
            }
            let count = errors.list().len();
            let faults = if count == 1 { "a fault" } else { "faults" };
            Err(Ending::Failed(format!("{shown} has {faults}\n{errors}")))
        }
    }
}

/// One page on standard output, or all of them as files.
fn man(directory: Option<&Path>) -> Result<(), Ending> {
    let command = Cli::command();
    let Some(directory) = directory else {
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text).map_err(Ending::failed)?;
        return write(&text);
    };
    clap_mangen::generate_to(command, directory).map_err(|error| {
        let shown = directory.display();
        Ending::Failed(format!("{shown} cannot be written to: {error}\n  name a directory"))
    })
}

#[cfg(test)]
mod tests;
