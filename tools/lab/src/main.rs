//! The program `lab`: backends that make trouble on purpose, one command each, to try load
//! balancers with. They run in the network namespace that the program is started in, until it is
//! ended.

use std::io::{self, Write};
use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lab::backend::HttpServer;
use lab::backend::trouble::{
    First, FlappingHealth, HalfClose, LossyUdpEcho, ProxyStrict, ResetAt, SlowAccept,
};
use lab::{LabError, Namespace};

const EXIT_CODES: &str = "Exit codes:
  1  failed; standard error says why and what to do
  2  wrong usage of the command line";

/// Test networks, and sample backends to try load balancers with.
#[derive(Debug, Parser)]
#[command(name = "lab", version, about, after_help = EXIT_CODES, max_term_width = 100)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    /// What to do
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a backend that makes trouble on purpose, in the foreground until it is ended
    #[command(subcommand, arg_required_else_help = true)]
    Backend(Backend),
}

#[derive(Debug, Subcommand)]
enum Backend {
    /// Echo lines, but accept late and one connection after the other
    SlowAccept {
        #[command(flatten)]
        place: Place,
        /// How long each connection waits until it is accepted
        #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
        delay: Duration,
        /// How many may wait; the kernel drops the SYNs of more
        #[arg(long, value_name = "COUNT", default_value_t = 16)]
        backlog: u16,
    },
    /// Echo bytes, and reset the connection when the n-th has arrived
    Reset {
        #[command(flatten)]
        place: Place,
        /// The byte that is answered by a reset; 0 resets as soon as the connection is accepted
        #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
        at: u64,
    },
    /// Close one half of each connection long before the other
    HalfClose {
        #[command(flatten)]
        place: Place,
        /// Who closes his half first: the server speaks, closes and reads on; or it answers only
        /// when the client has closed
        #[arg(long, value_name = "WHO", default_value = "server")]
        first: Who,
    },
    /// Serve HTTP behind a PROXY protocol v2 header, and reset connections without one
    ProxyStrict {
        #[command(flatten)]
        place: Place,
    },
    /// Serve HTTP and know nothing of the PROXY protocol: a header is a bad request
    ProxyBlind {
        #[command(flatten)]
        place: Place,
    },
    /// Echo UDP datagrams, and lose some
    LossyUdp {
        #[command(flatten)]
        place: Place,
        /// How many of a hundred are lost
        #[arg(long, value_name = "PERCENT", default_value_t = 10,
            value_parser = clap::value_parser!(u8).range(..=100))]
        loss: u8,
        /// Decides which ones; the same seed loses the same ones
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        seed: u64,
    },
    /// Serve HTTP, with a GET /health that answers by 200 and by 503 in turns
    FlappingHealth {
        #[command(flatten)]
        place: Place,
        /// How long it is healthy
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
        healthy: Duration,
        /// How long it is not
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
        unhealthy: Duration,
    },
}

/// Where it listens, and who it says it is.
#[derive(Debug, Args)]
struct Place {
    /// Address and port to listen on; port 0 leaves the port to the kernel
    #[arg(short, long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    listen: SocketAddrV4,
    /// Name that it gives in its answers
    #[arg(short, long, default_value = "lab")]
    name: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Who {
    Server,
    Client,
}

/// A time with its unit: `500ms`, `2s`, `1min`.
fn duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write a number and its unit: 500ms, 2s or 1min";
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().map_err(|_| FORM)?;
    match unit {
        "ms" => Ok(Duration::from_millis(number.into())),
        "s" => Ok(Duration::from_secs(number.into())),
        "min" => Ok(Duration::from_secs(60) * number),
        _ => Err(FORM.to_owned()),
    }
}

fn main() -> ExitCode {
    let Command::Backend(backend) = Cli::parse().command;
    match run(backend) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(backend: Backend) -> Result<(), LabError> {
    let here = Namespace::current()?;
    match backend {
        Backend::SlowAccept { place, delay, backlog } => {
            let Place { listen, name } = place;
            serve(&SlowAccept::start(&here, listen, &name, delay, backlog)?, SlowAccept::address)
        }
        Backend::Reset { place: Place { listen, name }, at } => {
            serve(&ResetAt::start(&here, listen, &name, at)?, ResetAt::address)
        }
        Backend::HalfClose { place: Place { listen, name }, first } => {
            let first = match first {
                Who::Server => First::Server,
                Who::Client => First::Client,
            };
            serve(&HalfClose::start(&here, listen, &name, first)?, HalfClose::address)
        }
        Backend::ProxyStrict { place: Place { listen, name } } => {
            serve(&ProxyStrict::start(&here, listen, &name)?, ProxyStrict::address)
        }
        Backend::ProxyBlind { place: Place { listen, name } } => {
            serve(&HttpServer::start(&here, listen, &name)?, HttpServer::address)
        }
        Backend::LossyUdp { place: Place { listen, name }, loss, seed } => {
            serve(&LossyUdpEcho::start(&here, listen, &name, loss, seed)?, LossyUdpEcho::address)
        }
        Backend::FlappingHealth { place: Place { listen, name }, healthy, unhealthy } => {
            let server = FlappingHealth::start(&here, listen, &name, healthy, unhealthy)?;
            serve(&server, FlappingHealth::address)
        }
    }
}

/// Says where it listens, and lives until the process is ended.
fn serve<T>(server: &T, address: impl Fn(&T) -> SocketAddrV4) -> Result<(), LabError> {
    // If nobody reads it, it serves as well.
    let _ = writeln!(io::stdout(), "listening on {}; end it by Ctrl-C", address(server));
    loop {
        std::thread::park();
    }
}

/// Says on standard error what is wrong, and what to do where that can be known.
fn complain(error: &LabError) {
    let cure = match error.kind() {
        io::ErrorKind::AddrInUse => "listen on another port, or end what has this one",
        io::ErrorKind::AddrNotAvailable => "listen on an address of this machine, or on 0.0.0.0",
        io::ErrorKind::PermissionDenied => "listen on a port from 1024 on, or run as root",
        _ => "see `lab help`",
    };
    // If nobody listens the exit code still says it.
    let _ = writeln!(io::stderr(), "lab: {error}\n  {cure}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1min"), Ok(Duration::from_secs(60)));
        for wrong in ["", "2", "s", "-1s", "1h", "1.5s", "99999999999s"] {
            assert!(duration(wrong).is_err_and(|said| said.contains("2s")), "{wrong}");
        }
    }
}
