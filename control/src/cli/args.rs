//! What may stand on the command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::api::{Protocol, SESSIONS_LIMIT, SESSIONS_LIMIT_MAX, SessionFilter};
use crate::config::CONTROL_SOCKET;

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed or refused; standard error says why and what to do
  2  wrong usage of the command line
  3  the daemon cannot be reached";

/// Private Link that moves real packets.
#[derive(Debug, Parser)]
#[command(name = "adit", version, about, after_help = EXIT_CODES, max_term_width = 100)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the data path in the foreground until SIGTERM or SIGINT; SIGHUP reloads
    Run {
        /// Configuration file
        #[arg(short, long, value_name = "FILE", default_value = "/etc/adit/adit.toml")]
        config: PathBuf,
    },
    /// Check a configuration file and summarise it, without running anything
    Check {
        /// Configuration file
        file: PathBuf,
        /// Answer in JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the daemon read its configuration file again, whole or not at all
    Reload(Connection),
    /// Show how the daemon, its workers, devices and next hops are
    Status(Connection),
    /// Show private endpoints and the state of their connections
    Endpoints(Connection),
    /// Show private link services: rules, backends and how many NAT ports are leased
    Services(Connection),
    /// Show flows that live now
    Sessions {
        /// Which flows
        #[command(flatten)]
        filter: Filter,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Show why packets were dropped, how often, and what to do about it
    Drops {
        /// Show also what never happened
        #[arg(long)]
        all: bool,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Let the traffic of a private endpoint pass
    Approve {
        /// Name of the private endpoint
        endpoint: String,
        /// Words for whoever looks at it later
        #[arg(short, long)]
        message: Option<String>,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Stop the traffic of a private endpoint
    Reject {
        /// Name of the private endpoint
        endpoint: String,
        /// Words for whoever looks at it later
        #[arg(short, long)]
        message: Option<String>,
        /// How to reach the daemon
        #[command(flatten)]
        connection: Connection,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands
    Man {
        /// Directory to write all pages to
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Set up a small Private Link on this machine, show it at work, and check what is shown
    Demo(crate::demo::Options),
}

/// How to reach the daemon, and how to show what it says.
#[derive(Clone, Debug, Args)]
pub struct Connection {
    /// Control socket of the daemon
    #[arg(long, value_name = "PATH", env = "ADIT_SOCKET", default_value = CONTROL_SOCKET)]
    pub socket: PathBuf,
    /// Show the daemon's answer as it is, in JSON: one object a line, of which `sessions` may have
    /// several
    #[arg(long)]
    pub json: bool,
}

/// Which flows to show; all conditions must hold.
#[derive(Clone, Debug, Args)]
pub struct Filter {
    /// Of this private endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// From this client
    #[arg(long, value_name = "ADDRESS")]
    client: Option<Ipv4Addr>,
    /// Served by this backend
    #[arg(long, value_name = "ADDRESS")]
    backend: Option<Ipv4Addr>,
    /// Through this NAT IP
    #[arg(long, value_name = "ADDRESS")]
    nat_ip: Option<Ipv4Addr>,
    /// Of this protocol
    #[arg(long, ignore_case = true)]
    protocol: Option<ProtocolName>,
    /// Show at most so many, and count the rest
    #[arg(long, value_name = "COUNT", default_value_t = SESSIONS_LIMIT,
        value_parser = limit)]
    limit: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolName {
    Tcp,
    Udp,
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().map_err(|_| "not a number".to_owned())?;
    let range = 0..=SESSIONS_LIMIT_MAX;
    range.contains(&limit).then_some(limit).ok_or(format!("at most {SESSIONS_LIMIT_MAX}"))
}

impl From<Filter> for SessionFilter {
    fn from(filter: Filter) -> SessionFilter {
        SessionFilter {
            endpoint: filter.endpoint,
            client: filter.client,
            backend: filter.backend,
            nat_ip: filter.nat_ip,
            protocol: filter.protocol.map(|name| match name {
                ProtocolName::Tcp => Protocol::Tcp,
                ProtocolName::Udp => Protocol::Udp,
            }),
            limit: filter.limit,
        }
    }
}
